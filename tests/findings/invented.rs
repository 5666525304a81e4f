//! What no CCF service writes, or writes rarely: each once, in a ledger that is otherwise sound.

use std::os::unix::fs::FileExt;

use rekindle::format::chunk_writer::ChunkWriter;
use rekindle::format::directory::LedgerFiles;
use rekindle::format::domain::{EntryType, WriteSet};
use rekindle::journal::SignatureMode;
use rekindle::recovery::compare::{compare, examine};
use rekindle::recovery::join::MAX_VIEW;
use rekindle::recovery::state::{Selection, load_state};
use rekindle::recovery::verify::{Earlier, Options};
use rekindle::report::Finding;
use rekindle::report::progress::Silent;
use rekindle::tables::names;
use rekindle::tables::values::{ServiceInfo, ServiceStatus, to_json};
use serde_json::json;

use crate::ground::verify_with;
use crate::identity::Identity;
use crate::scribe::Scribe;
use crate::snapshots::take;
use crate::story::{Story, put_json};

fn story(mode: SignatureMode) -> Story {
    let mut story = Story::begin(mode);
    story.serve(2);
    story.sign();
    story
}

fn put_status(writes: &mut WriteSet, node: &Identity, value: serde_json::Value) {
    writes.put(names::NODES_INFO, node.id(), to_json(&value));
}

pub fn an_entry_that_asks_for_a_chunk() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let mut writes = WriteSet::new();
    writes.put("public:app", "key", "value");
    story.pen.append_with(&writes, 0x02, None);
    story.sign();
    story.verify().findings
}

pub fn an_entry_of_1_x_after_newer_ones() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let newest = std::mem::replace(&mut story.pen.entry_type, EntryType::WriteSet);
    story.serve(1);
    story.pen.entry_type = newest;
    story.sign();
    story.verify().findings
}

pub fn a_view_that_no_election_reaches() -> Vec<Finding> {
    let mut story = story(SignatureMode::Node);
    story.pen.view = MAX_VIEW + 1;
    story.sign();
    story.verify().findings
}

pub fn a_node_alone_after_the_service_alone() -> Vec<Finding> {
    let mut story = story(SignatureMode::Cose);
    story.mode = SignatureMode::Node;
    story.sign();
    story.verify().findings
}

pub fn a_node_that_is_banned() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let other = Identity::node(61, &story.service);
    story.write(|writes| put_status(writes, &other, json!({"status": "Banned"})));
    story.sign();
    story.verify().findings
}

pub fn a_node_that_signs_after_its_retirement() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let node = story.node.clone();
    story.write(|writes| put_status(writes, &node, json!({"status": "Retired", "retired_committed": true})));
    story.sign();
    story.serve(1);
    story.sign();
    story.verify().findings
}

pub fn a_retired_node_that_signs() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let node = story.node.clone();
    story.write(|writes| put_status(writes, &node, json!({"status": "Retired"})));
    story.sign();
    story.verify().findings
}

pub fn a_signature_without_cose_after_one_with_it() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    story.mode = SignatureMode::Node;
    story.sign();
    story.verify().findings
}

pub fn a_service_under_another_key() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let info = to_json(&story.info(ServiceStatus::Open));
    story.write(|writes| writes.put(names::SERVICE_INFO, [1; 8], info));
    story.sign();
    story.verify().findings
}

/// As CCF 1.x wrote it: nothing ties its node to the service.
pub fn a_service_of_1_x() -> Vec<Finding> {
    let (service, node) = (Identity::service(20), Identity::service(21));
    let mut pen = Scribe::new(EntryType::WriteSet);
    let info = ServiceInfo {
        cert: service.certificate.to_pem(),
        status: ServiceStatus::Opening,
        previous_service_identity_version: None,
        recovery_count: None,
        current_service_create_txid: None,
        service_data: None,
    };
    let mut writes = WriteSet::new();
    put_json(&mut writes, names::SERVICE_INFO, &info);
    let record = json!({"status": "Trusted", "cert": node.certificate.to_pem()});
    put_status(&mut writes, &node, record);
    pen.append(&writes);
    let mut signature = pen.signature(&node);
    signature.cert = None;
    pen.sign(Some(&signature), None);
    let scratch = tempfile::tempdir().unwrap();
    pen.store(scratch.path());
    verify_with(&[scratch.path()], &Options::default()).unwrap().findings
}

