//! Frames that are wrong in one way each: dropped, with the reason, and nothing else changes.

use std::sync::Arc;

use super::link::*;
use crate::channel::handshake::{self, Handshake, Share};
use crate::channel::{Dropped, Effect, Frame, FrameType, NodeId};
use crate::crypto::testing::rng;
use crate::crypto::{EphemeralKey, SigningKey, x509};

/// What an init is made of.
struct Init {
    sender: NodeId,
    share: Vec<u8>,
    signature: Vec<u8>,
    certificate: String,
    salt: Vec<u8>,
    version: u64,
    after: Vec<u8>,
}

impl Init {
    /// A good one: signed with `key`, in the name of its node.
    fn good(key: &SigningKey, certificate: String) -> Init {
        let share = Share::of(&EphemeralKey::generate(&mut rng(70)));
        Init {
            sender: NodeId(key.verifying_key().id()),
            share: share.as_bytes().to_vec(),
            signature: handshake::sign(key, &[&share]),
            certificate,
            salt: vec![3; 32],
            version: 1,
            after: Vec::new(),
        }
    }

    /// The share changed, and signed as it is then.
    fn with_share(self, key: &SigningKey, share: Vec<u8>) -> Init {
        Init {
            signature: key.sign_der(&share),
            share,
            ..self
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.extend(0_u64.to_le_bytes());
        payload.extend(self.version.to_le_bytes());
        for field in [&self.share, &self.signature, self.certificate.as_bytes(), &self.salt] {
            payload.extend((field.len() as u64).to_le_bytes());
            payload.extend(field);
        }
        payload.extend(&self.after);
        frame(FrameType::Channel, self.sender, &payload)
    }
}

fn frame(of: FrameType, sender: NodeId, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame::write(of, &sender, &[payload], MAX, &mut out).unwrap();
    out
}

/// A side that knows `peer` by id, and the peer's key.
struct Scene {
    link: Link,
    key: Arc<SigningKey>,
    certificate: String,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut link = Link::new(seed);
        let key = link.service.node_key();
        let certificate = link.service.endorse(&key.verifying_key());
        let peer = NodeId(key.verifying_key().id());
        let own = link.owns[LESSER].clone();
        link.sides[LESSER].channel = crate::channel::Channel::new(own, peer, settings());
        Scene { link, key, certificate }
    }

    fn good(&self) -> Init {
        Init::good(&self.key, self.certificate.clone())
    }

    fn drops(&mut self, init: &Init) -> Dropped {
        self.link.hand(LESSER, &init.frame());
        assert!(self.link.way[GREATER].is_empty(), "it was answered");
        assert!(!self.link.sides[LESSER].channel.is_in_handshake());
        self.link.sides[LESSER].dropped.pop().expect("it was not dropped")
    }

    fn answers(&mut self, init: &Init) {
        self.link.hand(LESSER, &init.frame());
        assert_eq!(self.link.sides[LESSER].dropped, []);
        let answer = self.link.lose(GREATER);
        assert_eq!(kind(&answer), Some(1));
    }
}

#[test]
fn a_good_init_is_answered_though_its_certificate_has_expired() {
    let mut scene = Scene::new(50);
    // `endorse` dates it in 2001, for a day.
    let good = scene.good();
    scene.answers(&good);
}

#[test]
fn a_stranger_with_somebodys_id_is_refused() {
    let mut scene = Scene::new(51);
    // He is even a node of the same service: his certificate is good, but of another id.
    let key = scene.link.service.node_key();
    let certificate = scene.link.service.endorse(&key.verifying_key());
    let mut init = Init::good(&key, certificate);
    init.sender = scene.good().sender;
    assert_eq!(scene.drops(&init), Dropped::CertificateOfAnother);
    // With the certificate of the one that he says he is, he cannot sign.
    init.certificate = scene.certificate.clone();
    assert_eq!(scene.drops(&init), Dropped::Signature);
    // In his own name, he is not the peer of this channel.
    init.sender = NodeId(key.verifying_key().id());
    assert_eq!(scene.drops(&init), Dropped::OtherSender);
}

