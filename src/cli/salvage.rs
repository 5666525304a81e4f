//! `rekindle salvage`.

use std::path::PathBuf;

use crate::cli::{Common, input, output, progress};
use crate::error::{Error, Result};
use crate::recovery::salvage::report::SalvageReport;
use crate::recovery::salvage::{Left, Options, clear_unfinished, salvage};
use crate::shown::Show;

/// Mend a ledger: from all copies together, the longest one that signatures prove
///
/// Each directory is one copy: everything that is left of one node, at any depth, whatever the files are called; chunks, also
/// torn, set aside (.ignored) or left by a recovery (.recovery), and snapshots. An entry is taken from whichever copy holds it
/// as it was signed. What a primary that lost its place had signed is left out; two histories that contradict each other are
/// refused. Where no copy holds a signed entry, the result ends before it, and if a snapshot leads on, what follows is
/// written beside it (bridged). Writes a new directory, OUT/ledger and OUT/snapshots, complete or not at all. The copies are
/// not touched.
#[derive(clap::Args)]
pub struct Args {
    /// One directory for each copy, or an archive of several
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Directory to write: new or empty, and outside of the copies
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// The certificate of the service that signed last: where histories contradict each other, its is taken
    #[arg(long, value_name = "PEM")]
    service_cert: Option<PathBuf>,
    /// Where histories contradict each other, take that of this copy; one of DIR
    #[arg(long, value_name = "DIR")]
    prefer: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let copies = input::folders(&args.directories)?;
    let prefer = match &args.prefer {
        None => None,
        Some(directory) => {
            let at = copies.iter().position(|copy| copy == directory);
            Some(at.ok_or_else(|| {
                Error::Usage(format!(
                    "--prefer {} is not one of the directories given; name it as it was given",
                    directory.shown()
                ))
            })?)
        }
    };
    let options = Options {
        copies,
        output: args.output.clone(),
        service_certificate: args.service_cert.as_deref().map(input::certificate).transpose()?,
        prefer,
    };
    for left in clear_unfinished(&args.output, &options.copies)? {
        output::notice(&match left {
            Left::Removed(path) => format!("{} was of a salvage that did not end, and was removed", path.shown()),
            Left::Kept(path) => format!(
                "{} is of a salvage that did not end, or another one is writing it now; nothing in it is used: remove it if there is none",
                path.shown()
            ),
        });
    }
    let report = salvage(&options, progress::for_terminal().as_ref())?;
    match common.json {
        true => output::json(&report)?,
        false => output::text(&render(&report))?,
    }
    Ok(report.verdict.exit_code())
}

/// Ranges that a person is shown; a program gets all.
const SHOWN: usize = 40;

/// The report for a person: the answer first.
fn render(report: &SalvageReport) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&crate::shown::line(&text));
        out.push('\n');
    };
    match &report.output {
        Some(directory) => line(format!(
            "written      {directory}: {} chunks, {}",
            output::count(report.chunks as u64),
            output::size(report.bytes)
        )),
        None => line("written      nothing".to_owned()),
    }
    match report.last_seqno {
        0 => line("entries      none from the start on".to_owned()),
        last => line(format!("entries      1 to {last}")),
    }
    match report.last_signed {
        Some(txid) => line(format!("last signed  {txid}")),
        None => line("last signed  nothing".to_owned()),
    }
    if let Some(root) = report.root {
        line(format!("root         {}", hex::encode(root.0)));
    }
    if report.covered_entries > 0 {
        line(format!(
            "after it     {} whose digests a later signature covers",
            output::count(report.covered_entries)
        ));
    }
    if report.unsigned_entries > 0 {
        line(format!(
            "after it     {} that nothing signs",
            output::count(report.unsigned_entries)
        ));
    }
    for copy in &report.copies {
        line(format!(
            "copy         {}: {} files, {}; its files give {} entries",
            copy.directory,
            output::count(copy.files as u64),
            output::size(copy.bytes),
            output::count(copy.entries)
        ));
    }
    for part in report.from.iter().take(SHOWN) {
        let others = match part.copies.len() {
            0 | 1 => String::new(),
            n => format!(" (the same in {n} copies)"),
        };
        line(format!(
            "from         {} to {}: {}{others}",
            part.from_seqno, part.to_seqno, part.file
        ));
    }
    let more = report.from.len().saturating_sub(SHOWN) + report.from_not_listed;
    if more > 0 {
        line(format!(
            "from         … and {} more ranges; --json lists them",
            output::count(more as u64)
        ));
    }
    for missing in report.missing.iter().take(SHOWN) {
        line(format!(
            "missing      {} to {}: no copy holds them",
            missing.from_seqno, missing.to_seqno
        ));
    }
    for left in &report.left_out {
        let signed = left
            .last_signed
            .map_or(String::new(), |txid| format!(", signed up to {txid}"));
        line(format!(
            "left out     from {} on{signed}: {}",
            left.from_seqno, left.why
        ));
    }
    for snapshot in &report.snapshots {
        line(format!("snapshot     {} from {}", snapshot.name, snapshot.file));
    }
    if let Some(bridged) = &report.bridged {
        line(format!(
            "bridged      {}: from the snapshot at {} up to {}; {} to {} are lost with it",
            bridged.directory,
            bridged.snapshot_seqno,
            bridged.last_seqno,
            bridged.lost.from_seqno,
            bridged.lost.to_seqno
        ));
    }
    line(format!("took         {:.3} s", report.elapsed_s));
    line(format!(
        "verdict      {}",
        match (report.output.is_some(), report.is_complete) {
            (true, true) => "complete: every entry that any copy tells of is there",
            (true, false) => "something is missing: see above",
            (false, _) => "nothing was written: see the findings",
        }
    ));
    if !report.findings.is_empty() {
        line(String::new());
        out.push_str(&output::findings(&report.findings));
    }
    out
}
