//! Snapshots: which there are, whether each is what its receipt says, and starting a verification from one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::crypto::cose::Sign1;
use crate::crypto::digest::Digest;
use crate::crypto::x509::Certificate;
use crate::error::{Error, Result};
use crate::format::map::MappedFile;
use crate::format::mounts;
use crate::format::names::SnapshotName;
use crate::format::snapshot::Snapshot;
use crate::format::{Seqno, TxId};
use crate::merkle::Accumulator;
use crate::merkle::receipt::{Receipt, ReceiptError, Signer};
use crate::merkle::tree::TreeView;
use crate::recovery::join::SignedRoot;
use crate::recovery::scan::{MAX_TRUST_BYTES, MAX_VIEW, TrustTable, TrustWrite};
use crate::recovery::trust::{SignedBefore, Trust};
use crate::report::{Code, Verdict};
use crate::shown::Show;
use crate::tables::{SINGLETON_KEY, names, values};

mod judge;

pub(super) use judge::{alone, check_all, judge_start, wanted_leaves};

/// A snapshot file found in a directory.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// What its name says.
    pub name: SnapshotName,
}

/// What is said of one snapshot in a report.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SnapshotVerdict {
    /// The file.
    pub file: String,
    /// Seqno of its state.
    pub seqno: Seqno,
    /// Whether anything is wrong with it; the findings say what.
    pub verdict: Verdict,
    /// What its content is, beside the state that the ledger gives; none where nobody compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentVerdict>,
}

/// What of a snapshot was held against the state that the ledger gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compared {
    /// Public and private maps.
    All,
    /// Public maps.
    Public,
    /// Nothing.
    Nothing,
}

/// A snapshot's content, key by key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContentVerdict {
    /// What was compared.
    pub compared: Compared,
    /// Keys of the snapshot that were.
    pub keys: u64,
    /// Differences from the ledger.
    pub differences: u64,
    /// The first of them, in the order of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<serde_json::Value>,
    /// Why not all was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

impl ContentVerdict {
    /// Nothing was compared.
    pub fn nothing(why: String) -> ContentVerdict {
        ContentVerdict {
            compared: Compared::Nothing,
            keys: 0,
            differences: 0,
            first: None,
            why_not: Some(why),
        }
    }
}

/// Lists the snapshots of directories, by seqno.
///
/// # Errors
/// If a directory can't be read.
pub fn list(directories: &[PathBuf]) -> Result<Vec<SnapshotFile>> {
    let mut found = Vec::new();
    for directory in directories {
        for (name, path) in mounts::list(directory).map_err(Error::io("list directory", directory))? {
            if let Some(name) = SnapshotName::parse(&name.to_string_lossy()) {
                found.push(SnapshotFile { path, name });
            }
        }
    }
    found.sort_by(|a, b| (a.name, &a.path).cmp(&(b.name, &b.path)));
    Ok(found)
}

/// What a verification needs to begin after a snapshot, whose receipt verified.
#[derive(Clone)]
pub struct Start {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its entry part.
    pub digest: Digest,
    /// Seqno of the snapshot's state.
    pub seqno: Seqno,
    /// The signature transaction whose state it is: the tree in it has one leaf for each transaction before.
    pub signed: SignedRoot,
    /// The leaf of that transaction.
    pub leaf: Digest,
    /// The transaction that holds its evidence, as its receipt proves.
    pub evidence: TxId,
    /// The leaf of that transaction, as its receipt proves.
    pub evidence_leaf: Digest,
    /// COSE issuer and subject of that signature; empty where it has none.
    pub issuer_and_subject: (String, String),
    /// The tree up to and including that seqno.
    pub accumulator: Accumulator,
    /// The keys in force there.
    pub trust: Trust,
    /// First seqno of each view up to there.
    pub view_history: Vec<Seqno>,
    /// The last write of the historical secrets.
    pub historical: Option<(Seqno, values::HistoricalSecret)>,
}

