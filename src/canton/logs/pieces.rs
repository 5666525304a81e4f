//! Lines that a runtime cut into pieces of 16 KiB, where a rotation came between two of them: then one file ends with a piece,
//! and the next begins with the rest.

use super::wrapping::{Line, unwrap};
use crate::canton::Timestamp;

/// Pieces of a line that are looked at, from its last one on.
const MOST: usize = 64;
/// Seconds between two pieces of a line: a runtime reads them one right after the other.
const APART_S: i64 = 5;

/// Where the line begins whose pieces end a file, if these do not end it. `text` begins somewhere before.
pub fn open_line(text: &[u8]) -> Option<usize> {
    let mut start = text.len();
    for _ in 0..MOST {
        let Some((before, line)) = text.get(..start).and_then(last_line) else {
            break;
        };
        if !is_piece(&unwrap(line)) {
            break;
        }
        start = before;
    }
    (start < text.len()).then_some(start)
}

/// The last line of a text that ends with a line break, and where it begins. What begins before the text is no line.
fn last_line(text: &[u8]) -> Option<(usize, &[u8])> {
    let text = text.strip_suffix(b"\n")?;
    let start = memchr::memrchr(b'\n', text).map_or(0, |newline| newline + 1);
    Some((start, text.get(start..)?))
}

/// Whether a logged line goes on in the next one.
pub fn is_piece(line: &Line<'_>) -> bool {
    line.is_of_runtime && line.is_partial
}

/// Whether what begins a file goes on with the piece that ends the file before: it is of the same stream, and follows at once.
pub fn go_on(end: &[u8], begin: &[u8]) -> bool {
    let Some((_, last)) = last_line(end) else {
        return false;
    };
    let first = begin.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let (of_last, of_first) = (unwrap(last), unwrap(first));
    let follows = match (time(last), time(first)) {
        (Some(last), Some(first)) => first >= last && first <= last.plus_seconds(APART_S),
        _ => false,
    };
    is_piece(&of_last) && of_first.is_of_runtime && of_first.stream == of_last.stream && follows
}

/// When a runtime took a line: before it, or in docker's last field. Of times with an offset both have the same one.
fn time(line: &[u8]) -> Option<Timestamp> {
    let at = match line.starts_with(b"{") {
        true => memchr::memmem::rfind(line, b"\"time\":\"")? + 8,
        false => 0,
    };
    let rest = line.get(at..)?;
    let is_of_time = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'T' | b':' | b'.');
    let length = rest.iter().take(32).take_while(is_of_time).count();
    let date = rest.get(..length)?;
    // An offset to the west looks like one more part of the date.
    let date = match date.iter().enumerate().skip(11).find(|(_, byte)| **byte == b'-') {
        Some((west, _)) => date.get(..west)?,
        None => date,
    };
    let mut text = date.to_vec();
    text.push(b'Z');
    Timestamp::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Scanned, Settings, scan};
    use crate::canton::Code;

    fn rotated(first: &str, second: &str) -> Scanned {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("0.log.20240421-232500"), first).unwrap();
        std::fs::write(directory.path().join("0.log"), second).unwrap();
        scan(&[directory.path().to_owned()], &Settings::default(), &|_| ()).unwrap()
    }

    #[test]
    fn a_line_whose_pieces_are_in_two_files_is_put_together_where_they_follow_each_other() {
        let line = |minute: u32| Encoder::Json.encode(&correct(1, "PAR::a::12205f1149bc...", minute));
        let (whole, cut) = (line(31), line(32));
        let (one, two) = cut.split_at(cut.find(" and period").unwrap());
        let cri = |second: u32, tag: &str, text: &str| {
            format!("2024-04-21T23:25:{second:02}.123456789+02:00 stdout {tag} {text}\n")
        };
        let docker = |second: u32, text: &str| {
            let time = format!("2024-04-21T23:25:{second:02}.123456789Z");
            format!(
                r#"{{"log":{},"stream":"stdout","time":"{time}"}}"#,
                serde_json::json!(text)
            ) + "\n"
        };
        for (first, second) in [
            (
                cri(1, "F", &whole) + &cri(2, "P", one),
                cri(2, "F", two) + &cri(3, "F", &line(33)),
            ),
            (
                cri(1, "F", &whole) + &cri(2, "P", &one[..9]) + &cri(2, "P", &one[9..]),
                cri(2, "F", two) + &cri(3, "F", &line(33)),
            ),
            (
                cri(1, "F", &whole) + &cri(2, "P", one),
                cri(2, "P", &two[..9]) + &cri(2, "F", &two[9..]) + &cri(3, "F", &line(33)),
            ),
            (
                docker(1, &(whole.clone() + "\n")) + &docker(2, one),
                docker(2, &format!("{two}\n")) + &docker(3, &(line(33) + "\n")),
            ),
        ] {
            let scanned = rotated(&first, &second);
            let about = scanned.evidence.observations.values().next().unwrap();
            assert_eq!((about.compared.len(), scanned.hits), (3, 3), "{first}{second}");
            assert!(!scanned.findings.has(Code::PieceAlone) && !scanned.findings.has(Code::NotUnderstood));
        }
        // The rest of another line, an hour later, of the other stream, or none at all.
        for second in [
            cri(40, "F", two),
            cri(1, "F", two),
            cri(2, "F", two).replace("stdout", "stderr"),
            String::new(),
        ] {
            let scanned = rotated(&(cri(1, "F", &whole) + &cri(2, "P", one)), &second);
            let about = scanned.evidence.observations.values().next().unwrap();
            assert_eq!(about.compared.len(), 1, "{second}");
            let found = scanned.findings.finish();
            let alone = found.iter().find(|one| one.code == Code::PieceAlone).unwrap();
            assert!(
                alone.file.as_ref().unwrap().ends_with("0.log.20240421-232500"),
                "{second}"
            );
        }
    }
}
