//! The one door to the ledger: a thread that owns the pen, and hands out turns.
//!
//! Whoever wants to write sends a closure over a transaction; it runs here, against the newest state, and what it wrote
//! becomes one entry. Signatures come by count and by delay. Readers share the store and never wait for a closure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::sync::oneshot;

use super::http::{ApiError, ApiResult};
use super::ledger::Ledger;
use super::session::Session;
use crate::format::TxId;
use crate::kv::store::Transaction;
use crate::recovery::private::PrivateState;

/// Transactions that may wait for their turn; behind that clients are told to come back.
const QUEUE: usize = 1000;
/// How long the thread sleeps at most: after a failed write it tries again that often.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// How often a stop looks for a place in a full queue.
const PLACE_POLL: Duration = Duration::from_millis(20);

type Job = Box<dyn FnOnce(&mut Ledger) + Send>;

pub(super) enum Command {
    Run(Job),
    PrivateStateLoaded(crate::Result<Box<PrivateState>>),
    /// Something is ready that the thread looks for in every turn.
    Wake,
    Stop(oneshot::Sender<()>),
}

/// Sends transactions to the thread.
#[derive(Clone)]
pub struct Sequencer {
    commands: SyncSender<Command>,
}

impl Sequencer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(ledger: Ledger) -> std::io::Result<Sequencer> {
        let (commands, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(move || run(ledger, &queue))?;
        Ok(Sequencer { commands })
    }

    /// Runs `body` in a transaction. Where it answers `Ok`, what it wrote is in the ledger when this returns, and the
    /// transaction is answered with it; where it wrote nothing, the one whose state it read. An error drops the writes.
    ///
    /// # Errors
    /// Whatever `body` answers; 503 if too much waits, or the node is stopping; 500 if the ledger can't be written.
    pub async fn transact<T, F>(&self, body: F) -> ApiResult<(T, TxId)>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>, &mut Session<'_>) -> ApiResult<T> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |ledger| {
            // A client that has gone away does not stop its transaction, as in CCF.
            let _ = answer.send(ledger.transact(body));
        });
        self.commands.try_send(Command::Run(job)).map_err(|why| match why {
            TrySendError::Full(_) => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "TooManyPendingTransactions",
                "Too many transactions wait to be written; try again later.",
            ),
            TrySendError::Disconnected(_) => stopping(),
        })?;
        wait.await.unwrap_or_else(|_| Err(stopping()))
    }

    pub(super) fn private_state_loaded(&self, state: crate::Result<Box<PrivateState>>) {
        // If the thread is gone, so is the node.
        let _ = self.commands.send(Command::PrivateStateLoaded(state));
    }

    /// Gives the thread a turn. Where others wait already, theirs will do.
    pub(super) fn wake(&self) {
        let _ = self.commands.try_send(Command::Wake);
    }

    /// Signs what is not signed yet, closes the files, and ends the thread.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        let mut command = Command::Stop(done);
        // It waits its turn as everything else does, for a place to wait in too.
        while let Err(TrySendError::Full(again)) = self.commands.try_send(command) {
            command = again;
            tokio::time::sleep(PLACE_POLL).await;
        }
        let _ = wait.await;
    }
}

fn stopping() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "NodeCannotHandleRequest",
        "The node is stopping.",
    )
}

fn run(mut ledger: Ledger, queue: &Receiver<Command>) {
    loop {
        let sleep = match ledger.signature_due() {
            Some(due) => due.saturating_duration_since(Instant::now()).min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        };
        match queue.recv_timeout(sleep) {
            Ok(Command::Run(job)) => {
                // Only a fault in this program gets here; its client is told 503, the next one is served.
                if catch_unwind(AssertUnwindSafe(|| job(&mut ledger))).is_err() {
                    tracing::error!("a transaction panicked; nothing of it was written");
                }
            }
            Ok(Command::Wake) => {}
            Ok(Command::PrivateStateLoaded(state)) => ledger.private_state_loaded(state),
            Ok(Command::Stop(done)) => {
                ledger.close();
                let _ = done.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return ledger.close(),
        }
        ledger.witness_snapshot(false);
        ledger.sign_if_due();
    }
}
