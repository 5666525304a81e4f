//! What governance answers: these types are what is served, and the documentation is made from them.
//!
//! Fields stand in the order of the alphabet, as CCF's answers have them: they are written as they stand. Schemas have the names that CCF's have. A field that is left out where there is nothing to say is optional, one that
//! is `null` then is nullable.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::TxId;
use crate::script::Failure;
use crate::tables::json::{Json, Opaque};
use crate::tables::values::{Base64, NodeStatus, ServiceStatus};

/// Objects by name whose values are written by somebody else.
type Named<T> = BTreeMap<String, T>;

/// Something as it is answered, what is opaque in it word for word.
pub(super) fn answer<T: Serialize>(answer: &T) -> Json {
    Json::of(answer)
}

/// A list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Paged{T}")]
pub struct Paged<T> {
    /// What is in it, sorted by id.
    pub value: Vec<T>,
}

/// `GET /gov/service/info`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.ServiceInfo")]
pub struct Service {
    /// The service's identity, PEM.
    pub certificate: String,
    /// What members decided on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Configuration")]
    pub configuration: Option<Configuration>,
    /// The transaction that created the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = "^[0-9]+\\.[0-9]+$"))]
    pub creation_transaction_id: Option<TxId>,
    /// The earlier write about the service that its record names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = "^[0-9]+\\.[0-9]+$"))]
    pub previous_service_creation_transaction_id: Option<TxId>,
    /// Recoveries so far.
    pub recovery_count: u64,
    /// What the operator attached.
    pub service_data: Option<Opaque>,
    /// Where the service stands.
    pub status: ServiceStatus,
}

/// What members decided on.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.ServiceConfiguration")]
pub struct Configuration {
    /// Days for which a node's certificate may be valid.
    pub maximum_node_certificate_validity_days: u64,
    /// Days for which the service's certificate may be valid.
    pub maximum_service_certificate_validity_days: u64,
    /// Proposals remembered against replay.
    pub recent_cose_proposals_window_size: u64,
    /// Shares needed for a recovery.
    pub recovery_threshold: u64,
}

/// `GET /gov/service/members/{memberId}`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.Member")]
pub struct Member {
    /// PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub certificate: Option<Value>,
    /// What the consortium attached.
    pub member_data: Option<Opaque>,
    /// The digest of the certificate.
    pub member_id: String,
    /// The key for the member's recovery share, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub public_encryption_key: Option<Value>,
    /// `NonParticipant`, `Participant` or `Owner`.
    pub recovery_role: String,
    /// `Accepted` or `Active`.
    pub status: String,
}

/// `GET /gov/service/users/{userId}`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.User")]
pub struct User {
    /// PEM.
    #[schemars(with = "String")]
    pub certificate: Option<Value>,
    /// The user's record.
    pub user_data: Option<Opaque>,
    /// The digest of the certificate.
    pub user_id: String,
}

/// `GET /gov/service/nodes/{nodeId}`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.Node")]
pub struct ServiceNode {
    /// As the service endorsed it, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub certificate: Option<Value>,
    /// What the operator attached.
    pub node_data: Option<Opaque>,
    /// The digest of the node's key.
    pub node_id: String,
    /// What the node attests.
    pub quote_info: QuoteInfo,
    /// Whether it may be shut down.
    pub retired_committed: bool,
    /// Where it is reached.
    pub rpc_interfaces: Named<NetworkInterface>,
    /// Where the node stands.
    pub status: NodeStatus,
}

/// How a node is reached.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.NetworkInterface")]
pub struct NetworkInterface {
    /// `HTTP1` or `HTTP2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub protocol: Option<Value>,
    /// The address that it publishes.
    #[schemars(with = "Option<String>")]
    pub published_address: Option<Value>,
}

