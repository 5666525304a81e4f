//! The table of routes: which handler answers what, and what the documentation says about it.
//!
//! A pattern's segments are literals (`proposals:create`) or captures with a literal tail (`{member_id}:submit`). Where
//! more than one pattern matches a path, the one that is more literal in the leftmost segment that differs wins: `{id}`
//! does not swallow `abc:submit` if there is `{id}:submit`. Only then are the methods looked at.

use std::cmp::Reverse;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use schemars::JsonSchema;

use super::error::ApiError;
use super::forwarded::Forwarding;
use super::message::{Request, Response, percent_decode};
pub use super::parameter::{QueryParameter, SchemaOf, schema};

/// What handlers return.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers one request.
pub type Handler<S> = fn(Arc<S>, Request) -> BoxFuture<Result<Response, ApiError>>;

/// Answers a request that belongs to the node that leads: has it answered there, or by the handler here.
pub type Forward<S> = fn(Arc<S>, Request, Handler<S>) -> BoxFuture<Result<Response, ApiError>>;

/// The body of a success.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Nothing,
    Json(SchemaOf),
    Bytes(&'static str),
}

/// One line of the table.
pub struct Route<S> {
    pub(super) method: Method,
    pub(super) pattern: &'static str,
    pub(super) summary: &'static str,
    pub(super) also_head: bool,
    pub(super) query: &'static [QueryParameter],
    /// Content type of the body that a request must have.
    pub(super) takes: Option<&'static str>,
    pub(super) answer: Answer,
    pub(super) status: StatusCode,
    /// Other statuses that are no errors, and what they mean.
    pub(super) others: Vec<(StatusCode, &'static str)>,
    /// Headers that every success has.
    pub(super) headers: Vec<&'static str>,
    pub(super) forwarding: Forwarding,
    pub(super) since: Option<&'static str>,
    /// What an interface has to have for this route to be there.
    pub(super) feature: Option<&'static str>,
    pub(super) handler: Handler<S>,
    segments: Vec<Segment>,
}

impl<S> Route<S> {
    /// A route that answers 200 with JSON. `pattern` is the whole path, whose first segment (`/node`) is its tag.
    pub fn new(method: Method, pattern: &'static str, summary: &'static str, handler: Handler<S>) -> Self {
        Route {
            pattern,
            summary,
            also_head: false,
            query: &[],
            takes: None,
            answer: Answer::Json(schema::<serde_json::Value>),
            status: StatusCode::OK,
            others: Vec::new(),
            headers: Vec::new(),
            forwarding: match method {
                Method::GET => Forwarding::Sometimes,
                _ => Forwarding::Always,
            },
            since: None,
            feature: None,
            segments: segments(pattern).map(Segment::parse).collect(),
            handler,
            method,
        }
    }

    /// Answers HEAD as well: the same headers, no body.
    pub fn also_head(mut self) -> Self {
        self.also_head = true;
        self
    }

    /// Documents the query's parameters.
    pub fn query(mut self, parameters: &'static [QueryParameter]) -> Self {
        self.query = parameters;
        self
    }

    /// Documents a body of the request: `application/cose`.
    pub fn takes_bytes(mut self, content_type: &'static str) -> Self {
        self.takes = Some(content_type);
        self
    }

    /// Documents the body of the response by its type.
    pub fn returns<T: JsonSchema + ?Sized>(mut self) -> Self {
        self.answer = Answer::Json(schema::<T>);
        self
    }

    /// Documents a response that is not JSON.
    pub fn returns_bytes(mut self, content_type: &'static str) -> Self {
        self.answer = Answer::Bytes(content_type);
        self
    }

    /// Documents a response without a body.
    pub fn returns_nothing(mut self) -> Self {
        self.answer = Answer::Nothing;
        self
    }

    /// Documents another status of success than 200; 204 has no body.
    pub fn success(mut self, status: StatusCode) -> Self {
        if status == StatusCode::NO_CONTENT {
            self.answer = Answer::Nothing;
        }
        self.status = status;
        self
    }

