//! What lives from seeds show.

use super::world::{Tally, World};
use crate::heal::Rule;

/// More than by default: `REKINDLE_SEEDS=N`.
fn seeds(usual: u64) -> u64 {
    let wanted = std::env::var("REKINDLE_SEEDS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(usual)
}

#[test]
fn clusters_heal_whatever_happens_to_them() {
    let mut all = Tally::default();
    for seed in 0..seeds(200) {
        let mut world = World::new(seed);
        if let Err(why) = world.live() {
            panic!("seed {seed}: {why}");
        }
        all.add(&world.tally);
    }
    let happened = [
        all.by_quorum,
        all.by_failover,
        all.joined,
        all.crashes,
        all.votes_kept,
        all.restarted_by_hand,
    ];
    assert!(happened.iter().all(|count| *count > 5), "{all:?}");
}

/// The first seed that notices a broken rule, and how.
fn noticed(rule: Rule, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        let mut world = World::new(seed);
        world.settings.broken = vec![rule];
        Some((seed, world.live().err()?))
    })
}

/// Rules whose breach takes several mishaps at once to do harm: the search over three nodes finds both at once.
const LATE: [Rule; 2] = [Rule::OneVote, Rule::VoteOutlivesRestart];

#[test]
fn a_broken_rule_is_noticed_by_some_seed() {
    let rules = Rule::ALL.into_iter().filter(|rule| !LATE.contains(rule));
    let missed: Vec<Rule> = rules.filter(|rule| noticed(*rule, 100).is_none()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
#[ignore = "a minute"]
fn a_broken_rule_that_seldom_does_harm_is_noticed() {
    for rule in LATE {
        assert!(noticed(rule, seeds(20_000)).is_some(), "{rule:?}");
    }
}
