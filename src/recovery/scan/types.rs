//! Which types of entries a stretch of the ledger has, and where.

use serde::{Deserialize, Serialize};

use crate::format::Seqno;
use crate::format::domain::EntryType;

/// First and last entry of one type.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::recovery) struct Span {
    pub(in crate::recovery) first: (Seqno, u64),
    pub(in crate::recovery) last: (Seqno, u64),
}

/// Types of some consecutive entries, with the places where they first and last stand.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct TypesSeen {
    pub(in crate::recovery) spans: [Option<Span>; 5],
}

impl TypesSeen {
    /// Meets an entry at this seqno and offset.
    #[inline]
    pub fn see(&mut self, entry_type: EntryType, seqno: Seqno, offset: u64) {
        if let Some(slot) = self.spans.get_mut(entry_type as usize) {
            match slot {
                Some(span) => span.last = (seqno, offset),
                None => {
                    *slot = Some(Span {
                        first: (seqno, offset),
                        last: (seqno, offset),
                    });
                }
            }
        }
    }

    /// Meets what was seen in the entries that follow.
    pub fn append(&mut self, next: &TypesSeen) {
        for (own, next) in self.spans.iter_mut().zip(next.spans) {
            match (own.as_mut(), next) {
                (Some(own), Some(next)) => own.last = next.last,
                (None, next) => *own = next,
                (Some(_), None) => {}
            }
        }
    }
}
