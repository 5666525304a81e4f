//! `nodes.info`: what a service knows of a node. Everything that writes or changes such a record does it here.
//! Recovery specification, sections 2.6 and 8.2.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::json::Fields;
use super::values::{NodeStatus, from_json, to_json};

/// A node's record, of which only the parts that change are looked into.
pub struct NodeRecord(Fields);

impl NodeRecord {
    /// Reads a value of the table; `None` if it is no JSON object.
    pub fn read(value: &[u8]) -> Option<NodeRecord> {
        from_json(value).ok().map(NodeRecord)
    }

    /// Whether the node is Retired.
    pub fn is_retired(&self) -> bool {
        self.0.read("status") == Some(NodeStatus::Retired)
    }

    /// Whether the node is Trusted.
    pub fn is_trusted(&self) -> bool {
        self.0.read("status") == Some(NodeStatus::Trusted)
    }

    /// Where other nodes reach it.
    pub fn node_to_node_address(&self) -> Option<String> {
        let interface: Value = self.0.read("node_to_node_interface")?;
        interface.get("published_address")?.as_str().map(str::to_owned)
    }

    /// Where clients reach it: at the interface of this name, or else at the first one that it has.
    pub fn published_address(&self, interface: &str) -> Option<String> {
        let interfaces: BTreeMap<String, Value> = self.0.read("rpc_interfaces")?;
        let found = match interfaces.get(interface) {
            Some(found) => found,
            None => interfaces.values().next()?,
        };
        found.get("published_address")?.as_str().map(str::to_owned)
    }

    /// Whether its retirement is committed.
    pub fn is_retirement_committed(&self) -> bool {
        self.0.read("retired_committed") == Some(true)
    }

    /// The node is gone.
    pub fn retire(&mut self) {
        self.0.set("status", &"Retired");
    }

    /// Its retirement is committed: it may stop.
    pub fn commit_retirement(&mut self) {
        self.0.set("retired_committed", &true);
    }

    /// The value to be written.
    pub fn to_json(&self) -> Vec<u8> {
        self.0.to_json()
    }
}

/// A node that begins a service: Trusted from the first transaction.
pub struct NewNode<'a> {
    /// What the service was asked to endorse, PEM.
    pub certificate_signing_request: &'a str,
    /// Its key for ledger secrets, PEM.
    pub encryption_key: &'a str,
    /// Its public key, PEM.
    pub public_key: &'a str,
    /// What it measures.
    pub measurement: &'a [u8],
    /// What it says it runs.
    pub quote_info: Value,
    /// Where other nodes reach it.
    pub address: &'a str,
    /// Where clients reach it, by the interfaces' names.
    pub interfaces: &'a BTreeMap<String, NetInterface>,
    /// What the operator attaches to it.
    pub data: Option<&'a Value>,
    /// It will seal ledger secrets for itself.
    pub will_seal: bool,
}

impl NewNode<'_> {
    /// The value to be written.
    pub fn to_json(&self) -> Vec<u8> {
        let rpc = self.interfaces.values().next();
        let (rpc_host, rpc_port) = rpc.map_or(("", ""), |rpc| host_and_port(&rpc.published_address));
        let (node_host, node_port) = host_and_port(self.address);
        let mut info = json!({
            "certificate_signing_request": self.certificate_signing_request,
            "code_digest": hex::encode(self.measurement),
            "encryption_pub_key": self.encryption_key,
            "node_to_node_interface": {"bind_address": self.address, "published_address": self.address},
            "nodehost": node_host, "nodeport": node_port,
            "public_key": self.public_key,
            "pubhost": rpc_host, "pubport": rpc_port,
            "quote_info": self.quote_info,
            "rpc_interfaces": self.interfaces,
            "rpchost": rpc_host, "rpcport": rpc_port,
            "status": "Trusted",
        });
        if let (Some(data), Some(info)) = (self.data, info.as_object_mut()) {
            info.insert("node_data".to_owned(), data.clone());
        }
        // What has its default is left out, as CCF does.
        if let (true, Some(info)) = (self.will_seal, info.as_object_mut()) {
            info.insert("will_locally_seal_ledger_secrets".to_owned(), json!(true));
        }
        to_json(&info)
    }
}

/// The parts of an address `host:port`.
pub fn host_and_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap_or((address, ""))
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
