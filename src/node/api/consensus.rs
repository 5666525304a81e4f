//! `/node/commit`, `/node/tx`, `/node/primary` and what consensus is.

use hyper::Method;
use serde_json::{Value, json};

use super::handler;
use crate::format::TxId;
use crate::node::http::{ApiError, ApiResult, QueryParameter, Request, Response, Route};
use crate::node::shared::Node;

pub(super) const VIEW_HISTORY: &[QueryParameter] = &[
    QueryParameter {
        name: "view_history",
        required: false,
        description: "true: also the first transaction of every view",
    },
    QueryParameter {
        name: "view_history_since",
        required: false,
        description: "The first view that is wanted",
    },
];
const TRANSACTION: &[QueryParameter] = &[QueryParameter {
    name: "transaction_id",
    required: true,
    description: "view.seqno",
}];

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, handler| Route::new(Method::GET, pattern, summary, handler);
    vec![
        get("/node/commit", "The last committed transaction", handler!(commit)).query(VIEW_HISTORY),
        get("/node/tx", "Status of a transaction", handler!(tx)).query(TRANSACTION),
        get("/node/primary", "200 on the primary", handler!(primary)).also_head(),
        get("/node/backup", "200 on a backup", handler!(backup)),
        get(
            "/node/config",
            "The latest configuration of consensus",
            handler!(config),
        ),
        get("/node/consensus", "State of consensus", handler!(consensus)),
    ]
}

/// The last committed transaction, once there is a service.
pub(super) fn committed(node: &Node) -> ApiResult<TxId> {
    let seqno = node.status.last_signed();
    match node.sequencer.get() {
        Some(_) => Ok(TxId {
            view: node.status.view_of(seqno),
            seqno,
        }),
        None => Err(ApiError::internal("Failed to get committed transaction: Uninitialised")),
    }
}

pub(super) fn commit(node: &Node, request: &Request) -> ApiResult<Response> {
    let mut answer = json!({"transaction_id": committed(node)?});
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
    if let Some(since) = all.or(since)
        && let Some(answer) = answer.as_object_mut()
    {
        let history = node.status.view_history();
        if since > history.len() as u64 {
            return Err(ApiError::not_found("Error code: NotFound"));
        }
        let views: Vec<Value> = (1u64..)
            .zip(&history)
            .filter(|(view, _)| *view >= since)
            .map(|(view, seqno)| json!(TxId { view, seqno: *seqno }))
            .collect();
        answer.insert("view_history".to_owned(), Value::Array(views));
    }
    Ok(Response::json(&answer))
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

/// `Committed`, `Pending`, `Unknown` or `Invalid`.
pub(super) fn status_of(node: &Node, txid: TxId) -> &'static str {
    let status = &node.status;
    let (last, committed) = (status.last_written(), status.last_signed());
    let is_its_view = txid.seqno <= last.seqno && status.view_of(txid.seqno) == txid.view;
    match (txid.seqno, is_its_view) {
        (0, _) => "Unknown",
        (seqno, true) if seqno <= committed => "Committed",
        (_, true) => "Pending",
        // Another view has this seqno for good.
        (seqno, false) if seqno <= committed => "Invalid",
        // Its view is over, and never came that far.
        (_, false) if txid.view < status.view_of(committed) => "Invalid",
        _ => "Unknown",
    }
}

pub(super) fn tx(node: &Node, request: &Request) -> ApiResult<Response> {
    let txid = transaction_id(request)?;
    committed(node)?;
    let status = status_of(node, txid);
    Ok(Response::json(&json!({"status": status, "transaction_id": txid})))
}

fn primary(node: &Node, _: &Request) -> ApiResult<Response> {
    match node.sequencer.get() {
        Some(_) => Ok(Response::status(hyper::StatusCode::OK)),
        None => Err(ApiError::not_found("Node is not primary")),
    }
}

fn backup(_: &Node, _: &Request) -> ApiResult<Response> {
    Err(ApiError::not_found("Node is not backup"))
}

fn description(node: &Node) -> ApiResult<Value> {
    let consensus = node.consensus.read().ok().and_then(|consensus| consensus.clone());
    consensus.ok_or_else(|| ApiError::not_found("No configured consensus"))
}

fn config(node: &Node, _: &Request) -> ApiResult<Response> {
    let details = description(node)?;
    let nodes = details
        .pointer("/configs/0/nodes")
        .cloned()
        .unwrap_or_else(|| json!({}));
    Ok(Response::json(&nodes))
}

fn consensus(node: &Node, _: &Request) -> ApiResult<Response> {
    Ok(Response::json(&json!({"details": description(node)?})))
}
