//! How far a node is let in, what it is given, and whom it may not be or stand beside.

use super::*;

const EVERY_STATUS: [ServiceStatus; 4] = [
    ServiceStatus::Opening,
    ServiceStatus::Recovering,
    ServiceStatus::WaitingForRecoveryShares,
    ServiceStatus::Open,
];

#[test]
fn members_decide_who_is_trusted_unless_the_service_is_not_theirs_yet() {
    for status in EVERY_STATUS {
        let mut place = Place::new(status);
        let joiner = Joiner::new(1, 1001);
        let told = joiner.asks(&mut place);
        assert_eq!(told.status, 200, "{}", told.json);
        let at_once = matches!(status, ServiceStatus::Opening | ServiceStatus::Recovering);
        assert_eq!(told.is_trusted(), at_once, "{status:?}");
        assert_eq!(told.json.get("network_info").is_some(), at_once);
        let info = place.node(&joiner.id());
        assert_eq!(info["status"], if at_once { "Trusted" } else { "Pending" });
        assert_eq!(info.get("ledger_secret_seqno").is_some(), at_once);
        let certificate = place.row(names::NODES_ENDORSED_CERTIFICATES, &joiner.id());
        assert_eq!(certificate.is_some(), at_once);
    }
    let mut place = Place::new(ServiceStatus::Unknown);
    assert!(!Joiner::new(1, 1001).asks(&mut place).is_trusted());
}

#[test]
fn a_node_that_is_trusted_at_once_is_endorsed_for_as_long_as_it_has_said_itself() {
    let mut place = Place::new(ServiceStatus::Recovering);
    let joiner = Joiner::new(1, 1001);
    let told = joiner.asks(&mut place);
    let stored = place.row(names::NODES_ENDORSED_CERTIFICATES, &joiner.id()).unwrap();
    let given = told.json["network_info"]["endorsed_certificate"].as_str().unwrap();
    assert_eq!(stored, given.as_bytes());
    let certificate = Certificate::from_pem(given).unwrap();
    assert_eq!(certificate.validity().unwrap(), VALIDITY);
    assert_eq!(certificate.key_id(), joiner.key.verifying_key().id());
    assert_eq!(
        certificate.alternative_names(),
        [AlternativeName::Ip([127, 0, 0, 1].into())]
    );
    certificate.is_signed_by(place.service.certificate.key()).unwrap();
}

#[test]
fn the_keys_that_are_given_are_the_services() {
    let mut place = Place::new(ServiceStatus::Recovering);
    let told = Joiner::new(1, 1001).asks(&mut place);
    let network = &told.json["network_info"];
    let key = SigningKey::from_pkcs8_pem(network["identity"]["priv_key"].as_str().unwrap()).unwrap();
    let certificate = Certificate::from_pem(network["identity"]["cert"].as_str().unwrap()).unwrap();
    assert_eq!(key.verifying_key().id(), place.service.certificate.key_id());
    assert_eq!(certificate.der(), place.service.certificate.der());
    let secret = STANDARD.encode(place.secrets[0].secret.as_bytes());
    assert_eq!(
        network["ledger_secrets"],
        json!([[579, {"previous_secret_stored_version": 594, "raw_key": secret}]])
    );
}

