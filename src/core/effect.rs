//! What the core wants done.

use super::event::{Milestone, Ticket};
use crate::channel::NodeId;
use crate::consensus::{self, Message, Note, Phase};
use crate::format::domain::WriteSet;
use crate::format::private::PrivateWrites;
use crate::format::{Seqno, TxId};
use crate::journal::files::Operation;
use crate::journal::snapshot::Draft;
use crate::kv::store::Store;

/// What the core wants done. Effects are carried out in order.
pub enum Effect {
    /// The ledger's files are to change; the driver answers with [`Event::Done`] or [`Event::Failed`]. One at a time.
    ///
    /// [`Event::Done`]: super::Event::Done
    /// [`Event::Failed`]: super::Event::Failed
    Perform(Operation),
    /// A snapshot is to be written from the state that is committed at its seqno, beside everything else.
    Snapshot(Draft),
    /// A snapshot whose evidence is in the ledger gets its name.
    NameSnapshot {
        /// The seqno of its state.
        seqno: Seqno,
        /// The seqno of its evidence.
        evidence_seqno: Seqno,
    },
    /// A snapshot whose evidence is committed gets its receipt and its committed name.
    ProveSnapshot {
        /// The seqno of its state.
        seqno: Seqno,
        /// The seqno of its evidence.
        evidence_seqno: Seqno,
        /// Receipt of the evidence.
        receipt: Vec<u8>,
    },
    /// A snapshot whose evidence was rolled back is removed.
    DropSnapshot {
        /// The seqno of its state.
        seqno: Seqno,
        /// The seqno that its evidence had, if it was written.
        evidence_seqno: Option<Seqno>,
    },
    /// A message goes to another node; with AppendEntries go the entries that it names.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Entries that came with the message that was just heard are to be checked and given to the core in order, as
    /// [`Event::Followed`], or [`Event::FrameRefused`] in the place of the first that is bad, before anything else.
    ///
    /// [`Event::Followed`]: super::Event::Followed
    /// [`Event::FrameRefused`]: super::Event::FrameRefused
    Verify {
        /// Whose they are.
        from: NodeId,
        /// What comes before the first of them.
        after: Seqno,
        /// The last.
        through: Seqno,
    },
    /// Whoever submitted a transaction is told what became of it.
    Answer(Ticket, Outcome),
    /// Something is true from now on.
    Announce(Announcement),
    /// A transaction is wanted that takes more than the core knows: the driver makes and submits it.
    Propose(Proposal),
    /// Everything is signed, durable and closed.
    Stopped,
    /// The disk has failed for good: the process is to end, with its ledger as it is.
    GiveUp {
        /// Why, in words.
        reason: String,
    },
}

impl Effect {
    /// Whether carrying it out tells the core something at once: such effects come after all others of a step.
    pub(super) fn steps_again(&self) -> bool {
        matches!(self, Effect::Verify { .. } | Effect::Propose(_))
    }

    /// A transaction that was sealed here is part of the state.
    pub(super) fn applied(txid: TxId, writes: WriteSet) -> Effect {
        let private = PrivateWrites::default();
        Effect::Announce(Announcement::Applied { txid, writes, private })
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the ledger's files, or had nothing to write and read the state after this transaction.
    Written(TxId),
    /// It was in the ledger, and is not any more.
    RolledBack,
    /// It never was.
    Refused(Refusal),
}

/// Why a transaction is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another node writes.
    NotPrimary,
    /// Too much is not committed yet.
    TooManyUncommitted,
    /// The node is stopping.
    Stopping,
    /// It can't be an entry.
    Unsealable(String),
}

/// Something is true from now on.
pub enum Announcement {
    /// A transaction is part of the state. Transactions that are made from now on see it.
    Applied {
        /// The transaction.
        txid: TxId,
        /// What it wrote; of another node's entry, to public maps.
        writes: WriteSet,
        /// What another node's entry writes to private maps.
        private: PrivateWrites,
    },
    /// Everything up to this signature stays.
    Committed {
        /// The signature.
        txid: TxId,
        /// First seqno of each view, from view 1 on.
        view_history: Vec<Seqno>,
    },
    /// Everything after this seqno is gone.
    RolledBack {
        /// The last seqno that is kept.
        to: Seqno,
    },
    /// A transaction of this kind is committed.
    Reached(Milestone),
    /// The recovered service is open, and its files have their names.
    Open,
    /// What became of the agreement with other nodes.
    Agreed(Agreed),
    /// The ledger's files can't be written for now; it is tried again.
    Waiting {
        /// Why, in words.
        reason: String,
    },
    /// They can be written again.
    Resumed,
}

/// What whoever drives a core that agrees with others has to know of it.
pub enum Agreed {
    /// What this node is in its view.
    Role(consensus::Role),
    /// How far its retirement is; none where it was taken back.
    Retirement(Option<Phase>),
    /// It is retired for good, and another leads: it may end.
    MayLeave {
        /// Who leads.
        leader: NodeId,
    },
    /// A node that left is sent nothing more.
    Forgotten {
        /// Which.
        node: NodeId,
        /// It knows that it left.
        told: bool,
    },
    /// What an operator may want to know of the agreement.
    Note(Note),
}

/// A transaction that the core wants, and that takes more than it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Nodes whose retirement is committed are marked.
    Retirements,
    /// The recovered service is opened.
    Opening,
}

/// Brings the state to where a step has left the log: what is rolled back goes, and what is applied comes, in the step's order.
/// A node that begins to lead takes back what is not signed and signs at once, in one step. The writes move into the state. Answers the last transaction that was
/// applied, if any was, or `None` where the step has not touched the state.
pub fn state_after(effects: &mut [Effect], store: &mut Store) -> Option<Option<TxId>> {
    let mut touched = None;
    for effect in effects {
        match effect {
            Effect::Announce(Announcement::Applied { txid, writes, private }) => {
                store.take(txid.seqno, std::mem::take(writes));
                store.take_private(std::mem::take(private));
                touched = Some(Some(*txid));
            }
            Effect::Announce(Announcement::RolledBack { to }) => {
                store.rollback(*to);
                touched = Some(touched.flatten().filter(|last: &TxId| last.seqno <= *to));
            }
            _ => {}
        }
    }
    touched
}
