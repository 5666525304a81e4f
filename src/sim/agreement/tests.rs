use std::sync::LazyLock;

use super::model::Model;
use super::whole::Whole;
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
    /// A follower takes entries whose tags it does not check.
    TagsAreNotChecked,
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

static WORLD: LazyLock<super::super::World> = LazyLock::new(|| {
    let scratch = tempfile::tempdir().unwrap();
    super::super::World::make(scratch.path()).unwrap()
});

static GROUNDS: LazyLock<Grounds<'static>> = LazyLock::new(|| {
    let scratch = tempfile::tempdir().unwrap();
    Grounds::make(&WORLD, scratch.path()).unwrap()
});

/// The first seed of whole cores that notices, and how.
fn noticed_by_whole(broken: Broken, seeds: u64) -> Option<(u64, String)> {
    let scratch = tempfile::tempdir().unwrap();
    let place = Place::new(scratch.path()).unwrap();
    (0..seeds).find_map(|seed| {
        let ground = &GROUNDS.all[seed as usize % GROUNDS.all.len()];
        let mut world = world::World::<Whole>::new(ground, Some(3 + seed as usize % 3), seed, false);
        world.broken = Some(broken);
        let outcome = lived(world, |world| {
            world.look(&place, &mut super::super::Tally::default()).map(drop)
        });
        Some((seed, outcome.failure?))
    })
}

#[test]
fn whole_cores_agree_whatever_happens_to_them() {
    let scratch = tempfile::tempdir().unwrap();
    let mut all = Tally::default();
    for seed in 0..seeds(24) {
        let nodes = 3 + seed as usize % 3;
        let outcome = run_whole(&GROUNDS, nodes, seed, scratch.path(), false);
        assert_eq!(outcome.failure, None, "seed {seed} of {nodes} nodes");
        all.add(&outcome.tally);
    }
    println!("{all:?}");
    let happened = [
        all.elections,
        all.joined,
        all.retired,
        all.rolled_back,
        all.acknowledged,
        all.recovered,
    ];
    assert!(happened.iter().all(|count| *count > 5), "{all:?}");
}

#[test]
fn a_life_of_whole_cores_is_the_same_from_the_same_seed() {
    let scratch = tempfile::tempdir().unwrap();
    let [one, again] = [(); 2].map(|()| run_whole(&GROUNDS, 3, 1, scratch.path(), true).trace);
    assert!(one.len() > 100);
    assert_eq!(one, again);
}

#[test]
fn what_a_core_or_its_driver_forgets_is_noticed() {
    for broken in [
        Broken::FilesKeepTheTail,
        Broken::StateKeepsTheTail,
        Broken::SyncIsNotMade,
        Broken::TagsAreNotChecked,
    ] {
        let found = noticed_by_whole(broken, seeds(40));
        println!("{broken:?}: {found:?}");
        assert!(found.is_some(), "{broken:?}");
    }
}

/// Rules whose breach takes more mishaps than few lives of whole cores have: consensus alone finds those.
const RARE: [Rule; 3] = [Rule::ElectJoint, Rule::OneVote, Rule::CommitShared];

#[test]
#[ignore = "minutes"]
fn a_broken_rule_is_noticed_by_whole_cores() {
    let mut missed = Vec::new();
    let is_tried = |rule: &Rule| !LATE.contains(rule) && !RARE.contains(rule);
    for rule in Rule::ALL.into_iter().filter(is_tried) {
        let found = noticed_by_whole(Broken::Agreement(rule), seeds(40));
        println!("{rule:?}: {found:?}");
        missed.extend(found.is_none().then_some(rule));
    }
    assert!(missed.is_empty(), "{missed:?}");
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
