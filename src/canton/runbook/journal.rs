//! What was done of a plan, so that an interrupted recovery goes on where it was (SPEC-CANTON 8.7).
//!
//! One JSON document a line, each on disk before the next thing happens:
//!
//! | line | meaning |
//! |---|---|
//! | `{"journal":"rekindle canton runbook","version":1}` | the first |
//! | `{"plan":{…},"digest":"…","at":"…"}` | what is carried out; again where options were given that were open before |
//! | `{"step":"…","state":"began","at":"…"}` | from here on the step may have done something |
//! | `{"step":"…","state":"failed","why":"…","at":"…"}` | its command or its check failed |
//! | `{"step":"…","state":"done","how":"ran"\|"found"\|"confirmed","at":"…"}` | it is not done again |
//!
//! A last line without its end was being written when the process died: it is cut off. Only one process may have a journal:
//! it is locked, and a command that outlives the process that started it keeps the lock.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Plan;
use crate::canton::Timestamp;
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, directory_of};
use crate::shown::{Show, excerpt};

const NAME: &str = "rekindle canton runbook";
const VERSION: u32 = 1;
/// A journal has a few lines a step; this is more than thousands of attempts leave.
const MOST_BYTES: u64 = 16 << 20;
/// Farther than any journal reaches, and not too far for any file system.
const BEHIND_THE_END: u64 = 1 << 40;

/// How a step came to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its command ran, and its checks hold.
    Ran,
    /// What must be so after it was so already.
    Found,
    /// The operator said so.
    Confirmed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    First {
        journal: String,
        version: u32,
    },
    Plan {
        plan: Value,
        digest: String,
        at: Timestamp,
    },
    Step {
        step: String,
        #[serde(flatten)]
        state: State,
        at: Timestamp,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    Began,
    Failed { why: String },
    Done { how: How },
}

/// What a journal says.
#[derive(Debug, Default)]
struct Told {
    plan: Option<Value>,
    began: BTreeMap<String, Timestamp>,
    done: BTreeMap<String, How>,
}

/// A journal, open and locked.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// The lock: an open file of its own, which commands inherit as their input. It stands behind the end, so that nothing
    /// can be read from it.
    lock: File,
    path: PathBuf,
    told: Told,
}

/// Why a journal is not this plan's.
#[derive(Debug)]
pub enum NotThis {
    /// It could not be read or written, or is no journal.
    Error(Error),
    /// It is of another plan; in words, where they differ.
    Changed(String),
}

impl From<Error> for NotThis {
    fn from(why: Error) -> NotThis {
        NotThis::Error(why)
    }
}

impl Journal {
    /// Opens or begins the journal of this plan.
    ///
    /// # Errors
    /// [`NotThis`].
    pub fn open(path: &Path, plan: &Plan, now: Timestamp) -> std::result::Result<Journal, NotThis> {
        let (mut file, lock) = open_locked(path)?;
        let (told, whole) = read(&mut file, path)?;
        file.set_len(whole).map_err(Error::io("cut", path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io("write", path))?;
        let mut journal = Journal {
            file,
            lock,
            path: path.to_owned(),
            told,
        };
        if whole == 0 {
            journal.write(&Line::First {
                journal: NAME.to_owned(),
                version: VERSION,
            })?;
            let directory = directory_of(path);
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(Error::io("sync", directory))?;
        }
        let essence = plan.essence();
        if let Some(before) = &journal.told.plan {
            if *before == essence {
                return Ok(journal);
            }
            if let Some(difference) = difference(before, &essence) {
                return Err(NotThis::Changed(difference));
            }
        }
        journal.write(&Line::Plan {
            plan: essence.clone(),
            digest: plan.digest(),
            at: now,
        })?;
        journal.told.plan = Some(essence);
        Ok(journal)
    }

    /// How a step was done, if it was.
    pub fn done(&self, step: &str) -> Option<How> {
        self.told.done.get(step).copied()
    }

    /// Whether a step was begun, and not done.
    pub fn is_begun(&self, step: &str) -> bool {
        self.told.began.contains_key(step) && !self.told.done.contains_key(step)
    }

    /// When a step began last, or was found done.
    pub fn began_at(&self, step: &str) -> Option<Timestamp> {
        self.told.began.get(step).copied()
    }

    /// Notes that a step begins.
    ///
    /// # Errors
    /// Whatever writing answers. Then nothing may be done.
    pub fn began(&mut self, step: &str) -> Result<()> {
        let at = self.write_step(step, State::Began)?;
        self.told.began.insert(step.to_owned(), at);
        Ok(())
    }

    /// Notes that a step failed.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn failed(&mut self, step: &str, why: &str) -> Result<()> {
        self.write_step(step, State::Failed { why: excerpt(why) }).map(drop)
    }

    /// Notes that a step is done.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn finished(&mut self, step: &str, how: How) -> Result<()> {
        let at = self.write_step(step, State::Done { how })?;
        self.told.began.entry(step.to_owned()).or_insert(at);
        self.told.done.insert(step.to_owned(), how);
        Ok(())
    }

    /// An input for commands, with nothing in it: as long as one has it, the journal is locked.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn lock(&self) -> Result<File> {
        self.lock.try_clone().map_err(Error::io("lock", &self.path))
    }

    fn write_step(&mut self, step: &str, state: State) -> Result<Timestamp> {
        let at = Timestamp::now();
        self.write(&Line::Step {
            step: step.to_owned(),
            state,
            at,
        })?;
        Ok(at)
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line).map_err(|why| Error::Unreadable(format!("the journal: {why}")))?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(Error::io("write", &self.path))
    }
}

