//! What the settings say of this node, as its certificates and the service's tables hold it.

use std::collections::BTreeMap;

use super::config::{Address, Config, RpcInterface, SubjectAltName};
use crate::crypto::x509::AlternativeName;
use crate::error::Result;
use crate::service::identity::{NodeName, failed};
use crate::tables::node_info::{Endorsement, NetInterface, ParserConfiguration, host_and_port};

/// What the node is called, and what its first certificate is like.
///
/// # Errors
/// [`crate::Error::Unreadable`] if a name can't be encoded.
pub fn node_name(config: &Config) -> Result<NodeName> {
    let settings = &config.node_certificate;
    Ok(NodeName {
        curve: settings.curve_id,
        subject: settings.subject_name.clone(),
        names: alternative_names(config)?,
        validity_days: settings.initial_validity_days,
    })
}

/// The configured names, or the hosts of the published addresses.
fn alternative_names(config: &Config) -> Result<Vec<AlternativeName>> {
    let configured = &config.node_certificate.subject_alt_names;
    if !configured.is_empty() {
        let name = |name: &SubjectAltName| match name {
            SubjectAltName::IpAddress(ip) => AlternativeName::Ip(*ip),
            SubjectAltName::DnsName(name) => AlternativeName::Dns(name.clone()),
        };
        return Ok(configured.iter().map(name).collect());
    }
    let mut names = Vec::new();
    for interface in config.network.rpc_interfaces.values() {
        let host = &interface.published_address.host;
        let name = AlternativeName::of_host(host).map_err(failed("name the node's published host"))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// An interface with the address under which it is published.
fn net_interface(interface: &RpcInterface, published: &str) -> NetInterface {
    let http = &interface.http_configuration;
    NetInterface {
        app_protocol: interface.app_protocol.as_str(),
        bind_address: bound(&interface.bind_address, published),
        endorsement: Endorsement {
            authority: interface.endorsement.authority.as_str(),
        },
        forwarding_timeout_ms: interface.forwarding_timeout_ms,
        http_configuration: ParserConfiguration {
            max_body_size: http.max_body_size.to_string(),
            max_header_size: http.max_header_size.to_string(),
            max_headers_count: http.max_headers_count,
        },
        max_open_sessions_hard: interface.max_open_sessions_hard,
        max_open_sessions_soft: interface.max_open_sessions_soft,
        protocol: interface.protocol.as_str().to_owned(),
        published_address: published.to_owned(),
    }
}

/// The interfaces of a node by their names, each published under the address that is given for it.
pub fn net_interfaces(config: &Config, published: &BTreeMap<String, String>) -> BTreeMap<String, NetInterface> {
    let interfaces = config.network.rpc_interfaces.iter();
    interfaces
        .map(|(name, interface)| {
            let published = published.get(name).map_or("", String::as_str);
            (name.clone(), net_interface(interface, published))
        })
        .collect()
}

/// A bind address whose port was left open is shown with the port that was bound, as the published one has it.
fn bound(address: &Address, published: &str) -> String {
    match address.port {
        0 => format!("{}:{}", address.host, host_and_port(published).1),
        _ => address.to_string(),
    }
}
