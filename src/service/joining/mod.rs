//! The other side of [`admission`](super::admission): what a node asks that wants to join, and what it is told. Recovery
//! specification, section 8; node-to-node, section 7.

mod asking;
mod told;

pub use asking::Asking;
pub use told::{Answer, Told};
