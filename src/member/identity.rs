//! A member's identity: certificate, key, and what is signed with it (recovery specification, sections 3.4 and 5.1).

use zeroize::Zeroizing;

use super::error::Error;
use crate::crypto::cose::{MessageType, RequestHeader, sign_request};
use crate::crypto::{Certificate, Curve, SigningKey, random, rsa, x509};

/// As CCF's own key generator makes them.
const ENCRYPTION_KEY_BITS: usize = 2048;

/// A member who can sign.
pub struct Member {
    id: String,
    certificate: Certificate,
    key: SigningKey,
}

impl Member {
    /// From the member's certificate and its private key, both PEM.
    ///
    /// # Errors
    /// [`Error::Usage`] where one of them is something else, or they don't belong together.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let certificate = Certificate::from_pem(certificate_pem)
            .map_err(|why| Error::Usage(format!("this is not a member's certificate: {why}")))?;
        let key = SigningKey::from_pkcs8_pem(key_pem)
            .map_err(|why| Error::Usage(format!("this is not a member's signing key: {why}")))?;
        if key.verifying_key() != *certificate.key() {
            return Err(Error::Usage(
                "the private key does not belong to the certificate: take both from the same member".to_owned(),
            ));
        }
        Ok(Member {
            id: hex::encode(x509::member_id(certificate.der())),
            certificate,
            key,
        })
    }

    /// Hex of SHA-256 of the certificate.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The certificate that the service knows the member by.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// A COSE_Sign1 with the payload in it (recovery specification, section 3.4), wiped on drop. Signing twice gives two
    /// messages, so that a service does not take the second for a replay of the first.
    ///
    /// # Errors
    /// [`Error::Usage`] where the system gives no random numbers.
    pub fn sign(
        &self,
        message_type: MessageType,
        created_at_s: u64,
        proposal_id: Option<&str>,
        payload: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut rng = random::system_rng().map_err(|why| Error::Usage(why.to_string()))?;
        let header = RequestHeader {
            member_id_hex: &self.id,
            created_at_s,
            message_type,
            proposal_id,
        };
        Ok(sign_request(&self.key, &mut rng, &header, payload))
    }
}

/// The keys of a new member, all PEM.
pub struct NewMember {
    /// Self-signed.
    pub certificate_pem: String,
    /// PKCS#8.
    pub key_pem: Zeroizing<String>,
    /// The private and the public key that recovery shares are encrypted for.
    pub encryption: Option<(Zeroizing<String>, String)>,
}

impl NewMember {
    /// New keys from the system's random numbers. `name` becomes the certificate's common name: letters, digits, `.`,
    /// `_` and `-` only.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name or a validity that can't be, or where the system gives no random numbers.
    pub fn generate(
        name: &str,
        curve: Curve,
        with_encryption_key: bool,
        not_before_unix_s: u64,
        days: u32,
    ) -> Result<Self, Error> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
            return Err(Error::Usage(format!(
                "{name:?} can't be a member's name here: use letters, digits, dots, hyphens and underscores, such as member0"
            )));
        }
        let cannot = |why: crate::crypto::Error| Error::Usage(why.to_string());
        let mut rng = random::system_rng().map_err(cannot)?;
        let serial = random::serial(&mut rng);
        let key = SigningKey::generate(curve, &mut rng);
        let subject = format!("CN={name}");
        let public = key.verifying_key();
        let certificate =
            x509::issue(&subject, &public, None, &key, false, not_before_unix_s, days, serial).map_err(cannot)?;
        let encryption = match with_encryption_key {
            true => Some(rsa::generate_key_pair(ENCRYPTION_KEY_BITS, &mut rng).map_err(cannot)?),
            false => None,
        };
        Ok(NewMember {
            certificate_pem: certificate.to_pem(),
            key_pem: key.to_pkcs8_pem(),
            encryption,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::cose::Sign1;

    fn member(curve: Curve) -> Member {
        let new = NewMember::generate("member0", curve, false, 1_700_000_000, 30).unwrap_or_else(|why| panic!("{why}"));
        Member::from_pem(&new.certificate_pem, &new.key_pem).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn what_a_member_signs_verifies_with_its_certificate_and_names_it() {
        for curve in [Curve::P256, Curve::P384] {
            let member = member(curve);
            let message = member
                .sign(MessageType::Ballot, 1_700_000_001, Some("ab"), b"payload")
                .unwrap_or_else(|why| panic!("{why}"));
            let parsed = Sign1::parse(&message).unwrap();
            parsed.verify(member.certificate().key(), Some(b"payload")).unwrap();
            assert_eq!(parsed.kid(), Some(member.id().as_bytes()));
            assert_eq!(parsed.algorithm(), Some(curve.cose_algorithm()));
        }
    }

    #[test]
    fn a_key_of_somebody_else_is_refused() {
        let (one, other) = (member(Curve::P256), member(Curve::P256));
        let outcome = Member::from_pem(&one.certificate.to_pem(), &other.key.to_pkcs8_pem());
        assert!(matches!(outcome, Err(Error::Usage(why)) if why.contains("does not belong")));
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn names_that_could_be_paths_or_odd_subjects_are_refused() {
        for name in ["", "a/b", "..", "-x", "a b", "a,O=b", "ä"] {
            let outcome = NewMember::generate(name, Curve::P256, false, 0, 1);
            assert!(matches!(outcome, Err(Error::Usage(_))), "{name}");
        }
        assert!(NewMember::generate("a", Curve::P256, false, 0, 0).is_err());
    }
}