fn open_locked(path: &Path) -> Result<(File, File)> {
    let opened = |write: bool| {
        let mut options = OpenOptions::new();
        options.read(true).write(write).create(write).mode(PRIVATE);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
    };
    let file = opened(true).map_err(Error::io("open", path))?;
    if !file.metadata().map_err(Error::io("look at", path))?.is_file() {
        return Err(Error::Usage(format!(
            "{} is no file; name one for the journal",
            path.shown()
        )));
    }
    let mut lock = opened(false).map_err(Error::io("open", path))?;
    lock.seek(SeekFrom::Start(BEHIND_THE_END))
        .map_err(Error::io("lock", path))?;
    match lock.try_lock() {
        Ok(()) => Ok((file, lock)),
        Err(TryLockError::WouldBlock) => Err(Error::Usage(format!(
            "{} is in use: another run goes on, or a command that an interrupted run started; wait for its end",
            path.shown()
        ))),
        Err(TryLockError::Error(why)) => Err(Error::io("lock", path)(why)),
    }
}

/// What a journal says, and how many of its bytes are whole lines.
fn read(file: &mut File, path: &Path) -> Result<(Told, u64)> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(no_journal(path, 0, "is too long"));
    }
    told_by(&bytes, path)
}

/// Reads a journal that is in memory: whether it is one. Nothing of it is carried out.
///
/// # Errors
/// Which line is none of a journal.
pub fn check(bytes: &[u8]) -> Result<()> {
    told_by(bytes, Path::new("journal")).map(drop)
}

fn told_by(bytes: &[u8], path: &Path) -> Result<(Told, u64)> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut told = Told::default();
    let lines = bytes
        .get(..whole)
        .unwrap_or_default()
        .split_inclusive(|byte| *byte == b'\n');
    for (i, line) in lines.enumerate() {
        let number = i + 1;
        let line: Line = serde_json::from_slice(line).map_err(|_| no_journal(path, number, "is none of a journal"))?;
        match line {
            Line::First { journal, version } if i == 0 && journal == NAME && version == VERSION => {}
            _ if i == 0 => return Err(no_journal(path, number, "does not begin this program's journal")),
            Line::First { .. } => return Err(no_journal(path, number, "begins a journal again")),
            Line::Plan { plan, .. } => told.plan = Some(plan),
            Line::Step { .. } if told.plan.is_none() => return Err(no_journal(path, number, "is a step of no plan")),
            Line::Step { step, state, at } => match state {
                State::Began => drop(told.began.insert(step, at)),
                State::Failed { .. } => {}
                State::Done { how } => {
                    told.began.entry(step.clone()).or_insert(at);
                    told.done.insert(step, how);
                }
            },
        }
    }
    // A first line that was cut off is a journal in which nothing was begun; anything else is somebody's file.
    if whole == 0
        && !bytes.is_empty()
        && !format!("{{\"journal\":\"{NAME}\",\"version\":{VERSION}}}")
            .as_bytes()
            .starts_with(bytes)
    {
        return Err(no_journal(path, 1, "does not begin this program's journal"));
    }
    Ok((told, whole as u64))
}

fn no_journal(path: &Path, line: usize, why: &str) -> Error {
    Error::Unreadable(format!(
        "{}, line {line} {why}; name another file for --journal, and look at this one",
        path.shown()
    ))
}

/// Where two plans differ, in words; nothing where the second only says what the first left open.
fn difference(before: &Value, now: &Value) -> Option<String> {
    let (was, is) = (before.get("kind"), now.get("kind"));
    if was != is {
        return Some(format!("it was begun as {}, and this is {}", told(was), told(is)));
    }
    let steps = |plan: &Value| plan.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
    let (were, are) = (steps(before), steps(now));
    for (was, is) in were.iter().zip(&are) {
        let name = told(was.get("id"));
        if was.get("id") != is.get("id") {
            return Some(format!("where {name} was, there is {}", told(is.get("id"))));
        }
        if let Some((was, is)) = differing(was, is) {
            return Some(format!(
                "step {name}: it had {}, and has {}",
                told(Some(was)),
                told(Some(is))
            ));
        }
    }
    match were.len().cmp(&are.len()) {
        std::cmp::Ordering::Equal => None,
        _ => Some(format!("it had {} steps, and has {}", were.len(), are.len())),
    }
}

fn told(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => excerpt(text),
        Some(other) => excerpt(&other.to_string()),
        None => "nothing".to_owned(),
    }
}

/// The first values at which two documents differ, but for what was open in the first.
fn differing<'a>(before: &'a Value, now: &'a Value) -> Option<(&'a Value, &'a Value)> {
    match (before, now) {
        (Value::Object(was), _) if was.len() == 1 && was.contains_key("open") => None,
        (Value::Object(was), Value::Object(is)) if was.len() == is.len() && was.keys().eq(is.keys()) => {
            was.iter().zip(is).find_map(|((_, was), (_, is))| differing(was, is))
        }
        (Value::Array(was), Value::Array(is)) if was.len() == is.len() => {
            was.iter().zip(is).find_map(|(was, is)| differing(was, is))
        }
        _ if before == now => None,
        _ => Some((before, now)),
    }
}
