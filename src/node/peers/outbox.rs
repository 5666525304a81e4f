//! What waits to be sent to one node, in order: entries may have to be read first, and the connection may be slow.
//!
//! Nothing here reads or sends. What is sent again with other bounds takes the place of what has not been sent yet, and a
//! sign of life that comes in between refers to what was sent, never to what waits.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::consensus::{AppendEntries, Message};
use crate::format::{Seqno, View};

/// The entries that go along with an AppendEntries.
#[derive(Clone)]
pub enum Entries {
    /// All of them, from memory. Of other messages: none.
    Held(Vec<Bytes>),
    /// Those up to `through` are read from the ledger's files first; `then` come the rest.
    Stored {
        /// The last that is read.
        through: Seqno,
        /// Those after it, from memory.
        then: Vec<Bytes>,
    },
}

impl Entries {
    /// No entries.
    pub fn none() -> Entries {
        Entries::Held(Vec::new())
    }

    /// Those of this frame: from memory as far as `kept` knows them, counted from the last; those before are in the ledger's
    /// files.
    pub fn gather(frame: &AppendEntries, kept: impl Fn(Seqno) -> Option<Bytes>) -> Entries {
        let newest = (frame.prev_idx.saturating_add(1)..=frame.idx).rev();
        let mut held: Vec<_> = newest.map_while(kept).collect();
        held.reverse();
        let through = frame.idx.saturating_sub(held.len() as u64);
        match through > frame.prev_idx {
            true => Entries::Stored { through, then: held },
            false => Entries::Held(held),
        }
    }

    pub(super) fn held(&self) -> &[Bytes] {
        match self {
            Entries::Held(held) | Entries::Stored { then: held, .. } => held,
        }
    }

    fn bytes(&self) -> usize {
        self.held().iter().map(|entry| entry.len()).sum()
    }
}

struct Item {
    message: Message,
    entries: Entries,
    /// Names the reading of its entries.
    ticket: u64,
}

/// What is to be done with the first that waits.
pub(super) enum Next {
    /// Nothing waits, or the first is being read.
    Nothing,
    /// Entries are to be read, and to be handed in with the ticket.
    Read { after: Seqno, through: Seqno, ticket: u64 },
    /// It is to be sent, with these bytes.
    Send(Message, Vec<u8>),
}

/// Why something is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// So much waits already.
    Full,
    /// What comes before it was not taken in.
    Gap,
}

/// What waits to be sent to one node.
pub(super) struct Outbox {
    items: VecDeque<Item>,
    bytes: usize,
    max_items: usize,
    max_bytes: usize,
    tickets: u64,
    /// The first that waits is being read.
    is_reading: bool,
    /// It was read.
    read: Option<Vec<u8>>,
}

impl Outbox {
    pub(super) fn new(max_items: usize, max_bytes: usize) -> Outbox {
        Outbox {
            items: VecDeque::new(),
            bytes: 0,
            max_items,
            max_bytes,
            tickets: 0,
            is_reading: false,
            read: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
        self.is_reading = false;
        self.read = None;
    }

    /// Where the entries that wait begin, of a leader of at least this view: after this seqno, which is of that view.
    pub(super) fn waits_after(&mut self, view: View) -> Option<(Seqno, View)> {
        self.keep(|waiting| waiting.view >= view);
        let mut frames = self.items.iter().filter_map(|item| with_entries(&item.message));
        frames.next().map(|frame| (frame.prev_idx, frame.prev_view))
    }

    pub(super) fn push(&mut self, message: Message, entries: Entries) -> Result<(), Refused> {
        if let Some(frame) = with_entries(&message) {
            self.give_way_to(frame);
            let last = self.items.iter().rev().find_map(|item| with_entries(&item.message));
            if last.is_some_and(|last| last.idx < frame.prev_idx) {
                return Err(Refused::Gap);
            }
        }
        let bytes = entries.bytes();
        let is_too_much = self.bytes.saturating_add(bytes) > self.max_bytes && self.bytes > 0;
        if self.items.len() >= self.max_items || is_too_much {
            return Err(Refused::Full);
        }
        self.tickets = self.tickets.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push_back(Item {
            message,
            entries,
            ticket: self.tickets,
        });
        Ok(())
    }

    /// What has not been sent and is sent again, or is of a view that was left, need not be sent.
    fn give_way_to(&mut self, frame: &AppendEntries) {
        self.keep(|waiting| waiting.view >= frame.view && waiting.prev_idx < frame.prev_idx);
    }

    /// Keeps these of the leader's frames.
    fn keep(&mut self, is_kept: impl Fn(&AppendEntries) -> bool) {
        let first = self.items.front().map(|item| item.ticket);
        self.items.retain(|item| match &item.message {
            Message::AppendEntries(waiting) => is_kept(waiting),
            _ => true,
        });
        self.bytes = self.items.iter().map(|item| item.entries.bytes()).sum();
        if self.items.front().map(|item| item.ticket) != first {
            self.is_reading = false;
            self.read = None;
        }
    }

    /// The entries that were read with this ticket.
    pub(super) fn was_read(&mut self, ticket: u64, entries: Vec<u8>) {
        let is_first = self.items.front().is_some_and(|item| item.ticket == ticket);
        if is_first && self.is_reading {
            self.is_reading = false;
            self.read = Some(entries);
        }
    }

    /// Whether the first that waits is read with this ticket.
    pub(super) fn reads(&self, ticket: u64) -> bool {
        self.is_reading && self.items.front().is_some_and(|item| item.ticket == ticket)
    }

    pub(super) fn next(&mut self) -> Next {
        let Some(first) = self.items.front() else {
            return Next::Nothing;
        };
        if self.is_reading {
            return Next::Nothing;
        }
        if let (Entries::Stored { through, .. }, Message::AppendEntries(frame), None) =
            (&first.entries, &first.message, &self.read)
        {
            self.is_reading = true;
            return Next::Read {
                after: frame.prev_idx,
                through: *through,
                ticket: first.ticket,
            };
        }
        let mut bytes = self.read.take().unwrap_or_default();
        let Some(first) = self.items.pop_front() else {
            return Next::Nothing;
        };
        let held = first.entries.bytes();
        self.bytes = self.bytes.saturating_sub(held);
        bytes.reserve_exact(held);
        for entry in first.entries.held() {
            bytes.extend_from_slice(entry);
        }
        Next::Send(first.message, bytes)
    }
}

/// The frame, if entries go along with it.
pub(super) fn with_entries(message: &Message) -> Option<&AppendEntries> {
    match message {
        Message::AppendEntries(frame) if frame.idx > frame.prev_idx => Some(frame),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
