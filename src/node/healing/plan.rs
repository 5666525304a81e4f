//! What the configuration says of self-healing open, in either generation. Recovery specification, section 7.1.

use std::collections::BTreeMap;

use crate::heal::{Generation, Peer, Settings};
use crate::node::config::{Config, PRIMARY_INTERFACE};

/// What a node does that heals together with others.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is configured.
    pub settings: Settings,
    /// Its own name among the others.
    pub own_id: String,
    /// Where clients and the others reach it, `host:port`.
    pub own_address: String,
}

impl Plan {
    /// What the configuration asks for; none where a node is to recover by itself. `published` are the published addresses of
    /// interfaces, with the ports that were bound.
    ///
    /// # Errors
    /// In words that name the key: what reading the configuration could not know, because a port was not bound yet.
    pub fn of(config: &Config, published: &BTreeMap<String, String>) -> Result<Option<Plan>, String> {
        let Some(generation) = generation(config) else {
            return Ok(None);
        };
        match generation {
            Generation::Decision2026 => Ok(decision(config)),
            Generation::September2025 | Generation::October2025 => healing(config, published).transpose(),
        }
    }
}

/// The generation that is configured, if one is.
pub fn generation(config: &Config) -> Option<Generation> {
    let recover = config.command.recover.as_ref()?;
    let protocol = config.sealing_recovery.as_ref();
    match protocol.and_then(|sealing| sealing.recovery_decision_protocol.as_ref()) {
        Some(_) => Some(Generation::Decision2026),
        // Of 2025's two forms, which differ in names of tables alone, the later one.
        None => recover.self_healing_open.as_ref().map(|_| Generation::October2025),
    }
}

fn decision(config: &Config) -> Option<Plan> {
    let sealing = config.sealing_recovery.as_ref()?;
    let (own, protocol) = (sealing.location.as_ref()?, sealing.recovery_decision_protocol.as_ref()?);
    let peers = protocol.expected_locations.iter().map(|location| Peer {
        id: location.name.clone(),
        address: location.address.to_string(),
    });
    Some(Plan {
        settings: Settings {
            generation: Generation::Decision2026,
            peers: peers.collect(),
            retry: protocol.message_retry_timeout,
            failover: protocol.failover_timeout,
            #[cfg(test)]
            broken: Vec::new(),
        },
        own_id: own.name.clone(),
        own_address: own.address.to_string(),
    })
}

fn healing(config: &Config, published: &BTreeMap<String, String>) -> Option<Result<Plan, String>> {
    let recover = config.command.recover.as_ref()?;
    let healing = recover.self_healing_open.as_ref()?;
    let key = "command.recover.self_healing_open.addresses";
    let Some(own) = published.get(PRIMARY_INTERFACE) else {
        return Some(Err(format!(
            "command.recover.self_healing_open needs an interface called {PRIMARY_INTERFACE} in network.rpc_interfaces"
        )));
    };
    let peers: Vec<Peer> = healing
        .addresses
        .iter()
        .map(|address| Peer {
            id: address.to_string(),
            address: address.to_string(),
        })
        .collect();
    if peers.iter().all(|peer| peer.id != *own) {
        return Some(Err(format!(
            "{key}: this node's own published address {own} is not among them; list every node of the cluster, this one too"
        )));
    }
    Some(Ok(Plan {
        settings: Settings {
            generation: Generation::October2025,
            peers,
            retry: healing.retry_timeout,
            failover: healing.failover_timeout,
            #[cfg(test)]
            broken: Vec::new(),
        },
        own_id: own.clone(),
        own_address: own.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn config(recover: Value, sealing: Value, kind: &str) -> Config {
        let mut document = json!({
            "network": {"rpc_interfaces": {
                "primary_rpc_interface": {"bind_address": "127.0.0.1:0", "published_address": "n0.example:0"},
                "other": {"bind_address": "127.0.0.1:0"},
            }},
            "command": {"type": kind, "recover": recover, "join": {"target_rpc_address": "n1.example:1"}},
        });
        if !sealing.is_null() {
            document["sealing_recovery"] = sealing;
        }
        Config::parse(&document.to_string()).unwrap().config
    }

    fn published(address: &str) -> BTreeMap<String, String> {
        let names = [(PRIMARY_INTERFACE, address), ("other", "n0.example:2")];
        names
            .map(|(name, address)| (name.to_owned(), address.to_owned()))
            .into()
    }

    fn decision() -> Value {
        json!({
            "location": {"name": "n0", "address": "n0.example:443"},
            "recovery_decision_protocol": {
                "expected_locations": [
                    {"name": "n0", "address": "n0.example:443"},
                    {"name": "n1", "address": "n1.example:443"},
                ],
                "message_retry_timeout": "20ms",
                "failover_timeout": "2min",
            },
        })
    }

    #[test]
    fn in_2025_a_node_is_its_primary_interface_as_it_was_bound() {
        let healing = json!({"self_healing_open": {"addresses": ["n0.example:80", "n1.example:81"], "timeout": "3s"}});
        let config = config(healing, Value::Null, "Recover");
        let plan = Plan::of(&config, &published("n0.example:80")).unwrap().unwrap();
        assert_eq!(
            (plan.own_id.as_str(), plan.own_address.as_str()),
            ("n0.example:80", "n0.example:80")
        );
        let settings = plan.settings;
        assert_eq!(settings.generation, Generation::October2025);
        assert_eq!(
            (settings.retry, settings.failover),
            (Duration::from_millis(100), Duration::from_secs(3))
        );
        let peers: Vec<&str> = settings.peers.iter().map(|peer| peer.id.as_str()).collect();
        assert_eq!(peers, ["n0.example:80", "n1.example:81"]);
        let elsewhere = Plan::of(&config, &published("n0.example:79")).unwrap_err();
        assert!(
            elsewhere.starts_with("command.recover.self_healing_open.addresses: "),
            "{elsewhere}"
        );
        assert!(elsewhere.contains("n0.example:79 is not among them"), "{elsewhere}");
    }

    #[test]
    fn in_2026_a_node_is_its_location_whatever_was_bound() {
        let config = config(json!({}), decision(), "Recover");
        let plan = Plan::of(&config, &published("n0.example:80")).unwrap().unwrap();
        assert_eq!(
            (plan.own_id.as_str(), plan.own_address.as_str()),
            ("n0", "n0.example:443")
        );
        let settings = plan.settings;
        assert_eq!(settings.generation, Generation::Decision2026);
        assert_eq!(
            (settings.retry, settings.failover),
            (Duration::from_millis(20), Duration::from_secs(120))
        );
        assert_eq!(
            (settings.peers[1].id.as_str(), settings.peers[1].address.as_str()),
            ("n1", "n1.example:443")
        );
    }

    #[test]
    fn who_does_not_recover_or_is_not_asked_to_heals_with_nobody() {
        let alone = config(json!({}), Value::Null, "Recover");
        assert!(Plan::of(&alone, &published("n0.example:80")).unwrap().is_none());
        let joins = config(json!({}), decision(), "Join");
        assert_eq!(generation(&joins), None);
        assert!(Plan::of(&joins, &published("n0.example:80")).unwrap().is_none());
    }
}
