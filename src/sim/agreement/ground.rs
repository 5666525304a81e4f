//! What lives of whole cores begin with, made once per process: a service that recovered the ledger of a dead one and opened,
//! in the life of one node; and keys for those who will join it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

use super::super::life::Life;
use super::super::of_error;
use super::super::recovery::Place;
use super::super::service::Service;
use super::super::world::World;
use super::peer::Record;
use crate::attestation::VirtualQuote;
use crate::channel::NodeId;
use crate::consensus::{Entry, NodesChange};
use crate::core::LastSigned;
use crate::crypto::x509::{self, CertificateRequest};
use crate::crypto::{AeadKey, random, sha256};
use crate::format::directory::LedgerFiles;
use crate::format::domain::WriteSet;
use crate::format::{Seqno, TxId};
use crate::journal::{SealKey, Signers};
use crate::kv::base::Base;
use crate::kv::store::{Committed, Frozen, Store};
use crate::merkle::Tree;
use crate::node::description::node_name;
use crate::node::directory::{end_ledger, set_aside_leftovers};
use crate::node::opening::InterruptedOpening;
use crate::node::public::{list, recover_public};
use crate::node::status::Status;
use crate::recovery::segments::Windows;
use crate::recovery::writes::Keys;
use crate::service::following;
use crate::service::identity::NodeIdentity;
use crate::tables::node_info::{NewNode, NodeRecord};
use crate::tables::{SINGLETON_KEY, names};

/// Nodes of a life, at most.
pub(super) const EVER: usize = 24;

/// A node that will join.
pub(super) struct Joiner {
    pub(super) id: NodeId,
    pub(super) signers: Signers,
    /// Its record while it is Pending.
    pub(super) pending: Vec<u8>,
    /// Its certificate, PEM.
    pub(super) endorsed: String,
}

/// The keys of the service, each from its first seqno on.
pub(super) struct Secrets(Vec<(Seqno, AeadKey)>);

impl Keys for Secrets {
    fn key_at(&self, seqno: Seqno) -> Option<&AeadKey> {
        let known = self.0.iter().rfind(|(from, _)| *from <= seqno);
        known.map(|(_, key)| key)
    }
}

/// A service that is open, of one node.
pub struct Founded {
    /// The dead service that it recovered.
    pub(super) which: usize,
    /// Its ledger's files.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    pub(super) ledger: PathBuf,
    /// Every entry.
    pub(super) raws: Vec<Bytes>,
    pub(super) records: Vec<Record>,
    pub(super) state: Committed,
    pub(super) tree: Tree,
    pub(super) view_history: Vec<Seqno>,
    pub(super) last: LastSigned,
    pub(super) signers: Signers,
    pub(super) newest: Arc<SealKey>,
    pub(super) secrets: Secrets,
    pub(super) joiners: Vec<Joiner>,
}

