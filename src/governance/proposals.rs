//! Making and withdrawing proposals (recovery specification, sections 3.3, 3.4 and 4.1).

use crate::governance::{Reason, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::request::SignedRequest;
use super::resolution::{self, ProposalInfo, ProposalState};
use crate::crypto::digest::{Digest, sha256_pair};
use crate::kv::store::Transaction;
use crate::script::{self, Effects};
use crate::tables::json::{self, Json};
use crate::tables::values::{self, ServiceConfig};
use crate::tables::{SINGLETON_KEY, names};

/// Seconds since 1970 are compared as texts of this many digits.
const CREATED_AT_DIGITS: usize = 10;
const MAX_CREATED_AT: u64 = 9_999_999_999;
/// Proposals remembered against replay, unless the service's configuration says otherwise.
pub(super) const DEFAULT_WINDOW: u64 = 100;

/// The id of a proposal: a digest of the state it was made on and of its signature.
pub fn proposal_id(root: &Digest, request: &SignedRequest) -> String {
    hex::encode(sha256_pair(root, &request.signature_digest))
}

/// Makes a proposal, on the state with Merkle root `root`: checks it with the constitution and lets it be resolved at
/// once, which some constitutions accept. Answers the proposal.
///
/// # Errors
/// [`Reason::NotValid`], [`Reason::InvalidCreatedAt`], [`Reason::Replay`], [`Reason::TooOld`], [`Reason::InvalidInput`];
/// [`Reason::Fault`] if the constitution fails. The caller drops the transaction then.
pub fn create(
    transaction: &mut Transaction<'_>,
    request: &SignedRequest,
    root: &Digest,
    effects: &mut dyn Effects,
) -> Result<Json, Refusal> {
    let id = proposal_id(root, request);
    let constitution = resolution::constitution(transaction, "proposals")?;
    let proposal = text(&request.payload)?;
    json::check(proposal.as_bytes()).map_err(|why| invalid(&format!("it could not be read back: {why}")))?;
    let validation = script::validate(transaction, &constitution, proposal).map_err(|failure| {
        let trace = failure.trace.as_deref().unwrap_or_default();
        Refusal::new(
            Reason::Fault,
            format!("Failed to execute validation: {} {trace}", failure.reason),
        )
    })?;
    if !validation.valid {
        return Err(invalid(&validation.description));
    }
    remember(transaction, request, &id)?;
    if transaction.get(names::PROPOSALS, id.as_bytes()).is_some() {
        return Err(Refusal::new(Reason::Fault, "Proposal ID collision."));
    }
    transaction.put(names::PROPOSALS, id.as_str(), request.payload.as_slice());
    record_history(transaction, request);
    let mut info = ProposalInfo::new(&request.member_id);
    resolution::resolve(transaction, &constitution, &id, proposal, &mut info, effects)?;
    Ok(info.to_api(&id))
}

/// Withdraws an open proposal of the member who asks. Answers the proposal, or `None` if nobody knows it (any more).
///
/// # Errors
/// [`Reason::InvalidName`], [`Reason::NotOpen`]; [`Reason::NotAllowed`] for another member's proposal.
pub fn withdraw(
    transaction: &mut Transaction<'_>,
    request: &SignedRequest,
    proposal_id: &str,
) -> Result<Option<Json>, Refusal> {
    request.require_proposal(proposal_id)?;
    let Some(mut info) = ProposalInfo::read(transaction, proposal_id)? else {
        return Ok(None);
    };
    let caller = &request.member_id;
    if *caller != info.proposer_id {
        let proposer = &info.proposer_id;
        return Err(Refusal::new(
            Reason::NotAllowed,
            format!("Proposal {proposal_id} can only be withdrawn by proposer m[{proposer}], not caller m[{caller}]."),
        ));
    }
    match info.state {
        ProposalState::Open => {
            info.state = ProposalState::Withdrawn;
            info.write(transaction, proposal_id);
            resolution::remove_others(transaction, proposal_id);
            record_history(transaction, request);
        }
        // Said twice.
        ProposalState::Withdrawn => {}
        state => {
            let state = state.in_words();
            return Err(Refusal::new(
                Reason::NotOpen,
                format!("Proposal {proposal_id} is currently in state {state} and cannot be withdrawn."),
            ));
        }
    }
    Ok(Some(info.to_api(proposal_id)))
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(Reason::NotValid, format!("Proposal failed to validate: {why}"))
}

/// A proposal as scripts read it.
pub(super) fn text(proposal: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(proposal)
        .map_err(|why| Refusal::new(Reason::InvalidInput, format!("The proposal is not UTF-8 text: {why}")))
}

/// Keeps the member's latest signed request.
pub(super) fn record_history(transaction: &mut Transaction<'_>, request: &SignedRequest) {
    let signed = values::to_json(&STANDARD.encode(request.raw.as_slice()));
    transaction.put(names::COSE_HISTORY, request.member_id.as_str(), signed);
}

/// Refuses a proposal that was made before, or is older than half of those remembered; remembers it otherwise.
fn remember(transaction: &mut Transaction<'_>, request: &SignedRequest, proposal_id: &str) -> Result<(), Refusal> {
    if request.created_at > MAX_CREATED_AT {
        return Err(Refusal::new(
            Reason::InvalidCreatedAt,
            "Header parameter created_at value is too large",
        ));
    }
    let created_at = format!("{:0>1$}", request.created_at, CREATED_AT_DIGITS);
    let key_of = |digest: &Digest| format!("{created_at}:{}", hex::encode(digest));
    let key = key_of(&request.signature_digest);
    // The window has the key that CCF writes; a signature in its other form is no other signature.
    let known = [&key, &key_of(&request.other_signature_digest)]
        .into_iter()
        .find_map(|key| transaction.get(names::COSE_RECENT_PROPOSALS, key.as_bytes()));
    if let Some(known) = known {
        let known: String = values::from_json(known).unwrap_or_default();
        return Err(Refusal::new(
            Reason::Replay,
            format!("Proposal submission replay, already exists as proposal {known}"),
        ));
    }
    let keys: Vec<_> = transaction.entries(names::COSE_RECENT_PROPOSALS).into_keys().collect();
    if let Some(median) = keys.get(keys.len() / 2) {
        let median = String::from_utf8_lossy(median.split(|byte| *byte == b':').next().unwrap_or_default());
        if created_at.as_str() < &*median {
            return Err(Refusal::new(
                Reason::TooOld,
                format!("Proposal created too long ago, created_at must be greater than {median}"),
            ));
        }
    }
    transaction.put(names::COSE_RECENT_PROPOSALS, key, values::to_json(&proposal_id));
    // The new one is one of the window.
    let kept = usize::try_from(window(transaction).saturating_sub(1)).unwrap_or(usize::MAX);
    for oldest in keys.iter().take(keys.len().saturating_sub(kept)) {
        transaction.remove(names::COSE_RECENT_PROPOSALS, oldest.as_slice());
    }
    Ok(())
}

fn window(transaction: &Transaction<'_>) -> u64 {
    transaction
        .get(names::SERVICE_CONFIG, &SINGLETON_KEY)
        .and_then(|config| values::from_json::<ServiceConfig>(config).ok())
        .and_then(|config| config.other.read("recent_cose_proposals_window_size"))
        .unwrap_or(DEFAULT_WINDOW)
}

#[cfg(test)]
mod tests;
