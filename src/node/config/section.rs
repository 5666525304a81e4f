//! Reading an object field by field: what is wrong is collected, and what is not asked for is unknown.
//!
//! A reader asks for every field that the schema has, also where the section is absent: that gives the defaults, and
//! it is how the names are known when others are found.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::json::Json;
use super::problem::{Fault, FieldPath, Problem};
use super::values::{self, Expected};

/// More problems than a person corrects at once; beyond it they are only counted.
const MAX_LISTED: usize = 256;
/// How near an unknown name must be to a known one to be taken for it (Jaro-Winkler, 1 is equal).
const NEAR: f64 = 0.85;
/// Names that documentation or older releases have, and the schema has not.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("read_only_ledger_dir", "read_only_directories"),
    ("read_only_ledger_dirs", "read_only_directories"),
    ("ledger_dir", "ledger.directory"),
    ("snapshots_dir", "snapshots.directory"),
    ("timeout", "failover_timeout"),
    ("curve", "curve_id"),
];

/// What is accepted, but not as its author may think.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The field.
    pub path: FieldPath,
    /// What there is to know.
    pub text: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// What was found while reading one document.
#[derive(Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    unlisted: usize,
    notes: Vec<Note>,
    /// Every field that is in the document and known, for notes about it.
    present: BTreeSet<FieldPath>,
    /// Every known name, and the sections that have it.
    known: BTreeMap<&'static str, BTreeSet<FieldPath>>,
    /// Unknown fields of closed and open objects, judged when all names are known.
    unknown: Vec<Unknown>,
}

struct Unknown {
    path: FieldPath,
    known: Vec<&'static str>,
    tolerated: bool,
}

impl Report {
    pub(super) fn problem(&mut self, path: FieldPath, fault: Fault) {
        if self.problems.len() < MAX_LISTED {
            self.problems.push(Problem { path, fault });
        } else {
            self.unlisted += 1;
        }
    }

    /// A value that does not fit another one.
    pub(super) fn unfit(&mut self, path: FieldPath, message: impl Into<String>) {
        let message = message.into();
        self.problem(path, Fault::Unfit { message });
    }

    /// One note a field: the first.
    pub(super) fn note(&mut self, path: FieldPath, text: impl Into<String>) {
        if self.notes.len() < MAX_LISTED && self.notes.iter().all(|note| note.path != path) {
            self.notes.push(Note {
                path,
                text: text.into(),
            });
        }
    }

    /// The known fields that the document has and that match a pattern ([`FieldPath::matches`]).
    pub(super) fn present(&self, pattern: &str) -> Vec<FieldPath> {
        self.present
            .iter()
            .filter(|path| path.matches(pattern))
            .cloned()
            .collect()
    }

    /// Reports every key that an object has more than once.
    pub(super) fn duplicates(&mut self, path: &FieldPath, json: &Json) {
        match json {
            Json::Object(fields) => {
                let mut names = BTreeSet::new();
                for (name, value) in fields {
                    if !names.insert(name) {
                        self.problem(path.field(name), Fault::Duplicate);
                    }
                    self.duplicates(&path.field(name), value);
                }
            }
            Json::Array(values) => {
                for (i, value) in values.iter().enumerate() {
                    self.duplicates(&path.item(i), value);
                }
            }
            _ => {}
        }
    }

    /// Problems and notes, in the order of reading, when everything has been asked for.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Note>) {
        for unknown in std::mem::take(&mut self.unknown) {
            let name = unknown.path.to_string();
            let name = name.rsplit('.').next().unwrap_or_default();
            let suggestion = self.suggestion(name, &unknown.known);
            if unknown.tolerated {
                let hint = suggestion.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
                self.note(
                    unknown.path,
                    format!("unknown field, ignored here as CCF ignores it{hint}"),
                );
            } else {
                let known = unknown.known;
                self.problem(unknown.path, Fault::Unknown { suggestion, known });
            }
        }
        if self.unlisted > 0 {
            let count = self.unlisted;
            let fault = Fault::More { count };
            self.problems.push(Problem {
                path: FieldPath::root(),
                fault,
            });
        }
        (self.problems, self.notes)
    }

    /// The known name that is meant: another spelling, one of another section, or the nearest.
    fn suggestion(&self, name: &str, here: &[&'static str]) -> Option<String> {
        let snake = snake_case(name);
        let other = OTHER_NAMES.iter().find(|(wrong, _)| *wrong == snake);
        if let Some((_, right)) = other
            && (here.contains(right) || right.contains('.'))
        {
            return Some((*right).to_owned());
        }
        if here.contains(&snake.as_str()) {
            return Some(snake);
        }
        // A name that several sections have says nothing about which one is meant.
        let sections = self.known.get(snake.as_str()).filter(|sections| sections.len() == 1);
        let elsewhere = sections.and_then(BTreeSet::first);
        let near = here
            .iter()
            .map(|known| (strsim::jaro_winkler(known, &snake), *known))
            .filter(|(likeness, _)| *likeness >= NEAR)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match (near, elsewhere) {
            (Some((_, known)), _) => Some(known.to_owned()),
            (None, Some(section)) => Some(section.field(&snake).to_string()),
            (None, None) => None,
        }
    }
}

