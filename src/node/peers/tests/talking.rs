use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::stack::*;
use crate::channel::message::{Forwarded, ForwardedAnswer, ForwardedRequest};
use crate::consensus::{AppendEntriesResponse, Message};
use crate::crypto::Curve;
use crate::fixture::{Options, generate};
use crate::format::Seqno;
use crate::journal::Shelf;
use crate::node::peers::{Entries, Word};
use crate::report::progress::Silent;

#[test]
fn messages_go_both_ways_over_one_connection() {
    let nodes = nodes(3, 1);
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 1), (1, 2)] {
        nodes[from].reaches(&nodes[to], 7);
    }
    let answer = Message::AppendEntriesResponse(AppendEntriesResponse {
        view: 2,
        last_idx: 7,
        ok: true,
    });
    nodes[1].peers.send(nodes[0].id(), answer, Entries::none());
    assert_eq!(nodes[0].told().message, answer);
    // Whoever was there first connected; nobody connected twice.
    for node in &nodes {
        node.until("two connections", |node| {
            let figures = node.peers.figures();
            (figures.connections, figures.strangers) == (2, 0)
        });
    }
}

#[test]
fn a_request_and_its_answer_are_passed_on() {
    let nodes = nodes(2, 2);
    nodes[0].reaches(&nodes[1], 1);
    let request = Forwarded::Request(ForwardedRequest {
        command: 3,
        view: 2,
        session: 4,
        caller: None,
        request: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    });
    let answer = Forwarded::Answer(ForwardedAnswer {
        command: 3,
        end_session: false,
        session: 4,
        answer: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
    });
    for (from, to, message) in [(1, 0, request), (0, 1, answer)] {
        assert!(nodes[from].peers.forward(nodes[to].id(), message.clone()));
        let passed = loop {
            if let Word::Passed(passed) = nodes[to].words.recv_timeout(LONG).unwrap() {
                break passed;
            }
        };
        assert_eq!((passed.from, passed.message), (nodes[from].id(), message));
    }
}

#[test]
fn a_request_that_can_not_be_passed_on_is_said_to_be_so_at_once() {
    let nodes = strangers(2, 4, &settings(), &[]);
    let request = |command| {
        Forwarded::Request(ForwardedRequest {
            command,
            view: 2,
            session: 4,
            caller: None,
            request: Vec::new(),
        })
    };
    let to = nodes[1].id();
    for (command, is_known) in [(7, false), (8, true)] {
        if is_known {
            nodes[0].peers.know(to, "127.0.0.1:1");
        }
        assert!(nodes[0].peers.forward(to, request(command)), "it is on its way");
        let word = nodes[0].words.recv_timeout(LONG).unwrap();
        assert!(
            matches!(word, Word::NotPassed { peer, command: which } if peer == to && which == command),
            "{command}"
        );
    }
}

#[test]
fn entries_of_five_megabytes_arrive_whole_and_in_order() {
    let nodes = nodes(2, 3);
    nodes[0].reaches(&nodes[1], 1);
    let entry = |seqno: Seqno| Bytes::from(vec![seqno as u8; 5 << 20]);
    for seqno in 1..=12 {
        let held = Entries::Held(vec![entry(seqno)]);
        nodes[0].peers.send(nodes[1].id(), frame(seqno - 1, seqno), held);
    }
    for seqno in 1..=12 {
        let said = nodes[1].told();
        assert_eq!(said.message, frame(seqno - 1, seqno));
        assert!(said.entries[..] == entry(seqno)[..]);
    }
}

#[test]
fn entries_are_kept_until_a_node_that_was_not_connected_is() {
    let nodes = nodes(2, 4);
    for seqno in 1..=12_u8 {
        let held = Entries::Held(vec![vec![seqno; 1000].into()]);
        let seqno = u64::from(seqno);
        nodes[0].peers.send(nodes[1].id(), frame(seqno - 1, seqno), held);
    }
    for seqno in 1..=12 {
        assert_eq!(nodes[1].said().message, frame(seqno - 1, seqno));
    }
}

#[test]
fn ranges_of_chunk_files_arrive_and_signs_of_life_in_between_refer_to_what_was_sent() {
    let scratch = tempfile::tempdir().unwrap();
    let options = Options {
        entries: 400,
        value_size: 2000,
        signature_every: 20,
        chunk_size: 100_000,
        members: 1,
        threshold: 1,
        curve: Curve::P256,
        ..Options::default()
    };
    let last = generate(&options, &scratch.path().join("out"), &Silent)
        .unwrap()
        .last_seqno;
    let ledger = vec![scratch.path().join("out/ledger")];
    let nodes = strangers(2, 5, &settings(), &ledger);
    nodes[0]
        .peers
        .know(nodes[1].id(), &nodes[1].peers.address().to_string());
    nodes[1]
        .peers
        .know(nodes[0].id(), &nodes[0].peers.address().to_string());
    let shelf = Shelf::new(ledger);
    let mut after = 0;
    while after < last {
        let through = shelf.reach(after, last, 50_000);
        let then = Vec::new();
        nodes[0]
            .peers
            .send(nodes[1].id(), frame(after, through), Entries::Stored { through, then });
        nodes[0].peers.send(nodes[1].id(), heartbeat(through), Entries::none());
        after = through;
    }
    let (mut got, mut bytes) = (0, Vec::new());
    while got < last {
        let said = nodes[1].said();
        let Message::AppendEntries(frame) = said.message else {
            panic!()
        };
        assert!(frame.prev_idx <= got, "{frame:?} after {got}");
        if frame.idx > frame.prev_idx {
            assert_eq!(frame.prev_idx, got);
            got = frame.idx;
        } else {
            assert!(said.entries.is_empty());
        }
        bytes.extend(said.entries);
    }
    assert!(bytes == shelf.read(0, last, 1 << 30).unwrap());
}

