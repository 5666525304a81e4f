//! `rekindle canton backup check`: reads, has it judged, and renders.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use time::UtcOffset;

use crate::canton::backup::instant::Window;
use crate::canton::backup::judge::Order;
use crate::canton::backup::order::{ByOffsets, ByTimes, Proof};
use crate::canton::backup::path::Identities;
use crate::canton::backup::volumes::Snapshot;
use crate::canton::backup::{Backup, Case, Facts, Report, Role, Verdict, age, instant, judge, volumes};
use crate::canton::dump::{self, Options, Source};
use crate::canton::finding::Ending;
use crate::canton::identities::{self, Checked, Slot};
use crate::canton::release::Splice;
use crate::canton::{Findings, Timestamp};
use crate::cli::canton::show;
use crate::cli::{Common, output};
use crate::error::{Error, Result};
use crate::report::Severity;
use crate::shown::Show;

/// Say whether backups fit together, and which way back is open
///
/// The backup of the apps has to be from before the participant's: otherwise the apps hold, after a restore, what the
/// participant never had, and nobody notices for weeks. This is proven by how far the apps have read (their offsets) and where
/// the participant's ledger ends, or by the times of the backups; where neither proves it, it says so. It also says whether
/// both are of the same participant and migration, whether they are whole, and young enough to catch up from.
///
/// A SOURCE is a dump (plain SQL, -Fc, -Fd, -Ft, pg_dumpall; also .gz, .zst, .xz), or a running database's address:
/// postgres://USER@HOST/DATABASE, with the password in PGPASSWORD or ~/.pgpass. Running databases are read in read-only
/// transactions, the apps' first: a dress rehearsal, true of this moment.
#[derive(clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Backups of the apps' databases (SV, scan, validator)
    #[arg(long, value_name = "SOURCE", num_args = 1..)]
    apps: Vec<OsString>,
    /// The backup of the participant's database
    #[arg(long, value_name = "SOURCE", num_args = 1..)]
    participant: Vec<OsString>,
    /// The backup of the sequencer's database
    #[arg(long, value_name = "SOURCE")]
    sequencer: Vec<OsString>,
    /// The backup of the mediator's database
    #[arg(long, value_name = "SOURCE")]
    mediator: Vec<OsString>,
    /// The backup of CometBFT's storage, a file or directory; it only has to be there
    #[arg(long, value_name = "PATH")]
    cometbft: Option<PathBuf>,
    /// Snapshots: the output of `kubectl get volumesnapshot -o json` or `gcloud sql backups list --format=json`
    #[arg(long, value_name = "FILE")]
    volumes: Vec<PathBuf>,
    /// When backups were taken that do not say it: {"apps":{"start":TIME,"end":TIME},"participant":{...}}
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The dump of the node's identities, as `rekindle canton identities check` takes it
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,
    /// The network's release of Splice, such as 0.5.4
    #[arg(long, value_name = "VERSION")]
    splice: Option<Splice>,
    /// The migration that the network is in now
    #[arg(long, value_name = "N")]
    migration: Option<i64>,
    /// The whole network is down, and not this node alone
    #[arg(long)]
    network_down: bool,
    /// You have seen that the KMS still holds the node's keys
    #[arg(long)]
    kms_reachable: bool,
    /// Judge ages as of this time [default: this machine's clock]
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// The time zone of the machines that made the dumps, such as +02:00, for times that do not say theirs
    #[arg(long, value_name = "OFFSET", value_parser = zone, allow_hyphen_values = true)]
    tz: Option<UtcOffset>,
    /// The age from which on a backup is too old, such as 30d or 12h
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = max_age)]
    max_age: i64,
    /// End with 0 where something is only not proven, or warned of: with 1 only where it is certainly wrong
    #[arg(long)]
    accept_unproven: bool,
}

const EPILOGUE: &str = "\
Example:
  rekindle canton backup check --apps apps.dump --participant participant.dump \\
      --identities identities.json --splice 0.5.4

Exit codes: 0 they fit together and can be restored, 1 something is wrong or not proven, 2 usage, 3 a backup can't be read \
or breaks off, 4 a server refused.";

/// Bytes of the largest list of snapshots that is read.
const LARGEST_LIST: u64 = 64 << 20;
/// Bytes of the largest manifest that is read.
const LARGEST_MANIFEST: u64 = 1 << 20;

fn zone(text: &str) -> std::result::Result<UtcOffset, String> {
    let seconds = instant::offset(text).and_then(|seconds| UtcOffset::from_whole_seconds(seconds).ok());
    seconds.ok_or_else(|| "expected how far east of UTC, such as +02:00, -05:00 or UTC".to_owned())
}

