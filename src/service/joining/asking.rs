//! What a node says of itself that asks to join.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::attestation::OwnEvidence;
use crate::format::Seqno;
use crate::service::create::SealingPlan;
use crate::service::identity::NodeIdentity;
use crate::tables::node_info::{NetInterface, host_and_port};

/// A node that asks to join.
pub struct Asking<'a> {
    /// Its keys.
    pub identity: &'a NodeIdentity,
    /// Its public key for ledger secrets, PEM.
    pub encryption_key: &'a str,
    /// What it runs, and who says so.
    pub evidence: &'a OwnEvidence,
    /// Where other nodes reach it.
    pub node_address: &'a str,
    /// Where clients reach it, by the interfaces' names.
    pub interfaces: &'a BTreeMap<String, NetInterface>,
    /// What its operator attaches to it.
    pub data: Option<&'a Value>,
    /// The seqno of the snapshot that it begins with, or 0.
    pub startup_seqno: Seqno,
    /// What it will seal, and has sealed.
    pub sealing: &'a SealingPlan,
}

impl Asking<'_> {
    /// The body of the request.
    pub fn body(&self) -> Vec<u8> {
        let mut quote_info = json!({
            "endorsements": STANDARD.encode(self.evidence.endorsements()),
            "format": self.evidence.format(),
            "quote": STANDARD.encode(self.evidence.quote()),
        });
        if let (Some(uvm), Some(fields)) = (self.evidence.uvm_endorsements(), quote_info.as_object_mut()) {
            fields.insert("uvm_endorsements".to_owned(), STANDARD.encode(uvm).into());
        }
        let rpc = self.interfaces.values().next();
        let (rpc_host, rpc_port) = rpc.map_or(("", ""), |rpc| host_and_port(&rpc.published_address));
        let (node_host, node_port) = host_and_port(self.node_address);
        let mut body = json!({
            "certificate_signing_request": self.identity.request,
            "node_info_network": {
                "node_to_node_interface": {
                    "bind_address": self.node_address, "published_address": self.node_address,
                },
                "nodehost": node_host, "nodeport": node_port,
                "pubhost": rpc_host, "pubport": rpc_port,
                "rpchost": rpc_host, "rpcport": rpc_port,
                "rpc_interfaces": self.interfaces,
            },
            "public_encryption_key": self.encryption_key,
            "quote_info": quote_info,
            "startup_seqno": self.startup_seqno,
        });
        if let (Some(data), Some(fields)) = (self.data, body.as_object_mut()) {
            fields.insert("node_data".to_owned(), data.clone());
        }
        if let Some(fields) = body.as_object_mut()
            && let Some((name, key)) = &self.sealing.recovery_key
        {
            fields.insert("sealed_recovery_key".to_owned(), json!(key));
            // CCF's primaries pass over names that they do not know.
            fields.insert("sealing_recovery_name".to_owned(), json!(name));
        }
        if let Some(network) = body.pointer_mut("/node_info_network").and_then(Value::as_object_mut)
            && self.sealing.will_seal
        {
            network.insert("will_locally_seal_ledger_secrets".to_owned(), true.into());
        }
        // Numbers, texts, and JSON that was read: nothing that could not be written.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::VirtualQuote;
    use crate::crypto::Curve;
    use crate::service::admission::JoinRequest;
    use crate::service::identity::NodeName;
    use crate::tables::node_info::{Endorsement, ParserConfiguration};
    use crate::tables::values::{Base64, SealedRecoveryKey};

    #[test]
    fn what_is_asked_is_what_a_primary_reads() {
        let name = NodeName {
            curve: Curve::P384,
            subject: "CN=node".to_owned(),
            names: Vec::new(),
            validity_days: 1,
        };
        let identity = NodeIdentity::generate(name).unwrap();
        let interface = NetInterface {
            app_protocol: "HTTP1",
            bind_address: "127.0.0.1:1000".to_owned(),
            endorsement: Endorsement { authority: "Service" },
            forwarding_timeout_ms: 3000,
            http_configuration: ParserConfiguration {
                max_body_size: "1MB".to_owned(),
                max_header_size: "1KB".to_owned(),
                max_headers_count: 10,
            },
            max_open_sessions_hard: 10,
            max_open_sessions_soft: 9,
            protocol: "tcp".to_owned(),
            published_address: "10.0.0.1:1000".to_owned(),
        };
        let evidence = VirtualQuote::new(&[1; 32], &identity.key.verifying_key().id()).into();
        let (data, interfaces) = (json!({"rack": 7}), BTreeMap::from([("main".to_owned(), interface)]));
        let asking = Asking {
            identity: &identity,
            encryption_key: "PEM",
            evidence: &evidence,
            node_address: "10.0.0.1:1001",
            interfaces: &interfaces,
            data: Some(&data),
            startup_seqno: 600,
            sealing: &SealingPlan::default(),
        };
        let read = JoinRequest::parse(&asking.body()).unwrap();
        assert_eq!((&read.recovery_key, &read.sealing_name), (&None, &None));
        assert!(!read.network.will_locally_seal_ledger_secrets);
        let key = SealedRecoveryKey {
            version: "SNP_v1".to_owned(),
            ciphertext: Base64(vec![1, 2, 3]),
            pubkey: "PEM".to_owned(),
            tcb_version: "00".repeat(8),
        };
        let asking = Asking {
            sealing: &SealingPlan {
                will_seal: true,
                source: None,
                recovery_key: Some(("machine".to_owned(), key.clone())),
            },
            ..asking
        };
        let read = JoinRequest::parse(&asking.body()).unwrap();
        assert_eq!(read.network.address(), "10.0.0.1:1001");
        assert_eq!((read.startup_seqno, read.encryption_key.as_str()), (600, "PEM"));
        assert_eq!(read.certificate_request.as_deref(), Some(identity.request.as_str()));
        assert_eq!(read.evidence.quote, evidence.quote());
        assert_eq!(serde_json::to_value(read.data.unwrap()).unwrap(), data);
        assert_eq!(read.recovery_key, Some(key));
        assert_eq!(read.sealing_name.as_deref(), Some("machine"));
        assert!(read.network.will_locally_seal_ledger_secrets);
    }
}
