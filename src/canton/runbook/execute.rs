//! A plan is carried out, step by step, with a journal.
//!
//! For each step that is not done yet: where all that must be so afterwards is seen to be so already, it is done. Else what must be so
//! before is checked, the operator is asked where something can't be undone, the journal says that the step begins, it is
//! done, and what must be so afterwards is checked. The first thing that does not go well ends the run; the next run goes on
//! from there. So a kill at any point loses nothing: a step that may have been half done is looked at first, and then done
//! again, which every command of this program allows.

use std::collections::BTreeSet;
use std::fs::File;

use super::journal::{How, Journal};
use super::plan::Plan;
use super::step::{Check, Doing, GOES_ON, Invocation, Overruling, Step, Test, Word};
use crate::canton::finding::Ending;
use crate::canton::{Code, Finding};
use crate::error::Result;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(
    /// Its exit code; nothing where a signal ended it.
    pub Option<i32>,
);

impl Ended {
    fn is_well(self) -> bool {
        self.0 == Some(0)
    }

    fn words(self) -> String {
        match self.0 {
            Some(code) => format!("ended with exit code {code}"),
            None => "was ended by a signal".to_owned(),
        }
    }
}

/// What the operator answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Yes,
    /// Don't.
    No,
    /// There is nobody to ask.
    Nobody,
}

/// What carries a plan out: processes, files, the operator. `lock` becomes the commands' input ([`Journal::lock`]).
pub trait Hands {
    /// Runs this program with these arguments.
    ///
    /// # Errors
    /// It can't be started.
    fn rekindle(&mut self, arguments: &[String], lock: File) -> Result<Ended>;

    /// Runs a command of the operator's by `sh`.
    ///
    /// # Errors
    /// It can't be started.
    fn shell(&mut self, command: &str, lock: File) -> Result<Ended>;

    /// Whether there is a file with something in it.
    fn has_file(&mut self, path: &str) -> bool;

    /// Asks the operator.
    fn ask(&mut self, question: &str) -> Answer;

    /// Tells the operator what happens.
    fn say(&mut self, text: &str);
}

/// Where a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// How many steps are done.
    pub done: usize,
    /// What ended it, where it is not all of the plan.
    pub stopped: Option<Finding>,
}

impl Outcome {
    /// How the command ends: clean, or partial, because the same command goes on from there.
    pub fn ending(&self) -> Ending {
        match self.stopped {
            None => Ending::Clean,
            Some(_) => Ending::Partial,
        }
    }
}

/// Carries the plan out, from where the journal says. `agreed` are the steps that need not be asked about.
///
/// # Errors
/// The journal can't be written, or a command can't be started.
pub fn execute(
    plan: &Plan,
    journal: &mut Journal,
    agreed: &BTreeSet<String>,
    hands: &mut dyn Hands,
) -> Result<Outcome> {
    let count = plan.steps.len();
    for (done, step) in plan.steps.iter().enumerate() {
        hands.say(&format!("[{}/{count}] {}", done + 1, step.title));
        if let Some(how) = journal.done(step.id) {
            hands.say(&format!("  done before ({})", how_words(how)));
            continue;
        }
        let mut run = Run {
            step,
            journal: &mut *journal,
            is_agreed: agreed.contains(step.id),
            hands: &mut *hands,
        };
        if let Some(stopped) = run.step()? {
            let stopped = Some(stopped.of(step.id));
            return Ok(Outcome { done, stopped });
        }
    }
    Ok(Outcome {
        done: count,
        stopped: None,
    })
}

fn how_words(how: How) -> &'static str {
    match how {
        How::Ran => "carried out",
        How::Found => "found to be so",
        How::Confirmed => "confirmed",
    }
}

struct Run<'a> {
    step: &'a Step,
    journal: &'a mut Journal,
    is_agreed: bool,
    hands: &'a mut dyn Hands,
}

