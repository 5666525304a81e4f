//! What governance answers of nodes, of what may join, of keys of token issuers and of JavaScript applications (recovery
//! specification, section 3.3). As [`super`].

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{add, each, entry, list, readable, text};
use crate::kv::store::Transaction;
use crate::node::governance::parameters;
use crate::node::http::ApiError;
use crate::tables::json::{Fields, Json, Opaque};
use crate::tables::names;
use crate::tables::values::NodeInfo;

/// What a measurement's entry says if nodes with it may join.
const ALLOWED: &str = "AllowedToJoin";
/// Columns of base64 in PEM.
const PEM_COLUMNS: usize = 64;

/// `GET /gov/service/nodes`.
pub fn nodes(transaction: &Transaction<'_>) -> Json {
    list(each(transaction, names::NODES_INFO, |id, info| {
        describe_node(transaction, id, &info)
    }))
}

/// `GET /gov/service/nodes/{nodeId}`.
///
/// # Errors
/// 400 `InvalidResourceName`; 404.
pub fn node(transaction: &Transaction<'_>, node_id: &str) -> Result<Json, ApiError> {
    let info = entry(transaction, names::NODES_INFO, parameters::node_id(node_id)?)?
        .ok_or_else(|| ApiError::not_found(format!("Node n[{node_id}] does not exist.")))?;
    Ok(describe_node(transaction, node_id, &info))
}

fn describe_node(transaction: &Transaction<'_>, id: &str, info: &NodeInfo) -> Json {
    let interfaces: Option<Map<String, Value>> = info.other.read("rpc_interfaces");
    let interfaces = interfaces.unwrap_or_default().into_iter().map(|(name, interface)| {
        let mut described = json!({"publishedAddress": interface.get("published_address")});
        add(&mut described, "protocol", interface.get("app_protocol").cloned());
        (name, described)
    });
    let answer = json!({
        "nodeId": id,
        "status": info.status,
        "retiredCommitted": info.other.read("retired_committed").unwrap_or(false),
        "quoteInfo": describe_quote(&info.other.read("quote_info").unwrap_or(Value::Null)),
        "rpcInterfaces": interfaces.collect::<Map<_, _>>(),
    });
    let mut answer = Json::with(answer, [("nodeData", info.other.get("node_data"))]);
    answer.add("certificate", text(transaction, names::NODES_ENDORSED_CERTIFICATES, id));
    answer
}

fn describe_quote(quote: &Value) -> Value {
    let field = |name: &str| quote.get(name).cloned();
    let Some(format) = quote.get("format").and_then(Value::as_str) else {
        return json!({});
    };
    let mut answer = json!({"format": format});
    match format {
        "OE_SGX_v1" => {
            add(&mut answer, "quote", field("quote"));
            add(&mut answer, "endorsements", field("endorsements"));
        }
        "Insecure_Virtual" => {
            add(&mut answer, "rawQuote", field("quote"));
            add(&mut answer, "details", quote.get("quote").and_then(virtual_details));
        }
        "AMD_SEV_SNP_v1" => {
            add(&mut answer, "uvmEndorsements", field("uvm_endorsements"));
            // In the table as hex, in the answer as base64.
            let tcb = quote.get("endorsed_tcb").and_then(Value::as_str);
            let tcb = tcb.and_then(|digits| hex::decode(digits).ok());
            add(
                &mut answer,
                "endorsedTcb",
                tcb.map(|bytes| STANDARD.encode(bytes).into()),
            );
        }
        _ => {}
    }
    answer
}

/// What a virtual attestation says of itself: JSON in base64.
fn virtual_details(quote: &Value) -> Option<Value> {
    let details: Value = serde_json::from_slice(&STANDARD.decode(quote.as_str()?).ok()?).ok()?;
    Some(json!({
        "measurement": details.get("measurement"),
        "reportData": details.get("report_data"),
        "hostData": details.get("host_data"),
    }))
}

/// `GET /gov/service/join-policy`.
pub fn join_policy(transaction: &Transaction<'_>) -> Value {
    let allowed = |table: &str| -> Vec<String> {
        let statuses = readable::<Value>(transaction, table).into_iter();
        statuses
            .filter(|(_, status)| status == ALLOWED)
            .map(|(key, _)| key)
            .collect()
    };
    let keys = |table: &str| -> Vec<String> {
        let keys = transaction.entries(table).into_keys();
        keys.filter_map(|key| String::from_utf8(key).ok()).collect()
    };
    json!({
        "sgx": {"measurements": allowed(names::NODES_CODE_IDS)},
        "virtual": {
            "measurements": allowed(names::NODES_VIRTUAL_MEASUREMENTS),
            "hostData": keys(names::NODES_VIRTUAL_HOST_DATA),
        },
        "snp": {
            "measurements": allowed(names::NODES_SNP_MEASUREMENTS),
            "hostData": readable::<Value>(transaction, names::NODES_SNP_HOST_DATA),
            "uvmEndorsements": readable::<Value>(transaction, names::NODES_SNP_UVM_ENDORSEMENTS),
            "tcbVersions": readable::<Value>(transaction, names::NODES_SNP_TCB_VERSIONS),
        },
    })
}