#[test]
fn entries_that_are_not_there_are_said_and_stop_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let nodes = strangers(2, 6, &settings(), &[scratch.path().to_owned()]);
    nodes[0]
        .peers
        .know(nodes[1].id(), &nodes[1].peers.address().to_string());
    nodes[1]
        .peers
        .know(nodes[0].id(), &nodes[0].peers.address().to_string());
    let then = Vec::new();
    nodes[0]
        .peers
        .send(nodes[1].id(), frame(3, 9), Entries::Stored { through: 9, then });
    let (peer, why) = loop {
        if let Word::NotRead { peer, why } = nodes[0].words.recv_timeout(LONG).unwrap() {
            break (peer, why.to_string());
        }
    };
    assert!(peer == nodes[1].id() && why.contains("entry 4"), "{why}");
    nodes[0].reaches(&nodes[1], 3);
}

#[test]
fn a_connection_that_is_cut_heals_without_a_new_handshake() {
    let nodes = strangers(2, 7, &settings(), &[]);
    let proxy = Proxy::to(nodes[1].peers.address());
    nodes[0].peers.know(nodes[1].id(), &proxy.address.to_string());
    // It knows nowhere to connect to.
    nodes[1].peers.know(nodes[0].id(), "127.0.0.1:1");
    for round in 0..4 {
        nodes[0].reaches(&nodes[1], round);
        nodes[1].reaches(&nodes[0], round);
        proxy.cut();
    }
    assert_eq!(nodes[0].dropped("tag") + nodes[1].dropped("tag"), 0);
}

#[test]
fn nodes_that_connect_to_each_other_at_once_understand_each_other() {
    for seed in 0..8 {
        let nodes = nodes(2, 100 + seed);
        for round in 0..20 {
            nodes[0].peers.send(nodes[1].id(), heartbeat(round), Entries::none());
            nodes[1].peers.send(nodes[0].id(), heartbeat(round), Entries::none());
            if seed % 2 == 0 {
                std::thread::sleep(Duration::from_millis(seed));
            }
        }
        nodes[0].reaches(&nodes[1], 1000);
        nodes[1].reaches(&nodes[0], 1001);
    }
}

#[test]
fn a_node_that_was_not_there_is_connected_with_when_it_is() {
    let mut all = strangers(2, 8, &settings(), &[]);
    let (late, node) = (all.pop().unwrap(), all.pop().unwrap());
    node.peers.know(late.id(), "127.0.0.1:1");
    node.peers.send(late.id(), heartbeat(1), Entries::none());
    let unreachable = loop {
        if let Word::Unreachable { address, .. } = node.words.recv_timeout(LONG).unwrap() {
            break address;
        }
    };
    assert_eq!(unreachable, "127.0.0.1:1");
    node.peers.know(late.id(), &late.peers.address().to_string());
    late.peers.know(node.id(), &node.peers.address().to_string());
    node.reaches(&late, 2);
    node.peers.forget(late.id());
    node.until("no connection", |node| node.peers.figures().connections == 0);
    node.peers.send(late.id(), heartbeat(3), Entries::none());
    node.until("unknown", |node| node.dropped("unknown_peer") > 0);
}

#[test]
fn a_stop_ends_the_threads_and_writes_what_waits() {
    let nodes = nodes(2, 9);
    nodes[0].reaches(&nodes[1], 1);
    let (address, to) = (nodes[0].peers.address(), nodes[1].id());
    nodes[0]
        .peers
        .send(to, Message::ProposeRequestVote { view: 2 }, Entries::none());
    let began = Instant::now();
    nodes[0].peers.stop();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(nodes[1].told().message, Message::ProposeRequestVote { view: 2 });
    // The thread has let go of everything.
    let left: BTreeSet<bool> = nodes[0]
        .words
        .iter()
        .map(|word| matches!(word, Word::Said(_)))
        .collect();
    assert!(left.len() <= 2);
}

#[test]
fn a_renewed_node_goes_on_talking_and_makes_new_keys_only_with_those_of_its_service() {
    let nodes = nodes(2, 11);
    nodes[0].reaches(&nodes[1], 1);
    let renewed = owns(2, 11, 1001);
    nodes[0].peers.renew(renewed[0].clone());
    nodes[0].reaches(&nodes[1], 2);
    nodes[1].reaches(&nodes[0], 2);
    let meet_again = || {
        for (node, other) in [(0, 1), (1, 0)] {
            nodes[node].peers.forget(nodes[other].id());
            nodes[node]
                .peers
                .know(nodes[other].id(), &nodes[other].peers.address().to_string());
        }
    };
    meet_again();
    nodes[0].peers.send(nodes[1].id(), heartbeat(3), Entries::none());
    nodes[1].until("it is refused", |node| node.dropped("certificate_not_of_service") > 0);
    nodes[1].peers.renew(renewed[1].clone());
    nodes[0].reaches(&nodes[1], 4);
    nodes[1].reaches(&nodes[0], 4);
}
