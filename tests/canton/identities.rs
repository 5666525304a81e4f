//! Dumps of identities: what is whole is proven, what is not is told for what it is, and no key is ever shown.

mod commands;
mod hostile;
pub mod made;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use made::{Algorithm, Key, Node, Style};
use rekindle::canton::Code;
use rekindle::canton::finding::Ending;
use rekindle::canton::identities::{self, Checked, Material, Proof, Shape, Slot, Standing};
use serde_json::{Value, json};

fn checked(value: &Value) -> Checked {
    identities::check(&serde_json::to_vec(value).unwrap(), None)
}

fn codes(checked: &Checked) -> Vec<Code> {
    let mut codes: Vec<Code> = checked
        .findings
        .clone()
        .finish()
        .iter()
        .map(|found| found.code)
        .collect();
    codes.dedup();
    codes
}

fn of_bytes(bytes: &[u8]) -> Vec<Code> {
    codes(&identities::check(bytes, None))
}

/// A published dump, where the shared data is at hand.
fn published(name: &str) -> Option<Vec<u8>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/canton");
    let directory = std::env::var_os("REKINDLE_CANTON_DATA").map_or(beside, PathBuf::from);
    match std::fs::read(directory.join(name)) {
        Ok(bytes) => Some(bytes),
        Err(_) => {
            eprintln!("skipped: {name} is not at hand");
            None
        }
    }
}

#[test]
fn every_format_of_keys_in_every_shape_is_proven_key_by_key() {
    for style in [Style::Old, Style::Middle, Style::New] {
        let shapes = [
            (made::full(style, 1), Shape::Full),
            (made::unwrapped(style, 1), Shape::Unwrapped),
            (made::migration(style, 1), Shape::Migration),
        ];
        for (value, shape) in shapes {
            let checked = checked(&value);
            assert_eq!(codes(&checked), [], "{style:?} {shape:?}");
            assert_eq!(checked.shape, Some(shape));
            assert_eq!(checked.standing(), Standing::Verified);
            assert_eq!(checked.ending(), Ending::Clean);
            assert!(checked.is_full() && checked.has_private_keys());
            assert_eq!(checked.domain_alias.as_deref(), Some("global"));
            assert!(checked.domain_id.as_ref().unwrap().starts_with("global-domain::1220"));
            for (slot, keys, signatures) in [
                (Slot::Participant, 3, 3),
                (Slot::Sequencer, 2, 3),
                (Slot::Mediator, 2, 3),
            ] {
                let node = checked.node(slot).unwrap();
                assert_eq!((node.keys.len(), node.material), (keys, Material::Plaintext));
                assert!(node.keys.iter().all(|key| key.proof == Some(Proof::Proven)));
                assert_eq!(node.keys.iter().filter(|key| key.is_namespace).count(), 1);
                assert_eq!(node.topology_signatures.unwrap().valid, signatures);
                assert_eq!(node.topology_keys.len(), keys);
            }
        }
        let node = checked(&made::full(style, 1)["identities"]["participant"]);
        assert_eq!((codes(&node), node.shape), (vec![], Some(Shape::Node)));
        assert!(!node.is_full() && node.standing() == Standing::Verified);
    }
}

#[test]
fn a_pair_of_rsa_is_proven_too() {
    use p384::pkcs8::EncodePublicKey;
    use rand_core::SeedableRng;
    use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(11);
    let (pem, _) = rekindle::crypto::rsa::generate_key_pair(2048, &mut rng).unwrap();
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(&pem).unwrap();
    let spki = key.to_public_key().to_public_key_der().unwrap().into_vec();
    let pair = |spki: &[u8], der: &[u8], id: &str| {
        let public = [made::number(2, 4), made::bytes(3, spki), made::number(5, 2)].concat();
        let private = [
            made::bytes(1, id.as_bytes()),
            made::number(2, 5),
            made::bytes(3, der),
            made::number(5, 2),
        ];
        let halves = [made::bytes(1, &public), made::bytes(2, &private.concat())].concat();
        [made::bytes(1, &made::bytes(2, &halves)), made::number(2, 30)].concat()
    };
    let id = {
        use sha2::{Digest, Sha256};
        format!(
            "1220{}",
            hex::encode(Sha256::digest([&12u32.to_be_bytes(), spki.as_slice()].concat()))
        )
    };
    let mut node = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1).json();
    let der = key.to_pkcs8_der().unwrap();
    let added = json!({"keyPair": STANDARD.encode(pair(&spki, der.as_bytes(), &id))});
    node["keys"].as_array_mut().unwrap().push(added);
    let found = checked(&node);
    assert_eq!(codes(&found), []);
    assert_eq!(found.nodes[0].keys[3].proof, Some(Proof::Proven));
    assert_eq!(found.nodes[0].keys[3].fingerprint.as_deref(), Some(id.as_str()));
    assert_eq!(found.nodes[0].keys[3].algorithm.as_deref(), Some("RSA"));
}

