//! Whether the way to the cluster leads through a proxy.
//!
//! The client takes a proxy from the kubeconfig or from `HTTPS_PROXY`, and this program is built without its support for
//! them. Where only the environment names one, and excludes the cluster's host in `NO_PROXY`, there is none.

/// Whether a list such as `NO_PROXY` holds has this host in it: `*`, a host, a domain with or without a dot before it, or an
/// IPv4 network such as `10.0.0.0/8`.
pub fn is_excluded(list: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    list.split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .any(|entry| {
            let domain = entry.trim_start_matches('*').trim_start_matches('.');
            entry == "*"
                || (!domain.is_empty()
                    && (host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))))
                || is_within(&entry, &host)
        })
}

fn is_within(network: &str, host: &str) -> bool {
    let parsed = || -> Option<bool> {
        let (base, bits) = network.split_once('/')?;
        let base = u32::from(base.parse::<std::net::Ipv4Addr>().ok()?);
        let host = u32::from(host.parse::<std::net::Ipv4Addr>().ok()?);
        let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 32)?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Some(base & mask == host & mask)
    };
    parsed().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_domains_and_networks_are_excluded_and_nothing_else() {
        let list = "localhost, .internal,*.example.org,10.0.0.0/8,kube.sv.example.net";
        for host in [
            "localhost",
            "a.internal",
            "K.example.org",
            "10.255.0.1",
            "kube.sv.example.net",
        ] {
            assert!(is_excluded(list, host), "{host}");
        }
        for host in ["nolocalhost", "ainternal", "11.0.0.1", "sv.example.net", "", "::1"] {
            assert!(!is_excluded(list, host), "{host}");
        }
        assert!(is_excluded("*", "anything") && is_excluded("::1", "[::1]") && is_excluded("0.0.0.0/0", "9.9.9.9"));
        assert!(!is_excluded("", "x") && !is_excluded("10.0.0.0/33,.", "10.0.0.1"));
    }
}
