//! What the writer of a ledger decides: no input or output, no clock, no random number, no lock.
//!
//! [`Core::step`] takes the time and an [`Event`] and answers [`Effect`]s. A driver carries them out and tells the core what
//! came of them: the node's (threads and files), the fixture generator's (straight to files), the simulator's (a disk that
//! lies and a clock from a seed).
//!
//! The way of a transaction, each step at a time of its own:
//!
//! ```text
//! submitted ─► sealed ─► written ─► signed ─► durable ─► committed
//!              applied    answered            synced     announced; what waited for it follows
//! ```
//!
//! What the core promises, asserted where it is decided:
//!
//! - A nonce (view, seqno) seals one plaintext, ever: a sealed entry is final, its bytes are kept until they are durable,
//!   and written again where writing failed.
//! - Nothing is committed before a signature that covers it is durable, and durable means synced by a call that succeeded.
//!   Where syncing fails, everything since the last success is written again before it is synced again.
//! - Bytes reach a chunk once, in order. A cut never reaches below what is committed.
//! - One operation of the ledger's files is under way at a time, so that what follows a failed one is never carried out
//!   before it has succeeded.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod agreement;
mod chunks;
mod due;
mod effect;
mod event;
mod life;
mod log;
mod operations;
mod others;
mod rollback;
mod signing;
mod snapshots;
mod state;
#[cfg(test)]
mod tests;

pub use due::SignatureSettings;
pub use effect::{Agreed, Announcement, Effect, Outcome, Proposal, Refusal, state_after};
pub use event::{Event, Failure, Follow, Followed, Milestone, Now, Role, Submission, Ticket};
pub use log::{LastSigned, Start, VIEW_STEP};
pub use snapshots::SnapshotSettings;
pub use state::{Core, Settings};
