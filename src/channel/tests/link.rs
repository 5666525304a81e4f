//! Two sides of one channel, a service that endorses both, and what is on its way between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;

use crate::channel::handshake::Handshake;
use crate::channel::message::{AppendEntries, Consensus, Forwarded, ForwardedRequest};
use crate::channel::{
    Channel, Closed, Dropped, Effect, Frame, FrameReader, FrameType, Message, NodeId, Own, Settings, Unsent,
};
use crate::crypto::testing::rng;
use crate::crypto::{Certificate, Curve, SigningKey, VerifyingKey, x509};

/// In the tests' time, an election takes so long.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(2);
pub const MAX: usize = 1 << 20;

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn settings() -> Settings {
    Settings {
        max_frame_bytes: MAX,
        ..Settings::new(ELECTION_TIMEOUT)
    }
}

pub struct Service {
    pub key: SigningKey,
    pub certificate: Certificate,
    pub rng: ChaCha20Rng,
}

impl Service {
    pub fn new(seed: u64) -> Service {
        let mut rng = rng(seed);
        let key = SigningKey::generate(Curve::P384, &mut rng);
        let public = key.verifying_key();
        let certificate = x509::issue("CN=Service", &public, None, &key, true, 1_700_000_000, 30, [1; 16]).unwrap();
        Service { key, certificate, rng }
    }

    pub fn node_key(&mut self) -> Arc<SigningKey> {
        Arc::new(SigningKey::generate(Curve::P384, &mut self.rng))
    }

    /// Long expired: nobody asks.
    pub fn endorse(&self, key: &VerifyingKey) -> String {
        let issuer = Some(&self.certificate);
        x509::issue("CN=Node", key, issuer, &self.key, false, 1_000_000_000, 1, [2; 16])
            .unwrap()
            .to_pem()
    }

    pub fn own(&self, key: &Arc<SigningKey>) -> Arc<Own> {
        let certificate = self.endorse(&key.verifying_key());
        Arc::new(Own::new(key.clone(), certificate, self.key.verifying_key()))
    }

    /// Two nodes, the one with the greater id first.
    pub fn nodes(&mut self) -> [Arc<Own>; 2] {
        let mut nodes = [(); 2].map(|()| {
            let key = self.node_key();
            self.own(&key)
        });
        nodes.sort_by_key(|own| std::cmp::Reverse(own.id()));
        nodes
    }
}

pub struct Side {
    pub id: NodeId,
    pub channel: Channel,
    pub rng: ChaCha20Rng,
    pub got: Vec<u64>,
    pub dropped: Vec<Dropped>,
    pub closed: Vec<Closed>,
    pub unsent: Vec<Unsent>,
    pub established: usize,
}

/// The side with the greater id.
pub const GREATER: usize = 0;
/// The side with the lesser id.
pub const LESSER: usize = 1;

pub struct Link {
    pub service: Service,
    pub owns: [Arc<Own>; 2],
    pub sides: [Side; 2],
    /// What is on its way *to* each side.
    pub way: [VecDeque<Vec<u8>>; 2],
    pub now: Duration,
}

/// A heartbeat that can be told from others.
pub fn heartbeat(number: u64) -> Message<'static> {
    entries(number, &[])
}

/// An AppendEntries that can be told from others.
pub fn entries(number: u64, entries: &[u8]) -> Message<'_> {
    let message = AppendEntries {
        idx: number,
        prev_idx: number,
        view: 2,
        prev_view: 2,
        leader_commit: 0,
        view_of_idx: 2,
    };
    Message::Consensus(Consensus::AppendEntries(message), entries)
}

/// A forwarded request that can be told from others.
pub fn request(command: u64) -> Message<'static> {
    Message::Forwarded(Forwarded::Request(ForwardedRequest {
        command,
        view: 2,
        session: 1,
        caller: None,
        request: b"GET /app HTTP/1.1\r\n\r\n".to_vec(),
    }))
}

/// What a frame's payload is, where it is a handshake: 0 init, 1 response, 2 final.
pub fn kind(frame: &[u8]) -> Option<u64> {
    parsed(frame, |frame| match frame.of {
        FrameType::Channel => frame.payload.first_chunk().map(|kind| u64::from_le_bytes(*kind)),
        _ => None,
    })
}

