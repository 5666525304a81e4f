//! Operations of the ledger's files: one under way at a time, in order, and again where they failed.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::chunks::Place;
use super::event::Failure;
use crate::format::Seqno;
use crate::journal::files::{Operation, Synced};

/// How long a failed operation rests before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Attempts to bring the same bytes or names to a disk that refuses them for reasons that nothing is waited for.
const MAX_SYNCS: u32 = 20;
/// Bytes of entries that are given to the disk at once, where more wait.
const MAX_WRITE: usize = 4 << 20;
/// A sync is put off, so that it does what a later one would, while no more bytes than this are not durable.
const MAX_PUT_OFF: u64 = 16 << 20;

/// An entry that is not durable yet.
struct Kept {
    seqno: Seqno,
    chunk: Seqno,
    offset: u64,
    bytes: Bytes,
}

/// What waits for the disk.
enum Queued {
    /// The entry of this seqno, which is among those kept.
    Entry(Seqno),
    /// Anything else; `through` is the last seqno placed before it.
    Other { operation: Operation, through: Seqno },
}

/// What is under way.
struct UnderWay {
    operation: Operation,
    /// Last seqno that is written, or synced, once it is done.
    through: Seqno,
}

/// What became of an operation.
pub(super) enum Progress {
    /// Entries up to this seqno are in their files.
    Written(Seqno),
    /// Entries up to this seqno are durable.
    Durable(Seqno),
    /// The files of a recovered service have their names.
    Named,
    /// Something that nobody waits for.
    Other,
}

/// The queue of a ledger's files.
#[derive(Default)]
pub(super) struct Operations {
    queue: VecDeque<Queued>,
    under_way: Option<UnderWay>,
    /// Entries that are not durable, in order.
    kept: VecDeque<Kept>,
    kept_bytes: u64,
    /// Entries up to here are in their files.
    written: Seqno,
    failures: u32,
    failed_syncs: u32,
    retry_at: Option<Duration>,
}

impl Operations {
    /// A queue after a ledger that ends at `last`.
    pub(super) fn after(last: Seqno) -> Operations {
        Operations {
            written: last,
            ..Operations::default()
        }
    }

