//! The ledger secrets that open what another node writes.

use crate::crypto::aead::AeadKey;
use crate::format::Seqno;
use crate::journal::succession::KnownSecret;
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::writes::Keys;

/// Secrets that are known, whatever the ledger says of them, and those that entries bring.
#[derive(Default)]
pub struct FollowedKeys {
    secrets: LedgerSecrets,
    /// The first seqno of the newest that was known from the beginning.
    given: Seqno,
}

impl FollowedKeys {
    /// Those that are known from the beginning, the oldest first.
    pub fn given(known: &[KnownSecret]) -> FollowedKeys {
        FollowedKeys {
            secrets: LedgerSecrets::of(known.iter().map(|known| (known.from, known.from, &known.secret))),
            given: known.last().map_or(0, |known| known.from),
        }
    }

    /// One more.
    pub fn learn(&mut self, known: &KnownSecret) {
        // One that is known already, as a node is told that joins while it is replaced, is the same.
        if known.from > self.given {
            self.secrets.add(known.from, &known.secret);
        }
    }

    /// Forgets those that entries after `to` have brought.
    pub fn take_back(&mut self, to: Seqno) {
        // A secret seals from the seqno after the entry that brings it.
        let first = to.saturating_add(2).max(self.given.saturating_add(1));
        self.secrets.forget_from(first);
    }
}

impl Keys for FollowedKeys {
    fn key_at(&self, seqno: Seqno) -> Option<&AeadKey> {
        self.secrets.key_at(seqno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::LedgerSecret;

    fn known(from: Seqno) -> KnownSecret {
        KnownSecret {
            secret: LedgerSecret::from_bytes([from as u8; 32]),
            from,
            previous_stored: None,
        }
    }

    #[test]
    fn what_entries_bring_goes_with_them_and_what_was_told_stays() {
        let mut keys = FollowedKeys::given(&[known(10), known(50)]);
        let from = |keys: &FollowedKeys, seqno| keys.secrets.at(seqno).map(|secret| secret.from_seqno);
        assert!(keys.key_at(9).is_none() && keys.key_at(10).is_some());
        keys.learn(&known(71));
        keys.learn(&known(50));
        assert_eq!(
            [9, 49, 70, 71].map(|at| from(&keys, at)),
            [None, Some(10), Some(50), Some(71)]
        );
        keys.take_back(70);
        assert_eq!(from(&keys, 80), Some(71), "the entry of 70 brought it");
        keys.take_back(69);
        assert_eq!(from(&keys, 80), Some(50));
        keys.take_back(20);
        assert_eq!(from(&keys, 80), Some(50));
    }
}
