//! Revocation lists (RFC 5280, section 5).

use std::ops::Range;

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
    /// Where in `signed` the entries stand: as they are, because entries of a few bytes would be many times that in memory.
    revoked: Range<usize>,
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
        let mut revoked = 0..0;
        if peek(&reader) == Some(Tag::Sequence) {
            let wrong = |_| malformed("revoked certificates");
            let list = element(reader.tlv_bytes().map_err(wrong)?, "revoked certificates")?.value();
            serials(list)?.try_for_each(|serial| serial.map(drop))?;
            let after = usize::try_from(reader.remaining_len()).map_err(wrong)?;
            let end = outside.signed.len().saturating_sub(after);
            revoked = end.saturating_sub(list.len())..end;
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
        let entries = self.signed.get(self.revoked.clone()).unwrap_or_default();
        // All could be read when the list was.
        serials(entries).is_ok_and(|serials| serials.map_while(Result::ok).any(|revoked| revoked == serial))
    }
}

/// The contents of the serial numbers of a list's entries. Errors may repeat without end.
fn serials(entries: &[u8]) -> Result<impl Iterator<Item = Result<&[u8], Error>>, Error> {
    let wrong = |_| malformed("revoked certificate");
    let mut reader = SliceReader::new(entries).map_err(wrong)?;
    Ok(std::iter::from_fn(move || {
        let is_finished = reader.is_finished();
        let next = || {
            let one = element(reader.tlv_bytes().map_err(wrong)?, "revoked certificate")?;
            let mut parts = SliceReader::new(one.value()).map_err(wrong)?;
            let serial = parts.tlv_bytes().map_err(wrong)?;
            Ok(element(serial, "serial number")?.value())
        };
        (!is_finished).then(next)
    }))
}

fn time(der: &[u8]) -> Result<u64, Error> {
    let time = Time::from_der(der).map_err(|_| malformed("time"))?;
    Ok(time.to_unix_duration().as_secs())
}
