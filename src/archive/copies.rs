//! Ledgers verified while they are archived: side by side with the reading, so that the disk brings every byte once.
//!
//! The verification has threads of its own, and neither side gets further ahead of the other than the page cache holds. A
//! ledger whose files have the names and sizes of one archived before waits: where the digests of all its files turn out to be
//! the same, so is everything that verifying it would say.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::manifest::{File, LedgerCopy, Source, escape_below, full_name};
use super::survey::{Ledger, Surveyed};
use crate::error::{Error, Result};
use crate::format::directory::LedgerFiles;
use crate::recovery::join::Mode;
use crate::recovery::verify::{Options, VerifyReport, verify};
use crate::report::progress::Progress;
use crate::report::{Code, Severity, Verdict};

/// How far one side may be ahead: what any machine that keeps a ledger has free.
const AHEAD_BYTES: u64 = 256 << 20;
/// How long one side waits for the other to move. They count other bytes where files overlap: then each goes its own way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Keeps the reading and the verification of a source close to each other.
#[derive(Default)]
pub struct Gate {
    places: Mutex<Places>,
    moved: Condvar,
}

#[derive(Default)]
struct Places {
    read: u64,
    verified: u64,
    /// Nobody waits any more: one side is done, or they lost each other.
    open: bool,
}

impl Gate {
    /// A gate at which nobody waits.
    pub fn open() -> Gate {
        let gate = Gate::default();
        gate.release();
        gate
    }

    /// So many more bytes were read for the archive; waits for the verification.
    pub fn read(&self, bytes: u64) {
        let mut places = self.places();
        places.read += bytes;
        self.wait(places, |places| {
            places.read > places.verified.saturating_add(AHEAD_BYTES)
        });
    }

    /// So many more bytes were verified; waits for the reading.
    fn verified(&self, bytes: u64) {
        let mut places = self.places();
        places.verified += bytes;
        self.wait(places, |places| {
            places.verified > places.read.saturating_add(AHEAD_BYTES)
        });
    }

    /// One side is done: the other waits no more.
    pub fn release(&self) {
        self.places().open = true;
        self.moved.notify_all();
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, mut places: MutexGuard<'_, Places>, is_ahead: impl Fn(&Places) -> bool) {
        self.moved.notify_all();
        let mut seen = (places.read, places.verified);
        let mut since = Instant::now();
        while !places.open && is_ahead(&places) {
            let waited = self.moved.wait_timeout(places, PATIENCE);
            places = waited.unwrap_or_else(PoisonError::into_inner).0;
            let now = (places.read, places.verified);
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() >= PATIENCE {
                places.open = true;
                self.moved.notify_all();
            }
        }
    }
}

struct Behind<'a>(&'a Gate);

impl Progress for Behind<'_> {
    fn begin(&self, _phase: &str, _total_bytes: u64) {}

    fn advance(&self, bytes: u64, _entries: u64) {
        self.0.verified(bytes);
    }

    fn end(&self) {}
}

/// A ledger of a source, and what will be known of it.
pub struct Pending<'a> {
    surveyed: &'a Surveyed,
    ledger: &'a Ledger,
    /// Whether one archived before may be the same.
    waits: bool,
    report: Option<Result<VerifyReport>>,
}

/// The ledgers of a source, before it is read. `before` are the sources archived already.
pub fn pending<'a>(surveyed: &'a Surveyed, before: &[Source]) -> Vec<Pending<'a>> {
    let each = surveyed.ledgers.iter().map(|ledger| {
        let own = sizes(surveyed, ledger);
        let earlier = before
            .iter()
            .flat_map(|source| source.copies.iter().map(move |copy| (source, copy)));
        let may_be_the_same =
            |(source, copy): (&Source, &LedgerCopy)| copy.report.is_some() && sizes_of(source, copy) == own;
        Pending {
            surveyed,
            ledger,
            waits: earlier.into_iter().any(may_be_the_same),
            report: None,
        }
    });
    each.collect()
}

