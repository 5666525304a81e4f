//! The time line of a rehearsal.

use std::time::Instant;

use serde::Serialize;

/// One line of the time line.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Seconds since the node was started.
    pub at_s: f64,
    /// What happened.
    pub what: String,
    /// Seconds it took, where that is the machine's time.
    pub took_s: Option<f64>,
}

/// What happens, told as it happens.
pub(super) struct Clock<'a> {
    began: Instant,
    pub(super) steps: Vec<Step>,
    tell: &'a dyn Fn(&str),
}

impl<'a> Clock<'a> {
    /// Begins now.
    pub(super) fn begin(tell: &'a dyn Fn(&str)) -> Clock<'a> {
        Clock {
            began: Instant::now(),
            steps: Vec::new(),
            tell,
        }
    }

    /// Seconds since then.
    pub(super) fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Something has happened, which has taken so many seconds of the machine's time.
    pub(super) fn step(&mut self, what: String, took_s: Option<f64>) {
        let at_s = self.now();
        let took = took_s.map_or(String::new(), |took| format!(" ({took:.3} s)"));
        (self.tell)(&format!("{at_s:9.3} s  {what}{took}"));
        self.steps.push(Step { at_s, what, took_s });
    }
}
