//! Channels that are given what a real node sent, with the ephemeral keys and salts of then: they do what was done then.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand_core::{TryCryptoRng, TryRng};
use rekindle::channel::handshake::{Handshake, Share};
use rekindle::channel::keys::ReceiveKey;
use rekindle::channel::message::Consensus;
use rekindle::channel::{Channel, Dropped, Effect, Frame, FrameReader, FrameType, Message, NodeId, Own, Settings};
use rekindle::crypto::random::system_rng;
use rekindle::crypto::{Certificate, Curve, EphemeralKey, SigningKey};

use crate::recording::{Line, MAX, Recording, recordings};

fn settings() -> Settings {
    Settings {
        max_frame_bytes: MAX,
        ..Settings::new(Duration::from_secs(2))
    }
}

/// Why the receiver of this frame, which comes after the good ones before it, drops it.
pub fn reason(recording: &Recording, line: &Line) -> Option<Dropped> {
    if line.value["type"] != 1 {
        let key = Arc::new(SigningKey::generate(Curve::P384, &mut system_rng().unwrap()));
        let own = Arc::new(Own::new(key, String::new(), recording.service()));
        let mut channel = Channel::new(own, line.sender(), settings());
        let effects = line.with(|frame| {
            let effects = channel.received(Duration::ZERO, &frame, &mut system_rng().unwrap());
            effects.into_iter().map(dropped).collect::<Vec<_>>()
        });
        let [only] = &effects[..] else {
            panic!("{} effects", effects.len())
        };
        return only.clone();
    }
    let keys = recording.keys().find(|keys| keys.text("key") == "k2").unwrap();
    let mut receive = ReceiveKey::new(&keys.bytes("key_self_to_peer"));
    let before = recording.lines.iter().take_while(|other| !std::ptr::eq(*other, line));
    for good in before.filter(|other| other.is_out() && other.text("key") == "k2") {
        let payload = good.payload();
        receive.open(&Consensus::parse(&payload).unwrap().1, b"").unwrap();
    }
    let payload = line.payload();
    let (_, envelope) = match Consensus::parse(&payload) {
        Ok(parsed) => parsed,
        Err(why) => return Some(why),
    };
    receive.open(&envelope, b"").err()
}

fn dropped(effect: Effect<'_>) -> Option<Dropped> {
    match effect {
        Effect::Drop(why) => Some(why),
        _ => None,
    }
}

/// Gives out what was drawn then, and nothing else.
struct Script(Vec<u8>);

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Script {}

