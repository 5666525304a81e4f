//! The node's end of a script: starts it, serves it from the transaction, and ends it when its time is over.
//!
//! A script runs in a process of its own, which has nothing of the node but a socket, and which is killed if it does not
//! stop: some built-in functions of the interpreter run for years and ask nobody. A program that has not said how
//! to start such a process ([`run_in_processes`]) runs scripts on threads, of which those that do not stop are few.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine;
use super::limits::Limits;
use super::serve::{Request, State};
use super::wire::{self, Answer, Call, Job, Message};
use super::{Failure, natives};
use crate::crypto::digest::{Digest, sha256_parts};

/// The argument that makes this program a runner of one script.
pub const ARGUMENT: &str = "run-governance-script";
/// From the start of the process to its first instruction of a script, and from the end of a script's time to its word
/// that it was stopped.
const GRACE: Duration = Duration::from_secs(1);
/// Scripts on threads that did not stop; beyond that no more are started.
const MOST_ABANDONED: usize = 4;
/// A call that had to be killed is not made again for this long: ballots are asked again with every new one.
const SHUNNED: Duration = Duration::from_secs(60);
const MOST_SHUNNED: usize = 1000;
/// Lines of one call that reach the log.
const MAX_LOG_LINES: u32 = 1_000;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
static ABANDONED: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());
static KILLED: Mutex<VecDeque<(Digest, Instant)>> = Mutex::new(VecDeque::new());

/// From now on scripts run in processes of `program`, which must call [`engine::main`] when its only argument is
/// [`ARGUMENT`].
pub fn run_in_processes(program: PathBuf) {
    // Said twice, the first counts: it is the same program.
    let _ = PROGRAM.set(program);
}

/// Runs a call, serving the script from `state` until it has answered or its time is over.
///
/// # Errors
/// What the script threw; that it took too long; or that it could not be started.
pub(super) fn run(
    mut state: State<'_, '_>,
    source: String,
    name: String,
    call: Call,
    limits: Limits,
) -> Result<Answer, Failure> {
    let (function, proposal) = (call.function(), call.proposal());
    let identity = sha256_parts(&[source.as_bytes(), &[0], function.as_bytes(), &[0], proposal.as_bytes()]);
    if is_shunned(&identity) {
        return Err(Failure::timed_out());
    }
    let access = state.access();
    let job = Job {
        source,
        name,
        call,
        limits,
        access,
    };
    let mut script = Script::start(limits).map_err(|why| Failure::new(format!("the script can't be run: {why}")))?;
    let outcome = converse(&script.stream, &mut state, &job);
    match outcome {
        Ok(answer) => {
            script.end(true);
            answer
        }
        Err(why) => {
            script.end(false);
            match why.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                    tracing::warn!(script = %job.name, "a governance script did not stop in its time: it was ended");
                    shun(identity);
                    Err(Failure::timed_out())
                }
                _ => Err(Failure::new(format!("the script ended without an answer: {why}"))),
            }
        }
    }
}

/// Sends the call, and answers what the script asks.
fn converse(stream: &UnixStream, state: &mut State<'_, '_>, job: &Job) -> io::Result<Result<Answer, Failure>> {
    let mut deadline = Instant::now() + job.limits.time + 2 * GRACE;
    wire::send(stream, job, Some(deadline))?;
    let mut lines = 0;
    loop {
        match wire::receive(stream, Some(deadline))? {
            Message::Done(answer) => return Ok(answer),
            Message::Log(level, line) => {
                lines += 1;
                if lines <= MAX_LOG_LINES {
                    natives::log(&level, &line);
                }
            }
            Message::Ask(request) => {
                // What the node does for an effect is not the script's time.
                let is_effect = matches!(request, Request::Effect(_));
                let asked = Instant::now();
                let reply = state.answer(request);
                if is_effect {
                    deadline += asked.elapsed();
                }
                wire::send(stream, &reply, Some(deadline))?;
            }
        }
    }
}

/// Where a script runs.
enum Place {
    Process(Child),
    Thread(JoinHandle<()>),
    Over,
}

struct Script {
    stream: UnixStream,
    place: Place,
}

impl Script {
    fn start(limits: Limits) -> io::Result<Script> {
        if let Some(program) = PROGRAM.get() {
            match Self::process(program) {
                Ok(script) => return Ok(script),
                // A container may forbid processes: a recovery must go on all the same.
                Err(why) => {
                    tracing::warn!("a script runs on a thread, because no process can be started for it: {why}")
                }
            }
        }
        Self::thread(limits)
    }

    fn process(program: &Path) -> io::Result<Script> {
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
        Ok(Script {
            stream,
            place: Place::Process(child),
        })
    }

    fn thread(limits: Limits) -> io::Result<Script> {
        let (stream, theirs) = UnixStream::pair()?;
        let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|thread| !thread.is_finished());
        if abandoned.len() >= MOST_ABANDONED {
            return Err(io::Error::other("too many scripts did not stop"));
        }
        let thread = engine::thread(limits).spawn(move || engine::work(&theirs))?;
        Ok(Script {
            stream,
            place: Place::Thread(thread),
        })
    }

    /// Ends it, by force unless it `answered`.
    fn end(&mut self, answered: bool) {
        match std::mem::replace(&mut self.place, Place::Over) {
            Place::Process(mut child) => {
                // Also after its answer: nothing that it does now is of use, and a process that is waited for must end.
                let _ = child.kill();
                let _ = child.wait();
            }
            Place::Thread(thread) if answered => drop(thread.join()),
            Place::Thread(thread) => {
                // What it asks from now on fails; it ends as soon as it runs JavaScript again.
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
                ABANDONED.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            }
            Place::Over => {}
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.end(false);
    }
}

fn is_shunned(identity: &Digest) -> bool {
    let mut killed = KILLED.lock().unwrap_or_else(PoisonError::into_inner);
    killed.retain(|(_, since)| since.elapsed() < SHUNNED);
    killed.iter().any(|(known, _)| known == identity)
}

fn shun(identity: Digest) {
    let mut killed = KILLED.lock().unwrap_or_else(PoisonError::into_inner);
    killed.push_back((identity, Instant::now()));
    if killed.len() > MOST_SHUNNED {
        killed.pop_front();
    }
}
