//! Whether a text is a constitution: what `ccf.gov.validateConstitution` checks.

use std::rc::Rc;

use rquickjs::Context;

use super::host::{Host, exported};
use super::natives::{self, Reach};

const NAME: &str = "proposed constitution";
/// Functions of a constitution, in CCF's order, with the parameters that they must have and those that they may have.
const FUNCTIONS: [(&str, &[&str], &[&str]); 3] = [
    ("apply", &["proposal", "proposerId"], &[]),
    ("resolve", &["proposal", "proposerId", "votes"], &["proposalId"]),
    ("validate", &["input"], &[]),
];

/// Evaluates `source` in an interpreter of its own, in what is left of the caller's time and with its limits, and looks
/// at what it exports. It finds the same objects as when it is in force, but nothing that it does there has an effect.
///
/// # Errors
/// What is wrong, in CCF's words.
pub(super) fn constitution(host: &Rc<Host>, source: &str) -> Result<(), String> {
    if source.is_empty() {
        return Err("constitution is empty".to_owned());
    }
    let started = |why: rquickjs::Error| format!("the interpreter could not be started: {why}");
    let runtime = host.clock.runtime(host.limits).map_err(started)?;
    for (function, required, optional) in FUNCTIONS {
        let context = Context::full(&runtime).map_err(started)?;
        let found = context.with(|ctx| {
            natives::install(&ctx, host, Reach::Nothing).map_err(|why| why.to_string())?;
            let function = exported(&ctx, host, source, NAME, function).map_err(|failure| failure.reason)?;
            function.get::<_, usize>("length").map_err(|why| why.to_string())
        });
        let found = found.map_err(|why| format!("{NAME} does not export a function named {function}: {why}"))?;
        let most = required.len() + optional.len();
        if found < required.len() || found > most {
            let names = required.join(", ");
            let expected = match optional {
                [] => format!("{} ({names})", arguments(required.len())),
                optional => format!(
                    "between {} and {most} args ({names}[, {}])",
                    required.len(),
                    optional.join(", ")
                ),
            };
            return Err(format!(
                "{NAME} exports function {function} with {}, expected {expected}",
                arguments(found)
            ));
        }
    }
    Ok(())
}

fn arguments(count: usize) -> String {
    format!("{count} {}", if count == 1 { "arg" } else { "args" })
}
