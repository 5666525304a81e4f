//! By which names the page may be asked for: so that no other site's name, led to this machine, makes a browser read it to that site
//! (DNS rebinding). An address can't be led elsewhere; a name has to be one that the configuration gives this node.

use std::net::IpAddr;

use crate::node::config::{Config, SubjectAltName};

/// Names of this node, in small letters.
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Those that the configuration has: where the node listens, what it publishes, what its certificate is for.
    pub fn of(config: &Config) -> Hosts {
        let interfaces = config.network.rpc_interfaces.values();
        let places = interfaces.flat_map(|it| [&it.bind_address.host, &it.published_address.host]);
        let certified = config.node_certificate.subject_alt_names.iter();
        let certified = certified.filter_map(|name| match name {
            SubjectAltName::DnsName(name) => Some(name),
            SubjectAltName::IpAddress(_) => None,
        });
        let names = places.chain(certified).map(|name| name.to_ascii_lowercase());
        Hosts(names.chain(["localhost".to_owned()]).collect())
    }

    /// Whether a `Host` header, or what stands for it in HTTP/2, names this node or any address.
    pub fn allow(&self, host: &str) -> bool {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').unwrap_or_default(),
            None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
        };
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_number) {
            return false;
        }
        if name.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        self.0.iter().any(|known| match known.strip_prefix("*.") {
            Some(domain) => name.split_once('.').is_some_and(|(_, rest)| rest == domain),
            None => !known.is_empty() && known == name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names_are_allowed_and_no_other_site_s() {
        let hosts = Hosts(vec![
            "node0.example".into(),
            "*.wild.example".into(),
            "localhost".into(),
            String::new(),
        ]);
        for allowed in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost:1",
            "Node0.Example:443",
            "node0.example.",
            "a.wild.example:1",
        ] {
            assert!(hosts.allow(allowed), "{allowed}");
        }
        for refused in [
            "",
            ":80",
            "evil.example",
            "127.0.0.1.evil.example:8080",
            "localhost.evil.example",
            "a.b.wild.example",
            "wild.example",
            "[evil.example]:1",
            "node0.example@evil.example",
            "[::1].evil.example",
            "[::1]evil",
            "[::1]1",
            "127.0.0.1:80.evil.example",
            "127.0.0.1:",
            "[::1",
        ] {
            assert!(!hosts.allow(refused), "{refused}");
        }
    }
}
