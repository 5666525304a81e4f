//! What the writer's thread does about the other nodes: what they say and what it tells of them, who leads, and what is taken
//! back for them.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::afterwards::Learned;
use super::cluster;
use super::driver::Driver;
use super::membership::Membership;
use super::peers;
use crate::channel::NodeId;
use crate::channel::message::Forwarded;
use crate::consensus::{Note, Phase, Role};
use crate::core::{Agreed, Event};
use crate::format::Seqno;
use crate::format::domain::WriteSet;
use crate::service::following;
use crate::shown::line;
use crate::tables::names;

/// A retired node still tells clients for so long who leads now.
const FAREWELL: Duration = Duration::from_secs(2);

impl Driver {
    /// What is heard of other nodes.
    pub(super) fn heard(&mut self, word: peers::Word) {
        match word {
            peers::Word::Said(said) => {
                self.frame = said.entries;
                self.step(Event::Heard {
                    from: said.from,
                    message: said.message,
                });
                self.frame = Vec::new();
            }
            peers::Word::Passed(passed) => self.passed_on(passed),
            peers::Word::Connected { peer, remote } if self.may_say() => {
                tracing::info!(%peer, %remote, "connected with a node");
            }
            peers::Word::Connected { .. } => {}
            peers::Word::Disconnected { peer, why } => {
                self.node().forwards.lost(peer);
                if self.may_say() {
                    tracing::info!(%peer, why = %line(&why), "the connection with a node has ended");
                }
            }
            peers::Word::NotPassed { peer, command } => self.node().forwards.not_sent(peer, command),
            peers::Word::Unreachable { peer, address, why } => {
                tracing::warn!(%peer, address = %line(&address), why = %line(&why), "a node can't be reached");
            }
            peers::Word::NotRead { peer, why } => {
                if self.cluster.as_mut().is_some_and(|cluster| cluster.is_new(peer, &why)) {
                    tracing::error!(%peer, "entries for a node can't be read: {why}");
                }
            }
            peers::Word::Panicked(why) => std::panic::resume_unwind(why),
        }
    }

    /// Whether one more line is to be said that others can provoke, as often as they like.
    pub(super) fn may_say(&mut self) -> bool {
        let kept_back = self.chatter.may_say(self.began.elapsed());
        if let Some(lines @ 1..) = kept_back {
            tracing::warn!(lines, "of what other nodes do was not said: it was too much");
        }
        kept_back.is_some()
    }

