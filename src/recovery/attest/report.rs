//! What is said of nodes and of the whole. Serialised, it is the document that `rekindle attest --json` prints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::Seqno;
use crate::report::{Finding, Verdict};

/// The attestation of all nodes that a ledger ever knew.
#[derive(Clone, Debug, Serialize)]
pub struct AttestReport {
    /// The short answer, of all findings.
    pub verdict: Verdict,
    /// Up to this seqno the ledger is proven, and nodes were looked for.
    pub proven_to: Seqno,
    /// What all of them come to.
    pub summary: NodesSummary,
    /// The nodes, in the order of their first writes.
    pub nodes: Vec<NodeReport>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// How many nodes there are of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodesSummary {
    /// Nodes whose evidence holds, by platform and product, such as `SNP Milan`.
    pub attested: BTreeMap<String, u64>,
    /// Nodes with evidence of which a check failed.
    pub failed: u64,
    /// Nodes with evidence that could not be looked at as a whole.
    pub unfinished: u64,
    /// Virtual ones.
    #[serde(rename = "virtual")]
    pub virtual_nodes: u64,
    /// Nodes without a quote.
    pub without_quote: u64,
}

/// How a node came into the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It began a service, at a start or a recovery: nobody but the members who opened that service looked at it.
    SelfDeclared,
    /// A service let it in.
    Admitted,
    /// A snapshot's state, where the ledger begins, has it: what let it in is not known.
    Snapshot,
}

impl How {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            How::SelfDeclared => "self-declared",
            How::Admitted => "admitted",
            How::Snapshot => "known from the snapshot",
        }
    }
}

/// A step in the life of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStep {
    /// Where it was written.
    pub seqno: Seqno,
    /// `Pending`, `Trusted`, `Retired`, `RetiredCommitted`, `Removed`, ...
    pub status: String,
    /// The proposals that were accepted in that transaction.
    pub proposals: Vec<String>,
}

/// A row of the policy that let a node in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    /// The table's name.
    pub table: &'static str,
    /// The row's key.
    pub key: String,
    /// Where it was written last before the node came.
    pub seqno: Seqno,
    /// The proposals that were accepted in that transaction; none where a service was created.
    pub proposals: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Its id.
    pub node: String,
    /// Where it was written first.
    pub from_seqno: Seqno,
    /// `snp`, `sgx`, `virtual` or `none`.
    pub platform: &'static str,
    /// `Milan`, `Genoa`, `Turin`.
    pub product: Option<&'static str>,
    /// The reported TCB, 16 hex digits as CCF prints it.
    pub tcb: Option<String>,
    /// Measurement of the guest or enclave, hex; of a virtual node, what it says.
    pub measurement: Option<String>,
    /// What the host gave at launch: in CCF the digest of the security policy.
    pub host_data: Option<String>,
    /// Security version number: of the UVM endorsements, or of the enclave.
    pub svn: Option<u64>,
    /// How it came.
    pub how: How,
    /// The proposals that made it Trusted, and those that put the policies there by which it was let in.
    pub proposals: Vec<String>,
    /// `holds`, `fails`, `unfinished` or `unattested`.
    pub verdict: &'static str,
    /// What became of each check: `passed`, `remark`, `failed` or `not_done`.
    pub checks: BTreeMap<&'static str, &'static str>,
    /// What there is to say about checks that did not simply pass.
    pub remarks: BTreeMap<&'static str, String>,
    /// Its life.
    pub steps: Vec<NodeStep>,
    /// The rows of the policy that were asked.
    pub policy: Vec<PolicyRow>,
    /// Seqnos at which another quote, key or measurement was written for it.
    pub changed_at: Vec<Seqno>,
    /// Which processor: leaf 1 EAX of the CPUID instruction, hex.
    pub cpuid: Option<String>,
    /// Components of the TCB.
    pub tcb_components: Option<BTreeMap<&'static str, u8>>,
    /// Which chip, hex.
    pub chip_id: Option<String>,
    /// Which launch of a guest, hex.
    pub report_id: Option<String>,
    /// Version of report or quote.
    pub report_version: Option<u32>,
    /// Who signed the measurement.
    pub did: Option<String>,
    /// For what.
    pub feed: Option<String>,
    /// Who signed the enclave, hex.
    pub signer: Option<String>,
    /// When an SGX node fetched its collateral, as it says itself: the only date in any evidence.
    pub fetched_on: Option<String>,
    /// The first day after which a certificate of the evidence is not valid any more.
    pub expired_on: Option<String>,
}

impl NodesSummary {
    /// Counts a node.
    pub(super) fn count(&mut self, node: &NodeReport) {
        let number = match (node.verdict, node.platform) {
            ("holds", _) => self.attested.entry(node.kind()).or_default(),
            ("unfinished", _) => &mut self.unfinished,
            ("fails", "snp" | "sgx") => &mut self.failed,
            (_, "virtual") => &mut self.virtual_nodes,
            _ => &mut self.without_quote,
        };
        *number += 1;
    }

    /// For a person: `3 attested (SNP Milan), 1 virtual`.
    pub fn in_words(&self) -> String {
        let mut parts: Vec<String> = self
            .attested
            .iter()
            .map(|(kind, count)| format!("{count} attested ({kind})"))
            .collect();
        for (count, what) in [
            (self.failed, "with evidence that does not hold"),
            (self.unfinished, "with evidence that could not be checked as a whole"),
            (self.virtual_nodes, "virtual"),
            (self.without_quote, "without a quote"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        match parts.is_empty() {
            true => "none".to_owned(),
            false => parts.join(", "),
        }
    }
}

impl NodeReport {
    /// Platform and product: `SNP Milan`, `SGX`, `virtual`.
    pub fn kind(&self) -> String {
        match (self.platform, self.product) {
            ("snp", Some(product)) => format!("SNP {product}"),
            ("snp", None) => "SNP".to_owned(),
            ("sgx", _) => "SGX".to_owned(),
            ("virtual", _) => "virtual".to_owned(),
            _ => "no quote".to_owned(),
        }
    }
}
