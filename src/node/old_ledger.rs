//! What is remembered of the ledger that was recovered, until its private part is.

use std::path::PathBuf;

use crate::format::Seqno;
use crate::journal::succession::KnownSecret;
use crate::recovery::fingerprint::Fingerprint;

/// The ledger that was recovered: what its private part needs.
pub struct OldLedger {
    /// The snapshot that was started from.
    pub snapshot: Option<PathBuf>,
    /// The last signature.
    pub last: Seqno,
    /// Of the entries that the public phase verified, if one did.
    pub fingerprint: Option<Fingerprint>,
    /// The last secret before the new service, once the shares gave it.
    pub latest: Option<KnownSecret>,
}
