//! From a verified ledger to a new service on top of it: files made ready, the first transaction, its signature.
//!
//! Recovery specification, sections 2.5 and 2.6.

use std::net::TcpListener;
use std::sync::{Arc, PoisonError, RwLock};

use rand_chacha::ChaCha20Rng;
use serde_json::Value;

use super::cluster::{self, Cluster};
use super::config::Config;
use super::description::net_interfaces;
use super::directory::{check_ending, check_next_is_free, end_ledger, set_aside_leftovers, set_aside_snapshots};
use super::driver::Driver;
use super::followed_keys::FollowedKeys;
use super::healing::Beginning;
use super::local_sealing::LocalSealing;
use super::membership::Membership;
use super::old_ledger::OldLedger;
use super::opening::InterruptedOpening;
use super::output::write_node_address;
use super::peers::Figures;
use super::public::{Public, ledger_directories};
use super::sealer::Sealer;
use super::session::Standing;
use super::shared::Node;
use super::status::NodeState;
use super::writer::Writer;
use super::writing;
use crate::attestation::OwnEvidence;
use crate::channel::NodeId;
use crate::core::{Core, LastSigned, Milestone, Settings, SignatureSettings, SnapshotSettings, Start};
use crate::crypto::rsa::DecryptionKey;
use crate::crypto::x509::{self, CertificateRequest};
use crate::crypto::{LedgerSecret, random};
use crate::error::{Error, Result};
use crate::format::domain::{EntryType, WriteSet};
use crate::journal::disk::{Durability, Files};
use crate::journal::succession::KnownSecret;
use crate::journal::{SealKey, Shelf, SignatureMode, Signers};
use crate::kv::store::Store;
use crate::recovery::foundation::Foundation;
use crate::service::create::{Creation, Founder, SealingPlan, create};
use crate::service::identity::{NodeIdentity, ServiceIdentity, failed, system_rng};
use crate::service::own_policy::OwnPolicy;

/// Everything a new service is made of.
pub struct Founding {
    /// The old ledger.
    pub public: Public,
    /// The node's keys.
    pub identity: NodeIdentity,
    /// The public key under which ledger secrets are sent to it, PEM.
    pub encryption_key: String,
    /// Its private half, where others may send any.
    pub decryption: Option<DecryptionKey>,
    /// What the node runs, and who says so.
    pub evidence: OwnEvidence,
    /// The new service.
    pub service: ServiceIdentity,
    /// What the operator attaches.
    pub node_data: Option<Value>,
    /// As above.
    pub service_data: Option<Value>,
    /// What is to be sealed and unsealed, if anything is.
    pub sealing: Option<LocalSealing>,
    /// What the tables say of that.
    pub plan: SealingPlan,
    /// What is still to be named of the service before.
    pub opening: InterruptedOpening,
    /// Where other nodes connect, if the configuration says so.
    pub others: Option<TcpListener>,
    /// What the first transaction says of self-healing open.
    pub healing: Beginning,
    /// Whether what was signed, and may have been committed, is dropped after the ledger's new end.
    pub drops_signed: bool,
}

