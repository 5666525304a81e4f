//! What governance answers of nodes, of what may join, of keys of token issuers and of JavaScript applications (recovery
//! specification, section 3.3). As [`super`].

use crate::governance::{Reason, Refusal};
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{each, entry, list, readable, text};
use crate::governance::answers::{
    self, JoinPolicies, JsApp, JsEndpoint, JsEndpointInfo, JsModuleName, Jwk, JwkInfo, JwtIssuer, QuoteInfo,
    SgxJoinPolicy, SnpJoinPolicy, VirtualDetails, VirtualJoinPolicy, answer,
};
use crate::governance::parameters;
use crate::kv::store::Transaction;
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
/// [`Reason::InvalidName`]; [`Reason::NotFound`].
pub fn node(transaction: &Transaction<'_>, node_id: &str) -> Result<Json, Refusal> {
    let info = entry(transaction, names::NODES_INFO, parameters::node_id(node_id)?)?
        .ok_or_else(|| Refusal::new(Reason::NotFound, format!("Node n[{node_id}] does not exist.")))?;
    Ok(describe_node(transaction, node_id, &info))
}

fn describe_node(transaction: &Transaction<'_>, id: &str, info: &NodeInfo) -> Json {
    let interfaces: Option<BTreeMap<String, Value>> = info.other.read("rpc_interfaces");
    let interfaces = interfaces.unwrap_or_default().into_iter().map(|(name, interface)| {
        let described = answers::NetworkInterface {
            protocol: interface.get("app_protocol").cloned(),
            published_address: interface.get("published_address").cloned(),
        };
        (name, described)
    });
    answer(&answers::ServiceNode {
        certificate: text(transaction, names::NODES_ENDORSED_CERTIFICATES, id),
        node_data: info.other.get("node_data").cloned(),
        node_id: id.to_owned(),
        quote_info: describe_quote(&info.other.read("quote_info").unwrap_or(Value::Null)),
        retired_committed: info.other.read("retired_committed").unwrap_or(false),
        rpc_interfaces: interfaces.collect(),
        status: info.status,
    })
}

fn describe_quote(quote: &Value) -> QuoteInfo {
    let field = |name: &str| quote.get(name).cloned();
    let Some(format) = quote.get("format").and_then(Value::as_str) else {
        return QuoteInfo::default();
    };
    let described = QuoteInfo {
        format: Some(format.to_owned()),
        ..QuoteInfo::default()
    };
    match format {
        "OE_SGX_v1" => QuoteInfo {
            endorsements: field("endorsements"),
            quote: field("quote"),
            ..described
        },
        "Insecure_Virtual" => QuoteInfo {
            details: quote.get("quote").and_then(virtual_details),
            raw_quote: field("quote"),
            ..described
        },
        "AMD_SEV_SNP_v1" => {
            // In the table as hex, in the answer as base64.
            let tcb = quote.get("endorsed_tcb").and_then(Value::as_str);
            let tcb = tcb.and_then(|digits| hex::decode(digits).ok());
            QuoteInfo {
                endorsed_tcb: tcb.map(|bytes| STANDARD.encode(bytes)),
                uvm_endorsements: field("uvm_endorsements"),
                ..described
            }
        }
        _ => described,
    }
}

/// What a virtual attestation says of itself: JSON in base64.
fn virtual_details(quote: &Value) -> Option<VirtualDetails> {
    let details: Value = serde_json::from_slice(&STANDARD.decode(quote.as_str()?).ok()?).ok()?;
    Some(VirtualDetails {
        host_data: details.get("host_data").cloned(),
        measurement: details.get("measurement").cloned(),
        report_data: details.get("report_data").cloned(),
    })
}

/// `GET /gov/service/join-policy`.
pub fn join_policy(transaction: &Transaction<'_>) -> Json {
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
    answer(&JoinPolicies {
        sgx: SgxJoinPolicy {
            measurements: allowed(names::NODES_CODE_IDS),
        },
        snp: SnpJoinPolicy {
            host_data: readable(transaction, names::NODES_SNP_HOST_DATA),
            measurements: allowed(names::NODES_SNP_MEASUREMENTS),
            tcb_versions: readable(transaction, names::NODES_SNP_TCB_VERSIONS),
            uvm_endorsements: readable(transaction, names::NODES_SNP_UVM_ENDORSEMENTS),
        },
        virtual_nodes: VirtualJoinPolicy {
            host_data: keys(names::NODES_VIRTUAL_HOST_DATA),
            measurements: allowed(names::NODES_VIRTUAL_MEASUREMENTS),
        },
    })
}

