//! What a node is configured with, begins with, and is told.

use std::time::Duration;

use super::claim::Claim;
use super::effect::Effect;
use super::generation::Generation;
use super::message::{Info, Message};
use super::refusal::Refusal;
use super::stage::{OpenKind, Stage};

/// A node of the cluster, as the operator's configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name; before 2026 its address.
    pub id: String,
    /// Where it is reached, `host:port`.
    pub address: String,
}

/// The configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names and shapes.
    pub generation: Generation,
    /// All nodes of the cluster, this one too.
    pub peers: Vec<Peer>,
    /// Between two messages of one kind to one peer.
    pub retry: Duration,
    /// After this the node goes on without those that are missing: once for gossip, once for votes.
    pub failover: Duration,
    /// The rules that a test breaks.
    #[cfg(test)]
    pub(crate) broken: Vec<super::rule::Rule>,
}

/// What a node begins with, once its recovery transaction is committed.
#[derive(Clone, Debug)]
pub struct Start {
    /// What it says of itself. It is one of the peers, under the same id.
    pub own: Info,
    /// Its public key, SubjectPublicKeyInfo in DER.
    pub key: Vec<u8>,
    /// What its ledger has: the last signature that was recovered; after an unfinished attempt, what was
    /// claimed then (`heal::tables::unfinished`).
    pub claim: Claim,
    /// What it had decided in an attempt that was not finished.
    pub earlier: Option<Earlier>,
    /// Fingerprint of the service that is recovered, in hex as `iamopen` says it (2026).
    pub previous_service: Option<String>,
    /// How long the public recovery took.
    pub recovery: Duration,
    /// The ledger had more than could be read.
    pub is_cut_short: bool,
    /// Trusted nodes in the ledger's last configuration, if that is known.
    pub nodes_in_ledger: Option<usize>,
}

/// What an attempt had decided that ended with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// How far it was.
    pub stage: Stage,
    /// Whom it had voted for, or was to join.
    pub chosen: Option<String>,
    /// Why it opened, if it did.
    pub opens: Option<OpenKind>,
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message came, perhaps its own.
    Heard {
        /// The sender's key, of the TLS session, for which the message's evidence has been verified.
        key: Vec<u8>,
        /// What.
        message: Box<Message>,
    },
    /// Time has passed.
    Tick,
}

/// What comes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What a sender is answered: nothing (204), or why it is refused.
    pub answer: Result<(), Refusal>,
    /// What is to be done.
    pub effects: Vec<Effect>,
}
