//! Receipts made by hand, of services and nodes made by hand: what holds, and each way in which one does not.

use ciborium::Value;

use super::*;
use crate::crypto::cose::{LedgerSignatureHeader, sign_endorsement, sign_ledger_root, with_inclusion_proof};
use crate::crypto::digest::sha256;
use crate::crypto::testing::rng;
use crate::crypto::x509::{endorse_service, issue};
use crate::crypto::{Curve, SigningKey};
use crate::merkle::Tree;
use crate::merkle::presented::{write_endorsements, write_json_receipt};
use crate::merkle::receipt::{LeafComponents, write_cbor_proof};

const CLAIMED: &[u8] = b"what the application claims";
const ENTRY: &[u8] = b"the bytes of an entry";
/// The transaction that every receipt here is of, and the signature that covers it.
const OF: TxId = TxId { view: 2, seqno: 17 };
const SIGNED_IN: TxId = TxId { view: 2, seqno: 23 };

struct Identity {
    key: SigningKey,
    certificate: Certificate,
}

fn service(seed: u64) -> Identity {
    service_on(Curve::P384, seed)
}

fn service_on(curve: Curve, seed: u64) -> Identity {
    let key = SigningKey::generate(curve, &mut rng(seed));
    let certificate = issue("CN=CCF Service", &key.verifying_key(), None, &key, true, 0, 90, [7; 16]).unwrap();
    Identity { key, certificate }
}

fn node(seed: u64, of: &Identity) -> Identity {
    let key = SigningKey::generate(Curve::P384, &mut rng(seed));
    let (subject, issuer) = ("CN=CCF Node", Some(&of.certificate));
    let certificate = issue(subject, &key.verifying_key(), issuer, &of.key, false, 0, 90, [8; 16]).unwrap();
    Identity { key, certificate }
}

fn parts() -> LeafComponents {
    LeafComponents {
        write_set_digest: sha256(ENTRY),
        commit_evidence: format!("ce:{OF}:{}", "0b".repeat(32)),
        claims_digest: sha256(CLAIMED),
    }
}

/// The tree that the signature at [`SIGNED_IN`] signs.
fn tree() -> Tree {
    let mut tree = Tree::genesis();
    for seqno in 1..SIGNED_IN.seqno {
        tree.append(match seqno == OF.seqno {
            true => parts().leaf(),
            false => sha256(&seqno.to_le_bytes()),
        });
    }
    tree
}

fn json_with(node: &Certificate, signature: &[u8], chain: &[Vec<u8>]) -> Vec<u8> {
    let parts = parts();
    let leaf = Parts::new(parts.write_set_digest, parts.commit_evidence, Some(parts.claims_digest)).unwrap();
    let path = tree().path(OF.seqno).unwrap();
    let id = hex::encode(node.key_id());
    write_json_receipt(&Leaf::Parts(leaf), &path, (&node.to_pem(), &id), signature, chain)
}

fn json(node: &Identity, chain: &[Vec<u8>]) -> Vec<u8> {
    json_with(&node.certificate, &node.key.sign_prehashed_der(&tree().root()), chain)
}

fn cose(service: &Identity) -> Vec<u8> {
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

fn endorse(by: &Identity, of: &Identity, begin: &str, end: &str) -> Vec<u8> {
    let payload = of.certificate.key().spki_der().to_vec();
    sign_endorsement(&by.key, 1_790_000_000, &payload, begin, Some(end), None)
}

/// Three services, one after the other, and what each said of the one before it, newest first.
fn recovered() -> ([Identity; 3], Vec<Vec<u8>>) {
    let services = [service(1), service(2), service(3)];
    let chain = vec![
        endorse(&services[2], &services[1], "4.41", "4.80"),
        endorse(&services[1], &services[0], "2.1", "2.40"),
    ];
    (services, chain)
}

fn trusting(services: &[&Identity]) -> Expected {
    let trusted = services.iter().enumerate().map(|(number, service)| Trusted {
        name: format!("service{number}.pem"),
        certificate: service.certificate.clone(),
    });
    Expected {
        trusted: trusted.collect(),
        ..Expected::default()
    }
}

fn judged(receipt: &[u8], expected: &Expected) -> ReceiptReport {
    judge(&Presented::parse(receipt).unwrap(), expected)
}

#[track_caller]
fn holds(receipt: &[u8], expected: &Expected) -> ReceiptReport {
    let report = judged(receipt, expected);
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.findings);
    assert!(!report.proven.is_empty());
    report
}

