//! How findings about Canton's files and services are shown to a person.

use crate::canton::Finding;
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