fn whole(bytes: &[u8], look: impl FnOnce(Frame<'_>)) {
    let mut reader = FrameReader::new(MAX);
    reader.feed(bytes);
    look(reader.next_frame().unwrap().unwrap());
}

/// The share in one of our recorded frames, where it is of this kind.
fn share_in(line: &Line, is_init: bool) -> Option<Share> {
    if line.value["type"] != 0 || line.wrong.is_some() {
        return None;
    }
    match Handshake::parse(&line.payload()).unwrap() {
        Handshake::Init { share, .. } if is_init => Some(share),
        Handshake::Response { share, .. } if !is_init => Some(share),
        _ => None,
    }
}

/// Plays the handshake that made `keys`; what was sent and received under them; and answers whether it is in the recording.
fn replay(recording: &Recording, own: &Arc<Own>, keys: &Line) -> Option<(bool, bool)> {
    let (us, peer) = (own.id(), keys.id("peer"));
    let (scalar, salt) = (keys.bytes::<48>("own_ephemeral_private"), keys.bytes::<32>("salt"));
    let share = Share::of(&EphemeralKey::from_scalar(&scalar).unwrap());
    let ours = |is_init| {
        let found = recording
            .frames()
            .position(|line| line.is_out() && share_in(line, is_init) == Some(share));
        found.filter(|_| us == keys.id("self"))
    };
    let (init, response) = (ours(true), ours(false));
    let first = init.or(response)?;
    let has_key = |line: &Line| line.text("key") == keys.text("key");
    let sent = recording.frames().find(|line| line.is_out() && has_key(line));

    let mut channel = Channel::new(own.clone(), peer, settings());
    let mut rng = Script([&scalar[..], &salt].concat());
    // What was sent first under the new keys is what this side wants to send all the time.
    let payload = sent.map(Line::payload).unwrap_or_default();
    let message = Consensus::parse(&payload)
        .ok()
        .map(|(message, envelope)| Message::Consensus(message, envelope.rest));
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut delivered = 0;
    let mut established = 0;
    let mut take = |effects: Vec<Effect<'_>>| {
        for effect in effects {
            match effect {
                Effect::Send(frame) => out.push(frame),
                Effect::Deliver(_) => delivered += 1,
                Effect::Established => established += 1,
                Effect::Drop(why) => panic!("{}: {why}", recording.name),
                Effect::Unsent(why) => panic!("{why}"),
                Effect::Closed(why) => panic!("{why:?}"),
            }
        }
    };
    if init.is_some() {
        take(channel.want_to_send(Duration::ZERO, message.as_ref().unwrap(), &mut rng));
    }
    let mut expected = 0;
    // The peer's init may have been recorded before ours: they crossed.
    let begin = response.map_or(first, |_| 0);
    for line in recording
        .frames()
        .skip(begin)
        .filter(|line| !line.is_out() && line.id("peer") == peer)
    {
        let is_handshake = line.value["type"] == 0;
        if !is_handshake && !has_key(line) {
            continue;
        }
        if is_handshake && !belongs(recording, keys, line, response.is_some(), &share) {
            continue;
        }
        line.with(|frame| take(channel.received(Duration::ZERO, &frame, &mut rng)));
        let was_init = is_handshake && line.text("kind") == "init";
        if let Some(message) = message.as_ref().filter(|_| was_init && init.is_none()) {
            take(channel.want_to_send(Duration::ZERO, message, &mut rng));
        }
        expected += usize::from(!is_handshake);
    }
    assert_eq!(
        (established, delivered),
        (1, expected),
        "{} {}",
        recording.name,
        keys.text("key")
    );
    // The same shares as then, and under the new keys the same bytes.
    let sent_share = out.iter().find_map(|frame| {
        let mut found = None;
        whole(frame, |frame| {
            if frame.of == FrameType::Channel {
                found = match Handshake::parse(frame.payload).unwrap() {
                    Handshake::Init { share, .. } | Handshake::Response { share, .. } => Some(share),
                    Handshake::Final { .. } => None,
                };
            }
        });
        found
    });
    assert_eq!(sent_share, Some(share));
    if let (Some(line), Some(_)) = (sent, &message) {
        let is_first = line.value["nonce"] == 1;
        assert!(
            !is_first || out.contains(&line.raw),
            "{} {}",
            recording.name,
            keys.text("key")
        );
    }
    Some((init.is_some(), response.is_some()))
}

/// Whether a handshake frame of the peer's belongs to the one that made `keys`.
fn belongs(recording: &Recording, keys: &Line, line: &Line, we_respond: bool, ours: &Share) -> bool {
    let payload = line.payload();
    let service = recording.service();
    let peer = keys.id("peer");
    match Handshake::parse(&payload).unwrap() {
        Handshake::Init { salt, .. } => we_respond && *salt == keys.bytes::<32>("salt"),
        Handshake::Response {
            share,
            signature,
            certificate,
        } => {
            let key = rekindle::channel::handshake::peer_key(certificate, &peer, &service).unwrap();
            !we_respond && rekindle::channel::handshake::verify(&key, &[&share, ours], signature).is_ok()
        }
        Handshake::Final { signature } => {
            let key = recording
                .frames()
                .find_map(|line| match (line.text("certificate"), line.id("peer")) {
                    ("", _) => None,
                    (pem, id) if id == peer => Some(Certificate::from_pem(pem).unwrap().key().clone()),
                    _ => None,
                });
            we_respond && rekindle::channel::handshake::verify(&key.unwrap(), &[ours], signature).is_ok()
        }
    }
}

#[test]
fn channels_do_again_what_was_done_with_real_nodes() {
    let Some(recordings) = recordings() else { return };
    let (mut initiated, mut responded, mut crossed) = (0, 0, 0);
    for recording in &recordings {
        let Some((key, certificate)) = recording.own() else {
            continue;
        };
        let key = Arc::new(SigningKey::from_pkcs8_pem(&key).unwrap());
        assert_eq!(
            NodeId(Certificate::from_pem(&certificate).unwrap().key_id()),
            NodeId(key.verifying_key().id())
        );
        let own = Arc::new(Own::new(key, certificate, recording.service()));
        for keys in recording.keys() {
            match replay(recording, &own, keys) {
                None => {}
                Some((true, true)) => crossed += 1,
                Some((true, false)) => initiated += 1,
                Some(_) => responded += 1,
            }
        }
    }
    assert!(
        initiated >= 8 && responded >= 4 && crossed == 1,
        "{initiated} {responded} {crossed}"
    );
}
