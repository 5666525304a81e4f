//! When a signature is due, and what it takes to make one.

use super::chunks::LARGEST_AIM;
use super::due::{InFlight, Signing};
use super::effect::Effect;
use super::event::{Now, Role};
use super::state::Core;

impl Core {
    /// Signs if it is time, or if this node is to stop.
    pub(super) fn sign_if_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_due = self
            .settings
            .signatures
            .is_some_and(|settings| self.signing.is_due(now, &settings));
        let last = self.stopping && self.signing.unsigned > 0;
        if (is_due || last) && self.role != Role::Backup && !self.has_signed_off() {
            self.sign_or_give_up(now, out);
        }
    }

    /// Signs, or says that the ledger can't go on.
    pub(super) fn sign_or_give_up(&mut self, now: Now, out: &mut Vec<Effect>) {
        if let Err(why) = self.sign(now, out) {
            out.push(Effect::GiveUp {
                reason: format!("the ledger can't be signed: {why}"),
            });
        }
    }

    /// Signs everything that is sealed; what it covers is synced after it.
    ///
    /// # Errors
    /// If the signature can't be sealed, which would be a tree too large for an entry.
    pub(super) fn sign(&mut self, now: Now, out: &mut Vec<Effect>) -> crate::Result<()> {
        let signed = self.log.sign(now);
        let proven = self.snapshots.prove(self.log.tree(), &signed, self.log.signers())?;
        let size = self.chunks.size();
        let limit = self.settings.chunk_size.min(LARGEST_AIM).saturating_sub(size);
        let asked = self.signing.end_chunk;
        let (txid, ends, raw) = self.log.seal_signature(&signed.writes, |size| asked || size >= limit)?;
        self.snapshots.proven();
        let place = self.chunks.place(txid.seqno, raw.len() as u64);
        self.operations.write(txid.seqno, place, raw);
        self.operations.sync(place.chunk, txid.seqno);
        if ends {
            self.chunks.end_chunk();
        }
        self.signing = Signing::default();
        self.in_flight.push_back(InFlight {
            seqno: txid.seqno,
            proven,
        });
        self.sealed(now, txid, true, &signed.writes, out);
        out.push(Effect::applied(txid, signed.writes));
        Ok(())
    }
}