/// Makes the files ready, writes the recovery transaction and signs it. The node is part of a public network then.
///
/// # Errors
/// If a file can't be written, or the ledger's own tables can't be read.
pub fn found(node: &Arc<Node>, mut founding: Founding) -> Result<()> {
    let Founding {
        public,
        identity,
        encryption_key,
        service,
        ..
    } = &founding;
    let main = &node.config.ledger.directory;
    let foundation = &public.foundation;
    let last = foundation.signed.txid.seqno;
    // Everything that may be refused comes first, then what is written beside the ledger, and the ledger's files last.
    check_next_is_free(main, last + 1, &public.files, &founding.opening)?;
    check_ending(&public.files, foundation, founding.drops_signed)?;
    std::fs::create_dir_all(&node.config.snapshots.directory)
        .map_err(Error::io("make the directory", &node.config.snapshots.directory))?;
    let port = founding
        .others
        .as_ref()
        .and_then(|listener| listener.local_addr().ok())
        .map(|address| address.port());
    let node_address = write_node_address(&node.config, &node.files, port)?;

    let founder = Founder {
        interfaces: net_interfaces(&node.config, &node.published),
        node_address: &node_address,
        identity,
        encryption_key,
        evidence: &founding.evidence,
        node_data: founding.node_data.clone(),
        service_data: founding.service_data.clone(),
        sealing: founding.plan.clone(),
    };
    let settings = settings(&node.config);
    let Begun {
        core,
        mut standing,
        writes,
    } = {
        let store = node.store.read().unwrap_or_else(PoisonError::into_inner);
        let own = OwnPolicy::of(&store.transaction(), &founding.evidence);
        node.status.find(&own.findings);
        begin(
            &founder,
            service,
            foundation,
            &store,
            settings,
            &founding.healing,
            &mut system_rng()?,
        )?
    };
    if let Some(sealing) = &founding.sealing {
        let store = node.store.read().unwrap_or_else(PoisonError::into_inner);
        standing.unsealer = sealing.unsealer(&public.files, &foundation.signed, &store);
    }
    let txid = core.next();
    let own = NodeId(identity.key.verifying_key().id());
    let others = founding.others.take();
    let Founding { public, opening, .. } = &mut founding;
    opening.finish(&mut public.files, &mut public.foundation.chunk)?;
    let Founding { public, service, .. } = &founding;
    let foundation = &public.foundation;
    set_aside_leftovers(&public.files, main)?;
    if founding.drops_signed {
        // First: without them the ledger is the same, and with them a shorter one would be refused.
        set_aside_snapshots(&node.config.snapshots.directory, last)?;
    }
    end_ledger(&public.files, main, foundation, founding.drops_signed)?;
    let _ = node.evidence.set(founding.evidence.clone());
    let alone = Membership::alone(own, txid.view, txid.seqno);
    *node.membership.write().unwrap_or_else(PoisonError::into_inner) = Some(alone);
    for known in standing.secrets.iter() {
        node.knows_secret(known.from, &known.secret);
    }
    node.predecessors.founded(&service.key);
    let keys = FollowedKeys::given(&standing.secrets);
    let standing = Arc::new(RwLock::new(standing));
    let old = OldLedger {
        snapshot: public.snapshot.clone(),
        last,
        fingerprint: Some(foundation.fingerprint),
        latest: None,
    };
    let disk = Files::new(Durability::Synced);
    let directories = (main.as_path(), node.config.snapshots.directory.as_path());
    let sealer = founding.sealing.as_ref().and_then(LocalSealing::sealed_files);
    let sealer = sealer.map(|files| Sealer::start(files, Arc::clone(&node.status)));
    let sealer = sealer
        .transpose()
        .map_err(Error::io("start", std::path::Path::new("the sealer")))?;
    let writer = Writer::new(Arc::clone(&standing), Arc::clone(&node.store), Arc::clone(&node.status));
    let no_thread = || Error::io("start", std::path::Path::new("the writer"));
    let all = ledger_directories(&node.config);
    let (core, cluster) = match others {
        Some(listener) => {
            let own = cluster::own(&core, service.key.verifying_key());
            let first_held = public.files.first_seqno();
            let consensus = cluster::lead(&node.config, own.id(), foundation, txid, first_held)?;
            let cluster = Cluster::start(&node.config, own, listener, all.clone(), &writer)?;
            count_peers(node, &cluster);
            (core.agreeing(consensus, Box::new(Shelf::new(all))), Some(cluster))
        }
        None => (core, None),
    };
    let mut driver = Driver::new(node, core, standing, old, &writer, disk, directories).map_err(no_thread())?;
    driver.sealer = sealer;
    driver.cluster = cluster;
    driver.keys = keys;
    driver.decryption = founding.decryption;
    driver.propose("create the new service", writes, Milestone::Created);
    writing::run_until_answered(&mut driver, &writer);
    if let Some(reason) = node.status.waiting_for() {
        return Err(Error::Unreadable(format!(
            "the new service's ledger can't be begun: {reason}"
        )));
    }
    node.files.keep();
    node.status.enter(NodeState::PartOfPublicNetwork);
    writing::start(driver, &writer).map_err(no_thread())?;
    let _ = node.writer.set(writer);
    Ok(())
}

/// What Prometheus is told of the other nodes.
pub(super) fn count_peers(node: &Node, cluster: &Cluster) {
    let gauge = |name, help, read: fn(&Figures) -> u64| {
        let peers = Arc::downgrade(&cluster.peers());
        node.metrics.gauge(name, help, move || {
            peers.upgrade().map_or(0.0, |peers| read(&peers.figures()) as f64)
        });
    };
    gauge("node_to_node_connections", "Connections with other nodes", |figures| {
        figures.connections
    });
    gauge(
        "node_to_node_strangers",
        "Of these, those over which nothing authentic has come",
        |figures| figures.strangers,
    );
    gauge("node_to_node_bytes_in", "Bytes that came from other nodes", |figures| {
        figures.bytes_in
    });
    gauge("node_to_node_bytes_out", "Bytes that went to other nodes", |figures| {
        figures.bytes_out
    });
    gauge(
        "node_to_node_dropped",
        "Frames, messages and connections of other nodes that were dropped",
        |figures| figures.dropped.values().sum(),
    );
}

