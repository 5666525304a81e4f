//! `rekindle archive`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::archive::create::{self, Created};
use crate::archive::manifest::{Document, Manifest, Source, full_name};
use crate::archive::open::Archive;
use crate::archive::restore::{RestoreReport, restore};
use crate::archive::verify::{ArchiveReport, verify};
use crate::cli::{Common, output, progress};
use crate::error::{Error, Result};
use crate::recovery::join::Mode;
use crate::report::{Finding, Severity, Verdict};
use crate::shown::{date, line};

/// Keep all copies of all nodes in one archive, before anything is touched: proven, equal parts once, restorable
///
/// The first thing to do in a disaster, and the only one that can't be made up for later. Give every node's directories;
/// each becomes a folder of the archive. DEST is a directory, or a URL of an object store: s3://BUCKET/PREFIX,
/// az://CONTAINER/PREFIX, gs://BUCKET/PREFIX, with credentials from the environment (AWS_ACCESS_KEY_ID,
/// AZURE_STORAGE_ACCOUNT_NAME, GOOGLE_APPLICATION_CREDENTIALS and so on). `verify`, `compare`, `unlock`, `export`, `inspect` and
/// `salvage` read a folder of an archive like a directory: `rekindle verify DEST/node0`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Create(CreateArgs),
    Verify(ReadArgs),
    List(ListArgs),
    Restore(RestoreArgs),
}

/// Archive directories, and verify each ledger in them in the same pass
///
/// Everything in the directories is archived: ledgers, snapshots, sealed secrets, what was set aside, configurations. Links are
/// recorded and not followed; devices and pipes are left out and named. Equal blocks are stored once, so three nodes
/// cost hardly more than one. Nothing is changed in the directories. An interrupted run is repeated with the same arguments: it
/// goes on from what it had stored. There is no archive until everything is in it.
///
/// Exits with 1 if the archive is whole and something was wrong with what is in it: `rekindle archive list` says what.
#[derive(clap::Args)]
struct CreateArgs {
    /// The directories of all nodes: each with everything in it
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Where the archive goes: a new directory, or a URL of an object store
    #[arg(short, long, value_name = "DEST")]
    out: PathBuf,
    /// audit: verify every signature; integrity: the last one of each service identity, whose root covers all before it
    #[arg(long, value_enum, default_value = "integrity")]
    mode: super::verify::ModeName,
}

/// Check an archive: every byte, every block, every file's SHA-256
///
/// Says which pack and block is damaged, and which files and seqnos of which copy it touches.
#[derive(clap::Args)]
struct ReadArgs {
    /// The archive: a directory, or a URL of an object store
    #[arg(value_name = "DEST")]
    archive: PathBuf,
}

/// Say what is in an archive, and what was found when its ledgers were verified
#[derive(clap::Args)]
struct ListArgs {
    /// The archive: a directory, or a URL of an object store
    #[arg(value_name = "DEST")]
    archive: PathBuf,
    /// List every file, too
    #[arg(long)]
    files: bool,
}

