//! The timestamp that Super Validators agree on: from what each one's sources prove to one instant, a verdict and an action
//! for every SV (SPEC-CANTON 5.2, 5.3).
//!
//! [`decide`] is pure, and depends on the set of facts alone. It looks back from the last tick at which two SVs were found to
//! agree, for the first one at which a quorum agreed pairwise; the recovery timestamp lies a margin before that. How a tick
//! inside a longer period counts is said in [`history`].

pub mod chart;
pub mod clique;
pub mod explain;
mod findings;
pub mod history;
pub mod lanes;
mod outcome;
mod owner;
pub mod picture;
mod synchronizer;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::canton::evidence::{Evidence, digest_of_all};
use crate::canton::name::Participant;
use crate::canton::{Finding, Findings, Timestamp};

use clique::{Budget, Graph, MOST_SVS, Set, members, size};
use history::History;

pub use findings::from_the_future;

/// One Super Validator, as the operator names it.
#[derive(Clone, Debug, Default)]
pub struct Sv {
    /// Its name.
    pub name: String,
    /// Its participant, where the operator says so.
    pub participant: Option<Participant>,
    /// What its sources say; `None` where it has none.
    pub evidence: Option<Evidence>,
}

/// Who supports a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The largest set in which everybody agrees with everybody.
    #[default]
    Clique,
    /// The largest set that hangs together: each agrees with one at least.
    Component,
}

/// What the operators chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The alias or id of the synchronizer; `None` for the only one, or the global one.
    pub synchronizer: Option<String>,
    /// How many SVs must agree; `None` for more than two thirds of all.
    pub quorum: Option<usize>,
    /// Seconds that the recovery timestamp lies before the agreed tick.
    pub margin_s: u32,
    /// Who supports a tick.
    pub rule: Rule,
    /// Only ticks from here on.
    pub after: Option<Timestamp>,
    /// Only ticks up to here.
    pub before: Option<Timestamp>,
    /// When the network failed: the recovery timestamp is before it.
    pub incident: Option<Timestamp>,
}

/// Seconds of the margin that the documents advise.
pub const MARGIN_S: u32 = 15 * 60;

/// Steps of searching for cliques, over all ticks: a second or two.
const STEPS: u64 = 20_000_000;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            synchronizer: None,
            quorum: None,
            margin_s: MARGIN_S,
            rule: Rule::Clique,
            after: None,
            before: None,
            incident: None,
        }
    }
}

/// Why nothing can be decided: the request has to be made otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// None or too many.
    #[error("{0} SVs were given, and 1 to {MOST_SVS} can be decided about")]
    Count(usize),
    /// One name for two.
    #[error("two SVs are called {0}: give each a name of its own")]
    SameName(String),
    /// More than there are, or none.
    #[error("a quorum of {0} of {1} SVs is impossible: give --quorum a number from 1 to {1}")]
    Quorum(usize, usize),
    /// The operator and the source contradict each other.
    #[error("{0} was said to be {1}, and its source says that it was written by {2}: is it another SV's?")]
    AnotherOwner(String, Participant, Participant),
    /// Nobody says whose it is.
    #[error(
        "it is not known which participant wrote what was given as {name}'s; {}: say it with --svs '{name}=PAR::…'",
        left(candidates)
    )]
    UnknownOwner {
        /// The SV.
        name: String,
        /// Who it may be.
        candidates: Vec<Participant>,
    },
    /// One for two.
    #[error("{0} and {1} are both {2}: was the same source given under two names?")]
    SameOwner(String, String, Participant),
    /// Which?
    #[error("there is evidence about several synchronizers ({}): choose one with --synchronizer", .0.join(", "))]
    SeveralSynchronizers(Vec<String>),
    /// Not there.
    #[error("there is no evidence about synchronizer {wanted}, only about {}", known.join(", "))]
    UnknownSynchronizer {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
}

fn left(candidates: &[Participant]) -> String {
    match candidates {
        [] => "every participant in it appears as a sender too, or is taken".to_owned(),
        some => {
            let names: Vec<String> = some.iter().map(Participant::to_string).collect();
            format!("it could be {}", names.join(" or "))
        }
    }
}

/// Whether there is a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is one.
    Agreed,
    /// Nowhere did enough of them agree.
    NoAgreement,
}

/// How one SV stands at the recovery timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It had reached it.
    Ok,
    /// It had reached it by the word of others; its own sources are missing.
    OkByOthers,
    /// It had not.
    Behind,
    /// Its contracts differ from the majority's.
    Forked,
    /// What it had at that time is gone.
    Pruned,
    /// Nobody says anything about it.
    NoEvidence,
    /// There is no tick to measure it by.
    Undecided,
}

