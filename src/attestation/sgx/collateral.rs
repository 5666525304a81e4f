//! OpenEnclave's collateral: Intel's word on TCB levels and quoting enclaves, and revocation lists, as they were when the
//! node fetched them. `version 1, type 2, size, count 9`, nine offsets from byte 52; texts end in a NUL.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::crypto::x509::{AnyCertificate, RevocationList, Validity, der_blocks, parse_time};
use crate::crypto::{Encoding, HashAlgorithm, Scheme};
use crate::format::cursor::Cursor;

use super::pck::{Chain, PckTcb};

const ITEMS: usize = 9;
/// Offsets count from here: four numbers and nine offsets.
const START: usize = 52;
/// Bytes of collateral that is read at all; real ones have 12 kB.
const MAX_BYTES: usize = 1 << 20;
/// Levels of a TCB info at most; real ones have some twenty.
const MAX_LEVELS: usize = 256;

/// Collateral, read and verified as far as it goes without a quote, pins or a time.
#[derive(Clone, Debug)]
pub struct Collateral {
    /// What it is, or why it can't be read.
    pub parsed: Result<Parsed, String>,
    /// Whether there are no bytes at all.
    pub is_empty: bool,
}

/// Collateral that can be read.
#[derive(Clone)]
pub struct Parsed {
    /// When the node fetched it, as it says itself: seconds since 1970. The only date of the evidence.
    pub created_unix_s: Option<u64>,
    /// When each document is current: what it is called, from, to.
    pub windows: Vec<(&'static str, Validity)>,
    /// The platforms that the TCB info is of, hex.
    pub fmspc: String,
    /// Their provisioning certification enclave, hex.
    pub pce_id: String,
    /// Levels of the platform's TCB, best first.
    pub levels: Vec<Level>,
    /// SVNs of the quoting enclave with their status, best first.
    pub qe_levels: Vec<(u16, String)>,
    /// Why signatures or chains do not hold; `None` where they do.
    pub(super) problem: Option<String>,
    /// The chains that sign TCB info, revocation lists and QE identity.
    pub(super) chains: [Chain; 3],
    /// What the platforms' authority has revoked; `None` where it can't be read.
    pub(super) pck_list: Option<RevocationList>,
    /// What the root has revoked; `None` where it can't be read.
    pub(super) root_list: Option<RevocationList>,
    /// The quoting enclaves that the QE identity is of.
    pub(super) qe: QeIdentity,
}

/// Which quoting enclaves Intel speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QeIdentity {
    /// Who signs them, hex.
    pub(super) mrsigner: String,
    /// Which of that signer's products they are.
    pub(super) product_id: u16,
    /// What they must have as MISCSELECT.
    pub(super) misc_select: Masked<4>,
    /// What they must have as attributes.
    pub(super) attributes: Masked<16>,
}

/// A value of which only the bits of a mask count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Masked<const N: usize> {
    value: [u8; N],
    mask: [u8; N],
}

impl<const N: usize> Masked<N> {
    /// The fields `name` and `nameMask` of a document: hex, in the order of the bytes of a report.
    fn of(body: &Value, name: &str, mask_name: &str) -> Option<Masked<N>> {
        let bytes = |name: &str| {
            let mut bytes = [0; N];
            hex::decode_to_slice(body.get(name)?.as_str()?, &mut bytes).ok()?;
            Some(bytes)
        };
        Some(Masked {
            value: bytes(name)?,
            mask: bytes(mask_name)?,
        })
    }

    /// Whether `found` has what is wanted.
    pub(super) fn fits(&self, found: &[u8; N]) -> bool {
        let mut bytes = found.iter().zip(&self.mask).zip(&self.value);
        bytes.all(|((found, mask), value)| found & mask == *value)
    }
}

impl<const N: usize> std::fmt::Display for Masked<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} under {}", hex::encode(self.value), hex::encode(self.mask))
    }
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parsed({}, created {:?})", self.fmspc, self.created_unix_s)
    }
}

/// A level of a platform's TCB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Lowest SVN of each component.
    pub components: [u8; 16],
    /// Lowest SVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// `UpToDate`, `OutOfDate`, `SWHardeningNeeded`, ...
    pub status: String,
}

impl Collateral {
    /// Reads collateral.
    pub fn read(bytes: &[u8]) -> Collateral {
        Collateral {
            parsed: Parsed::read(bytes),
            is_empty: bytes.is_empty(),
        }
    }
}

