//! What a node builds upon, and what it refuses to: ledgers that somebody changed who has their storage, and no key.

use std::path::{Path, PathBuf};

use crate::identity::Identity;
use crate::node::Place;
use crate::scribe::{By, Scribe};
use crate::snapshot::{self, Row};
use crate::support::{Service, chunks, codes, contents};
use rekindle::crypto::sha256;
use rekindle::format::chunk::{Layout, Step, Walker};
use rekindle::format::domain::{EntryType, PublicHeader, WriteSet};
use rekindle::format::entry::{EntryIv, write_entry};
use rekindle::format::snapshot::Snapshot;
use rekindle::merkle::receipt::{LeafComponents, write_json};
use rekindle::tables::values::{ServiceInfo, ServiceStatus, Signature, from_json, to_json};
use rekindle::tables::{SINGLETON_KEY, names};
use serde_json::{Value, json};

/// Where a node alone signs, nothing covers the view that the last signature transaction names.
const BY_NODE: [&str; 6] = ["--entries", "40", "--signature-every", "20", "--signatures", "node"];

/// What nothing covers of the last signature transaction.
struct Uncovered {
    /// Only where a node alone signed; in its nonce and in its value.
    view: u64,
    tag: [u8; 16],
    evidence: [u8; 32],
}

/// Changes the last signature transaction of an open chunk; answers its seqno.
fn change_last(ledger: &Path, change: impl FnOnce(&mut Uncovered)) -> u64 {
    let (first, path) = chunks(ledger).pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut walker = Walker::new(&bytes, Layout::read(&bytes).unwrap(), first);
    let mut last = None;
    while let Step::Entry(located) = walker.step(&mut Vec::new()) {
        last = Some(located);
    }
    let last = last.unwrap();
    let mut uncovered = Uncovered {
        view: last.entry.iv().view,
        tag: *last.entry.tag,
        evidence: *last.public.commit_evidence_digest.unwrap(),
    };
    change(&mut uncovered);
    let mut writes = WriteSet::new();
    last.maps()
        .for_each(|name, write| writes.put(name, write.key, write.value.unwrap()))
        .unwrap();
    let value = writes.get(names::SIGNATURES, &SINGLETON_KEY).unwrap().unwrap();
    let mut signature: Signature = from_json(value).unwrap();
    signature.view = uncovered.view;
    writes.put(names::SIGNATURES, SINGLETON_KEY, to_json(&signature));
    let header = PublicHeader {
        commit_evidence_digest: Some(&uncovered.evidence),
        ..last.public
    };
    let mut public = Vec::new();
    header.write(&mut public);
    writes.write_domain(true, &mut public);
    let iv = EntryIv {
        view: uncovered.view,
        ..last.entry.iv()
    };
    let mut changed = bytes[..last.offset as usize].to_vec();
    write_entry(&mut changed, last.entry.flags, &uncovered.tag, iv, &public, &[]).unwrap();
    std::fs::write(&path, changed).unwrap();
    last.seqno
}

#[test]
fn a_view_that_no_signature_covers_is_counted_on_from_within_its_bound() {
    let service = Service::made(&BY_NODE);
    let place = Place::of(&service.directory);
    change_last(&place.ledger(), |last| last.view = 60_000);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    let txid = node.json("/node/commit")["transaction_id"].as_str().unwrap().to_owned();
    assert!(txid.starts_with("60002."), "{txid}");
    node.stop();
    let report = rekindle!["verify", place.ledger(), "--include-recovery", "--json"]
        .expect(0)
        .json();
    assert!(
        report["last_signed"].as_str().unwrap().starts_with("60002."),
        "{report}"
    );
}

