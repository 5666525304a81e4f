//! A proposal's life: its record in the tables, and what becomes of it with the ballots at hand (recovery
//! specification, sections 4.1 and 4.4).

use crate::governance::{Reason, Refusal};
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

pub use super::answers::ProposalState;
use super::answers::{self, FailureInfo};
use crate::kv::store::Transaction;
use crate::script::{self, Effects, Failure};
use crate::tables::json::{Fields, Json, Opaque};
use crate::tables::node_info::NodeRecord;
use crate::tables::{SINGLETON_KEY, names, values};

/// `proposals_info`; fields of other versions are kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProposalInfo {
    pub(super) proposer_id: String,
    pub(super) state: ProposalState,
    /// Member id to script.
    pub(super) ballots: BTreeMap<String, String>,
    pub(super) final_votes: Option<BTreeMap<String, bool>>,
    /// Member id to what the ballot threw.
    pub(super) vote_failures: Option<Opaque>,
    pub(super) failure: Option<Opaque>,
    pub(super) other: Fields,
}

impl<'de> Deserialize<'de> for ProposalInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut other = Fields::deserialize(deserializer)?;
        Ok(ProposalInfo {
            proposer_id: other.take("proposer_id")?,
            state: other.take("state")?,
            ballots: other.take_optional("ballots")?.unwrap_or_default(),
            final_votes: other.take_optional("final_votes")?,
            vote_failures: other.take_optional("vote_failures")?,
            failure: other.take_optional("failure")?,
            other,
        })
    }
}

impl ProposalInfo {
    /// A proposal that was just made.
    pub(super) fn new(proposer_id: &str) -> Self {
        ProposalInfo {
            proposer_id: proposer_id.to_owned(),
            state: ProposalState::Open,
            ballots: BTreeMap::new(),
            final_votes: None,
            vote_failures: None,
            failure: None,
            other: Fields::default(),
        }
    }

    /// Reads the record of a proposal; `None` if there is none.
    ///
    /// # Errors
    /// [`Reason::Fault`] if it can't be understood.
    pub(super) fn read(transaction: &Transaction<'_>, proposal_id: &str) -> Result<Option<Self>, Refusal> {
        transaction
            .get(names::PROPOSALS_INFO, proposal_id.as_bytes())
            .map(values::from_json)
            .transpose()
            .map_err(|why| {
                Refusal::new(
                    Reason::Fault,
                    format!("The record of proposal {proposal_id} can't be read: {why}"),
                )
            })
    }

    pub(super) fn write(&self, transaction: &mut Transaction<'_>, proposal_id: &str) {
        let mut fields = self.other.clone();
        fields.set("proposer_id", &self.proposer_id);
        fields.set("state", &self.state);
        fields.set("ballots", &self.ballots);
        fields.set_some("final_votes", self.final_votes.as_ref());
        for (name, value) in [("vote_failures", &self.vote_failures), ("failure", &self.failure)] {
            if let Some(value) = value {
                fields.put(name, value.clone());
            }
        }
        transaction.put(names::PROPOSALS_INFO, proposal_id, fields.to_json());
    }

    /// As endpoints answer it.
    pub(super) fn to_api(&self, proposal_id: &str) -> Json {
        answers::answer(&answers::Proposal {
            ballot_count: self.ballots.len(),
            failure: self.failure.as_ref(),
            final_votes: self.final_votes.as_ref(),
            proposal_id,
            proposal_state: self.state,
            proposer_id: &self.proposer_id,
            vote_failures: self.vote_failures.as_ref(),
        })
    }
}

/// The service's constitution.
///
/// # Errors
/// [`Reason::Fault`] if there is none; `for_what` can't be done then.
pub(super) fn constitution(transaction: &Transaction<'_>, for_what: &str) -> Result<String, Refusal> {
    transaction
        .get(names::CONSTITUTION, &SINGLETON_KEY)
        .and_then(|text| values::from_json(text).ok())
        .ok_or_else(|| {
            Refusal::new(
                Reason::Fault,
                format!("No constitution is set - {for_what} cannot be evaluated"),
            )
        })
}

