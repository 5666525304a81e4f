//! The view that a node's last signature transaction claims, which no signature covers.
//!
//! Whoever can write to a copy can cut it after any signature that a node alone made, and date that transaction later: it
//! would outrank every whole copy. But a whole copy holds the same signature, with its view under later signatures.

use super::{Copy, name};
use crate::format::TxId;
use crate::report::{Code, Finding, Verdict};

/// Takes back what copies claim of the view of their last signature, where another copy proves an earlier one.
pub(super) fn take_back(copies: &mut [Copy]) {
    let proven: Vec<Option<(TxId, String)>> = copies.iter().map(|copy| proven_date(copy, copies)).collect();
    for (copy, proven) in copies.iter_mut().zip(proven) {
        let (Some((txid, other)), Some(last)) = (proven, copy.report.history.last_mut()) else {
            continue;
        };
        let text = format!(
            "the last signature transaction says that it is {}, in {other} the same signature is {txid}, and later ones cover that",
            last.txid
        );
        last.txid = txid;
        copy.report.last_signed = Some(txid);
        copy.report
            .findings
            .push(Finding::new(Code::ViewTooHigh, text).seqno(txid.seqno));
        copy.report.verdict = Verdict::of(&copy.report.findings);
    }
}

/// What another copy proves the last signature transaction of this one to be, and that copy, if this one claims a later view.
fn proven_date(copy: &Copy, copies: &[Copy]) -> Option<(TxId, String)> {
    let last = copy.report.history.last()?;
    copies.iter().find_map(|other| {
        let history = &other.report.history;
        let covered = history.get(..history.len().checked_sub(1)?)?;
        let at = covered.partition_point(|signed| signed.txid.seqno < last.txid.seqno);
        let same = covered.get(at)?;
        let is_same = (same.txid.seqno, same.root, same.signer) == (last.txid.seqno, last.root, last.signer);
        (is_same && last.signer.is_some() && same.txid.view < last.txid.view).then(|| (same.txid, name(other)))
    })
}
