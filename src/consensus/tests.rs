//! Every row of node-to-node 4 to 9, and what real nodes said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::channel::NodeId;
use crate::format::{MAX_VIEW, MAX_VIEW_STEP, Seqno, TxId, View};

mod electing;
mod following;
mod leading;
mod leaving;
mod recordings;

fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn ids(all: &[u8]) -> BTreeSet<NodeId> {
    all.iter().map(|n| id(*n)).collect()
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An election time-out is a second, a message time-out a tenth.
fn settings() -> Settings {
    Settings {
        election_timeout: at(1000),
        ..Settings::default()
    }
}

fn entry(view: View, seqno: Seqno) -> Entry {
    Entry {
        txid: TxId { view, seqno },
        is_signature: false,
        nodes: None,
    }
}

fn signature(view: View, seqno: Seqno) -> Entry {
    Entry {
        is_signature: true,
        ..entry(view, seqno)
    }
}

fn trusted(view: View, seqno: Seqno, nodes: &[u8]) -> Entry {
    Entry {
        nodes: Some(NodesChange {
            trusted: ids(nodes),
            ..NodesChange::default()
        }),
        ..entry(view, seqno)
    }
}

fn retires(view: View, seqno: Seqno, nodes: &[u8], who: u8) -> Entry {
    let mut entry = trusted(view, seqno, nodes);
    entry.nodes.as_mut().unwrap().retired = ids(&[who]);
    entry
}

fn marks(view: View, seqno: Seqno, nodes: &[u8], who: u8) -> Entry {
    let mut entry = trusted(view, seqno, nodes);
    entry.nodes.as_mut().unwrap().retired_committed = ids(&[who]);
    entry
}

/// So many entries fit into a frame.
struct PerFrame(u64);

impl Sizes for PerFrame {
    fn reach(&self, after: Seqno, at_most: Seqno, _: u64) -> Seqno {
        at_most.min(after.saturating_add(self.0))
    }
}

/// Ten entries: views 2 (1 to 6) and 4 (7 to 10), all committed; these nodes take part.
fn start(own: u8, nodes: &[u8]) -> Start {
    Start {
        id: id(own),
        view: 4,
        views: vec![ViewStart { view: 2, first: 1 }, ViewStart { view: 4, first: 7 }],
        last: 10,
        committed: 10,
        signatures: Vec::new(),
        first_held: 1,
        configurations: vec![Configuration {
            seqno: 1,
            nodes: ids(nodes),
        }],
        departures: BTreeMap::new(),
    }
}

fn chance() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn follower(own: u8, nodes: &[u8]) -> Consensus {
    Consensus::follow(settings(), start(own, nodes), chance(), at(0))
}

/// A node with nothing, that takes part in nothing.
fn newcomer(own: u8) -> Consensus {
    let nothing = Start {
        view: 0,
        views: Vec::new(),
        last: 0,
        committed: 0,
        configurations: Vec::new(),
        ..start(own, &[])
    };
    Consensus::follow(settings(), nothing, chance(), at(0))
}

/// Node 1 leads these others in view 5: it was elected, and its signature 5.11 is on its disk.
fn leader(others: &[u8]) -> Consensus {
    let nodes: Vec<u8> = [1].iter().chain(others).copied().collect();
    let mut consensus = follower(1, &nodes);
    consensus.received(at(0), id(others[0]), Message::ProposeRequestVote { view: 4 });
    for other in others {
        let granted = RequestVoteResponse { view: 5, granted: true };
        consensus.received(at(0), id(*other), Message::RequestVoteResponse(granted));
    }
    assert_eq!(consensus.role(), Role::Leader);
    write(&mut consensus, &[signature(5, 11)]);
    consensus
}

/// Appended and on the disk.
fn write(consensus: &mut Consensus, entries: &[Entry]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for entry in entries {
        effects.extend(consensus.appended(at(0), entry));
        effects.extend(consensus.synced(at(0), entry.txid));
    }
    effects
}

fn sent(effects: &[Effect]) -> Vec<(NodeId, Message)> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, message } => Some((*to, *message)),
        _ => None,
    });
    sent.collect()
}

/// (prev_view.prev_idx, view_of_idx.idx) of each frame.
fn frames(effects: &[Effect]) -> Vec<(NodeId, TxId, TxId)> {
    let frames = sent(effects).into_iter().filter_map(|(to, message)| match message {
        Message::AppendEntries(frame) => Some((
            to,
            txid(frame.prev_view, frame.prev_idx),
            txid(frame.view_of_idx, frame.idx),
        )),
        _ => None,
    });
    frames.collect()
}

fn txid(view: View, seqno: Seqno) -> TxId {
    TxId { view, seqno }
}

fn ok(view: View, last_idx: Seqno) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse {
        view,
        last_idx,
        ok: true,
    })
}

fn refused(view: View, last_idx: Seqno) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse {
        view,
        last_idx,
        ok: false,
    })
}

/// A frame of a leader of `view`, of entries that are all of `of`.
fn frame(view: View, prev: TxId, idx: Seqno, of: View, leader_commit: Seqno) -> Message {
    Message::AppendEntries(AppendEntries {
        idx,
        prev_idx: prev.seqno,
        view,
        prev_view: prev.view,
        leader_commit,
        view_of_idx: of,
    })
}

fn wants_vote(view: View, last_signed: TxId) -> Message {
    Message::RequestVote(RequestVote {
        view,
        last_signed: last_signed.seqno,
        view_of_last_signed: last_signed.view,
    })
}

fn vote(view: View, granted: bool) -> Message {
    Message::RequestVoteResponse(RequestVoteResponse { view, granted })
}

fn commits(effects: &[Effect]) -> Vec<Seqno> {
    let commits = effects.iter().filter_map(|effect| match effect {
        Effect::Commit(seqno) => Some(*seqno),
        _ => None,
    });
    commits.collect()
}