#[test]
fn a_view_beyond_its_bound_is_refused_and_nothing_is_changed() {
    for view in [70_000, (1 << 31) - 1] {
        let service = Service::made(&BY_NODE);
        let place = Place::of(&service.directory);
        change_last(&place.ledger(), |last| last.view = view);
        let before = contents(&place.ledger());
        let said = place.refused();
        assert!(said.contains("L0212") && said.contains("--drop-after"), "{said}");
        assert_eq!(contents(&place.ledger()), before);
    }
}

// Dropping what was signed, because the operator says so

/// Seqno of the last proven signature up to `until`.
fn last_signed(ledger: &Path, until: u64) -> u64 {
    let report = rekindle!["verify", ledger, "--until", until.to_string(), "--json"]
        .expect(0)
        .json();
    let (_, seqno) = report["last_signed"].as_str().unwrap().split_once('.').unwrap();
    seqno.parse().unwrap()
}

/// What users have in a ledger, or had at a seqno.
fn state(directory: &Path, at: Option<u64>) -> Vec<Value> {
    let at = at.map(|at| at.to_string());
    let mut options = vec!["--state"];
    options.extend(at.iter().flat_map(|at| ["--at", at.as_str()]));
    let mut lines = Service::at(directory.to_owned()).export(true, &options);
    lines.retain(|line| !line["table"].as_str().unwrap().starts_with("public:ccf."));
    assert!(lines.iter().any(|line| line["private"] == true), "nothing private");
    lines
}

fn drop_after(place: &mut Place, seqno: u64) {
    place.arguments = vec!["--drop-after".to_owned(), seqno.to_string()];
}

/// That what was in these files is in others of the same directory, under their names or set aside.
#[track_caller]
fn expect_kept(before: &[PathBuf], bytes: &[Vec<u8>]) {
    for (path, bytes) in before.iter().zip(bytes) {
        let aside = PathBuf::from(format!("{}.ignored", path.display()));
        let kept = [path, &aside]
            .iter()
            .any(|path| std::fs::read(path).is_ok_and(|now| now == *bytes));
        assert!(kept, "{} is neither kept nor set aside", path.display());
    }
}

