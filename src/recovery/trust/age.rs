//! How old the entries of a ledger are: their types, which only ever get newer.
//!
//! CCF 1.x wrote type 0; 2.0 before its release types 2, 3 and 4; everything since type 4 alone. Format specification,
//! section 2.4.

use serde::{Deserialize, Serialize};

use crate::format::Seqno;
use crate::format::domain::EntryType;
use crate::recovery::scan::TypesSeen;

/// A generation of CCF, by the entries that it wrote: 1.x, 2.0 before its release, everything since.
fn generation(index: usize) -> u8 {
    match index {
        0 => 0,
        2 => 1,
        _ => 2,
    }
}

/// The newest generation that entries have shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds {
    newest: u8,
}

impl Kinds {
    /// What a snapshot with a receipt shows.
    pub(super) fn beyond_first_generation() -> Kinds {
        Kinds { newest: generation(2) }
    }

    /// Whether all entries so far are of type 0.
    pub(super) fn is_first_generation(self) -> bool {
        self.newest == 0
    }

    /// Takes the entries since the last signature; answers those that are out of place, by seqno and offset.
    /// From `only_newest_from` on, where that is known, every entry is of type 4.
    pub(super) fn meet(&mut self, seen: &TypesSeen, only_newest_from: Option<Seqno>) -> Vec<(Seqno, u64, String)> {
        let mut wrong = Vec::new();
        let before = self.newest;
        for (index, span) in seen.spans.iter().enumerate() {
            let Some(span) = span else { continue };
            let own = generation(index);
            let (seqno, offset) = span.last;
            let newer_before = seen
                .spans
                .iter()
                .enumerate()
                .any(|(other, newer)| generation(other) > own && newer.is_some_and(|newer| newer.first.0 < seqno));
            let newest = EntryType::WriteSetWithCommitEvidenceAndClaims as usize;
            if index == EntryType::Snapshot as usize {
                wrong.push((
                    seqno,
                    offset,
                    "an entry of type 1, which stands in snapshots alone".to_owned(),
                ));
            } else if own < before || newer_before {
                wrong.push((
                    seqno,
                    offset,
                    format!("an entry of type {index}, as an older version wrote it, after entries of a newer one"),
                ));
            } else if index != newest && only_newest_from.is_some_and(|from| seqno >= from) {
                wrong.push((
                    seqno,
                    offset,
                    format!("an entry of type {index} in a service whose version writes type 4 alone"),
                ));
            }
            self.newest = self.newest.max(own);
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(types: &[EntryType]) -> TypesSeen {
        let mut seen = TypesSeen::default();
        for (entry_type, seqno) in types.iter().zip(1..) {
            seen.see(*entry_type, seqno, seqno * 100);
        }
        seen
    }

    use EntryType::{
        Snapshot, WriteSet, WriteSetWithClaims, WriteSetWithCommitEvidence, WriteSetWithCommitEvidenceAndClaims,
    };

    #[test]
    fn types_may_get_newer_and_the_two_of_release_candidates_alternate() {
        let mut kinds = Kinds::default();
        assert!(kinds.is_first_generation());
        let types = [
            WriteSet,
            WriteSetWithClaims,
            WriteSetWithCommitEvidence,
            WriteSetWithCommitEvidenceAndClaims,
            WriteSetWithCommitEvidence,
        ];
        assert!(kinds.meet(&seen(&types), None).is_empty());
        assert!(!kinds.is_first_generation());
    }

    #[test]
    fn an_older_type_after_a_newer_one_is_named_at_its_last_place() {
        let types = [WriteSetWithCommitEvidenceAndClaims, WriteSet, WriteSet];
        let wrong = Kinds::default().meet(&seen(&types), None);
        assert_eq!(wrong.len(), 1);
        assert_eq!((wrong[0].0, wrong[0].1), (3, 300));
        let mut kinds = Kinds::default();
        assert!(kinds.meet(&seen(&[WriteSetWithClaims]), None).is_empty());
        assert_eq!(kinds.meet(&seen(&[WriteSet]), None).len(), 1);
        assert_eq!(Kinds::beyond_first_generation().meet(&seen(&[WriteSet]), None).len(), 1);
    }

    #[test]
    fn the_type_of_snapshots_is_out_of_place_anywhere() {
        assert_eq!(Kinds::default().meet(&seen(&[Snapshot]), None).len(), 1);
    }

    #[test]
    fn a_service_that_names_its_creation_writes_the_newest_type_alone() {
        let types = [WriteSetWithCommitEvidence, WriteSetWithCommitEvidenceAndClaims];
        assert!(Kinds::default().meet(&seen(&types), Some(2)).is_empty());
        assert_eq!(Kinds::default().meet(&seen(&types), Some(1)).len(), 1);
    }

    #[test]
    fn what_follows_is_appended() {
        let mut all = seen(&[WriteSet]);
        let mut later = TypesSeen::default();
        later.see(WriteSet, 7, 700);
        later.see(WriteSetWithClaims, 8, 800);
        all.append(&later);
        assert_eq!(all.spans[0].unwrap().first, (1, 100));
        assert_eq!(all.spans[0].unwrap().last, (7, 700));
        assert_eq!(all.spans[2].unwrap().first, (8, 800));
    }
}
