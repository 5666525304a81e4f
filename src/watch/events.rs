//! What changed from one judgement to the next: lines of JSON, for logs and for commands.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::answers::NodeId;
use super::judgement::{Judgement, Standing, State};

/// What happened, when.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The state from here on.
    pub state: State,
    /// The service's identity: the digest of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The state is another; everything that it was judged by.
    State {
        /// Absent for the first.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<State>,
        /// Whether it was said that a recovery is needed, and is taken back: a majority is heard again.
        withdrawn: bool,
        /// All of it.
        judgement: Box<Judgement>,
    },
    /// A majority agrees on another primary, or in another view.
    Primary {
        /// Who.
        primary: NodeId,
        /// Since which view.
        view: u64,
    },
    /// Other nodes make up the service: those of each configuration that needs a majority.
    Configuration {
        /// Its last seqno.
        seqno: u64,
        /// Everybody.
        nodes: Vec<NodeId>,
    },
    /// A node is lost, or is back.
    Node {
        /// Which.
        id: NodeId,
        /// How it stood.
        previous: Standing,
        /// How it stands.
        standing: Standing,
        /// What came of the last look at it.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    /// The first service that answered is watched, as none was given.
    Trusts {
        /// Where it answered.
        address: String,
    },
    /// This process did not run for a while, which does not count.
    Slept {
        /// For how long.
        slept_ms: u64,
    },
}

/// Remembers what was told, to tell what is new.
#[derive(Debug)]
pub struct Changes {
    service: Option<String>,
    state: Option<State>,
    primary: Option<(NodeId, u64)>,
    nodes: Vec<NodeId>,
    standings: BTreeMap<NodeId, Standing>,
}

impl Changes {
    /// Nothing was told yet of this service.
    pub fn new(service: Option<String>) -> Changes {
        Changes {
            service,
            state: None,
            primary: None,
            nodes: Vec::new(),
            standings: BTreeMap::new(),
        }
    }

    fn event(&self, at_ms: u64, what: What) -> Event {
        Event {
            at_ms,
            state: self.state.unwrap_or(State::Unknown),
            service: self.service.clone(),
            what,
        }
    }

    /// The process did not run.
    pub fn slept(&self, slept: Duration, at_ms: u64) -> Event {
        let slept_ms = u64::try_from(slept.as_millis()).unwrap_or(u64::MAX);
        self.event(at_ms, What::Slept { slept_ms })
    }

    /// A service is watched because it answered first.
    pub fn trusts(&mut self, service: &str, address: &str, at_ms: u64) -> Event {
        self.service = Some(service.to_owned());
        let address = address.to_owned();
        self.event(at_ms, What::Trusts { address })
    }

    /// What is new in a judgement.
    pub fn found(&mut self, judgement: &Judgement, at_ms: u64) -> Vec<Event> {
        let mut out = Vec::new();
        let previous = self.state.replace(judgement.state);
        let nodes: Vec<NodeId> = judgement.nodes.iter().map(|node| node.id.clone()).collect();
        if nodes != self.nodes && !nodes.is_empty() {
            self.nodes.clone_from(&nodes);
            let seqno = judgement.configurations.last().map_or(0, |it| it.seqno);
            out.push(self.event(at_ms, What::Configuration { seqno, nodes }));
        }
        if let (Some(primary), Some(view)) = (&judgement.primary, judgement.view)
            && self.primary.as_ref() != Some(&(primary.clone(), view))
        {
            self.primary = Some((primary.clone(), view));
            let primary = primary.clone();
            out.push(self.event(at_ms, What::Primary { primary, view }));
        }
        for node in &judgement.nodes {
            let previous = self.standings.insert(node.id.clone(), node.standing);
            let (id, standing, failure) = (node.id.clone(), node.standing, node.failure.clone());
            if let Some(previous) = previous
                && (previous == Standing::Lost) != (standing == Standing::Lost)
            {
                out.push(self.event(
                    at_ms,
                    What::Node {
                        id,
                        previous,
                        standing,
                        failure,
                    },
                ));
            }
        }
        let nodes = &self.nodes;
        self.standings.retain(|id, _| nodes.contains(id));
        if previous != Some(judgement.state) {
            let is_lost = |state| matches!(state, State::RecoveryNeeded | State::Replaced);
            out.push(self.event(
                at_ms,
                What::State {
                    previous,
                    withdrawn: previous.is_some_and(is_lost) && !is_lost(judgement.state),
                    judgement: Box::new(judgement.clone()),
                },
            ));
        }
        out
    }
}
