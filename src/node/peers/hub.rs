//! Who is known, over which connection, and what is done with a frame: everything that is decided here happens on one thread.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::counters::{Counters, add};
use super::outbox::Outbox;
use super::reading::Job;
use super::room::Room;
use super::settings::Settings;
use super::word::{Passed, Permit, Said, Word};
use crate::channel::{Channel, Dropped, Effect, Frame, FrameType, Message, NodeId, Own, Unsent};

/// Numbers connections: a newer one has a greater number.
pub(super) type LineId = u64;

/// A connection.
pub(super) struct Line {
    /// Whose it is: of one that was opened here, who is expected there; else known when something authentic came.
    pub(super) peer: Option<NodeId>,
    pub(super) remote: SocketAddr,
    /// Opened here.
    pub(super) is_ours: bool,
    pub(super) is_authentic: bool,
    pub(super) born: Duration,
    /// When something authentic last came.
    pub(super) heard: Duration,
    /// Since when something was sent and nothing authentic has come.
    pub(super) asked: Option<Duration>,
    /// Frames that came before an authentic one.
    pub(super) frames: u32,
    pub(super) queue: VecDeque<Vec<u8>>,
    /// Bytes that wait to be written.
    pub(super) queued: usize,
    /// When the other end last took some, or the queue was empty.
    pub(super) taken: Duration,
    /// There is something to write.
    pub(super) wake: Rc<Notify>,
    /// It is closed.
    pub(super) closed: Rc<Notify>,
}

/// Opening a connection to a node.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) is_under_way: bool,
    pub(super) not_before: Duration,
    pub(super) failures: u32,
    /// It was said that the node can't be reached.
    pub(super) is_told: bool,
}

/// A node.
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) channel: Channel,
    /// The connection that is used.
    pub(super) line: Option<LineId>,
    pub(super) opening: Opening,
    pub(super) outbox: Outbox,
    /// Of its words that are not taken.
    pub(super) room: Arc<Room>,
}

pub(super) struct Hub {
    pub(super) settings: Settings,
    pub(super) own: Arc<Own>,
    pub(super) rng: ChaCha20Rng,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) lines: BTreeMap<LineId, Line>,
    pub(super) counters: Arc<Counters>,
    pub(super) hear: Rc<dyn Fn(Word)>,
    /// Of all that has come and is not taken.
    pub(super) incoming: Arc<Room>,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) me: Weak<RefCell<Hub>>,
    /// Told what a task has panicked with.
    pub(super) panicked: UnboundedSender<Box<dyn Any + Send>>,
    pub(super) next_line: LineId,
    /// Messages of strangers' handshakes that are still looked at before the next tick.
    pub(super) stranger_handshakes: u32,
    pub(super) started: Instant,
}

