//! The parts that documents are made of, and their style sheet: each says in words and by shape what it says by colour.
//!
//! All text that is given is escaped here, and shown on one line as [`crate::shown::line`] does it. Tables become lists of cards
//! where the screen is narrow, and keep their roles for those who hear them.

use maud::{Markup, html};

use crate::crypto::Digest;
use crate::report::{Finding, Severity};
use crate::shown::{excerpt, line};

use super::words;

/// The style sheet: light and dark, narrow and wide, on paper, without colours, without motion.
pub const STYLE: &str = include_str!("look.css");

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Not as it should be, and nothing is lost.
    Warning,
    /// Something is wrong.
    Bad,
    /// Going on.
    Now,
    /// Not yet.
    Later,
}

impl Kind {
    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Kind::Good => "good",
            Kind::Note => "note",
            Kind::Warning => "warning",
            Kind::Bad => "bad",
            Kind::Now => "now",
            Kind::Later => "later",
        }
    }

    /// A shape that differs from the others' without colour.
    pub fn shape(self) -> &'static str {
        match self {
            Kind::Good => "✓",
            Kind::Note => "i",
            Kind::Warning => "!",
            Kind::Bad => "✗",
            Kind::Now => "▶",
            Kind::Later => "○",
        }
    }
}

impl From<Severity> for Kind {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Kind::Note,
            Severity::Warning => Kind::Warning,
            Severity::Error => Kind::Bad,
        }
    }
}

/// A few words with a mark, in a line of text.
pub fn badge(kind: Kind, text: &str) -> Markup {
    html! {
        span class={ "badge " (kind.class()) } {
            span class="shape" aria-hidden="true" { (kind.shape()) } " " (line(text))
        }
    }
}

/// A part of the document under a heading, which `id` (letters and hyphens) makes a place to jump to.
pub fn section(id: &str, heading: &str, content: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-heading" } {
            h2 id={ (id) "-heading" } { (line(heading)) }
            (content)
        }
    }
}

/// Names and what they stand for.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl class="facts" {
            @for (name, value) in facts {
                div { dt { (line(name)) } dd { (value) } }
            }
        }
    }
}

/// A table: the first cell of each row is the row's heading. A row has as many cells as there are `heads`.
pub fn table(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        table role="table" {
            caption { (line(caption)) }
            thead role="rowgroup" {
                tr role="row" { @for head in heads { th role="columnheader" scope="col" { (line(head)) } } }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (place, (cell, head)) in row.iter().zip(heads).enumerate() {
                            @if place == 0 {
                                th role="rowheader" scope="row" data-head=(line(head)) { (cell) }
                            } @else {
                                td role="cell" data-head=(line(head)) { (cell) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A share of a whole as a bar, with the text that says the same; `done` of `whole`, of which more than all is all.
pub fn bar(label: &str, done: u64, whole: u64) -> Markup {
    let whole = whole.max(1);
    html! {
        div class="bar" {
            progress max=(whole) value=(done.min(whole)) aria-label=(line(label)) {}
            span { (percent(done, whole)) }
        }
    }
}

fn percent(done: u64, whole: u64) -> String {
    let thousandths = u128::from(done.min(whole)) * 1000 / u128::from(whole.max(1));
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// A fingerprint in both forms: words to read over a phone, and all of its hex digits.
pub fn fingerprint(fingerprint: &Digest) -> Markup {
    html! {
        div class="fingerprint" {
            ol class="words" aria-label="Words" { @for word in words::of(fingerprint) { li { (word) } } }
            code class="hex" { @for group in words::groups(fingerprint) { span { (group) } " " } }
        }
    }
}

/// Findings that [`findings`] shows.
const MOST_FINDINGS: usize = 40;

/// Findings, the worst first, each with what to do next; `none` is said where there are none, and `more` where not all are shown.
pub fn findings(findings: &[Finding], none: &str, more: &str) -> Markup {
    let mut worst_first: Vec<&Finding> = findings.iter().collect();
    worst_first.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let rest = findings.len().saturating_sub(MOST_FINDINGS);
    html! {
        @if findings.is_empty() {
            p { (badge(Kind::Good, none)) }
        } @else {
            ul class="findings" {
                @for finding in worst_first.into_iter().take(MOST_FINDINGS) { (self::finding(None, finding)) }
            }
            @if rest > 0 { p class="quiet" { (rest) " more: " (more) } }
        }
    }
}

/// One finding; `id` makes it a place to jump to. It may quote what is foreign, of any length: as much is shown as helps.
pub(super) fn finding(id: Option<&str>, finding: &Finding) -> Markup {
    let kind = Kind::from(finding.severity);
    let severity = match finding.severity {
        Severity::Info => "information",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    html! {
        li id=[id] class={ "finding " (kind.class()) } {
            p { (badge(kind, severity)) " " code { (finding.code.as_str()) } " " (excerpt(&finding.message)) }
            @if let Some(place) = place(finding) { p class="place" { (place) } }
            p class="next" { strong { "What to do: " } (excerpt(&finding.next)) }
        }
    }
}

fn place(finding: &Finding) -> Option<String> {
    let places = [
        finding.file.as_deref().map(excerpt),
        finding.offset.map(|offset| format!("byte {offset}")),
        finding.seqno.map(|seqno| format!("seqno {seqno}")),
        finding.proven_to.map(|seqno| format!("proven up to seqno {seqno}")),
    ];
    let places: Vec<_> = places.into_iter().flatten().collect();
    (!places.is_empty()).then(|| places.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Code;

    #[test]
    fn every_kind_has_a_shape_of_its_own() {
        let kinds = [Kind::Good, Kind::Note, Kind::Warning, Kind::Bad, Kind::Now, Kind::Later];
        let shapes: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.shape()).collect();
        assert_eq!(shapes.len(), kinds.len());
        assert!(kinds.iter().all(|kind| STYLE.contains(&format!(".{}", kind.class()))));
    }

    #[test]
    fn foreign_text_is_text() {
        let hostile = "</td><script>alert(1)</script>\" onload=\"x\u{202e}\u{1b}";
        let mut found = Finding::new(Code::Unproven, hostile).next(hostile);
        found.file = Some(hostile.to_owned());
        let all = [
            badge(Kind::Bad, hostile),
            section("a", hostile, &html! {}),
            facts(&[(hostile, html! { (hostile) })]),
            table(hostile, &[hostile], &[vec![html! { (line(hostile)) }]]),
            bar(hostile, 1, 2),
            findings(&[found], "", ""),
        ];
        for markup in all {
            let text = markup.into_string();
            assert!(!text.contains("<script") && !text.contains("\" onload"), "{text}");
        }
        assert!(!badge(Kind::Bad, hostile).into_string().contains(['\u{202e}', '\u{1b}']));
    }

    #[test]
    fn of_many_findings_the_worst_are_shown_and_none_is_long() {
        let long = "x".repeat(1 << 20);
        let note = Finding::new(Code::Unsigned, long.as_str()).next(long.as_str());
        let mut found = vec![note; 99];
        found.push(Finding::new(Code::EntryDiffers, "the worst"));
        let text = findings(&found, "", "in the log").into_string();
        assert!(text.len() < 100_000, "{}", text.len());
        assert!(text.contains("the worst") && text.contains("60 more: in the log"));
    }

    #[test]
    fn a_bar_is_never_more_than_full() {
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(u64::MAX, 3), "100.0 %");
        assert_eq!(percent(0, 0), "0.0 %");
        assert!(bar("x", 9, 3).into_string().contains("max=\"3\" value=\"3\""));
    }
}
