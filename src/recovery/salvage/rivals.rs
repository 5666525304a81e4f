//! What differs from the history that was grown: damage, or another signed history.

use super::growth::Grown;
use super::pool::Pool;
use super::report::LeftOut;
use crate::error::Result;
use crate::report::Findings;
use crate::tables::values::HexDigest;

/// The history that was decided for.
pub struct Settled {
    /// It.
    pub grown: Grown,
    /// Those that were not.
    pub left_out: Vec<LeftOut>,
    /// Whether two contradict each other, and nobody said which to take.
    pub refused: bool,
}

/// Decides.
///
/// # Errors
/// If a file can't be read.
pub fn settle(
    _pool: &mut Pool,
    grown: Grown,
    _prefer: Option<usize>,
    _wanted: Option<HexDigest>,
    _findings: &mut Findings,
) -> Result<Settled> {
    Ok(Settled {
        grown,
        left_out: Vec::new(),
        refused: false,
    })
}
