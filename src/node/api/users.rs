//! What every CCF application has for its users, and members have beside it: the last commit, the status of a transaction,
//! receipts.
//!
//! The answers are those of `/node`, once users or members are served; before that they are told that nothing is open.

use std::sync::Arc;

use hyper::Method;

use super::answers::{CommitAnswer, Receipt, TxAnswer};
use super::consensus::{VIEW_HISTORY, commit, tx};
use super::diagnostics::{Document, documentation};
use super::receipts::{TRANSACTION, receipt};
use super::{gov_handler, gov_writer, handler, not_open};
use crate::http::{ApiResult, Request, Response, Route};
use crate::node::shared::Node;

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, handler| Route::new(Method::GET, pattern, summary, handler);
    vec![
        get("/app/commit", "The last committed transaction", handler!(app_commit))
            .query(VIEW_HISTORY)
            .returns::<CommitAnswer>(),
        get("/app/tx", "Status of a transaction", handler!(app_tx))
            .query(TRANSACTION)
            .returns::<TxAnswer>(),
        get(
            "/app/receipt",
            "Proof that a committed transaction is in the ledger",
            |node, request| Box::pin(app_receipt(node, request)),
        )
        .query(TRANSACTION)
        .returns::<Receipt>(),
        get("/app/api", "This documentation", handler!(app_api)).returns::<Document>(),
        // CCF's members have them too, without a version.
        get("/gov/commit", "The last committed transaction", gov_handler!(commit))
            .query(VIEW_HISTORY)
            .returns::<CommitAnswer>(),
        get("/gov/tx", "Status of a transaction", gov_handler!(tx))
            .query(TRANSACTION)
            .returns::<TxAnswer>(),
        get(
            "/gov/receipt",
            "Proof that a committed transaction is in the ledger",
            gov_writer!(receipt),
        )
        .query(TRANSACTION)
        .returns::<Receipt>(),
    ]
}

/// Nothing is there for users before the service is open.
pub(super) fn check_open(node: &Node) -> ApiResult<()> {
    match node.status.users_are_served() {
        true => Ok(()),
        false => Err(not_open()),
    }
}

fn app_commit(node: &Node, request: &Request) -> ApiResult<Response> {
    check_open(node)?;
    commit(node, request)
}

fn app_tx(node: &Node, request: &Request) -> ApiResult<Response> {
    check_open(node)?;
    tx(node, request)
}

async fn app_receipt(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    check_open(&node)?;
    receipt(node, request).await
}

fn app_api(node: &Node, _: &Request) -> ApiResult<Response> {
    check_open(node)?;
    documentation(node, "app")
}
