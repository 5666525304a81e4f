//! Receipts made from a ledger's files, and judged: `rekindle receipt`, and `/node/receipt`.
//!
//! What is made is judged at once, as a stranger would who trusts the ledger's last service: nothing is given out that does
//! not prove what it says. Format specification, sections 4, 5, 6 and 7.3; recovery specification, sections 2.10 and 3.2.

pub mod chain;
pub mod judge;
pub mod lookup;
pub mod services;
mod span;

use crate::crypto::cose::{Sign1, with_inclusion_proof};
use crate::crypto::digest::sha256;
use crate::crypto::x509::Certificate;
use crate::error::Result;
use crate::format::TxId;
use crate::format::directory::{LedgerFiles, Note};
use crate::format::names::ChunkKind;
use crate::merkle::presented::{Leaf, Parts, Presented, write_json_receipt};
use crate::merkle::receipt::{LeafComponents, write_cbor_proof};
use crate::recovery::secrets::LedgerSecrets;
use crate::report::{Code, Finding, Severity};

pub use services::all_endorsements as ledger_endorsements;

use judge::{Expected, InLedger, ReceiptReport, Trusted, judge};
use lookup::{Entry, Found, Signed, find, path};

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a node answers: signed by a node.
    Json,
    /// The service's own signature with the proof in it.
    Cose,
}

/// What is asked for.
pub struct Request<'a> {
    /// Of which transaction.
    pub txid: TxId,
    /// In which form.
    pub form: Form,
    /// The ledger's secrets: without them there is no commit evidence.
    pub secrets: Option<&'a LedgerSecrets>,
    /// The service that it must be good for; the ledger's last one, if none is given.
    pub service: Option<Trusted>,
}

/// A receipt.
pub struct Made {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// COSE endorsements that lead to its service, newest first; in JSON they are in it as well.
    pub endorsements: Vec<Vec<u8>>,
    /// The signature transaction that covers it.
    pub signed_in: TxId,
    /// The service that made it.
    pub service: Certificate,
    /// What it proves.
    pub report: ReceiptReport,
}

/// Why there is none.
type Refusal = Box<Finding>;

/// Signatures after a transaction that are tried: each covers all before it, and one may be damaged.
const MAX_SIGNATURES: usize = 8;

/// Makes a receipt. What stands against it is a finding; a [`Made`] holds.
///
/// # Errors
/// If the ledger can't be read.
pub fn make(files: &LedgerFiles, request: &Request<'_>) -> Result<std::result::Result<Made, Vec<Finding>>> {
    let txid = request.txid;
    let wanted = |signed: &Signed| match request.form {
        Form::Json => signed.signature.is_some(),
        Form::Cose => signed.cose.is_some(),
    };
    let mut after = txid.seqno;
    let mut refused: Option<(TxId, Vec<Finding>)> = None;
    for _ in 0..MAX_SIGNATURES {
        let Some(found) = find(files, txid.seqno, after, wanted)? else {
            return Ok(Err(vec![absent(files, txid)]));
        };
        if found.entry.txid.view != txid.view {
            return Ok(Err(vec![other_view(txid, found.entry.txid)]));
        }
        let drafted = draft(&found, request, files).map_err(|why| vec![*why]);
        match drafted.and_then(|drafted| complete(files, request, &found, drafted)) {
            Ok(made) => {
                return Ok(Ok(match refused {
                    Some((first, findings)) => made.passing_over(txid, first, &findings),
                    None => made,
                }));
            }
            Err(findings) => {
                // A signature transaction proves itself, or nothing does.
                let is_its_own = request.form == Form::Json && found.own.is_some();
                match found.signed.filter(|_| !is_its_own) {
                    None => return Ok(Err(refused.map_or(findings, |(_, first)| nor_later(first)))),
                    Some(signed) => {
                        after = signed.txid.seqno;
                        refused.get_or_insert((signed.txid, findings));
                    }
                }
            }
        }
    }
    Ok(Err(refused.map(|(_, first)| nor_later(first)).unwrap_or_default()))
}

/// Says that later signatures were tried, too.
fn nor_later(mut findings: Vec<Finding>) -> Vec<Finding> {
    if let Some(first) = findings.first_mut() {
        first.message.push_str("; signatures after it do not prove it, either");
    }
    findings
}

