//! A service's life as CCF would write it, told step by step, so that a test can change any one of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rekindle::crypto::Digest;
use rekindle::format::domain::{EntryType, WriteSet};
use rekindle::format::entry::FLAG_CHUNK_BEFORE;
use rekindle::format::{Seqno, TxId};
use rekindle::journal::SignatureMode;
use rekindle::journal::succession::{Predecessor, endorse};
use rekindle::recovery::join::Mode;
use rekindle::recovery::verify::{Options, VerifyReport};
use rekindle::report::Code;
use rekindle::tables::values::{HexDigest, IdentityEndorsement, ServiceInfo, ServiceStatus, Signature, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

use crate::ground::{is_clean, last_signed, show, verify_with};
use crate::identity::{Identity, put_node};
use crate::scribe::Scribe;

pub const MODES: [SignatureMode; 3] = [SignatureMode::Node, SignatureMode::Dual, SignatureMode::Cose];

/// Seed of the first service's key; that of each later one is the next.
const FIRST_SERVICE: u64 = 20;
/// The same of their nodes.
const FIRST_NODE: u64 = 40;

/// A ledger, and who writes it now.
pub struct Story {
    pub pen: Scribe,
    pub mode: SignatureMode,
    pub service: Identity,
    pub node: Identity,
    recoveries: u64,
    created: TxId,
    /// Seqno of the last write of `service.info`; 0 before there is one.
    last_write: AtomicU64,
    endorsement: Option<(Seqno, IdentityEndorsement)>,
    /// The last root that was signed.
    pub last_root: Digest,
    /// The last root that the service before signed.
    previous_root: Digest,
}

pub fn put_json(writes: &mut WriteSet, table: &str, value: &impl serde::Serialize) {
    writes.put(table, SINGLETON_KEY, to_json(value));
}

impl Story {
    /// A service that was created and has opened; the last transaction is a signature.
    pub fn begin(mode: SignatureMode) -> Story {
        let mut story = Story::created(mode);
        let mut writes = WriteSet::new();
        story.put_service(&mut writes, ServiceStatus::Open);
        story.put_endorsement(&mut writes);
        story.pen.append(&writes);
        story.sign();
        story
    }

    /// A service that was created and has not opened; the last transaction is a signature.
    pub fn created(mode: SignatureMode) -> Story {
        Story::created_by(mode, 0)
    }

    /// The same, by an entry with these flags.
    pub fn created_by(mode: SignatureMode, flags: u8) -> Story {
        Story::created_as(mode, flags, |_, _| ())
    }

    /// The same, and the first transaction may be changed.
    pub fn created_as(mode: SignatureMode, flags: u8, alter: impl FnOnce(&Story, &mut WriteSet)) -> Story {
        let service = Identity::service(FIRST_SERVICE);
        let pen = Scribe::new(EntryType::WriteSetWithCommitEvidenceAndClaims);
        let mut story = Story {
            mode,
            node: Identity::node(FIRST_NODE, &service),
            service,
            recoveries: 0,
            created: pen.next(),
            last_write: AtomicU64::new(0),
            endorsement: None,
            last_root: [0; 32],
            previous_root: [0; 32],
            pen,
        };
        let mut writes = WriteSet::new();
        story.put_service(&mut writes, ServiceStatus::Opening);
        put_node(&mut writes, &story.node, "Trusted");
        alter(&story, &mut writes);
        story.pen.append_with(&writes, flags, None);
        story.sign();
        story
    }

    /// `service.info` as it is with this status.
    pub fn info(&self, status: ServiceStatus) -> ServiceInfo {
        ServiceInfo {
            cert: self.service.certificate.to_pem(),
            status,
            previous_service_identity_version: Some(self.last_write.load(Ordering::Relaxed)).filter(|last| *last > 0),
            recovery_count: Some(self.recoveries),
            current_service_create_txid: Some(self.created),
            service_data: None,
        }
    }

    pub fn put_service(&self, writes: &mut WriteSet, status: ServiceStatus) {
        put_json(writes, names::SERVICE_INFO, &self.info(status));
        self.last_write.store(self.pen.next().seqno, Ordering::Relaxed);
    }

    /// Writes this status and nothing else.
    pub fn change_status(&mut self, status: ServiceStatus) -> TxId {
        let mut writes = WriteSet::new();
        self.put_service(&mut writes, status);
        self.pen.append(&writes)
    }

    fn has_cose(&self) -> bool {
        self.mode != SignatureMode::Node
    }

    /// The endorsement that was written last.
    pub fn last_endorsement(&self) -> IdentityEndorsement {
        self.endorsement.clone().unwrap().1
    }

    /// The endorsement that this service would write now.
    pub fn own_endorsement(&self) -> IdentityEndorsement {
        self.endorsement()
    }

    /// The endorsement that this service writes when it opens.
    fn endorsement(&self) -> IdentityEndorsement {
        let previous = self.endorsement.clone().map(|(written_at, endorsement)| Predecessor {
            written_at: Some(written_at),
            endorsement,
            last_signed_root: Some(self.previous_root),
        });
        endorse(&self.service.key, self.created, previous, 1_700_000_000)
    }

    fn put_endorsement(&mut self, writes: &mut WriteSet) {
        if self.has_cose() {
            let value = self.endorsement();
            put_json(writes, names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT, &value);
            self.endorsement = Some((self.pen.next().seqno, value));
        }
    }

    /// So many application entries.
    pub fn serve(&mut self, entries: u64) {
        self.pen.serve(entries);
    }

    pub fn write(&mut self, write: impl FnOnce(&mut WriteSet)) -> TxId {
        let mut writes = WriteSet::new();
        write(&mut writes);
        self.pen.append(&writes)
    }

    /// Signs as services of this mode do.
    pub fn sign(&mut self) -> TxId {
        self.sign_altered(|_| ())
    }

    /// The same, with a node's signature that is changed before it is written.
    pub fn sign_altered(&mut self, alter: impl FnOnce(&mut Signature)) -> TxId {
        let mut signature = self.pen.signature(&self.node);
        alter(&mut signature);
        let cose = self.pen.cose(&self.service);
        let node = (self.mode != SignatureMode::Cose).then_some(&signature);
        let cose = self.has_cose().then_some(cose.as_slice());
        self.last_root = self.pen.tree.root();
        self.pen.sign(node, cose)
    }

    /// A disaster, and a recovery that opens.
    pub fn recover(&mut self) {
        self.begin_recovery(|_, _| ());
        self.open_recovered(|_, _| ());
    }

    /// The first transaction of the next service, which may be changed, and its signature.
    pub fn begin_recovery(&mut self, alter: impl FnOnce(&Story, &mut WriteSet)) -> TxId {
        self.recoveries += 1;
        self.previous_root = self.last_root;
        self.pen.view += 2;
        self.pen.begin_chunk();
        let service = Identity::service(FIRST_SERVICE + self.recoveries);
        let node = Identity::node(FIRST_NODE + self.recoveries, &service);
        let old_service = std::mem::replace(&mut self.service, service);
        let old_node = std::mem::replace(&mut self.node, node);
        self.created = self.pen.next();
        let mut writes = WriteSet::new();
        self.put_service(&mut writes, ServiceStatus::Recovering);
        put_node(&mut writes, &self.node, "Trusted");
        let retired = serde_json::json!({ "status": "Retired" });
        writes.put(names::NODES_INFO, old_node.id(), to_json(&retired));
        put_json(
            &mut writes,
            names::PREVIOUS_SERVICE_IDENTITY,
            &old_service.certificate.to_pem(),
        );
        if self.has_cose() {
            put_json(
                &mut writes,
                names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT,
                &HexDigest(self.last_root),
            );
        }
        alter(self, &mut writes);
        let txid = self.pen.append_with(&writes, FLAG_CHUNK_BEFORE, None);
        self.sign();
        txid
    }

    /// The members accept the recovered service and submit their shares; the last transaction may be changed.
    pub fn open_recovered(&mut self, alter: impl FnOnce(&Story, &mut WriteSet)) -> TxId {
        self.change_status(ServiceStatus::WaitingForRecoveryShares);
        self.sign();
        let mut writes = WriteSet::new();
        self.put_service(&mut writes, ServiceStatus::Open);
        self.put_endorsement(&mut writes);
        alter(self, &mut writes);
        let txid = self.pen.append(&writes);
        self.sign();
        txid
    }

    /// The ledger in a directory of its own.
    pub fn store(&self) -> (tempfile::TempDir, PathBuf) {
        self.pen.end()
    }

    pub fn verify(&self) -> VerifyReport {
        self.verify_with(&Options::default())
    }

    pub fn verify_with(&self, options: &Options) -> VerifyReport {
        let (_scratch, ledger) = self.store();
        verify_with(&[&ledger], options).unwrap()
    }

    /// Both modes must find nothing, and the last signature proven.
    #[track_caller]
    pub fn expect_clean(&self) {
        for report in self.both_modes() {
            assert!(is_clean(&report), "{}", show(&report));
            assert_eq!(last_signed(&report), self.pen.signed_at, "{}", show(&report));
        }
    }

    /// Both modes must find this, at a seqno in that range, and prove everything up to `last` and nothing more.
    #[track_caller]
    pub fn expect(&self, code: Code, at: std::ops::RangeInclusive<Seqno>, last: Seqno) {
        for report in self.both_modes() {
            let named = report
                .findings
                .iter()
                .any(|finding| finding.code == code && finding.seqno.is_some_and(|seqno| at.contains(&seqno)));
            assert!(named, "expected {} at {at:?}: {}", code.as_str(), show(&report));
            assert!(!is_clean(&report), "{}", show(&report));
            assert_eq!(last_signed(&report), last, "{}", show(&report));
        }
    }

    /// Both modes must refuse what follows the signature at `last`, whatever they call it.
    #[track_caller]
    pub fn expect_refused(&self, last: Seqno) {
        for report in self.both_modes() {
            assert!(!is_clean(&report), "{}", show(&report));
            assert_eq!(last_signed(&report), last, "{}", show(&report));
        }
    }

    fn both_modes(&self) -> [VerifyReport; 2] {
        [Mode::Audit, Mode::Integrity].map(|mode| {
            self.verify_with(&Options {
                mode: Some(mode),
                ..Options::default()
            })
        })
    }
}
