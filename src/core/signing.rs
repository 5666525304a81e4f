//! When a signature is due, and what it takes to make one.

use super::chunks::LARGEST_AIM;
use super::due::{InFlight, Signing};
use super::effect::Effect;
use super::event::Now;
use super::state::Core;

impl Core {
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
