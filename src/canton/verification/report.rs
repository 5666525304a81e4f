//! What was looked at, one line a check.

use serde::Serialize;

use crate::canton::finding::Ending;
use crate::canton::{Code, Finding};
use crate::shown::excerpt;

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Good,
    /// Not so that a recovered SV could be called well; it may become so.
    NotYet,
    /// It does not become good by waiting.
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at: `replicas`, `ready`, `sequencer`, `cometbft`, `agreement`, `balance`.
    pub check: &'static str,
    /// Of what: a deployment, an address, a counterparty.
    pub of: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub says: String,
    /// What it means and what to do, where it is not good, or worth knowing.
    #[serde(skip)]
    pub finding: Option<Finding>,
}

impl Line {
    /// Something that is as it should be.
    pub fn good(check: &'static str, of: &str, says: impl AsRef<str>) -> Line {
        Line {
            check,
            of: excerpt(of),
            state: State::Good,
            says: excerpt(says.as_ref()),
            finding: None,
        }
    }

    /// Something that is not, or not yet.
    pub fn wrong(check: &'static str, of: &str, state: State, code: Code, says: impl AsRef<str>) -> Line {
        let finding = Finding::new(code, says.as_ref()).of(of);
        Line {
            state,
            finding: Some(finding),
            ..Line::good(check, of, says)
        }
    }

    /// Something that could not be found out, for this reason.
    pub fn because(check: &'static str, of: &str, finding: Finding) -> Line {
        Line {
            state: State::NotYet,
            says: finding.message.clone(),
            finding: Some(finding),
            ..Line::good(check, of, "")
        }
    }

    fn is_refusal(&self) -> bool {
        self.finding
            .as_ref()
            .is_some_and(|finding| finding.code == Code::NotAuthorised)
    }
}

/// All that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which it was looked at.
    pub checks: Vec<Line>,
}

impl Report {
    /// The worst of the checks; nothing where nothing was looked at.
    pub fn state(&self) -> Option<State> {
        self.checks.iter().map(|line| line.state).max()
    }

    /// Whether something was looked at, and all of it is good.
    pub fn is_good(&self) -> bool {
        self.state() == Some(State::Good)
    }

    /// What is not good.
    pub fn wrong(&self) -> impl Iterator<Item = &Line> {
        self.checks.iter().filter(|line| line.state != State::Good)
    }

    /// Whether something is wrong, and nothing of that becomes good by waiting.
    pub fn is_settled(&self) -> bool {
        let mut wrong = self.wrong().peekable();
        wrong.peek().is_some() && wrong.all(|line| line.state == State::Bad)
    }

    /// The findings, worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = crate::canton::Findings::default();
        findings.extend(self.checks.iter().filter_map(|line| line.finding.clone()));
        findings.finish()
    }

    /// How the command ends: refused where a server did not let us look.
    pub fn ending(&self) -> Ending {
        match () {
            () if self.is_good() => Ending::Clean,
            () if self.wrong().all(Line::is_refusal) && !self.checks.is_empty() => Ending::Refused,
            () => Ending::Negative,
        }
    }
}
