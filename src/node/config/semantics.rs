//! Where values that are well formed alone do not fit each other. Nothing here touches files or the network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::section::Report;
use super::{Address, Config, FieldPath, Protocol, RecoveryRole, RpcInterface, Start, healing};

/// Adds all such problems.
pub(super) fn check(config: &Config, report: &mut Report) {
    interfaces(config, report);
    if let Some(start) = &config.command.start {
        members(start, report);
    }
    healing::check(config, report);
    consensus(config, report);
}

fn interfaces(config: &Config, report: &mut Report) {
    let base = FieldPath::dotted("network.rpc_interfaces");
    let interfaces = &config.network.rpc_interfaces;
    if interfaces.is_empty() && !report.present("network.rpc_interfaces").is_empty() {
        report.unfit(
            base.clone(),
            "there is no interface: nobody could reach the node; add one, such as \
             \"primary_rpc_interface\": {\"bind_address\": \"127.0.0.1:8080\"}",
        );
    }
    for (name, interface) in interfaces {
        sessions(&base.field(name), interface, report);
    }
    let mut taken: BTreeMap<u16, Vec<(FieldPath, &Address)>> = BTreeMap::new();
    let node_to_node = config.network.node_to_node_interface.as_ref();
    let node_to_node = node_to_node.map(|interface| {
        let path = FieldPath::dotted("network.node_to_node_interface.bind_address");
        (path, &interface.bind_address)
    });
    let rpc = interfaces
        .iter()
        .filter(|(_, interface)| interface.protocol == Protocol::Tcp)
        .map(|(name, interface)| (base.field(name).field("bind_address"), &interface.bind_address));
    for (path, address) in node_to_node.into_iter().chain(rpc) {
        // An unreadable address is 0 here, and a problem already.
        if address.port == 0 {
            continue;
        }
        let others = taken.entry(address.port).or_default();
        if let Some((other, _)) = others.iter().find(|(_, other)| overlap(&other.host, &address.host)) {
            report.unfit(
                path.clone(),
                format!("{address} is also the address of {other}; give each interface a port of its own"),
            );
        }
        others.push((path, address));
    }
}

fn sessions(path: &FieldPath, interface: &RpcInterface, report: &mut Report) {
    let (soft, hard) = (interface.max_open_sessions_soft, interface.max_open_sessions_hard);
    if soft > hard {
        report.unfit(
            path.field("max_open_sessions_soft"),
            format!("{soft} is more than max_open_sessions_hard, which is {hard}; make it at most that"),
        );
    }
}

/// Whether listening on one host excludes listening on the other with the same port.
fn overlap(one: &str, other: &str) -> bool {
    let any = |host: &str| host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    one == other || any(one) || any(other)
}

/// Who takes part in a recovery, and how many of them it needs (recovery specification, section 5.5).
fn members(start: &Start, report: &mut Report) {
    let path = FieldPath::dotted("command.start.members");
    for (i, member) in start.members.iter().enumerate() {
        if member.recovery_role != RecoveryRole::NonParticipant && member.encryption_public_key_file.is_none() {
            report.unfit(
                path.item(i).field("recovery_role"),
                format!(
                    "a member who is {:?} needs encryption_public_key_file, because shares are encrypted for them",
                    member.recovery_role
                ),
            );
        }
    }
    let with_role = |role| {
        start
            .members
            .iter()
            .filter(|member| member.recovery_role == role)
            .count()
    };
    let (participants, owners) = (with_role(RecoveryRole::Participant), with_role(RecoveryRole::Owner));
    let threshold = start.service_configuration.recovery_threshold;
    let most = if participants == 0 && owners > 0 {
        1
    } else {
        participants
    };
    if threshold as usize > most {
        report.unfit(
            FieldPath::dotted("command.start.service_configuration.recovery_threshold"),
            format!(
                "{threshold} shares can never come together: {participants} members are participants in recovery and \
                 {owners} are owners; use at most {most}, or 0 for all participants"
            ),
        );
    }
}

fn consensus(config: &Config, report: &mut Report) {
    let consensus = &config.consensus;
    if consensus.election_timeout <= consensus.message_timeout {
        report.unfit(
            FieldPath::dotted("consensus.election_timeout"),
            "it must be longer than consensus.message_timeout, or every node would always call elections",
        );
    }
}
