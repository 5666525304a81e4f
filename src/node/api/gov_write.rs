//! What members do: every one of these is signed by the member. Recovery specification, sections 3.3 and 5.5.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use zeroize::Zeroizing;

use super::gov_read::{API_VERSION, check_version};
use super::{gov_writer, transact};
use crate::crypto::cose::MessageType;
use crate::governance::acks::{acknowledge, update_state_digest};
use crate::governance::answers;
use crate::governance::ballots::submit_ballot;
use crate::governance::parameters::ApiVersion;
use crate::governance::proposals;
use crate::governance::request::{SignedRequest, authenticate};
use crate::http::{ApiError, ApiResult, Request, Response, Route};
use crate::kv::store::Transaction;
use crate::node::session::{Session, rng};
use crate::node::shared::Node;
use crate::node::status::NodeState;
use crate::service::shares::reshare;
use crate::service::submit::{Refused, Submitted, submit};

pub(super) fn routes() -> Vec<Route<Node>> {
    let post = |pattern, summary, handler| {
        Route::new(Method::POST, pattern, summary, handler)
            .query(API_VERSION)
            .takes_bytes("application/cose")
            .since(ApiVersion::Preview.name())
    };
    vec![
        post(
            "/gov/members/proposals:create",
            "Submits a proposal",
            gov_writer!(create),
        )
        .returns::<answers::Proposal<'_>>(),
        post(
            "/gov/members/proposals/{proposal_id}:withdraw",
            "Withdraws an own proposal",
            gov_writer!(withdraw),
        )
        .returns::<answers::Proposal<'_>>()
        .or(StatusCode::NO_CONTENT, "There is no such proposal"),
        post(
            "/gov/members/proposals/{proposal_id}/ballots/{member_id}:submit",
            "Votes on a proposal",
            gov_writer!(ballot),
        )
        .returns::<answers::Proposal<'_>>(),
        post(
            "/gov/members/state-digests/{member_id}:update",
            "Asks for the digest of the present state",
            gov_writer!(update_digest),
        )
        .returns::<answers::StateDigest<'_>>(),
        post(
            "/gov/members/state-digests/{member_id}:ack",
            "Acknowledges it, which makes the member active",
            gov_writer!(ack),
        )
        .success(StatusCode::NO_CONTENT),
        post(
            "/gov/recovery/members/{member_id}:recover",
            "Submits a recovery share",
            gov_writer!(recover),
        )
        .returns::<answers::RecoveryResponse>(),
    ]
}