/// `chunkSize`, `ChunkSize` and `chunk-size` as `chunk_size`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut after_capital = true;
    for c in name.chars() {
        if c.is_ascii_uppercase() && !after_capital && !snake.ends_with('_') {
            snake.push('_');
        }
        after_capital = c.is_ascii_uppercase();
        snake.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    snake
}

/// One object of the document, or the absence of one.
pub(super) struct Section<'a> {
    path: FieldPath,
    fields: &'a [(String, Json)],
    /// Whether the object is in the document: an absent one misses nothing.
    there: bool,
    asked: Vec<&'static str>,
    tolerant: bool,
    report: &'a RefCell<Report>,
}

impl<'a> Section<'a> {
    /// Reads the whole document.
    pub(super) fn document<T>(
        json: &'a Json,
        report: &'a RefCell<Report>,
        read: impl FnOnce(&mut Section<'a>) -> T,
    ) -> T {
        Self::read(FieldPath::root(), Some(json), report, read)
    }

    fn read<T>(
        path: FieldPath,
        json: Option<&'a Json>,
        report: &'a RefCell<Report>,
        read: impl FnOnce(&mut Section<'a>) -> T,
    ) -> T {
        let fields: Option<&[_]> = match json {
            Some(Json::Object(fields)) => Some(fields),
            Some(other) => {
                let fault = wrong(other, "an object".into());
                report.borrow_mut().problem(path.clone(), fault);
                None
            }
            None => None,
        };
        let mut section = Section {
            path,
            fields: fields.unwrap_or_default(),
            there: fields.is_some(),
            asked: Vec::new(),
            tolerant: false,
            report,
        };
        let value = read(&mut section);
        section.finish();
        value
    }

    /// The fields that were not asked for are unknown.
    fn finish(self) {
        let mut report = self.report.borrow_mut();
        for name in &self.asked {
            report.known.entry(name).or_default().insert(self.path.clone());
        }
        let unknown = self
            .fields
            .iter()
            .filter(|(name, _)| !self.asked.contains(&name.as_str()));
        for (name, _) in unknown {
            if report.unknown.len() >= 2 * MAX_LISTED {
                report.unlisted += usize::from(!self.tolerant);
                continue;
            }
            report.unknown.push(Unknown {
                path: self.path.field(name),
                known: self.asked.clone(),
                tolerated: self.tolerant,
            });
        }
    }

    /// Unknown fields of this object are ignored, as CCF's schema does here; a note says so.
    pub(super) fn tolerates_unknown(&mut self) {
        self.tolerant = true;
    }

    /// Whether the document has a field, null or not. It still has to be asked for.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// Whether the object itself is in the document.
    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// A note about a field.
    pub(super) fn note(&self, name: &str, text: impl Into<String>) {
        self.report.borrow_mut().note(self.path.field(name), text);
    }

    /// The field's value; of duplicates the last, as most parsers do.
    fn ask(&mut self, name: &'static str) -> Option<&'a Json> {
        self.asked.push(name);
        let (_, value) = self.fields.iter().rev().find(|(field, _)| field == name)?;
        self.report.borrow_mut().present.insert(self.path.field(name));
        Some(value)
    }

    /// A field that may be absent.
    pub(super) fn optional<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Result<T, Expected>) -> Option<T> {
        let json = self.ask(name)?;
        self.value(&self.path.field(name), json, read)
    }

    /// A field that may be absent or null.
    pub(super) fn nullable<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Result<T, Expected>) -> Option<T> {
        let json = self.ask(name).filter(|json| **json != Json::Null)?;
        self.value(&self.path.field(name), json, read)
    }

    /// A field with a default.
    pub(super) fn or<T>(&mut self, name: &'static str, default: T, read: impl Fn(&Json) -> Result<T, Expected>) -> T {
        self.optional(name, read).unwrap_or(default)
    }

    /// A field that must be there, wherever its object is.
    pub(super) fn required<T: Default>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Json) -> Result<T, Expected>,
    ) -> T {
        if self.there && !self.has(name) {
            let expected = match read(&Json::Null) {
                Err(expected) => expected.into_owned(),
                Ok(_) => "a value".to_owned(),
            };
            self.miss(name, expected);
        }
        self.optional(name, read).unwrap_or_default()
    }

    /// One of the names of an enumeration, which must be there; `None` where it is not, which is a problem already.
    pub(super) fn required_choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &'static [(&'static str, T)],
    ) -> Option<T> {
        self.required(name, |json| values::choice(choices)(json).map(Some))
    }

    /// An array of values; absent is empty.
    pub(super) fn list<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Result<T, Expected>) -> Vec<T> {
        self.optional_list(name, read).unwrap_or_default()
    }

    /// An array of values, or its absence.
    pub(super) fn optional_list<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&Json) -> Result<T, Expected>,
    ) -> Option<Vec<T>> {
        let (path, items) = self.items(name)?;
        let read = |(i, json)| self.value(&path.item(i), json, &read);
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    /// An array of objects; absent is empty.
    pub(super) fn objects<T>(&mut self, name: &'static str, read: impl Fn(&mut Section<'a>) -> T) -> Vec<T> {
        let Some((path, items)) = self.items(name) else {
            return Vec::new();
        };
        let one = |(i, json)| Self::read(path.item(i), Some(json), self.report, &read);
        items.iter().enumerate().map(one).collect()
    }

    /// An object; absent has all its defaults.
    pub(super) fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let json = self.ask(name);
        Self::read(self.path.field(name), json, self.report, read)
    }

    /// An object that may be absent or null.
    pub(super) fn optional_object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'a>) -> T,
    ) -> Option<T> {
        self.object_if(true, name, read)
    }

    /// An object that counts only where it is `used`, and may be absent or null; its names are known in any case.
    pub(super) fn object_if<T>(
        &mut self,
        used: bool,
        name: &'static str,
        read: impl FnOnce(&mut Section<'a>) -> T,
    ) -> Option<T> {
        let json = self.ask(name).filter(|json| used && **json != Json::Null);
        let value = Self::read(self.path.field(name), json, self.report, read);
        json.map(|_| value)
    }

    /// An object that must be there.
    pub(super) fn required_object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        if self.there && !self.has(name) {
            self.miss(name, "an object".to_owned());
        }
        self.object(name, read)
    }

    /// An object whose names are free, each with an object.
    pub(super) fn map<T>(&mut self, name: &'static str, read: impl Fn(&mut Section<'a>) -> T) -> BTreeMap<String, T> {
        let path = self.path.field(name);
        match self.ask(name) {
            Some(Json::Object(fields)) => fields
                .iter()
                .map(|(key, json)| {
                    let value = Self::read(path.field(key), Some(json), self.report, &read);
                    (key.clone(), value)
                })
                .collect(),
            Some(other) => {
                let fault = wrong(other, "an object of named objects".into());
                self.report.borrow_mut().problem(path, fault);
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        }
    }

    /// A field that the schema has or had, of any form.
    pub(super) fn anything(&mut self, name: &'static str) {
        self.ask(name);
    }

    /// Says that a field must be there.
    pub(super) fn miss(&self, name: &str, expected: String) {
        let fault = Fault::Missing { expected };
        self.report.borrow_mut().problem(self.path.field(name), fault);
    }

    fn items(&mut self, name: &'static str) -> Option<(FieldPath, &'a [Json])> {
        let path = self.path.field(name);
        match self.ask(name)? {
            Json::Array(items) => Some((path, items)),
            other => {
                let fault = wrong(other, "an array".into());
                self.report.borrow_mut().problem(path, fault);
                None
            }
        }
    }

    fn value<T>(&self, path: &FieldPath, json: &Json, read: impl Fn(&Json) -> Result<T, Expected>) -> Option<T> {
        match read(json) {
            Ok(value) => Some(value),
            Err(expected) => {
                let fault = wrong(json, expected);
                self.report.borrow_mut().problem(path.clone(), fault);
                None
            }
        }
    }
}

fn wrong(found: &Json, expected: Expected) -> Fault {
    Fault::Wrong {
        found: found.shortened(),
        expected: expected.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_become_snake_case() {
        for name in ["chunkSize", "ChunkSize", "chunk-size", "chunk_size", "Chunk_Size"] {
            assert_eq!(snake_case(name), "chunk_size", "{name}");
        }
        assert_eq!(snake_case("fetchURL"), "fetch_url");
    }
}
