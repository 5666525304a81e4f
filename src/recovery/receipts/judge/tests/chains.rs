//! What leads from one service to another, and the headers of what services sign.

use ciborium::Value;

use super::made::*;
use crate::crypto::cose::sign_endorsement;
use crate::crypto::x509::endorse_service;
use crate::merkle::receipt::write_cbor_proof;
use crate::recovery::receipts::judge::*;

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
fn a_bare_leaf_of_a_service_that_is_vouched_for_may_be_of_another_time() {
    let (first, second) = (service(1), service(2));
    let node = node(10, &first);
    let chain = [endorse(&second, &first, "2.1", "2.10")];
    let (pem, id) = (node.certificate.to_pem(), hex::encode(node.certificate.key_id()));
    let signature = node.key.sign_prehashed_der(&tree().root());
    let path = tree().path(OF.seqno).unwrap();
    let leaf = Leaf::Plain(parts().leaf());
    let receipt = crate::merkle::presented::write_json_receipt(&leaf, &path, (&pem, &id), &signature, &chain);
    let says = |report: &ReceiptReport| report.not_proven.iter().any(|words| words.contains("from 2.1 to 2.10"));
    assert!(says(&holds(&receipt, &trusting(&[&second]))));
    assert!(!says(&holds(&receipt, &trusting(&[&first]))));
    let held = Expected {
        in_ledger: Some(InLedger {
            txid: OF,
            leaf: parts().leaf(),
            root: None,
        }),
        ..trusting(&[&second])
    };
    refused(&receipt, &held, &[Code::ReceiptEpoch]);
}

#[test]
fn a_certificate_from_a_service_that_is_vouched_for_is_of_what_was_before_its_time() {
    let (first, second, third) = (service(1), service(2), service(3));
    let validity = second.certificate.validity().unwrap();
    let link = endorse_service(&first.certificate, &second.certificate, &second.key, validity, [9; 16]).unwrap();
    let plain = json(&node(10, &first), &[]);
    let receipt = changed(&plain, |receipt| {
        receipt["service_endorsements"] = vec![link.to_pem()].into()
    });
    let vouched = |begin: &str| Expected {
        endorsements: vec![endorse(&third, &second, begin, "9.99")],
        ..trusting(&[&third])
    };
    holds(&receipt, &vouched("4.18"));
    // The transaction is 2.17: its service was over by then, and its nodes signed on.
    for begin in ["4.17", "4.1", "2.18", "1.1"] {
        refused(&receipt, &vouched(begin), &[Code::ReceiptEpoch]);
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
