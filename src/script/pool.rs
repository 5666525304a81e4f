//! Processes that run scripts, started before they are needed.
//!
//! What one member wrote, a ballot or a proposal, meets a process that has run nothing before and runs nothing after: a
//! hole in the interpreter must not let one member's script answer for another's. The constitution in force decides
//! everything anyway: the process that ran it runs it again, each time in an interpreter of its own.
//!
//! One thread starts all processes and sees them end, because a process is killed when the thread that started it ends.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::crypto::Digest;

/// The argument that makes this program a runner of scripts.
pub const ARGUMENT: &str = "run-governance-script";
/// Processes that have run nothing yet.
const SPARES: usize = 2;
/// Processes that have run the constitution.
const MOST_KEPT: usize = 4;
/// A process is used again for no longer than this: its processor time is limited for all its calls together.
const MOST_AGE: Duration = Duration::from_secs(60);
/// How long a caller waits for a process to be started.
const PATIENCE: Duration = Duration::from_secs(5);

static POOL: OnceLock<Pool> = OnceLock::new();

/// From now on there is a pool, of processes of `program`.
pub(super) fn fill_from(program: PathBuf) {
    // Said twice, the first counts: it is the same program.
    let _ = POOL.set(Pool::new(program));
}

/// The pool, if this program has said how to start a process.
pub(super) fn pool() -> Option<&'static Pool> {
    POOL.get()
}

/// A process that waits for a call, or works on one.
pub(super) struct Process {
    child: Child,
    pub(super) stream: UnixStream,
    started: Instant,
}

impl Process {
    fn start(program: &Path) -> io::Result<Process> {
        let (stream, theirs) = UnixStream::pair()?;
        let child = Command::new(program)
            .arg0("rekindle")
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            // A signal to the node's group is the node's to handle.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Process {
            child,
            stream,
            started: Instant::now(),
        })
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also after its answer: nothing that it does then is of use, and what is waited for must end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) struct Pool {
    program: PathBuf,
    state: Mutex<Stock>,
    changed: Condvar,
}

#[derive(Default)]
struct Stock {
    has_keeper: bool,
    /// Callers that wait for a spare.
    waiting: usize,
    spares: VecDeque<Process>,
    /// By the digest of the constitution that they have run.
    kept: Vec<(Digest, Process)>,
    over: Vec<Process>,
    /// How often starting a process has failed, and why it did last.
    failures: u64,
    failure: Option<String>,
}

impl Pool {
    fn new(program: PathBuf) -> Pool {
        Pool {
            program,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// A process for a call: one that ran this constitution before, or one that has run nothing.
    ///
    /// # Errors
    /// If none can be started.
    pub(super) fn take(&'static self, constitution: Option<&Digest>) -> io::Result<Process> {
        let mut state = self.state();
        if let Some(process) = constitution.and_then(|digest| state.take_kept(digest)) {
            return Ok(process);
        }
        self.ensure_keeper(&mut state)?;
        let failures = state.failures;
        state.waiting += 1;
        self.changed.notify_all();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| {
                state.spares.is_empty() && state.failures == failures
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        // Another one is started meanwhile.
        self.changed.notify_all();
        while let Some(mut process) = state.spares.pop_front() {
            if process.is_alive() {
                return Ok(process);
            }
            state.over.push(process);
        }
        let why = state.failure.clone();
        Err(io::Error::other(why.unwrap_or_else(|| {
            format!("no process has started within {} s", PATIENCE.as_secs())
        })))
    }

    /// Takes a process back that has answered a call with this constitution, to be used again.
    pub(super) fn keep(&self, constitution: Digest, process: Process) {
        let mut state = self.state();
        // Another constitution is in force, or was asked about: one is enough.
        state.retire_kept(|(digest, _)| *digest == constitution);
        if state.kept.len() < MOST_KEPT && process.started.elapsed() < MOST_AGE {
            state.kept.push((constitution, process));
        } else {
            state.over.push(process);
        }
        self.changed.notify_all();
    }

    /// Ends a process, without waiting for its end.
    pub(super) fn discard(&self, process: Process) {
        self.state().over.push(process);
        self.changed.notify_all();
    }

    fn ensure_keeper(&'static self, state: &mut Stock) -> io::Result<()> {
        if !state.has_keeper {
            let thread = std::thread::Builder::new().name("script processes".to_owned());
            thread.spawn(move || self.supply())?;
            state.has_keeper = true;
        }
        Ok(())
    }

    /// What the thread does: starts what is needed, and waits for what has ended.
    fn supply(&self) -> ! {
        let mut state = self.state();
        loop {
            let over = std::mem::take(&mut state.over);
            let missing = state.spares.len() < SPARES.max(state.waiting) && state.is_wanted();
            if over.is_empty() && !missing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let started = missing.then(|| Process::start(&self.program));
            drop(over);
            state = self.state();
            match started {
                Some(Ok(process)) => {
                    state.failure = None;
                    state.spares.push_back(process);
                }
                Some(Err(why)) => {
                    state.failures += 1;
                    state.failure = Some(why.to_string());
                }
                None => continue,
            }
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, Stock> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    /// Whether starting a process is of use: after one that failed only for somebody who waits.
    fn is_wanted(&self) -> bool {
        self.waiting > 0 || self.failure.is_none()
    }

    fn take_kept(&mut self, constitution: &Digest) -> Option<Process> {
        self.retire_kept(|(_, process)| process.started.elapsed() < MOST_AGE);
        let position = self.kept.iter().position(|(digest, _)| digest == constitution)?;
        let (_, mut process) = self.kept.swap_remove(position);
        if process.is_alive() {
            return Some(process);
        }
        self.over.push(process);
        None
    }

    fn retire_kept(&mut self, stays: impl Fn(&(Digest, Process)) -> bool) {
        let (kept, over): (Vec<_>, Vec<_>) = self.kept.drain(..).partition(stays);
        self.kept = kept;
        self.over.extend(over.into_iter().map(|(_, process)| process));
    }
}
