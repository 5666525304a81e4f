//! What one database's schema says.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{Kind, Plan};
use super::{Database, Ledger, States, Synchronizer};
use crate::canton::dump::{Field, Header};
use crate::canton::evidence::{Comparison, Evidence, Fact, Facts, Observations, Period};
use crate::canton::finding::Ending;
use crate::canton::name::{Participant, SHORTENED};
use crate::canton::{Code, Finding, Findings, Timestamp};

/// Synchronizers, and texts that may be one's id: a participant knows a handful.
const MOST_NAMES: usize = 10_000;
/// Bytes of such a text.
const LONGEST_NAME: usize = 1000;
/// What `common_static_strings` says of ids of synchronizers, and of their physical ones.
const SOURCES: [&str; 2] = ["1", "2"];

/// What one schema says.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// By index, not yet by name.
    evidence: Evidence,
    node: Option<Participant>,
    ledger: Ledger,
    states: States,
    ids: BTreeMap<i64, String>,
    /// By the name that evidence has for a synchronizer: releases keep its logical or its physical id.
    aliases: BTreeMap<String, String>,
    odd: u64,
    first_odd: Option<String>,
    /// Tables that are not known and may hold commitments.
    pub unknown: BTreeSet<String>,
}

fn number(text: Option<&str>) -> Option<i64> {
    text?.parse().ok()
}

fn instant(text: Option<&str>) -> Option<Timestamp> {
    Timestamp::from_micros(number(text)?)
}

/// An offset: a number, or before Canton 3.2 nine bytes in hexadecimal digits, the first of them a version.
fn offset(text: &str) -> Option<i64> {
    match text.len() {
        18 if text.starts_with("00") => i64::from_str_radix(text, 16).ok(),
        _ => text.parse().ok(),
    }
}

impl Part {
    /// Whether it holds comparisons, or anything else about commitments.
    pub fn has_evidence(&self) -> bool {
        !self.evidence.observations.is_empty()
    }

    /// Whether it is a participant's.
    pub fn is_participant(&self) -> bool {
        self.evidence.participant.is_some()
    }

    /// Counts what is not understood.
    pub fn odd(&mut self, what: impl FnOnce() -> String) {
        self.odd += 1;
        self.first_odd.get_or_insert_with(what);
    }

    /// Takes a row.
    pub fn row(&mut self, plan: &Plan, fields: &[Field<'_>]) {
        let texts = plan.texts(fields);
        if self.understood(plan.kind, &texts).is_none() {
            let shown = |text: Option<&str>| text.unwrap_or("NULL").chars().take(80).collect::<String>();
            self.odd(|| format!("{:?} ({})", plan.kind, texts.map(shown).join(", ")));
        }
    }

    fn understood(&mut self, kind: Kind, texts: &[Option<&str>; super::tables::COLUMNS]) -> Option<()> {
        let [first, second, third, fourth, fifth] = *texts;
        let mut say = |fact| {
            let index = number(first)?;
            self.evidence.take(&format!("idx:{index}"), fact);
            Some(())
        };
        match kind {
            Kind::Outstanding => {
                let period = Period {
                    from_exclusive: instant(second)?,
                    to_inclusive: instant(third)?,
                };
                let counterparty = Participant::parse(fourth?)?;
                let (count, comparison) = match number(fifth)? {
                    1 => (&mut self.states.not_compared, None),
                    2 => (&mut self.states.matched, Some(Comparison::Correct)),
                    3 => (&mut self.states.mismatched, Some(Comparison::Mismatch)),
                    4 => (&mut self.states.buffered, None),
                    5 => (&mut self.states.outstanding, None),
                    _ => return None,
                };
                *count += 1;
                match comparison {
                    Some(comparison) => say(Fact::Compared {
                        counterparty,
                        period,
                        comparison,
                    }),
                    None => number(first).map(drop),
                }
            }
            Kind::Computed | Kind::LastComputed => say(Fact::Reached(instant(second)?)),
            Kind::Received | Kind::Queued => say(Fact::Sent {
                counterparty: Participant::parse(third?)?,
                to_inclusive: instant(second)?,
            }),
            // Pruning that was begun counts: from then on the rest may be gone.
            Kind::Pruning => say(Fact::Pruned(instant(second)?)),
            Kind::Ledger => {
                self.evidence.participant = Some(Participant::parse(first?)?);
                self.ledger = Ledger {
                    end: second.and_then(offset),
                    pruned_up_to: third.and_then(offset),
                    end_published: instant(fourth),
                };
                Some(())
            }
            Kind::Node => {
                self.node = Participant::parse(&format!("{}::{}", first?, second?));
                Some(())
            }
            Kind::Strings => {
                let is_id = third.is_none_or(|source| SOURCES.contains(&source));
                let (index, id) = (number(first)?, second?);
                if is_id && id.len() <= LONGEST_NAME && self.ids.len() < MOST_NAMES {
                    self.ids.insert(index, id.to_owned());
                }
                Some(())
            }
            Kind::Aliases => {
                let (id, alias) = (first?, second?);
                if id.len().max(alias.len()) <= LONGEST_NAME && self.aliases.len() < MOST_NAMES {
                    self.aliases.insert(shortened(id), alias.to_owned());
                }
                Some(())
            }
        }
    }

    /// Puts names in place of indices.
    pub fn finish(mut self, header: Header, mut findings: Findings, ending: Ending, place: &str) -> Database {
        let mut synchronizers = Vec::new();
        let observations = std::mem::take(&mut self.evidence.observations);
        for (key, found) in observations {
            let Some(index) = number(key.strip_prefix("idx:")) else {
                continue;
            };
            let id = self.ids.get(&index).cloned();
            let name = id.as_deref().map_or(key, shortened);
            if id.is_none() {
                let message = format!("the database does not say which synchronizer index {index} is");
                findings.push(Finding::new(Code::SynchronizerUnnamed, message).at(place));
            }
            match self.evidence.observations.get_mut(&name) {
                Some(known) => merge(known, found),
                None => drop(self.evidence.observations.insert(name.clone(), found)),
            }
            let alias = self.aliases.get(&name).cloned();
            synchronizers.push(Synchronizer { index, id, alias, name });
        }
        if let Some(first) = &self.first_odd {
            let message = format!("{} rows or tables are not understood; the first is {first}", self.odd);
            findings.push(Finding::new(Code::CommitmentRowsOdd, message).at(place));
        }
        // Other nodes have a name in this place too; the ledger's is a participant's.
        if self.has_evidence() {
            self.evidence.participant = self.evidence.participant.or(self.node);
        }
        Database {
            evidence: self.evidence,
            header,
            ledger: self.ledger,
            synchronizers,
            states: self.states,
            findings,
            ending,
        }
    }
}

/// A synchronizer's id as logs name it: without the serial and version of a physical one, and shortened.
fn shortened(id: &str) -> String {
    match id.split_once("::") {
        Some((alias, rest)) => {
            let digits: String = rest
                .chars()
                .take_while(char::is_ascii_hexdigit)
                .take(SHORTENED)
                .collect();
            format!("{alias}::{digits}")
        }
        None => id.to_owned(),
    }
}

/// Two indices may be of one synchronizer: its logical and its physical id.
fn merge(known: &mut Observations, found: Observations) {
    known.compared.join(&found.compared);
    for (counterparty, at) in found.sent {
        let known = known.sent.entry(counterparty).or_insert(at);
        *known = (*known).max(at);
    }
    known.reached = known.reached.max(found.reached);
    known.pruned = known.pruned.max(found.pruned);
    known.was_catching_up |= found.was_catching_up;
}