impl Parsed {
    fn read(bytes: &[u8]) -> Result<Parsed, String> {
        let [
            _,
            tcb_info,
            tcb_chain,
            pck_list,
            root_list,
            list_chain,
            qe_identity,
            qe_chain,
            created,
        ] = items(bytes)?;
        let tcb = SignedDocument::tcb_info(tcb_info)?;
        let qe = SignedDocument::qe_identity(qe_identity)?;
        let chains = [tcb_chain, list_chain, qe_chain].map(Chain::read);
        let [tcb_issuer, list_issuer, qe_issuer] = &chains;
        let mut problems = Vec::new();
        for (what, document, issuer) in [("TCB info", &tcb, tcb_issuer), ("QE identity", &qe, qe_issuer)] {
            problems.extend(issuer.problem.iter().map(|why| format!("chain of the {what}: {why}")));
            if !document.is_signed_by(issuer) {
                problems.push(format!("the {what} is not signed by its chain"));
            }
        }
        problems.extend(
            list_issuer
                .problem
                .iter()
                .map(|why| format!("chain of the revocation lists: {why}")),
        );
        let mut windows = vec![("TCB info", tcb.window()?), ("QE identity", qe.window()?)];
        // Each list by its own issuer: any other would have nothing to say of what it is asked.
        let [pck_list, root_list] = [
            ("PCK revocation list", pck_list, list_issuer.certificates.first()),
            ("root revocation list", root_list, list_issuer.certificates.last()),
        ]
        .map(|(what, list, issuer)| {
            let Some(list) = revocation_list(list) else {
                problems.push(format!("the {what} can't be read"));
                return None;
            };
            if !issuer.is_some_and(|issuer| is_list_of(&list, issuer)) {
                problems.push(format!("the {what} is not signed by its chain"));
            }
            windows.push((
                what,
                Validity {
                    not_before_unix_s: list.this_update_unix_s(),
                    not_after_unix_s: list.next_update_unix_s().unwrap_or(u64::MAX),
                },
            ));
            Some(list)
        });
        let text = |name: &str| {
            tcb.body
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_ascii_lowercase()
        };
        Ok(Parsed {
            created_unix_s: std::str::from_utf8(created).ok().and_then(|text| parse_time(text).ok()),
            windows,
            fmspc: text("fmspc"),
            pce_id: text("pceId"),
            levels: levels(&tcb.body)?,
            qe_levels: qe_levels(&qe.body)?,
            problem: (!problems.is_empty()).then(|| problems.join(", ")),
            chains,
            pck_list,
            root_list,
            qe: qe_identity_of(&qe.body)?,
        })
    }

    /// The first level that a platform reaches.
    pub fn level_of(&self, platform: &PckTcb) -> Option<&Level> {
        self.levels.iter().find(|level| {
            let mut pairs = level.components.iter().zip(&platform.components);
            level.pce_svn <= platform.pce_svn && pairs.all(|(lowest, found)| lowest <= found)
        })
    }
}

/// The nine items, texts without their NUL.
fn items(bytes: &[u8]) -> Result<[&[u8]; ITEMS], String> {
    let wrong = |why: crate::format::Malformed| why.to_string();
    if bytes.len() > MAX_BYTES {
        return Err("it is longer than 1 MiB".into());
    }
    let mut at = Cursor::new(bytes);
    let head = [
        at.u32_le("version").map_err(wrong)?,
        at.u32_le("type").map_err(wrong)?,
        at.u32_le("size").map_err(wrong)?,
        at.u32_le("count").map_err(wrong)?,
    ];
    let content = bytes.get(START..).ok_or("it is shorter than its offsets")?;
    if head != [1, 2, u32::try_from(bytes.len().saturating_sub(16)).unwrap_or(0), 9] {
        return Err(format!(
            "it begins with {head:?}, expected version 1, type 2, its size, 9 items"
        ));
    }
    let mut offsets = [content.len(); ITEMS + 1];
    for offset in offsets.iter_mut().take(ITEMS) {
        *offset = at.u32_le("offset").map_err(wrong)? as usize;
    }
    let mut found: [&[u8]; ITEMS] = [&[]; ITEMS];
    for ((item, from), to) in found.iter_mut().zip(&offsets).zip(offsets.iter().skip(1)) {
        let bytes = content.get(*from..*to).ok_or("its offsets do not ascend within it")?;
        *item = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    }
    Ok(found)
}

/// `{"<name>": body, "signature": "<hex>"}`: the signature is over the exact bytes of the body.
struct SignedDocument {
    body: Value,
    bytes: Vec<u8>,
    signature: Vec<u8>,
}

/// The two kinds of signed documents, each under its own name: one is no substitute for the other, whoever signed it.
#[derive(Deserialize)]
struct RawDocument<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    tcb_info: Option<&'a RawValue>,
    #[serde(borrow, rename = "enclaveIdentity")]
    enclave_identity: Option<&'a RawValue>,
    signature: String,
}

impl SignedDocument {
    fn read<'a>(
        json: &'a [u8],
        what: &str,
        body: impl FnOnce(&RawDocument<'a>) -> Option<&'a RawValue>,
    ) -> Result<SignedDocument, String> {
        let wrong = || format!("the {what} can't be read");
        let raw: RawDocument<'a> = serde_json::from_slice(json).map_err(|_| wrong())?;
        let body = body(&raw).ok_or_else(wrong)?;
        Ok(SignedDocument {
            body: serde_json::from_str(body.get()).map_err(|_| wrong())?,
            bytes: body.get().as_bytes().to_vec(),
            signature: hex::decode(&raw.signature).map_err(|_| wrong())?,
        })
    }

