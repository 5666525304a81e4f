//! What the databases of a Super Validator say about themselves, row by row (SPEC-CANTON 2.4).
//!
//! All of Canton's nodes create the same tables, whatever they are: a sequencer's database has an empty `lapi_parameters`, and
//! a participant's an empty `sequencer_synchronizer_configuration`. So that rows tell what a database is, not tables.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::offset::Offset;
use crate::canton::Timestamp;
use crate::canton::dump::{Field, Rows, Table};
use crate::canton::name::Participant;
use crate::crypto::sha256;
use crate::shown::excerpt;

/// What a database belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The apps: SV, scan, validator.
    Apps,
    /// A participant.
    Participant,
    /// A sequencer.
    Sequencer,
    /// A mediator.
    Mediator,
    /// CometBFT: no database of PostgreSQL.
    Cometbft,
}

impl Role {
    /// For a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Role::Apps => "the apps (SV, scan, validator)",
            Role::Participant => "a participant",
            Role::Sequencer => "a sequencer",
            Role::Mediator => "a mediator",
            Role::Cometbft => "CometBFT",
        }
    }
}

/// Which of an app's tables an offset is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// A store of contracts: `store_last_ingested_offsets`.
    Store,
    /// A history of updates: `update_history_last_ingested_offsets`.
    History,
}

/// What identifies a store or a history in one schema.
pub type ReaderId = (Reader, i64);

/// A store's specification, of which each version of the app writes a row of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Descriptor {
    /// The digest of all but the version.
    of: [u8; 32],
    version: i64,
}

/// The apps' tables in one schema.
#[derive(Clone, Debug, Default)]
pub struct Apps {
    /// By migration, how far each store and history has read the participant's ledger; `None` where it has not begun.
    pub offsets: BTreeMap<i64, BTreeMap<ReaderId, Option<Offset>>>,
    /// Participants that descriptors name, and which readers belong to each.
    pub participants: BTreeMap<String, BTreeSet<ReaderId>>,
    /// Parties whose updates are followed.
    pub parties: BTreeSet<String>,
    /// Offsets that could not be read, by example, and how many.
    pub unreadable: Option<(String, u64)>,
    /// Rows beyond what is kept; of their offsets the largest is.
    pub left_out: u64,
    descriptors: BTreeMap<i64, Descriptor>,
    kept: usize,
}

/// One row of `lapi_parameters`.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The participant, without `PAR::`.
    pub participant: Option<String>,
    /// Where its ledger ends; `None` at its beginning.
    pub end: Option<Offset>,
    /// Up to where it is pruned.
    pub pruned: Option<Offset>,
    /// When the ledger's end was published.
    pub published: Option<Timestamp>,
    /// What could not be read of it.
    pub unreadable: Option<String>,
}

/// The databases in one source.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Apps, by database and schema.
    pub apps: BTreeMap<Place, Apps>,
    /// Participants, by database and schema.
    pub ledgers: BTreeMap<Place, Ledger>,
    /// Databases that have `lapi_parameters`, with or without a row.
    pub canton: BTreeSet<Place>,
    /// Physical synchronizers that sequencers, mediators and participants name.
    pub synchronizers: BTreeMap<Role, BTreeSet<String>>,
    /// Roles with rows of their own.
    pub roles: BTreeSet<Role>,
    /// Schemas that were not kept.
    pub left_out: u64,
    kept: usize,
}

/// Where tables are: a database, where the source says which, and a schema.
pub type Place = (Option<String>, String);

/// Schemas that are kept of one source: a cluster of many nodes has dozens.
const MOST_PLACES: usize = 256;
/// Rows about stores and histories that are kept of one source: a validator has a few for each of its users.
const MOST_ROWS: usize = 200_000;
/// Participants, parties and synchronizers that are kept of a schema.
const MOST_NAMES: usize = 100;
/// Bytes of the longest name that is kept; a participant's has less than 260.
const LONGEST_NAME: usize = 400;
/// Bytes of the longest description of a store that is looked at; Splice's hold 256 characters.
const LONGEST_DESCRIPTOR: usize = 16 << 10;

const STORE_OFFSETS: &str = "store_last_ingested_offsets";
const HISTORY_OFFSETS: &str = "update_history_last_ingested_offsets";
const STORES: &str = "store_descriptors";
const HISTORIES: &str = "update_history_descriptors";
const LEDGER: &str = "lapi_parameters";
/// Configurations that a node writes once, when it joins its synchronizer, and connections of a participant. Lines before
/// Canton 3.3 said domain.
const CONFIGURATIONS: [(&str, Role); 5] = [
    ("sequencer_synchronizer_configuration", Role::Sequencer),
    ("sequencer_domain_configuration", Role::Sequencer),
    ("mediator_synchronizer_configuration", Role::Mediator),
    ("mediator_domain_configuration", Role::Mediator),
    ("par_synchronizer_connection_configs", Role::Participant),
];

