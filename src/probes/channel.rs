//! What comes over the wire between nodes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::channel::handshake::{self, Handshake};
use crate::channel::keys::ReceiveKey;
use crate::channel::message::{Consensus, Forwarded};
use crate::channel::{Channel, FrameReader, FrameType, NodeId, Own, Settings};
use crate::crypto::{Curve, SigningKey};

static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| Arc::new(SigningKey::generate(Curve::P384, &mut rng())));

static OWN: LazyLock<Arc<Own>> = LazyLock::new(|| Arc::new(Own::new(KEY.clone(), String::new(), KEY.verifying_key())));

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([7; 32])
}

/// A stream, in pieces: the first byte of the input chooses how long they are. Handshakes in it reach a channel.
pub fn channel_frames(input: &[u8]) {
    let Some((choice, stream)) = input.split_first() else {
        return;
    };
    let mut reader = FrameReader::new(1 << 16);
    for piece in stream.chunks(usize::from(*choice) * 8 + 1) {
        reader.feed(piece);
        while let Ok(Some(frame)) = reader.next_frame() {
            match frame.of {
                FrameType::Channel => {
                    let settings = Settings::new(Duration::from_secs(1));
                    let mut channel = Channel::new(OWN.clone(), frame.sender, settings);
                    let _ = channel.received(Duration::ZERO, &frame, &mut rng());
                }
                _ => channel_message(frame.payload),
            }
        }
    }
}

/// A payload of the handshake.
pub fn channel_handshake(payload: &[u8]) {
    if let Ok(message) = Handshake::parse(payload) {
        assert_eq!(message.encode(), payload);
        match message {
            Handshake::Init { certificate, .. } | Handshake::Response { certificate, .. } => {
                let _ = handshake::peer_key(certificate, &NodeId([0; 32]), &KEY.verifying_key());
            }
            Handshake::Final { .. } => {}
        }
    }
}

/// A protected payload; and the same as what was decrypted of one.
pub fn channel_message(payload: &[u8]) {
    if let Ok((message, envelope)) = Consensus::parse(payload) {
        match message {
            // Its last byte, a flag, is not kept.
            Consensus::AppendEntries(_) => assert_eq!(message.header().get(..56), envelope.header.get(..56)),
            _ => assert_eq!(message.header(), envelope.header),
        }
        let _ = ReceiveKey::new(&[0; 32]).open(&envelope, &[]);
    }
    if let Ok(envelope) = Forwarded::envelope(payload) {
        let _ = ReceiveKey::new(&[0; 32]).open(&envelope, envelope.rest);
        if let Ok(message) = Forwarded::parse(envelope.header, envelope.rest) {
            assert_eq!(message.header(), envelope.header);
            assert_eq!(*message.plaintext(), envelope.rest);
        }
    }
}
