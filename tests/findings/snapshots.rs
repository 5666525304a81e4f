//! What can be wrong with a snapshot: with itself, with its receipt, or beside the ledger.

use std::path::PathBuf;

use rekindle::crypto::cose::with_inclusion_proof;
use rekindle::crypto::{Digest, sha256};
use rekindle::format::Seqno;
use rekindle::format::domain::WriteSet;
use rekindle::journal::{SealKey, SignatureMode};
use rekindle::merkle::receipt::{LeafComponents, write_cbor_proof, write_json};
use rekindle::recovery::snapshots::start_from;
use rekindle::recovery::verify::{Options, VerifyReport};
use rekindle::report::{Code, Finding, Severity, Verdict};
use rekindle::tables::values::{HexDigest, ServiceStatus, SnapshotEvidence, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

use crate::ground::{is_clean, last_signed, show, verify_with};
use crate::identity::Identity;
use crate::scribe::secret;
use crate::snapshot::entry;
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

pub type Row = crate::snapshot::Row<&'static str>;

/// Both views of a story begin with it.
const VIEWS: [Seqno; 2] = [1, 1];

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

/// Takes a snapshot at the last signature, writes its evidence, and signs that.
pub fn take(story: &mut Story) -> Shot {
    let rows = state(story);
    take_of(story, &rows, |_| ())
}

/// The same of this state; what the evidence says, and of which leaf the snapshot is, may be changed.
pub fn take_of(story: &mut Story, rows: &[Row], alter: impl FnOnce(&mut Draft)) -> Shot {
    write(story, rows, alter, |_, _| ())
}

/// The same of this state; something may be done while the evidence is the last transaction.
fn take_with(story: &mut Story, rows: &[Row], before_signing: impl FnOnce(&Shot, &Story)) -> Shot {
    write(story, rows, |_| (), before_signing)
}

fn write(
    story: &mut Story,
    rows: &[Row],
    alter: impl FnOnce(&mut Draft),
    before_signing: impl FnOnce(&Shot, &Story),
) -> Shot {
    let seqno = story.pen.signed_at;
    let mut draft = Draft {
        leaf: *story.pen.tree.last().unwrap(),
        evidence: None,
        claims: None,
    };
    alter(&mut draft);
    let entry = entry(seqno, &draft.leaf, &VIEWS, rows);
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
    before_signing(&shot, story);
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
    let stranger = Identity::node(60, &Identity::service(61));
    let rows = state(&story);
    let mut receipt = Vec::new();
    let shot = take_with(&mut story, &rows, |shot, story| {
        receipt = shot.node_s_receipt(story, &stranger)
    });
    Shot { receipt, ..shot }.verify(&story).findings
}

pub fn with_evidence_of_another_transaction() -> Vec<Finding> {
    let mut story = dual();
    let (rows, at) = (state(&story), story.pen.signed_at);
    let shot = take_of(&mut story, &rows, |draft| {
        draft.evidence = Some(SnapshotEvidence {
            hash: HexDigest([9; 32]),
            version: at,
        });
    });
    shot.verify(&story).findings
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

/// Modes and what a snapshot's receipt is signed by in each.
const MODES: [SignatureMode; 3] = crate::story::MODES;

fn served(mode: SignatureMode) -> Story {
    let mut story = Story::begin(mode);
    story.serve(4);
    story.sign();
    story
}

/// Verifies from this snapshot on.
fn from(story: &Story, shot: &Shot) -> rekindle::Result<VerifyReport> {
    let (scratch, ledger) = story.store();
    let path = shot.store(&scratch.path().join("snapshots"));
    let options = Options {
        from_snapshot: Some(start_from(&path)?),
        ..Options::default()
    };
    verify_with(&[&ledger], &options)
}

#[track_caller]
fn named(report: &VerifyReport, code: Code, severity: Severity) {
    let found = report
        .findings
        .iter()
        .any(|finding| finding.code == code && finding.severity == severity && finding.file.is_some());
    assert!(found, "{}: {}", code.as_str(), show(report));
}

#[test]
fn a_sound_snapshot_is_proven_by_its_receipt_and_its_evidence() {
    for mode in MODES {
        let mut story = served(mode);
        let shot = take(&mut story);
        story.serve(2);
        story.sign();
        let report = shot.verify(&story);
        assert!(report.findings.is_empty(), "{}", show(&report));
        assert_eq!(report.snapshots.len(), 1);
        assert_eq!(
            (report.snapshots[0].seqno, report.snapshots[0].verdict),
            (shot.seqno, Verdict::Ok)
        );
    }
}

#[test]
fn starting_from_a_snapshot_proves_the_same_end_and_knows_the_service() {
    for mode in MODES {
        let mut story = served(mode);
        let shot = take(&mut story);
        story.serve(2);
        story.sign();
        let (whole, after) = (story.verify(), from(&story, &shot).unwrap());
        assert!(after.findings.is_empty(), "{}", show(&after));
        assert_eq!((after.last_signed, after.root), (whole.last_signed, whole.root));
        assert_eq!(after.entries + shot.seqno, whole.entries);
        assert_eq!(
            after.services, whole.services,
            "with the seqno at which the service was created"
        );
    }
}

#[test]
fn a_service_of_a_version_that_does_not_say_when_it_was_created_begins_at_its_write() {
    let mut story = served(SignatureMode::Node);
    let mut rows = state(&story);
    let mut info = story.info(ServiceStatus::Open);
    info.current_service_create_txid = None;
    rows[0].3 = to_json(&info);
    let shot = take_of(&mut story, &rows, |_| ());
    let report = from(&story, &shot).unwrap();
    assert_eq!(report.services[0].from_seqno, 3, "{}", show(&report));
}

#[test]
fn a_node_that_was_removed_before_a_snapshot_signs_nothing_after_it() {
    for version in [-5, -1] {
        let mut story = served(SignatureMode::Node);
        let removed = Identity::node(60, &story.service);
        let mut rows = state(&story);
        let id = removed.id().into_bytes();
        let info = to_json(&serde_json::json!({ "status": "Trusted" }));
        rows.push((names::NODES_INFO, id.clone(), version, info));
        let pem = removed.certificate.to_pem().into_bytes();
        rows.push((names::NODES_ENDORSED_CERTIFICATES, id, version, pem));
        let shot = take_of(&mut story, &rows, |_| ());
        let last = story.pen.signed_at;
        assert!(from(&story, &shot).unwrap().findings.is_empty());
        story.node = removed;
        story.sign();
        let report = from(&story, &shot).unwrap();
        assert_eq!(last_signed(&report), last, "{}", show(&report));
        assert!(!is_clean(&report));
    }
}

#[test]
fn only_the_tree_itself_counts_as_the_tree() {
    let mut story = served(SignatureMode::Node);
    for other in [&b"other"[..], &[0; 7], &[0xff; 9]] {
        let mut rows = state(&story);
        rows.push((names::TREE, other.to_vec(), 5, b"no tree".to_vec()));
        let shot = take_of(&mut story, &rows, |_| ());
        let report = from(&story, &shot).unwrap();
        assert!(report.findings.is_empty(), "{}", show(&report));
    }
}

#[test]
fn a_snapshot_that_can_not_be_started_from_says_why() {
    let mut story = served(SignatureMode::Dual);
    let rows = state(&story);
    let refused = |shot: &Shot, story: &Story, words: &str| {
        let error = from(story, shot)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(words), "expected {words:?}: {error}");
        assert!(
            error.contains("snapshot_") && error.contains("use another snapshot"),
            "{error}"
        );
    };
    let sound = take_of(&mut story, &rows, |_| ());
    let mut shot = sound.clone();
    shot.receipt.truncate(shot.receipt.len() / 2);
    refused(&shot, &story, "receipt");
    let mut shot = sound.clone();
    let last = shot.entry.len() - 1;
    shot.entry[last] ^= 1;
    refused(&shot, &story, "claims digest");
    for missing in [names::TREE, names::SERVICE_INFO] {
        let rows: Vec<Row> = state(&story).into_iter().filter(|row| row.0 != missing).collect();
        let shot = take_of(&mut story, &rows, |_| ());
        let words = if missing == names::TREE {
            "Merkle tree"
        } else {
            "service identity"
        };
        refused(&shot, &story, words);
    }
    // A tree of another seqno.
    let mut rows = state(&story);
    rows[3].3 = rekindle::merkle::Tree::genesis().serialise();
    let shot = take_of(&mut story, &rows, |_| ());
    refused(&shot, &story, "Merkle tree");
}

#[test]
fn a_receipt_is_signed_by_a_service_of_the_ledger_or_a_node_that_it_endorsed() {
    for mode in MODES {
        let mut story = served(mode);
        let rows = state(&story);
        let stranger = Identity::service(61);
        // Signed while the evidence was the last transaction, as its receipt must be.
        let mut forged = Vec::new();
        let shot = take_with(&mut story, &rows, |shot, story| {
            forged = vec![
                shot.service_s_receipt(story, &stranger),
                shot.node_s_receipt(story, &Identity::node(60, &stranger)),
            ];
        });
        for receipt in forged {
            let shot = Shot {
                receipt,
                ..shot.clone()
            };
            named(&shot.verify(&story), Code::SnapshotSigner, Severity::Error);
            assert!(from(&story, &shot).is_err());
        }
    }
}

#[test]
fn a_receipt_over_another_root_proves_nothing() {
    for mode in MODES {
        let mut story = served(mode);
        let mut shot = take(&mut story);
        // As many steps, to another root.
        let node = Identity::node(40, &story.service);
        shot.receipt = write_json(
            &shot.components,
            &[],
            &node.certificate.to_pem(),
            &node.id(),
            &node.key.sign_prehashed_der(&[9; 32]),
        );
        let report = shot.verify(&story);
        named(&report, Code::SnapshotReceipt, Severity::Error);
        assert!(from(&story, &shot).is_err());
    }
}

#[test]
fn a_receipt_of_another_snapshot_is_no_receipt() {
    let mut story = served(SignatureMode::Dual);
    let one = take(&mut story);
    story.serve(3);
    story.sign();
    let two = take(&mut story);
    let mixed = Shot {
        receipt: two.receipt,
        ..one
    };
    named(&mixed.verify(&story), Code::SnapshotReceipt, Severity::Error);
    assert!(from(&story, &mixed).is_err());
}

#[test]
fn evidence_speaks_of_this_snapshot_or_of_none() {
    let digest = HexDigest([9; 32]);
    let cases: [fn(&mut Draft, Seqno, HexDigest); 3] = [
        |draft, at, digest| {
            draft.evidence = Some(SnapshotEvidence {
                hash: digest,
                version: at,
            })
        },
        |draft, at, digest| {
            let version = at + 1;
            draft.evidence = Some(SnapshotEvidence { hash: digest, version });
        },
        |draft, _, digest| draft.claims = Some(digest.0),
    ];
    for (case, change) in cases.into_iter().enumerate() {
        let mut story = served(SignatureMode::Dual);
        let (rows, at) = (state(&story), story.pen.signed_at);
        let shot = take_of(&mut story, &rows, |draft| change(draft, at, digest));
        let report = shot.verify(&story);
        assert!(!is_clean(&report), "case {case}: {}", show(&report));
        named(&report, Code::SnapshotEvidence, Severity::Error);
    }
}

#[test]
fn evidence_with_the_right_digest_of_another_seqno_is_of_another_snapshot() {
    let mut story = served(SignatureMode::Dual);
    let rows = state(&story);
    let seqno = story.pen.signed_at;
    // The digest is known before the evidence is written: of the same state, drafted twice.
    let digest = sha256(&entry(seqno, story.pen.tree.last().unwrap(), &VIEWS, &rows));
    let shot = take_of(&mut story, &rows, |draft| {
        draft.evidence = Some(SnapshotEvidence {
            hash: HexDigest(digest),
            version: seqno - 1,
        });
    });
    named(&shot.verify(&story), Code::SnapshotEvidence, Severity::Error);
}

#[test]
fn a_snapshot_that_is_named_otherwise_than_it_is_says_so() {
    let mut story = served(SignatureMode::Dual);
    let shot = take(&mut story);
    let renamed = Shot {
        seqno: shot.seqno - 1,
        ..shot.clone()
    };
    named(&renamed.verify(&story), Code::SnapshotUnreadable, Severity::Error);
    let renamed = Shot {
        evidence_seqno: shot.evidence_seqno - 1,
        ..shot
    };
    named(&renamed.verify(&story), Code::SnapshotName, Severity::Error);
}

#[test]
fn nothing_that_is_wrong_with_a_snapshot_that_was_never_committed_is_worse_than_information() {
    let mut story = served(SignatureMode::Dual);
    let mut shot = take(&mut story);
    shot.committed = false;
    shot.receipt.clear();
    let last = shot.entry.len() - 1;
    shot.entry[last] ^= 1;
    let report = shot.verify(&story);
    assert!(is_clean(&report), "{}", show(&report));
    named(&report, Code::SnapshotUncommitted, Severity::Info);
    named(&report, Code::SnapshotEvidence, Severity::Info);
    // The same, committed, is an error.
    shot.committed = true;
    assert!(!is_clean(&shot.verify(&story)));
}

#[test]
fn snapshots_are_listed_by_seqno() {
    let mut story = served(SignatureMode::Dual);
    let one = take(&mut story);
    story.serve(3);
    story.sign();
    let two = take(&mut story);
    let (scratch, ledger) = story.store();
    let directories = [scratch.path().join("a"), scratch.path().join("b")];
    two.store(&directories[0]);
    one.store(&directories[1]);
    std::fs::write(directories[0].join("notes.txt"), "no snapshot").unwrap();
    let options = Options {
        snapshot_directories: directories.to_vec(),
        ..Options::default()
    };
    let report = verify_with(&[&ledger], &options).unwrap();
    let seqnos: Vec<Seqno> = report.snapshots.iter().map(|snapshot| snapshot.seqno).collect();
    assert_eq!(seqnos, [one.seqno, two.seqno]);
    assert!(is_clean(&report), "{}", show(&report));
}

#[test]
fn a_snapshot_without_a_receipt_is_proven_by_the_ledger_s_own_evidence_and_by_nothing_less() {
    // As 1.x wrote them.
    let mut story = served(SignatureMode::Node);
    let mut shot = take(&mut story);
    shot.receipt.clear();
    let report = shot.verify(&story);
    assert!(report.findings.is_empty(), "{}", show(&report));
    let last = shot.entry.len() - 1;
    shot.entry[last] ^= 1;
    let report = shot.verify(&story);
    named(&report, Code::SnapshotReceipt, Severity::Error);
}

/// A service that was recovered from a snapshot alone: what came after the snapshot's state, its own evidence included, was
/// lost. Answers also the next service's own snapshot.
fn recovered_from_a_snapshot(mode: SignatureMode) -> (Story, Shot, Shot) {
    let mut story = served(mode);
    let (tree, chunks) = (story.pen.tree.clone(), story.pen.chunks.clone());
    let (at, root, signed_tree) = (story.pen.signed_at, story.last_root, story.pen.signed_tree.clone());
    let mut rows = state(&story);
    if mode != SignatureMode::Node {
        let endorsement = to_json(&story.last_endorsement());
        let table = names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT;
        rows.push((table, SINGLETON_KEY.to_vec(), 3, endorsement));
    }
    let shot = take_of(&mut story, &rows, |_| ());
    (story.pen.tree, story.pen.chunks) = (tree, chunks);
    (story.pen.signed_at, story.last_root, story.pen.signed_tree) = (at, root, signed_tree);
    story.recover();
    story.serve(2);
    story.sign();
    let own = take(&mut story);
    (story, shot, own)
}

/// Verifies with these snapshots, from one of them or from the ledger's start.
fn verify_all(story: &Story, from: Option<&Shot>, shots: &[&Shot]) -> VerifyReport {
    let (scratch, ledger) = story.store();
    let directories: Vec<PathBuf> = (0..shots.len())
        .map(|number| scratch.path().join(format!("snapshots{number}")))
        .collect();
    for (shot, directory) in shots.iter().zip(&directories) {
        shot.store(directory);
    }
    let start = from.map(|shot| start_from(&shot.store(&scratch.path().join("start"))).unwrap());
    let options = Options {
        from_snapshot: start,
        snapshot_directories: directories,
        service_certificate: Some(story.service.certificate.clone()),
        ..Options::default()
    };
    verify_with(&[&ledger], &options).unwrap()
}

/// Code and severity of what is said of snapshots.
fn said_of_snapshots(report: &VerifyReport) -> Vec<(Code, Severity)> {
    let of_files = report.findings.iter().filter(|finding| finding.file.is_some());
    let mut said: Vec<_> = of_files.map(|finding| (finding.code, finding.severity)).collect();
    said.dedup();
    said
}

#[test]
fn the_lost_evidence_of_the_snapshot_that_a_service_was_recovered_from_is_no_fault() {
    for mode in MODES {
        let (story, shot, own) = recovered_from_a_snapshot(mode);
        let report = verify_all(&story, Some(&shot), &[&shot, &own]);
        assert_eq!(
            said_of_snapshots(&report),
            [(Code::SnapshotAhead, Severity::Info)],
            "{}",
            show(&report)
        );
        assert!(is_clean(&report), "{}", show(&report));
        assert!(report.snapshots.iter().all(|snapshot| snapshot.verdict == Verdict::Ok));
        // A later start has nothing to say of it.
        let report = verify_all(&story, Some(&own), &[&shot, &own]);
        assert!(
            !said_of_snapshots(&report)
                .iter()
                .any(|(code, _)| *code == Code::SnapshotAhead)
        );
    }
}

#[test]
fn evidence_that_a_recovery_lost_is_a_warning_where_the_run_does_not_start_from_that_state() {
    for mode in MODES {
        let (story, shot, own) = recovered_from_a_snapshot(mode);
        let report = verify_all(&story, None, &[&shot, &own]);
        let warned = [(Code::SnapshotAhead, Severity::Warning)];
        assert_eq!(said_of_snapshots(&report), warned, "{}", show(&report));
        assert_eq!(report.snapshots[0].verdict, Verdict::Findings);

        // Another state at the same seqno, by whoever has the old service's keys.
        let mut other = served(mode);
        let mut rows = state(&other);
        rows.push((names::CONSTITUTION, SINGLETON_KEY.to_vec(), 2, b"mine".to_vec()));
        let other = take_of(&mut other, &rows, |_| ());
        assert_eq!((other.seqno, other.evidence_seqno), (shot.seqno, shot.evidence_seqno));
        let report = verify_all(&story, Some(&shot), &[&other]);
        assert!(said_of_snapshots(&report).contains(&warned[0]), "{}", show(&report));
        assert_eq!(report.snapshots[0].verdict, Verdict::Findings);
    }
}

#[test]
fn evidence_that_no_recovery_lost_is_missed() {
    for mode in MODES {
        let (story, shot, own) = recovered_from_a_snapshot(mode);
        // Without a receipt nothing says where its evidence was.
        let bare = Shot {
            receipt: Vec::new(),
            ..shot.clone()
        };
        let report = verify_all(&story, Some(&shot), &[&bare]);
        named(&report, Code::SnapshotEvidence, Severity::Error);
        // A state of the new service, whose evidence nobody lost.
        let mut again = served(mode);
        again.recover();
        again.serve(2);
        again.sign();
        let mut rows = state(&again);
        rows.push((names::CONSTITUTION, SINGLETON_KEY.to_vec(), 2, b"mine".to_vec()));
        let other = take_of(&mut again, &rows, |_| ());
        assert_eq!((other.seqno, other.evidence_seqno), (own.seqno, own.evidence_seqno));
        let report = verify_all(&story, None, &[&other]);
        named(&report, Code::SnapshotEvidence, Severity::Error);
        named(&report, Code::SnapshotReceipt, Severity::Error);
    }
}
