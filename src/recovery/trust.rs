//! Which keys are valid when: nodes, the service, and the chain of service identities across recoveries.
//!
//! The only sequential state of a verification, and small. It changes by the writes to trust tables, transaction by
//! transaction; at every signature it answers which key must have signed, and makes the [`super::check::Check`] that is
//! then verified in parallel. What no CCF service writes is a finding. What each verdict proves, and against whom, is in
//! docs/trust.md.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::crypto::digest::Digest;
use crate::crypto::x509::Certificate;
use crate::format::domain::EntryType;
use crate::format::{Seqno, TxId};
use crate::recovery::scan::{TrustTable, TrustWrite};
use crate::report::{Code, Finding};
use crate::tables::SINGLETON_KEY;
use crate::tables::values::{HexDigest, IdentityEndorsement, ServiceStatus, from_json};

mod age;
mod certificates;
mod nodes;
mod saved;
mod service;
mod signer;
mod succession;

pub use super::scan::TypesSeen;
pub use age::Kinds;
pub use saved::SavedTrust;

use certificates::Certificates;
use nodes::{Known, Nodes};

/// One service identity in the history of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Seqno of the first write of its certificate.
    pub from_seqno: Seqno,
    /// SHA-256 of the key's SPKI DER, hex.
    pub identity: HexDigest,
    /// Recoveries before it, where the ledger says so.
    pub recovery_count: Option<u64>,
}

/// The service in force.
#[derive(Clone)]
struct Service {
    certificate: Arc<Certificate>,
    id: Digest,
    status: ServiceStatus,
    /// Identity before this one, if this ledger (or its snapshot) told.
    previous: Option<Arc<Certificate>>,
    /// The root that was signed last before it, if this ledger told.
    previous_root: Option<HexDigest>,
    /// Recoveries before it; absent before 2.0.3.
    recovery_count: Option<u64>,
    /// The transaction that created it; absent before 2.0.3.
    created: Option<TxId>,
    /// What its signatures and its nodes' certificates have shown of its age.
    seen: SeenOfService,
}

/// What tells the age of a service: CCF 1.x had none of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SeenOfService {
    /// It endorsed a node's certificate, in a table or in a signature.
    endorsed: bool,
    /// It signed a root itself, through COSE.
    cose: bool,
    /// It did so without a node beside it, as 7.x can be told to.
    cose_alone: bool,
    /// A signature without COSE after one with it was spoken of.
    said_cose_gone: bool,
}

/// What a snapshot's state shows of the signatures before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignedBefore {
    /// The service signed by itself, through COSE.
    pub by_service: bool,
    /// It did so last, without a node beside it.
    pub by_service_alone: bool,
}

/// A signature transaction, as what comes after it is held against.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LastSigned {
    txid: TxId,
    /// The root it signs, where that is known.
    root: Option<HexDigest>,
    /// The node that signed, if one did.
    signer: Option<HexDigest>,
}

/// The keys in force at one point of a ledger.
#[derive(Clone, Default)]
pub struct Trust {
    nodes: Nodes,
    service: Option<Service>,
    services: Vec<ServiceRecord>,
    /// The certificates of `services`, in the same order.
    identities: Vec<Arc<Certificate>>,
    certificates: Certificates,
    kinds: Kinds,
    last_signed: Option<LastSigned>,
    /// The last endorsement of a previous identity, and the seqno at which it was written.
    endorsement: Option<(Seqno, IdentityEndorsement)>,
    /// Whether entries are missing before this point: what is not known may be in them.
    is_partial: bool,
}

/// The writes to trust tables of one transaction, in file order.
#[derive(Clone, Copy)]
pub struct Transaction<'a> {
    /// The transaction.
    pub txid: TxId,
    /// Its writes, at least one.
    pub writes: &'a [TrustWrite],
}