/// What a node attests. Which fields there are depends on the platform; none of them of a node that attests nothing.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.QuoteInfo")]
pub struct QuoteInfo {
    /// What a virtual node says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "VirtualDetails")]
    pub details: Option<VirtualDetails>,
    /// SNP: the trusted computing base that is endorsed, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub endorsed_tcb: Option<String>,
    /// SGX, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub endorsements: Option<Value>,
    /// The platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub format: Option<String>,
    /// SGX, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub quote: Option<Value>,
    /// Virtual, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub raw_quote: Option<Value>,
    /// SNP: endorsements of the utility virtual machine, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub uvm_endorsements: Option<Value>,
}

/// What a virtual node says of itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.VirtualQuoteDetails")]
pub struct VirtualDetails {
    /// The digest of its program, if it is this program.
    #[schemars(with = "Option<String>")]
    pub host_data: Option<Value>,
    /// What it runs.
    #[schemars(with = "Option<String>")]
    pub measurement: Option<Value>,
    /// The digest of its key.
    #[schemars(with = "Option<String>")]
    pub report_data: Option<Value>,
}

/// `GET /gov/service/join-policy`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ServiceState.JoinPolicies")]
pub struct JoinPolicies {
    /// SGX.
    pub sgx: SgxJoinPolicy,
    /// SEV-SNP.
    pub snp: SnpJoinPolicy,
    /// Virtual.
    #[serde(rename = "virtual")]
    pub virtual_nodes: VirtualJoinPolicy,
}

/// Which SGX nodes may join.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ServiceState.JoinPolicy")]
pub struct SgxJoinPolicy {
    /// What they may run.
    pub measurements: Vec<String>,
}

/// Which virtual nodes may join.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.VirtualJoinPolicy")]
pub struct VirtualJoinPolicy {
    /// With which host data.
    pub host_data: Vec<String>,
    /// What they may run.
    pub measurements: Vec<String>,
}

/// Which SEV-SNP nodes may join.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.SnpJoinPolicy")]
pub struct SnpJoinPolicy {
    /// With which host data; what members noted beside it.
    pub host_data: Named<Opaque>,
    /// What they may run.
    pub measurements: Vec<String>,
    /// The least firmware, by processor.
    pub tcb_versions: Named<Opaque>,
    /// Whose endorsements of the utility virtual machine count.
    pub uvm_endorsements: Named<Opaque>,
}

/// `GET /gov/service/jwk`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.JwkInfo")]
pub struct JwkInfo {
    /// Certificates that issuers are trusted by, PEM, by name.
    pub ca_cert_bundles: Named<Opaque>,
    /// Issuers, by their address.
    pub issuers: Named<JwtIssuer>,
    /// Keys, by their id.
    pub keys: Named<Vec<Jwk>>,
}

/// An issuer of tokens.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.JwtIssuer")]
pub struct JwtIssuer {
    /// Whether its keys are fetched again and again.
    pub auto_refresh: bool,
    /// Which certificates its server is trusted by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub ca_cert_bundle_name: Option<Value>,
}

/// A key of an issuer.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.Jwk")]
pub struct Jwk {
    /// What tokens must say of their issuer.
    #[schemars(with = "Option<String>")]
    pub constraint: Option<Value>,
    /// The issuer.
    #[schemars(with = "Option<String>")]
    pub issuer: Option<Value>,
    /// The key, PEM.
    pub public_key: Option<String>,
}

/// `GET /gov/service/javascript-app`: endpoints by path, then by method.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ServiceState.JsApp")]
pub struct JsApp {
    /// As members installed them, where the request asks for `case=original`.
    #[schemars(with = "Named<Named<JsEndpointInfo>>")]
    pub endpoints: Named<Named<JsEndpoint>>,
}

/// An endpoint of an application.
#[derive(Serialize)]
#[serde(untagged)]
pub enum JsEndpoint {
    /// In the API's own words.
    Described(JsEndpointInfo),
    /// As it was submitted.
    Original(Opaque),
}

/// An endpoint in the API's own words.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.JsEndpointInfo", transform = nothing_required)]
pub struct JsEndpointInfo {
    /// Who may call it.
    pub authn_policies: Opaque,
    /// What other nodes than the primary do with a request.
    pub forwarding_required: Opaque,
    /// The function.
    pub js_function: Option<Opaque>,
    /// The module.
    pub js_module: Option<Opaque>,
    /// What it may do with the store.
    pub mode: Opaque,
    /// Its documentation.
    pub open_api: Option<Opaque>,
    /// Where a client is sent to.
    pub redirection_strategy: Opaque,
}

