use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::judgement::{Expected, Form, judge};
use super::super::reading::Reading;
use super::*;
use crate::canton::finding::Code;

const AT: &str = "2024-04-17T19:12:02Z";

fn dump() -> Value {
    json!({
        "created_at": AT, "migration_id": 3,
        "data_snapshot": {
            "genesis_state": "QUJD", "acs_snapshot": "QUJDRA==", "acs_timestamp": AT, "acs_format": "ledger_api",
            "dars": [{ "hash": "1220aa", "content": "QUI=" }, { "hash": "1220bb", "content": "QQ==" }],
            "synchronizer_was_paused": false, "separate_payload_files": false
        },
        "participant_users": { "identityProviders": [], "users": [{ "id": "a", "annotations": { "a": "b" } }, {}] }
    })
}

fn read(bytes: &[u8], piece: usize) -> Result<Found, Fault> {
    let mut reading = Reading::default();
    for piece in bytes.chunks(piece) {
        reading.feed(piece)?;
    }
    Ok(reading.finish()?.found)
}

fn expected() -> Expected {
    Expected {
        form: Form::Sv,
        timestamp: Some(AT.parse().unwrap()),
        migration_id: Some(3),
        release: Some("0.5.4".parse().unwrap()),
    }
}

fn codes(value: &Value, expected: &Expected) -> Vec<Code> {
    let found = read(value.to_string().as_bytes(), 7).unwrap();
    judge(&found, expected)
        .finish()
        .iter()
        .map(|finding| finding.code)
        .collect()
}

#[test]
fn a_good_dump_is_seen_whole_and_nothing_is_wrong_with_it() {
    let text = dump().to_string();
    for piece in [1, 2, 5, 10_000] {
        let found = read(text.as_bytes(), piece).unwrap();
        let snapshot = found.snapshot.as_ref().unwrap();
        assert_eq!((snapshot.acs_bytes, snapshot.genesis_bytes), (Some(4), Some(3)));
        assert_eq!((snapshot.dars, snapshot.dar_bytes), (Some(2), 3));
        assert_eq!(found.users, Some(2));
        for member in &found.members {
            let span = usize::try_from(member.start).unwrap()..usize::try_from(member.end).unwrap();
            let value: Value = serde_json::from_str(&text[span]).unwrap();
            assert_eq!(value, dump()[&member.name]);
        }
        assert_eq!(found.members.len(), 4);
        assert!(judge(&found, &expected()).finish().is_empty());
    }
}

/// The dump with a change, and what is said of it.
#[test]
fn each_thing_that_may_be_wrong_has_its_finding() {
    let with = |pointer: &str, value: Value| {
        let mut dump = dump();
        *dump.pointer_mut(pointer).unwrap() = value;
        dump
    };
    let without = |parent: &str, key: &str| {
        let mut dump = dump();
        dump.pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(key)
            .unwrap();
        dump
    };
    let cases = [
        (json!([]), Code::NotASnapshot),
        (json!("text"), Code::NotASnapshot),
        (json!({"error": "no"}), Code::NotASnapshot),
        (without("", "data_snapshot"), Code::NotASnapshot),
        (with("/data_snapshot", Value::Null), Code::NotASnapshot),
        (without("", "created_at"), Code::IncompleteSnapshot),
        (without("", "migration_id"), Code::IncompleteSnapshot),
        (without("", "participant_users"), Code::IncompleteSnapshot),
        (without("/participant_users", "users"), Code::IncompleteSnapshot),
        (without("/data_snapshot", "dars"), Code::IncompleteSnapshot),
        (with("/data_snapshot/dars", json!([])), Code::IncompleteSnapshot),
        (without("/data_snapshot", "acs_snapshot"), Code::IncompleteSnapshot),
        (with("/data_snapshot/acs_snapshot", json!("")), Code::IncompleteSnapshot),
        (without("/data_snapshot", "acs_timestamp"), Code::IncompleteSnapshot),
        (with("/data_snapshot/acs_snapshot", json!("QUJ")), Code::DamagedSnapshot),
        (with("/data_snapshot/acs_snapshot", json!(5)), Code::DamagedSnapshot),
        (with("/data_snapshot/genesis_state", json!("*")), Code::DamagedSnapshot),
        (
            with("/data_snapshot/dars/1/content", json!("QQ")),
            Code::DamagedSnapshot,
        ),
        (with("/data_snapshot/dars/1/content", json!("")), Code::DamagedSnapshot),
        (
            with("/data_snapshot/dars/0", json!({"hash": "a"})),
            Code::DamagedSnapshot,
        ),
        (with("/data_snapshot/dars/0", json!(1)), Code::DamagedSnapshot),
        (with("/created_at", json!("2024-04-17T19:12:03Z")), Code::WrongTimestamp),
        (with("/created_at", json!("yesterday")), Code::WrongTimestamp),
        (
            with("/data_snapshot/acs_timestamp", json!("2024-04-17T19:12:03Z")),
            Code::WrongTimestamp,
        ),
        (with("/migration_id", json!(4)), Code::WrongMigration),
        (with("/migration_id", json!(-1)), Code::WrongMigration),
        (
            with("/data_snapshot/acs_format", json!("admin_api")),
            Code::OldAcsFormat,
        ),
        (with("/data_snapshot/acs_format", json!("other")), Code::OldAcsFormat),
        (without("/data_snapshot", "acs_format"), Code::OldAcsFormat),
        (
            with("/data_snapshot/separate_payload_files", json!(true)),
            Code::SeparateFiles,
        ),
    ];
    for (value, code) in cases {
        assert_eq!(codes(&value, &expected()), [code], "{value}");
    }
}

