//! The life of a node: from its configuration to the signal that ends it.
//!
//! Interfaces are served before anything is read, so that whoever looks sees what the node is doing. Keys are made beside
//! the reading. Recovery specification, sections 2.1 and 2.9.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock, RwLock};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::api;
use super::attestation::VirtualQuote;
use super::config::{Authority, CommandKind, Config, Recover, RpcInterface};
use super::directory::{claim, finish_opening};
use super::found::{Founding, found, show_state};
use super::http::{
    self, AcceptedEndpoints, CertificateSlot, Certificates, HttpLimits, Interface, Metrics, Server, Timeouts,
};
use super::identity::{EncryptionIdentityInTheMaking, NodeIdentity, ServiceIdentity, ServiceName};
use super::public::{
    check_below, check_previous_quickly, ledger_directories, list, make_main_directory, previous_identity,
    recover_public,
};
use super::shared::Node;
use super::status::{NodeState, Status};
use crate::error::{Error, Result};
use crate::format::Seqno;

/// Verifying less than this takes no longer than making a key: about a twentieth of a second.
const SMALL_LEDGER: u64 = 32 << 20;

/// What the command line says beside the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Everything behind this seqno may be dropped, even what was committed.
    pub drop_after: Option<Seqno>,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// If the node can't be started, or the ledger can't be recovered; the sentence says why and what to do.
pub fn run(config: Config, options: Options) -> Result<()> {
    let recover = match (config.command.kind, &config.command.recover) {
        (CommandKind::Recover, Some(recover)) => recover.clone(),
        (CommandKind::Recover, None) => {
            return Err(Error::Usage("command.recover is missing".to_owned()));
        }
        (kind, _) => {
            return Err(Error::Usage(format!(
                "command.type is {kind:?}: this node recovers a service (command.type Recover), it does not start or join one yet"
            )));
        }
    };
    forbid_core_dumps();
    let runtime = http::server::runtime()?;
    let outcome = runtime.block_on(live(config, recover, options));
    // A recovery that is being given up may still read: nothing waits for it.
    runtime.shutdown_background();
    outcome
}

/// A core dump would hold ledger secrets and private keys.
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(why) = setrlimit(Resource::Core, none) {
        tracing::warn!("core dumps can't be forbidden: {why}");
    }
}

async fn live(config: Config, recover: Recover, options: Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("handle", Path::new("SIGTERM")))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("handle", Path::new("SIGINT")))?;
    if let Some(path) = &config.output_files.pid_file {
        write(path, std::process::id().to_string().as_bytes())?;
    }
    let identity = NodeIdentity::generate(&config)?;
    let (fatal, mut ends) = mpsc::unbounded_channel::<Error>();
    let (node, running) = serve(&config, &identity, fatal.clone()).await?;
    node.status.enter(NodeState::Initialized);
    let ignore_first = node.config.ignore_first_sigterm;
    let recovery = std::thread::Builder::new().name("recovery".to_owned()).spawn({
        let node = Arc::clone(&node);
        move || {
            if let Err(why) = recover_service(&node, identity, &recover, options) {
                let _ = fatal.send(why);
            }
        }
    });
    recovery.map_err(Error::io("start", Path::new("the recovery's thread")))?;
    let outcome = loop {
        tokio::select! {
            Some(why) = ends.recv() => break Err(why),
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => {
                if ignore_first && !node.status.is_stopping() {
                    tracing::info!("first SIGTERM: the stop notice is set, the node goes on");
                    node.status.stop();
                } else {
                    break Ok(());
                }
            }
        }
    };
    if outcome.is_ok() {
        tracing::info!("stopping");
    }
    node.status.stop();
    if let Some(sequencer) = node.sequencer.get() {
        sequencer.stop().await;
    }
    running.shutdown().await;
    outcome
}

/// Binds and serves every interface, and writes the files that say where.
async fn serve(
    config: &Config,
    identity: &NodeIdentity,
    fatal: mpsc::UnboundedSender<Error>,
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
    let node_slot = CertificateSlot::new(&identity.self_signed, &identity.key)?;
    let service_slot = CertificateSlot::new(&identity.self_signed, &identity.key)?;
    let published: BTreeMap<String, String> = server
        .interfaces()
        .map(|interface| (interface.name.clone(), interface.published_address.clone()))
        .collect();
    let output = &config.output_files;
    if let Some(path) = &output.rpc_addresses_file {
        write(path, json!(server.addresses()).to_string().as_bytes())?;
    }
    if let Some(path) = &output.node_certificate_file {
        write(path, identity.self_signed.to_pem().as_bytes())?;
    }
    let endorsed = {
        let (slot, key) = (Arc::clone(&service_slot), Arc::clone(&identity.key));
        move |certificate: &crate::crypto::Certificate| {
            if let Err(why) = slot.replace(certificate, &key) {
                tracing::error!("the endorsed certificate can't be served: {why}");
            }
        }
    };
    let router = api::router();
    let documentation: BTreeMap<&'static str, Value> = ["node", "gov", "app"]
        .into_iter()
        .map(|tag| {
            (
                tag,
                router.openapi(
                    tag,
                    &format!("CCF /{tag} API, served by Rekindle"),
                    env!("CARGO_PKG_VERSION"),
                ),
            )
        })
        .collect();
    let metrics = Arc::new(Metrics::default());
    let node = Arc::new(Node {
        config: config.clone(),
        id: identity.id.clone(),
        self_signed: identity.self_signed.clone(),
        quote: OnceLock::new(),
        published,
        status: Status::default(),
        store: RwLock::default(),
        sequencer: OnceLock::new(),
        claim: OnceLock::new(),
        documentation,
        sessions: server.sessions(),
        metrics: Arc::clone(&metrics),
        old_secrets: OnceLock::new(),
        own_secrets: RwLock::default(),
        consensus: RwLock::default(),
        endorsed: Box::new(endorsed),
        fatal: Box::new(move |why| drop(fatal.send(why))),
    });
    measure(&node, &metrics, server.sessions());
    let certificates = Certificates {
        node: node_slot,
        service: service_slot,
    };
    let running = server.serve(Arc::new(router), Arc::clone(&node), &certificates, metrics)?;
    for (name, address) in &node.published {
        tracing::info!(interface = name, address, "serving");
    }
    Ok((node, running))
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
        api::process_memory("RssAnon") as f64
    });
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
        limits: HttpLimits {
            max_body_size: size(http.max_body_size),
            max_header_size: size(http.max_header_size),
            max_headers_count: size(u64::from(http.max_headers_count)),
            max_concurrent_streams_count: http.max_concurrent_streams_count,
            initial_window_size: u32::try_from(http.initial_window_size).unwrap_or(u32::MAX),
            max_frame_size: u32::try_from(http.max_frame_size).unwrap_or(u32::MAX),
        },
        accepted_endpoints: patterns.transpose().map_err(Error::Usage)?,
        http2: interface.app_protocol == super::config::AppProtocol::Http2,
        operator_features: interface.enabled_operator_features.iter().cloned().collect(),
        ..Interface::new(name, interface.bind_address.to_string())
    })
}