/// What an application submitted has other names for its fields.
fn nothing_required(schema: &mut Schema) {
    schema.remove("required");
}

/// An element of `GET /gov/service/javascript-modules`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ServiceState.JsModuleNames")]
pub struct JsModuleName {
    /// The module's name.
    pub module_name: String,
}

/// `GET /gov/members/proposals/{proposalId}`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Proposals.Proposal")]
pub struct Proposal<'a> {
    /// Ballots so far.
    pub ballot_count: usize,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FailureInfo")]
    pub failure: Option<&'a Opaque>,
    /// How members voted in the end, by member.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Named<bool>")]
    pub final_votes: Option<&'a Named<bool>>,
    /// Its id.
    pub proposal_id: &'a str,
    /// Where it stands.
    pub proposal_state: ProposalState,
    /// The member who made it.
    pub proposer_id: &'a str,
    /// Ballots that failed, by member.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Named<FailureInfo>")]
    pub vote_failures: Option<&'a Opaque>,
}

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Proposals.ProposalState")]
pub enum ProposalState {
    /// Members may vote.
    Open,
    /// It was applied.
    Accepted,
    /// Its proposer took it back.
    Withdrawn,
    /// Too many were against it.
    Rejected,
    /// It could not be applied.
    Failed,
    /// The constitution or the application changed meanwhile.
    Dropped,
}

impl ProposalState {
    /// As CCF says it in sentences.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            ProposalState::Open => "open",
            ProposalState::Accepted => "accepted",
            ProposalState::Withdrawn => "withdrawn",
            ProposalState::Rejected => "rejected",
            ProposalState::Failed => "failed",
            ProposalState::Dropped => "dropped",
        }
    }
}

/// Why a script failed, as [`Failure`] tells it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Proposals.FailureInfo")]
pub struct FailureInfo {
    /// In words.
    pub reason: String,
    /// Where in the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub trace: Option<String>,
}

impl FailureInfo {
    /// As it stands in `proposals_info` and in answers.
    pub fn of(failure: &Failure) -> FailureInfo {
        FailureInfo {
            reason: failure.reason.clone(),
            trace: failure.trace.clone(),
        }
    }
}

/// `GET /gov/members/proposals/{proposalId}/actions`: what a member submitted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Proposals.ProposalActions")]
pub struct ProposalActions {
    /// What is proposed, in order.
    pub actions: Vec<Action>,
}

/// One thing that is proposed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Proposals.Action")]
pub struct Action {
    /// What the constitution is told beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Opaque>,
    /// What the constitution calls it.
    pub name: String,
}

/// `GET /gov/members/state-digests/{memberId}`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Acks.StateDigest")]
pub struct StateDigest<'a> {
    /// Whose it is.
    pub member_id: &'a str,
    /// What the member is to acknowledge, as hex.
    pub state_digest: &'a str,
}

/// `GET /gov/recovery/encrypted-shares/{memberId}`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Recovery.EncryptedRecoveryShare")]
pub struct EncryptedShare<'a> {
    /// The share, for the member alone, base64.
    #[schemars(with = "String")]
    pub encrypted_share: Base64,
    /// The member.
    pub member_id: &'a str,
}

/// `POST /gov/recovery/members/{memberId}:recover`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Recovery.RecoveryResponse")]
pub struct RecoveryResponse {
    /// Whether an owner gave the whole key.
    pub full_key_submitted: bool,
    /// For a person.
    pub message: String,
    /// Shares needed.
    pub recovery_threshold: u64,
    /// Shares at hand.
    pub submitted_count: u64,
}

/// `GET /gov/service/transactions/{transactionId}`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Transactions.Transaction")]
pub struct Transaction<S> {
    /// Where it stands.
    pub status: S,
    /// Which transaction.
    #[schemars(with = "String", extend("pattern" = "^[0-9]+\\.[0-9]+$"))]
    pub transaction_id: TxId,
}
