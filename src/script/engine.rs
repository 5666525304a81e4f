//! One call into one script: the interpreter, its limits, and what it exchanges with the node.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use rquickjs::{Array, CatchResultExt, CaughtError, Coerced, Context, Ctx, FromJs, Function, Module, Object, Value};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::access::Access;
use super::limits::Limits;
use super::natives::{self, Reach};
use super::serve::{Reply, Request};
use super::wire::{self, Answer, Call, Job, Message};
use super::{Failure, Validation, cut};

/// Native frames between the interpreter's own checks of the stack; generous, since it is reserved and not used.
const NATIVE_STACK_BYTES: usize = 8 << 20;
/// Processor time, in seconds, of a process that nobody ended: no script may take longer, whatever its limits.
const MOST_CPU_S: u64 = 700;
/// The stack of a process's thread: reserved, not used.
const MOST_STACK_BYTES: usize = (512 << 20) + NATIVE_STACK_BYTES;
/// A call logs no more lines than this.
const MAX_LOG_LINES: u32 = 1_000;

/// What a process does that was started to run a script: the whole of `main`.
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
    if let Ok(thread) = thread.spawn(move || work(&stream)) {
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

/// Reads one call, runs it, and says what came of it. An error means that nobody listens any more.
pub(super) fn work(stream: &UnixStream) {
    let Ok(job) = wire::receive::<Job>(stream, None) else {
        return;
    };
    let Ok(own) = stream.try_clone() else { return };
    let limits = job.limits;
    let host = Rc::new(Host {
        stream: own,
        access: job.access,
        clock: Rc::new(Clock {
            deadline: Cell::new(Instant::now() + limits.time),
            stopped: Cell::new(false),
        }),
        limits,
        lines: Cell::new(0),
    });
    let answer = execute(host, &job.source, &job.name, &job.call);
    let _ = wire::send(stream, &Message::Done(answer), None);
}

/// The script's end of the socket.
pub(super) struct Host {
    stream: UnixStream,
    pub(super) access: Access,
    pub(super) clock: Rc<Clock>,
    pub(super) limits: Limits,
    lines: Cell<u32>,
}

impl Host {
    /// Asks the node; `None` if it has given up. What the node does for an effect is not the script's time.
    pub(super) fn ask(&self, request: Request) -> Option<Reply> {
        let is_effect = matches!(request, Request::Effect(_));
        let asked = Instant::now();
        wire::send(&self.stream, &Message::Ask(request), None).ok()?;
        let reply = wire::receive(&self.stream, None).ok()?;
        if is_effect {
            self.clock.deadline.set(self.clock.deadline.get() + asked.elapsed());
        }
        Some(reply)
    }

    /// Writes a line to the node's log, if it takes another one.
    pub(super) fn log(&self, level: &str, line: &str) {
        if self.may_log() {
            let _ = wire::send(&self.stream, &Message::Log(level.to_owned(), line.to_owned()), None);
        }
    }

    /// Whether another line of the script's log is taken.
    fn may_log(&self) -> bool {
        self.lines.set(self.lines.get().saturating_add(1));
        self.lines.get() <= MAX_LOG_LINES
    }
}

/// When time is up, and whether a script was stopped for it.
pub(super) struct Clock {
    deadline: Cell<Instant>,
    stopped: Cell<bool>,
}

impl Clock {
    /// An interpreter with these limits, that stops when time is up.
    pub(super) fn runtime(self: &Rc<Self>, limits: Limits) -> rquickjs::Result<rquickjs::Runtime> {
        let runtime = rquickjs::Runtime::new()?;
        runtime.set_memory_limit(limits.heap_bytes);
        runtime.set_max_stack_size(limits.stack_bytes);
        let clock = Rc::clone(self);
        runtime.set_interrupt_handler(Some(Box::new(move || {
            let late = Instant::now() >= clock.deadline.get();
            clock.stopped.set(clock.stopped.get() || late);
            late
        })));
        Ok(runtime)
    }
}

/// The whole life of an interpreter.
fn execute(host: Rc<Host>, source: &str, name: &str, call: &Call) -> Result<Answer, Failure> {
    let started = |why: rquickjs::Error| Failure::new(format!("the interpreter could not be started: {why}"));
    let runtime = host.clock.runtime(host.limits).map_err(started)?;
    let context = Context::full(&runtime).map_err(started)?;
    let result = context.with(|ctx| {
        natives::install(&ctx, &host, Reach::Node).map_err(|why| failure(&ctx, why))?;
        let function = exported(&ctx, &host, source, name, call.function())?;
        answer(&ctx, &function, call).map_err(|why| failure(&ctx, why))
    });
    match (result, host.clock.stopped.get()) {
        (result, false) => result,
        (Ok(_), true) => Err(Failure::timed_out()),
        (Err(failure), true) => Err(Failure {
            reason: super::TOOK_TOO_LONG.to_owned(),
            ..failure
        }),
    }
}

/// Evaluates a module and takes a function out of it. As in CCF what the module throws at its top level does not count,
/// as long as the function is there: declarations are, before the first line is run.
pub(super) fn exported<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    source: &str,
    name: &str,
    function: &str,
) -> Result<Function<'js>, Failure> {
    let unusable = |what: &str, failure: Failure| Failure {
        reason: cut(format!("{what} {name}: {}", failure.reason)),
        unusable: true,
        ..failure
    };
    let module = Module::declare(ctx.clone(), name, source);
    let module = module.map_err(|why| unusable("Failed to compile", failure(ctx, why)))?;
    let (module, finished) = module
        .eval()
        .map_err(|why| unusable("Failed to execute", failure(ctx, why)))?;
    let thrown = finished.finish::<()>().map_err(|why| failure(ctx, why)).err();
    let export: rquickjs::Result<Value> = module.namespace().and_then(|exports| exports.get(function));
    let missing = |reason: String| Failure {
        unusable: true,
        ..Failure::new(reason)
    };
    let export = match export {
        Ok(export) => export,
        // A variable whose line was never reached.
        Err(why) => {
            let unset = failure(ctx, why);
            return Err(unusable("Failed to execute", thrown.unwrap_or(unset)));
        }
    };
    if export.is_undefined() {
        return Err(match thrown {
            Some(thrown) => unusable("Failed to execute", thrown),
            None => missing(format!("Failed to find export '{function}' in module '{name}'")),
        });
    }
    if let Some(thrown) = thrown {
        host.log("info", &super::thrown_line(name, &thrown));
    }
    export
        .into_function()
        .ok_or_else(|| missing(format!("Export '{function}' of module '{name}' is not a function")))
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

