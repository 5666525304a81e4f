//! Random numbers of the system, for whoever makes keys, serial numbers and signatures.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use super::error::Error;

/// A generator seeded by the system.
///
/// # Errors
/// [`Error::NoRandomness`].
pub fn system_rng() -> Result<ChaCha20Rng, Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|why| Error::NoRandomness { why: why.to_string() })?;
    Ok(ChaCha20Rng::from_seed(*seed))
}
