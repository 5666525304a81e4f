//! Which synchronizer a decision is about. Logs name it by its alias, by its id or not at all, and one participant may serve
//! several (SPEC-CANTON 1.3).

use std::collections::{BTreeMap, BTreeSet};

use super::{Sv, Undecided};
use crate::canton::evidence::Observations;
use crate::canton::{Code, Finding, Findings};

/// The alias of the synchronizer that Super Validators run.
const GLOBAL: &str = "global-domain";

/// What each SV says about the chosen synchronizer, in the order of the SVs.
pub(super) struct Chosen<'a> {
    /// What the answer calls it.
    pub(super) name: String,
    pub(super) observations: Vec<Vec<&'a Observations>>,
}

/// An alias, and the first digits of the fingerprint where the name is an id: `global-domain::1220…[::serial]`.
fn parts(name: &str) -> (&str, Option<&str>) {
    let mut parts = name.split("::");
    let alias = parts.next().unwrap_or_default();
    let digits = parts.next().map(|digits| digits.trim_end_matches('.'));
    (alias, digits.map(|digits| digits.get(..12).unwrap_or(digits)))
}

/// Chooses the one that was asked for, the only one, or the global one.
pub(super) fn choose<'a>(
    svs: &'a [Sv],
    wanted: Option<&str>,
    findings: &mut Findings,
) -> Result<Chosen<'a>, Undecided> {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let names = svs.iter().filter_map(|sv| sv.evidence.as_ref());
    for name in names.flat_map(|evidence| evidence.observations.keys()) {
        let (alias, digits) = parts(name);
        known.entry(alias).or_default().extend(digits);
    }
    known.remove("");
    let (alias, digits) = match wanted {
        Some(wanted) => {
            let (alias, digits) = parts(wanted);
            let is_known = known
                .get(alias)
                .is_some_and(|ids| digits.is_none_or(|digits| ids.is_empty() || ids.contains(digits)));
            if !is_known && !known.is_empty() {
                return Err(Undecided::UnknownSynchronizer {
                    wanted: wanted.to_owned(),
                    known: listed(&known),
                });
            }
            (alias, digits)
        }
        None => match known.keys().copied().collect::<Vec<&str>>().as_slice() {
            [] => ("", None),
            [only] => (*only, None),
            several if several.contains(&GLOBAL) => (GLOBAL, None),
            _ => return Err(Undecided::SeveralSynchronizers(listed(&known))),
        },
    };
    // One alias with two ids is two networks: only an id says which.
    let ids = known.get(alias).cloned().unwrap_or_default();
    if digits.is_none() && ids.len() > 1 {
        return Err(Undecided::SeveralSynchronizers(listed(&known)));
    }
    let is_only_one = known.len() <= 1 && ids.len() <= 1;
    let fits = |name: &str| match parts(name) {
        ("", _) => is_only_one,
        (other, None) => other == alias && ids.len() <= 1,
        (other, Some(id)) => other == alias && digits.is_none_or(|digits| digits == id),
    };
    let mut observations = Vec::with_capacity(svs.len());
    for sv in svs {
        let mut chosen = Vec::new();
        for (name, observed) in sv.evidence.iter().flat_map(|evidence| &evidence.observations) {
            if fits(name) {
                chosen.push(observed);
            } else if name.is_empty() || (parts(name) == (alias, None)) {
                let message = format!(
                    "{} comparisons do not say of which synchronizer they speak, and were not used",
                    observed.compared.len()
                );
                findings.push(Finding::new(Code::SynchronizerNotSaid, message).of(&sv.name));
            }
        }
        observations.push(chosen);
    }
    let name = match (alias, digits.or_else(|| ids.first().copied())) {
        ("", _) => "not said".to_owned(),
        (alias, Some(digits)) => format!("{alias}::{digits}..."),
        (alias, None) => alias.to_owned(),
    };
    Ok(Chosen { name, observations })
}

fn listed(known: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let each = known.iter().flat_map(|(alias, ids)| match ids.is_empty() {
        true => vec![(*alias).to_owned()],
        false => ids.iter().map(|id| format!("{alias}::{id}")).collect(),
    });
    each.take(10).collect()
}
