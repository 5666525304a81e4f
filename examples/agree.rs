//! Lives through made-up lives of clusters, each from a seed, consensus alone; see docs/simulation.md.
//!
//! `cargo run --release --example agree -- --seeds N [--from K]`; one seed again, with what happened in it:
//! `cargo run --release --example agree -- --seeds 1 --from SEED --trace`

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use rekindle::sim::agreement::{Tally, run};

/// Live through made-up lives of clusters
#[derive(Parser)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print what happened in each
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let mut all = Tally::default();
    let mut failed = 0_u64;
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let outcome = run(seed, args.trace);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        all.add(&outcome.tally);
        if let Some(failure) = outcome.failure {
            failed += 1;
            println!("seed {seed}: {failure}");
            println!("again: cargo run --release --example agree -- --seeds 1 --from {seed} --trace");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{all:?}");
    println!(
        "{} seeds, {failed} failed, {:.0} steps a second",
        args.seeds,
        all.steps as f64 / seconds
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
