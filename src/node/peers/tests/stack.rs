//! Nodes of one service over loopback, and what stands between them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::channel::{NodeId, Own};
use crate::consensus::{AppendEntries, Message};
use crate::crypto::testing::rng;
use crate::crypto::{Curve, SigningKey, x509};
use crate::format::Seqno;
use crate::journal::Shelf;
use crate::node::peers::{Entries, Peers, Said, Settings, Word};

/// Nothing here takes as long as that, unless it fails.
pub const LONG: Duration = Duration::from_secs(20);

pub fn settings() -> Settings {
    Settings::new(Duration::from_secs(2))
}

pub struct Node {
    pub peers: Peers,
    pub own: Arc<Own>,
    pub words: mpsc::Receiver<Word>,
}

/// So many nodes that know each other, the one with the least id first.
pub fn nodes(count: usize, seed: u64) -> Vec<Node> {
    let nodes = strangers(count, seed, &settings(), &[]);
    for a in &nodes {
        for b in &nodes {
            a.peers.know(b.own.id(), &b.peers.address().to_string());
        }
    }
    nodes
}

/// Who nodes are: their keys are those of `seed`, whatever service endorses them.
pub fn owns(count: usize, seed: u64, service: u64) -> Vec<Arc<Own>> {
    let service = SigningKey::generate(Curve::P384, &mut rng(service));
    let public = service.verifying_key();
    let issuer = x509::issue("CN=Service", &public, None, &service, true, 1_700_000_000, 30, [1; 16]).unwrap();
    let mut rng = rng(seed);
    let mut owns: Vec<_> = (0..count)
        .map(|_| {
            let key = SigningKey::generate(Curve::P384, &mut rng);
            let of = key.verifying_key();
            let certificate = x509::issue(
                "CN=Node",
                &of,
                Some(&issuer),
                &service,
                false,
                1_700_000_000,
                1,
                [2; 16],
            );
            Arc::new(Own::new(Arc::new(key), certificate.unwrap().to_pem(), public.clone()))
        })
        .collect();
    owns.sort_by_key(|own| own.id());
    owns
}

/// Nodes of one service that know nothing of each other.
pub fn strangers(count: usize, seed: u64, settings: &Settings, ledger: &[PathBuf]) -> Vec<Node> {
    let owns = owns(count, seed, 1000);
    owns.into_iter()
        .map(|own| {
            let (said, words) = mpsc::channel();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let hear = move |word| drop(said.send(word));
            let shelf = Shelf::new(ledger.to_vec());
            let peers = Peers::start(settings.clone(), own.clone(), listener, shelf, hear).unwrap();
            Node { peers, own, words }
        })
        .collect()
}

impl Node {
    pub fn id(&self) -> NodeId {
        self.own.id()
    }

    /// The next message, whatever else is heard.
    #[track_caller]
    pub fn said(&self) -> Said {
        self.said_within(LONG).expect("nothing is said")
    }

    /// The next message that is more than a sign of life.
    #[track_caller]
    pub fn told(&self) -> Said {
        loop {
            let said = self.said();
            match said.message {
                Message::AppendEntries(frame) if frame.idx == frame.prev_idx => {}
                _ => return said,
            }
        }
    }

    pub fn said_within(&self, time: Duration) -> Option<Said> {
        let until = Instant::now() + time;
        loop {
            match self.words.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Word::Said(said)) => return Some(said),
                Ok(Word::NotRead { why, .. }) => panic!("{why}"),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// A sign of life, which may get lost, is heard at the other node sooner or later.
    #[track_caller]
    pub fn reaches(&self, other: &Node, number: Seqno) {
        let until = Instant::now() + LONG;
        while Instant::now() < until {
            self.peers.send(other.id(), heartbeat(number), Entries::none());
            while let Some(said) = other.said_within(Duration::from_millis(100)) {
                if (said.from, said.message) == (self.id(), heartbeat(number)) {
                    return;
                }
            }
        }
        panic!("{:?} is not heard: {:?}", self.peers.figures(), other.peers.figures());
    }

    pub fn dropped(&self, why: &str) -> u64 {
        self.peers.figures().dropped.get(why).copied().unwrap_or(0)
    }

    /// Waits until this is so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Node) -> bool) {
        let until = Instant::now() + LONG;
        while !is_so(self) {
            assert!(Instant::now() < until, "{what}: {:?}", self.peers.figures());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn heartbeat(seqno: Seqno) -> Message {
    frame(seqno, seqno)
}

pub fn frame(after: Seqno, through: Seqno) -> Message {
    Message::AppendEntries(AppendEntries {
        idx: through,
        prev_idx: after,
        view: 2,
        prev_view: 2,
        leader_commit: 0,
        view_of_idx: 2,
    })
}

/// Stands between two nodes, and can be cut or stopped.
pub struct Proxy {
    pub address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    is_stopped: Arc<AtomicBool>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            streams: Arc::default(),
            is_stopped: Arc::default(),
        };
        let (streams, is_stopped) = (proxy.streams.clone(), proxy.is_stopped.clone());
        std::thread::spawn(move || {
            for from in listener.incoming() {
                let from = from.unwrap();
                let Ok(to) = TcpStream::connect(target) else { continue };
                let mut streams = streams.lock().unwrap();
                streams.extend([from.try_clone().unwrap(), to.try_clone().unwrap()]);
                let ways = [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)];
                for (mut from, mut to) in ways {
                    let is_stopped = is_stopped.clone();
                    std::thread::spawn(move || {
                        let mut piece = vec![0; 1 << 16];
                        while let Ok(count @ 1..) = from.read(&mut piece) {
                            while is_stopped.load(Ordering::Relaxed) {
                                std::thread::sleep(Duration::from_millis(5));
                            }
                            if to.write_all(&piece[..count]).is_err() {
                                break;
                            }
                        }
                    });
                }
            }
        });
        proxy
    }

    /// Every connection ends.
    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Nothing goes through any more, although everything stays connected.
    pub fn stop(&self, is_stopped: bool) {
        self.is_stopped.store(is_stopped, Ordering::Relaxed);
    }
}
