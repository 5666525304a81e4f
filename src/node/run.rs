//! The life of a node: from its configuration to the signal that ends it.
//!
//! Interfaces are served before anything is read, so that whoever looks sees what the node is doing. What takes long and
//! depends on nothing is begun in the first moment, and waited for when it is needed: the RSA key, and the digest of the
//! program. Recovery specification, sections 2.1 and 2.9.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, mpsc as mpsc_std};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::certificates::look_after;
use super::cluster;
use super::config::{CommandKind, Config, Loaded, Recover, frames};
use super::description::node_name;
use super::directory::claim;
use super::evidence::{EvidenceInTheMaking, of_this_machine};
use super::found::{Founding, found, show_state};
use super::healing::ending::{self, ToJoin};
use super::healing::{Beginning, Begun, Healer, Lost, Plan, generation, trusted_nodes};
use super::jwt::keep_fresh;
use super::local_sealing::LocalSealing;
use super::opening::InterruptedOpening;
use super::output::write_node_address;
use super::previous::{check_previous_quickly, previous_identity};
use super::public::{
    Public, check_below, ledger_directories, list, make_main_directory, recover_public, service_in_snapshot,
};
use super::serve::serve;
use super::shared::Node;
use super::status::{NodeState, Status};
use crate::attestation::OwnEvidence;
use crate::crypto::Certificate;
use crate::crypto::digest::sha256;
use crate::crypto::process::keep_memory_private;
use crate::crypto::rsa::KeyPairInTheMaking;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::http;
use crate::report::progress::Progress;
use crate::service::identity::{NodeIdentity, ServiceIdentity, ServiceName, failed};
use crate::service::service_info;
use crate::shown::Show;
use crate::tables::json;

/// Threads that look for an RSA key's primes: it has two. On a large ledger they are done long before they are waited for, on
/// a small one reading leaves processors idle.
const KEY_THREADS: usize = 2;

/// How often it is looked whether a certificate is about to expire.
const LOOK_AFTER_CERTIFICATES: Duration = Duration::from_secs(60);

/// What the command line says beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Everything after this seqno is dropped, even what was committed: it must be that of a proven signature.
    pub drop_after: Option<Seqno>,
    /// The file with the key that ledger secrets are sealed under, instead of the processor's.
    pub insecure_sealing_key: Option<PathBuf>,
}

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// It found out with others that another one opens, which it is to join.
    Lost(ToJoin),
}

/// Runs a node until it is told to stop, or has lost to another.
///
/// # Errors
/// If the node can't be started, or the ledger can't be recovered; the sentence says why and what to do.
pub fn run(loaded: Loaded, options: Options) -> Result<Ended> {
    let Loaded { config, document, .. } = loaded;
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
    if let Some(to_join) = ending::has_lost(&config) {
        return Ok(Ended::Lost(to_join));
    }
    keep_memory_private();
    raise_file_limit();
    let identity = NodeIdentity::generate(node_name(&config)?)?;
    let mut early = Early::begin(&config, &identity)?;
    let inputs = Inputs::read(&config, recover, &options)?;
    if inputs.sealing.as_ref().is_some_and(LocalSealing::needs_recovery_key) {
        let pair = KeyPairInTheMaking::start(KEY_THREADS).map_err(Error::io("start", Path::new("a thread")))?;
        early.recovery_key = Some(pair);
    }
    let runtime = http::server::runtime()?;
    let lost = runtime.block_on(live(config.clone(), identity, inputs, options, early));
    // A recovery that is being given up may still read: nothing waits for it.
    runtime.shutdown_background();
    match lost? {
        Some(lost) => ending::finish(&config, &document, &lost).map(Ended::Lost),
        None => Ok(Ended::Stopped),
    }
}

/// What a start takes from other files, read before it changes anything, and the ledger, which no other node may have.
struct Inputs {
    recover: Recover,
    previous: Option<Certificate>,
    node_data: Option<Value>,
    service_data: Option<Value>,
    sealing: Option<LocalSealing>,
    /// None if the main directory is still to be made.
    claim: Option<File>,
}

