//! Who takes part in the service and who leads it, as this node knows it: written by the writer's thread after every step, read
//! by requests.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::channel::NodeId;
use crate::consensus::{Configuration, Consensus, Phase, Role};
use crate::format::{Seqno, View};

/// What a node has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which node.
    pub node: NodeId,
    /// The last seqno that it has.
    pub seqno: Seqno,
    /// When it last answered.
    pub heard: Instant,
}

/// The agreement with others, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// This node.
    pub own: NodeId,
    /// What it is in its view.
    pub role: Role,
    /// Who leads in it, if that is known.
    pub primary: Option<NodeId>,
    /// The view.
    pub view: View,
    /// Who takes part, the newest last.
    pub configurations: Vec<Configuration>,
    /// Of those that a leader sends to.
    pub acknowledgements: Vec<Acknowledgement>,
    /// Who has voted for this node, where it asks for votes.
    pub votes: BTreeSet<NodeId>,
    /// How far this node's own retirement is.
    pub phase: Option<Phase>,
    /// It stands for election where there is no leader.
    pub is_ticking: bool,
    /// The signature that waits for others, if one does.
    pub awaited: Option<Seqno>,
    /// Others can reach it.
    pub is_reachable: bool,
}

impl Membership {
    /// A node that nobody can reach: it is alone in its service, which began at `since`.
    pub fn alone(own: NodeId, view: View, since: Seqno) -> Membership {
        Membership {
            own,
            role: Role::Leader,
            primary: Some(own),
            view,
            configurations: vec![Configuration {
                seqno: since,
                nodes: [own].into(),
            }],
            acknowledgements: Vec::new(),
            votes: BTreeSet::new(),
            phase: None,
            is_ticking: true,
            awaited: None,
            is_reachable: false,
        }
    }

    /// What consensus says, whose times are since `began`.
    pub fn of(consensus: &Consensus, began: Instant, awaited: Option<Seqno>) -> Membership {
        let acknowledgements = consensus.acknowledgements();
        let at = |heard: Duration| began.checked_add(heard).unwrap_or(began);
        Membership {
            own: consensus.id(),
            role: consensus.role(),
            primary: consensus.leader(),
            view: consensus.view(),
            configurations: consensus.configurations().cloned().collect(),
            acknowledgements: acknowledgements
                .into_iter()
                .map(|(node, (seqno, heard))| Acknowledgement {
                    node,
                    seqno,
                    heard: at(heard),
                })
                .collect(),
            votes: consensus.votes(),
            phase: consensus.phase(),
            is_ticking: consensus.is_ticking(),
            awaited,
            is_reachable: true,
        }
    }

    /// What this node can't go on without.
    pub fn awaits(&self) -> Option<Awaited> {
        match self.role {
            Role::Leader => self.awaited.map(Awaited::Acknowledgements),
            Role::Candidate => Some(Awaited::Votes),
            Role::Follower { .. } => None,
        }
    }

    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// Whether any other node takes part, or leads.
    pub fn has_others(&self) -> bool {
        !self.leads() || self.others().next().is_some()
    }

    /// Everybody else who takes part, the same node perhaps more than once.
    fn others(&self) -> impl Iterator<Item = NodeId> {
        let nodes = self.configurations.iter().flat_map(|it| it.nodes.iter().copied());
        nodes.filter(|node| *node != self.own)
    }

    /// Whose answer keeps this node from going on: a leader waits for acknowledgements of a signature, a candidate for votes. In
    /// the order of their ids.
    pub fn missing(&self) -> Vec<NodeId> {
        let is_missing = |node: &NodeId| match (self.role, self.awaited) {
            (Role::Leader, Some(awaited)) => {
                let it = self.acknowledgement(node);
                it.is_some_and(|it| it.seqno < awaited)
            }
            (Role::Candidate, _) => !self.votes.contains(node),
            (Role::Leader | Role::Follower { .. }, _) => false,
        };
        let mut missing: Vec<NodeId> = self.others().filter(is_missing).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// What a node has acknowledged to this one, which leads.
    pub fn acknowledgement(&self, node: &NodeId) -> Option<Acknowledgement> {
        self.acknowledgements.iter().find(|it| it.node == *node).copied()
    }
}

/// What a node can't go on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// That others acknowledge this signature.
    Acknowledgements(Seqno),
    /// That others vote.
    Votes,
}

