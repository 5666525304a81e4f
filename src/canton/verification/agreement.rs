//! The first agreement with the other SVs after the restart, from fresh logs (SPEC-CANTON 1.2, 8.8).

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Line, State};
use crate::canton::evidence::{Comparison, Evidence};
use crate::canton::name::Participant;
use crate::canton::{Code, Timestamp};

/// What is expected of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Only ticks after this instant count.
    pub since: Timestamp,
    /// The SVs' participants; without them every counterparty counts as one.
    pub svs: Vec<Participant>,
}

/// How it stands with one counterparty since the restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    first_correct: Option<Timestamp>,
    last_correct: Option<Timestamp>,
    last_mismatch: Option<Timestamp>,
}

impl Standing {
    fn is_forked(self) -> bool {
        self.last_mismatch > self.last_correct
    }
}

/// What the logs named `of` say: a line for the quorum, and one for each counterparty that disagrees.
pub fn judge(of: &str, evidence: &Evidence, expected: &Expected) -> Vec<Line> {
    let standings = standings(evidence, expected);
    let mut lines = Vec::new();
    for (counterparty, standing) in &standings {
        if standing.is_forked()
            && let Some(at) = standing.last_mismatch
        {
            let says = format!("the commitments for {at} differ from those of {counterparty}");
            lines.push(Line::wrong("agreement", of, State::Bad, Code::Disagrees, says));
        }
    }
    let own = evidence.participant.as_ref();
    let others = match expected.svs.is_empty() {
        true => standings.len(),
        // The logs' owner is one of them; where it is not known, one of the list is.
        false => {
            expected.svs.iter().filter(|sv| Some(*sv) != own).count()
                - usize::from(own.is_none()).min(expected.svs.len())
        }
    };
    let quorum = 2 * (others + 1) / 3 + 1;
    let mut firsts: Vec<Timestamp> = standings
        .values()
        .filter(|standing| !standing.is_forked())
        .filter_map(|standing| standing.first_correct)
        .collect();
    firsts.sort();
    let agreeing = firsts.len();
    let kind = if expected.svs.is_empty() {
        "counterparties in the logs"
    } else {
        "other SVs"
    };
    let line = match (firsts.first(), firsts.get(quorum.saturating_sub(2))) {
        (Some(first), Some(at)) if quorum >= 2 => {
            let all = match (agreeing == others, firsts.last()) {
                (true, Some(last)) => format!("with all of them by {last}"),
                _ => format!("{agreeing} of them by now"),
            };
            let says = format!(
                "first at {first}; with a quorum ({quorum} of {} with itself) by {at}; {all}, of {others} {kind}",
                others + 1
            );
            Line::good("agreement", of, says)
        }
        (Some(first), _) => {
            let says = format!(
                "first at {first}, and with {agreeing} of {others} {kind}: no quorum ({quorum} with itself) yet"
            );
            Line::wrong("agreement", of, State::NotYet, Code::NoAgreementYet, says)
        }
        (None, _) => {
            let says = format!("no agreement in the logs since {}", expected.since);
            Line::wrong("agreement", of, State::NotYet, Code::NoAgreementYet, says)
        }
    };
    lines.push(line);
    lines
}

fn standings(evidence: &Evidence, expected: &Expected) -> BTreeMap<Participant, Standing> {
    let svs: BTreeSet<&Participant> = expected.svs.iter().collect();
    let mut standings: BTreeMap<Participant, Standing> = BTreeMap::new();
    for observations in evidence.observations.values() {
        for ((counterparty, period), comparisons) in observations.compared.iter() {
            let is_sv = svs.is_empty() || svs.contains(counterparty);
            if !is_sv || Some(counterparty) == evidence.participant.as_ref() {
                continue;
            }
            let standing = standings.entry(counterparty.clone()).or_default();
            // A tick of before the restart that is compared again says nothing about the state after it.
            let to = period.to_inclusive;
            if to <= expected.since {
                continue;
            }
            if comparisons.contains(&Comparison::Mismatch) {
                standing.last_mismatch = standing.last_mismatch.max(Some(to));
            } else if comparisons.contains(&Comparison::Correct) {
                standing.first_correct = Some(standing.first_correct.map_or(to, |first| first.min(to)));
                standing.last_correct = standing.last_correct.max(Some(to));
            }
        }
    }
    standings
}
