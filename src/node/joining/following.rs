//! A node that is let in becomes one that follows: with nothing but what it was told.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, RwLock};

use super::beginning::Beginning;
use crate::attestation::OwnEvidence;
use crate::channel::NodeId;
use crate::core::Core;
use crate::crypto::rsa::DecryptionKey;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::journal::disk::{Durability, Files};
use crate::journal::succession::KnownSecret;
use crate::journal::{SealKey, Shelf, SignatureMode, Signers};
use crate::node::cluster::{self, Cluster};
use crate::node::driver::Driver;
use crate::node::followed_keys::FollowedKeys;
use crate::node::found::{count_peers, settings};
use crate::node::local_sealing::LocalSealing;
use crate::node::old_ledger::OldLedger;
use crate::node::public::ledger_directories;
use crate::node::sealer::Sealer;
use crate::node::session::Standing;
use crate::node::shared::Node;
use crate::node::status::NodeState;
use crate::node::writer::Writer;
use crate::node::writing;
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::snapshots::Start;
use crate::service::identity::NodeIdentity;
use crate::service::joining::Told;

/// A node that is let in.
pub(super) struct Joined {
    pub(super) told: Told,
    /// The snapshot that it begins with, if it does.
    pub(super) start: Option<Start>,
    pub(super) identity: NodeIdentity,
    /// Reads what is sent to this node alone.
    pub(super) decryption: DecryptionKey,
    pub(super) evidence: OwnEvidence,
    /// Where other nodes connect.
    pub(super) others: TcpListener,
    pub(super) sealing: Option<LocalSealing>,
}

/// Begins to follow. The node is part of the service then.
///
/// # Errors
/// If what it was told is not enough, or the machine gives no thread or socket.
pub(super) fn follow(node: &Arc<Node>, joined: Joined) -> Result<()> {
    let Joined {
        told,
        start,
        identity,
        decryption,
        evidence,
        others,
        sealing,
    } = joined;
    let Told {
        service,
        endorsed,
        secrets,
        public_only,
        last_recovered,
        signatures,
    } = told;
    let endorsed = endorsed.ok_or_else(|| lacking("no certificate for this node"))?;
    let all = ledger_directories(&node.config);
    let keys = FollowedKeys::given(&secrets);
    let known = secrets.iter().map(|known| (known.from, stored(known), &known.secret));
    let known = (!public_only).then(|| LedgerSecrets::of(known));
    let beginning = match &start {
        Some(start) => Beginning::with(node, start, known.as_ref())?,
        None => Beginning::nothing(),
    };
    let historical = start.as_ref().and_then(|start| start.historical.clone());
    let historical = historical.filter(|(at, _)| *at <= last_recovered);
    let seals: Vec<_> = secrets
        .iter()
        .map(|known| (known.from, Arc::new(SealKey::new(&known.secret))))
        .collect();
    let (own, older): (Vec<KnownSecret>, Vec<KnownSecret>) =
        secrets.into_iter().partition(|known| known.from > last_recovered);
    if own.is_empty() {
        return Err(lacking("no ledger secret of this service"));
    }
    let (issuer, subject) = signatures.clone();
    let signers = Signers {
        mode: SignatureMode::Dual,
        node: Arc::clone(&identity.key),
        node_certificate: endorsed,
        service: Arc::clone(&service.key),
        issuer,
        subject,
    };
    let core = Core::with_keys(beginning.log, settings(&node.config), seals, signers);
    let id = NodeId(identity.key.verifying_key().id());
    let consensus = cluster::follow(&node.config, id, beginning.following)?;
    let speaks_as = cluster::own(&core, service.key.verifying_key());
    let core = core.agreeing(consensus, Box::new(Shelf::new(all.clone())));

    let _ = node.evidence.set(evidence);
    for known in &own {
        node.knows_secret(known.from, &known.secret);
    }
    // Before the private ledger is recovered nobody knows them, whatever is said.
    if !public_only && !older.is_empty() {
        let older = older.iter().map(|known| (known.from, stored(known), &known.secret));
        let _ = node.old_secrets.set(LedgerSecrets::of(older));
    }
    node.predecessors.founded(&service.key);
    let standing = Standing {
        root: core.root(),
        service: Arc::new(service),
        given: own.last().map_or(0, |known| known.from),
        secrets: Arc::new(own),
        historical: Arc::new(historical.into_iter().collect()),
        issuer_and_subject: Arc::new(signatures),
        unlocked_at: None,
        unsealer: None,
    };
    let standing = Arc::new(RwLock::new(standing));
    let old = OldLedger {
        snapshot: start.map(|start| start.path),
        last: last_recovered,
        fingerprint: None,
        latest: None,
    };
    let writer = Writer::new(Arc::clone(&standing), Arc::clone(&node.store), Arc::clone(&node.status));
    let mut cluster = Cluster::start(&node.config, speaks_as, others, all, &writer)?;
    cluster.learn(&beginning.nodes);
    count_peers(node, &cluster);
    let no_thread = || Error::io("start", Path::new("the writer"));
    let (ledger, snapshots) = (&node.config.ledger.directory, &node.config.snapshots.directory);
    let disk = Files::new(Durability::Synced);
    let mut driver = Driver::new(node, core, standing, old, &writer, disk, (ledger, snapshots)).map_err(no_thread())?;
    let sealer = sealing.as_ref().and_then(LocalSealing::sealed_files);
    let sealer = sealer.map(|files| Sealer::start(files, Arc::clone(&node.status)));
    driver.sealer = sealer
        .transpose()
        .map_err(Error::io("start", Path::new("the sealer")))?;
    driver.cluster = Some(cluster);
    driver.keys = keys;
    driver.decryption = Some(decryption);
    driver.tell_of_others();
    node.files.keep();
    node.status.enter(match public_only {
        true => NodeState::PartOfPublicNetwork,
        false => NodeState::PartOfNetwork,
    });
    writing::start(driver, &writer).map_err(no_thread())?;
    let _ = node.writer.set(writer);
    Ok(())
}

/// Where the secret before this one is kept, as tables say it.
fn stored(known: &KnownSecret) -> Seqno {
    known.previous_stored.unwrap_or(known.from)
}

fn lacking(what: &str) -> Error {
    Error::Unreadable(format!(
        "this node is let in, but is given {what}: it can't take part in the service"
    ))
}
