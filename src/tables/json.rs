//! JSON of which parts are somebody else's: carried word for word, never looked into.
//!
//! Members, nodes, users and services have data that others chose, and CCF takes any JSON for it: of any depth, with lone
//! surrogates, with numbers that fit nowhere. [`Opaque`] holds such a text without parsing it (it is only skipped, by a loop
//! and not by recursion), [`Fields`] an object of such texts, and [`Json`] an answer that has some of them in it. A type
//! with an [`Opaque`] in it is to be written straight to bytes: on the way through [`serde_json::Value`] that would be parsed
//! after all.
//!
//! What this program writes is bounded by [`check`], far below what it reads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::format::Malformed;

/// Deepest nesting of arrays and objects in what is written: every reader of JSON that is in use takes it, also with a
/// record of this program around it.
pub const MAX_DEPTH: usize = 100;

/// Reads a JSON value. Where it can't be read because of halves of surrogate pairs or bytes that are not UTF-8, it is read
/// with U+FFFD in their place: scripts can write both, and neither is a reason to lose the rest.
///
/// # Errors
/// [`Malformed`] with the parser's column as offset.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let malformed = |e: serde_json::Error| Malformed::at(e.column(), e.to_string());
    serde_json::from_slice(bytes).or_else(|why| match mended(bytes) {
        Some(text) => serde_json::from_str(&text).map_err(malformed),
        None => Err(malformed(why)),
    })
}

/// A JSON value as text, which a serializer of JSON writes word for word.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Opaque(Box<RawValue>);

impl Opaque {
    /// The text of a value that this program made.
    pub fn of<T: Serialize>(value: &T) -> Self {
        // Only maps with keys that are no texts can't be written; null says less than nothing would.
        serde_json::value::to_raw_value(value).map_or_else(|_| Opaque(RawValue::NULL.to_owned()), Opaque)
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The value, where it is a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        from_json(self.text().as_bytes()).ok()
    }

    fn is_null(&self) -> bool {
        self.text() == "null"
    }
}

impl PartialEq for Opaque {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Opaque {}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Opaque)
    }
}

/// Anything may be in there.
impl JsonSchema for Opaque {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

/// A JSON object whose values are texts. Of a name that occurs twice the last counts, as in CCF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    named: BTreeMap<String, Opaque>,
    /// Names that are no Unicode text: nobody asks for them, they are only kept.
    unnameable: Vec<(Opaque, Opaque)>,
}

impl Fields {
    /// The value of a field, as text.
    pub fn get(&self, name: &str) -> Option<&Opaque> {
        self.named.get(name)
    }

    /// The value of a field that is there, not null, and a `T`.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.get(name)?.read::<Option<T>>()?
    }

    /// Sets a field.
    pub fn set<T: Serialize>(&mut self, name: &str, value: &T) {
        self.put(name, Opaque::of(value));
    }

    /// Sets a field, if there is something to set it to.
    pub fn set_some<T: Serialize>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a field to a text that is carried.
    pub fn put(&mut self, name: &str, value: Opaque) {
        self.named.insert(name.to_owned(), value);
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &str) {
        self.named.remove(name);
    }

    /// The fields whose names are text, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Opaque)> {
        self.named.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Takes a field out, which must be there.
    ///
    /// # Errors
    /// If it is not, or no `T`.
    pub fn take<T: DeserializeOwned, E: serde::de::Error>(&mut self, name: &'static str) -> Result<T, E> {
        let value = self.named.remove(name).ok_or_else(|| E::missing_field(name))?;
        read(name, &value)
    }

    /// Takes a field out, which may be absent or null.
    ///
    /// # Errors
    /// If it is no `T`.
    pub fn take_optional<T: DeserializeOwned, E: serde::de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, E> {
        match self.named.remove(name) {
            None => Ok(None),
            Some(value) if value.is_null() => Ok(None),
            Some(value) => read(name, &value).map(Some),
        }
    }

    /// For types that are written as these fields. Texts go through a serializer of JSON as they are, and through no other.
    pub(super) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.named.iter().map(|(name, value)| (name, &value.0)))
    }

    /// As CCF writes it: compact, the names sorted.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = String::from("{");
        for (index, (name, value)) in self.named.iter().enumerate() {
            separate(&mut out, index);
            push_name(&mut out, name);
            out.push_str(value.text());
        }
        for (index, (name, value)) in self.unnameable.iter().enumerate() {
            separate(&mut out, self.named.len() + index);
            out.push_str(name.text());
            out.push(':');
            out.push_str(value.text());
        }
        out.push('}');
        out.into_bytes()
    }
}

