//! What the core wants of the disk, done on a thread of its own, in order: however long the disk takes, the writer goes on
//! making entries, and other nodes hear of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::core::{Event, Failure};
use crate::error::Error;
use crate::format::Seqno;
use crate::journal::disk::Files;
use crate::journal::files::{ChunkFiles, Operation};
use crate::journal::snapshot::{SnapshotFiles, Written};
use crate::shown::Show;

/// One thing to be done.
pub(super) enum Job {
    /// The ledger's files are to change. Answered with [`Event::Done`] or [`Event::Failed`].
    Perform(Operation),
    /// A snapshot is written on yet another thread: to a file that what was given before has named or removed by then.
    Draft {
        seqno: Seqno,
        write: Box<dyn FnOnce() + Send>,
    },
    /// A snapshot that was written gets its name.
    Name {
        seqno: Seqno,
        evidence_seqno: Seqno,
        written: Written,
    },
    /// A snapshot gets its receipt, and its committed name.
    Prove {
        seqno: Seqno,
        evidence_seqno: Seqno,
        receipt: Vec<u8>,
    },
    /// A snapshot is removed.
    GiveUp {
        seqno: Seqno,
        evidence_seqno: Option<Seqno>,
    },
}

/// What the thread says.
pub(super) enum Word {
    /// Something came of a job.
    Came(Event),
    /// The thread has panicked, with this.
    Panicked(Box<dyn Any + Send>),
}

/// The thread. Where it is dropped, what it was given is still done, and nobody waits for it.
pub(super) struct Disk {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread, which works on the files of `ledger` and `snapshots` and says to `hear` what came of it.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(
        disk: Files,
        (ledger, snapshots): (&Path, &Path),
        hear: impl Fn(Word) + Send + 'static,
    ) -> std::io::Result<Disk> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let mut worker = Worker {
            files: ChunkFiles::new(disk, ledger),
            snapshots: SnapshotFiles::new(disk, snapshots),
        };
        let thread = std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
            for job in queue {
                match catch_unwind(AssertUnwindSafe(|| worker.carry_out(job))) {
                    Ok(Some(event)) => hear(Word::Came(event)),
                    Ok(None) => {}
                    Err(why) => return hear(Word::Panicked(why)),
                }
            }
        })?;
        Ok(Disk {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has this done after everything that it was given before.
    pub(super) fn give(&self, job: Job) {
        // Where the thread has panicked, that was said, and ends the node.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }

    /// Waits until everything is done that it was given.
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    files: ChunkFiles<Files>,
    snapshots: SnapshotFiles<Files>,
}

impl Worker {
    fn carry_out(&mut self, job: Job) -> Option<Event> {
        match job {
            Job::Perform(operation) => Some(match self.files.perform(&operation) {
                Ok(()) => Event::Done,
                Err(why) => Event::Failed(Failure::from(&why)),
            }),
            Job::Draft { seqno, write } => {
                let spawned = std::thread::Builder::new().name("snapshot".to_owned()).spawn(write);
                spawned.err().map(|why| {
                    tracing::error!("a snapshot could not be written, another is made: no thread for it: {why}");
                    Event::SnapshotFailed { seqno }
                })
            }
            Job::Name {
                seqno,
                evidence_seqno,
                written,
            } => match self.snapshots.name(seqno, evidence_seqno, written) {
                Ok(()) => {
                    tracing::info!(seqno, "snapshot made, its evidence waits for a signature");
                    None
                }
                Err(why) => Some(self.not_kept(seqno, evidence_seqno, &why)),
            },
            Job::Prove {
                seqno,
                evidence_seqno,
                receipt,
            } => match self.snapshots.prove(seqno, evidence_seqno, &receipt) {
                Ok(path) => {
                    tracing::info!(path = %path.shown(), "snapshot committed");
                    None
                }
                Err(why) => Some(self.not_kept(seqno, evidence_seqno, &why)),
            },
            Job::GiveUp { seqno, evidence_seqno } => {
                self.snapshots.give_up(seqno, evidence_seqno);
                None
            }
        }
    }

    fn not_kept(&mut self, seqno: Seqno, evidence_seqno: Seqno, why: &Error) -> Event {
        tracing::error!("a snapshot could not be kept, another is made: {why}");
        self.snapshots.give_up(seqno, Some(evidence_seqno));
        Event::SnapshotFailed { seqno }
    }
}

/// Where a snapshot is written before it has a name.
pub(super) fn draft_path(disk: Files, snapshots: &Path) -> PathBuf {
    SnapshotFiles::new(disk, snapshots).draft_path()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::journal::disk::Durability;

    #[test]
    fn what_was_given_is_done_in_order_before_the_end_and_a_panic_is_said_and_is_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("ledger");
        std::fs::create_dir(&ledger).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let files = Files::new(Durability::Synced);
        let mut disk = Disk::start(files, (&ledger, directory.path()), move |word| {
            hears.lock().unwrap().push(match word {
                Word::Came(Event::Done) => "done",
                Word::Came(_) => "else",
                Word::Panicked(_) => "panicked",
            });
        })
        .unwrap();
        let create = Operation::Create {
            chunk: 1,
            recovering: false,
        };
        let write = Operation::Write {
            chunk: 1,
            offset: 8,
            entries: vec![Bytes::copy_from_slice(&[7; 1000]); 100],
        };
        for operation in [
            create,
            write,
            Operation::Sync { chunk: 1 },
            Operation::Sync { chunk: 9 },
        ] {
            disk.give(Job::Perform(operation));
        }
        disk.finish();
        assert_eq!(*heard.lock().unwrap(), ["done", "done", "done", "panicked"]);
        assert_eq!(ledger.join("ledger_1").metadata().unwrap().len(), 8 + 100_000);
    }
}
