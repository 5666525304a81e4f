//! Two signed histories that differ: does one supersede the other, or do they contradict each other?
//!
//! What CCF's consensus allows (recovery specification, end of section 9): a primary that is cut off signs on; the others
//! elect a new one, which drops what they don't have and begins a higher view. So two copies may differ from one
//! seqno on, each signed, if nothing in either suffix was committed before the other's view began. It never lets two
//! primaries sign in one view, nor a primary begin without what was committed, and nobody recovers one service twice.

use std::collections::BTreeSet;

use crate::format::{Seqno, TxId, View};
use crate::recovery::commits::Commit;
use crate::tables::values::HexDigest;

/// What one copy holds from the first entry on that the other has not.
#[derive(Clone, Debug, Default)]
pub(in crate::recovery) struct Suffix {
    /// View of the first entry in it; none if that can't be read.
    pub(in crate::recovery) begins: Option<View>,
    /// Proven signatures in it, in order. The first covers the first entry, unless it is that entry.
    pub(in crate::recovery) signed: Vec<TxId>,
    /// Everything that this copy proves to be committed, from the start on.
    pub(in crate::recovery) commits: Vec<Commit>,
    /// The first service identity that appears in it under a signature.
    pub(in crate::recovery) service: Option<HexDigest>,
}

impl Suffix {
    /// Whether a signature covers the first entry.
    fn is_covered(&self, at: Seqno) -> bool {
        self.signed.last().is_some_and(|last| last.seqno > at)
    }

    /// The views that are signed: of signatures, and of the first entry where one covers it.
    fn views(&self, at: Seqno) -> BTreeSet<View> {
        let first = self.begins.filter(|_| self.is_covered(at));
        self.signed.iter().map(|txid| txid.view).chain(first).collect()
    }

    /// The view of its last signature; 0 if there is none.
    pub(in crate::recovery) fn last_view(&self) -> View {
        self.signed.last().map_or(0, |last| last.view)
    }
}

/// How two suffixes stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::recovery) enum Contest {
    /// At most one of them is signed.
    Unsigned,
    /// The one with the lower last view gave way to the other.
    Superseded,
    /// They contradict each other; why, in words.
    Fork(String),
}

