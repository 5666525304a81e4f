//! An entry of the node that leads, checked before it is taken over: that it is whole, that it says what it may at its place,
//! and that who signs may sign. Node-to-node specification, section 5.
//!
//! Whether it is of the view that is expected, and whether what it signs is the root of this node's own tree, the core says.

use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;

use crate::core::Followed;
use crate::crypto::cose::Sign1;
use crate::crypto::digest::{Digest, sha256_many};
use crate::crypto::x509::Certificate;
use crate::format::cursor::Cursor;
use crate::format::domain::{Maps, PublicHeader, Write, WriteSet, is_public};
use crate::format::entry::{Entry, leaf};
use crate::format::private::{Opened, PrivateWrites};
use crate::format::{Malformed, Seqno, TxId};
use crate::kv::store::Frozen;
use crate::merkle::tree::TreeView;
use crate::recovery::writes::Keys;
use crate::shown::line;
use crate::tables::values::{Base64, ServiceInfo, Signature, from_json};
use crate::tables::{SINGLETON_KEY, names};

/// Why an entry is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// It is no entry.
    #[error("it can't be read: {0}")]
    Unreadable(Malformed),
    /// More bytes than the entry has.
    #[error("it has {0} bytes after its end")]
    Longer(usize),
    /// Its nonce is that of a snapshot, which no ledger holds.
    #[error("its nonce is that of a snapshot")]
    Snapshot,
    /// Its nonce and its public domain are of two seqnos.
    #[error("its nonce is of seqno {nonce}, its public domain of {domain}")]
    TwoSeqnos {
        /// By the nonce.
        nonce: u64,
        /// By the public domain.
        domain: u64,
    },
    /// It is not the next entry.
    #[error("it is of seqno {found}, expected {expected}")]
    Place {
        /// Its own.
        found: Seqno,
        /// That of the next entry.
        expected: Seqno,
    },
    /// Its tag does not hold under the ledger secret of its seqno.
    #[error("its tag does not hold under the ledger secret in force at its seqno")]
    Tag,
    /// Its private domain writes a public table, or the other way round.
    #[error("it writes table {0} in the wrong domain")]
    Domain(String),
    /// A signature by nobody who may sign, or over something else.
    #[error("it is a signature that does not hold: {0}")]
    Signature(String),
}

/// Entries that are checked together, at most: what is read of them is in memory until the core has them.
const MAX_RUN: usize = 4096;
/// Entries that one thread reads and digests at a time.
const PIECE: usize = 64;
/// Threads that read and digest, at most.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from).min(8));
/// What any check, and the node itself, reads of the state is in tables whose names begin so.
const GOVERNS: &str = "public:ccf.";

/// Entries in a row that are checked against the same state.
pub struct Run {
    /// Those that are good. Only the last may write to a table that decides about those after it.
    pub entries: Vec<Followed>,
    /// The one after them, with the seqno that was expected, where it is not good: nothing more is to be taken of the frame.
    pub refused: Option<(Seqno, Misfit)>,
}

/// The entries of a frame, one run after the other.
pub struct Frame<'f> {
    whole: &'f Bytes,
    rest: &'f [u8],
    after: Seqno,
    next: Seqno,
    through: Seqno,
}

