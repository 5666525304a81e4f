//! What differs between two dumps, in ids and fingerprints: never in keys.

use std::collections::BTreeMap;

use serde::Serialize;

use super::json::{Kind, Value, unescaped};
use super::shape::{self, Shape, Slot};
use super::{condense, key, parse};
use crate::canton::Finding;
use crate::crypto::{Digest, Sha256Stream, sha256, sha256_parts};
use crate::shown::excerpt;

/// Differences that are listed; further ones are counted.
const LISTED: usize = 200;

/// Keys of one node that are compared one by one; where there are more, nobody but an attacker wrote them.
const MOST_KEYS: usize = 1000;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of what: `participant.id`, `participant key 1220…`.
    pub what: String,
    /// What the first dump has: an id, a version, or in a word what may be secret or long. Nothing where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// What the second dump has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
}

/// How two dumps compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The shape of the first.
    pub first: Shape,
    /// The shape of the second.
    pub second: Shape,
    /// Whether the files are equal, byte for byte.
    pub is_identical: bool,
    /// Whether the identities in them are the same, however they are written and wrapped.
    pub is_same: bool,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Differences that are not listed.
    pub left_out: usize,
}

/// Compares two dumps. One node alone is compared with the same node of the other dump.
///
/// # Errors
/// Which of the two (0 or 1) is no dump of identities, and a finding that says what it is.
pub fn compare(first: &[u8], second: &[u8]) -> Result<Comparison, (usize, Box<Finding>)> {
    let tops = [
        parse(first).map_err(|finding| (0, finding))?,
        parse(second).map_err(|finding| (1, finding))?,
    ];
    let [a, b] = &tops;
    let known_a = shape::recognise(a).map_err(|finding| (0, finding))?;
    let known_b = shape::recognise(b).map_err(|finding| (1, finding))?;
    let fields_a = fields(known_a.shape, known_a.holder);
    let fields_b = fields(known_b.shape, known_b.holder);
    let mut differences = Vec::new();
    let names: std::collections::BTreeSet<&String> = fields_a.keys().chain(fields_b.keys()).collect();
    for name in names {
        let (first, second) = (fields_a.get(name), fields_b.get(name));
        if first != second {
            differences.push(Difference {
                what: name.clone(),
                first: first.map(|field| field.shown.clone()),
                second: second.map(|field| field.shown.clone()),
            });
        }
    }
    let left_out = differences.len().saturating_sub(LISTED);
    differences.truncate(LISTED);
    Ok(Comparison {
        first: known_a.shape,
        second: known_b.shape,
        is_identical: first == second,
        is_same: differences.is_empty(),
        differences,
        left_out,
    })
}

/// A field: what may be shown of it, and a digest of what it means, which may not: a short secret could be guessed from it.
#[derive(PartialEq, Eq)]
struct Field {
    shown: String,
    means: Digest,
}

type Fields = BTreeMap<String, Field>;

/// Everything that a dump says of identities, flat.
fn fields(shape: Shape, holder: &Value<'_>) -> Fields {
    let mut out = BTreeMap::new();
    if shape == Shape::Node {
        let id = holder.text("id");
        let slot = id.as_ref().and_then(|id| Slot::of_code(id.get(..3)?));
        node(slot.map_or("node", Slot::name), holder, &mut out);
        return out;
    }
    // Of a validator's dump the data stand beside its node: they are not compared.
    let is_data = |name: &str| condense::DATA.contains(&name) || ["created_at", "acs_timestamp"].contains(&name);
    for (name, value) in holder.members().iter().filter(|(name, _)| !is_data(name)) {
        match Slot::ALL.iter().find(|slot| slot.name() == name) {
            Some(slot) if value.is_object() => node(slot.name(), value, &mut out),
            _ => drop(out.insert(whole(name), public(name, value))),
        }
    }
    out
}

fn node(called: &str, value: &Value<'_>, out: &mut Fields) {
    for (name, member) in value.members() {
        match (name.as_ref(), &member.kind) {
            ("keys", Kind::List(keys)) if keys.len() <= MOST_KEYS => {
                keys.iter().for_each(|key| one_key(called, key, out))
            }
            _ => drop(out.insert(format!("{called}.{}", whole(name)), public(name, member))),
        }
    }
}

