//! A node that joins: what it says of its addresses, and its row of `nodes.info`.
//!
//! Real nodes read this row when they follow, and stop where a field has another type than theirs. So nothing is carried
//! over: what a joiner sends is read into the fields that CCF has, and written from these; what has no place here is left out,
//! as CCF's primary leaves it out. Recovery specification, sections 2.6 and 8.1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{Fields, Opaque};
use super::values::NodeStatus;
use crate::format::Seqno;

/// Addresses of one node: nobody needs that many.
const MAX_INTERFACES: usize = 32;
/// Bytes of one text: a DNS name has at most 253, an endpoint's pattern is short.
const MAX_TEXT_BYTES: usize = 512;
/// Texts of one list.
const MAX_LIST: usize = 256;
/// Bytes of a part that is CCF's alone: where an interface redirects to.
const MAX_VALUE_BYTES: usize = 4 << 10;

/// Addresses of a node, as it sends them and as `nodes.info` has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeNetwork {
    /// Where other nodes reach it.
    pub node_to_node_interface: Interface,
    /// Where clients reach it, by the interfaces' names.
    pub rpc_interfaces: BTreeMap<String, Interface>,
    /// It will seal ledger secrets for itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub will_locally_seal_ledger_secrets: bool,
    // The same addresses again, as 1.x had them.
    #[serde(default)]
    nodehost: String,
    #[serde(default)]
    nodeport: String,
    #[serde(default)]
    rpchost: String,
    #[serde(default)]
    rpcport: String,
    #[serde(default)]
    pubhost: String,
    #[serde(default)]
    pubport: String,
}

/// One interface, with the fields that releases of CCF have had. What a node leaves out has its default there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Where it listens.
    pub bind_address: String,
    /// How others reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_protocol: Option<AppProtocol>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_open_sessions_soft: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_open_sessions_hard: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forwarding_timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http_configuration: Option<HttpConfiguration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endorsement: Option<Endorsement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accepted_endpoints: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled_operator_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redirections: Option<Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum AppProtocol {
    #[serde(rename = "HTTP1")]
    Http1,
    #[serde(rename = "HTTP2")]
    Http2,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Endorsement {
    authority: Authority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acme_configuration: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Authority {
    Node,
    Service,
    #[serde(rename = "ACME")]
    Acme,
    Unsecured,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct HttpConfiguration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_body_size: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_header_size: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_headers_count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_concurrent_streams_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    initial_window_size: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_frame_size: Option<String>,
}

// A name that serde wants.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl NodeNetwork {
    /// Where other nodes reach it: what is published, or else where it listens.
    pub fn address(&self) -> &str {
        self.node_to_node_interface.address()
    }

    /// Whether it may stand in the ledger.
    ///
    /// # Errors
    /// What is too large, or no address, in words that repeat nothing of it.
    pub fn check(&self) -> Result<(), String> {
        self.node_to_node_interface.check("node_to_node_interface")?;
        if !is_address(self.address()) {
            return Err("the address of node_to_node_interface is not host:port".to_owned());
        }
        if self.rpc_interfaces.len() > MAX_INTERFACES {
            return Err(format!("rpc_interfaces has more than {MAX_INTERFACES} interfaces"));
        }
        for (name, interface) in &self.rpc_interfaces {
            check_text("the name of an interface", name)?;
            interface.check("an interface of rpc_interfaces")?;
        }
        let old = [
            &self.nodehost,
            &self.nodeport,
            &self.rpchost,
            &self.rpcport,
            &self.pubhost,
            &self.pubport,
        ];
        old.into_iter()
            .try_for_each(|text| check_text("a host or port of node_info_network", text))
    }
}

impl Interface {
    fn address(&self) -> &str {
        match self.published_address.as_deref() {
            Some(published) if !published.is_empty() => published,
            _ => &self.bind_address,
        }
    }

    fn check(&self, what: &str) -> Result<(), String> {
        let http = self.http_configuration.as_ref();
        let sizes = http.into_iter().flat_map(|http| {
            [
                &http.max_body_size,
                &http.max_header_size,
                &http.initial_window_size,
                &http.max_frame_size,
            ]
        });
        let endorsement = self
            .endorsement
            .iter()
            .map(|endorsement| &endorsement.acme_configuration);
        let texts = [&self.published_address, &self.protocol].into_iter();
        let texts = texts.chain(sizes).chain(endorsement).flatten();
        for text in std::iter::once(&self.bind_address).chain(texts) {
            check_text(what, text)?;
        }
        for list in [&self.accepted_endpoints, &self.enabled_operator_features]
            .into_iter()
            .flatten()
        {
            if list.len() > MAX_LIST {
                return Err(format!("a list of {what} has more than {MAX_LIST} texts"));
            }
            list.iter().try_for_each(|text| check_text(what, text))?;
        }
        match &self.redirections {
            Some(value) if !value.is_object() => Err(format!("redirections of {what} is no object")),
            Some(value) if value.to_string().len() > MAX_VALUE_BYTES => {
                Err(format!("redirections of {what} has more than {MAX_VALUE_BYTES} bytes"))
            }
            _ => Ok(()),
        }
    }
}

fn check_text(what: &str, text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("a text of {what} has more than {MAX_TEXT_BYTES} bytes"));
    }
    match text.chars().any(char::is_control) {
        true => Err(format!("a text of {what} has control characters")),
        false => Ok(()),
    }
}