#[test]
fn the_published_dumps_are_what_they_are() {
    if let Some(bytes) = published("alice-plaintext-id-identity-dump.json") {
        let checked = identities::check(&bytes, None);
        assert_eq!(codes(&checked), [Code::OldRelease]);
        assert_eq!(checked.standing(), Standing::Verified);
        let node = checked.node(Slot::Participant).unwrap();
        assert!(node.keys.iter().all(|key| key.proof == Some(Proof::Proven)));
        assert_eq!(
            node.topology_signatures.map(|count| (count.valid, count.wrong)),
            Some((3, 0))
        );
    }
    for name in ["alice-kms-id-identity-dump.json", "sv2-kms-id-identity-dump.json"] {
        let Some(bytes) = published(name) else { continue };
        let checked = identities::check(&bytes, None);
        assert_eq!(codes(&checked), [Code::KeysInKms]);
        assert_eq!(
            (checked.standing(), checked.ending()),
            (Standing::NeedsKms, Ending::Clean)
        );
        let node = checked.node(Slot::Participant).unwrap();
        assert!(
            node.keys
                .iter()
                .all(|key| key.kms_key_id.is_some() && key.fingerprint.is_none())
        );
        assert_eq!(node.topology_keys.len(), 3, "also those in the KMS");
        assert_eq!(node.topology_signatures.unwrap().valid, 3);
    }
}

/// Every byte of every key pair, changed in these ways: nobody may believe the dump any more.
fn every_byte_counts(node: &Value, is_private_alone: bool, changes: &[u8]) -> usize {
    let mut tried = 0;
    for (at, key) in node["keys"].as_array().unwrap().iter().enumerate() {
        let pair = STANDARD.decode(key["keyPair"].as_str().unwrap()).unwrap();
        for (byte, change) in (0..pair.len()).flat_map(|byte| changes.iter().map(move |change| (byte, *change))) {
            // What it may be used for stands in the private half alone in newer releases, and nothing contradicts it.
            let usages = pair.len() - 7..pair.len() - 4;
            if is_private_alone && usages.contains(&byte) {
                continue;
            }
            let mut changed = pair.clone();
            changed[byte] ^= change;
            let mut node = node.clone();
            node["keys"][at]["keyPair"] = STANDARD.encode(&changed).into();
            let found = checked(&node);
            assert_eq!(
                found.standing(),
                Standing::Unverified,
                "key {at}, byte {byte} ^ {change:#x}"
            );
            tried += 1;
        }
    }
    tried
}

#[test]
fn no_byte_of_a_key_pair_changes_unnoticed() {
    if let Some(bytes) = published("alice-plaintext-id-identity-dump.json") {
        assert!(every_byte_counts(&serde_json::from_slice(&bytes).unwrap(), false, &[1, 0x80, 0xff]) > 1500);
    }
    for (algorithm, style) in [
        (Algorithm::Ed25519, Style::New),
        (Algorithm::Ed25519, Style::Middle),
        (Algorithm::P256, Style::New),
    ] {
        let node = Node::new("PAR", "sv", algorithm, style, 40).json();
        assert!(every_byte_counts(&node, style == Style::New, &[1]) > 300);
    }
}

#[test]
fn no_byte_of_a_signed_topology_changes_unnoticed() {
    let node = Node::new("SEQ", "sv", Algorithm::Ed25519, Style::Old, 9);
    let (value, snapshot) = (node.json(), node.snapshot());
    let time = made::number(1, 1_736_874_696);
    let mut unnoticed = Vec::new();
    for byte in 0..snapshot.len() {
        let mut changed = snapshot.clone();
        changed[byte] ^= 1;
        let mut value = value.clone();
        value["authorizedStoreSnapshot"] = STANDARD.encode(&changed).into();
        if codes(&checked(&value)).is_empty() {
            unnoticed.push(byte);
        }
    }
    // The times at which the store received them, and how a signature names its format, are signed by nobody.
    assert!(unnoticed.len() <= 4 * (time.len() + 2) + 3 * 4, "{unnoticed:?}");
}

