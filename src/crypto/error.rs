//! What can go wrong in cryptography, in words for the person who has to recover a service.
//!
//! An error never carries a secret, a plaintext or key bytes: only lengths, labels and public names.

use super::curve::Curve;

/// Any failure of this layer. Callers add which file, seqno or member it was about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An AES-256-GCM tag did not match.
    #[error("decryption failed: the key is not the one this was encrypted with, or the bytes were altered")]
    AuthenticationFailed,
    /// AES-GCM refused to encrypt (more than about 64 GiB at once).
    #[error("encryption failed: the plaintext is too long for AES-GCM")]
    EncryptionFailed,
    /// A `tag ‖ iv ‖ ciphertext` blob was too short to hold its tag and IV.
    #[error("an encrypted blob has {found} bytes, it needs at least 28 (16 of tag and 12 of IV)")]
    BlobTooShort {
        /// Bytes found.
        found: usize,
    },
    /// A decrypted ledger secret was not 32 bytes long.
    #[error("a decrypted ledger secret has {found} bytes, expected 32")]
    SecretLength {
        /// Bytes found.
        found: usize,
    },
    /// A signature is well or ill formed, but does not verify.
    #[error("the signature does not verify: another key made it, or the signed bytes were altered")]
    SignatureInvalid,
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers: {why}")]
    NoRandomness {
        /// What it said.
        why: String,
    },
    /// A public or private key of a kind that no CCF service signs with.
    #[error("unsupported key: {found}; CCF identities are elliptic-curve keys on P-256 or P-384")]
    UnsupportedKey {
        /// What it is.
        found: String,
    },
    /// A key whose encoding is broken, or whose point is not on the curve.
    #[error("malformed {what}")]
    MalformedKey {
        /// What was being read.
        what: &'static str,
    },
    /// There is no PEM block, or it is damaged.
    #[error("not a usable PEM text: {problem}")]
    MalformedPem {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The PEM text is sound, but holds something else.
    #[error("expected {expected}, but this PEM holds {found}")]
    WrongPemKind {
        /// What was needed.
        expected: &'static str,
        /// What it holds, with a hint where one is likely to help.
        found: String,
    },
    /// A certificate that cannot be read.
    #[error("malformed certificate: {problem}")]
    MalformedCertificate {
        /// Which part.
        problem: &'static str,
    },
    /// A certificate signed with something else than ECDSA and SHA-2.
    #[error("certificate signature algorithm {oid} is not supported (only ECDSA with SHA-256, SHA-384 or SHA-512)")]
    UnsupportedSignatureAlgorithm {
        /// Object identifier in dotted form, or `unknown`.
        oid: String,
    },
    /// A certificate could not be issued.
    #[error("cannot issue a certificate: {problem}")]
    CannotIssue {
        /// Why.
        problem: &'static str,
    },
    /// A COSE message that cannot be read.
    #[error("malformed COSE_Sign1: {problem}")]
    MalformedCose {
        /// Which part.
        problem: &'static str,
    },
    /// CBOR without tag 18 in front (CCF requires the tag).
    #[error("not a tagged COSE_Sign1: the message does not start with CBOR tag 18")]
    CoseTagMissing,
    /// The algorithm named in the protected header is not the one of the key.
    #[error("COSE algorithm {algorithm:?} does not belong to a {curve:?} key")]
    CoseAlgorithmMismatch {
        /// Label 1 of the protected header; `None` where absent or not an integer.
        algorithm: Option<i64>,
        /// Curve of the verifying key.
        curve: Curve,
    },
    /// No payload in the message and none given.
    #[error("the COSE_Sign1 has a detached payload, and none was given")]
    CosePayloadMissing,
    /// The message embeds another payload than the one it should be about.
    #[error("the COSE_Sign1 embeds a payload other than the expected one")]
    CosePayloadMismatch,
    /// A decrypted recovery share has neither known length.
    #[error("a recovery share has {found} bytes; known shares have 44 (CCF 4.0.9 and later) or 113 (before)")]
    ShareLength {
        /// Bytes found.
        found: usize,
    },
    /// Two of the shares to combine have the same index.
    #[error("two recovery shares have the same index {index}: the same share was given twice")]
    DuplicateShare {
        /// The index.
        index: u32,
    },
    /// Fewer shares than the threshold.
    #[error("{found} recovery shares given, {needed} needed")]
    InsufficientShares {
        /// Shares given.
        found: usize,
        /// The recovery threshold.
        needed: usize,
    },
    /// Shares of both formats together.
    #[error(
        "recovery shares of the old (113-byte) and the new (44-byte) format cannot be combined: they are from different times"
    )]
    MixedShares,
    /// The box inside old-format shares did not open.
    #[error("the recovery shares do not fit together: at least one is wrong, damaged or from another time")]
    ShareBoxFailed,
    /// A threshold or number of shares that makes no sense.
    #[error("cannot make or combine {shares} recovery shares with a threshold of {threshold}")]
    InvalidThreshold {
        /// The threshold.
        threshold: usize,
        /// Number of shares.
        shares: usize,
    },
    /// RSA-OAEP decryption failed.
    #[error("RSA-OAEP decryption failed: this was encrypted for another key, or the bytes were altered")]
    RsaDecryptionFailed,
    /// RSA-OAEP encryption failed.
    #[error("RSA-OAEP encryption failed: {length} bytes do not fit this key")]
    RsaEncryptionFailed {
        /// Length of the plaintext.
        length: usize,
    },
    /// An RSA key of a size that is refused.
    #[error("RSA keys of {bits} bits are not supported (2048 to 8192 are)")]
    RsaKeySize {
        /// Modulus size.
        bits: usize,
    },
}
