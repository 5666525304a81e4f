//! What a snapshot holds, against the state that the ledger gives: pure, one walk over the snapshot in the order of its file.
//!
//! Maps must stand in order of their names and keys in CCF's order, each once; every key has the value and the version of
//! its last write, every map the version of its last change, and nothing is missing. What was never written by a node that
//! follows these rules is named by the first place where it differs. Values are never shown, only their sizes.

use std::collections::HashSet;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde::Serialize;
use serde_json::Value;

use super::replay::State;
use crate::format::Seqno;
use crate::format::domain::is_public;
use crate::format::snapshot::{Part, StateEntry, key_order};
use crate::kv::base::{Base, Live};
use crate::shown::excerpt;
use crate::tables::describe::text_or_base64;

/// Maps that only the entries after a snapshot can explain: so many are remembered.
const MAX_BORN: usize = 10_000;

/// What is said of one value: how long it is and when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Seqno of its write; negative for a removed key.
    pub version: i64,
    /// Bytes of the value.
    pub bytes: u64,
}

/// What kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Another value.
    Value,
    /// The same value, said to be of another write.
    Version,
    /// A key that the ledger's state does not have.
    ExtraKey,
    /// A key that only the ledger's state has.
    MissingKey,
    /// A map said to have changed last with another transaction.
    MapVersion,
    /// A map that the ledger's state does not have.
    ExtraMap,
    /// A map that only the ledger's state has.
    MissingMap,
    /// Maps or keys out of order, or twice.
    Order,
    /// Another history of views.
    Views,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What kind.
    pub kind: Kind,
    /// The table; none where it is of the whole snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The key, as text or base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// In the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Cell>,
    /// By the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Cell>,
    /// In a sentence, without a value.
    pub message: String,
}

/// What a walk over one domain found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Keys of the snapshot that were compared.
    pub keys: u64,
    /// How many differences there are.
    pub differences: u64,
    /// The first in the order of the file.
    pub first: Option<Difference>,
    /// Empty maps of version 0 that the state does not have: a snapshot has those that transactions between its state and the
    /// moment when it was cut began. Whoever calls looks there.
    pub born: Vec<String>,
}

impl Comparison {
    /// Adds a difference.
    pub fn differ(&mut self, difference: impl FnOnce() -> Difference) {
        self.differences += 1;
        if self.first.is_none() {
            self.first = Some(difference());
        }
    }

    /// Adds another domain's.
    pub fn add(&mut self, other: Comparison) {
        self.keys += other.keys;
        self.differences += other.differences;
        self.first = self.first.take().or(other.first);
        self.born.extend(other.born);
    }
}

/// Compares the view history that a snapshot tells of.
pub fn compare_views(state: &State, found: &[Seqno]) -> Comparison {
    let mut comparison = Comparison::default();
    let expected = state.view_history.as_slice();
    if found != expected {
        let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let said = |history: &[Seqno]| history.get(at).map_or("none".to_owned(), Seqno::to_string);
        comparison.differ(|| Difference {
            kind: Kind::Views,
            table: None,
            key: None,
            found: None,
            expected: None,
            message: format!(
                "its view history has {} views and says that view {} began at {}, the ledger has {} and {}",
                found.len(),
                at + 1,
                said(found),
                expected.len(),
                said(expected)
            ),
        });
    }
    comparison
}

