//! Revocation lists (RFC 5280, section 5).

use std::collections::BTreeSet;

use x509_cert::der::{Decode, Reader, SliceReader, Tag};
use x509_cert::time::Time;

use super::{AnyKey, Encoding, Error, MAX_BYTES, Outside, Scheme, algorithm, context, element, malformed, peek};

/// The serial numbers that an issuer has revoked.
#[derive(Clone)]
pub struct RevocationList {
    signed: Vec<u8>,
    scheme: Option<Scheme>,
    signature: Vec<u8>,
    issuer: Vec<u8>,
    this_update_unix_s: u64,
    next_update_unix_s: Option<u64>,
    revoked: BTreeSet<Vec<u8>>,
}

impl RevocationList {
    /// Reads a DER list, which must fill `der`.
    ///
    /// # Errors
    /// [`Error::MalformedCertificate`].
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > 16 * MAX_BYTES {
            return Err(malformed("length, over 16 MiB"));
        }
        let outside = Outside::parse(der)?;
        let inside = element(outside.signed, "revocation list")?;
        let mut reader = SliceReader::new(inside.value()).map_err(|_| malformed("revocation list"))?;
        if peek(&reader) == Some(Tag::Integer) {
            reader.tlv_bytes().map_err(|_| malformed("version"))?;
        }
        let mut field = |name| reader.tlv_bytes().map_err(|_| malformed(name));
        if field("signature algorithm")? != outside.algorithm {
            return Err(malformed("signature algorithm"));
        }
        let issuer = field("issuer")?.to_vec();
        let this_update_unix_s = time(field("time of this update")?)?;
        let next_update_unix_s = match peek(&reader) {
            Some(Tag::UtcTime | Tag::GeneralizedTime) => {
                let next = reader.tlv_bytes().map_err(|_| malformed("time of the next update"))?;
                Some(time(next)?)
            }
            _ => None,
        };
        let mut revoked = BTreeSet::new();
        if peek(&reader) == Some(Tag::Sequence) {
            let wrong = |_| malformed("revoked certificates");
            let list = element(reader.tlv_bytes().map_err(wrong)?, "revoked certificates")?;
            let mut list = SliceReader::new(list.value()).map_err(wrong)?;
            while !list.is_finished() {
                let one = element(list.tlv_bytes().map_err(wrong)?, "revoked certificate")?;
                let mut parts = SliceReader::new(one.value()).map_err(wrong)?;
                let serial = element(parts.tlv_bytes().map_err(wrong)?, "serial number")?;
                revoked.insert(serial.value().to_vec());
            }
        }
        // Extensions, such as the list's own number.
        if peek(&reader) == Some(context(0)) {
            reader.tlv_bytes().map_err(|_| malformed("extensions"))?;
        }
        if !reader.is_finished() {
            return Err(malformed("end of the revocation list"));
        }
        Ok(Self {
            signed: outside.signed.to_vec(),
            scheme: algorithm::scheme(outside.algorithm),
            signature: outside.signature.to_vec(),
            issuer,
            this_update_unix_s,
            next_update_unix_s,
            revoked,
        })
    }

    /// Whether `key` signed the list.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`].
    pub fn is_signed_by(&self, key: &AnyKey) -> Result<(), Error> {
        let scheme = self.scheme.ok_or(Error::SignatureInvalid)?;
        key.verify(scheme, Encoding::Der, &self.signed, &self.signature)
    }

    /// The DER of the issuer's name.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// When it was made, in seconds since 1970.
    pub fn this_update_unix_s(&self) -> u64 {
        self.this_update_unix_s
    }

    /// When there would be a newer one, in seconds since 1970.
    pub fn next_update_unix_s(&self) -> Option<u64> {
        self.next_update_unix_s
    }

    /// Whether it revokes the serial number with this content.
    pub fn revokes(&self, serial: &[u8]) -> bool {
        self.revoked.contains(serial)
    }
}

fn time(der: &[u8]) -> Result<u64, Error> {
    let time = Time::from_der(der).map_err(|_| malformed("time"))?;
    Ok(time.to_unix_duration().as_secs())
}
