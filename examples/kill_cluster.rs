//! Kills the leader or a follower of a recovered cluster again and again: while others join, between acceptance and shares,
//! while it opens, while members govern it, while it is handed over. Each time the rest must go on within three election
//! time-outs, where the protocol lets it; at the end of each cluster every ledger is verified, by the official reader too, all
//! are compared, and nothing that any node called committed is lost.
//!
//! `cargo run --release --example kill_cluster -- [--kills N] [--seed S] [--nodes N] [--election-timeout-ms MS]`
//!
//! The same seed gives the same kills on a machine of the same speed, more or less.

#[path = "../tests/support/cluster/mod.rs"]
mod cluster;
#[path = "../tests/support/node.rs"]
mod node;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use rekindle::script;

/// Kill nodes of a recovered cluster, and look what the others do
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 200)]
    kills: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes of a cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=7))]
    nodes: u64,
    /// Without a leader for so long, nodes stand for election
    #[arg(long, default_value_t = 1500)]
    election_timeout_ms: u64,
    /// The rest must go on within so many election time-outs
    #[arg(long, default_value_t = 3)]
    limit: u32,
    /// Entries of the dead service
    #[arg(long, default_value_t = 400)]
    entries: u64,
    /// Where clusters live; those in which something failed stay
    #[arg(long)]
    scratch: Option<PathBuf>,
}

/// The Python of the official reader, if it is installed.
fn python() -> Option<PathBuf> {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ccf-venv/bin/python");
    let python = std::env::var_os("REKINDLE_CCF_PYTHON").map_or_else(venv, PathBuf::from);
    let works = Command::new(&python)
        .args(["-c", "import ccf.ledger"])
        .output()
        .is_ok_and(|output| output.status.success());
    let required = std::env::var_os("REKINDLE_REQUIRE_ORACLE").is_some_and(|value| value == "1");
    assert!(
        works || !required,
        "REKINDLE_REQUIRE_ORACLE=1, but {} can't import ccf.ledger",
        python.display()
    );
    works.then_some(python)
}

fn main() -> ExitCode {
    // The processes that are killed are this program, too, and those that these run scripts in.
    if matches!(
        std::env::args().nth(1).as_deref(),
        Some("node" | "fixture" | "export" | script::ARGUMENT)
    ) {
        return ExitCode::from(rekindle::cli::main());
    }
    let args = Args::parse();
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let scratch = args.scratch.unwrap_or_else(|| temporary.path().to_owned());
    let service = scratch.join("service");
    if !service.exists() {
        let entries = args.entries.to_string();
        let options = [
            "--entries",
            &entries,
            "--signature-every",
            "20",
            "--chunk-size",
            "50000",
            "--value-size",
            "600",
            "--recoveries",
            "1",
        ];
        let made = Command::new(node::program())
            .arg("fixture")
            .arg("--out")
            .arg(&service)
            .args(options)
            .status();
        assert!(made.expect("the fixture is made").success());
    }
    let python = python();
    if python.is_none() {
        eprintln!("the official reader is not installed: ledgers are read by the engine alone");
    }
    let plan = cluster::Plan {
        kills: args.kills,
        seed: args.seed,
        nodes: usize::try_from(args.nodes).expect("few"),
        election: Duration::from_millis(args.election_timeout_ms),
        limit: args.limit,
        python,
        service,
        scratch,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let tally = runtime.block_on(cluster::kill_clusters(&plan, &|line| println!("{line}")));
    tally.lines().iter().for_each(|line| println!("{line}"));
    let is_well = tally.failures.is_empty() && tally.late.is_empty();
    if !is_well {
        println!("what failed stays in {}", temporary.keep().display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
