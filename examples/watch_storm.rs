//! Three real nodes killed, stopped (SIGSTOP), cut off and started anew in seeded order, under `rekindle watch`: every real loss of the
//! majority must be declared within two election time-outs, and nothing else ever.
//!
//! `cargo run --release --example watch_storm -- [--rounds N] [--seed S] [--election-timeout-ms MS]`

#[path = "../tests/support/dice.rs"]
mod dice;
#[path = "../tests/support/node.rs"]
mod node;
#[path = "../tests/support/proxy.rs"]
mod proxy;
#[path = "../tests/support/storm.rs"]
mod storm;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rekindle::script;

/// Let a storm rage over three nodes, and look what the watch says
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of the nodes, and of the watch
    #[arg(long, default_value_t = 1500)]
    election_timeout_ms: u64,
}

fn main() -> ExitCode {
    // The nodes and the watch are this program, too.
    let argument = std::env::args().nth(1);
    if matches!(
        argument.as_deref(),
        Some("node" | "fixture" | "watch" | script::ARGUMENT)
    ) {
        return ExitCode::from(rekindle::cli::main());
    }
    let args = Args::parse();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let plan = storm::Plan {
        rounds: args.rounds,
        seed: args.seed,
        election: Duration::from_millis(args.election_timeout_ms),
        scratch: scratch.path().to_owned(),
    };
    let mut tally = storm::rage(&plan, &|line| println!("{line}"));
    println!("{} clusters; {:?}", tally.clusters, tally.rounds);
    tally.delays.sort();
    let in_time_outs = |delay: &Duration| delay.as_secs_f64() / plan.election.as_secs_f64();
    if let (Some(median), Some(longest)) = (tally.delays.get(tally.delays.len() / 2), tally.delays.last()) {
        println!(
            "{} losses declared, median {:.2} and at most {:.2} election time-outs after",
            tally.delays.len(),
            in_time_outs(median),
            in_time_outs(longest)
        );
    }
    tally.failures.iter().for_each(|failure| println!("FAILED: {failure}"));
    match tally.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
