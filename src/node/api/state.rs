//! `/node/state`, `/node/network`, readiness, and what the service says of itself.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{answer, handler, with_txid};
use crate::kv::store::Transaction;
use crate::node::http::{ApiError, ApiResult, Request, Response, Route};
use crate::node::service::value;
use crate::node::shared::Node;
use crate::node::status::NodeState;
use crate::tables::json::Json;
use crate::tables::names;
use crate::tables::values::ServiceInfo;

pub(super) fn routes() -> Vec<Route<Node>> {
    vec![
        Route::new(
            Method::GET,
            "/node/state",
            "State of the node, and how far a recovery is",
            handler!(state),
        ),
        Route::new(Method::GET, "/node/network", "State of the service", handler!(network)),
        Route::new(
            Method::GET,
            "/node/service/previous_identity",
            "Certificate of the service before the last recovery",
            handler!(previous_identity),
        ),
        Route::new(
            Method::GET,
            "/node/service/configuration",
            "The service's configuration",
            handler!(configuration),
        ),
        Route::new(
            Method::GET,
            "/node/ready/app",
            "Whether users are served",
            handler!(ready_app),
        )
        .success(StatusCode::NO_CONTENT),
        Route::new(
            Method::GET,
            "/node/ready/gov",
            "Whether members are served",
            handler!(ready_gov),
        )
        .success(StatusCode::NO_CONTENT),
        Route::new(
            Method::GET,
            "/node/self_signed_certificate",
            "The certificate that the node made itself",
            handler!(self_signed_certificate),
        ),
    ]
}

/// Takes no lock that a writer holds for long: answers while both processors are busy.
fn state(node: &Node, _: &Request) -> ApiResult<Response> {
    let status = &node.status;
    let state = status.state();
    let mut answer = json!({
        "last_signed_seqno": status.last_signed(),
        "node_id": node.id,
        "recovery": status.recovery(),
        "startup_seqno": status.startup_seqno(),
        "state": state.as_str(),
        "stop_notice": status.is_stopping(),
    });
    if state == NodeState::ReadingPrivateLedger
        && let Some(answer) = answer.as_object_mut()
    {
        let (target, recovered) = status.private_progress();
        answer.insert("recovery_target_seqno".to_owned(), json!(target));
        answer.insert("last_recovered_seqno".to_owned(), json!(recovered));
    }
    Ok(with_txid(Response::json(&answer), status.last_written()))
}

fn service_info(transaction: &Transaction<'_>) -> Option<ServiceInfo> {
    value(transaction, names::SERVICE_INFO)
}

fn network(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let info = service_info(transaction).ok_or_else(|| ApiError::not_found("Service state not available."))?;
        let founded = node.sequencer.get().is_some();
        let answer = json!({
            "current_service_create_txid": info.current_service_create_txid,
            "current_view": founded.then(|| node.status.last_written().view),
            "primary_id": founded.then_some(&node.id),
            "recovery_count": info.recovery_count,
            "service_certificate": info.cert,
            "service_status": info.status,
        });
        let answer = Json::with(answer, [("service_data", info.service_data.as_ref())]);
        Ok(Response::document(&answer))
    })
}

fn previous_identity(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let pem: String = value(transaction, names::PREVIOUS_SERVICE_IDENTITY)
            .ok_or_else(|| ApiError::not_found("This service is not a recovery of a previous service."))?;
        Ok(Response::json(&json!({"previous_service_identity": pem})))
    })
}

fn configuration(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let config: Value = value(transaction, names::SERVICE_CONFIG)
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
    Ok(Response::json(
        &json!({"self_signed_certificate": node.certificates.self_signed().to_pem()}),
    ))
}
