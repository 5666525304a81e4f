//! Kills a recovering node again and again, at any moment and just after every milestone, and checks each time that
//! nothing that was signed is lost; then recovers for good.
//!
//! `cargo run --release --example kill_anywhere -- [--kills N] [--seed S] [--ledger DIR --members DIR [--snapshots DIR]]`
//!
//! Without a ledger one is made up. Whatever is given is copied first. The same seed gives the same kills on a machine of
//! the same speed, more or less.

#[path = "../tests/support/kills.rs"]
mod kills;
#[path = "../tests/support/node.rs"]
mod node;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use rekindle::script;

/// Kill a recovering node at any moment, and look what is left
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 200)]
    kills: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A ledger, which is copied
    #[arg(long, requires = "members")]
    ledger: Option<PathBuf>,
    /// Its members' certificates and keys
    #[arg(long, requires = "ledger")]
    members: Option<PathBuf>,
    /// Its snapshots
    #[arg(long, requires = "ledger")]
    snapshots: Option<PathBuf>,
}

fn main() -> ExitCode {
    // The processes that are killed are this program, too, and those that these run scripts in.
    if matches!(
        std::env::args().nth(1).as_deref(),
        Some("node" | "fixture" | script::ARGUMENT)
    ) {
        return ExitCode::from(rekindle::cli::main());
    }
    let args = Args::parse();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let service = scratch.path().join("service");
    match (&args.ledger, &args.members) {
        (Some(ledger), Some(members)) => {
            link(ledger, &service.join("ledger"));
            link(members, &service.join("common"));
            if let Some(snapshots) = &args.snapshots {
                link(snapshots, &service.join("snapshots"));
            }
        }
        _ => {
            let options = [
                "--entries",
                "2000",
                "--signature-every",
                "50",
                "--rekey-every",
                "700",
                "--unsigned-tail",
                "5",
            ];
            let made = Command::new(node::program())
                .arg("fixture")
                .arg("--out")
                .arg(&service)
                .args(options)
                .status();
            assert!(made.expect("the fixture is made").success());
        }
    }
    let mut place = node::Place::of(&service);
    let plan = kills::Plan {
        kills: args.kills,
        seed: args.seed,
    };
    let tally = kills::kill_anywhere(&mut place, &plan, &|line| println!("{line}"));
    println!("{tally:#?}");
    println!("{} kills, nothing signed was lost", args.kills);
    ExitCode::SUCCESS
}

fn link(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
    let from = from.canonicalize().expect("a directory that is there");
    std::os::unix::fs::symlink(from, to).expect("a link");
}