impl<'f> Frame<'f> {
    /// Those after `after` up to `through` of these bytes; what comes before them in there is skipped.
    pub fn new(bytes: &'f Bytes, after: Seqno, through: Seqno) -> Frame<'f> {
        Frame {
            whole: bytes,
            rest: bytes,
            after,
            next: after.saturating_add(1),
            through,
        }
    }

    /// Checks the next entries, the first of which comes after `state`; none where the last was checked. What is private is
    /// read where `keys` has its key.
    pub fn check_next(&mut self, state: &Frozen, keys: &dyn Keys) -> Option<Run> {
        let first = self.next;
        let mut read = Vec::new();
        let mut refused = None;
        while self.next <= self.through && read.len() < MAX_RUN {
            let seqno = self.next;
            let entry = match Entry::parse(self.rest) {
                Ok(entry) => entry,
                Err(why) => {
                    refused = Some((seqno, Misfit::Unreadable(why)));
                    break;
                }
            };
            self.rest = self.rest.get(entry.raw.len()..).unwrap_or_default();
            let found = entry.iv().seqno;
            // What this node has already comes first.
            if found <= self.after && seqno == self.after.saturating_add(1) {
                continue;
            }
            // What the last of a run means is believed once an entry of its seqno is written: there must be one such.
            if found != seqno {
                let expected = seqno;
                refused = Some((seqno, Misfit::Place { found, expected }));
                break;
            }
            self.next = seqno.saturating_add(1);
            match Read::public(entry) {
                Ok(entry) => {
                    let governs = entry.writes.maps().any(|map| map.starts_with(GOVERNS));
                    read.push(entry);
                    if governs {
                        break;
                    }
                }
                Err(why) => {
                    refused = Some((seqno, why));
                    break;
                }
            }
        }
        let (entries, misfit) = finish(read, self.whole, state, keys);
        let refused = misfit
            .map(|why| (first.saturating_add(entries.len() as u64), why))
            .or(refused);
        let is_over = entries.is_empty() && refused.is_none();
        (!is_over).then_some(Run { entries, refused })
    }
}

/// An entry of which some is read.
struct Read<'e> {
    entry: Entry<'e>,
    header: PublicHeader<'e>,
    writes: WriteSet,
    leaf: Digest,
    private: PrivateWrites,
    /// What is wrong with its private part.
    misfit: Option<Misfit>,
}

