//! How a connection to a running database is protected, and whom it is for: TLS and passwords.

use std::env;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::{Address, Host, TlsMode};
use crate::error::{Error, Result};
use crate::net::tls::{Anybody, JudgesServers, Presented, client_config, provider};
use crate::shown::Show;

/// Bytes of a file of certificates or passwords.
const LONGEST_FILE: u64 = 4 << 20;

/// Lets servers pass whose certificate leads to one that is trusted.
#[derive(Debug)]
struct Verified {
    verifier: Arc<dyn ServerCertVerifier>,
    /// Whether it must name the host.
    with_name: bool,
}

impl JudgesServers for Verified {
    fn judge(&self, server: &Presented<'_>) -> std::result::Result<(), rustls::Error> {
        let verdict = self.verifier.verify_server_cert(
            server.certificate,
            server.intermediates,
            server.name,
            server.ocsp,
            server.now,
        );
        match verdict {
            Ok(_) => Ok(()),
            // Where it leads is judged before whom it names.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.with_name => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// TLS as an address wants it.
pub(super) fn tls(address: &Address) -> Result<Arc<ClientConfig>> {
    let failed = |e: &dyn std::fmt::Display| Error::Unreadable(format!("TLS can't be prepared: {e}"));
    let is_verified = matches!(address.tls, TlsMode::VerifyCa | TlsMode::VerifyFull)
        || (address.tls == TlsMode::Require && address.root_certificates.is_some());
    if !is_verified {
        return client_config(Anybody).map_err(|e| failed(&e));
    }
    let provider = Arc::new(provider());
    let verifier: Arc<dyn ServerCertVerifier> = match &address.root_certificates {
        Some(path) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
            .build()
            .map_err(|e| failed(&e))?,
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider).map_err(|e| failed(&e))?),
    };
    let with_name = address.tls == TlsMode::VerifyFull;
    client_config(Verified { verifier, with_name }).map_err(|e| failed(&e))
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let bytes = bounded(path).map_err(Error::io("read the certificates of", path))?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let added = certificate
            .ok()
            .is_some_and(|certificate| store.add(certificate).is_ok());
        if !added {
            let message = format!("{} holds what is no certificate; expected PEM", path.shown());
            return Err(Error::Unreadable(message));
        }
    }
    match store.is_empty() {
        true => Err(Error::Unreadable(format!(
            "{} holds no certificate; expected PEM",
            path.shown()
        ))),
        false => Ok(store),
    }
}

fn bounded(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(LONGEST_FILE);
    // Never grown, which would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A password that need not be asked for: of PGPASSWORD, or of PGPASSFILE or `~/.pgpass`. Where the file may be read by
/// others it does not count, as with PostgreSQL's own clients; then the second answer says so.
pub(super) fn password(address: &Address, user: &str, database: &str) -> (Option<Zeroizing<String>>, Option<String>) {
    if let Ok(password) = env::var("PGPASSWORD") {
        return (
            Some(Zeroizing::new(password)).filter(|password| !password.is_empty()),
            None,
        );
    }
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
    let Some(path) = env::var_os("PGPASSFILE").map(PathBuf::from).or_else(home) else {
        return (None, None);
    };
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => return (None, None),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let hint = format!(
                "{} may be read by others and was not used; its mode must be 0600",
                path.shown()
            );
            return (None, Some(hint));
        }
        Ok(_) => {}
        Err(_) => return (None, None),
    }
    let text = bounded(&path).unwrap_or_default();
    let port = address.port.to_string();
    let hosts = match &address.host {
        Host::Name(name) => vec![name.as_str()],
        Host::Socket(path) => path.to_str().into_iter().chain(["localhost"]).collect(),
    };
    let found = text.split(|byte| *byte == b'\n').find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        entry(line.trim_end_matches('\r'), &hosts, &[&port, database, user])
    });
    (found, None)
}

/// The password of a line `host:port:database:user:password`, where it is for these.
fn entry(line: &str, hosts: &[&str], others: &[&str; 3]) -> Option<Zeroizing<String>> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields: [Zeroizing<String>; 5] = Default::default();
    // The fields never grow, which would leave a copy behind.
    fields.iter_mut().for_each(|field| field.reserve_exact(line.len()));
    let (mut at, mut characters) = (0, line.chars());
    while let Some(character) = characters.next() {
        let field = fields.get_mut(at)?;
        match character {
            '\\' => field.extend(characters.next()),
            ':' if at < 4 => at += 1,
            other => field.push(other),
        }
    }
    let [host, port, database, user, password] = fields;
    let fits = |field: &str, wanted: &str| field == "*" || field == wanted;
    let is_host = hosts.iter().any(|wanted| fits(&host, wanted));
    let are_others = [port, database, user]
        .iter()
        .zip(others)
        .all(|(field, wanted)| fits(field, wanted));
    (at == 4 && is_host && are_others && !password.is_empty()).then_some(password)
}

/// Asks for the password on the terminal; nothing where there is none.
pub(super) fn asked(address: &Address, user: &str) -> Option<Zeroizing<String>> {
    let prompt = format!("Password of {} at {address}: ", crate::shown::line(user));
    rpassword::prompt_password(prompt).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwords_is_for_whom_it_says() {
        let of = |line: &str| entry(line, &["h", "localhost"], &["1", "d", "u"]).map(|password| password.to_string());
        assert_eq!(of("h:1:d:u:pa:ss\\\\w\\:d"), Some("pa:ss\\w:d".to_owned()));
        assert_eq!(of("*:*:*:*:x"), Some("x".to_owned()));
        for other in [
            "#h:1:d:u:x",
            "i:1:d:u:x",
            "h:2:d:u:x",
            "h:1:e:u:x",
            "h:1:d:v:x",
            "h:1:d:u:",
            "h:1:d:u",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