pub fn a_recovery_that_counts_wrong() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    story.begin_recovery(|story, writes| {
        let mut info = story.info(ServiceStatus::Recovering);
        info.recovery_count = Some(7);
        put_json(writes, names::SERVICE_INFO, &info);
    });
    story.verify().findings
}

pub fn a_link_past_a_service_s_creation() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    story.begin_recovery(|_, _| ());
    story.open_recovered(|story, writes| {
        let mut info = story.info(ServiceStatus::Open);
        info.previous_service_identity_version = Some(1);
        put_json(writes, names::SERVICE_INFO, &info);
    });
    story.verify().findings
}

pub fn a_value_in_a_hole_of_its_file() -> Vec<Finding> {
    const LENGTH: u64 = 1 << 20;
    let mut story = story(SignatureMode::Dual);
    let at = story
        .write(|writes| writes.put("public:app", "key", vec![0; LENGTH as usize]))
        .seqno;
    let scratch = tempfile::tempdir().unwrap();
    // All but the value's bytes are written: the last thing in the entry is the number of removals.
    let entries = &story.pen.chunks.last().unwrap().1;
    let mut writer = ChunkWriter::create(std::io::Cursor::new(Vec::new())).unwrap();
    entries.iter().for_each(|raw| writer.append(raw).unwrap());
    let bytes = writer.out().get_ref();
    let (hole, after) = (bytes.len() - 8 - LENGTH as usize, bytes.len() - 8);
    let path = scratch
        .path()
        .join(format!("ledger_{}", story.pen.chunks.last().unwrap().0));
    let file = std::fs::File::create(path).unwrap();
    file.write_all_at(&bytes[..hole], 0).unwrap();
    file.write_all_at(&bytes[after..], after as u64).unwrap();
    let files = LedgerFiles::list(&[scratch.path().to_owned()], false).unwrap();
    let selection = Selection {
        at,
        tables: None,
        keys: None,
        progress: &Silent,
        written: None,
    };
    load_state(&files, None, &selection).unwrap().tally.findings.finish()
}

// --- snapshots, earlier reports, copies

pub fn a_snapshot_whose_name_lies_about_its_evidence() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let mut shot = take(&mut story);
    shot.evidence_seqno += 1;
    shot.verify(&story).findings
}

pub fn a_snapshot_newer_than_the_ledger() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let before = story.pen.chunks.clone();
    story.serve(2);
    story.sign();
    let shot = take(&mut story);
    story.pen.chunks = before;
    shot.verify(&story).findings
}

pub fn a_snapshot_and_no_ledger() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let shot = take(&mut story);
    let scratch = tempfile::tempdir().unwrap();
    shot.store(scratch.path());
    let options = Options {
        snapshot_directories: vec![scratch.path().to_owned()],
        ..Options::default()
    };
    let empty = tempfile::tempdir().unwrap();
    let files = LedgerFiles::list_any(&[empty.path().to_owned()], false).unwrap();
    rekindle::recovery::verify::verify(&files, &options, &Silent)
        .unwrap()
        .findings
}

fn against(story: &Story) -> Options {
    let report = serde_json::to_value(story.verify()).unwrap();
    let earlier: Earlier = serde_json::from_value(report).unwrap();
    Options {
        against: Some(earlier),
        ..Options::default()
    }
}

pub fn an_earlier_report_that_reaches_further_than_this_run() -> Vec<Finding> {
    let mut story = story(SignatureMode::Dual);
    let until = story.pen.signed_at;
    story.serve(2);
    story.sign();
    let options = Options {
        until: Some(until),
        ..against(&story)
    };
    story.verify_with(&options).findings
}

pub fn a_recovery_by_another_service_than_reported() -> Vec<Finding> {
    let recovered = |first: u64| {
        let mut story = story(SignatureMode::Dual);
        story.serve(first);
        story.sign();
        story.recover();
        story
    };
    recovered(3).verify_with(&against(&recovered(1))).findings
}

pub fn a_tail_that_an_election_superseded() -> Vec<Finding> {
    let mut copies = Vec::new();
    for view in [2, 3] {
        let mut story = story(SignatureMode::Dual);
        story.pen.view = view;
        if view == 2 {
            story.serve(1);
        }
        story.sign();
        copies.push(story);
    }
    let stored: Vec<_> = copies.iter().map(Story::store).collect();
    let copies = stored
        .iter()
        .map(|(_, ledger)| examine(ledger.clone(), None, &Silent).unwrap());
    compare(copies.collect()).unwrap().findings
}
