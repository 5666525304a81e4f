//! Single bits and truncations: a sample of what `examples/exhaustive_flips.rs` makes all of.

use rekindle::recovery::join::Mode;

use super::anatomy::Anatomy;
use super::ground::{Dice, fixture, ledgers, read_ledger};
use super::judge::{Answer, Fault, Judge};

/// Judges so many seeded flips and cuts of a ledger, in both modes, and fails with the first few that are wrong.
fn sample(directory: &std::path::Path, flips: usize, cuts: usize, seed: u64) {
    let files = read_ledger(directory);
    let anatomy = Anatomy::of(&files);
    let judge = Judge::new(&files, &anatomy);
    let mut dice = Dice(seed);
    let mut wrong = Vec::new();
    for number in 0..flips + cuts {
        let file = dice.below(files.len());
        let offset = dice.below(files[file].bytes.len());
        let fault = match number < flips {
            true => Fault::Flip {
                file,
                offset,
                bit: dice.below(8) as u8,
            },
            false => Fault::Cut { file, length: offset },
        };
        let mode = if number % 2 == 0 { Mode::Audit } else { Mode::Integrity };
        if let Answer::Wrong(why) = judge.judge(fault, mode) {
            wrong.push(why);
        }
    }
    let first: Vec<_> = wrong.iter().take(5).cloned().collect();
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong, such as\n{}",
        wrong.len(),
        flips + cuts,
        first.join("\n\n")
    );
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_small_real_ledger_is_found_and_named() {
    let Some(ledgers) = ledgers() else { return };
    sample(&ledgers.join("acme_containing_service/ledger"), 1500, 300, 1);
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_ledger_with_node_signatures_only_is_found_and_named() {
    let Some(ledgers) = ledgers() else { return };
    sample(&ledgers.join("cose_flipflop_service/ledger"), 400, 100, 2);
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_ledger_with_recoveries_is_found_and_named() {
    sample(&fixture("small/ledger"), 400, 100, 3);
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_ledger_with_cose_signatures_only_is_found_and_named() {
    sample(&fixture("cose/ledger"), 400, 100, 4);
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_ledger_with_an_unsigned_tail_is_found_and_named() {
    sample(&fixture("p256/ledger"), 400, 100, 5);
}
