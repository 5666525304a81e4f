//! `rekindle export`: the live state, or every write, as lines of JSON.

use std::io::ErrorKind;
use std::path::PathBuf;

use regex::Regex;
use serde_json::json;

use super::inspect::findings_text;
use super::{Common, output};
use crate::error::{Error, Result};
use crate::format::directory::LedgerFiles;
use crate::format::whole_file::is_stdout;
use crate::format::{Seqno, TxId};
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::state::{Exported, Selection, completing_snapshot, load_state, write_history, write_state};
use crate::recovery::writes::{Keys, last_signed};
use crate::report::Verdict;
use crate::report::output::Output;
use crate::shown::Show;

/// Write the live state, or every write in order, as lines of JSON.
///
/// A line: {"seqno","table","private","key","value"}. Keys and values are text where they are text, else
/// {"base64": ...}; the value of a removed key (in a history) is null. The state is sorted by table, then key.
/// Without keys the public part is written. Nothing is verified here: run `rekindle verify` first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directories of one ledger: the main one first, then read-only ones
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// File to write; compressed if its name ends in .zst; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Write the live state (the default)
    #[arg(long, conflicts_with = "history")]
    pub state: bool,
    /// Write every write in order, up to the last entry that can be read
    #[arg(long)]
    pub history: bool,
    /// The last seqno that counts, instead of the last signed one (--state) or the last one (--history)
    #[arg(long, value_name = "SEQNO")]
    pub at: Option<Seqno>,
    /// Only tables whose names match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub table: Option<Regex>,
    /// Members' share-encryption keys (PEM), as many as the recovery threshold: writes private maps, too
    #[arg(long, value_name = "PEM", num_args = 1..)]
    pub member_key: Vec<PathBuf>,
    /// Directory of snapshots: completes the state of a ledger that does not start at seqno 1
    #[arg(long, value_name = "DIR")]
    pub snapshots: Vec<PathBuf>,
    /// Read chunks of a recovery that did not open, too
    #[arg(long)]
    pub include_recovery: bool,
}

/// Runs the command.
///
/// # Errors
/// If the ledger can't be read, the request makes no sense, or the output can't be written.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    match export(args, common.json) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe && to_stdout(args) => Ok(0),
        outcome => outcome,
    }
}

fn to_stdout(args: &Args) -> bool {
    is_stdout(&args.output)
}

fn export(args: &Args, as_json: bool) -> Result<u8> {
    if as_json && to_stdout(args) {
        return Err(Error::Usage(
            "--json and -o - both want standard output; give -o the name of a file".to_owned(),
        ));
    }
    let files = LedgerFiles::list(&args.directories, args.include_recovery)?;
    let end = end_of_export(args, &files)?;
    let keys = open_keys(args, &files)?;
    let progress = super::progress::for_terminal();
    let selection = Selection {
        at: end.map_or(Seqno::MAX, |end| end.seqno),
        tables: args.table.as_ref(),
        keys: keys.as_ref().map(|keys| keys as &dyn Keys),
        progress: progress.as_ref(),
        written: None,
    };
    let forbidden = [args.directories.as_slice(), &args.snapshots].concat();
    let mut out = Output::create(&args.output, &forbidden)?;
    let exported = if args.history {
        write_history(&files, &selection, &mut out)?
    } else {
        let snapshot = completing_snapshot(&files, &args.snapshots, selection.at)?;
        write_state(load_state(&files, snapshot.as_ref(), &selection)?, &mut out)?
    };
    out.finish()?;
    report(args, as_json, end, exported)
}

/// The secrets as the whole ledger gives them, which open every earlier seqno too; else, with keys from before a
/// change of members, those of the seqno asked for.
fn open_keys(args: &Args, files: &LedgerFiles) -> Result<Option<LedgerSecrets>> {
    let open = |at| super::keys::open(files, &args.member_key, &args.snapshots, at);
    match (open(None), args.at) {
        (Err(why), Some(at)) => open(Some(at)).map_err(|_| why),
        (outcome, _) => outcome,
    }
}

/// The last transaction that counts; `None` is the end of what can be read.
fn end_of_export(args: &Args, files: &LedgerFiles) -> Result<Option<End>> {
    let (first, last) = (files.first_seqno(), files.last_seqno());
    match args.at {
        Some(at) if !(first..=last).contains(&at) => Err(Error::Usage(format!(
            "there is no seqno {at}: the ledger holds seqnos {first} to {last}"
        ))),
        Some(seqno) => Ok(Some(End { seqno, signed: None })),
        None if args.history => Ok(None),
        None => match last_signed(files, Seqno::MAX)? {
            Some(txid) => Ok(Some(End {
                seqno: txid.seqno,
                signed: Some(txid),
            })),
            None => Err(Error::Unreadable(format!(
                "no signature transaction among seqnos {first} to {last}, so there is no signed state; give --at to \
                 export the state at a seqno all the same"
            ))),
        },
    }
}

#[derive(Clone, Copy)]
struct End {
    seqno: Seqno,
    /// The signature transaction that it is.
    signed: Option<TxId>,
}

fn report(args: &Args, as_json: bool, end: Option<End>, exported: Exported) -> Result<u8> {
    let tally = exported.tally;
    let findings = tally.findings.finish();
    let verdict = Verdict::of(&findings);
    let what = if args.history { "history" } else { "state" };
    if as_json {
        let document = json!({
            "verdict": verdict,
            "what": what,
            "output": args.output.shown().to_string(),
            "at": end.map(|end| end.seqno),
            "last_signed": end.and_then(|end| end.signed),
            "records": exported.records,
            "private_records": exported.private_records,
            "entries": tally.entries,
            "private_domains": tally.private_domains,
            "private_domains_left_out": tally.private_locked,
            "findings": findings,
        });
        output::json(&document)?;
        return Ok(verdict.exit_code());
    }
    let until = match end {
        Some(End { signed: Some(txid), .. }) => format!("at {txid}, the last signed transaction"),
        Some(End { seqno, .. }) => format!("up to seqno {seqno}"),
        None => "up to the last entry".to_owned(),
    };
    output::notice(&findings_text(&findings));
    if tally.private_locked > 0 {
        output::notice(&format!(
            "{} of {} private parts were left out: {}\n",
            tally.private_locked,
            tally.private_domains,
            match args.member_key.is_empty() {
                true => "no --member-key was given",
                false => "no ledger secret is known for them",
            }
        ));
    }
    if !to_stdout(args) {
        output::notice(&format!(
            "{} lines in {}: the {what} {until}\n",
            exported.records,
            args.output.shown()
        ));
    }
    Ok(verdict.exit_code())
}