#[test]
fn what_a_node_lacks_is_named() {
    let node = || Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1);
    let without = |at: usize| {
        let mut value = node().json();
        value["keys"].as_array_mut().unwrap().remove(at);
        codes(&checked(&value))
    };
    assert_eq!(without(0), [Code::NamespaceKeyMissing]);
    assert_eq!(without(1), [Code::TopologyKeyMissing]);
    assert_eq!(without(2), [Code::PurposeMissing, Code::TopologyKeyMissing]);

    // The name says namespace, the fingerprint does not.
    let mut renamed = node().json();
    renamed["keys"][0]["name"] = "signing".into();
    renamed["keys"][1]["name"] = "namespace".into();
    assert_eq!(codes(&checked(&renamed)), []);

    let mut twice = node().json();
    let first = twice["keys"][0].clone();
    twice["keys"].as_array_mut().unwrap().push(first);
    assert_eq!(codes(&checked(&twice)), [Code::DuplicateKey]);

    for (field, expected) in [
        ("id", vec![Code::FieldMissing]),
        ("keys", vec![Code::FieldMissing, Code::TopologyKeyMissing]),
        ("authorizedStoreSnapshot", vec![Code::FieldMissing]),
    ] {
        for empty in [None, Some(Value::Null)] {
            let mut value = node().json();
            match empty {
                None => drop(value.as_object_mut().unwrap().remove(field)),
                Some(null) => value[field] = null,
            }
            let found = codes(&checked(&value));
            assert_eq!(found.first(), expected.first(), "{field} {found:?}");
        }
    }
    let mut unversioned = node().json();
    unversioned.as_object_mut().unwrap().remove("version");
    assert_eq!(codes(&checked(&unversioned)), [], "the manual script writes no version");
}

#[test]
fn keys_and_topology_of_different_nodes_are_not_taken_for_one() {
    let one = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1).json();
    let other = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 5).json();
    let mut mixed = one.clone();
    mixed["authorizedStoreSnapshot"] = other["authorizedStoreSnapshot"].clone();
    assert_eq!(codes(&checked(&mixed)), [Code::SnapshotForeign]);
    let mut mixed = one.clone();
    mixed["keys"] = other["keys"].clone();
    assert_eq!(
        codes(&checked(&mixed)),
        [Code::NamespaceKeyMissing, Code::TopologyKeyMissing]
    );
    let mut mixed = one.clone();
    mixed["keys"][1] = other["keys"][1].clone();
    assert_eq!(codes(&checked(&mixed)), [Code::TopologyKeyMissing]);

    for (snapshot, expected) in [("", 1), ("!!", 1), ("QUJD", 1)] {
        let mut broken = one.clone();
        broken["authorizedStoreSnapshot"] = snapshot.into();
        assert_eq!(codes(&checked(&broken)), [Code::SnapshotUnreadable]);
        assert_eq!(checked(&broken).nodes.len(), expected);
    }
    let disagreeing = Node {
        agrees: false,
        ..Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1)
    };
    assert_eq!(codes(&checked(&disagreeing.json())), [Code::AuthorizersMissing]);
}

#[test]
fn a_key_that_is_not_what_it_says_is_told_apart_from_one_that_cant_be_read() {
    let one = Key::new(true, Algorithm::Ed25519, 51, "one");
    let other = Key::new(true, Algorithm::Ed25519, 52, "other");
    let pair = |public: &Key, private: &Key| {
        let halves = [
            made::bytes(1, &public.public(Style::Old)),
            made::bytes(2, &private.private(Style::Old)),
        ];
        [made::bytes(1, &made::bytes(1, &halves.concat())), made::number(2, 30)].concat()
    };
    let with = |pair: &[u8]| {
        let mut node = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1).json();
        let added = json!({"keyPair": STANDARD.encode(pair), "name": "added"});
        node["keys"].as_array_mut().unwrap().push(added);
        codes(&checked(&node))
    };
    assert_eq!(with(&pair(&one, &other)), [Code::FingerprintWrong, Code::HalvesDiffer]);
    assert_eq!(with(b""), [Code::KeyUnreadable]);
    assert_eq!(with(b"nonsense"), [Code::KeyUnreadable]);
    let symbolic = {
        let key = [made::number(2, 10_000), made::bytes(3, b"symbolic"), made::number(6, 1)].concat();
        let id = {
            use sha2::{Digest, Sha256};
            format!(
                "1220{}",
                hex::encode(Sha256::digest([&12u32.to_be_bytes(), b"symbolic".as_slice()].concat()))
            )
        };
        let halves = [
            made::bytes(1, &key),
            made::bytes(2, &[made::bytes(1, id.as_bytes()), key.clone()].concat()),
        ];
        [made::bytes(1, &made::bytes(1, &halves.concat())), made::number(2, 30)].concat()
    };
    assert_eq!(with(&symbolic), [Code::KeyUnproven]);
    // An algorithm of tomorrow: said, not failed; and the dump is not called verified.
    let tomorrow = {
        let mut key = other.private(Style::New);
        *key.last_mut().unwrap() = 5;
        [
            made::bytes(1, &made::bytes(1, &made::bytes(2, &key))),
            made::number(2, 30),
        ]
        .concat()
    };
    assert_eq!(with(&tomorrow), [Code::KeyUnproven]);
}

