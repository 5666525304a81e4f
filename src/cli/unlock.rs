//! `rekindle unlock`.

use std::path::PathBuf;

use crate::cli::{Common, input, keys, output, progress};
use crate::error::{Error, Result};
use crate::recovery::unlock::{UnlockReport, unlock};

/// Rehearse opening a ledger: would these keys, shares or sealed files open it, and all of it?
///
/// Reassembles the ledger secret from members' shares, walks back through all older secrets, decrypts every private
/// domain and recomputes every commit evidence digest. With more shares than the threshold a wrong one is named.
/// Secrets are never printed.
#[derive(clap::Args)]
pub struct Args {
    /// The ledger's main directory, then its read-only ones
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    #[command(flatten)]
    openers: keys::Openers,
    /// Rehearse as of this seqno, with the shares that were valid then
    #[arg(long, value_name = "SEQNO")]
    at: Option<u64>,
    /// Open the snapshots in this directory too; also the start of a ledger that begins after one (repeatable)
    #[arg(long, value_name = "DIR")]
    snapshots: Vec<PathBuf>,
    /// Read chunks of an unfinished recovery (.recovery) as part of the ledger
    #[arg(long)]
    include_recovery: bool,
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    if args.openers.is_empty() {
        return Err(Error::Usage(
            "nothing to unlock with: give --member-key with members' share-encryption keys, --share with decrypted shares, \
             --sealed with a directory of sealed files, or --sealing-name"
                .to_owned(),
        ));
    }
    let files = input::ledger(&args.directories, args.include_recovery)?;
    let material = args.openers.read()?;
    let report = unlock(
        &files,
        &args.snapshots,
        &material,
        args.at,
        progress::for_terminal().as_ref(),
    )?
    .timed_from(super::began());
    match common.json {
        true => output::json(&report)?,
        false => output::text(&render(&report))?,
    }
    Ok(report.verdict.exit_code())
}

fn render(report: &UnlockReport) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&crate::shown::line(&text));
        out.push('\n');
    };
    if let Some(seqno) = report.generation_seqno {
        line(format!("shares       of seqno {seqno}, {} needed", report.threshold));
    }
    for share in &report.shares {
        let format = share.format.map_or(String::new(), |format| format!(" ({format})"));
        let used = if share.used { ", used" } else { "" };
        line(format!("  {}{format}: {}{used}", share.member, share.verdict));
    }
    if let Some(sealed) = &report.sealed {
        line(format!(
            "sealed       version {} is asked for, in {} (key: {}{})",
            sealed.wanted_version,
            sealed.place,
            sealed.key_source,
            if sealed.insecure {
                ", which protects nothing"
            } else {
                ""
            }
        ));
        if let Some(used) = &sealed.used {
            line(format!("  {used}: opens the ledger, used"));
        }
        for refused in &sealed.refused {
            line(format!("  {}: {}", refused.file, refused.why));
        }
    }
    for secret in &report.secrets {
        line(format!(
            "secret       from seqno {}, recovered at seqno {}",
            secret.from_seqno, secret.recovered_at_seqno
        ));
    }
    line(format!("entries      {}", output::count(report.entries)));
    line(format!(
        "private      {} of {} domains decrypted",
        output::count(report.private_decrypted),
        output::count(report.private_domains)
    ));
    line(format!(
        "evidence     {} of {} commit evidence digests right",
        output::count(report.evidence_ok),
        output::count(report.evidence_checked)
    ));
    for snapshot in &report.snapshots {
        let verdict = if snapshot.verdict.exit_code() == 0 {
            "decrypted"
        } else {
            "see findings"
        };
        line(format!("snapshot     {}: {verdict}", snapshot.file));
    }
    line(format!(
        "took         {:.3} s, {} entries/s, {}/s",
        report.elapsed_s,
        output::count(report.entries_per_s as u64),
        output::size(report.bytes_per_s as u64)
    ));
    let verdict = match report.verdict.exit_code() {
        0 if report.sealed.as_ref().is_some_and(|sealed| sealed.used.is_some()) => {
            "ok: what is sealed opens the whole ledger, without a member's share"
        }
        0 => "ok: these shares open the whole ledger",
        _ => "findings: not everything opens",
    };
    line(format!("verdict      {verdict}"));
    if !report.findings.is_empty() {
        line(String::new());
        out.push_str(&output::findings(&report.findings));
    }
    out
}
