//! Any bit of a receipt, or of what leads to it, turned over.

use super::made::*;
use crate::merkle::presented::write_endorsements;
use crate::recovery::receipts::judge::*;

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
