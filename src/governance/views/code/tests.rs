use serde_json::json;

use super::*;
use crate::format::domain::WriteSet;
use crate::governance::testing::put_json;
use crate::kv::store::Store;

fn store(writes: &[(&str, &str, Value)]) -> Store {
    let mut set = WriteSet::new();
    for (table, key, value) in writes {
        put_json(&mut set, table, key.as_bytes(), value);
    }
    let mut store = Store::new();
    store.apply(1, &set);
    store
}

#[test]
fn a_node_is_told_as_its_platform_attests_it() {
    let quote = STANDARD.encode(r#"{"measurement":"m","report_data":"r","host_data":"h"}"#);
    for (given, told) in [
        (
            json!({"format": "Insecure_Virtual", "quote": quote, "endorsements": ""}),
            json!({
                "format": "Insecure_Virtual", "rawQuote": quote,
                "details": {"measurement": "m", "reportData": "r", "hostData": "h"},
            }),
        ),
        (
            json!({"format": "Insecure_Virtual", "quote": "not base64"}),
            json!({"format": "Insecure_Virtual", "rawQuote": "not base64"}),
        ),
        (
            json!({"format": "AMD_SEV_SNP_v1", "quote": "", "uvm_endorsements": "QQ==", "endorsed_tcb": "0004"}),
            json!({"format": "AMD_SEV_SNP_v1", "uvmEndorsements": "QQ==", "endorsedTcb": "AAQ="}),
        ),
        (
            json!({"format": "OE_SGX_v1", "quote": "QQ==", "endorsements": "Qg=="}),
            json!({"format": "OE_SGX_v1", "quote": "QQ==", "endorsements": "Qg=="}),
        ),
        (Value::Null, json!({})),
    ] {
        let id = "ab".repeat(32);
        let info = json!({
            "status": "Retired", "retired_committed": true, "node_data": {"a": 1}, "quote_info": given,
            "rpc_interfaces": {
                "one": {"published_address": "a:1", "app_protocol": "HTTP2", "bind_address": "b:1"},
                "two": {"published_address": "a:2"},
            },
        });
        let store = store(&[(names::NODES_INFO, &id, info)]);
        let transaction = store.transaction();
        let expected = json!({
            "nodeId": id, "status": "Retired", "retiredCommitted": true, "nodeData": {"a": 1}, "quoteInfo": told,
            "rpcInterfaces": {
                "one": {"publishedAddress": "a:1", "protocol": "HTTP2"}, "two": {"publishedAddress": "a:2"},
            },
        });
        assert_eq!(node(&transaction, &id).unwrap(), expected);
        assert_eq!(nodes(&transaction), json!({"value": [expected]}));
        assert_eq!(
            node(&transaction, &"0".repeat(64)).unwrap_err().reason,
            Reason::NotFound
        );
        assert_eq!(node(&transaction, "0").unwrap_err().reason, Reason::InvalidName);
    }
}

#[test]
fn the_join_policy_lists_what_may_join() {
    let store = store(&[
        (names::NODES_CODE_IDS, "sgx", json!("AllowedToJoin")),
        (names::NODES_CODE_IDS, "old", json!("Retired")),
        (names::NODES_VIRTUAL_MEASUREMENTS, "virtual", json!("AllowedToJoin")),
        (names::NODES_VIRTUAL_HOST_DATA, "host", json!(0)),
        (names::NODES_SNP_MEASUREMENTS, "snp", json!("AllowedToJoin")),
        (names::NODES_SNP_HOST_DATA, "digest", json!("policy")),
        (names::NODES_SNP_UVM_ENDORSEMENTS, "did", json!({"feed": {"svn": "1"}})),
        (names::NODES_SNP_TCB_VERSIONS, "00a00f11", json!({"tee": 1})),
    ]);
    let expected = json!({
        "sgx": {"measurements": ["sgx"]},
        "virtual": {"measurements": ["virtual"], "hostData": ["host"]},
        "snp": {
            "measurements": ["snp"], "hostData": {"digest": "policy"},
            "uvmEndorsements": {"did": {"feed": {"svn": "1"}}}, "tcbVersions": {"00a00f11": {"tee": 1}},
        },
    });
    assert_eq!(join_policy(&store.transaction()), expected);
}

#[test]
fn issuers_of_tokens_are_told_with_their_keys_as_pem() {
    let key = STANDARD.encode([7; 60]);
    let store = store(&[
        (
            names::JWT_ISSUERS,
            "https://a",
            json!({"auto_refresh": true, "ca_cert_bundle_name": "b"}),
        ),
        (names::JWT_ISSUERS, "https://b", json!({})),
        (
            names::JWT_PUBLIC_SIGNING_KEYS_METADATA_V2,
            "kid",
            json!([{"issuer": "https://a", "public_key": key}]),
        ),
        (names::TLS_CA_CERT_BUNDLES, "b", json!("PEM")),
    ]);
    let answer = jwk(&store.transaction());
    let (first, second) = key.split_at(64);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n");
    let expected = json!({
        "issuers": {"https://a": {"autoRefresh": true, "caCertBundleName": "b"}, "https://b": {"autoRefresh": false}},
        "keys": {"kid": [{"publicKey": pem, "issuer": "https://a", "constraint": null}]},
        "caCertBundles": {"b": "PEM"},
    });
    assert_eq!(answer, expected);
}

#[test]
fn an_application_is_told_by_path_and_verb() {
    let endpoint = json!({"js_module": "/m.js", "js_function": "f", "mode": "readonly", "own": 1});
    let mut store = store(&[
        (names::ENDPOINTS, "GET /a", endpoint.clone()),
        (names::ENDPOINTS, "POST /a", json!({})),
        (names::ENDPOINTS, "damaged", json!({})),
    ]);
    let mut writes = WriteSet::new();
    writes.put(names::MODULES, "/m.js", "export function f() {}");
    store.apply(2, &writes);
    let transaction = store.transaction();
    let answer = javascript_app(&transaction, None).unwrap().to_value().unwrap();
    let told = json!({
        "jsModule": "/m.js", "jsFunction": "f", "forwardingRequired": "always", "redirectionStrategy": "none",
        "authnPolicies": [], "mode": "readonly", "openApi": null,
    });
    assert_eq!(answer["endpoints"]["/a"]["GET"], told);
    assert_eq!(answer["endpoints"].as_object().unwrap().len(), 1);
    let original = javascript_app(&transaction, Some("original"))
        .unwrap()
        .to_value()
        .unwrap();
    assert_eq!(original["endpoints"]["/a"]["GET"], endpoint);
    let other = javascript_app(&transaction, Some("upper")).unwrap_err();
    assert_eq!(other.reason, Reason::InvalidQuery);
    assert_eq!(
        javascript_modules(&transaction),
        json!({"value": [{"moduleName": "/m.js"}]})
    );
    assert_eq!(
        javascript_module(&transaction, "/m.js").unwrap(),
        b"export function f() {}"
    );
    assert_eq!(
        javascript_module(&transaction, "/n.js").unwrap_err().message,
        "Module /n.js does not exist."
    );
}
