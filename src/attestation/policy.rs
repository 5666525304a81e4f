//! What the store asks of a node that wants in. Plain data: who has the tables fills it, as of the entry that matters.
//! Attestation specification, sections 4.2, 4.3 and 5.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::crypto::{Digest, sha256};

use super::judgement::{Check, Outcome};
use super::product::CpuId;
use super::snp::{Report, Tcb, TcbRow};
use super::uvm::{Statement, svn_of_text};

/// The tables of `public:ccf.gov.nodes.` that decide, under the names of these. Keys are text, as the store has them.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `snp.host_data`: hex of the host data; the security policy's text, or nothing.
    pub host_data: BTreeMap<String, String>,
    /// `snp.measurements`: hex.
    pub measurements: BTreeSet<String>,
    /// `snp.uvm_endorsements`: by DID, by feed, the lowest SVN.
    pub uvm_roots: BTreeMap<String, Feeds>,
    /// `snp.tcb_versions`: by CPUID, the lowest TCB. A row that can't be read is nobody's: keep it out, and say so.
    pub minimum_tcb: BTreeMap<String, TcbRow>,
    /// `code_ids`: MRENCLAVE, hex.
    pub code_ids: BTreeSet<String>,
    /// `virtual.measurements`: text.
    pub virtual_measurements: BTreeSet<String>,
    /// `virtual.host_data`: hex.
    pub virtual_host_data: BTreeSet<String>,
}

/// Feeds of an issuer, each with the lowest SVN as the store has it: digits, or else nothing satisfies it.
pub type Feeds = BTreeMap<String, String>;

/// Reads a value of `snp.uvm_endorsements`: `{"<feed>":{"svn":"<n>"}}`.
///
/// # Errors
/// That it is something else.
pub fn feeds_from_json(json: &[u8]) -> Result<Feeds, String> {
    #[derive(Deserialize)]
    struct Lowest {
        svn: String,
    }
    let rows: BTreeMap<String, Lowest> = serde_json::from_slice(json)
        .map_err(|_| "trusted UVM endorsements are not an object of feeds, each with an svn".to_owned())?;
    Ok(rows.into_iter().map(|(feed, lowest)| (feed, lowest.svn)).collect())
}

/// Whether `text` is what the host data is the digest of.
pub fn is_policy_of(text: &str, host_data: &Digest) -> bool {
    sha256(text.as_bytes()) == *host_data
}

const NO_POLICY: &str = "no policy was given";

/// Host data, and the policy that it is the digest of.
pub(super) fn host_data(policy: Option<&Policy>, found: &Digest) -> [(Check, Outcome); 2] {
    let hex = hex::encode(found);
    let Some(policy) = policy else {
        return [
            (Check::HostData, Outcome::not_done(NO_POLICY)),
            (Check::SecurityPolicy, Outcome::not_done(NO_POLICY)),
        ];
    };
    let Some(text) = policy.host_data.get(&hex) else {
        let failed = Outcome::failed(
            "the host data is not authorised",
            &hex,
            one_of(policy.host_data.keys(), "host data"),
        );
        let not_done = Outcome::not_done("the store has no row for this host data");
        return [(Check::HostData, failed), (Check::SecurityPolicy, not_done)];
    };
    let text = match text.as_str() {
        "" => Outcome::not_done("the store has no text of the security policy"),
        text => Outcome::of(is_policy_of(text, found), || {
            Outcome::failed(
                "the security policy in the store is another one than the host data is the digest of",
                hex::encode(sha256(text.as_bytes())),
                &hex,
            )
        }),
    };
    [(Check::HostData, Outcome::Passed), (Check::SecurityPolicy, text)]
}

/// Whether the store trusts who signed: some (DID, feed) equal as text, with an SVN at most the payload's, as numbers.
pub(super) fn uvm_roots(policy: Option<&Policy>, statement: &Statement) -> Outcome {
    let Some(policy) = policy else {
        return Outcome::not_done(NO_POLICY);
    };
    let (Some(did), Some(feed), Some(svn)) = (&statement.did, &statement.feed, statement.svn) else {
        return Outcome::not_done("the UVM endorsements do not say by whom, for what and with which SVN");
    };
    let lowest = policy.uvm_roots.get(did).and_then(|feeds| feeds.get(feed));
    let expected = match lowest {
        None => "an issuer and feed that the store trusts".to_owned(),
        Some(lowest) => match svn_of_text(lowest) {
            Some(lowest) if lowest <= svn => return Outcome::Passed,
            Some(lowest) => format!("an SVN of at least {lowest}"),
            None => format!("a number as lowest SVN in the store, which has {lowest}"),
        },
    };
    Outcome::failed(
        format!("UVM endorsements did {did}, feed {feed}, svn {svn} do not match any of the known UVM roots of trust"),
        format!("did {did}, feed {feed}, svn {svn}"),
        expected,
    )
}

