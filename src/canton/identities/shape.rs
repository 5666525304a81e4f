//! The shapes that identities come in (SPEC-CANTON 2.2), and what is stored in their place by mistake, each told by its
//! members alone: names of files mean nothing, as the operators' document shows (SPEC-CANTON 0.2).

use serde::Serialize;

use super::json::{self, Broken, Kind, Value};
use crate::canton::{Code, Finding};
use crate::shown::excerpt;

/// What a file of identities is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A: all of an SV's nodes inside `{"identities":{…}}`, as the SV app answers it.
    Full,
    /// B: all of an SV's nodes, not wrapped, as the SV app's own backup writes it.
    Unwrapped,
    /// C: one node alone: extracted, or a validator's.
    Node,
    /// D: a migration dump, which holds identities beside the data.
    Migration,
}

impl Shape {
    /// The letter that the documentation gives it.
    pub fn letter(self) -> char {
        match self {
            Shape::Full => 'A',
            Shape::Unwrapped => 'B',
            Shape::Node => 'C',
            Shape::Migration => 'D',
        }
    }

    /// What it is, for a person.
    pub fn called(self) -> &'static str {
        match self {
            Shape::Full => "full dump, wrapped in \"identities\" (shape A)",
            Shape::Unwrapped => "full dump, not wrapped, as the SV app's automatic backup writes it (shape B)",
            Shape::Node => "one node alone (shape C)",
            Shape::Migration => "migration dump (shape D)",
        }
    }
}

/// One of the nodes whose identities an SV's dump holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The participant, which hosts the SV's parties.
    Participant,
    /// The sequencer.
    Sequencer,
    /// The mediator.
    Mediator,
}

impl Slot {
    /// All three, in the order of the dump.
    pub const ALL: [Slot; 3] = [Slot::Participant, Slot::Sequencer, Slot::Mediator];

    /// Its name in a dump.
    pub fn name(self) -> &'static str {
        match self {
            Slot::Participant => "participant",
            Slot::Sequencer => "sequencer",
            Slot::Mediator => "mediator",
        }
    }

    /// The code that its ids begin with.
    pub fn code(self) -> &'static str {
        match self {
            Slot::Participant => "PAR",
            Slot::Sequencer => "SEQ",
            Slot::Mediator => "MED",
        }
    }

    /// The slot whose ids begin with a code.
    pub fn of_code(code: &str) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| slot.code() == code)
    }
}

/// A document whose shape is known.
pub(super) struct Known<'v, 'a> {
    pub shape: Shape,
    /// The object that holds the nodes; of [`Shape::Node`] the node itself.
    pub holder: &'v Value<'a>,
    /// Times that `identities` stands in `identities` beyond the one.
    pub wraps_too_many: usize,
    /// A validator's dump holds its participant only.
    pub is_validators: bool,
}

const OF_A_NODE: [&str; 3] = ["id", "keys", "authorizedStoreSnapshot"];
const OF_DATA: [&str; 3] = ["data_snapshot", "participant_users", "acs_snapshot"];

