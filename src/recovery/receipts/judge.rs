//! Whether a receipt proves what it claims, to somebody who trusts certain services. Nothing is read and nothing sent here.
//!
//! The path must lead to a root that the signer signed; the signer must be the trusted service, one that it vouches for by
//! endorsements, or a node with a certificate of such a service; and what was expected must be what is proven. Dates of
//! certificates are not looked at, as in CCF: a receipt proves what was, not what is.

use serde::Serialize;

use super::chain::{Chain, Epoch, KnownKey, follow};
use crate::crypto::cose::Sign1;
use crate::crypto::digest::Digest;
use crate::crypto::ecdsa::VerifyingKey;
use crate::crypto::x509::{AnyCertificate, Certificate};
use crate::format::TxId;
use crate::merkle::presented::{Leaf, Parts, Presented, sides};
use crate::merkle::receipt::Signer;
use crate::report::{Code, Finding, Severity, Verdict};
use crate::tables::values::HexDigest;

mod words;

use words::say_what_is_proven;

/// Verifiable data structure 2: the CCF ledger.
const VDS_CCF_LEDGER: i64 = 2;

/// A service that is trusted, and where its certificate comes from.
#[derive(Clone)]
pub struct Trusted {
    /// A file's name, or words.
    pub name: String,
    /// The certificate.
    pub certificate: Certificate,
}

/// A digest that is expected, and what it is of.
#[derive(Clone)]
pub struct ExpectedDigest {
    /// A file's name, or words.
    pub name: String,
    /// The digest.
    pub digest: Digest,
}

/// What a ledger has where the receipt says that its transaction is.
#[derive(Clone)]
pub struct InLedger {
    /// The ledger's transaction.
    pub txid: TxId,
    /// Its leaf.
    pub leaf: Digest,
    /// The root that it signs, where it is a signature transaction.
    pub root: Option<Digest>,
}

/// What a receipt is held against.
#[derive(Clone, Default)]
pub struct Expected {
    /// The services trusted; one is enough.
    pub trusted: Vec<Trusted>,
    /// COSE endorsements beside those in the receipt.
    pub endorsements: Vec<Vec<u8>>,
    /// The transaction that it must be of.
    pub txid: Option<TxId>,
    /// What its claims digest must be.
    pub claims: Option<ExpectedDigest>,
    /// What its write set digest must be.
    pub write_set: Option<ExpectedDigest>,
    /// The entry that it must be of.
    pub in_ledger: Option<InLedger>,
    /// Why there is no such entry in the ledger that it is held against.
    pub not_in_ledger: Option<Finding>,
}

/// What a receipt proves. Serialised, it is the document that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiptReport {
    /// The short answer.
    pub verdict: Verdict,
    /// `json` or `cose`.
    pub form: &'static str,
    /// The transaction that it is of, where the receipt or the ledger names it.
    pub transaction: Option<TxId>,
    /// Whether it is of a signature transaction.
    pub of_signature: bool,
    /// The signature transaction that covers it, where the receipt says which.
    pub signed_in: Option<TxId>,
    /// The root that its path leads to.
    pub root: HexDigest,
    /// The node that signed, if one did.
    pub node: Option<HexDigest>,
    /// The service that stands behind the signature.
    pub service: Option<HexDigest>,
    /// The certificate trusted that led to it.
    pub trusted_by: Option<String>,
    /// Endorsements between the two.
    pub endorsements: usize,
    /// Digest of the entry.
    pub write_set_digest: Option<HexDigest>,
    /// What the application claims.
    pub claims_digest: Option<HexDigest>,
    /// What is proven, in sentences.
    pub proven: Vec<String>,
    /// What is not, in sentences.
    pub not_proven: Vec<String>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// Judges a receipt.
