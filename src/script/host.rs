//! What a script has of the node: the end of a socket, a clock, and modules to run in an interpreter.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use rquickjs::{CatchResultExt, CaughtError, Coerced, Ctx, FromJs, Function, Module, Value};

use super::access::Access;
use super::limits::Limits;
use super::serve::{Reply, Request};
use super::wire::{self, Message};
use super::{Failure, cut};

/// A call logs no more lines than this.
const MAX_LOG_LINES: u32 = 1_000;

/// The script's end of the socket.
pub(super) struct Host {
    stream: UnixStream,
    pub(super) access: Access,
    pub(super) clock: Rc<Clock>,
    pub(super) limits: Limits,
    lines: Cell<u32>,
}

impl Host {
    /// For a call with these limits, whose time begins now.
    pub(super) fn new(stream: UnixStream, access: Access, limits: Limits) -> Host {
        Host {
            stream,
            access,
            clock: Rc::new(Clock {
                deadline: Cell::new(Instant::now() + limits.time),
                stopped: Cell::new(false),
            }),
            limits,
            lines: Cell::new(0),
        }
    }

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
    /// Whether a script was stopped because time was up.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.get()
    }

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
