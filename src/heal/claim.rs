//! What a node says that its ledger has.

use std::fmt;

use crate::format::{Seqno, TxId, View};

/// The last signature of a ledger, as its node gossips it. That it is true is the word of attested code; nothing proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Its view; releases before 2026 do not say it.
    pub view: Option<View>,
    /// Its seqno.
    pub seqno: Seqno,
}

impl From<TxId> for Claim {
    fn from(txid: TxId) -> Claim {
        Claim {
            view: Some(txid.view),
            seqno: txid.seqno,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.view {
            Some(view) => write!(f, "{view}.{}", self.seqno),
            None => write!(f, "seqno {}", self.seqno),
        }
    }
}

/// The best of these: the greatest (view, seqno, id); where one of them does not say its view, the greatest (seqno, id)
/// of all, which is what a node of that release chooses.
pub(super) fn best<'a>(claims: impl Iterator<Item = (&'a str, Claim)> + Clone) -> Option<&'a str> {
    let all_say_views = compares_views(claims.clone().map(|(_, claim)| claim));
    let rank = |claim: Claim| (claim.view.filter(|_| all_say_views), claim.seqno);
    let best = claims.max_by_key(|(id, claim)| (rank(*claim), *id));
    best.map(|(id, _)| id)
}

/// Whether these can be compared by views.
pub(super) fn compares_views(mut claims: impl Iterator<Item = Claim>) -> bool {
    claims.all(|claim| claim.view.is_some())
}
