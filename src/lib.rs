//! Disaster recovery for CCF ledgers: verify, unlock, compare and export, at the speed of the hash.
//!
//! The floors, each of which uses only those below it:
//!
//! | floor | room | what it is for |
//! |---|---|---|
//! | 10 | [`cli`] | one file a sub-command: parse arguments, call the library, render |
//! | 9 | [`drill`] | a rehearsal of the whole disaster |
//! | 8 | [`sim`] | whole lives of services over a clock and a disk from a seed |
//! | 7 | [`node`] | the living node: configuration, recovery, sequencer, governance, HTTP |
//! | 7 | [`member`] | a consortium member's client |
//! | 7 | [`fixture`] | made-up service histories, for tests and rehearsals |
//! | 6 | [`mod@core`] | what the writer of a ledger decides, from events to effects |
//! | 5 | [`recovery`] | the reading engine: scan, trust, verify, secrets, unlock, state, compare |
//! | 5 | [`journal`] | the one pen: write set, sealed entry, leaf, chunk file; signatures; snapshots |
//! | 4 | [`kv`] | versioned store |
//! | 3 | [`tables`] | names, keys and values of the public tables |
//! | 2 | [`merkle`] | tree, accumulator, proofs, receipts |
//! | 1 | [`mod@format`] | bytes on disk, reader and writer side by side |
//! | 0 | [`crypto`] | thin, typed calls into libraries |

pub mod cli;
pub mod core;
pub mod crypto;
pub mod drill;
pub mod error;
pub mod fixture;
pub mod format;
pub mod journal;
pub mod kv;
pub mod member;
pub mod merkle;
pub mod node;
#[doc(hidden)]
pub mod probes;
pub mod recovery;
pub mod shown;
pub mod sim;
pub mod tables;

pub use error::{Error, Result};