fn max_age(text: &str) -> std::result::Result<i64, String> {
    let seconds = age::parse(text).filter(|seconds| *seconds > 0);
    seconds.ok_or_else(|| "expected a span of time such as 30d, 12h or 90m".to_owned())
}

/// What reading gave.
#[derive(Default)]
struct Reading {
    backups: Vec<Backup>,
    findings: Findings,
    ending: Option<Ending>,
}

impl Reading {
    fn source(&mut self, role: Role, source: &Source, options: &Options) -> Result<()> {
        let mut facts = Facts::default();
        let read = dump::read(source, options, &mut facts)?;
        let file = match source {
            Source::File(path) | Source::Directory(path) => path.file_name().and_then(|name| name.to_str()),
            Source::Running(_) => None,
        };
        self.backups
            .push(Backup::new(role, source.to_string(), file, &read, facts));
        // A dump that breaks off is no backup, however much of it could be read.
        let ending = match read.ending {
            Ending::Partial => Ending::Unreadable,
            other => other,
        };
        self.ending = self.ending.max(Some(ending));
        self.findings.append(read.findings);
        Ok(())
    }
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let roles = [
        // Running databases change meanwhile: what the apps have read by now is in the participant's ledger later.
        (Role::Apps, &args.apps),
        (Role::Sequencer, &args.sequencer),
        (Role::Mediator, &args.mediator),
        (Role::Participant, &args.participant),
    ];
    let mut sources = Vec::new();
    for (role, texts) in roles {
        for text in texts {
            sources.push((role, Source::parse(text)?));
        }
    }
    let is_empty = sources.is_empty() && args.volumes.is_empty();
    if is_empty && args.manifest.is_none() && args.identities.is_none() {
        return Err(Error::Usage(
            "nothing to check: give --apps and --participant, --volumes, or --identities; see --help".to_owned(),
        ));
    }
    let now = args.now.unwrap_or_else(Timestamp::now);
    let has_cometbft = args.cometbft.as_deref().map(has_content).transpose()?.unwrap_or(false);
    let mut snapshots = Vec::new();
    for path in &args.volumes {
        snapshots.extend(list(path)?);
    }
    let stated = args.manifest.as_deref().map(manifest).transpose()?.unwrap_or_default();
    let options = Options { zone: args.tz };
    let mut reading = Reading::default();
    for (role, source) in &sources {
        reading.source(*role, source, &options)?;
    }
    let checked = args.identities.as_deref().map(check_identities).transpose()?;
    let participant = checked.as_ref().and_then(|checked| checked.node(Slot::Participant));
    let case = Case {
        backups: reading.backups,
        has_cometbft,
        stated,
        migration: args.migration,
        volumes: snapshots,
        identities: checked.as_ref().map_or(Identities::None, Identities::of),
        identities_of: participant.and_then(|node| Some(node.id.as_ref()?.whole.clone())),
        splice: args.splice,
        is_network_down: args.network_down,
        is_kms_reachable: args.kms_reachable,
        now,
        max_age_s: args.max_age,
    };
    let report = judge(&case, reading.findings);
    match common.json {
        true => output::json(&report)?,
        false => output::text(&text(&report))?,
    }
    let ending = reading.ending.unwrap_or(Ending::Clean);
    Ok(ending.max(judged(&report, args.accept_unproven)).exit_code())
}

fn judged(report: &Report, accepts_unproven: bool) -> Ending {
    let is_unknown = matches!(report.verdict, Verdict::Consistent | Verdict::Unproven);
    let is_certain = report
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    match accepts_unproven && is_unknown && !is_certain {
        true => Ending::Clean,
        false => Ending::of(&report.findings),
    }
}

/// Whether there is anything in a file or a directory.
fn has_content(path: &Path) -> Result<bool> {
    let metadata = path.metadata().map_err(Error::io("read", path))?;
    Ok(match metadata.is_dir() {
        true => path.read_dir().map_err(Error::io("read", path))?.next().is_some(),
        false => metadata.len() > 0,
    })
}

/// The whole of a file, unless it is larger than what it should be ever is.
fn read_whole(path: &Path, what: &str, largest: u64) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(largest + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    match bytes.len() as u64 > largest {
        true => {
            let why = format!(
                "{} is larger than {} MiB, which no {what} is",
                path.shown(),
                largest >> 20
            );
            Err(Error::Unreadable(why))
        }
        false => Ok(bytes),
    }
}

fn list(path: &Path) -> Result<Vec<Snapshot>> {
    let json = read_whole(path, "list of snapshots", LARGEST_LIST)?;
    volumes::parse(&json).map_err(|why| Error::Unreadable(format!("{}: {why}", path.shown())))
}

