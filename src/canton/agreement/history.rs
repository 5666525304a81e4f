//! What all sources together say about each two SVs, and how their agreement changes from tick to tick.
//!
//! A commitment that was found correct for the period (from, to] proves that both reached `to` and agree there; and because
//! its sender answers for every tick inside the period (SPEC-CANTON 1.2), they agree at the ticks of others that lie inside,
//! which is where those are that catch up with long periods. Two cases are no proof for what lies inside: a period that
//! begins with the participant, at the beginning of time, and a tick at which the two were found to differ.

use std::collections::{BTreeMap, BTreeSet};

use super::clique::Graph;
use crate::canton::Timestamp;
use crate::canton::evidence::{Comparison, Observations, Period, Periods, Run};
use crate::canton::name::Participant;

/// Instants after `.0` up to and with `.1`.
pub type Span = (Timestamp, Timestamp);

/// How sure an agreement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Only a log of Canton 3.6, which speaks before the outcome.
    Weak,
    /// One of the two found the other's commitment correct, which proves it for both.
    OneSided,
    /// Each found the other's correct.
    Mutual,
}

/// What one SV found about another.
#[derive(Clone, Debug, Default)]
struct Found {
    correct: Vec<Span>,
    weak: Vec<Span>,
}

/// Two SVs.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    found: [Found; 2],
    /// Runs of periods for which they were found to agree: there may be a million periods in one.
    agreed: Vec<Run>,
    /// Ends of periods for which they were found to differ, sorted.
    pub differed: Vec<Timestamp>,
    /// When they agreed, overlaps joined.
    pub spans: Vec<Span>,
}

impl Pair {
    /// The last tick at which they were found to agree, whatever came after.
    pub fn last_agreed(&self) -> Option<Timestamp> {
        self.agreed.iter().map(Run::end).max()
    }

    /// The first tick from which on they differed, and never agreed again after the last of these.
    pub fn fork(&self) -> Option<Timestamp> {
        let last = self.differed.last()?;
        if self.last_agreed().is_some_and(|agreed| agreed > *last) {
            return None;
        }
        let until = self.last_agreed().unwrap_or(Timestamp::MIN);
        self.differed.iter().copied().find(|at| *at >= until)
    }

    /// How sure it is that they agree at a tick.
    pub fn strength(&self, at: Timestamp) -> Option<Strength> {
        let [one, other] = &self.found;
        let is_in = |spans: &[Span]| covers(spans, at);
        match (is_in(&one.correct), is_in(&other.correct)) {
            (true, true) => Some(Strength::Mutual),
            (false, false) if is_in(&one.weak) || is_in(&other.weak) => Some(Strength::Weak),
            (false, false) => None,
            _ => Some(Strength::OneSided),
        }
    }
}

/// Whether a tick lies in one of these, which are sorted and do not overlap.
pub fn covers(spans: &[Span], at: Timestamp) -> bool {
    let next = spans.partition_point(|span| span.1 < at);
    spans.get(next).is_some_and(|span| span.0 < at)
}

/// Everything, by SV in the order in which they are given.
#[derive(Clone, Debug)]
pub struct History {
    pairs: BTreeMap<(usize, usize), Pair>,
    /// The latest tick that each is known to have reached, by anybody's word.
    pub reached: Vec<Option<Timestamp>>,
    /// Before which each one's contracts are gone.
    pub pruned: Vec<Option<Timestamp>>,
    /// Whether each one's own sources say anything.
    pub speaks: Vec<bool>,
    /// Whether each was seen to catch up.
    pub was_catching_up: Vec<bool>,
    /// Participants that the SVs compared with and that are none of them.
    pub others: BTreeSet<Participant>,
}

impl History {
    /// Joins what every owner says.
    pub fn new(owners: &[Option<Participant>], observed: &[Vec<&Observations>]) -> History {
        let count = owners.len();
        let index: BTreeMap<&Participant, usize> = owners
            .iter()
            .enumerate()
            .filter_map(|(at, owner)| Some((owner.as_ref()?, at)))
            .collect();
        let mut history = History {
            pairs: BTreeMap::new(),
            reached: vec![None; count],
            pruned: vec![None; count],
            speaks: vec![false; count],
            was_catching_up: vec![false; count],
            others: BTreeSet::new(),
        };
        for (at, all) in observed.iter().enumerate() {
            all.iter().for_each(|observed| history.take(at, observed, &index));
        }
        for pair in history.pairs.values_mut() {
            pair.settle();
        }
        history
    }

    fn take(&mut self, owner: usize, observed: &Observations, index: &BTreeMap<&Participant, usize>) {
        let said = *observed != Observations::default();
        set(&mut self.speaks, owner, |speaks| *speaks |= said);
        set(&mut self.was_catching_up, owner, |was| *was |= observed.was_catching_up);
        set(&mut self.pruned, owner, |pruned| {
            *pruned = (*pruned).max(observed.pruned)
        });
        self.reach(owner, observed.reached);
        for (sender, to) in &observed.sent {
            match index.get(sender) {
                Some(sender) => self.reach(*sender, Some(*to)),
                None => {
                    self.others.insert(sender.clone());
                }
            }
        }
        for (name, comparison, run) in observed.compared.runs() {
            self.reach(owner, Some(run.end()));
            let Some(&sender) = index.get(name) else {
                if !self.others.contains(name) {
                    self.others.insert(name.clone());
                }
                continue;
            };
            self.reach(sender, Some(run.end()));
            if sender == owner {
                continue;
            }
            let pair = self.pairs.entry((owner.min(sender), owner.max(sender))).or_default();
            let side = usize::from(owner > sender);
            match comparison {
                Comparison::Weak => {
                    let is_doubted = |period: &Period| observed.compared.has(name, period, Comparison::Mismatch);
                    undoubted(run, is_doubted, |run| pair.take(side, run, comparison));
                }
                _ => pair.take(side, run, comparison),
            }
        }
    }

