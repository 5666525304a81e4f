//! How every known table's keys and values are shown: decoded, as JSON, for people and for programs.
//!
//! [`describe_key`] and [`describe_value`] never fail and never panic: what does not decode is shown as
//! `{"undecodable": why, "base64": bytes}`. Tables that are not CCF's own are shown as text or JSON where they are
//! that, else as `{"base64": …}`. Format specification, section 9.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::describe::{
    certificate_der, cose_base64, parse_json, public_key_der, read_pem_inside, text_or_base64, tree,
};
use super::{SINGLETON_KEY, names};

/// How a table's keys are serialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyCodec {
    /// One value: 8 zero bytes.
    Singleton,
    /// The bytes of a text: an id in hex, a name, a path.
    Text,
    /// u64 LE, an identity type. 0 is also what the table's only key was before there were types.
    IdentityType,
    /// A little-endian number of 1 or 8 bytes.
    Number,
}

/// How a table's values are serialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueCodec {
    /// JSON. PEM inside is read.
    Json,
    /// The same, of a node: what it shows is decoded.
    Node,
    /// JSON text as somebody submitted it: shown as text if it isn't JSON.
    Submitted,
    /// A JSON string holding the base64 of a COSE_Sign1.
    Cose,
    /// JSON with a COSE_Sign1 and the key that signed it.
    Endorsement,
    /// JSON with the last request that a member signed.
    Acknowledgement,
    /// JSON with a key or certificate in DER.
    SigningIdentity,
    /// PEM as it is.
    Pem,
    /// Text as it is.
    Text,
    /// The serialised Merkle tree.
    Tree,
    /// 8 zero bytes: the key is in the set.
    Set,
    /// A certificate or public key in DER.
    Der,
    /// A compiled module.
    Bytecode,
    /// Not specified: shown as what it looks like.
    Any,
}

fn codec(table: &str) -> Option<(KeyCodec, ValueCodec)> {
    use KeyCodec::{IdentityType, Number, Singleton};
    use ValueCodec as V;
    Some(match table {
        names::SERVICE_INFO
        | names::SERVICE_CONFIG
        | names::PREVIOUS_SERVICE_IDENTITY
        | names::CONSTITUTION
        | names::INTERPRETER_FLUSH
        | names::JS_RUNTIME_OPTIONS
        | names::SIGNATURES
        | names::SNAPSHOT_EVIDENCE
        | names::SNAPSHOT_STATUS
        | names::RECOVERY_SHARES
        | names::HISTORICAL_ENCRYPTED_LEDGER_SECRET
        | names::ENCRYPTED_LEDGER_SECRETS
        | names::SEALED_SHARES
        | names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT
        | names::SEALING_KEY_SOURCE
        | names::LAST_UNSEALING
        | names::LAST_RECOVERY_TYPE
        | names::SELF_HEALING_CHOSEN_NODE
        | names::SELF_HEALING_CHOSEN_REPLICA
        | names::SELF_HEALING_STATE
        | names::SELF_HEALING_TIMEOUT_STATE
        | names::SELF_HEALING_FAILOVER_OPEN
        | names::RECOVERY_DECISION_CHOSEN_NODE
        | names::RECOVERY_DECISION_STATE
        | names::RECOVERY_DECISION_TIMEOUT_STATE
        | names::RECOVERY_DECISION_OPEN_KIND => (Singleton, V::Json),
        names::SNAPSHOT_CREATE => (Singleton, V::Any),
        names::MODULES_QUICKJS_VERSION => (Singleton, V::Text),
        names::TREE => (Singleton, V::Tree),
        names::COSE_SIGNATURES => (IdentityType, V::Cose),
        names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT => (IdentityType, V::Endorsement),
        names::SIGNING_IDENTITIES => (IdentityType, V::SigningIdentity),
        names::VALUES => (Number, V::Json),
        _ => (KeyCodec::Text, keyed_by_text(table)?),
    })
}

