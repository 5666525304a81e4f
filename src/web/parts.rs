//! What the reports have in common: the answer in large letters, findings by number with marks that lead to them, places that share a
//! mark where they lie close together, and numbers for people.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, Render, html};

use crate::format::Seqno;
use crate::report::{Code, Finding, Severity};
use crate::shown::line;

use super::look::{self, Kind, badge, table};
use super::number;
use super::page::file_with;
use super::picture::{self, Fill, Mark, Picture, Range, Row, Shape, Sign, patterns, seqnos};

/// Marks that one row of a picture has at most; what lies closer shares one.
const PLACES: f64 = 90.0;
/// Bands with a frame of their own; where there are more, how many begin where is drawn.
const BANDS: usize = 60;
/// Rows of a table: more help nobody who looks at a page.
pub const TABLE_ROWS: usize = 60;
/// Characters of the command that is shown: more are the names of thousands of files.
const COMMAND: usize = 4000;
/// Bytes of findings that one list has, roughly; every kind is there at least once.
pub const FINDINGS_BYTES: usize = 80_000;

/// The answer, in large letters.
pub fn verdict(kind: Kind, word: &str, sentence: &str) -> Markup {
    html! {
        p class={ "verdict " (kind.class()) } {
            span class="shape" aria-hidden="true" { (kind.shape()) } " " (line(word)) ": "
            span class="words-of-it" { (line(sentence)) }
        }
    }
}

/// What the marks of findings mean, in every picture that has some.
const SEVERITIES: [(Sign, &str); 3] = [
    (Sign::Mark(Shape::Cross), "an error"),
    (Sign::Mark(Shape::Triangle), "a warning"),
    (Sign::Mark(Shape::Ring), "worth knowing"),
];

/// What a picture of findings has to explain: its own signs, and the marks of findings.
pub fn legend(own: &[(Sign, &'static str)]) -> Vec<(Sign, &'static str)> {
    own.iter().chain(&SEVERITIES).copied().collect()
}

/// What made a report: the command as it can be shown, and when, in seconds since 1970.
pub struct Made<'a> {
    /// The command.
    pub command: &'a str,
    /// The time.
    pub unix_s: u64,
}

/// A report as a file: the answer, the rest, and what made it.
pub fn report(title: &str, answer: &Markup, rest: &Markup, made: &Made<'_>) -> String {
    let end = made
        .command
        .char_indices()
        .nth(COMMAND)
        .map_or(made.command.len(), |(at, _)| at);
    let shown = made.command.get(..end).unwrap_or_default();
    let body = html! {
        (answer)
        (patterns())
        (rest)
        p class="made" {
            "Written by rekindle " (env!("CARGO_PKG_VERSION")) ", "
            code { (line(shown)) @if end < made.command.len() { "..." } } ", on "
            (crate::shown::date(made.unix_s)) ". This file needs nothing else and holds no secret."
        }
    };
    file_with(title, picture::STYLE, &body)
}

/// A table of which only the first rows are shown.
pub fn first_rows<T>(caption: &str, heads: &[&str], rows: &[T], row: impl Fn(&T) -> Vec<Markup>) -> Markup {
    let shown: Vec<Vec<Markup>> = rows.iter().take(TABLE_ROWS).map(row).collect();
    html! {
        (table(caption, heads, &shown))
        @if rows.len() > TABLE_ROWS {
            p class="quiet" { (number::count((rows.len() - TABLE_ROWS) as u64)) " more: run the command with --json." }
        }
    }
}

/// Things that follow each other, each up to where the next begins: `(from, label, title)`.
pub fn bands(row: Row, began: &[(Seqno, String, String)], until: Seqno, picture: &Picture) -> Row {
    if began.len() > BANDS {
        let places = began.iter().map(|(from, ..)| *from as f64);
        return heights(row, places, picture);
    }
    let ends = began
        .iter()
        .skip(1)
        .map(|(from, ..)| from.saturating_sub(1))
        .chain([until]);
    let ranges = began
        .iter()
        .zip(ends)
        .enumerate()
        .map(|(place, ((from, label, title), to))| {
            let fill = Fill::Band(place % 2 == 1);
            seqnos(*from, to.max(*from), fill, label.as_str(), title.as_str())
        });
    Row {
        ranges: ranges.collect(),
        ..row
    }
}

fn heights(row: Row, places: impl Iterator<Item = f64>, picture: &Picture) -> Row {
    let width = (picture.to - picture.from).max(f64::MIN_POSITIVE) / PLACES;
    let mut counts = vec![0; PLACES as usize];
    for place in places {
        if let Some(count) = counts.get_mut(((place - picture.from) / width).max(0.0) as usize) {
            *count += 1;
        }
    }
    Row {
        heights: Some((picture.from, width, counts)),
        ..row
    }
}

/// Ranges of which those that touch and are of one kind have become one, until there are few.
pub fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by(|a, b| a.from.total_cmp(&b.from));
    while ranges.len() > BANDS * 2 {
        let count = ranges.len();
        let mut fewer: Vec<Range> = Vec::with_capacity(count / 2 + 1);
        let mut is_joined = false;
        for range in ranges {
            match fewer.last_mut() {
                Some(last) if !is_joined && last.fill == range.fill && last.to >= range.from => {
                    last.to = last.to.max(range.to);
                    last.label.clear();
                    last.title = format!("several, up to {}", number::count((last.to - 1.0).max(0.0) as u64));
                    is_joined = true;
                }
                _ => {
                    fewer.push(range);
                    is_joined = false;
                }
            }
        }
        ranges = fewer;
        if ranges.len() == count {
            ranges = ranges.chunks(2).filter_map(in_pairs).collect();
        }
    }
    ranges
}

