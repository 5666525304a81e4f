//! What clients ask of a node that does not lead, and only the one that leads can do: it is passed on, and the answer given back with
//! its transaction. Node-to-node specification, section 3.
//!
//! As in CCF, a session is bound to the node that leads, once a request of it was passed on: what is read after a write is never the
//! state before it. Where another node leads since, the session is told once, and begins anew.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use crate::channel::message::{Forwarded, ForwardedRequest};
use crate::http::{ApiError, ApiResult, BoxFuture, Handler, Request, Response, answer_of, request_of};
use crate::node::forwards::Outcome;
use crate::node::shared::Node;
use crate::node::writer::Message;

/// Where the interface says nothing, as in CCF.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest request that is passed on. A frame of more than 64 MiB ends a CCF node.
const LONGEST: usize = 16 << 20;

/// Answers by `handler` where this node leads, and else has the node that leads answer.
pub(super) fn forward(node: Arc<Node>, request: Request, handler: Handler<Node>) -> BoxFuture<ApiResult<Response>> {
    if let Some(error) = lost_consistency(&node, &request) {
        return Box::pin(async move { Err(error) });
    }
    // What another node has passed on is not passed on again.
    let is_ours = request.interface.is_between_nodes() || node.with_membership(|known| known.leads()).unwrap_or(true);
    match is_ours {
        true => handler(node, request),
        false => Box::pin(pass_on(node, request)),
    }
}

/// What the session has seen may not be so any more, where it was answered for in another view.
fn lost_consistency(node: &Node, request: &Request) -> Option<ApiError> {
    let began = request.passed_on.view()?;
    let view = node.with_membership(|known| known.view).filter(|view| *view != began)?;
    request.passed_on.forget();
    Some(ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "SessionConsistencyLost",
        format!(
            "Potential loss of session consistency. Started in view {began}, now in view {view}. What was read before may be gone."
        ),
    ))
}

async fn pass_on(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let unavailable =
        |message: &str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NodeCannotHandleRequest", message);
    let known = node.with_membership(|known| (known.primary, known.view));
    let (Some((Some(primary), view)), Some(writer)) = (known, node.writer.get()) else {
        return Err(unavailable(
            "This node does not lead, and does not know which one does: there may be an election. Try again.",
        ));
    };
    request.passed_on.in_view(view);
    let bytes = request_of(&request);
    if bytes.len() > LONGEST {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestBodyTooLarge",
            format!("This node does not lead, and passes on no more than {LONGEST} bytes: ask node {primary}."),
        ));
    }
    let Some(mut waiting) = node.forwards.begin(primary) else {
        return Err(unavailable(
            "Too many requests wait for the node that leads; try again later.",
        ));
    };
    let interface = node.config.network.rpc_interfaces.get(&request.interface.name);
    let patience = interface.map_or(PATIENCE, |it| Duration::from_millis(it.forwarding_timeout_ms));
    let message = Forwarded::Request(ForwardedRequest {
        command: waiting.command,
        view,
        // Each request stands alone: its session is its own.
        session: waiting.command,
        caller: request.peer_certificate.as_deref().map(<[u8]>::to_vec),
        request: bytes,
    });
    writer.tell(Message::PassBack(primary, message, None));
    let not_answered = |why: &str| {
        ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "InternalError",
            format!("The request was passed on to the node that leads, {primary}, {why}: it may have been done."),
        )
    };
    let answer = match timeout(patience, &mut waiting.answer).await {
        Ok(Ok(Outcome::Answered(answer))) => answer,
        Ok(Ok(Outcome::NotSent)) => {
            return Err(unavailable(&format!(
                "This node does not lead, and is not connected with the one that does, {primary}: nothing was done. Try again."
            )));
        }
        Ok(Ok(Outcome::Lost)) => {
            return Err(not_answered(
                "and the connection with it was lost before it has answered",
            ));
        }
        Ok(Err(_)) | Err(_) => {
            let within = patience.as_millis();
            return Err(not_answered(&format!("which has not answered within {within} ms")));
        }
    };
    answer_of(&answer).ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_GATEWAY,
            "InternalError",
            format!("What the node that leads, {primary}, has answered is no HTTP."),
        )
    })
}