fn keyed_by_text(table: &str) -> Option<ValueCodec> {
    use ValueCodec as V;
    Some(match table {
        names::NODES_INFO => V::Node,
        names::NODES_CODE_IDS
        | names::NODES_VIRTUAL_MEASUREMENTS
        | names::NODES_SNP_MEASUREMENTS
        | names::NODES_SNP_HOST_DATA
        | names::NODES_SNP_UVM_ENDORSEMENTS
        | names::NODES_SNP_TCB_VERSIONS
        | names::NODES_SEALED_RECOVERY_KEYS
        | names::NODES_LOCAL_SEALING_NODE_ID_MAP
        | names::MEMBERS_INFO
        | names::USERS_INFO
        | names::PROPOSALS_INFO
        | names::HISTORY
        | names::COSE_RECENT_PROPOSALS
        | names::ENDPOINTS
        | names::JWT_ISSUERS
        | names::JWT_PUBLIC_SIGNING_KEYS_METADATA
        | names::JWT_PUBLIC_SIGNING_KEYS_METADATA_V2
        | names::TLS_CA_CERT_BUNDLES
        | names::ENCRYPTED_SUBMITTED_SHARES
        | names::SELF_HEALING_NODES
        | names::SELF_HEALING_GOSSIP
        | names::RECOVERY_DECISION_NODES
        | names::RECOVERY_DECISION_GOSSIP => V::Json,
        names::NODES_ENDORSED_CERTIFICATES
        | names::MEMBERS_CERTS
        | names::MEMBERS_ENCRYPTION_PUBLIC_KEYS
        | names::USERS_CERTS => V::Pem,
        names::NODES_VIRTUAL_HOST_DATA | names::SELF_HEALING_VOTES | names::RECOVERY_DECISION_VOTES => V::Set,
        names::MEMBERS_ACKS => V::Acknowledgement,
        names::PROPOSALS => V::Submitted,
        names::COSE_HISTORY => V::Cose,
        names::MODULES | names::JWT_PUBLIC_SIGNING_KEY_ISSUER => V::Text,
        names::MODULES_QUICKJS_BYTECODE => V::Bytecode,
        names::JWT_PUBLIC_SIGNING_KEYS => V::Der,
        names::ACME_CERTIFICATES => V::Any,
        _ => return None,
    })
}

/// A key of `table`, decoded. `null` is the only key of a table that holds one value.
pub fn describe_key(table: &str, key: &[u8]) -> Value {
    let Some((codec, _)) = codec(table) else {
        return text_or_base64(key);
    };
    let number = || match key {
        &[byte] => Some(u64::from(byte)),
        _ => key.try_into().ok().map(u64::from_le_bytes),
    };
    match (codec, key == SINGLETON_KEY) {
        (KeyCodec::Singleton | KeyCodec::IdentityType, true) => Value::Null,
        (KeyCodec::Singleton, false) => undecodable("expected a key of 8 zero bytes", key),
        (KeyCodec::Text, _) => text_or_base64(key),
        (KeyCodec::IdentityType | KeyCodec::Number, _) => match number() {
            Some(number) => json!(number),
            None => undecodable("expected a number of 8 bytes", key),
        },
    }
}

/// A value of `table`, decoded.
pub fn describe_value(table: &str, value: &[u8]) -> Value {
    let codec = codec(table).map_or(ValueCodec::Any, |(_, value)| value);
    decode(codec, value).unwrap_or_else(|why| undecodable(&why, value))
}

fn undecodable(why: &str, bytes: &[u8]) -> Value {
    json!({ "undecodable": why, "base64": STANDARD.encode(bytes) })
}

