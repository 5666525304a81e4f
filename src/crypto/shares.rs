//! Recovery shares, the key they hold, and the ledger secrets that key unwraps.
//!
//! Two formats (recovery specification, sections 5.3 and 5.4): 44 bytes, Shamir modulo 2^31 − 1 (CCF 4.0.9
//! and later), and 113 bytes, Shamir in GF(2^8) around a secretbox (before). Shares carry no check of their
//! own: a wrong one of the new format shows only when unwrapping fails. Arithmetic on secrets takes no
//! branch and no table index that depends on them.

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::aead::{AeadKey, GcmBlob, seal_blob};
use super::digest::{Digest, sha256};
use super::error::Error;
use super::kdf::{CommitSecret, hkdf_sha256};

mod field;
mod secretbox;

use field::{GaloisField, MersenneField};

/// Number of polynomials of the new format.
const LIMBS: usize = 10;
/// More than any service has members, and few enough that splitting (`threshold` · `n` steps) is instant.
const MAX_SHARES: usize = 1024;

/// A decrypted recovery share.
#[derive(Zeroize, ZeroizeOnDrop)]
#[allow(missing_docs)] // The fields are drawn in the variants' comments.
pub enum Share {
    /// 44 bytes: `x` (u32 LE), then 10 values `y` (u32 LE) modulo 2^31 − 1. With `x` = 0, `y` is the secret
    /// itself: the full key of a recovery owner.
    New { x: u32, y: [u32; LIMBS] },
    /// 113 bytes: `x` (u8), `y` (32 bytes in GF(2^8)), then a secretbox of 80 bytes, the same in all shares.
    Old { x: u8, y: [u8; 32], sealed: [u8; 80] },
}

/// The kinds of share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareFormat {
    /// 44 bytes, one of several.
    New,
    /// 113 bytes, one of several.
    Old,
    /// 44 bytes, the full key.
    Owner,
}

impl Share {
    /// Reads a decrypted share; its length tells the format.
    ///
    /// # Errors
    /// [`Error::ShareLength`].
    pub fn parse(bytes: &[u8]) -> Result<Share, Error> {
        let wrong = Error::ShareLength { found: bytes.len() };
        match bytes.len() {
            44 => {
                let (words, _) = bytes.as_chunks::<4>();
                let (x, limbs) = words.split_first().ok_or(wrong)?;
                let mut y = [0; LIMBS];
                for (limb, word) in y.iter_mut().zip(limbs) {
                    *limb = u32::from_le_bytes(*word);
                }
                Ok(Share::New {
                    x: u32::from_le_bytes(*x),
                    y,
                })
            }
            113 => {
                let (&x, rest) = bytes.split_first().ok_or(wrong.clone())?;
                let (y, sealed) = rest.split_first_chunk::<32>().ok_or(wrong.clone())?;
                Ok(Share::Old {
                    x,
                    y: *y,
                    sealed: sealed.try_into().map_err(|_| wrong)?,
                })
            }
            _ => Err(wrong),
        }
    }

    /// Which kind of share this is.
    pub fn format(&self) -> ShareFormat {
        match self {
            Share::New { x: 0, .. } => ShareFormat::Owner,
            Share::New { .. } => ShareFormat::New,
            Share::Old { .. } => ShareFormat::Old,
        }
    }

    /// The index `x`: 1 and up, or 0 for an owner's full key.
    pub fn index(&self) -> u32 {
        match self {
            Share::New { x, .. } => *x,
            Share::Old { x, .. } => u32::from(*x),
        }
    }

    /// The share as it was parsed, wiped on drop.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(113));
        match self {
            Share::New { x, y } => {
                bytes.extend(x.to_le_bytes());
                bytes.extend(y.iter().flat_map(|limb| limb.to_le_bytes()));
            }
            Share::Old { x, y, sealed } => {
                bytes.push(*x);
                bytes.extend(y);
                bytes.extend(sealed);
            }
        }
        bytes
    }
}

