//! Whether a text is a constitution: what `ccf.gov.validateConstitution` checks.

use std::rc::Rc;

use rquickjs::Context;

use super::engine::{Host, exported};

const NAME: &str = "proposed constitution";
/// Functions of a constitution, with their parameters; of `resolve` the last may be left out.
const FUNCTIONS: [(&str, &[&str], usize); 3] = [
    ("validate", &["input"], 1),
    ("resolve", &["proposal", "proposerId", "votes", "proposalId"], 3),
    ("apply", &["proposal", "proposalId"], 2),
];

/// Evaluates `source` in an interpreter of its own, in what is left of the caller's time and with its limits, and looks
/// at what it exports.
///
/// # Errors
/// What is wrong, in one sentence.
pub(super) fn constitution(host: &Rc<Host>, source: &str) -> Result<(), String> {
    if source.is_empty() {
        return Err("constitution is empty".to_owned());
    }
    let started = |why: rquickjs::Error| format!("the interpreter could not be started: {why}");
    let runtime = host.clock.runtime(host.limits).map_err(started)?;
    for (function, parameters, least) in FUNCTIONS {
        let context = Context::full(&runtime).map_err(started)?;
        let found = context.with(|ctx| {
            let function = exported(&ctx, source, NAME, function).map_err(|failure| failure.reason)?;
            function.get::<_, usize>("length").map_err(|why| why.to_string())
        });
        let found = found.map_err(|why| format!("{NAME} does not export a function named {function}: {why}"))?;
        if found < least || found > parameters.len() {
            let expected = match least == parameters.len() {
                true => least.to_string(),
                false => format!("{least} or {}", parameters.len()),
            };
            return Err(format!(
                "{NAME} exports a function {function} of {found} parameters, expected {expected}: {}",
                parameters.join(", ")
            ));
        }
    }
    Ok(())
}
