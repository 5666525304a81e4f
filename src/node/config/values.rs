//! The forms of single values: sizes, times, addresses, names (recovery specification, section 1.1).
//!
//! Each reader takes a JSON value and answers the typed value, or says what it expected instead.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use regex::Regex;
use x509_cert::name::Name;

use super::json::Json;

/// What was expected.
pub(super) type Expected = Cow<'static, str>;

const SIZE: &str = "a size: a whole number followed by b, kb, mb, gb, tb or pb (powers of 1024), such as \"5MB\"";
const TIME: &str = "a time: a whole number followed by us, ms, s, min or h, such as \"1000ms\"";
const ADDRESS: &str = "an address: host:port with a port from 0 to 65535, such as \"127.0.0.1:8080\" or \"[::1]:8080\"";
const ALTERNATIVE_NAME: &str = "an alternative name: \"iPAddress:\" and an address, or \"dNSName:\" and a host name, such as \"dNSName:ccf.example\"";
const SUBJECT_NAME: &str = "a subject name as RFC 4514 writes them, such as \"CN=CCF Node\"";
const PATTERN: &str =
    "a regular expression (without look-around and back-references) that a path must match as a whole";

/// Where something listens or is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A host name or IP address; IPv6 without brackets.
    pub host: String,
    /// 0 stands for any free port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(ADDRESS)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or(ADDRESS)?;
                inner.parse::<std::net::Ipv6Addr>().map_err(|_| ADDRESS)?;
                inner
            }
            // "::1" alone would otherwise be the host ":" and the port 1.
            None if host.contains(':') => return Err(ADDRESS),
            None => host,
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#');
        if host.is_empty() || host.len() > 255 || host.contains(odd) || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ADDRESS);
        }
        Ok(Address {
            host: host.to_owned(),
            port: port.parse().map_err(|_| ADDRESS)?,
        })
    }
}

/// One alternative name of the node's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// `iPAddress:…`.
    IpAddress(IpAddr),
    /// `dNSName:…`.
    DnsName(String),
}

impl FromStr for SubjectAltName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("iPAddress", address)) => address.parse().map(Self::IpAddress).map_err(|_| ALTERNATIVE_NAME),
            Some(("dNSName", name)) if is_dns_name(name) => Ok(Self::DnsName(name.to_owned())),
            _ => Err(ALTERNATIVE_NAME),
        }
    }
}

/// Letters, digits, hyphens and underscores between dots, perhaps after `*.`; at most 253 characters.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.len() <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(label)
}

/// A pattern of paths, which must match as a whole.
#[derive(Clone, Debug)]
pub struct EndpointPattern {
    text: String,
    compiled: Regex,
}

impl EndpointPattern {
    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.compiled.is_match(path)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for EndpointPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

pub(super) fn text(json: &Json) -> Result<String, Expected> {
    match json {
        Json::Text(text) => Ok(text.clone()),
        _ => Err("a string".into()),
    }
}

pub(super) fn boolean(json: &Json) -> Result<bool, Expected> {
    match json {
        Json::Bool(value) => Ok(*value),
        _ => Err("true or false".into()),
    }
}

/// A file or directory: not empty.
pub(super) fn path(json: &Json) -> Result<PathBuf, Expected> {
    match json {
        Json::Text(text) if !text.is_empty() && !text.contains('\0') => Ok(PathBuf::from(text)),
        _ => Err("the path of a file or directory".into()),
    }
}

/// A file that is not written where its name is empty.
pub(super) fn path_or_none(json: &Json) -> Result<Option<PathBuf>, Expected> {
    match json {
        Json::Text(text) if text.is_empty() => Ok(None),
        other => path(other).map(Some),
    }
}

/// A whole number in a range.
pub(super) fn number(range: std::ops::RangeInclusive<u64>) -> impl Fn(&Json) -> Result<u64, Expected> {
    move |json| match json {
        Json::Unsigned(value) if range.contains(value) => Ok(*value),
        _ if *range.end() == u64::MAX => Err(format!("a whole number, at least {}", range.start()).into()),
        _ => Err(format!("a whole number from {} to {}", range.start(), range.end()).into()),
    }
}

/// A count that fits 32 bits, from `least` on.
pub(super) fn count(least: u32) -> impl Fn(&Json) -> Result<u32, Expected> {
    move |json| {
        match json {
            Json::Unsigned(value) => u32::try_from(*value).ok().filter(|value| *value >= least),
            _ => None,
        }
        .ok_or_else(|| format!("a whole number from {least} to {}", u32::MAX).into())
    }
}

/// Bytes.
pub(super) fn size(json: &Json) -> Result<u64, Expected> {
    let parsed = match json {
        Json::Unsigned(bytes) => Some(*bytes),
        Json::Text(text) => {
            let (number, unit) = number_and_unit(text);
            let shift = match unit.to_ascii_lowercase().as_str() {
                "" | "b" => Some(0),
                "kb" => Some(10),
                "mb" => Some(20),
                "gb" => Some(30),
                "tb" => Some(40),
                "pb" => Some(50),
                _ => None,
            };
            shift
                .zip(number)
                .and_then(|(shift, number)| number.checked_mul(1 << shift))
        }
        _ => None,
    };
    parsed.ok_or(SIZE.into())
}

/// Reads a duration as configurations have it: `5s`, `100ms`, a bare number of microseconds.
pub fn parse_time(text: &str) -> Option<Duration> {
    time(&Json::Text(text.to_owned())).ok()
}

/// A duration; a bare number is microseconds.
pub(super) fn time(json: &Json) -> Result<Duration, Expected> {
    let parsed = match json {
        Json::Unsigned(microseconds) => Some(Duration::from_micros(*microseconds)),
        Json::Text(text) => {
            let (number, unit) = number_and_unit(text);
            let microseconds: Option<u64> = match unit {
                "" | "us" => Some(1),
                "ms" => Some(1_000),
                "s" => Some(1_000_000),
                "min" => Some(60_000_000),
                "h" => Some(3_600_000_000),
                _ => None,
            };
            microseconds
                .zip(number)
                .and_then(|(unit, number)| number.checked_mul(unit).map(Duration::from_micros))
        }
        _ => None,
    };
    parsed.ok_or(TIME.into())
}

/// The digits at the start, and what follows them.
fn number_and_unit(text: &str) -> (Option<u64>, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    (digits.parse().ok(), unit)
}

pub(super) fn address(json: &Json) -> Result<Address, Expected> {
    parsed(json, ADDRESS)
}

/// An address, or the empty text for none.
pub(super) fn address_or_none(json: &Json) -> Result<Option<Address>, Expected> {
    match json {
        Json::Text(text) if text.is_empty() => Ok(None),
        other => address(other).map(Some),
    }
}

/// A text that is not empty.
pub(super) fn text_with_something(json: &Json) -> Result<String, Expected> {
    text(json)
        .ok()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| "a string that is not empty".into())
}

