//! Judging evidence in batches, on all threads: what a node shows, held against what was asked of it. Quotes are dropped
//! once they are judged, so that memory follows the batch and not the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::minimum::of_callers_minimum;
use super::report::NodeReport;
use super::tables::Tables;
use super::tell::{Record, report};
use crate::attestation::snp::TcbRow;
use crate::attestation::{Check, CpuId, Evidence, Facts, Judged, Outcome, Subject, Time, Verifier};
use crate::crypto::x509::{Certificate, CertificateRequest};
use crate::crypto::{VerifyingKey, sha256};
use crate::report::{Code, Finding, Findings, Severity};

/// Nodes in a batch at most.
const BATCH_NODES: usize = 256;
/// Bytes of evidence and policies in a batch, about, at most.
const BATCH_BYTES: usize = 16 << 20;

/// What nodes are judged by beside what the ledger says.
pub struct Settings {
    /// Verifies, and remembers what repeats.
    pub verifier: Verifier,
    /// When certificates have to be valid.
    pub time: Time,
    /// The TCB that the caller wants of each processor.
    pub minimum_tcb: BTreeMap<CpuId, TcbRow>,
}

/// A node that waits to be judged.
pub(super) struct Waiting {
    /// Which one, in the order of first writes.
    pub(super) index: usize,
    pub(super) evidence: Result<Evidence, String>,
    pub(super) record: Record,
    /// The policy it is held against; none where it is not known.
    pub(super) tables: Option<Arc<Tables>>,
}

/// Nodes that wait.
#[derive(Default)]
pub(super) struct Batch {
    waiting: Vec<Waiting>,
    bytes: usize,
}

impl Batch {
    /// Adds one.
    pub(super) fn push(&mut self, waiting: Waiting) {
        let evidence = waiting.evidence.as_ref();
        let uvm = |evidence: &Evidence| evidence.uvm_endorsements.as_ref().map_or(0, Vec::len);
        self.bytes += evidence.map_or(0, |evidence| {
            evidence.quote.len() + evidence.endorsements.len() + uvm(evidence)
        });
        let texts = [
            &waiting.record.public_key,
            &waiting.record.request,
            &waiting.record.code_digest,
        ];
        self.bytes += texts
            .iter()
            .map(|text| text.as_ref().map_or(0, String::len))
            .sum::<usize>();
        self.waiting.push(waiting);
    }

    /// Another copy of the policy is kept because somebody waits with the one before.
    pub(super) fn keep_copy(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether it is time to judge.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH_NODES || self.bytes >= BATCH_BYTES
    }

    /// Judges all that wait, in order.
    pub(super) fn judge(&mut self, settings: &Settings, findings: &mut Findings) -> Vec<(usize, NodeReport)> {
        self.bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let judged: Vec<_> = waiting
            .into_par_iter()
            .with_max_len(1)
            .map(|waiting| (waiting.index, judge(waiting, settings)))
            .collect();
        judged
            .into_iter()
            .map(|(index, (report, found))| {
                found.into_iter().for_each(|finding| findings.push(finding));
                (index, report)
            })
            .collect()
    }
}

