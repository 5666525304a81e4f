//! What lives from seeds show.

use super::world::{Tally, World};
use super::*;

/// More than by default: `REKINDLE_SEEDS=N`.
fn seeds(usual: u64) -> u64 {
    let wanted = std::env::var("REKINDLE_SEEDS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(usual)
}

fn add(all: &mut Tally, one: &Tally) {
    all.by_quorum += one.by_quorum;
    all.by_failover += one.by_failover;
    all.forks += one.forks;
    all.joined += one.joined;
    all.crashes += one.crashes;
    all.votes_kept += one.votes_kept;
    all.stuck += one.stuck;
    all.restarted_by_hand += one.restarted_by_hand;
    all.never_open += one.never_open;
    all.strangers += one.strangers;
    all.slowest_open_ms = all.slowest_open_ms.max(one.slowest_open_ms);
}

#[test]
fn clusters_heal_whatever_happens_to_them() {
    let mut all = Tally::default();
    let started = std::time::Instant::now();
    let count = seeds(200);
    for seed in 0..count {
        let mut world = World::new(seed, None);
        if let Err(why) = world.live() {
            panic!("seed {seed}: {why}");
        }
        add(&mut all, &world.tally);
    }
    println!("{count} seeds in {:?}: {all:?}", started.elapsed());
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

#[test]
fn a_broken_rule_is_noticed_by_some_seed() {
    let mut missed = Vec::new();
    for rule in Rule::ALL {
        let found = (0..seeds(300)).find_map(|seed| Some((seed, World::new(seed, Some(rule)).live().err()?)));
        println!("{rule:?}: {found:?}");
        missed.extend(found.is_none().then_some(rule));
    }
    assert!(missed.is_empty(), "{missed:?}");
}
