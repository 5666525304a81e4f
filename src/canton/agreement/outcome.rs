//! What a decision means for each SV.

use std::cmp::Reverse;

use super::clique::{MOST_SVS, Set, bit, has, members, size};
use super::history::{History, Strength};
use super::{Action, Outcome, Standing, Sv};
use crate::canton::Timestamp;
use crate::canton::name::Participant;

/// The SVs whose contracts of a tick are not gone yet.
pub(super) fn alive(history: &History, tick: Timestamp) -> Set {
    let keeps = |pruned: &Option<Timestamp>| pruned.is_none_or(|pruned| pruned <= tick);
    let keeping = history.pruned.iter().enumerate().filter(|(_, pruned)| keeps(pruned));
    keeping.fold(0, |set, (sv, _)| set | bit(sv))
}

/// The SVs with whom this one is at odds, and was to the end.
pub(super) fn at_odds(history: &History, sv: usize) -> Set {
    let others =
        (0..history.count()).filter(|other| history.pair(sv, *other).is_some_and(|pair| pair.fork().is_some()));
    others.fold(0, |set, other| set | bit(other))
}

/// The SVs, those first that are at odds with few: of equal supports the one without them is better.
pub(super) fn by_trust(history: &History) -> Vec<usize> {
    let mut order: Vec<usize> = (0..history.count().min(MOST_SVS)).collect();
    order.sort_by_key(|sv| (size(at_odds(history, *sv)), *sv));
    order
}

/// The last tick at which an SV agreed with one of the support, forks that came later apart.
fn agreed_until(history: &History, sv: usize, support: Set) -> Option<Timestamp> {
    let others = members(support).filter(|other| *other != sv);
    others.filter_map(|other| history.pair(sv, other)?.last_agreed()).max()
}

/// Whether an SV is the one that went another way: whom it is at odds with is of the support, or agrees with more of it.
/// Without a quorum there is no majority to belong to: of sides of the same size each is as likely to be right.
pub(super) fn is_forked(history: &History, sv: usize, quorum: Option<Set>) -> bool {
    let (support, all) = match quorum {
        Some(support) => (support, support),
        None => (0, (0..history.count().min(MOST_SVS)).fold(0, |all, sv| all | bit(sv))),
    };
    let weight = |sv: usize| {
        let agrees = |other: &usize| {
            history
                .pair(sv, *other)
                .is_some_and(|pair| pair.fork().is_none() && !pair.spans.is_empty())
        };
        let agreeing = members(all).filter(|other| *other != sv).filter(agrees).count();
        (has(support, sv), agreeing, Reverse(size(at_odds(history, sv))))
    };
    members(at_odds(history, sv)).any(|other| weight(other) >= weight(sv))
}

/// Each SV's outcome at the recovery timestamp, which is only the best there is where the support is no quorum.
pub(super) fn outcomes(
    svs: &[&Sv],
    owners: &[Option<Participant>],
    history: &History,
    (support, is_quorum): (Set, bool),
    timestamp: Option<Timestamp>,
) -> Vec<Outcome> {
    let each = svs.iter().zip(owners).enumerate();
    let mut outcomes: Vec<Outcome> = each
        .map(|(at, (sv, owner))| {
            let reached = history.reached.get(at).copied().flatten();
            let pruned = history.pruned.get(at).copied().flatten();
            let speaks = history.speaks.get(at).is_some_and(|speaks| *speaks);
            let verdict = match timestamp {
                _ if reached.is_none() && pruned.is_none() => Standing::NoEvidence,
                _ if is_forked(history, at, is_quorum.then_some(support)) => Standing::Forked,
                None => Standing::Undecided,
                Some(timestamp) if pruned.is_some_and(|pruned| pruned > timestamp) => Standing::Pruned,
                Some(timestamp) if reached.is_none_or(|reached| reached < timestamp) => Standing::Behind,
                Some(_) if !speaks => Standing::OkByOthers,
                Some(_) => Standing::Ok,
            };
            Outcome {
                name: sv.name.clone(),
                participant: owner.clone(),
                reached,
                verdict,
                action: Action::Wait,
                agreed_until: agreed_until(history, at, support),
                pruned,
                donors: Vec::new(),
            }
        })
        .collect();
    // Whoever serves as a donor agreed with the support at the tick itself, and has what it had then.
    let serves = |outcome: &&Outcome| matches!(outcome.verdict, Standing::Ok | Standing::OkByOthers);
    let donors: Vec<String> = members(support)
        .filter_map(|at| outcomes.get(at))
        .filter(serves)
        .map(|outcome| outcome.name.clone())
        .collect();
    for outcome in &mut outcomes {
        outcome.action = match outcome.verdict {
            Standing::NoEvidence => Action::ProvideEvidence,
            // Nothing is to be fetched, and nobody re-onboarded, before there is a timestamp.
            _ if !is_quorum => Action::Wait,
            Standing::Ok | Standing::OkByOthers => Action::Fetch,
            Standing::Behind | Standing::Pruned if donors.is_empty() => Action::Reonboard,
            Standing::Behind | Standing::Pruned => Action::CopyOrReonboard,
            Standing::Forked => Action::Reonboard,
            Standing::Undecided => Action::Wait,
        };
        if outcome.action == Action::CopyOrReonboard {
            outcome.donors.clone_from(&donors);
        }
    }
    outcomes
}

/// How many pairs of the support are mutual, one-sided and weak at the agreed tick.
pub(super) fn strengths(history: &History, support: Set, at: Option<Timestamp>) -> [usize; 3] {
    let mut counts = [0; 3];
    let both = |two: (usize, usize)| has(support, two.0) && has(support, two.1);
    for (_, pair) in history.pairs().filter(|(two, _)| both(*two)) {
        match at.and_then(|at| pair.strength(at)) {
            Some(Strength::Mutual) => counts[0] += 1,
            Some(Strength::OneSided) => counts[1] += 1,
            Some(Strength::Weak) => counts[2] += 1,
            None => {}
        }
    }
    counts
}
