//! What a step of the core changes in what readers see: the state, and what is known because of it. All of it at once, and in the
//! order in which the core decided it: what is taken back goes before what comes in its place.

use std::sync::{Arc, PoisonError};

use super::afterwards::Learned;
use super::driver::Driver;
use super::shared::Node;
use super::status::NodeState;
use crate::core::{Announcement, Effect, state_after};
use crate::format::{Seqno, TxId};
use crate::tables::names;

/// Tables whose writes people on a call want to know of.
const WORTH_TELLING: [(&str, &str); 5] = [
    (names::PROPOSALS_INFO, "a proposal or a vote on one"),
    (
        names::ENCRYPTED_SUBMITTED_SHARES,
        "recovery shares: one more, or cleared",
    ),
    (names::NODES_INFO, "the nodes of the service have changed"),
    (names::SERVICE_INFO, "the service has changed its status or certificate"),
    (names::MEMBERS_INFO, "the members have changed"),
];

/// Keeps in mind what people on a call want to know; not what is read again of former times.
fn tell(node: &Node, txid: TxId, writes_to: impl Fn(&str) -> bool) {
    for (_, what) in WORTH_TELLING.iter().filter(|(table, _)| writes_to(table)) {
        if node.with_membership(|membership| membership.view) == Some(txid.view) {
            node.status.happened.add(format!("{what} (transaction {txid})"));
        }
    }
}

impl Driver {
    /// Shows readers what a step has changed, and what its transaction makes known.
    pub(super) fn show(&mut self, effects: &mut [Effect], learned: Learned) {
        let changes_state = |effect: &Effect| {
            matches!(
                effect,
                Effect::Announce(Announcement::Applied { .. } | Announcement::RolledBack { .. })
            )
        };
        // Nobody who reads is held up for nothing.
        if !effects.iter().any(changes_state) {
            return;
        }
        let (node, standing) = (Arc::clone(self.node()), Arc::clone(&self.standing));
        // In this order, as whoever begins a transaction takes them: the root is of this state.
        let mut standing = standing.write().unwrap_or_else(PoisonError::into_inner);
        let mut store = node.store.write().unwrap_or_else(PoisonError::into_inner);
        // First what is read of the writes, which then move into the state.
        for effect in effects.iter() {
            match effect {
                Effect::Announce(Announcement::Applied { txid, writes, .. }) => {
                    self.issuers_changed |= writes.writes_to(names::JWT_ISSUERS);
                    self.learn_addresses(writes);
                    node.status.wrote(*txid);
                    tell(&node, *txid, |table| writes.writes_to(table));
                }
                Effect::Announce(Announcement::RolledBack { to }) => {
                    let newest = standing.take_back(*to);
                    node.forgets_secrets_after(newest);
                    self.unlearn(*to);
                    let view = self.core.view_of(*to);
                    node.status.wrote(TxId { view, seqno: *to });
                }
                _ => {}
            }
        }
        state_after(effects, &mut store);
        standing.root = self.core.root();
        self.learn(learned, &mut standing);
    }

    /// What a transaction makes known.
    fn learn(&mut self, mut learned: Learned, standing: &mut super::session::Standing) {
        let node = Arc::clone(self.node());
        if let Some(unlocked) = learned.unlocked.take() {
            standing.unlocked_at = Some(learned.seqno);
            // A commit that needs it comes later.
            self.unlocked = Some((learned.seqno, Box::new(unlocked)));
        }
        if let Some(report) = learned.unsealing.take() {
            self.unsealings.push((learned.seqno, report.clone()));
            node.status.unsealed(report);
        }
        if let Some(known) = &learned.secret {
            node.knows_secret(known.from, &known.secret);
            self.keys.learn(known);
        }
        if let Some(value) = learned.historical.take() {
            Arc::make_mut(&mut standing.historical).push((learned.seqno, value));
        }
        learned.teach(&mut standing.secrets);
        if learned.opened_at.is_some() {
            self.opened_at = learned.opened_at;
            node.status.enter(NodeState::PartOfNetwork);
        }
    }

    /// What was known because of transactions after `to` is not any more.
    fn unlearn(&mut self, to: Seqno) {
        let node = Arc::clone(self.node());
        self.keys.take_back(to);
        if let (Some(cluster), Some(consensus)) = (&mut self.cluster, self.core.consensus()) {
            cluster.keep(consensus);
        }
        self.unlocked.take_if(|(seqno, _)| *seqno > to);
        if self.unsealings.iter().any(|(seqno, _)| *seqno > to) {
            self.unsealings.retain(|(seqno, _)| *seqno <= to);
            let before = self.unsealings.last().map(|(_, report)| report.clone());
            node.status.update_sealing(|state| state.unsealing = before);
            tracing::warn!("what members agreed to is taken back, and what became of unsealing with it");
        }
        if self.opened_at.take_if(|seqno| *seqno > to).is_some() {
            node.status.enter(NodeState::ReadingPrivateLedger);
        }
    }
}
