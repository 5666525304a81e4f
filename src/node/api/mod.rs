//! The endpoints: one file a family, each a list of routes whose handlers read the store or send a transaction.
//!
//! Handlers that only read take a snapshot of the newest state under a lock that is held for as long as it takes to copy
//! the answer; none of them waits for the writer. Recovery specification, section 3.

pub mod answers;
mod consensus;
pub mod consensus_answers;
mod diagnostics;
mod files;
mod forward;
mod gov_read;
mod gov_write;
mod healing;
mod internal;
mod join;
mod nodes;
mod page;
mod receipts;
mod refusals;
mod state;
mod users;

pub(crate) use diagnostics::process_memory;
pub(crate) use files::parse_range;
pub(crate) use page::PAGE;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::Value;

use super::shared::Node;
use super::writer::NotWritten;
use crate::core::Refusal;
use crate::format::TxId;
use crate::governance::parameters::ApiVersion;
use crate::http::openapi::About;
use crate::http::{ApiError, ApiResult, Request, Response, Router};
use crate::kv::store::Transaction;

/// Every endpoint of the node.
pub fn router() -> Router<Node> {
    let mut routes = state::routes();
    routes.extend(nodes::routes());
    routes.extend(consensus::routes());
    routes.extend(diagnostics::routes());
    routes.extend(files::routes());
    routes.extend(receipts::routes());
    routes.extend(gov_read::routes());
    routes.extend(gov_write::routes());
    routes.extend(users::routes());
    routes.extend(internal::routes());
    routes.extend(join::routes());
    routes.extend(healing::routes());
    routes.extend(page::routes());
    Router::new(routes)
        .with_fallback("app", handler!(application))
        .with_forwarding(forward::forward)
}

/// The documents that describe the endpoints: by first segment, and by version where answers depend on one.
pub fn documentation(router: &Router<Node>) -> BTreeMap<&'static str, Value> {
    let about = |title, description, version| About {
        title,
        description,
        version,
    };
    let program = env!("CARGO_PKG_VERSION");
    let [node, gov, app] = [
        about(
            "CCF node API, served by Rekindle",
            "What anybody may know of the node and its service.",
            program,
        ),
        about(
            "CCF governance API, served by Rekindle",
            "What does not depend on the version of the API that a request names.",
            program,
        ),
        about(
            "CCF application API, served by Rekindle",
            "What every application has; none runs here.",
            program,
        ),
    ];
    let mut documents = BTreeMap::from([
        ("node", router.openapi("node", &node)),
        ("gov", router.openapi("gov", &gov)),
        ("app", router.openapi("app", &app)),
    ]);
    for version in ApiVersion::ALL {
        let description = "What members do, and what they and auditors read.";
        let about = about("CCF governance API, served by Rekindle", description, version.name());
        documents.insert(version.name(), router.swagger("gov", &about));
    }
    documents
}

/// What there is for users: nothing of our own, and no application. Whoever asks for it is not to take this for an answer of it.
fn application(node: &Node, _: &Request) -> ApiResult<Response> {
    users::check_open(node)?;
    let message = "This node runs no application: it brings the service back, and other nodes run it. Ask one of them, or try \
                   again later.";
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "NodeCannotHandleRequest",
        message,
    ))
}

fn not_open() -> ApiError {
    ApiError::new(hyper::StatusCode::NOT_FOUND, "FrontendNotOpen", "Frontend is not open.")
}

/// Answers with what `read` makes of the newest state, and the transaction that it is the state of.
fn answer(node: &Node, read: impl FnOnce(&Transaction<'_>) -> ApiResult<Response>) -> ApiResult<Response> {
    let (response, txid) = node.read(|store| read(&store.transaction()));
    Ok(with_txid(response?, txid))
}

fn with_txid(response: Response, txid: TxId) -> Response {
    match txid.seqno {
        0 => response,
        _ => response.with_txid(txid),
    }
}

/// Turns `fn(&Node, &Request) -> ApiResult<Response>` into a handler.
macro_rules! handler {
    ($function:path) => {
        |node: std::sync::Arc<Node>, request: Request| Box::pin(async move { $function(&node, &request) })
    };
}
/// The same for an endpoint of members: 404 until these are served.
macro_rules! gov_handler {
    ($function:path) => {
        |node: std::sync::Arc<Node>, request: Request| {
            Box::pin(async move {
                $crate::node::api::check_gov(&node)?;
                $function(&node, &request)
            })
        }
    };
}
/// The same for one that writes.
macro_rules! gov_writer {
    ($function:path) => {
        |node: std::sync::Arc<Node>, request: Request| {
            Box::pin(async move {
                $crate::node::api::check_gov(&node)?;
                $function(node, request).await
            })
        }
    };
}
use {gov_handler, gov_writer, handler};

fn check_gov(node: &Node) -> ApiResult<()> {
    match node.serves_members() {
        true => Ok(()),
        false => Err(not_open()),
    }
}

/// Runs a transaction of `caller` and answers with what it answers.
async fn transact<F>(node: &Arc<Node>, caller: &str, body: F) -> ApiResult<Response>
where
    F: Fn(&mut Transaction<'_>, &mut super::session::Session) -> ApiResult<ApiResult<Response>> + Send + Sync + 'static,
{
    let writer = node.writer.get().ok_or_else(not_open)?;
    let (response, txid) = writer.transact(caller, body).await.map_err(not_written)?;
    Ok(with_txid(response?, txid))
}

/// Why a transaction is not in the ledger, as CCF says it.
pub(super) fn not_written(why: NotWritten<ApiError>) -> ApiError {
    let unavailable = |code, message: &str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
    match why {
        NotWritten::Failed(why) => why,
        NotWritten::TooManyWaiting => unavailable(
            "TooManyPendingTransactions",
            "Too many transactions wait to be written; try again later.",
        ),
        NotWritten::Refused(Refusal::TooManyUncommitted) => unavailable(
            "TooManyPendingTransactions",
            "Too many transactions are not committed yet; try again later.",
        ),
        NotWritten::Contended => unavailable(
            "TransactionCommitAttemptsExceedLimit",
            "Others have always written what this transaction read; try again later.",
        ),
        NotWritten::RolledBack => unavailable(
            "TransactionReplicationFailed",
            "The transaction was taken back: another node writes now.",
        ),
        NotWritten::Refused(Refusal::NotPrimary) => unavailable("NodeCannotHandleRequest", "Another node writes."),
        NotWritten::Refused(Refusal::Stopping) | NotWritten::Gone => {
            unavailable("NodeCannotHandleRequest", "The node is stopping.")
        }
        NotWritten::Refused(Refusal::Unsealable(why)) => {
            ApiError::internal(format!("The transaction can't be written: {why}"))
        }
    }
}