pub(super) fn subject_alt_name(json: &Json) -> Result<SubjectAltName, Expected> {
    parsed(json, ALTERNATIVE_NAME)
}

pub(super) fn subject_name(json: &Json) -> Result<String, Expected> {
    match json {
        Json::Text(text) if !text.trim().is_empty() && Name::from_str(text).is_ok() => Ok(text.clone()),
        _ => Err(SUBJECT_NAME.into()),
    }
}

pub(super) fn endpoint_pattern(json: &Json) -> Result<EndpointPattern, Expected> {
    let Json::Text(text) = json else {
        return Err(PATTERN.into());
    };
    // Alone too: "a)(b" is wrong, though it is right between brackets.
    Regex::new(text).map_err(|_| PATTERN)?;
    let compiled = Regex::new(&format!("^(?:{text})$")).map_err(|_| PATTERN)?;
    Ok(EndpointPattern {
        text: text.clone(),
        compiled,
    })
}

/// One of the names of an enumeration.
pub(super) fn choice<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&Json) -> Result<T, Expected> {
    move |json| {
        let found = match json {
            Json::Text(text) => choices.iter().find(|(name, _)| name == text),
            _ => None,
        };
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            format!("one of {}", names.join(", ")).into()
        })
    }
}

fn parsed<T: FromStr>(json: &Json, expected: &'static str) -> Result<T, Expected> {
    match json {
        Json::Text(text) => text.parse().map_err(|_| expected.into()),
        _ => Err(expected.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    #[test]
    fn sizes_are_powers_of_1024_in_any_case() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("5b", 5),
            ("5KB", 5 << 10),
            ("5mB", 5 << 20),
            ("1tb", 1 << 40),
            ("16383pb", 16383 << 50),
        ] {
            assert_eq!(size(&json(text)), Ok(bytes), "{text}");
        }
        assert_eq!(size(&Json::Unsigned(9)), Ok(9));
        for text in [
            "",
            "MB",
            "-1",
            "5 MB",
            "1.5MB",
            "5MiB",
            "16384pb",
            "99999999999999999999",
        ] {
            assert!(size(&json(text)).is_err(), "{text}");
        }
        assert!(size(&Json::Negative(-1)).is_err());
    }

    #[test]
    fn times_have_units_and_bare_numbers_are_microseconds() {
        for (text, microseconds) in [
            ("7", 7),
            ("7us", 7),
            ("7ms", 7_000),
            ("7s", 7_000_000),
            ("7min", 420_000_000),
            ("1h", 3_600_000_000),
        ] {
            assert_eq!(time(&json(text)), Ok(Duration::from_micros(microseconds)), "{text}");
        }
        for text in ["", "s", "1d", "1 s", "1.5s", "-1s", "1S", "99999999999999h"] {
            assert!(time(&json(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:0", "ccf.example:65535", "[::1]:8080"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ":80",
            "host",
            "host:",
            "host:65536",
            "host:-1",
            "host:+1",
            "::1",
            "::1:80",
            "[::1:80",
            "[x]:1",
            "https://host:80",
            "a b:80",
            "host:8 ",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn alternative_names_are_addresses_or_host_names() {
        for text in [
            "iPAddress:10.0.0.1",
            "iPAddress:::1",
            "dNSName:a.example",
            "dNSName:*.example",
        ] {
            assert!(text.parse::<SubjectAltName>().is_ok(), "{text}");
        }
        for text in [
            "",
            "10.0.0.1",
            "iPAddress:a.example",
            "dNSName:",
            "dNSName:a..b",
            "DNS:a",
            "dNSName:a b",
        ] {
            assert!(text.parse::<SubjectAltName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_must_match_the_whole_path() {
        let pattern = endpoint_pattern(&json("/node/.*|/gov")).unwrap();
        assert!(pattern.matches("/node/state") && pattern.matches("/gov"));
        assert!(!pattern.matches("/gov/service/info") && !pattern.matches("/x/node/state"));
        assert!(endpoint_pattern(&json("/node/(")).is_err());
    }

    #[test]
    fn a_subject_name_is_of_rfc_4514() {
        assert!(subject_name(&json("CN=CCF Node,O=Example")).is_ok());
        for text in ["", " ", "CCF Node", "CN"] {
            assert!(subject_name(&json(text)).is_err(), "{text}");
        }
    }
}
