//! What is not signed yet, and when a signature of it is due.

use std::time::Duration;

use super::event::Now;
use super::snapshots::Proven;
use crate::format::Seqno;

/// A node that stops waits no longer for a disk that refuses what it is asked.
pub(super) const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// A signature is due after so many bytes, whatever their number: they are in memory until it is durable.
pub(super) const MAX_UNSIGNED_BYTES: u64 = 64 << 20;

/// When signatures are made without being asked for.
#[derive(Clone, Copy, Debug)]
pub struct SignatureSettings {
    /// After so many transactions.
    pub tx_count: u64,
    /// So long after the first transaction that is not signed.
    pub delay: Duration,
}

/// What is not signed yet.
#[derive(Default)]
pub(super) struct Signing {
    /// Transactions since the last signature, and when the first of them was sealed.
    pub(super) unsigned: u64,
    pub(super) unsigned_bytes: u64,
    pub(super) unsigned_since: Option<Duration>,
    /// The next signature ends the chunk.
    pub(super) end_chunk: bool,
}

impl Signing {
    pub(super) fn count(&mut self, now: Now, bytes: u64) {
        self.unsigned += 1;
        self.unsigned_bytes += bytes;
        self.unsigned_since.get_or_insert(now.elapsed);
    }

    /// When the next signature is due by time.
    pub(super) fn due_at(&self, settings: &SignatureSettings) -> Option<Duration> {
        self.unsigned_since.map(|since| since + settings.delay)
    }

    pub(super) fn is_due(&self, now: Now, settings: &SignatureSettings) -> bool {
        let by_count = self.unsigned >= settings.tx_count.max(1);
        let by_bytes = self.unsigned_bytes >= MAX_UNSIGNED_BYTES;
        let by_delay = self.due_at(settings).is_some_and(|due| due <= now.elapsed);
        self.unsigned > 0 && (by_count || by_bytes || by_delay)
    }
}

/// A signature that is sealed, and not committed.
pub(super) struct InFlight {
    pub(super) seqno: Seqno,
    pub(super) proven: Vec<Proven>,
}