#[test]
fn an_old_format_is_fine_for_an_old_release_and_a_warning_for_an_unknown_one() {
    let mut dump = dump();
    dump["data_snapshot"].as_object_mut().unwrap().remove("acs_format");
    let of = |release: Option<&str>| Expected {
        release: release.map(|text| text.parse().unwrap()),
        ..expected()
    };
    assert!(codes(&dump, &of(Some("0.4.9"))).is_empty());
    assert_eq!(codes(&dump, &of(None)), [Code::OldAcsFormat]);
}

#[test]
fn without_a_genesis_state_no_new_synchronizer_begins() {
    for nothing in [None, Some(Value::Null), Some(json!(""))] {
        let mut dump = dump();
        let snapshot = dump["data_snapshot"].as_object_mut().unwrap();
        snapshot.remove("genesis_state");
        snapshot.extend(nothing.map(|nothing| ("genesis_state".to_owned(), nothing)));
        let found = read(dump.to_string().as_bytes(), 7).unwrap();
        let findings = judge(&found, &expected()).finish();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].code, Code::IncompleteSnapshot);
        assert_eq!(findings[0].severity, crate::report::Severity::Info);
        assert!(findings[0].message.contains("genesis_state"));
    }
}

#[test]
fn a_validators_dump_is_told_from_an_svs() {
    let inner = json!({
        "participant": {}, "participant_users": {}, "acs_snapshot": "QUJD", "acs_timestamp": AT,
        // When the validator made it, not the time of its contracts.
        "created_at": "2026-11-22T07:00:01.123456Z",
        "dars": [{ "hash": "1", "content": "QUI=" }], "migration_id": 3, "domain_id": "global::1220",
        "acs_format": "ledger_api"
    });
    let whole = json!({ "data_snapshot": inner, "migration_id": 3 });
    let validators = Expected {
        form: Form::Validator,
        ..expected()
    };
    assert!(codes(&whole, &validators).is_empty());
    let mut other = whole.clone();
    other["data_snapshot"]["acs_timestamp"] = json!("2024-04-17T19:12:03Z");
    assert_eq!(codes(&other, &validators), [Code::WrongTimestamp]);
    other["data_snapshot"]["acs_timestamp"] = json!(AT);
    other["data_snapshot"]["created_at"] = json!("yesterday");
    assert_eq!(codes(&other, &validators), [Code::WrongTimestamp]);
    assert_eq!(codes(&whole, &expected()), [Code::NotASnapshot]);
    assert_eq!(codes(&dump(), &validators), [Code::NotASnapshot]);
    let mut reading = Reading::of_snapshot_alone();
    reading.feed(inner.to_string().as_bytes()).unwrap();
    let alone = Expected {
        form: Form::ValidatorFile,
        ..expected()
    };
    assert!(judge(&reading.finish().unwrap().found, &alone).finish().is_empty());
}

#[test]
fn a_key_that_stands_twice_is_refused_where_one_would_be_lost() {
    for text in [
        r#"{"data_snapshot":{},"data_snapshot":{}}"#,
        r#"{"data_snapshot":{"acs_snapshot":"","acs_snapshot":""}}"#,
        r#"{"data_snapshot":{"dars":[{"hash":"","hash":""}]}}"#,
        r#"{"a":1,"\u0061":2}"#,
    ] {
        assert!(read(text.as_bytes(), 3).unwrap_err().what.contains("twice"), "{text}");
    }
    let many: String = (0..1000).map(|i| format!("\"{i}\":1,")).collect();
    assert!(read(format!("{{{many}\"x\":1}}").as_bytes(), 100).is_err());
}

proptest! {
    /// Whatever comes, in whatever pieces: the same answer, and nothing taken for good that serde can't read.
    #[test]
    fn damaged_dumps_are_judged_alike_in_pieces_of_any_size(
        at in any::<prop::sample::Index>(), bytes in proptest::collection::vec(any::<u8>(), 0..4), cut in 0usize..3,
        pieces in proptest::collection::vec(1usize..40, 1..20),
    ) {
        let mut text = dump().to_string().into_bytes();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, bytes);
        let whole = read(&text, text.len().max(1));
        let mut reading = Reading::default();
        let mut rest = text.as_slice();
        let mut fed = Ok(());
        for piece in pieces.iter().cycle() {
            if rest.is_empty() || fed.is_err() {
                break;
            }
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            fed = reading.feed(now);
            rest = later;
        }
        let again = fed.and_then(|()| reading.finish()).map(|document| document.found);
        prop_assert_eq!(whole.is_ok(), again.is_ok());
        if let (Ok(whole), Ok(again)) = (&whole, &again) {
            prop_assert_eq!(whole, again);
            let value: Value = serde_json::from_slice(&text).unwrap();
            if judge(whole, &expected()).finish().is_empty() {
                prop_assert_eq!(&value["created_at"], AT);
                prop_assert!(!value["data_snapshot"]["dars"].as_array().unwrap().is_empty());
            }
        }
        for status in [200, 400, 429, 500, 503] {
            let decision = super::super::answer::decide(status, "", &text);
            prop_assert!(decision.said.len() < 8000);
        }
    }
}
