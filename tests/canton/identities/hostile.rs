//! Whatever the bytes are: an answer, in time, in little memory, and no panic.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rekindle::canton::Code;
use rekindle::canton::identities;
use serde_json::{Value, json};

use super::made::{self, Algorithm, Node, Style};
use super::{checked, codes, of_bytes};

fn in_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let out = work();
    // Debug builds on busy machines are slow; what grows without bound takes hours.
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{what} took {:?}",
        begun.elapsed()
    );
    out
}

#[test]
fn documents_that_never_end_are_refused_soon() {
    let deep = [vec![b'['; 8 << 20], vec![b']'; 8 << 20]].concat();
    assert_eq!(in_time("depth", || of_bytes(&deep)), [Code::NotJson]);
    let wide = [b"[".as_slice(), &b"0,".repeat(4 << 20), b"0]"].concat();
    assert_eq!(in_time("width", || of_bytes(&wide)), [Code::NotJson]);
    let names = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(90_000));
    let found = in_time("names", || identities::check(names.as_bytes(), None).findings.finish());
    assert!(found.len() < 200 && found.iter().any(|finding| finding.code == Code::DuplicateField));
    let wrapped = format!("{}{{}}{}", "{\"identities\":".repeat(60), "}".repeat(60));
    in_time("wraps", || of_bytes(wrapped.as_bytes()));
    let long = vec![b' '; identities::LONGEST + 1];
    assert_eq!(in_time("length", || of_bytes(&long)), [Code::NotIdentities]);
}

#[test]
fn thousands_of_keys_and_signatures_end_in_time() {
    let mut node = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1).json();
    let key = node["keys"][2].clone();
    node["keys"]
        .as_array_mut()
        .unwrap()
        .extend(std::iter::repeat_n(key, 20_000));
    let found = in_time("keys", || checked(&node));
    assert!(codes(&found).contains(&Code::KeyUnreadable) && found.nodes[0].keys.len() == 1000);

    let same = json!({"id": "PAR::x", "keys": vec![json!({"type": "signing", "keyId": "same"}); 40_000]});
    let same = serde_json::to_vec(&same).unwrap();
    assert!(in_time("diff", || identities::compare(&same, &same)).is_ok_and(|comparison| comparison.is_same));

    let made = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1);
    let snapshot = made.snapshot();
    let items = &snapshot[1 + 2..snapshot.len() - 2];
    let many = [made::bytes(1, &items.repeat(4_000)), made::number(2, 30)].concat();
    let mut node = made.json();
    node["authorizedStoreSnapshot"] = STANDARD.encode(many).into();
    let found = in_time("signatures", || checked(&node));
    let signatures = found.nodes[0].topology_signatures.unwrap();
    assert_eq!((signatures.valid, signatures.wrong), (10_000, 0));
    assert_eq!(signatures.unchecked, 2_000);
}

#[test]
fn nothing_foreign_reaches_a_terminal() {
    let evil = "\u{1b}[2J\n\u{202e}";
    let mut value = made::full(Style::Old, 1);
    value["identities"]["participant"]["id"] = evil.into();
    value["identities"]["participant"]["version"] = evil.into();
    value["identities"]["participant"]["keys"][0]["name"] = evil.into();
    value["identities"]["participant"]["keys"][1] = json!({"type": evil, "keyId": evil, "name": evil, evil: 1});
    value["identities"]["domain_id"] = evil.into();
    value["identities"][evil] = 1.into();
    let found = checked(&value);
    let plain = |text: &str| text.chars().all(rekindle::shown::is_plain);
    assert!(plain(found.domain_id.as_ref().unwrap()));
    for finding in found.findings.finish() {
        assert!(plain(&finding.message), "{:?}", finding.message);
    }
    let refused = checked(&json!({"error": evil})).findings.finish();
    assert!(plain(&refused[0].message));
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[A-Za-z0-9+/=:]{0,40}".prop_map(Value::from),
        Just(Value::from("PAR::sv::1220")),
    ];
    let name = prop_oneof![
        Just("identities"),
        Just("participant"),
        Just("sequencer"),
        Just("keys"),
        Just("id"),
        Just("keyPair"),
        Just("keyId"),
        Just("type"),
        Just("authorizedStoreSnapshot"),
        Just("data_snapshot"),
        Just("error"),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&made::full(Style::Old, 1)).unwrap());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_tree_is_answered(value in tree()) {
        let bytes = serde_json::to_vec(&value).unwrap();
        let found = identities::check(&bytes, None);
        prop_assert!(found.shape.is_some() || !found.findings.clone().finish().is_empty());
        prop_assert_eq!(found.shape, identities::shape(&bytes).ok());
        let _ = identities::compare(&bytes, &bytes);
        let _ = identities::extract(&bytes, identities::Slot::Participant, std::path::Path::new("x"));
    }

    #[test]
    fn any_damage_is_answered(at in any::<prop::sample::Index>(), with in proptest::collection::vec(any::<u8>(), 0..4)) {
        let mut bytes = WHOLE.clone();
        let at = at.index(bytes.len());
        let end = (at + 2).min(bytes.len());
        bytes.splice(at..end, with);
        let _ = identities::check(&bytes, None).ending();
    }

    #[test]
    fn any_key_pair_is_answered(pair in proptest::collection::vec(any::<u8>(), 0..200)) {
        let node = json!({"id": "PAR::sv::1220", "keys": [{"keyPair": STANDARD.encode(&pair)}],
            "authorizedStoreSnapshot": STANDARD.encode(&pair)});
        prop_assert_eq!(checked(&node).standing(), identities::Standing::Unverified);
    }
}
