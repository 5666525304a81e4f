//! The nodes that write the same ledger, as the core keeps them.

use crate::consensus::{Consensus, Sizes};
use crate::format::{Seqno, View};

/// What this node agrees on with others, although there may be none yet.
pub(super) struct Others {
    pub(super) consensus: Consensus,
    /// Sizes of entries in chunks that are completed.
    pub(super) older: Box<dyn Sizes + Send>,
    /// Entries of a frame that are expected: after the first of these, up to the second, all of this view.
    pub(super) expected: Option<(Seqno, Seqno, View)>,
    /// Something was appended that the others have not been sent.
    pub(super) has_news: bool,
}
