//! `rekindle bench`.

use std::path::PathBuf;

use crate::cli::{Common, input, keys, output};
use crate::error::Result;
use crate::recovery::bench::{BenchReport, Whole, bench};

/// Measure how fast this machine verifies and unlocks a ledger, beside the limit of its hashing and signatures
///
/// Each number is the median of five runs from warm pages. There are two limits, measured in the same run with the same
/// number of threads: the raw cryptography of the same messages, one at a time through the faster library, and this
/// program's own stages alone. "core seconds" are the processors' time, which other work on the machine hardly changes.
#[derive(clap::Args)]
pub struct Args {
    /// The ledger's main directory, then its read-only ones
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Members' share-encryption private keys, PEM: measures unlocking too (repeatable)
    #[arg(long, value_name = "PEM", num_args = 1..)]
    pub member_key: Vec<PathBuf>,
    /// Snapshots, where the ledger begins after one (repeatable)
    #[arg(long, value_name = "DIR")]
    snapshots: Vec<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let files = input::ledger(&args.directories, false)?;
    let secrets = keys::open(&files, &args.member_key, &args.snapshots, None)?;
    let report = bench(&files, secrets.as_ref())?;
    match common.json {
        true => output::json(&report)?,
        false => output::text(&render(&report))?,
    }
    Ok(0)
}

fn render(report: &BenchReport) -> String {
    let mut out = format!(
        "{} entries, {}, {} signatures, {} threads, digests by {}\n\n",
        output::count(report.entries),
        output::size(report.bytes),
        output::count(report.signatures as u64),
        report.threads,
        report.digests
    );
    out.push_str("stage             seconds   core seconds        bytes/s       entries/s\n");
    for stage in &report.stages {
        out.push_str(&format!(
            "{:<12} {:>12.4} {:>14.4} {:>14} {:>15}\n",
            stage.name,
            stage.seconds,
            stage.cpu_seconds,
            output::size(stage.bytes_per_s as u64),
            output::count(stage.entries_per_s as u64)
        ));
    }
    out.push('\n');
    let stages = "digest, tree and signatures";
    out.push_str(&whole("verify", &report.verify, report.entries, stages));
    if let Some(unlock) = &report.unlock {
        out.push_str(&whole("unlock", unlock, report.entries, "decryption and evidence"));
    }
    out
}

fn whole(name: &str, whole: &Whole, entries: u64, stages: &str) -> String {
    let mut out = format!(
        "{name:<8} {:.4} s, {:.4} core seconds ({} entries/s)\n",
        whole.seconds,
        whole.cpu_seconds,
        output::count((entries as f64 / whole.seconds) as u64),
    );
    let mut limit = |what: &str, seconds: f64, cpu_seconds: f64, fraction: f64| {
        out.push_str(&format!(
            "  limit  {seconds:.4} s, {cpu_seconds:.4} core seconds, {what}: {fraction:.2} of it reached\n"
        ));
    };
    let library = "the library alone, one message at a time";
    limit(library, whole.limit_seconds, whole.limit_cpu_seconds, whole.fraction);
    let own = format!("{stages} alone");
    limit(
        &own,
        whole.stages_seconds,
        whole.stages_cpu_seconds,
        whole.stages_fraction,
    );
    out
}
