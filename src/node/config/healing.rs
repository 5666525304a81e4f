//! Where what is said of self-healing open does not fit itself. Recovery specification, section 7.1.

use std::collections::BTreeSet;
use std::time::Duration;

use super::section::Report;
use super::{Config, FieldPath};

/// The interface that self-healing open speaks for (recovery specification, section 7.1).
pub const PRIMARY_INTERFACE: &str = "primary_rpc_interface";

/// Adds all such problems.
pub(super) fn check(config: &Config, report: &mut Report) {
    self_healing(config, report);
    decision_protocol(config, report);
}

fn self_healing(config: &Config, report: &mut Report) {
    let recover = config.command.recover.as_ref();
    let Some(healing) = recover.and_then(|recover| recover.self_healing_open.as_ref()) else {
        return;
    };
    let path = FieldPath::dotted("command.recover.self_healing_open");
    let of_identities = report.present("command.recover.self_healing_open.cluster_identities");
    if healing.addresses.is_empty() {
        match of_identities.into_iter().next() {
            // A release between two: without addresses this node would be a cluster of one, and open alone.
            Some(at) => report.unfit(
                at,
                "nodes are not known by identities here: name them in sealing_recovery.recovery_decision_protocol\
                 .expected_locations, or list their addresses in command.recover.self_healing_open.addresses",
            ),
            // Where it is missing, that is said already.
            None if report.present("command.recover.self_healing_open.addresses").is_empty() => {}
            None => report.unfit(
                path.field("addresses"),
                "it is empty: this node would open by itself; list every node of the cluster, host:port each, this one too",
            ),
        }
    }
    let Some(own) = config.network.rpc_interfaces.get(PRIMARY_INTERFACE) else {
        report.unfit(
            path,
            format!("it needs an interface called {PRIMARY_INTERFACE} in network.rpc_interfaces, whose published address names this node to the others"),
        );
        return;
    };
    let own = &own.published_address;
    if own.port != 0 && !healing.addresses.is_empty() && !healing.addresses.contains(own) {
        report.unfit(
            path.field("addresses"),
            format!("this node's own published address {own} is not among them; list every node of the cluster, this one too"),
        );
    }
    twice(
        &path.field("addresses"),
        healing.addresses.iter().map(ToString::to_string),
        report,
    );
    times(
        (path.field("retry_timeout"), healing.retry_timeout),
        (path.field("failover_timeout"), healing.failover_timeout),
        report,
    );
}

fn decision_protocol(config: &Config, report: &mut Report) {
    let Some(sealing) = &config.sealing_recovery else {
        return;
    };
    let Some(protocol) = &sealing.recovery_decision_protocol else {
        return;
    };
    let path = FieldPath::dotted("sealing_recovery");
    let whole = path.field("recovery_decision_protocol");
    let locations = whole.field("expected_locations");
    match &sealing.location {
        None => report.unfit(
            path.clone(),
            "recovery_decision_protocol needs location: the name and address of this node",
        ),
        Some(own) if !protocol.expected_locations.is_empty() && !protocol.expected_locations.contains(own) => {
            report.unfit(
                locations.clone(),
                format!(
                    "this node's own location ({:?}, {}) is not among them; list every node of the cluster, this one too",
                    own.name, own.address
                ),
            );
        }
        Some(own) => {
            let published = config.network.rpc_interfaces.values();
            let known: Vec<_> = published.map(|interface| &interface.published_address).collect();
            if known
                .iter()
                .all(|address| address.port != 0 && **address != own.address)
            {
                report.note(
                    path.field("location").field("address"),
                    "no interface of network.rpc_interfaces is published there: make sure that the other nodes reach one",
                );
            }
        }
    }
    if protocol.expected_locations.is_empty() && !report.present(&locations.to_string()).is_empty() {
        report.unfit(
            locations.clone(),
            "it is empty: this node would open by itself; list every node of the cluster, {\"name\", \"address\"} each, this \
             one too",
        );
    }
    let of = &protocol.expected_locations;
    twice(&locations, of.iter().map(|location| location.name.clone()), report);
    twice(
        &locations,
        of.iter().map(|location| location.address.to_string()),
        report,
    );
    times(
        (whole.field("message_retry_timeout"), protocol.message_retry_timeout),
        (whole.field("failover_timeout"), protocol.failover_timeout),
        report,
    );
    let recover = config.command.recover.as_ref();
    if recover.is_some_and(|recover| recover.self_healing_open.is_some()) {
        report.unfit(
            FieldPath::dotted("command.recover.self_healing_open"),
            "sealing_recovery.recovery_decision_protocol is the later form of the same; keep one of them",
        );
    }
}

/// Of a node that is named twice one vote would be missing for ever.
fn twice(path: &FieldPath, names: impl Iterator<Item = String>, report: &mut Report) {
    let mut known = BTreeSet::new();
    for (at, name) in names.enumerate() {
        if !known.insert(name.to_lowercase()) {
            report.unfit(
                path.item(at),
                format!(
                    "{name:?} is there more than once: name each node of the cluster once, with an address of its own"
                ),
            );
        }
    }
}

fn times(retry: (FieldPath, Duration), failover: (FieldPath, Duration), report: &mut Report) {
    if retry.1.is_zero() {
        report.unfit(
            retry.0,
            "found 0, expected a time between two messages, such as \"100ms\": without one nothing else would be done",
        );
    }
    if failover.1.is_zero() {
        report.unfit(
            failover.0,
            "found 0, expected a time that is far longer than the longest recovery, such as \"10min\": every node would open \
             by itself at once",
        );
    } else if failover.1 <= retry.1 {
        report.note(
            failover.0,
            "not longer than the time between two messages: nodes may open by themselves before they have heard each other",
        );
    }
}
