//! One call into one script: the interpreter, its limits, and what it exchanges with the node.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use rquickjs::{Array, Coerced, Context, Ctx, FromJs, Function, Object, Value};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::check;
use super::host::{Host, exported, failure};
use super::limits::Limits;
use super::natives::{self, Reach};
use super::wire::{self, Answer, Call, Job, Message};
use super::{Failure, Validation, cut};

/// Native frames between the interpreter's own checks of the stack; generous, since it is reserved and not used.
const NATIVE_STACK_BYTES: usize = 8 << 20;
/// Processor time, in seconds, of a process that nobody ended: no script may take longer, whatever its limits.
const MOST_CPU_S: u64 = 700;
/// The stack of a process's thread: reserved, not used.
const MOST_STACK_BYTES: usize = (512 << 20) + NATIVE_STACK_BYTES;
/// What a process does that was started to run scripts: the whole of `main`.
pub fn main() {
    // Nothing is lost with it: if it can't be limited, the node still ends it in time.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let _ = setrlimit(Resource::Core, limit(0));
    let _ = setrlimit(Resource::Cpu, limit(MOST_CPU_S));
    let Ok(stream) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    let stream = UnixStream::from(stream);
    // The stack of the main thread is whatever the operator's shell made it.
    let thread = std::thread::Builder::new().stack_size(MOST_STACK_BYTES);
    if let Ok(thread) = thread.spawn(move || while work(&stream).is_some() {}) {
        let _ = thread.join();
    }
}

fn limit(most: u64) -> Rlimit {
    Rlimit {
        current: Some(most),
        maximum: Some(most),
    }
}

/// How many times its limit a script's stack is reserved: a constitution that checks another one runs it on top of its own,
/// and some recursion of the interpreter, over values that it has made, asks for no limit.
const STACK_FACTOR: usize = 8;

/// A thread that a script with these limits can run on.
pub(super) fn thread(limits: Limits) -> std::thread::Builder {
    let thread = std::thread::Builder::new().name("governance script".to_owned());
    thread.stack_size(STACK_FACTOR * limits.stack_bytes + NATIVE_STACK_BYTES)
}

/// Reads one call, runs it, and says what came of it. `None` means that nobody listens any more.
pub(super) fn work(stream: &UnixStream) -> Option<()> {
    let job = wire::receive::<Job>(stream, None).ok()?;
    let own = stream.try_clone().ok()?;
    let limits = job.limits;
    let host = Rc::new(Host::new(own, job.access, limits));
    let answer = execute(host, &job.source, &job.name, &job.call);
    wire::send(stream, &Message::Done(answer), None).ok()
}

/// The whole life of an interpreter.
fn execute(host: Rc<Host>, source: &str, name: &str, call: &Call) -> Result<Answer, Failure> {
    let started = |why: rquickjs::Error| Failure::new(format!("the interpreter could not be started: {why}"));
    let runtime = host.clock.runtime(host.limits).map_err(started)?;
    let context = Context::full(&runtime).map_err(started)?;
    let result = context.with(|ctx| {
        natives::install(&ctx, &host, Reach::Node(check::constitution)).map_err(|why| failure(&ctx, why))?;
        let function = exported(&ctx, &host, source, name, call.function())?;
        answer(&ctx, &function, call).map_err(|why| failure(&ctx, why))
    });
    match (result, host.clock.has_stopped()) {
        (result, false) => result,
        (Ok(_), true) => Err(Failure::timed_out()),
        (Err(failure), true) => Err(Failure {
            reason: super::TOOK_TOO_LONG.to_owned(),
            ..failure
        }),
    }
}

fn answer<'js>(ctx: &Ctx<'js>, function: &Function<'js>, call: &Call) -> rquickjs::Result<Answer> {
    match call {
        Call::Load => Ok(Answer::Done),
        Call::Validate { proposal } => {
            let Some(object) = function.call::<_, Value>((proposal,))?.into_object() else {
                return Ok(Answer::Done);
            };
            let description: Value = object.get("description")?;
            let description = match description.as_string() {
                Some(text) => cut(text.to_string()?),
                None => String::new(),
            };
            let valid = object.get::<_, Value>("valid")?.as_bool() == Some(true);
            Ok(Answer::Validation(Validation { valid, description }))
        }
        Call::Vote { proposal, proposer_id } => {
            let vote: Value = function.call((proposal, proposer_id))?;
            Ok(Answer::Vote(vote.as_bool() == Some(true)))
        }
        Call::Resolve {
            proposal,
            proposer_id,
            votes,
            proposal_id,
        } => {
            let list = Array::new(ctx.clone())?;
            for (index, (member_id, vote)) in votes.iter().enumerate() {
                let entry = Object::new(ctx.clone())?;
                entry.set("member_id", member_id)?;
                entry.set("vote", *vote)?;
                list.set(index, entry)?;
            }
            let decision: Value = function.call((proposal, proposer_id, list, proposal_id))?;
            let Coerced(decision) = Coerced::<String>::from_js(ctx, decision)?;
            Ok(Answer::Decision(cut(decision)))
        }
        Call::Apply { proposal, proposal_id } => {
            function.call::<_, Value>((proposal, proposal_id))?;
            Ok(Answer::Done)
        }
    }
}
