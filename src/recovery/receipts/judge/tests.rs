//! Receipts made by hand, of services and nodes made by hand: what holds, and each way in which one does not.

mod chains;
mod flips;
mod made;

use made::*;

use super::*;
use crate::crypto::digest::sha256;
use crate::crypto::testing::rng;
use crate::crypto::x509::{endorse_service, issue};
use crate::crypto::{Curve, SigningKey};
use crate::merkle::presented::write_json_receipt;

#[test]
fn a_receipt_of_the_service_trusted_holds_in_both_forms() {
    let service = service(1);
    let node = node(10, &service);
    for (receipt, form) in [(json(&node, &[]), "json"), (cose(&service), "cose")] {
        let report = holds(&receipt, &trusting(&[&service]));
        assert_eq!((report.form, report.transaction), (form, Some(OF)));
        assert_eq!(report.root.0, tree().root());
        assert_eq!(report.service.unwrap().0, service.certificate.key_id());
        assert_eq!(report.trusted_by.as_deref(), Some("service0.pem"));
        assert_eq!(report.endorsements, 0);
        assert_eq!(report.claims_digest.unwrap().0, sha256(CLAIMED));
    }
    let report = holds(&cose(&service), &trusting(&[&service]));
    assert_eq!(report.signed_in, Some(SIGNED_IN));
    // One of several trusted is enough.
    holds(&json(&node, &[]), &trusting(&[&self::service(2), &service]));
}

#[test]
fn what_was_changed_after_it_was_signed_is_refused() {
    let service = service(1);
    let receipt = json(&node(10, &service), &[]);
    let flip = |digest: &mut serde_json::Value| {
        let text = digest.as_str().unwrap();
        let first = if text.starts_with('0') { "1" } else { "0" };
        *digest = format!("{first}{}", &text[1..]).into();
    };
    let changes: [fn(&mut serde_json::Value) -> &mut serde_json::Value; 4] = [
        |receipt| &mut receipt["leaf_components"]["claims_digest"],
        |receipt| &mut receipt["leaf_components"]["write_set_digest"],
        |receipt| {
            receipt["proof"][0]
                .as_object_mut()
                .unwrap()
                .values_mut()
                .next()
                .unwrap()
        },
        |receipt| {
            receipt["proof"][3]
                .as_object_mut()
                .unwrap()
                .values_mut()
                .next()
                .unwrap()
        },
    ];
    for change in changes {
        let other = changed(&receipt, |receipt| flip(change(receipt)));
        refused(&other, &trusting(&[&service]), &[Code::ReceiptSignature]);
    }
    let other = changed(&receipt, |receipt| {
        let text = receipt["leaf_components"]["commit_evidence"].as_str().unwrap();
        receipt["leaf_components"]["commit_evidence"] = text.replace("ce:2.17", "ce:2.18").into();
    });
    refused(&other, &trusting(&[&service]), &[Code::ReceiptSignature]);
    let shorter = changed(&receipt, |receipt| drop(receipt["proof"].as_array_mut().unwrap().pop()));
    refused(&shorter, &trusting(&[&service]), &[Code::ReceiptSignature]);
    let other = changed(&receipt, |receipt| flip(&mut receipt["node_id"]));
    refused(&other, &trusting(&[&service]), &[Code::ReceiptNode]);
    let unclaimed = changed(&receipt, |receipt| {
        receipt["leaf_components"]
            .as_object_mut()
            .unwrap()
            .remove("claims_digest");
    });
    refused(&unclaimed, &trusting(&[&service]), &[Code::ReceiptSignature]);
}