impl Inputs {
    fn read(config: &Config, recover: Recover, options: &Options) -> Result<Inputs> {
        let problems = config.check_outputs(Path::new("."));
        if !problems.is_empty() {
            let text = format!(
                "the node can't write what the configuration asks for:{}",
                frames(&problems)
            );
            return Err(Error::usage_in_lines(&text));
        }
        let main = &config.ledger.directory;
        Ok(Inputs {
            previous: previous_identity(recover.previous_service_identity_file.as_deref())?,
            recover,
            node_data: read_json(config.node_data_json_file.as_deref())?,
            service_data: read_json(config.service_data_json_file.as_deref())?,
            sealing: LocalSealing::new(config, options.insecure_sealing_key.as_deref())?,
            claim: if main.is_dir() { Some(claim(main)?) } else { None },
        })
    }
}

/// Lets the node have as many files and connections open as it may: shells give a process a thousand, of many more.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(why) = setrlimit(Resource::Nofile, most) {
        tracing::warn!("the number of open files stays limited to {:?}: {why}", limit.current);
    }
}

/// What is begun in the first moment.
struct Early {
    keys: KeyPairInTheMaking,
    /// The pair that is to be sealed, if one is.
    recovery_key: Option<KeyPairInTheMaking>,
    /// What the node runs, and who says so.
    evidence: EvidenceInTheMaking,
}

impl Early {
    fn begin(config: &Config, identity: &NodeIdentity) -> Result<Early> {
        let threads = || Error::io("start", Path::new("a thread"));
        let attestation = of_this_machine(config).map_err(Error::Usage)?;
        tracing::info!(platform = attestation.platform().as_str(), "what vouches for this node");
        Ok(Early {
            recovery_key: None,
            keys: KeyPairInTheMaking::start(KEY_THREADS).map_err(threads())?,
            evidence: EvidenceInTheMaking::start(attestation, identity.key.verifying_key()).map_err(threads())?,
        })
    }
}

async fn live(
    config: Config,
    identity: NodeIdentity,
    mut inputs: Inputs,
    options: Options,
    early: Early,
) -> Result<Option<Lost>> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("handle", Path::new("SIGTERM")))?;
    // Whose terminal is gone, as who is told to terminate.
    let mut hangup = signal(SignalKind::hangup()).map_err(Error::io("handle", Path::new("SIGHUP")))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("handle", Path::new("SIGINT")))?;
    // Once it is handled, a file that may not grow is a disk without room, which is waited out.
    let _handled = signal(SignalKind::from_raw(libc::SIGXFSZ)).map_err(Error::io("handle", Path::new("SIGXFSZ")))?;
    let (end, mut ends) = mpsc::unbounded_channel::<Result<()>>();
    let (node, running) = serve(&config, &identity, inputs.claim.take(), end.clone()).await?;
    node.status.enter(NodeState::Initialized);
    let plan = Plan::of(&node.config, &node.published).map_err(|why| {
        node.files.take_back();
        Error::Usage(why)
    })?;
    let (lost, mut losses) = mpsc::unbounded_channel();
    let healer = plan.map(|plan| Healer {
        plan,
        runtime: Handle::current(),
        lost,
    });
    if let Some(sealing) = &inputs.sealing {
        node.status.set_sealing(sealing.state());
    }
    let ignore_first = node.config.ignore_first_sigterm;
    let Early {
        keys,
        recovery_key,
        evidence,
    } = early;
    let evidence = when_there(evidence, end.clone());
    let made = Made {
        keys,
        recovery_key,
        evidence,
        healer,
    };
    let recovery = std::thread::Builder::new().name("recovery".to_owned()).spawn({
        let node = Arc::clone(&node);
        move || {
            let recovery = AssertUnwindSafe(|| recover_service(&node, identity, inputs, options, made));
            let outcome = catch_unwind(recovery).unwrap_or_else(|_| {
                Err(Error::Unreadable(
                    "the recovery has panicked, which is a fault in this program: the ledger is as it was left"
                        .to_owned(),
                ))
            });
            if let Err(why) = outcome {
                let _ = end.send(Err(why));
            }
        }
    });
    recovery.map_err(Error::io("start", Path::new("the recovery's thread")))?;
    let fetching = tokio::spawn(keep_fresh(Arc::clone(&node)));
    let mut look = tokio::time::interval(LOOK_AFTER_CERTIFICATES);
    let outcome = loop {
        tokio::select! {
            _ = look.tick() => look_after(&node),
            Some(outcome) = ends.recv() => break outcome.map(|()| None),
            Some(lost) = losses.recv() => break Ok(Some(lost)),
            _ = interrupt.recv() => break Ok(None),
            _ = hangup.recv() => break Ok(None),
            _ = terminate.recv() => {
                if ignore_first && !node.status.is_stopping() {
                    tracing::info!("first SIGTERM: the stop notice is set, the node goes on");
                    node.status.stop();
                } else {
                    break Ok(None);
                }
            }
        }
    };
    fetching.abort();
    if outcome.is_ok() {
        tracing::info!("stopping");
    }
    node.status.stop();
    if let Some(writer) = node.writer.get() {
        tokio::select! {
            () = writer.stop() => {}
            _ = interrupt.recv() => tracing::warn!("a second signal: not waiting any longer"),
            _ = terminate.recv() => tracing::warn!("a second signal: not waiting any longer"),
        }
    }
    running.shutdown().await;
    node.files.take_back();
    outcome
}