    /// Documents a further status that is no error in this case; 206 has the body of 200, others have none.
    pub fn or(mut self, status: StatusCode, meaning: &'static str) -> Self {
        self.others.push((status, meaning));
        self
    }

    /// Documents a header that every success has.
    pub fn header(mut self, name: &'static str) -> Self {
        self.headers.push(name);
        self
    }

    /// Documents that every node answers for itself.
    pub fn never_forwarded(mut self) -> Self {
        self.forwarding = Forwarding::Never;
        self
    }

    /// Documents that the answer depends on the version of the API that the request names, and exists since this one.
    /// Versions begin with a date, and are compared as texts.
    pub fn since(mut self, version: &'static str) -> Self {
        self.since = Some(version);
        self
    }

    /// There is such a route only on interfaces with this operator feature, whatever their `accepted_endpoints` are; on others it is
    /// as if there were none.
    pub fn only_with(mut self, feature: &'static str) -> Self {
        self.feature = Some(feature);
        self
    }

    /// The first segment of the pattern: `node` or `gov`.
    pub fn tag(&self) -> &'static str {
        segments(self.pattern).next().unwrap_or("")
    }

    /// The pattern, for counting requests by route.
    pub fn pattern(&self) -> &'static str {
        self.pattern
    }

    /// The names of the captures, from left to right.
    pub(super) fn captures(&self) -> impl Iterator<Item = &'static str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Capture { name, .. } => Some(*name),
            Segment::Literal(_) => None,
        })
    }

    fn answers(&self, method: &Method) -> bool {
        self.method == *method || (self.also_head && *method == Method::HEAD)
    }

    /// What the captures hold, if the path matches.
    fn matched(&self, path: &[String]) -> Option<Vec<(&'static str, String)>> {
        if self.segments.len() != path.len() {
            return None;
        }
        let mut params = Vec::new();
        for (segment, found) in self.segments.iter().zip(path) {
            match segment {
                Segment::Literal(literal) if literal == found => {}
                Segment::Literal(_) => return None,
                Segment::Capture { name, tail } => {
                    let value = found.strip_suffix(tail).filter(|value| !value.is_empty())?;
                    params.push((*name, value.to_owned()));
                }
            }
        }
        Some(params)
    }

    /// How literal it is, segment by segment: the greatest of the matching routes wins.
    fn rank(&self) -> Vec<usize> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => usize::MAX,
            Segment::Capture { tail, .. } => tail.len(),
        };
        self.segments.iter().map(rank).collect()
    }
}

