//! Self-healing open in the node: what `heal` decides, with sockets, time, tables and files. Recovery specification, section 7.
//!
//! ```text
//!  api/healing ──► verified ──► healing_calls ──► task ──► heal::Healing
//!                                                  │           │ effects
//!                            own messages, time ──►│           ▼
//!                                                  │    record: one transaction, signed at once
//!                                                  │           │ committed
//!                                                  │           ▼
//!                                                  └──── sending: PUT to the others; state; loss ──► run ──► ending
//! ```
//!
//! One task owns the decision. It is not the writer's thread, because a step ends only when what it recorded is committed, and
//! that is what the writer does meanwhile; its transactions are made as those of requests are, and read nothing, so that
//! nobody else's can be in their way. Until a step is committed nothing is sent, answered, or shown; where its transaction
//! can't be written the step did not happen: the decision is as it was before.

mod earlier;
pub mod ending;
mod plan;
mod record;
mod sending;
mod task;
#[cfg(test)]
mod tests;

pub use earlier::Beginning;
pub use plan::{Plan, generation};
pub use task::{Begun, Healer, Lost};

use crate::kv::store::Transaction;
use crate::tables::names;
use crate::tables::node_info::NodeRecord;

/// Nodes that are trusted in a state: the ledger's last configuration.
pub fn trusted_nodes(transaction: &Transaction<'_>) -> usize {
    let nodes = transaction.entries(names::NODES_INFO);
    let records = nodes.values().filter_map(|row| NodeRecord::read(row));
    records.filter(NodeRecord::is_trusted).count()
}
