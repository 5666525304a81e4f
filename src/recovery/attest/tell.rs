//! A judged node in words and numbers: what its evidence says, and which rows of the policy were asked.

use super::report::{How, NodeReport, PolicyRow};
use super::tables::{Table, Tables};
use crate::attestation::snp::Report;
use crate::attestation::{Facts, Judged, Outcome, Product, Time, Verdict};
use crate::shown::date;
use crate::shown::excerpt;

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

/// Everything that is said of a node, but for its life.
pub(super) fn report(
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
                to.did = statement.did.as_deref().map(excerpt);
                to.feed = statement.feed.as_deref().map(excerpt);
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
            to.measurement = Some(excerpt(measurement));
            to.host_data = Some(excerpt(host_data));
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
            key: excerpt(&key),
            seqno: origin.seqno,
            proposals: origin.proposals.to_vec(),
        })
    };
    keys.into_iter().filter_map(row).collect()
}
