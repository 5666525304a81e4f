//! How long work tells how far it is. The library never draws; whoever calls it does.

use crate::format::Seqno;

/// Receives progress. Called from several threads, a few thousand times a second at most.
pub trait Progress: Sync {
    /// A phase begins that will handle this many bytes.
    fn begin(&self, phase: &str, total_bytes: u64);
    /// So many more bytes and entries are done.
    fn advance(&self, bytes: u64, entries: u64);
    /// Everything up to the signature at `seqno` is verified.
    fn signed(&self, _seqno: Seqno) {}
    /// The phase is over.
    fn end(&self);
}

/// Nobody is watching.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _total_bytes: u64) {}
    fn advance(&self, _bytes: u64, _entries: u64) {}
    fn end(&self) {}
}
