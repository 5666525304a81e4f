//! What is counted, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What came and went since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Frames that came.
    pub frames_in: u64,
    /// Frames that were given to a connection.
    pub frames_out: u64,
    /// Bytes that came.
    pub bytes_in: u64,
    /// Bytes that were given to a connection.
    pub bytes_out: u64,
    /// Bytes of memory of what has come and is not taken.
    pub incoming_bytes: u64,
    /// Connections that there are.
    pub connections: u64,
    /// Of these, those over which nothing authentic has come.
    pub strangers: u64,
    /// Frames, messages and connections that were dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames_in: AtomicU64,
    pub(super) frames_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) strangers: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn dropped(&self, why: &'static str) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let count = dropped.entry(why).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn figures(&self) -> Figures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            frames_in: of(&self.frames_in),
            frames_out: of(&self.frames_out),
            bytes_in: of(&self.bytes_in),
            bytes_out: of(&self.bytes_out),
            incoming_bytes: 0,
            connections: of(&self.connections),
            strangers: of(&self.strangers),
            dropped: self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