/// `GET /gov/service/jwk`: issuers of tokens and their keys.
pub fn jwk(transaction: &Transaction<'_>) -> Json {
    let issuers = readable::<Fields>(transaction, names::JWT_ISSUERS).into_iter();
    let issuers = issuers.map(|(issuer, metadata)| {
        let described = JwtIssuer {
            auto_refresh: metadata.read("auto_refresh").unwrap_or(false),
            ca_cert_bundle_name: metadata.read("ca_cert_bundle_name"),
        };
        (issuer, described)
    });
    let keys = readable::<Vec<Value>>(transaction, names::JWT_PUBLIC_SIGNING_KEYS_METADATA_V2).into_iter();
    let keys = keys.map(|(kid, keys)| {
        let keys = keys.iter().map(|key| Jwk {
            constraint: key.get("constraint").cloned(),
            issuer: key.get("issuer").cloned(),
            public_key: key.get("public_key").and_then(Value::as_str).map(pem),
        });
        (kid, keys.collect())
    });
    answer(&JwkInfo {
        ca_cert_bundles: readable(transaction, names::TLS_CA_CERT_BUNDLES),
        issuers: issuers.collect(),
        keys: keys.collect(),
    })
}

/// A public key in base64 as PEM.
fn pem(base64: &str) -> String {
    let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = base64;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.floor_char_boundary(PEM_COLUMNS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END PUBLIC KEY-----\n");
    text
}

/// `GET /gov/service/javascript-app`. `case`, a query parameter, may ask for the fields as they were submitted.
///
/// # Errors
/// [`Reason::InvalidQuery`] for another `case` than `original`.
pub fn javascript_app(transaction: &Transaction<'_>, case: Option<&str>) -> Result<Json, Refusal> {
    let original = match case {
        None => false,
        Some("original") => true,
        Some(_) => {
            return Err(Refusal::new(
                Reason::InvalidQuery,
                "Accepted values for the 'case' query parameter are: original",
            ));
        }
    };
    let mut endpoints: BTreeMap<String, BTreeMap<String, JsEndpoint>> = BTreeMap::new();
    for (key, properties) in readable::<Opaque>(transaction, names::ENDPOINTS) {
        let Some((verb, path)) = key.split_once(' ') else {
            continue;
        };
        let operation = match original {
            true => JsEndpoint::Original(properties),
            false => JsEndpoint::Described(describe_endpoint(&properties.read().unwrap_or_default())),
        };
        let operations = endpoints.entry(path.to_owned()).or_default();
        operations.insert(verb.to_owned(), operation);
    }
    Ok(answer(&JsApp { endpoints }))
}

fn describe_endpoint(properties: &Fields) -> JsEndpointInfo {
    let field = |name: &str| properties.get(name).cloned();
    let or = |name: &str, default: Value| field(name).unwrap_or_else(|| Opaque::of(&default));
    JsEndpointInfo {
        authn_policies: or("authn_policies", Value::Array(Vec::new())),
        forwarding_required: or("forwarding_required", "always".into()),
        js_function: field("js_function"),
        js_module: field("js_module"),
        mode: or("mode", "readwrite".into()),
        open_api: field("openapi"),
        redirection_strategy: or("redirection_strategy", "none".into()),
    }
}

/// `GET /gov/service/javascript-modules`.
pub fn javascript_modules(transaction: &Transaction<'_>) -> Json {
    let names = transaction.entries(names::MODULES).into_keys();
    list(names.map(|name| {
        answer(&JsModuleName {
            module_name: String::from_utf8_lossy(&name).into_owned(),
        })
    }))
}

/// `GET /gov/service/javascript-modules/{moduleName}`: the module itself. The name is given decoded.
///
/// # Errors
/// [`Reason::NotFound`].
pub fn javascript_module(transaction: &Transaction<'_>, name: &str) -> Result<Vec<u8>, Refusal> {
    transaction
        .get(names::MODULES, name.as_bytes())
        .map(<[u8]>::to_vec)
        .ok_or_else(|| {
            Refusal::new(
                Reason::NotFound,
                format!("Module {} does not exist.", parameters::echo(name)),
            )
        })
}

#[cfg(test)]
mod tests;