fn manifest(path: &Path) -> Result<Vec<(Role, Window)>> {
    let json = read_whole(path, "manifest", LARGEST_MANIFEST)?;
    let read = Window::of_manifest(&json);
    let (apps, participant) = read.map_err(|why| Error::Unreadable(format!("{}: {why}", path.shown())))?;
    let parts = [(Role::Apps, apps), (Role::Participant, participant)];
    Ok(parts
        .into_iter()
        .filter_map(|(role, window)| Some((role, window?)))
        .collect())
}

fn check_identities(path: &Path) -> Result<Checked> {
    Ok(identities::check_file(&identities::read(path)?, path))
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut say = |name: &str, text: &str| out.push_str(&format!("{name:<13}{text}\n"));
    let verdict = match (report.verdict, report.restorable) {
        (Verdict::Consistent, true) => "CONSISTENT: these backups fit together and can be restored",
        (Verdict::Consistent, false) => "CONSISTENT, but these backups can't be restored as they are",
        (Verdict::Inconsistent, _) => "INCONSISTENT: do not restore these backups together",
        (Verdict::Unproven, _) => "UNPROVEN: nothing proves that these backups fit together",
        (Verdict::Incomplete, _) => "INCOMPLETE: a part of the backup is missing, broken off or of something else",
        (Verdict::NoBackup, _) => "NO BACKUP of the apps and the participant was given",
    };
    say("verdict", verdict);
    if report.verdict != Verdict::NoBackup {
        say("order", &order(&report.order));
        let lineage = &report.lineage;
        let of = lineage
            .participant
            .as_deref()
            .unwrap_or("a participant that is not named");
        let migration = lineage
            .migration
            .map_or(String::new(), |migration| format!(", migration {migration}"));
        let same = match lineage.same {
            Some(true) => "the apps followed it",
            Some(false) => "the apps followed ANOTHER ONE",
            None => "whether the apps followed it is not known",
        };
        say("lineage", &format!("{of}{migration}; {same}"));
        say("age", &age_words(report));
    }
    let path = &report.path;
    say("way back", path.recommended.words());
    for reason in &path.reasons {
        say("", &format!("because {reason}"));
    }
    for missing in &path.missing {
        say("", &format!("needs {missing}"));
    }
    if let Some(fallback) = path.fallback {
        say("", &format!("otherwise {}", fallback.words()));
    }
    if let Some(command) = path.command {
        say("next", command);
    }
    if !report.missing.is_empty() {
        say("not given", &report.missing.join(", "));
    }
    if !report.findings.is_empty() {
        out.push('\n');
        out.push_str(&show::findings(&report.findings));
    }
    out
}

fn age_words(report: &Report) -> String {
    let age = &report.age;
    let limit = age::in_words(age.limit_s);
    match (age.at_least_s, age.at_most_s) {
        (Some(least), Some(most)) if most - least < 60 => format!("{}; the limit is {limit}", age::in_words(most)),
        (Some(least), Some(most)) => {
            format!(
                "between {} and {}; the limit is {limit}",
                age::in_words(least),
                age::in_words(most)
            )
        }
        (None, Some(most)) => format!(
            "at most {}, by the ledger's end; the limit is {limit}",
            age::in_words(most)
        ),
        (Some(least), None) => format!("at least {}; the limit is {limit}", age::in_words(least)),
        (None, None) => format!("not known; the limit is {limit}"),
    }
}

fn order(order: &Order) -> String {
    let apps = order.apps_offset.map_or("none".to_owned(), |offset| offset.to_string());
    let schema = order
        .apps_schema
        .as_deref()
        .map_or(String::new(), |schema| format!(" ({schema})"));
    let end = order
        .ledger_end
        .map_or("its beginning".to_owned(), |end| end.to_string());
    match (order.proof, order.holds, order.by_times) {
        (Proof::Offsets, Some(true), _) => format!(
            "proven by offsets: the apps have read up to {apps}{schema}, and the ledger ends at {end} ({} offsets compared)",
            order.compared
        ),
        (Proof::Offsets, _, _) => {
            format!("VIOLATED, by offsets: the apps have read up to {apps}{schema}, and the ledger ends at {end}")
        }
        (Proof::Times, holds, _) => {
            let word = if holds == Some(true) { "proven" } else { "VIOLATED," };
            format!("{word} by times: {}", windows(order))
        }
        (Proof::Unproven, _, ByTimes::Unknown) if order.by_offsets == ByOffsets::Unknown => {
            "not proven: there are neither offsets nor times of both".to_owned()
        }
        (Proof::Unproven, _, _) => format!("not proven: {}", windows(order)),
    }
}

fn windows(order: &Order) -> String {
    let (Some(apps), Some(participant)) = (&order.apps_window, &order.participant_window) else {
        return "no times of both".to_owned();
    };
    format!(
        "the apps' backup is of {} to {}, the participant's of {} to {}",
        apps.earliest(),
        apps.latest(),
        participant.earliest(),
        participant.latest()
    )
}
