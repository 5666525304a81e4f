//! What is said to other nodes: at once, or as soon as it is read and the connection takes it.

use super::counters::add;
use super::hub::{Hub, LineId};
use super::outbox::{Entries, Next, with_entries};
use super::reading::Job;
use super::word::Word;
use crate::channel::message::{Forwarded, IV_BYTES, TAG_BYTES};
use crate::channel::{self, NodeId, frame::HEADER_BYTES};
use crate::consensus::{AppendEntries, Message};
use crate::error::Result;

/// Bytes of a frame with entries, without them.
const FRAME_WITHOUT_ENTRIES: usize = HEADER_BYTES + 57 + TAG_BYTES + IV_BYTES;

impl Hub {
    pub(super) fn send(&mut self, to: NodeId, message: Message, entries: Entries) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return self.counters.dropped("unknown_peer");
        };
        if peer.line.is_none() {
            if !self.open(to) {
                return self.counters.dropped("not_connected");
            }
            return self.put(to, message, entries);
        }
        match message {
            Message::AppendEntries(frame) if frame.idx <= frame.prev_idx => {
                // It must not refer to what waits: the node would refuse it.
                let frame = match peer.outbox.waits_after(frame.view) {
                    Some((after, view)) => AppendEntries {
                        idx: after,
                        prev_idx: after,
                        prev_view: view,
                        view_of_idx: view,
                        leader_commit: frame.leader_commit.min(after),
                        ..frame
                    },
                    None => frame,
                };
                if !peer.channel.is_established() && peer.channel.is_in_handshake() {
                    return self.counters.dropped("waits_for_keys");
                }
                self.say(to, Message::AppendEntries(frame), &[]);
            }
            _ if with_entries(&message).is_some() => {
                self.put(to, message, entries);
                self.pump(to);
            }
            _ => self.say(to, message, &[]),
        }
    }

    pub(super) fn forward(&mut self, to: NodeId, message: Forwarded) {
        let why = match self.peers.get(&to) {
            Some(peer) if peer.line.is_some() => {
                return self.seal(to, &channel::Message::Forwarded(message));
            }
            Some(_) => {
                self.open(to);
                "not_connected"
            }
            None => "unknown_peer",
        };
        self.counters.dropped(why);
        if let Forwarded::Request(request) = message {
            // Its client need not wait for an answer that can't come.
            let command = request.command;
            (self.hear)(Word::NotPassed { peer: to, command });
        }
    }

    /// Lets it wait.
    fn put(&mut self, to: NodeId, message: Message, entries: Entries) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if peer.outbox.push(message, entries).is_err() {
            self.counters.dropped("outbox_full");
        }
    }

    fn say(&mut self, to: NodeId, message: Message, entries: &[u8]) {
        self.seal(to, &channel::Message::Consensus(message, entries));
    }

    fn seal(&mut self, to: NodeId, message: &channel::Message<'_>) {
        let now = self.now();
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let effects = peer.channel.want_to_send(now, message, &mut self.rng);
        self.carry_out(to, None, effects);
    }

    /// Sends what waits, as far as the channel, the connection and the disk go along.
    pub(super) fn pump(&mut self, to: NodeId) {
        loop {
            let Some(peer) = self.peers.get_mut(&to) else { return };
            // One message may wait in the channel, and begins the handshake.
            if !peer.channel.is_established() && peer.channel.is_in_handshake() {
                return;
            }
            let takes = peer
                .line
                .and_then(|line| self.lines.get(&line))
                .is_some_and(|line| line.queued < self.settings.low_water_bytes);
            if !takes {
                return;
            }
            match peer.outbox.next() {
                Next::Nothing => return,
                Next::Read { after, through, ticket } => {
                    let max_bytes = self.settings.channel.max_frame_bytes;
                    let job = Job {
                        peer: to,
                        after,
                        through,
                        ticket,
                        max_bytes: max_bytes.saturating_sub(FRAME_WITHOUT_ENTRIES),
                    };
                    if self.jobs.send(job).is_err() {
                        // Nothing is read any more: the thread has ended.
                        peer.outbox.clear();
                    }
                    return;
                }
                Next::Send(message, entries) => self.say(to, message, &entries),
            }
        }
    }

    /// Entries were read.
    pub(super) fn was_read(&mut self, job: Job, entries: Result<Vec<u8>>) {
        let Some(peer) = self.peers.get_mut(&job.peer) else {
            return;
        };
        if !peer.outbox.reads(job.ticket) {
            return;
        }
        match entries {
            Ok(entries) => {
                peer.outbox.was_read(job.ticket, entries);
                self.pump(job.peer);
            }
            Err(why) => {
                // What comes after it refers to it.
                peer.outbox.clear();
                self.counters.dropped("not_read");
                (self.hear)(Word::NotRead { peer: job.peer, why });
            }
        }
    }

    /// Gives a frame to a connection.
    pub(super) fn write(&mut self, id: LineId, frame: Vec<u8>) {
        let now = self.now();
        let Some(line) = self.lines.get_mut(&id) else {
            return self.counters.dropped("not_connected");
        };
        if line.queued > 0 && line.queued.saturating_add(frame.len()) > self.settings.queue_bytes {
            return self.counters.dropped("queue_full");
        }
        if line.queued == 0 {
            line.taken = now;
        }
        line.asked.get_or_insert(now);
        line.queued = line.queued.saturating_add(frame.len());
        add(&self.counters.frames_out, 1);
        add(&self.counters.bytes_out, frame.len());
        line.queue.push_back(frame);
        line.wake.notify_one();
    }

    /// The other end of a connection has taken so many bytes.
    pub(super) fn was_taken(&mut self, id: LineId, bytes: usize) {
        let now = self.now();
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.taken = now;
        line.queued = line.queued.saturating_sub(bytes);
        if line.queued < self.settings.low_water_bytes
            && let Some(peer) = line.peer
        {
            self.pump(peer);
        }
    }
}
