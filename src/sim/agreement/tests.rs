use super::model::Model;
use super::*;
use crate::consensus::Rule;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A rule of the agreement.
    Agreement(Rule),
    /// What is rolled back stays in the chunk files.
    FilesKeepTheTail,
    /// What is rolled back stays in the state.
    StateKeepsTheTail,
    /// A sync is reported, and not made.
    SyncIsNotMade,
    /// A follower does not compare the root that is signed with its own.
    RootIsNotCompared,
}

/// More than by default: `REKINDLE_SEEDS=N`.
fn seeds(usual: u64) -> u64 {
    let wanted = std::env::var("REKINDLE_SEEDS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(usual)
}

fn run_broken(seed: u64, rule: Rule) -> Outcome {
    let mut world = world::World::<Model>::new(&(), None, seed, false);
    world.broken = Some(Broken::Agreement(rule));
    lived(world, |_| Ok(()))
}

/// The first seed that notices a broken rule, and how.
fn noticed(rule: Rule, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| Some((seed, run_broken(seed, rule).failure?)))
}

#[test]
fn clusters_agree_whatever_happens_to_them() {
    let mut all = Tally::default();
    for seed in 0..seeds(100) {
        let outcome = run(seed, false);
        if let Some(failure) = outcome.failure {
            let trace = run(seed, true).trace;
            let tail = trace.len().saturating_sub(60);
            panic!(
                "seed {seed}: {failure}\n{}\nseed {seed}: {failure}",
                trace[tail..].join("\n")
            );
        }
        all.add(&outcome.tally);
    }
    println!("{all:?}");
    let happened = [
        all.elections,
        all.joined,
        all.retired,
        all.leaders_retired,
        all.crashed,
        all.rolled_back,
        all.told,
    ];
    assert!(happened.iter().all(|count| *count > 20), "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in 0..3 {
        assert_eq!(run(seed, true).trace, run(seed, true).trace);
    }
}

#[test]
fn a_broken_rule_is_noticed() {
    let mut missed = Vec::new();
    for rule in Rule::ALL.into_iter().filter(|rule| !LATE.contains(rule)) {
        let found = noticed(rule, 60);
        println!("{rule:?}: {found:?}");
        missed.extend(found.is_none().then_some(rule));
    }
    assert!(missed.is_empty(), "{missed:?}");
}

/// Rules whose breach takes two mishaps at once to do harm: hundreds or thousands of seeds.
const LATE: [Rule; 2] = [Rule::CommitOwnView, Rule::ViewOfAcknowledgements];

#[test]
#[ignore = "minutes"]
fn a_broken_rule_that_seldom_does_harm_is_noticed() {
    for rule in LATE {
        let found = noticed(rule, seeds(20_000));
        println!("{rule:?}: {found:?}");
        assert!(found.is_some(), "{rule:?}");
    }
}
