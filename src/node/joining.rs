//! A node that joins a service: from its configuration to a node that follows. Recovery specification, section 8; node-to-node
//! specification, sections 5, 7 and 8.
//!
//! It serves at once, as every node, and listens to other nodes before it asks: the one that leads connects as soon as this one
//! is Trusted, and what it says then must not be lost.

mod asking;
mod beginning;
mod fetching;
mod following;
mod speaking;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc as mpsc_std;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;

use self::asking::Asker;
use self::fetching::Fetcher;
use self::following::{Joined, follow};
use self::speaking::Speaker;
use super::cluster;
use super::config::{Config, Join, UNREACHABLE};
use super::description::{net_interfaces, node_name};
use super::directory::claim;
use super::early::{Early, KEY_THREADS, check_outputs, raise_file_limit, read_json, wait_for_evidence, when_there};
use super::life::{Ends, beside, live};
use super::local_sealing::LocalSealing;
use super::output::write_node_address;
use super::public::make_main_directory;
use super::shared::Node;
use super::status::NodeState;
use crate::attestation::OwnEvidence;
use crate::crypto::Certificate;
use crate::crypto::process::keep_memory_private;
use crate::crypto::rsa::{DecryptionKey, KeyPairInTheMaking};
use crate::error::{Error, Result};
use crate::http;
use crate::service::identity::{NodeIdentity, failed};
use crate::service::joining;
use crate::shown::Show;

/// How often it is looked whether the node is to stop.
const PACE: Duration = Duration::from_millis(20);
/// How long what asks may take to notice it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs a node that joins a service, until it is told to stop, or has retired.
///
/// # Errors
/// If the node can't be started, or is not let in; the sentence says why and what to do.
pub(super) fn run(config: &Config, sealing_key: Option<&Path>) -> Result<()> {
    let join = config.command.join.as_ref();
    let join = join.ok_or_else(|| Error::Usage("command.join is missing".to_owned()))?;
    keep_memory_private();
    raise_file_limit();
    let identity = NodeIdentity::generate(node_name(config)?)?;
    let mut early = Early::begin(config, &identity)?;
    let mut inputs = Inputs::read(config, join, sealing_key)?;
    if inputs.sealing.as_ref().is_some_and(LocalSealing::needs_recovery_key) {
        let pair = KeyPairInTheMaking::start(KEY_THREADS).map_err(Error::io("start", Path::new("a thread")))?;
        early.recovery_key = Some(pair);
    }
    let claim = inputs.claim.take();
    let own = identity.clone();
    let runtime = http::server::runtime()?;
    let mut asks = None;
    let outcome = runtime.block_on(live(config, &identity, claim, |node, ends| {
        asks = Some(begin(node, ends, own, inputs, early)?);
        // There is nothing that it could lose.
        Ok(mpsc::unbounded_channel::<()>().1)
    }));
    // What asks notices that it is to stop. It speaks by the runtime, which is there until then.
    let until = Instant::now() + LAST_WORDS;
    while asks.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < until {
        std::thread::sleep(PACE);
    }
    runtime.shutdown_background();
    outcome.map(drop)
}

/// What a start takes from files, read before it changes anything, and the directory for its ledger, which no other may have.
struct Inputs {
    join: Join,
    service: Certificate,
    node_data: Option<Value>,
    sealing: Option<LocalSealing>,
    claim: Option<File>,
}

impl Inputs {
    fn read(config: &Config, join: &Join, sealing_key: Option<&Path>) -> Result<Inputs> {
        check_outputs(config)?;
        let path = &config.command.service_certificate_file;
        let pem = std::fs::read_to_string(path).map_err(|why| {
            Error::Usage(format!(
                "the certificate of the service that this node is to join can't be read from {}: {why}; give it in \
                 command.service_certificate_file",
                path.shown()
            ))
        })?;
        let service = Certificate::from_pem(&pem).map_err(|why| {
            Error::Usage(format!(
                "command.service_certificate_file {} holds no certificate: {why}",
                path.shown()
            ))
        })?;
        let node_data = read_json(config.node_data_json_file.as_deref())?;
        let sealing = LocalSealing::new(config, sealing_key)?;
        if let Some(held) = config.held_ledger(Path::new("."))? {
            return Err(Error::Usage(format!("{held}. Nothing was changed")));
        }
        make_main_directory(config)?;
        Ok(Inputs {
            join: join.clone(),
            service,
            node_data,
            sealing,
            claim: Some(claim(&config.ledger.directory)?),
        })
    }
}

