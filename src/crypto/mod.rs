//! The lowest layer: every cryptographic operation of Rekindle, and nothing else.
//!
//! Invariants: input is hostile, so nothing here panics or allocates more than a small multiple of what it
//! was given; secrets are wiped on drop, have no `Debug` and never appear in an [`Error`]; everything that
//! signs, splits or generates is a function of its inputs and its random number generator alone. Only [`random`] and
//! [`rsa::KeyPairInTheMaking`] ask the system.
//!
//! Two providers do AES-256-GCM, ECDSA and RSA verification and RSA-OAEP decryption: aws-lc-rs (feature `aws-lc`)
//! and RustCrypto (feature `pure`, which wins when both are on). Everything else is the same code in both.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

#[cfg(not(any(feature = "aws-lc", feature = "pure")))]
compile_error!("choose a crypto provider: feature `aws-lc` (default) or feature `pure`");

pub mod aead;
mod any_key;
pub mod cose;
mod curve;
pub mod digest;
pub mod ecdh;
pub mod ecdsa;
mod error;
pub mod kdf;
mod lanes;
#[cfg(feature = "remember-verified")]
mod memo;
mod pem;
pub mod process;
pub mod random;
pub mod rsa;
mod sha256;
pub mod shares;
pub mod short_iv;
pub mod stream;
pub mod x509;

// The tests compile the other provider too, to compare the two; they do not use all of it.
#[cfg(all(feature = "aws-lc", any(test, not(feature = "pure"))))]
#[cfg_attr(feature = "pure", allow(dead_code))]
mod aws_lc;
#[cfg(any(feature = "pure", test))]
#[cfg_attr(not(feature = "pure"), allow(dead_code))]
mod pure;

#[cfg(all(feature = "aws-lc", not(feature = "pure")))]
use aws_lc as provider;
#[cfg(feature = "pure")]
use pure as provider;

pub use aead::{AeadKey, GcmBlob, seal_blob};
pub use any_key::{AnyKey, Encoding, Scheme, ec_key_of_point};
pub use digest::{Digest, Sha256Stream, sha256, sha256_many, sha256_pair, sha256_pairs, sha256_parts, sha256_three};
pub use ecdh::EphemeralKey;
pub use ecdsa::{Curve, HashAlgorithm, SigningKey, VerifyingKey};
pub use error::Error;
pub use kdf::{CommitSecret, hkdf_sha256, hkdf_sha256_salted, hmac_sha256};
pub use shares::{LedgerSecret, Share, ShareFormat, WrappingKey};
pub use short_iv::ShortIvKey;
pub use stream::SealStream;
pub use x509::Certificate;

#[cfg(test)]
mod real_data;
#[cfg(test)]
pub(crate) mod testing;
