//! From a request that arrived to the answer that leaves: limits, route, handler, file.
//!
//! Handlers run as tasks of their own: one that panics is answered 500, and one that was begun is finished although its
//! client went away, so that a write is never half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode, Version};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::body::{self, Content, FILE_BYTES, Outgoing, Unread};
use super::callers::Entrance;
use super::connection::{Activity, Phase};
use super::error::ApiError;
use super::interface::Interface;
use super::memory::{Allowance, AtWork, Budget, Sending};
use super::message::{Body, PassedOn, Request, Response, parse_query};
use super::prometheus::Metrics;
use super::router::{BoxFuture, Found, Router};
use super::sessions::{Counters, Sessions};
use super::timeouts::Timeouts;
use crate::shown::Show;

/// What all sessions share.
pub(super) struct Shared<S> {
    pub(super) router: Arc<Router<S>>,
    pub(super) state: Arc<S>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) timeouts: Timeouts,
    pub(super) budget: Arc<Budget>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// One interface, open.
pub(super) struct ServedInterface<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) interface: Arc<Interface>,
    pub(super) index: usize,
    pub(super) tls: Option<TlsAcceptor>,
}

/// One session of an accepted connection.
pub(super) struct Visit<S> {
    pub(super) served: Arc<ServedInterface<S>>,
    pub(super) activity: Arc<Activity>,
    pub(super) allowance: Arc<Allowance>,
    pub(super) peer_certificate: Option<Bytes>,
    /// Where sessions begin at a bounded rate.
    pub(super) entrance: Option<Entrance>,
    pub(super) passed_on: Arc<PassedOn>,
    pub(super) refused: bool,
}

impl<S> ServedInterface<S> {
    pub(super) fn count(&self, counter: impl Fn(&Counters) -> &AtomicUsize) {
        if let Some(counters) = self.shared.sessions.counters(self.index) {
            counter(counters).fetch_add(1, Relaxed);
        }
    }
}

/// An answer, whether the session ends with it, and what holds its memory.
struct Answer {
    response: Response,
    close: bool,
    sending: Option<Arc<Sending>>,
}

impl Answer {
    fn of(response: impl Into<Response>) -> Self {
        Answer {
            response: response.into(),
            close: false,
            sending: None,
        }
    }

    fn last(response: impl Into<Response>) -> Self {
        Answer {
            close: true,
            ..Self::of(response)
        }
    }
}

/// Answers one request of a session.
pub(super) async fn answer<S: Send + Sync + 'static>(
    visit: &Visit<S>,
    request: hyper::Request<Incoming>,
) -> hyper::Response<Outgoing> {
    let _handling = visit.activity.request_begins();
    let begun = Instant::now();
    let (method, version) = (request.method().clone(), request.version());
    let is_due = is_due(visit).await;
    let (route, answer) = match visit.allowance.begin(&visit.served.shared.budget).filter(|_| is_due) {
        Some(at_work) => respond(visit, request, at_work).await,
        // Without a body, which would have to wait for the client too.
        None => {
            let response = Response::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "1");
            (None, Answer::of(response))
        }
    };
    let close = answer.close && version < Version::HTTP_2;
    let sending = answer
        .sending
        .unwrap_or_else(|| Sending::new(&visit.activity, None, None));
    let response = finish(answer.response, &method, close, sending).await;
    let shared = &visit.served.shared;
    shared
        .metrics
        .observe(route, &method, response.status(), begun.elapsed());
    tracing::debug!(
        interface = visit.served.interface.name, %method, route, status = response.status().as_u16(), "answered"
    );
    response
}

/// Waits until a request may be looked at, where that is bounded; a session that asks far too much is ended instead.
async fn is_due<S>(visit: &Visit<S>) -> bool {
    let Some(entrance) = &visit.entrance else {
        return true;
    };
    match entrance.request(tokio::time::Instant::now()) {
        Some(at) => tokio::time::sleep_until(at).await,
        None => visit.activity.dismiss(),
    }
    !visit.activity.is_dismissed()
}

