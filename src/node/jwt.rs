//! Keys of token issuers, fetched from the issuers themselves, for those that members have asked to be kept fresh.
//!
//! Once the service is open: as often as the configuration says, and at once when members change an issuer. What is fetched
//! is written like any other transaction, and only where it changes something. Recovery specification,
//! section 4.5.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use super::shared::Node;
use super::writer::NotWritten;
use crate::http::{ApiError, ApiResult};
use crate::kv::store::Transaction;
use crate::net::fetch::{Bounds, get};
use crate::script::set_jwt_keys;
use crate::tables::names;
use crate::tables::values::from_json;

/// From the connection to the last byte of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Issuers that are asked at the same time.
const AT_ONCE: usize = 8;
/// Never more often than this, whatever is configured.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Where an issuer publishes what it is (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Fetches keys for as long as the node lives.
pub async fn keep_fresh(node: Arc<Node>) {
    let interval = node.config.jwt.key_refresh_interval.max(SHORTEST_INTERVAL);
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = node.jwt.wished() => {}
        }
        // One of the nodes is enough, and no other can write.
        if node.status.users_are_served() && node.is_primary() && !node.status.is_stopping() {
            refresh_all(&node).await;
        }
    }
}

async fn refresh_all(node: &Arc<Node>) {
    let (issuers, _) = node.read(|store| issuers(&store.transaction()));
    let mut under_way = JoinSet::new();
    for issuer in issuers {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let node = Arc::clone(node);
        under_way.spawn(async move {
            node.jwt.attempted();
            let name = issuer.name.clone();
            match refresh(&node, issuer).await {
                Ok(()) => node.jwt.succeeded(),
                // Both are the consortium's and the issuer's words: escaped.
                Err(why) => tracing::warn!("JWT key auto-refresh: keys of issuer {name:?} were not refreshed: {why:?}"),
            }
        });
    }
    while under_way.join_next().await.is_some() {}
}

/// An issuer whose keys are kept fresh.
struct Issuer {
    name: String,
    /// The certificates that its servers are known by, in PEM.
    bundle: Result<String, String>,
}

/// What the table says of an issuer, if its keys are kept fresh.
fn kept_fresh(metadata: &[u8]) -> Option<Value> {
    let metadata: Value = from_json(metadata).ok()?;
    (metadata.get("auto_refresh").and_then(Value::as_bool) == Some(true)).then_some(metadata)
}

fn issuers(transaction: &Transaction<'_>) -> Vec<Issuer> {
    let issuers = transaction.entries(names::JWT_ISSUERS).into_iter();
    issuers
        .filter_map(|(name, metadata)| {
            let metadata = kept_fresh(&metadata)?;
            Some(Issuer {
                name: String::from_utf8(name).ok()?,
                bundle: bundle(transaction, &metadata),
            })
        })
        .collect()
}

fn bundle(transaction: &Transaction<'_>, metadata: &Value) -> Result<String, String> {
    let name = metadata.get("ca_cert_bundle_name").and_then(Value::as_str);
    let name = name.ok_or("it has no ca_cert_bundle_name")?;
    let bundle = transaction.get(names::TLS_CA_CERT_BUNDLES, name.as_bytes());
    let bundle = bundle.ok_or_else(|| format!("CA cert bundle {name:?} is not there"))?;
    from_json(bundle).map_err(|why| format!("CA cert bundle {name:?} can't be read: {why}"))
}

/// Fetches an issuer's keys and stores them.
async fn refresh(node: &Arc<Node>, issuer: Issuer) -> Result<(), String> {
    let bundle = issuer.bundle?;
    let settings = &node.config.jwt;
    let bounds = Bounds {
        connect: node.config.client_connection_timeout,
        answer: ANSWER,
        size: usize::try_from(settings.key_refresh_max_response_size).unwrap_or(usize::MAX),
    };
    let discovery = format!("{}{DISCOVERY}", issuer.name.trim_end_matches('/'));
    let metadata = get(&discovery, &bundle, bounds).await?;
    let metadata: Value =
        serde_json::from_slice(&metadata).map_err(|why| format!("its OpenID metadata can't be read: {why}"))?;
    let keys_url = metadata.get("jwks_uri").and_then(Value::as_str);
    let keys_url = keys_url.ok_or("its OpenID metadata names no jwks_uri")?;
    let keys = get(keys_url, &bundle, bounds).await?;
    let mut keys: Value = serde_json::from_slice(&keys).map_err(|why| format!("its JWKS can't be read: {why}"))?;
    constrain(&mut keys, metadata.get("issuer"));
    let writer = node.writer.get().ok_or("there is no service")?;
    let name = issuer.name;
    let stored = writer
        .transact("jwt", move |transaction, _| {
            store(transaction, &name, &keys.to_string())
        })
        .await;
    stored.map(drop).map_err(|why| match why {
        NotWritten::Failed(why) => why.message,
        other => format!("they could not be written: {other:?}"),
    })
}