fn read<T: DeserializeOwned, E: serde::de::Error>(name: &str, value: &Opaque) -> Result<T, E> {
    from_json(value.text().as_bytes()).map_err(|why| E::custom(format!("field {name}: {why}")))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key::<Opaque>()? {
                    let value = map.next_value::<Opaque>()?;
                    match serde_json::from_str::<String>(name.text()) {
                        Ok(name) => drop(fields.named.insert(name, value)),
                        Err(_) if name.text().starts_with('"') => fields.unnameable.push((name, value)),
                        Err(why) => return Err(A::Error::custom(why)),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A JSON document in which some parts are opaque, ready to be answered.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Json(Opaque);

impl Json {
    /// What `value` is written as: its fields in their own order, what is opaque in it word for word.
    pub fn of<T: Serialize>(value: &T) -> Self {
        Json(Opaque::of(value))
    }

    /// The document, where everything in it is JSON that every reader takes.
    pub fn to_value(&self) -> Option<Value> {
        serde_json::from_str(self.0.text()).ok()
    }

    /// The text's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        self.0.text().as_bytes().to_vec()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl PartialEq<Value> for Json {
    fn eq(&self, other: &Value) -> bool {
        self.to_value().is_some_and(|own| own == *other)
    }
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

fn push_name(out: &mut String, name: &str) {
    out.push_str(&Value::from(name).to_string());
    out.push(':');
}

/// Whether a JSON text may be written: every reader must be able to read it back. A text that is no JSON is not judged.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn check(text: &[u8]) -> Result<(), String> {
    // Skipped by a loop too: a text of any depth is judged.
    if serde_json::from_slice::<IgnoredAny>(text).is_err() {
        return Ok(());
    }
    let Scan { depth, halves } = scan(text);
    if depth > MAX_DEPTH {
        return Err(format!("it nests {depth} deep, at most {MAX_DEPTH} are taken"));
    }
    match halves.first() {
        Some(at) => Err(format!("at byte {at} it has half of a surrogate pair")),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Scan {
    depth: usize,
    /// Where escapes begin that are half of a surrogate pair.
    halves: Vec<usize>,
}

/// Looks at brackets and escapes only.
fn scan(text: &[u8]) -> Scan {
    let mut found = Scan::default();
    let (mut open, mut in_string) = (0_usize, false);
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let mut next = after;
        match (in_string, first) {
            (false, b'[' | b'{') => {
                open += 1;
                found.depth = found.depth.max(open);
            }
            (false, b']' | b'}') => open = open.saturating_sub(1),
            (_, b'"') => in_string = !in_string,
            (true, b'\\') => {
                let own = unit(rest);
                let other = rest.get(6..).and_then(unit);
                let skipped = match (own, other) {
                    (None, _) => 2,
                    (Some(own), Some(other)) if is_high(own) && is_low(other) => 12,
                    (Some(own), _) => {
                        if is_high(own) || is_low(own) {
                            found.halves.push(text.len() - rest.len());
                        }
                        6
                    }
                };
                next = rest.get(skipped..).unwrap_or_default();
            }
            _ => {}
        }
        rest = next;
    }
    found
}

/// The code unit of an escape `\uXXXX` that a text begins with.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

/// Reads a document of which `levels` levels are somebody's who is believed: what is below them and can't be read, however
/// odd, is null and keeps nobody from reading the rest.
///
/// # Errors
/// What the parser says, where what it can't read is not below.
pub fn tolerant(text: &[u8], levels: usize) -> Result<Value, crate::format::Malformed> {
    let why = match from_json(text) {
        Ok(value) => return Ok(value),
        Err(why) => why,
    };
    let below = |value: &Opaque| tolerant(value.text().as_bytes(), levels.saturating_sub(1)).unwrap_or_default();
    if levels == 0 {
        return Err(why);
    }
    if let Ok(fields) = from_json::<Fields>(text) {
        let members = fields.iter().map(|(name, value)| (name.to_owned(), below(value)));
        return Ok(Value::Object(members.collect()));
    }
    let elements: Vec<Opaque> = from_json(text).map_err(|_| why)?;
    Ok(Value::Array(elements.iter().map(below).collect()))
}

/// A text with U+FFFD for what no Unicode text can hold: halves of surrogate pairs, bytes that are not UTF-8. `None` where
/// there is nothing of that kind.
pub(super) fn mended(bytes: &[u8]) -> Option<String> {
    let lossy = String::from_utf8_lossy(bytes);
    let halves = scan(lossy.as_bytes()).halves;
    if halves.is_empty() && matches!(lossy, Cow::Borrowed(_)) {
        return None;
    }
    let mut text = lossy.into_owned().into_bytes();
    for at in halves {
        if let Some(digits) = text.get_mut(at + 2..at + 6) {
            digits.copy_from_slice(b"fffd");
        }
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests;
