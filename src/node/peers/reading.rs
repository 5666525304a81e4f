//! Entries are read from the ledger's files on a thread of its own: nothing else waits for the disk.

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

/// Starts the thread. It ends when the sender of jobs is dropped.
pub(super) fn start(
    shelf: Shelf,
    done: impl Fn(Job, Result<Vec<u8>>) + Send + 'static,
) -> std::io::Result<(mpsc::Sender<Job>, JoinHandle<()>)> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new().name("shelf".to_owned()).spawn(move || {
        for job in queue {
            done(job, shelf.read(job.after, job.through, job.max_bytes));
        }
    })?;
    Ok((jobs, thread))
}

impl Sizes for Shelf {
    fn reach(&self, after: Seqno, at_most: Seqno, bytes: u64) -> Seqno {
        Shelf::reach(self, after, at_most, bytes)
    }
}
