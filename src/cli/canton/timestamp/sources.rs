//! What the sources of the SVs say, read one after the other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Args;
use crate::canton::agreement::Sv;
use crate::canton::evidence::{Evidence, file};
use crate::canton::finding::Ending;
use crate::canton::logs::{self, Named};
use crate::canton::{Code, Finding, Findings, database, dump};
use crate::cli::Common;
use crate::cli::canton::database::Database;
use crate::error::{Error, Result};
use crate::shown::Show;

/// A file with the name of its SV: `NAME=FILE`, or the file alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: Option<String>,
    path: PathBuf,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Source, String> {
        let is_name = |name: &str| !name.contains('/') && !Path::new(text).exists();
        let (name, path) = match text.split_once('=').filter(|(name, _)| is_name(name)) {
            Some(("", _)) => return Err("expected NAME=FILE: there is no name before the =".to_owned()),
            Some((name, path)) => (Some(name.to_owned()), path),
            None => (None, text),
        };
        match path.is_empty() {
            true => Err("expected NAME=FILE: there is no file after the =".to_owned()),
            false => Ok(Source {
                name,
                path: PathBuf::from(path),
            }),
        }
    }
}

/// What was read.
pub struct Gathered {
    /// One for each name, in the order in which they were first given.
    pub svs: Vec<Sv>,
    /// What is wrong with the sources.
    pub findings: Findings,
    /// Whether all of them could be read to their end.
    pub ending: Ending,
}

impl Gathered {
    /// Adds what one source of an SV says to what others of it said.
    fn add(&mut self, name: &str, evidence: Evidence) -> Result<()> {
        if evidence.left_out > 0 {
            let message = format!("{} comparisons are missing", evidence.left_out);
            self.findings
                .push(Finding::new(Code::EvidenceLeftOut, message).of(name));
        }
        let at = self.svs.iter().position(|sv| sv.name == name).unwrap_or_else(|| {
            self.svs.push(Sv {
                name: name.to_owned(),
                ..Sv::default()
            });
            self.svs.len() - 1
        });
        let Some(sv) = self.svs.get_mut(at) else { return Ok(()) };
        let joined = sv.evidence.get_or_insert_default().join(evidence);
        joined.map_err(|(one, other)| {
            Error::Usage(format!(
                "the sources that were given as {name}'s are of two participants, {one} and {other}: give each its own name"
            ))
        })
    }
}

impl Gathered {
    /// Scans all logs of one SV.
    fn scan(&mut self, name: &str, logs: &[&Named], common: &Common) -> Result<()> {
        let mut participants = logs.iter().filter_map(|log| log.participant.as_ref());
        let participant = participants.next().cloned();
        if let Some(other) = participants.find(|other| Some(*other) != participant.as_ref()) {
            return Err(Error::Usage(format!(
                "the logs of {name} are said to be of two participants, one is {other}"
            )));
        }
        let paths: Vec<PathBuf> = logs.iter().map(|log| log.path.clone()).collect();
        let settings = logs::Settings {
            participant,
            threads: usize::from(common.jobs.unwrap_or(0)),
            ..logs::Settings::default()
        };
        let scanned = logs::scan(&paths, &settings, &|_| {})?;
        self.take_findings(name, scanned.findings, scanned.ending);
        self.add(name, scanned.evidence)
    }

    /// Reads the database of one SV's participant.
    fn read_database(&mut self, name: &str, source: &dump::Source) -> Result<()> {
        let database = database::read(source, &dump::Options::default())?;
        self.take_findings(name, database.findings, database.ending);
        self.add(name, database.evidence)
    }

    fn take_findings(&mut self, name: &str, findings: Findings, ending: Ending) {
        self.ending = self.ending.max(ending);
        let named = |finding: Finding| match &finding.of {
            None => finding.of(name),
            Some(_) => finding,
        };
        self.findings.extend(findings.finish().into_iter().map(named));
    }
}

/// Whether a file is one of the sources, or in one of them: it is never written over.
pub fn has(args: &Args, file: &Path) -> Result<bool> {
    let mut paths: Vec<PathBuf> = args.evidence.iter().map(|source| source.path.clone()).collect();
    for given in &args.participant_db {
        paths.extend(Database::parse(given)?.path);
    }
    paths.extend(args.logs().map(|log| log.path.clone()));
    match paths.is_empty() {
        true => Ok(false),
        false => logs::reads(&paths, file),
    }
}

/// Reads all of them.
pub fn gather(args: &Args, common: &Common) -> Result<Gathered> {
    let mut gathered = Gathered {
        svs: Vec::new(),
        findings: Findings::default(),
        ending: Ending::Clean,
    };
    for source in &args.evidence {
        let (own, evidence) = read(&source.path)?;
        gathered.add(source.name.as_ref().unwrap_or(&own), evidence)?;
    }
    for (name, logs) in by_name(args.logs())? {
        gathered.scan(name, &logs, common)?;
    }
    for given in &args.participant_db {
        let given = Database::parse(given)?;
        gathered.read_database(&given.name, &given.source)?;
    }
    Ok(gathered)
}

/// The logs of each SV, in the order of the SVs' first ones.
fn by_name<'a>(logs: impl Iterator<Item = &'a Named>) -> Result<Vec<(&'a str, Vec<&'a Named>)>> {
    let mut all: Vec<(&str, Vec<&Named>)> = Vec::new();
    let mut last = None;
    for log in logs {
        let name = log
            .name
            .as_deref()
            .or(last)
            .ok_or_else(|| Error::Usage(format!("whose log is {}? Give it as NAME={0}", log.path.shown())))?;
        last = Some(name);
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, logs)) => logs.push(log),
            None => all.push((name, vec![log])),
        }
    }
    Ok(all)
}

/// Reads an evidence file, never more of it than an evidence file can have.
fn read(path: &Path) -> Result<(String, Evidence)> {
    let source = File::open(path).map_err(Error::io("open", path))?;
    file::read(source).map_err(|why| match why {
        file::Fault::Unread(why) => Error::io("read", path)(why),
        why => Error::Unreadable(format!("could not use {}: {why}", path.shown())),
    })
}