impl Pending<'_> {
    /// Verifies those that can't be the same as one before, beside the reading.
    pub fn verify_beside(all: &mut [Pending<'_>], mode: Mode, gate: &Gate) {
        for pending in all.iter_mut().filter(|pending| !pending.waits) {
            pending.report = Some(pending.verify(mode, gate));
        }
        gate.release();
    }

    fn verify(&self, mode: Mode, gate: &Gate) -> Result<VerifyReport> {
        let options = Options {
            mode: Some(mode),
            snapshot_directories: self.ledger.snapshots.clone(),
            ..Options::default()
        };
        let threads = rayon::current_num_threads();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|why| Error::Unreadable(format!("no threads can be started: {why}")))?;
        pool.install(|| {
            let files = LedgerFiles::list_any(&self.ledger.directories, false)?;
            let mut report = verify(&files, &options, &Behind(gate))?;
            // A directory of snapshots is given for them, and the ledger lies in another.
            let alone = report
                .findings
                .iter_mut()
                .filter(|finding| finding.code == Code::SnapshotAlone);
            alone.for_each(|finding| finding.severity = Severity::Info);
            report.verdict = Verdict::of(&report.findings);
            Ok(report)
        })
    }

    /// What is known once the source is read, the report of the same ledger before it included. Verifies what had to wait and
    /// is not the same after all.
    ///
    /// # Errors
    /// The ledger can't be read: the copy as it is without a report, and why.
    pub fn finish(self, own: &Source, before: &[Source], mode: Mode) -> (LedgerCopy, Option<Error>) {
        let root = &self.surveyed.root;
        let names = |paths: &[PathBuf]| paths.iter().map(|path| escape_below(root, path)).collect();
        let mut copy = LedgerCopy {
            directories: names(&self.ledger.directories),
            snapshots: names(&self.ledger.snapshots),
            same_as: None,
            report: None,
        };
        let digests = digests(own, &copy);
        let earlier = before
            .iter()
            .flat_map(|source| source.copies.iter().map(move |copy| (source, copy)));
        for (source, other) in earlier.filter(|_| self.waits) {
            if other.same_as.is_none() && other.report.is_some() && self::digests(source, other) == digests {
                let main = other.directories.first().or(other.snapshots.first());
                copy.same_as = Some(full_name(source, main.map_or("", String::as_str)));
                copy.report = other.report.clone();
                return (copy, None);
            }
        }
        let report = match self.report {
            Some(report) => report,
            None => self.verify(mode, &Gate::open()),
        };
        match report {
            Ok(report) => {
                copy.report = Some(report);
                (copy, None)
            }
            Err(why) => (copy, Some(why)),
        }
    }
}

/// Names and sizes of a ledger's files, folder by folder.
type Sizes = Vec<(usize, String, u64)>;

fn sizes(surveyed: &Surveyed, ledger: &Ledger) -> Sizes {
    let folders: Vec<&PathBuf> = ledger.directories.iter().chain(&ledger.snapshots).collect();
    let mut sizes: Sizes = Vec::new();
    for seen in &surveyed.files {
        for (i, _) in folders
            .iter()
            .enumerate()
            .filter(|(_, folder)| seen.path.parent() == Some(folder))
        {
            sizes.push((
                i,
                super::path::escape_part(seen.path.file_name().unwrap_or_default()),
                seen.size,
            ));
        }
    }
    sizes.sort();
    sizes
}

/// The files in a ledger's folders, with the number of the folder and their own name.
fn files<'a>(source: &'a Source, copy: &'a LedgerCopy) -> impl Iterator<Item = (usize, String, &'a File)> {
    let folders = copy.directories.iter().chain(&copy.snapshots).enumerate();
    folders.flat_map(move |(i, folder)| {
        source.files.iter().filter_map(move |file| {
            let path = Path::new(&file.path);
            let is_in = path.parent() == Some(Path::new(folder));
            is_in.then(|| {
                (
                    i,
                    path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    file,
                )
            })
        })
    })
}

fn sizes_of(source: &Source, copy: &LedgerCopy) -> Sizes {
    let mut sizes: Sizes = files(source, copy)
        .map(|(i, name, file)| (i, name, file.size))
        .collect();
    sizes.sort();
    sizes
}

fn digests(source: &Source, copy: &LedgerCopy) -> Vec<(usize, String, [u8; 32])> {
    let mut digests: Vec<_> = files(source, copy)
        .map(|(i, name, file)| (i, name, file.sha256.0))
        .collect();
    digests.sort();
    digests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_side_waits_for_one_that_does_not_move() {
        let gate = Gate::default();
        let began = Instant::now();
        gate.read(10 * AHEAD_BYTES);
        assert!(began.elapsed() < 4 * PATIENCE);
        gate.read(10 * AHEAD_BYTES);
        gate.verified(100 * AHEAD_BYTES);
        assert!(began.elapsed() < 4 * PATIENCE);
    }

    #[test]
    fn the_faster_side_stays_near_the_slower_one() {
        let gate = Gate::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    gate.read(AHEAD_BYTES / 10);
                }
                gate.release();
            });
            for _ in 0..100 {
                gate.verified(AHEAD_BYTES / 10);
                let places = gate.places();
                assert!(places.open || places.read + AHEAD_BYTES + AHEAD_BYTES / 10 >= places.verified);
            }
            gate.release();
        });
    }
}
