//! The life of a node: from its configuration to the signal that ends it.
//!
//! Interfaces are served before anything is read, so that whoever looks sees what the node is doing. What takes long and
//! depends on nothing is begun in the first moment, and waited for when it is needed: the RSA key, and the digest of the
//! program. Recovery specification, sections 2.1 and 2.9.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, mpsc as mpsc_std};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::cluster;
use super::config::{CommandKind, Config, Loaded, Recover};
use super::description::node_name;
use super::directory::claim;
use super::early::{Early, KEY_THREADS, check_outputs, raise_file_limit, read_json, wait_for_evidence, when_there};
use super::found::{Founding, found, show_state};
use super::healing::ending::{self, ToJoin};
use super::healing::{Beginning, Begun, Healer, Lost, Plan, generation, trusted_nodes};
use super::joining;
use super::life::{Ends, beside, live};
use super::local_sealing::LocalSealing;
use super::opening::InterruptedOpening;
use super::output::write_node_address;
use super::previous::{check_previous_quickly, previous_identity};
use super::public::{
    Public, check_below, ledger_directories, list, make_main_directory, recover_public, service_in_snapshot,
};
use super::shared::Node;
use super::status::NodeState;
use crate::attestation::OwnEvidence;
use crate::crypto::Certificate;
use crate::crypto::digest::sha256;
use crate::crypto::process::keep_memory_private;
use crate::crypto::rsa::{DecryptionKey, KeyPairInTheMaking};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::http;
use crate::service::identity::{NodeIdentity, ServiceIdentity, ServiceName, failed};
use crate::service::service_info;

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
        (CommandKind::Join, _) => {
            return joining::run(&config, options.insecure_sealing_key.as_deref()).map(|()| Ended::Stopped);
        }
        (CommandKind::Start, _) => {
            return Err(Error::Usage(
                "command.type is Start: this node recovers a service (command.type Recover) or joins one (Join), it does not \
                 start one"
                    .to_owned(),
            ));
        }
    };
    if let Some(to_join) = ending::has_lost(&config)? {
        return Ok(Ended::Lost(to_join));
    }
    keep_memory_private();
    raise_file_limit();
    let identity = NodeIdentity::generate(node_name(&config)?)?;
    let mut early = Early::begin(&config, &identity)?;
    let mut inputs = Inputs::read(&config, recover, &options)?;
    if inputs.sealing.as_ref().is_some_and(LocalSealing::needs_recovery_key) {
        let pair = KeyPairInTheMaking::start(KEY_THREADS).map_err(Error::io("start", Path::new("a thread")))?;
        early.recovery_key = Some(pair);
    }
    let runtime = http::server::runtime()?;
    let claim = inputs.claim.take();
    let own = identity.clone();
    let lost = runtime.block_on(live(&config, &identity, claim, |node, ends| {
        begin(node, ends, own, inputs, options, early)
    }));
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
        check_outputs(config)?;
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

/// Begins a recovery on a thread of its own; what is answered says whether it has lost to another node.
fn begin(
    node: &Arc<Node>,
    ends: &Ends,
    identity: NodeIdentity,
    inputs: Inputs,
    options: Options,
    early: Early,
) -> Result<mpsc::UnboundedReceiver<Lost>> {
    let plan = Plan::of(&node.config, &node.published).map_err(Error::Usage)?;
    let (lost, losses) = mpsc::unbounded_channel();
    let healer = plan.map(|plan| Healer {
        plan,
        runtime: Handle::current(),
        lost,
    });
    if let Some(sealing) = &inputs.sealing {
        node.status.set_sealing(sealing.state());
    }
    let made = Made {
        keys: early.keys,
        recovery_key: early.recovery_key,
        evidence: when_there(early.evidence, ends.clone()),
        healer,
    };
    let work = {
        let node = Arc::clone(node);
        move || recover_service(&node, identity, inputs, options, made)
    };
    // Nothing waits for a recovery that is given up.
    drop(beside("recovery", ends, work)?);
    Ok(losses)
}

/// What a recovery needs of what was begun in the first moment.
struct Made {
    keys: KeyPairInTheMaking,
    recovery_key: Option<KeyPairInTheMaking>,
    evidence: mpsc_std::Receiver<OwnEvidence>,
    /// What finds out with others which of them opens, if that is configured.
    healer: Option<Healer>,
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
    let (private, encryption_key) = early.keys.wait().map_err(failed("make an RSA key"))?;
    // Alone in its service, the node knows every secret that is ever sent to it. Where there are others, one of them may lead.
    let decryption = others.is_some().then(|| DecryptionKey::from_pem(&private));
    let decryption = decryption.transpose().map_err(failed("read this node's own RSA key"))?;
    drop(private);
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
        decryption,
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
