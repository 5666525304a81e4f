//! Which participant is whose (SPEC-CANTON 5.3): what the operator or the source says; else the one known participant that
//! never appears as a sender in an SV's own log, because nobody receives its own commitments.

use std::collections::{BTreeMap, BTreeSet};

use super::{Sv, Undecided};
use crate::canton::evidence::{Comparison, Observations};
use crate::canton::name::Participant;

/// The participant of every SV, in their order; `None` for one without a source that nobody can be matched to.
pub(super) fn resolve(svs: &[&Sv], observed: &[Vec<&Observations>]) -> Result<Vec<Option<Participant>>, Undecided> {
    let mut owners: Vec<Option<Participant>> = Vec::with_capacity(svs.len());
    for sv in svs {
        let said = sv.evidence.as_ref().and_then(|evidence| evidence.participant.as_ref());
        if let (Some(given), Some(said)) = (&sv.participant, said)
            && (given != said || given.contradicts(said))
        {
            let (given, said) = (given.clone(), said.clone());
            return Err(Undecided::AnotherOwner(sv.name.clone(), given, said));
        }
        owners.push(sv.participant.as_ref().or(said).cloned());
    }
    no_two_alike(svs, &owners)?;
    let senders: Vec<BTreeSet<&Participant>> = observed.iter().map(|all| senders(all)).collect();
    let everybody: BTreeSet<&Participant> = senders.iter().flatten().copied().collect();
    // Each answer takes a name from the others' candidates, so it is tried until nothing changes.
    loop {
        let taken: BTreeSet<Participant> = owners.iter().flatten().cloned().collect();
        let mut found: Option<(usize, Participant)> = None;
        for (at, sv) in svs.iter().enumerate() {
            if owners.get(at).is_some_and(Option::is_some) {
                continue;
            }
            let own = senders.get(at).cloned().unwrap_or_default();
            let hears_itself = speaks_like_canton_3_6(sv);
            let candidates: Vec<&Participant> = everybody
                .iter()
                .filter(|one| (hears_itself || !own.contains(*one)) && !taken.contains(**one))
                .copied()
                .collect();
            // Somebody who is no SV may be missing in this log too; an SV's commitments go to all others.
            let everywhere = |one: &Participant| {
                let mut others = senders.iter().enumerate();
                others.all(|(other, senders)| other == at || senders.is_empty() || senders.contains(one))
            };
            let by_elimination = !own.is_empty() && !hears_itself;
            if let Some(owner) = one_of(sv, &candidates, |one| by_elimination && everywhere(one)) {
                found = Some((at, owner.clone()));
                break;
            }
        }
        let Some((at, owner)) = found else { break };
        if let Some(slot) = owners.get_mut(at) {
            *slot = Some(owner);
        }
    }
    let taken: BTreeSet<Participant> = owners.iter().flatten().cloned().collect();
    for ((sv, owner), own) in svs.iter().zip(&owners).zip(&senders) {
        if owner.is_none() && !own.is_empty() {
            let left = everybody
                .iter()
                .filter(|one| !own.contains(*one) && !taken.contains(**one));
            return Err(Undecided::UnknownOwner {
                name: sv.name.clone(),
                candidates: left.take(10).map(|one| (*one).clone()).collect(),
            });
        }
    }
    no_two_alike(svs, &owners)?;
    Ok(owners)
}

/// No two SVs are one participant.
fn no_two_alike(svs: &[&Sv], owners: &[Option<Participant>]) -> Result<(), Undecided> {
    let mut by_owner: BTreeMap<&Participant, &str> = BTreeMap::new();
    for (sv, owner) in svs.iter().zip(owners) {
        let Some(owner) = owner else { continue };
        if let Some(other) = by_owner.insert(owner, &sv.name) {
            return Err(Undecided::SameOwner(other.to_owned(), sv.name.clone(), owner.clone()));
        }
    }
    Ok(())
}

/// Who sent something to this owner; on Canton 3.6 the owner itself too.
fn senders<'a>(observed: &[&'a Observations]) -> BTreeSet<&'a Participant> {
    let compared = observed.iter().flat_map(|all| all.compared.counterparties());
    let sent = observed.iter().flat_map(|all| all.sent.keys());
    compared.chain(sent).collect()
}

/// The one whose identifier is the SV's name; else the only one, if that is enough.
fn one_of<'a>(
    sv: &Sv,
    candidates: &[&'a Participant],
    is_enough: impl Fn(&Participant) -> bool,
) -> Option<&'a Participant> {
    let named = |one: &&&Participant| one.identifier().eq_ignore_ascii_case(&sv.name);
    let mut by_name = candidates.iter().filter(named);
    match (by_name.next(), by_name.next(), candidates) {
        (Some(one), None, _) => Some(one),
        (None, None, [only]) if is_enough(only) => Some(only),
        _ => None,
    }
}

/// Canton 3.6 logs the commitments that an owner sends to itself, so that nobody is missing among its senders.
fn speaks_like_canton_3_6(sv: &Sv) -> bool {
    let observed = sv.evidence.iter().flat_map(|evidence| evidence.observations.values());
    observed
        .flat_map(|all| all.compared.runs())
        .any(|(_, comparison, _)| comparison == Comparison::Weak)
}
