//! Files as they were before they were compressed: gzip, zstd and xz are known by their first bytes, whatever the name says.
//! What a Windows shell wrote into a file, UTF-16, is given as UTF-8.
//! Nothing is unpacked further than it is read, so that a small file that unpacks to an endless one costs time, not memory.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

mod utf16;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    Plain,
    /// gzip, also several members one after the other.
    Gzip,
    /// Zstandard, also several frames one after the other.
    Zstd,
    /// xz, also several streams one after the other.
    Xz,
    /// Text in UTF-16, as Windows shells write what is sent into a file: the low byte first, or the high one.
    Utf16 {
        /// Whether the high byte is first.
        big_endian: bool,
    },
}

/// Memory that an xz stream may ask for: what the largest preset of `xz` needs, with room.
const XZ_MEMORY: u64 = 80 << 20;
/// Logarithm of the largest window that a zstd frame may ask for: 32 MiB. `--long` frames beyond are refused.
const ZSTD_WINDOW_LOG: u32 = 25;
/// Bytes read at once from a compressed file.
const READ: usize = 128 << 10;

impl Packing {
    /// What these first bytes (six are enough) say.
    pub fn of(first: &[u8]) -> Packing {
        match first {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            // A skippable frame may stand before the first one.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            // The mark at the beginning, and a character that is no zero as UTF-32 would have it.
            [0xff, 0xfe, low, high, ..] if (*low, *high) != (0, 0) => Packing::Utf16 { big_endian: false },
            [0xfe, 0xff, ..] => Packing::Utf16 { big_endian: true },
            _ => Packing::Plain,
        }
    }

    /// What an open file says, which is left at its beginning.
    pub fn of_file(file: &mut File) -> io::Result<Packing> {
        use std::io::Seek;
        let mut first = Vec::with_capacity(6);
        Read::by_ref(file).take(6).read_to_end(&mut first)?;
        file.rewind()?;
        Ok(Packing::of(&first))
    }
}

/// What a file is packed with that is not read here, by its first bytes (six are enough).
pub fn unread(first: &[u8]) -> Option<&'static str> {
    Some(match first {
        [b'P', b'K', 3, 4, ..] => "zip",
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => "bzip2",
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => "7-Zip",
        [0x04, 0x22, 0x4d, 0x18, ..] => "lz4",
        [0x1f, 0x9d, ..] => "compress",
        [b'R', b'a', b'r', b'!', 0x1a, 0x07, ..] => "RAR",
        _ => return None,
    })
}

/// Reads what was packed in this way. A stream that ends in the middle is an error of the kind
/// [`io::ErrorKind::UnexpectedEof`], after all bytes that could be had of it.
pub fn reader<'a>(packed: impl Read + Send + 'a, packing: Packing) -> io::Result<Box<dyn Read + Send + 'a>> {
    let packed = BufReader::with_capacity(READ, packed);
    Ok(match packing {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Packing::Utf16 { big_endian } => Box::new(utf16::Decoder::new(packed, big_endian)),
        Packing::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
                .map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
    })
}

/// Opens a file and reads what is in it, unpacked.
pub fn open(path: &Path) -> io::Result<(Packing, Box<dyn Read + Send>)> {
    let mut file = File::open(path)?;
    let packing = match file.metadata()?.is_file() {
        true => Packing::of_file(&mut file)?,
        // A pipe can't be wound back: its first bytes are read, and put before the rest.
        false => {
            let mut first = Vec::with_capacity(6);
            Read::by_ref(&mut file).take(6).read_to_end(&mut first)?;
            let packing = Packing::of(&first);
            return Ok((packing, reader(io::Cursor::new(first).chain(file), packing)?));
        }
    };
    Ok((packing, reader(file, packing)?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn parts_that_were_packed_one_by_one_are_read_as_one() {
        for pack in [gzip, xz, zstd] {
            let packed = [pack(b"one "), pack(b"two "), pack(b"")].concat();
            let mut out = String::new();
            reader(packed.as_slice(), Packing::of(&packed))
                .unwrap()
                .read_to_string(&mut out)
                .unwrap();
            assert_eq!(out, "one two ");
        }
    }

    #[test]
    fn what_breaks_off_gives_what_it_had_and_an_error() {
        let text: Vec<u8> = (0..200_000u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        for pack in [gzip, xz, zstd] {
            let packed = pack(&text);
            let half = packed.get(..packed.len() / 2).unwrap();
            let mut out = Vec::new();
            let failed = reader(half, Packing::of(half))
                .unwrap()
                .read_to_end(&mut out)
                .unwrap_err();
            assert_eq!(failed.kind(), io::ErrorKind::UnexpectedEof);
            assert!(!out.is_empty() && text.starts_with(&out));
        }
    }

    #[test]
    fn what_a_windows_shell_wrote_is_read_as_what_it_was_given() {
        let text = "Commitment é😀\r\n";
        for big_endian in [false, true] {
            let bytes = |unit: u16| match big_endian {
                true => unit.to_be_bytes(),
                false => unit.to_le_bytes(),
            };
            let written: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect();
            let packing = Packing::of(&written);
            assert_eq!(packing, Packing::Utf16 { big_endian });
            let mut out = String::new();
            reader(written.as_slice(), packing)
                .unwrap()
                .read_to_string(&mut out)
                .unwrap();
            assert_eq!(out, text);
        }
        assert_eq!(Packing::of(&[0xff, 0xfe, 0, 0]), Packing::Plain);
    }

    #[test]
    fn what_is_not_packed_is_read_as_it_is() {
        assert_eq!(Packing::of(b""), Packing::Plain);
        assert_eq!(Packing::of(&[0x1f]), Packing::Plain);
        let mut out = Vec::new();
        reader(b"plain".as_slice(), Packing::Plain)
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        assert_eq!(out, b"plain");
    }
}
