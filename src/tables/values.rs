//! Values of the tables that the engine reads and writes: JSON as CCF writes it, compact, keys sorted.
//!
//! Every reader tolerates fields it does not know: other versions of CCF have more or fewer.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::json::from_json;
use super::json::{Fields, Opaque};
use crate::crypto::digest::Digest;
use crate::format::{Seqno, TxId, View};

/// Serialises as CCF does: compact, keys sorted.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Through `Value`, whose maps are sorted. The types here have no non-text keys: only what is carried word for word may not
    // fit in there, and whatever carries it is sorted as it is.
    let sorted = serde_json::to_value(value).and_then(|value| serde_json::to_vec(&value));
    sorted.or_else(|_| serde_json::to_vec(value)).unwrap_or_default()
}

/// Bytes as base64 text in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Base64(pub Vec<u8>);

impl From<Base64> for String {
    fn from(bytes: Base64) -> String {
        STANDARD.encode(bytes.0)
    }
}

impl TryFrom<String> for Base64 {
    type Error = String;
    fn try_from(text: String) -> Result<Base64, String> {
        STANDARD
            .decode(text)
            .map(Base64)
            .map_err(|e| format!("not base64: {e}"))
    }
}

/// A digest as hex text in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HexDigest(pub Digest);

impl From<HexDigest> for String {
    fn from(digest: HexDigest) -> String {
        hex::encode(digest.0)
    }
}

impl TryFrom<String> for HexDigest {
    type Error = String;
    fn try_from(text: String) -> Result<HexDigest, String> {
        let mut digest = [0; 32];
        hex::decode_to_slice(&text, &mut digest).map_err(|e| format!("not a 32-byte digest in hex: {e}"))?;
        Ok(HexDigest(digest))
    }
}

/// Status of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceStatus {
    /// Started, not open yet.
    #[serde(alias = "OPENING")]
    Opening,
    /// Serving users.
    #[serde(alias = "OPEN")]
    Open,
    /// Members voted to open a recovered service; shares are awaited.
    #[serde(alias = "WAITING_FOR_RECOVERY_SHARES")]
    WaitingForRecoveryShares,
    /// Recovered, not accepted by the members yet.
    #[serde(alias = "RECOVERING")]
    Recovering,
    /// A status this program does not know; no step to or from it is judged.
    #[serde(other)]
    Unknown,
}

/// `service.info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    /// Service certificate, PEM.
    pub cert: String,
    /// Status.
    pub status: ServiceStatus,
    /// Seqno of an earlier write of this table, along which receipts of earlier services are verified: the write before
    /// this one, or, from later releases than 7.0.0-dev4, the one that created the service before.
    pub previous_service_identity_version: Option<Seqno>,
    /// Number of recoveries; absent before 2.0.3.
    pub recovery_count: Option<u64>,
    /// Transaction that created this service; absent before 2.0.3.
    pub current_service_create_txid: Option<TxId>,
    /// Whatever the operator attached.
    pub service_data: Option<Opaque>,
}

impl<'de> Deserialize<'de> for ServiceInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        Ok(ServiceInfo {
            cert: fields.take("cert")?,
            status: fields.take("status")?,
            previous_service_identity_version: fields.take_optional("previous_service_identity_version")?,
            recovery_count: fields.take_optional("recovery_count")?,
            current_service_create_txid: fields.take_optional("current_service_create_txid")?,
            service_data: fields.take_optional("service_data")?,
        })
    }
}

impl Serialize for ServiceInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields().serialize(serializer)
    }
}

impl ServiceInfo {
    /// As it stands in the table, the service's data word for word.
    pub fn to_json(&self) -> Vec<u8> {
        self.fields().to_json()
    }

    fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        fields.set("cert", &self.cert);
        fields.set("status", &self.status);
        let previous = self.previous_service_identity_version.as_ref();
        fields.set_some("previous_service_identity_version", previous);
        fields.set_some("recovery_count", self.recovery_count.as_ref());
        let created = self.current_service_create_txid.as_ref();
        fields.set_some("current_service_create_txid", created);
        if let Some(data) = &self.service_data {
            fields.put("service_data", data.clone());
        }
        fields
    }
}

/// `service.config`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct ServiceConfig {
    /// Shares needed for a recovery.
    pub recovery_threshold: u64,
    /// The other fields, as they are.
    #[schemars(flatten, with = "BTreeMap<String, Opaque>")]
    pub other: Fields,
}

impl Serialize for ServiceConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = self.other.clone();
        fields.set("recovery_threshold", &self.recovery_threshold);
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ServiceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut other = Fields::deserialize(deserializer)?;
        Ok(ServiceConfig {
            recovery_threshold: other.take("recovery_threshold")?,
            other,
        })
    }
}

/// Status of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeStatus {
    /// Waits for the members' trust.
    #[serde(alias = "PENDING")]
    Pending,
    /// May sign.
    #[serde(alias = "TRUSTED")]
    Trusted,
    /// Leaving; may still sign.
    #[serde(alias = "RETIRED")]
    Retired,
    /// A status this program does not know; it may not sign.
    #[serde(other)]
    Unknown,
}

