//! `rekindle canton scan`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::database::Database;
use super::show;
use crate::canton::evidence::{self, Comparison, Observations};
use crate::canton::finding::Ending;
use crate::canton::logs::{self, Named, Scanned, Settings};
use crate::canton::name::Participant;
use crate::canton::release::{Canton, Splice};
use crate::canton::{Finding, Timestamp, database, dump};
use crate::cli::output::{count, size};
use crate::cli::{Common, output, progress};
use crate::error::{Error, Result};
use crate::format::whole_file::{self, PUBLIC, WholeFile};
use crate::shown::{Show, line};

/// Read a participant's logs or database for what it and the other SVs agreed on, into a file of a few kilobytes
///
/// Run it where the logs are: they are read once, at the speed of a search, whatever wrote, wrapped or compressed them
/// (Canton's JSON and text; docker, containerd, kubectl, Cloud Logging, Loki, Elasticsearch; gzip, zstd, xz). Give the
/// evidence file to the other operators instead of the logs: it holds names of participants and times, and nothing else.
#[derive(clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// Logs of one SV: files, directories, patterns such as 'logs/*.gz', or - for stdin. In front of one of them stand the
    /// SV's name and participant, where you want to say them
    #[arg(value_name = "[NAME[=PAR::ID]:]PATH")]
    paths: Vec<Named>,
    /// The same
    #[arg(long, value_name = "NAME=PATH", num_args = 1..)]
    log: Vec<Named>,
    /// The participant's database instead of logs, or beside them: a dump of any kind, or postgres://USER@HOST/DATABASE, which
    /// is only read from; its password comes from PGPASSWORD, ~/.pgpass or a prompt
    #[arg(long, value_name = "NAME=FILE|ADDRESS")]
    participant_db: Option<String>,
    /// Write the evidence to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Let --out replace a file that is there
    #[arg(long, requires = "out")]
    replace: bool,
    /// Keep only what was agreed on from this time on
    #[arg(long, value_name = "TIME")]
    after: Option<Timestamp>,
    /// Keep only what was agreed on up to this time
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
    /// The release of Splice that wrote the logs, if you know it: it tells why nothing is found
    #[arg(long, value_name = "VERSION")]
    splice: Option<Splice>,
}

const EPILOGUE: &str = "\
Examples:
  rekindle canton scan sv-1:/var/log/canton --out sv-1.json
  kubectl logs -n sv deploy/participant | rekindle canton scan --log sv-1=- --out sv-1.json
  rekindle canton scan --participant-db sv-1=participant.dump --out sv-1.json

Exit codes: 0 agreement was found, 1 none was, or something is wrong with the logs (the findings say what), 2 usage, 3 a \
log can't be read, 5 a compressed log breaks off: what there is of it was used.";

/// Runs the command.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    show::in_order(args.after, args.before)?;
    let database = args.participant_db.as_deref().map(Database::parse).transpose()?;
    let (name, participant, paths) = one_sv(args, database.as_ref())?;
    if let Some(out) = &args.out {
        let inputs = paths
            .iter()
            .chain(database.iter().filter_map(|given| given.path.as_ref()));
        may_write(out, args.replace, &inputs.cloned().collect::<Vec<_>>())?;
    }
    let settings = Settings {
        participant,
        canton: args.splice.and_then(Splice::canton).or_else(|| newest(args.splice)),
        after: args.after,
        before: args.before,
        threads: common.jobs.map_or(0, usize::from),
    };
    let bar = progress::for_terminal();
    bar.begin("reading logs", logs::size(&paths));
    let begun = Instant::now();
    let scanned = match paths.is_empty() {
        true => Ok(Scanned::default()),
        false => logs::scan(&paths, &settings, &|bytes| bar.advance(bytes, 0)),
    };
    bar.end();
    let seconds = begun.elapsed().as_secs_f64();
    let mut scanned = scanned?;
    if let Some(database) = &database {
        read_database(database, &mut scanned)?;
    }
    let name = name.or_else(|| {
        scanned
            .evidence
            .participant
            .as_ref()
            .map(|owner| owner.identifier().to_owned())
    });
    let written = match &args.out {
        Some(out) => Some(write(out, name.as_deref(), &scanned)?),
        None => None,
    };
    let report = Report::new(name, scanned, seconds, args.out.as_deref(), written);
    match common.json {
        true => output::json(&report)?,
        false => output::text(&report.text())?,
    }
    Ok(report.ending.exit_code())
}

/// A release after all that are known can only be one that no longer says it.
fn newest(splice: Option<Splice>) -> Option<Canton> {
    splice
        .filter(|splice| *splice >= Splice::new(0, 7, 0))
        .map(|_| Canton { major: 3, minor: 6 })
}

