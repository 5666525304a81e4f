//! Frames: what a stream between two nodes is cut into. Node-to-node specification, section 1.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | length of everything after it, u32 |
//! | 4 | 8 | type, u64: 0 channel, 1 consensus, 2 forwarded |
//! | 12 | 8 | length of the sender's id, u64: 64 |
//! | 20 | 64 | the sender's id, lower-case hex |
//! | 84 | rest | payload |
//!
//! Integers are little-endian. The sender is what the frame says: nothing has been authenticated yet.

use super::id::NodeId;
use crate::format::Malformed;
use crate::format::cursor::Cursor;

/// Bytes of the length, type and sender: a frame without its payload.
pub const HEADER_BYTES: usize = LENGTH_BYTES + AFTER_LENGTH;
const LENGTH_BYTES: usize = 4;
/// Bytes that the length counts before the payload.
const AFTER_LENGTH: usize = 8 + 8 + NodeId::DIGITS;

/// A follower that was sent frames of a mebibyte keeps that much room for the next: more is given back.
const KEPT_BYTES: usize = 4 << 20;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// A message of the handshake.
    Channel,
    /// A protected message of the consensus.
    Consensus,
    /// A protected request, or the answer to one, that a follower passes on.
    Forwarded,
    /// Something else, to be dropped.
    Unknown(u64),
}

impl FrameType {
    fn number(self) -> u64 {
        match self {
            FrameType::Channel => 0,
            FrameType::Consensus => 1,
            FrameType::Forwarded => 2,
            FrameType::Unknown(number) => number,
        }
    }
}

impl From<u64> for FrameType {
    fn from(number: u64) -> FrameType {
        match number {
            0 => FrameType::Channel,
            1 => FrameType::Consensus,
            2 => FrameType::Forwarded,
            other => FrameType::Unknown(other),
        }
    }
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub of: FrameType,
    /// Who sent it, as it says itself.
    pub sender: NodeId,
    /// Everything after the sender.
    pub payload: &'a [u8],
}

/// A stream that can't be cut into frames any further: its connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error("a frame of {bytes} bytes; at most {max} are taken")]
    TooLong {
        /// Bytes with the length field.
        bytes: u64,
        /// Bytes at most.
        max: usize,
    },
    /// Too short to have a type and a sender.
    #[error("a frame of {bytes} bytes, too short to name its sender ({HEADER_BYTES} bytes)")]
    TooShort {
        /// Bytes with the length field.
        bytes: u64,
    },
    /// The header can't be read.
    #[error("a frame whose header can't be read: {0}")]
    Header(Malformed),
}

impl<'a> Frame<'a> {
    /// The frame that fills `body`, which is without the length field.
    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::starting_at(body, 0);
        let of = cursor.u64_le("type")?.into();
        let digits = cursor.u64_le("length of the sender's id")?;
        if digits != NodeId::DIGITS as u64 {
            let what = format!("the sender's id has {digits} digits, expected {}", NodeId::DIGITS);
            return Err(Malformed::at(LENGTH_BYTES + 8, what));
        }
        let sender = NodeId::from_digits(cursor.array("sender's id")?).ok_or_else(|| {
            let what = "the sender's id is not made of the digits 0 to 9 and a to f";
            Malformed::at(LENGTH_BYTES + 16, what)
        })?;
        Ok(Frame {
            of,
            sender,
            payload: cursor.rest(),
        })
    }

    /// Appends the frame, whose payload is made of `parts`, to `out`.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] beyond `max` bytes with everything (and beyond what the length field holds); `out` is then as before.
    pub fn write(
        of: FrameType,
        sender: &NodeId,
        parts: &[&[u8]],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let length = AFTER_LENGTH.saturating_add(payload);
        let bytes = LENGTH_BYTES.saturating_add(length);
        let Some(length) = u32::try_from(length).ok().filter(|_| bytes <= max) else {
            let bytes = bytes as u64;
            return Err(FrameError::TooLong { bytes, max });
        };
        out.reserve(bytes);
        out.extend(length.to_le_bytes());
        out.extend(of.number().to_le_bytes());
        out.extend((NodeId::DIGITS as u64).to_le_bytes());
        out.extend(sender.digits());
        for part in parts {
            out.extend_from_slice(part);
        }
        Ok(())
    }
}

/// Cuts a stream into frames, whatever pieces it comes in.
///
/// It holds what it was fed and has not given out yet, and allocates by that, never by what a length says: who feeds it pieces of
/// bounded size and takes every frame before the next piece needs room for one frame of the greatest size and one piece.
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame starts.
    at: usize,
    max: usize,
}

impl FrameReader {
    /// For frames of at most `max` bytes, the length field included.
    pub fn new(max: usize) -> Self {
        FrameReader {
            buffer: Vec::new(),
            at: 0,
            max,
        }
    }

    /// From now on, frames of at most `max` bytes are taken: more is known of who sends them.
    pub fn allow(&mut self, max: usize) {
        self.max = max;
    }

