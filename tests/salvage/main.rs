//! `salvage`: what damaged copies hold together.

#[path = "../support/mod.rs"]
#[macro_use]
mod support;
mod bridges;
mod damage;
#[path = "../support/dice.rs"]
mod dice;
mod histories;
mod hostile;
mod places;
mod seeded;

use std::path::Path;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// So many seeds of each: more with REKINDLE_SALVAGE_SEEDS.
fn seeds() -> std::ops::Range<u64> {
    let more = std::env::var("REKINDLE_SALVAGE_SEEDS").ok();
    0..more.map_or(20, |more| more.parse().unwrap())
}

#[test]
fn what_three_copies_of_a_made_ledger_hold_together_is_found() {
    seeded::many(&fixture("small/ledger"), seeds());
    seeded::many(&fixture("cose/ledger"), seeds());
}

#[test]
fn what_three_copies_of_real_ledgers_hold_together_is_found() {
    let Some(ledgers) = support::ledgers() else { return };
    for name in ["real_small", "real_owner", "double_sealed_service", "expired_service"] {
        seeded::many(&ledgers.join(name).join("ledger"), seeds());
    }
    seeded::many(&ledgers.join("real_three_nodes/node0"), seeds());
}
