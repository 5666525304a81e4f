//! Letting nodes into the service: what a joiner asks, who is let in and how far, and what it is told.
//!
//! ```text
//! body ─► JoinRequest ─┐
//! TLS client's key ────┤                  ┌─► Refusal ─► status, code, message
//! store, policy ───────┼─► decide (pure) ─┤
//! Here ────────────────┘                  └─► Decision ─► Addition::write, answer::body (holds secrets)
//! ```
//!
//! A service that is Opening or Recovering trusts at once whoever brings evidence that holds; later, members have to. Adding one
//! Trusted node to a lone leader makes that node's acknowledgement necessary for every commit: whoever calls this decides
//! whether the node can lead. Recovery specification, section 8; node-to-node, section 7.

pub mod answer;
mod decision;
mod evidence;
mod policy;
mod refusal;
mod request;

pub use decision::{Addition, Admitted, Decision, Here, Role, decide};
pub use evidence::Judge;
pub use policy::policy_of;
pub use refusal::{Doubt, Refusal};
pub use request::{JoinRequest, MAX_BODY_BYTES};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