    /// The next piece of the stream.
    pub fn feed(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole frame; `None` where more of the stream is needed.
    ///
    /// # Errors
    /// [`FrameError`], as soon as there are enough bytes to see it, and from then on.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some((length, body)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        let bytes = u64::from(length) + LENGTH_BYTES as u64;
        if bytes < HEADER_BYTES as u64 {
            return Err(FrameError::TooShort { bytes });
        }
        if bytes > self.max as u64 {
            return Err(FrameError::TooLong { bytes, max: self.max });
        }
        let whole = body.get(..length as usize);
        let Some(known) = whole.or_else(|| body.get(..AFTER_LENGTH)) else {
            return Ok(None);
        };
        // The header is judged before the payload is there: what is no frame need not be waited for.
        let frame = Frame::parse(known).map_err(FrameError::Header)?;
        if whole.is_none() {
            return Ok(None);
        }
        self.at += LENGTH_BYTES + length as usize;
        Ok(Some(frame))
    }

    /// Bytes that were fed and not yet given out.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(self.at)
    }

    /// Bytes of memory that it holds.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: NodeId = NodeId([0xab; 32]);

    fn frame(of: FrameType, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Frame::write(of, &SENDER, &[payload], 1 << 20, &mut out).unwrap();
        out
    }

    #[test]
    fn a_stream_in_pieces_of_any_size_gives_the_same_frames() {
        let payloads = [&b""[..], b"hello", &[7; 300]];
        let stream = payloads.map(|payload| frame(FrameType::Consensus, payload)).concat();
        for size in 1..=stream.len() {
            let mut reader = FrameReader::new(1 << 10);
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                reader.feed(piece);
                while let Some(frame) = reader.next_frame().unwrap() {
                    assert_eq!((frame.of, frame.sender), (FrameType::Consensus, SENDER));
                    found.push(frame.payload.to_vec());
                }
            }
            assert_eq!(found, payloads, "pieces of {size}");
            assert_eq!(reader.pending_bytes(), 0);
        }
    }

    #[test]
    fn types_that_nobody_knows_are_still_frames() {
        let mut reader = FrameReader::new(1 << 10);
        reader.feed(&frame(FrameType::Unknown(3), b"x"));
        assert_eq!(reader.next_frame().unwrap().unwrap().of, FrameType::Unknown(3));
    }

    #[test]
    fn a_frame_beyond_the_maximum_is_refused_by_its_length_alone() {
        let whole = frame(FrameType::Channel, &[0; 20]);
        let mut reader = FrameReader::new(whole.len());
        reader.feed(&whole);
        assert!(reader.next_frame().unwrap().is_some());
        let mut reader = FrameReader::new(whole.len() - 1);
        reader.feed(&whole[..4]);
        let (bytes, max) = (whole.len() as u64, whole.len() - 1);
        for _ in 0..2 {
            assert_eq!(reader.next_frame(), Err(FrameError::TooLong { bytes, max }));
        }
        let mut out = b"before".to_vec();
        let written = Frame::write(FrameType::Channel, &SENDER, &[&[0; 20]], max, &mut out);
        assert_eq!(
            (written, &out[..]),
            (Err(FrameError::TooLong { bytes, max }), &b"before"[..])
        );
    }

    #[test]
    fn a_frame_without_room_for_its_sender_is_refused() {
        for length in [0_u32, 1, 79] {
            let mut reader = FrameReader::new(1 << 10);
            reader.feed(&length.to_le_bytes());
            let bytes = u64::from(length) + 4;
            assert_eq!(reader.next_frame(), Err(FrameError::TooShort { bytes }));
        }
        let mut reader = FrameReader::new(1 << 10);
        reader.feed(&80_u32.to_le_bytes());
        assert_eq!(reader.next_frame(), Ok(None));
    }

    #[test]
    fn a_wrong_header_is_refused_before_the_payload_is_there() {
        let good = frame(FrameType::Channel, &[0; 500]);
        for (at, byte) in [(12, 63), (19, 1), (20, b'A'), (83, b'g')] {
            let mut wrong = good[..HEADER_BYTES].to_vec();
            wrong[at] = byte;
            let mut reader = FrameReader::new(1 << 10);
            reader.feed(&wrong[..HEADER_BYTES - 1]);
            assert_eq!(reader.next_frame(), Ok(None));
            reader.feed(&wrong[HEADER_BYTES - 1..]);
            let found = reader.next_frame();
            assert!(matches!(&found, Err(FrameError::Header(_))), "byte {at}: {found:?}");
        }
    }

    #[test]
    fn a_length_that_never_comes_costs_no_more_than_what_came() {
        let mut reader = FrameReader::new(64 << 20);
        reader.feed(&(60_u32 << 20).to_le_bytes());
        for byte in &frame(FrameType::Channel, &[0; 900])[4..] {
            assert_eq!(reader.next_frame(), Ok(None));
            reader.feed(&[*byte]);
        }
        assert!(reader.held_bytes() < 4096, "{}", reader.held_bytes());
    }

    #[test]
    fn room_for_a_huge_frame_is_given_back() {
        let mut reader = FrameReader::new(64 << 20);
        let mut huge = Vec::new();
        Frame::write(FrameType::Consensus, &SENDER, &[&vec![0; 8 << 20]], 64 << 20, &mut huge).unwrap();
        reader.feed(&huge);
        assert!(reader.next_frame().unwrap().is_some());
        reader.feed(&[0]);
        assert!(reader.held_bytes() < 4096, "{}", reader.held_bytes());
    }
}
