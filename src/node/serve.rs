//! The interfaces of a node: bound, told to whoever asked for their addresses, and served. Recovery specification, sections
//! 2.1 and 8.7.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Arc, OnceLock, RwLock};

use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::api;
use super::board::Board;
use super::config::{AppProtocol, Authority, Config, RpcInterface};
use super::forwards::Forwards;
use super::healing::generation;
use super::healing_calls::HealingCalls;
use super::jwt_refresh::JwtRefresh;
use super::output::OutputFiles;
use super::own_certificates::OwnCertificates;
use super::predecessors::Predecessors;
use super::shared::Node;

use crate::error::{Error, Result};
use crate::http::{self, AcceptedEndpoints, Certificates, HttpLimits, Interface, Metrics, Server, Timeouts};
use crate::service::identity::NodeIdentity;

/// Where the page is served, so many sessions may begin in a second: a handshake takes half a millisecond of a processor, which a
/// recovery needs more than a crowd does.
const VIEWERS_A_SECOND: u32 = 25;

/// Binds and serves every interface, and then writes the files that say where. What ends the node is sent to `ends`.
/// `claim` keeps other nodes out of the ledger.
///
/// # Errors
/// If an address can't be bound, a setting can't be served, or a file can't be written.
pub async fn serve(
    config: &Config,
    identity: &NodeIdentity,
    claim: Option<File>,
    ends: mpsc::UnboundedSender<Result<()>>,
) -> Result<(Arc<Node>, http::Running)> {
    let interfaces: Vec<Interface> = config
        .network
        .rpc_interfaces
        .iter()
        .map(|(name, interface)| interface_of(name, interface))
        .collect::<Result<_>>()?;
    let timeouts = Timeouts {
        handshake: config.client_connection_timeout,
        idle: config.idle_connection_timeout,
        ..Timeouts::default()
    };
    let server = Server::bind(interfaces, timeouts).await?;
    let published: BTreeMap<String, String> = server
        .interfaces()
        .map(|interface| (interface.name.clone(), interface.published_address.clone()))
        .collect();
    let files = write_files(config, identity, &server)?;
    let own = OwnCertificates::new(identity, config.output_files.node_certificate_file.clone())?;
    let certificates = Certificates {
        node: own.node_slot(),
        service: own.service_slot(),
    };
    let router = api::router();
    let documentation = api::documentation(&router);
    let metrics = Arc::new(Metrics::default());
    let node = Arc::new(Node {
        config: config.clone(),
        id: identity.id.clone(),
        certificates: own,
        evidence: OnceLock::new(),
        published,
        status: Arc::default(),
        store: Arc::default(),
        writer: OnceLock::new(),
        files,
        claim: claim.map_or_else(OnceLock::new, OnceLock::from),
        documentation,
        board: Board::default(),
        sessions: server.sessions(),
        metrics: Arc::clone(&metrics),
        old_secrets: OnceLock::new(),
        older_secrets: OnceLock::new(),
        predecessors: Predecessors::default(),
        own_secrets: RwLock::default(),
        membership: RwLock::default(),
        relay: OnceLock::new(),
        forwards: Forwards::default(),
        healing: HealingCalls::new(generation(config)),
        jwt: JwtRefresh::default(),
        runtime: Handle::current(),
        fatal: {
            let ends = ends.clone();
            Box::new(move |why| drop(ends.send(Err(why))))
        },
        retired: Box::new(move || drop(ends.send(Ok(())))),
    });
    measure(&node, &metrics, server.sessions());
    let running = server.serve(Arc::new(router), Arc::clone(&node), &certificates, metrics)?;
    let _ = node.relay.set(running.relay());
    for (name, address) in &node.published {
        tracing::info!(interface = name, address, "serving");
    }
    Ok((node, running))
}

/// Writes what tells others of this node. Everything that is bound has been bound: who had these files before is not there
/// any more, or has other ports.
fn write_files(config: &Config, identity: &NodeIdentity, server: &Server) -> Result<OutputFiles> {
    let files = OutputFiles::starting();
    let output = &config.output_files;
    let contents = [
        (&output.pid_file, std::process::id().to_string()),
        (&output.node_certificate_file, identity.self_signed.to_pem()),
        // Last: whoever waits for the addresses finds the others there.
        (&output.rpc_addresses_file, json!(server.addresses()).to_string()),
    ];
    for (path, contents) in contents {
        if let Some(path) = path
            && let Err(why) = files.write(path, contents.as_bytes())
        {
            files.take_back();
            return Err(why);
        }
    }
    Ok(files)
}

/// What Prometheus is told of the node itself.
fn measure(node: &Arc<Node>, metrics: &Metrics, sessions: Arc<http::Sessions>) {
    metrics.sessions(sessions);
    let gauge = |name, help, read: fn(&Node) -> f64| {
        let node = Arc::downgrade(node);
        metrics.gauge(name, help, move || node.upgrade().map_or(0.0, |node| read(&node)));
    };
    gauge("last_signed_seqno", "Seqno of the last signature", |node| {
        node.status.last_signed() as f64
    });
    gauge("last_written_seqno", "Seqno of the last transaction", |node| {
        node.status.last_written().seqno as f64
    });
    gauge(
        "node_state",
        "State of the node, in the order of the state machine",
        |node| f64::from(node.status.state() as u8),
    );
    gauge("resident_anonymous_bytes", "Anonymous memory of the process", |_| {
        api::process_memory("self", "RssAnon") as f64
    });
}

/// What is served on an interface because its operator says so: the page only by its own field.
fn features(interface: &RpcInterface) -> BTreeSet<String> {
    let of_ccf = interface.enabled_operator_features.iter().cloned();
    let page = interface.rekindle_page.then(|| api::PAGE.to_owned());
    of_ccf.filter(|name| name != api::PAGE).chain(page).collect()
}

fn interface_of(name: &str, interface: &RpcInterface) -> Result<Interface> {
    let http = &interface.http_configuration;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let patterns = interface.accepted_endpoints.as_ref().map(|patterns| {
        let patterns: Vec<&str> = patterns.iter().map(|pattern| pattern.as_str()).collect();
        AcceptedEndpoints::new(&patterns)
    });
    Ok(Interface {
        published_address: interface.published_address.to_string(),
        authority: match interface.endorsement.authority {
            Authority::Node => http::Authority::Node,
            Authority::Service | Authority::Acme => http::Authority::Service,
            Authority::Unsecured => http::Authority::Unsecured,
        },
        max_open_sessions_soft: size(interface.max_open_sessions_soft),
        max_open_sessions_hard: size(interface.max_open_sessions_hard),
        sessions_a_second: interface.rekindle_page.then_some(VIEWERS_A_SECOND),
        limits: HttpLimits {
            max_body_size: size(http.max_body_size),
            max_header_size: size(http.max_header_size),
            max_headers_count: size(u64::from(http.max_headers_count)),
            max_concurrent_streams_count: http.max_concurrent_streams_count,
            initial_window_size: u32::try_from(http.initial_window_size).unwrap_or(u32::MAX),
            max_frame_size: u32::try_from(http.max_frame_size).unwrap_or(u32::MAX),
        },
        accepted_endpoints: patterns.transpose().map_err(Error::Usage)?,
        http2: interface.app_protocol == AppProtocol::Http2,
        operator_features: features(interface),
        ..Interface::new(name, interface.bind_address.to_string())
    })
}
