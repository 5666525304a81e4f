//! Requests to endorsed certificates, also as another implementation sees them.

use std::process::Command;

use super::*;
use crate::crypto::Curve;
use crate::crypto::testing::{common_files, rng};
use crate::crypto::x509::{
    Certificate, Validity, any_certificate_from_pem, issue_from_request, issue_self_signed, issue_service_like,
};

/// 1 October 2026.
const NOT_BEFORE: u64 = 1_790_812_800;

fn key(curve: Curve, seed: u64) -> SigningKey {
    SigningKey::generate(curve, &mut rng(seed))
}

fn names() -> Vec<AlternativeName> {
    ["iPAddress:127.0.0.1", "dNSName:node-0.example"]
        .map(|name| name.parse().unwrap())
        .to_vec()
}

fn days(days: u32) -> Validity {
    Validity::days(NOT_BEFORE, days).unwrap()
}

fn service(key: &SigningKey) -> Certificate {
    issue_self_signed("CN=CCF Service", &[], key, days(90), [7; 16]).unwrap()
}

/// What openssl prints; `None`, with a message, where it is not installed.
fn openssl(arguments: &[&str], pem: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let output = Command::new("openssl")
        .args(arguments)
        .arg("-in")
        .arg(file.path())
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: openssl is not installed");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}");
    Some(text)
}

#[test]
fn an_endorsed_certificate_has_key_subject_and_names_of_its_request() {
    for (curve, service_curve) in [(Curve::P384, Curve::P256), (Curve::P256, Curve::P384)] {
        let (node, service_key) = (key(curve, 1), key(service_curve, 2));
        let request = CertificateRequest::from_pem(&request("CN=n0,O=Example", &names(), &node).unwrap()).unwrap();
        assert_eq!(request.key(), &node.verifying_key());
        assert_eq!(request.alternative_names(), names());
        let service = service(&service_key);
        let endorsed = issue_from_request(&request, &service, &service_key, days(3), [9; 16]).unwrap();
        assert_eq!(endorsed.key(), request.key());
        assert_eq!(endorsed.subject(), request.subject());
        assert_eq!(endorsed.alternative_names(), names());
        assert_eq!(endorsed.validity(), Ok(days(3)));
        assert_eq!(endorsed.is_signed_by(service.key()), Ok(()));
    }
}