/// What a recovery needs of what was begun in the first moment.
struct Made {
    keys: KeyPairInTheMaking,
    recovery_key: Option<KeyPairInTheMaking>,
    evidence: mpsc_std::Receiver<OwnEvidence>,
    /// What finds out with others which of them opens, if that is configured.
    healer: Option<Healer>,
}

/// The evidence once it is there. Where there will be none the node ends, whatever else it is doing.
fn when_there(making: EvidenceInTheMaking, ends: mpsc::UnboundedSender<Result<()>>) -> mpsc_std::Receiver<OwnEvidence> {
    let (there, evidence) = mpsc_std::channel();
    tokio::spawn(async move {
        match making.wait().await {
            Ok(evidence) => drop(there.send(evidence)),
            Err(why) => drop(ends.send(Err(why))),
        }
    });
    evidence
}

/// The evidence; as long as it is not there, the status says that it is waited for.
fn wait_for_evidence(evidence: &mpsc_std::Receiver<OwnEvidence>, status: &Status) -> Result<OwnEvidence> {
    let late = |_| {
        status.begin("waiting for the evidence of what this node runs: its endorsements", 0);
        let evidence = evidence.recv();
        status.end();
        evidence
    };
    // Why there is none, who waits for it has said.
    evidence
        .try_recv()
        .or_else(late)
        .map_err(|_| Error::Unreadable("this node has no evidence of what it runs".to_owned()))
}

