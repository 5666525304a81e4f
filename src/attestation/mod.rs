//! Attestation: who a node is and what it runs, as its hardware says. Evidence in, one verdict per check out; nothing in
//! here reads a clock, a file or the network. Attestation specification, all of it.
//!
//! ```text
//! quote_info ─► Evidence ─┐
//! node's key, code digest ─► Subject ─┤                      ┌─► Platform, Facts (product, TCB, measurement, ...)
//! tables of the store ─► Policy ──────┼─► Verifier::judge ──►┤
//! an instant, or none ─► Time ────────┤                      └─► Judgement: (Check, Outcome) in CCF's order ─► Verdict
//! AMD's and Intel's roots ─► Anchors ─┘
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | `judgement` | [`Check`], [`Outcome`], [`Judgement`], and the [`Verdict`] that follows from them |
//! | `evidence` | [`Evidence`] as `nodes.info` holds it; [`Subject`], the node that it is about |
//! | `time` | [`Time`]: when certificates have to be valid, if at all |
//! | `anchors` | [`Anchors`]: pinned roots, by the digest of their keys |
//! | `product` | [`Product`] and [`CpuId`]: which processor it is |
//! | `remembered` | what was verified once and need not be again, bounded |
//! | `revocation` | revocation lists that were given, and whose they are |
//! | [`snp`] | AMD's report, product, TCB and certificates, and the checks of section 4.1 |
//! | [`uvm`] | who signed the measurement: COSE, did:x509, payload (section 6) |
//! | [`sgx`] | Intel's quote, claims and collateral (section 8) |
//! | [`policy`] | what the store asks of a node (section 4.3) |
//! | `verifier` | [`Verifier`]: all of these together |
//! | `virtual_node` | what a virtual node says it runs: not proof of anything |
//! | `own` | a node's own evidence, verified before it is shown to anybody, and [`Attestation`]: where it comes from |
//!
//! Every check is made on its own, whatever became of the ones before it, and only what can't be looked at is
//! [`Outcome::NotDone`], with the reason. So an audit sees everything, and [`Judgement::first_failure`] is what CCF would have
//! said. CCF compares the certified TCB by "at least" and takes time from the chain; ours are checks beside (`tcb_exact`,
//! `validity`), which [`Judgement::refusal`] asks for too: nobody is let in who does not pass all of them.
//!
//! Arithmetic, for a ledger with 1,000 SNP nodes on two cores. A node costs one ECDSA P-384 verification for its report
//! (0.3 ms), one RSA-4096 for its VCEK (0.1 ms), two PEM texts of 6.5 kB and the digests (0.1 ms); the ARK's signatures over
//! itself and the ASK, and the keys of both (0.4 ms), are the same for all nodes of a product and are remembered. UVM
//! endorsements, four RSA verifications over 11 kB (0.6 ms), are the same for all nodes of a deployment and are remembered
//! whole. 1,000 × 0.5 ms are 0.5 s of one core, 0.25 s of two. Memory: at most 512 remembered results of each kind, of at
//! most 32 kB of input each: some 40 MB a kind when somebody tries hard, 10 MB for a thousand real nodes.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod anchors;
mod evidence;
mod judgement;
mod own;
pub mod policy;
mod product;
mod remembered;
mod revocation;
pub mod sgx;
pub mod snp;
#[cfg(test)]
pub(crate) mod testing;
mod time;
pub mod uvm;
mod verifier;
mod virtual_node;

pub use anchors::{Anchors, TestRoot};
pub use evidence::{Evidence, Platform, Subject};
pub use judgement::{Check, Failure, Judgement, Outcome, Verdict};
pub use own::{Attestation, Given, OwnEvidence, OwnUvm, SnpEvidence};
pub use policy::Policy;
pub use product::{CpuId, Product};
pub use time::Time;
pub use verifier::{Facts, Judged, Verifier};
pub use virtual_node::{VIRTUAL_MEASUREMENT, VirtualQuote, digest_of_executable};
