//! Issuing, chains of one link, real certificates, hostile bytes.

use super::*;
use crate::crypto::ecdsa::Curve;
use crate::crypto::testing::{common_files, rng};

/// 1 October 2026.
const NOT_BEFORE: u64 = 1_790_812_800;

fn key(curve: Curve, seed: u64) -> SigningKey {
    SigningKey::generate(curve, &mut rng(seed))
}

fn service(key: &SigningKey) -> Certificate {
    let public = key.verifying_key();
    issue("CN=CCF Service", &public, None, key, true, NOT_BEFORE, 365, [0x8f; 16]).unwrap()
}

#[test]
fn an_issued_certificate_is_signed_by_its_issuer_alone() {
    for (curve, node_curve) in [(Curve::P384, Curve::P256), (Curve::P256, Curve::P384)] {
        let (service_key, node_key) = (key(curve, 1), key(node_curve, 2));
        let service = service(&service_key);
        assert_eq!(service.subject(), "CN=CCF Service");
        assert_eq!(service.key(), &service_key.verifying_key());
        assert_eq!(service.is_signed_by(service.key()), Ok(()));
        let node_public = node_key.verifying_key();
        let node = issue(
            "CN=CCF Node",
            &node_public,
            Some(&service),
            &service_key,
            false,
            NOT_BEFORE,
            1,
            [0; 16],
        )
        .unwrap();
        assert_eq!(node.key_id(), node_public.id());
        assert_eq!(node.is_signed_by(service.key()), Ok(()));
        assert_eq!(node.is_signed_by(node.key()), Err(Error::SignatureInvalid));
        assert_eq!(Certificate::from_pem(&node.to_pem()).unwrap().der(), node.der());
    }
}

#[test]
fn the_same_arguments_issue_the_same_bytes() {
    let key = key(Curve::P384, 1);
    assert_eq!(service(&key).der(), service(&key).der());
}

#[test]
fn extensions_and_dates_are_those_of_the_specification() {
    use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier};
    let service_key = key(Curve::P384, 1);
    let service = service(&service_key);
    let node_key = key(Curve::P384, 2).verifying_key();
    let node = issue(
        "CN=n",
        &node_key,
        Some(&service),
        &service_key,
        false,
        NOT_BEFORE,
        1,
        [1; 16],
    )
    .unwrap();
    let parsed = x509_cert::Certificate::from_der(service.der()).unwrap();
    let tbs = parsed.tbs_certificate();
    let constraints = BasicConstraints {
        ca: true,
        path_len_constraint: Some(1),
    };
    assert_eq!(tbs.get_extension().unwrap(), Some((true, constraints)));
    let (critical, usage) = tbs.get_extension::<KeyUsage>().unwrap().unwrap();
    assert!(critical && usage.key_cert_sign() && usage.digital_signature());
    let dates = tbs.validity();
    assert_eq!(dates.not_before.to_unix_duration().as_secs(), NOT_BEFORE);
    assert_eq!(
        dates.not_after.to_unix_duration().as_secs(),
        NOT_BEFORE + 365 * 86_400 - 1
    );
    let (_, service_id) = tbs.get_extension::<SubjectKeyIdentifier>().unwrap().unwrap();
    let parsed = x509_cert::Certificate::from_der(node.der()).unwrap();
    let tbs = parsed.tbs_certificate();
    let constraints = BasicConstraints {
        ca: false,
        path_len_constraint: None,
    };
    assert_eq!(tbs.get_extension().unwrap(), Some((true, constraints)));
    assert_eq!(tbs.get_extension::<KeyUsage>().unwrap(), None);
    let (_, issuer_id) = tbs.get_extension::<AuthorityKeyIdentifier>().unwrap().unwrap();
    assert_eq!(issuer_id.key_identifier, Some(service_id.0));
}

#[test]
fn names_and_dates_that_cannot_be_encoded_are_refused() {
    let key = key(Curve::P384, 1);
    let public = key.verifying_key();
    for (subject, not_before, days) in [
        ("no name", NOT_BEFORE, 1),
        ("CN=x", NOT_BEFORE, 0),
        ("CN=x", u64::MAX, 1),
        ("CN=x", 1, u32::MAX),
    ] {
        let refused = issue(subject, &public, None, &key, true, not_before, days, [1; 16]);
        assert!(
            matches!(refused, Err(Error::CannotIssue { .. })),
            "{subject} {not_before} {days}"
        );
    }
}

#[test]
fn truncated_or_altered_certificates_do_not_verify() {
    let key = key(Curve::P256, 1);
    let der = service(&key).der().to_vec();
    for length in 0..der.len() {
        assert!(Certificate::from_der(&der[..length]).is_err(), "{length} bytes");
    }
    for bit in 0..der.len() * 8 {
        let mut altered = der.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        if let Ok(certificate) = Certificate::from_der(&altered) {
            let _ = (certificate.subject(), certificate.to_pem());
            assert!(certificate.is_signed_by(&key.verifying_key()).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_negative_serial_and_odd_dates_do_not_matter() {
    // Reading stops at the structure: put 0xff in the first byte of serial number and validity.
    let der = service(&key(Curve::P256, 1)).der().to_vec();
    let serial = der.windows(16).position(|window| window == [0x8f; 16]).unwrap();
    let mut odd = der.clone();
    odd[serial - 1] = 0xff;
    assert!(Certificate::from_der(&odd).is_ok());
    let date = der.windows(6).position(|window| window == b"261001").unwrap();
    odd[date] = 0xff;
    assert!(Certificate::from_der(&odd).is_ok());
}

#[test]
fn real_certificates_parse_and_are_self_signed() {
    let Some(files) = common_files(|name| name.ends_with("_cert.pem")) else {
        return;
    };
    for (path, text) in files {
        let certificate = Certificate::from_pem(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        assert!(
            certificate.subject().starts_with("CN="),
            "{path:?}: {}",
            certificate.subject()
        );
        assert_eq!(certificate.is_signed_by(certificate.key()), Ok(()), "{path:?}");
    }
}

#[test]
fn the_last_identity_of_a_real_service_is_the_id_of_its_certificate() {
    let Some(ledgers) = crate::crypto::testing::ledgers() else {
        return;
    };
    let text = std::fs::read_to_string(ledgers.join("cose_flipflop_service/common/service_cert.pem"));
    assert_eq!(
        hex::encode(Certificate::from_pem(&text.unwrap()).unwrap().key_id()),
        "df77875da5452d5d4ebca2e90c644fbde9ff96b92bc655a899fdc9171641ffdb"
    );
}