/// Two neighbours of different kinds as one: that something is missing weighs more.
fn in_pairs(pair: &[Range]) -> Option<Range> {
    let (first, last) = (pair.first()?, pair.last()?);
    let gap = pair.iter().find(|range| range.fill == Fill::Missing);
    Some(Range {
        to: last.to,
        fill: gap.unwrap_or(first).fill,
        label: String::new(),
        title: format!(
            "several, some of them not there, up to {}",
            number::count((last.to - 1.0).max(0.0) as u64)
        ),
        ..first.clone()
    })
}

/// Marks, of which those that would lie on each other are one: each `(at, words)`.
pub fn marks(shape: Shape, places: &[(f64, String)], picture: &Picture) -> Vec<Mark> {
    let shared = share(places.iter().map(|(at, _)| *at), picture);
    let of_place = |indices: Vec<usize>| {
        let first = places.get(*indices.first()?)?;
        let words = indices.iter().take(3).filter_map(|index| places.get(*index));
        let words: Vec<&str> = words.map(|(_, words)| words.as_str()).collect();
        Some(Mark {
            at: first.0,
            shape,
            label: String::new(),
            title: together(&words, indices.len()),
            link: None,
        })
    };
    shared.into_iter().filter_map(of_place).collect()
}

/// Which of these places share one of [`PLACES`], in their order.
fn share(places: impl Iterator<Item = f64>, picture: &Picture) -> Vec<Vec<usize>> {
    let width = (picture.to - picture.from).max(f64::MIN_POSITIVE) / PLACES;
    let mut shared: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (index, at) in places.enumerate() {
        if (picture.from..=picture.to).contains(&at) {
            let place = ((at - picture.from) / width) as i64;
            shared.entry(place).or_default().push(index);
        }
    }
    shared.into_values().collect()
}

fn together(words: &[&str], count: usize) -> String {
    match count {
        0 | 1 => words.join(""),
        _ => {
            let more = if count > words.len() { "; ..." } else { "" };
            format!("{count} here: {}{more}", words.join("; "))
        }
    }
}

/// Findings, each with a number in the document.
pub struct Numbered<'a> {
    /// What their numbers begin with: one list's differs from another's.
    prefix: String,
    /// Worst first, then by place.
    all: Vec<&'a Finding>,
    /// Which of them are listed one by one.
    listed: BTreeSet<usize>,
}

