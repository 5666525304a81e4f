//! What comes later is judged by what came before: across an interruption, and across an entry that is not the signed one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rekindle::attestation::{Anchors, Time, Verifier};
use rekindle::format::Seqno;
use rekindle::format::directory::LedgerFiles;
use rekindle::format::domain::{EntryType, WriteSet};
use rekindle::journal::SignatureMode;
use rekindle::recovery::attest::Settings;
use rekindle::recovery::join::Mode;
use rekindle::recovery::snapshots::start_from;
use rekindle::recovery::trust::{SavedTrust, Trust};
use rekindle::recovery::verify::{Options, VerifyReport, verify};
use rekindle::report::progress::{Progress, Silent};
use rekindle::report::{Code, Finding};
use rekindle::tables::values::ServiceStatus::Open;
use rekindle::tables::values::to_json;
use rekindle::tables::{SINGLETON_KEY, names};
use serde_json::{Value, json};

use crate::ground::{last_signed, show, verify_with};
use crate::identity::{Identity, put_node, put_service};
use crate::scribe::Scribe;
use crate::snapshots::{state, take, take_of};
use crate::story::{MODES, Story};

fn served(mode: SignatureMode) -> Story {
    let mut story = Story::begin(mode);
    story.serve(2);
    story
}

fn put_status(writes: &mut WriteSet, node: &Identity, value: Value) {
    writes.put(names::NODES_INFO, node.id(), to_json(&value));
}

/// Another node of this service, which the members trust.
fn join(story: &mut Story) -> Identity {
    let node = Identity::node(70, &story.service);
    story.write(|writes| put_node(writes, &node, "Pending"));
    story.write(|writes| put_status(writes, &node, json!({"status": "Trusted"})));
    node
}

// --- interrupted

/// A history, and the seqno after which its verification is interrupted.
struct Interrupted {
    what: &'static str,
    story: Story,
    until: Seqno,
    /// What the rest is found to have, if anything; it takes what was known at the interruption to see it.
    found: Option<Code>,
    is_without_its_first_chunk: bool,
}

impl Interrupted {
    /// Interrupted after the last signature; `rest` is what follows.
    fn signed(
        what: &'static str,
        mut story: Story,
        found: impl Into<Option<Code>>,
        rest: impl FnOnce(&mut Story),
    ) -> Interrupted {
        story.sign();
        Interrupted::anywhere(what, story, found, rest)
    }

    /// Interrupted after the last entry, whatever that is.
    fn anywhere(
        what: &'static str,
        mut story: Story,
        found: impl Into<Option<Code>>,
        rest: impl FnOnce(&mut Story),
    ) -> Interrupted {
        let until = story.pen.next().seqno - 1;
        rest(&mut story);
        Interrupted {
            what,
            story,
            until,
            found: found.into(),
            is_without_its_first_chunk: false,
        }
    }
}

