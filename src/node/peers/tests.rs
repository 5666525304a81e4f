//! Nodes that talk over loopback, and others who disturb them.

mod hostile;
mod joining;
mod stack;
mod talking;

use std::time::Instant;

use self::stack::{frame, settings, strangers};
use super::Entries;
use crate::crypto::Curve;
use crate::fixture::{Options, generate};
use crate::journal::Shelf;
use crate::report::progress::Silent;

/// Prints how fast entries of a ledger's files go from one node to another: `cargo test --lib throughput -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput_of_entries() {
    let scratch = tempfile::tempdir().unwrap();
    let options = Options {
        entries: 20_000,
        value_size: 5000,
        signature_every: 500,
        curve: Curve::P256,
        ..Options::default()
    };
    let last = generate(&options, &scratch.path().join("out"), &Silent)
        .unwrap()
        .last_seqno;
    let ledger = vec![scratch.path().join("out/ledger")];
    let nodes = strangers(2, 10, &settings(), &ledger);
    nodes[0]
        .peers
        .know(nodes[1].id(), &nodes[1].peers.address().to_string());
    nodes[1]
        .peers
        .know(nodes[0].id(), &nodes[0].peers.address().to_string());
    nodes[0].reaches(&nodes[1], 1);
    let shelf = Shelf::new(ledger);
    let (mut after, mut under_way, mut bytes) = (0, 0, 0);
    let began = Instant::now();
    while after < last || under_way > 0 {
        if after < last {
            let through = shelf.reach(after, last, 1 << 20);
            let then = Vec::new();
            let stored = Entries::Stored { through, then };
            nodes[0].peers.send(nodes[1].id(), frame(after, through), stored);
            (after, under_way) = (through, under_way + 1);
        }
        if under_way > 16 || after == last {
            bytes += nodes[1].said().entries.len();
            under_way -= 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "{:.0} MB at {:.0} MB/s",
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / seconds
    );
}
