//! What a plan is made of: steps, each with who does it, what it does, and the checks before and after it.

use serde::{Serialize, Serializer};

use crate::canton::Timestamp;

/// One piece of a command or of a text: known, or still to be agreed on or given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// As it stands.
    Known(String),
    /// What the option of this name will say: `timestamp` stands for the value of `--timestamp`.
    Open(&'static str),
    /// The time at which the step of this name began: known once it did.
    Began(&'static str),
}

impl Serialize for Word {
    /// A text, `{"open": "timestamp"}`, or `{"began": "scale-up"}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Word::Known(text) => serializer.serialize_str(text),
            Word::Open(option) => serializer.collect_map([("open", option)]),
            Word::Began(step) => serializer.collect_map([("began", step)]),
        }
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Word {
        Word::Known(text.to_owned())
    }
}

impl From<String> for Word {
    fn from(text: String) -> Word {
        Word::Known(text)
    }
}

/// Arguments of this program: `["canton", "fetch", …]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Invocation(pub Vec<Word>);

impl Invocation {
    /// `rekindle canton` and these words.
    pub fn canton(words: &[&str]) -> Invocation {
        let words = std::iter::once("canton").chain(words.iter().copied());
        Invocation(words.map(Word::from).collect())
    }

    /// With an argument more.
    pub fn arg(mut self, word: impl Into<Word>) -> Invocation {
        self.0.push(word.into());
        self
    }

    /// With an option and its value.
    pub fn option(self, name: &str, value: impl Into<Word>) -> Invocation {
        self.arg(name).arg(value)
    }

    /// With an option once for each value.
    pub fn each<W: Into<Word>>(self, name: &str, values: impl IntoIterator<Item = W>) -> Invocation {
        values
            .into_iter()
            .fold(self, |command, value| command.option(name, value))
    }

    /// With an option where there is a value.
    pub fn maybe(self, name: &str, value: Option<impl Into<Word>>) -> Invocation {
        match value {
            Some(value) => self.option(name, value),
            None => self,
        }
    }

    /// The same command without waiting: for looking whether something is so already.
    pub fn at_once(&self) -> Invocation {
        let wait = self.0.iter().position(|word| *word == Word::from("--wait"));
        let is_kept = |at: usize| wait.is_none_or(|wait| at != wait && at != wait + 1);
        let kept = self.0.iter().enumerate().filter(|(at, _)| is_kept(*at));
        Invocation(kept.map(|(_, word)| word.clone()).collect())
    }

    /// The arguments as texts; nothing where an option is still open, or a step has not begun. `began` tells when steps
    /// did.
    pub fn arguments(&self, began: impl Fn(&str) -> Option<Timestamp>) -> Option<Vec<String>> {
        let known = |word: &Word| match word {
            Word::Known(text) => Some(text.clone()),
            Word::Open(_) => None,
            Word::Began(step) => began(step).map(|at| at.to_string()),
        };
        self.0.iter().map(known).collect()
    }
}

/// The options that words still wait for, each once.
pub fn open(words: &[Word]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for word in words {
        if let Word::Open(name) = word
            && !names.contains(name)
        {
            names.push(*name);
        }
    }
    names
}

/// How it is found out whether something is so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// This command of ours ends with 0.
    Command(Invocation),
    /// This command of the operator's, run by `sh`, ends with 0.
    Shell(String),
    /// There is a file here, with something in it.
    File(Word),
}

/// Something that must be so before or after a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must be so, as a statement.
    pub says: &'static str,
    /// How that is found out.
    pub test: Test,
}

impl Check {
    /// That a command of ours ends with 0.
    pub fn command(says: &'static str, command: Invocation) -> Check {
        Check {
            says,
            test: Test::Command(command),
        }
    }

    /// That a file is there.
    pub fn file(says: &'static str, path: impl Into<Word>) -> Check {
        Check {
            says,
            test: Test::File(path.into()),
        }
    }

    /// The options that it waits for.
    pub fn open(&self) -> Vec<&'static str> {
        match &self.test {
            Test::Command(command) => open(&command.0),
            Test::File(path) => open(std::slice::from_ref(path)),
            Test::Shell(_) => Vec::new(),
        }
    }
}

/// Who does a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// This program.
    Rekindle,
    /// The operator, by a command or by hand.
    Operator,
    /// All SVs' operators together.
    Everybody,
}

/// A text to be put into a file or a terminal by a person: values of a chart, environment of a container, commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Where it goes.
    pub title: &'static str,
    /// `yaml` or `sh`.
    pub language: &'static str,
    /// Its pieces, one after the other.
    pub text: Vec<Word>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// A command of ours.
    Command(Invocation),
    /// The operator's own, which the plan can't know: run by `sh` where the option gave a command, else done by hand and
    /// confirmed.
    Operator {
        /// The option that gives the command.
        option: &'static str,
        /// What it gave.
        command: Option<String>,
    },
    /// Done by people, and confirmed by the operator.
    People,
}

