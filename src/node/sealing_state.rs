//! What `/node/state` says of sealing.

use schemars::JsonSchema;
use serde::Serialize;

use crate::format::Seqno;
use crate::recovery::sealed_report::SealedReport;

/// What the node seals and unseals, and what has become of it. Never a secret.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct SealingState {
    /// Why sealing fails at present; it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails: Option<String>,
    /// Whether the key protects nothing.
    pub insecure: bool,
    /// Where the key comes from; none: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_source: Option<String>,
    /// Version of the last secret that was sealed: the first seqno that it is valid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed_version: Option<Seqno>,
    /// What became of unsealing, once members have agreed to open the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsealing: Option<SealedReport>,
    /// Why there is no key, although the configuration asks for sealing or unsealing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_no_key: Option<String>,
    /// Whether the service's ledger secrets will be sealed.
    pub will_seal: bool,
    /// Whether unsealing will be tried when members open the service.
    pub will_unseal: bool,
}
