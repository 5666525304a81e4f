//! Dumps of node identities: the keys of an SV's participant, sequencer and mediator, and the topology they are known by.
//! Checked offline, without the network or the KMS (SPEC-CANTON 2.2, 2.3).
//!
//! Everything here is a function of bytes. Key material is read in place, decoded into memory that is wiped, and never part
//! of what is answered: not of a finding, an error or a report.

mod condense;
mod derive;
mod diff;
mod extract;
mod file;
mod json;
mod key;
mod node;
mod shape;
mod snapshot;
mod topology;
mod wire;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use json::{Kind, Value};
use node::Finder;

use crate::canton::finding::Ending;
use crate::canton::{Code, Finding, Findings};
use crate::report::Severity;
use crate::shown::excerpt;

pub use diff::{Comparison, Difference, compare};
pub use extract::{Extracted, Refused, document, extract};
pub use file::{Read, is_written, read};
pub use key::{Proof, Purpose};
pub use node::{Key, Material, Node, NodeId, TopologyKey};
pub use shape::{Shape, Slot};
pub use snapshot::Signatures;

/// The longest document that is looked into: identities have some MiB where a node hosts many parties.
pub const LONGEST: usize = 64 << 20;

/// What a dump of identities says, and what is wrong with it.
#[derive(Clone, Default)]
pub struct Checked {
    /// Which shape it has; none where it is no dump of identities.
    pub shape: Option<Shape>,
    /// A migration dump of a validator holds its participant and no other node.
    pub is_validators: bool,
    /// The SV's own party.
    pub sv_party_id: Option<String>,
    /// The DSO's party.
    pub dso_party_id: Option<String>,
    /// The synchronizer's alias.
    pub domain_alias: Option<String>,
    /// The synchronizer's id: `identities.domain_id`.
    pub domain_id: Option<String>,
    /// The nodes that were found, in the dump's places.
    pub nodes: Vec<Node>,
    /// What is wrong or worth to be known.
    pub findings: Findings,
}

/// What a dump is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It can't be relied on: something is wrong, or a key is not proven.
    Unverified,
    /// It is whole and nothing contradicts, but keys are in a KMS, without which it is of no use.
    NeedsKms,
    /// Whole, and every key is in it and proven.
    Verified,
}

impl Checked {
    /// A node of the dump.
    pub fn node(&self, slot: Slot) -> Option<&Node> {
        self.nodes.iter().find(|node| node.node == slot)
    }

    /// Whether all three nodes of an SV are in it, which the network's recovery needs. Re-onboarding needs the participant.
    pub fn is_full(&self) -> bool {
        Slot::ALL.into_iter().all(|slot| self.node(slot).is_some())
    }

    /// What the nodes that are in it are good for.
    pub fn standing(&self) -> Standing {
        let errors = self.findings.any_at_least(Severity::Error);
        if errors || self.nodes.is_empty() || !self.nodes.iter().all(|node| node.is_verified) {
            return Standing::Unverified;
        }
        match self.nodes.iter().all(|node| node.material == Material::Plaintext) {
            true => Standing::Verified,
            false => Standing::NeedsKms,
        }
    }

    /// Whether a private key is in it, as far as can be told.
    pub fn has_private_keys(&self) -> bool {
        let in_dump = |node: &Node| matches!(node.material, Material::Plaintext | Material::Mixed);
        self.nodes.iter().any(in_dump)
    }

    /// How the check ended: what is no dump at all is unreadable, what is wrong with one is a negative finding.
    pub fn ending(&self) -> Ending {
        let negative = self.findings.any_at_least(Severity::Warning);
        match self.shape {
            None if !self.findings.has(Code::CollidedMerge) => Ending::Unreadable,
            _ if negative => Ending::Negative,
            _ => Ending::Clean,
        }
    }
}

/// The shape of a document.
///
/// # Errors
/// A finding that says what it is instead of a dump of identities.
pub fn shape(bytes: &[u8]) -> Result<Shape, Box<Finding>> {
    let value = parse(bytes)?;
    shape::recognise(&value).map(|known| known.shape)
}

fn parse(bytes: &[u8]) -> Result<Value<'_>, Box<Finding>> {
    if bytes.len() > LONGEST {
        return Err(Box::new(too_long(bytes.len() as u64)));
    }
    json::read(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)).map_err(|broken| {
        Box::new(shape::not_json(
            bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes),
            broken,
        ))
    })
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is said of a file beyond [`LONGEST`], without reading it.
pub fn too_long(length: u64) -> Finding {
    let message = format!(
        "the file has {} MiB, and identities have at most {}",
        length >> 20,
        LONGEST >> 20
    );
    Finding::new(Code::NotIdentities, message).next(
        "a migration dump of this size is checked by `rekindle canton merge` and `place`; give the identities alone",
    )
}

/// Checks a document. The path only says where the findings are.
pub fn check(bytes: &[u8], file: Option<&Path>) -> Checked {
    check_with(bytes, &Finder::of(bytes, file))
}

/// Checks a file as it was read.
pub fn check_file(read: &Read, path: &Path) -> Checked {
    let finder = Finder::of(&read.bytes, Some(path));
    match read.is_condensed {
        true => check_with(&read.bytes, &Finder { begins: None, ..finder }),
        false => check_with(&read.bytes, &finder),
    }
}

