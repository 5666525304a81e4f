//! NaCl `crypto_secretbox` with a nonce of zeros: what holds the key inside old-format shares.
//!
//! XSalsa20 encrypts, its first 32 bytes of key stream key Poly1305 over the ciphertext. Only reading is
//! needed; the tests have the other direction.

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

/// Opens `tag(16) ‖ ciphertext(64)`; `None` if the tag does not match.
pub(super) fn open(key: &[u8; 32], sealed: &[u8; 80]) -> Option<Zeroizing<[u8; 64]>> {
    let (tag, ciphertext) = sealed.split_first_chunk::<16>()?;
    let (mut cipher, mac) = start(key);
    let expected = mac.compute_unpadded(ciphertext);
    // Compared without an early end, though the one who could measure it holds the share.
    let difference = expected.iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
    if difference != 0 {
        return None;
    }
    let mut message = Zeroizing::new(<[u8; 64]>::try_from(ciphertext).ok()?);
    cipher.apply_keystream(message.as_mut_slice());
    Some(message)
}

/// The cipher, past its first 32 bytes of key stream, and the authenticator that those key.
fn start(key: &[u8; 32]) -> (XSalsa20, Poly1305) {
    let mut cipher = XSalsa20::new(key.into(), &[0; 24].into());
    let mut mac_key = Zeroizing::new([0; 32]);
    cipher.apply_keystream(mac_key.as_mut_slice());
    let mac = Poly1305::new((&*mac_key).into());
    (cipher, mac)
}

/// Makes what [`open`] opens.
#[cfg(test)]
pub(super) fn seal(key: &[u8; 32], message: &[u8; 64]) -> [u8; 80] {
    let (mut cipher, mac) = start(key);
    let mut ciphertext = *message;
    cipher.apply_keystream(&mut ciphertext);
    let mut sealed = [0; 80];
    sealed[..16].copy_from_slice(&mac.compute_unpadded(&ciphertext));
    sealed[16..].copy_from_slice(&ciphertext);
    sealed
}
