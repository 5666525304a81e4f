//! What this node agrees on with others: [`Consensus`] decides about views, roles and commits, and here the log follows.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::due::{InFlight, Signing};
use super::effect::{Agreed, Announcement, Effect, Proposal};
use super::event::{Followed, Now, Role};
use super::others::Others;
use super::state::{Core, MAX_KEPT_BYTES};
use crate::channel::NodeId;
use crate::consensus::{self, Consensus, Entry, Message, NodesChange, Note, Sizes};
use crate::format::domain::WriteSet;
use crate::format::entry::{FLAG_CHUNK_AFTER, FLAG_CHUNK_BEFORE};
use crate::format::{Seqno, TxId};
use crate::journal::SignatureMode;
use crate::tables::names;
use crate::tables::node_info::NodeRecord;

impl Core {
    /// From here on, what is written is agreed upon with others, although there may be none yet. `older` knows how many bytes
    /// the entries have that are not in this core's chunks.
    #[must_use]
    pub fn agreeing(mut self, consensus: Consensus, older: Box<dyn Sizes + Send>) -> Core {
        self.role = match consensus.role() {
            consensus::Role::Leader => Role::Primary,
            consensus::Role::Follower { .. } | consensus::Role::Candidate => Role::Backup,
        };
        self.log.begin_in(consensus.view());
        self.others = Some(Others {
            consensus,
            older,
            expected: None,
            has_news: false,
        });
        self
    }

    /// What the node has agreed on with others, if it does.
    pub fn consensus(&self) -> Option<&Consensus> {
        self.others.as_ref().map(|others| &others.consensus)
    }

    /// A rule that a test breaks.
    #[cfg(test)]
    pub(crate) fn break_rule(&mut self, rule: crate::consensus::Rule) {
        if let Some(others) = &mut self.others {
            others.consensus.broken = Some(rule);
        }
    }

    /// What is committed, wherever: this node does not say so of what is not on its own disk.
    pub fn agreed(&self) -> Seqno {
        self.consensus().map_or(self.committed, Consensus::committed)
    }

    /// The bytes of an entry that is not durable yet. Those of others are in the ledger's files.
    pub fn kept(&self, seqno: Seqno) -> Option<&Bytes> {
        self.operations.bytes_of(seqno)
    }

    /// It has left for good, and waits for who leads next: it writes nothing more.
    pub(super) fn has_signed_off(&self) -> bool {
        self.consensus().is_some_and(Consensus::has_signed_off)
    }

    /// Asks consensus, and does what it decides. Nothing is decided where the node writes alone.
    pub(super) fn agree(
        &mut self,
        now: Now,
        out: &mut Vec<Effect>,
        ask: impl FnOnce(&mut Consensus, &dyn Sizes) -> Vec<consensus::Effect>,
    ) {
        let Some(Others { consensus, older, .. }) = &mut self.others else {
            return;
        };
        let sizes = EverySize {
            chunks: &self.chunks,
            older: &**older,
        };
        let decided = ask(consensus, &sizes);
        self.carry_out(now, decided, out);
    }

    fn carry_out(&mut self, now: Now, decided: Vec<consensus::Effect>, out: &mut Vec<Effect>) {
        let mut leads = false;
        for effect in decided {
            match effect {
                consensus::Effect::Send { to, message } => out.push(Effect::Send { to, message }),
                consensus::Effect::Verify {
                    from,
                    after,
                    through,
                    view,
                } => {
                    if let Some(others) = &mut self.others {
                        others.expected = Some((after, through, view));
                    }
                    match self.operations.kept_bytes() < MAX_KEPT_BYTES {
                        true => out.push(Effect::Verify { from, after, through }),
                        // The leader sends it again: that costs less than memory, of which it could fill any amount.
                        false => self.frame_verified(now, false, out),
                    }
                }
                consensus::Effect::RollBack { to, .. } => self.take_back(to, out),
                consensus::Effect::View(view) => self.log.enter(view),
                consensus::Effect::Role(role) => {
                    leads = role == consensus::Role::Leader;
                    self.role = if leads { Role::Primary } else { Role::Backup };
                    out.push(agreed(Agreed::Role(role)));
                }
                consensus::Effect::Commit(seqno) => {
                    self.agreed = self.agreed.max(seqno);
                    self.commit(now, out);
                }
                consensus::Effect::MarkRetired(_) => out.push(Effect::Propose(Proposal::Retirements)),
                consensus::Effect::Retirement(phase) => out.push(agreed(Agreed::Retirement(phase))),
                consensus::Effect::MayLeave { leader } => out.push(agreed(Agreed::MayLeave { leader })),
                consensus::Effect::Forgotten { node, told } => {
                    out.push(agreed(Agreed::Forgotten { node, told }));
                }
                consensus::Effect::Note(note) => out.push(agreed(Agreed::Note(note))),
            }
        }
        // The first entry of a view is a signature: until then nothing of the views before it can be committed.
        if leads && self.role == Role::Primary {
            self.signing = Signing::default();
            self.sign_or_give_up(now, out);
            self.propose_opening(out);
        }
    }