/// A negative finding that a person may overrule, unless it is certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overruling {
    /// Whether to go on all the same.
    pub question: &'static str,
    /// Ends well where what was found is not certain: else nobody is asked. Without it later steps refuse what is.
    pub only_if: Option<Invocation>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name, unique in the plan.
    pub id: &'static str,
    /// What it does, in a few words.
    pub title: &'static str,
    /// What it does and why, in sentences.
    pub what: String,
    /// Who does it.
    pub by: By,
    /// What can't be had back after it, where there is such a thing: then the operator is asked first.
    pub destroys: Option<&'static str>,
    /// What a person may overrule where its command ends with 1, a negative finding.
    pub overruled: Option<Overruling>,
    /// What must be so before.
    pub before: Vec<Check>,
    /// What it does.
    pub doing: Doing,
    /// Texts that a person needs for it.
    pub blocks: Vec<Block>,
    /// What must be so afterwards; where it is so already, the step is done ([`Step::can_be_found`]).
    pub after: Vec<Check>,
}

/// The exit code by which the operator's own check says that what was begun still goes on: `EX_TEMPFAIL` of sysexits.
pub const GOES_ON: i32 = 75;

impl Step {
    /// A step that runs a command of ours.
    pub fn ours(id: &'static str, title: &'static str, what: impl Into<String>, command: Invocation) -> Step {
        Step::of(id, title, what, By::Rekindle, Doing::Command(command))
    }

    /// A step that is the operator's, by the command that this option gave.
    pub fn operators(
        id: &'static str,
        title: &'static str,
        what: impl Into<String>,
        option: &'static str,
        command: Option<&String>,
    ) -> Step {
        let command = command.cloned();
        Step::of(id, title, what, By::Operator, Doing::Operator { option, command })
    }

    /// A step that people do.
    pub fn people(id: &'static str, title: &'static str, what: impl Into<String>, by: By) -> Step {
        Step::of(id, title, what, by, Doing::People)
    }

    fn of(id: &'static str, title: &'static str, what: impl Into<String>, by: By, doing: Doing) -> Step {
        Step {
            id,
            title,
            what: what.into(),
            by,
            destroys: None,
            overruled: None,
            before: Vec::new(),
            doing,
            blocks: Vec::new(),
            after: Vec::new(),
        }
    }

    /// That can't be undone.
    pub fn destroys(mut self, what: &'static str) -> Step {
        self.destroys = Some(what);
        self
    }

    /// Whose negative finding a person may overrule; nothing is lost by it, and later steps refuse what is certainly wrong.
    pub fn overruled(mut self, question: &'static str) -> Step {
        let only_if = None;
        self.overruled = Some(Overruling { question, only_if });
        self
    }

    /// Whose negative finding a person may overrule, where this command ends well.
    pub fn overruled_if(mut self, question: &'static str, only_if: Invocation) -> Step {
        let only_if = Some(only_if);
        self.overruled = Some(Overruling { question, only_if });
        self
    }

    /// With something that must be so before.
    pub fn before(mut self, check: Check) -> Step {
        self.before.push(check);
        self
    }

    /// With something that must be so afterwards.
    pub fn after(mut self, check: Check) -> Step {
        self.after.push(check);
        self
    }

    /// With a text that a person needs.
    pub fn block(mut self, title: &'static str, language: &'static str, text: Vec<Word>) -> Step {
        self.blocks.push(Block { title, language, text });
        self
    }

    /// Whether it is done where all that must be so afterwards is so already; `is_begun` tells whether an earlier run began
    /// it.
    ///
    /// That there is a file does not show that this step wrote it: one of an earlier recovery may have its name, and the
    /// command finds that out. And what the operator's own check says counts only after the step was begun: before it, the
    /// databases that shall be replaced can look as well as those that replace them.
    pub fn can_be_found(&self, is_begun: bool) -> bool {
        let shows = |check: &Check| match check.test {
            Test::Command(_) => true,
            Test::Shell(_) => is_begun,
            Test::File(_) => false,
        };
        !self.after.is_empty() && self.after.iter().all(shows)
    }

    /// Whether people do it, and no command.
    pub fn is_by_hand(&self) -> bool {
        matches!(self.doing, Doing::People | Doing::Operator { command: None, .. })
    }

    /// The options that it waits for.
    pub fn open(&self) -> Vec<&'static str> {
        let mut names = match &self.doing {
            Doing::Command(command) => open(&command.0),
            Doing::Operator { .. } | Doing::People => Vec::new(),
        };
        let checks = self.before.iter().chain(&self.after).flat_map(Check::open);
        let blocks = self.blocks.iter().flat_map(|block| open(&block.text));
        for name in checks.chain(blocks) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}