/// Restore everything in an archive: byte for byte, with names, times and permissions
///
/// Each source gets its folder. What is damaged is left out and named, everything else is restored. An interrupted run is repeated
/// with the same arguments: until it is complete, the directory holds a file named .rekindle-restoring.
#[derive(clap::Args)]
struct RestoreArgs {
    /// The archive: a directory, or a URL of an object store
    #[arg(value_name = "DEST")]
    archive: PathBuf,
    /// The directory to restore to: new or empty
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// Turns down, in every command, addresses of object stores that hold more than a bucket and a prefix: what more there is may
/// be a credential, and whatever was said of such an address would repeat it.
///
/// # Errors
/// If there is one.
pub fn refuse_credentials(arguments: &[OsString]) -> Result<()> {
    let schemes = ["s3://", "s3a://", "az://", "azure://", "abfs://", "abfss://", "gs://"];
    let holds_more = |argument: &OsString| {
        let text = argument.to_string_lossy();
        schemes.iter().any(|scheme| {
            let parts = text.split_once(scheme);
            parts.is_some_and(|(before, rest)| {
                (before.is_empty() || before.ends_with('=')) && rest.contains(['@', '?', '#'])
            })
        })
    };
    match arguments.iter().any(holds_more) {
        false => Ok(()),
        true => Err(Error::Usage(
            "the address of an object store holds more than a bucket and a prefix; credentials belong into the environment"
                .to_owned(),
        )),
    }
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let progress = progress::for_terminal();
    match &args.command {
        Action::Create(args) => {
            let mode = Mode::from(args.mode);
            let created = create::run(&args.directories, &args.out, mode, progress.as_ref())?;
            let listing = Listing::of(&args.out, &created.manifest, None, false);
            match common.json {
                true => output::json(&listing)?,
                false => output::text(&render_created(&listing, &created))?,
            }
            Ok(listing.verdict.exit_code())
        }
        Action::Verify(args) => {
            let report = verify(&Archive::open(&args.archive)?, progress.as_ref())?;
            match common.json {
                true => output::json(&report)?,
                false => output::text(&render_verified(&report))?,
            }
            Ok(report.verdict.exit_code())
        }
        Action::List(args) => {
            let archive = Archive::open(&args.archive)?;
            let listing = Listing::of(&args.archive, &archive.manifest, Some(&archive.findings), args.files);
            match common.json {
                true => output::json(&listing)?,
                false => output::text(&render_listing(&listing))?,
            }
            // A damaged manifest is a fault of the archive; what was wrong with a copy was said when it was archived.
            Ok(Verdict::of(&archive.findings).exit_code())
        }
        Action::Restore(args) => {
            let report = restore(&Archive::open(&args.archive)?, &args.out, progress.as_ref())?;
            match common.json {
                true => output::json(&report)?,
                false => output::text(&render_restored(&report))?,
            }
            Ok(report.verdict.exit_code())
        }
    }
}

/// What is in an archive.
#[derive(Serialize)]
struct Listing<'a> {
    /// Whether anything was wrong with it.
    verdict: Verdict,
    archive: String,
    made_by: &'a str,
    made_at: u64,
    packs: usize,
    blocks: usize,
    stored_bytes: u64,
    files: usize,
    file_bytes: u64,
    sources: Vec<ListedSource<'a>>,
    findings: Vec<&'a Finding>,
}

#[derive(Serialize)]
struct ListedSource<'a> {
    name: &'a str,
    path: &'a str,
    files: usize,
    bytes: u64,
    links: usize,
    copies: &'a [crate::archive::manifest::LedgerCopy],
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<&'a [crate::archive::manifest::File]>,
    #[serde(skip)]
    source: &'a Source,
}

impl<'a> Listing<'a> {
    fn of(archive: &Path, manifest: &'a Manifest, more: Option<&'a [Finding]>, files: bool) -> Listing<'a> {
        use crate::shown::Show;
        let document: &Document = &manifest.document;
        let findings: Vec<&Finding> = document.findings.iter().chain(more.unwrap_or_default()).collect();
        let reports = document
            .sources
            .iter()
            .flat_map(|source| &source.copies)
            .filter_map(|copy| copy.report.as_ref());
        let is_bad = findings.iter().any(|finding| finding.severity > Severity::Info);
        let verdict =
            reports
                .map(|report| report.verdict)
                .chain([if is_bad { Verdict::Findings } else { Verdict::Ok }]);
        let worst = verdict.max_by_key(|verdict| match verdict {
            Verdict::Ok => 0,
            Verdict::Unproven => 1,
            Verdict::Findings => 2,
        });
        let sources = document.sources.iter().map(|source| ListedSource {
            name: &source.name,
            path: &source.path,
            files: source.files.len(),
            bytes: source.files.iter().map(|file| file.size).sum(),
            links: source.links.len(),
            copies: &source.copies,
            listed: files.then_some(&source.files),
            source,
        });
        Listing {
            verdict: worst.unwrap_or(Verdict::Ok),
            archive: archive.shown().to_string(),
            made_by: &document.made_by,
            made_at: document.made_at,
            packs: document.packs.len(),
            blocks: manifest.rows.len(),
            stored_bytes: manifest.stored_bytes(),
            files: manifest.files().count(),
            file_bytes: u64::try_from(manifest.file_bytes()).unwrap_or(u64::MAX),
            sources: sources.collect(),
            findings,
        }
    }
}

