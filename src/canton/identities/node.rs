//! One node's identities: its id, its keys, and the topology it is known by (SPEC-CANTON 2.3).

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::json::{Kind, Value, unescaped};
use super::key::{self, Fault, Proof, Purpose};
use super::shape::Slot;
use super::snapshot::Signatures;
use super::topology;
use crate::canton::release::Splice;
use crate::canton::{Code, Finding, Findings};
use crate::report::Severity;
use crate::shown::excerpt;

/// Keys that are looked into; a node has three to a dozen.
const MOST_KEYS: usize = 1000;
/// The last release whose topology snapshots are refused (SPEC-CANTON 7).
const LAST_REFUSED: Splice = Splice::new(0, 4, 1);

/// Where a node's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Material {
    /// There are none, or none that could be read.
    None,
    /// In the dump.
    Plaintext,
    /// In a KMS; the dump holds their names.
    Kms,
    /// Some here, some there.
    Mixed,
}

/// A node's id: `PAR::name::1220…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// All of it.
    pub whole: String,
    /// Which node it says to be, where its code is one of the three.
    pub slot: Option<Slot>,
    /// The fingerprint that is its namespace.
    pub namespace: String,
}

impl Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.whole)
    }
}

impl NodeId {
    /// Parses `CODE::identifier::fingerprint`.
    pub fn parse(text: &str) -> Option<NodeId> {
        let (code, rest) = text.split_once("::")?;
        let (identifier, namespace) = rest.rsplit_once("::")?;
        let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | ' ' | '-');
        let is_name = !identifier.is_empty()
            && identifier.len() <= crate::canton::name::LONGEST_IDENTIFIER
            && identifier.chars().all(legal)
            && !identifier.contains("::");
        (is_code && is_name && key::is_fingerprint(namespace)).then(|| NodeId {
            whole: text.to_owned(),
            slot: Slot::of_code(code),
            namespace: namespace.to_owned(),
        })
    }
}

/// One key of a node, without anything secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The name that the node gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for, where that could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// The algorithm, of a key in the dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Its fingerprint, of a key in the dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How far it is proven, of a key in the dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Its name in the KMS, of a key that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Whether its fingerprint is the node's namespace.
    pub is_namespace: bool,
}

/// A key that the topology gives a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopologyKey {
    /// What it is for.
    pub purpose: Purpose,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Whether it is the node's namespace.
    pub is_namespace: bool,
}

/// What was found of one node.
#[derive(Clone, Serialize)]
pub struct Node {
    /// Which place it has in the dump.
    pub node: Slot,
    /// Its id, where it has one that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<NodeId>,
    /// The release of Splice that wrote it, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where its keys are.
    pub material: Material,
    /// Its keys, in their order.
    pub keys: Vec<Key>,
    /// Topology transactions in its snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_transactions: Option<usize>,
    /// Signatures of these, each verified by the key that the topology itself names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_signatures: Option<Signatures>,
    /// The keys that the topology says it has: also those in a KMS, whose public keys have these fingerprints.
    pub topology_keys: Vec<TopologyKey>,
    /// Whether everything was checked and nothing is wrong: every key proven, or in a KMS.
    pub is_verified: bool,
}

/// Checks a node that stands in a place. What is wrong goes to the findings, each of which says `of` which node it is.
pub(super) fn check(value: &Value<'_>, slot: Slot, file: &Finder<'_>, out: &mut Findings) -> Node {
    let mut findings = Findings::default();
    let mut say = |code, message: String, at: usize| {
        findings.push(file.at(code, message, at).of(slot.name()));
    };
    let mut node = Node {
        node: slot,
        id: None,
        version: value.text("version").map(|version| excerpt(&version)),
        material: Material::None,
        keys: Vec::new(),
        topology_transactions: None,
        topology_signatures: None,
        topology_keys: Vec::new(),
        is_verified: false,
    };
    match value.text("id") {
        None => say(Code::FieldMissing, "it has no id".into(), value.at),
        Some(id) => match NodeId::parse(&id) {
            None => {
                let message = format!(
                    "its id is \"{}\", and {}::name::1220... was expected",
                    excerpt(&id),
                    slot.code()
                );
                say(Code::IdMalformed, message, value.at);
            }
            Some(id) => {
                if id.slot != Some(slot) {
                    let message = format!("the {}'s place holds {}", slot.name(), excerpt(&id.whole));
                    say(Code::WrongSlot, message, value.at);
                }
                node.id = Some(id);
            }
        },
    }
    if let Some(Ok(version)) = node.version.as_deref().map(str::parse::<Splice>)
        && version <= LAST_REFUSED
    {
        let message = format!(
            "it was written by Splice {}",
            node.version.as_deref().unwrap_or_default()
        );
        say(Code::OldRelease, message, value.at);
    }
    let known: &[&str] = &["id", "keys", "authorizedStoreSnapshot", "version"];
    for (name, member) in value
        .members()
        .iter()
        .filter(|(name, _)| !known.contains(&name.as_ref()))
    {
        say(
            Code::FieldUnknown,
            format!("it has a field \"{}\"", excerpt(name)),
            member.at,
        );
    }
    let namespace = node.id.as_ref().map(|id| id.namespace.clone());
    node.keys = keys(value, namespace.as_deref(), &mut say);
    node.material = material(&node.keys);
    judge_keys(&node, value.at, &mut say);
    topology::check(value, &mut node, &mut say);
    // Of a KMS's keys the public halves are not in the dump: what the topology says is all there is of them.
    node.is_verified = !findings.any_at_least(Severity::Error)
        && node.id.is_some()
        && node
            .keys
            .iter()
            .all(|key| key.proof.is_none_or(|proof| proof == Proof::Proven));
    out.append(findings);
    node
}

