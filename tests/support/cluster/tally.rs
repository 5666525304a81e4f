//! What was seen when nodes of clusters were killed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ledgers::Found;

/// How far a cluster had come when one of its nodes was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// A node joins the public network.
    JoiningPublic,
    /// Several nodes in the public network.
    Public,
    /// Members accept that the service opens.
    Accepting,
    /// One share is submitted, or about to be.
    HalfOfShares,
    /// The last share is submitted: the private pass, and opening.
    Opening,
    /// Open, and governed.
    Governed,
    /// The node that leads is removed.
    HandOver,
    /// A node joins the open service.
    Joining,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Leader,
    Follower,
    /// The one that is joining.
    Joiner,
}

/// What became of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It goes on.
    GoesOn,
    /// Too few are left to go on, by the protocol.
    TooFew,
    /// A lone leader has given up who was let in and never answered.
    GivesUp,
}

/// Counted over all clusters.
#[derive(Default)]
pub struct Tally {
    pub kills: BTreeMap<(Phase, Role, Outcome), u32>,
    pub clusters: u32,
    /// From the kill until the rest has committed something new.
    pub commits: Vec<Duration>,
    /// From the kill until a member who asked after it was told that what she asked for is committed.
    pub served: Vec<Duration>,
    /// The same where a lone leader had to give up first.
    pub given_up: Vec<Duration>,
    /// Went on, later than it should.
    pub late: Vec<String>,
    pub failures: Vec<String>,
    /// Nodes that were joining and were left outside, since who let them in died.
    pub left_outside: u32,
    pub promised: usize,
    pub acts: usize,
    pub receipts: usize,
    pub ledgers: usize,
    pub read_officially: usize,
    pub cut: usize,
    pub begun_with_snapshot: usize,
    pub pairs: BTreeMap<String, usize>,
}

impl Tally {
    pub fn killed(&self) -> u32 {
        self.kills.values().sum()
    }

    pub fn found(&mut self, found: Found) {
        self.ledgers += found.ledgers;
        self.read_officially += found.read_officially;
        self.cut += found.cut;
        self.begun_with_snapshot += found.begun_with_snapshot;
        for (relation, count) in found.pairs {
            *self.pairs.entry(relation).or_default() += count;
        }
    }

    /// In lines that are to be read.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} kills in {} clusters", self.killed(), self.clusters)];
        for ((phase, role, outcome), count) in &self.kills {
            let what = format!("{phase:?}, {role:?}, {outcome:?}");
            lines.push(format!("  {what:<40} {count:>4}"));
        }
        let spread = |what: &str, times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort();
            let at = |part: usize| {
                times
                    .get(times.len() * part / 100)
                    .or(times.last())
                    .copied()
                    .unwrap_or_default()
            };
            format!(
                "{what}: {} times, p50 {:.2} s, p90 {:.2} s, worst {:.2} s",
                times.len(),
                at(50).as_secs_f64(),
                at(90).as_secs_f64(),
                times.last().copied().unwrap_or_default().as_secs_f64()
            )
        };
        lines.push(spread("until something new was committed", &self.commits));
        lines.push(spread("until members were served again", &self.served));
        if !self.given_up.is_empty() {
            lines.push(spread("until a lone leader gave up and went on", &self.given_up));
        }
        lines.push(format!(
            "{} commits and {} proposals were acknowledged, {} receipts remembered; {} nodes were left outside",
            self.promised, self.acts, self.receipts, self.left_outside
        ));
        lines.push(format!(
            "{} ledgers verified, {} of them begun with a snapshot, the others read by the official reader ({}, of which {} had half \
             an entry or table cut off); pairs: {:?}",
            self.ledgers, self.begun_with_snapshot, self.read_officially, self.cut, self.pairs
        ));
        lines.push(format!("{} late, {} failures", self.late.len(), self.failures.len()));
        lines.extend(self.late.iter().map(|late| format!("LATE {late}")));
        lines.extend(self.failures.iter().map(|failure| format!("FAILED {failure}")));
        lines
    }
}
