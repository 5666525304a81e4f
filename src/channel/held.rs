//! What waits for a key: the newest consensus message, and a few forwarded ones. Node-to-node specification, section 2.

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::effect::Unsent;
use super::frame::FrameType;
use super::message::{Consensus, Message};

/// Forwarded messages that wait at most.
const FORWARDED: usize = 10;

/// A message in the parts that a frame is made of.
pub(super) struct Parts<'a> {
    pub(super) of: FrameType,
    /// In the clear, covered by the tag.
    pub(super) header: Vec<u8>,
    /// To be encrypted.
    pub(super) plaintext: Zeroizing<Vec<u8>>,
    /// What follows, neither encrypted nor covered by the tag.
    pub(super) entries: std::borrow::Cow<'a, [u8]>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(message: &Message<'a>) -> Self {
        match message {
            Message::Consensus(message, entries) => Parts {
                of: FrameType::Consensus,
                header: message.header(),
                plaintext: Zeroizing::default(),
                entries: match message {
                    Consensus::AppendEntries(_) => (*entries).into(),
                    _ => (&[]).into(),
                },
            },
            Message::Forwarded(message) => Parts {
                of: FrameType::Forwarded,
                header: message.header(),
                plaintext: message.plaintext(),
                entries: (&[]).into(),
            },
        }
    }

    fn kept(self) -> Parts<'static> {
        Parts {
            of: self.of,
            header: self.header,
            plaintext: self.plaintext,
            entries: self.entries.into_owned().into(),
        }
    }
}

/// Messages that wait.
#[derive(Default)]
pub(super) struct Held {
    consensus: Option<Parts<'static>>,
    forwarded: VecDeque<Parts<'static>>,
}

impl Held {
    /// Keeps a message; what does not wait (any more) for it is answered.
    pub(super) fn push(&mut self, parts: Parts<'_>) -> Result<(), Unsent> {
        if parts.of == FrameType::Consensus {
            let before = self.consensus.replace(parts.kept());
            return before.map_or(Ok(()), |_| Err(Unsent::Replaced));
        }
        if self.forwarded.len() >= FORWARDED {
            return Err(Unsent::QueueFull);
        }
        self.forwarded.push_back(parts.kept());
        Ok(())
    }

    /// The next one to be sent.
    pub(super) fn pop(&mut self) -> Option<Parts<'static>> {
        self.consensus.take().or_else(|| self.forwarded.pop_front())
    }
}