/// What was thrown, as text. Turning it into text may run more of the script, and fail.
pub(super) fn failure(ctx: &Ctx<'_>, why: rquickjs::Error) -> Failure {
    match Err::<(), _>(why).catch(ctx) {
        Ok(()) => Failure::new("nothing"),
        Err(CaughtError::Error(rquickjs::Error::WouldBlock)) => {
            Failure::new("the module awaits something that never happens")
        }
        Err(CaughtError::Error(why)) => Failure::new(why.to_string()),
        Err(CaughtError::Exception(exception)) => {
            let trace = exception.stack();
            let thrown = exception.into_object().into_value();
            Failure {
                trace: trace.map(cut),
                ..Failure::new(text_of(ctx, thrown))
            }
        }
        Err(CaughtError::Value(thrown)) => Failure::new(text_of(ctx, thrown)),
    }
}

fn text_of<'js>(ctx: &Ctx<'js>, thrown: Value<'js>) -> String {
    if thrown.is_null() || thrown.is_undefined() {
        return "nothing was thrown; the script may have run out of memory".to_owned();
    }
    match Coerced::<String>::from_js(ctx, thrown) {
        Ok(Coerced(text)) => text,
        Err(_) => {
            // What its conversion threw must not be taken for something that happens later.
            drop(ctx.catch());
            "something that can't be shown as text".to_owned()
        }
    }
}
