//! Whether the apps' backup is from before the participant's, and what proves it (SPEC-CANTON 2.1, 2.4).
//!
//! Offsets prove it: apps that have read no further than the participant's ledger reaches find there all that they have read.
//! Times prove it where the last instant that the apps' content can be from is before the first that the participant's can be
//! from. Offsets outrank times.

use serde::Serialize;

use super::instant::{Window, is_sharp};
use super::offset::Offset;

/// What is known of offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// The furthest that any app has read; nothing where none has read anything, or it is not known.
    pub apps: Option<Offset>,
    /// Whether there are offsets of apps that could not be read.
    pub apps_in_part: bool,
    /// Where the participant's ledger ends; `Some(None)` at its beginning, and nothing where it is not known.
    pub ledger_end: Option<Option<Offset>>,
}

/// What offsets say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByOffsets {
    /// No app has read further than the ledger reaches.
    Holds,
    /// An app has.
    Ahead,
    /// Nothing.
    Unknown,
}

impl Offsets {
    /// What they say.
    pub fn say(&self) -> ByOffsets {
        match (self.apps, self.ledger_end) {
            // Nothing at all is the smallest.
            (Some(apps), Some(end)) if Some(apps) > end => ByOffsets::Ahead,
            (Some(_), Some(_)) if !self.apps_in_part => ByOffsets::Holds,
            _ => ByOffsets::Unknown,
        }
    }
}

/// What times say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByTimes {
    /// The apps' backup was complete before the participant's was started.
    Before,
    /// The apps' backup was started after the participant's was complete.
    After,
    /// Neither: they overlap, or touch, or could.
    Overlap,
    /// Nothing.
    Unknown,
}

/// Compares when two backups were taken.
pub fn by_times(apps: Option<&Window>, participant: Option<&Window>) -> ByTimes {
    match (apps, participant) {
        (Some(apps), Some(participant)) if apps.latest() < participant.earliest() => ByTimes::Before,
        (Some(apps), Some(participant)) if apps.earliest() > participant.latest() => ByTimes::After,
        (Some(_), Some(_)) => ByTimes::Overlap,
        _ => ByTimes::Unknown,
    }
}

/// Whether backups that overlap satisfy the laxer rule of Splice's own scripts: the apps' ended no later than the
/// participant's.
pub fn satisfies_lax_rule(apps: &Window, participant: &Window) -> bool {
    match (apps.end, participant.end) {
        (Some(apps), Some(participant)) => {
            is_sharp(&apps) && is_sharp(&participant) && apps.earliest <= participant.earliest
        }
        _ => false,
    }
}

/// What proves the order, or the contrary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Offsets.
    Offsets,
    /// Times.
    Times,
    /// Nothing.
    Unproven,
}