#[test]
fn the_secrets_of_the_old_ledger_are_for_nodes_of_an_open_service() {
    let scratch = tempfile::tempdir().unwrap();
    let (before, historical) = real_secrets(&scratch.path().join("service"));
    let firsts: Vec<Seqno> = before.iter().map(|secret| secret.from_seqno).collect();
    assert!(firsts.len() > 1);
    let mut place = Place::new(ServiceStatus::Recovering);
    place.before = Some(before);
    let joiner = Joiner::new(1, 1001);
    let given = |place: &Place, historical: &[_]| {
        let mut giving = place.giving();
        giving.historical = historical;
        let request = JoinRequest::parse(joiner.request.to_string().as_bytes()).unwrap();
        let here = here(place);
        let transaction = place.transaction();
        let decision = decide(&transaction, &request, Some(joiner.client.der()), &here).unwrap();
        let text = body(&transaction, &decision, &giving).unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap();
        json["network_info"]["ledger_secrets"].as_array().unwrap().clone()
    };
    // Of a public network, the new one alone.
    let public: Vec<_> = given(&place, &historical).iter().map(|pair| pair[0].clone()).collect();
    assert_eq!(public, [json!(579)]);
    assert!(joiner.asks(&mut place).is_trusted());
    // Asked again when the service is open: all, each with the write that introduced it.
    place.set_status(ServiceStatus::Open);
    let all = given(&place, &historical);
    let found: Vec<u64> = all.iter().map(|pair| pair[0].as_u64().unwrap()).collect();
    assert_eq!(found, firsts.iter().copied().chain([579]).collect::<Vec<_>>());
    assert!(
        all.iter()
            .all(|pair| pair[1]["previous_secret_stored_version"].is_u64())
    );
    // What comes after a node's trust, it gets by replay.
    place.secrets.push(KnownSecret {
        secret: LedgerSecret::generate(&mut rng(8)),
        from: 700,
        previous_stored: Some(699),
    });
    assert_eq!(given(&place, &historical).len(), all.len());
    place.change_node(&joiner.id(), |info| info["ledger_secret_seqno"] = json!(700));
    assert_eq!(given(&place, &historical).len(), all.len() + 1);
    // Until they are known, who asks is to ask again.
    place.before = None;
    assert_eq!(joiner.asks(&mut place).error(), (503, "NodeCannotHandleRequest"));
}

fn here(place: &Place) -> Here<'_> {
    Here {
        role: place.role,
        startup_seqno: place.startup_seqno,
        judge: Judge {
            verifier: &place.verifier,
            platform: place.platform,
            now_s: NOW_S,
        },
        service: &place.service,
        newest_secret: place.secrets.last().unwrap().from,
        serial: [5; 16],
    }
}

#[test]
fn a_node_is_known_by_its_tls_key_whatever_it_asks() {
    let mut place = Place::new(ServiceStatus::Open);
    let joiner = Joiner::new(1, 1001);
    assert_eq!(joiner.asks(&mut place).json["node_status"], "Pending");
    // Nothing of what was judged then is taken from a later request.
    let other = Joiner::new(1, 1002).with("quote_info", json!({"format": "x"}));
    let told = other.asks(&mut place);
    assert_eq!((told.status, &told.json["node_status"]), (200, &json!("Pending")));
    assert_eq!(
        place.node(&joiner.id())["node_to_node_interface"]["published_address"],
        "127.0.0.1:1001"
    );
    // Somebody else with its request is somebody else.
    let stranger = Joiner::new(2, 1003).client;
    let told = place.ask(&joiner.request, Some(&stranger));
    assert_eq!(told.error(), (400, "NodeAlreadyExists"));
}

#[test]
fn a_node_that_was_removed_while_pending_asks_anew_and_one_that_retired_is_gone() {
    for status in EVERY_STATUS {
        let mut place = Place::new(status);
        let joiner = Joiner::new(1, 1001);
        joiner.asks(&mut place);
        let mut writes = WriteSet::new();
        writes.remove(names::NODES_INFO, joiner.id());
        place.apply(&writes);
        assert_eq!(joiner.asks(&mut place).status, 200);
        for retired in ["Retired", "Something"] {
            place.change_node(&joiner.id(), |info| info["status"] = json!(retired));
            let told = joiner.asks(&mut place);
            assert_eq!(told.error(), (400, "InvalidNodeState"), "{status:?}");
            assert_eq!(told.message(), "Joining node is not in expected state.");
        }
    }
}

