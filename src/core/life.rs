//! The life of a recovered service, as far as the log decides it. Recovery specification, section 2.7.
//!
//! ```text
//! public network ─► secrets known ─► private ledger read ─► opened ─► files named ─► open
//!                    committed         (driver)              committed
//! ```

use super::due::DISK_PATIENCE;
use super::effect::{Announcement, Effect, Proposal};
use super::event::{Milestone, Now, Role};
use super::state::Core;
use crate::format::Seqno;
use crate::journal::files::Operation;

impl Core {
    /// A transaction that means something to the service's life is sealed.
    pub(super) fn begins(&mut self, milestone: Milestone, seqno: Seqno) {
        if milestone == Milestone::Opened {
            self.snapshots.enable();
            self.opened_at = Some(seqno);
        }
    }

    /// Everything up to `committed` is: what waited for it follows.
    pub(super) fn live(&mut self, committed: Seqno, out: &mut Vec<Effect>) {
        while let Some((seqno, milestone)) = self.milestones.pop_front_if(|(seqno, _)| *seqno <= committed) {
            if milestone == Milestone::Opened {
                self.operations.push(Operation::NameRecovered, seqno);
                self.chunks.set_recovering(false);
            }
            out.push(Effect::Announce(Announcement::Reached(milestone)));
        }
        let mut wrote_nodes = false;
        while self.nodes_written.pop_front_if(|seqno| *seqno <= committed).is_some() {
            wrote_nodes = true;
        }
        // Where there may be others, consensus asks for it.
        if wrote_nodes && !self.stopping && self.others.is_none() {
            out.push(Effect::Propose(Proposal::Retirements));
        }
    }

    /// The driver has the private state in place.
    pub(super) fn private_ledger_read(&mut self, out: &mut Vec<Effect>) {
        self.is_private_read = true;
        self.propose_opening(out);
    }

    /// The service is to be opened, once its private ledger is read; again, where that was taken back.
    pub(super) fn propose_opening(&mut self, out: &mut Vec<Effect>) {
        let is_due = self.is_private_read && self.opened_at.is_none() && self.role != Role::Backup;
        if is_due && !self.stopping {
            out.push(Effect::Propose(Proposal::Opening));
        }
    }

    /// Another node has opened the service. Where this one has begun to recover it, its files get the names of an open one.
    pub(super) fn opened_elsewhere(&mut self, out: &mut Vec<Effect>) {
        if self.opened_at.is_some() {
            return;
        }
        self.opened_at = Some(self.committed);
        self.snapshots.allow();
        match self.chunks.is_recovering() {
            true => {
                self.operations.push(Operation::NameRecovered, self.committed);
                self.chunks.set_recovering(false);
            }
            false => self.named(out),
        }
    }

    /// The files have the names of an open service.
    pub(super) fn named(&mut self, out: &mut Vec<Effect>) {
        out.push(Effect::Announce(Announcement::Open));
    }

    /// Ends where it is to stop, and the disk has refused what is still to be done for so long that nobody should wait for it.
    pub(super) fn end_if_refused(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_late = self.gives_up_at.is_some_and(|at| now.elapsed >= at);
        if !is_late || self.has_stopped || !self.operations.has_failed() {
            return;
        }
        self.has_stopped = true;
        // Others have what it has sent them, and need not wait until they miss it.
        self.agree(now, out, |consensus, _| consensus.nominate(now.elapsed));
        out.push(Effect::GiveUp {
            reason: format!(
                "this node was told to stop, and for {} s the disk refuses what is still to be written; what is not committed \
                 may be lost here",
                DISK_PATIENCE.as_secs()
            ),
        });
    }

    /// Whether everything is signed, durable and closed.
    pub(super) fn is_at_rest(&self, now: Now) -> bool {
        let is_signed = self.signing.unsigned == 0 || self.role == Role::Backup || self.has_signed_off();
        // Others may be silent, and are not waited for without end.
        let is_late = self.stops_waiting_at.is_some_and(|at| now.elapsed >= at);
        let is_agreed = self.in_flight.is_empty() || self.role == Role::Backup || is_late;
        is_signed && is_agreed && self.operations.is_idle() && self.snapshots.is_idle()
    }
}
