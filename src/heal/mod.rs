//! Self-healing open: restarted nodes find out by themselves whose ledger is best, and that one opens. One node's part in
//! it: no clock, no thread, no socket, no file. Recovery specification, section 7.
//!
//! Every node is a recovered service of its own, of one node, whose tables hold how far it is. It says what its ledger has
//! (gossip), votes for the best that it has heard of, and opens where enough voted for it; the others join that one.
//!
//! ```text
//!              all have gossiped,           a majority voted,          third time-out
//!              or first time-out            or second time-out
//! Gossiping ───────────────────► Voting ───────────────────► Opening ───────────────────► Open
//!     └──────────────┬──────────────┘                         says "I am open" to all
//!                    │ another one says that it is open
//!                    └──────────► Joining
//! ```
//!
//! [`decision`] decides, [`message`] reads and writes what nodes say, [`tables`] writes what was decided, [`outcome`] makes of a
//! node that lost one that joins. Two ways lead to Opening. By quorum: no two nodes get there, and what was committed is in
//! the ledger that is opened. By fail-over: neither is certain; it is recorded as such in the ledger, and [warned](Warning) of.
//!
//! Who opens by quorum has a majority of votes, each from a node whose own ledger is not better, and a majority has
//! everything that was committed: so the ledger that is opened has it too, where the nodes that are configured are those of the
//! ledger and all say their views. `tests` has every state that three nodes can get into, beside CCF's nodes too.
//!
//! This is stricter than CCF where a CCF node on the other side can't tell, or only has to try again:
//!
//! - Only peers that the configuration names are heard. CCF counts whoever shows a good quote.
//! - A node that opens, or is open, does not obey another that says that it is open (as CCF since 2026), and tells whoever
//!   still gossips or votes that it is open, which CCF does only for a while.
//! - A vote is kept over a restart: its other end may have counted it. CCF votes again.
//! - What an unfinished attempt has written is not claimed as part of the ledger. CCF claims it, and wins by it.
//! - A node counts its own ledger when it chooses, whether it has heard itself or not.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod claim;
pub mod decision;
mod effect;
mod generation;
pub mod message;
pub mod outcome;
mod refusal;
mod rule;
mod settings;
mod speaking;
mod stage;
pub mod tables;
#[cfg(test)]
mod tests;
mod warning;

pub use claim::Claim;
pub use decision::Healing;
pub use effect::{Effect, Record};
pub use generation::{Generation, Kind};
pub use message::{Body, Info, Message};
pub use refusal::Refusal;
#[cfg(test)]
pub(crate) use rule::Rule;
pub use settings::{Earlier, Event, Peer, Settings, Start, Step};
pub use stage::{OpenKind, Stage};
pub use warning::Warning;
