//! The smaller sections: certificate, attestation, consensus, JWT, log, memory, sealing (recovery specification,
//! sections 1.2 and 1.3).

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::values::{self, Address, SubjectAltName};
use crate::crypto::Curve;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// `node_certificate`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeCertificate {
    /// RFC 4514.
    pub subject_name: String,
    /// Empty: the hosts of the published addresses.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Of the node's key, and of a new service's.
    pub curve_id: Curve,
    /// From the start of the node on.
    pub initial_validity_days: u32,
}

/// `attestation`. In its paths `$NAME` and `${NAME}` stand for environment variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Attestation {
    /// In the order in which they are asked.
    pub snp_endorsements_servers: Vec<EndorsementsServer>,
    /// Base64.
    pub snp_security_policy_file: Option<PathBuf>,
    /// COSE.
    pub snp_uvm_endorsements_file: Option<PathBuf>,
    /// PEM.
    pub snp_endorsements_file: Option<PathBuf>,
}

/// An entry of `attestation.snp_endorsements_servers`.
#[derive(Clone, Debug, PartialEq)]
pub struct EndorsementsServer {
    /// The field `type`.
    pub kind: EndorsementsServerKind,
    /// Host, or host and port; absent: the one that is known for `kind`.
    pub url: Option<String>,
    /// Attempts.
    pub max_retries_count: u32,
}

/// Who runs a server of endorsements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndorsementsServerKind {
    /// Azure's cache.
    #[default]
    Azure,
    /// AMD's key distribution service.
    Amd,
    /// The host's own agent.
    Thim,
}

/// `consensus`.
#[derive(Clone, Debug, PartialEq)]
pub struct Consensus {
    /// Between two heartbeats.
    pub message_timeout: Duration,
    /// Without a heartbeat for this long there is an election.
    pub election_timeout: Duration,
    /// With this many uncommitted transactions further ones are refused; 0: never.
    pub max_uncommitted_tx_count: u64,
}

/// `jwt`.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// Between two refreshes of keys.
    pub key_refresh_interval: Duration,
    /// Largest answer that is read (section 1.3).
    pub key_refresh_max_response_size: u64,
}

/// `logging`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logging {
    /// Lines for people or for machines.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `memory`: sizes in bytes; no meaning here.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Ring buffer.
    pub circuit_size: u64,
    /// Largest message on it.
    pub max_msg_size: u64,
    /// Largest part of a message.
    pub max_fragment_size: u64,
}

/// `sealing_recovery` (section 1.3).
#[derive(Clone, Debug, PartialEq)]
pub struct SealingRecovery {
    /// This node.
    pub location: Option<Location>,
    /// Self-healing open under its later name (section 7.1).
    pub recovery_decision_protocol: Option<RecoveryDecisionProtocol>,
}

/// A node of a cluster that heals itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// Stays the same over recoveries.
    pub name: String,
    /// Where the others reach it.
    pub address: Address,
}

/// `sealing_recovery.recovery_decision_protocol`.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveryDecisionProtocol {
    /// All nodes of the cluster, this one too.
    pub expected_locations: Vec<Location>,
    /// Between two messages.
    pub message_retry_timeout: Duration,
    /// After this the node goes on without the others.
    pub failover_timeout: Duration,
}

/// `identity_history_fetch`.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityHistoryFetch {
    /// Attempts.
    pub max_attempts: u32,
    /// Between two attempts.
    pub retry_interval: Duration,
}

const CURVES: [(&str, Curve); 2] = [("Secp384R1", Curve::P384), ("Secp256R1", Curve::P256)];
const SERVERS: [(&str, EndorsementsServerKind); 3] = [
    ("Azure", EndorsementsServerKind::Azure),
    ("AMD", EndorsementsServerKind::Amd),
    ("THIM", EndorsementsServerKind::Thim),
];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("Text", LogFormat::Text), ("Json", LogFormat::Json)];

