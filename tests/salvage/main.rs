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
fn copies_that_were_cut_into_chunks_at_other_places_hold_one_ledger_together() {
    seeded::many_of(&fixture("small/ledger"), seeds(), seeded::cut_differently);
    seeded::many_of(&fixture("cose/ledger"), seeds(), seeded::cut_differently);
    let Some(ledgers) = support::ledgers() else { return };
    let real = ledgers.join("expired_service/ledger");
    seeded::many_of(&real, seeds(), seeded::cut_differently);
}

/// Every entry that is at an end of something, each signature among them.
fn ends(files: &[damage::Original]) -> std::collections::BTreeSet<u64> {
    let signed = damage::signatures(files).into_iter().map(|(seqno, _)| seqno);
    let chunks = files.iter().map(|file| file.first);
    let ends: Vec<u64> = signed.chain(chunks).collect();
    let last = files
        .last()
        .map_or(1, |file| file.first + file.entries.len() as u64 - 1);
    let around = ends.into_iter().flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    around
        .chain([1, 2, 3, last])
        .filter(|at| (1..=last).contains(at))
        .collect()
}

#[test]
fn a_hole_at_any_end_is_filled_where_a_copy_can_and_ends_the_result_where_none_can() {
    let mut ledgers = vec![fixture("small/ledger"), fixture("cose/ledger")];
    if let Some(real) = support::ledgers() {
        ledgers.extend(["acme_containing_service", "cose_flipflop_service"].map(|name| real.join(name).join("ledger")));
    }
    // With REKINDLE_SALVAGE_SEEDS all of them.
    let part = if seeds().end > 20 { 1 } else { 7 };
    for ledger in ledgers {
        let files = damage::read(&ledger);
        let all = ends(&files)
            .into_iter()
            .enumerate()
            .filter(|(number, _)| number % part == 0);
        let wrong: Vec<String> = all.filter_map(|(_, seqno)| seeded::hole(&files, seqno).err()).collect();
        assert!(
            wrong.is_empty(),
            "{}: {:#?}",
            ledger.display(),
            &wrong[..wrong.len().min(4)]
        );
    }
}

#[test]
fn what_three_copies_of_real_ledgers_hold_together_is_found() {
    let Some(ledgers) = support::ledgers() else { return };
    for name in ["real_small", "real_owner", "double_sealed_service", "expired_service"] {
        seeded::many(&ledgers.join(name).join("ledger"), seeds());
    }
    seeded::many(&ledgers.join("real_three_nodes/node0"), seeds());
}
