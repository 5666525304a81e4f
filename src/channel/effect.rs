//! What a channel asks of whoever drives it.

use super::dropped::Dropped;
use super::message::Message;
use crate::crypto;

/// One thing to do, or to know. In order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'f> {
    /// Send this frame, whole as it is, over the connection with the peer.
    Send(Vec<u8>),
    /// The peer says this, and it is authentic (but for the entries of an AppendEntries).
    Deliver(Message<'f>),
    /// What came was dropped. To be counted; the connection stays.
    Drop(Dropped),
    /// What was to be sent will not be.
    Unsent(Unsent),
    /// There are new keys for both directions.
    Established,
    /// There are no keys any more.
    Closed(Closed),
}

/// Why a message is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// It does not fit into a frame.
    #[error("a message whose frame would have {bytes} bytes; at most {max} are sent")]
    TooLong {
        /// Bytes of the whole frame.
        bytes: usize,
        /// Bytes at most.
        max: usize,
    },
    /// There is no key yet, and a newer consensus message waits for one instead.
    #[error("a consensus message gave way to a newer one while the channel had no key")]
    Replaced,
    /// There is no key yet, and enough forwarded messages wait for one.
    #[error("too many forwarded messages wait for the channel's key")]
    QueueFull,
    /// Encryption failed.
    #[error("a message could not be sealed: {0}")]
    NotSealed(crypto::Error),
}

/// Why keys were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nothing was sent or received for long.
    Idle,
    /// As many messages as the keys are good for.
    Limit,
}