/// `GET /gov/service/jwk`: issuers of tokens and their keys.
pub fn jwk(transaction: &Transaction<'_>) -> Value {
    let issuers = readable::<Fields>(transaction, names::JWT_ISSUERS).into_iter();
    let issuers = issuers.map(|(issuer, metadata)| {
        let refresh: Option<bool> = metadata.read("auto_refresh");
        let mut described = json!({"autoRefresh": refresh.unwrap_or(false)});
        add(&mut described, "caCertBundleName", metadata.read("ca_cert_bundle_name"));
        (issuer, described)
    });
    let keys = readable::<Vec<Value>>(transaction, names::JWT_PUBLIC_SIGNING_KEYS_METADATA_V2).into_iter();
    let keys = keys.map(|(kid, keys)| {
        let keys = keys.iter().map(|key| {
            json!({
                "publicKey": key.get("public_key").and_then(Value::as_str).map(pem),
                "issuer": key.get("issuer"),
                "constraint": key.get("constraint"),
            })
        });
        (kid, keys.collect::<Value>())
    });
    json!({
        "issuers": issuers.collect::<Map<_, _>>(),
        "keys": keys.collect::<Map<_, _>>(),
        "caCertBundles": readable::<Value>(transaction, names::TLS_CA_CERT_BUNDLES),
    })
}

/// A public key in base64 as PEM.
fn pem(base64: &str) -> String {
    let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = base64;
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.floor_char_boundary(PEM_COLUMNS));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str("-----END PUBLIC KEY-----\n");
    text
}

/// `GET /gov/service/javascript-app`. `case`, a query parameter, may ask for the fields as they were submitted.
///
/// # Errors
/// 400 `InvalidQueryParameterValue` for another `case` than `original`.
pub fn javascript_app(transaction: &Transaction<'_>, case: Option<&str>) -> Result<Json, ApiError> {
    let original = match case {
        None => false,
        Some("original") => true,
        Some(_) => {
            return Err(ApiError::bad_request(
                "InvalidQueryParameterValue",
                "Accepted values for the 'case' query parameter are: original",
            ));
        }
    };
    let mut endpoints: BTreeMap<String, Json> = BTreeMap::new();
    for (key, properties) in readable::<Opaque>(transaction, names::ENDPOINTS) {
        let Some((verb, path)) = key.split_once(' ') else {
            continue;
        };
        let operation = match original {
            true => Json::Opaque(properties),
            false => describe_endpoint(&properties.read().unwrap_or_default()),
        };
        let operations = endpoints.entry(path.to_owned()).or_insert_with(|| Json::object([]));
        operations.add(verb, Some(operation));
    }
    Ok(Json::object([("endpoints", Some(Json::Object(endpoints)))]))
}

fn describe_endpoint(properties: &Fields) -> Json {
    let or = |name: &str, default: Value| Some(properties.get(name).map_or(default.into(), Json::from));
    Json::object([
        ("jsModule", or("js_module", Value::Null)),
        ("jsFunction", or("js_function", Value::Null)),
        ("forwardingRequired", or("forwarding_required", "always".into())),
        ("redirectionStrategy", or("redirection_strategy", "none".into())),
        ("authnPolicies", or("authn_policies", json!([]))),
        ("mode", or("mode", "readwrite".into())),
        ("openApi", or("openapi", Value::Null)),
    ])
}

/// `GET /gov/service/javascript-modules`.
pub fn javascript_modules(transaction: &Transaction<'_>) -> Json {
    let names = transaction.entries(names::MODULES).into_keys();
    list(names.map(|name| json!({"moduleName": String::from_utf8_lossy(&name)})))
}

/// `GET /gov/service/javascript-modules/{moduleName}`: the module itself. The name is given decoded.
///
/// # Errors
/// 404.
pub fn javascript_module(transaction: &Transaction<'_>, name: &str) -> Result<Vec<u8>, ApiError> {
    transaction
        .get(names::MODULES, name.as_bytes())
        .map(<[u8]>::to_vec)
        .ok_or_else(|| ApiError::not_found(format!("Module {} does not exist.", parameters::echo(name))))
}

#[cfg(test)]
mod tests;
