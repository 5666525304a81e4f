//! What is wrong with a configuration, where, and what it should be; in CCF's frames (recovery specification,
//! section 1.1).

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::shown::{Show, line};

/// Where in the document a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(String),
    Index(usize),
}

/// Characters of one name in a path: names come from the file.
const SHOWN_NAME_CHARS: usize = 60;

impl FieldPath {
    /// The whole document.
    pub fn root() -> Self {
        FieldPath::default()
    }

    /// A field of the object that stands here.
    pub fn field(&self, name: &str) -> Self {
        let shown = name
            .chars()
            .take(SHOWN_NAME_CHARS)
            .map(|c| if c.is_control() { '\u{fffd}' } else { c });
        self.with(Step::Name(shown.collect()))
    }

    /// An item of the array that stands here.
    pub fn item(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// From names with dots between them, as [`FieldPath`] prints them; without items of arrays.
    pub fn dotted(text: &str) -> Self {
        text.split('.').fold(FieldPath::root(), |path, name| path.field(name))
    }

    /// The object or array that this stands in; the root stands in itself.
    pub fn parent(&self) -> Self {
        let mut steps = self.0.clone();
        steps.pop();
        FieldPath(steps)
    }

    /// The path as CCF's validator prints it: `<root>[network][rpc_interfaces]`.
    pub fn context(&self) -> String {
        let mut text = "<root>".to_owned();
        for step in &self.0 {
            match step {
                Step::Name(name) => text.push_str(&format!("[{}]", line(name))),
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    /// Whether the names are those of `pattern`, where `*` is any name and `[]` any item of an array.
    pub(super) fn matches(&self, pattern: &str) -> bool {
        let wanted: Vec<&str> = pattern.split('.').collect();
        wanted.len() == self.0.len()
            && self.0.iter().zip(wanted).all(|(step, wanted)| match step {
                Step::Name(name) => wanted == "*" || wanted == name,
                Step::Index(_) => wanted == "[]",
            })
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        FieldPath(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the document");
        }
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) => write!(f, "{}{}", if i == 0 { "" } else { "." }, line(name))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where. An unknown or missing field is named itself.
    pub path: FieldPath,
    /// What.
    pub fault: Fault,
}

/// What can be wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text is not JSON.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1; 0 at the end of a line.
        column: usize,
        /// What the parser says, with the place.
        message: String,
    },
    /// An object has the same key twice.
    Duplicate,
    /// The schema has no such field here.
    Unknown {
        /// The nearest known name; a whole path where it belongs into another section.
        suggestion: Option<String>,
        /// All names that are known in this object.
        known: Vec<&'static str>,
    },
    /// A field that must be there is not.
    Missing {
        /// What it should be.
        expected: String,
    },
    /// A value of the wrong type, form or range.
    Wrong {
        /// The value as JSON, shortened.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The value is well formed, but does not fit another value or the machine; the sentence says what to do.
    Unfit {
        /// What is wrong and what to do.
        message: String,
    },
    /// There were more problems than are listed.
    More {
        /// How many more.
        count: usize,
    },
}

impl Problem {
    /// What is wrong, without the place; on one line, whatever the file or a name holds.
    pub fn message(&self) -> String {
        line(&self.words()).into_owned()
    }

    fn words(&self) -> String {
        let name = || match self.path.0.last() {
            Some(Step::Name(name)) => name.clone(),
            _ => self.path.to_string(),
        };
        match &self.fault {
            Fault::Syntax { message, .. } | Fault::Unfit { message } => message.clone(),
            Fault::Duplicate => format!("the key `{}` is there more than once; keep one", name()),
            Fault::Unknown { suggestion, known } => {
                let hint = suggestion
                    .as_ref()
                    .map_or(String::new(), |name| format!("; did you mean `{name}`?"));
                format!(
                    "unknown field `{}`{hint} (known here: {})",
                    name(),
                    if known.is_empty() {
                        "nothing".to_owned()
                    } else {
                        known.join(", ")
                    }
                )
            }
            Fault::Missing { expected } => format!("the field `{}` is missing, expected {expected}", name()),
            Fault::Wrong { found, expected } => format!("found {found}, expected {expected}"),
            Fault::More { count } => format!("{count} more problems are not listed; correct these first"),
        }
    }

    /// Where CCF's frame says that it is: an unknown, missing or duplicate field belongs to its object.
    fn context(&self) -> String {
        match self.fault {
            Fault::Unknown { .. } | Fault::Missing { .. } | Fault::Duplicate => self.path.parent().context(),
            _ => self.path.context(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Syntax { .. } => f.write_str(&self.message()),
            _ => write!(f, "{}: {}", self.path, self.message()),
        }
    }
}

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{0}")]
    Unreadable(#[from] Error),
    /// The file is not JSON.
    #[error("Error parsing configuration file {}: {problem}", path.shown())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// A [`Fault::Syntax`].
        problem: Problem,
    },
    /// The file is JSON, but not a configuration.
    #[error("Error validating JSON schema for configuration file {}: {}", path.shown(), frames(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// The error for what [`super::Config::parse`] found wrong with the text of `path`.
    pub(super) fn new(path: &Path, mut problems: Vec<Problem>) -> Self {
        let path = path.to_owned();
        let is_syntax = |problem: &Problem| matches!(problem.fault, Fault::Syntax { .. });
        match problems.iter().position(is_syntax) {
            Some(at) => ConfigError::Syntax {
                path,
                problem: problems.swap_remove(at),
            },
            None => ConfigError::Invalid { path, problems },
        }
    }

    /// The problems, if it is the document that is wrong.
    pub fn problems(&self) -> &[Problem] {
        match self {
            ConfigError::Unreadable(_) => &[],
            ConfigError::Syntax { problem, .. } => std::slice::from_ref(problem),
            ConfigError::Invalid { problems, .. } => problems,
        }
    }
}

/// One block a problem, each beginning with a line break (recovery specification, section 1.1).
pub fn frames(problems: &[Problem]) -> String {
    let mut text = String::new();
    for (i, problem) in problems.iter().enumerate() {
        text.push_str(&format!(
            "\nError #{}:\n  context: {}\n  message: {}",
            i + 1,
            problem.context(),
            problem.message()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_framed_as_ccf_does() {
        let problems = vec![
            Problem {
                path: FieldPath::dotted("network.rpc_interfaces.main.bind_adress"),
                fault: Fault::Unknown {
                    suggestion: Some("bind_address".into()),
                    known: vec!["bind_address"],
                },
            },
            Problem {
                path: FieldPath::dotted("command.start.members").item(2),
                fault: Fault::Wrong {
                    found: "3".into(),
                    expected: "an object".into(),
                },
            },
        ];
        assert_eq!(
            problems[1].to_string(),
            "command.start.members[2]: found 3, expected an object"
        );
        let text = ConfigError::new(Path::new("c.json"), problems).to_string();
        assert_eq!(
            text,
            "Error validating JSON schema for configuration file c.json: \
             \nError #1:\n  context: <root>[network][rpc_interfaces][main]\n  message: unknown field `bind_adress`; \
             did you mean `bind_address`? (known here: bind_address)\
             \nError #2:\n  context: <root>[command][start][members][2]\n  message: found 3, expected an object"
        );
    }

    #[test]
    fn a_pattern_matches_names_and_items() {
        let path = FieldPath::dotted("network.rpc_interfaces.main").field("accepted");
        assert!(path.matches("network.rpc_interfaces.*.accepted"));
        assert!(!path.matches("network.rpc_interfaces.*"));
        assert!(FieldPath::dotted("a").item(3).matches("a.[]"));
    }
}
