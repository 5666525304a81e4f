//! Services, nodes, receipts and endorsements made by hand, and what is asked of them.

use crate::crypto::cose::{LedgerSignatureHeader, sign_endorsement, sign_ledger_root, with_inclusion_proof};
use crate::crypto::digest::sha256;
use crate::crypto::testing::rng;
use crate::crypto::x509::issue;
use crate::crypto::{Curve, SigningKey};
use crate::merkle::Tree;
use crate::merkle::presented::write_json_receipt;
use crate::merkle::receipt::{LeafComponents, write_cbor_proof};
use crate::recovery::receipts::judge::*;

pub(super) const CLAIMED: &[u8] = b"what the application claims";
pub(super) const ENTRY: &[u8] = b"the bytes of an entry";
/// The transaction that every receipt here is of, and the signature that covers it.
pub(super) const OF: TxId = TxId { view: 2, seqno: 17 };
pub(super) const SIGNED_IN: TxId = TxId { view: 2, seqno: 23 };

pub(super) struct Identity {
    pub(super) key: SigningKey,
    pub(super) certificate: Certificate,
}

pub(super) fn service(seed: u64) -> Identity {
    service_on(Curve::P384, seed)
}

pub(super) fn service_on(curve: Curve, seed: u64) -> Identity {
    let key = SigningKey::generate(curve, &mut rng(seed));
    let certificate = issue("CN=CCF Service", &key.verifying_key(), None, &key, true, 0, 90, [7; 16]).unwrap();
    Identity { key, certificate }
}

pub(super) fn node(seed: u64, of: &Identity) -> Identity {
    let key = SigningKey::generate(Curve::P384, &mut rng(seed));
    let (subject, issuer) = ("CN=CCF Node", Some(&of.certificate));
    let certificate = issue(subject, &key.verifying_key(), issuer, &of.key, false, 0, 90, [8; 16]).unwrap();
    Identity { key, certificate }
}

pub(super) fn parts() -> LeafComponents {
    LeafComponents {
        write_set_digest: sha256(ENTRY),
        commit_evidence: format!("ce:{OF}:{}", "0b".repeat(32)),
        claims_digest: sha256(CLAIMED),
    }
}

/// The tree that the signature at [`SIGNED_IN`] signs.
pub(super) fn tree() -> Tree {
    let mut tree = Tree::genesis();
    for seqno in 1..SIGNED_IN.seqno {
        tree.append(match seqno == OF.seqno {
            true => parts().leaf(),
            false => sha256(&seqno.to_le_bytes()),
        });
    }
    tree
}

pub(super) fn json_with(node: &Certificate, signature: &[u8], chain: &[Vec<u8>]) -> Vec<u8> {
    let parts = parts();
    let leaf = Parts::new(parts.write_set_digest, parts.commit_evidence, Some(parts.claims_digest)).unwrap();
    let path = tree().path(OF.seqno).unwrap();
    let id = hex::encode(node.key_id());
    write_json_receipt(&Leaf::Parts(leaf), &path, (&node.to_pem(), &id), signature, chain)
}

pub(super) fn json(node: &Identity, chain: &[Vec<u8>]) -> Vec<u8> {
    json_with(&node.certificate, &node.key.sign_prehashed_der(&tree().root()), chain)
}

pub(super) fn cose(service: &Identity) -> Vec<u8> {
    let header = LedgerSignatureHeader {
        kid_hex: &hex::encode(service.certificate.key_id()),
        issued_at_s: 1_790_000_000,
        issuer: "",
        subject: "",
        txid: &SIGNED_IN.to_string(),
    };
    let message = sign_ledger_root(&service.key, &header, &tree().root());
    with_inclusion_proof(&message, &write_cbor_proof(&parts(), &tree().path(OF.seqno).unwrap())).unwrap()
}

pub(super) fn endorse(by: &Identity, of: &Identity, begin: &str, end: &str) -> Vec<u8> {
    let payload = of.certificate.key().spki_der().to_vec();
    sign_endorsement(&by.key, 1_790_000_000, &payload, begin, Some(end), None)
}

/// Three services, one after the other, and what each said of the one before it, newest first.
pub(super) fn recovered() -> ([Identity; 3], Vec<Vec<u8>>) {
    let services = [service(1), service(2), service(3)];
    let chain = vec![
        endorse(&services[2], &services[1], "4.41", "4.80"),
        endorse(&services[1], &services[0], "2.1", "2.40"),
    ];
    (services, chain)
}

pub(super) fn trusting(services: &[&Identity]) -> Expected {
    let trusted = services.iter().enumerate().map(|(number, service)| Trusted {
        name: format!("service{number}.pem"),
        certificate: service.certificate.clone(),
    });
    Expected {
        trusted: trusted.collect(),
        ..Expected::default()
    }
}

pub(super) fn judged(receipt: &[u8], expected: &Expected) -> ReceiptReport {
    judge(&Presented::parse(receipt).unwrap(), expected)
}

#[track_caller]
pub(super) fn holds(receipt: &[u8], expected: &Expected) -> ReceiptReport {
    let report = judged(receipt, expected);
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.findings);
    assert!(!report.proven.is_empty());
    report
}

#[track_caller]
pub(super) fn refused(receipt: &[u8], expected: &Expected, codes: &[Code]) -> ReceiptReport {
    let report = judged(receipt, expected);
    let mut found: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    found.dedup();
    let mut wanted = codes.to_vec();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted, "{:?}", report.findings);
    assert_eq!(report.verdict, Verdict::Findings);
    assert!(report.proven.is_empty(), "{:?}", report.proven);
    report
}

/// It holds, and a ledger has something else.
#[track_caller]
pub(super) fn differs(receipt: &[u8], expected: &Expected, code: Code) {
    let report = judged(receipt, expected);
    let found: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(found, [code]);
    assert_eq!(report.verdict, Verdict::Findings);
    assert!(
        report.proven[0].contains("is in the ledger of service"),
        "{:?}",
        report.proven
    );
    let words = |word: &str| report.proven.iter().any(|sentence| sentence.contains(word));
    assert!(!words("very bytes"), "{:?}", report.proven);
}

/// A changed JSON document.
pub(super) fn changed(receipt: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut value = serde_json::from_slice(receipt).unwrap();
    change(&mut value);
    serde_json::to_vec(&value).unwrap()
}
