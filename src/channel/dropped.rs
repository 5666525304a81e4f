//! Why a frame was dropped.

use crate::crypto;
use crate::format::Malformed;

/// A frame that was dropped without an answer, and why. The connection it came over stays (node-to-node specification, section 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Dropped {
    /// The frame names another sender than the peer of this channel.
    #[error("a frame of another sender than the peer of this channel")]
    OtherSender,
    /// A type of frame that nobody knows.
    #[error("a frame of type {found}; known are 0 (channel), 1 (consensus) and 2 (forwarded)")]
    UnknownType {
        /// The type.
        found: u64,
    },
    /// A kind of channel message that nobody knows.
    #[error("a channel message of kind {found}; known are 0 (init), 1 (response) and 2 (final)")]
    UnknownKind {
        /// The kind.
        found: u64,
    },
    /// A consensus message that nobody knows.
    #[error("a consensus message of type {found}; known are 0, 1 and 3 to 7")]
    UnknownConsensus {
        /// The type.
        found: u64,
    },
    /// A forwarded message of an older form, or of none that is known.
    #[error("a forwarded message of type {found}; known are 4 (request) and 5 (answer)")]
    UnknownForwarded {
        /// The type.
        found: u64,
    },
    /// Too short, too long, or with a field that has no such value.
    #[error("a message that can't be read: {0}")]
    Malformed(Malformed),
    /// A handshake of another version.
    #[error("a handshake of version {found}, expected 1")]
    Version {
        /// The version.
        found: u64,
    },
    /// A handshake longer than any that a node sends.
    #[error("a handshake message of {found} bytes; at most {max} are read")]
    HandshakeTooLong {
        /// Bytes found.
        found: usize,
        /// Bytes at most.
        max: usize,
    },
    /// The key share is not 0x61, then an uncompressed point.
    #[error("a key share of {found} bytes that is not the length byte 0x61 and an uncompressed P-384 point (98 bytes)")]
    Share {
        /// Bytes found.
        found: usize,
    },
    /// The key share is no point of the curve.
    #[error("a key share whose point is not on P-384")]
    Point,
    /// The peer's certificate can't be read.
    #[error("a peer's certificate that can't be read: {0}")]
    CertificateUnreadable(crypto::Error),
    /// The peer's certificate is not signed with the service's key.
    #[error("a peer's certificate that this service did not sign: {0}")]
    CertificateNotOfService(crypto::Error),
    /// The peer's certificate is for another key than the id is of.
    #[error("a certificate for the key of another node than the one that the frame names")]
    CertificateOfAnother,
    /// The signature over the shares does not verify.
    #[error("a handshake whose signature does not verify")]
    Signature,
    /// Both sides initiated; this node's init counts, as its id is the greater one.
    #[error("an init that crossed ours: ours counts, as our id is greater")]
    LesserInit,
    /// A response without an init of ours.
    #[error("a response, but no init of ours waits for one")]
    UnexpectedResponse,
    /// A final without a response of ours.
    #[error("a final, but no response of ours waits for one")]
    UnexpectedFinal,
    /// There is no key to read with.
    #[error("a protected message, but there is no key to read it with")]
    NoKey,
    /// The IV is not a zero byte and a counter.
    #[error("an IV whose first byte is {found}, expected 0")]
    Iv {
        /// The first byte.
        found: u8,
    },
    /// A good message whose counter was used before.
    #[error("a message that was received before: its counter is {found}, the last good one was {last}")]
    Replayed {
        /// Its counter.
        found: u64,
        /// That of the last good one.
        last: u64,
    },
    /// The tag is wrong: another key, or altered bytes.
    #[error("a message whose tag does not verify: another key, or altered bytes")]
    Tag,
}

impl Dropped {
    /// A short name, the same for all of a kind: what counters are called.
    pub fn name(&self) -> &'static str {
        match self {
            Dropped::OtherSender => "other_sender",
            Dropped::UnknownType { .. } => "unknown_type",
            Dropped::UnknownKind { .. } => "unknown_kind",
            Dropped::UnknownConsensus { .. } => "unknown_consensus",
            Dropped::UnknownForwarded { .. } => "unknown_forwarded",
            Dropped::Malformed(_) => "malformed",
            Dropped::Version { .. } => "version",
            Dropped::HandshakeTooLong { .. } => "handshake_too_long",
            Dropped::Share { .. } => "share",
            Dropped::Point => "point",
            Dropped::CertificateUnreadable(_) => "certificate_unreadable",
            Dropped::CertificateNotOfService(_) => "certificate_not_of_service",
            Dropped::CertificateOfAnother => "certificate_of_another",
            Dropped::Signature => "signature",
            Dropped::LesserInit => "lesser_init",
            Dropped::UnexpectedResponse => "unexpected_response",
            Dropped::UnexpectedFinal => "unexpected_final",
            Dropped::NoKey => "no_key",
            Dropped::Iv { .. } => "iv",
            Dropped::Replayed { .. } => "replayed",
            Dropped::Tag => "tag",
        }
    }
}

impl From<Malformed> for Dropped {
    fn from(why: Malformed) -> Dropped {
        Dropped::Malformed(why)
    }
}
