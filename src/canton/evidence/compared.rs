//! What was compared with whom, in runs: periods of one length that follow each other without a gap are one entry, so that a
//! year of agreement takes no more room than a day of it.
//!
//! A set of periods has exactly one form here: each run goes as far as it can in both directions. So sets are equal when their
//! runs are, and a digest may speak of the runs.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

use super::{Comparison, Period};
use crate::canton::Timestamp;
use crate::canton::name::Participant;

/// How commitments of one period compared: each of the comparisons, once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparisons(u8);

impl Comparison {
    /// All there are, in order.
    pub const ALL: [Comparison; 3] = [Comparison::Correct, Comparison::Weak, Comparison::Mismatch];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Comparisons {
    /// Whether this is one of them.
    pub fn contains(&self, comparison: &Comparison) -> bool {
        self.0 & comparison.bit() != 0
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Comparison> {
        Comparison::ALL.into_iter().filter(move |one| self.contains(one))
    }
}

impl std::fmt::Debug for Comparisons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Comparison> for Comparisons {
    fn from_iter<I: IntoIterator<Item = Comparison>>(all: I) -> Comparisons {
        Comparisons(all.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

/// Periods of one length that follow each other without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first of them.
    pub first: Period,
    /// How many there are: one at least, and one where the first ends no later than it begins.
    pub count: u32,
}

impl Run {
    /// Microseconds of each period.
    pub fn length(&self) -> i64 {
        self.first.to_inclusive.since(self.first.from_exclusive)
    }

    /// The last instant of the last one.
    pub fn end(&self) -> Timestamp {
        self.first
            .from_exclusive
            .plus_micros(self.length() * i64::from(self.count))
    }

    /// The same without its first; none where it is the only one.
    fn rest(&self) -> Option<Run> {
        let first = Period {
            from_exclusive: self.first.to_inclusive,
            to_inclusive: self.first.to_inclusive.plus_micros(self.length()),
        };
        let count = self.count - 1;
        (count > 0).then_some(Run { first, count })
    }

    /// Each of its periods.
    pub fn periods(self) -> impl Iterator<Item = Period> {
        std::iter::successors(Some(self), Run::rest).map(|run| run.first)
    }

    /// Takes a period in that is one of it, or follows it; whether it could.
    pub fn absorb(&mut self, period: Period) -> bool {
        let length = self.length();
        let after = period.from_exclusive.since(self.first.from_exclusive);
        if period.to_inclusive.since(period.from_exclusive) != length || after < 0 {
            return false;
        }
        if length <= 0 {
            return after == 0;
        }
        let count = i64::from(self.count);
        let is_next = after == length * count && self.count < u32::MAX;
        self.count += u32::from(is_next);
        is_next || (after < length * count && after % length == 0)
    }
}

/// Where a run begins. Runs that can follow each other stand next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begin {
    length: i64,
    from: i64,
}

impl Begin {
    fn of(run: Run) -> Begin {
        Begin {
            length: run.length(),
            from: run.first.from_exclusive.micros(),
        }
    }

    /// What two runs of one length have in common if they can meet.
    fn phase(self) -> i64 {
        match self.length > 0 {
            true => self.from.rem_euclid(self.length),
            false => self.from,
        }
    }

    fn can_meet(self, other: Begin) -> bool {
        self.length == other.length && self.phase() == other.phase()
    }
}

impl Ord for Begin {
    fn cmp(&self, other: &Begin) -> Ordering {
        self.length
            .cmp(&other.length)
            .then_with(|| match self.from == other.from {
                true => Ordering::Equal,
                false => (self.phase(), self.from).cmp(&(other.phase(), other.from)),
            })
    }
}

impl PartialOrd for Begin {
    fn partial_cmp(&self, other: &Begin) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A set of periods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Periods(BTreeMap<Begin, u32>);

impl Periods {
    /// Its runs.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        self.0.iter().filter_map(|(begin, count)| {
            let first = Period {
                from_exclusive: Timestamp::from_micros(begin.from)?,
                to_inclusive: Timestamp::from_micros(begin.from + begin.length)?,
            };
            Some(Run { first, count: *count })
        })
    }

    /// How many runs there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether a run would become one with another that is there: then it takes no room of its own.
    fn meets(&self, run: Run) -> bool {
        let begin = Begin::of(run);
        let end = |begin: Begin, count: u32| begin.from + begin.length.max(0) * i64::from(count);
        let before = self.0.range(..=begin).next_back();
        let next = self.0.range(begin..).next();
        before.is_some_and(|(before, held)| before.can_meet(begin) && end(*before, *held) >= begin.from)
            || next.is_some_and(|(next, _)| next.can_meet(begin) && next.from <= end(begin, run.count))
    }

    /// Adds those of a run that are not there yet; how many these were.
    pub fn add(&mut self, run: Run) -> u32 {
        let length = run.length();
        let mut begin = Begin::of(run);
        let end = |begin: Begin, count: u32| begin.from + length.max(0) * i64::from(count);
        let mut count = if length > 0 { run.count } else { 1 };
        let mut last = end(begin, count);
        let mut known = 0_u32;
        // Whatever overlaps the run or touches it becomes one with it.
        if let Some((&before, &held)) = self.0.range(..=begin).next_back()
            && before.can_meet(begin)
            && end(before, held) >= begin.from
        {
            if end(before, held) >= last {
                return 0;
            }
            known += held;
            self.0.remove(&before);
            begin = before;
        }
        while let Some((&next, &held)) = self.0.range(begin..).next()
            && next.can_meet(begin)
            && next.from <= last
        {
            known += held;
            last = last.max(end(next, held));
            self.0.remove(&next);
        }
        if length > 0 {
            count = u32::try_from((last - begin.from) / length).unwrap_or(u32::MAX);
        }
        self.0.insert(begin, count);
        count.saturating_sub(known)
    }

    fn contains(&self, period: &Period) -> bool {
        let from = period.from_exclusive.micros();
        let length = period.to_inclusive.since(period.from_exclusive);
        let begin = Begin { length, from };
        let before = self.0.range(..=begin).next_back();
        before.is_some_and(|(before, count)| {
            *before == begin || (before.can_meet(begin) && from < before.from + length.max(0) * i64::from(*count))
        })
    }
}

/// What was compared, by counterparty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared(BTreeMap<Participant, [Periods; 3]>);

impl Compared {
    /// Adds the periods of a run that are not there yet; how many these were, and by how much there are more runs now.
    pub(super) fn add(&mut self, counterparty: &Participant, run: Run, comparison: Comparison) -> (u32, isize) {
        if !self.0.contains_key(counterparty) {
            self.0.insert(counterparty.clone(), Default::default());
        }
        let all = self.0.get_mut(counterparty);
        let Some(periods) = all.and_then(|all| all.get_mut(comparison as usize)) else {
            return (0, 0);
        };
        let before = periods.count();
        let new = periods.add(run);
        (new, periods.count() as isize - before as isize)
    }