/// Reads a snapshot as a starting point: its receipt must verify, by a key that its own state trusts.
///
/// # Errors
/// If the file can't be read, or is not a snapshot that can be started from; the sentence says why.
pub fn start_from(path: &Path) -> Result<Start> {
    let map = MappedFile::open(path).map_err(Error::io("open snapshot", path))?;
    let refuse = |why: String| {
        Error::Unreadable(format!(
            "can't start from snapshot {}: {why}; use another snapshot, or none",
            path.shown()
        ))
    };
    let snapshot = Snapshot::parse(map.bytes()).map_err(|e| refuse(e.to_string()))?;
    let state = read_state(&snapshot).map_err(|e| refuse(e.to_string()))?;
    let accumulator = state
        .tree
        .as_deref()
        .and_then(|tree| TreeView::parse(tree).ok())
        .and_then(|tree| tree.accumulator(snapshot.seqno))
        .ok_or_else(|| refuse(format!("it holds no Merkle tree of {} leaves", snapshot.seqno)))?;
    let view_history: Vec<Seqno> = snapshot.view_history().take(MAX_VIEW as usize + 1).collect();
    if view_history.len() as u64 > MAX_VIEW {
        return Err(refuse(format!(
            "it tells of more than {MAX_VIEW} views, expected fewer"
        )));
    }
    // A snapshot is of the state at a signature transaction, in the last view of its history.
    let txid = TxId {
        view: view_history.len() as u64,
        seqno: snapshot.seqno,
    };
    let root = values::HexDigest(accumulator.root());
    let trust = state.trust(txid, root.0);
    let receipt = check_receipt(&snapshot, trust.identities()).map_err(|(_, why)| refuse(why))?;
    let evidence = receipt
        .txid()
        .ok_or_else(|| refuse("its receipt does not say of which transaction it is".to_owned()))?;
    if evidence.seqno <= snapshot.seqno {
        let seqno = snapshot.seqno;
        let why = format!("its receipt is of transaction {evidence}, which is not after its state at {seqno}");
        return Err(refuse(why));
    }
    let own = |signature: &values::Signature| signature.seqno == snapshot.seqno && signature.root == root;
    let signed = SignedRoot {
        txid,
        root,
        signer: state.signature.filter(own).map(|signature| signature.node),
        // The receipt verified by the key of the one service that the state names, or by a node which that endorsed.
        service: trust.services().last().map(|service| service.identity),
    };
    let mut accumulator = accumulator;
    accumulator.append(snapshot.leaf);
    Ok(Start {
        path: path.to_owned(),
        digest: snapshot.digest(),
        seqno: snapshot.seqno,
        signed,
        leaf: *snapshot.leaf,
        evidence,
        evidence_leaf: receipt.leaf_components.leaf(),
        issuer_and_subject: state.issuer_and_subject,
        accumulator,
        trust,
        view_history,
        historical: state.historical,
    })
}

/// A tree is flushed at every snapshot and long before it has two million leaves.
const MAX_TREE_BYTES: usize = 64 << 20;

struct TrustState {
    tree: Option<Vec<u8>>,
    /// The values of trust tables.
    writes: Vec<TrustWrite>,
    /// How the service had signed.
    seen: SignedBefore,
    historical: Option<(Seqno, values::HistoricalSecret)>,
    /// The last node's signature.
    signature: Option<values::Signature>,
    issuer_and_subject: (String, String),
}

impl TrustState {
    /// The keys in force in this state, which is that of the signature transaction `txid` over `root`.
    fn trust(&self, txid: TxId, root: Digest) -> Trust {
        Trust::of_snapshot(&self.writes, txid, root, self.seen)
    }
}

