//! `/node/commit`, `/node/tx`, `/node/primary` and what consensus is.

use std::collections::BTreeMap;
use std::time::Instant;

use hyper::{Method, StatusCode};

use super::answers::{CommitAnswer, TransactionId, TxAnswer, TxStatus};
use super::consensus_answers::{ConsensusAnswer, ConsensusDetails, ConsensusNode};
use super::handler;
use crate::consensus::Role;
use crate::format::{TxId, View};
use crate::http::{ApiError, ApiResult, QueryParameter, Request, Response, Route, schema};
use crate::node::membership::Membership;
use crate::node::shared::Node;
use crate::tables::names;
use crate::tables::node_info::NodeRecord;

pub(super) const VIEW_HISTORY: &[QueryParameter] = &[
    QueryParameter {
        name: "view_history",
        required: false,
        description: "true: also the first transaction of every view",
        schema: schema::<bool>,
    },
    QueryParameter {
        name: "view_history_since",
        required: false,
        description: "The first view that is wanted",
        schema: schema::<View>,
    },
];
const TRANSACTION: &[QueryParameter] = &[QueryParameter {
    name: "transaction_id",
    required: true,
    description: "Which transaction, as view.seqno",
    schema: schema::<TransactionId>,
}];

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, handler| Route::new(Method::GET, pattern, summary, handler);
    vec![
        get("/node/commit", "The last committed transaction", handler!(commit))
            .query(VIEW_HISTORY)
            .returns::<CommitAnswer>(),
        get("/node/tx", "Status of a transaction", handler!(tx))
            .query(TRANSACTION)
            .returns::<TxAnswer>(),
        get("/node/primary", "200 on the primary", handler!(primary))
            .also_head()
            .returns_nothing()
            .or(StatusCode::PERMANENT_REDIRECT, "HEAD: where the primary is")
            .never_forwarded(),
        get("/node/backup", "200 on a backup", handler!(backup))
            .returns_nothing()
            .never_forwarded(),
        get(
            "/node/config",
            "The latest configuration of consensus",
            handler!(config),
        )
        .returns::<BTreeMap<String, ConsensusNode>>()
        .never_forwarded(),
        get("/node/consensus", "State of consensus", handler!(consensus))
            .returns::<ConsensusAnswer>()
            .never_forwarded(),
    ]
}

/// The last committed transaction, once there is a service.
pub(super) fn committed(node: &Node) -> ApiResult<TxId> {
    let seqno = node.status.last_signed();
    match node.writer.get() {
        Some(_) => Ok(TxId {
            view: node.status.view_of(seqno),
            seqno,
        }),
        None => Err(ApiError::internal("Failed to get committed transaction: Uninitialised")),
    }
}

pub(super) fn commit(node: &Node, request: &Request) -> ApiResult<Response> {
    let transaction_id = committed(node)?;
    let all = match request.query_value("view_history") {
        None | Some("false") => None,
        Some("true") => Some(1),
        Some(text) => {
            return Err(ApiError::bad_request(
                "InvalidQueryParameterValue",
                format!("Invalid value for view_history: {text}"),
            ));
        }
    };
    let since = request.query_value("view_history_since").map(|text| {
        text.parse::<u64>().ok().filter(|since| *since > 0).ok_or_else(|| {
            ApiError::bad_request(
                "InvalidQueryParameterValue",
                format!("Unable to parse value '{text}' in parameter 'view_history_since'"),
            )
        })
    });
    let since = since.transpose()?;
    // Who asks for all gets all.
    let view_history = all.or(since).map(|since| history(node, since)).transpose()?;
    Ok(Response::json(&CommitAnswer {
        transaction_id,
        view_history,
    }))
}

/// The first transaction of every view from this one on.
fn history(node: &Node, since: View) -> ApiResult<Vec<TxId>> {
    let history = node.status.view_history();
    if since > history.len() as u64 {
        return Err(ApiError::not_found("Error code: NotFound"));
    }
    let views = (1u64..).zip(history);
    let wanted = views.filter(|(view, _)| *view >= since);
    Ok(wanted.map(|(view, seqno)| TxId { view, seqno }).collect())
}