/// What becomes of a connection after a frame.
pub(super) enum Verdict {
    /// It goes on.
    GoOn {
        /// Something authentic has come over it.
        is_authentic: bool,
        /// Reading rests until there is room here again.
        full: Option<Arc<Room>>,
    },
    /// It is to be closed.
    Close(&'static str),
}

/// A connection over which nothing came for so long may be left for an older one.
const FRESH: Duration = Duration::from_secs(1);

impl Hub {
    /// Has something done beside everything else. Where it panics, everything ends.
    pub(super) fn begin_beside(&self, life: impl Future<Output = ()> + 'static) {
        let panicked = self.panicked.clone();
        tokio::task::spawn_local(async move {
            if let Err(why) = tokio::task::spawn_local(life).await
                && why.is_panic()
            {
                // Where nobody listens any more, everything has ended.
                let _ = panicked.send(why.into_panic());
            }
        });
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn know(&mut self, peer: NodeId, address: String) {
        if peer == self.own.id() {
            return;
        }
        let now = self.now();
        let settings = &self.settings;
        let own = &self.own;
        let known = self.peers.entry(peer).or_insert_with(|| Peer {
            address: String::new(),
            channel: Channel::new(own.clone(), peer, settings.channel.clone()),
            line: None,
            opening: Opening::default(),
            outbox: Outbox::new(settings.outbox, settings.outbox_bytes),
            room: Room::new(settings.words, settings.word_bytes),
        });
        if known.address != address {
            known.address = address;
            known.opening.failures = 0;
            known.opening.is_told = false;
            known.opening.not_before = now;
        }
    }

    pub(super) fn forget(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
        let its: Vec<LineId> = self
            .lines
            .iter()
            .filter(|(_, line)| line.peer == Some(peer))
            .map(|(id, _)| *id)
            .collect();
        for id in its {
            self.close(id, "the node is forgotten");
        }
    }

    pub(super) fn renew(&mut self, own: Arc<Own>) {
        for peer in self.peers.values_mut() {
            peer.channel.renew(own.clone());
        }
        self.own = own;
    }

    /// A frame came over a connection.
    pub(super) fn frame(&mut self, id: LineId, frame: &Frame<'_>) -> Verdict {
        add(&self.counters.frames_in, 1);
        let now = self.now();
        let Some(line) = self.lines.get_mut(&id) else {
            return Verdict::Close("it was closed");
        };
        let was_authentic = line.is_authentic;
        let is_handshake = frame.of == FrameType::Channel;
        if !was_authentic {
            line.frames = line.frames.saturating_add(1);
            if line.frames > self.settings.stranger_frames {
                self.counters.dropped("stranger_frames");
                return Verdict::Close("nothing authentic was among its frames");
            }
        }
        let goes_on = Verdict::GoOn {
            is_authentic: was_authentic,
            full: None,
        };
        if line.peer.is_some_and(|peer| peer != frame.sender) {
            self.counters.dropped("other_sender");
            return goes_on;
        }
        let is_new = !self.peers.contains_key(&frame.sender);
        if is_new && !(is_handshake && self.settings.takes_the_endorsed) {
            self.counters.dropped("unknown_peer");
            return goes_on;
        }
        // Who was called here may answer, however many others talk in its name.
        if !was_authentic && is_handshake && !line.is_ours {
            let Some(left) = self.stranger_handshakes.checked_sub(1) else {
                self.counters.dropped("stranger_handshakes");
                return goes_on;
            };
            self.stranger_handshakes = left;
        }
        let is_stranger = !was_authentic && !line.is_ours;
        if is_new {
            // It connects: where it listens, the ledger says.
            self.know(frame.sender, String::new());
        }
        let Some(peer) = self.peers.get_mut(&frame.sender) else {
            return goes_on;
        };
        let effects = peer.channel.received_of(is_stranger, now, frame, &mut self.rng);
        let is_good = !effects.iter().any(|effect| matches!(effect, Effect::Drop(_)));
        if is_new && !is_good {
            // Only who the service has endorsed is remembered: there are no more of them than nodes.
            self.peers.remove(&frame.sender);
        }
        let is_established = effects.iter().any(|effect| matches!(effect, Effect::Established));
        let is_delivered = effects.iter().any(|effect| matches!(effect, Effect::Deliver(_)));
        // An init may be an old one that somebody repeats: only what answers us, or has a new counter, says who is there.
        if (is_established || is_delivered)
            && let Some(line) = self.lines.get_mut(&id)
        {
            line.is_authentic = true;
            line.peer = Some(frame.sender);
            line.heard = now;
            line.asked = None;
            self.settle(frame.sender, id, is_handshake, was_authentic);
        }
        let has_no_line = self.peers.get(&frame.sender).is_some_and(|peer| peer.line.is_none());
        let reply = (is_good || has_no_line).then_some(id);
        self.carry_out(frame.sender, reply, effects);
        if is_established || is_delivered {
            self.pump(frame.sender);
        }
        let rooms = self.peers.get(&frame.sender).map(|peer| &peer.room);
        let full = rooms.into_iter().chain([&self.incoming]).find(|room| room.is_full());
        Verdict::GoOn {
            is_authentic: self.lines.get(&id).is_some_and(|line| line.is_authentic),
            full: full.cloned(),
        }
    }

    /// Something authentic came over a connection: it is used from now on, unless a newer one is in use.
    fn settle(&mut self, of: NodeId, id: LineId, by_handshake: bool, was_authentic: bool) {
        let now = self.now();
        let Some(peer) = self.peers.get_mut(&of) else { return };
        peer.opening.failures = 0;
        peer.opening.is_told = false;
        let keeps = peer.line.filter(|current| *current != id).is_some_and(|current| {
            let in_use = self.lines.get(&current);
            in_use.is_some_and(|line| line.is_authentic && current > id && now.saturating_sub(line.heard) < FRESH)
        });
        let moves = !keeps && peer.line != Some(id);
        let is_news = !keeps && (moves || !was_authentic);
        if moves {
            peer.line = Some(id);
        }
        if is_news && let Some(line) = self.lines.get(&id) {
            let remote = line.remote;
            (self.hear)(Word::Connected { peer: of, remote });
        }
        if moves && !by_handshake {
            self.reconnected(of);
        }
        if !was_authentic {
            self.count_lines();
            self.close_surplus(of);
        }
    }

    /// The node has another connection: what was sent over the one before may be lost.
    pub(super) fn reconnected(&mut self, of: NodeId) {
        let now = self.now();
        let Some(peer) = self.peers.get_mut(&of) else { return };
        let effects = peer.channel.reconnected(now, &mut self.rng);
        self.carry_out(of, None, effects);
    }

    /// Does what a channel asks for. Messages of the handshake go where the frame came from that they answer.
    pub(super) fn carry_out(&mut self, of: NodeId, reply: Option<LineId>, effects: Vec<Effect<'_>>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    let is_handshake = frame.get(4..12) == Some(&[0; 8]);
                    let line = self.peers.get(&of).and_then(|peer| peer.line);
                    match reply.filter(|_| is_handshake).or(line) {
                        Some(line) => self.write(line, frame),
                        None => self.counters.dropped("not_connected"),
                    }
                }
                Effect::Deliver(message) => self.deliver(of, message),
                Effect::Drop(why) => self.drop(&why),
                Effect::Unsent(why) => self.counters.dropped(match why {
                    Unsent::TooLong { .. } => "too_long",
                    Unsent::Replaced => "replaced",
                    Unsent::QueueFull => "waits_for_keys",
                    Unsent::NotSealed(_) => "not_sealed",
                }),
                Effect::Established | Effect::Closed(_) => {}
            }
        }
    }

    fn drop(&self, why: &Dropped) {
        self.counters.dropped(why.name());
    }

    fn deliver(&mut self, from: NodeId, message: Message<'_>) {
        let Some(peer) = self.peers.get(&from) else { return };
        let bytes = match &message {
            Message::Consensus(_, entries) => entries.len(),
            Message::Forwarded(crate::channel::message::Forwarded::Request(it)) => it.request.len(),
            Message::Forwarded(crate::channel::message::Forwarded::Answer(it)) => it.answer.len(),
        };
        // What keeps a word takes some memory, too.
        let bytes = bytes.saturating_add(256);
        let (Some(of_peer), Some(of_all)) = (peer.room.enter(bytes), self.incoming.enter(bytes)) else {
            return self.counters.dropped("not_taken");
        };
        let permit = Permit {
            _of_peer: of_peer,
            _of_all: of_all,
        };
        (self.hear)(match message {
            Message::Consensus(message, entries) => Word::Said(Said {
                from,
                message,
                entries: entries.to_vec(),
                permit,
            }),
            Message::Forwarded(message) => Word::Passed(Passed { from, message, permit }),
        });
    }
}