/// When it is said that others keep a node from going on, and when again.
#[derive(Debug, Default)]
pub struct Stall {
    /// What is awaited, and since when.
    awaited: Option<(Awaited, Duration)>,
    said: Option<Duration>,
}

/// It is said again after this.
const AGAIN: Duration = Duration::from_secs(30);

impl Stall {
    /// How long something is awaited, where that is to be said now: once it is for `patience`, and from then on now and then.
    pub fn look(&mut self, now: Duration, awaited: Option<Awaited>, patience: Duration) -> Option<Duration> {
        let Some(awaited) = awaited else {
            *self = Stall::default();
            return None;
        };
        // The oldest signature of those that wait: where another one is, what was waited for has come.
        let since = match self.awaited {
            Some((same, since)) if same == awaited => since,
            _ => {
                *self = Stall {
                    awaited: Some((awaited, now)),
                    said: None,
                };
                now
            }
        };
        let waited = now.saturating_sub(since);
        let is_due = waited >= patience && self.said.is_none_or(|said| now >= said + AGAIN);
        is_due.then(|| {
            self.said = Some(now);
            waited
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn those_are_missing_who_take_part_and_have_not_acknowledged_what_is_awaited() {
        let heard = Instant::now();
        let acknowledgement = |n, seqno| Acknowledgement {
            node: id(n),
            seqno,
            heard,
        };
        let mut membership = Membership {
            configurations: vec![
                Configuration {
                    seqno: 1,
                    nodes: [id(1), id(2)].into(),
                },
                Configuration {
                    seqno: 5,
                    nodes: [id(1), id(2), id(3)].into(),
                },
            ],
            // The last one has left, and is only told so.
            acknowledgements: vec![acknowledgement(2, 7), acknowledgement(3, 6), acknowledgement(4, 0)],
            awaited: Some(7),
            ..Membership::alone(id(1), 2, 1)
        };
        assert_eq!(membership.missing(), [id(3)]);
        membership.awaited = Some(8);
        assert_eq!(membership.missing(), [id(2), id(3)]);
        membership.awaited = None;
        assert_eq!(membership.missing(), []);
        membership.awaited = Some(8);
        membership.role = Role::Follower { leader: None };
        assert_eq!(membership.missing(), [], "who follows waits for nobody");
        membership.role = Role::Candidate;
        membership.votes.insert(id(3));
        assert_eq!(membership.missing(), [id(2)]);
    }

    #[test]
    fn a_stall_is_said_after_a_while_then_now_and_then_and_no_more_once_it_is_over() {
        let at = Duration::from_secs;
        let signature = |seqno| Some(Awaited::Acknowledgements(seqno));
        let mut stall = Stall::default();
        assert_eq!(stall.look(at(0), signature(5), at(5)), None);
        assert_eq!(stall.look(at(4), signature(5), at(5)), None);
        assert_eq!(stall.look(at(5), signature(5), at(5)), Some(at(5)));
        assert_eq!(stall.look(at(34), signature(5), at(5)), None);
        assert_eq!(stall.look(at(35), signature(5), at(5)), Some(at(35)));
        assert_eq!(stall.look(at(36), signature(6), at(5)), None, "it goes on");
        assert_eq!(stall.look(at(40), None, at(5)), None);
        assert_eq!(stall.look(at(41), signature(9), at(5)), None);
        assert_eq!(stall.look(at(46), signature(9), at(5)), Some(at(5)));
        assert_eq!(stall.look(at(47), Some(Awaited::Votes), at(5)), None, "something else");
        assert_eq!(stall.look(at(52), Some(Awaited::Votes), at(5)), Some(at(5)));
    }
}
