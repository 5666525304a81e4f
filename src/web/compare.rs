//! A comparison as a document: which copy to recover from, the copies side by side with where they differ, and what each would lose.

use maud::{Markup, Render, html};

use crate::format::Seqno;
use crate::recovery::compare::{CompareReport, CopyReport, PairReport, Relation};
use crate::report::{Severity, Verdict};
use crate::shown::line;

use super::look::{Kind, badge, section};
use super::number::count;
use super::parts::{FINDINGS_BYTES, Made, Numbered, TABLE_ROWS, first_rows, legend, report as report_of, verdict};
use super::picture::{Fill, Picture, Range, Row, Sign, seqnos};

/// What was compared.
pub struct Compared<'a> {
    /// What was found.
    pub report: &'a CompareReport,
    /// The command that was run, as it can be shown.
    pub command: String,
    /// When, in seconds since 1970.
    pub unix_s: u64,
}

const LEGEND: [(Sign, &str); 8] = [
    (Sign::Range(Fill::Sound), "proven, and another copy has the same"),
    (Sign::Range(Fill::Only), "proven, and in this copy alone"),
    (
        Sign::Range(Fill::Superseded),
        "superseded: a later view went on without it",
    ),
    (Sign::Range(Fill::Fork), "a fork: signed, and contradicts another copy"),
    (Sign::Range(Fill::Unsigned), "after the last signature"),
    (Sign::Range(Fill::Damaged), "not proven: damaged, or after damage"),
    (Sign::Range(Fill::Missing), "in no file of this copy"),
    (Sign::Range(Fill::Other), "of another service"),
];

/// Where what differs is less than one in so many of all, it is drawn again, larger.
const MAGNIFIED: u64 = 12;

/// The document.
pub fn document(compared: &Compared<'_>) -> String {
    let report = compared.report;
    let bytes = FINDINGS_BYTES / report.copies.len().clamp(1, TABLE_ROWS);
    let findings: Vec<Numbered<'_>> = (1..)
        .zip(&report.copies)
        .map(|(number, copy): (usize, _)| Numbered::new(&format!("copy-{number}"), &copy.findings, bytes))
        .collect();
    let between = Numbered::new("between", &report.findings, FINDINGS_BYTES);
    let rest = html! {
        (section("copies", "The copies side by side", &pictures(report, &findings, &between)))
        (section("choice", "What each choice would lose", &choices(report)))
        (section("pairs", "How they stand to each other", &pairs(report)))
        (section("findings", "What is wrong between them", &between.render()))
        @for (copy, findings) in report.copies.iter().zip(&findings).take(TABLE_ROWS) {
            @if !copy.findings.is_empty() {
                (section(&format!("in-{}", number_of(report, copy)), &format!("What is wrong in {}", copy.directory), &findings.render()))
            }
        }
    };
    let made = Made {
        command: &compared.command,
        unix_s: compared.unix_s,
    };
    report_of("Copies of a ledger, compared", &answer(report), &rest, &made)
}

fn number_of(report: &CompareReport, copy: &CopyReport) -> usize {
    let place = report.copies.iter().position(|other| other.directory == copy.directory);
    place.map_or(0, |place| place + 1)
}

fn answer(report: &CompareReport) -> Markup {
    let reason = format!("{}.", report.reason);
    let contested = |directory: &str| {
        let of_it = |pair: &&PairReport| pair.a == directory || pair.b == directory;
        report
            .pairs
            .iter()
            .filter(of_it)
            .any(|pair| pair.relation == Relation::Fork)
    };
    html! {
        @match &report.recommended {
            // What is wrong with another copy does not make this one a worse choice; a contradiction does.
            Some(directory) if contested(directory) => {
                (verdict(Kind::Bad, "Do not choose yet", &format!("{directory}: {reason}")))
            },
            Some(directory) => (verdict(Kind::Good, &format!("Recover from {directory}"), &reason)),
            None => (verdict(Kind::Bad, "No copy is recommended", &reason)),
        }
        @if report.verdict != Verdict::Ok {
            p { (badge(Kind::Warning, "Something is wrong in a copy or between them: see the findings")) }
        }
    }
}

