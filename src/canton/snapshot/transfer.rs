//! One answer's body on its way to the disk: unpacked where a proxy packed it, read while it goes by, and gone on with where
//! it broke off, if the server can do that.

use std::io::Write;
use std::path::Path;

use flate2::write::MultiGzDecoder;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, IF_RANGE, RANGE,
};
use serde::{Deserialize, Serialize};

use crate::canton::http::Incoming;
use crate::error::{Error, Result};

use super::lexer::Fault;
use super::output::{Part, beside};
use super::reading::{Document, Reading};

/// Bytes read at once of what is there already.
const READ_BYTES: usize = 1 << 20;
/// Bytes of a ticket.
const MOST_TICKET_BYTES: u64 = 64 << 10;

/// What a transfer that broke off is gone on with: kept beside the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The request, with everything that the answer depends on.
    request: String,
    /// The answer's entity tag, a strong one.
    etag: String,
    /// Bytes of the whole answer.
    size: u64,
}

impl Ticket {
    fn path(target: &Path) -> std::path::PathBuf {
        beside(target, ".part.json")
    }

    /// The ticket beside a target, if it is for this request.
    fn read(target: &Path, request: &str) -> Option<Ticket> {
        use std::io::Read;
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe under its name would never open.
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).custom_flags(flags.cast_signed());
        let file = file.open(Ticket::path(target)).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MOST_TICKET_BYTES).read_to_end(&mut bytes).ok()?;
        let ticket: Ticket = serde_json::from_slice(&bytes).ok()?;
        (ticket.request == request).then_some(ticket)
    }

    fn write(&self, target: &Path) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = Ticket::path(target);
        let _ = std::fs::remove_file(&path);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        let text = serde_json::to_vec(self).map_err(|why| Error::io("write", &path)(why.into()))?;
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        written.map_err(Error::io("write", &path))
    }

    /// The headers that ask for the rest.
    fn headers(&self, have: u64) -> Option<[(HeaderName, HeaderValue); 2]> {
        let range = HeaderValue::from_str(&format!("bytes={have}-")).ok()?;
        let etag = HeaderValue::from_str(&self.etag).ok()?;
        Some([(RANGE, range), (IF_RANGE, etag)])
    }

    /// What an answer that begins says for going on with it later.
    fn of(request: &str, answer: &Incoming) -> Option<Ticket> {
        let etag = answer.header(&ETAG)?.to_owned();
        let goes_on = answer.header(&ACCEPT_RANGES)?.eq_ignore_ascii_case("bytes");
        // A weak tag promises the same meaning, not the same bytes.
        let is_strong = etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"');
        (goes_on && is_strong && packing(answer) == Some(false)).then_some(Ticket {
            request: request.to_owned(),
            etag,
            size: length(answer)?,
        })
    }
}

/// Bytes of the body that the server announces.
pub fn length(answer: &Incoming) -> Option<u64> {
    answer.header(&CONTENT_LENGTH)?.parse().ok()
}

/// Whether the body is packed; `None` if in a way that is not known.
fn packing(answer: &Incoming) -> Option<bool> {
    let how = answer.header(&CONTENT_ENCODING).unwrap_or_default().trim();
    match how.to_ascii_lowercase().as_str() {
        "" | "identity" => Some(false),
        "gzip" | "x-gzip" => Some(true),
        _ => None,
    }
}

/// Whether a `206` is the rest of what is there: `bytes HAVE-END/SIZE`, of the same entity.
fn goes_on(answer: &Incoming, ticket: &Ticket, have: u64) -> bool {
    let range = answer.header(&CONTENT_RANGE).unwrap_or_default();
    let expected = format!("bytes {have}-{}/{}", ticket.size.saturating_sub(1), ticket.size);
    range == expected && answer.header(&ETAG) == Some(ticket.etag.as_str()) && packing(answer) == Some(false)
}

