//! CCF's agreement among nodes, as one node of them decides it: no clock, no thread, no socket, no file, no bytes.
//!
//! Time and chance are arguments; what is to be done comes out as [`Effect`]s, which the driver carries out in order before
//! it says anything else. Of the ledger only this is known: the view of each seqno, which entries are signatures, which
//! change who takes part, what is durable and what is committed. The rules are those of node-to-node.md, sections 4 to 9,
//! so that CCF nodes can follow this one and lead it.
//!
//! The way of an entry, each step at a time of its own:
//!
//! ```text
//! leader    appended ─► sent ───────────────────────────────────► agreed ─► committed ─► said with the next frame
//!               └─────► synced (its own match) ──────────────────────┘                              │
//! follower             received ─► verified, appended ─► synced ─► acknowledged              committed
//! ```
//!
//! Append, durable, acknowledged and committed are four things. What is promised, asserted where it is decided:
//!
//! - nothing is appended in a view that was left;
//! - nothing that is committed is rolled back;
//! - nothing is acknowledged, or counted here, that is not durable here;
//! - a signature is committed only in its own view, by a majority of every active configuration.
//!
//! A vote survives nothing but the process, as in CCF: a node that starts again has a new id.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod configurations;
mod effect;
mod election;
mod events;
mod follower;
mod followers;
mod leader;
mod log;
mod message;
mod retirement;
mod rule;
mod sizes;
mod state;
#[cfg(test)]
mod tests;

pub use configurations::{Configuration, Departure, NodesChange};
pub use effect::{Effect, Note, Phase, Role};
pub use events::Entry;
pub use log::ViewStart;
pub use message::{AppendEntries, AppendEntriesResponse, Message, RequestVote, RequestVoteResponse};
#[cfg(test)]
pub(crate) use rule::Rule;
pub use sizes::Sizes;
pub use state::{Consensus, Settings, Start};
