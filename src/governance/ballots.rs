//! Voting (recovery specification, sections 3.3, 4.1 and 4.4). All ballots are run again with every new one.

use super::proposals;
use super::request::SignedRequest;
use super::resolution::{self, ProposalInfo, ProposalState};
use crate::governance::{Reason, Refusal};
use crate::kv::store::Transaction;
use crate::script::{self, Effects};
use crate::tables::json::Json;
use crate::tables::names;

/// Adds a member's ballot to an open proposal, and lets it be resolved. Answers the proposal.
///
/// # Errors
/// [`Reason::UnknownProposal`]; [`Reason::InvalidName`], [`Reason::NotOpen`], [`Reason::InvalidInput`], [`Reason::AlreadyVoted`]; [`Reason::Fault`] if the
/// constitution fails, of which nothing is kept: not the ballot either.
pub fn submit_ballot(
    transaction: &mut Transaction<'_>,
    request: &SignedRequest,
    proposal_id: &str,
    member_id: &str,
    effects: &mut dyn Effects,
) -> Result<Json, Refusal> {
    request.require_proposal(proposal_id)?;
    request.require_member(member_id)?;
    let mut info = ProposalInfo::read(transaction, proposal_id)?.ok_or_else(|| not_found(proposal_id))?;
    if info.state != ProposalState::Open {
        let state = info.state.in_words();
        return Err(Refusal::new(
            Reason::NotOpen,
            format!("Proposal {proposal_id} is currently in state {state} - only open proposals can receive votes"),
        ));
    }
    let proposal = transaction
        .get(names::PROPOSALS, proposal_id.as_bytes())
        .ok_or_else(|| not_found(proposal_id))?
        .to_vec();
    let proposal = proposals::text(&proposal)?;
    let ballot = request.text_field("ballot")?;
    let constitution = resolution::constitution(transaction, "ballots")?;
    if let Some(earlier) = info.ballots.get(member_id) {
        // Said twice: answered twice.
        return match *earlier == *ballot {
            true => Ok(info.to_api(proposal_id)),
            false => Err(Refusal::new(
                Reason::AlreadyVoted,
                format!("Different ballot already submitted by m[{member_id}] for {proposal_id}."),
            )),
        };
    }
    // A ballot that can't be loaded would never count, and could not be replaced either.
    script::check_ballot(transaction, &ballot, format!("ballots[{member_id}]")).map_err(|failure| {
        let hint = "It must be a module that exports a function vote(proposal, proposerId)";
        Refusal::new(
            Reason::InvalidInput,
            format!("The ballot can't be used: {}. {hint}", failure.reason),
        )
    })?;
    info.ballots.insert(member_id.to_owned(), ballot.to_string());
    proposals::record_history(transaction, request);
    resolution::resolve(transaction, &constitution, proposal_id, proposal, &mut info, effects)?;
    Ok(info.to_api(proposal_id))
}

fn not_found(proposal_id: &str) -> Refusal {
    Refusal::new(
        Reason::UnknownProposal,
        format!("Could not find proposal {proposal_id}."),
    )
}
