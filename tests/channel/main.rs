//! Frames of real CCF nodes: each is read and written again to the same bytes, every handshake and tag verifies, and channels
//! that are given what a real node sent do what was done then.
//!
//! The recordings are found through REKINDLE_CCF_NODE_TO_NODE, or at ../shared/node-to-node beside the checkout. Without them a test
//! says that it was skipped, unless REKINDLE_REQUIRE_CCF_LEDGERS=1.

mod recording;
mod replay;

use std::collections::BTreeMap;

use recording::{MAX, Recording, recordings};
use rekindle::channel::handshake::{self, Handshake, Share};
use rekindle::channel::keys::{Agreed, ReceiveKey, SendKey};
use rekindle::channel::message::{Consensus, Forwarded};
use rekindle::channel::{Dropped, Frame, FrameReader, FrameType, NodeId};
use rekindle::crypto::{EphemeralKey, hkdf_sha256_salted};
use serde_json::Value;

/// The recordings, or the end of the test with a message.
macro_rules! recordings {
    () => {
        match recordings() {
            Some(recordings) => recordings,
            None => return,
        }
    };
}

#[test]
fn every_stream_is_cut_into_its_frames_and_every_frame_is_written_again() {
    let mut count = 0;
    for recording in recordings!() {
        for is_out in [true, false] {
            let frames: Vec<_> = recording.frames().filter(|line| line.is_out() == is_out).collect();
            let stream: Vec<u8> = frames.iter().flat_map(|line| line.raw.clone()).collect();
            let mut reader = FrameReader::new(MAX);
            let mut left = frames.iter();
            for piece in stream.chunks(7919) {
                reader.feed(piece);
                while let Some(frame) = reader.next_frame().unwrap() {
                    let line = left.next().unwrap();
                    let number = line.value["type"].as_u64().unwrap();
                    assert_eq!(frame.of, FrameType::from(number));
                    let mut again = Vec::new();
                    Frame::write(frame.of, &frame.sender, &[frame.payload], MAX, &mut again).unwrap();
                    assert_eq!(again, line.raw);
                    if !is_out {
                        assert_eq!(frame.sender, line.id("peer"));
                    }
                    count += 1;
                }
            }
            assert_eq!((left.count(), reader.pending_bytes()), (0, 0), "{}", recording.name);
        }
    }
    assert!(count > 1000, "{count}");
}

/// The fields of a consensus message, as the recordings name them.
fn fields(message: &Consensus) -> Value {
    match message {
        Consensus::AppendEntries(m) => serde_json::json!({
            "msg": 0, "idx": m.idx, "prev_idx": m.prev_idx, "term": m.view, "prev_term": m.prev_view,
            "leader_commit_idx": m.leader_commit, "term_of_idx": m.view_of_idx, "contains_new_view": 0,
        }),
        Consensus::AppendEntriesResponse(m) => serde_json::json!({
            "msg": 1, "term": m.view, "last_log_idx": m.last_idx, "fail": u8::from(!m.ok),
        }),
        Consensus::RequestVote(m) | Consensus::RequestPreVote(m) => serde_json::json!({
            "msg": if matches!(message, Consensus::RequestVote(_)) { 3 } else { 6 }, "term": m.view,
            "last_committable_idx": m.last_signed, "term_of_last_committable_idx": m.view_of_last_signed,
        }),
        Consensus::RequestVoteResponse(m) => {
            serde_json::json!({"msg": 4, "term": m.view, "granted": u8::from(m.granted)})
        }
        Consensus::RequestPreVoteResponse(m) => {
            serde_json::json!({"msg": 7, "term": m.view, "granted": u8::from(m.granted)})
        }
        Consensus::ProposeRequestVote { view } => serde_json::json!({"msg": 5, "term": view}),
    }
}

#[test]
fn every_consensus_message_has_the_recorded_fields_and_is_written_again() {
    let mut seen = BTreeMap::new();
    for recording in recordings!() {
        for line in recording.good().filter(|line| line.value["type"] == 1) {
            let payload = line.payload();
            let (message, envelope) = Consensus::parse(&payload).unwrap();
            let again = [&message.header()[..], envelope.tag, envelope.iv, envelope.rest].concat();
            assert_eq!(again, payload);
            let mut found = fields(&message);
            let recorded = &line.value["fields"];
            // What we sent was recorded without the flag that is always 0.
            if recorded.get("contains_new_view").is_none() {
                let flag = found.as_object_mut().unwrap().remove("contains_new_view");
                assert!(flag.is_none_or(|flag| flag == 0));
            }
            assert_eq!(&found, recorded, "{}", recording.name);
            if let Some(bytes) = line.value["entries_bytes"].as_u64() {
                assert_eq!(envelope.rest.len() as u64, bytes);
            }
            *seen.entry(line.text("name").to_owned()).or_insert(0) += 1;
        }
    }
    let kinds: Vec<&str> = seen.keys().map(String::as_str).collect();
    let expected = [
        "AppendEntries",
        "AppendEntriesResponse",
        "ProposeRequestVote",
        "RequestPreVote",
        "RequestVote",
        "RequestVoteResponse",
    ];
    assert_eq!(kinds, expected, "{seen:?}");
}

