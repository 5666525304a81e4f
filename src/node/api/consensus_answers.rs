//! `details` of `/node/consensus`, and how they are made of what the node knows of others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use crate::channel::NodeId;
use crate::consensus::{self, Phase};
use crate::format::{Seqno, View};
use crate::node::membership::Membership;

/// `GET /node/consensus`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConsensusConfigDetails")]
pub struct ConsensusAnswer {
    /// The state of consensus.
    pub details: ConsensusDetails,
}

/// The state of consensus.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ConsensusDetails {
    /// What other nodes acknowledged.
    pub acks: BTreeMap<String, Ack>,
    /// Who takes part, newest last.
    pub configs: Vec<Configuration>,
    /// The view.
    pub current_view: View,
    /// What this node is among the others.
    pub leadership_state: LeadershipState,
    /// Whether it takes part.
    pub membership_state: MembershipState,
    /// The primary, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub primary_id: Option<String>,
    /// How nodes come and go.
    pub reconfiguration_type: ReconfigurationType,
    /// How far the retirement of this node is, if it retires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RetirementPhase")]
    pub retirement_phase: Option<RetirementPhase>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum LeadershipState {
    /// It is retired for good.
    None,
    /// It writes.
    Leader,
    /// It follows who writes.
    Follower,
    /// It asks for votes.
    Candidate,
}

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum MembershipState {
    /// It does.
    Active,
    /// It is leaving.
    Retired,
}

/// How far a retirement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum RetirementPhase {
    /// It is written.
    Ordered,
    /// It is signed.
    Signed,
    /// It is committed.
    Completed,
    /// That it is committed is committed.
    RetiredCommitted,
}

/// How nodes come and go.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum ReconfigurationType {
    /// With one transaction.
    OneTransaction,
}

impl ConsensusDetails {
    /// What the node knows at `now`; `address_of` knows where other nodes reach a node.
    pub fn of(membership: &Membership, now: Instant, address_of: impl Fn(NodeId) -> String) -> ConsensusDetails {
        let everybody = membership.configurations.iter().flat_map(|it| &it.nodes);
        let silent = Ack {
            last_received_ms: 0,
            seqno: 0,
        };
        // Who follows knows nothing of others, and CCF says so with zeros.
        let mut acks: BTreeMap<String, Ack> = everybody
            .filter(|node| **node != membership.own)
            .map(|node| (node.to_string(), silent.clone()))
            .collect();
        acks.extend(membership.acknowledgements.iter().map(|it| {
            let ack = Ack {
                last_received_ms: milliseconds(now.saturating_duration_since(it.heard)),
                seqno: it.seqno,
            };
            (it.node.to_string(), ack)
        }));
        let configs = membership.configurations.iter().map(|it| Configuration {
            idx: it.seqno,
            nodes: it
                .nodes
                .iter()
                .map(|node| {
                    let address = address_of(*node);
                    (node.to_string(), ConsensusNode { address })
                })
                .collect(),
            rid: it.seqno,
        });
        ConsensusDetails {
            acks,
            configs: configs.collect(),
            current_view: membership.view,
            leadership_state: leadership(membership),
            membership_state: match membership.phase {
                None => MembershipState::Active,
                Some(_) => MembershipState::Retired,
            },
            primary_id: membership.primary.map(|primary| primary.to_string()),
            reconfiguration_type: ReconfigurationType::OneTransaction,
            retirement_phase: membership.phase.map(RetirementPhase::from),
            ticking: membership.is_ticking,
        }
    }
}

/// `others` of `/node/state`: how a node stands with the others of its service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OthersAnswer {
    /// The signature that waits for their acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Seqno")]
    pub awaited_seqno: Option<Seqno>,
    /// What this node is among them.
    pub leadership_state: LeadershipState,
    /// Those whose acknowledgement of it is missing, or whose vote where no node leads. One that stays silent has to run again, or
    /// be removed by members.
    pub missing: Vec<MissingAnswer>,
    /// The primary, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub primary_id: Option<String>,
    /// How far the retirement of this node is, if it retires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RetirementPhase")]
    pub retirement_phase: Option<RetirementPhase>,
}

/// A node whose acknowledgement or vote is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MissingAnswer {
    /// The last seqno that it has acknowledged, to a node that leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Seqno")]
    pub acknowledged_seqno: Option<Seqno>,
    /// Which node.
    pub node_id: String,
    /// Milliseconds since it was last heard, by a node that leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub silent_ms: Option<u64>,
}

