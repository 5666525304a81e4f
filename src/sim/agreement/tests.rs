use super::*;
use crate::consensus::Rule;

fn seeds() -> u64 {
    std::env::var("REKINDLE_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200)
}

fn run_broken(seed: u64, rule: Rule) -> Outcome {
    let mut world = world::World::new(seed, false);
    world.broken = Some(rule);
    live(world)
}

#[test]
fn clusters_agree_whatever_happens_to_them() {
    let mut all = Tally::default();
    let began = std::time::Instant::now();
    for seed in 0..seeds() {
        let outcome = run(seed, false);
        if let Some(failure) = outcome.failure {
            let trace = run(seed, true).trace;
            let tail = trace.len().saturating_sub(120);
            panic!(
                "seed {seed}: {failure}\n{}\nseed {seed}: {failure}",
                trace[tail..].join("\n")
            );
        }
        if outcome.tally.healed_ms > 12_000 && std::env::var("SLOW").is_ok() {
            println!("slow {seed} {}", outcome.tally.healed_ms);
        }
        all.add(&outcome.tally);
    }
    println!(
        "{all:?}, {:.0} steps a second",
        all.steps as f64 / began.elapsed().as_secs_f64()
    );
}

#[test]
#[ignore]
fn the_same_seed_gives_the_same_life() {
    for seed in 0..3 {
        assert_eq!(run(seed, true).trace, run(seed, true).trace);
    }
}

#[test]
#[ignore]
fn every_broken_rule_is_noticed() {
    let most = std::env::var("REKINDLE_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2000);
    let mut missed = Vec::new();
    for rule in Rule::ALL {
        let found = (0..most).find_map(|seed| Some((seed, run_broken(seed, rule).failure?)));
        println!("{rule:?}: {found:?}");
        if found.is_none() {
            missed.push(rule);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
#[ignore]
fn one_seed() {
    let seed = std::env::var("SEED").unwrap().parse().unwrap();
    let outcome = run(seed, true);
    for line in outcome.trace {
        println!("{line}");
    }
    println!("{:?} {:?}", outcome.failure, outcome.tally);
}
