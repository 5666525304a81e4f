//! A participant's own database as evidence: better than its logs, because it holds every comparison, whatever the log level
//! was, with whole names (SPEC-CANTON 1.6).
//!
//! Canton keeps it in the same tables from 3.0 to 3.5; the column that says which synchronizer a row is of was called
//! `domain_id` and `domain_idx` before it became `synchronizer_idx`. It holds an index into `common_static_strings`.

mod part;
mod tables;

use std::collections::BTreeMap;

use crate::canton::dump::{self, Field, Header, Options, Rows, Source, Table};
use crate::canton::evidence::Evidence;
use crate::canton::finding::Ending;
use crate::canton::{Code, Finding, Findings, Timestamp};
use crate::error::Result;

use part::Part;
use tables::{Kind, Plan};

/// Databases and schemas of one dump that are told apart; a server of a Super Validator has about ten.
const MOST_PARTS: usize = 1000;

/// What a participant's database says.
#[derive(Clone, Debug)]
pub struct Database {
    /// What it says about commitments, by synchronizer: `ALIAS::` and the first twelve digits of its fingerprint, as in
    /// logs, or `idx:N` where the database does not say which one its index N means.
    pub evidence: Evidence,
    /// What the dump, or the running database, says about itself.
    pub header: Header,
    /// How far its ledger goes.
    pub ledger: Ledger,
    /// The synchronizers that it has rows of.
    pub synchronizers: Vec<Synchronizer>,
    /// Comparisons in it, by their state.
    pub states: States,
    /// What is wrong with it.
    pub findings: Findings,
    /// As [`dump::Read::ending`]; unreadable also where it holds several participants' databases.
    pub ending: Ending,
}

/// How far a participant's ledger goes, of `lapi_parameters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Its last offset.
    pub end: Option<i64>,
    /// When that was published.
    pub end_published: Option<Timestamp>,
    /// The offset up to which it is pruned.
    pub pruned_up_to: Option<i64>,
}

/// A synchronizer in a participant's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synchronizer {
    /// What rows hold in its place.
    pub index: i64,
    /// Its whole id, where the database says it.
    pub id: Option<String>,
    /// What the participant's operator calls it.
    pub alias: Option<String>,
    /// Under which name the evidence has it.
    pub name: String,
}

/// Comparisons by their state, as Canton numbers them from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// 1: the owner has computed its commitment, and nothing was compared.
    pub not_compared: u64,
    /// 2: they are the same.
    pub matched: u64,
    /// 3: they differ.
    pub mismatched: u64,
    /// 4: the counterparty's came before the owner's own was computed.
    pub buffered: u64,
    /// 5: nothing came from the counterparty.
    pub outstanding: u64,
}

/// Reads a participant's database from a dump or while it runs.
///
/// # Errors
/// As [`dump::read`].
pub fn read(source: &Source, options: &Options) -> Result<Database> {
    let mut parts = Parts::default();
    let read = dump::read(source, options, &mut parts)?;
    Ok(parts.finish(read, &source.to_string()))
}

/// As [`read`], of a dump that is in memory and not packed.
pub fn read_bytes(bytes: &[u8], options: &Options) -> Database {
    let mut parts = Parts::default();
    let read = dump::read_bytes(bytes, options, &mut parts);
    parts.finish(read, "memory")
}

/// What was read, by database and schema.
#[derive(Default)]
struct Parts {
    parts: BTreeMap<(Option<String>, String), Part>,
    current: Option<(Table, Plan)>,
}

impl Parts {
    fn part(&mut self, table: &Table) -> Option<&mut Part> {
        let key = (table.database.clone(), table.schema.clone());
        match self.parts.len() < MOST_PARTS || self.parts.contains_key(&key) {
            true => Some(self.parts.entry(key).or_default()),
            false => None,
        }
    }

    fn finish(self, read: dump::Read, place: &str) -> Database {
        let mut findings = read.findings;
        let mut ending = read.ending;
        let is_readable = !matches!(ending, Ending::Unreadable | Ending::Refused);
        let names: Vec<String> = self
            .parts
            .iter()
            .filter(|(_, part)| part.has_evidence())
            .map(named)
            .collect();
        if let [first, second, rest @ ..] = names.as_slice() {
            let more = if rest.is_empty() { "" } else { " and more" };
            let message = format!("commitments of several participants: in {first}, in {second}{more}");
            findings.push(Finding::new(Code::SeveralParticipants, message).at(place));
            ending = Ending::Unreadable;
        }
        let has_new_tables = self.parts.values().find_map(|part| part.unknown.first().cloned());
        let best = match names.len() {
            0 | 1 => self
                .parts
                .into_values()
                .max_by_key(|part| (part.has_evidence(), part.is_participant())),
            _ => None,
        };
        let found = best.unwrap_or_default();
        if names.is_empty() && is_readable {
            findings.push(match has_new_tables {
                Some(table) => {
                    let message = format!("no row of comparisons in the tables that are known, but there is {table}");
                    Finding::new(Code::NewCommitmentTables, message).at(place)
                }
                None => Finding::new(Code::NoCommitmentTables, "no row of a participant's commitments").at(place),
            });
        }
        found.finish(read.header, findings, ending, place)
    }
}

fn named(((database, schema), _): (&(Option<String>, String), &Part)) -> String {
    match database {
        Some(database) => format!("schema {schema} of database {database}"),
        None => format!("schema {schema}"),
    }
}

impl Rows for Parts {
    fn wants(&mut self, table: &Table) -> bool {
        let Some(kind) = Kind::of(&table.name) else {
            if tables::may_be_new(&table.name)
                && let Some(part) = self.part(table)
            {
                part.unknown.insert(table.name.clone());
            }
            return false;
        };
        match Plan::new(kind, table) {
            Ok(_) => true,
            Err(missing) => {
                if let Some(part) = self.part(table) {
                    part.odd(|| format!("{} has no column {missing}", table.name));
                }
                false
            }
        }
    }

    fn needs(&mut self, table: &Table, column: &str) -> bool {
        let plan = Kind::of(&table.name).and_then(|kind| Plan::new(kind, table).ok());
        plan.zip(table.column(column)).is_some_and(|(plan, at)| plan.needs(at))
    }

    fn row(&mut self, table: &Table, fields: &[Field<'_>]) {
        if self.current.as_ref().is_none_or(|(current, _)| current != table) {
            let plan = Kind::of(&table.name).and_then(|kind| Plan::new(kind, table).ok());
            self.current = plan.map(|plan| (table.clone(), plan));
        }
        let Some((_, plan)) = self.current.clone() else {
            return;
        };
        if let Some(part) = self.part(table) {
            part.row(&plan, fields);
        }
    }
}

#[cfg(test)]
mod tests;
