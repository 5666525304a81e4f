//! Entries of systemd's journal as JSON whose message is an array of its bytes, `"MESSAGE":[67,111,…]`: so `journalctl -o json`
//! writes what is no plain text, such as lines with colours. No word can be searched for in them.

use memchr::memmem::{self, Finder};

use super::search::WORD;

/// Fields that are in every exported entry, and what begins such a message.
const MARKS: [&[u8]; 2] = [b"\"__REALTIME_TIMESTAMP\"", b"\"__CURSOR\""];
const FIELD: &[u8] = b"\"MESSAGE\"";

/// Bytes of the longest message, written out: a record of interest has some hundred.
pub const LONGEST: usize = 64 << 10;

/// Bytes in which a journal shows itself.
const SAMPLE: usize = 64 << 10;

/// Whether a log is of a journal.
pub fn is_one(bytes: &[u8]) -> bool {
    let bytes = bytes.get(..bytes.len().min(SAMPLE)).unwrap_or_default();
    MARKS.iter().any(|mark| memmem::find(bytes, mark).is_some())
}

/// Finds messages of bytes.
pub struct Messages {
    finder: Finder<'static>,
}

impl Messages {
    /// Of all journals.
    pub fn new() -> Messages {
        Messages {
            finder: Finder::new(FIELD),
        }
    }

    /// The next message of bytes that begins in these: where its field begins, where it ends, and what it says where it says
    /// something of interest.
    pub fn next(&self, bytes: &[u8], from: usize) -> Option<(usize, usize, Option<Vec<u8>>)> {
        let mut at = from;
        loop {
            let field = at + self.finder.find(bytes.get(at..)?)?;
            at = field + FIELD.len();
            if let Some((end, message)) = message(bytes, at) {
                let is_of_interest = memmem::find(&message, WORD).is_some();
                return Some((field, end, is_of_interest.then_some(message)));
            }
        }
    }
}

/// `: [ 67, 111, … ]`, and where it ends.
fn message(bytes: &[u8], at: usize) -> Option<(usize, Vec<u8>)> {
    let blank = |at: usize| {
        let rest = bytes.get(at..)?;
        Some(
            at + rest
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .take(64)
                .count(),
        )
    };
    let after = |at: usize, byte: u8| (bytes.get(at) == Some(&byte)).then_some(at + 1);
    let mut at = after(blank(after(blank(at)?, b':')?)?, b'[')?;
    let mut message = Vec::new();
    while 4 * message.len() < LONGEST {
        at = blank(at)?;
        let digits = bytes
            .get(at..)?
            .iter()
            .take(4)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let number = std::str::from_utf8(bytes.get(at..at + digits)?).ok()?;
        message.push(number.parse().ok()?);
        at = blank(at + digits)?;
        match bytes.get(at)? {
            b',' => at += 1,
            b']' => return Some((at + 1, message)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Settings, diagnosis, scanning, sources};
    use super::*;

    #[test]
    fn messages_of_bytes_are_read_wherever_units_and_windows_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for minute in 1..60 {
            let line = Encoder::ALL[minute as usize % 3].encode(&correct(1, "PAR::a::12205f1149bc...", minute));
            let line = match minute % 2 {
                0 => format!("\u{1b}[32m{line}\u{1b}[0m"),
                _ => line,
            };
            let entry = serde_json::json!({"__CURSOR": "s=1", "_PID": "12", "MESSAGE": line.as_bytes()});
            text += &match minute % 5 {
                0 => serde_json::json!({"__CURSOR": "s=1", "MESSAGE": line}).to_string(),
                1 => serde_json::to_string_pretty(&entry).unwrap(),
                _ => entry.to_string(),
            };
            text.push('\n');
        }
        let path = directory.path().join("journal.json");
        std::fs::write(&path, &text).unwrap();
        let packed = directory.path().join("journal.json.gz");
        std::fs::write(&packed, Packer::Gzip.pack(text.as_bytes())).unwrap();
        let settings = Settings::default();
        for (path, unit) in [(&path, 8 << 20), (&path, 3001), (&packed, 8 << 20)] {
            let logs = sources::expand(std::slice::from_ref(path)).unwrap();
            let scanned = diagnosis::conclude(scanning::in_units(unit, &logs, &settings, &|_| ()), &settings);
            assert_eq!((scanned.hits, scanned.unattributed), (59, 0), "{unit}");
        }
    }

    #[test]
    fn hostile_arrays_end() {
        let messages = Messages::new();
        for hostile in [
            "\"MESSAGE\"",
            "\"MESSAGE\":",
            "\"MESSAGE\":[",
            "\"MESSAGE\":[1,",
            "\"MESSAGE\":[256]",
            "\"MESSAGE\":[]",
        ] {
            assert_eq!(messages.next(hostile.as_bytes(), 0), None);
        }
        let endless = format!("\"MESSAGE\":[{}", "1,".repeat(LONGEST + 1));
        assert_eq!(messages.next(endless.as_bytes(), 0), None);
    }
}
