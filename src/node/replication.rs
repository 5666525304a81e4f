//! Who takes part in the service, as `/node/consensus` shows it: one node, which is alone.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::format::{Seqno, View};

/// `details` of `/node/consensus`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ConsensusDetails {
    /// What other nodes acknowledged: there are none.
    pub acks: BTreeMap<String, Ack>,
    /// Who takes part, newest last.
    pub configs: Vec<Configuration>,
    /// The view.
    pub current_view: View,
    /// What this node is among the others.
    pub leadership_state: LeadershipState,
    /// Whether it takes part.
    pub membership_state: MembershipState,
    /// The primary.
    pub primary_id: String,
    /// How nodes come and go.
    pub reconfiguration_type: ReconfigurationType,
    /// Whether time passes.
    pub ticking: bool,
}

/// What another node acknowledged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConsensusDetails__Ack")]
pub struct Ack {
    /// Milliseconds since it was last heard.
    pub last_received_ms: u64,
    /// The last seqno that it has.
    pub seqno: Seqno,
}

/// Who takes part from a seqno on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Configuration {
    /// That seqno.
    pub idx: Seqno,
    /// The nodes, by id.
    pub nodes: BTreeMap<String, ConsensusNode>,
    /// The number of the reconfiguration.
    pub rid: Seqno,
}

/// How other nodes reach a node.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConsensusNodeConfig")]
pub struct ConsensusNode {
    /// Its node-to-node address.
    pub address: String,
}

/// What a node is among the others.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum LeadershipState {
    /// It writes.
    Leader,
}

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum MembershipState {
    /// It does.
    Active,
}

/// How nodes come and go.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum ReconfigurationType {
    /// With one transaction.
    OneTransaction,
}

/// One node: what it has signed is committed.
pub struct Solo {
    /// The node.
    pub node_id: String,
    /// Its node-to-node address.
    pub address: String,
    /// Seqno of the transaction that made it the only member.
    pub since: Seqno,
    /// The view in which it is primary.
    pub view: u64,
}

impl Solo {
    /// `details` of `/node/consensus`.
    pub fn describe(&self) -> ConsensusDetails {
        let address = self.address.clone();
        let nodes = BTreeMap::from([(self.node_id.clone(), ConsensusNode { address })]);
        ConsensusDetails {
            acks: BTreeMap::new(),
            configs: vec![Configuration {
                idx: self.since,
                nodes,
                rid: self.since,
            }],
            current_view: self.view,
            leadership_state: LeadershipState::Leader,
            membership_state: MembershipState::Active,
            primary_id: self.node_id.clone(),
            reconfiguration_type: ReconfigurationType::OneTransaction,
            ticking: true,
        }
    }
}
