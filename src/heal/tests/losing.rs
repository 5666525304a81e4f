//! What stays: tables of the node's own service, and what a node that lost joins with.

use serde_json::{Value, json};

use super::outcome::{Losing, Outcome, join_configuration};
use super::tables::{Unfinished, begin, unfinished, write};
use super::*;
use crate::crypto::testing::rng;
use crate::crypto::x509::{Validity, issue_self_signed};
use crate::crypto::{Curve, SigningKey};
use crate::format::TxId;
use crate::kv::store::Store;
use crate::tables::values::{ServiceInfo, ServiceStatus};
use crate::tables::{SINGLETON_KEY, names};

/// A service's certificate, PEM.
pub fn certificate(seed: u64) -> String {
    let key = SigningKey::generate(Curve::P384, &mut rng(seed));
    let validity = Validity::days(1_800_000_000, 90).unwrap();
    let certificate = issue_self_signed("CN=Service", &[], &key, validity, [7; 16]);
    certificate.unwrap().to_pem()
}

fn apply(store: &mut Store, body: impl FnOnce(&mut crate::kv::store::Transaction<'_>)) {
    let writes = store
        .transact(|transaction| {
            body(transaction);
            Ok::<(), ()>(())
        })
        .unwrap();
    let seqno = store.seqno() + 1;
    store.apply(seqno, &writes);
}

fn text(store: &Store, table: &str, key: &[u8]) -> Option<String> {
    let (_, value) = store.get(table, key)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn value(store: &Store, table: &str) -> Option<String> {
    text(store, table, &SINGLETON_KEY)
}

fn service(store: &mut Store, status: ServiceStatus) {
    let info = ServiceInfo {
        cert: certificate(1),
        status,
        previous_service_identity_version: None,
        recovery_count: Some(1),
        current_service_create_txid: Some(TxId { view: 4, seqno: 579 }),
        service_data: None,
    };
    apply(store, |transaction| {
        transaction.put(names::SERVICE_INFO, SINGLETON_KEY, info.to_json());
    });
}

fn records(claim: Claim) -> Vec<Record> {
    let mut known = info("b");
    known.service = certificate(2);
    vec![
        Record::Peer {
            info: known,
            key: b"key".to_vec(),
        },
        Record::Gossip {
            id: "a".to_owned(),
            claim,
        },
        Record::Vote { id: "b".to_owned() },
        Record::Chosen { id: "b".to_owned() },
        Record::Opens(OpenKind::Failover),
        Record::Stage(Stage::Voting),
        Record::TimeoutStage(Stage::Opening),
    ]
}

#[test]
fn a_recovery_clears_what_another_left_and_gossips_only_where_it_is_configured() {
    let mut store = Store::new();
    for generation in Generation::ALL {
        apply(&mut store, |transaction| {
            let all = records(claim(2, 9));
            all.iter().for_each(|record| write(transaction, generation, record));
        });
    }
    apply(&mut store, |transaction| begin(transaction, None));
    for table in names::ALL {
        let healing = table.contains("selfhealingopen") || table.contains("recovery_decision_protocol");
        let mut count = 0;
        store.for_each(table, |_, _| count += 1);
        assert!(!healing || count == 0, "{table}");
    }
    for (generation, table, text) in [
        (Generation::September2025, names::SELF_HEALING_STATE, "\"Gossipping\""),
        (Generation::October2025, names::SELF_HEALING_STATE, "\"Gossiping\""),
        (
            Generation::Decision2026,
            names::RECOVERY_DECISION_STATE,
            "\"Gossiping\"",
        ),
    ] {
        apply(&mut store, |transaction| begin(transaction, Some(generation)));
        assert_eq!(value(&store, table).unwrap(), text);
    }
    assert_eq!(value(&store, names::SELF_HEALING_STATE), None);
}

#[test]
fn each_generation_has_its_own_tables_and_values() {
    let mut store = Store::new();
    apply(&mut store, |transaction| {
        let all = records(claim(2, 9));
        all.iter()
            .for_each(|record| write(transaction, Generation::October2025, record));
        all.iter()
            .for_each(|record| write(transaction, Generation::Decision2026, record));
    });
    assert_eq!(value(&store, names::SELF_HEALING_CHOSEN_NODE).unwrap(), "\"b\"");
    assert_eq!(value(&store, names::SELF_HEALING_CHOSEN_REPLICA), None);
    assert_eq!(value(&store, names::SELF_HEALING_FAILOVER_OPEN).unwrap(), "true");
    assert_eq!(value(&store, names::SELF_HEALING_STATE).unwrap(), "\"Voting\"");
    assert_eq!(value(&store, names::SELF_HEALING_TIMEOUT_STATE).unwrap(), "\"Opening\"");
    assert_eq!(text(&store, names::SELF_HEALING_GOSSIP, b"a").unwrap(), "9");
    assert_eq!(store.get(names::SELF_HEALING_VOTES, b"b").unwrap().1, [0; 8]);
    let row: Value = serde_json::from_str(&text(&store, names::SELF_HEALING_NODES, b"b").unwrap()).unwrap();
    assert_eq!(row["published_network_address"], "b.example:443");
    assert_eq!((&row["intrinsic_id"], &row["cert_der"]), (&json!("b"), &json!("a2V5")));
    assert_eq!(
        value(&store, names::RECOVERY_DECISION_OPEN_KIND).unwrap(),
        "\"Failover\""
    );
    assert_eq!(text(&store, names::RECOVERY_DECISION_GOSSIP, b"a").unwrap(), "\"2.9\"");
    apply(&mut store, |transaction| {
        write(
            transaction,
            Generation::September2025,
            &Record::Chosen { id: "c".to_owned() },
        );
    });
    assert_eq!(value(&store, names::SELF_HEALING_CHOSEN_REPLICA).unwrap(), "\"c\"");
}

#[test]
fn an_unfinished_attempt_is_found_with_its_vote_and_its_claim() {
    for generation in Generation::ALL {
        let mut store = Store::new();
        service(&mut store, ServiceStatus::WaitingForRecoveryShares);
        let own = Claim {
            view: generation.says_views().then_some(2),
            seqno: 578,
        };
        let asked = |store: &Store| unfinished(&store.transaction(), generation, "a");
        assert_eq!(asked(&store), None);
        apply(&mut store, |transaction| {
            begin(transaction, Some(generation));
            records(own)
                .iter()
                .for_each(|record| write(transaction, generation, record));
        });
        let earlier = Earlier {
            stage: Stage::Voting,
            chosen: Some("b".to_owned()),
            opens: None,
        };
        let began = Some(TxId { view: 4, seqno: 579 });
        let claim = Some(own);
        assert_eq!(asked(&store), Some(Unfinished { earlier, claim, began }));
        apply(&mut store, |transaction| {
            write(transaction, generation, &Record::Stage(Stage::Opening))
        });
        assert_eq!(asked(&store).unwrap().earlier.opens, Some(OpenKind::Failover));
        // Months later.
        service(&mut store, ServiceStatus::Open);
        assert_eq!(asked(&store), None);
    }
}

#[test]
fn a_claim_without_a_view_is_none_where_views_are_asked_for() {
    let mut store = Store::new();
    service(&mut store, ServiceStatus::Recovering);
    apply(&mut store, |transaction| {
        begin(transaction, Some(Generation::October2025));
        let all = records(Claim { view: None, seqno: 5 });
        all.iter()
            .for_each(|record| write(transaction, Generation::October2025, record));
    });
    let found = unfinished(&store.transaction(), Generation::Decision2026, "a").unwrap();
    assert_eq!((found.claim, found.earlier.chosen.as_deref()), (None, Some("b")));
}

fn losing<'a>(configuration: &'a Value, certificates: &'a [String; 2]) -> Losing<'a> {
    Losing {
        configuration,
        winner_address: "c.example:443",
        winner_service: &certificates[0],
        certificate_file: "winner.pem",
        claim: claim(2, 578),
        own_service: &certificates[1],
    }
}

#[test]
fn a_loser_joins_with_its_own_configuration_and_the_winners_service() {
    let certificates = [certificate(1), certificate(2)];
    let configuration = json!({
        "network": {"rpc_interfaces": {"primary_rpc_interface": {"bind_address": "0.0.0.0:1"}}},
        "ledger": {"directory": "/data/ledger/", "read_only_directories": ["/old"]},
        "command": {
            "type": "Recover",
            "service_certificate_file": "service.pem",
            "recover": {"previous_service_identity_file": "old.pem", "self_healing_open": {"addresses": ["a:1"]}},
            "join": {"retry_timeout": "5s", "target_rpc_address": "nobody:1"},
        },
        "sealing_recovery": {"location": {"name": "a"}, "recovery_decision_protocol": {}},
    });
    let outcome = Outcome::of(&losing(&configuration, &certificates)).unwrap();
    let join: Value = serde_json::from_str(&outcome.configuration).unwrap();
    assert_eq!(
        join["command"],
        json!({
            "type": "Join",
            "service_certificate_file": "winner.pem",
            "join": {"retry_timeout": "5s", "target_rpc_address": "c.example:443"},
        })
    );
    assert_eq!(join["sealing_recovery"], json!({"location": {"name": "a"}}));
    for same in ["network", "ledger"] {
        assert_eq!(join[same], configuration[same]);
    }
    assert_eq!(outcome.certificate, certificates[0]);
    let [ledger, snapshots] = &outcome.set_aside[..] else {
        panic!()
    };
    assert_eq!(ledger.directory, "/data/ledger/");
    assert!(
        ledger.becomes.starts_with("/data/ledger.not-chosen.2.578."),
        "{}",
        ledger.becomes
    );
    assert!(snapshots.becomes.starts_with("snapshots.not-chosen.2.578."));
    // Another attempt gives other names.
    let other = [certificate(1), certificate(3)];
    let again = Outcome::of(&losing(&configuration, &other)).unwrap();
    assert_ne!(again.set_aside[0].becomes, ledger.becomes);
}

#[test]
fn only_a_recovery_can_be_lost_and_only_to_a_service_with_a_certificate() {
    let certificates = [certificate(1), certificate(2)];
    for odd in [
        json!([]),
        json!({}),
        json!({"command": {"type": "Join"}}),
        json!({"command": {"type": 7}}),
        json!({"command": []}),
    ] {
        assert!(join_configuration(&losing(&odd, &certificates)).is_err(), "{odd}");
    }
    let recover = json!({"command": {"type": "Recover"}});
    let none = ["x".to_owned(), certificates[1].clone()];
    assert!(Outcome::of(&losing(&recover, &none)).is_err());
    assert!(Outcome::of(&losing(&recover, &certificates)).is_ok());
}
