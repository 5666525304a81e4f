//! Random numbers of the system, for whoever makes keys, serial numbers and signatures.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
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

/// A certificate's serial number: positive, and with no leading zero byte, so 16 bytes in DER whatever the numbers.
pub fn serial(rng: &mut impl Rng) -> [u8; 16] {
    let mut serial = [0; 16];
    rng.fill_bytes(&mut serial);
    let [first, ..] = &mut serial;
    *first = *first & 0x3f | 0x40;
    serial
}