/// The whole of a public recovery, on a thread of its own.
fn recover_service(node: &Arc<Node>, identity: NodeIdentity, recover: &Recover, options: Options) -> Result<()> {
    let config = &node.config;
    let previous = previous_identity(recover.previous_service_identity_file.as_deref())?;
    make_main_directory(config)?;
    let _ = node.claim.set(claim(&config.ledger.directory)?);
    finish_opening(&ledger_directories(config), &config.ledger.directory)?;
    let files = list(config)?;
    // Reading a small ledger leaves processors idle: then luck is helped.
    let attempts = if files.size_bytes() < SMALL_LEDGER { 2 } else { 1 };
    let keys = EncryptionIdentityInTheMaking::start(attempts)?;
    let quote = std::thread::Builder::new()
        .name("quote".to_owned())
        .spawn({
            let id = identity.key.verifying_key().id();
            move || VirtualQuote::new(&id)
        })
        .map_err(Error::io("start", Path::new("a thread")))?;
    let signer = check_previous_quickly(&files, previous.as_ref())?;
    let issuer = signer.map(|signer| signer.issuer()).filter(|issuer| !issuer.is_empty());
    let name = match (&previous, &issuer) {
        (Some(previous), _) => ServiceName::Of(previous),
        (None, Some(issuer)) => ServiceName::Text(issuer),
        (None, None) => ServiceName::Text("CN=CCF Service"),
    };
    let days = recover.initial_service_certificate_validity_days;
    let service = ServiceIdentity::generate(config.node_certificate.curve_id, &name, days)?;
    write(
        &config.command.service_certificate_file,
        service.certificate.to_pem().as_bytes(),
    )?;
    let node_address = write_node_address(config)?;
    let node_data = read_json(config.node_data_json_file.as_deref())?;
    let service_data = read_json(config.service_data_json_file.as_deref())?;

    node.status.enter(NodeState::ReadingPublicLedger);
    let mut public = recover_public(config, files, previous.as_ref(), options.drop_after, &node.status)?;
    show_state(node, &mut public);
    let began = std::time::Instant::now();
    let encryption = keys.wait()?;
    let panicked = |_| {
        Err(Error::Unreadable(
            "the thread that measures this program panicked".to_owned(),
        ))
    };
    let quote = quote.join().unwrap_or_else(panicked)?;
    tracing::debug!(took_s = began.elapsed().as_secs_f64(), "waited for keys");
    let founding = Founding {
        public,
        identity,
        encryption,
        quote,
        service,
        node_address,
        node_data,
        service_data,
        drop_committed: options.drop_after.is_some(),
    };
    let started_from = founding.public.snapshot.clone();
    found(node, founding)?;
    if started_from.is_some() {
        let behind = std::thread::Builder::new().name("below-snapshot".to_owned());
        let node = Arc::clone(node);
        behind
            .spawn(move || check_below(&node.config, &node.status))
            .map_err(Error::io("start", Path::new("a thread")))?;
    }
    Ok(())
}

/// The address under which other nodes will reach this one, written where the configuration asks for it. Nothing listens
/// there on a service of one node.
fn write_node_address(config: &Config) -> Result<String> {
    let Some(interface) = &config.network.node_to_node_interface else {
        return Ok(String::new());
    };
    let address = interface.published_address.to_string();
    if let Some(path) = &config.output_files.node_to_node_address_file {
        write(path, json!({"node_to_node_interface": address}).to_string().as_bytes())?;
    }
    Ok(address)
}

/// Replaces a file as a whole: whoever reads it meanwhile sees the old one or the new.
fn write(path: &Path, contents: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(Error::io("make the directory", parent))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = path.with_file_name(format!(".{name}.part"));
    std::fs::write(&part, contents).map_err(Error::io("write", &part))?;
    std::fs::rename(&part, path).map_err(Error::io("write", path))
}

fn read_json(path: Option<&Path>) -> Result<Option<Value>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|why| Error::Unreadable(format!("{} is not JSON: {why}", path.display())))
}
