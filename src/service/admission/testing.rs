//! A node that wants in, for tests here and above.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::attestation::VIRTUAL_MEASUREMENT;
use crate::attestation::testing::key;
use crate::crypto::rsa::generate_key_pair;
use crate::crypto::testing::rng;
use crate::crypto::x509::{self, AlternativeName, Certificate, Validity};
use crate::crypto::{SigningKey, VerifyingKey};

/// When it is: certificates of made machines are valid then.
pub(crate) const NOW_S: u64 = crate::attestation::testing::FROM;
/// Of what a joiner signs itself.
pub(crate) const VALIDITY: Validity = Validity {
    not_before_unix_s: 1_790_000_000,
    not_after_unix_s: 1_791_234_567,
};
/// What a joiner runs.
pub(crate) const HOST_DATA: &str = "f001f359cc593c517721760ad785676d735da92ed1f4cab59d012caf2f1e2add";

/// A node that wants in.
pub(crate) struct Joiner {
    pub(crate) key: SigningKey,
    pub(crate) client: Certificate,
    pub(crate) request: Value,
}

impl Joiner {
    /// A virtual node, reached at this port.
    pub(crate) fn new(seed: u64, port: u16) -> Joiner {
        let key = key(seed);
        let names = [AlternativeName::Ip([127, 0, 0, 1].into())];
        let client = x509::issue_self_signed("CN=CCF Node", &names, &key, VALIDITY, [2; 16]).unwrap();
        let address = format!("127.0.0.1:{port}");
        let request = json!({
            "certificate_signing_request": x509::request("CN=CCF Node", &names, &key).unwrap(),
            "node_info_network": {
                "node_to_node_interface": {"bind_address": address, "published_address": address},
                "rpc_interfaces": {"main": {"bind_address": "0.0.0.0:80", "published_address": "10.0.0.1:80"}},
            },
            "public_encryption_key": encryption_key(),
            "quote_info": virtual_quote(&key.verifying_key(), VIRTUAL_MEASUREMENT, HOST_DATA),
            "startup_seqno": 0,
        });
        Joiner { key, client, request }
    }

    pub(crate) fn id(&self) -> String {
        hex::encode(self.key.verifying_key().id())
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Joiner {
        self.request[name] = value;
        self
    }
}

pub(crate) fn virtual_quote(key: &VerifyingKey, measurement: &str, host_data: &str) -> Value {
    let quote = json!({
        "host_data": host_data, "measurement": measurement, "report_data": STANDARD.encode(key.id()),
    });
    json!({"format": "Insecure_Virtual", "endorsements": "", "quote": STANDARD.encode(quote.to_string())})
}

/// One key for all: making one takes a while.
pub(crate) fn encryption_key() -> String {
    static KEY: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| generate_key_pair(2048, &mut rng(3)).unwrap().1);
    KEY.clone()
}