    /// Of SGX: documents of version 3 say what they are of, and older ones are of nothing else.
    fn tcb_info(json: &[u8]) -> Result<SignedDocument, String> {
        let document = SignedDocument::read(json, "TCB info", |raw| raw.tcb_info)?;
        match document.body.get("id") {
            None => Ok(document),
            Some(id) if id == "SGX" => Ok(document),
            Some(_) => Err("the TCB info is not SGX's".into()),
        }
    }

    /// Of the enclave that makes quotes, and not of one that verifies them, or TDX's.
    fn qe_identity(json: &[u8]) -> Result<SignedDocument, String> {
        let document = SignedDocument::read(json, "QE identity", |raw| raw.enclave_identity)?;
        match document.body.get("id").is_some_and(|id| id == "QE") {
            true => Ok(document),
            false => Err("the enclave identity is not that of SGX's quoting enclave, QE".into()),
        }
    }

    fn is_signed_by(&self, chain: &Chain) -> bool {
        let scheme = Scheme::Ecdsa(HashAlgorithm::Sha256);
        chain.leaf_key().is_some_and(|key| {
            key.verify(scheme, Encoding::Fixed, &self.bytes, &self.signature)
                .is_ok()
        })
    }

    fn window(&self) -> Result<Validity, String> {
        let time = |name: &str| {
            let text = self.body.get(name).and_then(Value::as_str);
            text.and_then(|text| parse_time(text).ok())
                .ok_or(format!("the collateral has no readable {name}"))
        };
        Ok(Validity {
            not_before_unix_s: time("issueDate")?,
            not_after_unix_s: time("nextUpdate")?,
        })
    }
}

/// PEM; or DER, bare or in hex, as Intel's service answers for the root's list.
fn revocation_list(bytes: &[u8]) -> Option<RevocationList> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return RevocationList::from_der(bytes).ok();
    };
    if !text.contains("-----BEGIN ") {
        return RevocationList::from_der(&hex::decode(text.trim()).ok()?).ok();
    }
    let mut blocks = der_blocks(text, &["X509 CRL"], 1);
    match (blocks.len(), blocks.pop()) {
        (1, Some(Some(der))) => RevocationList::from_der(&der).ok(),
        _ => None,
    }
}

/// Whether `issuer` issued the list, by its name and its key.
pub(super) fn is_list_of(list: &RevocationList, issuer: &AnyCertificate) -> bool {
    let is_signed = || issuer.key().is_ok_and(|key| list.is_signed_by(&key).is_ok());
    list.issuer_der() == issuer.subject_der() && is_signed()
}

fn qe_identity_of(body: &Value) -> Result<QeIdentity, String> {
    let read = || {
        Some(QeIdentity {
            mrsigner: body.get("mrsigner")?.as_str()?.to_ascii_lowercase(),
            product_id: number(body.get("isvprodid"))?,
            misc_select: Masked::of(body, "miscselect", "miscselectMask")?,
            attributes: Masked::of(body, "attributes", "attributesMask")?,
        })
    };
    read().ok_or("the QE identity does not say of which enclave it is".to_owned())
}

fn level_list(body: &Value) -> Result<&Vec<Value>, String> {
    body.get("tcbLevels")
        .and_then(Value::as_array)
        .filter(|levels| levels.len() <= MAX_LEVELS)
        .ok_or("the collateral has no levels, or more than 256".to_owned())
}

fn number<T: TryFrom<u64>>(value: Option<&Value>) -> Option<T> {
    T::try_from(value?.as_u64()?).ok()
}

fn status(level: &Value) -> Option<String> {
    Some(level.get("tcbStatus")?.as_str()?.to_owned())
}

/// Levels of version 2 (`sgxtcbcomp01svn`) and 3 (`sgxtcbcomponents`).
fn levels(body: &Value) -> Result<Vec<Level>, String> {
    let read = |level: &Value| {
        let tcb = level.get("tcb")?;
        let listed = tcb.get("sgxtcbcomponents").and_then(Value::as_array);
        let mut components = [0; 16];
        for (number_of, to) in components.iter_mut().enumerate() {
            *to = match listed {
                Some(listed) => number(listed.get(number_of)?.get("svn"))?,
                None => number(tcb.get(format!("sgxtcbcomp{:02}svn", number_of + 1)))?,
            };
        }
        Some(Level {
            components,
            pce_svn: number(tcb.get("pcesvn"))?,
            status: status(level)?,
        })
    };
    let levels: Option<Vec<Level>> = level_list(body)?.iter().map(read).collect();
    levels.ok_or("a level of the TCB info can't be read".to_owned())
}

pub(super) fn qe_levels(body: &Value) -> Result<Vec<(u16, String)>, String> {
    let read = |level: &Value| Some((number(level.get("tcb")?.get("isvsvn"))?, status(level)?));
    let levels: Option<Vec<(u16, String)>> = level_list(body)?.iter().map(read).collect();
    levels.ok_or("a level of the QE identity can't be read".to_owned())
}