#[test]
fn keys_in_a_kms_are_counted_against_the_topology() {
    let in_kms = Node {
        in_kms: true,
        ..Node::new("PAR", "sv", Algorithm::P256, Style::Middle, 1)
    };
    let found = checked(&in_kms.json());
    assert_eq!(codes(&found), [Code::KeysInKms]);
    assert_eq!(found.standing(), Standing::NeedsKms);
    assert!(!found.has_private_keys());
    let mut fewer = in_kms.json();
    fewer["keys"].as_array_mut().unwrap().remove(0);
    assert_eq!(codes(&checked(&fewer)), [Code::TopologyKeyMissing, Code::KeysInKms]);

    let mut mixed = in_kms.json();
    let plain = Node::new("PAR", "sv", Algorithm::P256, Style::Middle, 1).json();
    mixed["keys"][1] = plain["keys"][1].clone();
    let found = checked(&mixed);
    assert_eq!(codes(&found), [Code::MixedKeys]);
    assert_eq!(found.nodes[0].material, Material::Mixed);
    assert_eq!(
        (found.standing(), found.ending()),
        (Standing::NeedsKms, Ending::Negative)
    );
}

#[test]
fn places_ids_parties_and_releases_are_looked_at() {
    let mut swapped = made::full(Style::Old, 1);
    let participant = swapped["identities"]["participant"].take();
    swapped["identities"]["participant"] = swapped["identities"]["sequencer"].take();
    swapped["identities"]["sequencer"] = participant;
    let found = codes(&checked(&swapped));
    assert!(found.contains(&Code::WrongSlot), "{found:?}");

    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = made::full(Style::Old, 1);
        change(&mut value["identities"]);
        codes(&checked(&value))
    };
    assert_eq!(with(&|all| all["mediator"] = Value::Null), [Code::FieldMissing]);
    assert_eq!(
        with(&|all| drop(all.as_object_mut().unwrap().remove("sequencer"))),
        [Code::FieldMissing]
    );
    assert_eq!(
        with(&|all| drop(all.as_object_mut().unwrap().remove("domain_id"))),
        [Code::FieldMissing]
    );
    assert_eq!(
        with(&|all| all["sv_party_id"] = "sv::1220ab".into()),
        [Code::PartyElsewhere]
    );
    assert_eq!(with(&|all| all["something"] = 1.into()), [Code::FieldUnknown]);
    assert_eq!(
        with(&|all| all["mediator"]["id"] = "MED::sv".into()),
        [Code::IdMalformed]
    );
    for (version, expected) in [
        ("0.4.1", vec![Code::OldRelease]),
        ("0.4.1-snapshot.1", vec![Code::OldRelease]),
        ("0.3.6-foo-dirty", vec![Code::OldRelease]),
        ("0.4.2", vec![]),
        ("0.10.0", vec![]),
        ("tomorrow", vec![]),
    ] {
        assert_eq!(
            with(&|all| all["mediator"]["version"] = version.into()),
            expected,
            "{version}"
        );
    }
}

#[test]
fn the_documented_collision_is_told_by_shape() {
    let add = |one: &Value, other: &Value| {
        let mut sum = one.clone();
        sum.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        sum
    };
    let full = made::full(Style::Old, 1);
    let node = &full["identities"]["participant"];
    let collisions = [
        add(node, &made::data()),
        add(&full["identities"], &made::data()),
        add(&full, node),
        json!({ "identities": node }),
        add(&json!({ "identities": node }), &made::data()),
    ];
    for collision in &collisions {
        let found = checked(collision);
        assert_eq!(codes(&found), [Code::CollidedMerge]);
        assert_eq!((found.shape, found.ending()), (None, Ending::Negative));
        assert!(identities::shape(&serde_json::to_vec(collision).unwrap()).is_err());
    }
    let right = add(&full, &made::data());
    assert_eq!(checked(&right).shape, Some(Shape::Migration));
    assert_eq!(codes(&checked(&json!({ "identities": full }))), [Code::WrappedTwice]);
    let bytes = serde_json::to_vec(&full).unwrap();
    let (shape, span) = identities::document(&bytes).unwrap_or_else(|_| panic!("full"));
    assert_eq!(shape, Shape::Full);
    let inside: Value = serde_json::from_slice(&bytes[span]).unwrap();
    assert_eq!(inside, full["identities"]);
    let alone = identities::document(&serde_json::to_vec(node).unwrap()).unwrap_err();
    assert_eq!(alone.code, Code::OnlyOneNode);
}

