//! Certificates in the words of scripts: bundles, chains and ids. Keys may be of any kind; dates are not looked at.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use x509_cert::der::Decode;

use crate::crypto::Certificate;
use crate::crypto::x509::member_id;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// A bundle of more than this is nobody's.
const MAX_CERTIFICATES: usize = 1_000;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a text holds certificates in PEM, at least one, and none that can't be read.
pub(super) fn is_bundle(pem: &str) -> bool {
    split(pem).is_ok_and(|certificates| !certificates.is_empty())
}

/// Whether the first certificate of `chain` leads, each signed by the next, to one of `trusted`. Elliptic-curve keys
/// only: a chain with other keys is not valid here.
pub(super) fn is_chain(chain: &str, trusted: &str) -> bool {
    let (Ok(chain), Ok(trusted)) = (parsed(chain), parsed(trusted)) else {
        return false;
    };
    let Some(last) = chain.last() else { return false };
    let signed = chain
        .iter()
        .zip(chain.iter().skip(1))
        .all(|(certificate, issuer)| certificate.is_signed_by(issuer.key()).is_ok());
    let anchored = trusted
        .iter()
        .any(|anchor| anchor.der() == last.der() || last.is_signed_by(anchor.key()).is_ok());
    signed && anchored
}

/// The member or user id of the first certificate: hex of its digest.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn id(pem: &str) -> Result<String, String> {
    let certificates = split(pem)?;
    let first = certificates.first().ok_or("there is no certificate in it")?;
    Ok(hex::encode(member_id(first)))
}

/// The public key of a DER certificate, as SubjectPublicKeyInfo.
///
/// # Errors
/// What is wrong with it.
pub(super) fn public_key(der: &[u8]) -> Result<Vec<u8>, String> {
    use x509_cert::der::Encode;
    let certificate = x509_cert::Certificate::from_der(der).map_err(|why| why.to_string())?;
    certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
        .map_err(|why| why.to_string())
}

fn parsed(pem: &str) -> Result<Vec<Certificate>, String> {
    split(pem)?
        .iter()
        .map(|der| Certificate::from_der(der).map_err(|why| why.to_string()))
        .collect()
}

/// The certificates of a PEM text, each DER known to be one. What stands between them is not looked at; base64 may be on
/// one line, as it is when a script wraps a key of a JWK.
fn split(pem: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut certificates = Vec::new();
    let mut rest = pem;
    while let Some((_, begun)) = rest.split_once(BEGIN) {
        let (body, after) = begun.split_once(END).ok_or("a certificate has no end line")?;
        let digits: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let der = BASE64
            .decode(digits)
            .map_err(|why| format!("a certificate's base64 is damaged: {why}"))?;
        // The tolerant reader knows elliptic-curve keys only, the other one is strict about the rest.
        if Certificate::from_der(&der).is_err() {
            x509_cert::Certificate::from_der(&der).map_err(|why| format!("a certificate is malformed: {why}"))?;
        }
        if certificates.len() == MAX_CERTIFICATES {
            return Err(format!("there are more than {MAX_CERTIFICATES} certificates"));
        }
        certificates.push(der);
        rest = after;
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::crypto::x509::issue;
    use crate::crypto::{Curve, SigningKey};

    fn chain() -> [Certificate; 3] {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let keys: Vec<_> = (0..3).map(|_| SigningKey::generate(Curve::P384, &mut rng)).collect();
        let root = issue("CN=root", &keys[0].verifying_key(), None, &keys[0], true, 0, 1, [1; 16]).unwrap();
        let middle = issue(
            "CN=middle",
            &keys[1].verifying_key(),
            Some(&root),
            &keys[0],
            true,
            0,
            1,
            [2; 16],
        )
        .unwrap();
        let leaf = issue(
            "CN=leaf",
            &keys[2].verifying_key(),
            Some(&middle),
            &keys[1],
            false,
            0,
            1,
            [3; 16],
        )
        .unwrap();
        [root, middle, leaf]
    }

    #[test]
    fn a_bundle_is_certificates_and_nothing_damaged() {
        let [root, middle, _] = chain().map(|certificate| certificate.to_pem());
        assert!(is_bundle(&root));
        assert!(is_bundle(&format!("note\r\n{root}\n{}", middle.replace('\n', "\r\n"))));
        let one_line = root.replace('\n', "").replace(BEGIN, &format!("{BEGIN}\n"));
        assert!(is_bundle(&one_line));
        for bad in [
            "",
            "text",
            BEGIN,
            &root[..200],
            &root.replace("MII", "MIA"),
            &root.replace('\n', "\n!"),
        ] {
            assert!(!is_bundle(bad), "{bad}");
        }
        assert!(!is_bundle(&format!("{root}{BEGIN}\nAAAA\n{END}\n")));
    }

    #[test]
    fn a_chain_is_valid_only_up_to_what_is_trusted() {
        let [root, middle, leaf] = chain().map(|certificate| certificate.to_pem());
        assert!(is_chain(&format!("{leaf}{middle}"), &root));
        assert!(is_chain(&format!("{leaf}{middle}{root}"), &root));
        assert!(!is_chain(&leaf, &root));
        assert!(!is_chain(&format!("{leaf}{root}"), &root));
        assert!(!is_chain("", &root));
        assert!(!is_chain(&leaf, ""));
    }

    #[test]
    fn an_id_is_the_digest_of_the_first_certificate() {
        let [root, middle, _] = chain();
        let pem = format!("{}{}", root.to_pem(), middle.to_pem());
        assert_eq!(id(&pem).unwrap(), hex::encode(member_id(root.der())));
        assert!(id("nothing").is_err());
    }
}