#[test]
fn openssl_agrees_with_requests_and_certificates() {
    let (node, service_key) = (key(Curve::P384, 1), key(Curve::P384, 2));
    let pem = request("CN=CCF Node", &names(), &node).unwrap();
    let Some(text) = openssl(&["req", "-verify", "-noout", "-text"], &pem) else {
        return;
    };
    for expected in ["verify OK", "ecdsa-with-SHA512", "CN = CCF Node", "DNS:node-0.example"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let self_signed = issue_self_signed("CN=CCF Node", &names(), &node, days(1), [1; 16]).unwrap();
    let text = openssl(&["x509", "-noout", "-text"], &self_signed.to_pem()).unwrap();
    for expected in [
        "CA:TRUE, pathlen:1",
        "Certificate Sign",
        "Digital Signature",
        "IP Address:127.0.0.1, DNS:node-0.example",
        "ecdsa-with-SHA384",
        "Oct  1 23:59:59 2026 GMT",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let service = service(&service_key);
    let request = CertificateRequest::from_pem(&pem).unwrap();
    let endorsed = issue_from_request(&request, &service, &service_key, days(1), [3; 16]).unwrap();
    let text = openssl(&["x509", "-noout", "-text"], &endorsed.to_pem()).unwrap();
    for expected in [
        "CA:FALSE",
        "Issuer: CN = CCF Service",
        "IP Address:127.0.0.1, DNS:node-0.example",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("service.pem");
    std::fs::write(&ca, service.to_pem()).unwrap();
    let leaf = directory.path().join("node.pem");
    std::fs::write(&leaf, endorsed.to_pem()).unwrap();
    let during = (NOT_BEFORE + 60).to_string();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-attime", &during, "-CAfile"])
        .args([&ca, &leaf])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn requests_made_by_openssl_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let request = directory.path().join("request.pem");
    let output = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-384",
        ])
        .args(["-sha512", "-subj", "/O=Example/CN=other", "-addext"])
        .arg("subjectAltName=IP:10.0.0.1,DNS:other.example,URI:https://other.example")
        .arg("-keyout")
        .arg(directory.path().join("key.pem"))
        .arg("-out")
        .arg(&request)
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: openssl is not installed");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let request = CertificateRequest::from_pem(&std::fs::read_to_string(request).unwrap()).unwrap();
    assert_eq!(request.subject(), "CN=other,O=Example");
    let expected = ["iPAddress:10.0.0.1", "dNSName:other.example"].map(|name| name.parse().unwrap());
    assert_eq!(request.alternative_names(), expected);
    // What is copied into the certificate is the whole extension, also what is not understood.
    let service_key = key(Curve::P384, 2);
    let endorsed = issue_from_request(&request, &service(&service_key), &service_key, days(1), [3; 16]).unwrap();
    let text = openssl(&["x509", "-noout", "-text"], &endorsed.to_pem()).unwrap();
    assert!(text.contains("URI:https://other.example"), "{text}");
}

#[test]
fn a_request_that_its_own_key_did_not_sign_is_refused() {
    let pem = request("CN=n", &names(), &key(Curve::P256, 1)).unwrap();
    let der = pem::first_block(&pem).unwrap().der.to_vec();
    for length in 0..der.len() {
        assert!(CertificateRequest::from_der(&der[..length]).is_err(), "{length} bytes");
    }
    for bit in 0..der.len() * 8 {
        let mut altered = der.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(CertificateRequest::from_der(&altered).is_err(), "bit {bit}");
    }
    let certificate = service(&key(Curve::P256, 1)).to_pem();
    assert!(matches!(
        CertificateRequest::from_pem(&certificate),
        Err(Error::WrongPemKind { .. })
    ));
}

#[test]
fn a_service_certificate_keeps_the_subject_of_a_real_one_byte_for_byte() {
    let Some(files) = common_files(|name| name == "service_cert.pem") else {
        return;
    };
    for (path, text) in files {
        let real = Certificate::from_pem(&text).unwrap();
        assert!(real.validity().unwrap().not_before_unix_s > 1_600_000_000, "{path:?}");
        let key = key(Curve::P384, 5);
        let next = issue_service_like(&real, &key, days(1), [1; 16]).unwrap();
        assert_eq!(next.subject_der(), real.subject_der());
        assert_eq!(next.key(), &key.verifying_key());
        assert_eq!(any_certificate_from_pem(&text).unwrap(), real.der());
    }
}

#[test]
fn an_endorsed_certificate_names_the_issuers_key_as_the_issuer_does() {
    use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
    let Some(files) = common_files(|name| name == "service_cert.pem") else {
        return;
    };
    let asked = request("CN=n", &[], &key(Curve::P384, 1)).unwrap();
    let asked = CertificateRequest::from_pem(&asked).unwrap();
    for (path, text) in files {
        let real = Certificate::from_pem(&text).unwrap();
        let endorsed = issue_from_request(&asked, &real, &key(Curve::P384, 2), days(1), [1; 16]).unwrap();
        let named = endorsed.extension::<AuthorityKeyIdentifier>().unwrap().key_identifier;
        let own = real.extension::<SubjectKeyIdentifier>().map(|id| id.0);
        assert!(own.is_some() && named == own, "{path:?}");
    }
}

#[test]
fn a_bundle_gives_every_certificate_in_order() {
    let certificates = [1, 2, 3].map(|seed| service(&key(Curve::P384, seed)));
    let text: String = certificates
        .iter()
        .map(|it| format!("# one\n{}", it.to_pem()))
        .collect();
    let read = Certificate::bundle_from_pem(&text).unwrap();
    assert!(
        read.iter()
            .map(Certificate::der)
            .eq(certificates.iter().map(Certificate::der))
    );
    for bad in [
        String::new(),
        text.replace("-----END CERTIFICATE-----", ""),
        format!("{text}-----BEGIN CERT"),
        format!("{text}{}", request("CN=n", &[], &key(Curve::P384, 1)).unwrap()),
    ] {
        assert!(Certificate::bundle_from_pem(&bad).is_err(), "{bad}");
    }
}

#[test]
fn certificates_with_other_keys_are_only_checked_for_their_structure() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rsa.pem");
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=user", "-keyout",
        ])
        .arg(directory.path().join("key.pem"))
        .arg("-out")
        .arg(&path)
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: openssl is not installed");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(matches!(
        Certificate::from_pem(&text),
        Err(Error::UnsupportedKey { .. })
    ));
    let der = any_certificate_from_pem(&text).unwrap();
    for length in 0..der.len() {
        assert!(
            crate::crypto::x509::check_any_certificate(&der[..length]).is_err(),
            "{length}"
        );
    }
}