fn begin(
    node: &Arc<Node>,
    ends: &Ends,
    identity: NodeIdentity,
    inputs: Inputs,
    early: Early,
) -> Result<JoinHandle<()>> {
    if let Some(sealing) = &inputs.sealing {
        node.status.set_sealing(sealing.state());
    }
    let evidence = when_there(early.evidence, ends.clone());
    let keys = (early.keys, early.recovery_key);
    let work = {
        let node = Arc::clone(node);
        move || join_service(&node, identity, inputs, keys, &evidence)
    };
    beside("joining", ends, work)
}

/// What a future comes to; none where the node is told to stop before.
async fn unless_stopping<T>(node: &Node, future: impl Future<Output = T>) -> Option<T> {
    let stopping = async {
        while !node.status.is_stopping() {
            tokio::time::sleep(PACE).await;
        }
    };
    tokio::select! {
        done = future => Some(done),
        () = stopping => None,
    }
}

/// Asks until it is let in, and follows from then on. All of it on a thread of its own.
fn join_service(
    node: &Arc<Node>,
    identity: NodeIdentity,
    inputs: Inputs,
    (keys, recovery_key): (KeyPairInTheMaking, Option<KeyPairInTheMaking>),
    evidence: &mpsc_std::Receiver<OwnEvidence>,
) -> Result<()> {
    let config = &node.config;
    let snapshots = &config.snapshots.directory;
    std::fs::create_dir_all(snapshots).map_err(Error::io("make the directory", snapshots))?;
    let others = cluster::listen(config)?
        .ok_or_else(|| Error::Usage(format!("network.node_to_node_interface is missing: {UNREACHABLE}")))?;
    let port = others.local_addr().ok().map(|address| address.port());
    let node_address = write_node_address(config, &node.files, port)?;
    let (private, encryption_key) = keys.wait().map_err(failed("make an RSA key"))?;
    let decryption = DecryptionKey::from_pem(&private).map_err(failed("read this node's own RSA key"))?;
    drop(private);
    let recovery_key = recovery_key.map(KeyPairInTheMaking::wait).transpose();
    let recovery_key = recovery_key.map_err(failed("make an RSA key"))?;
    let plan = inputs
        .sealing
        .as_ref()
        .map(|sealing| sealing.plan(recovery_key.as_ref()));
    let plan = plan.unwrap_or_default();
    drop(recovery_key);
    let evidence = wait_for_evidence(evidence, &node.status)?;
    let interfaces = net_interfaces(config, &node.published);
    let speaker = Speaker::new(node, &inputs.service)?;
    let fetcher = Fetcher {
        node,
        join: &inputs.join,
        service: &inputs.service,
        speaker: &speaker,
    };
    let start = match inputs.join.fetch_recent_snapshot {
        true => node.runtime.block_on(unless_stopping(node, fetcher.fetch())).flatten(),
        false => None,
    };
    let asking = joining::Asking {
        identity: &identity,
        encryption_key: &encryption_key,
        evidence: &evidence,
        node_address: &node_address,
        interfaces: &interfaces,
        data: inputs.node_data.as_ref(),
        startup_seqno: start.as_ref().map_or(0, |start| start.seqno),
        sealing: &plan,
    };
    node.status.enter(NodeState::Pending);
    let asker = Asker::new(node, &inputs.join, &inputs.service, &speaker, asking.body());
    let told = node.runtime.block_on(unless_stopping(node, asker.ask()));
    let Some(told) = told else { return Ok(()) };
    let joined = Joined {
        told: *told?,
        start,
        identity,
        decryption,
        evidence,
        others,
        sealing: inputs.sealing,
    };
    follow(node, joined)
}
