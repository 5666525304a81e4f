//! The evidence that a node brings itself: what it writes of itself into the ledger, and shows to others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::crypto::VerifyingKey;

use super::evidence::{Evidence, Platform, Subject};
use super::judgement::Check;
use super::policy::{Policy, is_policy_of};
use super::product::CpuId;
use super::snp::{Report, Tcb};
use super::time::Time;
use super::verifier::{Facts, Verifier};
use super::virtual_node::{VIRTUAL_MEASUREMENT, VirtualQuote};

/// Where a node's evidence comes from.
pub trait Attestation: Send {
    /// What stands behind it.
    fn platform(&self) -> Platform;

    /// Evidence that this machine has this key, and runs what it runs. May take long: files are read, servers asked.
    ///
    /// # Errors
    /// In words: why there is none, and what to do. A node without evidence is no node.
    fn attest(&self, key: &VerifyingKey) -> Result<OwnEvidence, String>;
}

/// A node's own evidence.
#[derive(Clone, Debug)]
pub enum OwnEvidence {
    /// Nothing but its own word.
    Virtual(VirtualQuote),
    /// A processor's.
    Snp(Box<SnpEvidence>),
}

/// Evidence of SEV-SNP that holds: nothing else is one of these. Whether a service's policy allows it is another question.
#[derive(Clone, Debug)]
pub struct SnpEvidence {
    report: Report,
    tcb: Tcb,
    endorsements: String,
    uvm: Option<OwnUvm>,
    security_policy: Option<String>,
}

/// UVM endorsements of a node's own measurement, which hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnUvm {
    /// The COSE_Sign1, as it was given.
    pub cose: Vec<u8>,
    /// Who signed: a did:x509.
    pub did: String,
    /// What for.
    pub feed: String,
    /// The security version number.
    pub svn: u64,
}

/// What a node was given beside its endorsements.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The report, from the device.
    pub report: Vec<u8>,
    /// The COSE_Sign1 over its measurement, if there is one.
    pub uvm_endorsements: Option<Vec<u8>>,
    /// The security policy that its host data is the digest of, if it is known.
    pub security_policy: Option<String>,
}

/// Checks that depend on the endorsements: others may pass them where these don't.
const OF_ENDORSEMENTS: [Check; 11] = [
    Check::Count,
    Check::RootKey,
    Check::RootSelf,
    Check::Chain,
    Check::Validity,
    Check::Signature,
    Check::Tcb,
    Check::TcbExact,
    Check::ChipId,
    Check::CertifiedProduct,
    Check::Revocation,
];

impl Given {
    /// Whether a node may rest on this at all, whatever endorsements there will be; answers the report.
    ///
    /// # Errors
    /// Why not, in CCF's words where it has any.
    pub fn check(&self, verifier: &Verifier, key: &VerifyingKey, time: Time) -> Result<Report, String> {
        let judged = verifier.judge(&self.evidence(""), &subject(key), None, time);
        let lasting = |check: &Check| !OF_ENDORSEMENTS.contains(check);
        if let Some((check, failure)) = judged.judgement.failures().find(|(check, _)| lasting(check)) {
            let text = format!(
                "{} (found {}, expected {})",
                failure.text, failure.found, failure.expected
            );
            return Err(match check.as_str().starts_with("uvm_") {
                true => format!("Error verifying UVM endorsements: {text}"),
                false => text,
            });
        }
        let Facts::Snp { report, .. } = judged.facts else {
            return Err("the device gave no report".to_owned());
        };
        match &self.security_policy {
            Some(text) if !is_policy_of(text, &report.host_data) => Err(format!(
                "Digest of decoded security policy {} does not match attestation host data {}: the policy file is not the \
                 one that this guest was launched with",
                hex::encode(crate::crypto::sha256(text.as_bytes())),
                hex::encode(report.host_data)
            )),
            _ => Ok(report),
        }
    }

    fn evidence(&self, endorsements: &str) -> Evidence {
        Evidence {
            format: SNP_FORMAT.to_owned(),
            quote: self.report.clone(),
            endorsements: endorsements.as_bytes().to_vec(),
            uvm_endorsements: self.uvm_endorsements.clone(),
            endorsed_tcb: None,
        }
    }

    fn own_policy(&self, report: &Report, tcb: &Tcb, uvm: Option<&OwnUvm>) -> Policy {
        let mut policy = Policy::default();
        let text = self.security_policy.clone().unwrap_or_default();
        policy.host_data.insert(hex::encode(report.host_data), text);
        policy.minimum_tcb.insert(report.cpuid.to_hex(), tcb.to_row());
        match uvm {
            Some(uvm) => {
                let feeds = [(uvm.feed.clone(), uvm.svn.to_string())].into();
                policy.uvm_roots.insert(uvm.did.clone(), feeds);
            }
            None => drop(policy.measurements.insert(hex::encode(report.measurement))),
        }
        policy
    }

