//! Outcomes of verifications, remembered. Only for the exhaustive test of single faults (feature `remember-verified`),
//! which verifies the same sixteen signatures a million times; a verification is a function of its inputs alone.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::digest::{Digest, sha256_parts};

/// Outcomes kept; then all are forgotten.
const KEPT: usize = 1 << 16;

static OUTCOMES: LazyLock<Mutex<HashMap<Digest, bool>>> = LazyLock::new(Mutex::default);

/// What `verify` answers for these inputs, asked once. Only the last input may have any length: the ones before fix theirs.
pub(super) fn remember(inputs: &[&[u8]], verify: impl FnOnce() -> bool) -> bool {
    let id = sha256_parts(inputs);
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&known) = outcomes.get(&id) {
        return known;
    }
    drop(outcomes);
    let outcome = verify();
    outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    if outcomes.len() >= KEPT {
        outcomes.clear();
    }
    outcomes.insert(id, outcome);
    outcome
}