#[test]
fn a_last_signature_transaction_that_was_changed_where_nothing_covers_it_is_recovered_without() {
    const DUAL: [&str; 4] = ["--entries", "40", "--signature-every", "20"];
    type Change = fn(&mut Uncovered);
    let changes: [(&[&str], Change); 3] = [
        (&DUAL, |last| last.tag[3] ^= 1),
        (&DUAL, |last| last.evidence[3] ^= 1),
        (&BY_NODE, |last| last.view += 5),
    ];
    for (options, change) in changes {
        let service = Service::made(options);
        let mut place = Place::of(&service.directory);
        let last = change_last(&place.ledger(), change);
        let (_, path) = chunks(&place.ledger()).pop().unwrap();
        let damaged = std::fs::read(&path).unwrap();
        assert_eq!(
            last_signed(&place.ledger(), last),
            last,
            "nothing is to be seen in public"
        );
        let run = Service::at(place.directory.clone()).with_keys("unlock", &["--json"]);
        let findings = run.expect(1).json();
        assert!(codes(&findings).contains(&"L0702"), "{findings}");
        assert!(findings.to_string().contains("--drop-after"), "{findings}");

        let mut fresh = place.again();
        let mut node = place.start();
        node.wait_for("PartOfPublicNetwork");
        node.wait_for_members();
        node.pass(&node.opening());
        node.submit_shares(&place.keys());
        assert!(!node.wait_for_end().success());
        let said = node.log();
        for words in [
            "L0702",
            &format!("seqno: {last}/{last}"),
            "--drop-after",
            "rekindle verify --until",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        drop(node);

        let earlier = last_signed(&service.ledger(), last - 1);
        assert!(earlier > 1 && earlier < last, "{earlier}");
        let before = state(&service.directory, Some(earlier));
        // Where the first attempt ended, and in a copy.
        let (_, committed) = chunks(&place.ledger()).swap_remove(0);
        let completed = std::fs::read(&committed).unwrap();
        assert_eq!(completed[8..damaged.len()], damaged[8..]);
        drop_after(&mut place, earlier);
        place.recover();
        expect_kept(&[committed], &[completed]);
        drop_after(&mut fresh, earlier);
        fresh.recover();
        expect_kept(&[fresh.ledger().join(path.file_name().unwrap())], &[damaged]);
        for place in [place, fresh] {
            let report = place.verify();
            assert_eq!(report["services"][1]["from_seqno"], earlier + 1, "{report}");
            assert_eq!(state(&place.directory, None), before);
        }
    }
}

const WITH_SNAPSHOTS: [&str; 8] = [
    "--entries",
    "100",
    "--signature-every",
    "10",
    "--snapshot-every",
    "40",
    "--chunk-size",
    "9000",
];

/// Seqno and file of the snapshots, oldest first.
fn snapshots(directory: &Path) -> Vec<(u64, PathBuf)> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let committed = files.filter(|path| path.extension().is_some_and(|end| end == "committed"));
    let mut found: Vec<_> = committed
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let seqno = name["snapshot_".len()..].split('_').next().unwrap();
            (seqno.parse().unwrap(), path)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn what_is_after_an_earlier_signature_is_dropped_and_kept_aside_snapshots_too() {
    let service = Service::made(&WITH_SNAPSHOTS);
    let mut place = Place::of(&service.directory);
    let all = snapshots(&place.directory.join("snapshots"));
    let [(older, _), (newer, newest)] = &all[..] else {
        panic!("{all:?}")
    };
    let earlier = last_signed(&place.ledger(), newer - 1);
    assert!(earlier > older + 2, "{earlier}");
    let files: Vec<PathBuf> = chunks(&place.ledger()).into_iter().map(|(_, path)| path).collect();
    let files: Vec<PathBuf> = files.into_iter().chain([newest.clone()]).collect();
    let bytes: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let before = contents(&place.ledger());
    for wrong in [earlier - 1, earlier + 1, 0] {
        drop_after(&mut place, wrong);
        let said = place.refused();
        assert!(said.contains("there is no proven signature at this seqno"), "{said}");
        assert_eq!(contents(&place.ledger()), before);
    }
    drop_after(&mut place, earlier);
    let recovered = place.recover();
    assert_eq!(recovered.public["startup_seqno"], *older);
    expect_kept(&files, &bytes);
    // It is of another history from now on, in which a snapshot may have the same seqnos.
    assert_ne!(std::fs::read(newest).ok().as_ref(), bytes.last());
    let expected = state(&service.directory, Some(earlier));
    assert_eq!(state(&place.directory, None), expected);
    // The next disaster needs no word.
    let next = place.again();
    next.recover();
    assert_eq!(next.verify()["services"][1]["from_seqno"], earlier + 1);
    assert_eq!(state(&next.directory, None), expected);
}

/// A stranger who can write to a copy recovers it on his own: it verifies, and only the certificate tells.
#[test]
fn a_stranger_s_recovery_on_top_is_dropped_for_the_service_that_the_operator_names() {
    let service = Service::made(&WITH_SNAPSHOTS);
    let last = last_signed(&service.ledger(), u64::MAX);
    let theirs = Place::of(&service.directory);
    theirs.recover();
    let mut place = theirs.again().with_previous_identity();
    let said = place.refused();
    assert!(said.contains("Previous service identity does not match"), "{said}");
    drop_after(&mut place, last);
    place.recover();
    let report = place.verify();
    assert_eq!(report["services"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["services"][1]["from_seqno"], last + 1);
    assert_eq!(state(&place.directory, None), state(&service.directory, None));
}

// Forged snapshots, and a ledger that proves nothing

/// A snapshot of this state in place of a true one, with a receipt by `node` over itself alone.
fn forge(original: &[u8], evidence: u64, node: &Identity, change: impl FnOnce(&mut Vec<Row<String>>)) -> Vec<u8> {
    let snapshot = Snapshot::parse(original).unwrap();
    let mut rows = Vec::new();
    snapshot
        .public_state(|table, entry| {
            rows.push((
                table.to_owned(),
                entry.key.to_vec(),
                entry.version,
                entry.value.to_vec(),
            ));
        })
        .unwrap();
    change(&mut rows);
    let views: Vec<u64> = snapshot.view_history().collect();
    let mut bytes = snapshot::entry(snapshot.seqno, snapshot.leaf, &views, &rows);
    let receipt = receipt_by(&bytes, evidence, node);
    bytes.extend_from_slice(&receipt);
    bytes
}

/// A receipt for this entry of a snapshot, as if its evidence were all that was ever written.
fn receipt_by(entry: &[u8], evidence: u64, node: &Identity) -> Vec<u8> {
    let components = LeafComponents {
        write_set_digest: [4; 32],
        commit_evidence: format!("ce:2.{evidence}:{}", hex::encode([5; 32])),
        claims_digest: sha256(entry),
    };
    let signature = node.key.sign_prehashed_der(&components.leaf());
    write_json(&components, &[], &node.certificate.to_pem(), &node.id(), &signature)
}

/// Names the stranger's service in a state, and changes what users have in it.
fn take_over(rows: &mut [Row<String>], stranger: &Identity) {
    for (table, _, _, value) in rows {
        if table == names::SERVICE_INFO {
            let mut info: ServiceInfo = from_json(value).unwrap();
            info.cert = stranger.certificate.to_pem();
            *value = to_json(&info);
        } else if !table.starts_with("public:ccf.") {
            value.iter_mut().for_each(|byte| *byte ^= 1);
        }
    }
}

/// A node with this newest snapshot, and none of the older ones, recovers as if it were not there.
#[track_caller]
fn recovers_without(service: &Service, name: &str, forged: &[u8], words: &[&str]) {
    let place = Place::of(&service.directory).with_previous_identity();
    let directory = place.directory.join("snapshots");
    for (_, path) in snapshots(&directory) {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(directory.join(name), forged).unwrap();
    let mut node = place.start();
    let public = node.wait_for("PartOfPublicNetwork");
    assert_eq!(public["startup_seqno"], 0, "{}", node.log());
    node.open();
    let log = node.log();
    for words in words {
        assert!(log.contains(words), "{words}: {log}");
    }
    node.stop();
    let certificate = place.directory.join("service_cert.pem");
    let report = rekindle!["verify", place.ledger(), "--service-cert", certificate, "--json"]
        .expect(0)
        .json();
    let last = last_signed(&service.ledger(), u64::MAX);
    assert_eq!(report["services"][1]["from_seqno"], last + 1, "{report}");
    assert_eq!(state(&place.directory, None), state(&service.directory, None));
}

#[test]
fn a_forged_state_in_front_of_a_true_ledger_is_not_started_from() {
    let service = Service::made(&WITH_SNAPSHOTS);
    let (seqno, newest) = snapshots(&service.snapshots()).pop().unwrap();
    let original = std::fs::read(newest).unwrap();
    let stranger = Identity::service(77);
    let node = Identity::node(78, &stranger);
    // Evidence that the ledger has otherwise, and evidence that it does not reach.
    for (evidence, words) in [
        (seqno + 1, "not starting from this snapshot"),
        (seqno + 1000, "trying an older one, or none"),
    ] {
        let forged = forge(&original, evidence, &node, |rows| take_over(rows, &stranger));
        let name = format!("snapshot_{seqno}_{evidence}.committed");
        recovers_without(&service, &name, &forged, &[words]);
    }
}

#[test]
fn a_snapshot_whose_receipt_the_service_did_not_sign_is_not_started_from() {
    let mut options = WITH_SNAPSHOTS.to_vec();
    options.extend(["--fork", "same-view"]);
    let service = Service::made(&options);
    let (seqno, newest) = snapshots(&service.snapshots()).pop().unwrap();
    let original = std::fs::read(&newest).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    // The true state, with a stranger's word for it.
    let node = Identity::node(78, &Identity::service(77));
    let entry = Snapshot::parse(&original).unwrap().entry.raw.to_vec();
    let receipt = receipt_by(&entry, seqno + 1, &node);
    let forged = [entry, receipt].concat();
    recovers_without(&service, name, &forged, &["is not signed by any service identity"]);
    // Another service's, under this one's name.
    let mut options = WITH_SNAPSHOTS.to_vec();
    options.extend(["--seed", "9"]);
    let other = Service::made(&options);
    let (_, foreign) = snapshots(&other.snapshots()).pop().unwrap();
    recovers_without(
        &service,
        name,
        &std::fs::read(foreign).unwrap(),
        &["not starting from this snapshot"],
    );
    // By the service itself, of a history that is not this ledger's.
    let (_, parted) = snapshots(&service.directory.join("fork/snapshots")).pop().unwrap();
    recovers_without(
        &service,
        name,
        &std::fs::read(parted).unwrap(),
        &["not starting from this snapshot"],
    );
}

#[test]
fn the_true_snapshot_before_a_forged_one_is_started_from() {
    let service = Service::made(&WITH_SNAPSHOTS);
    let place = Place::of(&service.directory);
    let all = snapshots(&place.directory.join("snapshots"));
    let [(older, _), (newer, newest)] = &all[..] else {
        panic!("{all:?}")
    };
    let stranger = Identity::service(77);
    let original = std::fs::read(newest).unwrap();
    let node = Identity::node(78, &stranger);
    let forged = forge(&original, newer + 1, &node, |rows| take_over(rows, &stranger));
    std::fs::write(newest, forged).unwrap();
    let recovered = place.recover();
    assert_eq!(recovered.public["startup_seqno"], *older);
    assert_eq!(state(&place.directory, None), state(&service.directory, None));
}

#[test]
fn a_ledger_of_1_x_alone_is_refused_with_its_finding_and_nothing_is_changed() {
    let (service, node) = (Identity::service(20), Identity::service(21));
    let mut pen = Scribe::new(EntryType::WriteSet);
    let mut writes = WriteSet::new();
    let info = ServiceInfo {
        cert: service.certificate.to_pem(),
        status: ServiceStatus::Open,
        previous_service_identity_version: None,
        recovery_count: None,
        current_service_create_txid: None,
        service_data: None,
    };
    writes.put(names::SERVICE_INFO, SINGLETON_KEY, to_json(&info));
    let record = json!({"status": "Trusted", "cert": node.certificate.to_pem()});
    writes.put(names::NODES_INFO, node.id(), to_json(&record));
    pen.append(&writes);
    pen.sign_by(By::bare(&node));
    pen.serve(3);
    let last = pen.sign_by(By::bare(&node)).seqno;
    let (scratch, ledger) = pen.end();
    let report = rekindle!["verify", &ledger, "--json"].expect(1).json();
    assert_eq!(codes(&report), ["L0410"]);
    for named in [false, true] {
        for dropped in [None, Some(last), Some(2)] {
            let mut place = Place::of(scratch.path());
            if named {
                std::fs::create_dir_all(place.directory.join("common")).unwrap();
                let pem = service.certificate.to_pem();
                std::fs::write(place.directory.join("common/service_cert.pem"), pem).unwrap();
                place = place.with_previous_identity();
            }
            if let Some(seqno) = dropped {
                drop_after(&mut place, seqno);
            }
            let before = contents(&place.ledger());
            let said = place.refused();
            assert!(
                said.contains("L0410") && said.contains("CCF 1.x"),
                "{named} {dropped:?}: {said}"
            );
            assert_eq!(contents(&place.ledger()), before);
        }
    }
}
