//! What a decision has to say besides its answer.

use super::clique::has;
use super::outcome::is_forked;
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
            "{} other participants appear in the evidence: {}{more}",
            others.len(),
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

fn forks(decision: &Decision, findings: &mut Findings) {
    let history = &decision.history;
    for ((one, other), pair) in history.pairs() {
        let (Some(fork), Some(first), Some(second)) = (pair.fork(), decision.svs.get(one), decision.svs.get(other))
        else {
            continue;
        };
        let until = match pair.last_agreed() {
            Some(until) => format!("agreed until {until}"),
            None => "were never seen to agree".to_owned(),
        };
        let minority: Vec<&str> = [one, other]
            .into_iter()
            .filter(|sv| is_forked(history, *sv, decision.set))
            .filter_map(|sv| decision.svs.get(sv).map(|sv| sv.name.as_str()))
            .collect();
        let who = match minority.as_slice() {
            [only] => format!("; {only} is in the minority"),
            _ if has(decision.set, one) || has(decision.set, other) => String::new(),
            _ => "; neither is in the support, so that it can't be said who is right".to_owned(),
        };
        let message = format!(
            "{} and {} {until} and differ from {fork} on{who}",
            first.name, second.name
        );
        findings.push(Finding::new(Code::Forked, message).of(format!("{}, {}", first.name, second.name)));
    }
}
