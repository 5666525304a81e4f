//! What `/node/state` says of self-healing open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

impl HealingState {
    /// What is being done, in words.
    pub fn phase(&self) -> Option<&'static str> {
        Some(match self.stage.as_str() {
            "Gossiping" => "hearing whose ledger is best",
            "Voting" => "waiting for votes, or for the node that it voted for",
            "Joining" => "ending: another node opens",
            _ => return None,
        })
    }

    /// One more warning.
    pub fn warn(&mut self, text: String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(text);
        }
    }

    /// What a node answered that this one spoke to, none if all is well; whether that is news.
    pub fn answered(&mut self, id: &str, problem: Option<String>) -> bool {
        let before = match problem.clone() {
            Some(problem) => self.answers.insert(id.to_owned(), problem),
            None => self.answers.remove(id),
        };
        before != problem
    }
}

/// The same, as the node keeps it: nothing until it has begun.
#[derive(Default)]
pub struct HealingBoard(Mutex<Option<Kept>>);

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// All but the time.
    pub state: HealingState,
    /// When the node goes on without the others.
    pub failover_at: Option<Instant>,
}

impl HealingBoard {
    /// Something has happened.
    pub fn update(&self, update: impl FnOnce(&mut Kept)) {
        update(self.kept().get_or_insert_default());
    }

    /// As it is at this moment.
    pub fn shown(&self) -> Option<HealingState> {
        let Kept { state, failover_at } = self.kept().clone()?;
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs_f64();
        Some(HealingState {
            failover_in_s: failover_at.map(|at| (left(at) * 1000.0).round() / 1000.0),
            ..state
        })
    }

    /// Whether this node is the one that opens.
    pub fn has_opened(&self) -> bool {
        let kept = self.kept();
        kept.as_ref()
            .is_some_and(|kept| matches!(kept.state.stage.as_str(), "Opening" | "Open"))
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
