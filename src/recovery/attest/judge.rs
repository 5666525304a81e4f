//! Judging evidence in batches, on all threads: what a node shows, held against what was asked of it. Quotes are dropped
//! once they are judged, so that memory follows the batch and not the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::report::{How, NodeReport, PolicyRow};
use super::tables::{Table, Tables};
use crate::attestation::snp::{Report, Tcb, TcbRow};
use crate::attestation::{
    Check, CpuId, Evidence, Facts, Judged, Outcome, Product, Subject, Time, Verdict, Verifier, date,
};
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

/// The caller's list of minimum TCBs: a JSON object from CPUID to an object of components, or to 16 hex digits.
///
/// # Errors
/// What is wrong with it, in words.
pub fn minimum_tcb_from_json(json: &[u8]) -> Result<BTreeMap<CpuId, TcbRow>, String> {
    let rows: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(json).map_err(|why| format!("it is not a JSON object from CPUIDs to TCBs: {why}"))?;
    let mut minima = BTreeMap::new();
    for (key, value) in rows {
        let cpuid = CpuId::from_hex(&key)
            .ok_or_else(|| format!("{key} is no CPUID, expected 8 hex digits such as 00a00f11"))?;
        let row = match value.as_str() {
            None => TcbRow::from_json(value.to_string().as_bytes()),
            Some(digits) => by_hex(cpuid, digits),
        };
        let row = row.map_err(|why| format!("the TCB of {key} can't be read: {why}"))?;
        if row.components().iter().all(|(_, minimum)| minimum.is_none()) {
            return Err(format!(
                "the TCB of {key} has no component: expected at least one of boot_loader, tee, snp, microcode, fmc"
            ));
        }
        minima.insert(cpuid, row);
    }
    Ok(minima)
}

