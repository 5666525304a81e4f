use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rand_core::Rng;

use super::stack::*;
use crate::channel::{Channel, Effect, Frame, FrameType, NodeId};
use crate::crypto::testing::rng;
use crate::node::peers::{Entries, Settings};

fn raw(of: FrameType, sender: &NodeId, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame::write(of, sender, &[payload], 64 << 20, &mut out).unwrap();
    out
}

/// Whether the other end has closed a connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(LONG)).unwrap();
    !matches!(stream.read(&mut [0; 1 << 12]), Ok(1..))
}

#[test]
fn what_is_no_frame_or_too_long_for_a_stranger_closes_its_connection_and_nothing_else() {
    let nodes = nodes(2, 20);
    nodes[0].reaches(&nodes[1], 1);
    let mut rng = rng(20);
    let mut garbage = vec![0; 1 << 16];
    rng.fill_bytes(&mut garbage);
    let long = raw(FrameType::Consensus, &nodes[1].id(), &vec![0; 70_000]);
    let endless = u32::MAX.to_le_bytes().to_vec();
    let short = 3_u32.to_le_bytes().to_vec();
    for bytes in [garbage, long, endless, short] {
        let mut stream = TcpStream::connect(nodes[0].peers.address()).unwrap();
        let _ = stream.write_all(&bytes);
        assert!(is_closed(&mut stream));
    }
    assert_eq!(nodes[0].dropped("not_a_frame"), 4);
    nodes[0].reaches(&nodes[1], 2);
    nodes[1].reaches(&nodes[0], 2);
    assert_eq!(nodes[0].peers.figures().connections, 1);
}

#[test]
fn a_strangers_frames_in_a_nodes_name_do_not_move_its_connection() {
    let nodes = nodes(2, 21);
    nodes[0].reaches(&nodes[1], 1);
    nodes[1].reaches(&nodes[0], 1);
    let mut stream = TcpStream::connect(nodes[0].peers.address()).unwrap();
    for of in [
        FrameType::Consensus,
        FrameType::Forwarded,
        FrameType::Channel,
        FrameType::Unknown(9),
    ] {
        stream.write_all(&raw(of, &nodes[1].id(), &[0; 200])).unwrap();
        stream.write_all(&raw(of, &NodeId([9; 32]), &[0; 200])).unwrap();
    }
    nodes[0].until("all came", |node| node.dropped("unknown_peer") == 4);
    for number in 2..20 {
        nodes[0].reaches(&nodes[1], number);
    }
    // Whoever pretends hears nothing at all.
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(stream.read(&mut [0; 100]).is_err());
}

