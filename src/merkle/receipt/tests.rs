use super::*;

use crate::crypto::cose::{LedgerSignatureHeader, sign_ledger_root, with_inclusion_proof};
use crate::crypto::x509::issue;
use crate::crypto::{Curve, SigningKey};
use crate::merkle::Tree;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn components() -> LeafComponents {
    LeafComponents {
        write_set_digest: [1; 32],
        commit_evidence: "ce:2.9:00".into(),
        claims_digest: [2; 32],
    }
}

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(seed))
}

/// A tree in which the transaction is leaf 5 of 9, its path, and its root.
fn proven() -> (Vec<Step>, Digest) {
    let mut tree = Tree::genesis();
    for leaf in 1..9 {
        tree.append(if leaf == 5 { components().leaf() } else { [leaf; 32] });
    }
    (tree.path(5).unwrap(), tree.root())
}

fn json_receipt(path: &[Step], signature: &[u8]) -> Vec<u8> {
    let certificate = issue(
        "CN=Node",
        &key(1).verifying_key(),
        None,
        &key(1),
        false,
        0,
        365,
        [1; 16],
    )
    .unwrap();
    write_json(&components(), path, &certificate.to_pem(), "node", signature)
}

fn cose_receipt(root: &Digest, proofs: &[u8]) -> Vec<u8> {
    let header = LedgerSignatureHeader {
        kid_hex: "",
        issued_at_s: 0,
        issuer: "",
        subject: "",
        txid: "2.9",
    };
    with_inclusion_proof(&sign_ledger_root(&key(2), &header, root), proofs).unwrap()
}

fn many_steps(number: usize) -> Vec<Step> {
    (0..number)
        .map(|step| Step {
            left: step % 2 == 0,
            digest: [step as u8; 32],
        })
        .collect()
}

#[test]
fn a_leaf_is_the_digest_of_write_set_evidence_and_claims() {
    let evidence = sha256(b"ce:2.9:00");
    assert_eq!(components().leaf(), sha256(&[[1; 32], evidence, [2; 32]].concat()));
}

#[test]
fn a_node_s_receipt_reads_back_and_proves_the_root_that_the_node_signed() {
    let (path, root) = proven();
    let bytes = json_receipt(&path, &key(1).sign_prehashed_der(&root));
    let receipt = Receipt::parse(&bytes).unwrap();
    assert_eq!((&receipt.leaf_components, &receipt.path), (&components(), &path));
    assert_eq!(receipt.root(), root);
    let Signer::Node {
        certificate, node_id, ..
    } = &receipt.signer
    else {
        panic!("a node signed it");
    };
    assert_eq!((certificate.key(), node_id.as_str()), (&key(1).verifying_key(), "node"));
    receipt.verify(&key(3).verifying_key()).unwrap();
    // Another root, and another key's signature.
    for signature in [key(1).sign_prehashed_der(&[9; 32]), key(3).sign_prehashed_der(&root)] {
        let receipt = Receipt::parse(&json_receipt(&path, &signature)).unwrap();
        assert!(matches!(
            receipt.verify(&key(3).verifying_key()),
            Err(ReceiptError::Signature(_))
        ));
    }
}

#[test]
fn a_service_s_receipt_reads_back_and_is_proven_by_its_key_alone() {
    let (path, root) = proven();
    let receipt = Receipt::parse(&cose_receipt(&root, &write_cbor_proof(&components(), &path))).unwrap();
    assert_eq!((&receipt.leaf_components, &receipt.path), (&components(), &path));
    assert_eq!(receipt.root(), root);
    receipt.verify(&key(2).verifying_key()).unwrap();
    assert!(matches!(
        receipt.verify(&key(3).verifying_key()),
        Err(ReceiptError::Signature(_))
    ));
    let other = Receipt::parse(&cose_receipt(&[9; 32], &write_cbor_proof(&components(), &path))).unwrap();
    assert!(
        other.verify(&key(2).verifying_key()).is_err(),
        "another root was signed"
    );
}

#[test]
fn a_path_has_as_many_steps_as_the_largest_tree_and_no_more() {
    for steps in [0, 1, 63, 64] {
        let path = many_steps(steps);
        assert_eq!(Receipt::parse(&json_receipt(&path, b"")).unwrap().path, path);
        assert_eq!(
            read_cbor_proof(&write_cbor_proof(&components(), &path)).unwrap().1,
            path
        );
    }
    for steps in [65, 66, 1000] {
        let path = many_steps(steps);
        assert!(matches!(
            Receipt::parse(&json_receipt(&path, b"")),
            Err(ReceiptError::Unreadable(_))
        ));
        assert!(read_cbor_proof(&write_cbor_proof(&components(), &path)).is_err());
    }
}

#[test]
fn a_receipt_that_is_none_says_so() {
    assert!(matches!(Receipt::parse(b""), Err(ReceiptError::Absent)));
    for bytes in [&b"{}"[..], b"garbage", b"\xd2", b"\xd2\x80"] {
        assert!(matches!(Receipt::parse(bytes), Err(ReceiptError::Unreadable(_))));
    }
    let short = String::from_utf8(json_receipt(&many_steps(2), b"")).unwrap();
    let short = short.replacen(&hex::encode([1; 32]), "0101", 1);
    assert!(matches!(
        Receipt::parse(short.as_bytes()),
        Err(ReceiptError::Unreadable(_))
    ));
    let without = cose_receipt(&[9; 32], b"");
    assert!(matches!(Receipt::parse(&without), Err(ReceiptError::Unreadable(_))));
}

#[test]
fn a_cbor_proof_reads_back() {
    let components = LeafComponents {
        write_set_digest: [1; 32],
        commit_evidence: "ce:2.9:00".into(),
        claims_digest: [2; 32],
    };
    let path = vec![
        Step {
            left: true,
            digest: [3; 32],
        },
        Step {
            left: false,
            digest: [4; 32],
        },
    ];
    let bytes = write_cbor_proof(&components, &path);
    assert_eq!(read_cbor_proof(&bytes).unwrap(), (components, path));
    for end in 0..bytes.len() {
        assert!(read_cbor_proof(&bytes[..end]).is_err());
    }
}
