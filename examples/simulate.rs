//! Lives through made-up lives, each from a seed; see docs/simulation.md. Of services of one node, over a disk that lies:
//!
//! `cargo run --release --example simulate -- --seeds N [--from K] [--jobs J]`; one seed again, with what happened in it:
//! `cargo run --release --example simulate -- --seeds 1 --from SEED --trace`
//!
//! Of clusters of whole nodes: `--nodes N`. Of nodes that open by themselves after a disaster: `--self-healing`.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use rekindle::sim::{World, agreement, healing, run};

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
    /// Clusters of so many whole nodes
    #[arg(long, value_parser = clap::value_parser!(u8).range(3..=5))]
    nodes: Option<u8>,
    /// Nodes that find out by themselves whose ledger is best
    #[arg(long, conflicts_with = "nodes")]
    self_healing: bool,
    /// Print what happened in the first seed that fails, or in the last
    #[arg(long)]
    trace: bool,
    /// End with the first seed that fails
    #[arg(long)]
    first: bool,
}

/// Lines of a trace that are printed without being asked for.
const LINES: usize = 60;

/// What became of a seed: what it lived through, the promise that was broken, and what happened.
type Lived<T> = (T, Option<String>, Vec<String>);

fn main() -> ExitCode {
    let args = Args::parse();
    let memory = PathBuf::from("/dev/shm");
    let scratch = match memory.is_dir() {
        true => tempfile::tempdir_in(&memory),
        false => tempfile::tempdir(),
    };
    let scratch = scratch.expect("a temporary directory");
    let scratch = scratch.path();
    std::panic::set_hook(Box::new(|_| {}));
    if args.self_healing {
        let live = |seed: u64, _: &Path, traced: bool| {
            let outcome = healing::run(seed, traced);
            (outcome.tally, outcome.failure, outcome.trace)
        };
        return all(&args, scratch, live, healing::Tally::add);
    }
    let began = Instant::now();
    let world = World::make(scratch).expect("the dead services are made up");
    println!("the dead services are made up ({:.1} s)", began.elapsed().as_secs_f64());
    match args.nodes {
        None => {
            let live = |seed: u64, place: &Path, traced: bool| {
                let outcome = run(&world, seed, place, traced);
                (outcome.tally, outcome.failure, outcome.trace)
            };
            all(&args, scratch, live, rekindle::sim::Tally::add)
        }
        Some(nodes) => {
            let grounds = agreement::Grounds::make(&world, scratch).expect("services that recovered them");
            let live = |seed: u64, place: &Path, traced: bool| {
                let outcome = agreement::run_whole(&grounds, nodes.into(), seed, place, traced);
                (outcome.tally, outcome.failure, outcome.trace)
            };
            all(&args, scratch, live, agreement::Tally::add)
        }
    }
}

/// Lives through all seeds, and says what became of them.
fn all<T: Default + Display + Send>(
    args: &Args,
    scratch: &Path,
    live: impl Fn(u64, &Path, bool) -> Lived<T> + Sync,
    add: fn(&mut T, &T),
) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(args.from);
    let is_over = AtomicBool::new(false);
    let counted = Mutex::new((T::default(), Vec::new(), 0_u64));
    std::thread::scope(|scope| {
        for job in 0..args.jobs.max(1) {
            let (live, next, is_over, counted) = (&live, &next, &is_over, &counted);
            let place = scratch.join(format!("job-{job}"));
            std::fs::create_dir(&place).expect("a directory");
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.from.saturating_add(args.seeds) {
                        return;
                    }
                    let (tally, failure, _) = live(seed, &place, false);
                    let mut counted = counted.lock().expect("no other has panicked");
                    add(&mut counted.0, &tally);
                    counted.2 += 1;
                    if let Some(failure) = failure {
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
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{lived} seeds in {seconds:.1} s, {:.1} a second, {} failed",
        lived as f64 / seconds,
        failed.len()
    );
    failed.sort_unstable();
    let last = args.from.saturating_add(args.seeds.saturating_sub(1));
    if let Some(seed) = failed.first().copied().or(args.trace.then_some(last)) {
        let place = scratch.join("again");
        std::fs::create_dir(&place).expect("a directory");
        let (_, failure, trace) = live(seed, &place, true);
        let skipped = if args.trace {
            0
        } else {
            trace.len().saturating_sub(LINES)
        };
        println!("seed {seed}, the last of {} lines:", trace.len());
        trace.iter().skip(skipped).for_each(|line| println!("{line}"));
        println!("seed {seed}: {}", failure.as_deref().unwrap_or("everything holds"));
        let kind = match (args.nodes, args.self_healing) {
            (Some(nodes), _) => format!("--nodes {nodes} "),
            (None, true) => "--self-healing ".to_owned(),
            (None, false) => String::new(),
        };
        println!("again: cargo run --release --example simulate -- {kind}--seeds 1 --from {seed} --trace");
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