/// Takes the tree and the trust tables out of a snapshot's public state.
fn read_state(snapshot: &Snapshot<'_>) -> std::result::Result<TrustState, crate::format::Malformed> {
    let mut tree = None;
    let mut historical = None;
    let mut signature = None;
    let mut issuer_and_subject = Default::default();
    let mut writes = Vec::new();
    let (mut signed_by_node, mut signed_by_service) = (None, None);
    let mut services = 0;
    let mut stray_service = false;
    snapshot.public_state(|map, entry| {
        if entry.version < 0 {
            return;
        }
        if map == names::SERVICE_INFO {
            services += 1;
            stray_service |= entry.key != SINGLETON_KEY;
        }
        let table = match map {
            names::SERVICE_INFO => TrustTable::ServiceInfo,
            names::NODES_INFO => TrustTable::NodesInfo,
            names::NODES_ENDORSED_CERTIFICATES => TrustTable::NodesEndorsedCertificates,
            names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT if entry.key == SINGLETON_KEY => {
                TrustTable::IdentityEndorsement
            }
            names::TREE if entry.key == SINGLETON_KEY => {
                tree = (entry.value.len() <= MAX_TREE_BYTES).then(|| entry.value.to_vec());
                return;
            }
            names::HISTORICAL_ENCRYPTED_LEDGER_SECRET => {
                let value = values::from_json(entry.value).ok();
                historical = value.map(|value| (entry.version as u64, value));
                return;
            }
            names::SIGNATURES => {
                signed_by_node = Some(entry.version);
                signature = values::from_json(entry.value).ok();
                return;
            }
            names::COSE_SIGNATURES if entry.key == SINGLETON_KEY => {
                signed_by_service = Some(entry.version);
                issuer_and_subject = issuer_and_subject_in(entry.value);
                return;
            }
            _ => return,
        };
        if entry.value.len().max(entry.key.len()) > MAX_TRUST_BYTES {
            return;
        }
        writes.push(TrustWrite {
            seqno: entry.version as u64,
            view: 0,
            offset: 0,
            chunk_index: 0,
            table,
            key: entry.key.to_vec(),
            value: Some(entry.value.to_vec()),
            claims_digest: None,
        });
    })?;
    // Its receipt is held against the service that it names: a second one could be anybody's.
    if services > 1 || stray_service {
        let what =
            format!("{services} values of service.info, expected one at most, under the key of eight zero bytes");
        return Err(crate::format::Malformed::at(0, what));
    }
    Ok(TrustState {
        tree,
        writes,
        seen: SignedBefore {
            by_service: signed_by_service.is_some(),
            by_service_alone: signed_by_service > signed_by_node,
        },
        historical,
        signature,
        issuer_and_subject,
    })
}

/// What a COSE signature in a table says of its issuer and subject.
fn issuer_and_subject_in(value: &[u8]) -> (String, String) {
    let message: Option<values::Base64> = values::from_json(value).ok();
    let message = message.as_ref().and_then(|message| Sign1::parse(&message.0).ok());
    let claim = |claim: Option<&str>| claim.unwrap_or_default().to_owned();
    message.map_or_else(Default::default, |message| {
        (claim(message.issuer()), claim(message.subject()))
    })
}

/// Checks a receipt's digest, path and signature, and that one of these services stands behind its signer.
fn check_receipt(
    snapshot: &Snapshot<'_>,
    identities: &[Arc<Certificate>],
) -> std::result::Result<Receipt, (Code, String)> {
    let receipt = Receipt::parse(snapshot.receipt).map_err(|e| (Code::SnapshotReceipt, e.to_string()))?;
    let digest = snapshot.digest();
    if receipt.leaf_components.claims_digest != digest {
        let why = ReceiptError::OtherClaims {
            found: hex::encode(receipt.leaf_components.claims_digest),
            expected: hex::encode(digest),
        };
        return Err((Code::SnapshotReceipt, why.to_string()));
    }
    match &receipt.signer {
        Signer::Node { certificate, .. } => {
            receipt
                .verify(certificate.key())
                .map_err(|e| (Code::SnapshotReceipt, e.to_string()))?;
            let endorsed = identities
                .iter()
                .any(|service| certificate.is_signed_by(service.key()).is_ok());
            if !endorsed {
                let why = "the certificate of the node that signed its receipt is not signed by any service identity of this ledger";
                return Err((Code::SnapshotSigner, why.to_owned()));
            }
        }
        Signer::Service(_) => {
            if !identities.iter().any(|service| receipt.verify(service.key()).is_ok()) {
                let why = "its receipt does not verify with any service identity of this ledger";
                return Err((Code::SnapshotSigner, why.to_owned()));
            }
        }
    }
    Ok(receipt)
}
