//! The page for people, its style sheet and its script: only on interfaces whose operator asks for it, and only to read.

use std::sync::Arc;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, IF_NONE_MATCH, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, StatusCode};

use super::handler;
use crate::http::{ApiError, ApiResult, Request, Response, Route};
use crate::node::page::{Hosts, PATH, SCRIPT, SCRIPT_PATH, STYLE_PATH, draw, view_of};
use crate::node::shared::Node;
use crate::web::look::STYLE;
use crate::web::page::POLICY;

/// The interface's feature: its field `rekindle_page`.
pub(crate) const PAGE: &str = "RekindlePage";
/// After how many milliseconds a viewer is asked to look again.
const LOOK_AGAIN: HeaderName = HeaderName::from_static("rekindle-look-again-ms");

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, content_type, handler| {
        Route::new(Method::GET, pattern, summary, handler)
            .returns_bytes(content_type)
            .also_head()
            .never_forwarded()
            .only_with(PAGE)
    };
    let html = "text/html; charset=utf-8";
    vec![
        get(PATH, "How far the node is, for people", html, |node, request| {
            Box::pin(page(node, request))
        }),
        get(
            STYLE_PATH,
            "The page's style sheet",
            "text/css; charset=utf-8",
            handler!(style),
        ),
        get(
            SCRIPT_PATH,
            "The page's script",
            "text/javascript; charset=utf-8",
            handler!(script),
        ),
    ]
}

async fn page(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    check_host(&node, &request)?;
    let Some(again) = node.board.admit() else {
        let busy = Response::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "5");
        return Ok(guarded(busy));
    };
    let shown = Arc::clone(&node);
    let ready = node.board.look(move || draw(&view_of(&shown))).await;
    let ready = ready.ok_or_else(|| ApiError::internal("The page could not be made: see the node's log."))?;
    let known = request.header(IF_NONE_MATCH.as_str());
    let response = match known.is_some_and(|known| known.split(',').any(|known| known.trim() == ready.tag)) {
        true => Response::status(StatusCode::NOT_MODIFIED),
        false => Response::bytes("text/html; charset=utf-8", ready.bytes.clone()),
    };
    let again_ms = again.as_millis().to_string();
    Ok(guarded(
        response
            .with_header(ETAG, &ready.tag)
            .with_header(LOOK_AGAIN, &again_ms),
    ))
}

fn style(node: &Node, request: &Request) -> ApiResult<Response> {
    check_host(node, request)?;
    Ok(guarded(Response::bytes("text/css; charset=utf-8", STYLE)))
}

fn script(node: &Node, request: &Request) -> ApiResult<Response> {
    check_host(node, request)?;
    Ok(guarded(Response::bytes("text/javascript; charset=utf-8", SCRIPT)))
}

/// With what keeps a browser from doing anything else with it than to show it.
fn guarded(response: Response) -> Response {
    [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ]
    .into_iter()
    .fold(response, |response, (name, value)| response.with_header(name, value))
}

fn check_host(node: &Node, request: &Request) -> ApiResult<()> {
    match request
        .host
        .as_ref()
        .is_some_and(|host| Hosts::of(&node.config).allow(host))
    {
        true => Ok(()),
        false => Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "InvalidInput",
            "This page is served under the node's addresses and the names in its configuration only: use an address, or add the \
             name to node_certificate.subject_alt_names (\"dNSName:...\") or as an interface's published_address.",
        )),
    }
}
