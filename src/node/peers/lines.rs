//! Connections: which are opened, which are closed, and why.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::connection;
use super::hub::{Hub, Line, LineId};
use super::word::Word;
use crate::channel::NodeId;

/// Connections that one node may have at once: two that cross, and two of before.
const LINES_OF_A_PEER: usize = 4;
/// A connection that is not used ends after so long without anything authentic.
const UNUSED: Duration = Duration::from_secs(30);

impl Hub {
    /// Opens a connection to a node, if that is due. Answers whether one is on its way.
    pub(super) fn open(&mut self, to: NodeId) -> bool {
        let now = self.now();
        let Some(peer) = self.peers.get_mut(&to) else {
            return false;
        };
        if peer.opening.is_under_way {
            return true;
        }
        if peer.address.is_empty() {
            // It is known only because it has connected.
            return false;
        }
        let Some(hub) = self.me.upgrade().filter(|_| now >= peer.opening.not_before) else {
            return false;
        };
        peer.opening.is_under_way = true;
        let (address, limit) = (peer.address.clone(), self.settings.connect_timeout);
        self.begin_beside(async move {
            let opened = tokio::time::timeout(limit, TcpStream::connect(&address)).await;
            let opened = opened.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            hub.borrow_mut().was_opened(to, &address, opened);
        });
        true
    }

