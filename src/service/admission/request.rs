//! A request to join: read into the parts that are judged, and bounded before anything is done with it.
//!
//! What is judged is what is written: every part is kept as it was read, none as the text it came in. A name that occurs twice
//! in an object of the request is refused, because two readers of it need not agree on which counts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::attestation::Evidence;
use crate::format::Seqno;
use crate::shown::excerpt;
use crate::tables::joiner::NodeNetwork;
use crate::tables::json::{self, Opaque};
use crate::tables::values::SealedRecoveryKey;

/// Bytes of a body: twice the largest sum of parts, which are in base64.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Bytes of a PEM text: an RSA key of 8192 bits has 1.4 kB, a certificate request with 200 names some 20 kB.
const MAX_PEM_BYTES: usize = 32 << 10;
/// Bytes of a quote in JSON: a report of SNP has 1.2 kB.
const MAX_QUOTE_BYTES: usize = 64 << 10;
/// Bytes of endorsements in JSON: certificates of AMD have 6.5 kB, what vouches for a UVM 11 kB.
const MAX_ENDORSEMENTS_BYTES: usize = 128 << 10;
/// Bytes of what an operator attaches: it is written again whenever the node's status changes, and shown to anybody.
const MAX_DATA_BYTES: usize = 64 << 10;
/// Bytes of the name of a machine in JSON.
const MAX_NAME_BYTES: usize = 512;
/// Bytes of a request that an answer repeats, as CCF does.
const MAX_REPEATED_BYTES: usize = 4 << 10;

/// A request to join, each part within its bounds and of its type. Nothing of it is verified.
#[derive(Debug)]
pub struct JoinRequest {
    /// The joiner's addresses.
    pub network: NodeNetwork,
    /// What it shows.
    pub evidence: Evidence,
    /// Its key for ledger secrets, as it was sent.
    pub encryption_key: String,
    /// Where it begins: the seqno of its snapshot, or 0.
    pub startup_seqno: Seqno,
    /// What it asks the service to endorse, as it was sent.
    pub certificate_request: Option<String>,
    /// What its operator attaches to it.
    pub data: Option<Opaque>,
    /// The key that it has sealed for the next recovery, if it has: shares of the ledger secret are encrypted to it.
    pub recovery_key: Option<SealedRecoveryKey>,
    /// The name under which the next node on its machine finds that.
    pub sealing_name: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    node_info_network: Option<Opaque>,
    quote_info: Option<Opaque>,
    public_encryption_key: Option<Opaque>,
    startup_seqno: Option<Opaque>,
    certificate_signing_request: Option<Opaque>,
    node_data: Option<Opaque>,
    sealed_recovery_key: Option<Opaque>,
    sealing_recovery_name: Option<Opaque>,
}

