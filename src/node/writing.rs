//! The writer's thread: it takes what waits, one after the other, and drives the core.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::driver::Driver;
use super::mailbox::{Letter, Mailbox};
use super::writer::{Made, Message, Writer};
use crate::core::Event;
use crate::error::Error;

/// How long the thread sleeps at most.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// Starts the thread that writes what is given to `writer`.
///
/// # Errors
/// If no thread can be started.
pub(super) fn start(mut driver: Driver, writer: &Writer) -> std::io::Result<()> {
    let mailbox = writer.mailbox();
    let thread = std::thread::Builder::new().name("writer".to_owned());
    let spawned = thread.spawn(move || {
        let node = Arc::clone(driver.node());
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut driver, &mailbox)));
        mailbox.close();
        if outcome.is_err() {
            // Whoever waits is told by losing the other end.
            drop(driver);
            node.status.stop();
            (node.fatal)(Error::Unreadable(
                "the writer of the ledger has panicked, which is a fault in this program: the ledger is as it was left, \
                 and a recovery goes on from its last signature"
                    .to_owned(),
            ));
        }
    });
    spawned.map(drop)
}

/// Drives what the node itself has proposed until it is written, or the disk refuses it.
pub(super) fn run_until_answered(driver: &mut Driver, writer: &Writer) {
    let mailbox = writer.mailbox();
    while driver.awaits_own() && driver.node().status.waiting_for().is_none() {
        take_next(driver, &mailbox, &mut None);
    }
}

fn run(driver: &mut Driver, mailbox: &Mailbox<Message, Made>) {
    let mut stopped = None;
    while !driver.has_ended() {
        take_next(driver, mailbox, &mut stopped);
    }
    if let Some(done) = stopped {
        let _ = done.send(());
    }
}

/// Waits for what comes next, or until time has passed; `stopped` is who wants to know of the end.
fn take_next(driver: &mut Driver, mailbox: &Mailbox<Message, Made>, stopped: &mut Option<oneshot::Sender<()>>) {
    // What is due does not wait until nobody says anything: other nodes could keep the followers without a sign of life.
    if driver.sleep().is_zero() {
        driver.step(Event::Tick);
    }
    let sleep = driver.sleep().min(LONGEST_SLEEP);
    match mailbox.take(sleep) {
        Some(Letter::Transaction(made)) => driver.take(made),
        Some(Letter::Message(Message::PrivateLedger(state))) => driver.private_ledger(state),
        Some(Letter::Message(Message::OthersHaveRead)) => driver.others_have_read(),
        Some(Letter::Message(Message::Snapshot(result))) => driver.snapshot(result),
        Some(Letter::Message(Message::Disk(word))) => driver.disk(word),
        Some(Letter::Message(Message::Heard(word))) => driver.heard(*word),
        Some(Letter::Message(Message::PassBack(to, answer, _permit))) => driver.pass_back(to, answer),
        Some(Letter::Message(Message::Stop(done))) => {
            *stopped = Some(done);
            driver.step(Event::Stop);
        }
        None => driver.step(Event::Tick),
    }
}