#[test]
fn a_certificate_that_this_service_did_not_sign_is_refused() {
    let mut scene = Scene::new(52);
    let public = scene.key.verifying_key();
    let itself = x509::issue("CN=Node", &public, None, &scene.key, false, 1_700_000_000, 30, [1; 16]).unwrap();
    let others = Link::new(53).service.endorse(&public);
    for certificate in [itself.to_pem(), others] {
        let init = Init::good(&scene.key, certificate);
        assert!(matches!(scene.drops(&init), Dropped::CertificateNotOfService(_)));
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_refused() {
    let mut scene = Scene::new(54);
    let cut = scene.certificate[..200].to_owned();
    for certificate in ["", "no certificate", &cut] {
        let init = Init::good(&scene.key, certificate.to_owned());
        assert!(matches!(scene.drops(&init), Dropped::CertificateUnreadable(_)));
    }
    let payload = scene.good().frame().split_off(84);
    let mut bytes = payload.clone();
    let at = payload.windows(5).position(|five| five == b"-----").unwrap();
    bytes[at] = 0xff;
    let sender = scene.good().sender;
    scene.link.hand(LESSER, &frame(FrameType::Channel, sender, &bytes));
    assert!(matches!(
        scene.link.sides[LESSER].dropped[..],
        [Dropped::CertificateUnreadable(_)]
    ));
}

#[test]
fn a_signature_of_another_key_or_over_something_else_is_refused() {
    let mut scene = Scene::new(55);
    let mut init = scene.good();
    let share = Share::parse(&init.share).unwrap();
    init.signature = handshake::sign(&scene.link.service.node_key(), &[&share]);
    assert_eq!(scene.drops(&init), Dropped::Signature);
    init.signature = handshake::sign(&scene.key, &[&share, &share]);
    assert_eq!(scene.drops(&init), Dropped::Signature);
    // Without the length byte in front: CCF signs all 98 bytes.
    init.signature = scene.key.sign_der(share.point());
    assert_eq!(scene.drops(&init), Dropped::Signature);
    init.signature.clear();
    assert_eq!(scene.drops(&init), Dropped::Signature);
}

#[test]
fn another_version_is_refused() {
    let mut scene = Scene::new(56);
    for found in [0, 2, u64::MAX] {
        let init = Init {
            version: found,
            ..scene.good()
        };
        assert_eq!(scene.drops(&init), Dropped::Version { found });
    }
}

#[test]
fn a_share_without_its_length_byte_or_of_another_form_is_refused() {
    let mut scene = Scene::new(57);
    let good = scene.good().share;
    let (mut zero, mut compressed) = (good.clone(), good.clone());
    zero[0] = 0;
    compressed[1] = 2;
    let forms = [
        good[1..].to_vec(),
        zero,
        compressed,
        good[..97].to_vec(),
        [&good[..], &[0]].concat(),
        Vec::new(),
    ];
    for share in forms {
        let found = share.len();
        let init = scene.good().with_share(&scene.key, share);
        assert_eq!(scene.drops(&init), Dropped::Share { found });
    }
}

#[test]
fn a_share_off_the_curve_is_refused() {
    let mut scene = Scene::new(58);
    let mut share = scene.good().share;
    share[97] ^= 1;
    let init = scene.good().with_share(&scene.key, share);
    assert_eq!(scene.drops(&init), Dropped::Point);
}

#[test]
fn nothing_may_follow_the_last_field_and_a_salt_has_32_bytes() {
    let mut scene = Scene::new(59);
    let longer = Init {
        after: vec![0],
        ..scene.good()
    };
    assert!(matches!(scene.drops(&longer), Dropped::Malformed(_)));
    for length in [0, 31, 33] {
        let init = Init {
            salt: vec![0; length],
            ..scene.good()
        };
        assert!(matches!(scene.drops(&init), Dropped::Malformed(_)));
    }
}

#[test]
fn a_handshake_is_not_read_beyond_its_longest() {
    let mut scene = Scene::new(60);
    let mut init = scene.good();
    let overhead = init.frame().len() - 84;
    // Text before the certificate is nothing to the parser.
    init.certificate
        .insert_str(0, &" ".repeat(handshake::MAX_BYTES - overhead));
    scene.answers(&init);
    init.certificate.insert(0, ' ');
    scene.link.forget();
    scene.link.hand(LESSER, &init.frame());
    let (found, max) = (handshake::MAX_BYTES + 1, handshake::MAX_BYTES);
    assert_eq!(
        scene.link.sides[LESSER].dropped,
        [Dropped::HandshakeTooLong { found, max }]
    );
}

#[test]
fn every_cut_handshake_is_refused() {
    let mut link = Link::new(61);
    link.says(GREATER, &heartbeat(1));
    let init = link.arrive(LESSER);
    let response = link.arrive(GREATER);
    let last = link.arrive(LESSER);
    for message in [init, response, last] {
        let payload = &message[84..];
        let parsed = Handshake::parse(payload).unwrap();
        assert_eq!(parsed.encode(), payload);
        for length in 0..payload.len() {
            let refused = Handshake::parse(&payload[..length]);
            assert!(
                matches!(refused, Err(Dropped::Malformed(_) | Dropped::Share { .. })),
                "{length}"
            );
        }
        assert!(matches!(
            Handshake::parse(&[payload, &[0]].concat()),
            Err(Dropped::Malformed(_))
        ));
    }
}

#[test]
fn a_response_must_be_the_peers_and_to_our_last_init() {
    let mut link = Link::new(62);
    link.says(GREATER, &heartbeat(1));
    let init = link.arrive(LESSER);
    let good = link.lose(GREATER);
    let ours = Share::parse(&share(&init)).unwrap();
    let theirs = Share::parse(&share(&good)).unwrap();
    let stranger = link.service.node_key();
    let sender = link.sides[LESSER].id;
    let respond = |key: &SigningKey, signed: &[&Share], certificate: &str| {
        let response = Handshake::Response {
            share: theirs,
            signature: &handshake::sign(key, signed),
            certificate: certificate.as_bytes(),
        };
        frame(FrameType::Channel, sender, &response.encode())
    };
    let of_stranger = link.service.endorse(&stranger.verifying_key());
    let of_peer = parsed(&good, |frame| match Handshake::parse(frame.payload).unwrap() {
        Handshake::Response { certificate, .. } => String::from_utf8(certificate.to_vec()).unwrap(),
        _ => unreachable!(),
    });
    for (response, reason) in [
        (
            respond(&stranger, &[&theirs, &ours], &of_stranger),
            Dropped::CertificateOfAnother,
        ),
        (respond(&stranger, &[&theirs, &ours], &of_peer), Dropped::Signature),
        (init.clone(), Dropped::OtherSender),
    ] {
        link.hand(GREATER, &response);
        assert_eq!(link.sides[GREATER].dropped.pop(), Some(reason));
        assert!(link.way[LESSER].is_empty());
        assert!(!link.sides[GREATER].channel.is_established());
    }
    link.hand(GREATER, &good);
    assert_eq!(link.sides[GREATER].established, 1);
}

#[test]
fn a_final_must_be_signed_by_who_initiated_over_our_share() {
    let mut link = Link::new(63);
    link.says(GREATER, &heartbeat(1));
    link.arrive(LESSER);
    let response = link.arrive(GREATER);
    let good = link.lose(LESSER);
    let stranger = link.service.node_key();
    let ours = Share::parse(&share(&response)).unwrap();
    let sender = link.sides[GREATER].id;
    let signature = handshake::sign(&stranger, &[&ours]);
    let forged = Handshake::Final { signature: &signature };
    for _ in 0..2 {
        link.hand(LESSER, &frame(FrameType::Channel, sender, &forged.encode()));
        assert_eq!(link.sides[LESSER].dropped.pop(), Some(Dropped::Signature));
        assert!(!link.sides[LESSER].channel.is_established());
    }
    link.hand(LESSER, &good);
    assert!(link.sides[LESSER].channel.is_established());
    link.hand(LESSER, &good);
    assert_eq!(link.sides[LESSER].dropped, [Dropped::UnexpectedFinal]);
}

#[test]
fn frames_of_unknown_types_and_kinds_change_nothing() {
    let mut link = Link::established(64, settings());
    let sender = link.sides[GREATER].id;
    let nine = [&9_u64.to_le_bytes()[..], &[0; 40]].concat();
    link.now += ms(60_000);
    let cases = [
        (FrameType::Unknown(3), "unknown_type"),
        (FrameType::Channel, "unknown_kind"),
        (FrameType::Consensus, "unknown_consensus"),
        (FrameType::Forwarded, "unknown_forwarded"),
    ];
    for (of, name) in cases {
        link.hand(LESSER, &frame(of, sender, &nine));
        let why = link.sides[LESSER].dropped.pop().unwrap();
        assert_eq!((why.name(), why.to_string().is_empty()), (name, false));
    }
    for of in [FrameType::Channel, FrameType::Consensus, FrameType::Forwarded] {
        for length in 0..8 {
            link.hand(LESSER, &frame(of, sender, &vec![0; length]));
            assert_eq!(link.sides[LESSER].dropped.pop().unwrap().name(), "malformed");
        }
    }
    assert!(link.way[GREATER].is_empty());
    link.works();
}

#[test]
fn our_own_init_sent_back_to_us_is_refused() {
    let mut link = Link::new(65);
    link.says(LESSER, &heartbeat(1));
    let init = link.lose(GREATER);
    let sender = link.sides[GREATER].id;
    link.hand(LESSER, &frame(FrameType::Channel, sender, &init[84..]));
    assert_eq!(link.sides[LESSER].dropped, [Dropped::CertificateOfAnother]);
}

#[test]
fn an_init_that_a_stranger_repeats_changes_nothing_until_its_final_follows() {
    let mut link = Link::established(31, settings());
    for who in [LESSER, GREATER] {
        let (own, peer) = (link.owns[1 - who].clone(), link.owns[who].id());
        let mut overheard = crate::channel::Channel::new(own, peer, settings());
        let effects = overheard.want_to_send(ms(0), &heartbeat(1), &mut rng(5));
        let [Effect::Send(init)] = &effects[..] else {
            panic!("{effects:?}")
        };
        let hear = |channel: &mut crate::channel::Channel, bytes: &[u8]| {
            parsed(bytes, |frame| {
                let effects = channel.received_of(true, ms(0), &frame, &mut rng(6));
                let sent = effects.into_iter().filter_map(|effect| match effect {
                    Effect::Send(frame) => Some(frame),
                    _ => None,
                });
                sent.collect::<Vec<_>>()
            })
        };
        let mut responses = Vec::new();
        for _ in 0..20 {
            responses = hear(&mut link.sides[who].channel, init);
            assert_eq!(responses.len(), 1, "it may be the peer");
            link.works();
        }
        // It was: from here on these keys count.
        let finals = hear(&mut overheard, &responses[0]);
        hear(&mut link.sides[who].channel, &finals[0]);
        link.sides[1 - who].channel = overheard;
        link.works();
    }
}
