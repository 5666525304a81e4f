//! Text of unknown origin, made fit to be shown: the only place that decides what may reach a terminal or a log.
//!
//! Ledgers, names of files, certificates, arguments and answers of servers may hold whatever somebody wrote there: escape
//! sequences that repaint a screen, line breaks that forge a verdict, marks that turn the reading direction round, and
//! characters that nobody sees. [`line()`] shows each as an escape. [`Show::shown`] does so for paths, such that two paths are
//! never shown alike. [`json`] does it for JSON, which stays the same document.
//!
//! Escaping twice changes nothing more, so it is done where foreign text enters a sentence ([`crate::Error`], findings) and
//! again where bytes leave the process.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether a terminal only draws this character: it is no control character (C0, DEL, C1), does not break a line, turn
/// the reading direction, or stay invisible (Unicode's Default_Ignorable_Code_Point, Bidi_Control, and interlinear marks).
pub fn is_plain(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let fits = |c: char| is_plain(c) || keep(c);
    if text.chars().all(fits) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match fits(c) {
            true => out.push(c),
            false => out.extend(c.escape_default()),
        }
    }
    Cow::Owned(out)
}

/// Text on one line: whatever a terminal would do anything with but draw it, line breaks too, is shown as `\n`, `\u{202e}`.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Characters of an excerpt.
const EXCERPT: usize = 400;

/// As [`line()`], and no more of it than helps: what is wrong with something foreign is said in words that may quote it, and it
/// may be of any length.
pub fn excerpt(text: &str) -> String {
    let end = text.char_indices().nth(EXCERPT).map_or(text.len(), |(at, _)| at);
    let mut out = line(text.get(..end).unwrap_or_default()).into_owned();
    if end < text.len() {
        out.push_str("...");
    }
    out
}

/// The same for text of this program's own making, whose line breaks are meant.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// Something that can be displayed, on one line as [`line()`] shows it: an error of a library, a field of a log.
pub struct Shown<T>(pub T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&line(text))
    }
}

/// A path that can be shown: every other path looks different.
#[derive(Clone, Copy)]
pub struct ShownPath<'a>(&'a Path);

impl Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            for (i, part) in chunk.valid().split('\\').enumerate() {
                // A backslash would make a name that holds `\n` look like one that holds a line break.
                f.write_str(if i > 0 { "\\\\" } else { "" })?;
                f.write_str(&line(part))?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// What can be shown only with care.
pub trait Show {
    /// For people: what can't be drawn is escaped, and so is a backslash.
    fn shown(&self) -> ShownPath<'_>;
}

impl Show for Path {
    fn shown(&self) -> ShownPath<'_> {
        ShownPath(self)
    }
}

/// Seconds since 1970 as `2026-10-01T12:00:00Z`.
pub fn date(unix_s: u64) -> String {
    i64::try_from(unix_s)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| format!("{unix_s} seconds after 1970"))
}

/// Serialises a path as it is shown: one that is no UTF-8 too.
///
/// # Errors
/// The serialiser's.
pub fn serialize_path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.shown())
}

/// Escapes in finished JSON what serde_json leaves as it is and a terminal acts on: DEL, C1, invisible and turning marks
/// become `\uXXXX`. These stand in strings only, so the document means the same.
pub fn json(document: &mut Vec<u8>) {
    // Text without any of these bytes, as nearly all is, is done after one pass over it.
    if !document.iter().any(|&byte| byte >= 0x7f) {
        return;
    }
    let Cow::Owned(escaped) = json_text(&String::from_utf8_lossy(document)) else {
        return;
    };
    *document = escaped.into_bytes();
}

/// [`json`] for text.
pub fn json_text(document: &str) -> Cow<'_, str> {
    // Line breaks and tabs are the document's own: in strings serde_json has escaped them.
    let stays = |c: char| is_plain(c) || c.is_ascii_whitespace();
    if document.chars().all(stays) {
        return Cow::Borrowed(document);
    }
    let mut out = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        match stays(c) {
            true => out.push(c),
            false => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(out)
}