impl<'a> Transaction<'a> {
    /// The transactions that these writes, in ledger order, belong to.
    pub fn each(writes: &'a [TrustWrite]) -> impl Iterator<Item = Transaction<'a>> {
        writes.chunk_by(|a, b| a.seqno == b.seqno).filter_map(|writes| {
            let first = writes.first()?;
            let txid = TxId {
                view: first.view,
                seqno: first.seqno,
            };
            Some(Transaction { txid, writes })
        })
    }

    fn of(&self, table: TrustTable) -> impl Iterator<Item = &'a TrustWrite> {
        self.writes.iter().filter(move |write| write.table == table)
    }
}

/// What is wrong with one write.
type Faults = Vec<(Code, String)>;

impl Trust {
    /// The keys in a snapshot's state. A state has no history, so no step in it is judged, and what can't be read is
    /// simply not trusted.
    ///
    /// `view` is the snapshot's last view, `root` the one signed at its seqno.
    pub fn of_snapshot(writes: &[TrustWrite], txid: TxId, root: Digest, signed: SignedBefore) -> Trust {
        let mut trust = Trust::default();
        for write in writes {
            let _ = match write.table {
                TrustTable::ServiceInfo => trust.begin_from_snapshot(write),
                TrustTable::NodesInfo => trust.nodes.restore_info(write, &mut trust.certificates),
                TrustTable::NodesEndorsedCertificates => {
                    trust.nodes.restore_certificate(write, &mut trust.certificates)
                }
                TrustTable::IdentityEndorsement => trust.take_endorsement(write),
                _ => Ok(()),
            };
        }
        // Snapshots with receipts, which alone can be started from, are written by 2.x and later.
        trust.kinds = Kinds::beyond_first_generation();
        if let Some(service) = &mut trust.service {
            service.seen.endorsed = true;
            service.seen.cose = signed.by_service;
            service.seen.cose_alone = signed.by_service_alone;
        }
        trust.last_signed = Some(LastSigned {
            txid,
            root: Some(HexDigest(root)),
            signer: None,
        });
        trust
    }

    /// Entries are missing here. Nothing after them is proven, and what follows is not held against what is not known.
    pub fn lose_history(&mut self) {
        self.is_partial = true;
        self.last_signed = None;
        self.endorsement = None;
    }

    /// Whether entries are missing somewhere before.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The service identities so far.
    pub fn services(&self) -> &[ServiceRecord] {
        &self.services
    }

    /// The certificates under which they first appeared, in the same order.
    pub fn identities(&self) -> &[Arc<Certificate>] {
        &self.identities
    }

    /// The key of the service in force.
    pub fn service_certificate(&self) -> Option<&Arc<Certificate>> {
        self.service.as_ref().map(|service| &service.certificate)
    }

    /// Whether the last service identity is this one.
    pub fn names_last(&self, id: Digest) -> bool {
        self.services.last().is_some_and(|service| service.identity.0 == id)
    }

    /// View of the last signature transaction; 0 where there is none.
    pub fn last_view(&self) -> u64 {
        self.last_signed.map_or(0, |last| last.txid.view)
    }

    /// Applies the writes of one transaction. What is wrong with them comes back as findings without a file; the caller
    /// knows that.
    pub fn apply(&mut self, transaction: &Transaction<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        // What a recovery writes about nodes and its predecessor is held against the service that it creates.
        let order = [
            TrustTable::ServiceInfo,
            TrustTable::PreviousServiceIdentity,
            TrustTable::PreviousServiceLastSignedRoot,
            TrustTable::NodesInfo,
            TrustTable::NodesEndorsedCertificates,
            TrustTable::IdentityEndorsement,
            TrustTable::SnapshotEvidence,
            TrustTable::HistoricalSecret,
        ];
        let was_open = self.is_open();
        for table in order {
            for write in transaction.of(table) {
                for (code, why) in self.apply_write(transaction, write, was_open) {
                    findings.push(Finding::new(code, why).seqno(write.seqno).offset(write.offset));
                }
            }
        }
        findings.extend(self.missing_of_recovery(transaction));
        findings
    }

