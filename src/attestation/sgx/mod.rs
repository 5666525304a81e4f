//! Intel SGX through OpenEnclave (`OE_SGX_v1`), as ledgers of before CCF 6 have it: quote, claims and collateral, all
//! offline. Attestation specification, section 8.

mod collateral;
mod pck;
mod quote;
mod verify;

pub use collateral::{Collateral, Level, Parsed};
pub use pck::{Chain, PckTcb};
pub use quote::{Quote, QuotingEnclave};
pub(super) use verify::verify;