impl Made {
    /// Says that the first signature after the transaction was of no use.
    fn passing_over(mut self, txid: TxId, first: TxId, findings: &[Finding]) -> Made {
        if let Some(why) = findings.first() {
            let text = format!(
                "the signature {first} does not prove it, so that of {} was taken, which covers it as well: {}",
                self.signed_in, why.message
            );
            let finding = about(why.code, txid, text).severity(Severity::Info);
            self.report
                .findings
                .push(finding.next("the receipt holds; verify the ledger for what is damaged in it"));
        }
        self
    }
}

/// A receipt before it is known whose it is.
struct Draft {
    signed: Signed,
    leaf: Leaf,
    body: Body,
}

enum Body {
    Json { certificate: Box<Certificate>, pem: String },
    Cose { message: Vec<u8>, parts: LeafComponents },
}

fn refuse(code: Code, txid: TxId, why: impl Into<String>) -> Refusal {
    Box::new(about(code, txid, why))
}

fn about(code: Code, txid: TxId, why: impl Into<String>) -> Finding {
    Finding::new(code, why).seqno(txid.seqno)
}

fn draft(found: &Found, request: &Request<'_>, files: &LedgerFiles) -> std::result::Result<Draft, Refusal> {
    let txid = found.entry.txid;
    match (request.form, &found.own) {
        (Form::Json, Some(own)) => of_signature(own),
        (Form::Json, None) => {
            let signed = covering(found, "a node")?;
            let leaf = leaf(&found.entry, request.secrets, files)?;
            let body = by_node(&signed)?;
            Ok(Draft { signed, leaf, body })
        }
        (Form::Cose, _) => {
            let signed = covering(found, "the service (COSE)")?;
            let Leaf::Parts(parts) = leaf(&found.entry, request.secrets, files)? else {
                let why = format!(
                    "a COSE receipt of {txid} has its commit evidence in it, which is made with the ledger secret"
                );
                let next = "give members' share-encryption keys with --member-key, or ask for --format json";
                return Err(Box::new(about(Code::NoReceipt, txid, why).next(next)));
            };
            let components = LeafComponents {
                write_set_digest: parts.write_set_digest,
                commit_evidence: parts.commit_evidence.clone(),
                claims_digest: parts.claims_digest.ok_or_else(|| {
                    let why = format!("{txid} was written without a claims digest, which a COSE receipt needs");
                    refuse(Code::NoReceipt, txid, why)
                })?,
            };
            let message = signed.cose.clone().unwrap_or_default();
            Ok(Draft {
                signed,
                leaf: Leaf::Parts(parts),
                body: Body::Cose {
                    message,
                    parts: components,
                },
            })
        }
    }
}

/// The signature that covers an entry.
fn covering(found: &Found, whom: &str) -> std::result::Result<Signed, Refusal> {
    let txid = found.entry.txid;
    found.signed.clone().ok_or_else(|| match &found.passed {
        Some(why) => refuse(
            Code::NoReceipt,
            txid,
            format!("no signature by {whom} covers {txid}: {why}"),
        ),
        None => refuse(
            Code::TransactionUnsigned,
            txid,
            format!("{txid} is in the ledger, but no signature transaction comes after it"),
        ),
    })
}

/// A signature transaction proves itself: its leaf is the root that it signs.
fn of_signature(own: &Signed) -> std::result::Result<Draft, Refusal> {
    let Some(signature) = &own.signature else {
        let why = format!(
            "{} is signed by the service alone: a JSON receipt is a node's",
            own.txid
        );
        return Err(refuse(Code::NoReceipt, own.txid, why));
    };
    Ok(Draft {
        leaf: Leaf::Plain(signature.root.0),
        body: by_node(own)?,
        signed: own.clone(),
    })
}

fn by_node(signed: &Signed) -> std::result::Result<Body, Refusal> {
    let pem = signed.signature.as_ref().and_then(|signature| signature.cert.clone());
    let pem = pem.ok_or_else(|| {
        let why = format!(
            "{} comes without its node's certificate, as in CCF 1.x: nothing in it leads to a service",
            signed.txid
        );
        refuse(Code::NoReceipt, signed.txid, why)
    })?;
    let certificate = Certificate::from_pem(&pem).map_err(|why| {
        let why = format!("the node's certificate in {} can't be read: {why}", signed.txid);
        refuse(Code::NoReceipt, signed.txid, why)
    })?;
    Ok(Body::Json {
        certificate: Box::new(certificate),
        pem,
    })
}

