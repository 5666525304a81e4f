//! One call into one script: an interpreter on a thread of its own, and the watch over it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rquickjs::{Array, CatchResultExt, CaughtError, Coerced, Context, Ctx, FromJs, Function, Module, Object, Value};

use super::access::Access;
use super::limits::Limits;
use super::natives::{self, Reach};
use super::serve::{Reply, Request, State};
use super::{Failure, Validation, cut};
use crate::crypto::digest::{Digest, sha256_parts};

/// Native frames between the interpreter's own checks of the stack; generous, since it is reserved and not used.
const NATIVE_STACK_BYTES: usize = 8 << 20;
/// How long after its time a script is waited for: some built-in functions don't ask whether they should stop.
const GRACE: Duration = Duration::from_secs(1);

/// A call logs no more lines than this.
const MAX_LOG_LINES: u32 = 1_000;

/// Calls that did not stop, with the threads that still run them. The same call is not run a second time beside itself:
/// ballots are asked again with every new one.
static ABANDONED: Mutex<Vec<(Digest, JoinHandle<()>)>> = Mutex::new(Vec::new());

/// Which function is called, with what.
pub(super) enum Call {
    /// None: the module of a ballot is loaded, no more.
    Load,
    Validate {
        proposal: String,
    },
    Vote {
        proposal: String,
        proposer_id: String,
    },
    Resolve {
        proposal: String,
        proposer_id: String,
        votes: BTreeMap<String, bool>,
        proposal_id: String,
    },
    Apply {
        proposal: String,
        proposal_id: String,
    },
}

/// What it answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Validation(Validation),
    Vote(bool),
    Decision(String),
    /// Nothing of use.
    Done,
}

/// From the script's thread to the caller's.
enum Message {
    Ask(Request),
    Done(Result<Answer, Failure>),
}

/// The script's end of the two channels.
pub(super) struct Host {
    ask: Sender<Message>,
    replies: Receiver<Reply>,
    pub(super) access: Access,
    pub(super) clock: Rc<Clock>,
    pub(super) limits: Limits,
    lines: Cell<u32>,
}

impl Host {
    /// Asks the caller's thread; `None` if it has given up. What the node does meanwhile is not the script's time.
    pub(super) fn ask(&self, request: Request) -> Option<Reply> {
        let is_effect = matches!(request, Request::Effect(_));
        let asked = Instant::now();
        self.ask.send(Message::Ask(request)).ok()?;
        let reply = self.replies.recv().ok()?;
        if is_effect {
            self.clock.deadline.set(self.clock.deadline.get() + asked.elapsed());
        }
        Some(reply)
    }

    /// Whether another line of the script's log is taken.
    pub(super) fn may_log(&self) -> bool {
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

/// Runs a call, serving the script from `state` until it has answered or its time is long over.
///
/// # Errors
/// What the script threw; that it took too long; or that no thread could be had for it.
pub(super) fn run(
    mut state: State<'_, '_>,
    source: String,
    name: String,
    call: Call,
    limits: Limits,
) -> Result<Answer, Failure> {
    let identity = sha256_parts(&[
        source.as_bytes(),
        &[0],
        call.function().as_bytes(),
        call.proposal().as_bytes(),
    ]);
    if abandoned().iter().any(|(running, _)| *running == identity) {
        return Err(Failure::timed_out());
    }
    let (to_caller, from_script) = mpsc::channel();
    let (to_script, from_caller) = mpsc::channel();
    let deadline = Instant::now() + limits.time;
    let access = state.access();
    let label = name.clone();
    let script = move || {
        let host = Host {
            ask: to_caller.clone(),
            replies: from_caller,
            access,
            clock: Rc::new(Clock {
                deadline: Cell::new(deadline),
                stopped: Cell::new(false),
            }),
            limits,
            lines: Cell::new(0),
        };
        // An error means that nobody listens any more.
        drop(to_caller.send(Message::Done(execute(Rc::new(host), &source, &name, &call))));
    };
    // Twice the limit: a constitution that checks another one runs it on top of its own stack.
    let thread = std::thread::Builder::new()
        .name("governance script".to_owned())
        .stack_size(2 * limits.stack_bytes + NATIVE_STACK_BYTES)
        .spawn(script)
        .map_err(|why| Failure::new(format!("no thread could be started for the script: {why}")))?;
    let mut give_up = deadline + GRACE;
    loop {
        match from_script.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
            Ok(Message::Done(answer)) => {
                drop(thread.join());
                return answer;
            }
            Ok(Message::Ask(request)) if Instant::now() < give_up => {
                let is_effect = matches!(request, Request::Effect(_));
                let asked = Instant::now();
                let reply = state.answer(request);
                if is_effect {
                    give_up += asked.elapsed();
                }
                if to_script.send(reply).is_err() {
                    return Err(Failure::new("the script's thread ended unexpectedly"));
                }
            }
            Ok(Message::Ask(_)) | Err(RecvTimeoutError::Timeout) => {
                // What it asks from now on fails; it ends as soon as it runs JavaScript again.
                tracing::warn!(script = %label, "a governance script did not stop in its time: its thread is abandoned");
                abandoned().push((identity, thread));
                return Err(Failure::timed_out());
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("the script's thread ended unexpectedly"));
            }
        }
    }
}

/// What was abandoned and still runs.
fn abandoned() -> MutexGuard<'static, Vec<(Digest, JoinHandle<()>)>> {
    let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
    abandoned.retain(|(_, thread)| !thread.is_finished());
    abandoned
}

/// The whole life of an interpreter.
fn execute(host: Rc<Host>, source: &str, name: &str, call: &Call) -> Result<Answer, Failure> {
    let started = |why: rquickjs::Error| Failure::new(format!("the interpreter could not be started: {why}"));
    let runtime = host.clock.runtime(host.limits).map_err(started)?;
    let context = Context::full(&runtime).map_err(started)?;
    let result = context.with(|ctx| {
        natives::install(&ctx, &host, Reach::Node).map_err(|why| failure(&ctx, why))?;
        let function = exported(&ctx, source, name, call.function())?;
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
        super::log_thrown(name, &thrown);
    }
    export
        .into_function()
        .ok_or_else(|| missing(format!("Export '{function}' of module '{name}' is not a function")))
}

impl Call {
    fn proposal(&self) -> &str {
        match self {
            Call::Load => "",
            Call::Validate { proposal }
            | Call::Vote { proposal, .. }
            | Call::Resolve { proposal, .. }
            | Call::Apply { proposal, .. } => proposal,
        }
    }

    fn function(&self) -> &'static str {
        match self {
            Call::Validate { .. } => "validate",
            Call::Load | Call::Vote { .. } => "vote",
            Call::Resolve { .. } => "resolve",
            Call::Apply { .. } => "apply",
        }
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
