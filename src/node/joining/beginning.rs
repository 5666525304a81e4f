//! What a node that joins begins with: nothing, or the state of a snapshot.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use crate::channel::NodeId;
use crate::consensus::{Configuration, Departure};
use crate::core::{LastSigned, Start as Log};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::WriteSet;
use crate::kv::store::{Store, Transaction};
use crate::merkle::Tree;
use crate::node::cluster::Following;
use crate::node::shared::Node;
use crate::recovery::private::load_private;
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::snapshots::Start;
use crate::recovery::state::{MappedSnapshot, Selection, load_state};
use crate::report::{Finding, Severity};
use crate::tables::names;
use crate::tables::node_info::NodeRecord;

/// What a node begins with.
pub(super) struct Beginning {
    pub(super) log: Log,
    pub(super) following: Following,
    /// What is known of the nodes.
    pub(super) nodes: WriteSet,
}

impl Beginning {
    /// Nothing.
    pub(super) fn nothing() -> Beginning {
        Beginning {
            log: Log::genesis(),
            following: Following::default(),
            nodes: WriteSet::new(),
        }
    }

    /// The state of a snapshot, put in place for readers; with its private part where `secrets` are known.
    ///
    /// # Errors
    /// If it can't be read, or does not open.
    pub(super) fn with(node: &Node, start: &Start, secrets: Option<&LedgerSecrets>) -> Result<Beginning> {
        let (seqno, status) = (start.seqno, &*node.status);
        let mapped = MappedSnapshot::open(&start.path)?;
        let none = LedgerFiles {
            chunks: Vec::new(),
            spares: Vec::new(),
            notes: Vec::new(),
        };
        let selection = Selection {
            at: seqno,
            tables: None,
            keys: None,
            progress: status,
            written: None,
        };
        let public = load_state(&none, Some(&mapped), &selection)?;
        check(&public.tally.findings.finish())?;
        let mut store = Store::with_public(public.base, seqno);
        if let Some(secrets) = secrets {
            let private = load_private(&none, Some(&mapped), secrets, seqno, status)?;
            check(&private.findings)?;
            store.set_private(private.base);
        }
        let txid = start.signed.txid;
        let (following, nodes) = {
            let transaction = store.transaction();
            following(&transaction, start)
        };
        status.begins_at(seqno);
        status.set_view_history(&start.view_history);
        *node.store.write().unwrap_or_else(PoisonError::into_inner) = store;
        status.wrote(txid);
        status.committed(seqno);
        Ok(Beginning {
            log: Log {
                tree: Tree::continuing(start.accumulator.clone(), Vec::new()),
                view_history: start.view_history.clone(),
                last: Some(LastSigned {
                    txid,
                    root: start.signed.root.0,
                }),
                is_recovery: false,
            },
            following,
            nodes,
        })
    }
}

/// Who takes part at the snapshot, and who has left; with all that the state says of nodes.
fn following(transaction: &Transaction<'_>, start: &Start) -> (Following, WriteSet) {
    let mut following = Following {
        view: start.signed.txid.view,
        view_history: start.view_history.clone(),
        last: start.seqno,
        ..Following::default()
    };
    let mut nodes = WriteSet::new();
    let (mut trusted, mut since): (BTreeSet<NodeId>, Seqno) = (BTreeSet::new(), 1);
    for (key, value) in transaction.entries(names::NODES_INFO) {
        let at = transaction.version(names::NODES_INFO, &key).unwrap_or(1);
        let id = NodeId::from_key(&key);
        let record = NodeRecord::read(&value);
        if let (Some(id), Some(record)) = (id, record) {
            since = since.max(at);
            if record.is_trusted() {
                trusted.insert(id);
            }
            if record.is_retired() || record.is_retirement_committed() {
                let mut departure = Departure::default();
                departure.retired = at;
                departure.marked = record.is_retirement_committed().then_some(at);
                following.departures.insert(id, departure);
            }
        }
        nodes.put(names::NODES_INFO, key, value);
    }
    following.configurations.push(Configuration {
        seqno: since,
        nodes: trusted,
    });
    (following, nodes)
}

fn check(findings: &[Finding]) -> Result<()> {
    match findings.iter().find(|finding| finding.severity == Severity::Error) {
        None => Ok(()),
        Some(finding) => Err(Error::Unreadable(format!(
            "the service's snapshot can't be used: {} {}; start again with command.join.fetch_recent_snapshot false, to take the \
             whole ledger instead",
            finding.code.as_str(),
            finding.message
        ))),
    }
}