/// `nodes.info`: the fields the engine needs; the others are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Status.
    pub status: NodeStatus,
    /// Self-signed certificate, 1.x only.
    pub cert: Option<String>,
    /// Public key, PEM, 2.x and later.
    pub public_key: Option<String>,
    /// The other fields, as they are.
    pub other: Fields,
}

impl<'de> Deserialize<'de> for NodeInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut other = Fields::deserialize(deserializer)?;
        Ok(NodeInfo {
            status: other.take("status")?,
            cert: other.take_optional("cert")?,
            public_key: other.take_optional("public_key")?,
            other,
        })
    }
}

/// `signatures`: a node's signature over the root of all earlier transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Seqno of this transaction.
    pub seqno: Seqno,
    /// View of this transaction.
    pub view: View,
    /// Root over leaves 0 to seqno−1.
    pub root: HexDigest,
    /// Id of the signing node.
    pub node: HexDigest,
    /// DER ECDSA signature over the root, used directly as the digest.
    pub sig: Base64,
    /// Certificate of the node as endorsed by the service; absent in 1.x.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// Last committed seqno up to 3.x; 0 since.
    #[serde(default)]
    pub commit_seqno: Seqno,
    /// Its view.
    #[serde(default)]
    pub commit_view: View,
    /// Zeros.
    #[serde(default)]
    pub hashed_nonce: HexDigest,
}

/// `snapshot_evidence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEvidence {
    /// SHA-256 of the snapshot's entry part.
    pub hash: HexDigest,
    /// Seqno of the snapshot.
    pub version: Seqno,
}

/// `recovery_shares`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryShares {
    /// The newest ledger secret under the wrapping key: tag, zero IV, ciphertext (60 bytes).
    pub wrapped_latest_ledger_secret: Base64,
    /// Member id (hex) to RSA-OAEP ciphertext of that member's share.
    pub encrypted_shares: BTreeMap<String, Base64>,
    /// Seqno of the write that stored the previous secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<Seqno>,
}

/// `sealed_shares`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedShares {
    /// The newest ledger secret under a wrapping key of its own: tag, zero IV, ciphertext (60 bytes).
    pub wrapped_latest_ledger_secret: Base64,
    /// Node id (hex) to RSA-OAEP ciphertext of the whole wrapping key as a share.
    pub encrypted_wrapping_keys: BTreeMap<String, Base64>,
    /// Seqno of the write that stored the previous secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<Seqno>,
}

/// A value of `sealed_recovery_keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRecoveryKey {
    /// How it was sealed: `SNP_v1`.
    pub version: String,
    /// The private key's PEM: tag, IV, ciphertext.
    pub ciphertext: Base64,
    /// The public key, PEM.
    pub pubkey: String,
    /// The TCB version that it was sealed under, 16 hexadecimal digits.
    pub tcb_version: String,
}

/// `historical_encrypted_ledger_secret`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoricalSecret {
    /// The secret before the current one; absent in a ledger's first write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_ledger_secret: Option<PreviousSecret>,
    /// First seqno of the current secret; absent on rekey, where it is the seqno after this write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_version: Option<Seqno>,
}

/// A previous ledger secret under the one that followed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// Tag, IV, ciphertext (60 bytes).
    pub encrypted_data: Base64,
    /// First seqno of that secret.
    pub version: Seqno,
    /// Seqno of the previous write of this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<Seqno>,
}

/// One element of `encrypted_ledger_secrets`: a ledger secret for one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedLedgerSecret {
    /// First seqno of the secret; null on rekey, where it is the seqno after this write.
    pub version: Option<Seqno>,
    /// RSA-OAEP ciphertext of the secret, for the node's encryption key.
    pub encrypted_secret: Base64,
    /// Seqno of the write that stored the secret before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_stored_version: Option<Seqno>,
}

/// `previous_service_identity_endorsement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityEndorsement {
    /// COSE_Sign1 whose payload is the endorsed key, SPKI DER.
    pub endorsement: Base64,
    /// The endorsing key, SPKI DER.
    pub endorsing_key: Base64,
    /// First transaction for which the endorsed key was the service's.
    pub endorsement_epoch_begin: TxId,
    /// Last one; absent in a service's endorsement of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement_epoch_end: Option<TxId>,
    /// Seqno of the previous write of this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<Seqno>,
}

/// `members.info`: the fields the engine needs; the others are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// "Accepted" or "Active".
    pub status: String,
    /// "NonParticipant", "Participant" or "Owner" (6.0 and later).
    pub recovery_role: Option<String>,
    /// The other fields, as they are.
    pub other: Fields,
}

impl<'de> Deserialize<'de> for MemberInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut other = Fields::deserialize(deserializer)?;
        Ok(MemberInfo {
            status: other.take("status")?,
            recovery_role: other.take_optional("recovery_role")?,
            other,
        })
    }
}

impl MemberInfo {
    /// As it stands in the table.
    pub fn to_json(&self) -> Vec<u8> {
        let mut fields = self.other.clone();
        fields.set("status", &self.status);
        fields.set_some("recovery_role", self.recovery_role.as_ref());
        fields.to_json()
    }
}
