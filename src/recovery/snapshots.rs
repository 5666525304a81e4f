//! Snapshots: which there are, whether each is what its receipt says, and starting a verification from one.

use std::path::{Path, PathBuf};

use crate::crypto::digest::Digest;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::map::MappedFile;
use crate::format::names::SnapshotName;
use crate::format::snapshot::Snapshot;
use crate::merkle::Accumulator;
use crate::merkle::receipt::{Receipt, ReceiptError, Signer};
use crate::merkle::tree::TreeView;
use crate::recovery::join::Joiner;
use crate::recovery::report::{Code, Finding, Severity, Verdict};
use crate::recovery::scan::{MAX_TRUST_BYTES, TrustTable, TrustWrite};
use crate::recovery::trust::Trust;
use crate::shown::Show;
use crate::tables::{SINGLETON_KEY, names, values};

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
}

/// Lists the snapshots of directories, by seqno.
///
/// # Errors
/// If a directory can't be read.
pub fn list(directories: &[PathBuf]) -> Result<Vec<SnapshotFile>> {
    let mut found = Vec::new();
    for directory in directories {
        for item in std::fs::read_dir(directory).map_err(Error::io("list directory", directory))? {
            let item = item.map_err(Error::io("list directory", directory))?;
            if let Some(name) = SnapshotName::parse(&item.file_name().to_string_lossy()) {
                found.push(SnapshotFile {
                    path: item.path(),
                    name,
                });
            }
        }
    }
    found.sort_by(|a, b| (a.name, &a.path).cmp(&(b.name, &b.path)));
    Ok(found)
}

/// What a verification needs to begin behind a snapshot, whose receipt verified.
#[derive(Clone)]
pub struct Start {
    /// Seqno of the snapshot's state.
    pub seqno: Seqno,
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
    check_receipt(&snapshot, &state.trust).map_err(|(_, why)| refuse(why))?;
    let mut accumulator = accumulator;
    accumulator.append(snapshot.leaf);
    Ok(Start {
        seqno: snapshot.seqno,
        accumulator,
        trust: state.trust,
        view_history: snapshot.view_history().collect(),
        historical: state.historical,
    })
}

/// A tree is flushed at every snapshot and long before it has two million leaves.
const MAX_TREE_BYTES: usize = 64 << 20;

struct State {
    tree: Option<Vec<u8>>,
    trust: Trust,
    historical: Option<(Seqno, values::HistoricalSecret)>,
}

/// Takes the tree and the trust tables out of a snapshot's public state.
fn read_state(snapshot: &Snapshot<'_>) -> std::result::Result<State, crate::format::Malformed> {
    let mut tree = None;
    let mut historical = None;
    let mut writes = Vec::new();
    snapshot.public_state(|map, entry| {
        if entry.version < 0 {
            return;
        }
        let table = match map {
            names::SERVICE_INFO => TrustTable::ServiceInfo,
            names::NODES_INFO => TrustTable::NodesInfo,
            names::NODES_ENDORSED_CERTIFICATES => TrustTable::NodesEndorsedCertificates,
            names::TREE if entry.key == SINGLETON_KEY => {
                tree = (entry.value.len() <= MAX_TREE_BYTES).then(|| entry.value.to_vec());
                return;
            }
            names::HISTORICAL_ENCRYPTED_LEDGER_SECRET => {
                let value = values::from_json(entry.value).ok();
                historical = value.map(|value| (entry.version as u64, value));
                return;
            }
            _ => return,
        };
        if entry.value.len().max(entry.key.len()) > MAX_TRUST_BYTES {
            return;
        }
        writes.push(TrustWrite {
            seqno: created_at(table, entry.value).unwrap_or(entry.version as u64),
            view: 0,
            offset: 0,
            chunk_index: 0,
            table,
            key: entry.key.to_vec(),
            value: Some(entry.value.to_vec()),
            claims_digest: None,
        });
    })?;
    let mut trust = Trust::default();
    for write in &writes {
        // A snapshot's state has no history: what can't be read is simply not trusted.
        let _ = trust.apply(write);
    }
    Ok(State {
        tree,
        trust,
        historical,
    })
}

/// The seqno at which a service was created, where `service.info` says so.
fn created_at(table: TrustTable, value: &[u8]) -> Option<Seqno> {
    if table != TrustTable::ServiceInfo {
        return None;
    }
    let info: values::ServiceInfo = values::from_json(value).ok()?;
    info.current_service_create_txid.map(|txid| txid.seqno)
}

