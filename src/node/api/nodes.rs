//! `/node/network/nodes` and what nodes attest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Map, Value};

use super::answers::{AttestationsAnswer, NodeAnswer, NodesAnswer, Quote, QuotesAnswer};
use super::{answer, handler, transact};
use crate::attestation::OwnEvidence;
use crate::http::{ApiError, ApiResult, QueryParameter, Request, Response, Route, schema};
use crate::kv::store::Transaction;
use crate::node::description::net_interfaces;
use crate::node::shared::Node;
use crate::tables::json::{Fields, Opaque};
use crate::tables::names;
use crate::tables::values::{NodeStatus, from_json};

const FILTERS: &[QueryParameter] = &[
    QueryParameter {
        name: "host",
        required: false,
        description: "Only nodes that publish this host",
        schema: schema::<String>,
    },
    QueryParameter {
        name: "port",
        required: false,
        description: "Only nodes that publish this port",
        schema: schema::<String>,
    },
    QueryParameter {
        name: "status",
        required: false,
        description: "Only nodes with this status: Pending, Trusted or Retired",
        schema: schema::<NodeStatus>,
    },
];

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, handler| Route::new(Method::GET, pattern, summary, handler);
    vec![
        get("/node/network/nodes", "Every node of the service", handler!(nodes))
            .query(FILTERS)
            .returns::<NodesAnswer>(),
        get("/node/network/nodes/self", "This node", handler!(own))
            .returns::<NodeAnswer>()
            .never_forwarded(),
        get("/node/network/nodes/primary", "The primary", handler!(primary_node)).returns::<NodeAnswer>(),
        get("/node/network/nodes/{node_id}", "One node", handler!(node_by_id)).returns::<NodeAnswer>(),
        get(
            "/node/network/removable_nodes",
            "Retired nodes that may be removed",
            handler!(removable),
        )
        .returns::<NodesAnswer>(),
        Route::new(
            Method::DELETE,
            "/node/network/nodes/{node_id}",
            "Removes a node whose retirement is committed",
            |node, request| Box::pin(remove(node, request)),
        )
        .returns::<bool>(),
        get("/node/quotes", "What trusted nodes attest", handler!(quotes)).returns::<QuotesAnswer>(),
        get("/node/quotes/self", "What this node attests", handler!(own_quote))
            .returns::<Quote>()
            .never_forwarded(),
        get(
            "/node/attestations",
            "What trusted nodes attest",
            handler!(attestations),
        )
        .returns::<AttestationsAnswer>(),
        get("/node/attestations/self", "What this node attests", handler!(own_quote))
            .returns::<Quote>()
            .never_forwarded(),
    ]
}

/// `nodes.info` of every node: id, value, seqno of its write.
fn all(transaction: &Transaction<'_>) -> Vec<(String, Fields, u64)> {
    let mut all = Vec::new();
    for (id, value) in transaction.entries(names::NODES_INFO) {
        let version = transaction.version(names::NODES_INFO, &id).unwrap_or(0);
        if let Ok(info) = from_json(&value) {
            all.push((String::from_utf8_lossy(&id).into_owned(), info, version));
        }
    }
    all
}

fn describe(node: &Node, id: &str, info: &Fields, last_written: u64) -> NodeAnswer {
    let carried = |name| info.get(name).cloned();
    NodeAnswer {
        last_written,
        node_data: carried("node_data"),
        node_id: id.to_owned(),
        primary: node.primary().is_some_and(|primary| primary.to_string() == id),
        rpc_interfaces: carried("rpc_interfaces"),
        status: carried("status"),
    }
}

fn status_of(info: &Fields) -> String {
    info.read("status").unwrap_or_default()
}

fn publishes(info: &Fields, host: Option<&str>, port: Option<&str>) -> bool {
    if host.is_none() && port.is_none() {
        return true;
    }
    let interfaces: Map<String, Value> = info.read("rpc_interfaces").unwrap_or_default();
    let mut addresses = interfaces
        .values()
        .filter_map(|interface| interface.get("published_address")?.as_str()?.rsplit_once(':'));
    addresses.any(|(h, p)| host.is_none_or(|host| host == h) && port.is_none_or(|port| port == p))
}

fn nodes(node: &Node, request: &Request) -> ApiResult<Response> {
    let status = request.query_value("status");
    if let Some(status) = status.filter(|status| !["Pending", "Trusted", "Retired"].contains(status)) {
        return Err(ApiError::bad_request(
            "InvalidQueryParameterValue",
            format!("Query parameter '{status}' is not a valid node status"),
        ));
    }
    let (host, port) = (request.query_value("host"), request.query_value("port"));
    answer(node, |transaction| {
        let nodes = all(transaction)
            .into_iter()
            .filter(|(_, info, _)| status.is_none_or(|status| status_of(info) == status))
            .filter(|(_, info, _)| publishes(info, host, port))
            .map(|(id, info, version)| describe(node, &id, &info, version))
            .collect();
        Ok(Response::json(&NodesAnswer { nodes }))
    })
}