pub fn parsed<T>(bytes: &[u8], with: impl FnOnce(Frame<'_>) -> T) -> T {
    let mut reader = FrameReader::new(MAX);
    reader.feed(bytes);
    with(reader.next_frame().unwrap().unwrap())
}

/// The share in a handshake.
pub fn share(frame: &[u8]) -> [u8; 98] {
    parsed(frame, |frame| match Handshake::parse(frame.payload).unwrap() {
        Handshake::Init { share, .. } | Handshake::Response { share, .. } => *share.as_bytes(),
        Handshake::Final { .. } => panic!("a final has no share"),
    })
}

impl Link {
    pub fn new(seed: u64) -> Link {
        Self::with(seed, settings())
    }

    pub fn with(seed: u64, settings: Settings) -> Link {
        let mut service = Service::new(seed);
        let owns = service.nodes();
        let ids = [owns[0].id(), owns[1].id()];
        let side = |i: usize| Side {
            id: ids[i],
            channel: Channel::new(owns[i].clone(), ids[1 - i], settings.clone()),
            rng: rng(seed + 10 + i as u64),
            got: Vec::new(),
            dropped: Vec::new(),
            closed: Vec::new(),
            unsent: Vec::new(),
            established: 0,
        };
        Link {
            service,
            sides: [side(0), side(1)],
            owns,
            way: Default::default(),
            now: Duration::from_secs(100),
        }
    }

    /// A link whose channel is up, with nothing on its way and nothing noted.
    pub fn established(seed: u64, settings: Settings) -> Link {
        let mut link = Self::with(seed, settings);
        link.says(GREATER, &heartbeat(0));
        link.run();
        assert!(link.sides.iter().all(|side| side.channel.is_established()));
        link.forget();
        link
    }

    pub fn forget(&mut self) {
        for side in &mut self.sides {
            side.got.clear();
            side.dropped.clear();
            side.closed.clear();
            side.unsent.clear();
            side.established = 0;
        }
    }

    fn note(&mut self, who: usize, effects: Vec<Effect<'_>>) {
        let side = &mut self.sides[who];
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.way[1 - who].push_back(frame),
                Effect::Deliver(Message::Consensus(Consensus::AppendEntries(message), _)) => {
                    side.got.push(message.idx);
                }
                Effect::Deliver(Message::Consensus(..)) => side.got.push(u64::MAX),
                Effect::Deliver(Message::Forwarded(Forwarded::Request(message))) => side.got.push(message.command),
                Effect::Deliver(Message::Forwarded(Forwarded::Answer(message))) => side.got.push(message.command),
                Effect::Drop(why) => side.dropped.push(why),
                Effect::Unsent(why) => side.unsent.push(why),
                Effect::Established => side.established += 1,
                Effect::Closed(why) => side.closed.push(why),
            }
        }
    }

    pub fn says(&mut self, who: usize, message: &Message<'_>) {
        let side = &mut self.sides[who];
        let effects = side.channel.want_to_send(self.now, message, &mut side.rng);
        self.note(who, effects);
    }

    pub fn tick(&mut self, after: Duration) {
        self.now += after;
        for who in 0..2 {
            self.tick_one(who);
        }
    }

    pub fn tick_one(&mut self, who: usize) {
        let side = &mut self.sides[who];
        let effects = side.channel.tick(self.now, &mut side.rng);
        self.note(who, effects);
    }

    pub fn reconnect(&mut self, who: usize) {
        let side = &mut self.sides[who];
        let effects = side.channel.reconnected(self.now, &mut side.rng);
        self.note(who, effects);
    }

    /// Gives a frame to a side as it is.
    pub fn hand(&mut self, who: usize, bytes: &[u8]) {
        let mut reader = FrameReader::new(MAX);
        reader.feed(bytes);
        let frame = reader.next_frame().unwrap().unwrap();
        let side = &mut self.sides[who];
        let effects = side.channel.received(self.now, &frame, &mut side.rng);
        self.note(who, effects);
    }

    /// The next frame to a side arrives.
    pub fn arrive(&mut self, who: usize) -> Vec<u8> {
        let frame = self.way[who].pop_front().expect("nothing is on its way");
        self.hand(who, &frame);
        frame
    }

    /// The next frame to a side is lost.
    pub fn lose(&mut self, who: usize) -> Vec<u8> {
        self.way[who].pop_front().expect("nothing is on its way")
    }

    /// Everything arrives, until nothing is on its way.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            match (0..2).find(|who| !self.way[*who].is_empty()) {
                Some(who) => drop(self.arrive(who)),
                None => return,
            }
        }
        panic!("they never stop");
    }

    /// That messages go both ways, now.
    #[track_caller]
    pub fn works(&mut self) {
        self.forget();
        self.says(GREATER, &heartbeat(77));
        self.says(LESSER, &heartbeat(78));
        self.run();
        assert_eq!(
            (&self.sides[LESSER].got[..], &self.sides[GREATER].got[..]),
            (&[77][..], &[78][..])
        );
        for side in &self.sides {
            assert!(side.dropped.is_empty(), "{:?}", side.dropped);
            assert!(side.channel.is_established());
        }
    }
}
