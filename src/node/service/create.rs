//! The recovery transaction: the first one of a recovered service. Recovery specification, section 2.6.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{previous_write, put, service_info};
use crate::crypto::Certificate;
use crate::crypto::digest::Digest;
use crate::format::TxId;
use crate::kv::store::Transaction;
use crate::node::attestation::{VIRTUAL_MEASUREMENT, VirtualQuote};
use crate::node::config::{Address, Config, RpcInterface};
use crate::node::identity::NodeIdentity;
use crate::recovery::report::Code;
use crate::tables::json::{Fields, Opaque};
use crate::tables::values::{HexDigest, NodeStatus, ServiceInfo, ServiceStatus, from_json, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// What the new service begins with.
pub struct Creation<'a> {
    /// The node's settings.
    pub config: &'a Config,
    /// The addresses that were bound, where the settings left the port open: by interface.
    pub published: &'a BTreeMap<String, String>,
    /// Where other nodes reach this one.
    pub node_address: &'a str,
    /// The node.
    pub node: &'a NodeIdentity,
    /// Its encryption key.
    pub encryption_key: &'a str,
    /// What it runs.
    pub quote: &'a VirtualQuote,
    /// The node's certificate, endorsed by the new service.
    pub endorsed: &'a Certificate,
    /// The new service's certificate.
    pub service: &'a Certificate,
    /// This transaction.
    pub txid: TxId,
    /// The last root signed before.
    pub last_signed_root: Digest,
    /// What the operator attaches to node and service.
    pub node_data: Option<Value>,
    /// As above.
    pub service_data: Option<Value>,
}

/// Writes the recovery transaction.
///
/// # Errors
/// In words, if the ledger's own tables can't be read.
pub fn create(transaction: &mut Transaction<'_>, creation: &Creation<'_>) -> Result<(), String> {
    let previous = service_info(transaction)?;
    let info = ServiceInfo {
        cert: creation.service.to_pem(),
        status: ServiceStatus::Recovering,
        previous_service_identity_version: previous_write(transaction, &previous),
        // A service that never counted was none's recovery, as CCF reads it.
        recovery_count: Some(previous.recovery_count.unwrap_or(0).saturating_add(1)),
        current_service_create_txid: Some(creation.txid),
        service_data: creation.service_data.as_ref().map(Opaque::of),
    };
    transaction.put(names::SERVICE_INFO, SINGLETON_KEY, info.to_json());
    put(transaction, names::PREVIOUS_SERVICE_IDENTITY, &previous.cert);
    let root = HexDigest(creation.last_signed_root);
    put(transaction, names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT, &root);
    retire_all_nodes(transaction)?;
    let id = creation.node.id.as_str();
    transaction.put(names::NODES_INFO, id, to_json(&node_info(creation)));
    transaction.put(names::NODES_ENDORSED_CERTIFICATES, id, creation.endorsed.to_pem());
    transaction.put(
        names::NODES_VIRTUAL_MEASUREMENTS,
        VIRTUAL_MEASUREMENT,
        to_json(&"AllowedToJoin"),
    );
    let host_data = creation.quote.host_data.as_str();
    transaction.put(names::NODES_VIRTUAL_HOST_DATA, host_data, SINGLETON_KEY);
    Ok(())
}

/// All nodes of the service before are gone.
fn retire_all_nodes(transaction: &mut Transaction<'_>) -> Result<(), String> {
    for (id, value) in transaction.entries(names::NODES_INFO) {
        let mut info: Fields = from_json(&value).map_err(|_| unreadable(&id))?;
        if info.read("status") != Some(NodeStatus::Retired) {
            info.set("status", &"Retired");
            transaction.put(names::NODES_INFO, id, info.to_json());
        }
    }
    Ok(())
}

fn unreadable(id: &[u8]) -> String {
    let id = String::from_utf8_lossy(id);
    format!("{}: nodes.info of {id} can't be read", Code::TrustValue.as_str())
}

/// Marks the nodes of this service whose retirement is committed; answers whether there was one. Nodes of a service
/// before it were retired by its first transaction, and stay as that left them: no node of this service ever counted on
/// their votes.
pub fn commit_retirements(transaction: &mut Transaction<'_>) -> bool {
    let created = service_info(transaction)
        .ok()
        .and_then(|info| info.current_service_create_txid);
    let created = created.map_or(0, |txid| txid.seqno);
    let mut any = false;
    for (id, value) in transaction.entries(names::NODES_INFO) {
        let Ok(mut info) = from_json::<Fields>(&value) else {
            continue;
        };
        let of_this_service = transaction
            .version(names::NODES_INFO, &id)
            .is_none_or(|at| at > created);
        let retired = info.read::<String>("status").as_deref() == Some("Retired");
        if retired && of_this_service && info.read("retired_committed") != Some(true) {
            info.set("retired_committed", &true);
            transaction.put(names::NODES_INFO, id, info.to_json());
            any = true;
        }
    }
    any
}

