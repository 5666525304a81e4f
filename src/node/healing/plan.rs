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
