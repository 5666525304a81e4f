//! Every request of `../shared/http-samples/join/answers.json`, in its order: a real node's answer beside ours.

use super::*;
use crate::crypto::testing::ledgers;
use crate::crypto::x509::CertificateRequest;

fn samples() -> Option<Vec<Value>> {
    let path = ledgers()?.join("../http-samples/join/answers.json");
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    Some(rows.into_iter().filter(|row| row.get("request").is_some()).collect())
}

/// The TLS client's key of a sample is known where the certificate request is its own. Where it is not, ours stands for it, with
/// evidence about it.
fn client(case: &str, request: &mut Value) -> Option<Certificate> {
    let own = match case {
        "no client certificate" => return None,
        "CSR of another key" | "no CSR" => true,
        _ => request.get("certificate_signing_request").is_none(),
    };
    if own {
        let key = key(70).verifying_key();
        request["quote_info"] = virtual_quote(&key, VIRTUAL_MEASUREMENT, HOST_DATA);
        return Some(client_of(&key));
    }
    let pem = request["certificate_signing_request"].as_str().unwrap();
    let request = CertificateRequest::from_pem(pem).unwrap();
    Some(client_of(request.key()))
}

/// The same names with values of the same types, all the way down; a list is known by its first element.
fn assert_same_shape(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(ours), names(theirs), "{at}");
            for (name, value) in ours {
                assert_same_shape(value, &theirs[name], &format!("{at}.{name}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.is_empty(), theirs.is_empty(), "{at}");
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_same_shape(ours, theirs, at);
            }
        }
        _ => assert_eq!(
            std::mem::discriminant(ours),
            std::mem::discriminant(theirs),
            "{at}: {ours} {theirs}"
        ),
    }
}

const RECOVERING_NODE: &str = "a0fd3271b3d19efb23bbc3fb58f21ab40deed0ff355f45817204979bb7b2659a";

/// The service of the samples: its node is there.
fn place() -> Place {
    let mut place = Place::new(ServiceStatus::Recovering);
    let own = json!({
        "status": "Trusted",
        "node_to_node_interface": {"bind_address": "127.0.0.1:19601", "published_address": "127.0.0.1:19601"},
    });
    place.write(&[(names::NODES_INFO, RECOVERING_NODE, own)]);
    place
}

/// What members did between two requests.
fn members_act(place: &mut Place, case: &str, id: &str) {
    match case {
        "removed while Pending" => {
            let mut writes = WriteSet::new();
            writes.remove(names::NODES_INFO, id);
            place.apply(&writes);
        }
        "Trusted: everything a node needs" => {
            place.change_node(id, |info| {
                info["status"] = json!("Trusted");
                info["ledger_secret_seqno"] = json!(579);
            });
            let mut writes = WriteSet::new();
            let certificate = place.service.certificate.to_pem();
            writes.put(names::NODES_ENDORSED_CERTIFICATES, id, certificate);
            place.apply(&writes);
        }
        _ => {}
    }
}

#[test]
fn every_request_is_answered_as_a_real_node_answered_it() {
    let Some(rows) = samples() else { return };
    let mut place = place();
    let mut seen = 0;
    for mut row in rows {
        let (case, stage) = (
            row["case"].as_str().unwrap().to_owned(),
            row["stage"].as_str().unwrap().to_owned(),
        );
        if case.starts_with("startup_seqno 1") {
            // Another recovery begins.
            place = self::place();
        }
        place.set_status(match stage.as_str() {
            "PartOfPublicNetwork" => ServiceStatus::Recovering,
            "WaitingForRecoveryShares" => ServiceStatus::WaitingForRecoveryShares,
            _ => ServiceStatus::Open,
        });
        if place.public_only() {
            place.secrets.last_mut().unwrap().previous_stored = None;
        } else {
            place.secrets.last_mut().unwrap().previous_stored = Some(594);
        }
        let theirs = row["answer"].clone();
        let own_request = row["request"].is_object();
        let client = match own_request && case != "no quote" {
            true => client(&case, &mut row["request"]),
            false => None,
        };
        let id = client.as_ref().map(|client| hex::encode(client.key_id()));
        members_act(&mut place, &case, id.as_deref().unwrap_or_default());
        let before = place.store.seqno();
        let told = place.ask(&row["request"], client.as_ref());
        let wrote = place.store.seqno() > before;

        assert_eq!(
            u64::from(told.status),
            row["status"].as_u64().unwrap(),
            "{stage} {case}: {}",
            told.json
        );
        if told.status != 200 {
            assert_eq!(told.json["error"]["code"], theirs["error"]["code"], "{case}");
            let message = theirs["error"]["message"].as_str().unwrap();
            match case.as_str() {
                // A library's text, after which ours says what it means.
                "no client certificate" => assert!(told.message().starts_with(message)),
                _ => assert_eq!(told.message(), message, "{case}"),
            }
            assert!(!wrote, "{case}");
        } else {
            assert_same_shape(&told.json, &theirs, &case);
            assert_eq!(told.json["node_status"], theirs["node_status"], "{case}");
            if theirs.get("node_id").is_some() && case != "no CSR" {
                assert_eq!(told.json["node_id"], theirs["node_id"], "{case}");
            }
            let asked_again = ["asked again", "still Pending", "Trusted: everything a node needs"];
            assert_eq!(wrote, !asked_again.contains(&case.as_str()), "{stage} {case}");
            for name in [
                "public_only",
                "last_recovered_signed_idx",
                "service_status",
                "cose_signatures_config",
            ] {
                assert_eq!(
                    told.json["network_info"][name], theirs["network_info"][name],
                    "{case} {name}"
                );
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 20, "requests among the samples");
}

#[test]
fn what_is_written_of_a_node_is_what_it_sent_word_for_word() {
    let Some(rows) = samples() else { return };
    let mut row = rows.into_iter().find(|row| row["case"] == "node_data given").unwrap();
    let client = client("node_data given", &mut row["request"]);
    let mut place = place();
    assert!(place.ask(&row["request"], client.as_ref()).is_trusted());
    let info = place.node(&hex::encode(client.unwrap().key_id()));
    let sent = &row["request"];
    assert_eq!(info["certificate_signing_request"], sent["certificate_signing_request"]);
    assert_eq!(info["encryption_pub_key"], sent["public_encryption_key"]);
    assert_eq!(info["quote_info"], sent["quote_info"]);
    assert_eq!(info["node_data"], sent["node_data"]);
    assert_eq!(info["code_digest"], hex::encode(VIRTUAL_MEASUREMENT));
    for (name, value) in sent["node_info_network"].as_object().unwrap() {
        assert_eq!(&info[name], value, "{name}");
    }
}