/// Whether the store has the measurement. Not asked where somebody endorsed it.
pub(super) fn measurement(policy: Option<&Policy>, found: &[u8]) -> Outcome {
    let Some(policy) = policy else {
        return Outcome::not_done(NO_POLICY);
    };
    is_known(
        &policy.measurements,
        &hex::encode(found),
        "the measurement is not authorised",
        "measurement",
    )
}

/// Whether the store has the enclave.
pub(super) fn code_id(policy: Option<&Policy>, mrenclave: &[u8]) -> Outcome {
    let Some(policy) = policy else {
        return Outcome::not_done(NO_POLICY);
    };
    is_known(
        &policy.code_ids,
        &hex::encode(mrenclave),
        "the enclave is not authorised",
        "code id",
    )
}

/// What the store says of a virtual node's two claims.
pub(super) fn of_virtual(policy: Option<&Policy>, measurement: &str, host_data: &str) -> [(Check, Outcome); 2] {
    let Some(policy) = policy else {
        return [Check::HostData, Check::Measurement].map(|check| (check, Outcome::not_done(NO_POLICY)));
    };
    let host_data = is_known(
        &policy.virtual_host_data,
        host_data,
        "the host data is not authorised",
        "host data",
    );
    let measurement = is_known(
        &policy.virtual_measurements,
        measurement,
        "the measurement is not authorised",
        "measurement",
    );
    [(Check::HostData, host_data), (Check::Measurement, measurement)]
}

/// Whether every component satisfies the row for this processor. Keys that differ in case or in bits that say nothing of
/// family, model and stepping mean the same processor; CCF takes the first that it comes upon, in no order, so that each
/// of them has to be satisfied.
pub(super) fn minimum_tcb(policy: Option<&Policy>, report: &Report, tcb: Option<&Tcb>) -> Outcome {
    let Some(policy) = policy else {
        return Outcome::not_done(NO_POLICY);
    };
    let Some(tcb) = tcb else {
        return Outcome::not_done("the product is not known, and so nor is the layout of its TCB");
    };
    let is_of = |key: &str| CpuId::from_hex(key) == Some(report.cpuid);
    let mut rows = policy.minimum_tcb.iter().filter(|(key, _)| is_of(key)).peekable();
    if rows.peek().is_none() {
        return Outcome::failed(
            "the store has no minimum TCB for this processor",
            report.cpuid.to_hex(),
            one_of(policy.minimum_tcb.keys(), "CPUID"),
        );
    }
    for (key, row) in rows {
        let below = row.unsatisfied_by(tcb);
        if !below.is_empty() {
            return Outcome::failed(
                format!("the TCB does not satisfy the minimum for {key}: {}", below.join(", ")),
                tcb.to_string(),
                row.to_string(),
            );
        }
    }
    Outcome::Passed
}

/// Whether the hardware spoke about this key: report data is its digest, then zeros.
pub(super) fn report_data(public_key_der: Option<&[u8]>, found: &[u8]) -> Outcome {
    let Some(key) = public_key_der else {
        return Outcome::not_done("the node's public key was not given");
    };
    let id = sha256(key);
    let (digest, rest) = found.split_at_checked(32).unwrap_or((found, &[]));
    if digest != id {
        return Outcome::failed(
            "the quote's report data is not the digest of the node's public key",
            hex::encode(digest),
            hex::encode(id),
        );
    }
    match rest.iter().all(|byte| *byte == 0) {
        true => Outcome::Passed,
        false => Outcome::remark(format!(
            "bytes 32 to 63 of the report data, which CCF does not look at, are {}",
            hex::encode(rest)
        )),
    }
}

/// Whether the node's record has the measurement of its quote.
pub(super) fn code_digest(recorded: Option<&str>, found: &[u8]) -> Option<Outcome> {
    let recorded = recorded?;
    let found = hex::encode(found);
    Some(Outcome::of(recorded.eq_ignore_ascii_case(&found), || {
        Outcome::failed(
            "the node's record has another measurement than its quote",
            recorded,
            &found,
        )
    }))
}

fn is_known(known: &BTreeSet<String>, found: &str, text: &str, what: &str) -> Outcome {
    Outcome::of(known.contains(found), || {
        Outcome::failed(text, found, one_of(known.iter(), what))
    })
}

/// What the store has instead, as far as a person wants to read it.
fn one_of<'a>(known: impl ExactSizeIterator<Item = &'a String>, what: &str) -> String {
    match known.len() {
        0 => format!("the store has no {what} at all"),
        count @ 1..=3 => {
            let known: Vec<&str> = known.map(String::as_str).collect();
            let one = if count == 1 { "" } else { "one of " };
            format!("{one}{}", known.join(", "))
        }
        count => format!("one of {count} that the store has"),
    }
}

#[cfg(test)]
mod tests;
