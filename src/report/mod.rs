//! Findings: whatever is wrong with a ledger, collected and never thrown.
//!
//! A finding has a stable code, the place, what is proven up to there and what to do next; a person, a script and a
//! node's log all get the same one. [`Code`] is the register: codes are never reused.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod codes;
pub mod output;
pub mod progress;
pub(crate) mod register;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::Seqno;
use crate::shown::{Show, line};

pub use codes::Code;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Not as it should be, but nothing that was signed is lost or unproven.
    Warning,
    /// Something signed is lost, damaged or unproven.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What kind.
    #[schemars(with = "String")]
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// In which file, as [`crate::shown`] shows paths.
    pub file: Option<String>,
    /// Where in it, bytes.
    pub offset: Option<u64>,
    /// At which seqno.
    pub seqno: Option<Seqno>,
    /// What was found and what was expected, on one line that can be shown.
    pub message: String,
    /// Everything up to this seqno is proven by a signature that verified.
    pub proven_to: Option<Seqno>,
    /// What to do next.
    pub next: String,
}

impl Finding {
    /// Whether it is an error in what a reader was to get. Where a chunk's positions table or the word that leads to it is
    /// damaged, the entries are read by their own headers, and nothing is missing.
    pub fn costs_entries(&self) -> bool {
        self.severity == Severity::Error && !matches!(self.code, Code::ChunkHeader | Code::Position)
    }

    /// A finding of this kind, with nothing known about the place yet.
    pub fn new(code: Code, message: impl Into<String>) -> Finding {
        Finding {
            code,
            severity: code.severity(),
            file: None,
            offset: None,
            seqno: None,
            message: line(&message.into()).into_owned(),
            proven_to: None,
            next: code.next().to_owned(),
        }
    }

    /// In this file.
    pub fn file(mut self, path: &Path) -> Finding {
        self.file = Some(path.shown().to_string());
        self
    }

    /// At this offset.
    pub fn offset(mut self, offset: u64) -> Finding {
        self.offset = Some(offset);
        self
    }

    /// At this seqno.
    pub fn seqno(mut self, seqno: Seqno) -> Finding {
        self.seqno = Some(seqno);
        self
    }

    /// Of another severity than its kind usually has.
    pub fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// With another advice than its kind usually has.
    pub fn next(mut self, next: impl Into<String>) -> Finding {
        self.next = line(&next.into()).into_owned();
        self
    }
}

/// The short answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Nothing is wrong, and nothing ties it to the service that it names: see docs/trust.md.
    Unproven,
    /// See the findings: at least one is a warning or an error.
    Findings,
}

impl Verdict {
    /// The verdict that follows from findings: information alone is no reason for concern.
    pub fn of(findings: &[Finding]) -> Verdict {
        let mut verdict = Verdict::Ok;
        for finding in findings.iter().filter(|finding| finding.severity > Severity::Info) {
            if finding.code != Code::Unproven {
                return Verdict::Findings;
            }
            verdict = Verdict::Unproven;
        }
        verdict
    }

    /// 0 or 1.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Ok => 0,
            Verdict::Unproven | Verdict::Findings => 1,
        }
    }
}

/// Findings of one kind that are listed one by one; further ones are counted in a last finding of that kind.
const LISTED_PER_CODE: usize = 1000;

/// Findings that a new one is compared with.
const REMEMBERED: usize = 32;

/// Collects findings; hostile ledgers can have millions, so each kind is listed up to a bound and then counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    listed: Vec<Finding>,
    counts: std::collections::BTreeMap<Code, usize>,
}

impl Findings {
    /// Adds one. What was said a moment ago is not said again, as where writes are applied anew.
    pub fn push(&mut self, finding: Finding) {
        let same = |said: &Finding| {
            (said.code, said.seqno, said.offset, &said.message, &said.file)
                == (
                    finding.code,
                    finding.seqno,
                    finding.offset,
                    &finding.message,
                    &finding.file,
                )
        };
        if self.listed.iter().rev().take(REMEMBERED).any(same) {
            return;
        }
        let count = self.counts.entry(finding.code).or_default();
        *count += 1;
        if *count <= LISTED_PER_CODE {
            self.listed.push(finding);
        }
    }

    /// Whether a finding that is more than information has been made at this seqno.
    pub fn has_fault_at(&self, seqno: Seqno) -> bool {
        let at = |finding: &&Finding| finding.seqno == Some(seqno) && finding.severity > Severity::Info;
        self.listed.iter().rev().any(|finding| at(&finding))
    }

    /// Whether there is a finding of any of these kinds.
    pub fn has_any(&self, codes: &[Code]) -> bool {
        codes.iter().any(|code| self.counts.contains_key(code))
    }

    /// What has been listed so far.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Finding> {
        self.listed.iter_mut()
    }

    /// All of them, by seqno; the worst first where they share one.
    pub fn finish(mut self) -> Vec<Finding> {
        for (code, count) in self.counts {
            if count > LISTED_PER_CODE {
                self.listed.push(Finding::new(
                    code,
                    format!("{} more findings of this kind are not listed", count - LISTED_PER_CODE),
                ));
            }
        }
        self.listed.sort_by_key(|finding| {
            (
                finding.seqno.unwrap_or(Seqno::MAX),
                std::cmp::Reverse(finding.severity),
                finding.code,
            )
        });
        self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_say_what_to_do() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(!code.next().is_empty() && !code.meaning().is_empty());
        }
    }

    #[test]
    fn information_alone_is_a_clean_verdict() {
        let mut findings = vec![Finding::new(Code::Unsigned, "3 entries")];
        assert_eq!(Verdict::of(&findings), Verdict::Ok);
        findings.push(Finding::new(Code::Unproven, "1.x"));
        assert_eq!(Verdict::of(&findings), Verdict::Unproven);
        findings.push(Finding::new(Code::TornTail, "cut"));
        assert_eq!(Verdict::of(&findings), Verdict::Findings);
    }
}
