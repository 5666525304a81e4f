//! What consensus knows of the ledger: which view each seqno is of, where signatures are, what is durable, what is committed.

use std::collections::VecDeque;

use crate::format::{Seqno, TxId, View};

/// The first seqno of a view that has entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewStart {
    /// The view.
    pub view: View,
    /// Its first seqno.
    pub first: Seqno,
}

/// `committed <= last signature <= last`, `durable <= last`; views rise, with gaps (a recovery adds two).
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// By seqno and by view at once.
    views: Vec<ViewStart>,
    /// After what is committed.
    signatures: VecDeque<Seqno>,
    last: Seqno,
    durable: Seqno,
    committed: Seqno,
}

impl Log {
    pub(super) fn new(views: Vec<ViewStart>, committed: Seqno, last: Seqno, signatures: &[Seqno]) -> Log {
        assert!(committed <= last, "committed up to {committed}, of {last}");
        let rises = views
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.view < b.view && a.first < b.first));
        assert!(rises, "the view history does not rise: {views:?}");
        assert_eq!(
            views.first().map(|start| start.first),
            (last > 0).then_some(1),
            "the view history begins at seqno 1"
        );
        assert!(views.last().is_none_or(|start| start.first <= last));
        Log {
            views,
            signatures: signatures.iter().copied().filter(|seqno| *seqno > committed).collect(),
            last,
            durable: last,
            committed,
        }
    }

    pub(super) fn last(&self) -> Seqno {
        self.last
    }

    pub(super) fn durable(&self) -> Seqno {
        self.durable
    }

    pub(super) fn committed(&self) -> Seqno {
        self.committed
    }

    /// The last signature, or what is committed, which is up to one.
    pub(super) fn last_signed(&self) -> Seqno {
        self.signatures.back().copied().unwrap_or(self.committed)
    }

    /// The view of a seqno: 0 for seqno 0, none after the end.
    pub(super) fn view_at(&self, seqno: Seqno) -> Option<View> {
        (seqno <= self.last).then(|| self.run_of(seqno).map_or(0, |start| start.view))
    }

    fn run_of(&self, seqno: Seqno) -> Option<ViewStart> {
        let after = self.views.partition_point(|start| start.first <= seqno);
        after.checked_sub(1).and_then(|at| self.views.get(at)).copied()
    }

    /// The last seqno that is of the same view as this one.
    pub(super) fn end_of_view(&self, seqno: Seqno) -> Seqno {
        let after = self.views.partition_point(|start| start.first <= seqno);
        self.views.get(after).map_or(self.last, |next| next.first - 1)
    }

    /// The greatest seqno that may be the same here as in a log that ends in `view` at `seqno`: not above that seqno, of a
    /// view not above that view (node-to-node 4 step 3, and 5).
    pub(super) fn latest_match(&self, view: View, seqno: Seqno) -> Seqno {
        let mut seqno = seqno.min(self.last);
        while let Some(start) = self.run_of(seqno)
            && start.view > view
        {
            seqno = start.first - 1;
        }
        seqno
    }

    /// The greatest signature that is not committed and not above a seqno.
    pub(super) fn signature_within(&self, seqno: Seqno) -> Option<Seqno> {
        let after = self.signatures.partition_point(|signature| *signature <= seqno);
        after.checked_sub(1).and_then(|at| self.signatures.get(at)).copied()
    }

    pub(super) fn append(&mut self, txid: TxId, is_signature: bool) {
        assert_eq!(Some(txid.seqno), self.last.checked_add(1), "{txid} does not follow");
        match self.views.last() {
            Some(newest) if newest.view == txid.view => {}
            newest => {
                assert!(newest.is_none_or(|newest| newest.view < txid.view), "{txid} goes back");
                self.views.push(ViewStart {
                    view: txid.view,
                    first: txid.seqno,
                });
            }
        }
        self.last = txid.seqno;
        if is_signature {
            self.signatures.push_back(txid.seqno);
        }
    }

    /// Takes back what is after `to`.
    pub(super) fn roll_back(&mut self, to: Seqno) {
        assert!(
            to >= self.committed,
            "what is committed ({}) would be rolled back to {to}",
            self.committed
        );
        self.last = self.last.min(to);
        self.durable = self.durable.min(to);
        self.views
            .truncate(self.views.partition_point(|start| start.first <= to));
        self.signatures
            .truncate(self.signatures.partition_point(|signature| *signature <= to));
    }

    /// Everything up to this transaction is on the disk. One that was rolled back meanwhile says nothing.
    pub(super) fn synced(&mut self, through: TxId) {
        if self.view_at(through.seqno) == Some(through.view) {
            self.durable = self.durable.max(through.seqno);
        }
    }

    pub(super) fn commit(&mut self, seqno: Seqno) {
        assert!(seqno > self.committed && seqno <= self.last_signed());
        self.committed = seqno;
        self.signatures
            .drain(..self.signatures.partition_point(|signature| *signature <= seqno));
    }
}
