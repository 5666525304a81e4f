//! Why an SV stands as it does, in sentences.

use super::clique::has;
use super::history::Strength;
use super::{Decision, Outcome, Standing};

/// The sentences about the SV of this name; `None` where there is none.
pub fn explain(decision: &Decision, name: &str) -> Option<Vec<String>> {
    let (at, sv) = decision.svs.iter().enumerate().find(|(_, sv)| sv.name == name)?;
    let mut out = vec![format!("{}: {}.", sv.name, standing(decision, sv))];
    out.push(match &sv.participant {
        Some(participant) => format!("Its participant is {participant}."),
        None => "It is not known which participant is its, so that what others say about it can't be found.".to_owned(),
    });
    out.push(match decision.history.speaks.get(at) {
        Some(true) => "Its own sources were read.".to_owned(),
        _ => "It has no source of its own, or one that says nothing: what is known is what others say.".to_owned(),
    });
    if let Some(reached) = sv.reached {
        out.push(format!(
            "The latest tick that it is known to have reached is {reached}."
        ));
    }
    if decision.history.was_catching_up.get(at).is_some_and(|was| *was) {
        out.push("It was catching up at some time, with longer periods than usual.".to_owned());
    }
    if let Some(pruned) = sv.pruned {
        out.push(format!("Its contracts before {pruned} are gone."));
    }
    for (other, another) in decision.svs.iter().enumerate().filter(|(other, _)| *other != at) {
        out.push(pair(decision, (at, other), &another.name));
    }
    out.push(support(decision, at, sv));
    if !sv.donors.is_empty() {
        out.push(format!("It can copy the data dump of {}.", sv.donors.join(", ")));
    }
    Some(out)
}

fn standing(decision: &Decision, sv: &Outcome) -> String {
    let at = match decision.at {
        Some((_, timestamp)) => format!("the recovery timestamp {timestamp}"),
        None => "any recovery timestamp".to_owned(),
    };
    match sv.verdict {
        Standing::Ok => format!("ok, it had reached {at}"),
        Standing::OkByOthers => format!("ok by the word of others, who saw it beyond {at}"),
        Standing::Behind => format!("behind, it had not reached {at}"),
        Standing::Forked => "forked, its contracts differ from those of SVs with as much agreement or more".to_owned(),
        Standing::Pruned => format!("pruned, what it had at {at} is gone"),
        Standing::NoEvidence => "no evidence, no source speaks about it".to_owned(),
        Standing::Undecided => "undecided, because no two SVs were seen to agree".to_owned(),
    }
}

fn pair(decision: &Decision, (one, other): (usize, usize), name: &str) -> String {
    let Some(pair) = decision.history.pair(one, other) else {
        return format!("With {name} it was never compared.");
    };
    let agreed = match pair.last_agreed() {
        Some(agreed) => format!("With {name} it agreed last at {agreed}"),
        None => format!("With {name} it was never seen to agree"),
    };
    let at_tick = decision.at.and_then(|(tick, _)| {
        let words = match pair.strength(tick)? {
            Strength::Mutual => "both say so",
            Strength::OneSided => "one of the two says so, which proves it for both",
            Strength::Weak => "only by a log that speaks before the outcome",
        };
        Some(match pair.last_agreed() == Some(tick) {
            true => format!(" ({words})"),
            false => format!(", and at {tick} ({words})"),
        })
    });
    let differed = match (pair.fork(), pair.differed.last()) {
        (Some(fork), _) => format!("; they differ from {fork} on, and never agreed again"),
        (None, Some(last)) => format!("; they differed at {last}, and agreed again later"),
        _ => String::new(),
    };
    format!("{agreed}{}{differed}.", at_tick.unwrap_or_default())
}

fn support(decision: &Decision, at: usize, sv: &Outcome) -> String {
    let Some((tick, _)) = decision.at else {
        return "There is no tick that it could support.".to_owned();
    };
    if has(decision.set, at) {
        return format!("It is one of those who support {tick}.");
    }
    let support = decision
        .svs
        .iter()
        .enumerate()
        .filter(|(other, _)| has(decision.set, *other));
    let without: Vec<&str> = support
        .filter(|(other, _)| {
            let pair = decision.history.pair(at, *other);
            !pair.is_some_and(|pair| pair.fork().is_none() && pair.strength(tick).is_some())
        })
        .map(|(_, other)| other.name.as_str())
        .collect();
    match without.as_slice() {
        [] if sv.pruned.is_some_and(|pruned| pruned > tick) => {
            format!("It does not support {tick}: what it had then is gone.")
        }
        [] => format!("It agrees with the support of {tick}; another set of the same size was chosen."),
        some => format!(
            "It does not support {tick}: there is no agreement there with {}.",
            some.join(", ")
        ),
    }
}