/// One segment of a pattern.
#[derive(Debug, PartialEq)]
enum Segment {
    Literal(&'static str),
    Capture { name: &'static str, tail: &'static str },
}

impl Segment {
    fn parse(text: &'static str) -> Self {
        let capture = text.strip_prefix('{').and_then(|text| text.split_once('}'));
        capture.map_or(Segment::Literal(text), |(name, tail)| Segment::Capture { name, tail })
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// All routes of a node, over its state `S`.
pub struct Router<S> {
    /// Those with the most literal patterns first.
    routes: Vec<Route<S>>,
    /// Of the tag that has one, and of what has no tag.
    fallback: Option<(&'static str, Handler<S>)>,
    forward: Option<Forward<S>>,
}

/// What a path and a method lead to.
pub(super) enum Found<'a, S> {
    /// A handler, with what the captures hold.
    Route(&'a Route<S>, Vec<(&'static str, String)>),
    /// The path exists, the method does not: the value of the `allow` header.
    NotAllowed(&'a Route<S>, String),
    /// Nothing at this path.
    Nothing,
}

impl<S> Router<S> {
    /// A router over these routes.
    pub fn new(routes: Vec<Route<S>>) -> Self {
        let mut routes = routes;
        // Stable, so that routes with one pattern stay in the table's order.
        routes.sort_by_key(|route| Reverse(route.rank()));
        Router {
            routes,
            fallback: None,
            forward: None,
        }
    }

    /// With somebody who has requests answered by the node that leads, where that is another: those that write, those for the
    /// fallback, and what else is asked in a session of which one was passed on.
    pub fn with_forwarding(mut self, forward: Forward<S>) -> Self {
        self.forward = Some(forward);
        self
    }

    /// Who has a request for a route answered by the node that leads, if it belongs there.
    pub(super) fn forwards(&self, route: &Route<S>, request: &Request) -> Option<Forward<S>> {
        self.forward.filter(|_| route.forwarding.applies_to(request))
    }

    /// With a handler, instead of a 404, for the paths of `tag` that no route matches, and for those whose first segment is no
    /// route's tag: an application is reached with and without `/app`.
    pub fn with_fallback(mut self, tag: &'static str, handler: Handler<S>) -> Self {
        self.fallback = Some((tag, handler));
        self
    }

    /// Every route.
    pub fn routes(&self) -> &[Route<S>] {
        &self.routes
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Found<'_, S> {
        // Segments are decoded one by one: an encoded slash does not make two of one.
        let Some(path) = segments(path).map(percent_decode).collect::<Option<Vec<_>>>() else {
            return Found::Nothing;
        };
        let mut matching = self
            .routes
            .iter()
            .filter_map(|route| Some((route, route.matched(&path)?)))
            .peekable();
        let Some(best) = matching.peek().map(|(best, _)| *best) else {
            return Found::Nothing;
        };
        let rank = best.rank();
        let mut allowed = vec![Method::OPTIONS.to_string()];
        for (route, params) in matching.take_while(|(route, _)| route.rank() == rank) {
            if route.answers(method) {
                return Found::Route(route, params);
            }
            allowed.push(route.method.to_string());
            allowed.extend(route.also_head.then(|| Method::HEAD.to_string()));
        }
        Found::NotAllowed(best, allowed.join(", "))
    }

    /// The future that answers a request that no route matches.
    pub(super) fn call_unknown(&self, state: Arc<S>, request: Request) -> BoxFuture<Result<Response, ApiError>> {
        let tag = segments(&request.path).next().unwrap_or("");
        let known = self.knows(tag);
        match self.fallback {
            Some((of, fallback)) if !known || tag == of => match self.forward {
                Some(forward) => forward(state, request, fallback),
                None => fallback(state, request),
            },
            _ => {
                let message = format!("Unknown path: {}.", self.shown(&request.path));
                Box::pin(async move { Err(ApiError::not_found(message)) })
            }
        }
    }

    /// Whether routes that are everywhere have this tag.
    fn knows(&self, tag: &str) -> bool {
        let mut everywhere = self.routes.iter().filter(|route| route.feature.is_none());
        everywhere.any(|route| route.tag() == tag)
    }

    /// A path as CCF shows it in errors: without the tag, if it has one.
    pub(super) fn shown<'a>(&self, path: &'a str) -> &'a str {
        let tag = segments(path).next().unwrap_or("");
        let known = self.knows(tag);
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(tag));
        rest.filter(|rest| known && !rest.is_empty()).unwrap_or(path)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn echo(_: Arc<()>, request: Request) -> BoxFuture<Result<Response, ApiError>> {
        Box::pin(async move { Ok(Response::text(request.path)) })
    }

    #[derive(schemars::JsonSchema)]
    #[allow(dead_code, reason = "only its schema is of interest")]
    struct Node {
        /// Its id.
        id: String,
        data: Option<u64>,
        state: State,
    }

    #[derive(schemars::JsonSchema)]
    #[allow(dead_code, reason = "only its schema is of interest")]
    enum State {
        /// On.
        On,
        Off,
    }

