//! The life of a recovered service, as far as the log decides it. Recovery specification, section 2.7.
//!
//! ```text
//! public network ─► secrets known ─► private ledger read ─► opened ─► files named ─► open
//!                    committed         (driver)              committed
//! ```

use super::effect::{Announcement, Effect, Proposal};
use super::event::{Milestone, Role};
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
}