/// A request that a member has signed, done in a transaction. It is authenticated before it gets a place among those that
/// wait: nobody else's request keeps a member waiting.
async fn transact_signed<F>(
    node: Arc<Node>,
    request: Request,
    kind: MessageType,
    active: bool,
    body: F,
) -> ApiResult<Response>
where
    F: Fn(&mut Transaction<'_>, &mut Session, &Request, &SignedRequest) -> ApiResult<ApiResult<Response>>
        + Send
        + Sync
        + 'static,
{
    let (signed, _) = node.read(|store| {
        let content_type = request.header("content-type");
        authenticate(&store.transaction(), content_type, &request.body, kind, active)
    });
    // As in CCF that comes first: who is nobody is not told what else is wrong.
    let signed = signed?;
    check_version(&request)?;
    let caller = signed.member_id.clone();
    transact(&node, &caller, move |transaction, session| {
        signed.still_stands(transaction, active)?;
        body(transaction, session, &request, &signed)
    })
    .await
}

async fn create(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let kind = MessageType::Proposal;
    transact_signed(node, request, kind, true, |transaction, session, _, signed| {
        let root = session.root;
        let proposal = proposals::create(transaction, signed, &root, session)?;
        session.share_with_new_nodes(transaction).map_err(ApiError::internal)?;
        Ok(Ok(Response::document(&proposal)))
    })
    .await
}

async fn withdraw(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let kind = MessageType::Withdrawal;
    transact_signed(node, request, kind, true, |transaction, _, request, signed| {
        let proposal = proposals::withdraw(transaction, signed, request.param("proposal_id"))?;
        Ok(Ok(match proposal {
            Some(proposal) => Response::document(&proposal),
            None => Response::no_content(),
        }))
    })
    .await
}

async fn ballot(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let kind = MessageType::Ballot;
    transact_signed(node, request, kind, true, |transaction, session, request, signed| {
        let (proposal, member) = (request.param("proposal_id"), request.param("member_id"));
        let proposal = submit_ballot(transaction, signed, proposal, member, session)?;
        session.share_with_new_nodes(transaction).map_err(ApiError::internal)?;
        Ok(Ok(Response::document(&proposal)))
    })
    .await
}

async fn update_digest(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let kind = MessageType::StateDigest;
    transact_signed(node, request, kind, false, |transaction, _, request, signed| {
        let digest = update_state_digest(transaction, signed, request.param("member_id"))?;
        Ok(Ok(Response::document(&digest)))
    })
    .await
}

async fn ack(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let kind = MessageType::Ack;
    transact_signed(node, request, kind, false, |transaction, session, request, signed| {
        let acknowledged = acknowledge(transaction, signed, request.param("member_id"))?;
        if acknowledged.reshare_needed && session.state == NodeState::PartOfNetwork {
            let current = session.secret_to_write_with(transaction).map_err(ApiError::internal)?;
            let mut rng = rng().map_err(ApiError::internal)?;
            reshare(transaction, current, &mut rng)
                .map_err(|why| ApiError::internal(format!("Error issuing new recovery shares: {why}")))?;
        }
        Ok(Ok(Response::no_content()))
    })
    .await
}

async fn recover(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let kind = MessageType::RecoveryShare;
    transact_signed(node, request, kind, true, |transaction, session, request, signed| {
        take_share(transaction, session, signed, request.param("member_id"))
    })
    .await
}

fn take_share(
    transaction: &mut Transaction<'_>,
    session: &mut Session,
    signed: &SignedRequest,
    member: &str,
) -> ApiResult<ApiResult<Response>> {
    let not_waiting = || {
        ApiError::forbidden(
            "ServiceNotWaitingForRecoveryShares",
            "Service is not waiting for recovery shares.",
        )
    };
    let status = crate::service::service_info(transaction)
        .map_err(ApiError::internal)?
        .status;
    if status != crate::tables::values::ServiceStatus::WaitingForRecoveryShares {
        return Err(not_waiting());
    }
    if session.state == NodeState::ReadingPrivateLedger {
        return Err(ApiError::forbidden(
            "NodeAlreadyRecovering",
            "Node is already recovering private ledger.",
        ));
    }
    signed.require_member(member)?;
    let text = signed.text_field("share")?;
    let invalid = |why: String| ApiError::bad_request("InvalidInput", why);
    let share = STANDARD
        .decode(text.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| invalid("The share is not base64.".to_owned()))?;
    let mut rng = rng().map_err(ApiError::internal)?;
    let current = session.secret_to_write_with(transaction).map_err(ApiError::internal)?;
    match submit(transaction, member, &share, current, &session.historical, &mut rng) {
        Ok(submitted) => Ok(Ok(accepted(session, submitted))),
        Err(Refused::Invalid(why)) => Err(invalid(format!("The share can't be one of this service: {why}"))),
        Err(Refused::NotWaiting) => Err(not_waiting()),
        Err(Refused::Failed(why)) => Err(ApiError::internal(why)),
        // What was written stands.
        Err(Refused::DoNotOpen { why, cleared }) => {
            let next = match cleared {
                true => "All submitted shares were discarded: every member has to submit again.",
                false => {
                    "The shares are kept: with the share of one more member the wrong one can be found, and a member \
                     may submit again."
                }
            };
            tracing::error!(why, cleared, "the submitted shares do not open the ledger secret");
            Ok(Err(ApiError::internal(format!(
                "Failed to initiate private recovery. {next}"
            ))))
        }
    }
}

fn accepted(session: &mut Session, submitted: Submitted) -> Response {
    let Submitted {
        count,
        threshold,
        full_key,
        opened,
    } = submitted;
    let mut message = match full_key {
        true => "Full recovery key successfully submitted".to_owned(),
        false => format!("{count}/{threshold} recovery shares successfully submitted"),
    };
    if opened.is_some() {
        message.push_str("\nEnd of recovery procedure initiated");
    }
    session.afterwards.unlocked = opened;
    Response::json(&answers::RecoveryResponse {
        full_key_submitted: full_key,
        message,
        recovery_threshold: threshold,
        submitted_count: count,
    })
}