/// Reads the parameter `transaction_id`.
///
/// # Errors
/// 400 if it is missing or no transaction id.
pub(super) fn transaction_id(request: &Request) -> ApiResult<TxId> {
    let text = request.query_value("transaction_id").ok_or_else(|| {
        ApiError::bad_request(
            "InvalidQueryParameterValue",
            "No parameter 'transaction_id' in the query: expected ?transaction_id=view.seqno",
        )
    })?;
    parse_transaction_id(text)
}

/// As [`transaction_id`], for the text itself.
pub(super) fn parse_transaction_id(text: &str) -> ApiResult<TxId> {
    let parsed = text.split_once('.').and_then(|(view, seqno)| {
        Some(TxId {
            view: view.parse().ok()?,
            seqno: seqno.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| {
        ApiError::bad_request(
            "InvalidQueryParameterValue",
            "The value for parameter 'transaction_id' could not be parsed: expected view.seqno",
        )
    })
}

/// Where a transaction stands.
pub(super) fn status_of(node: &Node, txid: TxId) -> TxStatus {
    let status = &node.status;
    let (last, committed) = (status.last_written(), status.last_signed());
    let is_its_view = txid.seqno <= last.seqno && status.view_of(txid.seqno) == txid.view;
    match (txid.seqno, is_its_view) {
        (0, _) => TxStatus::Unknown,
        (seqno, true) if seqno <= committed => TxStatus::Committed,
        (_, true) => TxStatus::Pending,
        // Another view has this seqno for good.
        (seqno, false) if seqno <= committed => TxStatus::Invalid,
        // Its view is over, and never came that far.
        (_, false) if txid.view < status.view_of(committed) => TxStatus::Invalid,
        _ => TxStatus::Unknown,
    }
}

pub(super) fn tx(node: &Node, request: &Request) -> ApiResult<Response> {
    let transaction_id = transaction_id(request)?;
    committed(node)?;
    Ok(Response::json(&TxAnswer {
        status: status_of(node, transaction_id),
        transaction_id,
    }))
}

/// 200 on the primary. Whoever asks with HEAD elsewhere is sent there, where it is known.
fn primary(node: &Node, request: &Request) -> ApiResult<Response> {
    if node.is_primary() {
        return Ok(Response::status(StatusCode::OK));
    }
    let address = node
        .primary()
        .map(|primary| node.address_of(primary, &request.interface.name));
    match address.filter(|address| !address.is_empty() && request.method == Method::HEAD) {
        Some(address) => {
            let location = format!("https://{address}{}", request.path);
            Ok(Response::redirect(StatusCode::PERMANENT_REDIRECT, &location))
        }
        None => Err(ApiError::not_found("Node is not primary")),
    }
}

fn backup(node: &Node, _: &Request) -> ApiResult<Response> {
    let follows = node.with_membership(|membership| matches!(membership.role, Role::Follower { .. }));
    match follows {
        Some(true) => Ok(Response::status(StatusCode::OK)),
        _ => Err(ApiError::not_found("Node is not backup")),
    }
}

fn description(node: &Node) -> ApiResult<ConsensusDetails> {
    let membership = node.with_membership(Membership::clone);
    let membership = membership.ok_or_else(|| ApiError::not_found("No configured consensus"))?;
    Ok(node
        .read(|store| {
            let transaction = store.transaction();
            ConsensusDetails::of(&membership, Instant::now(), |id| {
                let record = transaction.get(names::NODES_INFO, id.to_string().as_bytes());
                let record = record.and_then(NodeRecord::read);
                record
                    .and_then(|record| record.node_to_node_address())
                    .unwrap_or_default()
            })
        })
        .0)
}

fn config(node: &Node, _: &Request) -> ApiResult<Response> {
    let configuration = description(node)?.configs.pop();
    let nodes = configuration.map(|configuration| configuration.nodes);
    Ok(Response::json(&nodes.unwrap_or_default()))
}

fn consensus(node: &Node, _: &Request) -> ApiResult<Response> {
    Ok(Response::json(&ConsensusAnswer {
        details: description(node)?,
    }))
}