#[test]
fn every_key_is_derived_from_secret_and_salt_and_every_secret_from_the_shares() {
    let mut agreed_with_shares = 0;
    for recording in recordings!() {
        let shares: Vec<(NodeId, Share)> = recording
            .good()
            .filter(|line| line.value["type"] == 0)
            .filter_map(|line| match Handshake::parse(&line.payload()).unwrap() {
                Handshake::Init { share, .. } | Handshake::Response { share, .. } => Some((line.sender(), share)),
                Handshake::Final { .. } => None,
            })
            .collect();
        for keys in recording.keys() {
            let (own, peer) = (keys.id("self"), keys.id("peer"));
            let (secret, salt) = (keys.bytes::<48>("shared_secret"), keys.bytes::<32>("salt"));
            let directions = [(own, peer, "key_self_to_peer"), (peer, own, "key_peer_to_self")];
            for (from, to, name) in directions {
                let info = format!("{from}{to}");
                assert_eq!(*hkdf_sha256_salted(&salt, &secret, info.as_bytes()), keys.bytes(name));
            }
            let ephemeral = EphemeralKey::from_scalar(&keys.bytes("own_ephemeral_private")).unwrap();
            // The handshakes that made the keys of an excerpt stand before it.
            if !shares.contains(&(own, Share::of(&ephemeral))) {
                continue;
            }
            let fits = |share: &Share| *ephemeral.agree(share.point()).unwrap() == secret;
            let theirs = shares.iter().find(|(from, share)| *from == peer && fits(share));
            let agreed = Agreed::new(&ephemeral, &theirs.expect("the peer's share").1, &salt).unwrap();
            for (from, to, name) in directions {
                assert_eq!(*agreed.key(&from, &to), keys.bytes(name));
            }
            agreed_with_shares += 1;
        }
    }
    assert!(agreed_with_shares >= 17, "{agreed_with_shares}");
}

#[test]
fn every_handshake_verifies_against_the_service_and_the_node() {
    let mut seen = [0; 3];
    for recording in recordings!() {
        let service = recording.service();
        // Who sent which share, in an init or in a response; and with which key.
        let (mut inits, mut responses, mut nodes) = (Vec::new(), Vec::new(), BTreeMap::new());
        for line in recording.good().filter(|line| line.value["type"] == 0) {
            let (payload, sender) = (line.payload(), line.sender());
            let message = Handshake::parse(&payload).unwrap();
            assert_eq!(message.encode(), payload);
            match message {
                Handshake::Init {
                    share,
                    signature,
                    certificate,
                    ..
                } => {
                    let key = handshake::peer_key(certificate, &sender, &service).unwrap();
                    handshake::verify(&key, &[&share], signature).unwrap();
                    nodes.insert(sender, key);
                    inits.push((sender, share));
                    seen[0] += 1;
                }
                Handshake::Response {
                    share,
                    signature,
                    certificate,
                } => {
                    let key = handshake::peer_key(certificate, &sender, &service).unwrap();
                    let answers = |(from, init): &&(NodeId, Share)| {
                        *from != sender && handshake::verify(&key, &[&share, init], signature).is_ok()
                    };
                    assert_eq!(inits.iter().filter(answers).count(), 1, "{}", recording.name);
                    nodes.insert(sender, key.clone());
                    responses.push((sender, share));
                    seen[1] += 1;
                }
                Handshake::Final { signature } => {
                    let key = &nodes[&sender];
                    let answers = |(from, share): &&(NodeId, Share)| {
                        *from != sender && handshake::verify(key, &[share], signature).is_ok()
                    };
                    assert!(
                        responses.iter().any(|response| answers(&response)),
                        "{}",
                        recording.name
                    );
                    seen[2] += 1;
                }
            }
        }
    }
    assert!(seen[0] >= 20 && seen[1] >= 18 && seen[2] >= 12, "{seen:?}");
}

