//! How a decision is shown.

use serde::Serialize;

use crate::canton::agreement::{Action, Decision, Outcome, Standing, Verdict, chart};
use crate::cli::canton::show;
use crate::cli::text::{Align, columns};
use crate::shown::line;

/// The document of `--json`.
#[derive(Serialize)]
pub struct Document<'a> {
    #[serde(flatten)]
    decision: &'a Decision,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    explanations: &'a [Vec<String>],
}

/// The document of `--json`.
pub fn document<'a>(decision: &'a Decision, explanations: &'a [Vec<String>]) -> Document<'a> {
    Document { decision, explanations }
}

/// For people: the timestamp first, in a line of its own that can be read out.
pub fn text(decision: &Decision, explanations: &[Vec<String>], with_chart: bool) -> String {
    let mut out = String::new();
    let support = decision.support.len();
    match (decision.timestamp, decision.agreed) {
        (Some(timestamp), Some(agreed)) => {
            out.push_str(&format!("\n    recovery timestamp   {timestamp}\n"));
            out.push_str(&format!("    evidence digest      {}\n\n", decision.evidence_digest));
            let margin = agreed.since(timestamp) / 1_000_000;
            out.push_str(&format!(
                "{support} of {} SVs agree at {agreed} ({} were needed); the timestamp lies {} before that.\n",
                decision.of,
                decision.quorum,
                duration(margin)
            ));
            let [mutual, one_sided, weak] = decision.pairs;
            out.push_str(&format!(
                "Of their pairs {mutual} are mutual, {one_sided} one-sided, {weak} weak.\n"
            ));
        }
        _ => {
            out.push_str("\n    no recovery timestamp\n");
            out.push_str(&format!("    evidence digest      {}\n\n", decision.evidence_digest));
            out.push_str(&format!(
                "At no tick do {} of {} SVs agree.\n",
                decision.quorum, decision.of
            ));
        }
    }
    out.push_str(&line(&format!("Synchronizer: {}", decision.synchronizer)));
    out.push_str("\n\n");
    if with_chart && let Some(chart) = chart::chart(decision) {
        out.push_str(&chart);
        out.push('\n');
    }
    out.push_str(&table(decision));
    out.push_str(&svs(decision));
    for sentences in explanations {
        for (at, sentence) in sentences.iter().enumerate() {
            let indent = if at == 0 { "" } else { "  " };
            out.push_str(&format!("{indent}{}\n", line(sentence)));
        }
        out.push('\n');
    }
    if !decision.findings.is_empty() {
        out.push_str(&show::findings(&decision.findings));
        out.push('\n');
    }
    out.push_str(&next(decision));
    out
}

/// The choices.
fn table(decision: &Decision) -> String {
    if decision.table.is_empty() {
        return String::new();
    }
    let headings = [
        ("", Align::Left),
        ("agreed tick", Align::Left),
        ("SVs", Align::Right),
        ("timestamp", Align::Left),
        ("lost", Align::Right),
        ("without", Align::Left),
    ];
    let rows: Vec<Vec<String>> = decision
        .table
        .iter()
        .map(|row| {
            let is_chosen = decision.agreed == Some(row.to_inclusive);
            vec![
                if is_chosen { "*" } else { "" }.to_owned(),
                row.to_inclusive.to_string(),
                row.support.to_string(),
                row.timestamp.to_string(),
                duration(row.lost_s),
                few(&row.without),
            ]
        })
        .collect();
    format!("{}\n", columns(&headings, &rows))
}

/// One line for each SV.
fn svs(decision: &Decision) -> String {
    let headings = [
        ("SV", Align::Left),
        ("reached", Align::Left),
        ("verdict", Align::Left),
        ("what to do", Align::Left),
    ];
    let row = |sv: &Outcome| {
        let reached = sv.reached.map_or("-".to_owned(), |reached| reached.to_string());
        vec![sv.name.clone(), reached, verdict(sv.verdict).to_owned(), action(sv)]
    };
    let rows: Vec<Vec<String>> = decision.svs.iter().map(row).collect();
    format!("{}\n", columns(&headings, &rows))
}

fn verdict(standing: Standing) -> &'static str {
    match standing {
        Standing::Ok => "ok",
        Standing::OkByOthers => "ok by others",
        Standing::Behind => "behind",
        Standing::Forked => "forked",
        Standing::Pruned => "pruned",
        Standing::NoEvidence => "no evidence",
        Standing::Undecided => "undecided",
    }
}

fn action(sv: &Outcome) -> String {
    match sv.action {
        Action::Fetch => "fetch its data dump".to_owned(),
        Action::CopyOrReonboard => format!("copy a dump of {}, or re-onboard", few(&sv.donors)),
        Action::Reonboard => "re-onboard".to_owned(),
        Action::ProvideEvidence => "give its logs or database".to_owned(),
        Action::Wait => "wait for more evidence".to_owned(),
    }
}

/// Names, the first few of many.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn next(decision: &Decision) -> String {
    match (decision.verdict, decision.timestamp) {
        (Verdict::Agreed, Some(timestamp)) => format!(
            "Next: compare the evidence digest with the other operators; then, on each SV that is to fetch,\n  \
             rekindle canton fetch --url https://sv.sv.YOUR_HOSTNAME --token-file TOKEN --timestamp {timestamp} --out dump.json\n"
        ),
        _ => "Next: give the evidence of the SVs that are missing; --chart and --explain NAME show what there is.\n"
            .to_owned(),
    }
}

/// Seconds for a person.
fn duration(seconds: i64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
