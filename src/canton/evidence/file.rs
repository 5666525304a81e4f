//! The evidence file: what the sources of one SV say, in a few kilobytes that its operator gives to the others instead of its
//! logs (SPEC-CANTON 8.3). It holds names of participants, instants, and nothing else of a log.
//!
//! One JSON document; the same evidence gives the same bytes:
//!
//! ```json
//! {"format":"rekindle-canton-evidence","version":1,"name":"sv-1","participant":"PAR::sv-1::1220…","digest":"16 digits",
//!  "left_out":0,"synchronizers":[{"synchronizer":"global-domain","reached":"…Z","pruned":"…Z","catching_up":false,
//!   "counterparties":[{"participant":"PAR::sv-2::12205f1149bc...","sent":"…Z",
//!     "correct":[["2024-04-21T23:00:00Z",60000000,25]],"weak":[],"mismatch":[]}]}]}
//! ```
//!
//! Periods stand in runs: the instant before the first, the length of each in microseconds, and how many follow each other
//! without a gap. A month of agreement is one run.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::{Comparison, Evidence, digest, reading};
use crate::canton::Timestamp;
use crate::canton::name::Participant;
use crate::shown::Shown;

/// What the field `format` says.
pub const FORMAT: &str = "rekindle-canton-evidence";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Bytes of the largest file that is read: what is kept of one SV is at most 260,000 runs of some 60 bytes.
pub const LARGEST: usize = 32 << 20;
/// Characters of the longest name of an SV.
pub const LONGEST_NAME: usize = 200;

/// Why bytes are no evidence file that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Larger than any real one.
    #[error(
        "it has more than {LARGEST} bytes, which is more than any evidence file: ask its SV to run `rekindle canton scan` again"
    )]
    TooLarge,
    /// The machine's.
    #[error("{}", Shown(.0))]
    Unread(std::io::Error),
    /// Something else altogether.
    #[error(
        "it is no evidence file: expected a JSON document with \"format\":\"{FORMAT}\", as `rekindle canton scan` writes it"
    )]
    Another,
    /// Of a version that this program does not know.
    #[error("it is an evidence file of version {0}, and this program reads version {VERSION}: use a newer rekindle")]
    Version(u32),
    /// Not of the shape that it should have.
    #[error("it is a damaged evidence file: {}", Shown(.0))]
    Shape(serde_json::Error),
    /// Of the right shape, with a content that `scan` never writes.
    #[error("it is a damaged evidence file: {0}")]
    Content(String),
    /// Not what was written.
    #[error("its digest is {stated}, and what it says has {computed}: it was changed or damaged after it was written")]
    Digest {
        /// What it says its digest is.
        stated: String,
        /// What it is.
        computed: String,
    },
}

#[derive(Serialize)]
struct Document {
    format: String,
    version: u32,
    name: String,
    participant: Option<String>,
    digest: String,
    left_out: u64,
    synchronizers: Vec<Synchronizer>,
}

#[derive(Serialize)]
struct Synchronizer {
    synchronizer: String,
    reached: Option<Timestamp>,
    pruned: Option<Timestamp>,
    catching_up: bool,
    counterparties: Vec<Counterparty>,
}

#[derive(Serialize)]
struct Counterparty {
    participant: Participant,
    sent: Option<Timestamp>,
    correct: Vec<Run>,
    weak: Vec<Run>,
    mismatch: Vec<Run>,
}

/// The instant before the first period, microseconds of each, how many.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub(super) struct Run(pub Timestamp, pub i64, pub u64);

/// The file for an SV of this name: one line, always the same for the same evidence.
///
/// # Errors
/// The serialiser's: memory that can't be had.
pub fn to_json(name: &str, evidence: &Evidence) -> Result<Vec<u8>, serde_json::Error> {
    let synchronizers = evidence
        .observations
        .iter()
        .map(|(synchronizer, observations)| {
            let mut each: BTreeMap<&Participant, [Vec<Run>; 3]> = BTreeMap::new();
            for (counterparty, comparison, run) in observations.compared.runs() {
                let [correct, weak, mismatch] = each.entry(counterparty).or_default();
                let list = match comparison {
                    Comparison::Correct => correct,
                    Comparison::Weak => weak,
                    Comparison::Mismatch => mismatch,
                };
                list.push(Run(run.first.from_exclusive, run.length(), run.count.into()));
            }
            for counterparty in observations.sent.keys() {
                each.entry(counterparty).or_default();
            }
            let counterparties = each
                .into_iter()
                .map(|(counterparty, [correct, weak, mismatch])| Counterparty {
                    participant: counterparty.clone(),
                    sent: observations.sent.get(counterparty).copied(),
                    correct,
                    weak,
                    mismatch,
                });
            Synchronizer {
                synchronizer: synchronizer.clone(),
                reached: observations.reached,
                pruned: observations.pruned,
                catching_up: observations.was_catching_up,
                counterparties: counterparties.collect(),
            }
        })
        .collect();
    let document = Document {
        format: FORMAT.to_owned(),
        version: VERSION,
        name: name.to_owned(),
        participant: evidence
            .participant
            .as_ref()
            .map(|owner| format!("PAR::{}::{}", owner.identifier(), owner.fingerprint())),
        digest: digest(evidence),
        left_out: evidence.left_out,
        synchronizers,
    };
    let mut json = serde_json::to_vec(&document)?;
    json.push(b'\n');
    Ok(json)
}

/// Reads a file that is in memory: the SV's name, and its evidence.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8]) -> Result<(String, Evidence), Fault> {
    match bytes.len() > LARGEST {
        true => Err(Fault::TooLarge),
        false => read(bytes),
    }
}

/// Reads a file from its beginning to its end: the SV's name, and its evidence. Of the file no more is in memory than a run.
///
/// # Errors
/// Whatever is no such file, or was changed after it was written: what was found, and what to do.
pub fn read(source: impl Read) -> Result<(String, Evidence), Fault> {
    reading::read(source)
}
