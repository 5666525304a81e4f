//! A verification as a document: the answer, what is proven up to where, the ledger's life as a picture, what was found and what to do.

use maud::{Markup, Render, html};

use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::recovery::chronicle::{Chronicle, SecretStep};
use crate::recovery::verify::VerifyReport;
use crate::report::{Severity, Verdict};
use crate::shown::{Show, line};

use super::look::{Kind, facts, section};
use super::number::{count, size};
use super::parts::{FINDINGS_BYTES, Made, Numbered, bands, legend, marks, merged, report as report_of, verdict};
use super::picture::{Fill, Picture, Range, Row, Shape, Sign, seqnos};

/// What was verified.
pub struct Verified<'a> {
    /// What was found; its chronicle is drawn, if it was kept.
    pub report: &'a VerifyReport,
    /// The ledger's files.
    pub files: &'a LedgerFiles,
    /// The seqno of the snapshot that the run began after, if it did: nothing before was read.
    pub began_after: Option<Seqno>,
    /// The command that was run, as it can be shown.
    pub command: String,
    /// When, in seconds since 1970.
    pub unix_s: u64,
}

/// What the patterns and shapes of a ledger's picture mean.
const LEGEND: [(Sign, &str); 7] = [
    (Sign::Range(Fill::Sound), "proven by a signature"),
    (
        Sign::Range(Fill::Unsigned),
        "after the last signature: a recovery drops it",
    ),
    (Sign::Range(Fill::Damaged), "not proven"),
    (Sign::Range(Fill::Missing), "in no file"),
    (Sign::Range(Fill::Other), "not read: the run began after a snapshot"),
    (Sign::Mark(Shape::Diamond), "a new ledger secret"),
    (Sign::Mark(Shape::Square), "a snapshot"),
];

/// Where the last part of a ledger is less than one in so many of all, it is drawn again, larger.
const MAGNIFIED: u64 = 25;
/// Seqnos before the last signature that are drawn with the magnified end.
const BEFORE_THE_END: u64 = 20;

/// The document.
pub fn document(verified: &Verified<'_>) -> String {
    let report = verified.report;
    let findings = Numbered::new("finding", &report.findings, FINDINGS_BYTES);
    let rest = html! {
        (section("ledger", "The ledger's life", &pictures(verified, &findings)))
        (section("proven", "What is proven", &proven(report)))
        (section("identities", "Service identities", &tables::identities(report)))
        (section("findings", "Findings and what to do", &findings.render()))
        (section("tables", "The same in tables", &tables::all(verified)))
    };
    let made = Made {
        command: &verified.command,
        unix_s: verified.unix_s,
    };
    report_of("Verification of a ledger", &answer(verified), &rest, &made)
}

fn answer(verified: &Verified<'_>) -> Markup {
    let report = verified.report;
    let proven = match (report.last_signed, verified.began_after) {
        (Some(txid), None) => format!("everything up to {txid} is proven"),
        (Some(txid), Some(after)) => format!("everything after the snapshot at {after} up to {txid} is proven"),
        (None, _) => "nothing is proven".to_owned(),
    };
    let has_error = report
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    match (report.verdict, has_error) {
        (Verdict::Ok, _) => verdict(Kind::Good, "OK", &format!("{proven}.")),
        (Verdict::Unproven, _) => verdict(
            Kind::Warning,
            "Unproven",
            "the ledger is consistent, but nothing ties it to the service that it names.",
        ),
        (Verdict::Findings, false) => verdict(
            Kind::Warning,
            "Findings",
            &format!("{proven}; something is not as it should be."),
        ),
        (Verdict::Findings, true) => verdict(
            Kind::Bad,
            "Findings",
            &format!("{proven}; something signed is damaged, lost or unproven."),
        ),
    }
}

