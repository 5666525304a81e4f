//! `rekindle snapshot`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::{Common, input, keys, output, progress};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::recovery::state::completing_snapshot;
use crate::report::output::refuse_ledger_directories;
use crate::report::{Finding, Verdict};
use crate::shown::Show;
use crate::snapshot::evidence::find;
use crate::snapshot::lost::{Outcome, Row, choose, hopeless, locked, rebuild, rows, why_none};
use crate::snapshot::replay::Replay;

/// Rebuild a lost snapshot from the ledger, byte for byte, with its receipt
///
/// A ledger keeps the digest of every snapshot that its service took. The state at that seqno is replayed and sealed as the
/// service sealed it: what has the digest is the file that was lost, and nothing else is ever written. Without -o the
/// snapshots that the ledger has evidence of are listed. With it the newest of them is rebuilt, or the one of --at, or --all.
/// Where none can be had, the findings say why. A snapshot is sealed with the ledger secret, so rebuilding takes what opens
/// the ledger, also where the whole state is public: members' keys or shares, or what nodes had sealed.
#[derive(clap::Args)]
pub struct Args {
    /// The ledger's main directory, then its read-only ones
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Directory for what is rebuilt; it is made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The snapshot of the state at this seqno
    #[arg(long, value_name = "SEQNO")]
    at: Option<Seqno>,
    /// Every snapshot that can be had
    #[arg(long, conflicts_with = "at")]
    all: bool,
    #[command(flatten)]
    openers: keys::Openers,
    /// Directory of snapshots that are left: one of them completes a ledger that does not start at seqno 1 (repeatable)
    #[arg(long, value_name = "DIR")]
    snapshots: Vec<PathBuf>,
    /// Read chunks of an unfinished recovery (.recovery) as part of the ledger
    #[arg(long)]
    include_recovery: bool,
}

/// Serialised, it is the document that `--json` prints.
#[derive(Serialize)]
struct Report {
    verdict: Verdict,
    first_seqno: Seqno,
    last_seqno: Seqno,
    snapshots: Vec<Row>,
    findings: Vec<Finding>,
    elapsed_s: f64,
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    if args.all && args.output.is_none() {
        return Err(Error::Usage(
            "--all rebuilds: say where to with -o DIR; without both, what can be rebuilt is listed".to_owned(),
        ));
    }
    let sealed: Vec<PathBuf> = args.openers.sealed.iter().cloned().collect();
    let inputs = [args.directories.as_slice(), &args.snapshots, &sealed].concat();
    let files = input::ledger(&args.directories, args.include_recovery)?;
    if let Some(out) = &args.output {
        prepare(out, &inputs)?;
    }
    let progress = progress::for_terminal();
    let start = completing_snapshot(&files, &args.snapshots, Seqno::MAX)?;
    let secrets = args.openers.open(&files, &args.snapshots)?;
    let found = find(&files, progress.as_ref())?;
    let mut findings = found.findings.clone();
    let replay = Replay {
        files: &files,
        start: start.as_ref(),
        secrets: secrets.as_ref(),
        progress: progress.as_ref(),
    };
    let mut rows = rows(&found, replay.begins_at());
    let chosen = choose(&rows, args.at, args.all);
    match (args.at, &args.output) {
        (Some(at), _) if chosen.is_empty() => findings.push(why_none(&files, &rows, at)),
        (Some(_), None) => findings.extend(chosen.iter().filter_map(|row| hopeless(rows.get(*row)?, true))),
        (None, Some(_)) if chosen.is_empty() => findings.push(why_none(&files, &rows, files.last_seqno())),
        _ => {}
    }
    if let Some(out) = &args.output {
        match &secrets {
            Some(secrets) => {
                refuse_others(&rows, &chosen, out)?;
                findings.extend(rebuild(&replay, secrets, &mut rows, &chosen, out)?);
            }
            None => {
                let wanted = chosen.iter().filter_map(|number| rows.get(*number));
                for row in wanted {
                    findings.push(match hopeless(row, true) {
                        Some(finding) => finding,
                        None => locked(&files, start.as_ref(), row)?,
                    });
                }
            }
        }
    }
    let report = Report {
        verdict: Verdict::of(&findings),
        first_seqno: files.first_seqno(),
        last_seqno: files.last_seqno(),
        snapshots: rows,
        findings,
        elapsed_s: super::began().elapsed().as_secs_f64(),
    };
    match common.json {
        true => output::json(&report)?,
        false => output::text(&render(&report, found.forgotten))?,
    }
    Ok(report.verdict.exit_code())
}

/// Makes the directory, if it is not one that is read.
fn prepare(out: &Path, inputs: &[PathBuf]) -> Result<()> {
    refuse_ledger_directories(&out.join("snapshot"), inputs).or_else(|why| match out.exists() {
        true => Err(why),
        false => {
            refuse_ledger_directories(out, inputs)?;
            std::fs::create_dir(out).map_err(Error::io("make directory", out))
        }
    })
}

/// A file that has the name of one that is to be written may be all that somebody has: it is not replaced.
fn refuse_others(rows: &[Row], chosen: &[usize], out: &Path) -> Result<()> {
    let mut wanted = chosen.iter().filter_map(|number| rows.get(*number));
    match wanted.find(|row| out.join(&row.name).symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(row) => Err(Error::Usage(format!(
            "{} is there already, and is not written over; name another directory",
            out.join(&row.name).shown()
        ))),
    }
}

fn render(report: &Report, forgotten: u64) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&crate::shown::line(&text));
        out.push('\n');
    };
    line(format!("ledger       {} to {}", report.first_seqno, report.last_seqno));
    line(format!(
        "evidence     of {} snapshots",
        output::count(report.snapshots.len() as u64 + forgotten)
    ));
    if forgotten > 0 {
        line(format!("  the oldest {} are not listed", output::count(forgotten)));
    }
    for row in &report.snapshots {
        let what = match row.outcome {
            Outcome::CanBeRebuilt => "can be rebuilt".to_owned(),
            Outcome::Unsigned => "no signature covers its evidence".to_owned(),
            Outcome::BeforeTheLedger => "its state is before what is read".to_owned(),
            Outcome::Impossible => "its evidence is not after its state".to_owned(),
            Outcome::Refused => "see findings".to_owned(),
            Outcome::Rebuilt => format!(
                "rebuilt, {}, with the digest of its evidence: {}",
                output::size(row.bytes.unwrap_or(0)),
                row.file.as_deref().unwrap_or_default()
            ),
        };
        let evidence = &row.evidence;
        line(format!(
            "snapshot     at {}, evidence {}: {what}",
            evidence.seqno, evidence.evidence
        ));
    }
    line(format!("took         {:.3} s", report.elapsed_s));
    let verdict = match report.verdict.exit_code() {
        0 if report.snapshots.iter().any(|row| row.outcome == Outcome::Rebuilt) => {
            "ok: byte for byte what the service wrote"
        }
        0 => "ok",
        _ => "findings: not everything that was asked for can be had",
    };
    line(format!("verdict      {verdict}"));
    if !report.findings.is_empty() {
        line(String::new());
        out.push_str(&output::findings(&report.findings));
    }
    out
}
