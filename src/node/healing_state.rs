//! What `/node/state` says of self-healing open.

use std::collections::BTreeMap;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

/// Warnings that are shown: the log has all.
const MOST_WARNINGS: usize = 64;

/// How far nodes are that find out among themselves which of them opens.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct HealingState {
    /// What each node that this one can't reach, or that refuses it, answered last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// Whom this node voted for, or is to join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// What this node's ledger has: its last signature.
    pub claim: String,
    /// Nodes in the configuration, this one too.
    pub configured: usize,
    /// Seconds until this node goes on without those that it has not heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover_in_s: Option<f64>,
    /// Who has said what its ledger has, this node too.
    pub heard: BTreeMap<String, String>,
    /// This node among those of the configuration.
    pub id: String,
    /// Why it opens, once it does: `Quorum`, or `Failover`, after which there may be another service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<String>,
    /// `self-healing-open` or `recovery-decision-protocol`.
    pub protocol: String,
    /// Votes that are a majority.
    pub quorum: usize,
    /// `Gossiping`, `Voting`, `Opening`, `Joining` or `Open`.
    pub stage: String,
    /// Who voted for this node.
    pub votes: Vec<String>,
    /// What an operator has to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The same, as the node keeps it.
#[derive(Clone, Debug, Default)]
pub struct HealingBoard {
    /// All but the time.
    pub state: HealingState,
    /// When it goes on without the others.
    pub failover_at: Option<Instant>,
}

impl HealingBoard {
    /// As it is at this moment.
    pub fn shown(&self) -> HealingState {
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs_f64();
        HealingState {
            failover_in_s: self.failover_at.map(|at| (left(at) * 1000.0).round() / 1000.0),
            ..self.state.clone()
        }
    }

    /// What is being done, in words.
    pub fn phase(&self) -> Option<&'static str> {
        Some(match self.state.stage.as_str() {
            "Gossiping" => "hearing whose ledger is best",
            "Voting" => "waiting for votes, or for the node that it voted for",
            "Joining" => "ending: another node opens",
            _ => return None,
        })
    }

    /// One more warning.
    pub fn warn(&mut self, text: String) {
        if self.state.warnings.len() < MOST_WARNINGS {
            self.state.warnings.push(text);
        }
    }

    /// What a node answered that this one spoke to; none: all is well.
    pub fn answered(&mut self, id: &str, problem: Option<String>) -> bool {
        let before = match problem.clone() {
            Some(problem) => self.state.answers.insert(id.to_owned(), problem),
            None => self.state.answers.remove(id),
        };
        before != problem
    }
}