/// Why a body is not wanted, or not all of it.
#[derive(Debug)]
pub enum Unwanted {
    /// It is no JSON, or its packing is broken.
    Fault(Fault),
    /// It is larger than was allowed: so many bytes.
    TooLarge(u64),
    /// The disk has so many bytes, too few for so many.
    NoRoom {
        /// Free bytes.
        has: u64,
        /// Needed bytes.
        needs: u64,
    },
    /// It is packed in a way that is not known.
    Packed(String),
}

/// What may be written.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of an answer, unpacked.
    pub most_bytes: u64,
    /// How many times an answer's size the disk must have.
    pub copies: u64,
}

/// A body on its way to the disk.
pub struct Transfer {
    part: Part,
    reading: Reading,
    ticket: Option<Ticket>,
    unpacking: Option<MultiGzDecoder<Vec<u8>>>,
    bounds: Bounds,
}

impl Transfer {
    /// Opens `F.part`; with what it has, where a ticket for this request says that it can be gone on with. The second answer
    /// is how many bytes were thrown away instead.
    ///
    /// # Errors
    /// The system's; another process is writing it.
    pub fn open(target: &Path, request: &str, bounds: Bounds) -> Result<(Transfer, u64)> {
        let mut part = Part::open(target)?;
        let had = part.size()?;
        let mut transfer = Transfer {
            reading: Reading::default(),
            ticket: Ticket::read(target, request),
            unpacking: None,
            bounds,
            part: {
                if had == 0 {
                    part.clear()?;
                }
                part
            },
        };
        if transfer.ticket.is_none() || !transfer.read_part()? {
            transfer.restart(target)?;
            return Ok((transfer, had));
        }
        Ok((transfer, 0))
    }