/// What an SV's operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Fetch the data dump from its own SV app.
    Fetch,
    /// Copy a dump from another SV, or re-onboard.
    CopyOrReonboard,
    /// Re-onboard.
    Reonboard,
    /// Give evidence.
    ProvideEvidence,
    /// Nothing yet.
    Wait,
}

/// One SV's part of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Its participant, where known.
    pub participant: Option<Participant>,
    /// The latest tick that it is known to have reached.
    pub reached: Option<Timestamp>,
    /// How it stands.
    pub verdict: Standing,
    /// What to do.
    pub action: Action,
    /// The last tick at which it agreed with one of the support.
    pub agreed_until: Option<Timestamp>,
    /// Before which its contracts are gone.
    pub pruned: Option<Timestamp>,
    /// From whom it can copy a dump, where it needs one.
    pub donors: Vec<String>,
}

/// A choice that the operators have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The tick.
    pub to_inclusive: Timestamp,
    /// How many support it.
    pub support: usize,
    /// The recovery timestamp that it would give.
    pub timestamp: Timestamp,
    /// Seconds from that timestamp to the incident, or to the latest tick that anybody reached: what is lost.
    pub lost_s: i64,
    /// Who does not support it, and might have to be re-onboarded.
    pub without: Vec<String>,
    #[serde(skip)]
    set: Set,
}

/// What was decided, and all that it is shown and explained from.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// Whether there is a timestamp.
    pub verdict: Verdict,
    /// The recovery timestamp, in whole seconds.
    pub timestamp: Option<Timestamp>,
    /// The tick that a quorum agreed on.
    pub agreed: Option<Timestamp>,
    /// Seconds that the timestamp was to lie before that.
    pub margin_s: u32,
    /// How many had to agree.
    pub quorum: usize,
    /// Of how many.
    pub of: usize,
    /// Who agreed at that tick, or at the best one there is.
    pub support: Vec<String>,
    /// How sure they are: pairs of the support that are mutual, one-sided and weak.
    pub pairs: [usize; 3],
    /// Each SV.
    pub svs: Vec<Outcome>,
    /// The choices: for each size of support the latest tick that has it.
    pub table: Vec<Row>,
    /// Which synchronizer it is about.
    pub synchronizer: String,
    /// How support was counted.
    pub rule: Rule,
    /// Sixteen digits that stand for the evidence.
    pub evidence_digest: String,
    /// What was noticed, worst first.
    pub findings: Vec<Finding>,
    /// When the network failed.
    pub incident: Option<Timestamp>,
    /// The tick that verdicts are about: the agreed one, or the best there is.
    #[serde(skip)]
    pub(crate) at: Option<(Timestamp, Timestamp)>,
    #[serde(skip)]
    pub(crate) set: Set,
    #[serde(skip)]
    pub(crate) history: History,
}

/// More than two thirds of so many.
pub fn two_thirds(count: usize) -> usize {
    count * 2 / 3 + 1
}

/// Decides.
///
/// # Errors
/// What has to be asked otherwise: [`Undecided`]. That the SVs do not agree is a decision, not an error.
pub fn decide(svs: &[Sv], settings: &Settings) -> Result<Decision, Undecided> {
    if svs.is_empty() || svs.len() > MOST_SVS {
        return Err(Undecided::Count(svs.len()));
    }
    let mut svs: Vec<&Sv> = svs.iter().collect();
    svs.sort_by_cached_key(|sv| natural(&sv.name));
    if let Some([one, _]) = svs.array_windows().find(|[one, other]| one.name == other.name) {
        return Err(Undecided::SameName(one.name.clone()));
    }
    let quorum = settings.quorum.unwrap_or(two_thirds(svs.len()));
    if quorum == 0 || quorum > svs.len() {
        return Err(Undecided::Quorum(quorum, svs.len()));
    }
    let mut findings = Findings::default();
    let chosen = synchronizer::choose(&svs, settings.synchronizer.as_deref(), &mut findings)?;
    let owners = owner::resolve(&svs, &chosen.observations)?;
    let history = History::new(&owners, &chosen.observations);
    let all = owners.iter().zip(&chosen.observations);
    let evidence_digest = digest_of_all(all.flat_map(|(owner, all)| all.iter().map(move |one| (owner.as_ref(), *one))));
    let names: Vec<&str> = svs.iter().map(|sv| sv.name.as_str()).collect();

    let mut budget = Budget::new(STEPS);
    let table = table(&names, &history, settings, &mut budget);
    let agreed = table.iter().find(|row| row.support >= quorum);
    // Rows grow, so that the last one is the best that there is.
    let best = agreed.or(table.last());
    let set = best.map_or(0, |row| row.set);
    let at = best.map(|row| (row.to_inclusive, recovery(row, set, &history, settings.incident)));
    let timestamp = at.map(|(_, timestamp)| timestamp);
    let svs = outcome::outcomes(&svs, &owners, &history, (set, agreed.is_some()), timestamp);
    let mut decision = Decision {
        verdict: match agreed {
            Some(_) => Verdict::Agreed,
            None => Verdict::NoAgreement,
        },
        timestamp: agreed.and(at).map(|(_, timestamp)| timestamp),
        agreed: agreed.map(|row| row.to_inclusive),
        margin_s: settings.margin_s,
        quorum,
        of: svs.len(),
        support: members(set)
            .filter_map(|sv| names.get(sv).map(|name| (*name).to_owned()))
            .collect(),
        pairs: outcome::strengths(&history, set, at.map(|(tick, _)| tick)),
        svs,
        table,
        synchronizer: chosen.name,
        rule: settings.rule,
        evidence_digest,
        findings: Vec::new(),
        incident: settings.incident,
        at,
        set,
        history,
    };
    findings::find(&decision, settings, budget.is_spent, &mut findings);
    decision.findings = findings.finish();
    Ok(decision)
}

