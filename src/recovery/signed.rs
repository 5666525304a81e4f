//! What is remembered of a signature transaction: that it is proven, or that nothing covers it yet.

use crate::format::{Seqno, TxId};
use crate::tables::values::HexDigest;

/// A signature that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignedRoot {
    /// The signature transaction.
    pub txid: TxId,
    /// The root it signs.
    pub root: HexDigest,
    /// The node that signed, if one did.
    pub signer: Option<HexDigest>,
    /// Identity of the service that stands behind it, by its own signature or because it endorsed the node's
    /// certificate; none where nothing ties the node to the service, as in 1.x.
    #[serde(default)]
    pub service: Option<HexDigest>,
}

/// What must be remembered of a signature transaction until the next one covers it.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct LastSignature {
    /// Its seqno.
    pub seqno: Seqno,
    /// Which chunk of the ledger.
    pub chunk_index: usize,
    /// Offset of its entry.
    pub offset: u64,
    /// The root of all entries before it, where that is known.
    pub root: Option<HexDigest>,
    /// Whether its tree is known to be wrong, or was computed, already.
    pub tree_is_judged: bool,
}