#[test]
fn nobody_else_is_taken_for_the_service_trusted() {
    let (service, other) = (service(1), service(2));
    // The same subject, another key.
    assert_eq!(service.certificate.subject(), other.certificate.subject());
    refused(
        &json(&node(10, &other), &[]),
        &trusting(&[&service]),
        &[Code::ReceiptStrange],
    );
    refused(&cose(&other), &trusting(&[&service]), &[Code::ReceiptStrange]);
    refused(&cose(&other), &trusting(&[]), &[Code::ReceiptStrange]);
    // Another node's certificate, which the service did endorse, beside a signature that is not its.
    let (right, wrong) = (node(10, &service), node(11, &service));
    let signature = wrong.key.sign_prehashed_der(&tree().root());
    let receipt = json_with(&right.certificate, &signature, &[]);
    refused(&receipt, &trusting(&[&service]), &[Code::ReceiptSignature]);
    // A self-signed node.
    let own = SigningKey::generate(Curve::P384, &mut rng(12));
    let certificate = issue("CN=CCF Node", &own.verifying_key(), None, &own, false, 0, 90, [8; 16]).unwrap();
    let receipt = json_with(&certificate, &own.sign_prehashed_der(&tree().root()), &[]);
    refused(&receipt, &trusting(&[&service]), &[Code::ReceiptStrange]);
    // Keys of another curve.
    let small = service_on(Curve::P256, 1);
    holds(&cose(&small), &trusting(&[&small]));
    refused(&cose(&small), &trusting(&[&service]), &[Code::ReceiptStrange]);
}

#[test]
fn certificates_lead_from_the_present_service_to_an_earlier_one() {
    let (earlier, present) = (service(1), service(2));
    let validity = present.certificate.validity().unwrap();
    let link = endorse_service(
        &earlier.certificate,
        &present.certificate,
        &present.key,
        validity,
        [9; 16],
    )
    .unwrap();
    let plain = json(&node(10, &earlier), &[]);
    let with = |links: &[&Certificate]| {
        let pems: Vec<String> = links.iter().map(|link| link.to_pem()).collect();
        changed(&plain, |receipt| receipt["service_endorsements"] = pems.into())
    };
    let report = holds(&with(&[&link]), &trusting(&[&present]));
    assert_eq!(report.service.unwrap().0, earlier.certificate.key_id());
    assert_eq!(report.endorsements, 1);
    // It is not needed by whoever trusts the earlier one.
    assert_eq!(holds(&with(&[&link]), &trusting(&[&earlier])).endorsements, 0);
    refused(&plain, &trusting(&[&present]), &[Code::ReceiptStrange]);
    let strange = [Code::ReceiptEndorsement, Code::ReceiptStrange];
    // A certificate that does not lead on from the one below it.
    refused(&with(&[&present.certificate]), &trusting(&[&present]), &strange);
    refused(&with(&[&link]), &trusting(&[&service(3)]), &[Code::ReceiptStrange]);
    // A node of the present service makes up a service: its own certificate may not sign others.
    let accomplice = node(11, &present);
    let victim = node(12, &accomplice);
    let made_up = changed(&json(&victim, &[]), |receipt| {
        receipt["service_endorsements"] = vec![accomplice.certificate.to_pem()].into();
    });
    refused(&made_up, &trusting(&[&present]), &strange);
}