    /// Adds a counterparty that is not there yet with all that was compared with it.
    pub(super) fn insert(&mut self, counterparty: Participant, all: [Periods; 3]) {
        self.0.insert(counterparty, all);
    }

    /// Whether anything was compared with a counterparty.
    pub fn has_any(&self, counterparty: &Participant) -> bool {
        self.0.contains_key(counterparty)
    }

    /// Whether a run would become one with another that is there.
    pub(super) fn meets(&self, counterparty: &Participant, run: Run, comparison: Comparison) -> bool {
        let periods = self.0.get(counterparty).and_then(|all| all.get(comparison as usize));
        periods.is_some_and(|periods| periods.meets(run))
    }

    /// Takes over all of another.
    pub fn join(&mut self, other: &Compared) {
        for (counterparty, comparison, run) in other.runs() {
            self.add(counterparty, run, comparison);
        }
    }

    /// Whether a comparison is there.
    pub fn has(&self, counterparty: &Participant, period: &Period, comparison: Comparison) -> bool {
        let periods = self.0.get(counterparty).and_then(|all| all.get(comparison as usize));
        periods.is_some_and(|periods| periods.contains(period))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many comparisons there are.
    pub fn len(&self) -> usize {
        self.runs().map(|(_, _, run)| run.count as usize).sum()
    }

    /// With whom.
    pub fn counterparties(&self) -> impl Iterator<Item = &Participant> {
        self.0.keys()
    }

    /// The runs: by counterparty, by comparison, by length.
    pub fn runs(&self) -> impl Iterator<Item = (&Participant, Comparison, Run)> {
        self.0.iter().flat_map(|(counterparty, all)| {
            let each = Comparison::ALL.into_iter().zip(all);
            each.flat_map(move |(comparison, periods)| periods.runs().map(move |run| (counterparty, comparison, run)))
        })
    }

    /// Each period, once, with all comparisons of it: by counterparty, by time.
    pub fn iter(&self) -> impl Iterator<Item = ((&Participant, Period), Comparisons)> {
        self.0.iter().flat_map(|(counterparty, all)| {
            let in_order = InOrder::new(all);
            in_order.map(move |(period, comparisons)| ((counterparty, period), comparisons))
        })
    }
}

/// The periods of all runs with one counterparty, by time.
struct InOrder(BinaryHeap<Reverse<(Period, u32, Comparison)>>);

impl InOrder {
    fn new(all: &[Periods; 3]) -> InOrder {
        let each = Comparison::ALL.into_iter().zip(all);
        let runs = each.flat_map(|(comparison, periods)| periods.runs().map(move |run| (run, comparison)));
        InOrder(runs.map(|(run, how)| Reverse((run.first, run.count, how))).collect())
    }
}

impl Iterator for InOrder {
    type Item = (Period, Comparisons);

    fn next(&mut self) -> Option<(Period, Comparisons)> {
        let Reverse((period, ..)) = *self.0.peek()?;
        let mut comparisons = Comparisons::default();
        while let Some(mut top) = self.0.peek_mut()
            && top.0.0 == period
        {
            let Reverse((first, count, how)) = *top;
            comparisons.0 |= how.bit();
            match (Run { first, count }).rest() {
                Some(rest) => *top = Reverse((rest.first, rest.count, how)),
                None => drop(std::collections::binary_heap::PeekMut::pop(top)),
            }
        }
        Some((period, comparisons))
    }
}
