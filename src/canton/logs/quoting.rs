//! Whether a record stands for itself, or another logger speaks of it: a proxy, a shipper or a test tool whose own message
//! holds a line of a participant's log.
//!
//! What carries logs adds its own fields and prefixes, and the record is the whole of what it carries. Who quotes is a logger:
//! its line has a level or a logger's name of its own beside the message, or words of its own inside of it. Where neither is
//! to be seen and words stand before the record that no known carrier puts there, it can't be told.

use memchr::memmem;
use serde_json::{Map, Value};

use super::alone::LINES;
use super::logger;
use super::wrapping;

/// What stands before a record, on its line or in its string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing, or what carries logs.
    Carrier,
    /// Words that nobody is known for.
    Words,
    /// The beginning of another logger's line.
    Logger,
}

/// Bytes before a record that are looked at.
const NEAR: usize = 512;

/// Judges what stands before a record.
pub fn before(text: &[u8]) -> Before {
    let text = text.get(text.len().saturating_sub(NEAR)..).unwrap_or_default();
    if text.trim_ascii().is_empty() || text.ends_with(b" stdout F ") || text.ends_with(b" stderr F ") {
        return Before::Carrier;
    }
    if has_level(text) {
        return Before::Logger;
    }
    let line = wrapping::unwrap(text);
    let rest = without_syslog(&line.text);
    // Journals as they are exported: with the length of what is not plain text.
    let rest = rest.strip_prefix(b"MESSAGE=").unwrap_or(rest);
    if matches!(rest, [_, _, _, 0, 0, 0, 0, 0]) {
        return Before::Carrier;
    }
    let rest = rest.trim_ascii();
    let words = || rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let is_name = |word: &[u8]| {
        let name = match word
            .strip_suffix(b":")
            .unwrap_or(word)
            .strip_suffix(b"]")
            .and_then(|word| split_last(word, b'['))
        {
            Some((name, process)) if process.iter().all(u8::is_ascii_digit) => name,
            _ => word,
        };
        let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        name.iter().all(of_name)
    };
    // `POD CONTAINER` of tools for several pods, `HOST PROGRAM[12]:` of journals.
    match rest.is_empty() || matches!(rest, b"[") || words().count() <= 2 && words().all(is_name) {
        true => Before::Carrier,
        false => Before::Words,
    }
}

fn split_last(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memrchr(at, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Without what syslog puts before a message: `<13>Apr  1 23:25:31 host program[12]: `, `<13>1 2024-… host program 12 - - `.
fn without_syslog(text: &[u8]) -> &[u8] {
    let text = match memchr::memchr(b'>', text.get(..5.min(text.len())).unwrap_or_default()) {
        Some(end) if text.starts_with(b"<") => {
            let rest = text.get(end + 1..).unwrap_or_default();
            // All seven fields are its own.
            if rest.starts_with(b"1 ") && rest.iter().filter(|byte| **byte == b' ').count() <= 7 {
                return &[];
            }
            rest
        }
        _ => text,
    };
    const MONTHS: [&[u8]; 12] = [
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ", b"Nov ", b"Dec ",
    ];
    let is_dated = MONTHS.iter().any(|month| text.starts_with(month));
    match (is_dated, text) {
        // The program's name may end in a colon without a number.
        (true, [_, _, _, b' ', _, _, b' ', _, _, b':', _, _, b':', _, _, rest @ ..]) => {
            rest.strip_suffix(b": ").unwrap_or(rest)
        }
        _ => text,
    }
}

/// Whether a level stands in it as a word, or the letter and date of klog.
fn has_level(text: &[u8]) -> bool {
    const LEVELS: [&[u8]; 8] = [
        b"info", b"debug", b"warn", b"error", b"trace", b"warning", b"notice", b"fatal",
    ];
    let parts = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'));
    let mut words = text.split(parts);
    words.any(|word| match word {
        [b'I' | b'W' | b'E' | b'F', date @ ..] if date.len() == 4 => date.iter().all(u8::is_ascii_digit),
        _ => LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)),
    })
}

