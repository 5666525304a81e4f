//! What is true about a disaster, from the records of its logs and the definition of SPEC-CANTON 5.2, tick by tick and pair by
//! pair. Nothing here is shared with what is tested, nor built like it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Disaster, Record};

/// What is true about it. Ticks are numbers of intervals since its beginning.
#[derive(Debug)]
pub struct Truth {
    /// The last tick at which a quorum agrees pairwise.
    pub agreed: Option<usize>,
    /// How many do, there or at the best tick there is.
    pub support: usize,
    /// The recovery timestamp, seconds since 1970.
    pub timestamp_s: Option<i64>,
    /// The latest tick that each is known to have reached.
    pub reached: Vec<Option<usize>>,
    /// Whom each is at odds with to the end.
    pub at_odds: Vec<BTreeSet<usize>>,
    /// For each size of support the last tick that has it or more.
    pub last_with: BTreeMap<usize, usize>,
}

/// Finds it.
pub fn truth(disaster: &Disaster) -> Truth {
    let count = disaster.svs.len();
    let logs: Vec<Vec<Record>> = (0..count).map(|sv| disaster.records(sv)).collect();
    let mut pairs: Vec<Vec<Vec<&Record>>> = vec![vec![Vec::new(); count]; count];
    for (owner, log) in logs.iter().enumerate() {
        for record in log {
            pairs[owner][record.sender].push(record);
            pairs[record.sender][owner].push(record);
        }
    }
    let of = |one: usize, other: usize| pairs[one][other].iter();
    let mut at_odds: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
    for (one, at_odds) in at_odds.iter_mut().enumerate() {
        for other in (0..count).filter(|other| *other != one) {
            let last = |agrees: bool| of(one, other).filter(|r| r.agrees == agrees).map(|r| r.to).max();
            if last(false).is_some_and(|differed| last(true).is_none_or(|agreed| agreed <= differed)) {
                at_odds.insert(other);
            }
        }
    }
    let mut reached = vec![None; count];
    for (owner, log) in logs.iter().enumerate() {
        for record in log {
            reached[owner] = reached[owner].max(Some(record.to));
            reached[record.sender] = reached[record.sender].max(Some(record.to));
        }
    }
    let ticks: BTreeSet<usize> = logs
        .iter()
        .flatten()
        .filter(|record| record.agrees)
        .map(|record| record.to)
        .collect();
    let mut last_with = BTreeMap::new();
    for &tick in ticks.iter().rev() {
        let agree = |one: usize, other: usize| {
            !at_odds[one].contains(&other) && of(one, other).any(|r| r.agrees && r.from < tick && tick <= r.to)
        };
        let apart: Vec<Vec<bool>> = (0..count)
            .map(|one| (0..count).map(|other| one != other && !agree(one, other)).collect())
            .collect();
        let support = largest((0..count).collect(), &apart);
        (2..=support).for_each(|size| {
            last_with.entry(size).or_insert(tick);
        });
    }
    let agreed = last_with.get(&disaster.quorum()).copied();
    let support = match agreed {
        Some(agreed) => last_with
            .iter()
            .filter(|(_, tick)| **tick >= agreed)
            .map(|(size, _)| *size)
            .max(),
        None => last_with.keys().copied().max(),
    };
    Truth {
        agreed,
        support: support.unwrap_or(0),
        timestamp_s: agreed.map(|tick| disaster.at(tick).seconds() - disaster.margin_s),
        reached,
        at_odds,
        last_with,
    }
}

/// The size of the largest set in which no two are apart: whoever is apart from most is left out, or those are.
fn largest(left: Vec<usize>, apart: &[Vec<bool>]) -> usize {
    let degree = |sv: usize| left.iter().filter(|other| apart[sv][**other]).count();
    let Some(worst) = left
        .iter()
        .copied()
        .max_by_key(|sv| degree(*sv))
        .filter(|sv| degree(*sv) > 0)
    else {
        return left.len();
    };
    if degree(worst) == 1 {
        // What is left are single pairs: one of each can stay.
        let pairs = left.iter().filter(|sv| degree(**sv) == 1).count() / 2;
        return left.len() - pairs;
    }
    let without: Vec<usize> = left.iter().copied().filter(|sv| *sv != worst).collect();
    let with: Vec<usize> = left.iter().copied().filter(|sv| !apart[worst][*sv]).collect();
    largest(without, apart).max(largest(with, apart))
}