fn proven(report: &VerifyReport) -> Markup {
    let digest = |digest: Option<crate::tables::values::HexDigest>| {
        digest.map_or("none".to_owned(), |digest| hex::encode(digest.0))
    };
    let dropped = match report.unsigned_entries {
        0 => "none".to_owned(),
        entries => format!("{}, which a recovery would drop", count(entries)),
    };
    let last = report.last_signed.map_or("nothing".to_owned(), |txid| txid.to_string());
    let mode = match report.mode {
        crate::recovery::join::Mode::Audit => "all checked (audit)",
        crate::recovery::join::Mode::Integrity => "the last of each identity checked (integrity)",
    };
    let signatures = format!(
        "{} by nodes, {} by the service (COSE), {mode}",
        count(report.signatures),
        count(report.cose_signatures)
    );
    let entries = format!("{}, up to seqno {}", count(report.entries), count(report.last_seqno));
    let files = format!("{} chunks, {}", count(report.chunks as u64), size(report.bytes));
    let took = format!(
        "{}, {} entries/s, {}/s",
        super::number::seconds(report.elapsed_s),
        count(report.entries_per_s as u64),
        size(report.bytes_per_s as u64)
    );
    let nodes = report.attestation.as_ref().map(|nodes| nodes.summary.in_words());
    html! {
        (facts(&[
            ("Proven up to", html! { strong { (last) } }),
            ("Entries", html! { (entries) }),
            ("Entries after the last signature", html! { (dropped) }),
            ("Signatures", html! { (signatures) }),
            ("Files", html! { (files) }),
            ("Nodes", html! { (line(nodes.as_deref().unwrap_or("not judged"))) }),
            ("Root", html! { code { (digest(report.root)) } }),
            ("Signed by node", html! { code { (digest(report.signer)) } }),
            ("Took", html! { (took) }),
        ]))
    }
}

/// First and last seqno of what is drawn.
fn reach(verified: &Verified<'_>) -> (Seqno, Seqno) {
    let report = verified.report;
    let snapshots = report.snapshots.iter().map(|snapshot| snapshot.seqno);
    let files = verified.files.chunks.iter().map(|chunk| chunk.file.last);
    let last = snapshots.chain(files.filter(|last| *last < u64::MAX / 2));
    (1, last.fold(report.last_seqno, Seqno::max).max(1))
}

fn pictures(verified: &Verified<'_>, findings: &Numbered<'_>) -> Markup {
    let (first, last) = reach(verified);
    let proven = verified.report.last_signed.map_or(0, |txid| txid.seqno);
    let tail = last.saturating_sub(proven).max(1);
    let end = proven
        .saturating_sub(tail.saturating_mul(3).max(BEFORE_THE_END))
        .max(first);
    let whole = last.saturating_sub(first);
    let is_magnified = whole / MAGNIFIED > last.saturating_sub(end);
    let caption = format!("The whole ledger, seqno {} to {}", count(first), count(last));
    html! {
        (of_part(verified, findings, (first, last), caption))
        @if is_magnified {
            (of_part(verified, findings, (end, last), format!("Its end, magnified: seqno {} to {}", count(end), count(last))))
        }
        @if let Some(chronicle) = verified.report.chronicle.as_deref().filter(|chronicle| chronicle.from_seqno > first) {
            p class="quiet" {
                "Views and signatures were noted from seqno " (count(chronicle.from_seqno)) " on, where this run began."
            }
        }
    }
}

fn of_part(
    verified: &Verified<'_>,
    findings: &Numbered<'_>,
    (first, last): (Seqno, Seqno),
    caption: String,
) -> Picture {
    let report = verified.report;
    let mut picture = Picture {
        caption,
        unit: "seqno",
        from: first as f64,
        to: last as f64 + 1.0,
        rows: Vec::new(),
        legend: legend(&LEGEND),
    };
    let mut rows = vec![proven_row(verified)];
    rows.extend([services_row(report, last, &picture)]);
    if let Some(chronicle) = &report.chronicle {
        rows.extend(chronicle_rows(chronicle, last, &picture));
    }
    rows.extend(snapshots_row(report, &picture));
    rows.push(files_row(verified));
    rows.push(Row {
        name: "Findings".to_owned(),
        note: findings.in_words(),
        marks: findings.marks(&picture),
        ..Row::default()
    });
    // What nobody would see is not written either.
    for row in &mut rows {
        row.ranges
            .retain(|range| range.from < picture.to && range.to > picture.from);
    }
    picture.rows = rows;
    picture
}