fn interrupted() -> Vec<Interrupted> {
    use SignatureMode::{Cose, Dual, Node};
    let mut all = Vec::new();
    let story = served(Node);
    all.push(Interrupted::signed(
        "nodes send certificates",
        story,
        Code::NotEndorsed,
        |story| {
            story.sign_altered(|signature| signature.cert = None);
        },
    ));
    let story = served(Dual);
    all.push(Interrupted::signed(
        "the service signs",
        story,
        Code::CoseGone,
        |story| {
            story.mode = Node;
            story.sign();
            story.sign();
        },
    ));
    let mut story = served(Dual);
    story.sign();
    story.mode = Node;
    all.push(Interrupted::signed("COSE is gone", story, Code::CoseGone, |story| {
        story.sign();
    }));
    let story = served(Cose);
    all.push(Interrupted::signed(
        "the service signs alone",
        story,
        Code::SignatureOutOfPlace,
        |story| {
            story.mode = Node;
            story.sign();
        },
    ));
    for is_removed in [true, false] {
        let mut story = served(Dual);
        let node = join(&mut story);
        story.write(|writes| put_status(writes, &node, json!({"status": "Retired"})));
        story.write(|writes| put_status(writes, &node, json!({"status": "Retired", "retired_committed": true})));
        if is_removed {
            story.write(|writes| {
                writes.remove(names::NODES_INFO, node.id());
                writes.remove(names::NODES_ENDORSED_CERTIFICATES, node.id());
            });
            all.push(Interrupted::signed(
                "a node is gone",
                story,
                Code::NodeStatus,
                |story| {
                    story.write(|writes| put_node(writes, &node, "Pending"));
                    story.sign();
                },
            ));
        } else {
            all.push(Interrupted::signed(
                "a retirement is committed",
                story,
                Code::SignedAfterRetirement,
                |story| {
                    story.node = node;
                    story.sign();
                },
            ));
        }
    }
    let mut story = served(Dual);
    let node = join(&mut story);
    story.write(|writes| put_status(writes, &node, json!({"status": "Retired"})));
    story.node = node;
    all.push(Interrupted::signed(
        "a retired node has signed",
        story,
        Code::RetiredSigns,
        |story| {
            story.serve(1);
            story.sign();
        },
    ));
    let story = served(Node);
    all.push(Interrupted::signed(
        "entries are of the newest type",
        story,
        Code::EntryType,
        |story| {
            story.pen.entry_type = EntryType::WriteSet;
            story.serve(1);
            story.pen.entry_type = EntryType::WriteSetWithCommitEvidenceAndClaims;
            story.sign();
        },
    ));
    for mode in MODES {
        all.push(Interrupted::signed("before a recovery", served(mode), None, |story| {
            story.recover();
            story.serve(2);
            story.sign();
        }));
        let mut story = served(mode);
        story.sign();
        story.begin_recovery(|_, _| ());
        all.push(Interrupted::signed("within a recovery", story, None, |story| {
            story.open_recovered(|_, _| ());
            story.recover();
        }));
        let mut story = served(mode);
        story.sign();
        story.recover();
        let mut halved = Interrupted::signed("entries are missing", story, Code::LateStart, |story| {
            story.recover();
        });
        halved.is_without_its_first_chunk = true;
        all.push(halved);
        let mut story = served(mode);
        let node = Identity::node(70, &story.service);
        story.write(|writes| put_node(writes, &node, "Pending"));
        let entry = WriteSet::new();
        story.pen.append_with(&entry, 0x02, None);
        all.push(Interrupted::anywhere(
            "what is judged at the next signature",
            story,
            Code::EntryFlags,
            |story| {
                story.write(|writes| put_status(writes, &node, json!({"status": "Trusted"})));
                story.sign();
            },
        ));
    }
    let mut story = served(Dual);
    let before = (story.service.clone(), story.node.clone());
    story.sign();
    story.recover();
    all.push(Interrupted::signed(
        "a service is over",
        story,
        Code::IdentityChanged,
        |story| {
            (story.service, story.node) = before;
            story.change_status(Open);
            story.sign();
        },
    ));
    all
}

/// Keeps what a run has saved before it removes it.
struct Keeping<'p> {
    checkpoint: &'p Path,
    kept: Mutex<Vec<u8>>,
}

impl Progress for Keeping<'_> {
    fn begin(&self, _: &str, _: u64) {
        // Longer than there is between two saves: so there is one at the end of the first window.
        std::thread::sleep(Duration::from_millis(1100));
    }

    fn advance(&self, _: u64, _: u64) {}

    fn end(&self) {
        *self.kept.lock().unwrap() = std::fs::read(self.checkpoint).unwrap();
    }
}

/// More entries than any of these ledgers has.
const MARK: u64 = 1000;

fn options(mode: Mode, checkpoint: Option<&PathBuf>) -> Options {
    Options {
        mode: Some(mode),
        checkpoint: checkpoint.cloned(),
        // Nodes from before an interruption are counted too.
        attest: Some(Arc::new(Settings {
            verifier: Verifier::new(Anchors::built_in()),
            time: Time::None,
            minimum_tcb: BTreeMap::new(),
        })),
        ..Options::default()
    }
}

