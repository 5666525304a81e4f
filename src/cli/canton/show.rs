//! How findings about Canton's files and services are shown to a person.

use crate::canton::{Finding, Timestamp};
use crate::error::{Error, Result};
use crate::report::Severity;
use crate::shown::line;

/// The findings, worst first as they come: each with of whom it speaks, where, what it says, what it means and what to do.
pub fn findings(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let of = finding.of.as_deref().map_or(String::new(), |of| format!(" {of}"));
        let code = finding.code.as_str();
        out.push_str(&line(&format!("{severity} {code}{of}: {}", finding.message)));
        out.push('\n');
        if let Some(file) = &finding.file {
            let offset = finding
                .offset
                .map_or(String::new(), |offset| format!(", byte {offset}"));
            out.push_str(&line(&format!("    in    {file}{offset}")));
            out.push('\n');
        }
        if finding.severity > Severity::Info {
            out.push_str(&line(&format!("    means {}", finding.meaning)));
            out.push('\n');
            out.push_str(&line(&format!("    next  {}", finding.next)));
            out.push('\n');
        }
    }
    out
}

/// Between these two times there is something.
///
/// # Errors
/// A usage error where the first is later than the second.
pub fn in_order(after: Option<Timestamp>, before: Option<Timestamp>) -> Result<()> {
    match (after, before) {
        (Some(after), Some(before)) if after > before => Err(Error::Usage(format!(
            "--after {after} is later than --before {before}: nothing lies between them"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_ends_before_it_begins_is_a_usage_error_with_both_values() {
        let at = |text: &str| Timestamp::parse(text.as_bytes());
        let (early, late) = ("2024-04-21T10:00:00Z", "2024-04-21T11:00:00Z");
        let refused = in_order(at(late), at(early)).unwrap_err();
        assert!(matches!(&refused, Error::Usage(why) if why.contains(early) && why.contains(late)));
        assert!(in_order(at(early), at(late)).is_ok() && in_order(at(early), at(early)).is_ok());
        assert!(in_order(at(late), None).is_ok() && in_order(None, at(early)).is_ok());
    }
}
