//! `network`: where a node listens, and what each interface serves (recovery specification, section 1.2).

use std::collections::BTreeMap;

use super::section::Section;
use super::values::{self, Address, EndpointPattern};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// `network`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// For other nodes. CCF requires it; here it may be absent.
    pub node_to_node_interface: Option<NodeToNodeInterface>,
    /// For everyone else, by name. There is at least one.
    pub rpc_interfaces: BTreeMap<String, RpcInterface>,
}

/// `network.node_to_node_interface`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeToNodeInterface {
    /// Where to listen.
    pub bind_address: Address,
    /// What others are told; by default the same.
    pub published_address: Address,
}

/// An entry of `network.rpc_interfaces`.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcInterface {
    /// Where to listen; port 0 is any free one.
    pub bind_address: Address,
    /// What others are told; by default the same. Port 0 stands for the port that was bound.
    pub published_address: Address,
    /// Transport.
    pub protocol: Protocol,
    /// HTTP version.
    pub app_protocol: AppProtocol,
    /// With this many sessions open, further ones are answered 503.
    pub max_open_sessions_soft: u64,
    /// With this many sessions open, further ones are closed at once.
    pub max_open_sessions_hard: u64,
    /// Limits of requests.
    pub http_configuration: HttpConfiguration,
    /// Whose certificate the interface presents.
    pub endorsement: Endorsement,
    /// Paths that are served; absent is all of them.
    pub accepted_endpoints: Option<Vec<EndpointPattern>>,
    /// How long a forwarded request may take.
    pub forwarding_timeout_ms: u64,
    /// Where requests for another node are sent; absent: they are forwarded.
    pub redirections: Option<Redirections>,
    /// Operator features served here, such as `SnapshotRead` and `LedgerChunkRead` (section 3.2).
    pub enabled_operator_features: Vec<String>,
    /// Whether this interface serves the page that shows how far the node is (`/rekindle`). A field of Rekindle's own, where CCF
    /// accepts any.
    pub rekindle_page: bool,
}

impl RpcInterface {
    /// Whether the interface serves a path, such as `/node/state`.
    pub fn accepts(&self, path: &str) -> bool {
        let patterns = self.accepted_endpoints.as_ref();
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(path)))
    }
}

/// Transport of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TLS over TCP.
    #[default]
    Tcp,
    /// Experimental in CCF; not served here.
    Udp,
}

impl Protocol {
    /// As configurations and answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// HTTP version of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, by ALPN.
    Http2,
}

impl AppProtocol {
    /// As configurations and answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            AppProtocol::Http1 => "HTTP1",
            AppProtocol::Http2 => "HTTP2",
        }
    }
}

/// Limits of an interface's requests. Sizes are bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfiguration {
    /// Largest body.
    pub max_body_size: u64,
    /// Largest name or value of one header.
    pub max_header_size: u64,
    /// Most headers.
    pub max_headers_count: u32,
    /// HTTP/2: streams at once.
    pub max_concurrent_streams_count: u32,
    /// HTTP/2: flow control window of a stream.
    pub initial_window_size: u64,
    /// HTTP/2: largest frame.
    pub max_frame_size: u64,
}

/// `endorsement`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endorsement {
    /// Who signed the certificate that the interface presents.
    pub authority: Authority,
}

/// Who signs the certificate that an interface presents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// Nobody but the node itself: there from the first second.
    Node,
    /// The service.
    #[default]
    Service,
    /// An ACME server, in older releases; served like [`Authority::Service`].
    Acme,
    /// No TLS at all.
    Unsecured,
}

impl Authority {
    /// As configurations and answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Authority::Node => "Node",
            Authority::Service => "Service",
            Authority::Acme => "ACME",
            Authority::Unsecured => "Unsecured",
        }
    }
}

/// Where requests that need another node are sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirections {
    /// Requests that need the primary.
    pub to_primary: Option<Redirection>,
    /// Requests that need a backup.
    pub to_backup: Option<Redirection>,
}

/// One redirection.
#[derive(Clone, Debug, PartialEq)]
pub enum Redirection {
    /// To a node that has a role now, at its interface of the same name or of a given one.
    NodeByRole {
        /// Primary or backup.
        role: Role,
        /// The name of the interface.
        interface: Option<String>,
    },
    /// To a fixed address: a host, perhaps with a port.
    StaticAddress(String),
}

/// A node's role in consensus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The one that writes.
    #[default]
    Primary,
    /// Any other.
    Backup,
}

