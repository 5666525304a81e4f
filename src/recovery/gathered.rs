//! What a recovery will build on, collected on the way.

use super::check::Check;
use super::fingerprint::Fingerprint;
use super::scan::{MAX_VIEW, TrustWrite};
use super::seqno_set::SeqnoSet;
use crate::format::{Seqno, View};
use crate::tables::values::{HistoricalSecret, from_json};

/// What is collected on the way.
#[derive(Clone, Default)]
pub(super) struct Gathered {
    /// First seqno of each view, from view 1 on.
    pub(super) view_history: Vec<Seqno>,
    /// Every write of the historical secrets.
    pub(super) historical: Vec<(Seqno, HistoricalSecret)>,
    /// Of all entries joined so far.
    pub(super) fingerprint: Fingerprint,
    /// Entries that write to public tables.
    pub(super) written: SeqnoSet,
    /// Seqno of the last signature transaction.
    pub(super) last_signature: Seqno,
    /// The last two signatures that verified, the last one last.
    pub(super) proven: Vec<Proven>,
}

#[derive(Clone)]
pub(super) struct Proven {
    pub(super) seqno: Seqno,
    pub(super) chunk_index: usize,
    pub(super) offset: u64,
    pub(super) fingerprint: Fingerprint,
    pub(super) cose: Option<Vec<u8>>,
}

impl Gathered {
    /// Begins after a snapshot.
    pub(super) fn after(seqno: Seqno, view_history: Vec<Seqno>, historical: Option<(Seqno, HistoricalSecret)>) -> Self {
        Gathered {
            view_history,
            historical: historical.into_iter().collect(),
            last_signature: seqno,
            ..Gathered::default()
        }
    }

    /// Meets a signature transaction.
    pub(super) fn sign(&mut self, seqno: Seqno, view: View) {
        let first = self.last_signature + 1;
        // A view beyond the bound was reported where it was met, so nothing from there on is built upon.
        if view > MAX_VIEW {
            return;
        }
        while (self.view_history.len() as u64) < view {
            self.view_history.push(first);
        }
        self.last_signature = seqno;
    }

    /// Takes a write of the historical secrets.
    pub(super) fn take_historical(&mut self, write: &TrustWrite) {
        if let Some(Ok(value)) = write.value.as_deref().map(from_json::<HistoricalSecret>) {
            self.historical.push((write.seqno, value));
        }
    }

    /// A signature verified, with everything before it.
    pub(super) fn prove(&mut self, check: &Check) {
        if self.proven.len() > 1 {
            self.proven.remove(0);
        }
        self.proven.push(Proven {
            seqno: check.txid.seqno,
            chunk_index: check.chunk_index,
            offset: check.offset,
            fingerprint: check.fingerprint,
            cose: check.cose.as_ref().map(|(_, message)| message.clone()),
        });
    }
}