/// Removes every proposal that is over, except this one.
pub(super) fn remove_others(transaction: &mut Transaction<'_>, proposal_id: &str) {
    for (id, info) in transaction.entries(names::PROPOSALS_INFO) {
        let over = values::from_json::<ProposalInfo>(&info).is_ok_and(|info| info.state != ProposalState::Open);
        if over && id != proposal_id.as_bytes() {
            transaction.remove(names::PROPOSALS, id.clone());
            transaction.remove(names::PROPOSALS_INFO, id);
        }
    }
}

/// Asks all ballots and the constitution what becomes of an open proposal, and does what they decide. `info` and its
/// record say what came of it.
///
/// # Errors
/// [`Reason::Fault`] if `resolve` or `apply` failed: the caller drops the transaction, and with it the ballot that brought this
/// about. It can be submitted again when the reason is gone.
pub(super) fn resolve(
    transaction: &mut Transaction<'_>,
    constitution: &str,
    proposal_id: &str,
    proposal: &str,
    info: &mut ProposalInfo,
    effects: &mut dyn Effects,
) -> Result<(), Refusal> {
    let mut votes = BTreeMap::new();
    let mut failures: BTreeMap<String, FailureInfo> = BTreeMap::new();
    for (member_id, ballot) in &info.ballots {
        let name = format!("{}[{proposal_id}].ballots[{member_id}]", names::PROPOSALS_INFO);
        match script::vote(transaction, ballot, name, proposal, &info.proposer_id) {
            Ok(vote) => drop(votes.insert(member_id.clone(), vote)),
            Err(failure) => drop(failures.insert(member_id.clone(), FailureInfo::of(&failure))),
        }
    }
    let decision = script::resolve(
        transaction,
        constitution,
        proposal,
        &info.proposer_id,
        &votes,
        proposal_id,
    )
    .map_err(|failure| failed("Failed to resolve(): ", &failure))?;
    info.state = match decision.as_str() {
        "Open" => ProposalState::Open,
        "Accepted" => ProposalState::Accepted,
        "Rejected" => ProposalState::Rejected,
        other => {
            let reason = format!("resolve() returned invalid status value: \"{other}\"");
            return Err(Refusal::new(Reason::Fault, format!("{reason}\nTrace: N/A")));
        }
    };
    if info.state != ProposalState::Open {
        remove_others(transaction, proposal_id);
        info.final_votes = Some(votes);
        info.vote_failures = Some(Opaque::of(&failures));
    }
    info.write(transaction, proposal_id);
    if info.state == ProposalState::Accepted {
        tracing::info!(proposal_id, "a proposal was accepted and is applied");
        let had_nodes = has_nodes(transaction);
        script::apply(transaction, constitution, proposal, proposal_id, effects)
            .map_err(|failure| failed("Failed to apply(): ", &failure))?;
        if had_nodes && !has_nodes(transaction) {
            return Err(Refusal::new(
                Reason::Fault,
                "Failed to apply(): it removes the last trusted node, and nobody would be left to write the ledger: trust another \
                 node first\nTrace: N/A",
            ));
        }
    }
    Ok(())
}

/// Whether any node is trusted.
fn has_nodes(transaction: &Transaction<'_>) -> bool {
    let nodes = transaction.entries(names::NODES_INFO);
    nodes
        .iter()
        .any(|(_, value)| NodeRecord::read(value).is_some_and(|record| record.is_trusted()))
}

fn failed(what: &str, failure: &Failure) -> Refusal {
    let trace = failure.trace.as_deref().unwrap_or("N/A");
    Refusal::new(Reason::Fault, format!("{what}{}\nTrace: {trace}", failure.reason))
}
