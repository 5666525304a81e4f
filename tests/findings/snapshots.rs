//! What can be wrong with a snapshot: with itself, with its receipt, or beside the ledger.

use std::path::PathBuf;

use rekindle::crypto::cose::with_inclusion_proof;
use rekindle::crypto::{Digest, sha256};
use rekindle::format::Seqno;
use rekindle::format::domain::WriteSet;
use rekindle::format::entry::{EntryIv, write_entry};
use rekindle::format::snapshot::{
    StateEntry, key_order, state_entry_len, write_header, write_map_head, write_state_entry,
};
use rekindle::journal::{SealKey, SignatureMode};
use rekindle::merkle::receipt::{LeafComponents, write_cbor_proof, write_json};
use rekindle::recovery::report::Finding;
use rekindle::recovery::verify::{Options, VerifyReport};
use rekindle::tables::values::{HexDigest, ServiceStatus, SnapshotEvidence, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

use crate::ground::verify_with;
use crate::identity::Identity;
use crate::scribe::secret;
use crate::story::{Story, put_json};

/// A snapshot of a story: what its file holds, and what its name says.
#[derive(Clone)]
pub struct Shot {
    pub seqno: Seqno,
    pub evidence_seqno: Seqno,
    pub committed: bool,
    pub entry: Vec<u8>,
    pub receipt: Vec<u8>,
    components: LeafComponents,
}

/// One value of a snapshot's state: table, key, seqno of its write (negative: it was removed), value.
pub type Row = (&'static str, Vec<u8>, i64, Vec<u8>);

/// What a snapshot must hold to begin from: the service, its node, and the tree.
pub fn state(story: &Story) -> Vec<Row> {
    let at = story.pen.signed_at as i64;
    let node = story.node.id().into_bytes();
    let info = serde_json::json!({ "status": "Trusted" });
    vec![
        (
            names::SERVICE_INFO,
            SINGLETON_KEY.to_vec(),
            3,
            to_json(&story.info(ServiceStatus::Open)),
        ),
        (names::NODES_INFO, node.clone(), 1, to_json(&info)),
        (
            names::NODES_ENDORSED_CERTIFICATES,
            node,
            1,
            story.node.certificate.to_pem().into_bytes(),
        ),
        (names::TREE, SINGLETON_KEY.to_vec(), at, story.pen.signed_tree.clone()),
    ]
}

/// The entry of a snapshot with this state.
fn entry(seqno: Seqno, leaf: &Digest, rows: &[Row]) -> Vec<u8> {
    let mut public = Vec::new();
    write_header(&mut public, seqno, leaf, &[1, 1]);
    let mut tables: Vec<&str> = rows.iter().map(|row| row.0).collect();
    tables.sort_unstable();
    tables.dedup();
    for table in tables {
        let mut entries: Vec<StateEntry<'_>> = rows
            .iter()
            .filter(|row| row.0 == table)
            .map(|(_, key, version, value)| StateEntry {
                key,
                version: *version,
                value,
            })
            .collect();
        entries.sort_by_key(|entry| (key_order(entry.key), entry.key));
        let len = entries
            .iter()
            .map(|entry| state_entry_len(entry.key.len(), entry.value.len()));
        let mut out = |bytes: &[u8]| -> Result<(), ()> {
            public.extend_from_slice(bytes);
            Ok(())
        };
        write_map_head(&mut out, table, 1, len.sum()).unwrap();
        for entry in &entries {
            write_state_entry(&mut out, entry).unwrap();
        }
    }
    let iv = EntryIv {
        seqno,
        view: 0,
        snapshot: true,
    };
    let mut raw = Vec::new();
    write_entry(&mut raw, 0, &[0; 16], iv, &public, b"").unwrap();
    raw
}

/// Takes a snapshot at the last signature, writes its evidence, and signs that.
pub fn take(story: &mut Story) -> Shot {
    let rows = state(story);
    take_of(story, &rows, |_| ())
}

/// The same of this state; what the evidence says, and of which leaf the snapshot is, may be changed.
pub fn take_of(story: &mut Story, rows: &[Row], alter: impl FnOnce(&mut Draft)) -> Shot {
    let seqno = story.pen.signed_at;
    let mut draft = Draft {
        leaf: *story.pen.tree.last().unwrap(),
        evidence: None,
        claims: None,
    };
    alter(&mut draft);
    let entry = entry(seqno, &draft.leaf, rows);
    let digest = sha256(&entry);
    let claims_digest = draft.claims.unwrap_or(digest);
    let evidence = draft.evidence.unwrap_or(SnapshotEvidence {
        hash: HexDigest(digest),
        version: seqno,
    });
    let mut writes = WriteSet::new();
    put_json(&mut writes, names::SNAPSHOT_EVIDENCE, &evidence);
    let txid = story.pen.append_with(&writes, 0, Some(&claims_digest));
    let mut shot = Shot {
        seqno,
        evidence_seqno: txid.seqno,
        committed: true,
        entry,
        receipt: Vec::new(),
        components: LeafComponents {
            write_set_digest: sha256(story.pen.chunks.last().unwrap().1.last().unwrap()),
            commit_evidence: SealKey::new(&secret()).evidence_text(txid),
            claims_digest,
        },
    };
    shot.receipt = match story.mode {
        SignatureMode::Cose => shot.service_s_receipt(story, &story.service),
        _ => shot.node_s_receipt(story, &story.node),
    };
    story.sign();
    shot
}

/// What may be changed of a snapshot before it is written.
pub struct Draft {
    pub leaf: Digest,
    pub evidence: Option<SnapshotEvidence>,
    pub claims: Option<Digest>,
}

impl Shot {
    /// A receipt signed by this node over all that was written so far.
    pub fn node_s_receipt(&self, story: &Story, node: &Identity) -> Vec<u8> {
        let tree = &story.pen.tree;
        let path = tree.path(self.evidence_seqno).unwrap();
        let signature = node.key.sign_prehashed_der(&tree.root());
        write_json(
            &self.components,
            &path,
            &node.certificate.to_pem(),
            &node.id(),
            &signature,
        )
    }

    /// One signed by this service.
    pub fn service_s_receipt(&self, story: &Story, service: &Identity) -> Vec<u8> {
        let tree = &story.pen.tree;
        let path = tree.path(self.evidence_seqno).unwrap();
        let proof = write_cbor_proof(&self.components, &path);
        with_inclusion_proof(&story.pen.cose(service), &proof).unwrap()
    }

    fn name(&self) -> String {
        let name = format!("snapshot_{}_{}", self.seqno, self.evidence_seqno);
        match self.committed {
            true => format!("{name}.committed"),
            false => name,
        }
    }

    /// Writes the file; answers where it is.
    pub fn store(&self, directory: &std::path::Path) -> PathBuf {
        std::fs::create_dir_all(directory).unwrap();
        let path = directory.join(self.name());
        std::fs::write(&path, [&self.entry[..], &self.receipt].concat()).unwrap();
        path
    }

    /// Verifies the story with this snapshot.
    pub fn verify(&self, story: &Story) -> VerifyReport {
        let (scratch, ledger) = story.store();
        let snapshots = scratch.path().join("snapshots");
        self.store(&snapshots);
        let options = Options {
            snapshot_directories: vec![snapshots],
            ..Options::default()
        };
        verify_with(&[&ledger], &options).unwrap()
    }
}

fn dual() -> Story {
    let mut story = Story::begin(SignatureMode::Dual);
    story.serve(4);
    story.sign();
    story
}

fn findings(change: impl FnOnce(&mut Shot, &Story)) -> Vec<Finding> {
    let mut story = dual();
    let mut shot = take(&mut story);
    change(&mut shot, &story);
    shot.verify(&story).findings
}

pub fn cut_inside_its_state() -> Vec<Finding> {
    findings(|shot, _| {
        shot.entry.truncate(300);
        shot.receipt.clear();
    })
}

pub fn with_half_a_receipt() -> Vec<Finding> {
    findings(|shot, _| shot.receipt.truncate(shot.receipt.len() / 2))
}

pub fn with_a_stranger_s_receipt() -> Vec<Finding> {
    let mut story = dual();
    let mut shot = take(&mut story);
    let stranger = Identity::node(60, &Identity::service(61));
    shot.receipt = shot.node_s_receipt(&story, &stranger);
    shot.verify(&story).findings
}

pub fn with_evidence_of_another_transaction() -> Vec<Finding> {
    findings(|shot, _| shot.evidence_seqno += 1)
}

pub fn of_another_transaction() -> Vec<Finding> {
    let mut story = dual();
    let rows = state(&story);
    let shot = take_of(&mut story, &rows, |draft| draft.leaf = [9; 32]);
    shot.verify(&story).findings
}

pub fn ahead_of_the_ledger() -> Vec<Finding> {
    let mut story = dual();
    let before = story.pen.chunks.clone();
    let shot = take(&mut story);
    story.pen.chunks = before;
    shot.verify(&story).findings
}

pub fn that_was_not_committed() -> Vec<Finding> {
    findings(|shot, _| {
        shot.committed = false;
        shot.receipt.clear();
    })
}
