//! What the sources of the SVs say, read one after the other.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Args;
use crate::canton::agreement::Sv;
use crate::canton::evidence::{Evidence, file};
use crate::canton::finding::Ending;
use crate::canton::{Code, Finding, Findings};
use crate::cli::Common;
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

/// Reads all of them.
pub fn gather(args: &Args, _: &Common) -> Result<Gathered> {
    let mut gathered = Gathered {
        svs: Vec::new(),
        findings: Findings::default(),
        ending: Ending::Clean,
    };
    for source in &args.evidence {
        let (own, evidence) = read(&source.path)?;
        gathered.add(source.name.as_ref().unwrap_or(&own), evidence)?;
    }
    Ok(gathered)
}

/// Reads an evidence file, never more of it than an evidence file can have.
fn read(path: &Path) -> Result<(String, Evidence)> {
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(Error::io("open", path))?
        .take(file::LARGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    file::parse(&bytes).map_err(|why| Error::Unreadable(format!("could not use {}: {why}", path.shown())))
}
