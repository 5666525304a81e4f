//! What the decision wants done, in this order.

use super::claim::Claim;
use super::message::{Info, Message};
use super::stage::{OpenKind, Stage};
use super::warning::Warning;

/// What is written to the node's own tables (`heal::tables::write`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A peer was heard for the first time.
    Peer {
        /// What it says of itself.
        info: Info,
        /// Its public key, SubjectPublicKeyInfo in DER.
        key: Vec<u8>,
    },
    /// A peer's first gossip.
    Gossip {
        /// Whose.
        id: String,
        /// What its ledger has.
        claim: Claim,
    },
    /// A peer's vote for this node.
    Vote {
        /// Whose.
        id: String,
    },
    /// Whom this node voted for, or joins.
    Chosen {
        /// Which.
        id: String,
    },
    /// How far the node is.
    Stage(Stage),
    /// What the next time-out would end.
    TimeoutStage(Stage),
    /// Why it opens.
    Opens(OpenKind),
}

/// What is to be done, in order. What is recorded must be durable before anything that follows it is done: a vote that
/// was heard by its other end must not be forgotten here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Is written. All of one step go into one transaction.
    Record(Record),
    /// Goes to a peer, as [`Message::write`] writes it, and is sent once: it is repeated by later steps. Messages to
    /// this node itself are given back to it.
    Send {
        /// The peer's id.
        to: String,
        /// Where it is reached, `host:port`.
        address: String,
        /// What.
        message: Message,
    },
    /// The service is to be opened without a proposal: `transition_service_to_open` from the identity before to its own.
    Open(OpenKind),
    /// The node is to end, and one that joins to begin (`heal::outcome`).
    Join {
        /// What the winner said of itself.
        winner: Info,
        /// Where the configuration says that it is reached, `host:port`.
        address: String,
    },
    /// For the log and `/node/state`.
    Warn(Warning),
}
