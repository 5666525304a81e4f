//! What the endpoints under `/node` answer: these types are what is served, and the documentation is made from them.
//!
//! Fields stand in the order of the alphabet, as CCF's answers have them: they are written as they stand. Schemas have the names that CCF's have. A field
//! that is left out where there is nothing to say is optional, one that is `null` then is nullable.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::consensus_answers::OthersAnswer;
use crate::crypto::digest::Digest;
use crate::format::{Seqno, TxId, View};
use crate::node::status::{NodeState, RecoveryStatus};
use crate::tables::json::Opaque;
use crate::tables::values::{Base64, ServiceStatus, Signature};

/// Schema of a text of one form.
macro_rules! text_schema {
    ($(#[doc = $doc:literal])* $name:ident = $schema_name:literal, $schema:tt) => {
        $(#[doc = $doc])*
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema_name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text_schema! {
    /// A transaction id as text: `view.seqno`.
    TransactionId = "TransactionId", {"type": "string", "pattern": "^[0-9]+\\.[0-9]+$"}
}
text_schema! {
    /// The id of a node, or of a member: a SHA-256 digest as hex.
    EntityId = "EntityId", {"type": "string", "format": "hex", "pattern": "^[a-f0-9]{64}$"}
}
text_schema! {
    /// A certificate.
    Pem = "Pem", {"type": "string"}
}
text_schema! {
    /// Bytes in base64.
    Base64Text = "base64string", {"type": "string", "format": "base64"}
}

/// A digest as hex.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "HexDigest", extend("pattern" = "^[a-f0-9]{64}$"))]
pub struct Hex(String);

impl Hex {
    /// The hex of a digest.
    pub fn of(digest: &Digest) -> Hex {
        Hex(hex::encode(digest))
    }
}

/// `GET /node/state`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetState__Out")]
pub struct StateAnswer<'a> {
    /// How far the private ledger has been read; only while it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Seqno")]
    pub last_recovered_seqno: Option<Seqno>,
    /// Seqno of the last signature.
    pub last_signed_seqno: Seqno,
    /// This node.
    #[schemars(with = "EntityId")]
    pub node_id: &'a str,
    /// How this node stands with others, where there are any. Rekindle's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OthersAnswer")]
    pub others: Option<OthersAnswer>,
    /// How far a recovery is. Rekindle's own.
    #[serde(serialize_with = "sorted")]
    #[schemars(with = "RecoveryStatus")]
    pub recovery: RecoveryStatus,
    /// How far the private ledger has to be read; only while it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Seqno")]
    pub recovery_target_seqno: Option<Seqno>,
    /// Seqno of the snapshot that the node started from.
    pub startup_seqno: Seqno,
    /// What the node is doing.
    pub state: NodeState,
    /// Whether the node was told to stop.
    pub stop_notice: bool,
}

/// Writes what has nothing opaque in it and its own order of fields in the order of the alphabet.
fn sorted<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let value = serde_json::to_value(value).map_err(serde::ser::Error::custom)?;
    value.serialize(serializer)
}

/// `GET /node/network`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetNetworkInfo__Out")]
pub struct NetworkAnswer<'a> {
    /// The transaction that created the service.
    #[schemars(extend("pattern" = "^[0-9]+\\.[0-9]+$"), with = "Option<String>")]
    pub current_service_create_txid: Option<TxId>,
    /// The view, once this node is part of a service.
    pub current_view: Option<View>,
    /// The primary, once there is one.
    #[schemars(extend("pattern" = "^[a-f0-9]{64}$"))]
    pub primary_id: Option<&'a str>,
    /// Recoveries so far.
    pub recovery_count: Option<u64>,
    /// The service's identity.
    #[schemars(with = "Pem")]
    pub service_certificate: String,
    /// What the operator attached.
    pub service_data: Option<Opaque>,
    /// Where the service stands.
    pub service_status: ServiceStatus,
}

/// `GET /node/service/previous_identity`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetServicePreviousIdentity__Out")]
pub struct PreviousIdentityAnswer {
    /// Certificate of the service before.
    #[schemars(with = "Pem")]
    pub previous_service_identity: String,
}

/// `GET /node/self_signed_certificate`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SelfSignedNodeCertificateInfo")]
pub struct SelfSignedAnswer {
    /// The certificate.
    #[schemars(with = "Pem")]
    pub self_signed_certificate: String,
}

/// `GET /node/network/nodes/…`: a node of the service.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetNode__NodeInfo")]
pub struct NodeAnswer {
    /// Seqno of the last write of the node's record; 0 if there is none.
    pub last_written: Seqno,
    /// What the operator attached.
    pub node_data: Option<Opaque>,
    /// Its id.
    #[schemars(with = "EntityId")]
    pub node_id: String,
    /// Whether it is the primary.
    pub primary: bool,
    /// Its interfaces, as its record has them; older releases have fewer fields there.
    #[schemars(with = "BTreeMap<String, crate::tables::node_info::NetInterface>", extend("nullable" = true))]
    pub rpc_interfaces: Option<Opaque>,
    /// `Pending`, `Trusted` or `Retired`.
    #[schemars(with = "crate::tables::values::NodeStatus")]
    pub status: Option<Opaque>,
}

/// `GET /node/network/nodes`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetNodes__Out")]
pub struct NodesAnswer {
    /// The nodes.
    pub nodes: Vec<NodeAnswer>,
}

/// What a node attests.
#[derive(Serialize, JsonSchema)]
pub struct Quote {
    /// Endorsements of the platform.
    #[schemars(with = "Base64Text")]
    pub endorsements: Value,
    /// Which platform.
    #[schemars(with = "QuoteFormat")]
    pub format: Value,
    /// What the node runs, as hex.
    #[schemars(with = "Option<String>")]
    pub measurement: Option<Value>,
    /// Which node.
    #[schemars(with = "EntityId")]
    pub node_id: String,
    /// The attestation itself.
    #[schemars(with = "Base64Text")]
    pub raw: Value,
    /// Endorsements of the utility virtual machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Base64Text")]
    pub uvm_endorsements: Option<Value>,
}

/// Platforms that attest.
#[derive(Serialize, JsonSchema)]
pub enum QuoteFormat {
    /// Intel SGX.
    #[serde(rename = "OE_SGX_v1")]
    Sgx,
    /// None: anybody can write this.
    #[serde(rename = "Insecure_Virtual")]
    Virtual,
    /// AMD SEV-SNP.
    #[serde(rename = "AMD_SEV_SNP_v1")]
    Snp,
}

/// `GET /node/quotes`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetQuotes__Out")]
pub struct QuotesAnswer {
    /// One a trusted node.
    pub quotes: Vec<Quote>,
}

/// `GET /node/attestations`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetAttestations__Out")]
pub struct AttestationsAnswer {
    /// One a trusted node.
    pub attestations: Vec<Quote>,
}

/// `GET /node/commit`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetCommit__Out")]
pub struct CommitAnswer {
    /// The last committed transaction.
    #[schemars(with = "TransactionId")]
    pub transaction_id: TxId,
    /// The first transaction of every view, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<TransactionId>")]
    pub view_history: Option<Vec<TxId>>,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum TxStatus {
    /// This node has not seen it; it may come.
    Unknown,
    /// Written, not signed yet.
    Pending,
    /// Signed, for good.
    Committed,
    /// It will never be.
    Invalid,
}

/// `GET /node/tx`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetTxStatus__Out")]
pub struct TxAnswer {
    /// Where it stands.
    pub status: TxStatus,
    /// Which transaction.
    #[schemars(with = "TransactionId")]
    pub transaction_id: TxId,
}

/// `GET /node/version`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GetVersion__Out")]
pub struct VersionAnswer {
    /// The program and its version.
    pub ccf_version: &'static str,
    /// What runs scripts.
    pub quickjs_version: &'static str,
    /// Whether this build skips checks: never.
    #[serde(rename = "unsafe")]
    pub is_unsafe: bool,
}

/// `GET /node/memory`, in bytes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MemoryUsage__Out")]
pub struct MemoryAnswer {
    /// In use now.
    pub current_allocated_heap_size: u64,
    /// The most there may be.
    pub max_total_heap_size: u64,
    /// The most there was.
    pub peak_allocated_heap_size: u64,
}

/// `GET /node/js_metrics`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "JavaScriptMetrics")]
pub struct ScriptAnswer {
    /// Bytes of compiled scripts kept: none.
    pub bytecode_size: u64,
    /// Whether compiled scripts are kept.
    pub bytecode_used: bool,
    /// Interpreters kept.
    pub max_cached_interpreters: u64,
    /// Limit of a script's time, in milliseconds.
    pub max_execution_time: u64,
    /// Limit of its memory, in bytes.
    pub max_heap_size: u64,
    /// Limit of its stack, in bytes.
    pub max_stack_size: u64,
}

/// `GET /node/jwt_keys/refresh/metrics`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "JWTRefreshMetrics")]
pub struct RefreshAnswer {
    /// How often keys were asked for.
    pub attempts: u64,
    /// How often in vain.
    pub failures: u64,
    /// How often not.
    pub successes: u64,
}

/// An index of an application. There is none in this node.
#[derive(Serialize, JsonSchema)]
pub struct IndexStrategy {
    /// Its name.
    pub name: String,
}

/// `GET /node/receipt`.
#[derive(Serialize, JsonSchema)]
pub struct Receipt {
    /// Certificate of the node that signed.
    #[schemars(with = "Pem")]
    pub cert: String,
    /// The leaf itself: of a signature transaction (the root that it signs), or of an entry without commit evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hex")]
    pub leaf: Option<Hex>,
    /// What the leaf is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LeafComponents")]
    pub leaf_components: Option<LeafComponents>,
    /// The node that signed.
    #[schemars(with = "EntityId")]
    pub node_id: String,
    /// The way from the leaf to the signed root.
    pub proof: Vec<ProofStep>,
    /// From an earlier service that endorsed the node to the present one; each certificate is endorsed by the next, the
    /// last by the present service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Pem>")]
    pub service_endorsements: Option<Vec<String>>,
    /// Signature over the root.
    #[schemars(with = "Base64Text")]
    pub signature: Base64,
}

impl Receipt {
    /// What a signature transaction says of itself; no leaf and no way yet.
    pub fn signed(signature: Signature) -> Receipt {
        Receipt {
            cert: signature.cert.unwrap_or_default(),
            leaf: None,
            leaf_components: None,
            node_id: hex::encode(signature.node.0),
            proof: Vec::new(),
            service_endorsements: None,
            signature: signature.sig,
        }
    }
}

/// What a leaf is made of.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Receipt__LeafComponents")]
pub struct LeafComponents {
    /// What the application claims of the transaction; absent where its entry was written without a claims digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hex")]
    pub claims_digest: Option<Hex>,
    /// Shows that it was committed.
    pub commit_evidence: String,
    /// Digest of the entry.
    pub write_set_digest: Hex,
}

/// A step towards the root: one of the two.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Receipt__Element")]
pub struct ProofStep {
    /// A sibling on the left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hex")]
    pub left: Option<Hex>,
    /// A sibling on the right.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hex")]
    pub right: Option<Hex>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::status::Reading;
    use crate::report::{Code, Finding};

    #[test]
    fn the_state_of_a_node_that_reads_a_damaged_ledger_has_sorted_names_too() {
        let answer = StateAnswer {
            last_recovered_seqno: Some(1),
            last_signed_seqno: 2,
            node_id: "n",
            others: None,
            recovery: RecoveryStatus {
                elapsed_s: 1.0,
                entered_s: BTreeMap::new(),
                healing: None,
                findings: vec![Finding::new(Code::Rewritten, "x").seqno(1)],
                phase: "p".to_owned(),
                reading: Some(Reading {
                    bytes: 1,
                    bytes_per_s: 1,
                    entries_per_s: 1,
                    time_left_s: 1.0,
                    total_bytes: 2,
                }),
                sealing: None,
                seqno: 1,
                target: 2,
            },
            recovery_target_seqno: Some(3),
            startup_seqno: 0,
            state: NodeState::ReadingPrivateLedger,
            stop_notice: false,
        };
        let text = serde_json::to_string(&answer).unwrap();
        let sorted: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, sorted.to_string());
    }
}
