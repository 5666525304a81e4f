//! From a request that arrived to the answer that leaves: limits, route, handler, file.
//!
//! Handlers run as tasks of their own: one that panics is answered 500, and one that was begun is finished although its
//! client went away, so that a write is never half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Version};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::body::{self, Budget, Outgoing, Unread};
use super::connection::{Activity, Phase};
use super::error::ApiError;
use super::interface::Interface;
use super::message::{Body, Request, Response, parse_query};
use super::prometheus::Metrics;
use super::router::{BoxFuture, Found, Router};
use super::server::Timeouts;
use super::sessions::{Counters, Sessions};

/// What all sessions share.
pub(super) struct Shared<S> {
    pub(super) router: Arc<Router<S>>,
    pub(super) state: Arc<S>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) timeouts: Timeouts,
    pub(super) budget: Budget,
    pub(super) phase: watch::Receiver<Phase>,
}

/// One interface, open.
pub(super) struct Door<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) interface: Arc<Interface>,
    pub(super) index: usize,
    pub(super) tls: Option<TlsAcceptor>,
}

/// One session behind a door.
pub(super) struct Visit<S> {
    pub(super) door: Arc<Door<S>>,
    pub(super) activity: Arc<Activity>,
    pub(super) peer_certificate: Option<Bytes>,
    pub(super) refused: bool,
}

impl<S> Door<S> {
    pub(super) fn count(&self, counter: impl Fn(&Counters) -> &AtomicUsize) {
        if let Some(counters) = self.shared.sessions.counters(self.index) {
            counter(counters).fetch_add(1, Relaxed);
        }
    }
}

/// An answer, and whether the session ends with it.
type Answer = (Response, bool);

/// Answers one request of a session.
pub(super) async fn answer<S: Send + Sync + 'static>(
    visit: &Visit<S>,
    request: hyper::Request<Incoming>,
) -> hyper::Response<Outgoing> {
    let _handling = visit.activity.request_begins();
    let begun = Instant::now();
    let (method, version) = (request.method().clone(), request.version());
    let (route, (response, close)) = respond(visit, request).await;
    let response = finish(response, &method, close && version < Version::HTTP_2).await;
    let shared = &visit.door.shared;
    shared
        .metrics
        .observe(route, &method, response.status(), begun.elapsed());
    tracing::debug!(
        interface = visit.door.interface.name, %method, route, status = response.status().as_u16(), "answered"
    );
    response
}

/// The answer to a request, and the pattern of the route it is for.
async fn respond<S: Send + Sync + 'static>(
    visit: &Visit<S>,
    request: hyper::Request<Incoming>,
) -> (Option<&'static str>, Answer) {
    let (door, shared) = (&visit.door, &visit.door.shared);
    let interface = &door.interface;
    if visit.refused {
        let message = "Service is currently busy and unable to serve new connections";
        let busy = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "SessionCapExhausted", message);
        return (None, (busy.into(), true));
    }
    let (head, incoming) = request.into_parts();
    if let Some(problem) = headers_too_large(&head.headers, interface) {
        door.count(|counters| &counters.request_header_too_large);
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return (
            None,
            (ApiError::new(status, "RequestHeaderTooLarge", problem).into(), true),
        );
    }
    let limit = interface.limits.max_body_size;
    let asks_first = head.headers.contains_key(EXPECT);
    // The share is held until the answer is made.
    let body::Incoming { bytes, share: _share } =
        match body::read(incoming, asks_first, limit, shared.timeouts.body, &shared.budget).await {
            Ok(body) => body,
            Err(unread) => {
                if unread == Unread::TooLarge {
                    door.count(|counters| &counters.request_payload_too_large);
                }
                return (None, (body_error(&unread, limit, shared.timeouts.body).into(), true));
            }
        };
    let mut request = Request {
        path: head.uri.path().to_owned(),
        query: parse_query(head.uri.query().unwrap_or("")),
        method: head.method,
        headers: head.headers,
        body: bytes,
        params: Vec::new(),
        interface: interface.clone(),
        peer_certificate: visit.peer_certificate.clone(),
    };
    let router = &shared.router;
    let (route, handling) = match router.find(&request.method, &request.path) {
        Found::Nothing => (None, router.call_unknown(shared.state.clone(), request)),
        Found::Route(route, _) | Found::NotAllowed(route, _) if !interface.accepts(route.pattern) => {
            return (
                Some(route.pattern),
                (not_accepted(interface, route.pattern).into(), false),
            );
        }
        Found::NotAllowed(route, allowed) => {
            let response = Response::not_allowed(&request.method, router.shown(&request.path), &allowed);
            return (Some(route.pattern), (response, false));
        }
        Found::Route(route, params) => {
            request.params = params;
            let (handler, state) = (route.handler, shared.state.clone());
            // Called inside its task, because what it does before it returns its future can panic too.
            let handling: BoxFuture<_> = Box::pin(async move { handler(state, request).await });
            (Some(route.pattern), handling)
        }
    };
    let response = match tokio::spawn(handling).await {
        Ok(answered) => answered.unwrap_or_else(Response::from),
        Err(failed) => {
            tracing::error!(route, panicked = failed.is_panic(), "a handler did not come to its end");
            ApiError::internal("The request could not be handled: the node's log says where it failed.").into()
        }
    };
    (route, (response, false))
}

