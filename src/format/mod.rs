//! The bytes on disk, reader and writer side by side: entry, domain, chunk, snapshot, file names, directory, whole files.
//!
//! Invariants of the layer:
//! - Readers borrow: an [`entry::Entry`] points into the mapped file, nothing is copied.
//! - Every byte is hostile. Readers return [`Malformed`], which names the place, what was found and what was
//!   expected; they never panic, never index without proof and never allocate by a length they have not checked.
//! - What one side writes, the other reads back to the same value: the tests of each module hold both.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod ahead;
pub mod chunk;
pub mod chunk_writer;
pub mod cursor;
pub mod directory;
pub mod domain;
pub mod entry;
pub mod layout;
pub mod located;
pub mod map;
pub mod mounts;
pub mod names;
pub mod private;
pub mod search;
pub mod snapshot;
pub mod whole_file;

/// A sequence number: the position of a transaction in the ledger, counted from 1.
pub type Seqno = u64;
/// A view: the term of the primary that ordered a transaction.
pub type View = u64;

/// How far the view may rise from one entry to the next. A node that can't reach the others stands for election every few
/// seconds, each time in the next view: this is days of that. It bounds what the last signature transaction of a node
/// alone can claim, whose view no signature covers.
pub const MAX_VIEW_STEP: View = 1 << 16;
/// The highest view of any ledger: snapshots hold eight bytes for each.
pub const MAX_VIEW: View = 1 << 20;

/// A transaction's identity, written `view.seqno`. Ordered as CCF ranks histories: by view, then seqno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TxId {
    /// The view.
    pub view: View,
    /// The seqno.
    pub seqno: Seqno,
}

impl std::fmt::Display for TxId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.view, self.seqno)
    }
}

impl From<TxId> for String {
    fn from(id: TxId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for TxId {
    type Error = String;
    fn try_from(text: String) -> Result<TxId, String> {
        text.parse()
    }
}

impl std::str::FromStr for TxId {
    type Err = String;
    fn from_str(text: &str) -> Result<TxId, String> {
        let parsed = text.split_once('.').and_then(|(view, seqno)| {
            Some(TxId {
                view: view.parse().ok()?,
                seqno: seqno.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("\"{text}\" is not a transaction ID: expected VIEW.SEQNO, such as 2.345"))
    }
}

/// Bytes that are not what the format says: where in the examined slice, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {what}")]
pub struct Malformed {
    /// Offset from the start of the slice that was being read.
    pub offset: usize,
    /// What was found and what was expected there.
    pub what: String,
}

impl Malformed {
    /// A new complaint about the byte at `offset`.
    pub fn at(offset: usize, what: impl Into<String>) -> Malformed {
        Malformed {
            offset,
            what: what.into(),
        }
    }

    /// The same complaint, seen from a slice that starts `base` bytes earlier.
    pub fn shifted(mut self, base: usize) -> Malformed {
        self.offset = self.offset.saturating_add(base);
        self
    }
}
