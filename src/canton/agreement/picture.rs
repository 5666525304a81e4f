//! The picture as SVG: lanes by SV over time, with the agreed tick, the recovery timestamp and the incident. Names are
//! escaped; a lane has a bounded number of rectangles.

use std::fmt::Write;

use super::chart::{label, shortened};
use super::lanes::{Cell, Lane, Lanes};
use super::{Decision, Standing};
use crate::canton::Timestamp;

/// Stretches of time that a lane has at most.
const COLUMNS: usize = 240;
const LEFT: f64 = 210.0;
const PLOT: f64 = 720.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 96.0;
const LANE: f64 = 24.0;

/// The picture, a whole SVG document.
pub fn svg(decision: &Decision) -> String {
    let lanes = Lanes::new(decision, COLUMNS);
    let count = decision.svs.len() as f64;
    let (width, height) = (LEFT + PLOT + RIGHT, TOP + LANE * count + 64.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let title = match (decision.timestamp, decision.agreed) {
        (Some(timestamp), Some(agreed)) => format!(
            "{timestamp}: {} of {} SVs agree at {agreed}",
            decision.support.len(),
            decision.of
        ),
        _ => format!("no {} of {} SVs agree", decision.quorum, decision.of),
    };
    text(&mut out, 16.0, 26.0, "font-size=\"16\" font-weight=\"bold\"", &title);
    let digest = format!(
        "evidence {}, synchronizer {}",
        decision.evidence_digest,
        shortened(&decision.synchronizer, 60)
    );
    text(&mut out, 16.0, 46.0, "fill=\"#555555\"", &digest);
    if let Some(lanes) = &lanes {
        draw(&mut out, decision, lanes, height);
    }
    legend(&mut out, height - 14.0);
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, decision: &Decision, lanes: &Lanes, height: f64) {
    let bottom = height - 56.0;
    let x = |at: Timestamp| LEFT + PLOT * lanes.fraction(at);
    for at in lanes.labels(8) {
        vertical(out, x(at), (TOP - 4.0, bottom), "stroke=\"#dddddd\"");
        text(
            out,
            x(at),
            bottom + 16.0,
            "fill=\"#555555\" text-anchor=\"middle\" font-size=\"11\"",
            &label(at),
        );
    }
    for (row, lane) in lanes.lanes.iter().enumerate() {
        draw_lane(out, lanes, lane, TOP + LANE * row as f64);
    }
    let mut mark = |at: Timestamp, name: &str, style: &str, y: f64| {
        vertical(out, x(at), (TOP - 6.0, bottom), style);
        text(
            out,
            x(at),
            y,
            "text-anchor=\"middle\" font-size=\"11\" font-weight=\"bold\"",
            name,
        );
    };
    if let Some((tick, timestamp)) = decision.at {
        mark(
            tick,
            "agreed",
            "stroke=\"#333333\" stroke-dasharray=\"4 3\"",
            TOP - 10.0,
        );
        mark(
            timestamp,
            "recovery timestamp",
            "stroke=\"#000000\" stroke-width=\"2\"",
            TOP - 24.0,
        );
    }
    if let Some(incident) = decision.incident.filter(|at| (lanes.from..=lanes.to).contains(at)) {
        mark(
            incident,
            "incident",
            "stroke=\"#b00020\" stroke-dasharray=\"2 2\"",
            TOP - 10.0,
        );
    }
}

fn draw_lane(out: &mut String, lanes: &Lanes, lane: &Lane, y: f64) {
    let step = PLOT / COLUMNS as f64;
    let name = shortened(&lane.name, 28);
    text(out, LEFT - 8.0, y + 15.0, "text-anchor=\"end\"", &name);
    let mut at = 0;
    for run in lane.cells.chunk_by(|one, other| one == other) {
        let (fill, top, tall) = match run.first() {
            Some(Cell::Reached) => ("#c9d3dd", 9.0, 6.0),
            Some(Cell::Agreed) => ("#2f7d4f", 4.0, 16.0),
            Some(Cell::Differed) => ("#b00020", 1.0, 22.0),
            _ => ("", 0.0, 0.0),
        };
        if tall > 0.0 {
            let (x, wide) = (LEFT + step * at as f64, step * run.len() as f64);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"{tall}\" fill=\"{fill}\"/>",
                y + top
            );
        }
        at += run.len();
    }
    let fill = match lane.verdict {
        Standing::Ok | Standing::OkByOthers => "fill=\"#2f7d4f\"",
        Standing::Forked => "fill=\"#b00020\" font-weight=\"bold\"",
        _ => "fill=\"#8a5a00\" font-weight=\"bold\"",
    };
    let mut verdict = match lane.verdict {
        Standing::Ok => "ok",
        Standing::OkByOthers => "ok by others",
        Standing::Behind => "behind",
        Standing::Forked => "forked",
        Standing::Pruned => "pruned",
        Standing::NoEvidence => "no evidence",
        Standing::Undecided => "undecided",
    }
    .to_owned();
    if let Some(reached) = lane.reached.filter(|reached| *reached < lanes.from) {
        let _ = write!(verdict, " ({})", label(reached));
    }
    text(out, LEFT + PLOT + 8.0, y + 15.0, fill, &verdict);
}

fn legend(out: &mut String, y: f64) {
    let entries = [
        ("#2f7d4f", "agrees with the support"),
        ("#b00020", "differs from it"),
        ("#c9d3dd", "had come so far"),
    ];
    for (at, (fill, says)) in entries.into_iter().enumerate() {
        let x = LEFT + 190.0 * at as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{fill}\"/>",
            y - 10.0
        );
        text(out, x + 18.0, y, "fill=\"#333333\"", says);
    }
    text(
        out,
        LEFT - 8.0,
        y,
        "fill=\"#555555\" text-anchor=\"end\"",
        "times in UTC",
    );
}

fn vertical(out: &mut String, x: f64, (top, bottom): (f64, f64), style: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" {style}/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, style: &str, says: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{}</text>", escaped(says));
}

/// Text between tags: what has a meaning in XML is named, what can't be drawn is written as an escape.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::shown::line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
