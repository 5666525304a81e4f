//! Table names, in full.

/// Names of all tables that begin like this are CCF's own; an application can't write them.
pub const CCF_PREFIX: &str = "public:ccf.";

/// Whether a table says something about the attestation of nodes: what they show, what the service asks of them, or where a
/// service begins.
pub fn attests(name: &str) -> bool {
    matches!(
        name,
        SERVICE_INFO
            | NODES_INFO
            | NODES_CODE_IDS
            | NODES_VIRTUAL_MEASUREMENTS
            | NODES_VIRTUAL_HOST_DATA
            | NODES_SNP_MEASUREMENTS
            | NODES_SNP_HOST_DATA
            | NODES_SNP_UVM_ENDORSEMENTS
            | NODES_SNP_TCB_VERSIONS
    )
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Every table named here.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

names! {
    /// The service: certificate, status, recovery count.
    SERVICE_INFO = "public:ccf.gov.service.info";
    /// Recovery threshold and limits.
    SERVICE_CONFIG = "public:ccf.gov.service.config";
    /// Certificate of the service before the last recovery.
    PREVIOUS_SERVICE_IDENTITY = "public:ccf.gov.service.previous_service_identity";
    /// Keys that sign the ledger, by identity type (2026).
    SIGNING_IDENTITIES = "public:ccf.gov.service.signing_identities";
    /// ACME certificates (up to 7.0.0-dev4).
    ACME_CERTIFICATES = "public:ccf.gov.service.acme_certificates";
    /// Nodes: status, keys, attestation.
    NODES_INFO = "public:ccf.gov.nodes.info";
    /// Node certificates as endorsed by the service.
    NODES_ENDORSED_CERTIFICATES = "public:ccf.gov.nodes.endorsed_certificates";
    /// SGX measurements allowed to join.
    NODES_CODE_IDS = "public:ccf.gov.nodes.code_ids";
    /// Virtual measurements allowed to join.
    NODES_VIRTUAL_MEASUREMENTS = "public:ccf.gov.nodes.virtual.measurements";
    /// Virtual host data allowed to join.
    NODES_VIRTUAL_HOST_DATA = "public:ccf.gov.nodes.virtual.host_data";
    /// SNP measurements allowed to join.
    NODES_SNP_MEASUREMENTS = "public:ccf.gov.nodes.snp.measurements";
    /// SNP host data allowed to join.
    NODES_SNP_HOST_DATA = "public:ccf.gov.nodes.snp.host_data";
    /// SNP UVM endorsements accepted.
    NODES_SNP_UVM_ENDORSEMENTS = "public:ccf.gov.nodes.snp.uvm_endorsements";
    /// SNP TCB versions accepted.
    NODES_SNP_TCB_VERSIONS = "public:ccf.gov.nodes.snp.tcb_versions";
    /// Keys to which nodes' recovery shares are sealed (7.0).
    NODES_SEALED_RECOVERY_KEYS = "public:ccf.gov.nodes.sealed_recovery_keys";
    /// Nodes by the names under which they seal, which stay the same over recoveries (7.0).
    NODES_LOCAL_SEALING_NODE_ID_MAP = "public:ccf.gov.nodes.local_sealing_node_id_map";
    /// Members' certificates.
    MEMBERS_CERTS = "public:ccf.gov.members.certs";
    /// Members' share-encryption keys.
    MEMBERS_ENCRYPTION_PUBLIC_KEYS = "public:ccf.gov.members.encryption_public_keys";
    /// Members: status, role, data.
    MEMBERS_INFO = "public:ccf.gov.members.info";
    /// Members' acknowledgements.
    MEMBERS_ACKS = "public:ccf.gov.members.acks";
    /// Users' certificates.
    USERS_CERTS = "public:ccf.gov.users.certs";
    /// Users' data.
    USERS_INFO = "public:ccf.gov.users.info";
    /// Nodes heard in a self-healing open, by their names (October 2025).
    SELF_HEALING_NODES = "public:ccf.gov.selfhealingopen.nodes";
    /// What each of them said that its ledger has.
    SELF_HEALING_GOSSIP = "public:ccf.gov.selfhealingopen.gossip";
    /// Who voted for this node.
    SELF_HEALING_VOTES = "public:ccf.gov.selfhealingopen.votes";
    /// Whom this node voted for, or joins.
    SELF_HEALING_CHOSEN_NODE = "public:ccf.gov.selfhealingopen.chosen_node";
    /// The same (September 2025).
    SELF_HEALING_CHOSEN_REPLICA = "public:ccf.gov.selfhealingopen.chosen_replica";
    /// How far this node is.
    SELF_HEALING_STATE = "public:ccf.gov.selfhealingopen.sm_state";
    /// What the next time-out would end.
    SELF_HEALING_TIMEOUT_STATE = "public:ccf.gov.selfhealingopen.timeout_sm_state";
    /// This node opened without a majority.
    SELF_HEALING_FAILOVER_OPEN = "public:ccf.gov.selfhealingopen.failover_open";
    /// Nodes heard in a self-healing open, by their names (2026).
    RECOVERY_DECISION_NODES = "public:ccf.gov.recovery_decision_protocol.nodes";
    /// What each of them said that its ledger has (2026).
    RECOVERY_DECISION_GOSSIP = "public:ccf.gov.recovery_decision_protocol.gossip";
    /// Who voted for this node (2026).
    RECOVERY_DECISION_VOTES = "public:ccf.gov.recovery_decision_protocol.votes";
    /// Whom this node voted for, or joins (2026).
    RECOVERY_DECISION_CHOSEN_NODE = "public:ccf.gov.recovery_decision_protocol.chosen_node";
    /// How far this node is (2026).
    RECOVERY_DECISION_STATE = "public:ccf.gov.recovery_decision_protocol.sm_state";
    /// What the next time-out would end (2026).
    RECOVERY_DECISION_TIMEOUT_STATE = "public:ccf.gov.recovery_decision_protocol.timeout_sm_state";
    /// Why this node opened (2026).
    RECOVERY_DECISION_OPEN_KIND = "public:ccf.gov.recovery_decision_protocol.open_kind";
    /// The constitution.
    CONSTITUTION = "public:ccf.gov.constitution";
    /// Proposals as submitted.
    PROPOSALS = "public:ccf.gov.proposals";
    /// Proposals' state and votes.
    PROPOSALS_INFO = "public:ccf.gov.proposals_info";
    /// Members' signed requests (1.x to 4.x).
    HISTORY = "public:ccf.gov.history";
    /// Members' COSE requests.
    COSE_HISTORY = "public:ccf.gov.cose_history";
    /// Recent proposals, against replay.
    COSE_RECENT_PROPOSALS = "public:ccf.gov.cose_recent_proposals";
    /// JavaScript modules.
    MODULES = "public:ccf.gov.modules";
    /// The same, compiled.
    MODULES_QUICKJS_BYTECODE = "public:ccf.gov.modules_quickjs_bytecode";
    /// Version of the compiler.
    MODULES_QUICKJS_VERSION = "public:ccf.gov.modules_quickjs_version";
    /// JavaScript endpoints.
    ENDPOINTS = "public:ccf.gov.endpoints";
    /// Whether cached interpreters are to be dropped.
    INTERPRETER_FLUSH = "public:ccf.gov.interpreter.flush";
    /// JavaScript engine's limits.
    JS_RUNTIME_OPTIONS = "public:ccf.gov.js_runtime_options";
    /// JWT issuers.
    JWT_ISSUERS = "public:ccf.gov.jwt.issuers";
    /// JWT signing keys.
    JWT_PUBLIC_SIGNING_KEYS = "public:ccf.gov.jwt.public_signing_keys";
    /// JWT signing keys' metadata.
    JWT_PUBLIC_SIGNING_KEYS_METADATA = "public:ccf.gov.jwt.public_signing_keys_metadata";
    /// The same, second form.
    JWT_PUBLIC_SIGNING_KEYS_METADATA_V2 = "public:ccf.gov.jwt.public_signing_keys_metadata_v2";
    /// JWT signing keys' issuers.
    JWT_PUBLIC_SIGNING_KEY_ISSUER = "public:ccf.gov.jwt.public_signing_key_issuer";
    /// CA bundles.
    TLS_CA_CERT_BUNDLES = "public:ccf.gov.tls.ca_cert_bundles";
    /// Node signatures over the Merkle root.
    SIGNATURES = "public:ccf.internal.signatures";
    /// COSE signatures over the Merkle root.
    COSE_SIGNATURES = "public:ccf.internal.cose_signatures";
    /// The serialised Merkle tree.
    TREE = "public:ccf.internal.tree";
    /// Evidence that a snapshot was taken.
    SNAPSHOT_EVIDENCE = "public:ccf.internal.snapshot_evidence";
    /// When the last snapshot was taken (2026).
    SNAPSHOT_STATUS = "public:ccf.internal.snapshot_status";
    /// A request for a snapshot (2026).
    SNAPSHOT_CREATE = "public:ccf.internal.snapshot_create";
    /// Members' encrypted shares and the wrapped ledger secret.
    RECOVERY_SHARES = "public:ccf.internal.recovery_shares";
    /// Previous ledger secrets, each encrypted by the next.
    HISTORICAL_ENCRYPTED_LEDGER_SECRET = "public:ccf.internal.historical_encrypted_ledger_secret";
    /// Ledger secrets encrypted to nodes.
    ENCRYPTED_LEDGER_SECRETS = "public:ccf.internal.encrypted_ledger_secrets";
    /// Shares submitted during a recovery.
    ENCRYPTED_SUBMITTED_SHARES = "public:ccf.internal.encrypted_submitted_shares";
    /// Shares sealed to nodes (7.0).
    SEALED_SHARES = "public:ccf.internal.sealed_shares";
    /// Endorsement of the previous service identity.
    PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT = "public:ccf.internal.previous_service_identity_endorsement";
    /// Last root that the previous service signed.
    PREVIOUS_SERVICE_LAST_SIGNED_ROOT = "public:ccf.internal.previous_service_last_signed_root";
    /// How the service was last recovered.
    LAST_RECOVERY_TYPE = "public:ccf.internal.last_recovery_type";
    /// What the node that began this service seals ledger secrets under. Rekindle's own.
    SEALING_KEY_SOURCE = "public:ccf.internal.sealing_key_source";
    /// What became of unsealing when members opened this service. Rekindle's own.
    LAST_UNSEALING = "public:ccf.internal.last_unsealing";
    /// Counters of 1.x.
    VALUES = "public:ccf.internal.values";
}