    /// Reads what is there; whether it may be the beginning of the answer.
    fn read_part(&mut self) -> Result<bool> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = self.part.read(&mut buffer)?;
            let piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                let whole = self.ticket.as_ref().map_or(0, |ticket| ticket.size);
                return Ok(self.reading.size() < whole);
            }
            if self.reading.feed(piece).is_err() {
                return Ok(false);
            }
        }
    }

    /// Forgets everything that came.
    ///
    /// # Errors
    /// The system's.
    pub fn restart(&mut self, target: &Path) -> Result<()> {
        self.part.clear()?;
        self.reading = Reading::default();
        self.ticket = None;
        self.unpacking = None;
        let _ = std::fs::remove_file(Ticket::path(target));
        Ok(())
    }

    /// Bytes that are on the disk.
    pub fn has(&self) -> u64 {
        self.reading.size()
    }

    /// Whether it can be gone on with.
    pub fn can_go_on(&self) -> bool {
        self.ticket.is_some() && self.has() > 0
    }

    /// The headers to ask with.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        match (&self.ticket, self.has()) {
            (Some(ticket), have @ 1..) => ticket.headers(have).map(Vec::from).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Prepares for the body of a `200` or `206`. The answer is how many bytes were thrown away because it begins anew.
    ///
    /// # Errors
    /// The system's. That the body is not wanted is the inner error.
    pub fn begin(
        &mut self,
        answer: &Incoming,
        target: &Path,
        request: &str,
    ) -> Result<std::result::Result<u64, Unwanted>> {
        let have = self.has();
        let goes_on =
            answer.status() == 206 && self.ticket.as_ref().is_some_and(|ticket| goes_on(answer, ticket, have));
        let mut lost = 0;
        if !goes_on {
            lost = have;
            self.restart(target)?;
            if answer.status() == 206 {
                let fault = Fault::new(0, "the server sent a part that was not asked for");
                return Ok(Err(Unwanted::Fault(fault)));
            }
            match packing(answer) {
                Some(false) => {}
                Some(true) => self.unpacking = Some(MultiGzDecoder::new(Vec::new())),
                None => {
                    let how = answer.header(&CONTENT_ENCODING).unwrap_or_default().to_owned();
                    return Ok(Err(Unwanted::Packed(how)));
                }
            }
        }
        if let Some(length) = length(answer) {
            if length > self.bounds.most_bytes {
                return Ok(Err(Unwanted::TooLarge(length)));
            }
            let needs = length.saturating_mul(self.bounds.copies);
            if let Some(has) = self.part.room()
                && has < needs
            {
                return Ok(Err(Unwanted::NoRoom { has, needs }));
            }
        }
        if !goes_on && let Some(ticket) = Ticket::of(request, answer) {
            ticket.write(target)?;
            self.ticket = Some(ticket);
        }
        Ok(Ok(lost))
    }

    /// Takes a piece of the body.
    ///
    /// # Errors
    /// The system's. That the body is not wanted is the inner error.
    pub fn take(&mut self, piece: &[u8]) -> Result<std::result::Result<(), Unwanted>> {
        let Some(mut unpacking) = self.unpacking.take() else {
            return self.keep(piece);
        };
        // In small bites: each may unpack to a thousand times as much.
        for bite in piece.chunks(4096) {
            if let Err(why) = unpacking.write_all(bite) {
                return Ok(Err(self.broken_packing(&why)));
            }
            let unpacked = std::mem::take(unpacking.get_mut());
            if let Err(unwanted) = self.keep(&unpacked)? {
                return Ok(Err(unwanted));
            }
        }
        self.unpacking = Some(unpacking);
        Ok(Ok(()))
    }

    fn broken_packing(&self, why: &std::io::Error) -> Unwanted {
        Unwanted::Fault(Fault::new(self.has(), format!("its gzip packing is broken: {why}")))
    }

    fn keep(&mut self, piece: &[u8]) -> Result<std::result::Result<(), Unwanted>> {
        let size = self.has().saturating_add(piece.len() as u64);
        if size > self.bounds.most_bytes {
            return Ok(Err(Unwanted::TooLarge(size)));
        }
        if let Err(fault) = self.reading.feed(piece) {
            return Ok(Err(Unwanted::Fault(fault)));
        }
        if let Err(why) = self.part.write(piece) {
            // Nobody goes on with it without a ticket, and it takes up the room that is lacking.
            if self.ticket.is_none() {
                let _ = std::fs::remove_file(self.part.path());
            }
            return Err(why);
        }
        Ok(Ok(()))
    }

    /// Says that the body ended.
    ///
    /// # Errors
    /// The system's. That it is not whole is the inner error.
    pub fn finish(mut self) -> Result<std::result::Result<(Part, Document), (Part, Unwanted)>> {
        if let Some(mut unpacking) = self.unpacking.take() {
            if let Err(why) = unpacking.try_finish() {
                let unwanted = self.broken_packing(&why);
                return Ok(Err((self.part, unwanted)));
            }
            let unpacked = std::mem::take(unpacking.get_mut());
            if let Err(unwanted) = self.keep(&unpacked)? {
                return Ok(Err((self.part, unwanted)));
            }
        }
        Ok(match self.reading.finish() {
            Ok(document) => Ok((self.part, document)),
            Err(fault) => Err((self.part, Unwanted::Fault(fault))),
        })
    }

    /// Removes what came, and the ticket.
    pub fn remove(self, target: &Path) {
        let _ = std::fs::remove_file(Ticket::path(target));
        self.part.remove();
    }

    /// Removes the ticket of a transfer that is done.
    pub fn forget(target: &Path) {
        let _ = std::fs::remove_file(Ticket::path(target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_for_the_request_that_it_was_written_for_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        let ticket = Ticket {
            request: "https://sv.example/a?party_id=x".to_owned(),
            etag: "\"same for all\"".to_owned(),
            size: 9,
        };
        ticket.write(&target).unwrap();
        assert_eq!(Ticket::read(&target, &ticket.request), Some(ticket));
        assert_eq!(Ticket::read(&target, "https://sv.example/a"), None);
    }
}
