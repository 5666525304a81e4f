//! What is fetched and how patiently, and how it went.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::canton::finding::{Ending, Finding};
use crate::canton::release::Splice;
use crate::canton::timestamp::Timestamp;

use super::answer::Meaning;
use super::reading::Document;
use super::service::Asked;

/// What to fetch, where to, and how patiently.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is asked for.
    pub asked: Asked,
    /// The file to write.
    pub out: PathBuf,
    /// Whether a file that is there is replaced, by a complete good one.
    pub replaces: bool,
    /// How many earlier times are tried where one is too late.
    pub probes: u32,
    /// How much earlier each is, seconds.
    pub step_s: u32,
    /// How often the same is asked again.
    pub retries: u32,
    /// How long to wait before that; twice as long each time.
    pub first_wait: Duration,
    /// Bytes of an answer.
    pub most_bytes: u64,
    /// The release, where the operator says it.
    pub release: Option<Splice>,
    /// Whether a release that has no use for a snapshot is asked nevertheless.
    pub is_for_nothing_else: bool,
}

/// One request, as a report tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// The time asked for.
    pub timestamp: Timestamp,
    /// The answer's status; none where there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What it meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Meaning>,
    /// What the server said, or what failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// As the exit code says it.
    pub ending: Ending,
    /// The file's document, where there is a good one now.
    pub document: Option<Document>,
    /// The time it is of.
    pub timestamp: Timestamp,
    /// The release, where it is known.
    pub release: Option<Splice>,
    /// The requests.
    pub attempts: Vec<Attempt>,
    /// What is to be said.
    pub findings: Vec<Finding>,
}