const PROTOCOLS: [(&str, Protocol); 2] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
const APP_PROTOCOLS: [(&str, AppProtocol); 2] = [("HTTP1", AppProtocol::Http1), ("HTTP2", AppProtocol::Http2)];
const AUTHORITIES: [(&str, Authority); 4] = [
    ("Node", Authority::Node),
    ("Service", Authority::Service),
    ("ACME", Authority::Acme),
    ("Unsecured", Authority::Unsecured),
];
const ROLES: [(&str, Role); 2] = [("primary", Role::Primary), ("backup", Role::Backup)];
const REDIRECTION_KINDS: [(&str, bool); 2] = [("NodeByRole", true), ("StaticAddress", false)];

pub(super) fn network(section: &mut Section<'_>) -> Network {
    let network = Network {
        node_to_node_interface: section.optional_object("node_to_node_interface", |section| {
            let (bind_address, published_address) = addresses(section);
            NodeToNodeInterface {
                bind_address,
                published_address,
            }
        }),
        rpc_interfaces: section.map("rpc_interfaces", rpc_interface),
    };
    // Of releases before December 2025; the interfaces that use it are noted.
    section.anything("acme");
    if section.is_there() && !section.has("rpc_interfaces") {
        section.miss(
            "rpc_interfaces",
            "an object with at least one interface, such as {\"primary_rpc_interface\": {\"bind_address\": \"127.0.0.1:8080\"}}"
                .to_owned(),
        );
    }
    network
}

/// `bind_address`, and `published_address`, which is the same where it is absent or empty.
fn addresses(section: &mut Section<'_>) -> (Address, Address) {
    let bind = section.required("bind_address", values::address);
    let published = section.optional("published_address", values::address_or_none);
    let published = published.flatten().unwrap_or_else(|| bind.clone());
    (bind, published)
}

fn rpc_interface(section: &mut Section<'_>) -> RpcInterface {
    section.tolerates_unknown();
    let (bind_address, published_address) = addresses(section);
    RpcInterface {
        bind_address,
        published_address,
        protocol: section.or("protocol", Protocol::Tcp, values::choice(&PROTOCOLS)),
        app_protocol: section.or("app_protocol", AppProtocol::Http1, values::choice(&APP_PROTOCOLS)),
        max_open_sessions_soft: section.or("max_open_sessions_soft", 1000, values::number(0..=u64::MAX)),
        max_open_sessions_hard: section.or("max_open_sessions_hard", 1010, values::number(0..=u64::MAX)),
        http_configuration: section.object("http_configuration", http_configuration),
        endorsement: section.object("endorsement", |section| {
            let authority = section.or("authority", Authority::Service, values::choice(&AUTHORITIES));
            section.anything("acme_configuration");
            Endorsement { authority }
        }),
        accepted_endpoints: section.optional_list("accepted_endpoints", values::endpoint_pattern),
        forwarding_timeout_ms: section.or("forwarding_timeout_ms", 3000, values::number(0..=u64::MAX)),
        redirections: section.optional_object("redirections", |section| Redirections {
            to_primary: section.optional_object("to_primary", redirection).flatten(),
            to_backup: section.optional_object("to_backup", redirection).flatten(),
        }),
        enabled_operator_features: section.list("enabled_operator_features", values::text),
        rekindle_page: section.or("rekindle_page", false, values::boolean),
    }
}

fn http_configuration(section: &mut Section<'_>) -> HttpConfiguration {
    HttpConfiguration {
        max_body_size: section.or("max_body_size", MIB, values::size),
        max_header_size: section.or("max_header_size", 16 * KIB, values::size),
        max_headers_count: section.or("max_headers_count", 256, values::count(0)),
        max_concurrent_streams_count: section.or("max_concurrent_streams_count", 100, values::count(0)),
        initial_window_size: section.or("initial_window_size", 64 * KIB, values::size),
        max_frame_size: section.or("max_frame_size", 16 * KIB, values::size),
    }
}

/// `None` where something is wrong, which is a problem already.
fn redirection(section: &mut Section<'_>) -> Option<Redirection> {
    section.required_choice("kind", &REDIRECTION_KINDS).map(|by_role| {
        section.required_object("target", |section| match by_role {
            true => Redirection::NodeByRole {
                role: section.or("role", Role::Primary, values::choice(&ROLES)),
                interface: section.optional("interface", values::text),
            },
            false => Redirection::StaticAddress(section.required("address", values::text_with_something)),
        })
    })
}
