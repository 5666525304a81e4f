//! AMD SEV-SNP: what a chip says of a guest, and the chip's certificates. Attestation specification, sections 2 to 4.1.

mod endorsements;
mod report;
mod tcb;
mod verify;

pub(super) use endorsements::Issuers;
pub use endorsements::{Endorsements, Vcek};
pub use report::{GuestPolicy, KeyFlags, REPORT_BYTES, Report};
pub use tcb::{Tcb, TcbRow};
pub(super) use verify::verify;