#[test]
fn a_validators_dump_holds_its_participant() {
    let participant = Node::new("PAR", "validator", Algorithm::Ed25519, Style::Old, 1).json();
    let dump = json!({
        "migration_id": 1, "domain_id": "global-domain::1220", "participant": participant, "acs_snapshot": "QUNT",
        "acs_timestamp": "2024-04-17T19:12:02Z", "dars": [], "participant_users": {}, "created_at": "2024-04-17T19:12:02Z",
    });
    for value in [dump.clone(), json!({"data_snapshot": dump, "migration_id": 1})] {
        let found = checked(&value);
        assert_eq!((codes(&found), found.shape), (vec![], Some(Shape::Migration)));
        assert!(found.is_validators && found.node(Slot::Participant).is_some());
        assert!(identities::document(&serde_json::to_vec(&value).unwrap()).is_err());
    }
}

#[test]
fn what_was_stored_instead_of_a_dump_is_told_for_what_it_is() {
    for (bytes, expected) in [
        (b"".as_slice(), Code::AnswerStored),
        (b" \n", Code::AnswerStored),
        (b"null\n", Code::AnswerStored),
        (&[0; 4096], Code::AnswerStored),
        (b"<!DOCTYPE html><html>login</html>", Code::AnswerStored),
        (b"\n<HTML>", Code::AnswerStored),
        (
            br#"{"error":"The requested resource could not be found."}"#,
            Code::AnswerStored,
        ),
        (br#""{\"identities\":{}}""#, Code::NotIdentities),
        (br#"{"identities":"{}"}"#, Code::NotIdentities),
        (br#"{"identities":null}"#, Code::NotIdentities),
        (b"[]", Code::NotIdentities),
        (b"{}", Code::NotIdentities),
        (b"7", Code::NotIdentities),
        (b"{\"identities\":", Code::NotJson),
        (b"{} {}", Code::NotJson),
        (b"\xff\xfe{\0}\0", Code::NotJson),
        (b"curl: (22) The requested URL returned error: 404", Code::NotJson),
    ] {
        let found = identities::check(bytes, None);
        assert_eq!(codes(&found), [expected], "{}", String::from_utf8_lossy(bytes));
        assert_eq!(found.ending(), Ending::Unreadable);
    }
    assert_eq!(codes(&checked(&made::data())), [Code::NotIdentities]);
}

#[test]
fn what_readers_would_understand_differently_is_an_error() {
    let text = serde_json::to_string(&made::full(Style::Old, 1)).unwrap();
    let with_mark = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    assert_eq!(of_bytes(&with_mark), [Code::ByteOrderMark]);
    assert_eq!(of_bytes(format!("\r\n {text} \n\n").as_bytes()), []);
    let twice = text.replacen("\"domain_alias\"", "\"domain_alias\":\"x\",\"domain_alias\"", 1);
    assert_eq!(of_bytes(twice.as_bytes()), [Code::DuplicateField]);
    let escaped = text.replacen("\"domain_alias\"", "\"domain_\\u0061lias\":\"x\",\"domain_alias\"", 1);
    assert_eq!(of_bytes(escaped.as_bytes()), [Code::DuplicateField]);
    for end in [1, text.len() / 2, text.len() - 1] {
        assert_eq!(of_bytes(&text.as_bytes()[..end]), [Code::NotJson]);
    }
}

#[test]
fn an_id_that_the_topology_does_not_know_is_not_the_nodes() {
    let node = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1).json();
    assert!(checked(&node).findings.finish().is_empty());
    for (from, to) in [("PAR::sv::", "PAR::sv2::"), ("PAR::sv::", "SEQ::sv::")] {
        let mut other = node.clone();
        other["id"] = json!(node["id"].as_str().unwrap().replace(from, to));
        assert!(codes(&checked(&other)).contains(&Code::SnapshotForeign), "{to}");
    }
}