impl<'a> Numbered<'a> {
    /// Those of a report. About `bytes` bytes of them are listed one by one, and of every kind the first.
    pub fn new(prefix: &str, findings: &'a [Finding], bytes: usize) -> Numbered<'a> {
        let mut all: Vec<&Finding> = findings.iter().collect();
        all.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.seqno.unwrap_or(Seqno::MAX)));
        let mut codes: BTreeSet<Code> = BTreeSet::new();
        let mut listed: BTreeSet<usize> = BTreeSet::new();
        let mut left = bytes;
        for (index, finding) in all.iter().enumerate() {
            if codes.insert(finding.code) {
                listed.insert(index);
                left = left.saturating_sub(size_of(finding));
            }
        }
        for (index, finding) in all.iter().enumerate() {
            let size = size_of(finding);
            if listed.contains(&index) || size > left {
                continue;
            }
            listed.insert(index);
            left -= size;
        }
        Numbered {
            prefix: prefix.to_owned(),
            all,
            listed,
        }
    }

    /// Where one of them is told of: by itself, or with its kind.
    fn id(&self, index: usize) -> String {
        match self.listed.contains(&index) {
            true => format!("{}-{}", self.prefix, index + 1),
            false => {
                let code = self.all.get(index).map_or("", |finding| finding.code.as_str());
                format!("{}-{code}", self.prefix)
            }
        }
    }

    /// `2 errors, 1 warning`.
    pub fn in_words(&self) -> String {
        let count = |severity| self.all.iter().filter(|finding| finding.severity == severity).count();
        let words = [
            (count(Severity::Error), "error", "errors"),
            (count(Severity::Warning), "warning", "warnings"),
            (count(Severity::Info), "note", "notes"),
        ];
        let words: Vec<String> = words
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| {
                format!(
                    "{} {}",
                    number::count(count as u64),
                    if count == 1 { one } else { many }
                )
            })
            .collect();
        match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(", "),
        }
    }

    /// Marks for those that have a place in the picture, the worst of those that lie close together on top.
    pub fn marks(&self, picture: &Picture) -> Vec<Mark> {
        let placed: Vec<(usize, &Finding, f64)> = self
            .all
            .iter()
            .enumerate()
            .filter_map(|(index, finding)| Some((index, *finding, finding.seqno? as f64)))
            .collect();
        let shared = share(placed.iter().map(|(.., at)| *at), picture);
        let of_place = |indices: Vec<usize>| {
            // They come worst first.
            let (index, worst, at) = placed.get(*indices.first()?)?;
            let words: Vec<String> = indices
                .iter()
                .take(3)
                .filter_map(|index| placed.get(*index))
                .map(|(_, finding, _)| in_short(finding))
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            Some(Mark {
                at: *at,
                shape: match worst.severity {
                    Severity::Error => Shape::Cross,
                    Severity::Warning => Shape::Triangle,
                    Severity::Info => Shape::Ring,
                },
                label: label_of(
                    indices
                        .iter()
                        .filter_map(|index| placed.get(*index))
                        .map(|(_, finding, _)| *finding),
                ),
                title: together(&words, indices.len()),
                link: Some(self.id(*index)),
            })
        };
        shared.into_iter().filter_map(of_place).collect()
    }

    fn of_kind(&self) -> BTreeMap<Code, Vec<usize>> {
        let mut kinds: BTreeMap<Code, Vec<usize>> = BTreeMap::new();
        for (index, finding) in self.all.iter().enumerate() {
            kinds.entry(finding.code).or_default().push(index);
        }
        kinds
    }

    /// A table of the kinds, with how many there are of each.
    fn kinds(&self) -> Markup {
        html! {
            @for (code, indices) in self.of_kind() {
                @let unlisted = indices.iter().filter(|index| !self.listed.contains(index)).count();
                @if unlisted > 0 {
                    p class="quiet" id={ (self.prefix) "-" (code.as_str()) } {
                        (number::count(unlisted as u64)) " more of the kind " code { (code.as_str()) }
                        " (" (code.meaning().trim_end_matches('.')) ") are not listed here: run the command with --json."
                    }
                }
            }
        }
    }
}

/// The code of the worst of these, which come worst first, and how many there are. That something is after the last signature
/// says less than why.
fn label_of<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let findings: Vec<&Finding> = findings.collect();
    let worst = findings.first().map(|finding| finding.severity);
    let mut worst = findings.iter().filter(|finding| Some(finding.severity) == worst);
    let first = worst.clone().next();
    let telling = worst.find(|finding| finding.code != Code::Unsigned).or(first);
    let code = telling.map_or("", |finding| finding.code.as_str());
    match findings.len() {
        0 | 1 => code.to_owned(),
        count => format!("{code} ×{count}"),
    }
}

fn in_short(finding: &Finding) -> String {
    let at = finding
        .seqno
        .map_or(String::new(), |seqno| format!(" at seqno {seqno}"));
    format!("{}{at}", finding.code.as_str())
}