/// A participant's name in one form: without the code before it.
pub fn bare(name: &str) -> &str {
    name.strip_prefix("PAR::").unwrap_or(name)
}

/// A participant's name as it is shown: shortened like in logs where it has their form.
pub fn shown(name: &str) -> String {
    Participant::parse(name).map_or_else(|| excerpt(name), |participant| participant.to_string())
}

impl Apps {
    /// The latest migration that it has offsets for.
    pub fn migration(&self) -> Option<i64> {
        self.offsets.last_key_value().map(|(migration, _)| *migration)
    }

    /// The readers that a later version of the app has put another in the place of.
    pub fn superseded(&self) -> BTreeSet<ReaderId> {
        let mut latest: BTreeMap<[u8; 32], i64> = BTreeMap::new();
        for descriptor in self.descriptors.values() {
            let version = latest.entry(descriptor.of).or_insert(descriptor.version);
            *version = (*version).max(descriptor.version);
        }
        let is_old = |descriptor: &Descriptor| {
            latest
                .get(&descriptor.of)
                .is_some_and(|version| *version > descriptor.version)
        };
        let old = self.descriptors.iter().filter(|(_, descriptor)| is_old(descriptor));
        old.map(|(id, _)| (Reader::Store, *id)).collect()
    }

    /// `has_room`: whether a further row may be kept.
    fn offset(&mut self, reader: Reader, id: i64, migration: i64, text: Field<'_>, has_room: bool) {
        let offset = match text.map(|text| Offset::parse(text).ok_or(text)).transpose() {
            Ok(offset) => offset,
            Err(text) => {
                let shown = || excerpt(&String::from_utf8_lossy(text.get(..60).unwrap_or(text)));
                self.unreadable.get_or_insert_with(|| (shown(), 0)).1 += 1;
                return;
            }
        };
        let known = self.offsets.get(&migration);
        let is_known = known.is_some_and(|readers| readers.contains_key(&(reader, id)));
        // Beyond what is kept one reader of the migration stands for all: the order is decided by the largest offset. A
        // migration later than all others counts even then.
        let is_later = self.migration().is_none_or(|latest| migration > latest);
        let key = match (is_known || has_room, is_later || known.is_some()) {
            (true, _) => (reader, id),
            (false, true) => (reader, i64::MAX),
            (false, false) => {
                self.left_out += 1;
                return;
            }
        };
        if !has_room && is_later {
            self.offsets.clear();
        }
        self.left_out += u64::from(!is_known && !has_room);
        self.kept += usize::from(!is_known && has_room);
        let kept = self.offsets.entry(migration).or_default().entry(key).or_insert(offset);
        *kept = (*kept).max(offset);
    }

    fn participant(&mut self, name: &str, of: ReaderId, has_room: bool) {
        let name = bare(name);
        let fits = self.participants.len() < MOST_NAMES || self.participants.contains_key(name);
        if name.len() > LONGEST_NAME || !fits {
            self.left_out += 1;
            return;
        }
        let readers = self.participants.entry(name.to_owned()).or_default();
        if has_room && readers.insert(of) {
            self.kept += 1;
        }
    }

    fn party(&mut self, name: &str) {
        if name.len() <= LONGEST_NAME && self.parties.len() < MOST_NAMES {
            self.parties.insert(name.to_owned());
        }
    }

    fn descriptor(&mut self, id: i64, json: &[u8], has_room: bool) {
        // Its fields are few and flat; `key` may hold objects, which are only compared.
        #[derive(serde::Deserialize)]
        struct Stored<'a> {
            version: i64,
            name: String,
            party: String,
            participant: String,
            #[serde(borrow)]
            key: Option<&'a serde_json::value::RawValue>,
        }
        if json.len() > LONGEST_DESCRIPTOR || !has_room {
            self.left_out += 1;
            return;
        }
        let Ok(stored) = serde_json::from_slice::<Stored<'_>>(json) else {
            return;
        };
        self.participant(&stored.participant, (Reader::Store, id), has_room);
        let key = stored.key.map_or("", |key| key.get());
        let of = [&stored.name, &stored.party, bare(&stored.participant), key].join("\n");
        let descriptor = Descriptor {
            of: sha256(of.as_bytes()),
            version: stored.version,
        };
        self.kept += usize::from(self.descriptors.insert(id, descriptor).is_none());
    }
}

/// A field by its column's name.
fn field<'a>(table: &Table, fields: &[Field<'a>], column: &str) -> Field<'a> {
    fields.get(table.column(column)?).copied().flatten()
}

