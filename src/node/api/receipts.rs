//! `/node/receipt`: proof that a transaction is in the ledger, made from the files at the moment it is asked for.
//!
//! The tree in the first signature after a transaction gives the path from its leaf to the signed root. Recovery
//! specification, section 3.2; format specification, sections 5 and 7.3.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::answers::{Hex, LeafComponents, ProofStep, Receipt, TransactionId, TxStatus};
use super::consensus::{status_of, transaction_id};
use super::with_txid;
use crate::crypto::{Certificate, Digest};
use crate::format::TxId;
use crate::format::chunk::Located;
use crate::format::directory::LedgerFiles;
use crate::http::{ApiError, ApiResult, QueryParameter, Request, Response, Route, schema};
use crate::merkle::Tree;
use crate::merkle::tree::TreeView;
use crate::node::public::ledger_directories;
use crate::node::shared::Node;
use crate::recovery::segments::Windows;
use crate::recovery::writes::is_signature;
use crate::service::value;
use crate::tables::names;
use crate::tables::values::{ServiceInfo, Signature, from_json};

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
    let mut leaf = None;
    let mut windows = Windows::new(files, txid.seqno, u64::MAX);
    while let Some(window) = windows.next_window().map_err(|why| why.to_string())? {
        for segment in &window {
            let mut found = None;
            segment.for_each(|located| {
                if located.seqno < txid.seqno || found.is_some() {
                    return;
                }
                let signs = is_signature(&located);
                match located.seqno == txid.seqno {
                    true if signs => found = Some(of_signature(&located)),
                    true => leaf = Some(Leaf::of(&located, evidence)),
                    false if signs => {
                        let leaf = leaf.take().ok_or("the transaction is not where it should be");
                        found = Some(leaf.map_err(str::to_owned).and_then(|leaf| prove(&located, txid, leaf)));
                    }
                    false => {}
                }
            });
            if let Some(found) = found {
                return found;
            }
        }
    }
    Err("no signature after it was found".to_owned())
}

/// What a receipt says of the transaction itself.
struct Leaf {
    /// Where the entry has no commit evidence, as before 2.0.
    plain: Option<Hex>,
    components: Option<LeafComponents>,
}

impl Leaf {
    fn of(located: &Located<'_>, evidence: &str) -> Leaf {
        match located.public.commit_evidence_digest {
            Some(_) => Leaf {
                plain: None,
                components: Some(LeafComponents {
                    claims_digest: Hex::of(&located.public.claims_digest.copied().unwrap_or_default()),
                    commit_evidence: evidence.to_owned(),
                    write_set_digest: Hex::of(&located.entry.write_set_digest()),
                }),
            },
            None => Leaf {
                plain: Some(Hex::of(&located.entry.leaf(&located.public))),
                components: None,
            },
        }
    }
}

/// What a signature transaction writes.
struct Signed {
    signature: Signature,
    tree: Vec<u8>,
}

fn signed(located: &Located<'_>) -> Result<Signed, String> {
    let (mut signature, mut tree) = (None, None);
    let mut maps = located.maps();
    while let Some(table) = maps.next_name().map_err(|why| why.to_string())? {
        maps.writes(|write| match table {
            names::SIGNATURES => signature = write.value.map(from_json::<Signature>),
            names::TREE => tree = write.value.map(<[u8]>::to_vec),
            _ => {}
        })
        .map_err(|why| why.to_string())?;
    }
    match (signature, tree) {
        (Some(Ok(signature)), Some(tree)) => Ok(Signed { signature, tree }),
        _ => Err(format!(
            "the signature at {} is not a node's, or has no tree",
            located.seqno
        )),
    }
}

fn prove(located: &Located<'_>, txid: TxId, leaf: Leaf) -> Result<Receipt, String> {
    let Signed { signature, tree } = signed(located)?;
    let view = TreeView::parse(&tree).map_err(|why| why.to_string())?;
    let first = view.len() - view.leaves().count() as u64;
    let flushed = view.accumulator(first).ok_or("the signature's tree can't be read")?;
    let leaves: Vec<Digest> = view.leaves().copied().collect();
    let path = Tree::continuing(flushed, leaves).path(txid.seqno).ok_or_else(|| {
        format!(
            "the tree of the signature at {} does not reach back to it",
            located.seqno
        )
    })?;
    let step = |digest| Some(Hex::of(digest));
    let proof = path.iter().map(|at| match at.left {
        true => ProofStep {
            left: step(&at.digest),
            right: None,
        },
        false => ProofStep {
            left: None,
            right: step(&at.digest),
        },
    });
    Ok(Receipt {
        leaf: leaf.plain,
        leaf_components: leaf.components,
        proof: proof.collect(),
        ..Receipt::signed(signature)
    })
}

/// A signature transaction proves itself: its leaf is the root that it signs.
fn of_signature(located: &Located<'_>) -> Result<Receipt, String> {
    let Signed { signature, .. } = signed(located)?;
    Ok(Receipt {
        leaf: Some(Hex::of(&signature.root.0)),
        ..Receipt::signed(signature)
    })
}