/// Decides between the suffixes of two copies, which differ from seqno `at` on.
pub(in crate::recovery) fn decide(at: Seqno, a: (&str, &Suffix), b: (&str, &Suffix)) -> Contest {
    let ((a_name, a), (b_name, b)) = (a, b);
    if a.signed.is_empty() || b.signed.is_empty() {
        return Contest::Unsigned;
    }
    // Two different bytes of one signature transaction that nothing covers: no primary signs its own place twice.
    if a.begins == b.begins && !(a.is_covered(at) && b.is_covered(at)) {
        return Contest::Unsigned;
    }
    if let (Some(one), Some(other)) = (a.service, b.service)
        && one != other
    {
        return Contest::Fork(format!(
            "two services were recovered from one: {} in {a_name}, {} in {b_name}",
            hex::encode(one.0),
            hex::encode(other.0)
        ));
    }
    if let Some(view) = a.views(at).intersection(&b.views(at)).next() {
        return Contest::Fork(format!("both are signed in view {view}, which has one primary"));
    }
    for (name, one, other) in [(a_name, a, b), (b_name, b, a)] {
        let later = |commit: &&Commit| commit.seqno >= at && other.last_view() > commit.by;
        if let Some(commit) = one.commits.iter().find(later) {
            let view = other.views(at).into_iter().find(|view| *view > commit.by).unwrap_or(0);
            return Contest::Fork(format!(
                "view {view} was begun without seqno {at}, but everything up to {} is committed in {name}: {}",
                commit.seqno, commit.proof
            ));
        }
    }
    Contest::Superseded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Differences begin at seqno 602.
    const AT: Seqno = 602;

    fn suffix(begins: View, signed: &[(View, Seqno)]) -> Suffix {
        Suffix {
            begins: Some(begins),
            signed: signed.iter().map(|&(view, seqno)| TxId { view, seqno }).collect(),
            ..Suffix::default()
        }
    }

    fn committed(mut suffix: Suffix, seqno: Seqno, by: View) -> Suffix {
        suffix.commits.push(Commit {
            seqno,
            by,
            proof: "it is known".to_owned(),
        });
        suffix
    }

    #[track_caller]
    fn decided(a: &Suffix, b: &Suffix) -> Contest {
        let there = decide(AT, ("a", a), ("b", b));
        let back = decide(AT, ("b", b), ("a", a));
        assert_eq!(
            std::mem::discriminant(&there),
            std::mem::discriminant(&back),
            "{there:?} {back:?}"
        );
        there
    }

    fn is_fork(contest: &Contest, words: &str) -> bool {
        matches!(contest, Contest::Fork(why) if why.contains(words))
    }

    #[test]
    fn the_tail_of_a_killed_primary_is_superseded_by_the_view_that_follows() {
        let killed = suffix(4, &[(4, 603)]);
        assert_eq!(decided(&killed, &suffix(5, &[(5, 602)])), Contest::Superseded);
        // Its last transaction may be nothing but a signature, over the same root that the new primary signs first.
        assert_eq!(
            decided(&suffix(4, &[(4, 602)]), &suffix(5, &[(5, 602)])),
            Contest::Superseded
        );
        let longer = suffix(4, &[(4, 603), (4, 650)]);
        assert_eq!(
            decided(&longer, &suffix(5, &[(5, 602), (5, 610)])),
            Contest::Superseded,
            "length does not count"
        );
    }

    #[test]
    fn a_lower_view_may_win_an_election_later() {
        // Nobody but its primary had view 5; view 7 goes on from view 4.
        let first = suffix(4, &[(4, 605), (7, 606)]);
        let lost = suffix(5, &[(5, 602), (5, 608)]);
        assert_eq!(decided(&first, &lost), Contest::Superseded);
        assert_eq!(
            decided(&committed(first.clone(), 605, 7), &lost),
            Contest::Superseded,
            "the commit may be of view 7"
        );
        let fork = decided(&committed(first, 605, 4), &lost);
        assert!(is_fork(&fork, "view 5 was begun without seqno 602"), "{fork:?}");
    }

    #[test]
    fn one_view_is_signed_by_one_primary() {
        let fork = decided(&suffix(4, &[(4, 603)]), &suffix(4, &[(4, 610)]));
        assert!(is_fork(&fork, "view 4"), "{fork:?}");
        let fork = decided(&suffix(4, &[(4, 603), (5, 604)]), &suffix(5, &[(5, 602)]));
        assert!(is_fork(&fork, "view 5"), "{fork:?}");
    }

    #[test]
    fn a_view_begins_with_everything_that_was_committed_before() {
        let lower = suffix(4, &[(4, 603), (4, 605)]);
        let higher = suffix(5, &[(5, 602)]);
        for below in [601, 500] {
            let lower = committed(lower.clone(), below, 4);
            assert_eq!(decided(&lower, &higher), Contest::Superseded);
        }
        let fork = decided(&committed(lower.clone(), 603, 4), &higher);
        assert!(is_fork(&fork, "up to 603 is committed in"), "{fork:?}");
        let higher = committed(higher, 602, 5);
        assert_eq!(decided(&lower, &higher), Contest::Superseded, "the higher view's own");
    }

    #[test]
    fn one_service_is_recovered_once() {
        let recovered = |id: u8, view: View| {
            let mut suffix = suffix(view, &[(view, 610)]);
            suffix.service = Some(HexDigest([id; 32]));
            suffix
        };
        let fork = decided(&recovered(1, 6), &recovered(2, 7));
        assert!(is_fork(&fork, "two services"), "{fork:?}");
        // One recovery, and what the old service's nodes had beyond it.
        assert_eq!(decided(&recovered(1, 6), &suffix(4, &[(4, 620)])), Contest::Superseded);
    }

    #[test]
    fn what_nobody_signed_contradicts_nothing() {
        let signed = suffix(4, &[(4, 610)]);
        assert_eq!(decided(&signed, &suffix(4, &[])), Contest::Unsigned);
        assert_eq!(decided(&signed, &suffix(5, &[])), Contest::Unsigned);
        // Bytes of a last signature that nothing covers.
        assert_eq!(decided(&suffix(4, &[(4, 602)]), &signed), Contest::Unsigned);
    }
}