impl<'e> Read<'e> {
    /// Reads what is public.
    fn public(entry: Entry<'e>) -> Result<Read<'e>, Misfit> {
        let mut cursor = Cursor::new(entry.public);
        let header = PublicHeader::read(&mut cursor).map_err(Misfit::Unreadable)?;
        let iv = entry.iv();
        if iv.snapshot {
            return Err(Misfit::Snapshot);
        }
        if header.seqno != iv.seqno {
            return Err(Misfit::TwoSeqnos {
                nonce: iv.seqno,
                domain: header.seqno,
            });
        }
        let mut writes = WriteSet::new();
        collect(Maps::new(cursor), true, &mut writes)?;
        Ok(Read {
            entry,
            header,
            writes,
            leaf: [0; 32],
            private: PrivateWrites::default(),
            misfit: None,
        })
    }

    /// Opens what is private, where its key is known, to the end of `opened`, and answers where it lies there.
    fn open(&self, keys: &dyn Keys, opened: &mut Vec<u8>) -> Result<Range<usize>, Misfit> {
        let entry = &self.entry;
        let start = opened.len();
        let Some(key) = keys.key_at(entry.iv().seqno) else {
            return Ok(start..start);
        };
        key.open_after(entry.iv_bytes, entry.public, entry.tag, entry.private, opened)
            .map_err(|_| Misfit::Tag)?;
        let domain = opened.get(start..).unwrap_or_default();
        each_of(Maps::private(domain), false, |_, _| ())?;
        Ok(start..opened.len())
    }

    /// `whole` is what the entry was read in.
    fn followed(self, whole: &Bytes, state: &Frozen) -> Result<Followed, Misfit> {
        if let Some(misfit) = self.misfit {
            return Err(misfit);
        }
        let txid = txid(&self.entry);
        Ok(Followed {
            txid,
            signs: signed_root(txid, &self.writes, state)?,
            leaf: self.leaf,
            flags: self.entry.flags,
            writes: self.writes,
            private: self.private,
            raw: whole.slice_ref(self.entry.raw),
            rekey: None,
        })
    }
}

/// Reads what is private, and digests, on every processor; answers the entries up to the first that is not good, and what is
/// wrong with that one.
fn finish(mut read: Vec<Read<'_>>, whole: &Bytes, state: &Frozen, keys: &dyn Keys) -> (Vec<Followed>, Option<Misfit>) {
    in_pieces(&mut read, |piece| {
        open_all(piece, keys);
        // Together they are digested several times faster than one by one.
        let raws: Vec<&[u8]> = piece.iter().map(|read| read.entry.raw).collect();
        let mut digests = Vec::with_capacity(raws.len());
        sha256_many(&raws, &mut digests);
        for (entry, digest) in piece.iter_mut().zip(digests) {
            let header = &entry.header;
            entry.leaf = leaf(&digest, header.commit_evidence_digest, header.claims_digest);
        }
    });
    let mut entries = Vec::with_capacity(read.len());
    for entry in read {
        match entry.followed(whole, state) {
            Ok(entry) => entries.push(entry),
            Err(misfit) => return (entries, Some(misfit)),
        }
    }
    (entries, None)
}

/// Opens what is private, all of it into one buffer: a value of its own for each key would cost more than all else.
fn open_all(piece: &mut [Read<'_>], keys: &dyn Keys) {
    let has_key = |read: &&Read<'_>| keys.key_at(read.entry.iv().seqno).is_some();
    let sizes = piece.iter().filter(has_key).map(|read| read.entry.private.len());
    // With room for all, so that it is never moved, which would leave a copy.
    let mut opened = Opened::with_capacity(sizes.sum());
    let opened_at: Vec<_> = piece.iter().map(|read| read.open(keys, opened.bytes())).collect();
    let shared = Arc::new(opened);
    for (read, at) in piece.iter_mut().zip(opened_at) {
        match at {
            Ok(at) => read.private = PrivateWrites::new(&shared, at),
            Err(misfit) => read.misfit = Some(misfit),
        }
    }
}

/// Has `work` done on every piece of `items`, by as many threads as there are processors. Not on those of the process: they may be
/// busy with a whole ledger, and other nodes wait for an answer.
fn in_pieces<T: Send>(items: &mut [T], work: impl Fn(&mut [T]) + Sync) {
    let others = PROCESSORS.min(items.len().div_ceil(PIECE)).saturating_sub(1);
    let pieces = Mutex::new(items.chunks_mut(PIECE));
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    let help = || {
        while let Some(piece) = next() {
            work(piece);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..others {
            // Where the machine has no thread to give, this one does it all.
            let helper = std::thread::Builder::new().name("checks".to_owned());
            let _ = helper.spawn_scoped(scope, help);
        }
        help();
    });
}

/// Checks an entry that comes after `state`. What is private is read where `keys` has its key.
///
/// # Errors
/// [`Misfit`].
pub fn check(raw: &[u8], state: &Frozen, keys: &dyn Keys) -> Result<Followed, Misfit> {
    let whole = Bytes::copy_from_slice(raw);
    let entry = Entry::parse(&whole).map_err(Misfit::Unreadable)?;
    if entry.raw.len() != raw.len() {
        return Err(Misfit::Longer(raw.len() - entry.raw.len()));
    }
    match finish(vec![Read::public(entry)?], &whole, state, keys) {
        (_, Some(misfit)) => Err(misfit),
        (mut entries, None) => match entries.pop() {
            Some(followed) => Ok(followed),
            None => unreachable!("one was read"),
        },
    }
}

fn txid(entry: &Entry<'_>) -> TxId {
    let iv = entry.iv();
    TxId {
        view: iv.view,
        seqno: iv.seqno,
    }
}

fn collect(maps: Maps<'_>, public: bool, writes: &mut WriteSet) -> Result<(), Misfit> {
    each_of(maps, public, |map, Write { key, value }| match value {
        Some(value) => writes.put(map, key, value),
        None => writes.remove(map, key),
    })
}

/// Hands every write of a domain to `each`, all of which must belong there.
fn each_of<'a>(maps: Maps<'a>, public: bool, mut each: impl FnMut(&'a str, Write<'a>)) -> Result<(), Misfit> {
    let mut elsewhere = None;
    let read = maps.for_each(|map, write| {
        if is_public(map) != public {
            elsewhere.get_or_insert_with(|| map.to_owned());
        }
        each(map, write);
    });
    read.map_err(Misfit::Unreadable)?;
    match elsewhere {
        Some(map) => Err(Misfit::Domain(line(&map).to_string())),
        None => Ok(()),
    }
}

/// The root that a signature transaction signs, if it is one: by a node that this service has endorsed, and where it has signed
/// too, by the service.
fn signed_root(txid: TxId, writes: &WriteSet, state: &Frozen) -> Result<Option<Digest>, Misfit> {
    let fault = |why: String| Misfit::Signature(why);
    let value = |map| writes.get(map, &SINGLETON_KEY).flatten();
    let cose = value(names::COSE_SIGNATURES);
    let by_node = value(names::SIGNATURES);
    let root = match (by_node, cose) {
        (None, None) => return Ok(None),
        (Some(by_node), _) => signed_by_node(txid, by_node, state)?,
        // Since 7.0 nobody else signs, and the root is that of the tree in it.
        (None, Some(_)) => {
            let tree = value(names::TREE).ok_or_else(|| fault("it holds no tree".to_owned()))?;
            let tree = TreeView::parse(tree).map_err(|why| fault(format!("its tree can't be read: {why}")))?;
            tree.root().ok_or_else(|| fault("its tree has no root".to_owned()))?
        }
    };
    if let Some(cose) = cose {
        verify_service(txid, cose, &root, state).map_err(|why| fault(format!("the service's {why}")))?;
    }
    Ok(Some(root))
}

/// The root that the node's signature is over.
fn signed_by_node(txid: TxId, value: &[u8], state: &Frozen) -> Result<Digest, Misfit> {
    let fault = |why: String| Misfit::Signature(why);
    let signature: Signature = from_json(value).map_err(|why| fault(format!("the node's can't be read: {why}")))?;
    let named = TxId {
        view: signature.view,
        seqno: signature.seqno,
    };
    if named != txid {
        return Err(fault(format!("the node's is for {named}")));
    }
    let id = hex::encode(signature.node.0);
    let certificate = state.get(names::NODES_ENDORSED_CERTIFICATES, id.as_bytes());
    let Some((_, certificate)) = certificate else {
        return Err(fault(format!("by node {id}, which has no endorsed certificate")));
    };
    let certificate =
        certificate_of(certificate).map_err(|why| fault(format!("the certificate of node {id}: {why}")))?;
    if certificate.key_id() != signature.node.0 {
        return Err(fault(format!("the certificate of node {id} has another key")));
    }
    let root = signature.root.0;
    let holds = certificate.key().verify_prehashed_der(&root, &signature.sig.0);
    holds.map_err(|_| fault(format!("the node's does not verify with the key of node {id}")))?;
    Ok(root)
}

fn verify_service(txid: TxId, value: &[u8], root: &Digest, state: &Frozen) -> Result<(), String> {
    let info = state.get(names::SERVICE_INFO, &SINGLETON_KEY);
    let info: Option<ServiceInfo> = info.and_then(|(_, value)| from_json(value).ok());
    let info = info.ok_or("has no service whose key is known")?;
    let service = certificate_of(info.cert.as_bytes()).map_err(|why| format!("certificate: {why}"))?;
    let message: Base64 = from_json(value).map_err(|why| format!("can't be read: {why}"))?;
    let message = Sign1::parse(&message.0).map_err(|why| format!("can't be read: {why}"))?;
    let holds = message.verify(service.key(), Some(root));
    holds.map_err(|why| format!("does not verify: {why}"))?;
    match message.txid() {
        Some(found) if found != txid.to_string() => Err(format!("is for another transaction, expected {txid}")),
        _ => Ok(()),
    }
}

fn certificate_of(pem: &[u8]) -> Result<Certificate, String> {
    let text = std::str::from_utf8(pem).map_err(|_| "it is no text".to_owned())?;
    Certificate::from_pem(text).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests;