fn proven_row(verified: &Verified<'_>) -> Row {
    let report = verified.report;
    let proven = report.last_signed.map_or(0, |txid| txid.seqno);
    let first = verified.files.chunks.first().map_or(1, |chunk| chunk.use_from);
    let mut ranges = Vec::new();
    let first = match verified.began_after {
        Some(after) => {
            let title = format!("seqnos 1 to {after} were not read: the run began after the snapshot at {after}");
            ranges.push(seqnos(1, after, Fill::Other, "not read", title));
            after.saturating_add(1)
        }
        None => first,
    };
    if first > 1 && proven >= first && ranges.is_empty() {
        let title = format!("seqnos 1 to {} are in no file that was given", first - 1);
        ranges.push(seqnos(1, first - 1, Fill::Missing, "not given", title));
    }
    if proven > 0 && (verified.began_after.is_none() || proven >= first) {
        let title = format!("proven by signatures: up to seqno {proven}");
        ranges.push(seqnos(first.min(proven), proven, Fill::Sound, "proven", title));
    }
    if report.last_seqno > proven {
        // What a signature would cover, if nothing were damaged before it.
        let after = |finding: &&crate::report::Finding| {
            finding.severity == Severity::Error && finding.seqno.is_none_or(|seqno| seqno > proven)
        };
        let (fill, label) = match report.findings.iter().any(|finding| after(&finding)) {
            true => (Fill::Damaged, "not proven"),
            false => (Fill::Unsigned, "unsigned"),
        };
        let title = format!("{label}: seqnos {} to {}", proven.saturating_add(1), report.last_seqno);
        ranges.push(seqnos(proven.saturating_add(1), report.last_seqno, fill, label, title));
    }
    let note = match report.last_signed {
        Some(txid) => format!("up to {txid}; {} after it", count(report.unsigned_entries)),
        None => "nothing".to_owned(),
    };
    Row {
        name: "Proven".to_owned(),
        note,
        ranges,
        ..Row::default()
    }
}

fn services_row(report: &VerifyReport, last: Seqno, picture: &Picture) -> Row {
    let began: Vec<_> = report
        .services
        .iter()
        .zip(1u64..)
        .map(|(service, number)| {
            let key = hex::encode(service.identity.0);
            let short = key.get(..8).unwrap_or_default();
            let title = format!("service {number}, from seqno {}: key {key}", service.from_seqno);
            (service.from_seqno, format!("{number}: {short}"), title)
        })
        .collect();
    let row = Row {
        name: "Services".to_owned(),
        note: services_in_words(report),
        ..Row::default()
    };
    bands(row, &began, last, picture)
}

fn services_in_words(report: &VerifyReport) -> String {
    match report.services.as_slice() {
        [] => "none".to_owned(),
        [only] => match only.recovery_count {
            Some(0) => "one, never recovered".to_owned(),
            Some(recoveries) => format!("one, after {} recoveries", count(recoveries)),
            None => "one".to_owned(),
        },
        services => format!(
            "{}, each after the first began with a recovery",
            count(services.len() as u64)
        ),
    }
}