/// The answer to a request, and the pattern of the route it is for.
async fn respond<S: Send + Sync + 'static>(
    visit: &Visit<S>,
    request: hyper::Request<Incoming>,
    at_work: AtWork,
) -> (Option<&'static str>, Answer) {
    let (served, shared) = (&visit.served, &visit.served.shared);
    let interface = &served.interface;
    if visit.refused {
        let message = "Service is currently busy and unable to serve new connections";
        return (None, Answer::last(busy(message)));
    }
    let (head, incoming) = request.into_parts();
    if let Some(problem) = headers_too_large(&head.headers, interface) {
        served.count(|counters| &counters.request_header_too_large);
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let error = ApiError::new(status, "RequestHeaderTooLarge", problem);
        return (None, Answer::last(error));
    }
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let Some(head_share) = visit.allowance.head(&shared.budget, target, &head.headers) else {
        return (None, Answer::of(no_memory()));
    };
    let limit = interface.limits.max_body_size;
    let asks_first = head.headers.contains_key(EXPECT);
    let memory = (&*visit.allowance, &*shared.budget);
    let body::Incoming { bytes, shares } =
        match body::read(incoming, asks_first, limit, shared.timeouts.body, memory).await {
            Ok(body) => body,
            Err(unread) => {
                if unread == Unread::TooLarge {
                    served.count(|counters| &counters.request_payload_too_large);
                }
                return (None, Answer::last(body_error(&unread, limit, shared.timeouts.body)));
            }
        };
    let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let host = || Some(head.headers.get(HOST)?.to_str().ok()?.to_owned());
    let mut request = Request {
        host: authority.or_else(host),
        path: head.uri.path().to_owned(),
        target: head
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string),
        query: parse_query(head.uri.query().unwrap_or("")),
        method: head.method,
        headers: head.headers,
        body: bytes,
        params: Vec::new(),
        interface: interface.clone(),
        peer_certificate: visit.peer_certificate.clone(),
        passed_on: Arc::clone(&visit.passed_on),
    };
    let router = &shared.router;
    let (route, handling) = match router.find(&request.method, &request.path) {
        Found::Nothing => (None, router.call_unknown(shared.state.clone(), request)),
        Found::Route(route, _) | Found::NotAllowed(route, _) if interface.lacks(route.feature) => {
            (None, router.call_unknown(shared.state.clone(), request))
        }
        Found::Route(route, _) | Found::NotAllowed(route, _)
            if route.feature.is_none() && !interface.accepts(route.pattern) =>
        {
            let answer = Answer::of(not_accepted(interface, route.pattern));
            return (Some(route.pattern), answer);
        }
        Found::NotAllowed(route, allowed) => {
            let response = Response::not_allowed(&request.method, router.shown(&request.path), &allowed);
            return (Some(route.pattern), Answer::of(response));
        }
        Found::Route(route, params) => {
            request.params = params;
            let (handler, state) = (route.handler, shared.state.clone());
            // Called inside its task, because what it does before it returns its future can panic too.
            let handling: BoxFuture<_> = match router.forwards(route, &request) {
                Some(forward) => Box::pin(async move { forward(state, request, handler).await }),
                None => Box::pin(async move { handler(state, request).await }),
            };
            (Some(route.pattern), handling)
        }
    };
    let turn = visit.allowance.turn().await;
    let (allowance, budget, activity) = (visit.allowance.clone(), shared.budget.clone(), visit.activity.clone());
    let handled = tokio::spawn(async move {
        let response = handling.await.unwrap_or_else(Response::from);
        // What the request took is free; what the answer takes is counted before anything else is done.
        drop((head_share, shares));
        let bytes = match &response.body {
            Body::Bytes(bytes) => bytes.len(),
            Body::File { .. } => FILE_BYTES,
        };
        let (response, share) = match allowance.answer(&budget, turn, bytes) {
            Some(share) => (response, Some(share)),
            None => (no_memory().into(), None),
        };
        (response, Sending::new(&activity, share, Some(at_work)))
    });
    let answer = match handled.await {
        Ok((response, sending)) => Answer {
            sending: Some(sending),
            ..Answer::of(response)
        },
        Err(failed) => {
            tracing::error!(route, panicked = failed.is_panic(), "a handler did not come to its end");
            let message = "The request could not be handled: the node's log says where it failed.";
            Answer::of(ApiError::internal(message))
        }
    };
    (route, answer)
}

fn busy(message: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "SessionCapExhausted", message)
}

fn no_memory() -> ApiError {
    busy("Other requests take all the memory that there is for them: try again.")
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
        Unread::NoMemory => no_memory(),
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
async fn finish(response: Response, method: &Method, close: bool, sending: Arc<Sending>) -> hyper::Response<Outgoing> {
    let Response {
        mut status,
        mut headers,
        body,
    } = response;
    let mut body = match body {
        Body::Bytes(bytes) => Content::Whole(bytes),
        Body::File { path, range } => match Content::open(path.clone(), range).await {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(path = %path.shown(), %error, "a file that was to be sent could not be opened");
                let failed = Response::from(ApiError::internal("The file could not be read: see the node's log."));
                (status, headers) = (failed.status, failed.headers);
                match failed.body {
                    Body::Bytes(bytes) => Content::Whole(bytes),
                    Body::File { .. } => Content::Whole(Bytes::new()),
                }
            }
        },
    };
    if *method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length()));
        body = Content::Whole(Bytes::new());
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut outgoing = hyper::Response::new(Outgoing::new(body, sending));
    *outgoing.status_mut() = status;
    *outgoing.headers_mut() = headers;
    outgoing
}
