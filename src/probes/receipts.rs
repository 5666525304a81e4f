//! Receipts as strangers present them, and the endorsements beside them.

use crate::crypto::cose::Sign1;
use crate::crypto::{Certificate, VerifyingKey};
use crate::merkle::presented::{Presented, read_endorsements, write_endorsements};
use crate::merkle::receipt::Signer;
use crate::recovery::receipts::chain::follow;
use crate::recovery::receipts::judge::{Expected, Trusted, judge};

/// Judged by somebody who trusts whoever signed it.
pub(super) fn judged(bytes: &[u8]) {
    let Ok(receipt) = Presented::parse(bytes) else {
        return;
    };
    let own = match &receipt.signer {
        Signer::Node { certificate_pem, .. } => Certificate::from_pem(certificate_pem).ok(),
        Signer::Service(_) => None,
    };
    let trusted = own.map(|certificate| Trusted {
        name: String::new(),
        certificate,
    });
    let expected = Expected {
        trusted: trusted.into_iter().collect(),
        txid: receipt.txid(),
        ..Expected::default()
    };
    let _ = serde_json::to_vec(&judge(&receipt, &expected));
}

/// A list of endorsements, followed from every key that is in it.
pub fn receipt_endorsements(bytes: &[u8]) {
    let Ok(list) = read_endorsements(bytes) else {
        return;
    };
    let keys: Vec<VerifyingKey> = list
        .iter()
        .take(8)
        .filter_map(|one| VerifyingKey::from_spki_der(Sign1::parse(one).ok()?.payload()?).ok())
        .collect();
    let _ = follow(&keys, &list);
    assert!(read_endorsements(&write_endorsements(&list)).is_ok_and(|again| again == list));
}
