//! The node's end of a script: starts it, serves it from the transaction, and ends it when its time is over.
//!
//! A script runs in a process (`pool`), which has nothing of the node but a socket, and which is killed if it does not
//! stop: some built-in functions of the interpreter run for years and ask nobody. A program that has not said how
//! to start such a process ([`run_in_processes`]) runs scripts on threads, of which those that do not stop are few.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine;
use super::limits::Limits;
use super::pool::{self, Pool, Process};
use super::serve::{Request, Served};
use super::wire::{self, Answer, Call, Job, Message};
use super::{Failure, natives};
use crate::crypto::digest::{Digest, sha256, sha256_parts};

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

static ABANDONED: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());
static KILLED: Mutex<VecDeque<(Digest, Instant)>> = Mutex::new(VecDeque::new());

/// From now on scripts run in processes of `program`, which must call [`engine::main`] when its only argument is
/// [`ARGUMENT`](super::ARGUMENT).
pub fn run_in_processes(program: PathBuf) {
    pool::fill_from(program);
}

/// Runs a call, serving the script from `state` until it has answered or its time is over.
///
/// # Errors
/// What the script threw; that it took too long; or that it could not be started.
pub(super) fn run(
    mut state: Served<'_, '_>,
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
    // Only these run nothing but the constitution: validating a proposal looks at the scripts in it.
    let constitution = matches!(job.call, Call::Resolve { .. } | Call::Apply { .. });
    let constitution = constitution.then(|| sha256(job.source.as_bytes()));
    let script = Script::start(limits, constitution.as_ref());
    let script = script.map_err(|why| Failure::new(format!("the script can't be run: {why}")))?;
    match converse(script.stream(), &mut state, &job) {
        Ok(answer) => {
            script.end(constitution);
            answer
        }
        Err(why) => {
            drop(script);
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
fn converse(stream: &UnixStream, state: &mut Served<'_, '_>, job: &Job) -> io::Result<Result<Answer, Failure>> {
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

/// Where a script runs. Dropped before its end, it is ended by force.
enum Script {
    Process(&'static Pool, Process),
    Thread(Thread),
}

impl Script {
    /// A place for a call: for one of this constitution, perhaps one that ran it before.
    fn start(limits: Limits, constitution: Option<&Digest>) -> io::Result<Script> {
        if let Some(pool) = pool::pool() {
            match pool.take(constitution) {
                Ok(process) => return Ok(Script::Process(pool, process)),
                // A container may forbid processes: a recovery must go on all the same.
                Err(why) => {
                    tracing::warn!("a script runs on a thread, because no process can be started for it: {why}")
                }
            }
        }
        Thread::start(limits).map(Script::Thread)
    }

    fn stream(&self) -> &UnixStream {
        match self {
            Script::Process(_, process) => &process.stream,
            Script::Thread(thread) => &thread.stream,
        }
    }

    /// Ends it after its answer. A process that ran this constitution alone will do so again.
    fn end(self, constitution: Option<Digest>) {
        match (self, constitution) {
            (Script::Process(pool, process), Some(constitution)) => pool.keep(constitution, process),
            (Script::Process(pool, process), None) => pool.discard(process),
            (Script::Thread(thread), _) => thread.join(),
        }
    }
}

/// A thread that runs one script.
struct Thread {
    stream: UnixStream,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(limits: Limits) -> io::Result<Thread> {
        let (stream, theirs) = UnixStream::pair()?;
        let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|thread| !thread.is_finished());
        if abandoned.len() >= MOST_ABANDONED {
            return Err(io::Error::other("too many scripts did not stop"));
        }
        let handle = engine::thread(limits).spawn(move || {
            let _ = engine::work(&theirs);
        })?;
        Ok(Thread {
            stream,
            handle: Some(handle),
        })
    }

    /// After its answer, which is the last thing that it does.
    fn join(mut self) {
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            // What it asks from now on fails; it ends as soon as it runs JavaScript again.
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
            ABANDONED.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        }
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