/// Adds what a participant's database says to what its logs said.
fn read_database(given: &Database, scanned: &mut Scanned) -> Result<()> {
    let database = database::read(&given.source, &dump::Options::default())?;
    scanned.findings.append(database.findings);
    scanned.ending = scanned.ending.max(database.ending);
    let joined = scanned.evidence.join(database.evidence);
    joined.map_err(|(logs, database)| {
        Error::Usage(format!(
            "the logs are of {logs} and the database is of {database}: scan what is of one participant at a time"
        ))
    })
}

/// All that was named is of one SV.
fn one_sv(args: &Args, database: Option<&Database>) -> Result<(Option<String>, Option<Participant>, Vec<PathBuf>)> {
    let (mut name, mut participant, mut paths) = (None, None, Vec::new());
    same(&mut name, database.map(|given| &given.name), |_, _| String::new())?;
    for named in args.paths.iter().chain(&args.log) {
        same(&mut name, named.name.as_ref(), |a, b| {
            format!("{a} and {b} are two SVs: scan the logs of one at a time, each into its own evidence file")
        })?;
        same(&mut participant, named.participant.as_ref(), |a, b| {
            format!("the logs can't be both of {a} and of {b}: scan the logs of one participant at a time")
        })?;
        paths.push(named.path.clone());
    }
    match paths.is_empty() && database.is_none() {
        true => Err(Error::Usage(
            "name the logs: files, directories, or - for stdin, such as sv-1:/var/log/canton; or the --participant-db"
                .to_owned(),
        )),
        false => Ok((name, participant, paths)),
    }
}

fn same<T: PartialEq + Clone>(known: &mut Option<T>, new: Option<&T>, differ: impl Fn(&T, &T) -> String) -> Result<()> {
    match (&*known, new) {
        (Some(known), Some(new)) if known != new => Err(Error::Usage(differ(known, new))),
        (None, Some(new)) => {
            *known = Some(new.clone());
            Ok(())
        }
        _ => Ok(()),
    }
}

fn may_write(out: &Path, replaces: bool, paths: &[PathBuf]) -> Result<()> {
    let is_there = out.symlink_metadata().is_ok();
    if whole_file::target(out)? == whole_file::Target::Stream || !is_there {
        return Ok(());
    }
    if !replaces {
        let text = format!("{} is there already: give --replace to write over it", out.shown());
        return Err(Error::Usage(text));
    }
    match logs::reads(paths, out)? {
        true => Err(Error::Usage(format!(
            "{} is among what is to be read: write the evidence elsewhere",
            out.shown()
        ))),
        false => Ok(()),
    }
}

fn write(out: &Path, name: Option<&str>, scanned: &Scanned) -> Result<u64> {
    let stem = out.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = name.map(str::to_owned).or(stem).unwrap_or_else(|| "sv".to_owned());
    let bytes = evidence::file::to_json(&name, &scanned.evidence)
        .map_err(|why| Error::Unreadable(format!("could not serialise the evidence: {why}")))?;
    let mut file = WholeFile::create(out, PUBLIC)?.ends_with_process();
    file.write_all(&bytes).map_err(Error::io("write", out))?;
    file.finish()?;
    Ok(bytes.len() as u64)
}

/// What the command answers.
#[derive(Serialize)]
struct Report {
    /// `agreements`, or `nothing` where no comparison of any kind was found.
    verdict: &'static str,
    name: Option<String>,
    participant: Option<Participant>,
    files: u64,
    bytes: u64,
    seconds: f64,
    gb_per_s: f64,
    /// How often the sentence that proves agreement stands in the logs, and where nobody's logger wrote it.
    hits: u64,
    unattributed: u64,
    records: BTreeMap<&'static str, u64>,
    synchronizers: Vec<Synchronizer>,
    evidence_digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence_bytes: Option<u64>,
    findings: Vec<Finding>,
    #[serde(skip)]
    ending: Ending,
}

#[derive(Serialize)]
struct Synchronizer {
    synchronizer: String,
    reached: Option<Timestamp>,
    pruned: Option<Timestamp>,
    catching_up: bool,
    first_agreed: Option<Timestamp>,
    last_agreed: Option<Timestamp>,
    agreements: u64,
    weak: u64,
    mismatches: u64,
    counterparties: Vec<Counterparty>,
}

#[derive(Serialize, Default)]
struct Counterparty {
    participant: String,
    agreements: u64,
    last_agreed: Option<Timestamp>,
    mismatches: u64,
    last_sent: Option<Timestamp>,
}

