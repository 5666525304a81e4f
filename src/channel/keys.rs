//! The two keys of a channel and their counters. Node-to-node specification, sections 2 and 3.

use super::dropped::Dropped;
use super::handshake::{SALT_BYTES, Share};
use super::id::NodeId;
use super::message::{Envelope, IV_BYTES, TAG_BYTES};
use crate::crypto::{EphemeralKey, Error, ShortIvKey, hkdf_sha256_salted};
use zeroize::Zeroizing;

/// What both sides of a handshake have agreed on, wiped on drop.
pub struct Agreed {
    secret: Zeroizing<[u8; 48]>,
    salt: [u8; SALT_BYTES],
}

impl Agreed {
    /// Agrees: with the own private half, the peer's share, and the salt of the init that counts.
    ///
    /// # Errors
    /// [`Dropped::Point`].
    pub fn new(own: &EphemeralKey, peer: &Share, salt: &[u8; SALT_BYTES]) -> Result<Self, Dropped> {
        let secret = own.agree(peer.point()).map_err(|_| Dropped::Point)?;
        Ok(Agreed { secret, salt: *salt })
    }

    /// The key for what `from` says to `to`.
    pub fn key(&self, from: &NodeId, to: &NodeId) -> Zeroizing<[u8; 32]> {
        let info = [from.digits(), to.digits()].concat();
        hkdf_sha256_salted(&self.salt, self.secret.as_slice(), &info)
    }
}

/// Seals what is sent: the counter of the first message is 1.
pub struct SendKey {
    /// Where it stays: a key that is moved leaves copies.
    key: Box<ShortIvKey>,
    sent: u64,
}

impl SendKey {
    /// Nothing is sealed yet.
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            key: Box::new(ShortIvKey::new(key)),
            sent: 0,
        }
    }

    /// Messages sealed: the last one's counter.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What goes between header and entries: tag, IV, ciphertext.
    ///
    /// # Errors
    /// [`Error::EncryptionFailed`] where the plaintext is too long for GCM, or all counters are used up.
    pub fn seal(&mut self, header: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let counter = self.sent + 1;
        let iv = iv(counter).ok_or(Error::EncryptionFailed)?;
        let mut out = Vec::with_capacity(TAG_BYTES + IV_BYTES + plaintext.len());
        out.extend([0; TAG_BYTES]);
        out.extend(iv);
        let tag = self.key.seal(&iv, header, plaintext, &mut out)?;
        if let Some(room) = out.first_chunk_mut() {
            *room = tag;
        }
        self.sent = counter;
        Ok(out)
    }
}

/// Opens what is received: each counter must be greater than that of the last good message.
pub struct ReceiveKey {
    key: Box<ShortIvKey>,
    last: u64,
}

impl ReceiveKey {
    /// Nothing was received yet.
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            key: Box::new(ShortIvKey::new(key)),
            last: 0,
        }
    }

    /// The last good message's counter.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The plaintext of a message, whose `ciphertext` is given because that of a consensus message is empty.
    ///
    /// The tag is checked first: a message of the peer's that comes again is something else than one under another key.
    ///
    /// # Errors
    /// [`Dropped::Iv`], [`Dropped::Tag`], [`Dropped::Replayed`]; the last good counter stays.
    pub fn open(&mut self, envelope: &Envelope<'_>, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Dropped> {
        let [first, counter @ ..] = *envelope.iv;
        if first != 0 {
            return Err(Dropped::Iv { found: first });
        }
        let [a, b, c, d, e, f, g] = counter;
        let counter = u64::from_le_bytes([a, b, c, d, e, f, g, 0]);
        let opened = self.key.open(envelope.iv, envelope.header, envelope.tag, ciphertext);
        let plaintext = opened.map_err(|_| Dropped::Tag)?;
        if counter <= self.last {
            return Err(Dropped::Replayed {
                found: counter,
                last: self.last,
            });
        }
        self.last = counter;
        Ok(plaintext)
    }
}

/// A zero byte and seven of the counter; `None` where it needs eight.
fn iv(counter: u64) -> Option<[u8; IV_BYTES]> {
    let [a, b, c, d, e, f, g, 0] = counter.to_le_bytes() else {
        return None;
    };
    Some([0, a, b, c, d, e, f, g])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(header: &[u8], sealed: &[u8]) -> Vec<u8> {
        [header, sealed].concat()
    }

    fn split(payload: &[u8], header: usize) -> Envelope<'_> {
        Envelope {
            header: &payload[..header],
            tag: payload[header..header + 16].try_into().unwrap(),
            iv: payload[header + 16..header + 24].try_into().unwrap(),
            rest: &payload[header + 24..],
        }
    }

    #[test]
    fn counters_start_at_one_and_stand_after_a_zero_byte() {
        let mut send = SendKey::new(&[1; 32]);
        let first = send.seal(b"header", b"").unwrap();
        let second = send.seal(b"header", b"").unwrap();
        assert_eq!(
            (&first[16..], &second[16..]),
            (&[0, 1, 0, 0, 0, 0, 0, 0][..], &[0, 2, 0, 0, 0, 0, 0, 0][..])
        );
        assert_ne!(first[..16], second[..16]);
        assert_eq!(send.sent(), 2);
    }

    #[test]
    fn the_last_counter_is_used_and_none_comes_after_it() {
        let mut send = SendKey::new(&[1; 32]);
        send.sent = (1 << 56) - 2;
        assert_eq!(
            send.seal(b"", b"").unwrap()[16..],
            [0, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(send.seal(b"", b""), Err(Error::EncryptionFailed));
        assert_eq!(send.sent(), (1 << 56) - 1);
    }

    #[test]
    fn counters_must_grow_but_may_skip() {
        let (mut send, mut receive) = (SendKey::new(&[1; 32]), ReceiveKey::new(&[1; 32]));
        let sealed: Vec<_> = (0..5)
            .map(|_| payload(b"h", &send.seal(b"h", b"text").unwrap()))
            .collect();
        let mut open = |i: usize| {
            let envelope = split(&sealed[i], 1);
            receive.open(&envelope, envelope.rest).map(|text| text.to_vec())
        };
        assert_eq!(open(0), Ok(b"text".to_vec()));
        assert_eq!(open(3), Ok(b"text".to_vec()));
        assert_eq!(open(3), Err(Dropped::Replayed { found: 4, last: 4 }));
        assert_eq!(open(1), Err(Dropped::Replayed { found: 2, last: 4 }));
        assert_eq!(open(4), Ok(b"text".to_vec()));
    }

    #[test]
    fn what_does_not_verify_moves_no_counter() {
        let (mut send, mut receive) = (SendKey::new(&[1; 32]), ReceiveKey::new(&[1; 32]));
        let good = payload(b"h", &send.seal(b"h", b"").unwrap());
        let mut altered = good.clone();
        altered[18] = 200;
        assert_eq!(receive.open(&split(&altered, 1), b""), Err(Dropped::Tag));
        altered[17] = 1;
        assert_eq!(receive.open(&split(&altered, 1), b""), Err(Dropped::Iv { found: 1 }));
        assert_eq!(receive.last(), 0);
        assert!(receive.open(&split(&good, 1), b"").is_ok());
    }
}