impl OthersAnswer {
    /// What the node knows at `now`; nothing where it is alone.
    pub fn of(membership: &Membership, now: Instant) -> Option<OthersAnswer> {
        membership.has_others().then(|| {
            let missing = membership.missing().into_iter().map(|node| {
                let acknowledgement = membership.acknowledgement(&node);
                MissingAnswer {
                    acknowledged_seqno: acknowledgement.map(|it| it.seqno),
                    node_id: node.to_string(),
                    silent_ms: acknowledgement.map(|it| milliseconds(now.saturating_duration_since(it.heard))),
                }
            });
            OthersAnswer {
                awaited_seqno: membership.awaited.filter(|_| membership.leads()),
                leadership_state: leadership(membership),
                missing: missing.collect(),
                primary_id: membership.primary.map(|primary| primary.to_string()),
                retirement_phase: membership.phase.map(RetirementPhase::from),
            }
        })
    }
}

impl From<Phase> for RetirementPhase {
    fn from(phase: Phase) -> RetirementPhase {
        match phase {
            Phase::Ordered => RetirementPhase::Ordered,
            Phase::Signed => RetirementPhase::Signed,
            Phase::Completed => RetirementPhase::Completed,
            Phase::RetiredCommitted => RetirementPhase::RetiredCommitted,
        }
    }
}

fn leadership(membership: &Membership) -> LeadershipState {
    match membership.role {
        consensus::Role::Leader => LeadershipState::Leader,
        _ if membership.phase == Some(Phase::RetiredCommitted) => LeadershipState::None,
        consensus::Role::Follower { .. } => LeadershipState::Follower,
        consensus::Role::Candidate => LeadershipState::Candidate,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::membership::Acknowledgement;

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn a_leader_says_what_others_acknowledged_and_a_follower_says_zeros() {
        let began = Instant::now();
        let now = began + Duration::from_millis(71);
        let mut membership = Membership {
            configurations: vec![consensus::Configuration {
                seqno: 585,
                nodes: [id(1), id(2)].into(),
            }],
            acknowledgements: vec![Acknowledgement {
                node: id(2),
                seqno: 586,
                heard: began,
            }],
            ..Membership::alone(id(1), 4, 579)
        };
        let address_of = |node: NodeId| format!("127.0.0.1:{}", node.0[0]);
        let details = serde_json::to_value(ConsensusDetails::of(&membership, now, address_of)).unwrap();
        let (one, two) = (id(1).to_string(), id(2).to_string());
        let expected = serde_json::json!({
            "acks": {&two: {"last_received_ms": 71, "seqno": 586}},
            "configs": [{
                "idx": 585, "rid": 585,
                "nodes": {&one: {"address": "127.0.0.1:1"}, &two: {"address": "127.0.0.1:2"}},
            }],
            "current_view": 4, "leadership_state": "Leader", "membership_state": "Active",
            "primary_id": one, "reconfiguration_type": "OneTransaction", "ticking": true,
        });
        assert_eq!(details, expected);
        membership.role = consensus::Role::Follower { leader: Some(id(2)) };
        membership.primary = Some(id(2));
        membership.acknowledgements.clear();
        let details = serde_json::to_value(ConsensusDetails::of(&membership, now, address_of)).unwrap();
        assert_eq!(
            details["acks"],
            serde_json::json!({&two: {"last_received_ms": 0, "seqno": 0}})
        );
        assert_eq!(
            (&details["leadership_state"], &details["primary_id"]),
            (&"Follower".into(), &two.into())
        );
        membership.phase = Some(Phase::RetiredCommitted);
        let details = ConsensusDetails::of(&membership, now, address_of);
        assert_eq!(details.leadership_state, LeadershipState::None);
        assert_eq!(details.membership_state, MembershipState::Retired);
    }

    #[test]
    fn the_state_names_whose_acknowledgement_is_missing_and_says_nothing_where_a_node_is_alone() {
        let began = Instant::now();
        let now = began + Duration::from_millis(900);
        let mut membership = Membership::alone(id(1), 4, 579);
        assert_eq!(OthersAnswer::of(&membership, now), None);
        membership.configurations[0].nodes.insert(id(2));
        membership.acknowledgements.push(Acknowledgement {
            node: id(2),
            seqno: 0,
            heard: began,
        });
        membership.awaited = Some(586);
        let others = serde_json::to_value(OthersAnswer::of(&membership, now)).unwrap();
        let expected = serde_json::json!({
            "awaited_seqno": 586, "leadership_state": "Leader", "primary_id": id(1).to_string(),
            "missing": [{"acknowledged_seqno": 0, "node_id": id(2).to_string(), "silent_ms": 900}],
        });
        assert_eq!(others, expected);
        membership.acknowledgements[0].seqno = 586;
        assert!(OthersAnswer::of(&membership, now).unwrap().missing.is_empty());
    }
}