/// Verifies up to there, and leaves the checkpoint that an interruption would have left, with more entries noted in it
/// than were read: so it shows whether a later run went on from it. Answers the trust that was saved.
fn interrupt(files: &LedgerFiles, mode: Mode, checkpoint: &PathBuf, until: Seqno) -> Value {
    let keeping = Keeping {
        checkpoint,
        kept: Mutex::default(),
    };
    let mut options = options(mode, Some(checkpoint));
    options.until = Some(until);
    verify(files, &options, &keeping).unwrap();
    let text = String::from_utf8(keeping.kept.into_inner().unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut document: Value = serde_json::from_str(lines[1]).unwrap();
    let entries = &mut document["state"]["counts"]["entries"];
    *entries = (entries.as_u64().unwrap() + MARK).into();
    let json = document.to_string();
    let crc = crc32fast::hash(json.as_bytes());
    std::fs::write(checkpoint, format!("{}\n{json}\n{crc:08x}\n", lines[0])).unwrap();
    document["state"]["trust"].take()
}

fn timeless(report: &VerifyReport) -> Value {
    let mut report = serde_json::to_value(report).unwrap();
    for field in ["elapsed_s", "entries_per_s", "bytes_per_s"] {
        report[field].take();
    }
    report
}

#[test]
fn a_verification_that_goes_on_says_what_one_that_was_not_interrupted_says() {
    let all = interrupted();
    std::thread::scope(|scope| {
        for (one, mode) in all.iter().flat_map(|one| [(one, Mode::Audit), (one, Mode::Integrity)]) {
            scope.spawn(move || {
                let what = format!("{}, {:?}, {mode:?}", one.what, one.story.mode);
                let (scratch, ledger) = one.story.store();
                if one.is_without_its_first_chunk {
                    let first = std::fs::read_dir(&ledger).unwrap().map(|file| file.unwrap().path());
                    let first = first.filter(|path| path.to_string_lossy().contains("ledger_1-")).last();
                    std::fs::remove_file(first.unwrap()).unwrap();
                }
                let files = LedgerFiles::list(&[ledger], false).unwrap();
                let anew = verify(&files, &options(mode, None), &Silent).unwrap();
                let codes: Vec<Code> = anew.findings.iter().map(|finding| finding.code).collect();
                // What may have been said in entries that are missing is not held against those that are there.
                let held_against = [
                    Code::NodeStatus,
                    Code::RecoveryDiffers,
                    Code::PreviousIdentity,
                    Code::PreviousRoot,
                    Code::Endorsement,
                ];
                let is_blamed = one.is_without_its_first_chunk && codes.iter().any(|code| held_against.contains(code));
                assert!(!is_blamed, "{what}: {}", show(&anew));
                match one.found {
                    Some(code) => assert!(codes.contains(&code), "{what}: {}", show(&anew)),
                    None => assert!(codes.is_empty(), "{what}: {}", show(&anew)),
                }
                let checkpoint = scratch.path().join("checkpoint");
                let trust = interrupt(&files, mode, &checkpoint, one.until);
                let saved: SavedTrust = serde_json::from_value(trust.clone()).unwrap();
                let restored = Trust::restore(saved).unwrap();
                assert_eq!(serde_json::to_value(restored.save()).unwrap(), trust, "{what}");
                let mut resumed = verify(&files, &options(mode, Some(&checkpoint)), &Silent).unwrap();
                let more = resumed.entries - anew.entries;
                // Where integrity mode finds damage, everything may be verified anew, in audit mode.
                let may_begin_anew = mode == Mode::Integrity && resumed.mode == Mode::Audit;
                assert!(more == MARK || may_begin_anew, "{what}: it was begun anew");
                resumed.entries = anew.entries;
                assert_eq!(timeless(&resumed), timeless(&anew), "{what}");
            });
        }
    });
}

// --- beside an entry that is not the signed one

/// A node is written again as trusted, another asks, and the first of these entries is changed on disk: `from` to `to`.
fn with_a_changed_entry(mode: SignatureMode, from: &str, to: &str) -> (Story, Seqno, Seqno) {
    let mut story = served(mode);
    let before = story.pen.signed_at;
    let other = Identity::node(70, &story.service);
    let node = story.node.clone();
    let changed = story
        .write(|writes| put_status(writes, &node, json!({"status": "Trusted"})))
        .seqno;
    story.write(|writes| put_node(writes, &other, "Pending"));
    story.sign();
    story.write(|writes| put_status(writes, &other, json!({"status": "Trusted"})));
    story.sign();
    let (first, entries) = story.pen.chunks.last_mut().unwrap();
    let raw = &mut entries[(changed - *first) as usize];
    let at = raw
        .windows(from.len())
        .position(|bytes| bytes == from.as_bytes())
        .unwrap();
    raw[at..at + from.len()].copy_from_slice(to.as_bytes());
    (story, changed, before)
}

#[test]
fn what_an_entry_says_that_is_not_the_signed_one_changes_nobody_s_trust_and_what_the_others_say_does() {
    for mode in MODES {
        let (story, changed, before) = with_a_changed_entry(mode, "Trusted", "Retired");
        story.expect(Code::EntryDiffers, changed..=changed, before);
        let report = story.verify();
        assert_eq!(last_signed(&report), before);
        for finding in report.findings.iter().filter(|finding| finding.code != Code::Unsigned) {
            assert_eq!(finding.seqno, Some(changed), "{}", show(&report));
        }
    }
}

#[test]
fn a_signature_over_another_history_takes_nothing_from_what_an_earlier_one_proved() {
    for mode in MODES {
        let (mut story, mut other) = (Story::begin(mode), Story::begin(mode));
        story.serve(3);
        other.serve(2);
        other.change_status(Open);
        story.sign();
        other.sign();
        let last = story.pen.signed_at;
        story.pen.tree = other.pen.tree;
        for _ in 0..2 {
            story.serve(2);
            story.sign();
        }
        story.expect(Code::RootDiffers, last + 1..=story.pen.signed_at, last);
        let report = story.verify();
        let mixed = report
            .findings
            .iter()
            .filter(|finding| finding.message.contains("two histories"));
        assert_eq!(mixed.count(), 1, "{}", show(&report));
    }
}

// --- where a ledger or a run begins

#[test]
fn a_first_service_recovers_nothing_so_its_first_entry_has_no_flag() {
    for mode in MODES {
        Story::created_by(mode, 0x02).expect(Code::EntryFlags, 1..=1, 0);
    }
}

#[test]
fn a_view_does_not_fall_after_a_snapshot_and_its_service_is_known() {
    for mode in MODES {
        let mut story = served(mode);
        story.sign();
        story.pen.view = 1;
        let shot = take(&mut story);
        let (scratch, ledger) = story.store();
        let start = start_from(&shot.store(&scratch.path().join("snapshots"))).unwrap();
        let service = start
            .trust
            .service_certificate()
            .map(|certificate| certificate.key_id());
        assert_eq!(service, Some(story.service.certificate.key_id()));
        let options = Options {
            from_snapshot: Some(start),
            ..Options::default()
        };
        let report = verify_with(&[&ledger], &options).unwrap();
        let falls = |finding: &Finding| finding.code == Code::ViewGoesBack && finding.seqno == Some(shot.seqno + 1);
        assert!(report.findings.iter().any(falls), "{}", show(&report));
    }
}

#[test]
fn a_service_that_has_not_opened_yet_may_trust_a_node_at_once() {
    for mode in MODES {
        let mut story = Story::created(mode);
        let other = Identity::node(70, &story.service);
        story.write(|writes| put_node(writes, &other, "Trusted"));
        story.sign();
        story.expect_clean();
    }
}

#[test]
fn a_run_from_a_snapshot_says_whether_the_ledger_reaches_its_evidence() {
    for mode in MODES {
        // What was written last: its evidence, and the signature over that.
        for (lost, is_ahead) in [(2, true), (1, false), (0, false)] {
            let mut story = served(mode);
            story.sign();
            let shot = take(&mut story);
            let entries = &mut story.pen.chunks.last_mut().unwrap().1;
            entries.truncate(entries.len() - lost);
            let (scratch, ledger) = story.store();
            let start = start_from(&shot.store(&scratch.path().join("snapshots"))).unwrap();
            let options = Options {
                from_snapshot: Some(start),
                ..Options::default()
            };
            let report = verify_with(&[&ledger], &options).unwrap();
            let says = |code: Code| report.findings.iter().any(|finding| finding.code == code);
            assert_eq!(says(Code::SnapshotAhead), is_ahead, "{lost}: {}", show(&report));
            assert!(!says(Code::SnapshotNewer), "{lost}: {}", show(&report));
            let place = format!(
                "transaction {}, but the ledger ends at {}",
                shot.evidence_seqno, shot.seqno
            );
            let is_placed = report.findings.iter().any(|finding| finding.message.contains(&place));
            assert_eq!(is_placed, is_ahead, "{lost}: {}", show(&report));
        }
    }
}

#[test]
fn a_service_in_a_snapshot_may_be_recovered_and_is_endorsed_by_the_next_as_the_ledger_says() {
    for mode in MODES {
        let mut story = served(mode);
        story.sign();
        let mut rows = state(&story);
        if mode != SignatureMode::Node {
            let table = names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT;
            let value = to_json(&story.last_endorsement());
            // It was written where the service opened.
            rows.push((table, SINGLETON_KEY.to_vec(), 3, value));
        }
        let shot = take_of(&mut story, &rows, |_| ());
        story.recover();
        let (scratch, ledger) = story.store();
        let options = Options {
            from_snapshot: Some(start_from(&shot.store(&scratch.path().join("snapshots"))).unwrap()),
            ..Options::default()
        };
        let report = verify_with(&[&ledger], &options).unwrap();
        assert!(report.findings.is_empty(), "{}", show(&report));
        assert_eq!(last_signed(&report), story.pen.signed_at);
    }
}

// --- what stands between two signatures

/// A service of a version that does not say when it was created, with entries of these types before its first signature.
fn of_types(types: &[EntryType]) -> VerifyReport {
    let service = Identity::service(90);
    let node = Identity::node(91, &service);
    let mut pen = Scribe::new(types[0]);
    let mut writes = WriteSet::new();
    put_service(&mut writes, &service, Open);
    put_node(&mut writes, &node, "Trusted");
    pen.append(&writes);
    for entry_type in &types[1..] {
        pen.entry_type = *entry_type;
        let mut writes = WriteSet::new();
        writes.put("public:app", "key", "value");
        pen.append(&writes);
    }
    pen.entry_type = EntryType::WriteSetWithCommitEvidenceAndClaims;
    let signature = pen.signature(&node);
    pen.sign(Some(&signature), None);
    let scratch = tempfile::tempdir().unwrap();
    pen.store(scratch.path());
    verify_with(&[scratch.path()], &Options::default()).unwrap()
}

#[test]
fn entries_get_newer_and_never_older_between_two_signatures() {
    use EntryType::{WriteSet, WriteSetWithClaims, WriteSetWithCommitEvidence, WriteSetWithCommitEvidenceAndClaims};
    let all = [
        WriteSet,
        WriteSetWithClaims,
        WriteSetWithCommitEvidence,
        WriteSetWithCommitEvidenceAndClaims,
    ];
    let older_at = |types: &[EntryType]| {
        let report = of_types(types);
        let found = report.findings.iter().find(|finding| finding.code == Code::EntryType);
        found.and_then(|finding| finding.seqno)
    };
    assert_eq!(older_at(&all), None);
    assert_eq!(older_at(&[all[3], all[2], all[3]]), None, "these two alternate");
    assert_eq!(older_at(&[all[3], all[3], all[0]]), Some(3));
    assert_eq!(older_at(&[all[3], all[1], all[3]]), Some(2));
    assert_eq!(older_at(&[all[0], all[1], all[0]]), Some(3));
}

#[test]
fn a_status_that_ccf_does_not_have_is_said_once_and_not_held_against_what_follows() {
    for mode in MODES {
        let mut story = served(mode);
        let other = Identity::node(70, &story.service);
        for status in ["Banned", "Retired"] {
            story.write(|writes| put_status(writes, &other, json!({ "status": status })));
        }
        story.sign();
        let report = story.verify();
        let said = report
            .findings
            .iter()
            .filter(|finding| finding.code == Code::NodeStatus);
        assert_eq!(said.count(), 1, "{}", show(&report));
    }
}
