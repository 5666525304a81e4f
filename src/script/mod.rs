//! The ledger's own constitution and the members' ballots, run in QuickJS (recovery specification, sections 4.4, 4.5).
//!
//! Every call has an interpreter of its own, in a process that is ready for it (`pool`). Scripts hold nothing of the node: they ask the calling thread,
//! which serves tables and effects from the transaction until the script has answered. Heap, stack and time are
//! limited; a script that stays deaf even to the interrupt is killed, and the caller goes on.
//! What a script throws is a [`Failure`]; nothing that a script does can end the process.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod access;
mod bytecode;
mod certificates;
mod check;
mod effects;
mod engine;
mod host;
mod jwt;
mod limits;
mod natives;
mod pool;
mod runner;
mod serve;
mod tcb;
mod wire;

pub use effects::Effects;
pub use engine::main as run_one;
pub use pool::ARGUMENT;
pub use runner::run_in_processes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kv::store::Transaction;
use crate::tables::names;
use limits::Limits;
use serve::Served;
use wire::{Answer, Call};

pub use jwt::set_keys as set_jwt_keys;

/// The engine and its version, as `/node/version` says it: what rquickjs 0.14.0 brings with it.
pub const ENGINE: &str = "quickjs-ng 0.16.2";

/// What CCF says of a script that was stopped for its time.
const TOOK_TOO_LONG: &str = "Operation took too long to complete.";
/// Reasons and traces go into the ledger and into answers: longer ones are cut.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Of what scripts say, this much is logged.
const MAX_LOG_BYTES: usize = 2_000;

/// Why a script did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was thrown, as text; or that time was up.
    pub reason: String,
    /// Where, one call a line.
    pub trace: Option<String>,
    /// Whether the module could not be loaded, or does not export the function: it will never answer.
    pub unusable: bool,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Failure {
            reason: cut(reason.into()),
            trace: None,
            unusable: false,
        }
    }

    fn timed_out() -> Self {
        Self::new(TOOK_TOO_LONG)
    }
}

/// What a constitution says of a proposal's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// Whether it may be voted on.
    pub valid: bool,
    /// Why not.
    pub description: String,
}

/// `validate(proposal)` of the constitution; it may read governance tables.
///
/// # Errors
/// [`Failure`] if it throws, or answers something that is not an object.
pub fn validate(transaction: &Transaction<'_>, constitution: &str, proposal: &str) -> Result<Validation, Failure> {
    let call = Call::Validate {
        proposal: proposal.to_owned(),
    };
    match run(Served::Reading(transaction), constitution, constitution_name(), call)? {
        Answer::Validation(validation) => Ok(validation),
        _ => Err(Failure::new("validate() did not return an object")),
    }
}

/// Loads a ballot without asking it.
///
/// # Errors
/// [`Failure`] if it is no module that exports a function `vote`.
pub fn check_ballot(transaction: &Transaction<'_>, ballot: &str, name: String) -> Result<(), Failure> {
    run(Served::Reading(transaction), ballot, name, Call::Load).map(drop)
}

/// `vote(proposal, proposerId)` of a ballot: true only if it returned exactly `true`.
///
/// # Errors
/// [`Failure`] if it throws; such a ballot counts neither way.
pub fn vote(
    transaction: &Transaction<'_>,
    ballot: &str,
    name: String,
    proposal: &str,
    proposer_id: &str,
) -> Result<bool, Failure> {
    let call = Call::Vote {
        proposal: proposal.to_owned(),
        proposer_id: proposer_id.to_owned(),
    };
    run(Served::Reading(transaction), ballot, name, call).map(|answer| answer == Answer::Vote(true))
}

/// `resolve(proposal, proposerId, votes, proposalId)` of the constitution: what it returned, as text.
///
/// # Errors
/// [`Failure`] if it throws.
pub fn resolve(
    transaction: &Transaction<'_>,
    constitution: &str,
    proposal: &str,
    proposer_id: &str,
    votes: &BTreeMap<String, bool>,
    proposal_id: &str,
) -> Result<String, Failure> {
    let call = Call::Resolve {
        proposal: proposal.to_owned(),
        proposer_id: proposer_id.to_owned(),
        votes: votes.clone(),
        proposal_id: proposal_id.to_owned(),
    };
    match run(Served::Reading(transaction), constitution, constitution_name(), call)? {
        Answer::Decision(decision) => Ok(decision),
        _ => Ok(String::new()),
    }
}

/// `apply(proposal, proposalId)` of the constitution, which writes governance tables and asks for `effects`.
///
/// # Errors
/// [`Failure`] if it throws. Writes may have been made before: the caller drops the transaction.
pub fn apply(
    transaction: &mut Transaction<'_>,
    constitution: &str,
    proposal: &str,
    proposal_id: &str,
    effects: &mut dyn Effects,
) -> Result<(), Failure> {
    let call = Call::Apply {
        proposal: proposal.to_owned(),
        proposal_id: proposal_id.to_owned(),
    };
    let state = Served::Applying(transaction, effects);
    run(state, constitution, constitution_name(), call).map(drop)
}

fn run(state: Served<'_, '_>, source: &str, name: String, call: Call) -> Result<Answer, Failure> {
    let limits = Limits::of(state.transaction());
    runner::run(state, source.to_owned(), name.clone(), call, limits).inspect_err(|failure| log_thrown(&name, failure))
}

/// What a script throws is its author's matter, and for whoever looks for it: no warning of the node's.
fn log_thrown(name: &str, failure: &Failure) {
    tracing::info!(target: "governance_script", "{}", thrown_line(name, failure));
}

/// What a script has thrown, on one line.
fn thrown_line(name: &str, failure: &Failure) -> String {
    let trace = failure.trace.as_deref().unwrap_or("no trace");
    one_line(&format!("{name} has thrown: {}; {trace}", failure.reason))
}

/// As much of a text as belongs on one line of the log, whatever is in it.
fn one_line(text: &str) -> String {
    let text = text.get(..text.floor_char_boundary(MAX_LOG_BYTES)).unwrap_or_default();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How stack traces name the constitution: the table, and its only key.
fn constitution_name() -> String {
    format!("{}[0]", names::CONSTITUTION)
}

/// The text, or as much of it as is kept.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests;