/// The whole of a public recovery, on a thread of its own.
fn recover_service(
    node: &Arc<Node>,
    identity: NodeIdentity,
    inputs: Inputs,
    options: Options,
    early: Made,
) -> Result<()> {
    let config = &node.config;
    let Inputs { recover, previous, .. } = inputs;
    if node.claim.get().is_none() {
        make_main_directory(config)?;
        let _ = node.claim.set(claim(&config.ledger.directory)?);
    }
    let opening = InterruptedOpening::find(&ledger_directories(config), &config.ledger.directory)?;
    let files = list(config, &opening)?;
    let until = options.drop_after.unwrap_or(Seqno::MAX);
    let signer = check_previous_quickly(&files, previous.as_ref(), until)?;
    let issuer = match signer {
        Some(signer) => Some(signer.issuer()),
        None => service_in_snapshot(config, &files, options.drop_after)?.map(|service| service.subject()),
    };
    let issuer = issuer.filter(|issuer| !issuer.is_empty());
    let name = match (&previous, &issuer) {
        (Some(previous), _) => ServiceName::Of(previous),
        (None, Some(issuer)) => ServiceName::Text(issuer),
        (None, None) => ServiceName::Text("CN=CCF Service"),
    };
    let days = recover.initial_service_certificate_validity_days;
    let service = ServiceIdentity::generate(config.node_certificate.curve_id, &name, days)?;
    // Before the ledger is read, as CCF does it: whoever waits for the node trusts it by these files. They are taken back if
    // the ledger is refused.
    let certificate = service.certificate.to_pem();
    node.files
        .write(&config.command.service_certificate_file, certificate.as_bytes())?;
    let others = cluster::listen(config)?;
    let port = others
        .as_ref()
        .and_then(|listener| listener.local_addr().ok())
        .map(|address| address.port());
    write_node_address(config, &node.files, port)?;
    node.status.enter(NodeState::ReadingPublicLedger);
    let mut public = recover_public(config, files, previous.as_ref(), options.drop_after, &node.status)?;
    show_state(node, &mut public);
    let began = std::time::Instant::now();
    // Its private half is forgotten: alone in its service, the node knows every secret that is ever sent to it.
    let (_, encryption_key) = early.keys.wait().map_err(failed("make an RSA key"))?;
    let recovery_key = early.recovery_key.map(KeyPairInTheMaking::wait).transpose();
    let recovery_key = recovery_key.map_err(failed("make an RSA key"))?;
    let plan = inputs
        .sealing
        .as_ref()
        .map(|sealing| sealing.plan(recovery_key.as_ref()));
    let plan = plan.unwrap_or_default();
    drop(recovery_key);
    let evidence = wait_for_evidence(&early.evidence, &node.status)?;
    tracing::debug!(took_s = began.elapsed().as_secs_f64(), "waited for keys");
    let (healing, begun) = before_healing(node, early.healer.as_ref(), &public, &service, options.drop_after)?;
    let founding = Founding {
        public,
        opening,
        identity,
        encryption_key,
        evidence,
        service,
        node_data: inputs.node_data,
        service_data: inputs.service_data,
        sealing: inputs.sealing,
        plan,
        drops_signed: options.drop_after.is_some(),
        others,
        healing,
    };
    let started_from = founding.public.snapshot.clone();
    found(node, founding)?;
    if let Some(healer) = early.healer {
        healer.begin(node, begun)?;
    }
    if started_from.is_some() {
        let after = std::thread::Builder::new().name("below-snapshot".to_owned());
        let node = Arc::clone(node);
        after
            .spawn(move || check_below(&node.config, &node.status))
            .map_err(Error::io("start", Path::new("a thread")))?;
    }
    Ok(())
}

/// What is known before the recovery transaction of what this node will say to others, and what that transaction says of it.
fn before_healing(
    node: &Node,
    healer: Option<&Healer>,
    public: &Public,
    service: &ServiceIdentity,
    drop_after: Option<Seqno>,
) -> Result<(Beginning, Begun)> {
    let own_id = healer.map_or("", |healer| healer.plan.own_id.as_str());
    let store = node.store.read().unwrap_or_else(PoisonError::into_inner);
    let directories = ledger_directories(&node.config);
    let view_of = |seqno| node.status.view_of(seqno);
    let beginning = Beginning::find(generation(&node.config), own_id, &store, &directories, view_of)?;
    let signed = public.foundation.signed.txid;
    let transaction = store.transaction();
    let previous = service_info(&transaction).ok();
    let previous = previous.and_then(|info| Certificate::from_pem(&info.cert).ok());
    let begun = Begun {
        created: signed.seqno.saturating_add(1),
        service: service.certificate.to_pem(),
        claim: beginning.claim.unwrap_or(signed.into()),
        earlier: beginning.earlier.clone(),
        previous_service: previous.map(|certificate| hex::encode(sha256(certificate.der()))),
        is_cut_short: drop_after.is_some(),
        nodes_in_ledger: trusted_nodes(&transaction),
    };
    Ok((beginning, begun))
}

fn read_json(path: Option<&Path>) -> Result<Option<Value>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    let value = serde_json::from_slice(&text);
    let value = value.map_err(|why| Error::Unreadable(format!("{} is not JSON: {why}", path.shown())))?;
    json::check(&text)
        .map_err(|why| Error::Unreadable(format!("{} can't be written to a ledger: {why}", path.shown())))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_sees_that_evidence_is_waited_for() {
        let status = Arc::<Status>::default();
        let (there, evidence) = mpsc_std::channel();
        let waiting = std::thread::spawn({
            let status = Arc::clone(&status);
            move || wait_for_evidence(&evidence, &status).map(drop)
        });
        let began = std::time::Instant::now();
        while !status.recovery().phase.starts_with("waiting for the evidence") {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", status.recovery());
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(there);
        assert!(waiting.join().unwrap().is_err(), "there will be none");
        assert_eq!(status.recovery().phase, "starting");
    }
}
