//! `did:x509:0:<sha256|sha384|sha512>:<digest>::<policy>[::<policy>...]`. Attestation specification, section 6.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::shown::excerpt;

/// Policies of a DID that is read at all.
const MAX_POLICIES: usize = 16;
/// Bytes of a DID that is read at all.
const MAX_BYTES: usize = 4096;

/// A DID, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Did {
    hash: Hash,
    /// Digest of a certificate, base64url without padding.
    fingerprint: String,
    /// Purposes that the leaf must have, dotted.
    pub extended_key_usages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// Why a DID is not the one of some certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DidError {
    /// It is no did:x509 of version 0.
    Malformed(&'static str),
    /// It has a policy that is not supported: all must hold, so one that can't be looked at does not.
    UnsupportedPolicy(String),
    /// Fewer than two certificates.
    ChainTooShort,
    /// It names no certificate above the leaf.
    Fingerprint,
    /// The leaf is not for this purpose.
    ExtendedKeyUsage(String),
    /// The leaf's key is not for signing.
    KeyUsage,
}

impl DidError {
    /// What would have been right.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            DidError::Malformed(_) => "did:x509:0:<sha256|sha384|sha512>:<digest>::eku:<oid>",
            DidError::UnsupportedPolicy(_) => "policies of the kind eku",
            DidError::ChainTooShort => "at least two certificates",
            DidError::Fingerprint => "the digest of a certificate above the leaf",
            DidError::ExtendedKeyUsage(_) => "a leaf with this purpose",
            DidError::KeyUsage => "a leaf whose key may make digital signatures",
        }
    }
}

impl fmt::Display for DidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DidError::Malformed(problem) => write!(f, "invalid DID string: {problem}"),
            DidError::UnsupportedPolicy(name) => write!(f, "unsupported DID policy: {}", excerpt(name)),
            DidError::ChainTooShort => f.write_str("certificate chain too short"),
            DidError::Fingerprint => f.write_str("invalid certificate fingerprint"),
            DidError::ExtendedKeyUsage(oid) => write!(f, "EKU not found: {}", excerpt(oid)),
            DidError::KeyUsage => f.write_str("leaf certificate key usage does not allow signing"),
        }
    }
}

impl Did {
    /// Takes a DID apart.
    ///
    /// # Errors
    /// [`DidError::Malformed`] or [`DidError::UnsupportedPolicy`].
    pub fn parse(text: &str) -> Result<Did, DidError> {
        let malformed = DidError::Malformed;
        if text.len() > MAX_BYTES {
            return Err(malformed("it is longer than 4096 bytes"));
        }
        let mut parts = text.split("::");
        let mut prefix = parts.next().unwrap_or("").split(':');
        let mut field = || prefix.next().unwrap_or("");
        let head = [field(), field(), field()];
        if head != ["did", "x509", "0"] {
            return Err(malformed("it does not begin with did:x509:0"));
        }
        let (hash, length) = match field() {
            "sha256" => (Hash::Sha256, 43),
            "sha384" => (Hash::Sha384, 64),
            "sha512" => (Hash::Sha512, 86),
            _ => return Err(malformed("its hash is not sha256, sha384 or sha512")),
        };
        let fingerprint = field().to_owned();
        if fingerprint.len() != length || prefix.next().is_some() {
            return Err(malformed("its digest is not as long as its hash makes it"));
        }
        let mut extended_key_usages = Vec::new();
        for (number, policy) in parts.enumerate() {
            if number == MAX_POLICIES {
                return Err(malformed("it has more than 16 policies"));
            }
            let (name, value) = policy
                .split_once(':')
                .ok_or(malformed("it has a policy without a value"))?;
            match name {
                "eku" if is_dotted(value) => extended_key_usages.push(value.to_owned()),
                "eku" => return Err(malformed("its eku is no object identifier")),
                other => return Err(DidError::UnsupportedPolicy(other.to_owned())),
            }
        }
        if extended_key_usages.is_empty() {
            return Err(malformed("it has no policy"));
        }
        Ok(Did {
            hash,
            fingerprint,
            extended_key_usages,
        })
    }

    /// Whether the DID has the digest of this DER certificate.
    pub fn names(&self, der: &[u8]) -> bool {
        let digest = match self.hash {
            Hash::Sha256 => URL_SAFE_NO_PAD.encode(Sha256::digest(der)),
            Hash::Sha384 => URL_SAFE_NO_PAD.encode(Sha384::digest(der)),
            Hash::Sha512 => URL_SAFE_NO_PAD.encode(Sha512::digest(der)),
        };
        digest == self.fingerprint
    }
}

/// Numbers with dots between them.
fn is_dotted(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split('.').count() > 1 && text.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s";

    #[test]
    fn a_did_names_a_certificate_by_its_digest() {
        for (name, digest) in [
            ("sha256", URL_SAFE_NO_PAD.encode(Sha256::digest(b"der"))),
            ("sha384", URL_SAFE_NO_PAD.encode(Sha384::digest(b"der"))),
            ("sha512", URL_SAFE_NO_PAD.encode(Sha512::digest(b"der"))),
        ] {
            let did = Did::parse(&format!("did:x509:0:{name}:{digest}::eku:1.2.3::eku:1.2.4")).unwrap();
            assert!(did.names(b"der") && !did.names(b"other"));
            assert_eq!(did.extended_key_usages, ["1.2.3", "1.2.4"]);
        }
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for text in [
            String::new(),
            "did:x509:0".into(),
            format!("did:x509:1:sha256:{DIGEST}::eku:1.2"),
            format!("did:web:0:sha256:{DIGEST}::eku:1.2"),
            format!("did:x509:0:sha1:{DIGEST}::eku:1.2"),
            format!("did:x509:0:sha384:{DIGEST}::eku:1.2"),
            format!("did:x509:0:sha256:{DIGEST}="),
            format!("did:x509:0:sha256:{DIGEST}"),
            format!("did:x509:0:sha256:{DIGEST}:more::eku:1.2"),
            format!("did:x509:0:sha256:{DIGEST}::"),
            format!("did:x509:0:sha256:{DIGEST}::eku"),
            format!("did:x509:0:sha256:{DIGEST}::eku:"),
            format!("did:x509:0:sha256:{DIGEST}::eku:1"),
            format!("did:x509:0:sha256:{DIGEST}::eku:1..2"),
            format!("did:x509:0:sha256:{DIGEST}::eku:1.2:3"),
            format!("did:x509:0:sha256:{DIGEST}{}", "::eku:1.2".repeat(17)),
            format!("did:x509:0:sha256:{DIGEST}::eku:1.{}", "2".repeat(5000)),
        ] {
            assert!(matches!(Did::parse(&text), Err(DidError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn a_policy_that_can_not_be_looked_at_is_refused_by_name() {
        for policy in ["subject:CN:x", "san:dns:x", "fulcio-issuer:x", "new:x"] {
            let found = Did::parse(&format!("did:x509:0:sha256:{DIGEST}::eku:1.2::{policy}")).unwrap_err();
            let name = policy.split(':').next().unwrap();
            assert_eq!(found, DidError::UnsupportedPolicy(name.into()));
            assert!(found.to_string().contains(name));
        }
    }
}