    /// Bytes of entries that are not durable.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.under_way.is_none()
    }

    /// Whether everything up to `seqno` is in its file.
    pub(super) fn has_written(&self, seqno: Seqno) -> bool {
        seqno <= self.written
    }

    /// When a failed operation is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// An entry was sealed and has its place.
    pub(super) fn write(&mut self, seqno: Seqno, place: Place, bytes: Bytes) {
        if place.is_first {
            let (chunk, recovering) = (place.chunk, place.recovering);
            self.push(Operation::Create { chunk, recovering }, seqno);
        }
        self.kept_bytes += bytes.len() as u64;
        self.kept.push_back(Kept {
            seqno,
            chunk: place.chunk,
            offset: place.offset,
            bytes,
        });
        self.queue.push_back(Queued::Entry(seqno));
    }

    /// Something is to be done after everything that waits; `through` is the last seqno that it is about.
    pub(super) fn push(&mut self, operation: Operation, through: Seqno) {
        self.queue.push_back(Queued::Other { operation, through });
    }

    /// What is written to a chunk up to `through` is to be made durable. One sync does what several would that still wait; where
    /// much waits, the first of them stays where it is: what goes on coming must not put it off for ever.
    pub(super) fn sync(&mut self, chunk: Seqno, through: Seqno) {
        let mut stays = self.kept_bytes > MAX_PUT_OFF;
        self.queue
            .retain(|queued| !is_sync_of(queued, chunk) || std::mem::take(&mut stays));
        self.push(Operation::Sync { chunk }, through);
    }

    /// Something is to be done before everything that waits.
    pub(super) fn push_front(&mut self, operation: Operation, through: Seqno) {
        self.queue.push_front(Queued::Other { operation, through });
    }

    /// A chunk is completed before everything that waits. It is durable, so no sync of it is waited for any more: the file is
    /// not open after its completion.
    pub(super) fn complete(&mut self, completion: Operation, through: Seqno) {
        if let Operation::Complete { chunk: completed, .. } = &completion {
            self.queue.retain(|queued| !is_sync_of(queued, *completed));
        }
        self.push_front(completion, through);
    }

    /// The next operation, if there is one and none is under way.
    pub(super) fn next(&mut self, now: Duration) -> Option<Operation> {
        if let Some(at) = self.retry_at {
            if now < at {
                return None;
            }
            self.retry_at = None;
            if let Some(under_way) = &self.under_way {
                return Some(under_way.operation.clone());
            }
        }
        if self.under_way.is_some() {
            return None;
        }
        let under_way = match self.queue.pop_front()? {
            Queued::Other { operation, through } => UnderWay { operation, through },
            Queued::Entry(seqno) => self.collect(seqno),
        };
        let operation = under_way.operation.clone();
        self.under_way = Some(under_way);
        Some(operation)
    }

    /// The entry of `seqno` and those that wait right after it, as one operation.
    fn collect(&mut self, seqno: Seqno) -> UnderWay {
        let Some(first) = self.kept(seqno) else {
            unreachable!("an entry is kept until it is durable, and so until it is written");
        };
        let (chunk, offset) = (first.chunk, first.offset);
        let mut entries = vec![first.bytes.clone()];
        let mut size = first.bytes.len();
        let mut through = seqno;
        while size < MAX_WRITE
            && let Some(Queued::Entry(next)) = self.queue.front()
            && let Some(kept) = self.kept(*next).filter(|kept| kept.chunk == chunk)
        {
            size += kept.bytes.len();
            through = kept.seqno;
            entries.push(kept.bytes.clone());
            self.queue.pop_front();
        }
        let operation = Operation::Write { chunk, offset, entries };
        UnderWay { operation, through }
    }

    /// The bytes of an entry that is not durable yet.
    pub(super) fn bytes_of(&self, seqno: Seqno) -> Option<&Bytes> {
        self.kept(seqno).map(|kept| &kept.bytes)
    }

    fn kept(&self, seqno: Seqno) -> Option<&Kept> {
        let first = self.kept.front()?.seqno;
        self.kept.get(usize::try_from(seqno.checked_sub(first)?).ok()?)
    }

    /// What was under way has succeeded.
    pub(super) fn done(&mut self) -> Progress {
        let Some(UnderWay { operation, through }) = self.under_way.take() else {
            unreachable!("a driver answers what it was asked to do");
        };
        self.failures = 0;
        if operation.syncs().is_some() {
            self.failed_syncs = 0;
        }
        match operation {
            Operation::Write { .. } => {
                self.written = self.written.max(through);
                Progress::Written(through)
            }
            Operation::Sync { .. } => {
                assert!(through <= self.written, "what is synced was written before");
                self.forget_kept(through);
                Progress::Durable(through)
            }
            Operation::NameRecovered => Progress::Named,
            Operation::Create { .. }
            | Operation::Complete { .. }
            | Operation::Cut { .. }
            | Operation::Remove { .. } => Progress::Other,
        }
    }

    fn forget_kept(&mut self, through: Seqno) {
        while let Some(kept) = self.kept.pop_front_if(|kept| kept.seqno <= through) {
            self.kept_bytes -= kept.bytes.len() as u64;
        }
    }

    /// What was under way has failed: it is tried again. A sync that failed says nothing about any byte since the last that
    /// succeeded, so they are written again before the next.
    ///
    /// # Errors
    /// If it has failed too often.
    pub(super) fn failed(&mut self, now: Duration, failure: &Failure) -> Result<(), String> {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + RETRY_AFTER);
        let Some(under_way) = &self.under_way else {
            unreachable!("a driver answers what it was asked to do");
        };
        let Some(synced) = under_way.operation.syncs() else {
            return Ok(());
        };
        if !failure.is_waited_for {
            self.failed_syncs += 1;
        }
        if self.failed_syncs >= MAX_SYNCS {
            return Err(format!(
                "the disk has refused the same {MAX_SYNCS} times: {}",
                failure.reason
            ));
        }
        if let Synced::Chunk(chunk) = synced {
            // A call before the sync may be what has failed, where this does no harm.
            self.write_again(chunk);
        }
        Ok(())
    }

    /// Whether what is under way has failed before.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether this is the first failure in a row: the log need not say it each time.
    pub(super) fn has_just_failed(&self) -> bool {
        self.failures == 1
    }

    /// Puts everything of `chunk` that is written and not durable before the operation under way, which syncs it.
    fn write_again(&mut self, chunk: Seqno) {
        let again = self
            .kept
            .iter()
            .filter(|kept| kept.chunk == chunk && kept.seqno <= self.written);
        let again: Vec<Seqno> = again.map(|kept| kept.seqno).collect();
        if again.is_empty() {
            return; // it stays under way, and is tried again as it is
        }
        let Some(syncing) = self.under_way.take() else { return };
        self.push_front(syncing.operation, syncing.through);
        for seqno in again.into_iter().rev() {
            self.queue.push_front(Queued::Entry(seqno));
        }
        // The time until the next attempt is waited for with the first of them under way.
        if let Some(Queued::Entry(seqno)) = self.queue.pop_front() {
            self.under_way = Some(self.collect(seqno));
        }
    }

    /// Forgets every entry after `to`. One that is under way may still be written: what cuts it off comes after it.
    pub(super) fn roll_back(&mut self, to: Seqno) {
        while let Some(kept) = self.kept.pop_back_if(|kept| kept.seqno > to) {
            self.kept_bytes -= kept.bytes.len() as u64;
        }
        self.written = self.written.min(to);
        self.queue.retain_mut(|queued| match queued {
            Queued::Entry(seqno) => *seqno <= to,
            Queued::Other {
                operation: Operation::Sync { chunk },
                through,
            } => {
                // It may stand for earlier ones.
                *through = to.min(*through);
                *chunk <= to
            }
            Queued::Other { .. } => true,
        });
        if let Some(under_way) = &mut self.under_way {
            under_way.through = under_way.through.min(to);
        }
    }
}

fn is_sync_of(queued: &Queued, chunk: Seqno) -> bool {
    matches!(queued, Queued::Other { operation: Operation::Sync { chunk: synced }, .. } if *synced == chunk)
}