/// Checks a receipt's digest, path and signature, and that one of the services in `trust` stands behind its signer.
fn check_receipt(snapshot: &Snapshot<'_>, trust: &Trust) -> std::result::Result<Receipt, (Code, String)> {
    let receipt = Receipt::parse(snapshot.receipt).map_err(|e| (Code::SnapshotReceipt, e.to_string()))?;
    let digest = snapshot.digest();
    if receipt.leaf_components.claims_digest != digest {
        let why = ReceiptError::OtherClaims {
            found: hex::encode(receipt.leaf_components.claims_digest),
            expected: hex::encode(digest),
        };
        return Err((Code::SnapshotReceipt, why.to_string()));
    }
    let identities = trust.identities();
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

/// Holds every snapshot against its receipt and the verified ledger.
pub(super) fn check_all(files: &[SnapshotFile], joiner: &mut Joiner<'_>, start: Seqno) -> Vec<SnapshotVerdict> {
    let mut verdicts = Vec::new();
    for file in files {
        let findings = check_one(file, joiner, start);
        let verdict = Verdict::of(&findings);
        findings.into_iter().for_each(|finding| joiner.findings.push(finding));
        verdicts.push(SnapshotVerdict {
            file: file.path.shown().to_string(),
            seqno: file.name.seqno,
            verdict,
        });
    }
    verdicts
}

fn check_one(file: &SnapshotFile, joiner: &Joiner<'_>, start: Seqno) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A run that starts behind another snapshot knows that one's service, and none from before it.
    let unjudged = file.name.evidence_seqno <= start;
    let mut report = |code: Code, why: String| {
        let mut finding = Finding::new(code, why).file(&file.path).seqno(file.name.seqno);
        if code == Code::SnapshotSigner && unjudged {
            finding = finding
                .severity(Severity::Info)
                .next("to judge it, verify from seqno 1: services before the snapshot that this run starts from are not known to it");
        }
        // As a crash leaves it: half written, or its evidence was never signed and another transaction has that seqno.
        if !file.name.committed && code != Code::SnapshotUncommitted {
            finding = finding
                .severity(Severity::Info)
                .next("nothing: no node starts from a snapshot that was never committed");
        }
        finding.proven_to = joiner.last_matching.map(|txid| txid.seqno);
        findings.push(finding);
    };
    let map = match MappedFile::open(&file.path) {
        Ok(map) => map,
        Err(why) => {
            report(Code::SnapshotUnreadable, format!("the file can't be opened: {why}"));
            return findings;
        }
    };
    let snapshot = match Snapshot::parse(map.bytes()) {
        Ok(snapshot) => snapshot,
        Err(why) => {
            report(Code::SnapshotUnreadable, why.to_string());
            return findings;
        }
    };
    if snapshot.seqno != file.name.seqno {
        report(
            Code::SnapshotUnreadable,
            format!(
                "it holds the state of seqno {}, its name says {}",
                snapshot.seqno, file.name.seqno
            ),
        );
    }
    if let Err(why) = snapshot.public_state(|_, _| ()) {
        report(Code::SnapshotUnreadable, why.to_string());
    }
    if !file.name.committed {
        report(
            Code::SnapshotUncommitted,
            "it was not committed: it has no receipt".to_owned(),
        );
    } else if let Err((code, why)) = check_receipt(&snapshot, &joiner.trust) {
        // 1.x proved a snapshot by the ledger alone.
        let by_ledger = snapshot.receipt.is_empty()
            && joiner
                .evidence
                .iter()
                .any(|e| e.snapshot_seqno == snapshot.seqno && e.digest.0 == snapshot.digest());
        if !by_ledger {
            report(code, why);
        }
    }
    if file.name.evidence_seqno > start {
        check_against_ledger(file, &snapshot, joiner, &mut report);
    }
    findings
}

/// Holds a snapshot's leaf and evidence against what the ledger has at those seqnos.
fn check_against_ledger(
    file: &SnapshotFile,
    snapshot: &Snapshot<'_>,
    joiner: &Joiner<'_>,
    report: &mut impl FnMut(Code, String),
) {
    let leaf_of =
        |seqno: Seqno| -> Option<&Digest> { joiner.watched.iter().find(|(at, _)| *at == seqno).map(|(_, leaf)| leaf) };
    if let Some(leaf) = leaf_of(snapshot.seqno).filter(|leaf| *leaf != snapshot.leaf) {
        report(
            Code::SnapshotLeaf,
            format!(
                "it says the digest of transaction {} is {}, the ledger's is {}",
                snapshot.seqno,
                hex::encode(snapshot.leaf),
                hex::encode(leaf)
            ),
        );
    }
    let evidence_seqno = file.name.evidence_seqno;
    if evidence_seqno >= joiner.next {
        if file.name.committed {
            report(
                Code::SnapshotAhead,
                format!(
                    "its evidence is transaction {evidence_seqno}, but the ledger ends at {}",
                    joiner.next.saturating_sub(1)
                ),
            );
        }
        return;
    }
    let digest = snapshot.digest();
    let evidence = joiner.evidence.iter().find(|evidence| evidence.seqno == evidence_seqno);
    let wrong = match evidence {
        None => Some(format!("transaction {evidence_seqno} holds no evidence of it")),
        Some(evidence) if evidence.digest.0 != digest || evidence.snapshot_seqno != snapshot.seqno => Some(format!(
            "transaction {evidence_seqno} is evidence of a snapshot at {} with digest {}, this one is at {} with digest {}",
            evidence.snapshot_seqno,
            hex::encode(evidence.digest.0),
            snapshot.seqno,
            hex::encode(digest)
        )),
        Some(evidence)
            if evidence
                .claims_digest
                .is_some_and(|claims| claims.0 != digest && claims.0 != [0; 32]) =>
        {
            Some(format!(
                "the claims digest of transaction {evidence_seqno} is not its digest"
            ))
        }
        Some(_) => None,
    };
    if let Some(why) = wrong {
        report(Code::SnapshotEvidence, why);
    }
    if let Ok(receipt) = Receipt::parse(snapshot.receipt)
        && leaf_of(evidence_seqno).is_some_and(|leaf| *leaf != receipt.leaf_components.leaf())
    {
        report(
            Code::SnapshotReceipt,
            format!("its receipt proves another transaction than the ledger's {evidence_seqno}"),
        );
    }
}
