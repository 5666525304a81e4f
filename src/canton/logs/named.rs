//! How an operator names logs: `NAME=PATH`, `NAME:PATH`, `NAME=PAR::id:PATH`, or a path alone (SPEC-CANTON 5.3).

use std::path::PathBuf;
use std::str::FromStr;

use crate::canton::name::Participant;

/// A path with the name of the Super Validator it belongs to, and its participant, as far as the operator says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The Super Validator's name, as the operator likes to call it.
    pub name: Option<String>,
    /// The participant that wrote the logs.
    pub participant: Option<Participant>,
    /// A file, a directory, a pattern, or `-`.
    pub path: PathBuf,
}

/// Why a text names no logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNamed {
    /// A part is empty.
    #[error("expected NAME=PATH, NAME:PATH, NAME=PAR::id:PATH or a path, but there is no path in {0:?}")]
    NoPath(String),
    /// What begins like a participant is none.
    #[error(
        "expected a participant and a path such as sv1=PAR::sv1::12205f1149bc:/var/log/sv1, with 12 or 68 hexadecimal \
         digits after the second ::, not {0:?}"
    )]
    NoParticipant(String),
}

impl Named {
    /// Splits what was given. The text before the first `=` or `:` is a name where it is not empty and holds no `/`, `*`, `?` or
    /// `[`; a path whose own first part holds one of these two characters is given as `./a:b.log`. A file or directory of
    /// exactly this name is `exists`'s to know, and wins.
    pub fn parse(text: &str, exists: impl Fn(&str) -> bool) -> Result<Named, NotNamed> {
        let path_alone = || Named {
            name: None,
            participant: None,
            path: PathBuf::from(text),
        };
        if text.is_empty() {
            return Err(NotNamed::NoPath(text.to_owned()));
        }
        // A participant's name holds the same characters as the separators: where one is given it must be whole.
        if text.starts_with("PAR::") {
            let (participant, path) = participant_and_path(text)?;
            return Ok(Named {
                name: None,
                participant: Some(participant),
                path,
            });
        }
        let Some((name, rest)) = text.split_once(['=', ':']) else {
            return Ok(path_alone());
        };
        if name.is_empty() || name.contains(['/', '*', '?', '[']) || exists(text) {
            return Ok(path_alone());
        }
        let name = Some(name.to_owned());
        if rest.starts_with("PAR::") {
            let (participant, path) = participant_and_path(rest)?;
            return Ok(Named {
                name,
                participant: Some(participant),
                path,
            });
        }
        match rest.is_empty() {
            true => Err(NotNamed::NoPath(text.to_owned())),
            false => Ok(Named {
                name,
                participant: None,
                path: PathBuf::from(rest),
            }),
        }
    }
}

/// `PAR::identifier::fingerprint[...]` and, after `:` or `=`, a path. The identifier may hold spaces and single colons, so the
/// fingerprint's digits are what ends it.
fn participant_and_path(text: &str) -> Result<(Participant, PathBuf), NotNamed> {
    let wrong = || NotNamed::NoParticipant(text.to_owned());
    let digits_from = text
        .get("PAR::".len()..)
        .and_then(|rest| rest.find("::"))
        .map(|at| "PAR::".len() + at + 2)
        .ok_or_else(wrong)?;
    let rest = text.get(digits_from..).ok_or_else(wrong)?;
    let split = rest.find([':', '=']).ok_or_else(wrong)?;
    let participant = text
        .get(..digits_from + split)
        .and_then(Participant::parse)
        .ok_or_else(wrong)?;
    match rest.get(split + 1..) {
        Some(path) if !path.is_empty() => Ok((participant, PathBuf::from(path))),
        _ => Err(NotNamed::NoPath(text.to_owned())),
    }
}

impl FromStr for Named {
    type Err = NotNamed;

    fn from_str(text: &str) -> Result<Named, NotNamed> {
        Named::parse(text, |path| std::path::Path::new(path).exists())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<String>, Option<String>, String) {
        let named = Named::parse(text, |path| path == "a:b.log").unwrap();
        let participant = named.participant.map(|participant| participant.to_string());
        (named.name, participant, named.path.to_string_lossy().into_owned())
    }

    #[test]
    fn names_participants_and_paths_are_told_apart() {
        let plain = |name: Option<&str>, path: &str| (name.map(str::to_owned), None, path.to_owned());
        assert_eq!(parse("logs/a:b.log"), plain(None, "logs/a:b.log"));
        assert_eq!(parse("a:b.log"), plain(None, "a:b.log"));
        assert_eq!(parse("app.log"), plain(None, "app.log"));
        assert_eq!(parse("-"), plain(None, "-"));
        assert_eq!(parse("sv1:-"), plain(Some("sv1"), "-"));
        assert_eq!(parse("sv1=/var/log/x=y:z"), plain(Some("sv1"), "/var/log/x=y:z"));
        assert_eq!(
            parse("Digital-Asset 2:logs/*.gz"),
            plain(Some("Digital-Asset 2"), "logs/*.gz")
        );
        let with = |name: Option<&str>, participant: &str, path: &str| {
            (name.map(str::to_owned), Some(participant.to_owned()), path.to_owned())
        };
        let short = "PAR::a b:c::12205f1149bc...";
        for text in [
            "sv1=PAR::a b:c::12205f1149bc:/x:y",
            "sv1:PAR::a b:c::12205f1149bc...:/x:y",
        ] {
            assert_eq!(parse(text), with(Some("sv1"), short, "/x:y"), "{text}");
        }
        let whole = format!("PAR::a b:c::12205f1149bc{}:d", "0".repeat(56));
        assert_eq!(parse(&whole), with(None, short, "d"));
    }

    #[test]
    fn what_is_neither_is_refused_with_an_example() {
        for text in ["", "sv1:", "sv1=", "sv1=PAR::a::12205f1149bc:"] {
            assert!(matches!(text.parse::<Named>(), Err(NotNamed::NoPath(_))), "{text}");
        }
        for text in [
            "sv1=PAR::a:/x",
            "sv1=PAR::a::12:/x",
            "sv1=PAR::a::b::12205f1149bc:/x",
            "PAR::a::12205f1149bc",
        ] {
            let error = text.parse::<Named>().unwrap_err();
            assert!(matches!(error, NotNamed::NoParticipant(_)), "{text}");
            assert!(error.to_string().contains("sv1=PAR::sv1::12205f1149bc:/var/log/sv1"));
        }
    }
}