/// Compares one domain. `walk` hands out its parts in the order of the file, as often as it is called.
///
/// # Errors
/// Whatever `walk` answers.
pub fn compare<'s, E>(
    state: &State,
    public: bool,
    walk: impl Fn(&mut dyn FnMut(Part<'s>)) -> Result<(), E>,
) -> Result<Comparison, E> {
    let mut walker = Walker {
        public,
        base: state.maps(public),
        state,
        expected: state.maps(public).maps().into_iter().peekable(),
        map: None,
        comparison: Comparison::default(),
        missing_in: None,
    };
    walk(&mut |part| match part {
        Part::Map { name, version } => walker.begin(name, version),
        Part::Entry(entry) => walker.entry(&entry),
    })?;
    walker.end_map();
    walker.missing_maps(None);
    let (mut comparison, missing) = (walker.comparison, walker.missing_in);
    if let Some(map) = missing.filter(|_| comparison.first.as_ref().is_some_and(|first| first.key.is_none()))
        && comparison
            .first
            .as_ref()
            .is_some_and(|first| first.kind == Kind::MissingKey)
    {
        // Which key it is takes another walk; it is the first difference, so this happens once.
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let mut inside = false;
        walk(&mut |part| match part {
            Part::Map { name, .. } => inside = name == map,
            Part::Entry(entry) if inside && entry.version >= 0 => drop(seen.insert(entry.key)),
            Part::Entry(_) => {}
        })?;
        let lost = state
            .maps(public)
            .ordered(&map, key_order)
            .find(|live| !seen.contains(live.key));
        if let Some(live) = lost {
            comparison.first = Some(missing_key(&map, &live));
        }
    }
    Ok(comparison)
}

struct Walker<'b, 's> {
    public: bool,
    base: &'b Base,
    state: &'b State,
    expected: Peekable<IntoIter<(&'b str, Seqno)>>,
    map: Option<Map<'s>>,
    comparison: Comparison,
    /// The first map with fewer keys than it should have.
    missing_in: Option<String>,
}

struct Map<'s> {
    name: &'s str,
    /// Whether the state has it.
    known: bool,
    version: u64,
    entries: u64,
    /// Keys that the state has too.
    matched: usize,
    last: Option<(u32, &'s [u8])>,
}

impl<'s> Walker<'_, 's> {
    fn begin(&mut self, name: &'s str, version: u64) {
        let before = self.map.as_ref().map(|map| map.name);
        self.end_map();
        if let Some(before) = before.filter(|before| *before >= name) {
            let text = match before == name {
                true => "it has this map twice".to_owned(),
                false => format!("this map stands after {}, expected before it", excerpt(before)),
            };
            self.comparison
                .differ(|| Difference::of_map(Kind::Order, name, None, None, text));
        }
        self.missing_maps(Some(name));
        let known = match self.expected.peek() {
            Some((expected, wanted)) if *expected == name => {
                if *wanted != version && self.state.version_with_graves(name) != Some(version) {
                    let (found, wanted) = (version_cell(version), version_cell(*wanted));
                    let text = format!(
                        "it says that the last change of this map is transaction {version}, by the ledger it is {}",
                        wanted.version
                    );
                    self.comparison
                        .differ(|| Difference::of_map(Kind::MapVersion, name, Some(found), Some(wanted), text));
                }
                self.expected.next();
                true
            }
            _ => self.base.version_of(name).is_some(),
        };
        self.map = Some(Map {
            name,
            known,
            version,
            entries: 0,
            matched: 0,
            last: None,
        });
    }

    fn entry(&mut self, entry: &StateEntry<'s>) {
        let Some(map) = &mut self.map else { return };
        map.entries += 1;
        self.comparison.keys += 1;
        let order = (key_order(entry.key), entry.key);
        if !map.known {
            // One difference, whatever is in it.
            if map.entries == 1 {
                let (name, version) = (map.name, map.version);
                self.comparison.differ(|| extra_map(name, version));
            }
            return;
        }
        if map.last.is_some_and(|last| last >= order) {
            let text = match map.last == Some(order) {
                true => "this key is in it twice",
                false => "this key does not stand in the order of a snapshot's keys",
            };
            let name = map.name;
            self.comparison
                .differ(|| Difference::of_key(Kind::Order, name, entry, None, text.to_owned()));
        } else if let Some(live) = self.base.get(map.name, entry.key) {
            map.matched += 1;
            if let Some(difference) = compare_value(map.name, entry, &live) {
                self.comparison.differ(|| difference);
            }
        } else if let Some(difference) = judge_removed(map.name, entry, self.state.graves.as_ref()) {
            self.comparison.differ(|| difference);
        }
        map.last = map.last.max(Some(order));
    }

    fn end_map(&mut self) {
        let Some(map) = self.map.take() else { return };
        if !map.known {
            match (map.entries, map.version) {
                // Of its own domain: what comes later explains no private map in the public one.
                (0, 0) if is_public(map.name) == self.public && self.comparison.born.len() < MAX_BORN => {
                    self.comparison.born.push(map.name.to_owned())
                }
                (0, version) => self.comparison.differ(|| extra_map(map.name, version)),
                _ => {} // said at its first key
            }
            return;
        }
        let lost = self.base.len_of(map.name).saturating_sub(map.matched);
        if lost > 0 {
            if self.comparison.first.is_none() {
                self.missing_in = Some(map.name.to_owned());
            }
            let text = format!("it lacks {lost} keys that this map has by the ledger");
            self.comparison
                .differ(|| Difference::of_map(Kind::MissingKey, map.name, None, None, text));
            self.comparison.differences += lost as u64 - 1;
        }
    }

    /// Maps of the state that should have stood before `next`, or before the end.
    fn missing_maps(&mut self, next: Option<&str>) {
        while let Some((name, version)) = self
            .expected
            .next_if(|(expected, _)| next.is_none_or(|next| *expected < next))
        {
            let keys = self.base.len_of(name);
            let text = format!("it lacks this map, which has {keys} keys by the ledger");
            self.comparison
                .differ(|| Difference::of_map(Kind::MissingMap, name, None, Some(version_cell(version)), text));
        }
    }
}

fn compare_value(map: &str, entry: &StateEntry<'_>, live: &Live<'_>) -> Option<Difference> {
    let (found, expected) = (cell(entry), live_cell(live));
    if found == expected && entry.value == live.value {
        return None;
    }
    let written = |cell: Cell| match cell.version {
        removed @ ..0 => format!("removed with transaction {}", removed.unsigned_abs()),
        version => format!("a value of {} bytes, written at seqno {version}", cell.bytes),
    };
    let (kind, text) = match entry.value == live.value && entry.version >= 0 {
        true => (
            Kind::Version,
            format!(
                "its value is said to be written at seqno {}, by the ledger it was at {}",
                found.version, expected.version
            ),
        ),
        false => {
            let same = entry.value.iter().zip(live.value).take_while(|(a, b)| a == b).count();
            let from = match found.version {
                ..0 => String::new(),
                _ => format!("; the two differ from byte {same} on"),
            };
            (
                Kind::Value,
                format!("it has {}, the ledger {}{from}", written(found), written(expected)),
            )
        }
    };
    Some(Difference::of_key(kind, map, entry, Some(expected), text))
}

/// A key of the snapshot that is not alive: 1.x and 2.x keep what was removed.
fn judge_removed(map: &str, entry: &StateEntry<'_>, graves: Option<&Base>) -> Option<Difference> {
    let removed_at = graves.map(|graves| graves.get(map, entry.key).map(|grave| grave.version));
    let text = match (entry.version, removed_at) {
        (..0, None) if entry.value.is_empty() => return None,
        (version @ ..0, Some(Some(at))) if entry.value.is_empty() && version.unsigned_abs() == at => return None,
        (version @ ..0, Some(Some(at))) => format!(
            "it says that this key was removed with transaction {}, by the ledger it was with {at}",
            version.unsigned_abs()
        ),
        (..0, _) => "it keeps a removed key that the ledger never had".to_owned(),
        (version, Some(Some(at))) => format!(
            "it has a value of {} bytes, written at seqno {version}; by the ledger this key was removed with transaction {at}",
            entry.value.len()
        ),
        (version, _) => format!(
            "it has a value of {} bytes, written at seqno {version}; by the ledger there is no such key",
            entry.value.len()
        ),
    };
    Some(Difference::of_key(Kind::ExtraKey, map, entry, None, text))
}

impl Difference {
    fn of_map(kind: Kind, map: &str, found: Option<Cell>, expected: Option<Cell>, text: String) -> Difference {
        Difference {
            kind,
            table: Some(excerpt(map)),
            key: None,
            found,
            expected,
            message: format!("table {}: {text}", excerpt(map)),
        }
    }

    fn of_key(kind: Kind, map: &str, entry: &StateEntry<'_>, expected: Option<Cell>, text: String) -> Difference {
        Difference {
            kind,
            table: Some(excerpt(map)),
            key: Some(shown_key(entry.key)),
            found: Some(cell(entry)),
            expected,
            message: format!("table {}, key {}: {text}", excerpt(map), key_text(entry.key)),
        }
    }
}

/// A map that the ledger does not explain.
pub fn extra_map(map: &str, version: u64) -> Difference {
    let text =
        format!("it has this map, changed last with transaction {version}; by the ledger there is none of that name");
    Difference::of_map(Kind::ExtraMap, map, Some(version_cell(version)), None, text)
}

fn missing_key(map: &str, live: &Live<'_>) -> Difference {
    let expected = live_cell(live);
    Difference {
        kind: Kind::MissingKey,
        table: Some(excerpt(map)),
        key: Some(shown_key(live.key)),
        found: None,
        expected: Some(expected),
        message: format!(
            "table {}, key {}: it lacks this key; by the ledger it has a value of {} bytes, written at seqno {}",
            excerpt(map),
            key_text(live.key),
            expected.bytes,
            expected.version
        ),
    }
}

fn version_cell(version: u64) -> Cell {
    Cell {
        version: i64::try_from(version).unwrap_or(i64::MAX),
        bytes: 0,
    }
}

fn cell(entry: &StateEntry<'_>) -> Cell {
    Cell {
        version: entry.version,
        bytes: entry.value.len() as u64,
    }
}

fn live_cell(live: &Live<'_>) -> Cell {
    Cell {
        bytes: live.value.len() as u64,
        ..version_cell(live.version)
    }
}

/// Keys longer than this are shown by their beginning.
const SHOWN_KEY_BYTES: usize = 256;

fn shown_key(key: &[u8]) -> Value {
    text_or_base64(key.get(..SHOWN_KEY_BYTES).unwrap_or(key))
}

fn key_text(key: &[u8]) -> String {
    match shown_key(key) {
        Value::String(text) => format!("{:?}", excerpt(&text)),
        _ => format!("0x{}", hex::encode(key.get(..SHOWN_KEY_BYTES).unwrap_or(key))),
    }
}

#[cfg(test)]
mod tests;