fn size_of(finding: &Finding) -> usize {
    let message = finding.message.len().min(2400);
    450 + message + finding.next.len() + finding.file.as_ref().map_or(0, String::len)
}

impl Render for Numbered<'_> {
    fn render(&self) -> Markup {
        html! {
            @if self.all.is_empty() {
                p { (badge(Kind::Good, "Nothing was found to be wrong")) }
            } @else {
                ul class="findings" {
                    @for index in &self.listed {
                        @if let Some(finding) = self.all.get(*index) {
                            (look::finding(Some(&self.id(*index)), finding))
                        }
                    }
                }
                (self.kinds())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        Picture {
            from: 1.0,
            to: 1_000_001.0,
            ..Picture::default()
        }
    }

    #[test]
    fn of_many_findings_every_kind_is_listed_and_the_list_is_bounded() {
        let mut findings: Vec<Finding> = (1..=20_000)
            .map(|seqno| Finding::new(Code::EntryDiffers, "x".repeat(1000)).seqno(seqno))
            .collect();
        findings.push(Finding::new(Code::Unsigned, "one").seqno(20_001));
        let numbered = Numbered::new("f", &findings, FINDINGS_BYTES);
        let text = numbered.render().into_string();
        assert!(text.len() < 2 * FINDINGS_BYTES, "{}", text.len());
        for code in ["L0208", "L0311"] {
            assert!(text.contains(&format!("<code>{code}</code>")), "{code}");
        }
        // Every mark leads to something.
        let marks = numbered.marks(&picture());
        assert!(!marks.is_empty() && marks.len() <= PLACES as usize + 1);
        for mark in marks {
            let id = format!("id=\"{}\"", mark.link.unwrap());
            assert!(text.contains(&id), "{id}");
        }
        assert_eq!(numbered.in_words(), "20,000 errors, 1 note");
    }

    #[test]
    fn marks_that_would_lie_on_each_other_are_one_and_say_so() {
        let places: Vec<(f64, String)> = (1..=5).map(|at| (f64::from(at), format!("rekey at {at}"))).collect();
        let marks = marks(Shape::Diamond, &places, &picture());
        assert_eq!(marks.len(), 1);
        assert_eq!(marks[0].title, "5 here: rekey at 1; rekey at 2; rekey at 3; ...");
    }

    #[test]
    fn the_worst_of_those_that_share_a_place_is_seen() {
        let findings = [
            Finding::new(Code::Unsigned, "a").seqno(5),
            Finding::new(Code::EntryDiffers, "b").seqno(6),
        ];
        let marks = Numbered::new("f", &findings, 1000).marks(&picture());
        assert_eq!((marks.len(), marks[0].shape), (1, Shape::Cross));
    }

    #[test]
    fn a_hundred_thousand_chunks_become_few_ranges_and_gaps_stay() {
        let chunk = |number: u64, fill| seqnos(number * 10 + 1, number * 10 + 10, fill, "chunk", "a chunk");
        let mut ranges: Vec<Range> = (0..100_000).map(|number| chunk(number, Fill::Sound)).collect();
        ranges[50_000].fill = Fill::Missing;
        let merged = merged(ranges);
        assert!(merged.len() <= BANDS * 2);
        assert!(
            merged
                .iter()
                .any(|range| range.fill == Fill::Missing && range.from == 500_001.0)
        );
        assert_eq!(merged.last().unwrap().to, 1_000_001.0);
    }

    #[test]
    fn where_every_second_chunk_is_missing_all_of_the_ledger_is_still_drawn() {
        let fills = [Fill::Band(false), Fill::Missing];
        let ranges = (0..10_000u64).map(|number| seqnos(number + 1, number + 1, fills[number as usize % 2], "", ""));
        let merged = merged(ranges.collect());
        assert!(merged.len() <= BANDS * 2);
        assert_eq!((merged[0].from, merged.last().unwrap().to), (1.0, 10_001.0));
        assert!(merged.iter().any(|range| range.fill == Fill::Missing));
    }

    #[test]
    fn a_thousand_views_are_drawn_as_how_many_begin_where() {
        let began: Vec<_> = (0..1000u64)
            .map(|at| (at * 1000 + 1, String::new(), String::new()))
            .collect();
        let row = bands(Row::default(), &began, 1_000_000, &picture());
        let (_, _, counts) = row.heights.unwrap();
        assert!(row.ranges.is_empty());
        assert_eq!(counts.iter().sum::<u64>(), 1000);
    }
}
