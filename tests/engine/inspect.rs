//! `rekindle inspect`: what is in it?

use crate::support::{self, Service, expected, ledgers};
use serde_json::Value;

#[test]
fn the_listing_counts_what_the_official_reader_counts() {
    let Some(ledgers) = ledgers() else { return };
    for (name, expected) in expected(&ledgers) {
        let listing = rekindle!["inspect", ledgers.join(&name), "--json"].expect(0).json();
        assert_eq!(listing["entries"], expected["entries"], "{name}");
        assert_eq!(listing["last_seqno"], expected["last_seqno"], "{name}");
        let complete = |chunk: &&Value| chunk["complete"] == true;
        let chunks = listing["chunks"].as_array().unwrap();
        assert!(
            chunks
                .iter()
                .filter(complete)
                .all(|chunk| chunk["ends_with_signature"] == true),
            "{name}"
        );
    }
}

#[test]
fn chunks_and_snapshots_are_a_table() {
    let service = Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "10",
        "--chunk-size",
        "20000",
        "--snapshot-every",
        "30",
    ]);
    let text = rekindle!["inspect", service.ledger(), "--snapshots", service.snapshots()]
        .expect(0)
        .text();
    let header = text.lines().next().unwrap();
    for column in ["chunk", "first", "last", "entries", "size", "state"] {
        assert!(header.contains(column), "{header}");
    }
    for (_, path) in support::chunks(&service.ledger()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "{name} is not in\n{text}"
        );
    }
    for snapshot in service.expected()["snapshots"].as_array().unwrap() {
        assert!(text.contains(snapshot["file"].as_str().unwrap()), "{snapshot}");
    }
}

#[test]
fn entries_are_shown_as_the_specification_says_they_are() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("cose_flipflop_service"));
    let shown = rekindle!["inspect", service.ledger(), "--seqno", "16..17", "--json"]
        .expect(0)
        .json();
    let [signature, private] = shown["entries"].as_array().unwrap().as_slice() else {
        panic!("{shown}")
    };
    assert_eq!(signature["offset"], 322);
    assert_eq!(
        signature["leaf"],
        "bc3ec22b000db0f5d56fd5eaa9ca35df4d390c7020cf0437d6b1b2ddc772affa"
    );
    let value = |table: &str| {
        let map = signature["public"]
            .as_array()
            .unwrap()
            .iter()
            .find(|map| map["table"] == table)
            .unwrap();
        map["writes"][0]["value"].clone()
    };
    let root = "e05d50857029a0ae4f86b9563239b5b1f2097b76108e692034b16358221cea97";
    assert_eq!(value("public:ccf.internal.tree")["root"], root);
    assert_eq!(value("public:ccf.internal.signatures")["root"], root);
    let cose = value("public:ccf.internal.cose_signatures");
    assert_eq!(
        (&cose["alg"], &cose["txid"], &cose["issuer"]),
        (&"ES384".into(), &"2.16".into(), &"service.example.com".into())
    );
    assert_eq!(private["private"]["encrypted_bytes"], 70);

    let shown = service
        .with_keys("inspect", &["--txid", "2.17", "--json"])
        .expect(0)
        .json();
    let write = &shown["entries"][0]["private"][0];
    assert_eq!(
        (&write["table"], &write["writes"][0]["key"]),
        (&"records".into(), &"42".into())
    );
    assert_eq!(write["writes"][0]["value"], "hello");
}

#[test]
fn an_entry_for_a_person_names_every_field() {
    let service = Service::made(&["--entries", "20"]);
    let text = rekindle!["inspect", service.ledger(), "--seqno", "1"].expect(0).text();
    for field in [
        "seqno, view",
        "flags",
        "type",
        "claims digest",
        "evidence digest",
        "GCM tag",
        "write set digest",
        "Merkle leaf",
        "public",
    ] {
        assert!(text.contains(field), "{field} is not in\n{text}");
    }
    assert!(text.contains("public:ccf.gov.service.info"));
    let private = service
        .export(true, &["--history"])
        .into_iter()
        .find(|line| line["private"] == true)
        .unwrap();
    let seqno = private["seqno"].to_string();
    let locked = rekindle!["inspect", service.ledger(), "--seqno", &seqno]
        .expect(0)
        .text();
    assert!(locked.contains("encrypted"), "{locked}");
    let opened = service
        .with_keys("inspect", &["--seqno", &seqno, "--full"])
        .expect(0)
        .text();
    assert!(opened.contains(private["table"].as_str().unwrap()), "{opened}");
}

#[test]
fn a_tables_history_is_every_write_to_it_in_order() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_small"));
    let shown = service
        .with_keys("inspect", &["--table", "^records$", "--json"])
        .expect(0)
        .json();
    let history = service.export(true, &["--history", "--table", "^records$"]);
    let (shown, history): (Vec<_>, Vec<_>) = (
        shown["writes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|write| write["txid"].as_str().unwrap()[2..].to_owned())
            .collect(),
        history.iter().map(|line| line["seqno"].to_string()).collect(),
    );
    assert_eq!(shown, history);
    let narrowed = service
        .with_keys("inspect", &["--table", "^records$", "--seqno", "15..18"])
        .expect(0)
        .text();
    assert_eq!(narrowed.lines().count(), 2, "{narrowed}");
}

#[test]
fn no_value_of_a_known_table_is_shown_as_undecodable() {
    let Some(ledgers) = ledgers() else { return };
    for name in expected(&ledgers).keys() {
        let run = rekindle!["inspect", ledgers.join(name), "--table", "^public:ccf", "--json"].expect(0);
        assert!(!run.json()["writes"].as_array().unwrap().is_empty());
        assert!(!run.text().contains("\"undecodable\""), "{name}");
    }
}

#[test]
fn what_is_not_there_is_one_sentence_that_says_what_is() {
    let Some(ledgers) = ledgers() else { return };
    let ledger = ledgers.join("cose_flipflop_service/ledger");
    for (option, value, words) in [
        ("--txid", "3.16", "seqno 16 of this ledger is 2.16"),
        ("--txid", "2.47", "the ledger holds seqnos 1 to 46"),
        ("--seqno", "40..50", "there is no seqno 50"),
    ] {
        rekindle!["inspect", &ledger, option, value].expect_sentence(2, &[words]);
    }
}