/// The key that `shares` hold together: exactly the first `threshold` of them are used, in the given order.
/// An owner's full key, wherever it stands, is enough alone.
///
/// # Errors
/// [`Error::InvalidThreshold`] for 0; [`Error::InsufficientShares`]; [`Error::MixedShares`];
/// [`Error::DuplicateShare`]; [`Error::ShareBoxFailed`] (old format only: in the new one a wrong share shows
/// when [`WrappingKey::unwrap_secret`] fails).
pub fn combine(shares: &[&Share], threshold: usize) -> Result<WrappingKey, Error> {
    for share in shares {
        if let Share::New { x: 0, y } = share {
            return Ok(WrappingKey::from_limbs(y));
        }
    }
    if threshold == 0 {
        return Err(Error::InvalidThreshold {
            threshold,
            shares: shares.len(),
        });
    }
    let used = shares.get(..threshold).ok_or(Error::InsufficientShares {
        found: shares.len(),
        needed: threshold,
    })?;
    for (position, share) in used.iter().enumerate() {
        if used.iter().skip(position + 1).any(|other| same_index(share, other)) {
            return Err(Error::DuplicateShare { index: share.index() });
        }
    }
    match used.first() {
        Some(Share::New { .. }) => {
            let points = new_points(used).ok_or(Error::MixedShares)?;
            let limbs = Zeroizing::new(field::interpolate::<MersenneField, LIMBS>(&points, 0));
            Ok(WrappingKey::from_limbs(&limbs))
        }
        Some(Share::Old { sealed, .. }) => {
            let points = old_points(used).ok_or(Error::MixedShares)?;
            let key = Zeroizing::new(field::interpolate::<GaloisField, 32>(&points, 0));
            let message = secretbox::open(&key, sealed).ok_or(Error::ShareBoxFailed)?;
            // The other 32 bytes are whatever was in memory (recovery specification, section 5.4).
            let key = message.first_chunk().ok_or(Error::ShareBoxFailed)?;
            Ok(WrappingKey(Zeroizing::new(*key)))
        }
        None => Err(Error::InsufficientShares {
            found: 0,
            needed: threshold,
        }),
    }
}

/// Makes `n` shares (`x` = 1 … n) of the new format, of which any `threshold` give back the key; and the full
/// key as a share for recovery owners (`x` = 0).
///
/// # Errors
/// [`Error::InvalidThreshold`] unless 1 ≤ `threshold` ≤ `n` ≤ 1024.
pub fn split(threshold: usize, n: usize, rng: &mut impl CryptoRng) -> Result<(WrappingKey, Vec<Share>, Share), Error> {
    if threshold == 0 || threshold > n || n > MAX_SHARES {
        return Err(Error::InvalidThreshold { threshold, shares: n });
    }
    let polynomials: Zeroizing<Vec<[u32; LIMBS]>> = Zeroizing::new(
        (0..threshold)
            .map(|_| std::array::from_fn(|_| random_element(rng)))
            .collect(),
    );
    let at = |x: u32| {
        let mut y = [0; LIMBS];
        for (limb, value) in y.iter_mut().enumerate() {
            // Horner's rule, from the highest coefficient down.
            for coefficients in polynomials.iter().rev() {
                let coefficient = coefficients.get(limb).copied().unwrap_or_default();
                *value = MersenneField::multiply_add(*value, x, coefficient);
            }
        }
        Share::New { x, y }
    };
    // n is at most 1024.
    let shares = (1..=n as u32).map(at).collect();
    let owner = at(0);
    let key = combine(&[&owner], 1)?;
    Ok((key, shares, owner))
}

/// Whether `other` lies on the polynomials through `shares_that_work`: the shares, as many as the threshold,
/// that opened the secret. So a wrong or outdated share can be told from a right one once the others worked.
///
/// False where formats differ, and where two of the good shares have the same index.
pub fn is_consistent(shares_that_work: &[&Share], other: &Share) -> bool {
    for (position, share) in shares_that_work.iter().enumerate() {
        if shares_that_work
            .iter()
            .skip(position + 1)
            .any(|next| same_index(share, next))
        {
            return false;
        }
    }
    match (shares_that_work.first(), other) {
        (Some(Share::New { .. }), Share::New { x, y }) => {
            let expected =
                new_points(shares_that_work).map(|points| field::interpolate::<MersenneField, LIMBS>(&points, *x));
            expected == Some(y.map(MersenneField::reduce))
        }
        (Some(Share::Old { sealed: good, .. }), Share::Old { x, y, sealed }) => {
            let expected =
                old_points(shares_that_work).map(|points| field::interpolate::<GaloisField, 32>(&points, *x));
            good == sealed && expected == Some(*y)
        }
        _ => false,
    }
}

/// Indices modulo the prime, so that no two shares can make interpolation divide by zero.
fn same_index(a: &Share, b: &Share) -> bool {
    match (a, b) {
        (Share::New { x: a, .. }, Share::New { x: b, .. }) => MersenneField::reduce(*a) == MersenneField::reduce(*b),
        (Share::Old { x: a, .. }, Share::Old { x: b, .. }) => a == b,
        _ => false,
    }
}