/// Every protected frame that verifies, by key and direction, in the order in which it was sent.
fn protected(recording: &Recording) -> BTreeMap<(String, NodeId), Vec<&recording::Line>> {
    let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in recording.frames().filter(|line| line.value["key"].is_string()) {
        streams
            .entry((line.text("key").to_owned(), line.id("from")))
            .or_default()
            .push(line);
    }
    streams
}

fn direction(recording: &Recording, key: &str, from: NodeId) -> [u8; 32] {
    let keys = recording.keys().find(|line| line.text("key") == key).unwrap();
    match keys.id("self") == from {
        true => keys.bytes("key_self_to_peer"),
        false => {
            assert_eq!(keys.id("peer"), from);
            keys.bytes("key_peer_to_self")
        }
    }
}

#[test]
fn every_tag_verifies_and_is_made_again() {
    let mut count = 0;
    for recording in recordings!() {
        for ((name, from), lines) in protected(&recording) {
            let key = direction(&recording, &name, from);
            let (mut receive, mut send) = (ReceiveKey::new(&key), SendKey::new(&key));
            for line in lines {
                let payload = line.payload();
                assert_eq!(line.sender(), from);
                let nonce = line.value["nonce"].as_u64().unwrap();
                // Frames that were left out, or lost.
                while send.sent() + 1 < nonce {
                    send.seal(b"", b"").unwrap();
                }
                let (header, sealed, rest) = match line.value["type"] == 1 {
                    true => {
                        let (message, envelope) = Consensus::parse(&payload).unwrap();
                        assert!(receive.open(&envelope, b"").unwrap().is_empty());
                        (
                            message.header(),
                            send.seal(envelope.header, b"").unwrap(),
                            envelope.rest,
                        )
                    }
                    false => {
                        let envelope = Forwarded::envelope(&payload).unwrap();
                        let plaintext = receive.open(&envelope, envelope.rest).unwrap();
                        let message = Forwarded::parse(envelope.header, &plaintext).unwrap();
                        assert_eq!(message.plaintext(), plaintext);
                        check_forwarded(line, &message);
                        (
                            message.header(),
                            send.seal(&message.header(), &plaintext).unwrap(),
                            &[][..],
                        )
                    }
                };
                assert_eq!(receive.last(), nonce);
                assert_eq!(
                    [&header[..], &sealed, rest].concat(),
                    payload,
                    "{} {nonce}",
                    recording.name
                );
                count += 1;
            }
        }
    }
    assert!(count > 900, "{count}");
}

fn check_forwarded(line: &recording::Line, message: &Forwarded) {
    let hex_of = |name: &str| hex::decode(line.text(name)).unwrap();
    match message {
        Forwarded::Request(request) => {
            assert!(request.request.starts_with(b"GET ") || request.request.starts_with(b"POST "));
            if line.is_out() {
                return;
            }
            let number = |name: &str| line.value[name].as_u64().unwrap();
            assert_eq!(
                (request.command, request.view, request.session),
                (number("command_id"), number("view"), number("session"))
            );
            assert_eq!(request.caller.is_some(), number("caller_included") == 1);
            assert_eq!(request.caller.clone().unwrap_or_default(), hex_of("caller"));
            assert_eq!(request.request, hex_of("request"));
        }
        Forwarded::Answer(answer) => {
            assert!(answer.answer.starts_with(b"HTTP/1.1 "));
            if !line.is_out() {
                assert_eq!(message.header(), hex_of("header"));
                assert_eq!(*message.plaintext(), hex_of("plain"));
            }
        }
    }
}

#[test]
fn every_frame_made_wrong_on_purpose_is_refused_with_its_reason() {
    let recordings = recordings!();
    let nine = recordings
        .iter()
        .find(|recording| recording.name.starts_with("9-"))
        .unwrap();
    let mut reasons = BTreeMap::new();
    for line in nine.frames() {
        let Some(what) = &line.wrong else { continue };
        let reason = replay::reason(nine, line);
        reasons.insert(what.as_str(), reason.as_ref().map_or("taken", Dropped::name));
    }
    let expected = BTreeMap::from([
        ("tag with one bit flipped", "tag"),
        ("counter used before", "replayed"),
        ("unknown Raft message type 9", "unknown_consensus"),
        // Nodes of that version do not know it. This one does.
        ("RequestPreVote (6)", "taken"),
        ("node message type 3", "unknown_type"),
        ("channel message kind 9", "unknown_kind"),
        ("short consensus frame", "malformed"),
        ("init of protocol version 2", "version"),
        ("init with our self-signed certificate", "certificate_not_of_service"),
        ("init signed by another key", "signature"),
        ("init with one byte more", "malformed"),
        ("init with a share without its length byte", "share"),
        ("final out of place", "unexpected_final"),
    ]);
    assert_eq!(reasons, expected);
}