/// A new service of which nothing is written yet.
pub struct Begun {
    /// What decides how its ledger is written.
    pub core: Core,
    /// What its transactions may ask.
    pub standing: Standing,
    /// Its first transaction.
    pub writes: WriteSet,
}

/// Makes a new service that goes on from `foundation`, whose public state is in `store`.
///
/// # Errors
/// If the node can't be endorsed, or the ledger's own tables can't be read.
pub fn begin(
    founder: &Founder<'_>,
    service: &ServiceIdentity,
    foundation: &Foundation,
    store: &Store,
    settings: Settings,
    healing: &Beginning,
    rng: &mut ChaCha20Rng,
) -> Result<Begun> {
    let identity = founder.identity;
    let request = CertificateRequest::from_pem(&identity.request).map_err(failed("read the node's request"))?;
    let validity = identity.self_signed.validity();
    let validity = validity.map_err(failed("read the node's certificate"))?;
    let serial = random::serial(rng);
    let endorsed = x509::issue_from_request(&request, &service.certificate, &service.key, validity, serial);
    let endorsed = endorsed.map_err(failed("endorse the node"))?;
    let (issuer, subject) = foundation.issuer_and_subject.clone();
    let signers = Signers {
        mode: SignatureMode::Dual,
        node: Arc::clone(&identity.key),
        node_certificate: endorsed.clone(),
        service: Arc::clone(&service.key),
        issuer,
        subject,
    };
    let secret = LedgerSecret::generate(rng);
    let root = foundation.signed.root.0;
    let start = Start {
        tree: foundation.tree.clone(),
        view_history: foundation.view_history.clone(),
        last: Some(LastSigned {
            txid: foundation.signed.txid,
            root,
        }),
        is_recovery: true,
    };
    let core = Core::new(start, settings, Arc::new(SealKey::new(&secret)), signers);
    let txid = core.next();
    let creation = Creation {
        founder,
        endorsed: &endorsed,
        service: &service.certificate,
        txid,
        last_signed_root: root,
    };
    let writes = store
        .transact(|transaction| {
            create(transaction, &creation)?;
            healing.write(transaction);
            Ok::<(), String>(())
        })
        .map_err(|why| Error::Unreadable(format!("the recovery transaction can't be made: {why}")))?;
    let secrets = vec![KnownSecret {
        secret,
        from: txid.seqno,
        previous_stored: None,
    }];
    let standing = Standing {
        root,
        service: Arc::new(service.clone()),
        secrets: Arc::new(secrets),
        given: txid.seqno,
        historical: Arc::new(foundation.historical.clone()),
        issuer_and_subject: Arc::new(foundation.issuer_and_subject.clone()),
        unlocked_at: None,
        unsealer: None,
    };
    Ok(Begun { core, standing, writes })
}

/// How the configuration asks for the ledger to be written.
pub fn settings(config: &Config) -> Settings {
    let (signatures, snapshots) = (&config.ledger_signatures, &config.snapshots);
    Settings {
        chunk_size: config.ledger.chunk_size,
        entry_type: EntryType::WriteSetWithCommitEvidenceAndClaims,
        signatures: Some(SignatureSettings {
            tx_count: signatures.tx_count,
            delay: signatures.delay,
        }),
        max_uncommitted: config.consensus.max_uncommitted_tx_count,
        snapshots: Some(SnapshotSettings {
            tx_count: snapshots.tx_count,
            min_tx_count: snapshots.min_tx_count,
            time_interval: snapshots.time_interval,
        }),
    }
}

/// Puts the public state in place, for requests to see.
pub fn show_state(node: &Node, public: &mut Public) {
    let base = std::mem::take(&mut public.base);
    let foundation = &public.foundation;
    let last = foundation.signed.txid;
    node.status.set_view_history(&foundation.view_history);
    *node.store.write().unwrap_or_else(PoisonError::into_inner) = Store::with_public(base, last.seqno);
    node.status.wrote(last);
}
