//! What nodes ask of nodes. Recovery specification, section 3.2.
//!
//! This node is there already, and nobody but nodes has a node's key. How nodes join is in `join`.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{handler, transact};
use crate::crypto::digest::sha256;
use crate::crypto::x509::any_certificate_spki;
use crate::http::{ApiError, ApiResult, Request, Response, Route};
use crate::kv::store::Transaction;
use crate::node::jwt;
use crate::node::shared::Node;
use crate::tables::names;
use crate::tables::values::{NodeInfo, NodeStatus, from_json};

/// How CCF calls this way of knowing who asks.
const POLICY: &str = "node_cert";

pub(super) fn routes() -> Vec<Route<Node>> {
    let post = |pattern, summary, handler| Route::new(Method::POST, pattern, summary, handler);
    vec![
        post(
            "/node/create",
            "How a node that starts makes its service: over here",
            handler!(create),
        )
        .returns_nothing(),
        post(
            "/node/jwt_keys/refresh",
            "Stores keys of a token issuer: for nodes of the service only",
            |node, request| Box::pin(refresh_jwt_keys(node, request)),
        )
        .returns::<bool>(),
    ]
}

fn create(_: &Node, _: &Request) -> ApiResult<Response> {
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "InternalError",
        "Node is not in initial state.",
    ))
}

/// The keys of one issuer.
#[derive(Deserialize)]
struct Keys {
    issuer: String,
    jwks: Value,
}

async fn refresh_jwt_keys(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let (is_node, _) = node.read(|store| authenticate(&store.transaction(), &request));
    is_node?;
    let keys: Keys = serde_json::from_slice(&request.body)
        .map_err(|why| ApiError::internal(format!("unable to parse body: {why}")))?;
    transact(&node, "jwt", move |transaction, _| {
        jwt::store(transaction, &keys.issuer, &keys.jwks.to_string())?;
        Ok(Ok(Response::json(&true)))
    })
    .await
}

/// Whether the TLS client has the key of a trusted node.
pub(super) fn authenticate(transaction: &Transaction<'_>, request: &Request) -> ApiResult<()> {
    let refused = |why: &str| ApiError::unauthenticated(POLICY, why);
    let certificate = request.peer_certificate.as_ref();
    let certificate = certificate.ok_or_else(|| refused("No caller node certificate"))?;
    let unknown = || refused("Could not find matching node certificate");
    let key = any_certificate_spki(certificate).map_err(|_| unknown())?;
    let info = transaction.get(names::NODES_INFO, hex::encode(sha256(key)).as_bytes());
    let info: Option<NodeInfo> = info.and_then(|info| from_json(info).ok());
    match info.is_some_and(|info| info.status == NodeStatus::Trusted) {
        true => Ok(()),
        false => Err(unknown()),
    }
}