/// A name that is unlike any other, also where only its beginning is shown.
fn whole(name: &str) -> String {
    let shown = excerpt(name);
    match shown == name {
        true => shown,
        false => format!("{shown} ({})", hex::encode(sha256(name.as_bytes()))),
    }
}

/// A key by its fingerprint or its name in the KMS, and what else is known of it.
fn one_key(called: &str, entry: &Value<'_>, out: &mut Fields) {
    let name = entry.text("name").map_or(String::new(), |name| excerpt(&name));
    let pair = entry.text("keyPair");
    let (identity, shown, means) = match (&pair, entry.text("keyId")) {
        (Some(pair), _) => {
            let decoded = key::base64(pair);
            let bytes = decoded.as_ref().map_or(pair.as_bytes(), |bytes| bytes.as_slice());
            match key::judge(pair).0 {
                // Its private key gives this fingerprint: however it is written, it is this key.
                Some(known) if known.proof == key::Proof::Proven => {
                    let shown = format!("{} \"{name}\"", known.algorithm);
                    (format!("{called} key {}", known.fingerprint), shown, Vec::new())
                }
                Some(known) => {
                    let shown = format!("{} \"{name}\", not proven", known.algorithm);
                    (
                        format!("{called} key {}", known.fingerprint),
                        shown,
                        sha256(bytes).to_vec(),
                    )
                }
                None => {
                    let shown = format!("\"{name}\", unreadable");
                    (format!("{called} key \"{name}\""), shown, sha256(bytes).to_vec())
                }
            }
        }
        (None, Some(id)) => {
            let kind = entry.text("type").map_or(String::new(), |kind| excerpt(&kind));
            (
                format!("{called} KMS key {}", whole(&id)),
                format!("{kind} \"{name}\""),
                Vec::new(),
            )
        }
        (None, None) => (
            format!("{called} key \"{name}\""),
            format!("\"{name}\", neither keyPair nor keyId"),
            Vec::new(),
        ),
    };
    let means = sha256_parts(&[shown.as_bytes(), &means]);
    let mut unique = identity.clone();
    let mut again = 2;
    while out.contains_key(&unique) {
        unique = format!("{identity} (number {again})");
        again += 1;
    }
    out.insert(unique, Field { shown, means });
}

/// What may be shown of a field: texts of known fields as they are, of everything else only what kind of value it is.
fn public(name: &str, value: &Value<'_>) -> Field {
    const SHOWN: [&str; 6] = [
        "id",
        "version",
        "sv_party_id",
        "dso_party_id",
        "domain_alias",
        "domain_id",
    ];
    let mut meaning = Sha256Stream::new();
    means(value, &mut meaning);
    let text = match &value.kind {
        Kind::Text(raw) if SHOWN.contains(&name) => unescaped(raw).map(|text| excerpt(&text)),
        _ => None,
    };
    Field {
        shown: text.unwrap_or_else(|| format!("{}, not shown", value.called())),
        means: meaning.finish(),
    }
}

/// Takes canonical bytes of what a value means: without space, escapes resolved, members by name.
fn means(value: &Value<'_>, out: &mut Sha256Stream) {
    let text = |text: &[u8], out: &mut Sha256Stream| {
        out.update(&(text.len() as u64).to_be_bytes());
        out.update(text);
    };
    match &value.kind {
        Kind::Null | Kind::Scalar => {
            out.update(b"=");
            text(value.raw, out);
        }
        Kind::Text(raw) => {
            out.update(b"\"");
            match unescaped(raw) {
                Some(plain) => text(plain.as_bytes(), out),
                None => text(raw.as_bytes(), out),
            }
        }
        Kind::List(list) => {
            out.update(b"[");
            list.iter().for_each(|member| means(member, out));
            out.update(b"]");
        }
        Kind::Object(members) => {
            let sorted: BTreeMap<&str, &Value<'_>> =
                members.iter().map(|(name, member)| (name.as_ref(), member)).collect();
            out.update(b"{");
            for (name, member) in sorted {
                text(name.as_bytes(), out);
                means(member, out);
            }
            out.update(b"}");
        }
    }
}