    /// An entry was sealed here; whether it lets nodes in.
    pub(super) fn sealed(
        &mut self,
        now: Now,
        txid: TxId,
        is_signature: bool,
        writes: &WriteSet,
        out: &mut Vec<Effect>,
    ) -> bool {
        let nodes = self.nodes_change(writes);
        let mut lets_in = false;
        if let Some(others) = &mut self.others {
            others.has_news = true;
            let mut configurations = others.consensus.configurations();
            lets_in = configurations
                .next_back()
                .zip(nodes.as_ref())
                .is_some_and(|(before, after)| !after.trusted.is_subset(&before.nodes));
        }
        let entry = Entry {
            txid,
            is_signature,
            nodes,
        };
        self.agree(now, out, |consensus, _| consensus.appended(now.elapsed, &entry));
        lets_in
    }

    /// Sends what is new, without waiting for the next heartbeat.
    pub(super) fn send_news(&mut self, now: Now, out: &mut Vec<Effect>) {
        let news = self.others.as_mut().map(|others| std::mem::take(&mut others.has_news));
        if news == Some(true) {
            self.agree(now, out, |consensus, sizes| consensus.flush(now.elapsed, sizes));
        }
    }

    /// A node has said something.
    pub(super) fn heard(&mut self, now: Now, from: NodeId, message: Message, out: &mut Vec<Effect>) {
        // Who has taken what was under way is sent the next, without waiting for the next heartbeat.
        let has_room = matches!(&message, Message::AppendEntriesResponse(answer) if answer.ok);
        if let Some(others) = &mut self.others {
            others.has_news |= has_room;
        }
        self.agree(now, out, |consensus, _| consensus.received(now.elapsed, from, message));
    }

    /// The next entries of the frame that is being verified.
    pub(super) fn follow(&mut self, now: Now, run: Vec<Followed>, out: &mut Vec<Effect>) {
        for followed in run {
            self.follow_one(now, followed, out);
        }
    }

    /// The next of them. Where it does not belong here, the frame ends before it.
    fn follow_one(&mut self, now: Now, followed: Followed, out: &mut Vec<Effect>) {
        let txid = followed.txid;
        let expected = self.others.as_ref().and_then(|others| others.expected);
        let Some((after, through, view)) = expected else { return };
        let belongs =
            txid.view == view && txid.seqno == self.log.next().seqno && txid.seqno > after && txid.seqno <= through;
        if !belongs {
            return self.frame_verified(now, false, out);
        }
        if let Some(what) = self.objection(&followed) {
            if let Some(from) = self.consensus().and_then(Consensus::leader) {
                out.push(agreed(Agreed::Note(Note::Contradiction { from, what })));
            }
            return self.frame_verified(now, false, out);
        }
        let Followed {
            txid,
            raw,
            leaf,
            flags,
            writes,
            private,
            signs,
            rekey,
        } = followed;
        if flags & FLAG_CHUNK_BEFORE != 0 {
            self.end_followed_chunk(txid.seqno - 1);
        }
        self.log.follow(txid, leaf, signs, SignatureMode::of(&writes));
        let place = self.chunks.place(txid.seqno, raw.len() as u64);
        self.operations.write(txid.seqno, place, raw);
        if let Some(key) = rekey {
            self.log.rekey(key);
        }
        if signs.is_some() {
            self.in_flight.push_back(InFlight {
                seqno: txid.seqno,
                proven: Vec::new(),
            });
            if flags & FLAG_CHUNK_AFTER != 0 {
                self.end_followed_chunk(txid.seqno);
            }
        }
        let nodes = self.nodes_change(&writes);
        out.push(Effect::Announce(Announcement::Applied { txid, writes, private }));
        let entry = Entry {
            txid,
            is_signature: signs.is_some(),
            nodes,
        };
        self.agree(now, out, |consensus, _| consensus.appended(now.elapsed, &entry));
        if txid.seqno == through {
            self.frame_verified(now, true, out);
        }
    }