fn by_hex(cpuid: CpuId, digits: &str) -> Result<TcbRow, String> {
    let mut raw = [0; 8];
    hex::decode_to_slice(digits, &mut raw).map_err(|_| "expected 16 hex digits".to_owned())?;
    raw.reverse();
    let product = cpuid.product().ok_or("its CPUID is of no known product")?;
    Ok(Tcb::decode(raw, product).to_row())
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

/// What the node's record says of it.
pub(super) struct Record {
    pub(super) node: String,
    pub(super) from_seqno: u64,
    pub(super) how: How,
    /// PEM; a certificate in 1.x.
    pub(super) public_key: Option<String>,
    pub(super) code_digest: Option<String>,
    pub(super) request: Option<String>,
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
    own.extend(of_record(&record, key.as_ref()));
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
fn read_key(pem: &str) -> Option<VerifyingKey> {
    let certified = || {
        Certificate::from_pem(pem)
            .ok()
            .map(|certificate| certificate.key().clone())
    };
    VerifyingKey::from_spki_pem(pem).ok().or_else(certified)
}

/// Whether the record is of one node: its id, key and certificate request.
fn of_record(record: &Record, key: Option<&VerifyingKey>) -> Vec<(&'static str, Outcome)> {
    let mut own = Vec::new();
    let id = key.map(|key| hex::encode(key.id()));
    own.push((
        "node_id",
        match &id {
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

/// What the caller wants of this processor: only the components that he names.
fn of_callers_minimum(facts: &Facts, minima: &BTreeMap<CpuId, TcbRow>) -> Option<Outcome> {
    let Facts::Snp { report, tcb, .. } = facts else {
        return None;
    };
    let row = minima.get(&report.cpuid)?;
    let Some(tcb) = tcb else {
        return Some(Outcome::not_done("the layout of its TCB is not known"));
    };
    let below: Vec<&str> = row
        .components()
        .into_iter()
        .zip(tcb.components())
        .filter(|((_, minimum), (_, found))| {
            minimum.is_some_and(|minimum| found.is_none_or(|found| u32::from(found) < minimum))
        })
        .map(|((name, _), _)| name)
        .collect();
    Some(match below.is_empty() {
        true => Outcome::Passed,
        false => failed(
            &format!("the TCB is below the list given: {}", below.join(", ")),
            &tcb.to_string(),
            &row.to_string(),
        ),
    })
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

fn report(
    record: Record,
    judged: &Judged,
    own: Vec<(&'static str, Outcome)>,
    tables: Option<&Tables>,
    time: Time,
) -> NodeReport {
    let checks = judged.judgement.checks().iter();
    let outcomes: Vec<(&'static str, &Outcome)> = checks
        .map(|(check, outcome)| (check.as_str(), outcome))
        .chain(own.iter().map(|(name, outcome)| (*name, outcome)))
        .collect();
    let own_fails = own
        .iter()
        .any(|(name, outcome)| outcome.is_failed() && *name != "callers_minimum_tcb");
    let verdict = match judged.judgement.verdict() {
        Verdict::Unattested if own.iter().any(|(name, _)| *name == "evidence") => "fails",
        Verdict::Holds | Verdict::Unfinished(_) if own_fails => "fails",
        verdict => verdict.as_str(),
    };
    let policy: Vec<PolicyRow> = tables
        .map(|tables| rows_asked(&judged.facts, tables))
        .unwrap_or_default();
    let mut report = NodeReport {
        node: record.node,
        from_seqno: record.from_seqno,
        platform: judged.platform.as_str(),
        product: None,
        tcb: None,
        measurement: None,
        host_data: None,
        svn: None,
        how: record.how,
        proposals: Vec::new(),
        verdict,
        checks: outcomes
            .iter()
            .map(|(name, outcome)| (*name, outcome.as_str()))
            .collect(),
        remarks: outcomes
            .iter()
            .filter(|(_, outcome)| !outcome.text().is_empty())
            .map(|(name, outcome)| (*name, outcome.text().into_owned()))
            .collect(),
        steps: Vec::new(),
        policy,
        changed_at: Vec::new(),
        cpuid: None,
        tcb_components: None,
        chip_id: None,
        report_id: None,
        report_version: None,
        did: None,
        feed: None,
        signer: None,
        fetched_on: None,
        expired_on: None,
    };
    tell(&mut report, &judged.facts, time);
    report
}

/// Fills in what the evidence says.
fn tell(to: &mut NodeReport, facts: &Facts, time: Time) {
    match facts {
        Facts::Snp {
            report,
            product,
            tcb,
            endorsements,
            uvm,
        } => {
            to.product = product.map(Product::as_str);
            to.tcb = tcb.map(|tcb| tcb.hexstring());
            to.tcb_components = tcb.map(|tcb| {
                let present = tcb.components().into_iter();
                present.filter_map(|(name, value)| Some((name, value?))).collect()
            });
            to.measurement = Some(hex::encode(report.measurement));
            to.host_data = Some(hex::encode(report.host_data));
            to.cpuid = has_cpuid(report).then(|| report.cpuid.to_hex());
            to.chip_id = Some(hex::encode(report.chip_id));
            to.report_id = Some(hex::encode(report.report_id));
            to.report_version = Some(report.version);
            if let Some(statement) = uvm {
                to.svn = statement.svn;
                to.did = statement.did.as_deref().map(shown);
                to.feed = statement.feed.as_deref().map(shown);
            }
            let ends = endorsements.certificates.iter().flatten();
            to.expired_on = expired(ends.map(|certificate| certificate.validity().not_after_unix_s), time);
        }
        Facts::Sgx { quote, collateral } => {
            let parsed = collateral.parsed.as_ref().ok();
            to.fetched_on = parsed.and_then(|parsed| parsed.created_unix_s).map(date);
            to.measurement = Some(hex::encode(quote.mrenclave));
            to.signer = Some(hex::encode(quote.mrsigner));
            to.svn = Some(quote.svn.into());
            to.report_version = Some(quote.version.into());
        }
        Facts::Virtual { measurement, host_data } => {
            to.measurement = Some(shown(measurement));
            to.host_data = Some(shown(host_data));
        }
        Facts::None => {}
    }
}

/// The first end of a certificate that is over, as a date.
fn expired(ends: impl Iterator<Item = u64>, time: Time) -> Option<String> {
    let (Time::At(now) | Time::Remark(now)) = time else {
        return None;
    };
    ends.filter(|end| *end < now).min().map(date)
}

fn has_cpuid(report: &Report) -> bool {
    report.version >= 3
}

/// Text of the evidence, of bounded length and fit to be shown.
fn shown(text: &str) -> String {
    const MOST: usize = 400;
    let end = text.char_indices().nth(MOST).map_or(text.len(), |(at, _)| at);
    crate::shown::line(text.get(..end).unwrap_or_default()).into_owned()
}

/// The rows of the store that decide about such evidence.
fn rows_asked(facts: &Facts, tables: &Tables) -> Vec<PolicyRow> {
    let mut keys: Vec<(Table, String)> = Vec::new();
    match facts {
        Facts::Snp { report, uvm, .. } => {
            keys.push((Table::HostData, hex::encode(report.host_data)));
            match uvm.as_ref().map(|statement| &statement.did) {
                Some(did) => keys.extend(did.clone().map(|did| (Table::UvmRoots, did))),
                None => keys.push((Table::Measurements, hex::encode(report.measurement))),
            }
            let minimum = tables.minimum_for(report.cpuid);
            keys.extend(minimum.map(|key| (Table::MinimumTcb, key.to_owned())));
        }
        Facts::Sgx { quote, .. } => keys.push((Table::CodeIds, hex::encode(quote.mrenclave))),
        Facts::Virtual { measurement, host_data } => {
            keys.push((Table::VirtualHostData, host_data.clone()));
            keys.push((Table::VirtualMeasurements, measurement.clone()));
        }
        Facts::None => {}
    }
    let row = |(table, key): (Table, String)| {
        let origin = tables.origin(table, &key)?;
        Some(PolicyRow {
            table: table.name(),
            key: shown(&key),
            seqno: origin.seqno,
            proposals: origin.proposals.to_vec(),
        })
    };
    keys.into_iter().filter_map(row).collect()
}

/// SHA-256 of what a node shows, however it is written.
pub(super) fn digest_of(evidence: &Result<Evidence, String>) -> Option<crate::crypto::Digest> {
    let evidence = evidence.as_ref().ok()?;
    let uvm = evidence.uvm_endorsements.as_deref().unwrap_or_default();
    let parts = [evidence.format.as_bytes(), &evidence.quote, &evidence.endorsements, uvm];
    let digests: Vec<u8> = parts.iter().flat_map(|part| sha256(part)).collect();
    Some(sha256(&digests))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_minima_has_components_or_digits() {
        let minima = minimum_tcb_from_json(br#"{"00a00f11":{"snp":24},"00a10f11":"4817000000000a0a"}"#).unwrap();
        let milan = CpuId::from_hex("00a00f11").unwrap();
        let genoa = CpuId::from_hex("00a10f11").unwrap();
        assert_eq!(minima.get(&milan).unwrap().snp, Some(24));
        assert_eq!(minima.get(&genoa).unwrap().boot_loader, Some(0x0a));
        assert_eq!(minima.get(&genoa).unwrap().microcode, Some(0x48));
        for (bad, word) in [
            ("[]", "JSON object"),
            (r#"{"milan":{"snp":1}}"#, "CPUID"),
            (r#"{"00a00f11":"12"}"#, "16 hex digits"),
            (r#"{"00a00f11":{}}"#, "no component"),
            (r#"{"00a00f11":{"snp":-1}}"#, "can't be read"),
            (r#"{"00000000":"4817000000000a0a"}"#, "known product"),
        ] {
            let why = minimum_tcb_from_json(bad.as_bytes()).unwrap_err();
            assert!(why.contains(word), "{bad}: {why}");
        }
    }
}
