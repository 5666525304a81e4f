//! `/node/state`, `/node/network`, readiness, and what the service says of itself.

use std::time::Instant;

use hyper::{Method, StatusCode};

use super::answers::{NetworkAnswer, PreviousIdentityAnswer, SelfSignedAnswer, StateAnswer};
use super::consensus_answers::OthersAnswer;
use super::{answer, handler, with_txid};
use crate::http::{ApiError, ApiResult, Request, Response, Route};
use crate::kv::store::Transaction;
use crate::node::shared::Node;
use crate::node::status::NodeState;
use crate::service::value;
use crate::tables::names;
use crate::tables::values::{ServiceConfig, ServiceInfo};

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, handler| Route::new(Method::GET, pattern, summary, handler);
    let ready = |pattern, summary, handler| {
        get(pattern, summary, handler)
            .success(StatusCode::NO_CONTENT)
            .or(StatusCode::SERVICE_UNAVAILABLE, "Not yet")
            .never_forwarded()
    };
    vec![
        get(
            "/node/state",
            "State of the node, and how far a recovery is",
            handler!(state),
        )
        .returns::<StateAnswer<'_>>()
        .never_forwarded(),
        get("/node/network", "State of the service", handler!(network)).returns::<NetworkAnswer<'_>>(),
        get(
            "/node/service/previous_identity",
            "Certificate of the service before the last recovery",
            handler!(previous_identity),
        )
        .returns::<PreviousIdentityAnswer>(),
        get(
            "/node/service/configuration",
            "The service's configuration",
            handler!(configuration),
        )
        .returns::<ServiceConfig>(),
        ready("/node/ready/app", "Whether users are served", handler!(ready_app)),
        ready("/node/ready/gov", "Whether members are served", handler!(ready_gov)),
        get(
            "/node/self_signed_certificate",
            "The certificate that the node made itself",
            handler!(self_signed_certificate),
        )
        .returns::<SelfSignedAnswer>()
        .never_forwarded(),
    ]
}

/// Takes no lock that a writer holds for long: answers while both processors are busy.
fn state(node: &Node, _: &Request) -> ApiResult<Response> {
    let status = &node.status;
    let state = status.state();
    let progress = (state == NodeState::ReadingPrivateLedger).then(|| status.private_progress());
    let answer = StateAnswer {
        last_recovered_seqno: progress.map(|(_, recovered)| recovered),
        last_signed_seqno: status.last_signed(),
        node_id: &node.id,
        others: node
            .with_membership(|membership| OthersAnswer::of(membership, Instant::now()))
            .flatten(),
        recovery: status.recovery(),
        recovery_target_seqno: progress.map(|(target, _)| target),
        startup_seqno: status.startup_seqno(),
        state,
        stop_notice: status.is_stopping(),
    };
    Ok(with_txid(Response::json(&answer), status.last_written()))
}

fn service_info(transaction: &Transaction<'_>) -> Option<ServiceInfo> {
    value(transaction, names::SERVICE_INFO)
}

fn network(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let info = service_info(transaction).ok_or_else(|| ApiError::not_found("Service state not available."))?;
        let view = node.with_membership(|membership| membership.view);
        let primary = node.primary().map(|primary| primary.to_string());
        Ok(Response::json(&NetworkAnswer {
            current_service_create_txid: info.current_service_create_txid,
            current_view: view,
            primary_id: primary.as_deref(),
            recovery_count: info.recovery_count,
            service_certificate: info.cert,
            service_data: info.service_data,
            service_status: info.status,
        }))
    })
}

fn previous_identity(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let previous_service_identity = value(transaction, names::PREVIOUS_SERVICE_IDENTITY)
            .ok_or_else(|| ApiError::not_found("This service is not a recovery of a previous service."))?;
        Ok(Response::json(&PreviousIdentityAnswer {
            previous_service_identity,
        }))
    })
}

fn configuration(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let config: ServiceConfig = value(transaction, names::SERVICE_CONFIG)
            .ok_or_else(|| ApiError::not_found("Service configuration not available."))?;
        Ok(Response::json(&config))
    })
}

fn ready(is_ready: bool) -> ApiResult<Response> {
    Ok(match is_ready {
        true => Response::no_content(),
        false => Response::status(StatusCode::SERVICE_UNAVAILABLE),
    })
}

fn ready_app(node: &Node, _: &Request) -> ApiResult<Response> {
    let status = &node.status;
    ready(status.state() == NodeState::PartOfNetwork && status.users_are_served() && !status.is_stopping())
}

fn ready_gov(node: &Node, _: &Request) -> ApiResult<Response> {
    let status = &node.status;
    let serving = matches!(
        status.state(),
        NodeState::PartOfPublicNetwork | NodeState::ReadingPrivateLedger | NodeState::PartOfNetwork
    );
    ready(serving && node.serves_members() && !status.is_stopping())
}

fn self_signed_certificate(node: &Node, _: &Request) -> ApiResult<Response> {
    Ok(Response::json(&SelfSignedAnswer {
        self_signed_certificate: node.certificates.self_signed().to_pem(),
    }))
}
