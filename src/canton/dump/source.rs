//! Where a database is read from: a file, a directory, or a server's address.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::shown::{Show, line};

/// Where a database is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A dump in one file.
    File(PathBuf),
    /// A dump of `pg_dump -Fd`.
    Directory(PathBuf),
    /// A running database.
    Running(Address),
}

/// The address of a running database: `postgres://USER@HOST:PORT/DATABASE?sslmode=…`. It holds no password, so that it can be
/// shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The user, where the address names one.
    pub user: Option<String>,
    /// The database, where the address names one; the user's name otherwise.
    pub database: Option<String>,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// The file of certificates that the server's must lead to, instead of those that the machine trusts.
    pub root_certificates: Option<PathBuf>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By name or IP address.
    Name(String),
    /// The directory of its Unix sockets.
    Socket(PathBuf),
}

/// How a connection is protected, by libpq's names (`sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// `disable`: not at all.
    Disable,
    /// `prefer`, the default: encrypted where the server can; nobody's certificate is checked.
    Prefer,
    /// `require`: encrypted; the certificate is checked only where `sslrootcert` is given, as `verify-ca`.
    Require,
    /// `verify-ca`: encrypted, and the certificate leads to one that is trusted.
    VerifyCa,
    /// `verify-full`: also it names the host.
    VerifyFull,
}

/// PostgreSQL's own port.
const PORT: u16 = 5432;
/// Where Debian's and most packages' servers have their sockets.
const SOCKETS: &str = "/var/run/postgresql";
/// Beginnings of an address.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

impl Source {
    /// What an argument names: an address, where it begins with `postgres://` or `postgresql://`, or else a path.
    ///
    /// # Errors
    /// A wrong address. The error does not repeat it: there may be a password in it.
    pub fn parse(text: &OsStr) -> Result<Source> {
        let scheme = |text: &str| {
            SCHEMES
                .into_iter()
                .find_map(|scheme| text.strip_prefix(scheme).map(str::to_owned))
        };
        if let Some(rest) = text.to_str().and_then(scheme) {
            return Address::parse(&rest).map(Source::Running);
        }
        let path = PathBuf::from(text);
        Ok(match path.is_dir() {
            true => Source::Directory(path),
            false => Source::File(path),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) | Source::Directory(path) => write!(f, "{}", path.shown()),
            Source::Running(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for Address {
    /// As it was given, in one form; it can be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let database = self.database.as_deref().unwrap_or_default();
        let shown = match &self.host {
            Host::Name(name) if name.contains(':') => format!("postgres://{user}[{name}]:{}/{database}", self.port),
            Host::Name(name) => format!("postgres://{user}{name}:{}/{database}", self.port),
            Host::Socket(path) => format!("postgres://{user}/{database}?host={}&port={}", path.shown(), self.port),
        };
        f.write_str(&line(&shown))
    }
}

fn wrong(why: impl fmt::Display) -> Error {
    Error::Usage(format!(
        "the address of a database is wrong: {why}; expected postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full, or \
         postgres://USER@/DATABASE?host=/var/run/postgresql for a server on this machine"
    ))
}

fn password() -> Error {
    Error::Usage(
        "the address of a database holds a password, which everybody on this machine can see there: leave it out, and give it \
         in PGPASSWORD, in ~/.pgpass, or when asked for"
            .to_owned(),
    )
}

/// Text with %XX as the bytes they mean.
fn decoded(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or_else(|| wrong("a % is not followed by two hexadecimal digits"))?
            }
            byte => byte,
        };
        if byte == 0 {
            return Err(wrong("there is a zero byte in it"));
        }
        out.push(byte);
    }
    String::from_utf8(out).map_err(|_| wrong("a part of it is no UTF-8"))
}

fn port(text: &str) -> Result<u16> {
    let number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok());
    number
        .flatten()
        .filter(|port| *port > 0)
        .ok_or_else(|| wrong("the port is no number from 1 to 65535"))
}

fn host(text: &str) -> Result<Option<Host>> {
    Ok(match text {
        "" => None,
        text if text.contains(',') => return Err(wrong("it names several hosts; name the one to read from")),
        text if text.starts_with('/') => Some(Host::Socket(PathBuf::from(text))),
        text => Some(Host::Name(text.to_owned())),
    })
}