impl JoinRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Refusal::Input`], in CCF's words where something is missing.
    pub fn parse(body: &[u8]) -> Result<JoinRequest, Refusal> {
        let input = |why: String| Refusal::Input(why);
        if body.len() > MAX_BODY_BYTES {
            return Err(input(format!("The request has more than {MAX_BODY_BYTES} bytes.")));
        }
        let raw: Raw = match serde_json::from_slice(body) {
            Ok(raw) => raw,
            Err(why) => return Err(input(not_an_object(body, &why))),
        };
        // As CCF looks for them.
        let missing = |name| {
            input(format!(
                "At #/: Missing required field '{name}' in object: {}",
                repeated(body)
            ))
        };
        let network = raw.node_info_network.ok_or_else(|| missing("node_info_network"))?;
        let quote_info = raw.quote_info.ok_or_else(|| missing("quote_info"))?;
        let encryption_key = raw
            .public_encryption_key
            .ok_or_else(|| missing("public_encryption_key"))?;
        let startup_seqno = raw.startup_seqno.ok_or_else(|| missing("startup_seqno"))?;
        let network: NodeNetwork = typed("node_info_network", &network)?;
        network
            .check()
            .map_err(|why| input(format!("At #/node_info_network: {why}.")))?;
        Ok(JoinRequest {
            network,
            evidence: evidence(&quote_info)?,
            encryption_key: pem("public_encryption_key", &encryption_key)?,
            startup_seqno: typed("startup_seqno", &startup_seqno)?,
            certificate_request: raw
                .certificate_signing_request
                .map(|text| pem("certificate_signing_request", &text))
                .transpose()?,
            data: raw.node_data.map(data).transpose()?,
            recovery_key: raw
                .sealed_recovery_key
                .map(|key| {
                    bounded("sealed_recovery_key", &key, MAX_PEM_BYTES)
                        .and_then(|()| typed("sealed_recovery_key", &key))
                })
                .transpose()?,
            sealing_name: raw
                .sealing_recovery_name
                .map(|name| {
                    bounded("sealing_recovery_name", &name, MAX_NAME_BYTES)
                        .and_then(|()| typed("sealing_recovery_name", &name))
                })
                .transpose()?,
        })
    }

    /// `quote_info` as it is written: of what was decoded, and so of what is judged.
    pub fn quote_info(&self) -> Value {
        let evidence = &self.evidence;
        let mut info = json!({
            "endorsements": STANDARD.encode(&evidence.endorsements),
            "format": evidence.format,
            "quote": STANDARD.encode(&evidence.quote),
        });
        if let Some(info) = info.as_object_mut() {
            if let Some(cose) = &evidence.uvm_endorsements {
                info.insert("uvm_endorsements".to_owned(), STANDARD.encode(cose).into());
            }
            if let Some(tcb) = &evidence.endorsed_tcb {
                info.insert("endorsed_tcb".to_owned(), tcb.as_str().into());
            }
        }
        info
    }
}

/// What CCF says of a body that is JSON, but no object; or what the parser says.
fn not_an_object(body: &[u8], why: &serde_json::Error) -> String {
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    match (is_json, is_object) {
        (true, false) => format!("At #/: Expected object, found: {}", repeated(body)),
        _ => format!("At #/: {}", excerpt(&why.to_string())),
    }
}

/// A request in an answer: compact and sorted, as CCF has it, and no more than a page.
fn repeated(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value.to_string(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    if text.len() <= MAX_REPEATED_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(MAX_REPEATED_BYTES);
    format!("{}...", text.get(..end).unwrap_or_default())
}

fn typed<T: serde::de::DeserializeOwned>(name: &str, value: &Opaque) -> Result<T, Refusal> {
    // Strict: what is mended on the way is not what was sent.
    serde_json::from_str(value.text())
        .map_err(|why| Refusal::Input(format!("At #/{name}: {}.", excerpt(&why.to_string()))))
}

fn pem(name: &str, value: &Opaque) -> Result<String, Refusal> {
    bounded(name, value, MAX_PEM_BYTES)?;
    typed(name, value)
}

fn bounded(name: &str, value: &Opaque, most: usize) -> Result<(), Refusal> {
    let found = value.text().len();
    match found > most {
        true => Err(Refusal::Input(format!(
            "At #/{name}: it has {found} bytes, at most {most} are taken."
        ))),
        false => Ok(()),
    }
}

/// The evidence, of an object in which every name occurs once.
fn evidence(value: &Opaque) -> Result<Evidence, Refusal> {
    #[derive(Deserialize)]
    struct Parts {
        quote: Option<Opaque>,
        endorsements: Option<Opaque>,
        uvm_endorsements: Option<Opaque>,
    }
    let parts: Parts = typed("quote_info", value)?;
    for (name, part, most) in [
        ("quote_info/quote", parts.quote, MAX_QUOTE_BYTES),
        ("quote_info/endorsements", parts.endorsements, MAX_ENDORSEMENTS_BYTES),
        (
            "quote_info/uvm_endorsements",
            parts.uvm_endorsements,
            MAX_ENDORSEMENTS_BYTES,
        ),
    ] {
        part.map_or(Ok(()), |part| bounded(name, &part, most))?;
    }
    let evidence = Evidence::from_quote_info(value.text().as_bytes());
    let evidence = evidence.map_err(|why| Refusal::Input(format!("At #/quote_info: {why}.")))?;
    let odd = |text: &str| text.len() > 32 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if odd(&evidence.format) || evidence.endorsed_tcb.as_deref().is_some_and(odd) {
        return Err(Refusal::Input(
            "At #/quote_info: format or endorsed_tcb is not one that any release has written.".to_owned(),
        ));
    }
    Ok(evidence)
}

/// What is attached: any JSON that every reader takes.
fn data(value: Opaque) -> Result<Opaque, Refusal> {
    bounded("node_data", &value, MAX_DATA_BYTES)?;
    json::check(value.text().as_bytes()).map_err(|why| Refusal::Input(format!("At #/node_data: {why}.")))?;
    Ok(value)
}