    pub(crate) fn table() -> Router<()> {
        let ballot = "/gov/members/proposals/{proposal_id}/ballots/{member_id}";
        let submit = "/gov/members/proposals/{proposal_id}/ballots/{member_id}:submit";
        Router::new(vec![
            Route::new(Method::GET, "/node/network/nodes/{node_id}", "A node", echo).returns::<Node>(),
            Route::new(Method::GET, "/node/network/nodes/self", "This node", echo)
                .returns::<Node>()
                .never_forwarded(),
            Route::new(Method::GET, "/node/primary", "Whether this is the primary", echo).also_head(),
            Route::new(Method::GET, "/gov/members/proposals", "All", echo).since("2023-06-01-preview"),
            Route::new(Method::POST, "/gov/members/proposals:create", "Propose", echo)
                .takes_bytes("application/cose")
                .since("2023-06-01-preview"),
            Route::new(Method::GET, ballot, "A ballot", echo),
            Route::new(Method::POST, submit, "Vote", echo)
                .takes_bytes("application/cose")
                .since("2024-07-01"),
            Route::new(Method::GET, "/gov/members/proposals/{proposal_id}", "One", echo).since("2023-06-01-preview"),
            Route::new(Method::DELETE, "/gov/members/proposals/{proposal_id}", "Remove", echo),
            Route::new(Method::GET, "/gov/commit", "The last", echo),
        ])
    }

    fn found(method: Method, path: &str) -> String {
        match table().find(&method, path) {
            Found::Route(route, params) => format!("{} {params:?}", route.pattern),
            Found::NotAllowed(_, allowed) => allowed,
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_more_literal_pattern_wins_and_captures_leave_its_tail_alone() {
        let ballot = "/gov/members/proposals/{proposal_id}/ballots/{member_id}";
        for (method, path, expected) in [
            (
                Method::GET,
                "/node/network/nodes/self",
                "/node/network/nodes/self []".to_owned(),
            ),
            (
                Method::GET,
                "/node/network/nodes/a%2Fb",
                "/node/network/nodes/{node_id} [(\"node_id\", \"a/b\")]".to_owned(),
            ),
            (
                Method::POST,
                "/gov/members/proposals%3Acreate",
                "/gov/members/proposals:create []".to_owned(),
            ),
            (
                Method::POST,
                "/gov/members/proposals/p/ballots/m:submit",
                format!("{ballot}:submit [(\"proposal_id\", \"p\"), (\"member_id\", \"m\")]"),
            ),
            (
                Method::GET,
                "/gov/members/proposals/p/ballots/m",
                format!("{ballot} [(\"proposal_id\", \"p\"), (\"member_id\", \"m\")]"),
            ),
            (
                Method::GET,
                "/gov/members/proposals/p/ballots/m:submit",
                "OPTIONS, POST".to_owned(),
            ),
            (
                Method::POST,
                "/gov/members/proposals/p",
                "OPTIONS, GET, DELETE".to_owned(),
            ),
            (Method::POST, "/node/primary", "OPTIONS, GET, HEAD".to_owned()),
            (Method::HEAD, "/node/primary", "/node/primary []".to_owned()),
            (Method::HEAD, "/node/network/nodes/self", "OPTIONS, GET".to_owned()),
        ] {
            assert_eq!(found(method, path), expected, "{path}");
        }
    }

    #[test]
    fn paths_that_are_not_in_the_table_lead_nowhere() {
        for path in [
            "",
            "/",
            "*",
            "/node",
            "/node/",
            "/node/network/nodes/",
            "/node/network/nodes/self/",
            "//node/primary",
            "/node/primary%",
            "/node/%70rimary/x",
            "/gov/members/proposals/p/ballots/:submit/x",
        ] {
            assert_eq!(found(Method::GET, path), "nothing", "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_path_leads_to_a_route_that_it_matches_or_nowhere(
            path in "(/(node|gov|network|members|proposals|%[0-9a-f]{1,2}|:create|p:submit|self)){0,6}",
        ) {
            let router = table();
            if let Found::Route(route, params) = router.find(&Method::GET, &path) {
                assert_eq!(route.captures().count(), params.len());
                assert!(params.iter().all(|(_, value)| !value.is_empty()));
            }
            let _ = router.shown(&path);
        }
    }

    #[test]
    fn errors_show_the_path_without_its_tag() {
        let router = table();
        assert_eq!(router.shown("/node/local_tx"), "/local_tx");
        assert_eq!(router.shown("/app/x"), "/app/x");
        assert_eq!(router.shown("/node"), "/node");
        assert_eq!(router.shown("/nodes/x"), "/nodes/x");
    }
}
