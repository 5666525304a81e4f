//! Which service a transaction is of, and what later services said of its key, found without reading the whole ledger.
//!
//! A service's first transaction begins a chunk since 2.0, so the first entries of chunks tell; where they do not (1.x),
//! the ledger is read back from the transaction.

use crate::crypto::digest::Digest;
use crate::crypto::x509::Certificate;
use crate::format::Seqno;
use crate::format::chunk::{Step, Walker};
use crate::format::directory::{ChunkFile, LedgerFiles};
use crate::format::layout::Layout;
use crate::format::map::MappedFile;
use crate::recovery::receipts::chain::endorsed;
use crate::recovery::segments::Windows;
use crate::recovery::writes::{for_each_write, value_at};
use crate::tables::names;
use crate::tables::values::{IdentityEndorsement, ServiceInfo, from_json};

/// Recoveries followed back at most.
const MAX_SERVICES: usize = 1000;

/// A service in the ledger.
#[derive(Clone, Debug)]
pub struct Service {
    /// Seqno of the write that tells of it.
    pub seqno: Seqno,
    /// Its certificate there.
    pub certificate: Certificate,
}

/// What the first entry of a chunk says of the service.
fn in_first_entry(file: &ChunkFile) -> Option<Service> {
    let map = MappedFile::open(&file.path).ok()?;
    let layout = Layout::read(map.bytes()).ok()?;
    let mut walker = Walker::new(map.bytes(), layout, file.first);
    let Step::Entry(located) = walker.step(&mut Vec::new()) else {
        return None;
    };
    let mut found = None;
    for_each_write(&located, |table, value| {
        if table == names::SERVICE_INFO && located.seqno == file.first {
            found = service(file.first, value);
        }
    });
    found
}

fn service(seqno: Seqno, value: &[u8]) -> Option<Service> {
    let info: ServiceInfo = from_json(value).ok()?;
    let certificate = Certificate::from_pem(&info.cert).ok()?;
    Some(Service { seqno, certificate })
}

/// The services that first entries of chunks tell of, newest first, those after `until` left out.
pub fn by_chunks(files: &LedgerFiles, until: Seqno) -> impl Iterator<Item = Service> {
    let chunks = files.chunks.iter().rev().filter(move |chunk| chunk.use_from <= until);
    let whole = chunks.filter(|chunk| chunk.use_from == chunk.file.first);
    whole.filter_map(|chunk| in_first_entry(&chunk.file))
}

/// The newest write about a service up to `until`, read back from there.
pub fn by_reading(files: &LedgerFiles, until: Seqno) -> Option<Service> {
    let mut windows = Windows::newest_first(files, files.first_seqno(), until);
    while let Ok(Some(window)) = windows.next_window() {
        for segment in &window {
            let mut found = None;
            segment.for_each(|located| {
                if located.seqno > until {
                    return;
                }
                for_each_write(&located, |table, value| {
                    if table == names::SERVICE_INFO {
                        found = service(located.seqno, value).or(found.take());
                    }
                });
            });
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The service whose key `is_it` knows, among those up to `until`.
pub fn find(files: &LedgerFiles, until: Seqno, is_it: impl Fn(&Certificate) -> bool) -> Option<Service> {
    // Most often it is the last one before; an earlier one can't have signed later, so only that one is taken.
    let nearest = by_chunks(files, until).next();
    nearest
        .filter(|service| is_it(&service.certificate))
        .or_else(|| by_reading(files, until).filter(|service| is_it(&service.certificate)))
}

/// What the services of this ledger from the last one back to the one with this key said of each other's keys, newest first;
/// with the certificate of that last one. Empty where nothing leads to the key.
pub fn endorsements(files: &LedgerFiles, id: Digest) -> (Option<Service>, Vec<Vec<u8>>) {
    let mut next = Seqno::MAX;
    let mut last: Option<Service> = None;
    for service in by_chunks(files, Seqno::MAX).take(MAX_SERVICES) {
        if service.certificate.key_id() == id {
            return (last.or(Some(service)), Vec::new());
        }
        let begins = service.seqno;
        let newest = last.get_or_insert(service).clone();
        let Some((at, value)) = first_endorsement(files, begins, next.saturating_sub(1)) else {
            // A service that never opened, or that no later one vouches for.
            next = begins;
            last = None;
            continue;
        };
        let found = chain_back(files, (at, value), Some(id));
        return (Some(newest), found);
    }
    (last, Vec::new())
}

/// Every endorsement that the last service's leads back to, newest first.
pub fn all_endorsements(files: &LedgerFiles) -> Vec<Vec<u8>> {
    let mut next = Seqno::MAX;
    for service in by_chunks(files, Seqno::MAX).take(MAX_SERVICES) {
        if let Some(first) = first_endorsement(files, service.seqno, next.saturating_sub(1)) {
            return chain_back(files, first, None);
        }
        next = service.seqno;
    }
    Vec::new()
}

/// The first endorsement that is written in this range.
fn first_endorsement(files: &LedgerFiles, from: Seqno, until: Seqno) -> Option<(Seqno, IdentityEndorsement)> {
    let mut windows = Windows::new(files, from, until);
    while let Ok(Some(window)) = windows.next_window() {
        for segment in &window {
            let mut found = None;
            // Entries are many and openings few: each segment is walked until it is found.
            let mut walker = segment.walker();
            let mut faults = Vec::new();
            while segment.until.is_none_or(|end| walker.seqno() < end) && found.is_none() {
                match walker.step(&mut faults) {
                    Step::Entry(located) if (from..=until).contains(&located.seqno) => {
                        for_each_write(&located, |table, value| {
                            if table == names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT {
                                found = from_json(value).ok().map(|value| (located.seqno, value));
                            }
                        });
                    }
                    Step::Entry(_) | Step::Lost(_) => {}
                    Step::End => break,
                }
            }
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// From one endorsement back along the writes that each names, until one is of the key wanted; without one, to the end.
fn chain_back(files: &LedgerFiles, first: (Seqno, IdentityEndorsement), id: Option<Digest>) -> Vec<Vec<u8>> {
    let (mut at, mut value) = first;
    let mut list = Vec::new();
    while list.len() < MAX_SERVICES {
        let previous = value.previous_version.filter(|previous| *previous < at);
        // One of itself is passed over, or ill-formed, as where an election fell into a recovery.
        if let Some(endorsed) = endorsed(&value.endorsement.0) {
            list.push(value.endorsement.0);
            if Some(endorsed) == id {
                return list;
            }
        }
        let read = |seqno| from_json(&value_at(files, names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT, seqno)?).ok();
        let Some((before, earlier)) = previous.and_then(|seqno| Some((seqno, read(seqno)?))) else {
            break;
        };
        (at, value) = (before, earlier);
    }
    match id {
        None => list,
        Some(_) => Vec::new(),
    }
}