impl Address {
    /// Parses what stands after `postgres://`.
    fn parse(text: &str) -> Result<Address> {
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let (authority, database) = text.split_once('/').unwrap_or((text, ""));
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            return Err(password());
        }
        let (name, number) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, rest)) => (name, rest.strip_prefix(':').unwrap_or(rest)),
            None => place.rsplit_once(':').unwrap_or((place, "")),
        };
        let filled = |text: &str| decoded(text).map(|text| Some(text).filter(|text| !text.is_empty()));
        let mut address = Address {
            host: host(&decoded(name)?)?.unwrap_or_else(|| Host::Socket(PathBuf::from(SOCKETS))),
            port: if number.is_empty() { PORT } else { port(number)? },
            user: filled(user)?,
            database: filled(database)?,
            tls: TlsMode::Prefer,
            root_certificates: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match decoded(key)?.as_str() {
                "password" | "sslpassword" => return Err(password()),
                "host" => address.host = host(&value)?.ok_or_else(|| wrong("its host is empty"))?,
                "port" => address.port = port(&value)?,
                "user" => address.user = Some(value),
                "dbname" => address.database = Some(value),
                "sslmode" => address.tls = TlsMode::parse(&value)?,
                "sslrootcert" if value != "system" => address.root_certificates = Some(PathBuf::from(value)),
                "sslrootcert" => address.tls = TlsMode::VerifyFull,
                // What does not change which database is read, and which another tool's address may hold.
                "application_name" | "connect_timeout" | "channel_binding" => {}
                other => return Err(wrong(format!("it holds {other:?}, which is not supported"))),
            }
        }
        Ok(address)
    }
}

impl TlsMode {
    fn parse(text: &str) -> Result<TlsMode> {
        Ok(match text {
            "disable" => TlsMode::Disable,
            "prefer" | "allow" => TlsMode::Prefer,
            "require" => TlsMode::Require,
            "verify-ca" => TlsMode::VerifyCa,
            "verify-full" => TlsMode::VerifyFull,
            _ => {
                return Err(wrong(
                    "its sslmode is none of disable, prefer, require, verify-ca and verify-full",
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<Address> {
        match Source::parse(OsStr::new(text))? {
            Source::Running(address) => Ok(address),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn addresses_of_all_forms_are_understood() {
        let full =
            address("postgres://cn%20ton@db.example:6432/part?sslmode=verify-full&sslrootcert=/a%2Fb.pem").unwrap();
        assert_eq!(full.host, Host::Name("db.example".into()));
        assert_eq!((full.port, full.user.as_deref()), (6432, Some("cn ton")));
        assert_eq!(full.database.as_deref(), Some("part"));
        assert_eq!(
            (full.tls, full.root_certificates),
            (TlsMode::VerifyFull, Some("/a/b.pem".into()))
        );
        let six = address("postgresql://[::1]:7/x").unwrap();
        assert_eq!((six.host.clone(), six.port), (Host::Name("::1".into()), 7));
        assert_eq!(six.to_string(), "postgres://[::1]:7/x");
        let socket = address("postgres:///x?host=/run/pg&user=u").unwrap();
        assert_eq!(
            (socket.host.clone(), socket.port),
            (Host::Socket("/run/pg".into()), 5432)
        );
        assert_eq!(socket.to_string(), "postgres://u@/x?host=/run/pg&port=5432");
        assert_eq!(address("postgres://").unwrap().host, Host::Socket(SOCKETS.into()));
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in [
            "postgres://u:sekret@h/d",
            "postgres://u:sekret@/d",
            "postgres://u@h/d?password=sekret",
            "postgres://u@h/d?sslpassword=sekret&x=y",
            "postgres://u:sek/ret@h/d",
            "postgres://u:sek?ret@h/d",
            "postgres://h/d?sekret=1;;%zz",
        ] {
            let error = address(text).unwrap_err();
            assert!(matches!(error, Error::Usage(_)));
            assert!(!error.to_string().contains("sek"), "{error}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "postgres://h:0/d",
            "postgres://h:65536/d",
            "postgres://h:+1/d",
            "postgres://h/%",
            "postgres://h/%00",
            "postgres://h/%ff",
            "postgres://a,b/d",
            "postgres://h/d?sslmode=maybe",
            "postgres://h/d?target_session_attrs=any",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
