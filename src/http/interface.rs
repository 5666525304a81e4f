//! What is configured of one RPC interface. Recovery specification, section 1.2, `rpc_interfaces`.

use std::collections::BTreeSet;

use regex::Regex;

/// Who vouches for the certificate that an interface presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The node itself: always the self-signed certificate.
    Node,
    /// The service, as soon as it has endorsed the node; the self-signed certificate until then.
    Service,
    /// No TLS at all. Nothing is served but what `accepted_endpoints` names.
    Unsecured,
}

/// `http_configuration`: sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// A longer body is answered with 413.
    pub max_body_size: usize,
    /// A longer name or value of a header is answered with 431.
    pub max_header_size: usize,
    /// More headers are answered with 431.
    pub max_headers_count: usize,
    /// HTTP/2 only: requests at once in a session.
    pub max_concurrent_streams_count: u32,
    /// HTTP/2 only: flow control window of a new stream.
    pub initial_window_size: u32,
    /// HTTP/2 only.
    pub max_frame_size: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            max_body_size: 1 << 20,
            max_header_size: 16 << 10,
            max_headers_count: 256,
            max_concurrent_streams_count: 100,
            initial_window_size: 64 << 10,
            max_frame_size: 16 << 10,
        }
    }
}

/// `accepted_endpoints`: patterns of which one must match the whole path of a route, as its table writes it
/// (`/node/network/nodes/{node_id}`).
#[derive(Clone, Debug)]
pub struct AcceptedEndpoints(Vec<Regex>);

impl AcceptedEndpoints {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// Which pattern is no regular expression, and why.
    pub fn new<T: AsRef<str>>(patterns: &[T]) -> Result<Self, String> {
        let compile = |pattern: &T| {
            let pattern = pattern.as_ref();
            // The interface's own limit keeps a pattern from taking much memory; matching takes linear time.
            Regex::new(&format!("^(?:{pattern})$")).map_err(|e| format!("accepted_endpoints: {pattern:?}: {e}"))
        };
        patterns.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    fn contain(&self, pattern: &str) -> bool {
        self.0.iter().any(|regex| regex.is_match(pattern))
    }
}

/// One interface, as the server needs to know it.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its key in `rpc_interfaces`.
    pub name: String,
    /// `host:port`; port 0 takes a free one.
    pub bind_address: String,
    /// Where clients are told to connect; port 0 is replaced by the bound port. Empty: as `bind_address`.
    pub published_address: String,
    /// What its certificate is.
    pub authority: Authority,
    /// Sessions beyond this are answered 503 `SessionCapExhausted`.
    pub max_open_sessions_soft: usize,
    /// Connections beyond this are closed as soon as they are accepted.
    pub max_open_sessions_hard: usize,
    /// Sessions that may begin in a second, of all addresses from which they come often; what one address asks and holds is bounded
    /// then, too. `None`: as many as come.
    pub sessions_a_second: Option<u32>,
    /// Limits of a request.
    pub limits: HttpLimits,
    /// `None`: every endpoint, or no endpoint where the interface is unsecured.
    pub accepted_endpoints: Option<AcceptedEndpoints>,
    /// Whether HTTP/2 is offered (by ALPN) besides HTTP/1.1.
    pub http2: bool,
    /// `enabled_operator_features`, such as `SnapshotRead` and `LedgerChunkRead`.
    pub operator_features: BTreeSet<String>,
}

impl Interface {
    /// An interface with CCF's defaults.
    pub fn new(name: impl Into<String>, bind_address: impl Into<String>) -> Self {
        Interface {
            name: name.into(),
            bind_address: bind_address.into(),
            published_address: String::new(),
            authority: Authority::Service,
            max_open_sessions_soft: 1000,
            max_open_sessions_hard: 1010,
            sessions_a_second: None,
            limits: HttpLimits::default(),
            accepted_endpoints: None,
            http2: false,
            operator_features: BTreeSet::new(),
        }
    }

    /// Whether a route with this pattern is served here. As in CCF an unsecured interface serves only what is named.
    pub fn accepts(&self, pattern: &str) -> bool {
        match &self.accepted_endpoints {
            Some(accepted) => accepted.contain(pattern),
            None => self.authority != Authority::Unsecured,
        }
    }

    /// Whether a route that asks for an operator feature is not there on this interface.
    pub fn lacks(&self, feature: Option<&str>) -> bool {
        feature.is_some_and(|feature| !self.has_feature(feature))
    }

    /// Whether what comes in here is what other nodes pass on: nobody can connect to it.
    pub fn is_between_nodes(&self) -> bool {
        self.bind_address.is_empty()
    }

    /// Whether an operator feature is enabled here.
    pub fn has_feature(&self, feature: &str) -> bool {
        self.operator_features.contains(feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_must_match_the_whole_path_of_the_route() {
        let mut interface = Interface::new("i", "127.0.0.1:0");
        assert!(interface.accepts("/node/state"));
        interface.accepted_endpoints = Some(AcceptedEndpoints::new(&["/node/sta", "/node/network/nodes/.*"]).unwrap());
        assert!(!interface.accepts("/node/state"));
        assert!(interface.accepts("/node/network/nodes/{node_id}"));
        assert!(AcceptedEndpoints::new(&["/node/("]).is_err());
    }

    #[test]
    fn an_unsecured_interface_serves_nothing_that_is_not_named() {
        let mut interface = Interface::new("i", "127.0.0.1:0");
        interface.authority = Authority::Unsecured;
        assert!(!interface.accepts("/node/state"));
        interface.accepted_endpoints = Some(AcceptedEndpoints::new(&["/node/state"]).unwrap());
        assert!(interface.accepts("/node/state") && !interface.accepts("/node/network"));
    }
}
