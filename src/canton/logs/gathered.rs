//! What one thread found, and what all found together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use memchr::memmem::Finder;
use smallvec::SmallVec;

use super::Settings;
use super::common::{Common, Seen};
use super::logger::{self, Kind};
use super::message::{self, CORRECT, Record, Said};
use crate::canton::Timestamp;
use crate::canton::evidence::{Comparison, Evidence, Fact, Facts, Period, Run};
use crate::canton::name::Participant;

/// Things that a thread keeps before it gives them to the others': runs of periods of 24 bytes, or names, which take up to
/// 2 MiB.
const KEPT: usize = 1 << 14;
/// Ignored commitments that are kept to tell which of them were pruned: 8 MB at most.
const IGNORED: usize = 1 << 17;
/// A synchronizer with its name takes as much room as so many of them.
const OF_SYNCHRONIZER: usize = 32;
/// Names of the owner that are kept: one is right, and few are enough to show.
const OWNERS: usize = 64;
/// Bytes at the beginning of a file in which lines' levels are counted, and of each later part of it.
const SAMPLE: [usize; 2] = [64 << 10, 8 << 10];

/// Levels as log files write them, the quietest last.
pub const LEVELS: [&str; 5] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

/// Counts that need no further thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often [`CORRECT`] was found.
    pub hits: u64,
    /// Of these, in no record of the commitment processor.
    pub unattributed: u64,
    /// Records that should say something and could not be understood.
    pub malformed: u64,
    /// Facts outside of the wanted time.
    pub filtered: u64,
    /// Records of the commitment processor by level, as in [`LEVELS`]; the last for those of none.
    pub processor: [u64; 6],
    /// Records of 3.6's pipeline.
    pub pipeline: u64,
    /// Sampled lines by level.
    pub sampled: [u64; 5],
    /// Records of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// The keys under which loggers named the synchronizer, which differ by release.
    pub keys: BTreeSet<&'static str>,
}

/// What all threads found.
#[derive(Debug, Default)]
pub struct Total {
    /// What the logs say.
    pub evidence: Evidence,
    /// Counts.
    pub counts: Counts,
    /// Who the owner is, by how often the logs say so.
    pub owners: BTreeMap<Participant, u64>,
    /// Commitments that were ignored because of pruning, and to catch up. One that was ignored for both reasons proves no
    /// pruning: where nothing was ever pruned, both sentences are written.
    pub ignored: BTreeMap<String, BTreeMap<Timestamp, (bool, bool)>>,
    /// What these take.
    ignored_room: usize,
}

impl Total {
    /// Keeps that a commitment was ignored, and why. Where there is no room, the latest ones are kept: of those that were pruned
    /// only the last one counts.
    fn ignore(&mut self, synchronizer: &str, at: Timestamp, why: (bool, bool)) {
        if !self.ignored.contains_key(synchronizer) {
            if self.ignored_room + OF_SYNCHRONIZER > IGNORED {
                return;
            }
            self.ignored_room += OF_SYNCHRONIZER;
            self.ignored.insert(synchronizer.to_owned(), BTreeMap::new());
        }
        let Some(known) = self.ignored.get_mut(synchronizer) else {
            return;
        };
        match known.get_mut(&at) {
            Some(known) => *known = (known.0 | why.0, known.1 | why.1),
            None => {
                known.insert(at, why);
                match self.ignored_room < IGNORED {
                    true => self.ignored_room += 1,
                    false => drop(known.pop_first()),
                }
            }
        }
    }
}

/// Hands out what all threads found, to one at a time.
pub type Give<'a> = dyn Fn(&mut dyn FnMut(&mut Total)) + Sync + 'a;

/// What was found of one counterparty on one synchronizer.
struct List {
    synchronizer: u32,
    whom: u32,
    comparison: Comparison,
    runs: Vec<Run>,
}