pub fn judge(receipt: &Presented, expected: &Expected) -> ReceiptReport {
    let endorsements = [&receipt.cose_endorsements[..], &expected.endorsements].concat();
    let trusted: Vec<VerifyingKey> = expected
        .trusted
        .iter()
        .map(|service| service.certificate.key().clone())
        .collect();
    let mut judge = Judge {
        receipt,
        expected,
        chain: follow(&trusted, &endorsements),
        findings: Vec::new(),
    };
    let root = receipt.root();
    let signed = match &receipt.signer {
        Signer::Node {
            certificate,
            node_id,
            signature,
            ..
        } => judge.by_node(certificate, node_id, signature, &root),
        Signer::Service(message) => judge.by_service(message, &root),
    };
    judge.expectations();
    let transaction = judge.transaction();
    if let (Some(signed), Some(txid)) = (&signed, transaction) {
        judge.epoch(signed, txid);
    }
    judge.report(signed, transaction, root)
}

/// Who stands behind a signature that holds.
struct SignedBy {
    /// The key trusted or endorsed that the signature led to.
    known: KnownKey,
    /// The service's own key: another one where certificates lie between.
    service: Digest,
    /// Certificates between the two.
    certificates: usize,
}

struct Judge<'r> {
    receipt: &'r Presented,
    expected: &'r Expected,
    chain: Chain,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn say(&mut self, code: Code, why: impl Into<String>) {
        self.findings.push(Finding::new(code, why));
    }

    fn by_node(&mut self, node: &Certificate, node_id: &str, signature: &[u8], root: &Digest) -> Option<SignedBy> {
        let id = hex::encode(node.key_id());
        if id != node_id {
            let found: String = node_id.chars().take(80).collect();
            self.say(
                Code::ReceiptNode,
                format!("it names node {found}, but the key of its certificate is that of {id}"),
            );
        }
        if let Err(why) = node.key().verify_prehashed_der(root, signature) {
            self.say(Code::ReceiptSignature, not_signed(root, &format!("node {id}"), &why));
        }
        // From the node's certificate up, until somebody known has signed.
        let mut below = node;
        let mut service = None;
        for certificates in 0..=self.receipt.service_endorsements.len() {
            let signer = self
                .chain
                .keys
                .iter()
                .find(|known| below.is_signed_by(&known.key).is_ok());
            if let Some(known) = signer.cloned() {
                let service = service.unwrap_or_else(|| known.key.id());
                return Some(SignedBy {
                    known,
                    service,
                    certificates,
                });
            }
            let Some(next) = self.receipt.service_endorsements.get(certificates) else {
                break;
            };
            if let Err(why) = endorses(next, below) {
                let text = format!("certificate {} of its service_endorsements {why}", certificates + 1);
                self.say(Code::ReceiptEndorsement, text);
                break;
            }
            service.get_or_insert(next.key_id());
            below = next;
        }
        let how = match self.receipt.service_endorsements.len() {
            0 => String::new(),
            n => format!(", nor do its {n} service_endorsements lead to one"),
        };
        self.strange(format!(
            "no service trusted has signed the certificate of node {id}{how}"
        ));
        None
    }

    fn by_service(&mut self, message: &Sign1, root: &Digest) -> Option<SignedBy> {
        self.header(message);
        let Some(kid) = message.kid() else {
            self.say(Code::ReceiptHeader, "its header does not say whose key signed (kid)");
            return None;
        };
        let is_named = |known: &&KnownKey| hex::encode(known.key.id()).as_bytes() == kid;
        let Some(known) = self.chain.keys.iter().find(is_named).cloned() else {
            let kid: String = String::from_utf8_lossy(kid).chars().take(80).collect();
            self.strange(format!(
                "it is signed by the service {kid}, which is none of those trusted"
            ));
            return None;
        };
        let service = known.key.id();
        if let Err(why) = message.verify(&known.key, Some(root)) {
            let who = format!("service {}", hex::encode(service));
            self.say(Code::ReceiptSignature, not_signed(root, &who, &why));
            return None;
        }
        Some(SignedBy {
            known,
            service,
            certificates: 0,
        })
    }

    /// What the protected header must say, so that it is a ledger's signature after the transaction.
    fn header(&mut self, message: &Sign1) {
        if message.verifiable_data_structure() != Some(VDS_CCF_LEDGER) {
            let found = message
                .verifiable_data_structure()
                .map_or("nothing".to_owned(), |found| found.to_string());
            self.say(
                Code::ReceiptHeader,
                format!("its header says {found} of the kind of structure (vds), expected 2, a CCF ledger"),
            );
        }
        let Some(text) = message.txid() else { return };
        let text: String = text.chars().take(40).collect();
        let signed_in = signed_in(message);
        let fits = signed_in.zip(self.receipt.txid()).is_some_and(|(signature, of)| {
            let path: Vec<bool> = self.receipt.path.iter().map(|step| step.left).collect();
            signature.seqno > of.seqno && signature.view >= of.view && sides(of.seqno, signature.seqno) == path
        });
        if !fits {
            let of = self.receipt.txid().map_or("none".to_owned(), |of| of.to_string());
            self.say(
                Code::ReceiptHeader,
                format!("its signature stands in transaction {text}, in whose tree its path does not lead from {of}"),
            );
        }
    }

    /// Nobody trusted stands behind it: also says what became of the endorsements.
    fn strange(&mut self, why: String) {
        let faults = std::mem::take(&mut self.chain.faults);
        for (at, fault) in &faults {
            let text = format!("endorsement {} is of no use: {fault}", at + 1);
            self.say(Code::ReceiptEndorsement, text);
        }
        let found = self.chain.keys.iter().filter(|known| known.steps > 0).count();
        let how = match found {
            0 => String::new(),
            n => format!("; endorsements lead from those trusted to {n} others, not to this one"),
        };
        self.say(Code::ReceiptStrange, format!("{why}{how}"));
    }

    fn epoch(&mut self, signed: &SignedBy, txid: TxId) {
        let Some(Epoch { begin, end }) = signed.known.epoch else {
            return;
        };
        let service = hex::encode(signed.service);
        if signed.certificates > 0 {
            // A certificate that an endorsed service gave to an earlier one vouches for what was before its own time.
            if txid.seqno >= begin.seqno || txid.view >= begin.view {
                let text = format!(
                    "service {service} is vouched for up to {begin}, when another one began, but {txid} is not before that"
                );
                self.say(Code::ReceiptEpoch, text);
            }
        } else if !(Epoch { begin, end }).covers(txid) {
            let text = format!("service {service} is vouched for from {begin} to {end}, which {txid} is not in");
            self.say(Code::ReceiptEpoch, text);
        }
    }

    fn parts(&self) -> Option<&Parts> {
        match &self.receipt.leaf {
            Leaf::Parts(parts) => Some(parts),
            Leaf::Plain(_) => None,
        }
    }

    fn expectations(&mut self) {
        let parts = self.parts().cloned();
        let shown = |digest: Option<Digest>| digest.map_or("none".to_owned(), hex::encode);
        if let Some(claims) = &self.expected.claims {
            let found = parts.as_ref().and_then(|parts| parts.claims_digest);
            if found != Some(claims.digest) {
                self.say(
                    Code::ReceiptClaims,
                    format!(
                        "its claims digest is {}, that of {} is {}",
                        shown(found),
                        claims.name,
                        hex::encode(claims.digest)
                    ),
                );
            }
        }
        if let Some(write_set) = &self.expected.write_set {
            let found = parts.as_ref().map(|parts| parts.write_set_digest);
            if found != Some(write_set.digest) {
                self.say(
                    Code::ReceiptWriteSet,
                    format!(
                        "its write set digest is {}, that of {} is {}",
                        shown(found),
                        write_set.name,
                        hex::encode(write_set.digest)
                    ),
                );
            }
        }
        if let Some(wanted) = self.expected.txid {
            match self.receipt.txid() {
                Some(found) if found != wanted => {
                    self.say(
                        Code::ReceiptTransaction,
                        format!("it is of transaction {found}, not of {wanted}"),
                    );
                }
                None if self.expected.in_ledger.is_none() => self.say(
                    Code::ReceiptTransaction,
                    format!("it does not name its transaction, so nothing says that it is {wanted}"),
                ),
                _ => {}
            }
        }
        self.findings.extend(self.expected.not_in_ledger.clone());
        if let Some(there) = self.expected.in_ledger.clone() {
            let leaf = match self.receipt.is_of_signature() {
                true => there.root,
                false => Some(there.leaf),
            };
            let named = self.receipt.txid();
            if named.is_some_and(|named| named != there.txid) {
                let named = named.map_or(String::new(), |named| named.to_string());
                let text = format!("it is of transaction {named}, where the ledger has {}", there.txid);
                self.say(Code::ReceiptOtherLedger, text);
            } else if leaf != Some(self.receipt.leaf.digest()) {
                let text = format!("it is not of the transaction that the ledger has at {}", there.txid);
                self.say(Code::ReceiptOtherLedger, text);
            }
        }
    }

    /// The transaction: as the receipt names it, or as the ledger shows.
    fn transaction(&self) -> Option<TxId> {
        let fits = !self
            .findings
            .iter()
            .any(|finding| finding.code == Code::ReceiptOtherLedger);
        let there = self
            .expected
            .in_ledger
            .as_ref()
            .filter(|_| fits)
            .map(|there| there.txid);
        self.receipt.txid().or(there)
    }

    fn report(self, signed: Option<SignedBy>, transaction: Option<TxId>, root: Digest) -> ReceiptReport {
        let parts = self.parts().cloned();
        let verdict = Verdict::of(&self.findings);
        // Where it names its transaction, that a ledger has another there does not take from what it proves.
        let of_ledger = [Code::ReceiptOtherLedger, Code::NoSuchTransaction];
        let mut against = self.findings.iter();
        let holds = against.all(|finding| parts.is_some() && of_ledger.contains(&finding.code));
        let (form, node, message) = match &self.receipt.signer {
            Signer::Node { certificate, .. } => ("json", Some(certificate.key_id()), None),
            Signer::Service(message) => ("cose", None, Some(message)),
        };
        let trusted = signed
            .as_ref()
            .and_then(|signed| self.expected.trusted.get(signed.known.trusted));
        let mut report = ReceiptReport {
            verdict,
            form,
            transaction,
            of_signature: self.receipt.is_of_signature(),
            signed_in: message.and_then(|message| signed_in(message)),
            root: HexDigest(root),
            node: node.map(HexDigest),
            service: signed.as_ref().map(|signed| HexDigest(signed.service)),
            trusted_by: trusted.map(|trusted| trusted.name.clone()),
            endorsements: signed
                .as_ref()
                .map_or(0, |signed| signed.known.steps + signed.certificates),
            write_set_digest: parts.as_ref().map(|parts| HexDigest(parts.write_set_digest)),
            claims_digest: parts.as_ref().and_then(|parts| parts.claims_digest).map(HexDigest),
            proven: Vec::new(),
            not_proven: Vec::new(),
            findings: self.findings,
        };
        report
            .findings
            .sort_by_key(|finding| finding.severity != Severity::Error);
        if holds {
            say_what_is_proven(
                &mut report,
                self.receipt,
                self.expected,
                message.and_then(|m| m.issued_at()),
                signed.as_ref().and_then(|signed| signed.known.epoch),
            );
        } else {
            report.not_proven.push("anything: see the findings".to_owned());
        }
        report
    }
}

fn not_signed(root: &Digest, who: &str, why: &crate::crypto::Error) -> String {
    format!(
        "its path leads to the root {}, which {who} has not signed: {why}",
        hex::encode(root)
    )
}

/// Whether a certificate may endorse the one below it, and does.
fn endorses(certificate: &Certificate, below: &Certificate) -> Result<(), String> {
    below
        .is_signed_by(certificate.key())
        .map_err(|why| format!("has not signed the one below it: {why}"))?;
    let constraints = AnyCertificate::from_der(certificate.der())
        .and_then(|any| any.basic_constraints())
        .map_err(|why| format!("can't be read: {why}"))?;
    match constraints {
        Some(constraints) if constraints.is_ca => Ok(()),
        _ => Err("is no service's: it may not sign certificates".to_owned()),
    }
}

fn signed_in(message: &Sign1) -> Option<TxId> {
    let text = message.txid()?;
    let txid: TxId = text.parse().ok()?;
    (txid.to_string() == text).then_some(txid)
}

#[cfg(test)]
mod tests;
