//! The wire between CCF nodes: frames, the handshake of a channel, protected messages, and when each side switches keys.
//!
//! Node-to-node specification, sections 1 to 3. Nothing here reads a socket, a clock or a table: [`Channel`] is given the time, the
//! frames and a source of randomness, and answers what is to be done. Whoever drives it owns connections.
//!
//! Invariants:
//! - Every byte is hostile. A frame that is wrong in any way changes nothing but what is counted: it is a [`Dropped`], with the
//!   reason. Only a frame that cannot be cut out of the stream ([`FrameError`]) ends a connection.
//! - A key and a counter protect one message, ever. What is received counts up, or is dropped.
//! - Private scalars, agreed secrets and keys are wiped on drop, and have no `Debug`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod dropped;
pub mod effect;
pub mod frame;
pub mod handshake;
mod held;
pub mod id;
pub mod keys;
pub mod message;
pub mod peer;
pub mod settings;
mod visitors;

pub use dropped::Dropped;
pub use effect::{Closed, Effect, Unsent};
pub use frame::{Frame, FrameError, FrameReader, FrameType};
pub use id::NodeId;
pub use message::Message;
pub use peer::{Channel, Own};
pub use settings::Settings;

#[cfg(test)]
mod tests;