/// Where the findings are.
pub(super) struct Finder<'a> {
    /// In which file.
    pub file: Option<&'a Path>,
    /// The offset in the file of the document's first byte; none where bytes were left out.
    pub begins: Option<usize>,
}

impl<'a> Finder<'a> {
    /// For a whole document.
    pub fn of(bytes: &[u8], file: Option<&'a Path>) -> Finder<'a> {
        let is_marked = bytes.starts_with(super::BYTE_ORDER_MARK);
        let begins = Some(if is_marked { super::BYTE_ORDER_MARK.len() } else { 0 });
        Finder { file, begins }
    }

    pub fn finding(&self, code: Code, message: impl AsRef<str>) -> Finding {
        self.place(Finding::new(code, message))
    }

    /// A finding about what stands at an offset of the document.
    pub fn at(&self, code: Code, message: impl AsRef<str>, at: usize) -> Finding {
        self.place(Finding::new(code, message).offset(at as u64))
    }

    /// Puts a finding of the document where it is in the file.
    pub fn place(&self, mut finding: Finding) -> Finding {
        finding.offset = finding
            .offset
            .zip(self.begins)
            .map(|(offset, begins)| offset.saturating_add(begins as u64));
        match self.file {
            Some(file) => finding.file(file),
            None => finding,
        }
    }
}

fn keys(value: &Value<'_>, namespace: Option<&str>, say: &mut impl FnMut(Code, String, usize)) -> Vec<Key> {
    let listed = match value.get("keys").map(|keys| (&keys.kind, keys.at)) {
        Some((Kind::List(listed), _)) if !listed.is_empty() => listed,
        Some((Kind::List(_), at)) => {
            say(Code::FieldMissing, "its list of keys is empty".into(), at);
            return Vec::new();
        }
        _ => {
            say(Code::FieldMissing, "it has no list of keys".into(), value.at);
            return Vec::new();
        }
    };
    if listed.len() > MOST_KEYS {
        let message = format!(
            "it has {} keys, and only the first {MOST_KEYS} are looked into",
            listed.len()
        );
        say(Code::KeyUnreadable, message, value.at);
    }
    let mut keys = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, entry) in listed.iter().take(MOST_KEYS).enumerate() {
        let name = entry.text("name").map(|name| excerpt(&name));
        let called = match &name {
            Some(name) => format!("key {} (\"{name}\")", number + 1),
            None => format!("key {}", number + 1),
        };
        for (field, member) in entry.members() {
            if !["keyPair", "type", "keyId", "name"].contains(&field.as_ref()) {
                say(
                    Code::FieldUnknown,
                    format!("{called} has a field \"{}\"", excerpt(field)),
                    member.at,
                );
            }
        }
        let mut known = Key {
            name,
            purpose: None,
            algorithm: None,
            fingerprint: None,
            proof: None,
            kms_key_id: None,
            is_namespace: false,
        };
        match (entry.given("keyPair"), entry.given("keyId")) {
            (Some(pair), None) => key_pair(pair, &called, namespace, &mut known, say),
            (None, Some(_)) => kms_key(entry, &called, &mut known, say),
            (Some(_), Some(_)) => {
                let message = format!("{called} says to be both in the dump and in a KMS");
                say(Code::KeyUnreadable, message, entry.at);
            }
            (None, None) => {
                let message = format!("{called} has neither a keyPair nor a keyId");
                say(Code::KeyUnreadable, message, entry.at);
            }
        }
        let identity = known.fingerprint.clone().or(known.kms_key_id.clone());
        if identity.is_some_and(|identity| !seen.insert(identity)) {
            say(
                Code::DuplicateKey,
                format!("{called} stands in the list before"),
                entry.at,
            );
        }
        keys.push(known);
    }
    keys
}

