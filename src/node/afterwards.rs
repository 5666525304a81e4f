//! What must happen once a transaction is written, and what is known from then on.

use std::sync::Arc;

use crate::core::{Announcement, Effect, Follow, Milestone, Outcome, Ticket};
use crate::crypto::LedgerSecret;
use crate::format::Seqno;
use crate::journal::SealKey;
use crate::journal::succession::KnownSecret;
use crate::recovery::sealed_report::SealedReport;
use crate::service::submit::Opened;
use crate::tables::values::HistoricalSecret;

/// What a transaction leaves to be done after it.
#[derive(Default)]
pub struct Afterwards {
    /// The secret that seals from the next seqno on.
    pub rekey: Option<LedgerSecret>,
    /// The next signature ends the chunk.
    pub chunk: bool,
    /// The next signature is followed by a snapshot.
    pub snapshot: bool,
    /// It is signed at once: others are told of it once it is committed.
    pub sign: bool,
    /// The shares are in, or a sealed file is open: the private phase begins.
    pub unlocked: Option<Opened>,
    /// What became of unsealing, where that was tried.
    pub unsealing: Option<SealedReport>,
}

impl Afterwards {
    /// What follows in the core from the transaction that would be `seqno` and is answered by `ticket`, and what is known
    /// once it is written.
    pub fn split(self, ticket: Ticket, seqno: Seqno, milestone: Option<Milestone>) -> (Follow, Learned) {
        let milestone = milestone.or(self.unlocked.is_some().then_some(Milestone::SecretsKnown));
        let follow = Follow {
            rekey: self.rekey.as_ref().map(|secret| Arc::new(SealKey::new(secret))),
            // What follows begins once this is committed, so now and not when a signature is due.
            sign: self.sign
                || matches!(
                    milestone,
                    Some(Milestone::Created | Milestone::SecretsKnown | Milestone::Opened)
                ),
            end_chunk: self.chunk,
            snapshot: self.snapshot,
            milestone,
        };
        let learned = Learned {
            ticket: Some(ticket),
            seqno,
            secret: self.rekey.map(|secret| KnownSecret {
                secret,
                from: seqno + 1,
                previous_stored: Some(seqno),
            }),
            unlocked: self.unlocked,
            unsealing: self.unsealing,
            opened_at: (milestone == Some(Milestone::Opened)).then_some(seqno),
            stored_at: None,
            historical: None,
        };
        (follow, learned)
    }
}

/// What is known once a transaction is written, and not if it is refused.
#[derive(Default)]
pub struct Learned {
    /// By which it is answered, if it is this node's own.
    pub ticket: Option<Ticket>,
    /// The transaction that makes it known.
    pub seqno: Seqno,
    /// The ledger secret from then on.
    pub secret: Option<KnownSecret>,
    /// What the shares have opened.
    pub unlocked: Option<Opened>,
    /// What became of unsealing.
    pub unsealing: Option<SealedReport>,
    /// It opens the service, at this seqno.
    pub opened_at: Option<Seqno>,
    /// It stores the secret before the newest, at this seqno: a transaction of another node, whose meaning is in its tables.
    pub stored_at: Option<Seqno>,
    /// A value of the historical secrets in the ledger that is recovered.
    pub historical: Option<HistoricalSecret>,
}

impl Learned {
    /// Nothing, where the step that had these effects has not written the transaction.
    #[must_use]
    pub fn if_written(self, effects: &[Effect]) -> Learned {
        let is_written = effects.iter().any(|effect| match effect {
            Effect::Announce(Announcement::Applied { txid, .. }) => txid.seqno == self.seqno,
            _ => false,
        });
        // Where it is refused, the same step may sign, and the signature has its seqno.
        let is_refused = effects.iter().any(|effect| match effect {
            Effect::Answer(ticket, Outcome::Refused(_)) => Some(*ticket) == self.ticket,
            _ => false,
        });
        match is_written && !is_refused {
            true => self,
            false => Learned::default(),
        }
    }

    /// Brings the service's own secrets, the newest last, to what is known now.
    pub fn teach(&mut self, secrets: &mut Arc<Vec<KnownSecret>>) {
        // A node that has just joined may have been told of it already.
        if let Some(known) = self.secret.take()
            && secrets.iter().all(|other| other.from < known.from)
        {
            Arc::make_mut(secrets).push(known);
        }
        // The transaction that opens a service stores the secret before it.
        let stored_at = self.stored_at.or(self.opened_at);
        if stored_at.is_some()
            && let Some(current) = Arc::make_mut(secrets).last_mut()
        {
            current.previous_stored = stored_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Refusal;
    use crate::format::TxId;
    use crate::format::domain::WriteSet;
    use crate::format::private::PrivateWrites;

    #[test]
    fn only_what_is_written_makes_something_known() {
        let applied = |seqno| {
            Effect::Announce(Announcement::Applied {
                txid: TxId { view: 2, seqno },
                writes: WriteSet::new(),
                private: PrivateWrites::default(),
            })
        };
        let refused = || Effect::Answer(Ticket(7), Outcome::Refused(Refusal::Stopping));
        let is_known = |ticket, effects: &[Effect]| {
            let learned = Learned {
                ticket,
                seqno: 9,
                opened_at: Some(9),
                ..Learned::default()
            };
            learned.if_written(effects).opened_at.is_some()
        };
        assert!(is_known(Some(Ticket(7)), &[applied(9)]));
        assert!(is_known(None, &[applied(8), applied(9)]), "the last entry of a run");
        assert!(!is_known(None, &[applied(7), applied(8)]), "the core did not take it");
        // The signature that the same step has made has the seqno that the transaction would have had.
        assert!(!is_known(Some(Ticket(7)), &[refused(), applied(9)]));
        assert!(is_known(Some(Ticket(8)), &[refused(), applied(9)]));
    }
}
