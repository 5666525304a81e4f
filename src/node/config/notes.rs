//! What is accepted without having its meaning here, and names that are no longer right.

use super::section::Report;
use super::{Authority, Config, FieldPath, Protocol};

/// Fields that are accepted so that a CCF node's file can be used as it is, and have no effect here; each with the reason.
/// `*` stands for any name.
pub const WITHOUT_MEANING: [(&str, &str); 21] = [
    (
        "memory",
        "it sizes buffers between CCF's threads, which do not exist here",
    ),
    ("tick_interval", "nothing here is driven by a tick"),
    ("slow_io_logging_threshold", "slow input and output is not logged"),
    ("worker_threads", "threads follow the number of processors"),
    (
        "node_client_interface",
        "outgoing connections leave by the interface that the system chooses",
    ),
    (
        "historical_cache_soft_limit",
        "old entries are read from the ledger's files",
    ),
    (
        "logging.host_level",
        "CCF ignores it too; the command line option --log-level counts",
    ),
    (
        "identity_history_fetch",
        "the history of identities is read from the ledger's files",
    ),
    (
        "snapshots.backup_fetch",
        "there are no backups that would fetch the primary's snapshots",
    ),
    (
        "network.acme",
        "no certificates are fetched from ACME servers; CCF has removed this in November 2025",
    ),
    (
        "network.rpc_interfaces.*.endorsement.acme_configuration",
        "no certificates are fetched from ACME servers; CCF has removed this in November 2025",
    ),
    ("network.rpc_interfaces.*.redirections", "no requests are redirected"),
    (
        "attestation.environment",
        "CCF read these names of environment variables until release 4; attestation.snp_*_file are their later form",
    ),
    ("enclave", "there is no application to load: this program is the node"),
    ("consensus.type", "there is one kind of consensus"),
    ("files_cleanup", "no file is ever removed"),
    (
        "ledger.max_transaction_size",
        "bodies of requests are limited by their interface",
    ),
    ("command.recover.self_healing_open.identity", OF_IDENTITIES),
    ("command.recover.self_healing_open.cluster_identities", OF_IDENTITIES),
    ("enable_local_sealing", BETWEEN_RELEASES),
    ("local_sealing_identity", BETWEEN_RELEASES),
];

/// A name that only some builds of CCF between two releases knew.
const BETWEEN_RELEASES: &str = "no release of CCF has it; sealing_recovery.location is its later form, and \
                                output_files.sealed_ledger_secret_location its earlier one";

/// Of November 2025.
const OF_IDENTITIES: &str = "nodes are known by their addresses here; sealing_recovery.recovery_decision_protocol knows them by \
                             names";

/// Adds the notes about a whole document.
pub(super) fn add(config: &Config, report: &mut Report) {
    for (pattern, reason) in WITHOUT_MEANING {
        for path in report.present(pattern) {
            report.note(path, format!("accepted, but has no meaning here: {reason}"));
        }
    }
    let interfaces = FieldPath::dotted("network.rpc_interfaces");
    for (name, interface) in &config.network.rpc_interfaces {
        let path = interfaces.field(name);
        if interface.endorsement.authority == Authority::Acme {
            report.note(
                path.field("endorsement").field("authority"),
                "ACME is served like Service: with the certificate that the service has endorsed",
            );
        }
        if interface.endorsement.authority == Authority::Unsecured {
            report.note(
                path.field("endorsement").field("authority"),
                "everything on this interface goes over the network in clear text, shares too",
            );
        }
        if interface.protocol == Protocol::Udp {
            report.note(
                path.field("protocol"),
                "udp is not served: this interface will not listen",
            );
        }
    }
    if config.network.node_to_node_interface.is_none() {
        report.note(
            FieldPath::dotted("network.node_to_node_interface"),
            "absent: enough here, but a CCF node would refuse this file",
        );
    }
    if let Some(join) = &config.command.join
        && join.host_data_transparent_statement_path.is_some()
    {
        report.note(
            FieldPath::dotted("command.join.host_data_transparent_statement_path"),
            "not used: no statement about the host data is sent to the service that is joined",
        );
    }
    if let Some(recover) = &config.command.recover
        && recover.previous_service_identity_file.is_none()
    {
        report.note(
            FieldPath::dotted("command.recover.previous_service_identity_file"),
            "absent: the previous service is then known from the ledger alone (a CCF node would refuse this file)",
        );
    }
}
