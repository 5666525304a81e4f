//! What a node may say that holds a valid channel, whatever it is: nothing of it ends this node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::channel::NodeId;
use crate::consensus::{
    AppendEntries, AppendEntriesResponse, Configuration, Consensus, Effect, Entry, Message, NodesChange, RequestVote,
    RequestVoteResponse, Role, Settings, Sizes, Start, ViewStart,
};
use crate::format::{Seqno, TxId};

/// Entries of a frame are looked at up to so many: those that a frame of the greatest size would hold.
const MOST: u64 = 64;

struct OneByOne;

impl Sizes for OneByOne {
    fn reach(&self, after: Seqno, at_most: Seqno, _: u64) -> Seqno {
        at_most.min(after.saturating_add(1))
    }
}

fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

/// Numbers out of the input: small ones, those around what the node has, and the greatest.
struct Numbers<'a>(std::slice::Iter<'a, u8>);

impl Numbers<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    fn near(&mut self, around: u64) -> Option<u64> {
        Some(match self.byte()? {
            255 => u64::MAX,
            254 => u64::MAX - 1,
            253 => 0,
            252 => 1 << 40,
            small @ 0..=63 => u64::from(small),
            other => around.saturating_add(u64::from(other & 15)).saturating_sub(8),
        })
    }

    fn message(&mut self, node: &Consensus) -> Option<Message> {
        let (view, last) = (node.view(), node.last());
        Some(match self.byte()? % 8 {
            0 | 1 => Message::AppendEntries(AppendEntries {
                idx: self.near(last)?,
                prev_idx: self.near(last)?,
                view: self.near(view)?,
                prev_view: self.near(view)?,
                leader_commit: self.near(node.committed())?,
                view_of_idx: self.near(view)?,
            }),
            2 => Message::AppendEntriesResponse(AppendEntriesResponse {
                view: self.near(view)?,
                last_idx: self.near(last)?,
                ok: self.byte()? & 1 == 0,
            }),
            kind @ (3 | 4) => {
                let question = RequestVote {
                    view: self.near(view)?,
                    last_signed: self.near(last)?,
                    view_of_last_signed: self.near(view)?,
                };
                match kind {
                    3 => Message::RequestVote(question),
                    _ => Message::RequestPreVote(question),
                }
            }
            kind @ (5 | 6) => {
                let answer = RequestVoteResponse {
                    view: self.near(view)?,
                    granted: self.byte()? & 1 == 0,
                };
                match kind {
                    5 => Message::RequestVoteResponse(answer),
                    _ => Message::RequestPreVoteResponse(answer),
                }
            }
            _ => Message::ProposeRequestVote { view: self.near(view)? },
        })
    }
}

/// A node of three, in an order of messages, time and its disk that the input makes up.
pub fn consensus_messages(input: &[u8]) {
    let mut numbers = Numbers(input.iter());
    let Some(choice) = numbers.byte() else { return };
    let start = Start {
        id: id(1),
        view: 4,
        views: vec![ViewStart { view: 2, first: 1 }, ViewStart { view: 3, first: 5 }],
        last: 8,
        committed: 6,
        signatures: vec![8],
        first_held: u64::from(choice % 4) + 1,
        configurations: vec![Configuration {
            seqno: 1,
            nodes: (1..=3).map(id).collect(),
        }],
        departures: BTreeMap::new(),
    };
    let settings = Settings {
        pre_vote: choice & 16 != 0,
        frames_under_way: usize::from(choice / 64) + 1,
        ..Settings::default()
    };
    let chance = ChaCha20Rng::from_seed([choice; 32]);
    let mut node = Consensus::follow(settings, start, chance, Duration::ZERO);
    let mut now = Duration::ZERO;
    while act(&mut node, &mut now, &mut numbers).is_some() {
        assert!(node.committed() <= node.last() && node.durable() <= node.last());
    }
}

fn act(node: &mut Consensus, now: &mut Duration, numbers: &mut Numbers<'_>) -> Option<()> {
    let effects = match numbers.byte()? % 16 {
        0..=9 => {
            let from = id(numbers.byte()? % 6);
            let message = numbers.message(node)?;
            node.received(*now, from, message)
        }
        10 | 11 => {
            *now += Duration::from_millis(u64::from(numbers.byte()?) * 40);
            node.tick(*now, &OneByOne)
        }
        12 => {
            let seqno = numbers.near(node.last())?;
            let view = node.view_at(seqno).unwrap_or_default();
            node.synced(*now, TxId { view, seqno })
        }
        13 if node.role() == Role::Leader && node.view() < 1 << 50 => {
            let entry = entry(node.view(), node.last() + 1, numbers)?;
            node.appended(*now, &entry)
        }
        14 => node.nominate(*now),
        15 => node.withdraw(*now),
        _ => node.flush(*now, &OneByOne),
    };
    obey(node, *now, effects, numbers);
    Some(())
}

/// An entry, as a driver that has verified it knows it: who is Trusted, a leader that holds the service's keys may write as it
/// likes.
fn entry(view: u64, seqno: Seqno, numbers: &mut Numbers<'_>) -> Option<Entry> {
    let what = numbers.byte()?;
    let change = |what: u8| NodesChange {
        trusted: (1..=5).filter(|n| what & (1 << n) != 0).map(id).collect(),
        retired: if what & 64 != 0 {
            BTreeSet::from([id(1)])
        } else {
            BTreeSet::new()
        },
        retired_committed: if what & 128 != 0 {
            BTreeSet::from([id(1)])
        } else {
            BTreeSet::new()
        },
    };
    Some(Entry {
        txid: TxId { view, seqno },
        is_signature: what & 3 == 0,
        nodes: (what & 3 == 1).then(|| numbers.byte().map(change)).flatten(),
    })
}

/// As a driver does it: entries are appended one after the other, or the rest of the frame is refused.
fn obey(node: &mut Consensus, now: Duration, effects: Vec<Effect>, numbers: &mut Numbers<'_>) {
    let mut effects = VecDeque::from(effects);
    while let Some(effect) = effects.pop_front() {
        let Effect::Verify {
            after, through, view, ..
        } = effect
        else {
            continue;
        };
        let mut all_are_there = true;
        for seqno in after.saturating_add(1)..=through.min(after.saturating_add(MOST)) {
            match entry(view, seqno, numbers) {
                Some(entry) => effects.extend(node.appended(now, &entry)),
                None => {
                    all_are_there = false;
                    break;
                }
            }
        }
        let is_whole = all_are_there && through <= after.saturating_add(MOST);
        effects.extend(match is_whole {
            true => node.accepted(now),
            false => node.rejected(now),
        });
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    #[test]
    fn no_peer_ends_this_node_by_what_it_says() {
        let mut chance = ChaCha20Rng::from_seed([1; 32]);
        let inputs = if std::env::var_os("REKINDLE_SEEDS").is_some() {
            200_000
        } else {
            3000
        };
        for number in 0..inputs {
            let mut input = vec![0; 40 + number % 900];
            chance.fill_bytes(&mut input);
            consensus_messages(&input);
        }
    }
}