/// Where a record in text begins of which `head` is what stands before its logger's name: at its date, or at the quote of
/// JSON that was not taken apart. None where nothing tells.
pub fn beginning(head: &[u8]) -> Option<usize> {
    let json = memmem::find(head, b"{\"").or_else(|| memmem::find(head, b"{\\\""));
    json.or_else(|| date(head))
}

/// Where the last date with a time begins.
fn date(head: &[u8]) -> Option<usize> {
    let at = |digits: &[usize], text: &[u8]| digits.iter().all(|at| text.get(*at).is_some_and(u8::is_ascii_digit));
    let is_date = |text: &[u8]| {
        at(&[0, 1, 2, 3, 5, 6, 8, 9, 11, 12], text)
            && text.get(4) == Some(&b'-')
            && text.get(7) == Some(&b'-')
            && matches!(text.get(10), Some(b' ' | b'T'))
            && text.get(13) == Some(&b':')
    };
    let mut dashes = memchr::memrchr_iter(b'-', head).filter_map(|dash| dash.checked_sub(4));
    dashes.find(|start| head.get(*start..).is_some_and(is_date))
}

/// Judges a record in text by all that stands before its logger's name, its level included.
pub fn before_logger(head: &[u8]) -> Before {
    match beginning(head) {
        Some(start) => before(head.get(..start).unwrap_or_default()),
        // An encoder of the operator's own: its level and thread are in it, and once each.
        None => {
            let head = head.trim_ascii_end();
            let level = head.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
            match has_level(head.get(..head.len() - level).unwrap_or_default()) {
                true => Before::Logger,
                false => Before::Carrier,
            }
        }
    }
}

/// Names of fields in which logging libraries put the logger's name.
const LOGGERS: [&str; 7] = [
    "logger_name",
    "logger",
    "loggerName",
    "log.logger",
    "LoggerName",
    "SourceContext",
    "caller",
];

/// Whether an object is a record of a logger of its own that is none of interest.
pub fn is_of_other_logger(fields: &Map<String, Value>) -> bool {
    let named = LOGGERS.iter().filter_map(|name| fields.get(*name)?.as_str());
    named
        .filter(|name| !name.is_empty())
        .any(|name| logger::kind(name.as_bytes()).is_none())
}

/// Whether what stands around a hit has to be looked at more closely before a record is read where it stands.
pub fn is_suspect(bytes: &[u8], hit: usize) -> bool {
    let from = hit.saturating_sub(NEAR);
    let near = bytes.get(from..hit).unwrap_or_default();
    let line = memchr::memrchr(b'\n', near).map_or(0, |newline| newline + 1);
    let near = near.get(line..).unwrap_or_default();
    let is_line = line > 0 || from == 0;
    // A line of an encoder, and the same in docker's.
    let rest = LINES.iter().find_map(|start| near.strip_prefix(*start));
    if let Some(rest) = rest
        && is_line
        && rest.len() <= 96
        && memchr::memchr2(b' ', b'{', rest).is_none()
    {
        return false;
    }
    // A time within JSON has a quote behind it, the time of a record in text has none.
    let is_text = |start: &usize| memchr::memchr(b'"', near.get(*start..).unwrap_or_default()).is_none();
    let start = match date(near).filter(is_text) {
        Some(start) => start,
        None => match memchr::memrchr(b'{', near) {
            Some(brace) => brace,
            None => return is_line && before_logger(near) != Before::Carrier,
        },
    };
    let head = near.get(..start).unwrap_or_default();
    let before_value = |text: &[u8]| matches!(text.trim_ascii_end().last(), None | Some(b'"' | b'}' | b']' | b'['));
    match head.trim_ascii_end().split_last() {
        None => false,
        // In a string: of whom it is stands anywhere beside it.
        Some((b'"', _)) => {
            let is_deep = memchr::memchr(b'\\', head).is_some();
            head != b"{\"log\":\"" && (is_deep || has_logger_beside(bytes, hit))
        }
        // In an object or array.
        Some((b':' | b',', key)) if before_value(key) => false,
        Some((b'[', outer)) if matches!(outer.trim_ascii_end().last(), None | Some(b':' | b',' | b'[')) => false,
        _ => before(head) != Before::Carrier,
    }
}

