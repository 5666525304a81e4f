//! Findings about a Super Validator's logs, backups, identities and installation: what, where, what it means, what to do.
//!
//! The same form as the ledger engine's ([`crate::report`]), with an SV and a file where that has a seqno. [`Code`] is the
//! register: codes are never reused.

mod codes;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::report::Severity;
use crate::shown::{Show, excerpt};

pub use codes::Code;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Of whom it speaks: an SV's name, a pod, a step of a runbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// In which file or at which address, as [`crate::shown`] shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in it, bytes; of a compressed file, of what comes out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What was found and what was expected, on one line that can be shown.
    pub message: String,
    /// What it means, in a sentence.
    pub meaning: &'static str,
    /// What to do next.
    pub next: String,
}

impl Finding {
    /// A finding of this kind, with nothing known about the place yet.
    pub fn new(code: Code, message: impl AsRef<str>) -> Finding {
        Finding {
            code,
            severity: code.severity(),
            of: None,
            file: None,
            offset: None,
            message: excerpt(message.as_ref()),
            meaning: code.meaning(),
            next: code.next().to_owned(),
        }
    }

    /// About this SV, pod or step.
    pub fn of(mut self, whom: impl AsRef<str>) -> Finding {
        self.of = Some(excerpt(whom.as_ref()));
        self
    }

    /// In this file.
    pub fn file(mut self, path: &Path) -> Finding {
        self.file = Some(path.shown().to_string());
        self
    }

    /// At this address: of a server, of a database. The caller answers for its holding no password.
    pub fn at(mut self, address: impl AsRef<str>) -> Finding {
        self.file = Some(excerpt(address.as_ref()));
        self
    }

    /// At this offset.
    pub fn offset(mut self, offset: u64) -> Finding {
        self.offset = Some(offset);
        self
    }

    /// Of another severity than its kind usually has.
    pub fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// With another advice than its kind usually has.
    pub fn next(mut self, next: impl AsRef<str>) -> Finding {
        self.next = excerpt(next.as_ref());
        self
    }
}

/// Findings of one kind that are listed one by one; further ones are counted.
const LISTED_PER_CODE: u64 = 100;

/// Collects findings; hostile inputs can have millions, so each kind is listed up to a bound and then counted.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    listed: Vec<Finding>,
    counts: BTreeMap<Code, u64>,
}

impl Findings {
    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code).or_default();
        *count += 1;
        if *count <= LISTED_PER_CODE {
            self.listed.push(finding);
        }
    }

    /// Adds all of another collection.
    pub fn append(&mut self, other: Findings) {
        for (code, count) in &other.counts {
            let listed = other.listed.iter().filter(|finding| finding.code == *code).count() as u64;
            *self.counts.entry(*code).or_default() += count - listed;
        }
        other.listed.into_iter().for_each(|finding| self.push(finding));
    }

    /// Whether there is one of this kind.
    pub fn has(&self, code: Code) -> bool {
        self.counts.contains_key(&code)
    }

    /// Whether there is one of this severity or worse.
    pub fn any_at_least(&self, severity: Severity) -> bool {
        self.listed.iter().any(|finding| finding.severity >= severity)
    }

    /// All of them, worst first, then by code, and in the order they were found.
    pub fn finish(mut self) -> Vec<Finding> {
        for (code, count) in &self.counts {
            if *count > LISTED_PER_CODE {
                let more = format!("{} more findings of this kind are not listed", count - LISTED_PER_CODE);
                self.listed.push(Finding::new(*code, more));
            }
        }
        self.listed
            .sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code));
        self.listed
    }
}

impl Extend<Finding> for Findings {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }
}

/// How a command of this part ended, as its exit code says it (SPEC-CANTON 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// 0: all is well.
    #[default]
    Clean,
    /// 1: what was examined is not as it should be.
    Negative,
    /// 5: a part was done, and the same command goes on from there; or a part could be read.
    Partial,
    /// 4: a server or a cluster refused.
    Refused,
    /// 3: the input can't be read, or is not what it should be.
    Unreadable,
}

impl Ending {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::Clean => 0,
            Ending::Negative => 1,
            Ending::Unreadable => 3,
            Ending::Refused => 4,
            Ending::Partial => 5,
        }
    }

    /// Clean, or negative where a finding is more than information.
    pub fn of(findings: &[Finding]) -> Ending {
        match findings.iter().any(|finding| finding.severity > Severity::Info) {
            true => Ending::Negative,
            false => Ending::Clean,
        }
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
            assert!(code.as_str().starts_with('C') && code.as_str().len() == 5);
            assert!(!code.next().is_empty() && !code.meaning().is_empty());
        }
    }
}
