//! Whether a node's topology and its keys belong together.

use super::json::Value;
use super::key::{self, Purpose};
use super::node::{Key, Material, Node, TopologyKey, text_of};
use super::snapshot::{self, Snapshot};
use crate::canton::Code;

/// Reads a node's snapshot, and says what is wrong with it.
pub(super) fn check(value: &Value<'_>, node: &mut Node, say: &mut impl FnMut(Code, String, usize)) {
    let Some(member) = value.given("authorizedStoreSnapshot") else {
        return say(Code::FieldMissing, "it has no authorizedStoreSnapshot".into(), value.at);
    };
    let Some(bytes) = text_of(member).and_then(|text| key::base64(&text)) else {
        return say(
            Code::SnapshotUnreadable,
            "its authorizedStoreSnapshot is not base64".into(),
            member.at,
        );
    };
    if bytes.is_empty() {
        return say(
            Code::SnapshotUnreadable,
            "its authorizedStoreSnapshot is empty".into(),
            member.at,
        );
    }
    let (whole, namespace) = node
        .id
        .as_ref()
        .map_or(("", ""), |id| (id.whole.as_str(), id.namespace.as_str()));
    let Ok(snapshot) = snapshot::read(&bytes, whole, namespace) else {
        let message = "its authorizedStoreSnapshot is not the protobuf envelope of version 30 that Canton writes";
        return say(Code::SnapshotUnreadable, message.into(), member.at);
    };
    judge_topology(&snapshot, node, member.at, say);
    node.topology_transactions = Some(snapshot.transactions);
    node.topology_signatures = Some(snapshot.signatures);
    node.topology_keys = topology_keys(&snapshot, namespace);
}

fn judge_topology(snapshot: &Snapshot, node: &Node, at: usize, say: &mut impl FnMut(Code, String, usize)) {
    if snapshot.unread > 0 {
        let message = format!(
            "{} of the {} topology transactions in its authorizedStoreSnapshot can't be read",
            snapshot.unread, snapshot.transactions
        );
        say(Code::SnapshotUnreadable, message, at);
    }
    if snapshot.signatures.wrong > 0 {
        let message = format!(
            "{} of the {} signatures in its authorizedStoreSnapshot that can be verified are wrong",
            snapshot.signatures.wrong,
            snapshot.signatures.wrong + snapshot.signatures.valid
        );
        say(Code::TopologySignatureWrong, message, at);
    }
    if snapshot.unsigned > 0 {
        let message = format!(
            "{} of its own topology transactions carry no valid signature of its namespace",
            snapshot.unsigned
        );
        say(Code::TopologySignatureWrong, message, at);
    }
    let Some(id) = &node.id else {
        return;
    };
    if !snapshot.names_the_namespace {
        let message = format!("its authorizedStoreSnapshot never names its namespace {}", id.namespace);
        return say(Code::SnapshotForeign, message, at);
    }
    if !snapshot.has_root && snapshot.unread == 0 {
        let message = format!(
            "its authorizedStoreSnapshot does not hold the key of its namespace {}",
            id.namespace
        );
        say(Code::SnapshotForeign, message, at);
    }
    if snapshot.keys.is_none() && !snapshot.others.is_empty() {
        let others: Vec<&str> = snapshot.others.iter().map(String::as_str).collect();
        let message = format!(
            "its authorizedStoreSnapshot gives {} no keys, but {}",
            id.whole,
            others.join(", ")
        );
        say(Code::SnapshotForeign, message, at);
    }
    if !snapshot.not_signed_by.is_empty() {
        let message = format!(
            "its OwnerToKeyMapping is not signed by its key {}",
            snapshot.not_signed_by.join(", ")
        );
        say(Code::AuthorizersMissing, message, at);
    }
    let missing_for = |purpose| -> Vec<String> {
        let missing = topology_keys(snapshot, &id.namespace).into_iter().filter(|key| {
            let is_here = node
                .keys
                .iter()
                .any(|known| known.fingerprint.as_ref() == Some(&key.fingerprint));
            key.purpose == purpose && !is_here
        });
        // That the namespace's own key is missing among keys in the dump is said already.
        let is_said = |key: &TopologyKey| key.is_namespace && node.material == Material::Plaintext;
        missing.filter(|key| !is_said(key)).map(|key| key.fingerprint).collect()
    };
    for (purpose, called) in [(Purpose::Signing, "signing"), (Purpose::Encryption, "encryption")] {
        let missing = missing_for(purpose);
        // Keys in a KMS carry no fingerprint: each of them may be one that the topology names.
        let in_kms = |key: &&Key| key.kms_key_id.is_some() && key.purpose == Some(purpose);
        if missing.len() > node.keys.iter().filter(in_kms).count() {
            let message = format!(
                "the topology gives it {called} keys that are not among its {}: {}",
                node.keys.len(),
                missing.join(", ")
            );
            say(Code::TopologyKeyMissing, message, at);
        }
    }
}

/// The keys that a snapshot gives a node: its namespace's own, and those of its mapping.
fn topology_keys(snapshot: &Snapshot, namespace: &str) -> Vec<TopologyKey> {
    let root = snapshot.has_root.then(|| (Purpose::Signing, namespace.to_owned()));
    let named = snapshot
        .keys
        .iter()
        .flatten()
        .filter(|(_, fingerprint)| fingerprint != namespace);
    root.iter()
        .chain(named)
        .map(|(purpose, fingerprint)| TopologyKey {
            purpose: *purpose,
            is_namespace: fingerprint == namespace,
            fingerprint: fingerprint.clone(),
        })
        .collect()
}
