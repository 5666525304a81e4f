//! The other nodes: sockets, channels and what waits between them, on a thread of their own, so that no sign of life waits for
//! a disk. Node-to-node specification, sections 1 to 3.
//!
//! ```text
//!  Peers ── commands ──► hub: nodes, connections, channels ──► Word
//!                         ▲  │ entries to be read       ▲
//!                         │  ▼                          │ frames
//!                         shelf thread          one task a connection
//! ```
//!
//! Invariants:
//! - A stranger's frame never moves a node's connection, whatever it says: only what answers this node, or counts up under a
//!   key, does. Strangers are bounded in number, time, frames, bytes and verifications.
//! - What goes to one node stays in order. A sign of life refers to what was sent, never to entries that wait.
//! - Every queue is bounded in bytes. Whoever takes nothing loses frames, then its connection; nobody else notices.
//! - As many frames go out as were asked for, or fewer: never more, so that answers can be counted.

mod connection;
mod counters;
mod hub;
mod lines;
mod outbox;
mod reading;
mod room;
mod sending;
mod settings;
mod word;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::counters::Counters;
use self::hub::Hub;
use self::reading::Outcome;
use self::room::{Place, Room};
use crate::channel::message::Forwarded;
use crate::channel::{NodeId, Own};
use crate::consensus::Message;
use crate::crypto::random::system_rng;
use crate::journal::Shelf;

pub use counters::Figures;
pub use outbox::Entries;
pub use settings::Settings;
pub use word::{Passed, Permit, Said, Word};

/// Channels repeat and heal in multiples of this.
const TICK: Duration = Duration::from_millis(50);
/// After a stop, what waits to be written is written for so long at most.
const FAREWELL: Duration = Duration::from_millis(500);
/// Messages, and bytes of their entries, that may wait for the thread.
const COMMANDS: (usize, usize) = (4096, 256 << 20);

enum Command {
    Send(NodeId, Message, Entries, Place),
    Forward(NodeId, Forwarded, Place),
    Know(NodeId, String),
    Forget(NodeId),
    Renew(Arc<Own>),
    Read(Outcome),
    Stop,
}