/// Keys that name no issuer are for tokens of the one that the metadata names.
fn constrain(keys: &mut Value, issuer: Option<&Value>) {
    let Some(issuer) = issuer.filter(|issuer| issuer.is_string()) else {
        return;
    };
    let keys = keys.get_mut("keys").and_then(Value::as_array_mut);
    for key in keys.into_iter().flatten().filter_map(Value::as_object_mut) {
        key.entry("issuer").or_insert_with(|| issuer.clone());
    }
}

/// Makes keys the only ones of an issuer, if that is still one whose keys are kept fresh.
///
/// # Errors
/// 500 in CCF's words.
pub fn store(transaction: &mut Transaction<'_>, issuer: &str, keys: &str) -> ApiResult<()> {
    let metadata = transaction.get(names::JWT_ISSUERS, issuer.as_bytes());
    if metadata.and_then(kept_fresh).is_none() {
        return Err(ApiError::internal(format!("{issuer} is not a valid issuer")));
    }
    set_jwt_keys(transaction, issuer, keys)
        .map_err(|why| ApiError::internal(format!("error while storing signing keys for issuer {issuer}: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kv::store::Store;

    #[test]
    fn keys_get_the_issuer_of_the_metadata_unless_they_have_one() {
        let mut keys = json!({"keys": [{"kid": "a"}, {"kid": "b", "issuer": "https://own.example"}]});
        constrain(&mut keys, None);
        assert_eq!(keys["keys"][0].get("issuer"), None);
        constrain(&mut keys, Some(&json!("https://login.example")));
        assert_eq!(keys["keys"][0]["issuer"], "https://login.example");
        assert_eq!(keys["keys"][1]["issuer"], "https://own.example");
    }

    #[test]
    fn only_issuers_that_members_want_to_be_kept_fresh_are_asked_and_stored() {
        let empty = Store::new();
        let mut transaction = empty.transaction();
        for (name, metadata) in [
            (
                "https://a.example",
                json!({"auto_refresh": true, "ca_cert_bundle_name": "b"}),
            ),
            ("https://b.example", json!({"auto_refresh": true})),
            (
                "https://c.example",
                json!({"auto_refresh": true, "ca_cert_bundle_name": "none"}),
            ),
            (
                "https://d.example",
                json!({"auto_refresh": false, "ca_cert_bundle_name": "b"}),
            ),
            ("https://e.example", json!({})),
        ] {
            transaction.put(names::JWT_ISSUERS, name, metadata.to_string());
        }
        transaction.put(names::TLS_CA_CERT_BUNDLES, "b", json!("the bundle").to_string());
        let asked: Vec<_> = issuers(&transaction)
            .into_iter()
            .map(|issuer| (issuer.name, issuer.bundle.is_ok()))
            .collect();
        let expected = [
            ("https://a.example", true),
            ("https://b.example", false),
            ("https://c.example", false),
        ];
        assert_eq!(asked, expected.map(|(name, ok)| (name.to_owned(), ok)));

        let keys = json!({"keys": [{"kid": "k", "kty": "RSA", "n": format!("{}AQ", "_".repeat(340)), "e": "AQAB"}]});
        for refused in ["https://d.example", "https://e.example", "https://unknown.example"] {
            let why = store(&mut transaction, refused, &keys.to_string()).unwrap_err();
            assert_eq!(why.message, format!("{refused} is not a valid issuer"));
        }
        store(&mut transaction, "https://a.example", &keys.to_string()).unwrap();
        assert!(
            transaction
                .get(names::JWT_PUBLIC_SIGNING_KEYS_METADATA_V2, b"k")
                .is_some()
        );
        assert!(store(&mut transaction, "https://a.example", "{}").is_err());
    }
}
