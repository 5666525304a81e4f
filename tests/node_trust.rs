//! What a node builds upon, and what it refuses to: ledgers that somebody changed who has their storage, and no key.

#[path = "support/node.rs"]
mod node;
#[macro_use]
mod support;

use std::path::Path;

use node::Place;
use rekindle::format::chunk::{Layout, Step, Walker};
use rekindle::format::domain::{PublicHeader, WriteSet};
use rekindle::format::entry::{EntryIv, write_entry};
use rekindle::tables::values::{Signature, from_json, to_json};
use rekindle::tables::{SINGLETON_KEY, names};
use support::Service;

/// Where a node alone signs, nothing covers the view that the last signature transaction names.
const BY_NODE: [&str; 6] = ["--entries", "40", "--signature-every", "20", "--signatures", "node"];

/// Makes the last signature transaction of an open chunk name another view, in its nonce and in its value.
fn raise_last_view(ledger: &Path, view: u64) {
    let (first, path) = support::chunks(ledger).pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut walker = Walker::new(&bytes, Layout::read(&bytes).unwrap(), first);
    let mut last = None;
    while let Step::Entry(located) = walker.step(&mut Vec::new()) {
        last = Some(located);
    }
    let last = last.unwrap();
    let mut writes = WriteSet::new();
    last.maps
        .clone()
        .for_each(|name, write| writes.put(name, write.key, write.value.unwrap()))
        .unwrap();
    let value = writes.get(names::SIGNATURES, &SINGLETON_KEY).unwrap().unwrap();
    let mut signature: Signature = from_json(value).unwrap();
    signature.view = view;
    writes.put(names::SIGNATURES, SINGLETON_KEY, to_json(&signature));
    let header = PublicHeader { ..last.public };
    let mut public = Vec::new();
    header.write(&mut public);
    writes.write_domain(true, &mut public);
    let iv = EntryIv {
        view,
        ..last.entry.iv()
    };
    let mut changed = bytes[..last.offset as usize].to_vec();
    write_entry(&mut changed, last.entry.header.flags, last.entry.tag, iv, &public, &[]).unwrap();
    std::fs::write(&path, changed).unwrap();
}

#[test]
fn a_view_that_no_signature_covers_is_counted_on_from_within_its_bound() {
    let service = Service::made(&BY_NODE);
    let place = Place::of(&service.directory);
    raise_last_view(&place.ledger(), 60_000);
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
        raise_last_view(&place.ledger(), view);
        let before = support::contents(&place.ledger());
        let said = place.refused();
        assert!(said.contains("L0212") && said.contains("--drop-after"), "{said}");
        assert_eq!(support::contents(&place.ledger()), before);
    }
}
