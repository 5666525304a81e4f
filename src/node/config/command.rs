//! `command`: what a node is started for (recovery specification, sections 1.2, 1.3 and 7.1).

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::values::{self, Address};

const GIB: u64 = 1 << 30;
/// Shares are numbered from 1 to 254 at most in the older format, and thresholds are limited to that.
const MAX_THRESHOLD: u32 = 254;

/// `command`.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The field `type`.
    pub kind: CommandKind,
    /// Written by Start and Recover, read by Join.
    pub service_certificate_file: PathBuf,
    /// There if the kind is Start.
    pub start: Option<Start>,
    /// There if the kind is Join.
    pub join: Option<Join>,
    /// There if the kind is Recover.
    pub recover: Option<Recover>,
}

/// What a node is started for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommandKind {
    /// A new service.
    Start,
    /// Joining a service.
    Join,
    /// Recovering a service from its ledger.
    #[default]
    Recover,
}

/// `command.start`.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The first consortium.
    pub members: Vec<Member>,
    /// Joined by single line breaks.
    pub constitution_files: Vec<PathBuf>,
    /// The service's first configuration.
    pub service_configuration: ServiceConfiguration,
    /// Validity of the service's first certificate.
    pub initial_service_certificate_validity_days: u32,
    /// Subject of the service's certificate (RFC 4514).
    pub service_subject_name: String,
    /// Claims of COSE ledger signatures.
    pub cose_signatures: CoseSignatures,
}

/// An entry of `command.start.members`.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// PEM.
    pub certificate_file: PathBuf,
    /// PEM; members without take no part in recovery.
    pub encryption_public_key_file: Option<PathBuf>,
    /// JSON.
    pub data_json_file: Option<PathBuf>,
    /// By default a participant if there is an encryption key.
    pub recovery_role: RecoveryRole,
}

/// What a member can do in a recovery (section 5.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryRole {
    /// Has no share.
    #[default]
    NonParticipant,
    /// Has one share of several.
    Participant,
    /// Has the whole key.
    Owner,
}

/// `command.start.service_configuration`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfiguration {
    /// Shares needed; 0 is the number of participants, or 1 if there are only owners.
    pub recovery_threshold: u32,
    /// Longest validity of nodes' certificates.
    pub maximum_node_certificate_validity_days: u32,
    /// Longest validity of the service's certificate.
    pub maximum_service_certificate_validity_days: u32,
    /// Proposals that replay protection remembers.
    pub recent_cose_proposals_window_size: u32,
}

/// `command.start.cose_signatures`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoseSignatures {
    /// CWT claim 1.
    pub issuer: String,
    /// CWT claim 2.
    pub subject: String,
}

/// `command.join`.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// A node of the service.
    pub target_rpc_address: Address,
    /// Between two attempts.
    pub retry_timeout: Duration,
    /// Whether to go where a node sends.
    pub follow_redirect: bool,
    /// Whether to fetch the newest snapshot first.
    pub fetch_recent_snapshot: bool,
    /// Attempts to fetch it.
    pub fetch_snapshot_max_attempts: u32,
    /// Between two of them.
    pub fetch_snapshot_retry_interval: Duration,
    /// Largest snapshot that is fetched.
    pub fetch_snapshot_max_size: u64,
    /// A transparent statement about the host data (section 1.3).
    pub host_data_transparent_statement_path: Option<PathBuf>,
}

/// `command.recover`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recover {
    /// Certificate of the service that is recovered. CCF requires it; here it may be absent.
    pub previous_service_identity_file: Option<PathBuf>,
    /// Validity of the new service's certificate.
    pub initial_service_certificate_validity_days: u32,
    /// A directory with sealed secrets.
    pub previous_sealed_ledger_secret_location: Option<PathBuf>,
    /// Section 7.
    pub self_healing_open: Option<SelfHealingOpen>,
}

/// `command.recover.self_healing_open` (section 7.1).
#[derive(Clone, Debug, PartialEq)]
pub struct SelfHealingOpen {
    /// All nodes of the cluster, this one too.
    pub addresses: Vec<Address>,
    /// Between two messages.
    pub retry_timeout: Duration,
    /// After this the node goes on without the others; also read from `timeout`.
    pub failover_timeout: Duration,
}

const KINDS: [(&str, CommandKind); 3] = [
    ("Start", CommandKind::Start),
    ("Join", CommandKind::Join),
    ("Recover", CommandKind::Recover),
];
const ROLES: [(&str, RecoveryRole); 3] = [
    ("NonParticipant", RecoveryRole::NonParticipant),
    ("Participant", RecoveryRole::Participant),
    ("Owner", RecoveryRole::Owner),
];

pub(super) fn command(section: &mut Section<'_>) -> Command {
    section.tolerates_unknown();
    let kind = section.required_choice("type", &KINDS);
    let service_certificate_file = section.or(
        "service_certificate_file",
        PathBuf::from("service_cert.pem"),
        values::path,
    );
    // A file that recovers a service may say beside it how to start or join one: only the command's own section counts.
    let used = |of: CommandKind| kind.is_none_or(|kind| kind == of);
    let start = section.object_if(used(CommandKind::Start), "start", start);
    let join = section.object_if(used(CommandKind::Join), "join", join);
    let recover = match used(CommandKind::Recover) {
        // Nothing in it is required here, so it may be absent as a whole.
        true => Some(section.object("recover", recover)),
        false => section.object_if(false, "recover", recover),
    };
    for (name, of) in [
        ("start", CommandKind::Start),
        ("join", CommandKind::Join),
        ("recover", CommandKind::Recover),
    ] {
        if let Some(kind) = kind
            && kind != of
            && section.has(name)
        {
            section.note(name, format!("not used, because the command is {kind:?}"));
        }
    }
    let sections = [
        ("start", CommandKind::Start, start.is_some()),
        ("join", CommandKind::Join, join.is_some()),
    ];
    for (name, of, there) in sections {
        if kind == Some(of) && !there {
            section.miss(name, format!("an object, because the command is {of:?}"));
        }
    }
    let kind = kind.unwrap_or_default();
    Command {
        kind,
        service_certificate_file,
        start: start.filter(|_| kind == CommandKind::Start),
        join: join.filter(|_| kind == CommandKind::Join),
        recover: recover.filter(|_| kind == CommandKind::Recover),
    }
}