    /// The evidence with these endorsements: PEM of VCEK, ASK and ARK. Every check is made that one who joins has to pass;
    /// so nobody who hands out endorsements can make a node rest on others than its chip's.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn endorsed_by(
        &self,
        endorsements: &str,
        verifier: &Verifier,
        key: &VerifyingKey,
        time: Time,
    ) -> Result<SnpEvidence, String> {
        self.check(verifier, key, time)?;
        let evidence = self.evidence(endorsements);
        let judged = verifier.judge(&evidence, &subject(key), None, time);
        let Facts::Snp {
            report,
            tcb: Some(tcb),
            uvm,
            ..
        } = judged.facts
        else {
            return Err("the report's TCB can't be read".to_owned());
        };
        let uvm = match (&self.uvm_endorsements, uvm) {
            (Some(cose), Some(statement)) => {
                let (Some(did), Some(feed), Some(svn)) = (&statement.did, &statement.feed, statement.svn) else {
                    return Err("the UVM endorsements do not say by whom, for what and with which SVN".to_owned());
                };
                Some(OwnUvm {
                    cose: cose.clone(),
                    did: did.clone(),
                    feed: feed.clone(),
                    svn,
                })
            }
            _ => None,
        };
        // As strictly as for one that joins a service whose policy is this very node.
        let policy = self.own_policy(&report, &tcb, uvm.as_ref());
        let judged = verifier.judge(&evidence, &subject(key), Some(&policy), time);
        if let Some((check, outcome)) = judged.judgement.refusal() {
            return Err(format!("{check}: {}", outcome.text()));
        }
        Ok(SnpEvidence {
            report,
            tcb,
            endorsements: endorsements.to_owned(),
            uvm,
            security_policy: self.security_policy.clone(),
        })
    }
}

const SNP_FORMAT: &str = "AMD_SEV_SNP_v1";

fn subject(key: &VerifyingKey) -> Subject<'_> {
    Subject {
        public_key_der: Some(key.spki_der()),
        code_digest: None,
    }
}

impl SnpEvidence {
    /// The report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Which processor it is: signed by the processor itself.
    pub fn cpuid(&self) -> CpuId {
        self.report.cpuid
    }

    /// The reported TCB.
    pub fn tcb(&self) -> &Tcb {
        &self.tcb
    }

    /// Who signed the measurement, where somebody did.
    pub fn uvm(&self) -> Option<&OwnUvm> {
        self.uvm.as_ref()
    }

    /// The security policy: its digest is the host data.
    pub fn security_policy(&self) -> Option<&str> {
        self.security_policy.as_deref()
    }
}

impl OwnEvidence {
    /// What stands behind it.
    pub fn platform(&self) -> Platform {
        match self {
            OwnEvidence::Virtual(_) => Platform::Virtual,
            OwnEvidence::Snp(_) => Platform::Snp,
        }
    }

    /// The name of the quote's format.
    pub fn format(&self) -> &'static str {
        match self {
            OwnEvidence::Virtual(_) => "Insecure_Virtual",
            OwnEvidence::Snp(_) => SNP_FORMAT,
        }
    }

    /// The report, or the text that stands for one.
    pub fn quote(&self) -> &[u8] {
        match self {
            OwnEvidence::Virtual(quote) => quote.text.as_bytes(),
            OwnEvidence::Snp(snp) => snp.report.bytes(),
        }
    }

    /// PEM of VCEK, ASK and ARK; nothing where nobody vouches.
    pub fn endorsements(&self) -> &str {
        match self {
            OwnEvidence::Virtual(_) => "",
            OwnEvidence::Snp(snp) => &snp.endorsements,
        }
    }

    /// The COSE_Sign1 over the measurement.
    pub fn uvm_endorsements(&self) -> Option<&[u8]> {
        match self {
            OwnEvidence::Virtual(_) => None,
            OwnEvidence::Snp(snp) => snp.uvm.as_ref().map(|uvm| uvm.cose.as_slice()),
        }
    }

    /// What the node runs, as bytes; `code_digest` and `measurement` are its hex.
    pub fn measurement(&self) -> &[u8] {
        match self {
            OwnEvidence::Virtual(_) => VIRTUAL_MEASUREMENT.as_bytes(),
            OwnEvidence::Snp(snp) => &snp.report.measurement,
        }
    }

    /// `quote_info` in `nodes.info`. Attestation specification, section 1.
    pub fn info(&self) -> Value {
        let mut info = json!({
            "endorsements": STANDARD.encode(self.endorsements()),
            "format": self.format(),
            "quote": STANDARD.encode(self.quote()),
        });
        if let (Some(cose), Some(info)) = (self.uvm_endorsements(), info.as_object_mut()) {
            info.insert("uvm_endorsements".to_owned(), STANDARD.encode(cose).into());
        }
        info
    }
}

impl From<VirtualQuote> for OwnEvidence {
    fn from(quote: VirtualQuote) -> Self {
        OwnEvidence::Virtual(quote)
    }
}

impl From<SnpEvidence> for OwnEvidence {
    fn from(evidence: SnpEvidence) -> Self {
        OwnEvidence::Snp(Box::new(evidence))
    }
}

#[cfg(test)]
mod tests;
