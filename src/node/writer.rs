//! Transactions: made beside the writer on a state that is held still, and written by one thread, in order.
//!
//! Whoever wants to write gives a function over a transaction. It runs on a thread of its own, however long it takes. What
//! it read and wrote is handed to the writer's thread, which looks whether the newest state still has what was read: if so,
//! the writes become the next entry, and otherwise the function is run again. Nothing waits for a function but its caller.

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Semaphore, oneshot};

use super::afterwards::Afterwards;
use super::disk::Word;
use super::mailbox::{Mailbox, NoPlace};
use super::peers::{self, Permit};
use super::session::{Session, Standing};
use super::status::Status;
use super::turns::Turns;
use crate::channel::NodeId;
use crate::channel::message::Forwarded;
use crate::core::{Outcome, Refusal};
use crate::error::Result as NodeResult;
use crate::format::domain::WriteSet;
use crate::format::{Seqno, TxId};
use crate::journal::snapshot::Written;
use crate::kv::store::{ReadSet, Store, Transaction};
use crate::recovery::private::PrivateState;

/// Transactions that may wait for the writer.
const PLACES: usize = 1000;
/// Functions that run or wait to; beyond that clients are told to come back.
const MAX_WAITING: usize = 1000;
/// How often a function is run again because others have written what it read.
const MAX_ATTEMPTS: u32 = 30;
/// What a function read and wrote.
pub(super) struct Made {
    pub(super) writes: WriteSet,
    pub(super) reads: ReadSet,
    pub(super) afterwards: Afterwards,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What the writer says to it.
pub(super) enum Answer {
    /// What became of it.
    Outcome(Outcome),
    /// Somebody has written what it read.
    Stale,
}

/// A snapshot that was asked for.
pub(super) struct SnapshotResult {
    pub(super) seqno: Seqno,
    pub(super) written: NodeResult<Written>,
}

/// What the node says to its writer.
pub(super) enum Message {
    /// The private ledger is read, or can't be.
    PrivateLedger(crate::Result<Box<PrivateState>>),
    /// So have the others, who take part.
    OthersHaveRead,
    /// The snapshot that was asked for is written, or can't be.
    Snapshot(SnapshotResult),
    /// What the disk's thread says.
    Disk(Word),
    /// What is heard of other nodes.
    Heard(Box<peers::Word>),
    /// What a client is answered whose request another node has passed on, or a request that this one passes on.
    PassBack(NodeId, Forwarded, Option<Permit>),
    /// Nothing new is begun; what was answered is signed. Told once that is done.
    Stop(oneshot::Sender<()>),
}

/// Why a function's writes are not in the ledger.
#[derive(Debug)]
pub enum NotWritten<E> {
    /// The function says so.
    Failed(E),
    /// The writer does.
    Refused(Refusal),
    /// Too many wait.
    TooManyWaiting,
    /// Others were always faster.
    Contended,
    /// It was written, and taken back since.
    RolledBack,
    /// The writer has ended, or the function did not come to its end.
    Gone,
}

impl<E> NotWritten<E> {
    /// With another word for what the function said.
    pub fn map_failed<F>(self, with: impl FnOnce(E) -> F) -> NotWritten<F> {
        match self {
            NotWritten::Failed(why) => NotWritten::Failed(with(why)),
            NotWritten::Refused(why) => NotWritten::Refused(why),
            NotWritten::TooManyWaiting => NotWritten::TooManyWaiting,
            NotWritten::Contended => NotWritten::Contended,
            NotWritten::RolledBack => NotWritten::RolledBack,
            NotWritten::Gone => NotWritten::Gone,
        }
    }
}

/// Hands transactions to the writer's thread.
#[derive(Clone)]
pub struct Writer {
    mailbox: Arc<Mailbox<Message, Made>>,
    standing: Arc<RwLock<Standing>>,
    store: Arc<RwLock<Store>>,
    status: Arc<Status>,
    turns: Arc<Turns>,
    waiting: Arc<Semaphore>,
}

impl Writer {
    /// For transactions on this state, whose thread is still to be started.
    pub(super) fn new(standing: Arc<RwLock<Standing>>, store: Arc<RwLock<Store>>, status: Arc<Status>) -> Writer {
        Writer {
            mailbox: Arc::new(Mailbox::new(PLACES)),
            standing,
            store,
            status,
            turns: Arc::default(),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    pub(super) fn mailbox(&self) -> Arc<Mailbox<Message, Made>> {
        Arc::clone(&self.mailbox)
    }

    /// Runs `body` in a transaction. Where it answers `Ok`, what it wrote is in the ledger when this returns, and the
    /// transaction is answered with it; where it wrote nothing, the one whose state it read. It may run more than once.
    ///
    /// Nobody's functions keep others from theirs: `caller`'s run one after the other.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn transact<T, E, F>(&self, caller: &str, body: F) -> Result<(T, TxId), NotWritten<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: Fn(&mut Transaction<'_>, &mut Session) -> Result<T, E> + Send + Sync + 'static,
    {
        let _place = self.waiting.try_acquire().map_err(|_| NotWritten::TooManyWaiting)?;
        let body = Arc::new(body);
        for _ in 0..MAX_ATTEMPTS {
            let attempt = {
                let _turn = self.turns.take(caller).await.ok_or(NotWritten::TooManyWaiting)?;
                let (writer, body) = (self.clone(), Arc::clone(&body));
                let attempt = tokio::task::spawn_blocking(move || writer.attempt(&*body));
                attempt.await.map_err(|_| NotWritten::Gone)?
            };
            let (value, made, wait) = match attempt {
                Attempt::Stale => continue,
                Attempt::Failed(why) => return Err(NotWritten::Failed(why)),
                Attempt::Made(value, made, wait) => (value, *made, wait),
            };
            self.mailbox.submit(made).map_err(|why| match why {
                NoPlace::Full => NotWritten::TooManyWaiting,
                NoPlace::Closed => NotWritten::Gone,
            })?;
            match wait.await {
                Ok(Answer::Outcome(Outcome::Written(txid))) => return Ok((value, txid)),
                Ok(Answer::Outcome(Outcome::RolledBack)) => return Err(NotWritten::RolledBack),
                Ok(Answer::Outcome(Outcome::Refused(why))) => return Err(NotWritten::Refused(why)),
                Ok(Answer::Stale) => {}
                Err(_) => return Err(NotWritten::Gone),
            }
        }
        Err(NotWritten::Contended)
    }

    fn attempt<T, E>(&self, body: &impl Fn(&mut Transaction<'_>, &mut Session) -> Result<T, E>) -> Attempt<T, E> {
        let (frozen, mut session) = Standing::hold(&self.standing, &self.store, &self.status);
        let mut transaction = frozen.transaction();
        let outcome = body(&mut transaction, &mut session);
        let (writes, reads) = transaction.into_parts();
        drop(frozen);
        match outcome {
            Ok(value) => {
                let (answer, wait) = oneshot::channel();
                let made = Made {
                    writes,
                    reads,
                    afterwards: session.afterwards,
                    answer,
                };
                Attempt::Made(value, Box::new(made), wait)
            }
            // What it complains of may not be so any more.
            Err(why) => match self
                .store
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .still_holds(&reads)
            {
                true => Attempt::Failed(why),
                false => Attempt::Stale,
            },
        }
    }

    /// A message that others wait for before they go on, such as the disk for what to do next.
    pub(super) fn urge(&self, message: Message) {
        self.mailbox.urge(message);
    }

    pub(super) fn tell(&self, message: Message) {
        self.mailbox.tell(message);
    }

    /// Signs what is not signed yet, whatever waits, closes the files, and ends the thread.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        self.mailbox.tell(Message::Stop(done));
        let _ = wait.await;
    }
}

enum Attempt<T, E> {
    Stale,
    Failed(E),
    Made(T, Box<Made>, oneshot::Receiver<Answer>),
}