/// The parts of an entry's leaf where its secret is known; else the leaf alone.
fn leaf(entry: &Entry, secrets: Option<&LedgerSecrets>, files: &LedgerFiles) -> std::result::Result<Leaf, Refusal> {
    let txid = entry.txid;
    let (Some(digest), Some(secrets)) = (entry.evidence_digest, secrets) else {
        return Ok(Leaf::Plain(entry.leaf));
    };
    let older;
    let secret = match secrets.at(txid.seqno) {
        Some(secret) => Some(secret),
        None => {
            older = secrets.before(files);
            older.at(txid.seqno)
        }
    };
    let secret = secret.ok_or_else(|| {
        let why = format!("the keys at hand don't open the ledger secret of {txid}");
        Box::new(about(Code::NoReceipt, txid, why).next("give the keys of members of that time, or none at all"))
    })?;
    let evidence = secret.commit.evidence_text(txid.view, txid.seqno);
    if sha256(evidence.as_bytes()) != digest {
        let why =
            format!("the ledger secret of {txid} does not give the commit evidence that its entry holds the digest of");
        return Err(refuse(Code::EvidenceOfAnotherSecret, txid, why));
    }
    Parts::new(entry.write_set_digest, evidence, entry.claims_digest)
        .map(Leaf::Parts)
        .map_err(|why| refuse(Code::NoReceipt, txid, why.to_string()))
}

/// Finds whose it is and what leads to it, writes it down, reads it again and judges it.
fn complete(
    files: &LedgerFiles,
    request: &Request<'_>,
    found: &Found,
    draft: Draft,
) -> std::result::Result<Made, Vec<Finding>> {
    let txid = request.txid;
    let no = |code, why: String| vec![about(code, txid, why)];
    let signed_in = draft.signed.txid;
    let root = draft.signed.signature.as_ref().map(|signature| signature.root.0);
    let message = match &draft.body {
        Body::Cose { message, .. } => Some(
            Sign1::parse(message)
                .map_err(|why| no(Code::NoReceipt, format!("the COSE signature {signed_in}: {why}")))?,
        ),
        Body::Json { .. } => None,
    };
    let made_by = |service: &Certificate| match (&draft.body, &message) {
        (Body::Json { certificate, .. }, _) => certificate.is_signed_by(service.key()).is_ok(),
        (_, Some(message)) => message
            .kid()
            .is_none_or(|kid| kid == hex::encode(service.key_id()).as_bytes()),
        (_, None) => false,
    };
    let given = request.service.clone().filter(|given| made_by(&given.certificate));
    let service = match &given {
        Some(given) => given.certificate.clone(),
        None => services::find(files, signed_in.seqno, made_by)
            .map(|service| service.certificate)
            .ok_or_else(|| {
                let why = format!(
                    "the ledger at hand does not have the service that stands behind the signature {signed_in}"
                );
                no(Code::ReceiptStrange, why)
            })?,
    };
    let (last, endorsements) = match given {
        Some(_) => (None, Vec::new()),
        None => services::endorsements(files, service.key_id()),
    };
    let path = match &found.own {
        Some(_) if matches!(draft.body, Body::Json { .. }) => Vec::new(),
        _ => path(files, &draft.signed, txid.seqno).map_err(|why| no(Code::NoReceipt, why))?,
    };
    let bytes = match &draft.body {
        Body::Json { pem, .. } => {
            let Some(signature) = &draft.signed.signature else {
                return Err(no(Code::NoReceipt, format!("{signed_in} is not signed by a node")));
            };
            let node = hex::encode(signature.node.0);
            write_json_receipt(&draft.leaf, &path, (pem, &node), &signature.sig.0, &endorsements)
        }
        Body::Cose { message, parts } => with_inclusion_proof(message, &write_cbor_proof(parts, &path))
            .map_err(|why| no(Code::NoReceipt, why.to_string()))?,
    };
    // As somebody sees it who trusts the last service; where nothing leads from there, the one that made it.
    let known_from = |certificate: Certificate, name: &str| Trusted {
        name: name.to_owned(),
        certificate,
    };
    let trusted = match (&request.service, last) {
        (Some(given), _) => given.clone(),
        (None, Some(last)) if !endorsements.is_empty() => known_from(last.certificate, "the ledger's last service"),
        (None, _) => known_from(service.clone(), "the service of that time"),
    };
    let presented = Presented::parse(&bytes).map_err(|why| no(Code::ReceiptUnreadable, why.to_string()))?;
    let expected = Expected {
        trusted: vec![trusted],
        endorsements: endorsements.clone(),
        txid: Some(txid),
        in_ledger: Some(InLedger {
            txid,
            leaf: found.entry.leaf,
            root: root.filter(|_| found.own.is_some()),
        }),
        ..Expected::default()
    };
    let mut report = judge(&presented, &expected);
    if report.verdict != crate::report::Verdict::Ok {
        let out_of_time = report.findings.iter().all(|finding| finding.code == Code::ReceiptEpoch);
        let of_next = out_of_time && services::by_chunks(files, signed_in.seqno).any(|next| next.seqno > txid.seqno);
        if request.form == Form::Cose && found.own.is_some() && of_next {
            let why = format!(
                "{txid} is the last signature of its service: the first one in COSE over it, {signed_in}, is the next service's, which is vouched for in its own time only"
            );
            return Err(vec![about(Code::NoReceipt, txid, why).next("ask for --format json")]);
        }
        return Err(report.findings);
    }
    report.signed_in = report.signed_in.or(Some(signed_in));
    notes(files, request, &service, &endorsements, &mut report);
    Ok(Made {
        bytes,
        endorsements,
        signed_in,
        service,
        report,
    })
}