/// The points of new-format shares; `None` if one is of the old.
fn new_points<'a>(shares: &[&'a Share]) -> Option<Vec<(u32, &'a [u32; LIMBS])>> {
    shares
        .iter()
        .map(|share| match share {
            Share::New { x, y } => Some((*x, y)),
            Share::Old { .. } => None,
        })
        .collect()
}

/// The points of old-format shares; `None` if one is of the new.
fn old_points<'a>(shares: &[&'a Share]) -> Option<Vec<(u8, &'a [u8; 32])>> {
    shares
        .iter()
        .map(|share| match share {
            Share::Old { x, y, .. } => Some((*x, y)),
            Share::New { .. } => None,
        })
        .collect()
}

/// Uniform modulo 2^31 − 1, by rejection.
fn random_element(rng: &mut impl CryptoRng) -> u32 {
    loop {
        let candidate = rng.next_u32() >> 1;
        if candidate != MersenneField::PRIME {
            return candidate;
        }
    }
}

/// The key that the shares hold; it wraps the latest ledger secret.
pub struct WrappingKey(Zeroizing<[u8; 32]>);

impl WrappingKey {
    /// HKDF with the 40 bytes of the limbs as both input key and info (format specification, section 8.3).
    fn from_limbs(limbs: &[u32; LIMBS]) -> Self {
        let mut bytes = Zeroizing::new([0; 4 * LIMBS]);
        for (bytes, limb) in bytes.chunks_exact_mut(4).zip(limbs) {
            bytes.copy_from_slice(&MersenneField::reduce(*limb).to_le_bytes());
        }
        WrappingKey(hkdf_sha256(bytes.as_slice(), bytes.as_slice()))
    }

    /// Opens `wrapped_latest_ledger_secret`: a blob of 60 bytes.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] where a share was wrong (or the blob belongs to other shares);
    /// [`Error::BlobTooShort`]; [`Error::SecretLength`].
    pub fn unwrap_secret(&self, wrapped: &[u8]) -> Result<LedgerSecret, Error> {
        LedgerSecret::open(&AeadKey::new(&self.0), wrapped)
    }

    /// Wraps `secret` as CCF does, with an IV of zeros: a wrapping key is used once.
    pub fn wrap_secret(&self, secret: &LedgerSecret) -> Vec<u8> {
        seal_32_bytes(&AeadKey::new(&self.0), secret, [0; 12])
    }
}

/// The AES-256 key of the private part of the ledger from some seqno on.
#[derive(Clone)]
pub struct LedgerSecret(Zeroizing<[u8; 32]>);

impl LedgerSecret {
    /// A new secret.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        LedgerSecret(bytes)
    }

    /// A known secret.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        LedgerSecret(Zeroizing::new(bytes))
    }

    /// The raw bytes: for [`crate::crypto`] and for writing to a file the operator asked for, never for logs.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The expanded key for ledger entries and snapshots.
    pub fn aead(&self) -> AeadKey {
        AeadKey::new(&self.0)
    }

    /// The commit secret derived from this secret.
    pub fn commit_secret(&self) -> CommitSecret {
        CommitSecret::new(&self.0)
    }

    /// SHA-256 of the secret: tells in tests and known results whether the right secret came out. It helps
    /// nobody to decrypt anything, but do not publish it for a live service.
    pub fn fingerprint(&self) -> Digest {
        sha256(self.0.as_slice())
    }

    /// Encrypts the `other` (as a rule the previous) secret under this one: a blob of 60 bytes.
    pub fn seal(&self, other: &LedgerSecret, iv: [u8; 12]) -> Vec<u8> {
        seal_32_bytes(&self.aead(), other, iv)
    }

    /// Opens what [`LedgerSecret::seal`] made.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`], [`Error::BlobTooShort`] or [`Error::SecretLength`].
    pub fn unseal(&self, blob: &[u8]) -> Result<LedgerSecret, Error> {
        Self::open(&self.aead(), blob)
    }

    fn open(key: &AeadKey, blob: &[u8]) -> Result<LedgerSecret, Error> {
        let plaintext = GcmBlob::parse(blob)?.open(key)?;
        let bytes = plaintext.as_slice().try_into();
        bytes
            .map(Self::from_bytes)
            .map_err(|_| Error::SecretLength { found: plaintext.len() })
    }
}

#[allow(clippy::expect_used)] // 32 bytes are far below the limit of GCM.
fn seal_32_bytes(key: &AeadKey, secret: &LedgerSecret, iv: [u8; 12]) -> Vec<u8> {
    seal_blob(key, &iv, secret.as_bytes()).expect("GCM encrypts 32 bytes")
}

#[cfg(test)]
mod tests;
