//! `/node/receipt`: proof that a transaction is in the ledger, made from the files at the moment it is asked for.
//!
//! The tree in the first signature after a transaction gives the path from its leaf to the signed root. Recovery
//! specification, section 3.2; format specification, sections 5 and 7.3.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::answers::{Hex, LeafComponents, ProofStep, Receipt, TransactionId, TxStatus};
use super::consensus::{status_of, transaction_id};
use super::with_txid;
use crate::crypto::Certificate;
use crate::format::TxId;
use crate::format::directory::LedgerFiles;
use crate::http::{ApiError, ApiResult, QueryParameter, Request, Response, Route, schema};
use crate::merkle::tree::Step;
use crate::node::public::ledger_directories;
use crate::node::shared::Node;
use crate::recovery::receipts::lookup;
use crate::service::value;
use crate::tables::names;
use crate::tables::values::{ServiceInfo, Signature};

pub(super) const TRANSACTION: &[QueryParameter] = &[QueryParameter {
    name: "transaction_id",
    required: true,
    description: "Which transaction, as view.seqno",
    schema: schema::<TransactionId>,
}];

pub(super) fn routes() -> Vec<Route<Node>> {
    vec![
        Route::new(
            Method::GET,
            "/node/receipt",
            "Proof that a committed transaction is in the ledger",
            |node, request| Box::pin(receipt(node, request)),
        )
        .query(TRANSACTION)
        .returns::<Receipt>(),
    ]
}

pub(super) async fn receipt(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let txid = transaction_id(&request)?;
    let not_found = |code, message| Err(ApiError::new(StatusCode::NOT_FOUND, code, message));
    match status_of(&node, txid) {
        TxStatus::Committed => {}
        TxStatus::Invalid => return not_found("TransactionInvalid", format!("Transaction {txid} is invalid.")),
        TxStatus::Pending => {
            return not_found("TransactionPendingOrUnknown", format!("Transaction {txid} is pending."));
        }
        TxStatus::Unknown => {
            return not_found("TransactionPendingOrUnknown", format!("Transaction {txid} is unknown."));
        }
    }
    let read = tokio::task::spawn_blocking({
        let node = Arc::clone(&node);
        move || find(&node, txid)
    });
    let receipt = read
        .await
        .map_err(|_| ApiError::internal("The ledger could not be read."))?;
    let receipt = receipt.map_err(|why| ApiError::internal(format!("The receipt could not be made: {why}")))?;
    let Some(receipt) = receipt else {
        return not_found(
            "TransactionInvalid",
            format!(
                "Historical transaction {txid} is not signed by the current service identity key and cannot be retrieved \
                 until recovery is complete."
            ),
        );
    };
    Ok(with_txid(Response::json(&receipt), node.status.last_written()))
}

/// The evidence text of a transaction, where its ledger secret is known.
fn commit_evidence(node: &Node, files: &LedgerFiles, txid: TxId) -> Option<String> {
    let own = node.own_secrets.read().ok()?;
    if let Some((_, secret)) = own.iter().rfind(|(from, _)| *from <= txid.seqno) {
        return Some(secret.evidence_text(txid.view, txid.seqno));
    }
    drop(own);
    let old = node.old_secrets.get()?;
    let older = || node.older_secrets.get_or_init(|| old.before(files));
    let secret = old.at(txid.seqno).or_else(|| older().at(txid.seqno))?;
    Some(secret.commit.evidence_text(txid.view, txid.seqno))
}

/// The transaction, and the first signature after it; with what leads from an earlier service to this one. `None` while
/// the secret that proves it is not known.
fn find(node: &Node, txid: TxId) -> Result<Option<Receipt>, String> {
    let files = LedgerFiles::list(&ledger_directories(&node.config), true).map_err(|why| why.to_string())?;
    let Some(evidence) = commit_evidence(node, &files, txid) else {
        return Ok(None);
    };
    let mut receipt = read(&files, txid, &evidence)?;
    let Ok(signer) = Certificate::from_pem(&receipt.cert) else {
        // A node of 1.x, which signed without its certificate.
        return Ok(Some(receipt));
    };
    let (present, named) = node
        .read(|store| {
            let transaction = store.transaction();
            let named: Option<String> = value(&transaction, names::PREVIOUS_SERVICE_IDENTITY);
            (value::<ServiceInfo>(&transaction, names::SERVICE_INFO), named)
        })
        .0;
    let named = named.and_then(|pem| Certificate::from_pem(&pem).ok());
    if let Some(present) = present {
        let endorsements = node
            .predecessors
            .endorsements(&files, &signer, &present, named.as_ref());
        receipt.service_endorsements = endorsements.map_err(|why| why.to_string())?;
    }
    Ok(Some(receipt))
}

fn read(files: &LedgerFiles, txid: TxId, evidence: &str) -> Result<Receipt, String> {
    // The first one after it, whoever signed: the next may not be committed yet.
    let found = lookup::find(files, txid.seqno, txid.seqno, |_| true).map_err(|why| why.to_string())?;
    let found = found.ok_or("the transaction is not where it should be")?;
    if let Some(own) = found.own {
        // A signature transaction proves itself: its leaf is the root that it signs.
        let signature = by_node(own.signature, own.txid)?;
        return Ok(Receipt {
            leaf: Some(Hex::of(&signature.root.0)),
            ..Receipt::signed(signature)
        });
    }
    let Some(signed) = found.signed else {
        return Err(found
            .passed
            .unwrap_or_else(|| "no signature after it was found".to_owned()));
    };
    let path = lookup::path(files, &signed, txid.seqno)?;
    let (leaf, leaf_components) = parts(&found.entry, evidence);
    Ok(Receipt {
        leaf,
        leaf_components,
        proof: path.iter().map(proof_step).collect(),
        ..Receipt::signed(by_node(signed.signature, signed.txid)?)
    })
}

fn by_node(signature: Option<Signature>, txid: TxId) -> Result<Signature, String> {
    signature.ok_or_else(|| format!("the signature at {} is not a node's", txid.seqno))
}

/// What a receipt says of the transaction itself: the leaf alone where the entry has no commit evidence, as before 2.0.
fn parts(entry: &lookup::Entry, evidence: &str) -> (Option<Hex>, Option<LeafComponents>) {
    match entry.evidence_digest {
        None => (Some(Hex::of(&entry.leaf)), None),
        Some(_) => (
            None,
            Some(LeafComponents {
                claims_digest: entry.claims_digest.as_ref().map(Hex::of),
                commit_evidence: evidence.to_owned(),
                write_set_digest: Hex::of(&entry.write_set_digest),
            }),
        ),
    }
}

fn proof_step(step: &Step) -> ProofStep {
    let digest = Some(Hex::of(&step.digest));
    match step.left {
        true => ProofStep {
            left: digest,
            right: None,
        },
        false => ProofStep {
            left: None,
            right: digest,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_a_claims_digest_has_none_in_its_receipt() {
        let entry = |claims_digest| lookup::Entry {
            txid: TxId { view: 2, seqno: 17 },
            write_set_digest: [1; 32],
            evidence_digest: Some([2; 32]),
            claims_digest,
            leaf: [3; 32],
        };
        let said = |claims_digest| serde_json::to_value(parts(&entry(claims_digest), "ce:2.17:").1.unwrap()).unwrap();
        assert_eq!(said(Some([4; 32]))["claims_digest"], "04".repeat(32));
        // A digest of zeros is part of the leaf, too: with it the path would lead to another root.
        assert_eq!(
            said(None).as_object().unwrap().keys().collect::<Vec<_>>(),
            ["commit_evidence", "write_set_digest"]
        );
    }
}