/// What is seldom another where the bytes are.
pub(super) fn payload(raw: &[u8]) -> u64 {
    let digest = sha256(raw);
    digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// An entry, as `state` after it tells who takes part.
pub(super) fn record(txid: TxId, raw: &[u8], writes: &WriteSet, state: &Frozen) -> Record {
    let signs = |table| writes.get(table, &SINGLETON_KEY).flatten().is_some();
    Record {
        entry: Entry {
            txid,
            is_signature: signs(names::SIGNATURES) || signs(names::COSE_SIGNATURES),
            nodes: change(writes, state),
        },
        payload: payload(raw),
    }
}

fn change(writes: &WriteSet, state: &Frozen) -> Option<NodesChange> {
    let mut change = NodesChange::default();
    let mut any = false;
    for (_, write) in writes.iter().filter(|(map, _)| *map == names::NODES_INFO) {
        any = true;
        let (Some(node), Some(record)) = (id_of(write.key), write.value.and_then(NodeRecord::read)) else {
            continue;
        };
        if record.is_retirement_committed() {
            change.retired_committed.insert(node);
        } else if record.is_retired() {
            change.retired.insert(node);
        }
    }
    change.trusted = trusted(state);
    any.then_some(change)
}

/// Who is Trusted.
pub(super) fn trusted(state: &Frozen) -> BTreeSet<NodeId> {
    let mut trusted = BTreeSet::new();
    state.for_each(names::NODES_INFO, |key, value| {
        if NodeRecord::read(value).is_some_and(|record| record.is_trusted()) {
            trusted.extend(id_of(key));
        }
    });
    trusted
}

fn id_of(key: &[u8]) -> Option<NodeId> {
    NodeId::from_key(key)
}

/// The same state once more.
pub(super) fn copy(base: &Base) -> Base {
    let mut copy = Base::new();
    for (map, _) in base.maps() {
        for live in base.iter(map) {
            copy.insert(map, live.key, live.version, Some(live.value));
        }
    }
    copy
}

impl Founded {
    /// The service that comes of a calm life of this seed.
    pub(super) fn of(world: &World, place: &Place, seed: u64) -> Result<Founded, String> {
        let mut life = Life::new(world, place, seed, false)?;
        let service = life.serve(true)?;
        place.put(&life.disk.durable())?;
        Founded::with(world, place, &service, (life.which, seed))
    }

    /// With what is in `place`, which `service` has written.
    fn with(world: &World, place: &Place, service: &Service, (which, seed): (usize, u64)) -> Result<Founded, String> {
        let files = list(&place.config, &InterruptedOpening::default()).map_err(of_error)?;
        let public = recover_public(&place.config, files, None, None, &Status::default()).map_err(of_error)?;
        let foundation = &public.foundation;
        set_aside_leftovers(&public.files, &place.ledger).map_err(of_error)?;
        end_ledger(&public.files, &place.ledger, foundation, false).map_err(of_error)?;
        let txid = foundation.signed.txid;
        let state = service.store.committed_at(txid.seqno);
        let state = state.ok_or("the service's state is not that of its last signature")?;
        let known = service.secrets.last().ok_or("the service has no secret")?;
        let secrets = service.secrets.iter().map(|known| (known.from, known.secret.aead()));
        let secrets = Secrets(secrets.collect());
        let signers = service.core.signers().clone();
        let raws = raws(place)?;
        let records = replay(&raws, &secrets)?;
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let joiners = (0..EVER).map(|_| joiner(world, place, &signers, service, &mut rng));
        let joiners = joiners.collect::<Result<Vec<_>, _>>()?;
        let mut files = place.take().map_err(of_error)?;
        files.retain(|(path, _)| path.starts_with(&place.ledger));
        Ok(Founded {
            which,
            files,
            ledger: place.ledger.clone(),
            records,
            raws,
            state,
            tree: foundation.tree.clone(),
            view_history: foundation.view_history.clone(),
            last: LastSigned {
                txid,
                root: foundation.signed.root.0,
            },
            newest: Arc::new(SealKey::new(&known.secret)),
            signers,
            secrets,
            joiners,
        })
    }
}

fn raws(place: &Place) -> Result<Vec<Bytes>, String> {
    let files = LedgerFiles::list(std::slice::from_ref(&place.ledger), true).map_err(of_error)?;
    let mut raws = Vec::new();
    let mut windows = Windows::new(&files, files.first_seqno(), Seqno::MAX);
    while let Some(window) = windows.next_window().map_err(of_error)? {
        for segment in &window {
            segment.for_each(|located| raws.push(Bytes::copy_from_slice(located.entry.raw)));
        }
    }
    Ok(raws)
}

fn replay(raws: &[Bytes], keys: &Secrets) -> Result<Vec<Record>, String> {
    let mut store = Store::new();
    let mut records = Vec::new();
    for raw in raws {
        let followed = following::check(raw, &store.freeze(), keys).map_err(of_error)?;
        store.apply(followed.txid.seqno, &followed.writes);
        store.take_private(followed.private);
        records.push(record(followed.txid, raw, &followed.writes, &store));
    }
    Ok(records)
}

fn joiner(
    world: &World,
    place: &Place,
    signers: &Signers,
    service: &Service,
    rng: &mut ChaCha20Rng,
) -> Result<Joiner, String> {
    let now_s = service.now.unix_s;
    let identity = NodeIdentity::generate_at(node_name(&place.config).map_err(of_error)?, now_s, rng);
    let identity = identity.map_err(of_error)?;
    let request = CertificateRequest::from_pem(&identity.request).map_err(of_error)?;
    let validity = identity.self_signed.validity().map_err(of_error)?;
    let serial = random::serial(rng);
    let of_service = (&service.identity.certificate, &service.identity.key);
    let endorsed = x509::issue_from_request(&request, of_service.0, of_service.1, validity, serial);
    let endorsed = endorsed.map_err(of_error)?;
    let quote = VirtualQuote::new(&sha256(b"simulated"), &identity.key.verifying_key().id());
    let evidence: crate::attestation::OwnEvidence = quote.into();
    let node = NewNode {
        certificate_signing_request: &identity.request,
        encryption_key: &world.node_encryption_key,
        public_key: &identity.key.verifying_key().spki_pem(),
        measurement: evidence.measurement(),
        quote_info: evidence.info(),
        address: "127.0.0.1:2",
        interfaces: &std::collections::BTreeMap::new(),
        data: None,
        will_seal: false,
    };
    Ok(Joiner {
        id: NodeId(identity.key.verifying_key().id()),
        pending: with_status(&node.to_json(), "Pending")?,
        signers: Signers {
            node: Arc::clone(&identity.key),
            node_certificate: endorsed.clone(),
            ..signers.clone()
        },
        endorsed: endorsed.to_pem(),
    })
}

/// A node's record with another status.
pub(super) fn with_status(record: &[u8], status: &str) -> Result<Vec<u8>, String> {
    let mut value: Value = serde_json::from_slice(record).map_err(of_error)?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("status".to_owned(), json!(status));
    }
    serde_json::to_vec(&value).map_err(of_error)
}

/// The grounds that lives stand on.
pub struct Grounds<'w> {
    pub(super) world: &'w World,
    pub(super) all: Vec<Arc<Founded>>,
}

impl<'w> Grounds<'w> {
    /// Makes them, in a directory of its own below `scratch`, out of dead services.
    ///
    /// # Errors
    /// In words, where a service does not come up.
    pub fn make(world: &'w World, scratch: &Path) -> Result<Grounds<'w>, String> {
        let place = Place::new(&scratch.join("ground"))?;
        let all = (0..GROUNDS).map(|seed| Founded::of(world, &place, seed).map(Arc::new));
        Ok(Grounds {
            world,
            all: all.collect::<Result<_, _>>()?,
        })
    }
}

const GROUNDS: u64 = 4;
