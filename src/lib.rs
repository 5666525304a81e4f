//! Disaster recovery for CCF ledgers: verify, unlock, compare and export, at the speed of the hash.
//!
//! The layers, each of which uses only those below it:
//!
//! | layer | module | what it is for |
//! |---|---|---|
//! | 12 | [`cli`] | one file a sub-command: parse arguments, call the library, render |
//! | 11 | [`drill`] | a rehearsal of the whole disaster |
//! | 10 | [`sim`] | whole lives of services over a clock and a disk from a seed |
//! | 9 | [`node`] | the living node: configuration, recovery, writer, API |
//! | 8 | [`governance`] | signed requests, proposals, ballots, acknowledgements, views |
//! | 7 | [`service`] | what transactions write: creation, shares, secrets, opening |
//! | 7 | [`script`] | the ledger's constitution and ballots, run in QuickJS |
//! | 7 | `canton` | disaster recovery for Canton's Super Validators, beside the CCF engine |
//! | 7 | [`member`] | a consortium member's client |
//! | 7 | [`heal`] | self-healing open: whose ledger is best, and who opens |
//! | 7 | [`fixture`] | made-up service histories, for tests and rehearsals |
//! | 7 | [`watch`] | the nodes of a living service asked, and whether a recovery is needed |
//! | 6 | [`archive`] | all copies of all nodes in one place, each equal block once, proven and restorable |
//! | 6 | [`snapshot`] | snapshots held against the ledger, and lost ones rebuilt from it |
//! | 6 | [`web`] | the look of everything that is shown in a browser, and reports as self-contained files |
//! | 6 | [`mod@core`] | what the writer of a ledger decides, without doing it |
//! | 5 | [`recovery`] | the reading engine: scan, trust, verify, secrets, unlock, state, compare |
//! | 5 | [`journal`] | sealed entries, signature transactions, chunk files, snapshots |
//! | 5 | [`consensus`] | CCF's agreement among nodes, as one of them decides it |
//! | 4 | [`kv`] | versioned store |
//! | 4 | [`mod@http`] | server, router, documents, metrics: nothing of CCF's tables |
//! | 3 | [`tables`] | names, keys and values of the public tables |
//! | 2 | [`merkle`] | tree, accumulator, proofs, receipts |
//! | 2 | [`report`] | findings, codes, verdicts, progress |
//! | 2 | [`attestation`] | evidence of a node in, one outcome per check out |
//! | 2 | [`channel`] | the wire between nodes: frames, handshake, protected messages |
//! | 2 | [`net`] | TLS, whom a client trusts, one document fetched |
//! | 1 | [`mod@format`] | bytes on disk, reader and writer side by side |
//! | 0 | [`crypto`] | thin, typed calls into libraries |

pub mod archive;
pub mod attestation;
#[cfg(feature = "canton")]
pub mod canton;
pub mod channel;
pub mod cli;
pub mod consensus;
pub mod core;
pub mod crypto;
pub mod drill;
pub mod error;
pub mod fixture;
pub mod format;
pub mod governance;
pub mod heal;
pub mod http;
pub mod journal;
pub mod kv;
pub mod member;
pub mod merkle;
pub mod net;
pub mod node;
#[doc(hidden)]
pub mod probes;
pub mod recovery;
pub mod report;
pub mod script;
pub mod sealing;
pub mod service;
pub mod shown;
pub mod sim;
pub mod snapshot;
pub mod tables;
pub mod watch;
pub mod web;

pub use error::{Error, Result};
