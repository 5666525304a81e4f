//! Which sealed files may be tried. Nothing is read here: names decide. Recovery specification, section 6.4.

use super::names::Listed;
use super::refusal::{Refusal, Refused};
use crate::format::Seqno;

/// Files of one version that are tried at most: CCF writes one.
const MAX_TRIED: usize = 16;
/// Files that are named as refused at most; there may be one of every rekey.
const MAX_NAMED: usize = 32;

/// What is tried, and what is not.
pub struct Choice {
    /// In this order.
    pub tried: Vec<Listed>,
    /// The nearest versions first, and not all of them where there are very many.
    pub refused: Vec<Refused>,
}

/// Chooses the files of the version that the ledger asks for, not the highest: an older secret opens nothing that came after
/// it, and a later one is of a rekey that this ledger does not have.
pub fn choose(listed: Vec<Listed>, wanted: Seqno) -> Choice {
    let (mut tried, mut others): (Vec<Listed>, Vec<Listed>) =
        listed.into_iter().partition(|listed| listed.version == wanted);
    // CCF's own name comes first.
    tried.sort_by(|a, b| (!a.is_ccfs(), &a.name).cmp(&(!b.is_ccfs(), &b.name)));
    tried.truncate(MAX_TRIED);
    others.sort_by(|a, b| (a.version.abs_diff(wanted), &a.name).cmp(&(b.version.abs_diff(wanted), &b.name)));
    others.truncate(MAX_NAMED);
    let refused = others.iter().map(|listed| {
        let refusal = match listed.version < wanted {
            true => Refusal::Stale { wanted },
            false => Refusal::Future { wanted },
        };
        Refused::new(&listed.name, &refusal)
    });
    let refused = refused.collect();
    Choice { tried, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<Listed> {
        names
            .iter()
            .filter_map(|name| Listed::of(std::path::Path::new("d"), name.as_ref()))
            .collect()
    }

    #[test]
    fn the_version_that_is_asked_for_is_tried_not_the_highest() {
        let files = ["1.sealed.json", "200.sealed.json", "141.sealed.json", "141.copy"];
        let choice = choose(listed(&files), 141);
        let tried: Vec<&str> = choice.tried.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!(tried, ["141.sealed.json", "141.copy"]);
        let refused: Vec<(&str, &str)> = choice
            .refused
            .iter()
            .map(|refused| (refused.file.as_str(), refused.kind))
            .collect();
        assert_eq!(refused, [("200.sealed.json", "future"), ("1.sealed.json", "stale")]);
        assert!(choice.refused[1].why.contains("seqno 141"), "{}", choice.refused[1].why);
    }

    #[test]
    fn a_directory_of_very_many_files_is_told_in_few_lines() {
        let names: Vec<String> = (1..5000).map(|version| format!("{version}.sealed.json")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let choice = choose(listed(&names), 4000);
        assert_eq!((choice.tried.len(), choice.refused.len()), (1, MAX_NAMED));
        assert!(choice.refused.iter().any(|refused| refused.file == "3999.sealed.json"));
    }
}