/// Names in the order in which people list them: numbers in them by their value.
fn natural(name: &str) -> (Vec<(String, u64)>, String) {
    let mut parts: Vec<(String, u64)> = Vec::new();
    for c in name.chars() {
        match (c.to_digit(10), parts.last_mut()) {
            (Some(digit), Some(last)) => last.1 = last.1.saturating_mul(10).saturating_add(u64::from(digit)),
            (Some(digit), None) => parts.push((String::new(), u64::from(digit))),
            (None, Some(last)) if last.1 == 0 => last.0.push(c),
            (None, _) => parts.push((c.to_string(), 0)),
        }
    }
    (parts, name.to_owned())
}

/// The choices: going back in time, each tick at which more SVs agree than at every later one.
fn table(names: &[&str], history: &History, settings: &Settings, budget: &mut Budget) -> Vec<Row> {
    let earliest = |tick: &Timestamp| settings.after.is_none_or(|after| *tick >= after);
    let latest = |tick: &Timestamp| settings.before.is_none_or(|before| *tick <= before);
    let in_time = |tick: &Timestamp| {
        settings
            .incident
            .is_none_or(|incident| before(*tick, settings) < incident)
    };
    let mut ticks = history.ticks();
    ticks.retain(|tick| earliest(tick) && latest(tick) && in_time(tick));
    let end = settings.incident.or(history.reached.iter().flatten().max().copied());
    let order = outcome::by_trust(history);
    let mut rows: Vec<Row> = Vec::new();
    history.backwards(&ticks, |tick, graph| {
        let most = rows.last().map_or(1, |row| row.support);
        let alive = outcome::alive(history, tick);
        if let Some(set) = support(graph, alive, most, settings.rule, &order, budget) {
            let timestamp = before(tick, settings);
            let mut row = Row {
                to_inclusive: tick,
                support: size(set),
                timestamp,
                lost_s: 0,
                without: (0..names.len())
                    .filter(|sv| !clique::has(set, *sv))
                    .filter_map(|sv| names.get(sv).map(|name| (*name).to_owned()))
                    .collect(),
                set,
            };
            row.timestamp = recovery(&row, set, history, settings.incident);
            row.lost_s = end.map_or(0, |end| end.since(row.timestamp).div_euclid(1_000_000).max(0));
            rows.push(row);
        }
        !budget.is_spent && rows.last().is_none_or(|row| row.support < names.len())
    });
    rows
}

fn support(graph: &Graph, alive: Set, most: usize, rule: Rule, order: &[usize], budget: &mut Budget) -> Option<Set> {
    match rule {
        Rule::Component => graph.component_above(alive, most, order),
        Rule::Clique => {
            let found = graph.clique_above(alive, most, budget)?;
            Some(graph.first_clique(alive, found, order, budget))
        }
    }
}

/// The margin before a tick, in whole seconds.
fn before(tick: Timestamp, settings: &Settings) -> Timestamp {
    tick.plus_seconds(-i64::from(settings.margin_s)).floor_to_second()
}

/// The recovery timestamp that a row gives: not before the contracts of one of its supporters are gone, even where that makes
/// the margin smaller, but before the incident. All of them have reached the tick itself.
fn recovery(row: &Row, set: Set, history: &History, incident: Option<Timestamp>) -> Timestamp {
    let bounds = members(set).filter_map(|sv| history.pruned.get(sv).copied().flatten());
    let Some(bound) = bounds.max() else {
        return row.timestamp;
    };
    let bound = bound.plus_micros(999_999).floor_to_second();
    let tick = row.to_inclusive.floor_to_second();
    let latest = incident.map_or(tick, |incident| tick.min(incident.plus_micros(-1).floor_to_second()));
    row.timestamp.max(bound.min(latest))
}
