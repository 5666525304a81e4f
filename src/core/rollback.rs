//! Taking back what is not committed: after an election, and where a recovery begins.

use std::sync::Arc;

use super::due::Signing;
use super::effect::{Announcement, Effect, Outcome};
use super::state::Core;
use crate::format::{Seqno, View};
use crate::journal::{SealKey, Signers};

impl Core {
    /// Forgets everything after `to`, a signature, in memory and in the files; what follows is of the later view `view`.
    pub(super) fn roll_back(&mut self, to: Seqno, view: View, out: &mut Vec<Effect>) {
        let left = self.log.next().view;
        assert!(view > left, "view {view} does not come after {left}");
        self.take_back(to, out);
        assert_eq!(
            self.log.last_signed().map_or(0, |last| last.txid.seqno),
            to,
            "a log is rolled back to a signature"
        );
        self.log.enter(view);
    }

    /// Forgets everything after `to`, in memory and in the files.
    pub(super) fn take_back(&mut self, to: Seqno, out: &mut Vec<Effect>) {
        assert!(
            to >= self.committed,
            "what is after {to} is to be rolled back, but what is up to {} is committed",
            self.committed
        );
        self.operations.roll_back(to);
        for cut in self.chunks.cut(to) {
            self.operations.push(cut, to);
        }
        self.log.roll_back(to);
        let mut unproven = Vec::new();
        while let Some(signed) = self.in_flight.pop_back_if(|signed| signed.seqno > to) {
            // Their evidence stands between `to` and this signature, or an earlier one had proven it.
            unproven.extend(
                signed
                    .proven
                    .into_iter()
                    .map(|proven| (proven.seqno, proven.evidence_seqno)),
            );
        }
        self.milestones.retain(|(seqno, _)| *seqno <= to);
        self.nodes_written.retain(|seqno| *seqno <= to);
        self.opened_at = self.opened_at.filter(|seqno| *seqno <= to);
        self.signing = Signing::default();
        self.durable = self.durable.min(to);
        self.agreed = self.agreed.min(to);
        while let Some((_, ticket)) = self.waiting.pop_back_if(|(txid, _)| txid.seqno > to) {
            out.push(Effect::Answer(ticket, Outcome::RolledBack));
        }
        for (seqno, evidence_seqno) in self.snapshots.roll_back(to, unproven) {
            out.push(Effect::DropSnapshot {
                seqno,
                evidence_seqno: Some(evidence_seqno),
            });
        }
        out.push(Effect::Announce(Announcement::RolledBack { to }));
    }

    /// A disaster, for who makes them up: everything after the last signature is dropped, the view rises as a recovery
    /// raises it, and a new service goes on with a secret of its own in new files.
    pub fn recover(&mut self, key: Arc<SealKey>, signers: Signers) -> Vec<Effect> {
        let mut out = Vec::new();
        let to = self.log.last_signed().map_or(0, |last| last.txid.seqno);
        let view = self.log.view_history().len() as u64 + super::VIEW_STEP;
        self.roll_back(to, view, &mut out);
        if let Some(completion) = self.chunks.complete_last() {
            self.operations.push(completion, to);
        }
        self.chunks.set_recovering(true);
        self.log.start_recovery(key, signers);
        out
    }
}