/// What one thread found.
pub struct Gathered<'a> {
    settings: &'a Settings,
    /// Made once: to make it costs more than to search a message.
    correct: Finder<'static>,
    counts: Counts,
    /// Records taken by [`Gathered::take_correct`].
    correct_records: u64,
    synchronizers: HashMap<Box<[u8]>, u32>,
    synchronizer_names: HashMap<String, u32>,
    names: HashMap<Box<[u8]>, Option<u32>>,
    participants: HashMap<Participant, u32>,
    /// Numbers of lists, by synchronizer, counterparty and comparison.
    list_of: HashMap<(u32, u32, Comparison), usize>,
    lists: Vec<List>,
    /// Runs in all lists.
    runs: usize,
    seen: Seen,
    sent: HashMap<(u32, u32), Timestamp>,
    reached: HashMap<u32, Timestamp>,
    ignored: HashMap<(u32, Timestamp), (bool, bool)>,
    catching_up: HashSet<u32>,
    owners: BTreeMap<Participant, u64>,
    /// Records of a file that may be quotations: how many, and where the first of them begins.
    pub doubtful: Option<(u64, u64)>,
    give: &'a Give<'a>,
}

impl<'a> Gathered<'a> {
    /// Nothing yet. `give` hands out what all threads found.
    pub fn new(settings: &'a Settings, give: &'a Give<'a>) -> Gathered<'a> {
        Gathered {
            settings,
            correct: Finder::new(CORRECT),
            counts: Counts::default(),
            correct_records: 0,
            synchronizers: HashMap::new(),
            synchronizer_names: HashMap::new(),
            names: HashMap::new(),
            participants: HashMap::new(),
            list_of: HashMap::new(),
            lists: Vec::new(),
            runs: 0,
            seen: Seen::default(),
            sent: HashMap::new(),
            reached: HashMap::new(),
            ignored: HashMap::new(),
            catching_up: HashSet::new(),
            owners: BTreeMap::new(),
            doubtful: None,
            give,
        }
    }

    /// Counts the levels of the first lines of what was read, of the beginning of a file or of a later part.
    pub fn sample(&mut self, bytes: &[u8], begins_file: bool) {
        let [first, later] = SAMPLE;
        let most = if begins_file { first } else { later };
        let bytes = bytes.get(..bytes.len().min(most)).unwrap_or_default();
        for (level, count) in LEVELS.iter().zip(&mut self.counts.sampled) {
            let level = level.as_bytes();
            *count += memchr::memmem::find_iter(bytes, level)
                .filter(|at| {
                    let before = at.checked_sub(1).and_then(|at| bytes.get(at));
                    let after = bytes.get(at + level.len());
                    matches!(before, Some(b' ' | b'"')) && matches!(after, Some(b' ' | b'"' | b'\\'))
                })
                .count() as u64;
        }
    }

    /// Takes a record that was read where it stands, unless something in it can't be understood: then it may go on in the next
    /// piece, and has to be put together first.
    pub fn take_if_sound(&mut self, record: &Record<'_>) -> bool {
        let mut all = SmallVec::new();
        message::read(record, &mut |kind, said| all.push((kind, said)));
        let is_sound = !all.iter().any(|(_, said)| *said == Said::Malformed);
        if is_sound {
            self.take_all(record, &all);
        }
        is_sound
    }

    /// Takes a record.
    pub fn take(&mut self, record: &Record<'_>) {
        let mut all = SmallVec::new();
        message::read(record, &mut |kind, said| all.push((kind, said)));
        self.take_all(record, &all);
    }

    /// Remembers where a record begins that says something and may be a quotation.
    pub fn doubt(&mut self, record: &Record<'_>, start: u64) {
        if record.is_unsure && record.logger.is_some() {
            let (count, first) = self.doubtful.unwrap_or((0, start));
            self.doubtful = Some((count + 1, first.min(start)));
        }
    }

    fn take_all(&mut self, record: &Record<'_>, all: &SmallVec<[(&'static str, Said<'_>); 4]>) {
        let hits = self.correct.find_iter(record.message).count() as u64;
        self.counts.hits += hits;
        let Some((name, kind)) = record.logger else {
            self.counts.unattributed += hits;
            return;
        };
        match kind {
            Kind::Processor => {
                if let Some(count) = self.counts.processor.get_mut(level(record.level)) {
                    *count += 1;
                }
            }
            Kind::Pipeline => self.counts.pipeline += 1,
        }
        // Its name tells the release, also where it says nothing of interest.
        let synchronizer = self.synchronizer(name);
        for (kind, said) in all {
            self.said(synchronizer, kind, *said);
        }
        self.hand_over_if_full();
    }

    fn hand_over_if_full(&mut self) {
        let kept = self.runs + self.sent.len() + self.ignored.len() + self.names.len();
        if kept + self.synchronizers.len() >= KEPT {
            self.hand_over();
        }
    }

    fn synchronizer(&mut self, name: &[u8]) -> u32 {
        if let Some(known) = self.synchronizers.get(name) {
            return *known;
        }
        for key in ["psid=", "synchronizerId=", "synchronizer=", "domainId=", "domain="] {
            if memchr::memmem::find(name, key.as_bytes()).is_some() {
                self.counts.keys.insert(key);
            }
        }
        let text = logger::synchronizer(name).into_owned();
        let next = self.synchronizer_names.len() as u32;
        let index = *self.synchronizer_names.entry(text).or_insert(next);
        self.synchronizers.insert(name.into(), index);
        index
    }

    fn participant(&mut self, name: &[u8]) -> Option<u32> {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let participant = std::str::from_utf8(name).ok().and_then(Participant::parse);
        let next = self.participants.len() as u32;
        let index = participant.map(|participant| *self.participants.entry(participant).or_insert(next));
        self.names.insert(name.into(), index);
        index
    }

    /// The number of the list of what was found of a counterparty.
    fn list(&mut self, synchronizer: u32, whom: u32, comparison: Comparison) -> usize {
        let next = self.lists.len();
        let list = *self.list_of.entry((synchronizer, whom, comparison)).or_insert(next);
        if list == next {
            self.lists.push(List {
                synchronizer,
                whom,
                comparison,
                runs: Vec::new(),
            });
            // Its own room is that of some runs.
            self.runs += 4;
        }
        list
    }

    /// Adds a period to a list; whether that took room.
    fn compared(&mut self, list: usize, period: Period) -> bool {
        let Some(list) = self.lists.get_mut(list) else {
            return false;
        };
        let is_new = !list.runs.last_mut().is_some_and(|last| last.absorb(period));
        if is_new {
            list.runs.push(Run {
                first: period,
                count: 1,
            });
            self.runs += 1;
        }
        is_new
    }

    fn is_wanted(&self, at: Timestamp) -> bool {
        self.settings.after.is_none_or(|after| at >= after) && self.settings.before.is_none_or(|before| at <= before)
    }

    /// Takes the commonest of all records, which says [`CORRECT`] of one counterparty and nothing else; whether it could.
    pub fn take_correct(&mut self, common: &Common<'_>) -> bool {
        let Some(list) = self.list_of_common(common) else {
            return false;
        };
        self.counts.hits += 1;
        self.correct_records += 1;
        if let Some(count) = self.counts.processor.get_mut(level(common.level)) {
            *count += 1;
        }
        if !self.is_wanted(common.period.to_inclusive) {
            self.counts.filtered += 1;
        } else if self.compared(list, common.period) {
            self.hand_over_if_full();
        }
        true
    }

    /// The same counterparties and loggers return again and again: where they were a moment ago is looked first.
    fn list_of_common(&mut self, common: &Common<'_>) -> Option<usize> {
        if let Some(list) = self.seen.list(common) {
            return Some(list);
        }
        // A name with these words in it is cut short wherever else it is read, or read twice.
        let has = |words: &[u8]| memchr::memmem::find(common.whom, words).is_some();
        if has(b" and period ") || has(CORRECT) || logger::kind(common.logger) != Some(Kind::Processor) {
            return None;
        }
        let whom = self.participant(common.whom)?;
        let synchronizer = self.synchronizer(common.logger);
        let list = self.list(synchronizer, whom, Comparison::Correct);
        self.seen.remember(common, list);
        Some(list)
    }

    fn said(&mut self, synchronizer: u32, kind: &'static str, said: Said<'_>) {
        *self.counts.kinds.entry(kind).or_default() += 1;
        let wanted = match said {
            Said::Compared(_, period, _) => self.is_wanted(period.to_inclusive),
            Said::Sent(_, at) | Said::Reached(at) => self.is_wanted(at),
            _ => true,
        };
        if !wanted {
            self.counts.filtered += 1;
            return;
        }
        let later = |kept: &mut Timestamp, at: Timestamp| *kept = (*kept).max(at);
        match said {
            Said::Compared(whom, period, comparison) => match self.participant(whom) {
                Some(whom) => {
                    let list = self.list(synchronizer, whom, comparison);
                    let _ = self.compared(list, period);
                }
                None => self.counts.malformed += 1,
            },
            Said::Sent(whom, at) => match self.participant(whom) {
                Some(whom) => later(self.sent.entry((synchronizer, whom)).or_insert(at), at),
                None => self.counts.malformed += 1,
            },
            Said::Reached(at) => later(self.reached.entry(synchronizer).or_insert(at), at),
            Said::Pruned(at) => self.ignored.entry((synchronizer, at)).or_default().0 = true,
            Said::Skipped(at) => {
                self.ignored.entry((synchronizer, at)).or_default().1 = true;
                self.catching_up.insert(synchronizer);
            }
            Said::CatchingUp => {
                self.catching_up.insert(synchronizer);
            }
            Said::Owner(owner) => match std::str::from_utf8(owner).ok().and_then(Participant::parse) {
                Some(owner) => {
                    if self.owners.len() < OWNERS || self.owners.contains_key(&owner) {
                        *self.owners.entry(owner).or_default() += 1;
                    }
                }
                None => self.counts.malformed += 1,
            },
            Said::Malformed => self.counts.malformed += 1,
            Said::OldIsDisabled | Said::Alarm => {}
        }
    }

    /// Gives what was found to what all found, and begins anew.
    pub fn hand_over(&mut self) {
        let give = self.give;
        give(&mut |total| self.give_to(total));
    }

    fn give_to(&mut self, total: &mut Total) {
        let correct = std::mem::take(&mut self.correct_records);
        if correct > 0 {
            *self.counts.kinds.entry("correct").or_default() += correct;
        }
        total.counts.add(std::mem::take(&mut self.counts));
        let names = in_order(std::mem::take(&mut self.synchronizer_names));
        let name = |index: u32| names.get(index as usize).map(String::as_str).unwrap_or_default();
        let participants = in_order(std::mem::take(&mut self.participants));
        for ((synchronizer, at), why) in self.ignored.drain() {
            total.ignore(name(synchronizer), at, why);
        }
        let evidence = &mut total.evidence;
        for list in self.lists.drain(..) {
            let Some(counterparty) = participants.get(list.whom as usize) else {
                continue;
            };
            for run in list.runs {
                evidence.take_run(name(list.synchronizer), counterparty, run, list.comparison);
            }
        }
        self.list_of.clear();
        self.runs = 0;
        self.seen.forget();
        for ((synchronizer, whom), to_inclusive) in self.sent.drain() {
            let Some(counterparty) = participants.get(whom as usize) else {
                continue;
            };
            let fact = Fact::Sent {
                counterparty: counterparty.clone(),
                to_inclusive,
            };
            evidence.take(name(synchronizer), fact);
        }
        for (synchronizer, at) in self.reached.drain() {
            evidence.take(name(synchronizer), Fact::Reached(at));
        }
        for synchronizer in self.catching_up.drain() {
            evidence.take(name(synchronizer), Fact::CatchingUp);
        }
        for (owner, count) in std::mem::take(&mut self.owners) {
            if total.owners.len() < OWNERS || total.owners.contains_key(&owner) {
                *total.owners.entry(owner).or_default() += count;
            }
        }
        self.synchronizers.clear();
        self.names.clear();
    }
}

/// Where a level stands in [`LEVELS`], or after them.
#[inline]
fn level(text: &[u8]) -> usize {
    match text {
        b"TRACE" => 0,
        b"DEBUG" => 1,
        b"INFO" => 2,
        b"WARN" => 3,
        b"ERROR" => 4,
        _ => LEVELS.len(),
    }
}

/// What was numbered, by its numbers.
fn in_order<T>(numbered: HashMap<T, u32>) -> Vec<T> {
    let mut all: Vec<_> = numbered.into_iter().collect();
    all.sort_unstable_by_key(|(_, number)| *number);
    all.into_iter().map(|(text, _)| text).collect()
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.hits += other.hits;
        self.unattributed += other.unattributed;
        self.malformed += other.malformed;
        self.filtered += other.filtered;
        self.pipeline += other.pipeline;
        let sum = |sums: &mut [u64], more: &[u64]| sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        sum(&mut self.processor, &other.processor);
        sum(&mut self.sampled, &other.sampled);
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.keys.extend(other.keys);
    }
}
