//! What a node that begins a service writes of itself into the tables that say which nodes may join. Attestation
//! specification, section 5.1.
//!
//! CCF's node writes what it is over what members had agreed to: a recovery on older firmware lowers their minimum without a
//! word, and all feeds of a UVM issuer but the node's own are lost. Here what members had stays wherever the node itself
//! satisfies it, and every change is a finding. What the node does not satisfy can't stay: it would not be let in itself.

use serde_json::json;

use crate::attestation::snp::TcbRow;
use crate::attestation::uvm::svn_of_text;
use crate::attestation::{OwnEvidence, OwnUvm, SnpEvidence};
use crate::kv::store::Transaction;
use crate::report::{Code, Finding, Severity};
use crate::tables::json::Fields;
use crate::tables::values::{from_json, to_json};
use crate::tables::{SINGLETON_KEY, names};

const ALLOWED: &str = "AllowedToJoin";

/// As much of a text of the tables as a finding shows.
fn brief(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What to write, and what there is to say about it.
#[derive(Default)]
pub struct OwnPolicy {
    writes: Vec<(&'static str, String, Vec<u8>)>,
    /// Where members had another policy than the node is, or CCF would write another.
    pub findings: Vec<Finding>,
}

impl OwnPolicy {
    /// Decides it for a service whose tables are these.
    pub fn of(transaction: &Transaction<'_>, evidence: &OwnEvidence) -> OwnPolicy {
        let mut policy = OwnPolicy::default();
        match evidence {
            OwnEvidence::Virtual(quote) => {
                let measurement = String::from_utf8_lossy(evidence.measurement()).into_owned();
                policy.write(names::NODES_VIRTUAL_MEASUREMENTS, measurement, to_json(&ALLOWED));
                let host_data = quote.host_data.clone();
                policy.write(names::NODES_VIRTUAL_HOST_DATA, host_data, SINGLETON_KEY.to_vec());
            }
            OwnEvidence::Snp(snp) => {
                policy.host_data(transaction, snp);
                match snp.uvm() {
                    Some(uvm) => policy.feeds(transaction, uvm),
                    None => {
                        let measurement = hex::encode(evidence.measurement());
                        policy.write(names::NODES_SNP_MEASUREMENTS, measurement, to_json(&ALLOWED));
                    }
                }
                policy.minimum_tcb(transaction, snp);
            }
        }
        policy
    }

    /// Writes it.
    pub fn put(self, transaction: &mut Transaction<'_>) {
        for (table, key, value) in self.writes {
            transaction.put(table, key, value);
        }
    }

    fn write(&mut self, table: &'static str, key: String, value: Vec<u8>) {
        self.writes.push((table, key, value));
    }

    fn find(&mut self, severity: Severity, message: String) {
        self.findings
            .push(Finding::new(Code::OwnPolicy, message).severity(severity));
    }

    /// The security policy's text, where the node has it. What members noted stays where it has not: the row is the same.
    fn host_data(&mut self, transaction: &Transaction<'_>, snp: &SnpEvidence) {
        let key = hex::encode(snp.report().host_data);
        let is_there = transaction.get(names::NODES_SNP_HOST_DATA, key.as_bytes()).is_some();
        match snp.security_policy() {
            None if is_there => {}
            text => self.write(names::NODES_SNP_HOST_DATA, key, to_json(&text.unwrap_or_default())),
        }
    }

    /// The node's own feed beside the others of its issuer, with the node's SVN as the lowest.
    fn feeds(&mut self, transaction: &Transaction<'_>, own: &OwnUvm) {
        let table = names::NODES_SNP_UVM_ENDORSEMENTS;
        let before = transaction.get(table, own.did.as_bytes());
        let read = |value: &[u8]| from_json::<Fields>(value).ok();
        let mut feeds = Fields::default();
        if let Some(before) = before {
            match read(before) {
                Some(read) => feeds = read,
                None => self.find(Severity::Warning,
                    format!(
                        "what the service had of the UVM endorsements' issuer {} is no object of feeds: it is replaced by \
                         this node's own feed {}",
                        own.did, own.feed
                    ),
                ),
            }
        }
        let others: Vec<&str> = feeds
            .iter()
            .map(|(feed, _)| feed)
            .filter(|feed| *feed != own.feed)
            .collect();
        if !others.is_empty() {
            let message = format!(
                "feeds {} of the UVM endorsements' issuer {} stay beside this node's own, {}: CCF would drop them here",
                brief(&others.join(", ")),
                own.did,
                own.feed
            );
            self.find(Severity::Info, message);
        }
        if let Some(before) = feeds.get(&own.feed) {
            let before = before.read::<Fields>().and_then(|before| before.read::<String>("svn"));
            let before = before.unwrap_or_default();
            let lowest = svn_of_text(&before);
            let severity = match lowest {
                Some(lowest) if lowest == own.svn => None,
                Some(lowest) if lowest < own.svn => Some((Severity::Info, "raised")),
                _ => Some((Severity::Warning, "lowered")),
            };
            if let Some((severity, how)) = severity {
                let message = format!(
                    "the lowest SVN of feed {} is {how} from \"{}\" to this node's own, {}: others with less than that \
                     can't join",
                    own.feed,
                    brief(&before),
                    own.svn
                );
                self.find(severity, message);
            }
        }
        feeds.set(&own.feed, &json!({"svn": own.svn.to_string()}));
        self.write(table, own.did.clone(), feeds.to_json());
    }

    /// The node's own TCB as the minimum for its processor: the stricter one wherever the node satisfies what members had.
    fn minimum_tcb(&mut self, transaction: &Transaction<'_>, snp: &SnpEvidence) {
        let (table, key) = (names::NODES_SNP_TCB_VERSIONS, snp.cpuid().to_hex());
        let own = snp.tcb();
        let before = transaction.get(table, key.as_bytes()).map(TcbRow::from_json);
        match before {
            None => {}
            Some(Err(why)) => self.find(
                Severity::Warning,
                format!("the minimum TCB for processor {key} is replaced by this node's own, {own}: {why}"),
            ),
            Some(Ok(before)) => {
                let below = before.unsatisfied_by(own);
                if !below.is_empty() {
                    let message = format!(
                        "the minimum TCB for processor {key} is lowered from {} to this node's own, {own}: the node \
                         does not satisfy {} of what members had set",
                        brief(&before.to_string()),
                        below.join(", ")
                    );
                    self.find(Severity::Warning, message);
                } else if before.components() != own.to_row().components() {
                    let message = format!(
                        "the minimum TCB for processor {key} is raised from {} to this node's own, {own}, as in CCF: \
                         nodes with less can't join",
                        brief(&before.to_string())
                    );
                    self.find(Severity::Info, message);
                }
            }
        }
        self.write(table, key, to_json(&own.to_row()));
    }
}

#[cfg(test)]
mod tests;