    /// Why the next entry is not taken over, if it is not.
    fn objection(&self, followed: &Followed) -> Option<&'static str> {
        let begins = followed.flags & FLAG_CHUNK_BEFORE != 0;
        let last_signed = self.log.last_signed().map_or(0, |last| last.txid.seqno);
        if followed.signs.is_some_and(|root| root != self.log.root()) {
            Some("a signature is over another root than that of the entries before it")
        } else if begins && self.chunks.growing_chunk().is_some() && last_signed + 1 != followed.txid.seqno {
            Some("a chunk ends with an entry that is no signature")
        } else if !begins && !self.chunks.takes(followed.raw.len() as u64) {
            Some("a chunk does not end before 4 GiB, which its positions can't express")
        } else {
            None
        }
    }

    /// No more of the frame is good.
    pub(super) fn frame_verified(&mut self, now: Now, is_good: bool, out: &mut Vec<Effect>) {
        let Some(others) = &mut self.others else { return };
        let Some((after, ..)) = others.expected.take() else {
            return;
        };
        let last = self.log.next().seqno - 1;
        // A chunk that has ended is synced already.
        if last > after
            && let Some(chunk) = self.chunks.growing_chunk()
        {
            self.operations.sync(chunk, last);
        }
        self.agree(now, out, |consensus, _| match is_good {
            true => consensus.accepted(now.elapsed),
            false => consensus.rejected(now.elapsed),
        });
    }

    /// The primary's chunk ends with the entry of `last`.
    fn end_followed_chunk(&mut self, last: Seqno) {
        if let Some(chunk) = self.chunks.growing_chunk() {
            self.operations.sync(chunk, last);
            self.chunks.end_chunk();
        }
    }

    /// The ledger is on this node's disk up to this entry.
    pub(super) fn is_durable(&mut self, now: Now, through: Seqno, out: &mut Vec<Effect>) {
        self.agree(now, out, |consensus, _| {
            let view = consensus.view_at(through).unwrap_or_default();
            consensus.synced(now.elapsed, TxId { view, seqno: through })
        });
    }

    /// What these writes change in who takes part.
    fn nodes_change(&self, writes: &WriteSet) -> Option<NodesChange> {
        let consensus = &self.others.as_ref()?.consensus;
        if !writes.writes_to(names::NODES_INFO) {
            return None;
        }
        let before: Option<&BTreeSet<NodeId>> = consensus.configurations().last().map(|newest| &newest.nodes);
        let mut change = NodesChange {
            trusted: before.cloned().unwrap_or_default(),
            ..NodesChange::default()
        };
        let mut is_changed = false;
        for (_, write) in writes.iter().filter(|(map, _)| *map == names::NODES_INFO) {
            let Some(node) = NodeId::from_key(write.key) else {
                continue;
            };
            let record = write.value.and_then(NodeRecord::read);
            let is_trusted = record.as_ref().is_some_and(NodeRecord::is_trusted);
            is_changed |= match is_trusted {
                true => change.trusted.insert(node),
                false => change.trusted.remove(&node),
            };
            if record.as_ref().is_some_and(NodeRecord::is_retirement_committed) {
                is_changed |= change.retired_committed.insert(node);
            } else if record.as_ref().is_some_and(NodeRecord::is_retired) {
                is_changed |= change.retired.insert(node);
            }
        }
        is_changed.then_some(change)
    }
}

fn agreed(what: Agreed) -> Effect {
    Effect::Announce(Announcement::Agreed(what))
}

/// Sizes of entries, wherever they lie.
struct EverySize<'a> {
    chunks: &'a super::chunks::Chunks,
    older: &'a dyn Sizes,
}

impl Sizes for EverySize<'_> {
    fn reach(&self, after: Seqno, at_most: Seqno, bytes: u64) -> Seqno {
        match self.chunks.first() {
            Some(first) if after + 1 >= first => self.chunks.reach(after, at_most, bytes),
            Some(first) => self.older.reach(after, at_most.min(first - 1), bytes),
            None => self.older.reach(after, at_most, bytes),
        }
    }
}