/// Tells the shape of a document.
///
/// # Errors
/// A finding that says what it is instead.
pub(super) fn recognise<'v, 'a>(top: &'v Value<'a>) -> Result<Known<'v, 'a>, Box<Finding>> {
    let unknown = |message: String| Err(Box::new(Finding::new(Code::NotIdentities, message)));
    match top.kind {
        Kind::Object(_) => {}
        Kind::Null => {
            let message = "the file holds nothing but null, which jq prints where what it was asked for is not there: of an \
                           unwrapped dump (shape B), .identities.participant is null";
            let next = "extract again with `rekindle canton identities extract` from the dump that this was made of";
            return Err(Box::new(Finding::new(Code::AnswerStored, message).next(next)));
        }
        Kind::Text(inner) => {
            let is_json = json::unescaped(inner).is_some_and(|inner| inner.trim_start().starts_with(['{', '[']));
            return match is_json {
                true => unknown("the file is a JSON text that holds JSON: it was quoted once too often".into()),
                false => unknown("the file is a JSON text, and an object was expected".into()),
            };
        }
        _ => return unknown(format!("the file is {}, and an object was expected", top.called())),
    }
    let has = |value: &Value<'_>, names: &[&str]| names.iter().filter(|name| value.get(name).is_some()).count();
    let slots = Slot::ALL.map(Slot::name);
    let node_like = has(top, &OF_A_NODE) >= 2;
    let data_like = has(top, &OF_DATA) > 0 || has(top, &["created_at", "migration_id"]) == 2;
    let wrapped = top.get("identities");
    let known = |shape, holder| Known {
        shape,
        holder,
        wraps_too_many: 0,
        is_validators: false,
    };
    if node_like && (data_like || wrapped.is_some()) {
        let message = "one node's identities (id, keys, authorizedStoreSnapshot) were merged into a data dump where the full \
                       identities belong: the documented commands write both to dump_identities.json, so that the merge \
                       reads the extracted participant";
        return Err(Box::new(Finding::new(Code::CollidedMerge, message)));
    }
    if wrapped.is_none() && has(top, &slots) > 0 && top.get("data_snapshot").is_some() {
        let message = "an unwrapped dump (shape B) was merged into a data dump: participant, sequencer and mediator stand \
                       beside data_snapshot, and the SV app looks for them in \"identities\"";
        return Err(Box::new(Finding::new(Code::CollidedMerge, message)));
    }
    if let Some(outer) = wrapped {
        let mut holder = outer;
        let mut wraps_too_many = 0;
        while let (Some(inner), 0) = (holder.given("identities"), has(holder, &slots)) {
            holder = inner;
            wraps_too_many += 1;
        }
        let shape = if data_like { Shape::Migration } else { Shape::Full };
        return match &holder.kind {
            Kind::Object(_) if has(holder, &OF_A_NODE) >= 2 => {
                let message = "\"identities\" holds one node's identities (id, keys, authorizedStoreSnapshot) where an \
                               SV's three nodes belong: an extracted file was taken for the full dump";
                Err(Box::new(Finding::new(Code::CollidedMerge, message)))
            }
            Kind::Object(_) => Ok(Known {
                wraps_too_many,
                ..known(shape, holder)
            }),
            Kind::Text(_) => {
                unknown("\"identities\" is a text that may hold JSON: it was quoted once too often".into())
            }
            _ => unknown(format!(
                "\"identities\" is {}, and an object was expected",
                holder.called()
            )),
        };
    }
    if node_like {
        return Ok(known(Shape::Node, top));
    }
    let validators = |holder: &'v Value<'a>| Known {
        is_validators: true,
        ..known(Shape::Migration, holder)
    };
    match top.get("data_snapshot") {
        Some(data) if data.get("participant").is_some() => return Ok(validators(data)),
        _ if has(top, &["participant", "acs_snapshot"]) == 2 => return Ok(validators(top)),
        _ => {}
    }
    if has(top, &slots) > 0 {
        return Ok(known(Shape::Unwrapped, top));
    }
    if data_like {
        let finding = Finding::new(
            Code::NotIdentities,
            "the file is a data dump, and no identities are in it",
        )
        .next("give it to `rekindle canton merge` as --data, and the backed-up identities as --identities");
        return Err(Box::new(finding));
    }
    if let Some(error) = top.get("error").or(top.get("message")) {
        let said = match error.kind {
            Kind::Text(text) => json::unescaped(text).map(|text| excerpt(&text)).unwrap_or_default(),
            _ => String::new(),
        };
        let message = format!("the file holds a server's refusal instead of identities: \"{said}\"");
        return Err(Box::new(Finding::new(Code::AnswerStored, message)));
    }
    let names: Vec<String> = top.members().iter().take(8).map(|(name, _)| excerpt(name)).collect();
    match names.is_empty() {
        true => unknown("the file is an empty object".into()),
        false => unknown(format!(
            "an object with the members {} is none of the shapes that identities come in",
            names.join(", ")
        )),
    }
}

/// What a file is that is no JSON, as a finding.
pub(super) fn not_json(bytes: &[u8], broken: Broken) -> Finding {
    let start = bytes.trim_ascii_start();
    let lower = start
        .get(..start.len().min(15))
        .unwrap_or_default()
        .to_ascii_lowercase();
    if start.is_empty() {
        return Finding::new(Code::AnswerStored, "the file is empty");
    }
    if start.iter().all(|byte| *byte == 0) {
        return Finding::new(
            Code::AnswerStored,
            "the file holds nothing but zero bytes, as after a crash or on a full disk",
        );
    }
    if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") || lower.starts_with(b"<?xml") {
        let message = "the file is a web page, not identities: a login page or a proxy answered in the SV app's place";
        return Finding::new(Code::AnswerStored, message);
    }
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        let message = "the file is UTF-16, as PowerShell writes it with `>`, and UTF-8 was expected";
        return Finding::new(Code::NotJson, message).next("write it again in UTF-8: Out-File -Encoding utf8NoBOM");
    }
    let (message, at) = match broken {
        Broken::Ends => (
            "the JSON ends in the middle: the file was cut off".to_owned(),
            bytes.len(),
        ),
        Broken::At(at) => ("this is no JSON: something else stands here".to_owned(), at),
        Broken::More(at) => (
            "after the first JSON document something else begins: two files in one, or a shell's output".to_owned(),
            at,
        ),
        Broken::TooDeep(at) => ("values stand within values far deeper than in any dump".to_owned(), at),
        Broken::TooMany => ("the JSON has far more values than any dump".to_owned(), 0),
    };
    Finding::new(Code::NotJson, message).offset(at as u64)
}