    fn apply_write(&mut self, transaction: &Transaction<'_>, write: &TrustWrite, was_open: bool) -> Faults {
        let single = !matches!(
            write.table,
            TrustTable::NodesInfo | TrustTable::NodesEndorsedCertificates
        );
        if single && write.key != SINGLETON_KEY {
            return other_key(write);
        }
        let begins = self.begins(transaction);
        let mut faults = Faults::new();
        let outcome = match write.table {
            TrustTable::ServiceInfo => self.apply_service_info(transaction, write, &mut faults),
            TrustTable::PreviousServiceIdentity => self.check_previous_identity(write, begins, &mut faults),
            TrustTable::PreviousServiceLastSignedRoot => self.check_previous_root(write, begins, &mut faults),
            TrustTable::NodesInfo => {
                let known = Known {
                    trusted_at_once: begins || !was_open,
                    is_partial: self.is_partial,
                };
                self.nodes.apply_info(write, known, &mut self.certificates, &mut faults)
            }
            TrustTable::NodesEndorsedCertificates => {
                let outcome = self.nodes.apply_certificate(write, &mut self.certificates, &mut faults);
                if let Some(service) = self.service.as_mut().filter(|_| write.value.is_some()) {
                    service.seen.endorsed = true;
                }
                outcome
            }
            TrustTable::IdentityEndorsement => self.check_endorsement(write, &mut faults),
            TrustTable::SnapshotEvidence | TrustTable::HistoricalSecret => Ok(()),
        };
        if let Err(why) = outcome {
            faults.push((Code::TrustValue, why));
        }
        faults
    }

    /// Whether this transaction created the service in force.
    fn begins(&self, transaction: &Transaction<'_>) -> bool {
        self.services
            .last()
            .is_some_and(|service| service.from_seqno == transaction.txid.seqno)
    }

    /// Whether the service in force has opened.
    pub fn is_open(&self) -> bool {
        self.service
            .as_ref()
            .is_some_and(|service| service.status == ServiceStatus::Open)
    }

    /// Meets the entry types of the entries since the last signature; answers what is out of place, by seqno and offset.
    pub fn meet_types(&mut self, seen: &TypesSeen) -> Vec<(Seqno, u64, String)> {
        // Every version that says which transaction created a service writes entries of type 4 alone.
        let only_newest_from = self.service.as_ref().and_then(|service| {
            let begun = self.services.last().map(|record| record.from_seqno);
            service.created.and(begun)
        });
        self.kinds.meet(seen, only_newest_from)
    }

    /// Whether entries with this type may be signed by a node of CCF 1.x.
    fn is_of_first_generation(&self, entry_type: EntryType) -> bool {
        entry_type == EntryType::WriteSet && self.kinds.is_first_generation()
    }

    fn take_endorsement(&mut self, write: &TrustWrite) -> Result<(), String> {
        let value = write.value.as_deref().ok_or("it is removed")?;
        self.endorsement = Some((write.seqno, from_json(value).map_err(|e| e.to_string())?));
        Ok(())
    }
}

/// A value under another key than the one that this table has. Keys of eight bytes that are a small number are those of
/// further identities, which later versions may write beside the first.
fn other_key(write: &TrustWrite) -> Faults {
    let further = <[u8; 8]>::try_from(write.key.as_slice())
        .is_ok_and(|key| (1..=MAX_IDENTITY_TYPE).contains(&u64::from_le_bytes(key)));
    if write.table == TrustTable::IdentityEndorsement && further {
        return Faults::new();
    }
    let key = hex::encode(write.key.get(..write.key.len().min(16)).unwrap_or_default());
    vec![(
        Code::OtherKey,
        format!(
            "{} is written under key {key} ({} bytes), expected eight zero bytes",
            write.table.name(),
            write.key.len()
        ),
    )]
}

/// Types of service identity that a version may write at most: there are two so far.
const MAX_IDENTITY_TYPE: u64 = 15;
