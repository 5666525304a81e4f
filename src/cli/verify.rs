//! `rekindle verify`.

use std::path::PathBuf;

use crate::cli::{Common, html, input, keys, output, progress};
use crate::error::{Error, Result};
use crate::format::directory::LedgerFiles;
use crate::format::whole_file::{Target, target};
use crate::recovery::checkpoint::refuse_what_is_none;
use crate::recovery::join::Mode;
use crate::recovery::snapshots::{self, Compared, ContentVerdict, Start, start_from};
use crate::recovery::state::MappedSnapshot;
use crate::recovery::verify::{Options, VerifyReport, verify};
use crate::report::Verdict;
use crate::report::output::refuse_ledger_directories;
use crate::report::progress::Progress;
use crate::shown::Show;
use crate::snapshot::check::check;
use crate::snapshot::replay::Replay;
use crate::web;

/// Check a whole ledger: every digest, root and signature, every identity, and say up to where it is proven
///
/// Recomputes every leaf and root, checks every node and COSE signature, whether the signing node was trusted at that
/// seqno and endorsed by the service, the chain of service identities across recoveries, positions tables, names,
/// gaps, overlaps and snapshots. Reports all findings, not the first. The last signed transaction is what a recovery
/// keeps; entries after it are what it drops.
#[derive(clap::Args)]
pub struct Args {
    /// The ledger's main directory, then its read-only ones
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Check the snapshots in this directory too: receipt, evidence, and every public key against the ledger (repeatable)
    #[arg(long, value_name = "DIR")]
    snapshots: Vec<PathBuf>,
    /// Start after a snapshot: a file, or `latest` of those in --snapshots
    #[arg(long, value_name = "FILE|latest")]
    from_snapshot: Option<PathBuf>,
    /// Members' share-encryption private keys, PEM: the private keys in snapshots are compared too (repeatable)
    #[arg(long, value_name = "PEM", num_args = 1.., requires = "snapshots")]
    pub(super) member_key: Vec<PathBuf>,
    /// audit: every signature; integrity: the last one of each service identity, whose root covers all before it
    #[arg(long, value_enum, default_value = "audit")]
    mode: ModeName,
    /// Stop after this seqno
    #[arg(long, value_name = "SEQNO")]
    until: Option<u64>,
    /// The certificate that the ledger's last service must have
    #[arg(long, value_name = "PEM")]
    service_cert: Option<PathBuf>,
    /// The whole JSON of an earlier run: a ledger that was rolled back or rewritten since is found, also its identities
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Save progress here, and go on from there if a run was interrupted and no chunk has changed since. The file must be
    /// new or a checkpoint, and kept like the ledger itself: what it says is believed
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// List what is wrong with the evidence of nodes too, and let it count: `rekindle attest` says more
    #[arg(long)]
    attestations: bool,
    /// Read chunks of an unfinished recovery (.recovery) as part of the ledger
    #[arg(long)]
    include_recovery: bool,
    /// Write the report as one file for a browser, with pictures, that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Which signatures are verified.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum ModeName {
    Audit,
    Integrity,
}

impl From<ModeName> for Mode {
    fn from(mode: ModeName) -> Mode {
        match mode {
            ModeName::Audit => Mode::Audit,
            ModeName::Integrity => Mode::Integrity,
        }
    }
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    if let Some(checkpoint) = &args.checkpoint {
        if target(checkpoint)? != Target::File {
            return Err(Error::Usage(format!(
                "{} is a device or a pipe; give the name of a file",
                checkpoint.shown()
            )));
        }
        refuse_ledger_directories(checkpoint, &[args.directories.as_slice(), &args.snapshots].concat())?;
        refuse_what_is_none(checkpoint)?;
    }
    let inputs = [&args.service_cert, &args.against, &args.checkpoint, &args.from_snapshot];
    let inputs = inputs.into_iter().filter_map(|input| input.as_deref());
    // A key most of all: there may be no other copy of it.
    let inputs: Vec<_> = inputs.chain(args.member_key.iter().map(PathBuf::as_path)).collect();
    let read = [args.directories.as_slice(), &args.snapshots].concat();
    let html = html::Html::begin(args.html.as_deref(), &read, &inputs)?;
    // A file that is no key is said to be none before the ledger is read, which can take long.
    keys::read(&args.member_key, &[])?;
    // A snapshot can be all that is left.
    let has_snapshots = args.from_snapshot.is_some() || !snapshots::list(&args.snapshots)?.is_empty();
    let files = match has_snapshots {
        true => LedgerFiles::list_any(&args.directories, args.include_recovery)?,
        false => input::ledger(&args.directories, args.include_recovery)?,
    };
    let options = Options {
        mode: Some(args.mode.into()),
        snapshot_directories: args.snapshots.clone(),
        from_snapshot: match &args.from_snapshot {
            Some(choice) => Some(start_from(&input::start_snapshot(choice, &args.snapshots)?)?),
            None => None,
        },
        until: args.until,
        service_certificate: args.service_cert.as_deref().map(input::certificate).transpose()?,
        against: args.against.as_deref().map(input::earlier).transpose()?,
        checkpoint: args.checkpoint.clone(),
        keep_history: false,
        keep_foundation: false,
        keep_chronicle: html.is_some(),
        attest: Some(super::attest::remarking()),
    };
    let progress = progress::for_terminal();
    let mut report = verify(&files, &options, progress.as_ref())?;
    if !report.snapshots.is_empty() {
        compare_content(
            args,
            &files,
            options.from_snapshot.as_ref(),
            &mut report,
            progress.as_ref(),
        )?;
    }
    let mut report = report.timed_from(super::began());
    match report.attestation.as_ref().filter(|_| args.attestations) {
        Some(nodes) => {
            report.findings.extend(nodes.findings.iter().cloned());
            report.findings.sort_by_key(|finding| finding.seqno.unwrap_or(u64::MAX));
            report.verdict = Verdict::of(&report.findings);
        }
        // A person gets a line; a program, and a later run that takes this report, what was asked for.
        None => report.nodes = None,
    }
    match common.json {
        true => output::json(&report)?,
        false => output::text(&render(&report))?,
    }
    // What was found is said even where it can't be written.
    if let Some(file) = html {
        file.finish(&web::verify::document(&web::verify::Verified {
            report: &report,
            files: &files,
            began_after: options.from_snapshot.as_ref().map(|start| start.seqno),
            command: html::command(),
            unix_s: html::now_unix_s(),
        }))?;
    }
    Ok(report.verdict.exit_code())
}

