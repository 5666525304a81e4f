//! Messages of all generations: what is written is read again, and what is odd is refused.

use serde_json::{Value, json};

use super::losing::certificate;
use super::*;

fn message(body: Body) -> Message {
    let mut info = info("a");
    info.service = certificate(1);
    info.evidence = Evidence {
        format: "Insecure_Virtual".to_owned(),
        quote: b"quote".to_vec(),
        uvm_endorsements: Some(b"uvm".to_vec()),
        ..Evidence::default()
    };
    Message { info, body }
}

fn bodies(generation: Generation) -> [Body; 3] {
    let says = generation.says_views();
    let own = Claim {
        view: says.then_some(4),
        seqno: 578,
    };
    [
        Body::Gossip(own),
        Body::Vote,
        Body::IAmOpen {
            previous_service: says.then(|| "0a".to_owned()),
            claim: says.then_some(own),
        },
    ]
}

fn written(generation: Generation, body: Body) -> Value {
    let bytes = message(body).write(generation).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn why(generation: Generation, kind: Kind, body: &str) -> String {
    match Message::parse(generation, kind, body.as_bytes()) {
        Err(Refusal::Input(why)) => why,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn every_message_of_every_generation_is_read_as_it_was_written() {
    for generation in Generation::ALL {
        for body in bodies(generation) {
            let message = message(body);
            let bytes = message.write(generation).unwrap();
            assert_eq!(Message::parse(generation, message.kind(), &bytes).unwrap(), message);
        }
    }
}

#[test]
fn each_generation_has_its_own_names() {
    let old = written(Generation::October2025, bodies(Generation::October2025)[0].clone());
    assert_eq!(old["txid"], 578);
    assert_eq!(old["info"]["intrinsic_id"], "a");
    assert_eq!(old["info"]["published_network_address"], "a.example:443");
    let new = written(Generation::Decision2026, bodies(Generation::Decision2026)[0].clone());
    assert_eq!(new["txid"], "4.578");
    assert_eq!(
        new["info"]["identity"],
        json!({"intrinsic_id": "a", "published_address": "a.example:443"})
    );
    assert!(new["info"]["service_cert_der"].is_string());
    let open = written(Generation::Decision2026, bodies(Generation::Decision2026)[2].clone());
    assert_eq!(
        (&open["txid"], &open["prev_service_fingerprint"]),
        (&json!("4.578"), &json!("0a"))
    );
}

#[test]
fn paths_are_of_the_generation() {
    assert_eq!(
        Generation::September2025.path(Kind::IAmOpen),
        "/node/self_healing_open/iamopen"
    );
    assert_eq!(
        Generation::Decision2026.path(Kind::Vote),
        "/node/recovery_decision_protocol/vote"
    );
    for generation in Generation::ALL {
        for kind in Kind::ALL {
            assert_eq!(generation.kind(&generation.path(kind)), Some(kind));
        }
        assert_eq!(generation.kind("/node/self_healing_open/"), None);
        assert_eq!(generation.kind("/node/join"), None);
    }
}

#[test]
fn what_is_missing_is_named_as_ccf_names_it() {
    let generation = Generation::October2025;
    for (field, at) in [
        ("quote_info", "info"),
        ("intrinsic_id", "info"),
        ("published_network_address", "info"),
        ("service_identity", "info"),
        ("info", ""),
        ("txid", ""),
    ] {
        let mut body = written(generation, bodies(generation)[0].clone());
        let object = if at.is_empty() { &mut body } else { &mut body[at] };
        object.as_object_mut().unwrap().remove(field);
        let object = object.to_string();
        let why = why(generation, Kind::Gossip, &body.to_string());
        assert_eq!(
            why,
            format!("At #/{at}: Missing required field '{field}' in object: {object}")
        );
    }
}

#[test]
fn odd_values_are_refused() {
    for generation in Generation::ALL {
        let good = written(generation, bodies(generation)[0].clone());
        let id = match generation {
            Generation::Decision2026 => "/info/identity/intrinsic_id",
            _ => "/info/intrinsic_id",
        };
        let service = match generation {
            Generation::Decision2026 => "/info/service_cert_der",
            _ => "/info/service_identity",
        };
        let txid_of_the_other = match generation.says_views() {
            true => json!(578),
            false => json!("4.578"),
        };
        for (at, value) in [
            ("/info", json!([])),
            ("/txid", txid_of_the_other),
            ("/txid", json!(-1)),
            ("/txid", json!(1e30)),
            ("/txid", Value::Null),
            (id, json!("")),
            (id, json!("a\nb")),
            (id, json!("x".repeat(513))),
            (id, json!(7)),
            (service, json!("no certificate")),
            (service, json!("A".repeat(20_000))),
            ("/info/quote_info", json!("x")),
            ("/info/quote_info/quote", json!("!")),
            ("/info/quote_info/quote", json!("A".repeat(70_000))),
            ("/info/quote_info/format", json!("a b")),
        ] {
            let mut body = good.clone();
            *body.pointer_mut(at).unwrap() = value;
            let why = why(generation, Kind::Gossip, &body.to_string());
            assert!(why.starts_with("At #/"), "{at}: {why}");
        }
    }
}

#[test]
fn a_name_that_occurs_twice_is_refused_where_it_counts() {
    let generation = Generation::October2025;
    let good = written(generation, Body::Vote).to_string();
    for (found, twice) in [
        (r#"{"info":"#, r#"{"info":{},"info":"#),
        (r#""intrinsic_id":"#, r#""intrinsic_id":"b","intrinsic_id":"#),
        (r#""format":"#, r#""format":"x","format":"#),
        (r#""quote":"#, r#""quote":"","quote":"#),
    ] {
        assert!(good.contains(found));
        why(generation, Kind::Vote, &good.replacen(found, twice, 1));
    }
    let more = good.replacen(r#"{"info":"#, r#"{"more":1,"more":[2],"info":"#, 1);
    assert!(Message::parse(generation, Kind::Vote, more.as_bytes()).is_ok());
}

#[test]
fn hostile_bodies_are_refused_without_panic_or_repeating_much() {
    for generation in Generation::ALL {
        for kind in Kind::ALL {
            for body in ["", "null", "[]", "{", "{}", "\u{0}", "\"x\"", r#"{"info":null}"#] {
                why(generation, kind, body);
            }
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            assert!(why(generation, kind, &deep).len() < 10_000);
            assert!(why(generation, kind, &format!(r#"{{"info":{deep}}}"#)).len() < 10_000);
            let long = format!(r#"{{"x":"{}"}}"#, "é".repeat(100_000));
            assert!(why(generation, kind, &long).len() < 10_000);
            why(generation, kind, &" ".repeat(message::MAX_BODY_BYTES + 1));
        }
    }
}
