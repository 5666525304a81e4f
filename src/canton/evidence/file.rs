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

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::{Comparison, Evidence, Fact, Facts, MOST_FACTS, Period, digest};
use crate::canton::Timestamp;
use crate::canton::name::Participant;
use crate::shown::Shown;

/// What the field `format` says.
pub const FORMAT: &str = "rekindle-canton-evidence";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Bytes of the largest file that is read. Forty SVs that compare for a year, never twice for the same length of time, are
/// 700,000 runs of some 50 bytes.
pub const LARGEST: usize = 128 << 20;
/// Characters of the longest name of an SV.
pub const LONGEST_NAME: usize = 200;

/// Why bytes are no evidence file that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Larger than any real one.
    #[error("it has {0} bytes and an evidence file at most {LARGEST}: ask its SV to run `rekindle canton scan` again")]
    TooLarge(usize),
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u32,
    name: String,
    participant: Option<String>,
    digest: String,
    left_out: u64,
    synchronizers: Vec<Synchronizer>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Synchronizer {
    synchronizer: String,
    reached: Option<Timestamp>,
    pruned: Option<Timestamp>,
    catching_up: bool,
    counterparties: Vec<Counterparty>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counterparty {
    participant: Participant,
    sent: Option<Timestamp>,
    correct: Vec<Run>,
    weak: Vec<Run>,
    mismatch: Vec<Run>,
}

/// The instant before the first period, microseconds of each, how many.
#[derive(Serialize, Deserialize, Clone, Copy)]
struct Run(Timestamp, i64, u64);

/// Enough of a document to know what it is.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
    #[serde(flatten)]
    _rest: BTreeMap<String, IgnoredAny>,
}

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

/// Reads a file: the SV's name, and its evidence.
///
/// # Errors
/// Whatever is no such file, or was changed after it was written: what was found, and what to do.
pub fn parse(bytes: &[u8]) -> Result<(String, Evidence), Fault> {
    if bytes.len() > LARGEST {
        return Err(Fault::TooLarge(bytes.len()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match serde_json::from_slice::<Head>(bytes) {
        Ok(head) if head.format != FORMAT => return Err(Fault::Another),
        Ok(head) if head.version != VERSION => return Err(Fault::Version(head.version)),
        Ok(_) => {}
        Err(why) if why.is_eof() && contains(bytes, FORMAT.as_bytes()) => return Err(Fault::Shape(why)),
        Err(_) => return Err(Fault::Another),
    }
    let document: Document = serde_json::from_slice(bytes).map_err(Fault::Shape)?;
    if document.name.is_empty() || document.name.chars().count() > LONGEST_NAME {
        let found = format!("the SV's name must have 1 to {LONGEST_NAME} characters");
        return Err(Fault::Content(found));
    }
    let evidence = read(&document)?;
    let computed = digest(&evidence);
    if computed != document.digest {
        let stated = crate::shown::excerpt(&document.digest);
        return Err(Fault::Digest { stated, computed });
    }
    Ok((document.name, evidence))
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}

fn read(document: &Document) -> Result<Evidence, Fault> {
    let mut evidence = Evidence {
        left_out: document.left_out,
        ..Evidence::default()
    };
    if let Some(owner) = &document.participant {
        let why = |why: crate::canton::name::NotAParticipant| Fault::Content(format!("of its owner: {why}"));
        evidence.participant = Some(owner.parse().map_err(why)?);
    }
    // Checked before anything is unfolded: a few bytes may promise billions of periods.
    let runs = document
        .synchronizers
        .iter()
        .flat_map(|synchronizer| &synchronizer.counterparties)
        .flat_map(|party| [&party.correct, &party.weak, &party.mismatch].into_iter().flatten());
    let periods = runs.fold(0u64, |sum, run| sum.saturating_add(run.2));
    if periods > MOST_FACTS as u64 {
        let found = format!("it promises {periods} periods, and an evidence file has at most {MOST_FACTS}");
        return Err(Fault::Content(found));
    }
    for synchronizer in &document.synchronizers {
        if evidence.observations.contains_key(&synchronizer.synchronizer) {
            return Err(Fault::Content("a synchronizer stands in it twice".to_owned()));
        }
        read_one(&mut evidence, synchronizer)?;
    }
    // What was left out when it was written was left out of a full one, and what is there has room.
    match evidence.left_out == document.left_out {
        true => Ok(evidence),
        false => Err(Fault::Content(format!("it holds more than {MOST_FACTS} facts"))),
    }
}

fn read_one(evidence: &mut Evidence, synchronizer: &Synchronizer) -> Result<(), Fault> {
    let name = synchronizer.synchronizer.as_str();
    evidence.observations.insert(name.to_owned(), Default::default());
    evidence.kept += 1;
    let instants = [
        synchronizer.reached.map(Fact::Reached),
        synchronizer.pruned.map(Fact::Pruned),
        synchronizer.catching_up.then_some(Fact::CatchingUp),
    ];
    instants
        .into_iter()
        .flatten()
        .for_each(|fact| evidence.take(name, fact));
    let mut seen = BTreeSet::new();
    for party in &synchronizer.counterparties {
        let counterparty = &party.participant;
        if !seen.insert(counterparty) {
            return Err(Fault::Content(format!("{counterparty} stands twice in a synchronizer")));
        }
        if let Some(to_inclusive) = party.sent {
            let counterparty = counterparty.clone();
            evidence.take(
                name,
                Fact::Sent {
                    counterparty,
                    to_inclusive,
                },
            );
        }
        let lists = [
            (Comparison::Correct, &party.correct),
            (Comparison::Weak, &party.weak),
            (Comparison::Mismatch, &party.mismatch),
        ];
        for (comparison, runs) in lists {
            for run in runs {
                let run = unfold(run)?;
                // Whatever has no room is counted as left out, and refused for that.
                let left_out = evidence.left_out;
                let new = evidence.take_run(name, counterparty, run, comparison);
                let again = new < run.count && evidence.left_out == left_out;
                if again {
                    return Err(Fault::Content(format!("a period of {counterparty} stands in it twice")));
                }
            }
        }
    }
    Ok(())
}

/// The periods that a run stands for.
fn unfold(run: &Run) -> Result<super::Run, Fault> {
    let Run(from_exclusive, length, count) = *run;
    let wrong = |what: &str| Fault::Content(format!("a run of periods that {what}, at {from_exclusive}"));
    // A log may hold a period that ends where or before it begins; two of them never follow each other.
    if count == 0 || (length <= 0 && count > 1) {
        return Err(wrong("has no periods"));
    }
    let after = |count: u64| {
        let micros = length.checked_mul(i64::try_from(count).ok()?)?;
        Timestamp::from_micros(from_exclusive.micros().checked_add(micros)?)
    };
    let first_and_last = after(1).zip(after(count)).zip(u32::try_from(count).ok());
    let Some(((to_inclusive, _), count)) = first_and_last else {
        return Err(wrong("goes beyond what Canton's clock knows"));
    };
    let first = Period {
        from_exclusive,
        to_inclusive,
    };
    Ok(super::Run { first, count })
}