/// Whether others could connect to it.
fn is_address(address: &str) -> bool {
    let (host, port) = super::node_info::host_and_port(address);
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// The row of a node that joins.
pub struct Joiner<'a> {
    /// Its addresses.
    pub network: &'a NodeNetwork,
    /// What it shows, written from what was judged.
    pub quote_info: &'a Value,
    /// Its key for ledger secrets, PEM.
    pub encryption_key: &'a str,
    /// Its public key, PEM.
    pub public_key: &'a str,
    /// What it measures.
    pub measurement: &'a [u8],
    /// What the service is asked to endorse, PEM, if it asks.
    pub certificate_signing_request: Option<&'a str>,
    /// What its operator attaches to it.
    pub data: Option<&'a Opaque>,
    /// The first seqno of the newest ledger secret that it is given; of a node that waits for trust, none.
    pub trusted_with: Option<Seqno>,
}

impl Joiner<'_> {
    /// The value to be written.
    pub fn to_json(&self) -> Vec<u8> {
        let network = Opaque::of(self.network);
        let mut fields: Fields = network.read().unwrap_or_default();
        fields.set("quote_info", self.quote_info);
        fields.set("encryption_pub_key", &self.encryption_key);
        fields.set("public_key", &self.public_key);
        fields.set("code_digest", &hex::encode(self.measurement));
        let status = match self.trusted_with {
            Some(_) => NodeStatus::Trusted,
            None => NodeStatus::Pending,
        };
        fields.set("status", &status);
        fields.set_some("ledger_secret_seqno", self.trusted_with.as_ref());
        fields.set_some("certificate_signing_request", self.certificate_signing_request.as_ref());
        if let Some(data) = self.data {
            fields.put("node_data", data.clone());
        }
        fields.to_json()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network(interface: Value) -> Result<NodeNetwork, serde_json::Error> {
        serde_json::from_value(json!({
            "node_to_node_interface": {"bind_address": "0.0.0.0:1", "published_address": "a:1"},
            "rpc_interfaces": {"main": interface},
            "nodehost": "a", "nodeport": "1", "more": [1],
        }))
    }

    #[test]
    fn what_a_node_sends_is_written_with_the_fields_that_ccf_has() {
        let interface = json!({
            "bind_address": "0.0.0.0:2", "endorsement": {"authority": "Service"}, "app_protocol": "HTTP2",
            "http_configuration": {"max_body_size": "1MB", "max_headers_count": 256}, "unheard_of": 1,
            "accepted_endpoints": ["/node/.*"], "redirections": {"to_primary": {"kind": "NodeByRole"}},
        });
        let network = network(interface.clone()).unwrap();
        network.check().unwrap();
        assert_eq!(network.address(), "a:1");
        let written = serde_json::to_value(&network).unwrap();
        let mut expected = interface;
        expected.as_object_mut().unwrap().remove("unheard_of");
        assert_eq!(written["rpc_interfaces"]["main"], expected);
        assert_eq!(written.get("more"), None);
        assert_eq!(written.get("will_locally_seal_ledger_secrets"), None);
    }

    #[test]
    fn odd_types_are_refused() {
        for interface in [
            json!({}),
            json!("0.0.0.0:2"),
            json!({"bind_address": 2}),
            json!({"bind_address": "b:2", "app_protocol": "HTTP3"}),
            json!({"bind_address": "b:2", "endorsement": {"authority": "Nobody"}}),
            json!({"bind_address": "b:2", "max_open_sessions_soft": -1}),
            json!({"bind_address": "b:2", "accepted_endpoints": [1]}),
        ] {
            assert!(network(interface.clone()).is_err(), "{interface}");
        }
        let odd = json!({"bind_address": "b:2", "redirections": []});
        assert!(network(odd).unwrap().check().is_err());
    }

    #[test]
    fn nothing_large_and_no_address_that_is_none_gets_into_the_ledger() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let good = json!({"bind_address": "b:2"});
        for change in [
            ("published_address", json!(long)),
            ("protocol", json!(long)),
            ("protocol", json!("a\nb")),
            ("accepted_endpoints", json!([long])),
            ("enabled_operator_features", json!(vec!["a"; MAX_LIST + 1])),
            ("http_configuration", json!({"max_body_size": long})),
            ("endorsement", json!({"authority": "Node", "acme_configuration": long})),
            ("redirections", json!({"a": "x".repeat(MAX_VALUE_BYTES)})),
        ] {
            let mut interface = good.clone();
            interface[change.0] = change.1;
            assert!(network(interface).unwrap().check().is_err(), "{}", change.0);
        }
        for address in ["", "host", ":1", "host:0", "host:65536", "host:x", "host:"] {
            let mut network = network(good.clone()).unwrap();
            network.node_to_node_interface.bind_address = address.to_owned();
            network.node_to_node_interface.published_address = None;
            assert!(network.check().is_err(), "{address}");
        }
        let mut many = network(good.clone()).unwrap();
        let one = many.rpc_interfaces["main"].clone();
        many.rpc_interfaces = (0..=MAX_INTERFACES).map(|n| (n.to_string(), one.clone())).collect();
        assert!(many.check().is_err());
        let mut named = network(good.clone()).unwrap();
        named.rpc_interfaces.insert(long.clone(), one);
        assert!(named.check().is_err());
        let mut old = network(good).unwrap();
        old.pubhost = long;
        assert!(old.check().is_err());
    }
}
