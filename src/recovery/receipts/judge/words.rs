//! What a receipt that holds proves, and what it does not, in sentences.

use super::{Epoch, Expected, ReceiptReport};
use crate::merkle::presented::{Leaf, Presented};
use crate::shown::date;

pub(super) fn say_what_is_proven(
    report: &mut ReceiptReport,
    receipt: &Presented,
    expected: &Expected,
    issued_at: Option<i64>,
    epoch: Option<Epoch>,
) {
    let service = report.service.map_or(String::new(), |id| hex::encode(id.0));
    let what = match report.transaction {
        Some(txid) if report.of_signature => format!("signature transaction {txid}"),
        Some(txid) => format!("transaction {txid}"),
        None if report.of_signature => "a signature transaction, over this root,".to_owned(),
        None => "something with this leaf".to_owned(),
    };
    let mut proven = vec![format!("{what} is in the ledger of service {service}")];
    let mut not_proven = Vec::new();
    match (&receipt.leaf, report.of_signature) {
        (Leaf::Parts(_), _) => {
            proven.push("its commit evidence is shown, which takes the ledger secret".to_owned());
            not_proven.push(
                "that it was committed, unless a node gave the receipt out: nodes do so once it is, but whoever has the ledger secret can for what was signed and rolled back"
                    .to_owned(),
            );
        }
        (Leaf::Plain(_), true) => {
            not_proven.push("that everything before it was committed: a receipt of a signature says that it was signed".to_owned());
        }
        (Leaf::Plain(_), false) => not_proven.push(
            "that it was committed: the receipt has the leaf alone, without commit evidence, which needs the ledger secret"
                .to_owned(),
        ),
    }
    if let Some(node) = report.node {
        proven.push(format!(
            "node {} of that service signed the root {}",
            hex::encode(node.0),
            hex::encode(report.root.0)
        ));
    } else {
        let at = report.signed_in.map_or(String::new(), |txid| format!(" in {txid}"));
        let when = issued_at
            .and_then(|at| u64::try_from(at).ok())
            .map_or(String::new(), |at| format!(", by its own clock on {}", date(at)));
        proven.push(format!(
            "the service itself signed the root {}{at}{when}",
            hex::encode(report.root.0)
        ));
    }
    let by = report.trusted_by.clone().unwrap_or_default();
    proven.push(match report.endorsements {
        0 => format!("that service is the one trusted: {by}"),
        1 => format!("the service trusted, {by}, endorses it as the one before it"),
        n => format!("{n} endorsements lead to it from the service trusted, {by}"),
    });
    if report.transaction.is_none() {
        let how = "give --ledger and --txid to hold it against the ledger's own entry";
        not_proven.push(format!("which transaction it is: the receipt does not name it; {how}"));
        if let Some(Epoch { begin, end }) = epoch {
            not_proven.push(format!(
                "that it is from {begin} to {end}, for which that service is vouched for: nodes that a recovery left behind may sign on"
            ));
        }
    }
    let is_there = report.findings.is_empty();
    if let Some(there) = expected.in_ledger.as_ref().filter(|_| is_there) {
        proven.push(match report.of_signature {
            true => format!(
                "its root is the one that the ledger's signature at {} is over",
                there.txid
            ),
            false => format!("it is of the very bytes that the ledger has at {}", there.txid),
        });
    } else if let Some(write_set) = &expected.write_set {
        proven.push(format!("{} holds the bytes of its entry", write_set.name));
    } else {
        not_proven
            .push("what the transaction wrote: give --write-set or --ledger to compare it with the entry".to_owned());
    }
    match (&expected.claims, report.claims_digest) {
        (Some(claims), _) => proven.push(format!("what the application claims of it is {}", claims.name)),
        (None, Some(claims)) if claims.0 != [0; 32] => {
            not_proven
                .push("what the application claims of it: give --claims to compare it with the digest".to_owned());
        }
        _ => {}
    }
    not_proven.push("that any certificate was valid at some date: dates are not looked at, as in CCF".to_owned());
    report.proven = proven;
    report.not_proven = not_proven;
}
