//! What a recovery builds on: everything that is known at the last proven signature.
//!
//! `Gathered` is filled while segments are joined; [`Foundation`] is what a new service continues from. Recovery
//! specification, sections 2.4 and 2.5.

use std::path::PathBuf;

use super::fingerprint::Fingerprint;
use super::join::{Joiner, SignedRoot};
use super::reading::{for_each_entry, read_tree};
use super::segments::Windows;
use super::seqno_set::SeqnoSet;
use super::snapshots::Start;
use super::writes::is_signature;
use crate::crypto::Certificate;
use crate::crypto::cose::Sign1;
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::cursor::Cursor;
use crate::format::directory::LedgerFiles;
use crate::format::domain::{Maps, PublicHeader};
use crate::format::entry::Entry;
use crate::format::map::MappedFile;
use crate::merkle::tree::TreeView;
use crate::merkle::{Accumulator, Tree};
use crate::tables::names;
use crate::tables::values::{HistoricalSecret, Signature, from_json};

/// The state of a ledger at its last proven signature.
#[derive(Clone, Debug)]
pub struct Foundation {
    /// The signature.
    pub signed: SignedRoot,
    /// All leaves up to and including that transaction's.
    pub tree: Tree,
    /// First seqno of each view, from view 1 on.
    pub view_history: Vec<Seqno>,
    /// Every write of the historical secrets up to there, in order (where the reading began after a snapshot: the
    /// one in it, and those after it).
    pub historical: Vec<(Seqno, HistoricalSecret)>,
    /// Of the entries that were read, up to the one before the signature.
    pub fingerprint: Fingerprint,
    /// The entries that write to public tables: in all others there is nothing to load.
    pub written: SeqnoSet,
    /// COSE issuer and subject of the signature; empty where it has none.
    pub issuer_and_subject: (String, String),
    /// The file that holds the signature; none where only a snapshot does.
    pub chunk: Option<PathBuf>,
    /// Where its entry ends there.
    pub end_offset: u64,
    /// The last signature transaction that was read at all, proven or not.
    pub last_signature_read: Seqno,
}

impl Foundation {
    /// What there is at the signature that `start`, a snapshot, is of: where nothing after it is proven, its tree is all
    /// that a new service needs. `None` if the ledger holds another transaction there.
    pub(super) fn at_snapshot(joiner: &Joiner<'_>, start: &Start) -> Option<Foundation> {
        let seqno = start.seqno;
        let mut found = None;
        for_each_entry(joiner.files, seqno, seqno, |chunk, located| {
            let end_offset = located.offset + located.entry.raw.len() as u64;
            found = Some((joiner.path(chunk).to_owned(), end_offset, leaf_of(&located.entry)));
        })
        .ok()?;
        let (chunk, end_offset) = match found {
            Some((_, _, leaf)) if leaf != Some(start.leaf) => return None,
            Some((chunk, end_offset, _)) => (Some(chunk), end_offset),
            None => (None, 0),
        };
        let gathered = &joiner.gathered;
        Some(Foundation {
            signed: start.signed,
            tree: Tree::continuing(start.accumulator.clone(), Vec::new()),
            view_history: up_to(&gathered.view_history, |first| *first, seqno),
            historical: up_to(&gathered.historical, |(written, _)| *written, seqno),
            fingerprint: Fingerprint::default(),
            written: SeqnoSet::default(),
            issuer_and_subject: start.issuer_and_subject.clone(),
            chunk,
            end_offset,
            last_signature_read: joiner.last_signature.map_or(seqno, |last| last.seqno),
        })
    }

    /// What `joiner` knows at the last signature it found proven; `None` if that is nothing, or if its tree can't be
    /// had: that signature's own is damaged, and entries after it were read.
    pub(super) fn of(joiner: &Joiner<'_>) -> Option<Foundation> {
        let signed = joiner.proven()?;
        let seqno = signed.txid.seqno;
        let proven = joiner.gathered.proven.iter().rfind(|proven| proven.seqno == seqno)?;
        let path = &joiner.files.chunks.get(proven.chunk_index)?.file.path;
        let map = MappedFile::open(path).ok()?;
        let offset = usize::try_from(proven.offset).ok()?;
        let entry = Entry::parse(map.bytes().get(offset..)?).ok()?;
        let leaf = leaf_of(&entry)?;
        let own_tree = read_tree(joiner.files, proven.chunk_index, proven.offset)
            .and_then(|bytes| TreeView::parse(&bytes).ok()?.accumulator(seqno))
            .filter(|accumulator| accumulator.root() == signed.root.0);
        let tree = match own_tree {
            Some(accumulator) => Tree::continuing(accumulator, vec![leaf]),
            None => Tree::continuing(whole(joiner, seqno)?, Vec::new()),
        };
        let gathered = &joiner.gathered;
        let message = proven.cose.as_deref().and_then(|message| Sign1::parse(message).ok());
        let claim = |claim: Option<&str>| claim.unwrap_or_default().to_owned();
        Some(Foundation {
            signed,
            tree,
            view_history: up_to(&gathered.view_history, |first| *first, seqno),
            historical: up_to(&gathered.historical, |(written, _)| *written, seqno),
            fingerprint: proven.fingerprint,
            written: gathered.written.clone().with(seqno),
            issuer_and_subject: message.map_or_else(Default::default, |message| {
                (claim(message.issuer()), claim(message.subject()))
            }),
            chunk: Some(path.clone()),
            end_offset: proven.offset + entry.raw.len() as u64,
            last_signature_read: joiner.last_signature.map_or(seqno, |last| last.seqno),
        })
    }
}

fn up_to<T: Clone>(items: &[T], seqno_of: impl Fn(&T) -> Seqno, last: Seqno) -> Vec<T> {
    items.iter().filter(|item| seqno_of(item) <= last).cloned().collect()
}

/// The state after everything read, if that ends with `seqno`.
fn whole(joiner: &Joiner<'_>, seqno: Seqno) -> Option<Accumulator> {
    joiner.accumulator.clone().filter(|all| all.leaves() == seqno + 1)
}

/// The certificate of the node that signed last up to `until`, as its signature transaction has it. Found from the ledger's end, so
/// within milliseconds; nothing is verified. `None` where there is none: 1.x wrote none, nor does COSE alone.
///
/// # Errors
/// If a chunk can't be read.
pub fn last_signing_certificate(files: &LedgerFiles, until: Seqno) -> Result<Option<Certificate>> {
    let mut windows = Windows::newest_first(files, files.first_seqno(), until);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            let mut last = None;
            segment.for_each(|located| {
                if is_signature(&located) {
                    last = Some(located.maps());
                }
            });
            if let Some(maps) = last {
                return Ok(certificate_in(maps));
            }
        }
    }
    Ok(None)
}

fn certificate_in(mut maps: Maps<'_>) -> Option<Certificate> {
    let mut certificate = None;
    while let Some(table) = maps.next_name().ok()? {
        maps.writes(|write| {
            if table == names::SIGNATURES
                && let Some(Ok(signature)) = write.value.map(from_json::<Signature>)
            {
                certificate = signature.cert.and_then(|pem| Certificate::from_pem(&pem).ok());
            }
        })
        .ok()?;
    }
    certificate
}

/// The Merkle leaf of an entry (format specification, section 4).
pub fn leaf_of(entry: &Entry<'_>) -> Option<Digest> {
    let public = PublicHeader::read(&mut Cursor::new(entry.public)).ok()?;
    Some(entry.leaf(&public))
}
