//! `rekindle bench`.

use std::path::PathBuf;

use crate::cli::{Common, input, keys, output};
use crate::error::Result;
use crate::recovery::bench::{BenchReport, Whole, bench};

/// Measure how fast this machine verifies and unlocks a ledger, beside the limit of its hashing and signatures
///
/// Each number is the median of five runs from warm pages. The limit is the raw cryptography of the same messages with
/// the same number of threads, measured in the same run.
#[derive(clap::Args)]
pub struct Args {
    /// The ledger's main directory, then its read-only ones
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Members' share-encryption private keys, PEM: measures unlocking too (repeatable)
    #[arg(long, value_name = "PEM", num_args = 1..)]
    pub member_key: Vec<PathBuf>,
    /// Snapshots, where the ledger begins behind one (repeatable)
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
        "{} entries, {}, {} signatures, {} threads\n\n",
        output::count(report.entries),
        output::size(report.bytes),
        output::count(report.signatures as u64),
        report.threads
    );
    out.push_str("stage             seconds        bytes/s       entries/s\n");
    for stage in &report.stages {
        out.push_str(&format!(
            "{:<12} {:>12.4} {:>14} {:>15}\n",
            stage.name,
            stage.seconds,
            output::size(stage.bytes_per_s as u64),
            output::count(stage.entries_per_s as u64)
        ));
    }
    out.push('\n');
    out.push_str(&whole("verify", &report.verify, report.entries));
    if let Some(unlock) = &report.unlock {
        out.push_str(&whole("unlock", unlock, report.entries));
    }
    out
}

fn whole(name: &str, whole: &Whole, entries: u64) -> String {
    format!(
        "{name:<8} {:.4} s ({} entries/s), limit {:.4} s: {:.2} of the limit reached\n",
        whole.seconds,
        output::count((entries as f64 / whole.seconds) as u64),
        whole.limit_seconds,
        whole.fraction
    )
}