/// Whether a field near a hit names a logger, other than one of a document that stands in a string itself.
fn has_logger_beside(bytes: &[u8], hit: usize) -> bool {
    let from = hit.saturating_sub(2 * NEAR);
    let near = bytes.get(from..bytes.len().min(hit + 3 * NEAR)).unwrap_or_default();
    let is_escaped = |at: usize| at.checked_sub(1).and_then(|at| near.get(at)) == Some(&b'\\');
    LOGGERS.iter().any(|name| {
        memmem::find_iter(near, name.as_bytes()).any(|at| {
            let quote = at.checked_sub(1);
            quote.is_some_and(|quote| near.get(quote) == Some(&b'"') && !is_escaped(quote))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{self as logs, Scanned, Settings};
    use super::*;
    use crate::canton::Code;

    #[test]
    fn carriers_loggers_and_others_are_told_apart() {
        for carrier in [
            "",
            "2026-09-16T09:31:04.138123456Z stdout F ",
            "[pod/participant-0-abc/participant] 2026-09-16T09:31:04.138Z ",
            "participant-1  | ",
            "participant-0-abc participant ",
            "Apr 21 23:25:31 host-1 participant[123]: ",
            "<13>Apr  1 23:25:31 host-1 participant: ",
            "<13>1 2024-04-21T23:25:31Z host-1 participant 123 - - ",
            "2024-04-21T23:25:31+0200 host-1 k3s[123]: ",
        ] {
            assert_eq!(before(carrier.as_bytes()), Before::Carrier, "{carrier:?}");
        }
        for logger in [
            "2024-04-21 23:25:31,123 [env] INFO  c.d.Proxy tid:1 - forwarded ",
            "ts=2024-04-21T23:25:31Z level=info msg=\"",
            "2024/04/21 23:25:31 [error] 12#12: upstream sent ",
            "I0421 23:25:31.123456       1 proxy.go:12] ",
            "2024-04-21T23:25:31Z stdout F {\"level\":\"warn\",\"ts\":1.5,\"x\":\"",
        ] {
            assert_eq!(before(logger.as_bytes()), Before::Logger, "{logger:?}");
        }
        for words in ["the upstream said: ", "replaying: ", "line 12 was '"] {
            assert_eq!(before(words.as_bytes()), Before::Words, "{words:?}");
        }
    }

    fn scan(lines: &[String]) -> Scanned {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        logs::scan(&[path], &Settings::default(), &|_| ()).unwrap()
    }

    #[test]
    fn a_line_that_another_logger_quotes_proves_nothing() {
        let whom = "PAR::a::12205f1149bc...";
        let own = Encoder::Json.encode(&correct(1, whom, 31));
        for encoder in Encoder::ALL {
            let line = encoder.encode(&correct(1, whom, 32));
            let outer = |message: &str| Written::new(2, message).by("c.d.n.Proxy");
            let quotations = [
                Encoder::Json.encode(&outer(&line)),
                Encoder::Json.encode(&outer(&format!("forwarded: {line}"))),
                Encoder::Text.encode(&outer(&format!("forwarded: {line}"))),
                serde_json::json!({"level": "info", "caller": "a.go:1", "msg": line}).to_string(),
                serde_json::json!({"log": Encoder::Json.encode(&outer(&line)) + "\n", "stream": "stdout"}).to_string(),
                format!("2024-04-21T10:00:00Z stdout F {}", Encoder::Text.encode(&outer(&line))),
                format!("ts=2024-04-21T23:25:31Z level=info msg={}", serde_json::json!(line)),
            ];
            for quotation in quotations {
                let scanned = scan(&[own.clone(), quotation.clone()]);
                assert_eq!((scanned.hits, scanned.unattributed), (2, 1), "{quotation}");
                let about = scanned.evidence.observations.values().next().unwrap();
                assert_eq!(about.compared.len(), 1, "{quotation}");
                assert!(scanned.findings.has(Code::Unattributed) && !scanned.findings.has(Code::PerhapsQuoted));
            }
        }
    }

    #[test]
    fn carriers_that_know_no_logger_are_believed_and_where_it_cannot_be_told_the_place_is_said() {
        for encoder in Encoder::ALL {
            let line = encoder.encode(&correct(1, "PAR::a::12205f1149bc...", 32));
            for (carried, is_doubtful) in [
                (format!("Apr 21 23:25:31 host participant[12]: {line}"), false),
                (format!("2024-04-21T23:25:31+0200 host k3s[12]: {line}"), false),
                (format!("participant-0 participant {line}"), false),
                (
                    serde_json::json!({"MESSAGE": line, "_PID": "12", "PRIORITY": "6"}).to_string(),
                    false,
                ),
                (serde_json::json!({"event": line, "sourcetype": "x"}).to_string(), false),
                (
                    serde_json::json!({"body": line, "severityText": "INFO"}).to_string(),
                    false,
                ),
                (format!("the upstream said: {line}"), true),
            ] {
                let scanned = scan(&[carried.clone(), String::new()]);
                assert_eq!((scanned.hits, scanned.unattributed), (1, 0), "{carried}");
                let finding = scanned
                    .findings
                    .finish()
                    .into_iter()
                    .find(|one| one.code == Code::PerhapsQuoted);
                assert_eq!(finding.is_some(), is_doubtful, "{carried}");
                if let Some(finding) = finding {
                    assert!(finding.file.unwrap().ends_with("app.log") && finding.offset == Some(0));
                }
            }
        }
    }

    #[test]
    fn colours_of_a_console_change_nothing() {
        let text = Encoder::Text.encode(&correct(1, "PAR::a::12205f1149bc...", 32));
        let coloured = text
            .replace("2024-04-21 10", "\u{1b}[2m2024-04-21 10")
            .replace(" INFO ", " \u{1b}[0;39m\u{1b}[34mINFO \u{1b}[0;39m")
            .replace(" c.d.", " \u{1b}[36mc.d.")
            .replace(" tid:", "\u{1b}[0;39m tid:")
            .replace("PAR::a", "\u{1b}[1mPAR::a")
            .replace("Z)", "Z\u{1b}[m)");
        let json = Encoder::Json.encode(&correct(1, "PAR::a::12205f1149bc...", 32));
        for line in [
            coloured.clone(),
            format!("2024-04-21T10:00:00Z stdout F {coloured}"),
            serde_json::json!({"log": coloured.clone() + "\n", "stream": "stdout"}).to_string(),
            serde_json::json!({"textPayload": coloured}).to_string(),
            format!("\u{1b}[32m{json}\u{1b}[0m"),
        ] {
            let scanned = scan(&[line.clone(), String::new()]);
            assert_eq!((scanned.hits, scanned.unattributed), (1, 0), "{line:?}");
            let (synchronizer, about) = scanned.evidence.observations.iter().next().unwrap();
            assert_eq!(
                (synchronizer.as_str(), about.compared.len()),
                ("global-domain::1220e959c972", 1),
                "{line:?}"
            );
            assert!(
                scanned
                    .findings
                    .finish()
                    .iter()
                    .all(|one| one.code == Code::OwnerUnknown),
                "{line:?}"
            );
        }
    }
}