#[track_caller]
fn refused(receipt: &[u8], expected: &Expected, codes: &[Code]) -> ReceiptReport {
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

/// A changed JSON document.
fn changed(receipt: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut value = serde_json::from_slice(receipt).unwrap();
    change(&mut value);
    serde_json::to_vec(&value).unwrap()
}

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
fn endorsements_lead_back_over_any_number_of_recoveries() {
    let (services, chain) = recovered();
    let [first, second, third] = &services;
    let node = node(10, first);
    let backwards: Vec<Vec<u8>> = chain.iter().rev().cloned().collect();
    for list in [&chain, &backwards] {
        for receipt in [json(&node, list), json(&node, &[]), cose(first)] {
            let beside = Expected {
                endorsements: list.clone(),
                ..trusting(&[third])
            };
            let report = holds(&receipt, &beside);
            assert_eq!(report.endorsements, 2);
            assert_eq!(report.service.unwrap().0, first.certificate.key_id());
        }
    }
    holds(&json(&node, &chain), &trusting(&[third]));
    assert_eq!(holds(&json(&node, &chain), &trusting(&[second])).endorsements, 1);
    assert_eq!(holds(&json(&node, &chain), &trusting(&[first])).endorsements, 0);
    // Without any one of them nothing leads there.
    for left_out in 0..2 {
        let mut shorter = chain.clone();
        shorter.remove(left_out);
        let codes: &[Code] = match left_out {
            0 => &[Code::ReceiptEndorsement, Code::ReceiptStrange],
            _ => &[Code::ReceiptStrange],
        };
        refused(&json(&node, &shorter), &trusting(&[third]), codes);
    }
    // It goes back, not forward.
    refused(
        &json(&self::node(11, third), &chain),
        &trusting(&[first]),
        &[Code::ReceiptEndorsement, Code::ReceiptStrange],
    );
}

#[test]
fn a_service_is_vouched_for_in_its_own_time_only() {
    let (first, second) = (service(1), service(2));
    let covering = ["2.1 2.40", "2.17 2.17", "1.1 9.99"];
    let missing = ["2.18 2.40", "2.1 2.16", "3.1 3.40", "1.1 1.40"];
    let chain = |epoch: &str| {
        let (begin, end) = epoch.split_once(' ').unwrap();
        vec![endorse(&second, &first, begin, end)]
    };
    let receipts = |chain: &[Vec<u8>]| {
        [
            (json(&node(10, &first), chain), Vec::new()),
            (cose(&first), chain.to_vec()),
        ]
    };
    for epoch in covering {
        for (receipt, endorsements) in receipts(&chain(epoch)) {
            let beside = Expected {
                endorsements,
                ..trusting(&[&second])
            };
            holds(&receipt, &beside);
        }
    }
    for epoch in missing {
        for (receipt, endorsements) in receipts(&chain(epoch)) {
            let beside = Expected {
                endorsements,
                ..trusting(&[&second])
            };
            refused(&receipt, &beside, &[Code::ReceiptEpoch]);
        }
    }
}

#[test]
fn endorsements_that_are_not_what_they_should_be_lead_nowhere() {
    let (services, chain) = recovered();
    let [first, second, third] = &services;
    let receipt = json(&node(10, first), &[]);
    let strange = [Code::ReceiptEndorsement, Code::ReceiptStrange];
    let with = |endorsements: Vec<Vec<u8>>| Expected {
        endorsements,
        ..trusting(&[third])
    };
    let newer = chain[0].clone();
    let lists = [
        // The wrong way round in time; not right before the next; of another view.
        vec![newer.clone(), endorse(second, first, "2.40", "2.1")],
        vec![newer.clone(), endorse(second, first, "3.1", "2.40")],
        vec![newer.clone(), endorse(second, first, "2.1", "2.39")],
        vec![newer.clone(), endorse(second, first, "2.1", "3.40")],
        vec![newer.clone(), endorse(second, first, "2.1", "2.040")],
        vec![newer.clone(), endorse(second, first, "2.1", "")],
        // By somebody else; of itself for a time; open ended.
        vec![newer.clone(), endorse(&service(9), first, "2.1", "2.40")],
        vec![endorse(first, first, "2.1", "2.40")],
        vec![newer.clone(), endorse_openly(second, first)],
        // Each of two vouches for the other, and nobody trusted for either.
        vec![
            endorse(first, second, "4.41", "4.80"),
            endorse(second, first, "2.1", "2.40"),
        ],
        // Not endorsements.
        vec![vec![0xd2], Vec::new(), cose(third), vec![0x80; 5000]],
    ];
    for list in lists {
        refused(&receipt, &with(list), &strange);
    }
    // What is of no use does no harm beside what is.
    let noise = vec![
        vec![1, 2, 3],
        endorse(&service(9), second, "4.41", "4.80"),
        endorse(third, third, "6.81", "6.99"),
    ];
    holds(&receipt, &with([noise, chain.clone(), chain].concat()));
}

/// Without an end, as only a first service writes it, of itself.
fn endorse_openly(by: &Identity, of: &Identity) -> Vec<u8> {
    let payload = of.certificate.key().spki_der().to_vec();
    sign_endorsement(&by.key, 1_790_000_000, &payload, "2.1", None, None)
}

#[test]
fn many_endorsements_that_nobody_known_signed_cost_a_bounded_time() {
    let (first, third) = (service(1), service(3));
    let one = endorse(&service(9), &first, "2.1", "2.40");
    let expected = Expected {
        endorsements: vec![one; 1024],
        ..trusting(&[&third])
    };
    let began = std::time::Instant::now();
    let report = judged(&cose(&first), &expected);
    assert_eq!(report.verdict, Verdict::Findings);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

/// A COSE receipt with another protected header.
fn cose_with(service: &Identity, change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let kid = hex::encode(service.certificate.key_id());
    let mut header = vec![
        (Value::from(1), Value::from(-35)),
        (Value::from(4), Value::Bytes(kid.into_bytes())),
        (Value::from(395), Value::from(2)),
        (
            Value::from("ccf.v1"),
            Value::Map(vec![(Value::from("txid"), Value::from(SIGNED_IN.to_string()))]),
        ),
    ];
    change(&mut header);
    let encoded = |value: &Value| {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    };
    let protected = encoded(&Value::Map(header));
    let signed = Value::Array(vec![
        Value::from("Signature1"),
        Value::Bytes(protected.clone()),
        Value::Bytes(Vec::new()),
        Value::Bytes(tree().root().to_vec()),
    ]);
    let signature = service.key.sign_fixed(&encoded(&signed));
    let proof = write_cbor_proof(&parts(), &tree().path(OF.seqno).unwrap());
    let proofs = Value::Map(vec![(Value::from(-1), Value::Array(vec![Value::Bytes(proof)]))]);
    encoded(&Value::Tag(
        18,
        Box::new(Value::Array(vec![
            Value::Bytes(protected),
            Value::Map(vec![(Value::from(396), proofs)]),
            Value::Null,
            Value::Bytes(signature),
        ])),
    ))
}

#[test]
fn the_header_of_a_cose_receipt_is_that_of_a_ledgers_signature() {
    let service = service(1);
    let expected = trusting(&[&service]);
    holds(&cose_with(&service, |_| ()), &expected);
    let signed_in = |txid: &str| {
        let txid = txid.to_owned();
        cose_with(&service, move |header| {
            header[3].1 = Value::Map(vec![(Value::from("txid"), Value::from(txid))]);
        })
    };
    for wrong in [
        "2.17",
        "2.16",
        "1.23",
        "2.17000",
        "2.0",
        "",
        "x",
        "2.023",
        "2.18446744073709551615",
    ] {
        refused(&signed_in(wrong), &expected, &[Code::ReceiptHeader]);
    }
    holds(&signed_in("3.23"), &expected);
    refused(
        &cose_with(&service, |header| header[2].1 = Value::from(1)),
        &expected,
        &[Code::ReceiptHeader],
    );
    refused(
        &cose_with(&service, |header| drop(header.remove(2))),
        &expected,
        &[Code::ReceiptHeader],
    );
    refused(
        &cose_with(&service, |header| drop(header.remove(1))),
        &expected,
        &[Code::ReceiptHeader],
    );
    // ES256 in name, with a key of the larger curve; no algorithm.
    refused(
        &cose_with(&service, |header| header[0].1 = Value::from(-7)),
        &expected,
        &[Code::ReceiptSignature],
    );
    refused(
        &cose_with(&service, |header| drop(header.remove(0))),
        &expected,
        &[Code::ReceiptSignature],
    );
    // What is critical and not understood.
    let critical = cose_with(&service, |header| {
        header.push((Value::from(2), Value::Array(vec![Value::from("x")])));
        header.push((Value::from("x"), Value::from(1)));
    });
    assert!(Presented::parse(&critical).is_err());
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
            refused(&receipt, &expected, &[code]);
        }
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
    refused(&plain(inner, &path[1..]), &held, &[Code::ReceiptOtherLedger]);
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

/// What a reader can tell of a receipt.
fn meaning(receipt: &Presented) -> impl PartialEq + use<> {
    let signer = match &receipt.signer {
        Signer::Node {
            certificate,
            node_id,
            signature,
            ..
        } => (certificate.der().to_vec(), node_id.clone(), signature.clone()),
        Signer::Service(message) => (message.signature().to_vec(), String::new(), Vec::new()),
    };
    (receipt.leaf.clone(), receipt.path.clone(), signer)
}

/// Every bit of `bytes` flipped: what is still accepted means the same.
#[track_caller]
fn survives_no_flip(bytes: &[u8], accepted: impl Fn(&[u8]) -> Option<bool>) -> usize {
    let mut same = 0;
    let mut flipped = bytes.to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            flipped[at] ^= 1 << bit;
            match accepted(&flipped) {
                None => {}
                Some(true) => same += 1,
                Some(false) => panic!("byte {at}, bit {bit}: accepted, and says something else"),
            }
            flipped[at] ^= 1 << bit;
        }
    }
    same
}