impl Run<'_> {
    /// Does the step, or answers why not.
    fn step(&mut self) -> Result<Option<Finding>> {
        let step = self.step;
        let open = step.open();
        if !open.is_empty() {
            let options: Vec<String> = open.iter().map(|option| format!("--{option}")).collect();
            let message = format!("the step needs {}", options.join(", "));
            return Ok(Some(Finding::new(Code::ValueMissing, message)));
        }
        if step.can_be_found(self.journal.is_begun(step.id)) {
            match self.failing(&step.after, false)? {
                None => {
                    self.hands.say("  it is so already");
                    self.journal.finished(step.id, How::Found)?;
                    return Ok(None);
                }
                // To begin a second time what still goes on could destroy it.
                Some(failing) if failing.goes_on => return Ok(Some(failing.finding("after"))),
                Some(_) => {}
            }
        }
        if let Some(failing) = self.failing(&step.before, true)? {
            return Ok(Some(failing.finding("before")));
        }
        self.hands.say(&format!("  {}", step.what));
        // It was agreed to then. Whether it was done since only people know, who must not be led to do it twice.
        let was_ordered = self.journal.is_begun(step.id) && step.is_by_hand();
        if was_ordered {
            self.hands.say(
                "  an earlier run came to this step and heard no yes: see whether it was done, before it is done again",
            );
        } else if self.journal.is_begun(step.id) {
            self.hands
                .say("  an earlier run began this step and did not see its end; it is done again");
        }
        for block in &step.blocks {
            self.hands.say(&format!("  {}:", block.title));
            let known = |word: &Word| match word {
                Word::Known(text) => text.clone(),
                Word::Open(_) | Word::Began(_) => String::new(),
            };
            self.hands.say(&block.text.iter().map(known).collect::<String>());
        }
        if let Some(what) = step.destroys
            && !was_ordered
            && let Some(stopped) = self.agree(&format!("{what}. Do it?"))
        {
            return Ok(Some(stopped));
        }
        self.journal.began(step.id)?;
        let (how, stopped) = self.doing()?;
        if let Some(stopped) = stopped {
            self.journal.failed(step.id, &stopped.message)?;
            return Ok(Some(stopped));
        }
        if let Some(failing) = self.failing(&step.after, true)? {
            let stopped = failing.finding("after");
            self.journal.failed(step.id, &stopped.message)?;
            return Ok(Some(stopped));
        }
        self.journal.finished(step.id, how)?;
        Ok(None)
    }

    fn doing(&mut self) -> Result<(How, Option<Finding>)> {
        let lock = self.journal.lock()?;
        let (what, ended) = match &self.step.doing {
            Doing::Command(command) => {
                let Some(arguments) = self.arguments(command) else {
                    return Ok((
                        How::Ran,
                        Some(Finding::new(Code::StepFailed, "the step before it has not begun")),
                    ));
                };
                ("the command", self.hands.rekindle(&arguments, lock)?)
            }
            Doing::Operator {
                command: Some(command), ..
            } => ("the operator's command", self.hands.shell(command, lock)?),
            Doing::Operator { option, command: None } => {
                drop(lock);
                let question = format!("This is yours to do (or give --{option}). Is it done?");
                return Ok((How::Confirmed, self.agree(&question)));
            }
            Doing::People => {
                drop(lock);
                return Ok((How::Confirmed, self.agree(&format!("{}: is it done?", self.step.title))));
            }
        };
        if let (Some(overruling), Some(1)) = (&self.step.overruled, ended.0) {
            return Ok((How::Confirmed, self.overruled(overruling)?));
        }
        let failed = (!ended.is_well()).then(|| Finding::new(Code::StepFailed, format!("{what} {}", ended.words())));
        Ok((How::Ran, failed))
    }

    /// Asks whether to go on in spite of a negative finding, unless it is certain: then nobody is asked, nor was asked before.
    fn overruled(&mut self, overruling: &Overruling) -> Result<Option<Finding>> {
        let may_be = match &overruling.only_if {
            None => true,
            Some(command) => match self.arguments(command) {
                Some(arguments) => self.hands.rekindle(&arguments, self.journal.lock()?)?.is_well(),
                None => false,
            },
        };
        Ok(match may_be {
            true => self.agree(overruling.question),
            false => Some(Finding::new(
                Code::StepFailed,
                "what the command found is certain, and is nobody's to overrule",
            )),
        })
    }

    fn arguments(&self, command: &Invocation) -> Option<Vec<String>> {
        command.arguments(|step| self.journal.began_at(step))
    }

    fn agree(&mut self, question: &str) -> Option<Finding> {
        if self.is_agreed {
            return None;
        }
        let said = match self.hands.ask(question) {
            Answer::Yes => return None,
            Answer::No => "the operator did not agree",
            Answer::Nobody => "nobody can be asked here",
        };
        let next = format!(
            "run the same command again when it may be done, with --yes {} where nobody can be asked",
            self.step.id
        );
        Some(Finding::new(Code::NotAgreed, format!("{said}: {question}")).next(next))
    }

    /// The first of these that does not hold.
    fn failing<'c>(&mut self, checks: &'c [Check], waits: bool) -> Result<Option<Failing<'c>>> {
        for check in checks {
            let mut goes_on = false;
            let holds = match &check.test {
                Test::Command(command) => {
                    match self.arguments(&if waits { command.clone() } else { command.at_once() }) {
                        Some(arguments) => self.hands.rekindle(&arguments, self.journal.lock()?)?.is_well(),
                        None => false,
                    }
                }
                Test::Shell(command) => {
                    let ended = self.hands.shell(command, self.journal.lock()?)?;
                    goes_on = ended.0 == Some(GOES_ON);
                    ended.is_well()
                }
                Test::File(Word::Known(path)) => self.hands.has_file(path),
                Test::File(Word::Open(_) | Word::Began(_)) => false,
            };
            if !holds {
                return Ok(Some(Failing { check, goes_on }));
            }
        }
        Ok(None)
    }
}

/// A check that does not hold.
struct Failing<'c> {
    check: &'c Check,
    /// Whether that is because what was begun has not ended yet.
    goes_on: bool,
}

impl Failing<'_> {
    fn finding(&self, when: &str) -> Finding {
        let says = self.check.says;
        match self.goes_on {
            true => Finding::new(
                Code::GoesOn,
                format!("{when}: it is not so yet that {says}; it still goes on"),
            ),
            false => Finding::new(Code::CheckFailed, format!("{when}: it is not so that {says}")),
        }
    }
}