fn check_with(bytes: &[u8], finder: &Finder<'_>) -> Checked {
    let mut checked = Checked::default();
    if bytes.starts_with(BYTE_ORDER_MARK) {
        let message = "the file begins with a byte order mark";
        checked.findings.push(finder.finding(Code::ByteOrderMark, message));
    }
    let top = match parse(bytes) {
        Ok(top) => top,
        Err(finding) => {
            checked.findings.push(finder.place(*finding));
            return checked;
        }
    };
    duplicates(&top, &mut String::new(), finder, &mut checked.findings);
    let known = match shape::recognise(&top) {
        Ok(known) => known,
        Err(finding) => {
            checked.findings.push(finder.place(*finding));
            return checked;
        }
    };
    checked.shape = Some(known.shape);
    checked.is_validators = known.is_validators;
    if known.wraps_too_many > 0 {
        let message =
            "\"identities\" stands inside \"identities\": the answer was wrapped once more before it was stored";
        checked.findings.push(finder.finding(Code::WrappedTwice, message));
    }
    let holder = known.holder;
    if known.shape == Shape::Node {
        let slot = holder
            .text("id")
            .and_then(|id| Slot::of_code(id.get(..3)?))
            .unwrap_or(Slot::Participant);
        checked
            .nodes
            .push(node::check(holder, slot, finder, &mut checked.findings));
        return checked;
    }
    outer(holder, known.is_validators, finder, &mut checked);
    for slot in Slot::ALL {
        match holder.get(slot.name()) {
            Some(value) if value.is_object() => {
                checked
                    .nodes
                    .push(node::check(value, slot, finder, &mut checked.findings));
            }
            Some(value) => {
                let message = format!(
                    "the {} is {}, and its identities were expected",
                    slot.name(),
                    value.called()
                );
                let finding = finder.at(Code::FieldMissing, message, value.at).of(slot.name());
                checked.findings.push(finding);
            }
            None if known.is_validators && slot != Slot::Participant => {}
            None => {
                let message = format!("the dump has no {}", slot.name());
                checked
                    .findings
                    .push(finder.finding(Code::FieldMissing, message).of(slot.name()));
            }
        }
    }
    party(&mut checked, finder);
    checked
}

/// The fields that stand beside the nodes.
fn outer(holder: &Value<'_>, is_validators: bool, finder: &Finder<'_>, checked: &mut Checked) {
    let shown = |name: &str| {
        holder
            .text(name)
            .map(|text| excerpt(&text))
            .filter(|text| !text.is_empty())
    };
    checked.sv_party_id = shown("sv_party_id");
    checked.dso_party_id = shown("dso_party_id");
    checked.domain_alias = shown("domain_alias");
    checked.domain_id = shown("domain_id");
    if is_validators {
        return;
    }
    let known = ["sv_party_id", "dso_party_id", "domain_alias", "domain_id"];
    for name in known.iter().filter(|name| shown(name).is_none()) {
        let message = format!("the dump has no {name}");
        checked.findings.push(finder.at(Code::FieldMissing, message, holder.at));
    }
    let is_known = |name: &str| known.contains(&name) || Slot::ALL.iter().any(|slot| slot.name() == name);
    // A wrong level is told by itself; the data of a migration dump stand beside, not among these.
    for (name, member) in holder
        .members()
        .iter()
        .filter(|(name, _)| !is_known(name) && name != "identities")
    {
        let message = format!("the dump has a field \"{}\"", excerpt(name));
        checked.findings.push(finder.at(Code::FieldUnknown, message, member.at));
    }
}

fn party(checked: &mut Checked, finder: &Finder<'_>) {
    let participant = checked.node(Slot::Participant).and_then(|node| node.id.clone());
    let (Some(party), Some(id)) = (&checked.sv_party_id, participant) else {
        return;
    };
    if party.rsplit_once("::").map(|(_, namespace)| namespace) != Some(id.namespace.as_str()) {
        let message = format!("the SV's party {party} is not in the namespace of {}", id.whole);
        checked.findings.push(finder.finding(Code::PartyElsewhere, message));
    }
}

/// Names that are written twice in one object, anywhere.
fn duplicates(value: &Value<'_>, path: &mut String, finder: &Finder<'_>, findings: &mut Findings) {
    match &value.kind {
        Kind::Object(members) => {
            let mut seen = BTreeSet::new();
            for (name, member) in members {
                let length = path.len();
                path.push('.');
                path.push_str(&excerpt(name));
                if !seen.insert(name) {
                    let message = format!("{path} is written more than once");
                    findings.push(finder.at(Code::DuplicateField, message, member.at));
                }
                duplicates(member, path, finder, findings);
                path.truncate(length);
            }
        }
        Kind::List(list) => list
            .iter()
            .for_each(|member| duplicates(member, path, finder, findings)),
        _ => {}
    }
}

/// What several dumps say together: of one network they name one synchronizer, and each is of another SV.
pub fn together(dumps: &[(&Path, &Checked)]) -> Findings {
    let mut findings = Findings::default();
    let mut first: Option<(&Path, &str)> = None;
    let mut seen: Vec<(&Path, &str)> = Vec::new();
    for (file, checked) in dumps {
        if let Some(domain) = checked.domain_id.as_deref() {
            match first {
                None => first = Some((file, domain)),
                Some((_, known)) if known == domain => {}
                Some((other, known)) => {
                    let of = crate::shown::Show::shown(other);
                    let message = format!("it names the synchronizer {domain}, and {of} names {known}");
                    findings.push(Finding::new(Code::DomainsDiffer, message).file(file));
                }
            }
        }
        for id in checked.nodes.iter().filter_map(|node| node.id.as_ref()) {
            match seen.iter().find(|(_, known)| *known == id.whole) {
                None => seen.push((file, &id.whole)),
                Some((other, _)) => {
                    let of = crate::shown::Show::shown(*other);
                    let message = format!("{} is in {of} too", id.whole);
                    findings.push(Finding::new(Code::SameNodeTwice, message).file(file));
                }
            }
        }
    }
    findings
}
