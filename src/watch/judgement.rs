//! What is thought of a service at one moment: states, nodes, majorities, claims.

use std::collections::BTreeSet;

use serde::Serialize;

use super::answers::NodeId;
use crate::format::TxId;

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A majority agrees on a primary.
    Stable,
    /// A majority lives and has no primary, for no longer than elections take.
    Election,
    /// Nodes that live follow different primaries, for longer than elections take.
    Partition,
    /// No primary for long, or no majority is heard; why is not known, or it may be on our side.
    Unavailable,
    /// No majority of a current configuration can form any more.
    RecoveryNeeded,
    /// No majority of it can form, and a service that was recovered more often answers in its place.
    Replaced,
    /// No node has said yet who belongs to the service.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] = [
        State::Stable,
        State::Election,
        State::Partition,
        State::Unavailable,
        State::RecoveryNeeded,
        State::Replaced,
        State::Unknown,
    ];

    /// As it is written in JSON, arguments and labels.
    pub fn name(self) -> &'static str {
        match self {
            State::Stable => "stable",
            State::Election => "election",
            State::Partition => "partition",
            State::Unavailable => "unavailable",
            State::RecoveryNeeded => "recovery_needed",
            State::Replaced => "replaced",
            State::Unknown => "unknown",
        }
    }
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It leads.
    Leads,
    /// It follows a primary.
    Follows,
    /// It has no primary.
    Seeks,
    /// It answers, and takes no part (yet, or any more).
    Outside,
    /// Others hear it; we do not.
    HeardOf,
    /// Nobody hears it, not for long.
    Silent,
    /// Nobody hears it, and it counts as lost.
    Lost,
}

/// A node, as it is seen now.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where it answers, or is said to be.
    pub address: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// Milliseconds since the last word of life, its own or by hearsay.
    pub silent_ms: u64,
    /// When it answered last, in milliseconds since 1970; absent if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at_ms: Option<u64>,
    /// Which node says that it lives, where it does not say so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_by: Option<NodeId>,
    /// The primary that it claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<NodeId>,
    /// Its view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<u64>,
    /// What it has committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<TxId>,
    /// What its `/node/state` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What came of the last look, where it is not an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A configuration, and who of it is not lost.
#[derive(Clone, Debug, Serialize)]
pub struct Majority {
    /// The seqno that it holds from.
    pub seqno: u64,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many of them a majority takes.
    pub needed: usize,
    /// How many are not lost.
    pub left: usize,
}

/// A view, the primary that is claimed in it, and who claims it.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// The view.
    pub view: u64,
    /// The primary.
    pub primary: NodeId,
    /// Who says so.
    pub by: Vec<NodeId>,
}

/// What is thought of a service at one moment, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// The state.
    pub state: State,
    /// The primary that a majority agrees on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<NodeId>,
    /// The view of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<u64>,
    /// Why, in sentences.
    pub evidence: Vec<String>,
    /// Every current configuration: a majority is needed in each.
    pub configurations: Vec<Majority>,
    /// Every node of them.
    pub nodes: Vec<Node>,
    /// Which primaries are claimed in which views.
    pub claims: Vec<Claim>,
    /// Whether more than one is, or a node that lives follows none of them. Kept for how long that lasts.
    #[serde(skip)]
    pub astray: BTreeSet<NodeId>,
}
