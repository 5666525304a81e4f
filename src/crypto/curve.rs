//! The curves that CCF services sign with, and the hashes that go with them.

/// The curves that CCF services sign with (P-384 unless configured otherwise).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Curve {
    /// NIST P-256 (secp256r1, prime256v1): COSE ES256.
    P256,
    /// NIST P-384 (secp384r1): COSE ES384.
    P384,
}

impl Curve {
    /// Length in bytes of a coordinate or scalar: half the length of a raw signature.
    pub const fn scalar_bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    /// The hash that goes with the curve in COSE and in certificates.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Curve::P256 => HashAlgorithm::Sha256,
            Curve::P384 => HashAlgorithm::Sha384,
        }
    }

    /// The COSE algorithm of the curve: -7 (ES256) or -35 (ES384).
    pub const fn cose_algorithm(self) -> i64 {
        match self {
            Curve::P256 => -7,
            Curve::P384 => -35,
        }
    }
}

/// The hash applied to a message before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes; only seen in certificates made by others.
    Sha512,
}