/// What the other nodes are reached through. Dropped, it stops.
pub struct Peers {
    commands: UnboundedSender<Command>,
    room: Arc<Room>,
    counters: Arc<Counters>,
    incoming: Arc<Room>,
    address: SocketAddr,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Peers {
    /// Begins to listen for other nodes, as `own`. Entries are read from `shelf`. What is heard is given to `hear`, which must
    /// not wait.
    ///
    /// # Errors
    /// If the machine gives no thread, no socket or no random numbers.
    pub fn start(
        settings: Settings,
        own: Arc<Own>,
        listener: TcpListener,
        shelf: Shelf,
        hear: impl Fn(Word) + Send + 'static,
    ) -> std::io::Result<Peers> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let rng = system_rng().map_err(std::io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, queue) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let read = commands.clone();
        let (jobs, shelf) = reading::start(shelf, move |outcome| {
            // Where nobody asks any more, nobody needs it.
            let _ = read.send(Command::Read(outcome));
        })?;
        let incoming = Room::new(usize::MAX, settings.incoming_bytes);
        let (counted, held) = (counters.clone(), incoming.clone());
        let thread = std::thread::Builder::new().name("peers".to_owned()).spawn(move || {
            let hear: Rc<dyn Fn(Word)> = Rc::new(hear);
            let told = hear.clone();
            let life = catch_unwind(AssertUnwindSafe(move || {
                let (panicked, panics) = unbounded_channel();
                let hub = Rc::new_cyclic(|me| {
                    RefCell::new(Hub {
                        rng,
                        peers: BTreeMap::new(),
                        lines: BTreeMap::new(),
                        counters: counted,
                        hear,
                        incoming: held,
                        jobs,
                        me: me.clone(),
                        panicked,
                        next_line: 0,
                        stranger_handshakes: settings.stranger_handshakes,
                        started: Instant::now(),
                        settings,
                        own,
                    })
                });
                live(runtime, &hub, listener, queue, panics);
            }));
            if let Err(why) = life {
                told(Word::Panicked(why));
            }
        })?;
        Ok(Peers {
            commands,
            room: Room::new(COMMANDS.0, COMMANDS.1),
            counters,
            incoming,
            address,
            threads: Mutex::new(vec![thread, shelf]),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A node is at this address (a name or an IP address, and a port). It is connected with when something is sent to it, or
    /// when it connects.
    pub fn know(&self, peer: NodeId, address: &str) {
        self.tell(Command::Know(peer, address.to_owned()));
    }

    /// A node is no longer spoken with.
    pub fn forget(&self, peer: NodeId) {
        self.tell(Command::Forget(peer));
    }

    /// This node's certificate, or its service's key, is another from now on. Channels that are up stay up.
    pub fn renew(&self, own: Arc<Own>) {
        self.tell(Command::Renew(own));
    }

    /// Says something to a node. It may get lost: with a connection, or where too much waits already.
    pub fn send(&self, to: NodeId, message: Message, entries: Entries) {
        let bytes = entries.held().iter().map(|entry| entry.len()).sum();
        match self.room.enter(bytes) {
            Some(place) => self.tell(Command::Send(to, message, entries, place)),
            None => self.counters.dropped("commands_full"),
        }
    }

    /// Passes a client's request, or the answer to one, to a node. It may get lost; whether it is on its way.
    pub fn forward(&self, to: NodeId, message: Forwarded) -> bool {
        let bytes = match &message {
            Forwarded::Request(message) => message.request.len(),
            Forwarded::Answer(message) => message.answer.len(),
        };
        let place = self.room.enter(bytes);
        let has_place = place.is_some();
        match place {
            Some(place) => self.tell(Command::Forward(to, message, place)),
            None => self.counters.dropped("commands_full"),
        }
        has_place
    }

    /// What came and went.
    pub fn figures(&self) -> Figures {
        Figures {
            incoming_bytes: self.incoming.bytes() as u64,
            ..self.counters.figures()
        }
    }

    /// Writes what waits, for half a second at most, closes every connection, and waits until the threads have ended.
    pub fn stop(&self) {
        self.tell(Command::Stop);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Where it has panicked, that was said.
            let _ = thread.join();
        }
    }

    fn tell(&self, command: Command) {
        // Where the thread has ended, it was stopped, or that was said.
        let _ = self.commands.send(command);
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread's life, up to [`Command::Stop`].
fn live(
    runtime: Runtime,
    hub: &Rc<RefCell<Hub>>,
    listener: TcpListener,
    mut queue: UnboundedReceiver<Command>,
    mut panics: UnboundedReceiver<Box<dyn Any + Send>>,
) {
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => hub.borrow().begin_beside(accept(hub.clone(), listener)),
            Err(why) => tracing::error!("other nodes can't connect: {why}"),
        }
        hub.borrow().begin_beside(tick(hub.clone()));
        loop {
            let command = tokio::select! {
                command = queue.recv() => command,
                why = panics.recv() => match why {
                    Some(why) => resume_unwind(why),
                    None => None,
                },
            };
            if !command.is_some_and(|command| obey(&mut hub.borrow_mut(), command)) {
                break;
            }
        }
        let _ = tokio::time::timeout(FAREWELL, async {
            while !hub.borrow().is_written() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    });
    drop(local);
    // A name that is being looked up is not waited for.
    runtime.shutdown_background();
}

/// Answers whether there is more to come.
fn obey(hub: &mut Hub, command: Command) -> bool {
    match command {
        Command::Send(to, message, entries, _place) => hub.send(to, message, entries),
        Command::Forward(to, message, _place) => hub.forward(to, message),
        Command::Know(peer, address) => hub.know(peer, address),
        Command::Forget(peer) => hub.forget(peer),
        Command::Renew(own) => hub.renew(own),
        Command::Read(Ok((job, entries))) => hub.was_read(job, entries),
        Command::Read(Err(why)) => resume_unwind(why),
        Command::Stop => return false,
    }
    true
}

async fn accept(hub: Rc<RefCell<Hub>>, listener: tokio::net::TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => hub.borrow_mut().accepted(stream, remote),
            // No descriptors are left, say. It passes, or not; the connections that there are go on.
            Err(_) => {
                hub.borrow().counters.dropped("not_accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn tick(hub: Rc<RefCell<Hub>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        hub.borrow_mut().tick();
    }
}

#[cfg(test)]
mod tests;