/// Holds what the snapshots contain against the ledger that was verified.
fn compare_content(
    args: &Args,
    files: &LedgerFiles,
    start: Option<&Start>,
    report: &mut VerifyReport,
    progress: &dyn Progress,
) -> Result<()> {
    let start = start.map(|start| MappedSnapshot::open(&start.path)).transpose()?;
    let proven_to = report.last_signed.map(|txid| txid.seqno);
    let secrets = match proven_to {
        Some(_) => keys::open(files, &args.member_key, &args.snapshots, proven_to)?,
        None => None,
    };
    let replay = Replay {
        files,
        start: start.as_ref(),
        secrets: secrets.as_ref(),
        progress,
    };
    check(&replay, &args.snapshots, report)
}

/// What was compared of a snapshot's content, in words.
fn content(content: &ContentVerdict) -> String {
    let keys = output::count(content.keys);
    let outcome = match (content.compared, content.differences) {
        (Compared::Nothing, _) => "content not compared".to_owned(),
        (Compared::All, 0) => format!("{keys} keys, public and private, as in the ledger"),
        (Compared::Public, 0) => format!("{keys} public keys as in the ledger, private ones not compared"),
        (_, n) => format!("{keys} keys; differences from the ledger: {}", output::count(n)),
    };
    match &content.why_not {
        None => outcome,
        Some(why) => format!("{outcome} ({why})"),
    }
}

/// The report for a person: the answer first.
pub fn render(report: &VerifyReport) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&crate::shown::line(&text));
        out.push('\n');
    };
    match report.last_signed {
        Some(txid) => line(format!("last signed  {txid}")),
        None => line("last signed  nothing".to_owned()),
    }
    if let Some(root) = report.root {
        line(format!("root         {}", hex::encode(root.0)));
    }
    if let Some(signer) = report.signer {
        line(format!("signer       node {}", hex::encode(signer.0)));
    }
    let dropped = match report.unsigned_entries {
        0 => "none after it".to_owned(),
        n => format!("{} after it, which a recovery would drop", output::count(n)),
    };
    line(format!(
        "entries      {} up to seqno {}, {dropped}",
        output::count(report.entries),
        report.last_seqno
    ));
    line(format!(
        "signatures   {} by nodes, {} by the service (COSE), {}",
        output::count(report.signatures),
        output::count(report.cose_signatures),
        match report.mode {
            Mode::Audit => "all checked (audit)",
            Mode::Integrity => "the last of each service identity checked (integrity)",
        }
    ));
    line(format!(
        "chunks       {} files, {}",
        report.chunks,
        output::size(report.bytes)
    ));
    for service in &report.services {
        let recoveries = service
            .recovery_count
            .map_or(String::new(), |n| format!(", recovery {n}"));
        line(format!(
            "service      {} from seqno {}{recoveries}",
            hex::encode(service.identity.0),
            service.from_seqno
        ));
    }
    if let Some(nodes) = &report.attestation {
        line(format!("nodes        {}", nodes.summary.in_words()));
    }
    for snapshot in &report.snapshots {
        let verdict = match snapshot.verdict.exit_code() {
            0 => "ok",
            _ => "see findings",
        };
        line(format!(
            "snapshot     {} at seqno {}: {verdict}",
            snapshot.file, snapshot.seqno
        ));
        if let Some(compared) = &snapshot.content {
            line(format!("  content    {}", content(compared)));
        }
    }
    line(format!(
        "took         {:.3} s, {} entries/s, {}/s",
        report.elapsed_s,
        output::count(report.entries_per_s as u64),
        output::size(report.bytes_per_s as u64)
    ));
    let verdict = match report.verdict {
        Verdict::Ok => "ok: everything up to the last signature is proven",
        Verdict::Unproven => "unproven: consistent, but nothing ties it to the service that it names",
        Verdict::Findings => "findings: not everything is as it should be",
    };
    line(format!("verdict      {verdict}"));
    if !report.findings.is_empty() {
        line(String::new());
        out.push_str(&output::findings(&report.findings));
    }
    out
}
