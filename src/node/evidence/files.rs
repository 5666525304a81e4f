//! What the machine holds ready for its node, each as base64 in a file. Attestation specification, section 7.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::answers::Certificates;
use crate::node::config::expanded;
use crate::shown::{Show, Shown};

/// Real ones have tens of kilobytes.
const MAX_BYTES: u64 = 4 << 20;
/// The variable that names the directory of Azure's container instances, and how the directory is called without it.
const CONTEXT: &str = "UVM_SECURITY_CONTEXT_DIR";
const CONTEXT_PREFIX: &str = "security-context-";

/// Looks a variable of the environment up.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().or_else(|| match name {
        CONTEXT => context_directory(Path::new("/")),
        _ => None,
    })
}

/// The one directory of containers' security contexts; none if there are several: which of them is this node's?
fn context_directory(root: &Path) -> Option<String> {
    let mut found = std::fs::read_dir(root).ok()?.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with(CONTEXT_PREFIX)) && entry.path().is_dir()
    });
    let first = found.next()?;
    match found.next() {
        None => first.path().to_str().map(str::to_owned),
        Some(_) => None,
    }
}

/// The bytes that a configured file holds in base64. A file that is not configured or can't be read is none, and the log
/// says so, as CCF has it; so is one that the machine has not told where it is.
///
/// # Errors
/// In words: it can be read and holds something else.
pub(super) fn decoded(
    field: &str,
    path: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Vec<u8>>, String> {
    let Some((path, text)) = read(field, path, variable) else {
        return Ok(None);
    };
    decode(&text)
        .map(Some)
        .ok_or_else(|| format!("{} (attestation.{field}) is not base64", path.shown()))
}

/// The chip's certificates: JSON in base64, as the machine has them. PEM or JSON as it is does as well: what they are worth
/// is judged by what is in them.
///
/// # Errors
/// As above.
pub(super) fn certificates(
    path: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Certificates>, String> {
    let field = "snp_endorsements_file";
    let Some((path, text)) = read(field, path, variable) else {
        return Ok(None);
    };
    let decoded = decode(&text).unwrap_or(text);
    let found = match decoded.trim_ascii_start().first() {
        Some(b'{') => Certificates::from_json(&decoded),
        _ => Certificates::from_pem(&decoded),
    };
    found
        .map(Some)
        .map_err(|why| format!("{} (attestation.{field}) can't be used: {why}", path.shown()))
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    STANDARD.decode(digits).ok()
}

fn read(field: &str, path: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Option<(PathBuf, Vec<u8>)> {
    let path = match expanded(path?, variable) {
        Ok(path) => path,
        Err(name) => {
            tracing::warn!("attestation.{field} is not read: the environment has no {name}");
            return None;
        }
    };
    let mut text = Vec::new();
    // A pipe may never end, and nobody would know what the node waits for.
    let read = std::fs::metadata(&path).and_then(|found| match found.is_file() {
        true => File::open(&path)?.take(MAX_BYTES + 1).read_to_end(&mut text),
        false => Err(std::io::Error::other("it is no file")),
    });
    match read {
        Ok(length) if length as u64 <= MAX_BYTES => Some((path, text)),
        Ok(_) => {
            tracing::warn!(
                "attestation.{field} is not used: {} has more than {MAX_BYTES} bytes",
                path.shown()
            );
            None
        }
        Err(why) => {
            tracing::warn!(
                "attestation.{field} is not used: {} can't be read: {}",
                path.shown(),
                Shown(why)
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unset(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn files_are_found_by_the_environment_and_decoded() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("policy"), "cGFja2FnZSA=\n").unwrap();
        std::fs::write(scratch.path().join("other"), "{}").unwrap();
        let place = scratch.path().to_str().unwrap().to_owned();
        let set = |name: &str| (name == CONTEXT).then(|| place.clone());
        let read = |path: &str| decoded("f", Some(Path::new(path)), set);
        assert_eq!(read("$UVM_SECURITY_CONTEXT_DIR/policy"), Ok(Some(b"package ".to_vec())));
        assert!(
            read("$UVM_SECURITY_CONTEXT_DIR/other")
                .unwrap_err()
                .contains("not base64")
        );
        assert_eq!(
            read("$UVM_SECURITY_CONTEXT_DIR/missing"),
            Ok(None),
            "as if not configured"
        );
        assert_eq!(decoded("f", None, set), Ok(None));
        let path = Path::new("$UVM_SECURITY_CONTEXT_DIR/policy");
        assert_eq!(decoded("f", Some(path), unset), Ok(None));
        assert_eq!(
            decoded("f", Some(scratch.path()), unset),
            Ok(None),
            "a directory is no file"
        );
    }

    #[test]
    fn a_security_context_is_found_only_where_there_is_one() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(context_directory(root.path()), None);
        std::fs::write(root.path().join("security-context-file"), "").unwrap();
        assert_eq!(context_directory(root.path()), None);
        let one = root.path().join("security-context-1");
        std::fs::create_dir(&one).unwrap();
        assert_eq!(context_directory(root.path()).as_deref(), one.to_str());
        std::fs::create_dir(root.path().join("security-context-2")).unwrap();
        assert_eq!(context_directory(root.path()), None);
    }

    #[test]
    fn certificates_are_taken_in_every_form_that_machines_have() {
        let scratch = tempfile::tempdir().unwrap();
        let pem: String = [b"v", b"a", b"r"]
            .iter()
            .map(|der| crate::crypto::x509::any_certificate_pem(*der))
            .collect();
        let (vcek, chain) = pem.split_at(pem.find("-----END").unwrap() + "-----END CERTIFICATE-----\n".len());
        let json = serde_json::json!({"cacheControl": 1, "vcekCert": vcek, "certificateChain": chain, "tcbm": "00"});
        let json = json.to_string();
        let path = scratch.path().join("certificates");
        for text in [&pem, &STANDARD.encode(&pem), &json, &STANDARD.encode(&json)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(certificates(Some(&path), unset).unwrap().unwrap().pem, pem);
        }
        for text in ["", "{", "AAAA"] {
            std::fs::write(&path, text).unwrap();
            assert!(certificates(Some(&path), unset).is_err(), "{text}");
        }
    }
}