fn chronicle_rows(chronicle: &Chronicle, last: Seqno, picture: &Picture) -> [Row; 3] {
    let began: Vec<_> = chronicle
        .views
        .iter()
        .map(|(view, from)| (*from, view.to_string(), format!("view {view}, from seqno {from}")))
        .collect();
    let views = Row {
        name: "Views".to_owned(),
        note: match chronicle.views.len() as u64 + chronicle.further_views {
            0 => "none is signed".to_owned(),
            1 => "one: nobody else ever led".to_owned(),
            views => format!("{}: each is an election or a recovery", count(views)),
        },
        ..Row::default()
    };
    let density = &chronicle.signatures;
    let signed: u64 = density.counts.iter().sum();
    let of_each = match density.width {
        0 | 1 => String::new(),
        width => format!("; the higher the bar, the more of each {} entries", count(width)),
    };
    let signatures = Row {
        name: "Signatures".to_owned(),
        note: format!("{}{of_each}", count(signed)),
        heights: Some((
            density.from_seqno as f64,
            density.width.max(1) as f64,
            density.counts.clone(),
        )),
        ..Row::default()
    };
    let places: Vec<_> = chronicle
        .secrets
        .iter()
        .map(|(seqno, step)| (*seqno as f64, format!("{} at seqno {seqno}", step.in_words())))
        .collect();
    let of = |wanted: SecretStep| chronicle.secrets.iter().filter(|(_, step)| *step == wanted).count() as u64;
    let secrets = Row {
        name: "Ledger secrets".to_owned(),
        note: format!(
            "{} written: {} by rekeys, {} by recoveries",
            count(chronicle.secrets.len() as u64),
            count(of(SecretStep::Rekeyed)),
            count(of(SecretStep::Recovered))
        ),
        marks: marks(Shape::Diamond, &places, picture),
        ..Row::default()
    };
    [bands(views, &began, last, picture), signatures, secrets]
}

fn snapshots_row(report: &VerifyReport, picture: &Picture) -> Option<Row> {
    let evidence = report
        .chronicle
        .as_deref()
        .map_or(&[][..], |chronicle| &chronicle.snapshots);
    if evidence.is_empty() && report.snapshots.is_empty() {
        return None;
    }
    let files = report.snapshots.iter().map(|snapshot| {
        let verdict = if snapshot.verdict == Verdict::Ok {
            "holds"
        } else {
            "see findings"
        };
        (
            snapshot.seqno as f64,
            format!("the file {} at seqno {}: {verdict}", snapshot.file, snapshot.seqno),
        )
    });
    let files: Vec<_> = files.collect();
    let told = evidence
        .iter()
        .map(|(at, of)| (*at as f64, format!("evidence at seqno {at} of a snapshot at {of}")));
    let told: Vec<_> = told.collect();
    let mut drawn = marks(Shape::Bar, &told, picture);
    drawn.extend(marks(Shape::Square, &files, picture));
    Some(Row {
        name: "Snapshots".to_owned(),
        note: format!(
            "{} files were given (squares); the ledger tells of {} (bars)",
            count(files.len() as u64),
            count(told.len() as u64)
        ),
        marks: drawn,
        ..Row::default()
    })
}

fn files_row(verified: &Verified<'_>) -> Row {
    let chunks = &verified.files.chunks;
    let mut ranges: Vec<Range> = Vec::new();
    let mut next = 1;
    for (chunk, number) in chunks.iter().zip(1u64..) {
        if chunk.use_from > next {
            let title = format!("seqnos {next} to {} are in no file", chunk.use_from - 1);
            ranges.push(seqnos(next, chunk.use_from - 1, Fill::Missing, "missing", title));
        }
        let last = chunk.file.last.max(chunk.use_from);
        let name = chunk.file.path.file_name().map(std::path::Path::new);
        let name = name.map_or(String::new(), |name| name.shown().to_string());
        let title = format!("{name}: seqnos {} to {last}", chunk.use_from);
        let fill = Fill::Band(number % 2 == 0);
        ranges.push(seqnos(chunk.use_from, last, fill, number.to_string(), title));
        next = last.saturating_add(1);
    }
    let spares = verified.files.spares.len();
    let note = match spares {
        0 => format!("{} chunks", count(chunks.len() as u64)),
        spares => format!(
            "{} chunks, and {} that hold the same seqnos",
            count(chunks.len() as u64),
            count(spares as u64)
        ),
    };
    // Frames of a pixel beside each other say nothing: then it is one kind, with its gaps.
    if ranges.len() > 160 {
        let bands = ranges.iter_mut().filter(|range| range.fill == Fill::Band(true));
        bands.for_each(|range| range.fill = Fill::Band(false));
    }
    Row {
        name: "Files".to_owned(),
        note,
        ranges: merged(ranges),
        ..Row::default()
    }
}

mod tables;
#[cfg(test)]
mod tests;
