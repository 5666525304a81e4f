//! The three messages that make a channel's keys. Node-to-node specification, section 2.
//!
//! | kind (u64) | after it | signature over |
//! |---|---|---|
//! | 0 init | version 1 (u64), str(share), str(signature), str(certificate, PEM), str(salt, 32 bytes) | own share |
//! | 1 response | version 1 (u64), str(share), str(signature), str(certificate, PEM) | own share, then the peer's |
//! | 2 final | str(signature) | peer's share |
//!
//! `str` is a length (u64) and that many bytes. A share is the byte 0x61 and an uncompressed point of P-384: 98 bytes, which the
//! signatures cover. Nothing follows the last field.

use super::dropped::Dropped;
use super::id::NodeId;
use crate::crypto::ecdh::POINT_BYTES;
use crate::crypto::{Certificate, EphemeralKey, SigningKey, VerifyingKey};
use crate::format::Malformed;
use crate::format::cursor::Cursor;

/// The only version.
pub const VERSION: u64 = 1;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 32;
/// Bytes of a share.
pub const SHARE_BYTES: usize = 1 + POINT_BYTES;
/// A handshake message has about 1000 bytes, most of them certificate: this leaves room for many names in it.
pub const MAX_BYTES: usize = 64 << 10;

/// The public half of an ephemeral key, as it is sent and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share([u8; SHARE_BYTES]);

impl Share {
    /// Of this key.
    pub fn of(key: &EphemeralKey) -> Self {
        let mut share = [POINT_BYTES as u8; SHARE_BYTES];
        let (_, point) = share.split_at_mut(1);
        point.copy_from_slice(&key.point());
        Share(share)
    }

    /// The share that fills `bytes`. Whether its point is on the curve is seen when a secret is agreed.
    ///
    /// # Errors
    /// [`Dropped::Share`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Dropped> {
        match bytes {
            [0x61, 4, ..] => bytes.try_into().ok().map(Share),
            _ => None,
        }
        .ok_or(Dropped::Share { found: bytes.len() })
    }

    /// The share as it is sent.
    pub fn as_bytes(&self) -> &[u8; SHARE_BYTES] {
        &self.0
    }

    /// The point in it.
    pub fn point(&self) -> &[u8; POINT_BYTES] {
        let [_, point @ ..] = &self.0;
        point
    }
}

/// A message of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake<'a> {
    /// Kind 0: begins.
    Init {
        /// The sender's.
        share: Share,
        /// Over the share.
        signature: &'a [u8],
        /// PEM.
        certificate: &'a [u8],
        /// For both directions' keys, if this init counts.
        salt: &'a [u8; SALT_BYTES],
    },
    /// Kind 1: the answer to an init.
    Response {
        /// The sender's.
        share: Share,
        /// Over this share and that of the init.
        signature: &'a [u8],
        /// PEM.
        certificate: &'a [u8],
    },
    /// Kind 2: the answer to a response.
    Final {
        /// Over the response's share.
        signature: &'a [u8],
    },
}

impl<'a> Handshake<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`Dropped::HandshakeTooLong`], [`Dropped::UnknownKind`], [`Dropped::Version`], [`Dropped::Share`], [`Dropped::Malformed`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, Dropped> {
        if payload.len() > MAX_BYTES {
            return Err(Dropped::HandshakeTooLong {
                found: payload.len(),
                max: MAX_BYTES,
            });
        }
        let mut cursor = Cursor::new(payload);
        let kind = cursor.u64_le("kind of a channel message")?;
        let message = match kind {
            0 | 1 => {
                let version = cursor.u64_le("version of a handshake")?;
                if version != VERSION {
                    return Err(Dropped::Version { found: version });
                }
                let share = Share::parse(cursor.prefixed("key share")?)?;
                let signature = cursor.prefixed("signature")?;
                let certificate = cursor.prefixed("certificate")?;
                match kind {
                    0 => {
                        let at = cursor.position();
                        let salt = cursor.prefixed("salt")?;
                        let what = || format!("the salt has {} bytes, expected {SALT_BYTES}", salt.len());
                        Handshake::Init {
                            share,
                            signature,
                            certificate,
                            salt: salt.try_into().map_err(|_| Malformed::at(at, what()))?,
                        }
                    }
                    _ => Handshake::Response {
                        share,
                        signature,
                        certificate,
                    },
                }
            }
            2 => Handshake::Final {
                signature: cursor.prefixed("signature")?,
            },
            found => return Err(Dropped::UnknownKind { found }),
        };
        if !cursor.is_empty() {
            let what = format!("{} bytes after the last field", cursor.remaining());
            return Err(Malformed::at(cursor.position(), what).into());
        }
        Ok(message)
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, fields): (u64, &[&[u8]]) = match self {
            Handshake::Init {
                share,
                signature,
                certificate,
                salt,
            } => (0, &[share.as_bytes(), signature, certificate, *salt]),
            Handshake::Response {
                share,
                signature,
                certificate,
            } => (1, &[share.as_bytes(), signature, certificate]),
            Handshake::Final { signature } => (2, &[signature]),
        };
        let mut out = Vec::with_capacity(1200);
        out.extend(kind.to_le_bytes());
        if kind < 2 {
            out.extend(VERSION.to_le_bytes());
        }
        for field in fields {
            out.extend((field.len() as u64).to_le_bytes());
            out.extend_from_slice(field);
        }
        out
    }
}

/// Signs shares, in the order given, as a node with this key does: ECDSA with its curve's hash, DER.
pub fn sign(key: &SigningKey, shares: &[&Share]) -> Vec<u8> {
    key.sign_der(&message(shares))
}

/// Checks a signature over shares, in the order given.
///
/// # Errors
/// [`Dropped::Signature`].
pub fn verify(key: &VerifyingKey, shares: &[&Share], signature: &[u8]) -> Result<(), Dropped> {
    let checked = key.verify_der(key.curve().hash(), &message(shares), signature);
    checked.map_err(|_| Dropped::Signature)
}

fn message(shares: &[&Share]) -> Vec<u8> {
    shares.iter().flat_map(|share| share.0).collect()
}

/// The key of the peer that presents `certificate` (PEM) in the name of `claimed`.
///
/// The service must have signed the certificate; when it was or will be valid is not asked, as a ledger outlives every certificate.
/// And it must be that of the id: the digest of its key is.
///
/// # Errors
/// [`Dropped::CertificateUnreadable`], [`Dropped::CertificateNotOfService`], [`Dropped::CertificateOfAnother`].
pub fn peer_key(certificate: &[u8], claimed: &NodeId, service: &VerifyingKey) -> Result<VerifyingKey, Dropped> {
    let malformed = crate::crypto::Error::MalformedPem {
        problem: "it is not text",
    };
    let text = std::str::from_utf8(certificate).map_err(|_| Dropped::CertificateUnreadable(malformed))?;
    let certificate = Certificate::from_pem(text).map_err(Dropped::CertificateUnreadable)?;
    if NodeId(certificate.key_id()) != *claimed {
        return Err(Dropped::CertificateOfAnother);
    }
    certificate
        .is_signed_by(service)
        .map_err(Dropped::CertificateNotOfService)?;
    Ok(certificate.key().clone())
}
