//! What the entries of another node that leads mean to this one: secrets that are sent to it, the ledger's old secrets, and that the
//! service is open. A node that leads knows all of it before it writes.

use super::afterwards::Learned;
use super::driver::Driver;
use super::status::NodeState;
use crate::core::{Event, Followed};
use crate::journal::SealKey;
use crate::recovery::secrets::LedgerSecrets;
use crate::service::secrets::received;
use crate::service::service_info;
use crate::service::submit::Opened;
use crate::tables::values::{HistoricalSecret, ServiceStatus, from_json};
use crate::tables::{SINGLETON_KEY, names};

impl Driver {
    /// Reads what an entry means, before it is given to the core.
    ///
    /// # Errors
    /// In words: it says what the node that leads must not say.
    pub(super) fn meaning(&self, followed: &mut Followed) -> Result<Learned, String> {
        let seqno = followed.txid.seqno;
        let mut learned = Learned {
            seqno,
            ..Learned::default()
        };
        let value = |map| followed.writes.get(map, &SINGLETON_KEY).flatten();
        let historical = value(names::HISTORICAL_ENCRYPTED_LEDGER_SECRET);
        let sent = value(names::ENCRYPTED_LEDGER_SECRETS);
        if let Some(historical) = historical {
            if seqno <= self.old.last {
                let historical: HistoricalSecret =
                    from_json(historical).map_err(|why| format!("the ledger secret before can't be read: {why}"))?;
                learned.historical = Some(historical);
            } else {
                learned.stored_at = Some(seqno);
            }
        }
        let (Some(sent), Some(key)) = (sent.filter(|_| seqno > self.old.last), &self.decryption) else {
            return Ok(learned);
        };
        let mut secrets = received(sent, &self.node().id, key, seqno)?;
        match secrets.as_slice() {
            [] => {}
            [only] if only.from == seqno.saturating_add(1) => {
                followed.rekey = Some(std::sync::Arc::new(SealKey::new(&only.secret)));
                learned.stored_at = None;
                learned.secret = secrets.pop();
            }
            [.., latest] => {
                may_unlock(self.node().status.state())?;
                learned.unlocked = Some(Opened {
                    latest: latest.clone(),
                    secrets: LedgerSecrets::of(
                        secrets
                            .iter()
                            .map(|known| (known.from, known.previous_stored.unwrap_or(known.from), &known.secret)),
                    ),
                    findings: Vec::new(),
                });
            }
        }
        Ok(learned)
    }

    /// A node that has not opened the service itself serves users once it is open for good.
    pub(super) fn open_if_it_is_open(&mut self) {
        let node = std::sync::Arc::clone(self.node());
        if self.opened_at.is_some() || node.status.users_are_served() || !self.is_open_for_good() {
            return;
        }
        if let Some(sealer) = &mut self.sealer {
            sealer.opened();
        }
        self.step(Event::OpenedElsewhere);
    }

    /// Whether this node has its own place in what is committed: before that, what it has is the past of the service.
    pub(super) fn is_in(&self) -> bool {
        let node = self.node();
        let committed = self.core.committed();
        node.read(|store| {
            let own = store.get(names::NODES_ENDORSED_CERTIFICATES, node.id.as_bytes());
            own.is_some_and(|(at, _)| at <= committed)
        })
        .0
    }

    /// Whether the service is open, and that is committed: this one, and none that it has recovered.
    fn is_open_for_good(&self) -> bool {
        let committed = self.core.committed();
        let node = self.node();
        node.read(|store| {
            let at = store.get(names::SERVICE_INFO, &SINGLETON_KEY).map(|(at, _)| at);
            let is_ours = at.is_some_and(|at| at > self.old.last && at <= committed);
            is_ours && service_info(&store.transaction()).is_ok_and(|info| info.status == ServiceStatus::Open)
        })
        .0
    }
}

/// The old ledger's secrets are sent once, to nodes that do not know them: others would begin again to read what they have read, and
/// end where they can't.
fn may_unlock(state: NodeState) -> Result<(), String> {
    match state {
        NodeState::PartOfPublicNetwork => Ok(()),
        _ => Err(format!(
            "it sends the secrets of the ledger that was recovered to a node that is {state:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_old_ledger_are_taken_once() {
        for state in [NodeState::ReadingPrivateLedger, NodeState::PartOfNetwork] {
            assert!(may_unlock(state).is_err());
        }
        assert!(may_unlock(NodeState::PartOfPublicNetwork).is_ok());
    }
}