#[test]
fn what_is_expected_is_what_must_be_proven() {
    let service = service(1);
    let digest = |bytes: &[u8]| {
        Some(ExpectedDigest {
            name: "a file".to_owned(),
            digest: sha256(bytes),
        })
    };
    let leaf = parts().leaf();
    let there = |txid, leaf| Some(InLedger { txid, leaf, root: None });
    for receipt in [json(&node(10, &service), &[]), cose(&service)] {
        let trusting = || trusting(&[&service]);
        let all = Expected {
            txid: Some(OF),
            claims: digest(CLAIMED),
            write_set: digest(ENTRY),
            in_ledger: there(OF, leaf),
            ..trusting()
        };
        holds(&receipt, &all);
        let other = TxId { view: 2, seqno: 18 };
        let wrong = [
            (
                Code::ReceiptTransaction,
                Expected {
                    txid: Some(other),
                    ..trusting()
                },
            ),
            (
                Code::ReceiptTransaction,
                Expected {
                    txid: Some(TxId { view: 3, seqno: 17 }),
                    ..trusting()
                },
            ),
            (
                Code::ReceiptClaims,
                Expected {
                    claims: digest(ENTRY),
                    ..trusting()
                },
            ),
            (
                Code::ReceiptWriteSet,
                Expected {
                    write_set: digest(CLAIMED),
                    ..trusting()
                },
            ),
            (
                Code::ReceiptOtherLedger,
                Expected {
                    in_ledger: there(OF, [7; 32]),
                    ..trusting()
                },
            ),
            (
                Code::ReceiptOtherLedger,
                Expected {
                    in_ledger: there(other, leaf),
                    ..trusting()
                },
            ),
        ];
        for (code, expected) in wrong {
            match code {
                // What it proves, it proves, all the more where a ledger has something else.
                Code::ReceiptOtherLedger => differs(&receipt, &expected, code),
                _ => drop(refused(&receipt, &expected, &[code])),
            }
        }
        let nowhere = Expected {
            not_in_ledger: Some(Finding::new(Code::NoSuchTransaction, "the ledger ends before it")),
            ..trusting()
        };
        differs(&receipt, &nowhere, Code::NoSuchTransaction);
        // A forged one is forged, whatever the ledger has.
        let stranger = Expected {
            trusted: self::trusting(&[&self::service(5)]).trusted,
            ..nowhere
        };
        refused(&receipt, &stranger, &[Code::ReceiptStrange, Code::NoSuchTransaction]);
    }
}

#[test]
fn a_bare_leaf_proves_no_more_than_it_can() {
    let service = service(1);
    let node = node(10, &service);
    let path = tree().path(OF.seqno).unwrap();
    let signature = node.key.sign_prehashed_der(&tree().root());
    let id = hex::encode(node.certificate.key_id());
    let pem = node.certificate.to_pem();
    let plain = |digest, path: &[_]| write_json_receipt(&Leaf::Plain(digest), path, (&pem, &id), &signature, &[]);
    let leaf = parts().leaf();
    let report = holds(&plain(leaf, &path), &trusting(&[&service]));
    assert_eq!((report.transaction, report.of_signature), (None, false));
    assert!(
        report
            .not_proven
            .iter()
            .any(|sentence| sentence.contains("which transaction"))
    );
    assert!(report.not_proven.iter().any(|sentence| sentence.contains("committed")));
    let asked = Expected {
        txid: Some(OF),
        ..trusting(&[&service])
    };
    refused(&plain(leaf, &path), &asked, &[Code::ReceiptTransaction]);
    let there = |leaf, root| Some(InLedger { txid: OF, leaf, root });
    let held = Expected {
        in_ledger: there(leaf, None),
        ..asked
    };
    assert_eq!(holds(&plain(leaf, &path), &held).transaction, Some(OF));
    // An inner node of the tree is no transaction of it.
    let inner = crate::merkle::tree::fold(leaf, &path[..1]);
    let report = refused(&plain(inner, &path[1..]), &held, &[Code::ReceiptOtherLedger]);
    assert_eq!(report.transaction, None);
    // A signature transaction: the leaf is the root.
    let root = tree().root();
    let report = holds(&plain(root, &[]), &trusting(&[&service]));
    assert!(report.of_signature);
    let held = Expected {
        in_ledger: there([1; 32], Some(root)),
        ..trusting(&[&service])
    };
    assert_eq!(holds(&plain(root, &[]), &held).transaction, Some(OF));
    for other in [None, Some([7; 32])] {
        let held = Expected {
            in_ledger: there(root, other),
            ..trusting(&[&service])
        };
        refused(&plain(root, &[]), &held, &[Code::ReceiptOtherLedger]);
    }
    // Claims and entry can't be compared with what is not there.
    let digest = Some(ExpectedDigest {
        name: "a file".to_owned(),
        digest: leaf,
    });
    let claims = Expected {
        claims: digest.clone(),
        ..trusting(&[&service])
    };
    refused(&plain(leaf, &path), &claims, &[Code::ReceiptClaims]);
    let write_set = Expected {
        write_set: digest,
        ..trusting(&[&service])
    };
    refused(&plain(leaf, &path), &write_set, &[Code::ReceiptWriteSet]);
}
