//! The whole layer against ledgers that real CCF nodes wrote: signatures, certificates, shares, secrets.
//!
//! The layer of formats does not exist down here, so values are found by what they look like, or at offsets that the
//! format specification gives.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::cose::Sign1;
use super::rsa::DecryptionKey;
use super::testing::ledgers;
use super::x509::member_id;
use super::{Certificate, Digest, Share, ShareFormat, shares};

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn base64(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Every JSON value in the ledgers below `directory` that starts with `start`.
fn json_values(directory: &Path, start: &str) -> Vec<Value> {
    let mut values = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            values.extend(json_values(&path, start));
        } else if path.file_name().unwrap().to_str().unwrap().starts_with("ledger_") {
            let bytes = std::fs::read(path).unwrap();
            let found = |at: &usize| bytes[*at..].starts_with(start.as_bytes());
            for at in (0..bytes.len()).filter(found) {
                let mut stream = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter();
                values.push(stream.next().unwrap().unwrap());
            }
        }
    }
    values
}

#[test]
fn both_signatures_of_the_worked_example_verify() {
    let Some(ledgers) = ledgers() else { return };
    let service = ledgers.join("cose_flipflop_service");
    let chunk = std::fs::read(service.join("ledger/ledger_15-46.committed")).unwrap();
    let certificate = Certificate::from_pem(&text(&service.join("common/service_cert.pem"))).unwrap();
    // Format specification, section 10.3: the entry is at 322 of the file.
    let json =
        |at: usize, length: usize| -> Value { serde_json::from_slice(&chunk[322 + at..322 + at + length]).unwrap() };
    let (cose, node) = (json(0xd8, 330), json(0x280, 0x46f));
    let root: Digest = hex::decode(node["root"].as_str().unwrap()).unwrap().try_into().unwrap();

    let message = Sign1::parse(&base64(&cose)).unwrap();
    assert_eq!(message.txid(), Some("2.16"));
    assert_eq!(message.kid(), Some(hex::encode(certificate.key_id()).as_bytes()));
    assert_eq!(message.verify(certificate.key(), Some(&root)), Ok(()));

    let node_certificate = Certificate::from_pem(node["cert"].as_str().unwrap()).unwrap();
    assert_eq!(hex::encode(node_certificate.key_id()), node["node"].as_str().unwrap());
    assert_eq!(
        node_certificate
            .key()
            .verify_prehashed_der(&root, &base64(&node["sig"])),
        Ok(())
    );
    assert_eq!(node_certificate.is_signed_by(certificate.key()), Ok(()));
}

#[test]
fn real_endorsements_verify_and_have_the_layout_that_is_written_here() {
    let Some(ledgers) = ledgers() else { return };
    let mut endorsements = 0;
    for value in json_values(&ledgers, "{\"endorsement\":") {
        let message = Sign1::parse(&base64(&value["endorsement"])).unwrap();
        let key = super::VerifyingKey::from_spki_der(&base64(&value["endorsing_key"])).unwrap();
        assert_eq!(message.verify(&key, None), Ok(()));
        assert_eq!(
            message.ccf_text("epoch.start.txid"),
            value["endorsement_epoch_begin"].as_str()
        );
        // Everything but the signature, which is random in CCF.
        let root = message
            .ccf_bytes("epoch.end.merkle.root")
            .map(|root| root.try_into().unwrap());
        let again = super::cose::sign_endorsement(
            &super::SigningKey::generate(key.curve(), &mut super::testing::rng(1)),
            message.issued_at().unwrap(),
            message.payload().unwrap(),
            message.ccf_text("epoch.start.txid").unwrap(),
            message.ccf_text("epoch.end.txid"),
            root.as_ref(),
        );
        let unsigned = again.len() - message.signature().len();
        let original = base64(&value["endorsement"]);
        assert_eq!(hex::encode(&again[..unsigned]), hex::encode(&original[..unsigned]));
        endorsements += 1;
    }
    assert!(endorsements > 0);
}

#[test]
fn the_shares_of_every_real_generation_open_its_secret() {
    let Some(ledgers) = ledgers() else { return };
    let (mut fingerprints, mut formats) = (BTreeSet::new(), Vec::new());
    for service in ledgers.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let common = service.join("common");
        if !common.is_dir() {
            continue;
        }
        for table in json_values(&service, "{\"encrypted_shares\":") {
            let mut opened = Vec::new();
            for member in 0..9 {
                let key = common.join(format!("member{member}_enc_privk.pem"));
                if !key.exists() {
                    continue;
                }
                let certificate = text(&common.join(format!("member{member}_cert.pem")));
                let id = hex::encode(member_id(Certificate::from_pem(&certificate).unwrap().der()));
                if let Some(encrypted) = table["encrypted_shares"].get(id) {
                    let key = DecryptionKey::from_pem(&text(&key)).unwrap();
                    opened.push(Share::parse(&key.decrypt(&base64(encrypted)).unwrap()).unwrap());
                }
            }
            assert_eq!(opened.len(), table["encrypted_shares"].as_object().unwrap().len());
            formats.extend(opened.iter().map(Share::format));
            // More shares than the threshold are right too, as long as none is an owner's.
            let all: Vec<&Share> = opened.iter().collect();
            let wrapped = base64(&table["wrapped_latest_ledger_secret"]);
            let secret = shares::combine(&all, all.len())
                .unwrap()
                .unwrap_secret(&wrapped)
                .unwrap();
            fingerprints.insert(hex::encode(secret.fingerprint())[..8].to_owned());
        }
    }
    for format in [ShareFormat::New, ShareFormat::Old, ShareFormat::Owner] {
        assert!(formats.contains(&format), "no {format:?} share in the real ledgers");
    }
    // Format specification, section 8.4; the first of expired_service is of the old format.
    for expected in ["234b711d", "3608fb6c", "a716eabd", "50c53a86", "a685ccd3", "d0181cac"] {
        assert!(fingerprints.contains(expected), "{expected} not among {fingerprints:?}");
    }
}
