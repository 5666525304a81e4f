//! Subject alternative names: the addresses under which a node can be reached.

use std::net::IpAddr;
use std::str::FromStr;

use x509_cert::der::asn1::Ia5String;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::crypto::error::Error;

/// A longer name is in no DNS (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;

/// One entry of a subjectAltName extension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AlternativeName {
    /// `dNSName:`.
    Dns(String),
    /// `iPAddress:`.
    Ip(IpAddr),
}

impl AlternativeName {
    /// The name for the host part of a published address: an address where it is one, else a DNS name
    /// (recovery specification, section 8.1).
    ///
    /// # Errors
    /// [`Error::CannotIssue`] where the host is empty, too long or not ASCII.
    pub fn of_host(host: &str) -> Result<Self, Error> {
        // An IPv6 host stands in brackets where a port follows.
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        bare.parse().map_or_else(|_| dns(bare), |ip| Ok(Self::Ip(ip)))
    }

    fn to_general_name(&self) -> Option<GeneralName> {
        Some(match self {
            Self::Dns(name) => GeneralName::DnsName(Ia5String::new(name).ok()?),
            Self::Ip(ip) => GeneralName::from(*ip),
        })
    }

    fn from_general_name(name: &GeneralName) -> Option<Self> {
        match name {
            GeneralName::DnsName(name) => Some(Self::Dns(name.to_string())),
            GeneralName::IpAddress(octets) => match <[u8; 4]>::try_from(octets.as_bytes()) {
                Ok(v4) => Some(Self::Ip(v4.into())),
                Err(_) => <[u8; 16]>::try_from(octets.as_bytes())
                    .ok()
                    .map(|v6| Self::Ip(v6.into())),
            },
            _ => None,
        }
    }
}

/// As configurations have it: `iPAddress:10.0.0.1` or `dNSName:node.example` (any case).
impl FromStr for AlternativeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const PROBLEM: &str = "a subject alternative name is neither iPAddress:<address> nor dNSName:<name>";
        let cannot = Error::CannotIssue { problem: PROBLEM };
        let (kind, value) = text.split_once(':').ok_or(cannot.clone())?;
        match kind.to_ascii_lowercase().as_str() {
            "dnsname" => dns(value),
            "ipaddress" => value.parse().map(Self::Ip).map_err(|_| cannot),
            _ => Err(cannot),
        }
    }
}

fn dns(name: &str) -> Result<AlternativeName, Error> {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_empty() || name.len() > LONGEST_NAME || !printable {
        return Err(Error::CannotIssue {
            problem: "a subject alternative name is empty, too long or not plain ASCII",
        });
    }
    Ok(AlternativeName::Dns(name.to_owned()))
}

/// The value of the extension; `None` if it cannot be encoded.
pub(super) fn encode(names: &[AlternativeName]) -> Option<Vec<u8>> {
    let names: Option<Vec<_>> = names.iter().map(AlternativeName::to_general_name).collect();
    SubjectAltName(names?).to_der().ok()
}

/// The DNS names and addresses of an extension's value; other kinds of names are passed over.
pub(super) fn decode(value: &[u8]) -> Option<Vec<AlternativeName>> {
    let SubjectAltName(names) = SubjectAltName::from_der(value).ok()?;
    Some(names.iter().filter_map(AlternativeName::from_general_name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_configurations_have_them() {
        let dns = |name: &str| AlternativeName::Dns(name.to_owned());
        let ip = |address: &str| AlternativeName::Ip(address.parse().unwrap());
        assert_eq!("iPAddress:1.2.3.4".parse(), Ok(ip("1.2.3.4")));
        assert_eq!("iPAddress:::1".parse(), Ok(ip("::1")));
        assert_eq!("dNSName:a.example".parse(), Ok(dns("a.example")));
        assert_eq!(AlternativeName::of_host("127.0.0.1"), Ok(ip("127.0.0.1")));
        assert_eq!(AlternativeName::of_host("[::1]"), Ok(ip("::1")));
        assert_eq!(AlternativeName::of_host("node-0"), Ok(dns("node-0")));
        let long = format!("dNSName:{}", "a".repeat(254));
        for bad in [
            "",
            "iPAddress:host",
            "uri:x",
            "dNSName:",
            "dNSName:a b",
            "dNSName:\u{e4}",
            &long,
        ] {
            assert!(bad.parse::<AlternativeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_names() {
        let names: Vec<AlternativeName> = ["dNSName:a.example", "iPAddress:10.1.2.3", "iPAddress:fe80::1"]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect();
        assert_eq!(decode(&encode(&names).unwrap()), Some(names));
        assert_eq!(decode(&[0x30, 0x05, 0x82]), None);
    }
}