fn text<'a>(table: &Table, fields: &[Field<'a>], column: &str) -> Option<&'a str> {
    std::str::from_utf8(field(table, fields, column)?).ok()
}

fn number(table: &Table, fields: &[Field<'_>], column: &str) -> Option<i64> {
    text(table, fields, column)?.parse().ok()
}

impl Facts {
    fn configuration(&mut self, role: Role, table: &Table, fields: &[Field<'_>]) {
        self.roles.insert(role);
        let is_active = text(table, fields, "status").is_none_or(|status| status == "A");
        let names = self.synchronizers.entry(role).or_default();
        if let Some(name) = text(table, fields, "physical_synchronizer_id")
            && is_active
            && name.len() <= LONGEST_NAME
            && names.len() < MOST_NAMES
        {
            names.insert(name.to_owned());
        }
    }

    fn ledger(&mut self, place: Place, table: &Table, fields: &[Field<'_>]) {
        self.roles.insert(Role::Participant);
        let mut ledger = Ledger::default();
        let mut offset = |column: &str| {
            let found = field(table, fields, column)?;
            let offset = Offset::parse(found);
            if offset.is_none() {
                let found = excerpt(&String::from_utf8_lossy(found.get(..60).unwrap_or(found)));
                ledger.unreadable = Some(format!("{column} is {found:?}"));
            }
            offset
        };
        let end = offset("ledger_end");
        let pruned = offset("participant_pruned_up_to_inclusive");
        (ledger.end, ledger.pruned) = (end.filter(|end| end.number() > 0), pruned.filter(|at| at.number() > 0));
        if table.column("ledger_end").is_none() {
            ledger.unreadable = Some("it has no column ledger_end".to_owned());
        }
        let name = text(table, fields, "participant_id").filter(|name| name.len() <= LONGEST_NAME);
        ledger.participant = name.map(|name| bare(name).to_owned());
        ledger.published = number(table, fields, "ledger_end_publication_time").and_then(Timestamp::from_micros);
        // There is one row; of several the one that reaches less far is believed.
        match self.ledgers.get_mut(&place) {
            Some(known) if known.end <= ledger.end => {}
            _ => _ = self.ledgers.insert(place, ledger),
        }
    }

    fn has_room(&mut self, place: &Place) -> bool {
        let is_known = self.apps.contains_key(place) || self.canton.contains(place);
        let has_room = is_known || self.apps.len() + self.canton.len() < MOST_PLACES;
        self.left_out += u64::from(!has_room);
        has_room
    }
}

fn place(table: &Table) -> Place {
    (table.database.clone(), table.schema.clone())
}

impl Rows for Facts {
    fn wants(&mut self, table: &Table) -> bool {
        if CONFIGURATIONS.iter().any(|(name, _)| table.name == *name) {
            return true;
        }
        let place = place(table);
        match table.name.as_str() {
            STORE_OFFSETS | HISTORY_OFFSETS | STORES | HISTORIES => {
                let has_room = self.has_room(&place);
                has_room && {
                    self.apps.entry(place).or_default();
                    true
                }
            }
            LEDGER => {
                let has_room = self.has_room(&place);
                has_room && {
                    self.canton.insert(place);
                    true
                }
            }
            _ => false,
        }
    }

    fn row(&mut self, table: &Table, fields: &[Field<'_>]) {
        let configuration = CONFIGURATIONS.iter().find(|(name, _)| table.name == *name);
        if let Some((_, role)) = configuration {
            return self.configuration(*role, table, fields);
        }
        let place = place(table);
        if table.name == LEDGER {
            return self.ledger(place, table, fields);
        }
        self.roles.insert(Role::Apps);
        let has_room = self.kept < MOST_ROWS;
        let apps = self.apps.entry(place).or_default();
        let before = apps.kept;
        let id = |column: &str| number(table, fields, column).unwrap_or(i64::MIN);
        // Splice before migrations were counted had no such column.
        let migration = || number(table, fields, "migration_id").unwrap_or(0);
        let last = field(table, fields, "last_ingested_offset");
        match table.name.as_str() {
            STORE_OFFSETS => apps.offset(Reader::Store, id("store_id"), migration(), last, has_room),
            HISTORY_OFFSETS => apps.offset(Reader::History, id("history_id"), migration(), last, has_room),
            STORES => {
                if let Some(json) = field(table, fields, "descriptor") {
                    apps.descriptor(id("id"), json, has_room);
                }
            }
            HISTORIES => {
                if let Some(name) = text(table, fields, "participant_id") {
                    apps.participant(name, (Reader::History, id("id")), has_room);
                }
                if let Some(party) = text(table, fields, "party") {
                    apps.party(party);
                }
            }
            _ => {}
        }
        self.kept += apps.kept - before;
    }
}
