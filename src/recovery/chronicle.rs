//! What a picture of a ledger shows beside the report: when views began, secrets were replaced, and how densely it is signed.
//!
//! Collected only where it is asked for, and bounded whatever the ledger's length: signatures are counted in at most [`BUCKETS`]
//! stretches of seqnos, which grow as the ledger does.

use crate::crypto::digest::Digest;
use crate::format::{Seqno, TxId, View};
use crate::tables::values::HistoricalSecret;

/// Stretches that signatures are counted in, at most.
pub const BUCKETS: usize = 512;
/// Beginnings of views that are kept: services have had some hundreds in years.
const MAX_VIEWS: usize = 4096;

/// What a picture shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chronicle {
    /// Signatures and views were noted from this seqno on: 1, or where a snapshot or a checkpoint began.
    pub from_seqno: Seqno,
    /// Each view with its first seqno, as far as signatures tell.
    pub views: Vec<(View, Seqno)>,
    /// Views that began and are not among `views`, because there are too many.
    pub further_views: u64,
    /// Signature transactions, by seqno.
    pub signatures: Density,
    /// Where a ledger secret was written, and why.
    pub secrets: Vec<(Seqno, SecretStep)>,
    /// Snapshots that the ledger holds evidence of: the evidence's seqno, and that of the state.
    pub snapshots: Vec<(Seqno, Seqno)>,
    /// SHA-256 of the certificate under which each of the report's services first appeared, in their order.
    pub certificates: Vec<Digest>,
    last_signed: Seqno,
    last_view: View,
}

/// Why a ledger secret was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStep {
    /// A service opened with its first.
    First,
    /// A recovered service goes on with a new one.
    Recovered,
    /// Members had it replaced.
    Rekeyed,
}

impl SecretStep {
    /// In words.
    pub fn in_words(self) -> &'static str {
        match self {
            SecretStep::First => "the first secret",
            SecretStep::Recovered => "the secret of a recovered service",
            SecretStep::Rekeyed => "a rekey",
        }
    }
}

impl Chronicle {
    /// Begins at this seqno.
    pub fn from(seqno: Seqno) -> Chronicle {
        Chronicle {
            from_seqno: seqno,
            signatures: Density::from(seqno),
            last_signed: seqno.saturating_sub(1),
            ..Chronicle::default()
        }
    }

    /// The next signature transaction. What it signs has a view of its own if the one before has another.
    pub fn sign(&mut self, txid: TxId) {
        self.signatures.add(txid.seqno);
        let first = self.last_signed.saturating_add(1);
        if self.last_view != txid.view {
            match self.views.len() < MAX_VIEWS {
                true => self.views.push((txid.view, first)),
                false => self.further_views += 1,
            }
        }
        (self.last_view, self.last_signed) = (txid.view, txid.seqno);
    }

    /// The writes of secrets that were met.
    pub fn set_secrets(&mut self, written: &[(Seqno, HistoricalSecret)]) {
        let step = |(seqno, secret): &(Seqno, HistoricalSecret)| {
            let step = match (&secret.previous_ledger_secret, secret.next_version) {
                (None, _) => SecretStep::First,
                (Some(_), Some(_)) => SecretStep::Recovered,
                (Some(_), None) => SecretStep::Rekeyed,
            };
            (*seqno, step)
        };
        self.secrets = written.iter().map(step).collect();
        self.secrets.sort_by_key(|(seqno, _)| *seqno);
        self.secrets.dedup_by_key(|(seqno, _)| *seqno);
    }
}

/// How many of something there are in each of equal stretches of seqnos.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Density {
    /// First seqno of the first stretch.
    pub from_seqno: Seqno,
    /// Seqnos in a stretch, a power of two; 0 where nothing was counted.
    pub width: u64,
    /// The counts.
    pub counts: Vec<u64>,
}

impl Density {
    /// Begins at this seqno.
    pub fn from(seqno: Seqno) -> Density {
        Density {
            from_seqno: seqno,
            width: 1,
            counts: Vec::new(),
        }
    }

    /// Counts one. What lies before the first stretch is counted in it.
    pub fn add(&mut self, seqno: Seqno) {
        let after = seqno.saturating_sub(self.from_seqno);
        self.width = self.width.max(1);
        while after / self.width >= BUCKETS as u64 {
            self.halve();
        }
        let place = (after / self.width) as usize;
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
    }

    fn halve(&mut self) {
        self.width = self.width.saturating_mul(2);
        self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_grow_with_the_ledger_and_lose_no_count() {
        let mut density = Density::from(1);
        let seqnos: Vec<Seqno> = (1..200_000).step_by(7).collect();
        seqnos.iter().for_each(|seqno| density.add(*seqno));
        assert!(density.counts.len() <= BUCKETS && density.counts.len() > BUCKETS / 4);
        assert_eq!(density.counts.iter().sum::<u64>(), seqnos.len() as u64);
        for (place, count) in density.counts.iter().enumerate() {
            let from = 1 + place as u64 * density.width;
            let within = seqnos
                .iter()
                .filter(|seqno| (from..from + density.width).contains(seqno));
            assert_eq!(within.count() as u64, *count);
        }
    }

    #[test]
    fn no_seqno_is_too_large() {
        let mut density = Density::from(1);
        [1, u64::MAX, 0].into_iter().for_each(|seqno| density.add(seqno));
        assert_eq!(density.counts.iter().sum::<u64>(), 3);
        assert!(density.counts.len() <= BUCKETS);
    }

    #[test]
    fn a_view_begins_after_the_last_signature_of_the_one_before() {
        let mut chronicle = Chronicle::from(1);
        for (view, seqno) in [(2, 5), (2, 9), (4, 12)] {
            chronicle.sign(TxId { view, seqno });
        }
        assert_eq!(chronicle.views, [(2, 1), (4, 10)]);
    }

    #[test]
    fn what_alternates_for_ever_takes_no_memory() {
        let mut chronicle = Chronicle::from(1);
        (1..=10_000).for_each(|seqno| {
            chronicle.sign(TxId {
                view: 2 + seqno % 2,
                seqno,
            });
        });
        assert_eq!((chronicle.views.len(), chronicle.further_views), (MAX_VIEWS, 5904));
    }
}
