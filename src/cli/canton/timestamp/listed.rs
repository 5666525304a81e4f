//! The list of all SVs, put together with what the sources name.

use std::str::FromStr;

use crate::canton::agreement::Sv;
use crate::canton::name::Participant;
use crate::error::{Error, Result};

/// An SV as `--svs` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    name: String,
    participant: Option<Participant>,
}

impl FromStr for Listed {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Listed, String> {
        let participant = |text: &str| text.parse::<Participant>().map_err(|why| why.to_string());
        let text = text.trim();
        if text.starts_with("PAR::") {
            let participant = participant(text)?;
            return Ok(Listed {
                name: participant.identifier().to_owned(),
                participant: Some(participant),
            });
        }
        let (name, id) = match text.split_once('=') {
            Some((name, id)) => (name, Some(participant(id)?)),
            None => (text, None),
        };
        match name.is_empty() {
            true => Err("expected NAME, NAME=PAR::identifier::fingerprint, or such an identifier alone".to_owned()),
            false => Ok(Listed {
                name: name.to_owned(),
                participant: id,
            }),
        }
    }
}

/// All SVs: those of the list, each with its source if it has one; without a list, those that have a source.
pub fn together(sources: Vec<Sv>, list: &[Listed]) -> Result<Vec<Sv>> {
    if list.is_empty() {
        return match sources.is_empty() {
            true => Err(Error::Usage(
                "give what the SVs have: --evidence NAME=FILE for each, or --log or --participant-db".to_owned(),
            )),
            false => Ok(sources),
        };
    }
    let mut all: Vec<Sv> = list
        .iter()
        .map(|listed| Sv {
            name: listed.name.clone(),
            participant: listed.participant.clone(),
            evidence: None,
        })
        .collect();
    for source in sources {
        let said = source
            .evidence
            .as_ref()
            .and_then(|evidence| evidence.participant.as_ref());
        let owner = source.participant.as_ref().or(said).cloned();
        let same_name = all.iter().position(|sv| sv.name == source.name);
        let same_owner = || all.iter().position(|sv| owner.is_some() && sv.participant == owner);
        let Some(sv) = same_name.or_else(same_owner).and_then(|at| all.get_mut(at)) else {
            return Err(Error::Usage(format!(
                "{} has a source and is not in --svs: add it there, or call it as it is called there",
                source.name
            )));
        };
        if sv.evidence.is_some() {
            return Err(Error::Usage(format!("{} and {} are the same SV", source.name, sv.name)));
        }
        if let (Some(listed), Some(given)) = (&sv.participant, &source.participant)
            && listed != given
        {
            let text = format!(
                "{} is {listed} in --svs, and {given} where its source is given",
                sv.name
            );
            return Err(Error::Usage(text));
        }
        sv.participant = source.participant.or(sv.participant.take());
        sv.evidence = source.evidence;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svs_are_listed_by_name_by_participant_or_by_both() {
        let parsed = |text: &str| text.parse::<Listed>().map(|one| (one.name, one.participant.is_some()));
        assert_eq!(parsed("sv-1"), Ok(("sv-1".to_owned(), false)));
        assert_eq!(parsed(" a b=PAR::x::12205f1149bc..."), Ok(("a b".to_owned(), true)));
        assert_eq!(parsed("PAR::x y::12205f1149bc"), Ok(("x y".to_owned(), true)));
        for wrong in ["", "=PAR::x::12205f1149bc", "a=x", "PAR::x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_finds_its_place_in_the_list_or_is_refused() {
        let list: Vec<Listed> = ["a=PAR::x::12205f1149bc", "b"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let source = |name: &str, participant: Option<&str>| Sv {
            name: name.to_owned(),
            participant: participant.map(|text| text.parse().unwrap()),
            evidence: Some(Default::default()),
        };
        let all = together(vec![source("other", Some("x::12205f1149bc"))], &list).unwrap();
        assert_eq!(
            (all[0].name.as_str(), all[0].evidence.is_some(), all.len()),
            ("a", true, 2)
        );
        assert!(together(vec![source("c", None)], &list).is_err());
        assert!(together(vec![source("a", Some("y::12205f1149bc"))], &list).is_err());
        let twice = vec![source("a", None), source("other", Some("x::12205f1149bc"))];
        assert!(together(twice, &list).is_err());
        assert!(together(Vec::new(), &[]).is_err());
    }
}
