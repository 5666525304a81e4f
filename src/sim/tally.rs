//! What seeds have lived through, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use crate::report::Finding;

/// What seeds have lived through.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Services that were begun.
    pub begun: u64,
    /// That opened.
    pub opened: u64,
    /// Losses of power.
    pub crashes: u64,
    /// Writers that gave up.
    pub given_up: u64,
    /// Disks that failed for good, and ended the process.
    pub failed_for_good: u64,
    /// Elections that took something back.
    pub elections: u64,
    /// Entries that were promised.
    pub promised: u64,
    /// Committed snapshots that were looked at.
    pub snapshots: u64,
    /// Recoveries that had to be told to drop a torn signature that was not promised.
    pub dropped: u64,
    /// Findings that a crash explains, by code.
    pub findings: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn finding(&mut self, finding: &Finding) {
        let code = format!("{} {:?}", finding.code.as_str(), finding.severity);
        *self.findings.entry(code).or_default() += 1;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Tally) {
        self.begun += other.begun;
        self.opened += other.opened;
        self.crashes += other.crashes;
        self.given_up += other.given_up;
        self.failed_for_good += other.failed_for_good;
        self.elections += other.elections;
        self.promised += other.promised;
        self.snapshots += other.snapshots;
        self.dropped += other.dropped;
        for (code, count) in &other.findings {
            *self.findings.entry(code.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} services begun, {} opened; {} losses of power, {} writers gave up, {} of them on a disk \
             that failed for good, {} elections; {} entries promised, {} \
             committed snapshots checked; {} recoveries told to drop a torn signature that was not promised; findings that \
             a crash explains:",
            self.begun,
            self.opened,
            self.crashes,
            self.given_up,
            self.failed_for_good,
            self.elections,
            self.promised,
            self.snapshots,
            self.dropped
        )?;
        for (code, count) in &self.findings {
            write!(f, " {code} ×{count};")?;
        }
        Ok(())
    }
}
