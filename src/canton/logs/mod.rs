//! What a participant's logs say about ACS commitments, whatever wrote, wrapped or packed them (SPEC-CANTON 1.1 to 1.5, 5.3).
//!
//! [`scan`] reads the logs of **one** Super Validator once, from one end to the other, and keeps what they say as
//! [`Evidence`]: each thing once, so that order, repetition and how a log was cut into
//! files change nothing.
//!
//! All that is of interest is in records that hold the word `Commitment`: in the names of the loggers
//! (`AcsCommitmentProcessor`, `ReceivedAcsCommitmentMatcher`), in the sentences, and in the periods they speak of. No
//! encoder or wrapper escapes any of its letters. So a log is searched for this one word (`search`) at the speed of a
//! substring search, and only around a hit is anything unwrapped (`record`): pieces joined, JSON unescaped, lines of one
//! record put together. A word that is cut in two by a piece of 16 KiB is no loss, as a record holds it several times.
//!
//! Memory is bounded whatever the logs are: a window for each thread, a record of at most `record::LONGEST` around a hit,
//! and what the evidence keeps.

mod alone;
mod common;
mod diagnosis;
mod gathered;
mod journal;
mod json;
mod logger;
#[cfg(test)]
mod memory;
mod message;
mod named;
mod pieces;
mod quoting;
mod record;
mod scanning;
mod search;
mod sources;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod window;
mod wrapping;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::canton::evidence::Evidence;
use crate::canton::finding::Ending;
use crate::canton::name::Participant;
use crate::canton::release::Canton;
use crate::canton::{Findings, Timestamp};
use crate::error::Result;

pub use named::Named;

/// How logs are to be read.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The participant that wrote the logs, where the operator says so. It wins over what the logs say.
    pub participant: Option<Participant>,
    /// The release line of Canton that wrote them, where the operator says so; else it is told from the logs.
    pub canton: Option<Canton>,
    /// Only what ends (`toInclusive`) at this instant or later is kept.
    pub after: Option<Timestamp>,
    /// Only what ends (`toInclusive`) at this instant or earlier is kept.
    pub before: Option<Timestamp>,
    /// Threads to read with; 0 for one a core.
    pub threads: usize,
}

/// What was found in the logs of one Super Validator; by default that there are none.
#[derive(Debug, Default)]
pub struct Scanned {
    /// What they say, with the owner where it is known.
    pub evidence: Evidence,
    /// What is wrong with them, and why nothing was found where nothing was.
    pub findings: Findings,
    /// `Clean`; `Partial` where a packed file breaks off; `Unreadable` where a file could not be read. Findings that are
    /// more than information make the ending of a command `Negative` at least: that is the caller's to say.
    pub ending: Ending,
    /// Files read.
    pub files: u64,
    /// Bytes examined, unpacked.
    pub bytes: u64,
    /// How often `Commitment correct for sender ` is in them, attributed or not, before equal ones are put together.
    pub hits: u64,
    /// Of these, how many stand in no record of the commitment processor: in output of tools, in quotations.
    pub unattributed: u64,
    /// How many records of each kind were found.
    pub kinds: BTreeMap<&'static str, u64>,
}

/// Reads logs of one Super Validator: files, directories with all that is in them, patterns such as `logs/*.gz`, and `-` for
/// the standard input. `progress` is told of every few MiB read, from several threads.
///
/// # Errors
/// [`crate::Error::Usage`] where a path or pattern names nothing. What can't be read is a finding.
pub fn scan(paths: &[PathBuf], settings: &Settings, progress: &(dyn Fn(u64) + Sync)) -> Result<Scanned> {
    let sources = sources::expand(paths)?;
    let gathered = scanning::run(&sources, settings, progress);
    Ok(diagnosis::conclude(gathered, settings))
}

/// Reads a log that is in memory and not packed. What is wrong with it is not said.
pub fn scan_bytes(bytes: &[u8], settings: &Settings) -> Evidence {
    let total = std::sync::Mutex::new(gathered::Total::default());
    let lock = || total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let give = |take: &mut dyn FnMut(&mut gathered::Total)| take(&mut lock());
    let mut gathered = gathered::Gathered::new(settings, &give);
    search::Search::new().whole(bytes, &mut gathered);
    gathered.hand_over();
    std::mem::take(&mut lock().evidence)
}

/// Bytes of the files that the paths name, as they lie on disk: what progress is measured against. 0 where they can't be
/// told; [`scan`] says why.
pub fn size(paths: &[PathBuf]) -> u64 {
    let logs = sources::expand(paths).unwrap_or_default();
    let files = logs.iter().flatten().filter_map(|source| match source {
        sources::Source::File(path) => std::fs::metadata(path).ok(),
        sources::Source::Stdin => None,
    });
    files.map(|metadata| metadata.len()).sum()
}

/// Whether a file is among those that the paths name.
///
/// # Errors
/// As [`scan`].
pub fn reads(paths: &[PathBuf], file: &Path) -> Result<bool> {
    let id = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let wanted = id(file);
    let logs = sources::expand(paths)?;
    let mut files = logs.iter().flatten();
    Ok(wanted.is_some() && files.any(|source| matches!(source, sources::Source::File(path) if id(path) == wanted)))
}