/// What is worth knowing about a receipt that holds.
fn notes(
    files: &LedgerFiles,
    request: &Request<'_>,
    service: &Certificate,
    endorsements: &[Vec<u8>],
    report: &mut ReceiptReport,
) {
    let txid = request.txid;
    if !is_committed(files, txid) {
        let why = format!(
            "{txid} is signed, but the name of the chunk that it is read from does not say that it was committed"
        );
        report.findings.push(about(Code::NotKnownCommitted, txid, why));
    }
    let newest = services::by_chunks(files, u64::MAX).next();
    let is_last = newest.is_some_and(|newest| newest.certificate.key_id() == service.key_id());
    if !is_last && endorsements.is_empty() && request.service.is_none() {
        let why = format!(
            "nothing in this ledger leads from its last service to {}, which made this receipt",
            hex::encode(service.key_id())
        );
        report.findings.push(about(Code::NoEndorsements, txid, why));
    }
    report.verdict = crate::report::Verdict::of(&report.findings);
}

/// Whether the name of the chunk that it is read from says so: nodes name it when everything in it is. Later chunks say
/// nothing of what an open one holds: they may go on from another history.
fn is_committed(files: &LedgerFiles, txid: TxId) -> bool {
    let mut from = files.chunks.iter().rev();
    // What an unfinished recovery committed is given up by the next one.
    from.find(|chunk| chunk.use_from <= txid.seqno)
        .is_some_and(|chunk| chunk.file.name.kind == ChunkKind::Committed)
}

/// What is said where no file has the entry.
fn absent(files: &LedgerFiles, txid: TxId) -> Finding {
    let (first, last) = (files.first_seqno(), files.last_seqno());
    let gap = files.notes.iter().find_map(|note| match note {
        Note::Gap { from, to } if (*from..=*to).contains(&txid.seqno) => Some((*from, *to)),
        _ => None,
    });
    let why = match gap {
        Some((from, to)) => format!("seqnos {from} to {to} are in no file"),
        None if txid.seqno < first => format!("the ledger at hand begins at seqno {first}"),
        None if txid.seqno > last => format!("the ledger at hand ends at seqno {last}"),
        None => "its entry can't be read; `rekindle verify` says why".to_owned(),
    };
    about(Code::NoSuchTransaction, txid, format!("{txid} is not there: {why}"))
}

/// What is said where another transaction has the seqno.
fn other_view(asked: TxId, there: TxId) -> Finding {
    let why = match there.view > asked.view {
        true => format!("{asked} was rolled back, or never was: {there} is there"),
        false => format!("{asked} is not of this ledger: {there} is there, of an earlier view"),
    };
    about(Code::NoSuchTransaction, asked, why)
}

/// What a ledger has at a place, to hold a receipt against it.
///
/// # Errors
/// If the ledger can't be read.
pub fn in_ledger(files: &LedgerFiles, txid: TxId) -> Result<std::result::Result<InLedger, Finding>> {
    Ok(match find(files, txid.seqno, txid.seqno, |_| true)? {
        None => Err(absent(files, txid)),
        Some(found) if found.entry.txid != txid => {
            let why = other_view(txid, found.entry.txid).message;
            Err(about(Code::ReceiptOtherLedger, txid, why))
        }
        Some(found) => Ok(InLedger {
            txid,
            leaf: found.entry.leaf,
            root: found
                .own
                .and_then(|own| own.signature)
                .map(|signature| signature.root.0),
        }),
    })
}
