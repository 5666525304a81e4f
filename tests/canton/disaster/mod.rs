//! Disasters, made up: some SVs, how far each came, who was lost, lags, forked, or has no log; what their logs would say; and
//! what is true about it ([`truth`]), found from the definition in the plainest way.

pub mod truth;

use rekindle::canton::Timestamp;
use rekindle::canton::evidence::{Comparison, Evidence, Fact, Facts, Period};
use rekindle::canton::name::Participant;

/// The synchronizer's id.
pub const SYNCHRONIZER: &str = "global-domain::12203f4eb526";

/// Numbers that are the same for the same seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}

/// What became of an SV's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    Whole,
    Missing,
    /// Comparisons are not in it.
    WrongLevel,
    /// Only ticks from the first to the second are in it.
    Cut(usize, usize),
}

/// One SV.
#[derive(Clone, Debug)]
pub struct Sv {
    pub name: String,
    pub participant: String,
    /// The last tick that it reached; 0 for none.
    pub reached: usize,
    /// From this tick on its contracts are others than the majority's.
    pub forked: Option<usize>,
    /// From this tick on it catches up, with periods of [`SKIP`] ticks.
    pub lags: Option<usize>,
    pub log: Log,
}

/// Ticks of a period while catching up.
pub const SKIP: usize = 5;

/// One line that a log has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub sender: usize,
    pub from: usize,
    pub to: usize,
    pub agrees: bool,
}

/// A made-up disaster.
#[derive(Clone, Debug)]
pub struct Disaster {
    pub svs: Vec<Sv>,
    /// Seconds from tick to tick.
    pub interval_s: i64,
    /// How many ticks there are before the end.
    pub ticks: usize,
    pub margin_s: i64,
    start_s: i64,
}

impl Disaster {
    pub fn new(seed: u64) -> Disaster {
        let mut dice = Dice::new(seed);
        // From 4 to 40, most of them small.
        let most = if seed % 8 == 7 { 37 } else { 9 };
        let count = 4 + dice.below(most);
        let interval_s = 60 * [1, 2, 5, 10, 30][dice.below(5)];
        let ticks = 30 + dice.below(20);
        let mut svs: Vec<Sv> = (1..=count)
            .map(|number| Sv {
                name: format!("sv-{number}"),
                participant: format!("PAR::{}::1220{:08x}...", identifier(number), dice.next() as u32),
                reached: ticks,
                forked: None,
                lags: None,
                log: Log::Whole,
            })
            .collect();
        // At most a third may fail for there to be an agreement; sometimes it is more.
        let is_worse = dice.below(5) == 0;
        let failing = match is_worse {
            true => count,
            false => dice.below(count / 2 + 1),
        };
        let mut order: Vec<usize> = (0..count).collect();
        dice.shuffle(&mut order);
        let forked_at = 5 + dice.below(20);
        for (nth, &at) in order.iter().enumerate() {
            let forked = svs.iter().filter(|sv| sv.forked.is_some()).count();
            let sv = &mut svs[at];
            // Nobody stops at quite the same moment.
            sv.reached -= dice.below(2);
            if nth >= failing {
                continue;
            }
            match dice.below(7) {
                _ if is_worse && dice.below(4) > 0 => sv.log = Log::Missing,
                0 => sv.reached = 1 + dice.below(ticks - 5),
                1 => {
                    let from = SKIP * dice.below(4);
                    sv.lags = Some(from);
                    sv.reached = from + SKIP * (1 + dice.below(3));
                }
                // A few go another way together; the others stay the majority.
                2 if forked < count / 4 => sv.forked = Some(forked_at),
                3 => sv.log = Log::Missing,
                4 => sv.log = Log::WrongLevel,
                5 => sv.log = Log::Cut(1, 1 + dice.below(ticks)),
                _ => sv.log = Log::Cut(1 + dice.below(ticks), ticks),
            }
        }
        Disaster {
            svs,
            interval_s,
            ticks,
            margin_s: [0, 900, 900, 3600][dice.below(4)],
            start_s: 1_713_700_800 + 86_400 * dice.below(300) as i64,
        }
    }

    pub fn at(&self, tick: usize) -> Timestamp {
        Timestamp::from_seconds(self.start_s + self.interval_s * tick as i64).unwrap()
    }

    fn has_in_log(&self, sv: usize, tick: usize) -> bool {
        match self.svs[sv].log {
            Log::Whole => true,
            Log::Missing | Log::WrongLevel => false,
            Log::Cut(first, last) => (first..=last).contains(&tick),
        }
    }

    /// The ends of the periods for which two compare, with their beginnings.
    fn periods(&self, one: usize, other: usize) -> Vec<(usize, usize)> {
        let end = self.svs[one].reached.min(self.svs[other].reached);
        let lags = [one, other].iter().filter_map(|sv| self.svs[*sv].lags).min();
        let mut periods = Vec::new();
        let mut at = 0;
        while at < end {
            // Long periods end at multiples of their length.
            let next = match lags {
                Some(from) if at >= from => (at / SKIP + 1) * SKIP,
                _ => at + 1,
            };
            if next > end {
                break;
            }
            periods.push((at, next));
            at = next;
        }
        periods
    }

    /// What an SV's log says.
    pub fn records(&self, owner: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for sender in (0..self.svs.len()).filter(|sender| *sender != owner) {
            for (from, to) in self.periods(owner, sender) {
                if !self.has_in_log(owner, to) {
                    continue;
                }
                let is_on = |sv: usize| self.svs[sv].forked.is_some_and(|forked| to >= forked);
                let agrees = is_on(owner) == is_on(sender);
                records.push(Record {
                    sender,
                    from,
                    to,
                    agrees,
                });
            }
        }
        records
    }

    /// The evidence that a log like this gives.
    pub fn evidence(&self, owner: usize) -> Option<Evidence> {
        if self.svs[owner].log == Log::Missing {
            return None;
        }
        let mut evidence = Evidence::default();
        evidence.participant = Some(self.participant(owner));
        for record in self.records(owner) {
            let fact = Fact::Compared {
                counterparty: self.participant(record.sender),
                period: Period {
                    from_exclusive: self.at(record.from),
                    to_inclusive: self.at(record.to),
                },
                comparison: match record.agrees {
                    true => Comparison::Correct,
                    false => Comparison::Mismatch,
                },
            };
            evidence.take(SYNCHRONIZER, fact);
        }
        Some(evidence)
    }

    pub fn participant(&self, sv: usize) -> Participant {
        self.svs[sv].participant.parse().unwrap()
    }

    pub fn quorum(&self) -> usize {
        self.svs.len() * 2 / 3 + 1
    }
}

/// Identifiers as legal and as odd as they come.
fn identifier(number: usize) -> String {
    match number % 5 {
        0 => format!("Digital-Asset-Eng-{number}"),
        1 => format!("sv {number}:with_odd-name"),
        _ => format!("node{number}"),
    }
}