fn find(node: &Node, transaction: &Transaction<'_>, id: &str) -> Option<NodeAnswer> {
    let value = transaction.get(names::NODES_INFO, id.as_bytes())?;
    let info: Fields = from_json(value).ok()?;
    let version = transaction.version(names::NODES_INFO, id.as_bytes()).unwrap_or(0);
    Some(describe(node, id, &info, version))
}

fn node_by_id(node: &Node, request: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let found = find(node, transaction, request.param("node_id"));
        let found = found.ok_or_else(|| ApiError::not_found("Node not found"))?;
        Ok(Response::json(&found))
    })
}

fn own(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let found = find(node, transaction, &node.id);
        Ok(Response::json(&found.unwrap_or_else(|| not_in_the_service(node))))
    })
}

/// This node before it is part of a service: what its configuration says.
fn not_in_the_service(node: &Node) -> NodeAnswer {
    NodeAnswer {
        last_written: 0,
        node_data: None,
        node_id: node.id.clone(),
        primary: false,
        rpc_interfaces: Some(Opaque::of(&net_interfaces(&node.config, &node.published))),
        status: Some(Opaque::of(&NodeStatus::Pending)),
    }
}

fn primary_node(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let primary = node.primary();
        let found = primary.and_then(|primary| find(node, transaction, &primary.to_string()));
        let found = found.ok_or_else(|| ApiError::internal("Primary unknown"))?;
        Ok(Response::json(&found))
    })
}

fn is_removable(info: &Fields) -> bool {
    status_of(info) == "Retired" && info.read("retired_committed") == Some(true)
}

fn removable(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let nodes = all(transaction)
            .into_iter()
            .filter(|(_, info, _)| is_removable(info))
            .map(|(id, info, version)| describe(node, &id, &info, version))
            .collect();
        Ok(Response::json(&NodesAnswer { nodes }))
    })
}

async fn remove(node: std::sync::Arc<Node>, request: Request) -> ApiResult<Response> {
    let id = request.param("node_id").to_owned();
    // Anybody may ask this: only what can be done gets a place among those that wait.
    node.read(|store| check_removable(&store.transaction(), &id)).0?;
    transact(&node, "anyone", move |transaction, _| {
        check_removable(transaction, &id)?;
        transaction.remove(names::NODES_INFO, id.as_bytes());
        transaction.remove(names::NODES_ENDORSED_CERTIFICATES, id.as_bytes());
        Ok(Ok(Response::json(&true)))
    })
    .await
}

fn check_removable(transaction: &Transaction<'_>, id: &str) -> ApiResult<()> {
    let value = transaction.get(names::NODES_INFO, id.as_bytes());
    let value = value.ok_or_else(|| ApiError::not_found("No such node"))?;
    let info: Fields = from_json(value).map_err(|why| ApiError::internal(format!("Node can't be read: {why}")))?;
    match is_removable(&info) {
        true => Ok(()),
        false => Err(ApiError::bad_request(
            "NodeNotRetiredCommitted",
            "Node is not completely retired",
        )),
    }
}

fn quote(id: &str, info: &Fields) -> Option<Quote> {
    let quote: Value = info.read("quote_info")?;
    let field = |name: &str| quote.get(name).cloned();
    Some(Quote {
        endorsements: field("endorsements").unwrap_or_default(),
        format: field("format").unwrap_or_default(),
        measurement: info.read("code_digest"),
        node_id: id.to_owned(),
        raw: field("quote").unwrap_or_default(),
        uvm_endorsements: field("uvm_endorsements"),
    })
}

fn trusted_quotes(transaction: &Transaction<'_>) -> Vec<Quote> {
    let all = all(transaction);
    let trusted = all.iter().filter(|(_, info, _)| status_of(info) == "Trusted");
    trusted.filter_map(|(id, info, _)| quote(id, info)).collect()
}

fn quotes(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let quotes = trusted_quotes(transaction);
        Ok(Response::json(&QuotesAnswer { quotes }))
    })
}

fn attestations(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let attestations = trusted_quotes(transaction);
        Ok(Response::json(&AttestationsAnswer { attestations }))
    })
}

fn own_quote(node: &Node, _: &Request) -> ApiResult<Response> {
    let evidence = node
        .evidence
        .get()
        .ok_or_else(|| ApiError::not_found("Could not find node quote"))?;
    answer(node, |_| Ok(Response::json(&quote_of(&node.id, evidence))))
}

/// What this node attests.
fn quote_of(id: &str, evidence: &OwnEvidence) -> Quote {
    Quote {
        endorsements: STANDARD.encode(evidence.endorsements()).into(),
        format: evidence.format().into(),
        measurement: Some(hex::encode(evidence.measurement()).into()),
        node_id: id.to_owned(),
        raw: STANDARD.encode(evidence.quote()).into(),
        uvm_endorsements: evidence.uvm_endorsements().map(|cose| STANDARD.encode(cose).into()),
    }
}