fn decode(codec: ValueCodec, value: &[u8]) -> Result<Value, String> {
    match codec {
        ValueCodec::Json => Ok(read_pem_inside(parse_json(value)?)),
        ValueCodec::Node => {
            let mut record = parse_json(value)?;
            super::quote::decode_in(&mut record);
            Ok(read_pem_inside(record))
        }
        ValueCodec::Submitted => Ok(parse_json(value).map_or_else(|_| text_or_base64(value), read_pem_inside)),
        ValueCodec::Cose => {
            let json = parse_json(value)?;
            cose_base64(json.as_str().ok_or("expected a JSON string holding base64")?)
        }
        ValueCodec::Endorsement => {
            let mut json = parse_json(value)?;
            replace(&mut json, "endorsement", cose_base64);
            replace(&mut json, "endorsing_key", |text| public_key_der(&from_base64(text)?));
            Ok(json)
        }
        ValueCodec::Acknowledgement => {
            let mut json = parse_json(value)?;
            replace(&mut json, "cose_sign1_req", cose_base64);
            Ok(read_pem_inside(json))
        }
        ValueCodec::SigningIdentity => {
            let mut json = parse_json(value)?;
            let certificate = json.get("kind").and_then(Value::as_str) == Some("X509_CERT_DER");
            replace(&mut json, "value", |text| match certificate {
                true => certificate_der(&from_base64(text)?),
                false => public_key_der(&from_base64(text)?),
            });
            Ok(json)
        }
        ValueCodec::Pem => match std::str::from_utf8(value) {
            Ok(text) if text.contains("-----BEGIN ") => Ok(read_pem_inside(Value::from(text))),
            _ => Err("expected PEM text".to_owned()),
        },
        ValueCodec::Text => match std::str::from_utf8(value) {
            Ok(text) => Ok(Value::from(text)),
            Err(e) => Err(format!("expected text: {e}")),
        },
        ValueCodec::Tree => tree(value),
        ValueCodec::Set => match value == SINGLETON_KEY {
            true => Ok(Value::Bool(true)),
            false => Err("expected 8 zero bytes, which say that the key is in the set".to_owned()),
        },
        ValueCodec::Der => Ok(certificate_der(value)
            .or_else(|_| public_key_der(value))
            .unwrap_or_else(|_| json!({ "base64": STANDARD.encode(value) }))),
        ValueCodec::Bytecode => Ok(json!({
            "bytecode_bytes": value.len(),
            "base64": STANDARD.encode(value),
        })),
        ValueCodec::Any => Ok(any(value)),
    }
}

/// A value nothing is known about: JSON if it is an object or array, text if it is text.
fn any(value: &[u8]) -> Value {
    match value.first() {
        Some(b'{' | b'[') => parse_json(value).unwrap_or_else(|_| text_or_base64(value)),
        _ => text_or_base64(value),
    }
}

/// Decodes a text field in place; it stays as it is, with the reason beside it, if that fails.
fn replace(json: &mut Value, field: &str, decode: impl Fn(&str) -> Result<Value, String>) {
    if let Some(found) = json.get_mut(field)
        && let Some(text) = found.as_str()
    {
        let decoded = decode(text).unwrap_or_else(|why| json!({ "undecodable": why, "base64": text }));
        *found = decoded;
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|e| format!("not base64: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_table_has_a_codec() {
        for table in names::ALL {
            assert!(codec(table).is_some(), "{table}");
        }
    }

    #[test]
    fn hostile_bytes_are_shown_and_never_panic() {
        let samples: [&[u8]; 9] = [
            b"",
            b"\xff",
            &[0; 7],
            &[0xd2; 300],
            b"\"0oRY\"",
            b"\"////\"",
            b"{\"endorsement\":\"AAAA\",\"endorsing_key\":\"?\"}",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ];
        for table in names::ALL.iter().chain(&["records"]) {
            for sample in samples {
                describe_key(table, sample);
                describe_value(table, sample);
            }
        }
        let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        describe_value(names::SERVICE_INFO, &nested);
        describe_value("records", &nested);
    }

    #[test]
    fn keys_are_shown_by_the_tables_rules() {
        assert_eq!(describe_key(names::SIGNATURES, &[0; 8]), Value::Null);
        assert_eq!(describe_key(names::COSE_SIGNATURES, &1u64.to_le_bytes()), json!(1));
        assert_eq!(describe_key(names::VALUES, &[0]), json!(0));
        assert_eq!(describe_key("records", b"42"), json!("42"));
        assert_eq!(describe_key("records", &[0; 8]), json!({ "base64": "AAAAAAAAAAA=" }));
        assert!(describe_key(names::SIGNATURES, b"x").get("undecodable").is_some());
    }

    #[test]
    fn values_of_unknown_tables_are_text_json_or_base64() {
        assert_eq!(describe_value("records", b"hello"), json!("hello"));
        assert_eq!(describe_value("records", b"{\"a\":1}"), json!({ "a": 1 }));
        assert_eq!(describe_value("records", b"{oops"), json!("{oops"));
        assert_eq!(describe_value("records", b"7"), json!("7"));
        assert_eq!(describe_value("records", b"\xff"), json!({ "base64": "/w==" }));
    }

    #[test]
    fn what_does_not_decode_says_why() {
        let shown = describe_value(names::TREE, b"short");
        assert!(shown["undecodable"].as_str().unwrap().contains("number of leaves"));
        assert_eq!(shown["base64"], "c2hvcnQ=");
    }
}