fn pictures(report: &CompareReport, findings: &[Numbered<'_>], between: &Numbered<'_>) -> Markup {
    let last = report
        .copies
        .iter()
        .map(|copy| copy.last_seqno)
        .max()
        .unwrap_or(0)
        .max(1);
    let differs = report.pairs.iter().filter_map(|pair| pair.first_difference).min();
    let ends = report
        .copies
        .iter()
        .filter_map(|copy| Some(copy.last_signed?.seqno))
        .min();
    let at = differs.into_iter().chain(ends).min().unwrap_or(last).min(last);
    let from = at.saturating_sub(((last - at) / 4).max(10)).max(1);
    html! {
        (of_part(report, (findings, between), (1, last), format!("From the first entry to the last: seqno 1 to {}", count(last))))
        @if last / MAGNIFIED > last - from {
            (of_part(report, (findings, between), (from, last), format!("Where they differ, magnified: seqno {} to {}", count(from), count(last))))
        }
        @if report.copies.len() > TABLE_ROWS {
            p class="quiet" { (count((report.copies.len() - TABLE_ROWS) as u64)) " more copies are not drawn." }
        }
    }
}

fn of_part(
    report: &CompareReport,
    (findings, between): (&[Numbered<'_>], &Numbered<'_>),
    (first, last): (Seqno, Seqno),
    caption: String,
) -> Picture {
    let mut picture = Picture {
        caption,
        unit: "seqno",
        from: first as f64,
        to: last as f64 + 1.0,
        rows: Vec::new(),
        legend: legend(&LEGEND),
    };
    let rows = report.copies.iter().zip(findings).take(TABLE_ROWS);
    let rows = rows.map(|(copy, findings)| {
        let is_recommended = report.recommended.as_deref() == Some(copy.directory.as_str());
        let mut ranges = ranges_of(report, copy);
        ranges.retain(|range| range.from < picture.to && range.to > picture.from);
        Row {
            name: format!("{}. {}", copy.rank, copy.directory),
            note: format!(
                "signed up to {}, last entry {}{}",
                signed(copy),
                count(copy.last_seqno),
                if is_recommended { "; recommended" } else { "" }
            ),
            ranges,
            heights: None,
            marks: findings.marks(&picture),
        }
    });
    let between = Row {
        name: "Between them".to_owned(),
        note: between.in_words(),
        marks: between.marks(&picture),
        ..Row::default()
    };
    let has_between = !report.findings.is_empty();
    let rows = rows.chain(has_between.then_some(between)).collect();
    picture.rows = rows;
    picture
}

fn signed(copy: &CopyReport) -> String {
    copy.last_signed.map_or("nothing".to_owned(), |txid| txid.to_string())
}

/// How a copy stands to another: their pair, and whether the copy is its first, better one.
fn pairs_of<'a>(report: &'a CompareReport, copy: &'a CopyReport) -> impl Iterator<Item = (&'a PairReport, bool)> {
    report.pairs.iter().filter_map(|pair| match () {
        () if pair.a == copy.directory => Some((pair, true)),
        () if pair.b == copy.directory => Some((pair, false)),
        () => None,
    })
}

/// What a copy is made of, from its first seqno to its last.
fn ranges_of(report: &CompareReport, copy: &CopyReport) -> Vec<Range> {
    let (first, last) = (copy.first_seqno.max(1), copy.last_seqno);
    let proven = copy.last_signed.map_or(0, |txid| txid.seqno);
    let mut parts: Vec<(Seqno, Fill, &str)> = Vec::new();
    // Up to where at least one other copy has the same.
    let mut shared = 0;
    let mut contested: Option<(Seqno, Fill)> = None;
    let mut strangers = 0;
    let mut others = 0;
    for (pair, is_better) in pairs_of(report, copy) {
        others += 1;
        let until = match (pair.relation, pair.first_difference) {
            (Relation::OtherService, _) => {
                strangers += 1;
                continue;
            }
            (Relation::Same, _) | (_, None) => last,
            (_, Some(at)) => at.saturating_sub(1),
        };
        shared = shared.max(until.min(last));
        let fill = match pair.relation {
            Relation::Fork => Fill::Fork,
            Relation::Superseded if !is_better => Fill::Superseded,
            _ => continue,
        };
        if let Some(at) = pair.first_difference
            && contested.is_none_or(|(known, _)| at < known)
        {
            contested = Some((at, fill));
        }
    }
    if first > 1 {
        parts.push((1, Fill::Missing, "missing"));
    }
    let is_stranger = others > 0 && strangers == others && report.recommended.as_deref() != Some(&copy.directory);
    match is_stranger {
        true => parts.push((first, Fill::Other, "another service")),
        false => {
            if shared >= first {
                parts.push((first, Fill::Sound, "the same"));
            }
            parts.push((
                shared.max(first.saturating_sub(1)).saturating_add(1),
                Fill::Only,
                "only here",
            ));
        }
    }
    if let Some((at, fill)) = contested {
        let label = if fill == Fill::Fork { "fork" } else { "superseded" };
        parts.retain(|(from, ..)| *from < at);
        parts.push((at, fill, label));
    }
    // A contested end says so also where it is not signed.
    let unsigned_from = proven.max(first.saturating_sub(1)).saturating_add(1);
    if contested.is_none_or(|(at, _)| at > unsigned_from) {
        let is_damaged = copy.findings.iter().any(|finding| finding.severity == Severity::Error);
        let (fill, label) = match is_damaged {
            true => (Fill::Damaged, "not proven"),
            false => (Fill::Unsigned, "unsigned"),
        };
        parts.retain(|(from, ..)| *from < unsigned_from);
        parts.push((unsigned_from, fill, label));
    }
    let ends = parts
        .iter()
        .skip(1)
        .map(|(from, ..)| from.saturating_sub(1))
        .chain([last]);
    let ranges = parts.iter().zip(ends).filter(|((from, ..), to)| to >= from);
    let gaps = copy.gaps.iter().map(|(from, to)| {
        let title = format!("{}: seqnos {from} to {to} are in no file", copy.directory);
        seqnos(*from, *to, Fill::Missing, "missing", title)
    });
    let gaps: Vec<Range> = gaps.take(TABLE_ROWS).collect();
    ranges
        .map(|((from, fill, label), to)| {
            let title = format!("{}: {label}, seqnos {from} to {to}", copy.directory);
            seqnos(*from, to, *fill, *label, title)
        })
        .chain(gaps)
        .collect()
}

fn choices(report: &CompareReport) -> Markup {
    let heads = [
        "Copy",
        "Rank",
        "Proven up to",
        "Last entry",
        "Would lose",
        "Service",
        "Verdict",
    ];
    first_rows("The best first", &heads, &report.copies, |copy| {
        vec![
            html! { code { (line(&copy.directory)) } },
            html! { (copy.rank) },
            html! { (signed(copy)) },
            html! { (count(copy.last_seqno)) },
            html! {
                @if copy.loses.is_empty() { (badge(Kind::Good, "nothing signed")) }
                @for loss in copy.loses.iter().take(5) {
                    p { "seqnos " (count(loss.from_seqno)) " to " (count(loss.to_seqno)) ", which " (line(&loss.to)) " has signed" }
                }
            },
            html! {
                @match copy.service {
                    Some(service) => code { (hex::encode(service.0).get(..16).unwrap_or_default()) "…" },
                    None => (badge(Kind::Warning, "none stands behind it")),
                }
                @if copy.is_expected_service == Some(false) {
                    " " (badge(Kind::Bad, "not the one whose certificate was given"))
                }
            },
            html! { @match copy.verdict {
                Verdict::Ok => (badge(Kind::Good, "ok")),
                Verdict::Unproven => (badge(Kind::Warning, "unproven")),
                Verdict::Findings => (badge(Kind::Bad, "see findings")),
            } },
        ]
    })
}

fn pairs(report: &CompareReport) -> Markup {
    let heads = ["Copies", "Relation", "First difference", "Signatures over what differs"];
    first_rows("Every pair, the better one first", &heads, &report.pairs, |pair| {
        let (kind, words) = relation(pair.relation);
        vec![
            html! { code { (line(&pair.a)) } " and " code { (line(&pair.b)) } },
            html! { (badge(kind, words)) },
            html! { (pair.first_difference.map_or("none".to_owned(), |at| format!("seqno {}", count(at)))) },
            html! {
                @for evidence in &pair.evidence {
                    p {
                        (evidence.txid) " in " code { (line(&evidence.directory)) } " by "
                        @match evidence.signer {
                            Some(node) => { "node " code { (hex::encode(node.0)) } },
                            None => "the service",
                        }
                        ", root " code { (hex::encode(evidence.root.0)) }
                    }
                }
            },
        ]
    })
}

fn relation(relation: Relation) -> (Kind, &'static str) {
    match relation {
        Relation::Same => (Kind::Good, "the same entries"),
        Relation::Prefix => (Kind::Good, "the shorter one is the beginning of the other"),
        Relation::UnsignedDifference => (Kind::Note, "they differ where at most one is signed"),
        Relation::Superseded => (Kind::Note, "the second one's tail was superseded"),
        Relation::Fork => (Kind::Bad, "a fork: two signed histories"),
        Relation::OtherService => (Kind::Bad, "of different services"),
    }
}