fn node_info(creation: &Creation<'_>) -> Value {
    let config = creation.config;
    let interfaces = net_interfaces(config, creation.published);
    let rpc = creation.published.values().next().map_or("", String::as_str);
    let (rpc_host, rpc_port) = host_and_port(rpc);
    let (node_host, node_port) = host_and_port(creation.node_address);
    let mut info = json!({
        "certificate_signing_request": creation.node.request,
        "code_digest": hex::encode(VIRTUAL_MEASUREMENT),
        "encryption_pub_key": creation.encryption_key,
        "node_data": creation.node_data,
        "node_to_node_interface": {
            "bind_address": creation.node_address, "published_address": creation.node_address,
        },
        "nodehost": node_host, "nodeport": node_port,
        "public_key": creation.node.key.verifying_key().spki_pem(),
        "pubhost": rpc_host, "pubport": rpc_port,
        "quote_info": creation.quote.info(),
        "rpc_interfaces": interfaces,
        "rpchost": rpc_host, "rpcport": rpc_port,
        "status": "Trusted",
    });
    if creation.node_data.is_none()
        && let Some(info) = info.as_object_mut()
    {
        info.remove("node_data");
    }
    info
}

/// An interface as `nodes.info` and `/node/network/nodes` show it. Other releases wrote fewer fields.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeInfoNetwork_v2__NetInterface", extend("required" = ["bind_address"]))]
pub struct NetInterface {
    /// `HTTP1` or `HTTP2`.
    pub app_protocol: &'static str,
    /// Where it listens.
    pub bind_address: String,
    /// Who endorses the certificate that it serves.
    pub endorsement: Endorsement,
    /// How long the primary may take to answer what is forwarded to it, in milliseconds.
    pub forwarding_timeout_ms: u64,
    /// Limits of requests.
    pub http_configuration: ParserConfiguration,
    /// Further sessions are closed at once.
    pub max_open_sessions_hard: u64,
    /// Further sessions are told so.
    pub max_open_sessions_soft: u64,
    /// `tcp`.
    pub protocol: String,
    /// How clients reach it.
    pub published_address: String,
}

/// Who endorses the certificate that an interface serves.
#[derive(Serialize, JsonSchema)]
pub struct Endorsement {
    /// `Service`, `Node` or `Unsecured`.
    pub authority: &'static str,
}

/// Limits of requests; sizes are texts such as `1MB`.
#[derive(Serialize, JsonSchema)]
#[schemars(transform = nothing_required)]
pub struct ParserConfiguration {
    /// Of a body.
    pub max_body_size: String,
    /// Of one header's name or value.
    pub max_header_size: String,
    /// Of their number.
    pub max_headers_count: u32,
}

/// Other releases wrote fewer fields.
fn nothing_required(schema: &mut schemars::Schema) {
    schema.remove("required");
}

/// An interface with the address under which it is published.
pub fn net_interface(interface: &RpcInterface, published: &str) -> NetInterface {
    let http = &interface.http_configuration;
    NetInterface {
        app_protocol: interface.app_protocol.as_str(),
        bind_address: bound(&interface.bind_address, published),
        endorsement: Endorsement {
            authority: interface.endorsement.authority.as_str(),
        },
        forwarding_timeout_ms: interface.forwarding_timeout_ms,
        http_configuration: ParserConfiguration {
            max_body_size: http.max_body_size.to_string(),
            max_header_size: http.max_header_size.to_string(),
            max_headers_count: http.max_headers_count,
        },
        max_open_sessions_hard: interface.max_open_sessions_hard,
        max_open_sessions_soft: interface.max_open_sessions_soft,
        protocol: interface.protocol.as_str().to_owned(),
        published_address: published.to_owned(),
    }
}

/// The interfaces of a node by their names, each published under the address that is given for it.
pub fn net_interfaces(config: &Config, published: &BTreeMap<String, String>) -> BTreeMap<String, NetInterface> {
    let interfaces = config.network.rpc_interfaces.iter();
    interfaces
        .map(|(name, interface)| {
            let published = published.get(name).map_or("", String::as_str);
            (name.clone(), net_interface(interface, published))
        })
        .collect()
}

/// A bind address whose port was left open is shown with the port that was bound, as the published one has it.
fn bound(address: &Address, published: &str) -> String {
    match address.port {
        0 => format!("{}:{}", address.host, host_and_port(published).1),
        _ => address.to_string(),
    }
}

fn host_and_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap_or((address, ""))
}