pub(super) fn node_certificate(section: &mut Section<'_>) -> NodeCertificate {
    NodeCertificate {
        subject_name: section.or("subject_name", "CN=CCF Node".to_owned(), values::subject_name),
        subject_alt_names: section.list("subject_alt_names", values::subject_alt_name),
        curve_id: section.or("curve_id", Curve::P384, values::choice(&CURVES)),
        initial_validity_days: section.or("initial_validity_days", 1, values::count(1)),
    }
}

pub(super) fn attestation(section: &mut Section<'_>) -> Attestation {
    // Names of environment variables, until release 4.
    section.object("environment", |section| {
        for name in ["security_policy", "uvm_endorsements", "report_endorsements"] {
            section.anything(name);
        }
    });
    Attestation {
        snp_endorsements_servers: section.objects("snp_endorsements_servers", |section| EndorsementsServer {
            kind: section.or("type", EndorsementsServerKind::Azure, values::choice(&SERVERS)),
            url: section.optional("url", values::text),
            max_retries_count: section.or("max_retries_count", 3, values::count(0)),
        }),
        snp_security_policy_file: section.nullable("snp_security_policy_file", values::path),
        snp_uvm_endorsements_file: section.nullable("snp_uvm_endorsements_file", values::path),
        snp_endorsements_file: section.nullable("snp_endorsements_file", values::path),
    }
}

pub(super) fn consensus(section: &mut Section<'_>) -> Consensus {
    // Of releases before 2024: "CFT" was the only kind.
    section.anything("type");
    Consensus {
        message_timeout: section.or("message_timeout", Duration::from_millis(100), values::time),
        election_timeout: section.or("election_timeout", Duration::from_secs(5), values::time),
        max_uncommitted_tx_count: section.or("max_uncommitted_tx_count", 10_000, values::number(0..=u64::MAX)),
    }
}

pub(super) fn jwt(section: &mut Section<'_>) -> Jwt {
    Jwt {
        key_refresh_interval: section.or("key_refresh_interval", Duration::from_secs(30 * 60), values::time),
        key_refresh_max_response_size: section.or("key_refresh_max_response_size", MIB, values::size),
    }
}

pub(super) fn logging(section: &mut Section<'_>) -> Logging {
    let format = section.or("format", LogFormat::Text, values::choice(&LOG_FORMATS));
    section.optional("host_level", values::text);
    Logging { format }
}

pub(super) fn memory(section: &mut Section<'_>) -> Memory {
    Memory {
        circuit_size: section.or("circuit_size", 16 * MIB, values::size),
        max_msg_size: section.or("max_msg_size", 64 * MIB, values::size),
        max_fragment_size: section.or("max_fragment_size", 256 * KIB, values::size),
    }
}

pub(super) fn sealing_recovery(section: &mut Section<'_>) -> SealingRecovery {
    SealingRecovery {
        location: section.optional_object("location", location),
        recovery_decision_protocol: section.optional_object("recovery_decision_protocol", |section| {
            if section.is_there() && !section.has("expected_locations") {
                let expected = "an array of all nodes' locations, {\"name\", \"address\"} each";
                section.miss("expected_locations", expected.to_owned());
            }
            RecoveryDecisionProtocol {
                expected_locations: section.objects("expected_locations", location),
                message_retry_timeout: section.or("message_retry_timeout", Duration::from_millis(100), values::time),
                failover_timeout: section.or("failover_timeout", Duration::from_secs(2), values::time),
            }
        }),
    }
}

fn location(section: &mut Section<'_>) -> Location {
    Location {
        name: section.required("name", values::text),
        address: section.required("address", values::address),
    }
}

pub(super) fn identity_history_fetch(section: &mut Section<'_>) -> IdentityHistoryFetch {
    IdentityHistoryFetch {
        max_attempts: section.or("max_attempts", 100, values::count(0)),
        retry_interval: section.or("retry_interval", Duration::from_millis(100), values::time),
    }
}