    fn reach(&mut self, sv: usize, at: Option<Timestamp>) {
        set(&mut self.reached, sv, |reached| *reached = (*reached).max(at));
    }

    /// What is known about two; `None` where nobody compared them.
    pub fn pair(&self, one: usize, other: usize) -> Option<&Pair> {
        self.pairs.get(&(one.min(other), one.max(other)))
    }

    /// All of which something is known.
    pub fn pairs(&self) -> impl Iterator<Item = ((usize, usize), &Pair)> {
        self.pairs.iter().map(|(two, pair)| (*two, pair))
    }

    /// How many SVs there are.
    pub fn count(&self) -> usize {
        self.reached.len()
    }

    /// All ticks at which two SVs were found to agree, sorted, each once.
    pub fn ticks(&self) -> Vec<Timestamp> {
        ticks(self.pairs.values().flat_map(|pair| &pair.agreed))
    }

    /// The graph of agreement at each of these ticks, from the last back; only those are given at which it is another than
    /// at the tick after it. `each` says whether to go on.
    pub fn backwards(&self, ticks: &[Timestamp], mut each: impl FnMut(Timestamp, &Graph) -> bool) {
        let mut changes: Vec<(usize, (usize, usize), i32)> = Vec::new();
        for (two, pair) in &self.pairs {
            // A fork that was never healed casts doubt on all that was before it.
            if pair.fork().is_none() {
                pair.changes(ticks, |tick, by| changes.push((tick, *two, by)));
            }
        }
        changes.sort_unstable_by_key(|(tick, ..)| std::cmp::Reverse(*tick));
        let mut graph = Graph::new(self.count());
        let mut counts: BTreeMap<(usize, usize), i32> = BTreeMap::new();
        for group in changes.chunk_by(|one, other| one.0 == other.0) {
            for (_, two, by) in group {
                let count = counts.entry(*two).or_default();
                *count += by;
                graph.set(two.0, two.1, *count > 0);
            }
            let at = group.first().and_then(|(tick, ..)| ticks.get(*tick));
            if at.is_some_and(|at| !each(*at, &graph)) {
                return;
            }
        }
    }
}

fn set<T>(all: &mut [T], at: usize, change: impl FnOnce(&mut T)) {
    if let Some(one) = all.get_mut(at) {
        change(one);
    }
}

impl Pair {
    fn take(&mut self, side: usize, run: Run, comparison: Comparison) {
        if comparison == Comparison::Mismatch {
            return self.differed.extend(run.periods().map(|period| period.to_inclusive));
        }
        self.agreed.push(run);
        let Some(found) = self.found.get_mut(side) else { return };
        let spans = match comparison {
            Comparison::Correct => &mut found.correct,
            _ => &mut found.weak,
        };
        let (first, end) = (run.first.to_inclusive, run.end());
        match run.first.from_exclusive {
            // A period that begins with the participant says something about its end only.
            Timestamp::MIN => {
                spans.push((first.plus_micros(-1), first));
                if end > first {
                    spans.push((first, end));
                }
            }
            from => spans.push((from.min(end.plus_micros(-1)), end)),
        }
    }

    fn settle(&mut self) {
        self.differed.sort_unstable();
        self.differed.dedup();
        let mut all = Vec::new();
        for found in &mut self.found {
            for spans in [&mut found.correct, &mut found.weak] {
                *spans = joined(std::mem::take(spans));
                all.extend_from_slice(spans);
            }
        }
        self.spans = joined(all);
    }

    /// Going back from the last tick: at which one more source says that they agree (+1), and at which one less (-1).
    fn changes(&self, ticks: &[Timestamp], mut give: impl FnMut(usize, i32)) {
        let mut between = |from: Timestamp, to: Timestamp, by: i32| {
            let first = ticks.partition_point(|tick| *tick <= from);
            let end = ticks.partition_point(|tick| *tick <= to);
            if first < end {
                give(end - 1, by);
                if first > 0 {
                    give(first - 1, -by);
                }
            }
        };
        self.spans.iter().for_each(|span| between(span.0, span.1, 1));
        // Where none differed, which is so for nearly all, no tick has to be looked for.
        let agreed = match self.differed.is_empty() {
            true => Vec::new(),
            false => self::ticks(&self.agreed),
        };
        for at in &self.differed {
            if agreed.binary_search(at).is_err() && covers(&self.spans, *at) {
                between(at.plus_micros(-1), *at, -1);
            }
        }
    }
}

/// The ends of all periods of all runs, sorted, each once.
fn ticks<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Vec<Timestamp> {
    let mut ticks = Vec::new();
    let mut all = Periods::default();
    for run in runs {
        all.add(*run);
    }
    for run in all.runs() {
        ticks.extend(run.periods().map(|period| period.to_inclusive));
    }
    ticks.sort_unstable();
    ticks.dedup();
    ticks
}

/// Gives the parts of a run of which no period is doubted.
fn undoubted(run: Run, is_doubted: impl Fn(&Period) -> bool, mut give: impl FnMut(Run)) {
    let mut part: Option<Run> = None;
    for period in run.periods() {
        if is_doubted(&period) {
            part.take().into_iter().for_each(&mut give);
        } else if !part.as_mut().is_some_and(|part| part.absorb(period)) {
            part.replace(Run {
                first: period,
                count: 1,
            })
            .into_iter()
            .for_each(&mut give);
        }
    }
    part.into_iter().for_each(give);
}

/// Sorted, and those that overlap or touch as one.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut out: Vec<Span> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => out.push(span),
        }
    }
    out
}
