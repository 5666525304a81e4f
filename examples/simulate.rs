//! Lives through made-up lives of services, each from a seed, over a disk that lies; see docs/simulation.md.
//!
//! `cargo run --release --example simulate -- --seeds N [--from K] [--jobs J]`; one seed again, with what happened in it:
//! `cargo run --release --example simulate -- --seeds 1 --from SEED --trace`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use rekindle::sim::{Tally, World, run};

/// Live through made-up lives of services over a disk that lies
#[derive(Parser)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print what happened in the first seed that fails, or in the last
    #[arg(long)]
    trace: bool,
    /// End with the first seed that fails
    #[arg(long)]
    first: bool,
}

/// Lines of a trace that are printed without being asked for.
const LINES: usize = 60;

fn main() -> ExitCode {
    let args = Args::parse();
    let memory = PathBuf::from("/dev/shm");
    let scratch = match memory.is_dir() {
        true => tempfile::tempdir_in(&memory),
        false => tempfile::tempdir(),
    };
    let scratch = scratch.expect("a temporary directory");
    let began = Instant::now();
    let world = World::make(scratch.path()).expect("the dead services are made up");
    println!("the dead services are made up ({:.1} s)", began.elapsed().as_secs_f64());
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let next = AtomicU64::new(args.from);
    let is_over = AtomicBool::new(false);
    let counted = Mutex::new((Tally::default(), Vec::new(), 0_u64));
    std::thread::scope(|scope| {
        for job in 0..args.jobs.max(1) {
            let (world, next, is_over, counted) = (&world, &next, &is_over, &counted);
            let place = scratch.path().join(format!("job-{job}"));
            std::fs::create_dir(&place).expect("a directory");
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.from + args.seeds {
                        return;
                    }
                    let outcome = run(world, seed, &place, false);
                    let mut counted = counted.lock().expect("no other has panicked");
                    counted.0.add(&outcome.tally);
                    counted.2 += 1;
                    if let Some(failure) = outcome.failure {
                        println!("seed {seed} ({:.1} s): {failure}", began.elapsed().as_secs_f64());
                        counted.1.push(seed);
                        is_over.fetch_or(args.first, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (tally, mut failed, lived) = counted.into_inner().expect("none has panicked");
    println!("{tally}");
    println!(
        "{lived} seeds in {:.1} s, {} failed",
        began.elapsed().as_secs_f64(),
        failed.len()
    );
    failed.sort_unstable();
    if let Some(seed) = failed
        .first()
        .copied()
        .or(args.trace.then_some(args.from + args.seeds - 1))
    {
        let place = scratch.path().join("again");
        std::fs::create_dir(&place).expect("a directory");
        let outcome = run(&world, seed, &place, true);
        let skipped = if args.trace {
            0
        } else {
            outcome.trace.len().saturating_sub(LINES)
        };
        println!("seed {seed}, the last of {} lines:", outcome.trace.len());
        outcome.trace.iter().skip(skipped).for_each(|line| println!("{line}"));
        println!(
            "seed {seed}: {}",
            outcome.failure.as_deref().unwrap_or("everything holds")
        );
        println!("again: cargo run --release --example simulate -- --seeds 1 --from {seed} --trace");
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