    /// Says something to a node that a client's request came from, or goes to.
    pub(super) fn pass_back(&self, to: NodeId, message: Forwarded) {
        let asks = match &message {
            Forwarded::Request(request) => Some(request.command),
            Forwarded::Answer(_) => None,
        };
        let is_sent = self
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.forward(to, message));
        if let Some(command) = asks.filter(|_| !is_sent) {
            self.node().forwards.not_sent(to, command);
        }
    }

    /// Checks the entries after `after`, up to `through`, of what is being heard, and gives them to the core.
    pub(super) fn verify(&mut self, after: Seqno, through: Seqno) {
        let bytes = Bytes::from(std::mem::take(&mut self.frame));
        let mut frame = following::Frame::new(&bytes, after, through);
        loop {
            let state = self.node().read(|store| store.freeze()).0;
            let Some(following::Run { mut entries, refused }) = frame.check_next(&state, &self.keys) else {
                return;
            };
            drop(state);
            let mut refused = refused.map(|(seqno, why)| (seqno, why.to_string()));
            // Only the last may mean anything to the node itself.
            let mut learned = Learned::default();
            if let Some(mut last) = entries.pop() {
                match self.meaning(&mut last) {
                    Ok(meaning) => {
                        learned = meaning;
                        entries.push(last);
                    }
                    Err(why) => refused = Some((last.txid.seqno, why)),
                }
            }
            if !entries.is_empty() {
                self.step_and(Event::Followed(entries), learned);
            }
            if let Some((seqno, why)) = refused {
                // It may come again as often as the primary likes.
                if self.may_say() {
                    tracing::warn!(seqno, "an entry of the primary is refused: {why}");
                }
                return self.step(Event::FrameRefused);
            }
        }
    }

    /// What became of the agreement with others.
    pub(super) fn agreed(&mut self, agreed: Agreed) {
        match agreed {
            Agreed::Role(role) => {
                let said = match role {
                    Role::Leader => "this node leads the service".to_owned(),
                    Role::Candidate => "this node asks for votes".to_owned(),
                    Role::Follower { leader: None } => "this node follows, and does not know yet whom".to_owned(),
                    Role::Follower { leader: Some(leader) } => format!("this node follows node {leader}"),
                };
                // One that is not elected stands again and again.
                if self.said.as_ref() != Some(&said) {
                    tracing::info!("{said}");
                    self.said = Some(said);
                }
            }
            Agreed::Retirement(None) => tracing::info!("this node is not retired after all: that was taken back"),
            Agreed::Retirement(Some(phase)) => tracing::info!(
                ?phase,
                "this node retires: {}",
                match phase {
                    Phase::Ordered => "members have decided it",
                    Phase::Signed => "that is signed",
                    Phase::Completed => "that is committed",
                    Phase::RetiredCommitted => "every node knows; the next one leads",
                }
            ),
            Agreed::MayLeave { leader } => {
                let address = self.node().address_of(leader, "");
                tracing::info!(
                    %leader, address = %line(&address),
                    "this node is retired, and another leads the service: it ends"
                );
                let node = Arc::clone(self.node());
                node.status.stop();
                self.node().runtime.spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    (node.retired)();
                });
            }
            Agreed::Forgotten { node, told } => {
                match told {
                    true => tracing::info!(%node, "a node has left, and knows it"),
                    false => tracing::warn!(%node, "a node has left, and never answered that it knows it"),
                }
                if let Some(cluster) = &mut self.cluster {
                    cluster.forget(node);
                }
            }
            Agreed::Note(note) if note.is_provoked() && !self.may_say() => {}
            Agreed::Note(note @ (Note::GivesUp { .. } | Note::NotHeld { .. })) => tracing::warn!("{note}"),
            Agreed::Note(note) => tracing::info!("{note}"),
        }
    }

    /// Tells readers who takes part and who leads; and the log, where the others keep something from being committed.
    pub(super) fn tell_of_others(&mut self) {
        let Some(consensus) = self.core.consensus() else {
            return;
        };
        let membership = Membership::of(consensus, self.began, self.core.awaited());
        let timeout = self.node().config.consensus.election_timeout;
        if let Some(cluster) = &mut self.cluster
            && let Some(waited) = cluster.stall.look(self.began.elapsed(), membership.awaits(), timeout)
        {
            warn_of(&membership, waited);
        }
        let mut known = self.node().membership.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(&membership) {
            let before = known.as_ref().and_then(|known| known.primary);
            if let Some(primary) = membership.primary.filter(|primary| Some(*primary) != before) {
                let (happened, view) = (&self.node().status.happened, membership.view);
                happened.add(format!("node {primary} leads in view {view}"));
            }
            *known = Some(membership);
        }
    }

    /// The others are told this node's certificate, or the service's key, where they have changed.
    pub(super) fn renew_for_others(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            let service = self.standing.read().unwrap_or_else(PoisonError::into_inner);
            cluster.renew(cluster::own(&self.core, service.service.key.verifying_key()));
        }
    }

    /// Learns where nodes are, from what a transaction wrote.
    pub(super) fn learn_addresses(&mut self, writes: &WriteSet) {
        if let Some(cluster) = &mut self.cluster
            && writes.writes_to(names::NODES_INFO)
        {
            cluster.learn(writes);
        }
    }
}

/// Says who keeps the node from going on.
fn warn_of(membership: &Membership, waited: Duration) {
    let waited = waited.as_secs();
    for node in membership.missing() {
        match membership.acknowledgement(&node) {
            Some(it) => tracing::warn!(
                %node, acknowledged = it.seqno, wanted = membership.awaited, silent_s = it.heard.elapsed().as_secs(),
                "nothing has been committed for {waited} s: this node's acknowledgement is missing; let it run again, or have \
                 members remove it (rekindle member remove-node)"
            ),
            None => tracing::warn!(
                %node,
                "no node has led the service for {waited} s: this node's vote is missing; without more than half of the nodes \
                 that take part nothing can be decided: let them run again, or recover the service from the best ledger"
            ),
        }
    }
}