#[test]
fn an_address_has_one_node_and_is_free_when_that_has_retired() {
    let mut place = Place::new(ServiceStatus::Open);
    let first = Joiner::new(1, 1001);
    first.asks(&mut place);
    let second = Joiner::new(2, 1001);
    let told = second.asks(&mut place);
    assert_eq!(told.error(), (400, "NodeAlreadyExists"));
    assert!(told.message().contains(&first.id()));
    let mut named = Joiner::new(3, 1);
    let mut named_again = Joiner::new(4, 1);
    for (joiner, address) in [(&mut named, "node.example:1"), (&mut named_again, "Node.Example:1")] {
        joiner.request["node_info_network"]["node_to_node_interface"] = json!({"bind_address": address});
    }
    assert_eq!(named.asks(&mut place).status, 200);
    assert_eq!(named_again.asks(&mut place).error(), (400, "NodeAlreadyExists"));
    place.change_node(&first.id(), |info| info["status"] = json!("Retired"));
    assert_eq!(second.asks(&mut place).status, 200);
}

#[test]
fn a_node_that_follows_sends_a_new_node_to_the_primary_and_answers_one_it_knows() {
    let mut place = Place::new(ServiceStatus::Open);
    let known = Joiner::new(1, 1001);
    known.asks(&mut place);
    let primary = "aa".repeat(32);
    let leaked: &'static str = Box::leak(primary.into_boxed_str());
    let row = json!({"status": "Trusted", "rpc_interfaces": {"main": {"published_address": "primary.example:443"}}});
    place.write(&[(names::NODES_INFO, leaked, row)]);
    place.role = Role::Backup {
        primary: Some(leaked),
        interface: "main",
    };
    let told = Joiner::new(2, 1002).asks(&mut place);
    assert_eq!(told.error(), (308, "NodeCannotHandleRequest"));
    assert_eq!(told.location.as_deref(), Some("https://primary.example:443/node/join"));
    assert_eq!(known.asks(&mut place).json["node_status"], "Pending");
    for (primary, interface) in [(None, "main"), (Some("bb"), "main"), (Some(leaked), "other")] {
        place.role = Role::Backup { primary, interface };
        let told = Joiner::new(2, 1002).asks(&mut place);
        assert_eq!(told.error(), (500, "InternalError"));
        assert_eq!((told.message(), &told.location), ("Primary unknown", &None));
    }
    place.role = Role::Outside;
    let told = known.asks(&mut place);
    assert_eq!(
        told.message(),
        "Target node should be part of network to accept new nodes."
    );
}

#[test]
fn a_joiner_must_not_begin_before_this_node() {
    let mut place = Place::new(ServiceStatus::Open);
    place.startup_seqno = 100;
    for (startup, status) in [(0, 400), (99, 400), (100, 200), (101, 200)] {
        let told = Joiner::new(1, 1001)
            .with("startup_seqno", json!(startup))
            .asks(&mut place);
        assert_eq!(told.status, status, "{startup}");
        if status == 400 {
            assert_eq!(told.code(), "StartupSeqnoIsOld");
        }
    }
}

#[test]
fn without_a_service_or_a_certificate_that_a_node_can_have_nobody_joins() {
    let mut place = Place::new(ServiceStatus::Open);
    place.store = Store::new();
    let told = Joiner::new(1, 1001).asks(&mut place);
    assert_eq!(
        (told.status, told.message()),
        (500, "No service is available to accept new node.")
    );
    let mut place = Place::new(ServiceStatus::Recovering);
    // Which ends before it begins.
    let mut joiner = Joiner::new(1, 1001);
    let backwards = Validity {
        not_before_unix_s: 200,
        not_after_unix_s: 100,
    };
    joiner.client = x509::issue_self_signed("CN=CCF Node", &[], &joiner.key, backwards, [2; 16]).unwrap();
    assert_eq!(joiner.asks(&mut place).error(), (400, "InvalidInput"));
}