fn key_pair(
    pair: &Value<'_>,
    called: &str,
    namespace: Option<&str>,
    known: &mut Key,
    say: &mut impl FnMut(Code, String, usize),
) {
    known.proof = Some(Proof::Wrong);
    let (Kind::Text(raw), Some(text)) = (&pair.kind, text_of(pair)) else {
        let message = format!("{called}: its keyPair is {}, and base64 was expected", pair.called());
        return say(Code::KeyUnreadable, message, pair.at);
    };
    debug_assert!(raw.len() >= text.len());
    let (judged, faults) = key::judge(&text);
    for fault in faults {
        let (code, message) = match fault {
            Fault::Unreadable(why) => (Code::KeyUnreadable, why),
            Fault::Halves(why) => (Code::HalvesDiffer, why),
            Fault::Unproven(why) => (Code::KeyUnproven, why),
            Fault::Fingerprint { carried, computed } => (
                Code::FingerprintWrong,
                format!("it carries the fingerprint {carried}, and its public key has {computed}"),
            ),
        };
        say(code, format!("{called}: {message}"), pair.at);
    }
    if let Some(judged) = judged {
        known.purpose = Some(judged.purpose);
        known.is_namespace = namespace == Some(judged.fingerprint.as_str()) && judged.purpose == Purpose::Signing;
        known.fingerprint = Some(judged.fingerprint);
        known.algorithm = Some(judged.algorithm);
        known.proof = Some(judged.proof);
    }
}

pub(super) fn text_of(value: &Value<'_>) -> Option<zeroize::Zeroizing<String>> {
    match value.kind {
        Kind::Text(raw) => unescaped(raw),
        _ => None,
    }
}

fn kms_key(entry: &Value<'_>, called: &str, known: &mut Key, say: &mut impl FnMut(Code, String, usize)) {
    known.kms_key_id = entry.text("keyId").map(|id| excerpt(&id)).filter(|id| !id.is_empty());
    if known.kms_key_id.is_none() {
        say(
            Code::KeyUnreadable,
            format!("{called}: its keyId is no text, or empty"),
            entry.at,
        );
    }
    known.purpose = match entry.text("type").as_ref().map(|text| text.as_str()) {
        Some("signing") => Some(Purpose::Signing),
        Some("encryption") => Some(Purpose::Encryption),
        _ => {
            let message = format!("{called}: its type is neither signing nor encryption");
            say(Code::KeyUnreadable, message, entry.at);
            None
        }
    };
}

fn material(keys: &[Key]) -> Material {
    let in_dump = keys.iter().any(|key| key.proof.is_some());
    let in_kms = keys.iter().any(|key| key.kms_key_id.is_some());
    match (in_dump, in_kms) {
        (false, false) => Material::None,
        (true, false) => Material::Plaintext,
        (false, true) => Material::Kms,
        (true, true) => Material::Mixed,
    }
}

/// What the node must be able to do with its keys.
fn judge_keys(node: &Node, at: usize, say: &mut impl FnMut(Code, String, usize)) {
    if node.keys.is_empty() {
        return;
    }
    let in_kms = node.keys.iter().filter(|key| key.kms_key_id.is_some()).count();
    let has = |purpose| node.keys.iter().any(|key| key.purpose == Some(purpose));
    if !has(Purpose::Signing) {
        say(Code::PurposeMissing, "it has no signing key".into(), at);
    }
    if node.node == Slot::Participant && !has(Purpose::Encryption) {
        say(
            Code::PurposeMissing,
            "it has no encryption key, and a participant needs one".into(),
            at,
        );
    }
    match node.material {
        Material::Kms => {
            let message = format!("all of its {in_kms} keys are in a KMS: the dump is of no use without it");
            say(Code::KeysInKms, message, at);
        }
        Material::Mixed => {
            let message = format!("{in_kms} of its {} keys are in a KMS", node.keys.len());
            say(Code::MixedKeys, message, at);
        }
        Material::Plaintext | Material::None => {}
    }
    let namespace_is_here = node.keys.iter().any(|key| key.is_namespace);
    if let (Some(id), false, Material::Plaintext) = (&node.id, namespace_is_here, node.material) {
        let message = format!(
            "none of its keys has the fingerprint {} that its id ends with",
            id.namespace
        );
        say(Code::NamespaceKeyMissing, message, at);
    }
}