impl Report {
    fn new(name: Option<String>, scanned: Scanned, seconds: f64, out: Option<&Path>, written: Option<u64>) -> Report {
        let findings = scanned.findings.finish();
        let synchronizers: Vec<Synchronizer> = scanned.evidence.observations.iter().map(Synchronizer::new).collect();
        let any = synchronizers.iter().any(|about| !about.counterparties.is_empty());
        Report {
            verdict: if any { "agreements" } else { "nothing" },
            name,
            files: scanned.files,
            bytes: scanned.bytes,
            seconds,
            gb_per_s: (scanned.bytes as f64 / 1e9 / seconds.max(1e-9) * 1000.0).round() / 1000.0,
            hits: scanned.hits,
            unattributed: scanned.unattributed,
            records: scanned.kinds,
            evidence_digest: evidence::digest(&scanned.evidence),
            participant: scanned.evidence.participant,
            synchronizers,
            evidence: out.map(|out| out.shown().to_string()),
            evidence_bytes: written,
            ending: scanned.ending.max(Ending::of(&findings)),
            findings,
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut say = |text: String| {
            out.push_str(&line(&text));
            out.push('\n');
        };
        let owner = self
            .participant
            .as_ref()
            .map_or("an unknown participant".to_owned(), ToString::to_string);
        let name = self.name.as_ref().map_or(String::new(), |name| format!("{name}: "));
        say(match self.files {
            0 => format!("{name}the database of {owner}"),
            _ => format!("{name}the logs of {owner}"),
        });
        for about in &self.synchronizers {
            about.text(&mut say);
        }
        if self.files > 0 {
            say(format!(
                "{} in {} read in {:.1} s, {:.2} GB/s; \"Commitment correct\" stands in {} places, {} of them in no record of the \
                 commitment processor",
                size(self.bytes),
                many(self.files, "file"),
                self.seconds,
                self.gb_per_s,
                count(self.hits),
                count(self.unattributed)
            ));
        }
        if let (Some(path), Some(bytes)) = (&self.evidence, self.evidence_bytes) {
            say(format!("Evidence written to {path}, {}", size(bytes)));
        }
        say(format!("Evidence digest {}", self.evidence_digest));
        out.push_str(&show::findings(&self.findings));
        out
    }
}

fn many(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{} {what}s", count(number)),
    }
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or("never".to_owned(), |at| at.to_string())
}

impl Synchronizer {
    fn new((name, about): (&String, &Observations)) -> Synchronizer {
        let mut each: BTreeMap<&Participant, Counterparty> = BTreeMap::new();
        let (mut first, mut last, mut weak) = (None::<Timestamp>, None, 0);
        for (whom, how, run) in about.compared.runs() {
            let counterparty = each.entry(whom).or_default();
            let count = u64::from(run.count);
            match how {
                Comparison::Correct => {
                    let (from, to) = (Some(run.first.to_inclusive), Some(run.end()));
                    counterparty.agreements += count;
                    counterparty.last_agreed = counterparty.last_agreed.max(to);
                    first = first.map_or(from, |first| from.min(Some(first)));
                    last = last.max(to);
                }
                Comparison::Mismatch => counterparty.mismatches += count,
                Comparison::Weak => weak += count,
            }
        }
        for (whom, at) in &about.sent {
            each.entry(whom).or_default().last_sent = Some(*at);
        }
        for (whom, counterparty) in &mut each {
            counterparty.participant = whom.to_string();
        }
        let counterparties: Vec<Counterparty> = each.into_values().collect();
        Synchronizer {
            synchronizer: name.clone(),
            reached: about.reached,
            pruned: about.pruned,
            catching_up: about.was_catching_up,
            first_agreed: first,
            last_agreed: last,
            agreements: counterparties.iter().map(|one| one.agreements).sum(),
            weak,
            mismatches: counterparties.iter().map(|one| one.mismatches).sum(),
            counterparties,
        }
    }

    fn text(&self, say: &mut dyn FnMut(String)) {
        let name = match self.synchronizer.is_empty() {
            true => "a synchronizer that the logs do not name",
            false => &self.synchronizer,
        };
        say(format!("On {name}:"));
        say(format!(
            "  agreed      {} with {}, {} to {}",
            many(self.agreements, "time"),
            match self.counterparties.len() {
                1 => "1 counterparty".to_owned(),
                number => format!("{number} counterparties"),
            },
            time(self.first_agreed),
            time(self.last_agreed)
        ));
        if self.weak > 0 {
            say(format!(
                "  weakly      {}: compared, and no mismatch reported",
                many(self.weak, "time")
            ));
        }
        if self.mismatches > 0 {
            say(format!("  differed    {}", many(self.mismatches, "time")));
        }
        if let Some(reached) = self.reached {
            say(format!("  reached     {reached}"));
        }
        if let Some(pruned) = self.pruned {
            say(format!("  pruned      up to {pruned}"));
        }
        if self.catching_up {
            say("  catching up, with longer periods than usual, at least once".to_owned());
        }
        let width = self
            .counterparties
            .iter()
            .map(|one| one.participant.len())
            .max()
            .unwrap_or(0);
        for one in &self.counterparties {
            let differed = match one.mismatches {
                0 => String::new(),
                number => format!(", differed {}", many(number, "time")),
            };
            say(format!(
                "  {:width$}  agreed {}, last {}{differed}",
                one.participant,
                many(one.agreements, "time"),
                time(one.last_agreed),
            ));
        }
    }
}
