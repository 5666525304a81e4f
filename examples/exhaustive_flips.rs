//! Flips every bit and makes every truncation of every file of a small ledger, and judges what `verify` says of each.
//!
//! `cargo run --release --example exhaustive_flips -- DIR [--sample N] [--seed S] [--skip N] [--mode audit|integrity|both] [--jobs N]`
//!
//! Without `--sample`, all of them: about eight times as many verifications as the ledger has bytes. Prints how many
//! faults were named, in which fields those lie that nothing covers, and each that was judged wrong; then exits with 1.

#![allow(dead_code)]

#[path = "../tests/corruption/anatomy.rs"]
mod anatomy;
#[path = "../tests/corruption/ground.rs"]
mod ground;
#[path = "../tests/corruption/judge.rs"]
mod judge;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use rekindle::recovery::join::Mode;

use anatomy::Anatomy;
use ground::{Dice, Original, audit, is_clean, read_ledger, show};
use judge::{Answer, Fault, Judge};

/// Flip every bit and make every truncation of a ledger, and judge what verify says
#[derive(Parser)]
struct Args {
    /// A ledger directory; a small one
    directory: PathBuf,
    /// Only so many faults, chosen by the seed
    #[arg(long)]
    sample: Option<usize>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out so many faults at the start, to go on where a run was interrupted
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Which signatures are verified: audit, integrity or both
    #[arg(long, default_value = "audit", value_parser = ["audit", "integrity", "both"])]
    mode: String,
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// A verification that takes so long hangs.
const HANGS: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Tally {
    named: u64,
    uncovered: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

fn every_fault(files: &[Original]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (file, original) in files.iter().enumerate() {
        for offset in 0..original.bytes.len() {
            faults.extend((0..8).map(|bit| Fault::Flip { file, offset, bit }));
            faults.push(Fault::Cut { file, length: offset });
        }
    }
    faults
}

fn main() {
    let args = Args::parse();
    let files = read_ledger(&args.directory);
    let anatomy = Anatomy::of(&files);
    let undamaged = audit(&args.directory);
    assert!(
        is_clean(&undamaged),
        "the ledger is damaged already: {}",
        show(&undamaged)
    );
    let mut faults = every_fault(&files);
    let all = faults.len();
    if let Some(sample) = args.sample.filter(|&sample| sample < all) {
        let mut dice = Dice(args.seed);
        for i in 0..sample {
            let other = i + dice.below(all - i);
            faults.swap(i, other);
        }
        faults.truncate(sample);
    }
    faults.drain(..args.skip.min(faults.len()));
    let modes: &[Mode] = match args.mode.as_str() {
        "audit" => &[Mode::Audit],
        "integrity" => &[Mode::Integrity],
        _ => &[Mode::Audit, Mode::Integrity],
    };
    println!(
        "{} of {all} faults in {} files, {} mode",
        faults.len(),
        files.len(),
        args.mode
    );
    // Panics are judged; their text would only be in the way.
    std::panic::set_hook(Box::new(|_| ()));
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let busy: Vec<AtomicU64> = (0..args.jobs).map(|_| AtomicU64::new(0)).collect();
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for busy in &busy {
            let (next, tally, faults, files, anatomy) = (&next, &tally, &faults, &files, &anatomy);
            scope.spawn(move || {
                // One thread for each verification: there is enough else to do for the others.
                let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
                let judge = Judge::new(files, anatomy);
                pool.install(|| {
                    while let Some(&fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                        for &mode in modes {
                            busy.store(began.elapsed().as_secs() + 1, Ordering::Relaxed);
                            let answer = judge.judge(fault, mode);
                            count(&mut tally.lock().unwrap(), answer);
                        }
                    }
                });
                busy.store(0, Ordering::Relaxed);
            });
        }
        watch(&busy, &next, faults.len(), began);
    });
    let tally = tally.into_inner().unwrap();
    println!(
        "{} faults judged in {:.0} s",
        faults.len() * modes.len(),
        began.elapsed().as_secs_f64()
    );
    println!("{} named, with the right file and entry", tally.named);
    for (field, number) in &tally.uncovered {
        println!("{number} not found, as nothing covers: {field}");
    }
    println!("{} wrong", tally.wrong.len());
    for why in tally.wrong.iter().take(20) {
        println!("\n{why}");
    }
    std::process::exit(i32::from(!tally.wrong.is_empty()));
}

fn count(tally: &mut Tally, answer: Answer) {
    match answer {
        Answer::Named => tally.named += 1,
        Answer::Uncovered(field) => *tally.uncovered.entry(field).or_default() += 1,
        Answer::Wrong(why) => tally.wrong.push(why),
    }
}

/// Says every minute how far it is, and ends everything if one verification hangs.
fn watch(busy: &[AtomicU64], next: &AtomicUsize, total: usize, began: Instant) {
    let mut said = Instant::now();
    while busy.iter().any(|busy| busy.load(Ordering::Relaxed) > 0) || next.load(Ordering::Relaxed) < total {
        std::thread::sleep(Duration::from_millis(50));
        let now = began.elapsed().as_secs() + 1;
        for busy in busy {
            let since = busy.load(Ordering::Relaxed);
            if since > 0 && now.saturating_sub(since) > HANGS.as_secs() {
                eprintln!("verify hangs at or before fault {}", next.load(Ordering::Relaxed));
                std::process::exit(1);
            }
        }
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            eprintln!("{} of {total} after {now} s", next.load(Ordering::Relaxed).min(total));
        }
    }
}