fn judge(waiting: Waiting, settings: &Settings) -> (NodeReport, Vec<Finding>) {
    let Waiting {
        evidence,
        record,
        tables,
        ..
    } = waiting;
    let mut own: Vec<(&'static str, Outcome)> = Vec::new();
    let evidence = evidence.unwrap_or_else(|why| {
        own.push((
            "evidence",
            failed(&why, "none that can be read", "quote_info as CCF writes it"),
        ));
        Evidence::default()
    });
    let key = record.public_key.as_deref().and_then(read_key);
    let subject = Subject {
        public_key_der: key.as_ref().map(VerifyingKey::spki_der),
        code_digest: record.code_digest.as_deref(),
    };
    let policy = tables.as_ref().map(|tables| &tables.policy);
    let judged = settings.verifier.judge(&evidence, &subject, policy, settings.time);
    let is_quoted = matches!(judged.facts, Facts::Snp { .. } | Facts::Sgx { .. });
    own.extend(of_record(&record, key.as_ref(), is_quoted));
    if let Some(outcome) = of_callers_minimum(&judged.facts, &settings.minimum_tcb) {
        own.push(("callers_minimum_tcb", outcome));
    }
    let findings = findings(&record, &judged, &own);
    let report = report(record, &judged, own, tables.as_deref(), settings.time);
    (report, findings)
}

fn failed(text: &str, found: &str, expected: &str) -> Outcome {
    Outcome::failed(text, found, expected)
}

/// A public key, or a certificate's.
pub(super) fn read_key(pem: &str) -> Option<VerifyingKey> {
    let certified = || {
        Certificate::from_pem(pem)
            .ok()
            .map(|certificate| certificate.key().clone())
    };
    VerifyingKey::from_spki_pem(pem).ok().or_else(certified)
}

/// Whether the record is of one node: its id, key and certificate request. Without a key a quote is nobody's: whose report
/// it shows can't be said.
fn of_record(record: &Record, key: Option<&VerifyingKey>, is_quoted: bool) -> Vec<(&'static str, Outcome)> {
    let mut own = Vec::new();
    let id = key.map(|key| hex::encode(key.id()));
    own.push((
        "node_id",
        match &id {
            None if is_quoted => failed(
                "its record has no public key that can be read, and so nothing says whose quote this is",
                "none",
                "the key that the quote is about",
            ),
            None => Outcome::not_done("its record has no public key that can be read"),
            Some(id) if *id == record.node => Outcome::Passed,
            Some(id) => failed("the node's id is not the digest of its public key", &record.node, id),
        },
    ));
    if let Some(request) = &record.request {
        let asked = CertificateRequest::from_pem(request).map(|request| hex::encode(request.key().id()));
        let outcome = match (asked, &id) {
            (Ok(asked), Some(id)) if asked == *id => Outcome::Passed,
            (Ok(asked), Some(id)) => failed("its certificate request is for another key", &asked, id),
            _ => Outcome::not_done("its certificate request or its key can't be read"),
        };
        own.push(("request_key", outcome));
    }
    own
}

/// The kind of finding that an outcome is, if it is one.
fn code_of(check: Check, outcome: &Outcome, facts: &Facts) -> Option<Code> {
    let is_old = matches!(facts, Facts::Snp { report, .. } if report.version < 3);
    Some(match (outcome, check) {
        (Outcome::Failed(_), Check::Version) if is_old => Code::OldReport,
        (Outcome::Failed(_), Check::Format | Check::Size) => Code::EvidenceUnreadable,
        (Outcome::Failed(_), Check::Validity | Check::UvmValidity) => Code::NotValidThen,
        (Outcome::Failed(_), Check::Debug) => Code::DebugAllowed,
        (Outcome::Failed(_), Check::Revocation) => Code::CertificateRevoked,
        (Outcome::Failed(_) | Outcome::Remark(_), Check::TcbStatus) => Code::SgxTcbStatus,
        (Outcome::Failed(_) | Outcome::Remark(_), Check::CollateralValidity) => Code::SgxCollateralExpired,
        (Outcome::Failed(_), Check::HostData | Check::UvmRoots | Check::Measurement | Check::MinimumTcb) => {
            Code::NotAllowed
        }
        (Outcome::Failed(_), Check::SecurityPolicy) => Code::PolicyRow,
        (Outcome::Failed(_), Check::ReportData | Check::CodeDigest) => Code::EvidenceOfAnother,
        (
            Outcome::Failed(_),
            Check::UvmFormat
            | Check::UvmAlgorithm
            | Check::UvmDid
            | Check::UvmSignature
            | Check::UvmContentType
            | Check::UvmPayload
            | Check::UvmMeasurement,
        ) => Code::UvmEndorsements,
        (Outcome::Remark(_), Check::TcbExact) => Code::TcbNotExact,
        (Outcome::Remark(_), Check::ReportData) => Code::ReportDataMore,
        (Outcome::Failed(_), _) => Code::EvidenceFails,
        _ => return None,
    })
}

/// One finding for each kind of thing that is wrong with a node.
fn findings(record: &Record, judged: &Judged, own: &[(&'static str, Outcome)]) -> Vec<Finding> {
    let mut by_code: BTreeMap<Code, Vec<String>> = BTreeMap::new();
    let mut say = |code: Code, check: &str, outcome: &Outcome| {
        let said = by_code.entry(code).or_default();
        said.push(format!("{check}: {}", outcome.text()));
    };
    for (check, outcome) in judged.judgement.checks() {
        if let Some(code) = code_of(*check, outcome, &judged.facts) {
            say(code, check.as_str(), outcome);
        }
    }
    for (name, outcome) in own.iter().filter(|(_, outcome)| outcome.is_failed()) {
        let code = match *name {
            "evidence" => Code::EvidenceUnreadable,
            "callers_minimum_tcb" => Code::TcbBelow,
            _ => Code::EvidenceOfAnother,
        };
        say(code, name, outcome);
    }
    // A virtual node may claim what it likes: that its claims are not in the store is no more than untidy.
    let is_virtual = !matches!(judged.facts, Facts::Snp { .. } | Facts::Sgx { .. });
    by_code
        .into_iter()
        .map(|(code, said)| {
            let text = format!("node {}: {}", record.node, said.join("; "));
            let finding = Finding::new(code, text).seqno(record.from_seqno);
            match is_virtual && code == Code::NotAllowed {
                true => finding.severity(Severity::Warning),
                false => finding,
            }
        })
        .collect()
}

/// SHA-256 of what a node shows, however it is written.
pub(super) fn digest_of(evidence: &Result<Evidence, String>) -> Option<crate::crypto::Digest> {
    let evidence = evidence.as_ref().ok()?;
    let uvm = evidence.uvm_endorsements.as_deref().unwrap_or_default();
    let parts = [evidence.format.as_bytes(), &evidence.quote, &evidence.endorsements, uvm];
    let digests: Vec<u8> = parts.iter().flat_map(|part| sha256(part)).collect();
    Some(sha256(&digests))
}