fn render_listing(listing: &Listing<'_>) -> String {
    let mut out = format!(
        "archive      {}, made {} by {}\n",
        listing.archive,
        date(listing.made_at),
        line(listing.made_by)
    );
    out.push_str(&format!(
        "holds        {} files, {}, stored in {} ({} packs, {} blocks)\n",
        output::count(listing.files as u64),
        output::size(listing.file_bytes),
        output::size(listing.stored_bytes),
        listing.packs,
        output::count(listing.blocks as u64),
    ));
    for source in &listing.sources {
        out.push_str(&format!(
            "\n{}  from {}: {} files, {}\n",
            line(source.name),
            line(source.path),
            output::count(source.files as u64),
            output::size(source.bytes)
        ));
        for copy in source.copies {
            let main = copy.directories.first().or(copy.snapshots.first());
            out.push_str(&format!(
                "  ledger     {}",
                full_name(source.source, main.map_or("", String::as_str))
            ));
            let Some(report) = &copy.report else {
                out.push_str(": could not be verified\n");
                continue;
            };
            let signed = report.last_signed.map_or("nothing".to_owned(), |txid| txid.to_string());
            out.push_str(&format!(": signed up to {signed}, last entry {}", report.last_seqno));
            match &copy.same_as {
                Some(other) => out.push_str(&format!(", file by file the same as {}\n", line(other))),
                None => out.push('\n'),
            }
            let verdict = match report.verdict {
                Verdict::Ok => "ok",
                Verdict::Unproven => "unproven",
                Verdict::Findings => "findings",
            };
            out.push_str(&format!("  verdict    {verdict}, when it was archived\n"));
            if copy.same_as.is_none() {
                let findings: Vec<Finding> = report
                    .findings
                    .iter()
                    .filter(|finding| finding.severity > Severity::Info)
                    .cloned()
                    .collect();
                output::findings(&findings)
                    .lines()
                    .for_each(|line| out.push_str(&format!("    {line}\n")));
            }
        }
        for file in source.listed.unwrap_or_default() {
            out.push_str(&format!(
                "  {}  {:>12}  {}  {}\n",
                hex::encode(file.sha256.0),
                file.size,
                date(u64::try_from(file.modified.s).unwrap_or_default()),
                full_name(source.source, &file.path)
            ));
        }
    }
    if !listing.findings.is_empty() {
        out.push('\n');
        let findings: Vec<Finding> = listing.findings.iter().map(|finding| (*finding).clone()).collect();
        out.push_str(&output::findings(&findings));
    }
    out
}

fn render_created(listing: &Listing<'_>, created: &Created) -> String {
    let mut out = render_listing(listing);
    if created.reused > 0 {
        out.push_str(&format!(
            "\ntaken up     {} packs of an interrupted run\n",
            created.reused
        ));
    }
    out.push_str(match listing.verdict {
        Verdict::Ok => "\nverdict      ok: the archive is whole, and so is every ledger in it\n",
        _ => "\nverdict      the archive is whole; something is wrong with what was archived\n",
    });
    out
}

fn render_verified(report: &ArchiveReport) -> String {
    let mut out = format!(
        "archive      {}, made {}\nholds        {} files, {}, in {} packs, {}\n",
        report.archive,
        date(report.made_at),
        output::count(report.files as u64),
        output::size(report.file_bytes),
        report.packs,
        output::size(report.stored_bytes),
    );
    out.push_str(&match (report.verdict, report.damaged_files) {
        (Verdict::Ok, _) => "verdict      ok: everything in it can be restored\n".to_owned(),
        (_, 0) => "verdict      findings: everything in it can be restored, and it needs to be mended\n".to_owned(),
        (_, lost) => format!("verdict      findings: {lost} files can't be restored whole\n"),
    });
    if !report.findings.is_empty() {
        out.push('\n');
        out.push_str(&output::findings(&report.findings));
    }
    out
}

fn render_restored(report: &RestoreReport) -> String {
    let mut out = format!(
        "restored     {} files, {}, to {}\n",
        output::count(report.files as u64),
        output::size(report.bytes),
        report.directory
    );
    if report.there_already > 0 {
        out.push_str(&format!(
            "there before {} of them, from an interrupted run\n",
            report.there_already
        ));
    }
    if report.lost_files > 0 {
        out.push_str(&format!(
            "not restored {} files, which are damaged in the archive\n",
            report.lost_files
        ));
    }
    if !report.findings.is_empty() {
        out.push('\n');
        out.push_str(&output::findings(&report.findings));
    }
    out
}