/// What is wrong with the headers, if anything.
fn headers_too_large(headers: &hyper::HeaderMap, interface: &Interface) -> Option<String> {
    let limits = &interface.limits;
    if headers.len() > limits.max_headers_count {
        let (found, most) = (headers.len(), limits.max_headers_count);
        return Some(format!("The request has {found} headers; at most {most} are allowed."));
    }
    // As in CCF name and value each have the limit, and what is just as long as it is allowed.
    let too_large =
        |(name, value): &(&HeaderName, &HeaderValue)| name.as_str().len().max(value.len()) > limits.max_header_size;
    let (name, _) = headers.iter().find(too_large)?;
    let most = limits.max_header_size;
    Some(format!(
        "The header {name:?} is larger than the {most} bytes that are allowed."
    ))
}

fn body_error(unread: &Unread, limit: usize, time: Duration) -> ApiError {
    match unread {
        Unread::TooLarge => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestBodyTooLarge",
            format!("The request's body is larger than the {limit} bytes that are allowed."),
        ),
        Unread::NoMemory => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "SessionCapExhausted",
            "The bodies of other requests take all the memory that there is for them: try again.",
        ),
        Unread::TooSlow => ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "InvalidInput",
            format!("The request's body did not arrive within {} s.", time.as_secs()),
        ),
        Unread::Broken => ApiError::bad_request("InvalidInput", "The request's body broke off."),
    }
}

/// As in CCF 503, which says nothing more there.
fn not_accepted(interface: &Interface, pattern: &str) -> ApiError {
    let name = &interface.name;
    let message = format!("Interface {name:?} does not serve {pattern}: see its accepted_endpoints.");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "AuthorizationFailed", message)
}

/// A response as it goes out: a file is opened now, and HEAD gets the length of what it does not get.
async fn finish(response: Response, method: &Method, close: bool) -> hyper::Response<Outgoing> {
    let Response {
        mut status,
        mut headers,
        body,
    } = response;
    let mut body = match body {
        Body::Bytes(bytes) => Outgoing::Whole(bytes),
        Body::File { path, range } => match Outgoing::open(path.clone(), range).await {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a file that was to be sent could not be opened");
                let failed = Response::from(ApiError::internal("The file could not be read: see the node's log."));
                (status, headers) = (failed.status, failed.headers);
                match failed.body {
                    Body::Bytes(bytes) => Outgoing::Whole(bytes),
                    Body::File { .. } => Outgoing::Whole(Bytes::new()),
                }
            }
        },
    };
    if *method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length()));
        body = Outgoing::Whole(Bytes::new());
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut outgoing = hyper::Response::new(body);
    *outgoing.status_mut() = status;
    *outgoing.headers_mut() = headers;
    outgoing
}
