//! The states of a node, which `/node/state` names. Recovery specification, section 2.9.

use schemars::JsonSchema;
use serde::Serialize;

/// States of a node, as CCF spells them in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[repr(u8)]
#[schemars(rename = "ccf__NodeStartupState")]
pub enum NodeState {
    /// Before anything.
    Uninitialized,
    /// The configuration is read, the keys are made.
    Initialized,
    /// It asks to be let into a service.
    Pending,
    /// The public ledger is replayed.
    ReadingPublicLedger,
    /// A new service, which knows the public ledger only.
    PartOfPublicNetwork,
    /// The private ledger is decrypted.
    ReadingPrivateLedger,
    /// Open.
    PartOfNetwork,
}

impl NodeState {
    /// All of them, in the order of their numbers.
    pub const ALL: [NodeState; 7] = [
        NodeState::Uninitialized,
        NodeState::Initialized,
        NodeState::Pending,
        NodeState::ReadingPublicLedger,
        NodeState::PartOfPublicNetwork,
        NodeState::ReadingPrivateLedger,
        NodeState::PartOfNetwork,
    ];

    /// The state's name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Uninitialized => "Uninitialized",
            NodeState::Initialized => "Initialized",
            NodeState::Pending => "Pending",
            NodeState::ReadingPublicLedger => "ReadingPublicLedger",
            NodeState::PartOfPublicNetwork => "PartOfPublicNetwork",
            NodeState::ReadingPrivateLedger => "ReadingPrivateLedger",
            NodeState::PartOfNetwork => "PartOfNetwork",
        }
    }
}