fn start(section: &mut Section<'_>) -> Start {
    if section.is_there() {
        for name in ["members", "constitution_files"] {
            if !section.has(name) {
                section.miss(name, "an array".to_owned());
            }
        }
    }
    Start {
        members: section.objects("members", member),
        constitution_files: section.list("constitution_files", values::path),
        // Its own field is required where it is there; where it is not, all participants are needed.
        service_configuration: section.object("service_configuration", service_configuration),
        initial_service_certificate_validity_days: section.or(
            "initial_service_certificate_validity_days",
            1,
            values::count(1),
        ),
        service_subject_name: section.or(
            "service_subject_name",
            "CN=CCF Service".to_owned(),
            values::subject_name,
        ),
        cose_signatures: section.object("cose_signatures", |section| CoseSignatures {
            issuer: section.or("issuer", String::new(), values::text),
            subject: section.or("subject", String::new(), values::text),
        }),
    }
}

fn service_configuration(section: &mut Section<'_>) -> ServiceConfiguration {
    // Of releases before 2024; there is one kind only.
    section.anything("reconfiguration_type");
    ServiceConfiguration {
        recovery_threshold: section.required("recovery_threshold", |json| {
            values::number(0..=u64::from(MAX_THRESHOLD))(json).map(|threshold| threshold as u32)
        }),
        maximum_node_certificate_validity_days: section.or(
            "maximum_node_certificate_validity_days",
            365,
            values::count(1),
        ),
        maximum_service_certificate_validity_days: section.or(
            "maximum_service_certificate_validity_days",
            365,
            values::count(1),
        ),
        recent_cose_proposals_window_size: section.or("recent_cose_proposals_window_size", 100, values::count(1)),
    }
}

fn member(section: &mut Section<'_>) -> Member {
    let certificate_file = section.required("certificate_file", values::path);
    let encryption_public_key_file = section.nullable("encryption_public_key_file", values::path);
    let default = match encryption_public_key_file {
        Some(_) => RecoveryRole::Participant,
        None => RecoveryRole::NonParticipant,
    };
    Member {
        certificate_file,
        encryption_public_key_file,
        data_json_file: section.nullable("data_json_file", values::path),
        recovery_role: section.or("recovery_role", default, values::choice(&ROLES)),
    }
}

fn join(section: &mut Section<'_>) -> Join {
    Join {
        target_rpc_address: section.required("target_rpc_address", values::address),
        retry_timeout: section.or("retry_timeout", Duration::from_secs(1), values::time),
        follow_redirect: section.or("follow_redirect", true, values::boolean),
        fetch_recent_snapshot: section.or("fetch_recent_snapshot", true, values::boolean),
        fetch_snapshot_max_attempts: section.or("fetch_snapshot_max_attempts", 3, values::count(0)),
        fetch_snapshot_retry_interval: section.or(
            "fetch_snapshot_retry_interval",
            Duration::from_secs(1),
            values::time,
        ),
        fetch_snapshot_max_size: section.or("fetch_snapshot_max_size", 10 * GIB, values::size),
        host_data_transparent_statement_path: section.nullable("host_data_transparent_statement_path", values::path),
    }
}

fn recover(section: &mut Section<'_>) -> Recover {
    Recover {
        previous_service_identity_file: section.nullable("previous_service_identity_file", values::path),
        initial_service_certificate_validity_days: section.or(
            "initial_service_certificate_validity_days",
            1,
            values::count(1),
        ),
        previous_sealed_ledger_secret_location: section
            .nullable("previous_sealed_ledger_secret_location", values::path),
        self_healing_open: section.optional_object("self_healing_open", self_healing_open),
    }
}

fn self_healing_open(section: &mut Section<'_>) -> SelfHealingOpen {
    section.tolerates_unknown();
    let addresses = section.list("addresses", values::address);
    // Names of November 2025, before the whole moved to `sealing_recovery`.
    section.anything("identity");
    section.anything("cluster_identities");
    if section.is_there() && !section.has("addresses") && !section.has("cluster_identities") {
        section.miss(
            "addresses",
            "an array of all nodes' addresses, host:port each".to_owned(),
        );
    }
    let retry_timeout = section.or("retry_timeout", Duration::from_millis(100), values::time);
    let failover_timeout = section.optional("failover_timeout", values::time);
    // The name of September 2025, which is also the documented one.
    let timeout = section.optional("timeout", values::time);
    if section.has("timeout") {
        let text = match failover_timeout {
            Some(_) => "not used, because `failover_timeout` is there too",
            None => "read as `failover_timeout`, which is its name since October 2025",
        };
        section.note("timeout", text);
    }
    SelfHealingOpen {
        addresses,
        retry_timeout,
        failover_timeout: failover_timeout.or(timeout).unwrap_or(Duration::from_secs(2)),
    }
}