    fn was_opened(&mut self, to: NodeId, address: &str, opened: std::io::Result<TcpStream>) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        peer.opening.is_under_way = false;
        match opened.and_then(|stream| Ok((stream.peer_addr()?, stream))) {
            Ok((remote, stream)) => {
                let id = self.begin(stream, remote, Some(to));
                self.use_if_better(to, id);
            }
            Err(why) => {
                peer.outbox.clear();
                if !std::mem::replace(&mut peer.opening.is_told, true) {
                    let (address, why) = (address.to_owned(), why.to_string());
                    (self.hear)(Word::Unreachable { peer: to, address, why });
                }
                self.back_off(to);
            }
        }
    }

    /// A connection that was opened here is used, unless something authentic has come over another in the meantime.
    fn use_if_better(&mut self, to: NodeId, id: LineId) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let current = peer.line.and_then(|line| self.lines.get(&line));
        if current.is_some_and(|line| line.is_authentic) {
            return;
        }
        peer.line = Some(id);
        self.reconnected(to);
        self.pump(to);
    }

    /// The next connection to a node is not opened at once.
    fn back_off(&mut self, to: NodeId) {
        let now = self.now();
        let (first, most) = self.settings.back_off;
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let doubled = first.saturating_mul(1 << peer.opening.failures.min(16));
        peer.opening.not_before = now + doubled.min(most);
        peer.opening.failures = peer.opening.failures.saturating_add(1);
    }

    /// Somebody has connected.
    pub(super) fn accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        let strangers = || self.lines.iter().filter(|(_, line)| is_stranger(line));
        let oldest = (strangers().count() >= self.settings.strangers)
            .then(|| strangers().map(|(id, _)| *id).next())
            .flatten();
        if let Some(oldest) = oldest {
            self.counters.dropped("strangers");
            self.close(oldest, "too many others connect");
        }
        self.begin(stream, remote, None);
    }

    fn begin(&mut self, stream: TcpStream, remote: SocketAddr, of: Option<NodeId>) -> LineId {
        let now = self.now();
        let id = self.next_line;
        self.next_line += 1;
        // Where it can't be set, small frames wait a little.
        let _ = stream.set_nodelay(true);
        let line = Line {
            peer: of,
            remote,
            is_ours: of.is_some(),
            is_authentic: false,
            born: now,
            heard: now,
            asked: None,
            frames: 0,
            queue: VecDeque::new(),
            queued: 0,
            taken: now,
            wake: Rc::new(Notify::new()),
            closed: Rc::new(Notify::new()),
        };
        if let Some(hub) = self.me.upgrade() {
            self.begin_beside(connection::run(hub, id, stream, line.closed.clone()));
        }
        self.lines.insert(id, line);
        self.count_lines();
        id
    }

    /// Closes a connection, or notes that it has ended.
    pub(super) fn close(&mut self, id: LineId, why: &str) {
        let Some(line) = self.lines.remove(&id) else { return };
        line.closed.notify_one();
        self.count_lines();
        let user = self.peers.iter_mut().find(|(_, peer)| peer.line == Some(id));
        let Some((of, peer)) = user else { return };
        let of = *of;
        peer.line = None;
        // What was sent last may be lost, and what waits refers to it.
        peer.outbox.clear();
        if line.is_authentic {
            let why = why.to_owned();
            (self.hear)(Word::Disconnected { peer: of, why });
        }
        let others = self
            .lines
            .iter()
            .filter(|(_, line)| line.is_authentic && line.peer == Some(of));
        match others.map(|(id, _)| *id).next_back() {
            Some(other) => {
                peer.line = Some(other);
                self.reconnected(of);
            }
            None => self.back_off(of),
        }
    }

    /// A node needs no more than a few connections.
    pub(super) fn close_surplus(&mut self, of: NodeId) {
        let used = self.peers.get(&of).and_then(|peer| peer.line);
        let its = || self.lines.iter().filter(|(_, line)| line.peer == Some(of));
        let surplus = its().count().saturating_sub(LINES_OF_A_PEER);
        let unused = its().map(|(id, _)| *id).filter(|id| Some(*id) != used);
        for id in unused.take(surplus).collect::<Vec<_>>() {
            self.close(id, "newer ones of the same node are in use");
        }
    }

    pub(super) fn count_lines(&self) {
        let strangers = self.lines.values().filter(|line| !line.is_authentic).count();
        let counters = &self.counters;
        counters.connections.store(self.lines.len() as u64, Ordering::Relaxed);
        counters.strangers.store(strangers as u64, Ordering::Relaxed);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        let now = self.now();
        self.stranger_handshakes = self.settings.stranger_handshakes;
        let nodes: Vec<NodeId> = self.peers.keys().copied().collect();
        for node in nodes {
            if let Some(peer) = self.peers.get_mut(&node) {
                let effects = peer.channel.tick(now, &mut self.rng);
                self.carry_out(node, None, effects);
            }
        }
        let used: Vec<LineId> = self.peers.values().filter_map(|peer| peer.line).collect();
        let settings = &self.settings;
        let since = |at: Duration| now.saturating_sub(at);
        let overdue = |id: &LineId, line: &Line| {
            let (is_stranger, is_used) = (is_stranger(line), used.contains(id));
            let is_taken = line.queued > 0 && since(line.taken) < settings.silence;
            if line.queued > 0 && since(line.taken) >= settings.stall {
                Some(("stalled", "its other end takes nothing"))
            } else if (is_stranger || !line.is_authentic && !is_used) && since(line.born) >= settings.stranger_time {
                Some(("stranger_time", "nothing authentic came over it"))
            } else if is_used && !is_taken && line.asked.is_some_and(|at| since(at) >= settings.silence) {
                Some(("silent", "nothing authentic came over it for long"))
            } else if !is_used && line.is_authentic && since(line.heard) >= UNUSED {
                Some(("unused", "another one is used"))
            } else {
                None
            }
        };
        let overdue: Vec<_> = self
            .lines
            .iter()
            .filter_map(|(id, line)| Some((*id, overdue(id, line)?)))
            .collect();
        for (id, (name, why)) in overdue {
            self.counters.dropped(name);
            self.close(id, why);
        }
    }

    /// Whether everything is written.
    pub(super) fn is_written(&self) -> bool {
        self.lines.values().all(|line| line.queued == 0)
    }
}

/// Opened by somebody else, who has not shown who it is.
fn is_stranger(line: &Line) -> bool {
    !line.is_ours && !line.is_authentic
}