#[test]
fn an_init_that_is_repeated_by_a_stranger_does_not_move_the_connection_and_heals() {
    let nodes = nodes(2, 22);
    nodes[0].reaches(&nodes[1], 1);
    nodes[1].reaches(&nodes[0], 1);
    // Made with the node's own key: as one that was overheard.
    let mut channel = Channel::new(nodes[1].own.clone(), nodes[0].id(), settings().channel);
    let message = crate::channel::Message::Consensus(heartbeat(1), &[]);
    let effects = channel.want_to_send(Duration::ZERO, &message, &mut rng(22));
    let [Effect::Send(init)] = &effects[..] else {
        panic!("{effects:?}")
    };
    for round in 0..3 {
        let mut stream = TcpStream::connect(nodes[0].peers.address()).unwrap();
        stream.write_all(init).unwrap();
        let began = Instant::now();
        nodes[0].reaches(&nodes[1], 10 + round);
        nodes[1].reaches(&nodes[0], 10 + round);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn strangers_are_few_and_do_not_stay() {
    let few = Settings {
        strangers: 4,
        stranger_time: Duration::from_millis(500),
        ..settings()
    };
    let nodes = strangers(2, 23, &few, &[]);
    let address = nodes[0].peers.address();
    let mut streams: Vec<_> = (0..12).map(|_| TcpStream::connect(address).unwrap()).collect();
    nodes[0].until("the oldest are closed", |node| node.dropped("strangers") == 8);
    assert!(nodes[0].peers.figures().connections <= 4);
    // A byte now and then does not keep one alive.
    let began = Instant::now();
    while nodes[0].peers.figures().connections > 0 {
        let _ = streams[11].write_all(&[81]);
        std::thread::sleep(Duration::from_millis(50));
        assert!(began.elapsed() < LONG);
    }
    assert!(streams.iter_mut().all(is_closed));
    // However many there are, a node gets through.
    let _more: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    nodes[0].peers.know(nodes[1].id(), "127.0.0.1:1");
    nodes[1].peers.know(nodes[0].id(), &address.to_string());
    nodes[1].reaches(&nodes[0], 1);
}

#[test]
fn who_was_called_may_answer_however_many_strangers_talk() {
    let hard_pressed = Settings {
        stranger_handshakes: 0,
        ..settings()
    };
    let (callers, called) = (strangers(2, 41, &hard_pressed, &[]), strangers(2, 41, &settings(), &[]));
    callers[0]
        .peers
        .know(called[1].id(), &called[1].peers.address().to_string());
    called[1]
        .peers
        .know(callers[0].id(), &callers[0].peers.address().to_string());
    callers[0].reaches(&called[1], 1);
}

#[test]
fn a_stranger_is_listened_to_for_so_many_frames_only() {
    let nodes = nodes(2, 24);
    let mut stream = TcpStream::connect(nodes[0].peers.address()).unwrap();
    for _ in 0..100 {
        let _ = stream.write_all(&raw(FrameType::Consensus, &nodes[1].id(), &[1; 100]));
    }
    nodes[0].until("it is closed", |node| node.dropped("stranger_frames") == 1);
    assert!(nodes[0].peers.figures().frames_in <= 65);
}

#[test]
fn words_that_are_not_taken_are_bounded_and_hold_up_whoever_says_them() {
    let few = Settings {
        words: 5,
        patience: Duration::from_millis(200),
        ..settings()
    };
    let nodes = strangers(2, 25, &few, &[]);
    nodes[0]
        .peers
        .know(nodes[1].id(), &nodes[1].peers.address().to_string());
    nodes[1]
        .peers
        .know(nodes[0].id(), &nodes[0].peers.address().to_string());
    nodes[0].reaches(&nodes[1], 1);
    for seqno in 1..=40 {
        nodes[0].peers.send(nodes[1].id(), heartbeat(seqno), Entries::none());
    }
    let kept: Vec<_> = (0..5).map(|_| nodes[1].said()).collect();
    assert!(nodes[1].said_within(Duration::from_millis(500)).is_none());
    nodes[1].until("more are dropped", |node| node.dropped("not_taken") > 0);
    drop(kept);
    nodes[0].reaches(&nodes[1], 99);
}

#[test]
fn a_node_that_takes_nothing_stops_nobody_else_and_is_left() {
    let short = Settings {
        stall: Duration::from_secs(1),
        queue_bytes: 8 << 20,
        outbox_bytes: 8 << 20,
        ..settings()
    };
    let nodes = strangers(3, 26, &short, &[]);
    let proxy = Proxy::to(nodes[1].peers.address());
    nodes[0].peers.know(nodes[1].id(), &proxy.address.to_string());
    nodes[1].peers.know(nodes[0].id(), "127.0.0.1:1");
    nodes[0]
        .peers
        .know(nodes[2].id(), &nodes[2].peers.address().to_string());
    nodes[2]
        .peers
        .know(nodes[0].id(), &nodes[0].peers.address().to_string());
    nodes[0].reaches(&nodes[1], 1);
    nodes[0].reaches(&nodes[2], 1);
    proxy.stop(true);
    for seqno in 1..=40 {
        let held = Entries::Held(vec![vec![0; 1 << 20].into()]);
        nodes[0].peers.send(nodes[1].id(), frame(seqno - 1, seqno), held);
        let began = Instant::now();
        nodes[0].reaches(&nodes[2], seqno);
        assert!(began.elapsed() < Duration::from_secs(2));
    }
    assert!(nodes[0].dropped("outbox_full") > 0);
    nodes[0].until("it is left", |node| {
        node.dropped("stalled") + node.dropped("silent") > 0
    });
    proxy.stop(false);
    nodes[0].reaches(&nodes[1], 100);
}

#[test]
fn what_strangers_begin_and_do_not_end_takes_little_memory() {
    let nodes = nodes(2, 27);
    nodes[0].reaches(&nodes[1], 1);
    let begun = raw(FrameType::Consensus, &nodes[1].id(), &vec![0; 65_000]);
    let streams: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = TcpStream::connect(nodes[0].peers.address()).unwrap();
            let _ = stream.write_all(&begun[..60_000]);
            stream
        })
        .collect();
    nodes[0].until("they came", |node| node.dropped("strangers") == 28);
    for number in 2..10 {
        nodes[0].reaches(&nodes[1], number);
        let held = nodes[0].peers.figures().incoming_bytes;
        assert!(held < 33 * (64 + 128) * 1024, "{held}");
    }
    drop(streams);
    nodes[0].until("it is given back", |node| node.peers.figures().incoming_bytes < 1 << 20);
}