/// A log's writer: each event comes as one piece, and leaves as one line.
pub struct LogLines<W> {
    out: W,
    is_json: bool,
}

impl<W: std::io::Write> LogLines<W> {
    /// Writes to `out` lines of text, or of JSON.
    pub fn new(out: W, is_json: bool) -> Self {
        LogLines { out, is_json }
    }
}

impl<W: std::io::Write> std::io::Write for LogLines<W> {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let mut shown = match self.is_json {
            true => json_text(body).into_owned(),
            false => line(body).into_owned(),
        };
        shown.push('\n');
        // Where nobody reads the log, there is nobody to tell either.
        let _ = self.out.write_all(shown.as_bytes()).and_then(|()| self.out.flush());
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    /// One of every kind of what must not come through.
    const HOSTILE: &str = "a\u{0}\u{7}\u{8}\t\n\r\u{1b}[2J\u{7f}\u{9b}1m\u{85}\u{ad}\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\
        \u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{fff9}\u{e0041}z";

    #[test]
    fn what_a_terminal_acts_on_or_hides_is_escaped_and_what_it_draws_stays() {
        let shown = line(HOSTILE);
        assert!(shown.chars().all(is_plain), "{shown}");
        assert!(
            shown.starts_with("a\\u{0}") && shown.contains("\\n\\r\\u{1b}[2J\\u{7f}\\u{9b}1m") && shown.ends_with('z')
        );
        for text in ["plain \"text\" \\n", "Zürich, 東京, Ελλάδα, עברית, 😀"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(line(&line(HOSTILE)), shown, "escaping twice changes nothing");
        assert_eq!(lines("a\nb\u{1b}"), "a\nb\\u{1b}");
        assert_eq!(
            Shown(format_args!("{}{}", "a\n", '\u{202e}')).to_string(),
            "a\\n\\u{202e}"
        );
    }

    #[test]
    fn two_paths_are_never_shown_alike() {
        let names: [&[u8]; 8] = [
            b"a\nb",
            b"a\\nb",
            b"a\\\\nb",
            b"a\\\nb",
            b"a\xffb",
            b"a\xfeb",
            b"a\\xffb",
            "a\u{fffd}b".as_bytes(),
        ];
        let mut shown: Vec<String> = names
            .iter()
            .map(|name| Path::new(OsStr::from_bytes(name)).shown().to_string())
            .collect();
        assert!(shown.iter().all(|shown| shown.chars().all(is_plain)), "{shown:?}");
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), names.len(), "{shown:?}");
        assert_eq!(
            Path::new("/var/ledger_1-9.committed").shown().to_string(),
            "/var/ledger_1-9.committed"
        );
    }

    #[test]
    fn json_is_the_same_document_and_holds_nothing_but_what_can_be_drawn() {
        let document = serde_json::json!({ HOSTILE: [HOSTILE, 1, {"é": "東"}] });
        for mut text in [
            serde_json::to_vec(&document).unwrap(),
            serde_json::to_vec_pretty(&document).unwrap(),
        ] {
            json(&mut text);
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), document);
            let text = String::from_utf8(text).unwrap();
            assert!(text.chars().all(|c| c == '\n' || is_plain(c)), "{text:?}");
            assert!(text.contains('é') && text.contains("\\udb40\\udc41"));
        }
    }

    #[test]
    fn an_event_is_one_line_of_a_log() {
        use std::io::Write;
        let (mut text, mut json) = (Vec::new(), Vec::new());
        LogLines::new(&mut text, false)
            .write_all(format!("{HOSTILE}\n").as_bytes())
            .unwrap();
        let event = serde_json::json!({ "message": HOSTILE });
        LogLines::new(&mut json, true)
            .write_all(format!("{event}\n").as_bytes())
            .unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), format!("{}\n", line(HOSTILE)));
        let json = String::from_utf8(json).unwrap();
        assert_eq!(json.lines().count(), 1);
        assert!(json.trim_end().chars().all(is_plain));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), event);
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(date(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(date(u64::MAX), "18446744073709551615 seconds after 1970");
    }
}
