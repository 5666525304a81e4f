//! Entries are read from the ledger's files on a thread of its own: nothing else waits for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::channel::NodeId;
use crate::consensus::Sizes;
use crate::error::Result;
use crate::format::Seqno;
use crate::journal::Shelf;

/// Entries that a node is to be sent.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) peer: NodeId,
    pub(super) after: Seqno,
    pub(super) through: Seqno,
    pub(super) ticket: u64,
    pub(super) max_bytes: usize,
}

/// What came of a job; an error in the thread, with what it has panicked with.
pub(super) type Outcome = std::thread::Result<(Job, Result<Vec<u8>>)>;

/// Starts the thread. It ends when the sender of jobs is dropped.
pub(super) fn start(
    shelf: Shelf,
    done: impl Fn(Outcome) + Send + 'static,
) -> std::io::Result<(mpsc::Sender<Job>, JoinHandle<()>)> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new().name("shelf".to_owned()).spawn(move || {
        for job in queue {
            let read = || (job, shelf.read(job.after, job.through, job.max_bytes));
            done(catch_unwind(AssertUnwindSafe(read)));
        }
    })?;
    Ok((jobs, thread))
}

impl Sizes for Shelf {
    fn reach(&self, after: Seqno, at_most: Seqno, bytes: u64) -> Seqno {
        Shelf::reach(self, after, at_most, bytes)
    }
}
