//! What consensus wants done, in this order, before it is told anything else.

use std::collections::BTreeSet;
use std::fmt;

use super::message::Message;
use crate::channel::NodeId;
use crate::format::{Seqno, View};

/// What a node is in its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It orders transactions. The first that it writes is a signature.
    Leader,
    /// Another node does, if one is known.
    Follower {
        /// Who leads.
        leader: Option<NodeId>,
    },
    /// It asks for votes.
    Candidate,
}

/// How far a node's retirement is (node-to-node 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// An entry says Retired.
    Ordered,
    /// A signature covers it.
    Signed,
    /// Which is committed.
    Completed,
    /// `retired_committed` is written, signed and committed: the node has no part in anything any more.
    RetiredCommitted,
}

/// What consensus wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A message goes to a node; with AppendEntries go the entries that it names.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// The entries `after + 1 ..= through` of the frame that was just received are to be verified and appended, and
    /// [`Consensus::accepted`] or [`Consensus::rejected`] to be called, before anything else. The frame's entries up to `after`
    /// are in the ledger already.
    ///
    /// [`Consensus::accepted`]: super::Consensus::accepted
    /// [`Consensus::rejected`]: super::Consensus::rejected
    Verify {
        /// The leader that sent them.
        from: NodeId,
        /// What comes before them.
        after: Seqno,
        /// The last.
        through: Seqno,
        /// The view that every one of them must be of.
        view: View,
    },
    /// Everything after `to` is taken back.
    RollBack {
        /// The last seqno that is kept: never below what is committed.
        to: Seqno,
        /// The view from now on.
        view: View,
    },
    /// The view from now on.
    View(View),
    /// The node's part from now on.
    Role(Role),
    /// Everything up to this signature is committed, for ever.
    Commit(Seqno),
    /// The leader is to write `retired_committed` for these nodes, and a signature: their retirement is committed.
    MarkRetired(Vec<NodeId>),
    /// How far the node's own retirement is; none where the entry that ordered it was rolled back.
    Retirement(Option<Phase>),
    /// The node is retired for good and another leads: the process may end.
    MayLeave {
        /// Who leads.
        leader: NodeId,
    },
    /// A node that left is sent nothing more.
    Forgotten {
        /// Which.
        node: NodeId,
        /// It knows that it left. Otherwise it was silent for too long.
        told: bool,
    },
    /// For the log.
    Note(Note),
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A leader stops leading in its view.
    QuorumSilent,
    /// A greater view was seen.
    GreaterView {
        /// With whom.
        at: NodeId,
        /// Which.
        view: View,
    },
    /// A second leader in one view, or a frame that contradicts itself: dropped.
    Contradiction {
        /// Whose.
        from: NodeId,
        /// What is wrong.
        what: &'static str,
    },
    /// A frame conflicts with what is kept after one conflict in this view was settled: dropped.
    SecondConflict {
        /// Whose.
        from: NodeId,
        /// Where.
        seqno: Seqno,
    },
    /// A follower needs entries that this node does not hold.
    NotHeld {
        /// Which follower.
        node: NodeId,
        /// The last seqno that it may have.
        after: Seqno,
    },
    /// The node asks another one to stand at once.
    Nudges {
        /// Whom.
        node: NodeId,
    },
    /// What is not committed is given up, since nodes that were let in have never answered.
    GivesUp {
        /// Who is silent.
        nodes: BTreeSet<NodeId>,
    },
    /// A node that has left for good, or was never let in for good, brings one greater view after the other: dropped.
    StandsAfterLeaving {
        /// Which.
        node: NodeId,
    },
    /// There is no view left to stand in.
    NoViewLeft,
}

impl Note {
    /// Whether it is about one message: another node can have it said as often as it likes.
    pub fn is_provoked(&self) -> bool {
        matches!(
            self,
            Note::GreaterView { .. }
                | Note::Contradiction { .. }
                | Note::SecondConflict { .. }
                | Note::StandsAfterLeaving { .. }
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::QuorumSilent => write!(
                f,
                "stopped leading: no majority of every active configuration has answered for an election time-out"
            ),
            Note::GreaterView { at, view } => write!(f, "node {at} is in view {view}, which is followed"),
            Note::Contradiction { from, what } => write!(f, "a message of node {from} is dropped: {what}"),
            Note::SecondConflict { from, seqno } => write!(
                f,
                "a frame of node {from} is dropped: it contradicts entry {seqno}, after one contradiction in this view was settled"
            ),
            Note::NotHeld { node, after } => write!(
                f,
                "node {node} needs the entries after {after}, which are not held here: it needs a snapshot, or another leader"
            ),
            Note::Nudges { node } => write!(f, "node {node} is asked to lead at once"),
            Note::GivesUp { nodes } if nodes.is_empty() => write!(
                f,
                "everything that is not committed is given up: no node would take part any more, and nothing could ever be \
                 committed again; a service needs one node at least"
            ),
            Note::GivesUp { nodes } => {
                let nodes: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
                write!(
                    f,
                    "everything that is not committed is given up, their admission included: without an answer of {} nothing \
                     could ever be committed again; start these nodes anew and let them join again",
                    nodes.join(", ")
                )
            }
            Note::StandsAfterLeaving { node } => write!(
                f,
                "a message of node {node} is dropped: it takes no part in the service, and brings one greater view after the other; stop it"
            ),
            Note::NoViewLeft => write!(
                f,
                "no election: the view is as far from that of the ledger's last signature as elections may lead, or the greatest of all"
            ),
        }
    }
}