/// What proves what: whether the apps' backup is from before the participant's, or nothing where that is not known.
pub fn decide(offsets: ByOffsets, times: ByTimes) -> (Proof, Option<bool>) {
    match (offsets, times) {
        (ByOffsets::Ahead, _) => (Proof::Offsets, Some(false)),
        (ByOffsets::Holds, _) => (Proof::Offsets, Some(true)),
        (ByOffsets::Unknown, ByTimes::Before) => (Proof::Times, Some(true)),
        (ByOffsets::Unknown, ByTimes::After) => (Proof::Times, Some(false)),
        (ByOffsets::Unknown, ByTimes::Overlap | ByTimes::Unknown) => (Proof::Unproven, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canton::Timestamp;
    use crate::canton::backup::instant::By;
    use crate::canton::dump::Span;

    fn span((earliest, length): (i64, i64)) -> Span {
        let at = |micros| Timestamp::from_micros(micros * 1_000_000).unwrap();
        Span {
            earliest: at(earliest),
            latest: at(earliest + length),
        }
    }

    fn window() -> impl Strategy<Value = Window> {
        let span = || (0_i64..30, 0_i64..4);
        (span(), proptest::option::of(span())).prop_map(|(start, end)| Window {
            start: self::span(start),
            // It ends no earlier than it starts.
            end: end.map(|(after, length)| self::span((start.0 + after, length))),
            by: By::Comments,
        })
    }

    /// The instants, in seconds, that a window's content can be from.
    fn instants(window: &Window) -> Vec<i64> {
        (-20..120)
            .filter(|second| {
                let at = Timestamp::from_seconds(*second).unwrap();
                window.earliest() <= at && at <= window.latest()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn times_prove_what_every_pair_of_instants_has(apps in window(), participant in window()) {
            let (a, p) = (instants(&apps), instants(&participant));
            let all = |holds: fn(&i64, &i64) -> bool| a.iter().all(|a| p.iter().all(|p| holds(a, p)));
            let expected = if all(|a, p| a < p) {
                ByTimes::Before
            } else if all(|a, p| a > p) {
                ByTimes::After
            } else {
                ByTimes::Overlap
            };
            prop_assert_eq!(by_times(Some(&apps), Some(&participant)), expected);
        }

        #[test]
        fn offsets_prove_what_comparing_each_with_the_end_says(
            apps in proptest::collection::vec(proptest::option::of(0_u64..5), 0..5),
            end in proptest::option::of(proptest::option::of(1_u64..5)),
        ) {
            let offsets = Offsets {
                apps: apps.iter().flatten().copied().max().and_then(Offset::new),
                apps_in_part: false,
                ledger_end: end.map(|end| end.and_then(Offset::new)),
            };
            // An app that has read up to 0 has read something that an empty ledger does not have.
            let ahead = |end: Option<u64>| apps.iter().flatten().any(|app| end.is_none_or(|end| *app > end));
            let expected = match end {
                Some(end) if ahead(end) => ByOffsets::Ahead,
                Some(_) if apps.iter().any(Option::is_some) => ByOffsets::Holds,
                _ => ByOffsets::Unknown,
            };
            prop_assert_eq!(offsets.say(), expected);
        }
    }

    #[test]
    fn offsets_that_could_not_be_read_prove_a_violation_but_not_the_order() {
        let offsets = |apps: u64| Offsets {
            apps: Offset::new(apps),
            apps_in_part: true,
            ledger_end: Some(Offset::new(10)),
        };
        assert_eq!(offsets(11).say(), ByOffsets::Ahead);
        assert_eq!(offsets(10).say(), ByOffsets::Unknown);
    }

    #[test]
    fn offsets_outrank_times_and_times_stand_in_for_them() {
        use {ByOffsets as O, ByTimes as T};
        for times in [T::Before, T::After, T::Overlap, T::Unknown] {
            assert_eq!(decide(O::Holds, times), (Proof::Offsets, Some(true)));
            assert_eq!(decide(O::Ahead, times), (Proof::Offsets, Some(false)));
        }
        assert_eq!(decide(O::Unknown, T::Before), (Proof::Times, Some(true)));
        assert_eq!(decide(O::Unknown, T::After), (Proof::Times, Some(false)));
        assert_eq!(decide(O::Unknown, T::Overlap), (Proof::Unproven, None));
        assert_eq!(decide(O::Unknown, T::Unknown), (Proof::Unproven, None));
    }

    #[test]
    fn the_scripts_rule_is_laxer_and_known_as_such() {
        let window = |start: i64, end: i64| Window {
            start: span((start, 0)),
            end: Some(span((end, 0))),
            by: By::CloudBackup,
        };
        let (apps, participant) = (window(0, 10), window(5, 10));
        assert_eq!(by_times(Some(&apps), Some(&participant)), ByTimes::Overlap);
        assert!(satisfies_lax_rule(&apps, &participant));
        assert!(!satisfies_lax_rule(&window(0, 11), &participant));
        // Touching is not strictly before.
        assert_eq!(by_times(Some(&window(0, 5)), Some(&participant)), ByTimes::Overlap);
        assert_eq!(by_times(Some(&window(0, 4)), Some(&participant)), ByTimes::Before);
    }
}
