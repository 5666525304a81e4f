//! What a decision has to say besides its answer.

use super::clique::{has, members, size};
use super::history::Pair;
use super::outcome::at_odds;
use super::{Decision, Settings, Standing, Verdict, two_thirds};
use crate::canton::{Code, Finding, Findings, Timestamp};

/// Participants that are listed by name.
const NAMED: usize = 5;

pub(super) fn find(decision: &Decision, settings: &Settings, is_stopped: bool, findings: &mut Findings) {
    if decision.verdict == Verdict::NoAgreement {
        findings.push(no_agreement(decision));
    }
    forks(decision, findings);
    for sv in &decision.svs {
        let reached = sv.reached.map_or("nothing".to_owned(), |reached| reached.to_string());
        let finding = match sv.verdict {
            Standing::Behind => Finding::new(Code::Behind, format!("it had reached {reached}")),
            Standing::Pruned => {
                let pruned = sv.pruned.map_or(String::new(), |pruned| pruned.to_string());
                Finding::new(Code::PrunedAway, format!("its contracts before {pruned} are gone"))
            }
            Standing::NoEvidence if sv.participant.is_none() => {
                let message = "it has no source, and it is not known which participant is its";
                Finding::new(Code::ParticipantUnknown, message)
            }
            Standing::NoEvidence => Finding::new(Code::NoEvidence, "no source speaks about it"),
            Standing::Ok | Standing::OkByOthers if sv.agreed_until.is_none() && decision.verdict == Verdict::Agreed => {
                let message = format!("it had reached {reached}, and no source says that it agreed with the support");
                Finding::new(Code::AgreementUnproven, message)
            }
            _ => continue,
        };
        findings.push(finding.of(&sv.name));
    }
    if let Some((tick, timestamp)) = decision.at {
        let margin = tick.since(timestamp) / 1_000_000;
        if margin < i64::from(settings.margin_s) {
            let message = format!("the margin is {margin} s instead of {} s", settings.margin_s);
            findings.push(Finding::new(Code::MarginShortened, message));
        }
    }
    if decision.pairs[2] > 0 {
        let message = format!("{} pairs of the support agree by such logs only", decision.pairs[2]);
        findings.push(Finding::new(Code::WeakAgreement, message));
    }
    if is_stopped {
        let message = "what was found holds; a later or a larger agreement may have been missed";
        findings.push(Finding::new(Code::SearchStopped, message));
    }
    if decision.quorum < two_thirds(decision.of) {
        let message = format!(
            "{} of {} were asked to agree, and {} are needed for the synchronizer to run",
            decision.quorum,
            decision.of,
            two_thirds(decision.of)
        );
        findings.push(Finding::new(Code::QuorumTooSmall, message));
    }
    let others = &decision.history.others;
    if !others.is_empty() {
        let named: Vec<String> = others.iter().take(NAMED).map(ToString::to_string).collect();
        let more = match others.len() > NAMED {
            true => ", …",
            false => "",
        };
        let message = format!(
            "{} in the evidence: {}{more}",
            match others.len() {
                1 => "1 other participant appears".to_owned(),
                count => format!("{count} other participants appear"),
            },
            named.join(", ")
        );
        findings.push(Finding::new(Code::OthersSeen, message));
    }
}

/// SVs that claim to have reached a time after `now`, which the machine's clock says.
pub fn from_the_future(decision: &Decision, now: Timestamp) -> Vec<Finding> {
    let in_future = |reached: &Timestamp| *reached > now.plus_seconds(3600);
    let each = decision
        .svs
        .iter()
        .filter_map(|sv| Some((sv, sv.reached.filter(in_future)?)));
    each.map(|(sv, reached)| {
        Finding::new(Code::FromTheFuture, format!("it claims {reached}, and it is {now}")).of(&sv.name)
    })
    .collect()
}

fn no_agreement(decision: &Decision) -> Finding {
    let message = match (decision.at, decision.table.last()) {
        (Some((tick, _)), Some(row)) => format!(
            "{} of {} had to agree; the best is {} with {}: {}; missing: {}",
            decision.quorum,
            decision.of,
            tick,
            row.support,
            decision.support.join(", "),
            row.without.join(", ")
        ),
        _ => format!(
            "{} of {} had to agree, and no source says that any two of them did",
            decision.quorum, decision.of
        ),
    };
    Finding::new(Code::NoAgreement, message)
}

/// One for each SV that is forked: from whom, and since when.
fn forks(decision: &Decision, findings: &mut Findings) {
    for (at, sv) in decision.svs.iter().enumerate() {
        if sv.verdict != Standing::Forked {
            continue;
        }
        let apart: Vec<(&str, &Pair, Timestamp)> = members(at_odds(&decision.history, at))
            .filter_map(|other| {
                let pair = decision.history.pair(at, other)?;
                Some((decision.svs.get(other)?.name.as_str(), pair, pair.fork()?))
            })
            .collect();
        let Some(since) = apart.iter().map(|(.., fork)| *fork).min() else {
            continue;
        };
        let until = match apart.iter().filter_map(|(_, pair, _)| pair.last_agreed()).max() {
            Some(until) => format!("it agreed with them until {until}"),
            None => "it was never seen to agree with them".to_owned(),
        };
        let more = apart.len().saturating_sub(NAMED);
        let named: Vec<&str> = apart.iter().take(NAMED).map(|(name, ..)| *name).collect();
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let mut odds = members(at_odds(&decision.history, at));
        let is_alone = |other: usize| size(at_odds(&decision.history, other)) == 1;
        let undecided = match odds.any(|other| has(decision.set, other)) {
            _ if decision.verdict == Verdict::NoAgreement => "; without a quorum it can't be said who is right",
            true if apart.len() == 1 && members(at_odds(&decision.history, at)).all(is_alone) => {
                "; only these two differ, and it may as well be the other that is wrong: look at both before either is \
                 re-onboarded"
            }
            true => "",
            false => "; none of them is in the support, so that it can't be said who is right",
        };
        let message = format!(
            "it differs from {}{more} since {since}; {until}{undecided}",
            named.join(", ")
        );
        findings.push(Finding::new(Code::Forked, message).of(&sv.name));
    }
}
