//! What a verification answers.

use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize};

use crate::format::{Seqno, TxId};
use crate::recovery::attest::{AttestReport, NodesSummary};
use crate::recovery::chronicle::Chronicle;
use crate::recovery::commits::Commit;
use crate::recovery::foundation::Foundation;
use crate::recovery::join::{Mode, SignedRoot};
use crate::recovery::snapshots::SnapshotVerdict;
use crate::recovery::trust::ServiceRecord;
use crate::report::{Finding, Verdict};
use crate::tables::values::HexDigest;

/// What was found. Serialised, it is the document that `--json` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyReport {
    /// The short answer.
    pub verdict: Verdict,
    /// Which signatures were verified: where `integrity` finds damage, all of them are.
    pub mode: Mode,
    /// Entries that could be read.
    pub entries: u64,
    /// Signature transactions with a node's signature.
    pub signatures: u64,
    /// Signature transactions with a COSE signature.
    pub cose_signatures: u64,
    /// Chunk files read.
    pub chunks: usize,
    /// Bytes of entries read.
    pub bytes: u64,
    /// Seqno of the last entry that could be read.
    pub last_seqno: Seqno,
    /// The last transaction up to which everything is proven: what a recovery would keep.
    #[serde(deserialize_with = "present")]
    pub last_signed: Option<TxId>,
    /// The root it signs.
    #[serde(deserialize_with = "present")]
    pub root: Option<HexDigest>,
    /// The node that signed it.
    #[serde(deserialize_with = "present")]
    pub signer: Option<HexDigest>,
    /// Entries after it: what a recovery would drop.
    pub unsigned_entries: u64,
    /// The service identities, oldest first.
    pub services: Vec<ServiceRecord>,
    /// The snapshots.
    pub snapshots: Vec<SnapshotVerdict>,
    /// The service identity that stands behind `last_signed`, if one does.
    #[serde(skip)]
    pub identity: Option<HexDigest>,
    /// What the evidence of all nodes comes to, where it was judged. Most reports lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesSummary>,
    /// The same node by node.
    #[serde(skip)]
    pub attestation: Option<Box<AttestReport>>,
    /// Everything that was found.
    pub findings: Vec<Finding>,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// Rate.
    pub entries_per_s: f64,
    /// Rate.
    pub bytes_per_s: f64,
    /// Root of every signature, where it was asked for.
    #[serde(skip)]
    pub history: Vec<SignedRoot>,
    /// What is proven to have been committed, where the history was asked for.
    #[serde(skip)]
    pub commits: Vec<Commit>,
    /// What a recovery would build on, where it was asked for.
    #[serde(skip)]
    pub foundation: Option<Box<Foundation>>,
    /// What a picture shows beside all this, where it was asked for.
    #[serde(skip)]
    pub chronicle: Option<Box<Chronicle>>,
}

impl VerifyReport {
    /// Counts the time from `began`, where something was done before the verification: listing the files, for one.
    pub fn timed_from(mut self, began: Instant) -> Self {
        self.elapsed_s = began.elapsed().as_secs_f64();
        self.entries_per_s = self.entries as f64 / self.elapsed_s;
        self.bytes_per_s = self.bytes as f64 / self.elapsed_s;
        self
    }
}

/// A field that may be null, but not missing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(field)
}
