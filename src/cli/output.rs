//! The only way from the command line's code to a terminal: whatever is in what it says, nothing comes out that a terminal
//! acts on. A reader of stdout that goes away is not an error, everything else is.

use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::report::{Finding, Severity};
use crate::shown::{self, line, lines};

/// Writes bytes to stdout as they are: a signed request, a completion script, a manual page.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => Err(Error::io("write", Path::new("stdout"))(why)),
        _ => Ok(()),
    }
}

/// Writes text to stdout.
pub fn text(text: &str) -> Result<()> {
    bytes(lines(text).as_bytes())
}

/// Writes text to stderr. Whether anybody hears it changes nothing.
pub fn notice(text: &str) {
    let _ = std::io::stderr().lock().write_all(lines(text).as_bytes());
}

/// Writes one JSON document to stdout.
pub fn json(document: &impl Serialize) -> Result<()> {
    let mut text =
        serde_json::to_vec(document).map_err(|e| Error::Unreadable(format!("could not serialise the report: {e}")))?;
    shown::json(&mut text);
    text.push(b'\n');
    bytes(&text)
}

/// The findings for a person: worst first, each with its place, what it says, and what to do.
pub fn findings(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut out = String::new();
    for finding in sorted {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        out.push_str(&format!("{severity} {}", finding.code.as_str()));
        if let Some(seqno) = finding.seqno {
            out.push_str(&format!(" at seqno {seqno}"));
        }
        out.push_str(&format!(": {}\n", line(&finding.message)));
        if let Some(file) = &finding.file {
            let offset = finding
                .offset
                .map_or(String::new(), |offset| format!(", byte {offset}"));
            out.push_str(&format!("    in   {}{offset}\n", line(file)));
        }
        if finding.severity > Severity::Info {
            if let Some(seqno) = finding.proven_to {
                out.push_str(&format!("    proven up to seqno {seqno}\n"));
            }
            out.push_str(&format!("    next {}\n", line(&finding.next)));
        }
    }
    out
}

/// A number of bytes for a person.
pub fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A count for a person: digits in groups of three.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
