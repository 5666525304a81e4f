//! The part of a node's life that is the same whatever it was started for: it serves, works on a thread beside that, and ends when
//! it is told to.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::certificates::look_after;
use super::config::Config;
use super::jwt::keep_fresh;
use super::serve::serve;
use super::shared::Node;
use super::status::NodeState;
use crate::error::{Error, Result};
use crate::service::identity::NodeIdentity;

/// How often it is looked whether a certificate is about to expire.
const LOOK_AFTER_CERTIFICATES: Duration = Duration::from_secs(60);

/// Is told that the node ends, and why.
pub(super) type Ends = mpsc::UnboundedSender<Result<()>>;

/// Serves, lets `begin` begin what the node is for, and goes on until the node is told to stop, or what `begin` answers says
/// that it has lost.
///
/// # Errors
/// Whatever ends the node, but a signal.
pub(super) async fn live<L>(
    config: &Config,
    identity: &NodeIdentity,
    claim: Option<File>,
    begin: impl FnOnce(&Arc<Node>, &Ends) -> Result<mpsc::UnboundedReceiver<L>>,
) -> Result<Option<L>> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("handle", Path::new("SIGTERM")))?;
    // Whose terminal is gone, as who is told to terminate.
    let mut hangup = signal(SignalKind::hangup()).map_err(Error::io("handle", Path::new("SIGHUP")))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("handle", Path::new("SIGINT")))?;
    // Once it is handled, a file that may not grow is a disk without room, which is waited out.
    let _handled = signal(SignalKind::from_raw(libc::SIGXFSZ)).map_err(Error::io("handle", Path::new("SIGXFSZ")))?;
    let (end, mut ends) = mpsc::unbounded_channel::<Result<()>>();
    let (node, running) = serve(config, identity, claim, end.clone()).await?;
    node.status.enter(NodeState::Initialized);
    let mut losses = begin(&node, &end).inspect_err(|_| node.files.take_back())?;
    let ignore_first = node.config.ignore_first_sigterm;
    let fetching = tokio::spawn(keep_fresh(Arc::clone(&node)));
    let mut look = tokio::time::interval(LOOK_AFTER_CERTIFICATES);
    let mut outcome = loop {
        tokio::select! {
            _ = look.tick() => look_after(&node),
            Some(outcome) = ends.recv() => break outcome.map(|()| None),
            Some(lost) = losses.recv() => break Ok(Some(lost)),
            _ = interrupt.recv() => break Ok(None),
            _ = hangup.recv() => break Ok(None),
            _ = terminate.recv() => {
                if ignore_first && !node.status.is_stopping() {
                    tracing::info!("first SIGTERM: the stop notice is set, the node goes on");
                    node.status.stop();
                } else {
                    break Ok(None);
                }
            }
        }
    };
    fetching.abort();
    if outcome.is_ok() {
        tracing::info!("stopping");
    }
    node.status.stop();
    if let Some(writer) = node.writer.get() {
        tokio::select! {
            () = writer.stop() => {}
            _ = interrupt.recv() => tracing::warn!("a second signal: not waiting any longer"),
            _ = terminate.recv() => tracing::warn!("a second signal: not waiting any longer"),
        }
    }
    // It may be that what ends it could not be done.
    if outcome.is_ok()
        && let Ok(Err(why)) = ends.try_recv()
    {
        outcome = Err(why);
    }
    running.shutdown().await;
    node.files.take_back();
    outcome
}

/// Works on a thread of its own; where that fails, the node ends. Nobody has to wait for it.
///
/// # Errors
/// If there can't be a thread.
pub(super) fn beside(
    name: &'static str,
    ends: &Ends,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<JoinHandle<()>> {
    let ends = ends.clone();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Error::Unreadable(format!(
                "the {name} has panicked, which is a fault in this program: the ledger is as it was left"
            )))
        });
        if let Err(why) = outcome {
            let _ = ends.send(Err(why));
        }
    });
    spawned.map_err(Error::io("start", Path::new("a thread")))
}