#[test]
fn no_flipped_bit_of_a_receipt_or_its_endorsements_is_accepted() {
    let (services, chain) = recovered();
    let [first, _, third] = &services;
    let judge_as = |original: &[u8], endorsements: &[Vec<u8>], bytes: &[u8]| {
        let receipt = Presented::parse(bytes).ok()?;
        let expected = Expected {
            endorsements: endorsements.to_vec(),
            ..trusting(&[third])
        };
        let holds = judge(&receipt, &expected).verdict == Verdict::Ok;
        holds.then(|| meaning(&receipt) == meaning(&Presented::parse(original).unwrap()))
    };
    let receipt = cose(first);
    let same = survives_no_flip(&receipt, |bytes| judge_as(&receipt, &chain, bytes));
    assert_eq!(
        same, 1,
        "that there is no payload can be said in two ways: nil and undefined"
    );
    let receipt = json(&node(10, first), &[]);
    survives_no_flip(&receipt, |bytes| judge_as(&receipt, &chain, bytes));
    // The endorsements: what leads to the service is gone with any bit of it.
    let list = write_endorsements(&chain);
    let receipt = cose(first);
    let same = survives_no_flip(&list, |bytes| {
        let endorsements = crate::merkle::presented::read_endorsements(bytes).ok()?;
        judge_as(&receipt, &endorsements, &receipt)
    });
    assert_eq!(same, 0);
}
