//! The evidence of nodes as a document: who held the service's keys when, and which checks of their evidence hold.

use maud::{Markup, Render, html};

use crate::format::{Seqno, TxId};
use crate::recovery::attest::{AttestReport, NodeReport};
use crate::report::{Finding, Verdict};
use crate::shown::{excerpt, line};

use super::look::{Kind, badge, facts, section};
use super::number::count;
use super::parts::{FINDINGS_BYTES, Made, Numbered, report as report_of, verdict};
use super::picture::{self, Fill, Picture, Row, Shape, Sign, seqnos};

/// What was judged.
pub struct Attested<'a> {
    /// The nodes.
    pub report: &'a AttestReport,
    /// Findings of the ledger and of the nodes.
    pub findings: &'a [Finding],
    /// The last transaction up to which the ledger is proven.
    pub last_signed: Option<TxId>,
    /// The command that was run, as it can be shown.
    pub command: String,
    /// When, in seconds since 1970.
    pub unix_s: u64,
}

const LEGEND: [(Sign, &str); 8] = [
    (Sign::Range(Fill::Sound), "trusted, and its evidence holds"),
    (
        Sign::Range(Fill::Damaged),
        "trusted, and a check of its evidence failed",
    ),
    (Sign::Range(Fill::Unsigned), "trusted, and a check could not be made"),
    (Sign::Range(Fill::Other), "trusted, and no hardware vouches for it"),
    (Sign::Range(Fill::Missing), "asked to join"),
    (Sign::Range(Fill::Superseded), "retired"),
    (Sign::Mark(Shape::Diamond), "began a service: declared itself good"),
    (Sign::Mark(Shape::Cross), "its evidence was changed"),
];

/// Nodes that are drawn; those that something is wrong with come first.
const DRAWN: usize = 80;
/// Bytes of cards that are written, roughly.
const CARDS_BYTES: usize = 110_000;

/// The document.
pub fn document(attested: &Attested<'_>) -> String {
    let report = attested.report;
    let mut nodes: Vec<&NodeReport> = report.nodes.iter().collect();
    nodes.sort_by_key(|node| (standing(node), node.from_seqno));
    let findings = Numbered::new("finding", attested.findings, FINDINGS_BYTES);
    let rest = html! {
        (section("proves", "What this proves", &proves(attested)))
        (section("lives", "The lives of the nodes", &lives(report, &nodes)))
        (section("findings", "Findings and what to do", &findings.render()))
        (section("nodes", "Node by node", &cards(&nodes)))
    };
    let made = Made {
        command: &attested.command,
        unix_s: attested.unix_s,
    };
    report_of("The evidence of a ledger's nodes", &answer(attested), &rest, &made)
}

/// The worst first.
fn standing(node: &NodeReport) -> u8 {
    match node.verdict {
        "fails" => 0,
        "unfinished" => 1,
        "holds" => 3,
        _ => 2,
    }
}

fn answer(attested: &Attested<'_>) -> Markup {
    let nodes = attested.report.summary.in_words();
    match Verdict::of(attested.findings) {
        Verdict::Ok => verdict(
            Kind::Good,
            "OK",
            &format!("nothing is wrong with any evidence. Nodes: {nodes}."),
        ),
        Verdict::Unproven => verdict(
            Kind::Warning,
            "Unproven",
            &format!("nothing ties the ledger to the service that it names. Nodes: {nodes}."),
        ),
        Verdict::Findings => verdict(
            Kind::Bad,
            "Findings",
            &format!("not everything is as it should be. Nodes: {nodes}."),
        ),
    }
}

fn proves(attested: &Attested<'_>) -> Markup {
    let judged = match attested.last_signed {
        Some(txid) => format!("Judged is what the ledger proves up to {txid}."),
        None => "No signature of this ledger proves anything.".to_owned(),
    };
    html! {
        p { (judged) }
        @if attested.report.summary.attested.is_empty() {
            p { "It proves nothing about any machine: there is no evidence that holds." }
        } @else {
            p {
                "For every node that is attested: its maker certified this chip, and that chip, with this TCB, reported this code, "
                "host data and key; what that node signed in this ledger was signed by that key."
            }
        }
        p class="quiet" {
            "No ledger can prove when a report was made, what ran after it, that no hole in firmware was used, or what the code does."
        }
    }
}

fn lives(report: &AttestReport, nodes: &[&NodeReport]) -> Markup {
    let steps = report
        .nodes
        .iter()
        .flat_map(|node| node.steps.iter().map(|step| step.seqno));
    let last = steps.fold(report.proven_to, Seqno::max).max(1);
    // In the order in which they came, as they are read.
    let mut drawn: Vec<&NodeReport> = nodes.iter().take(DRAWN).copied().collect();
    drawn.sort_by_key(|node| node.from_seqno);
    let picture = Picture {
        caption: format!("Who held the service's keys, and when: seqno 1 to {}", count(last)),
        unit: "seqno",
        from: 1.0,
        to: last as f64 + 1.0,
        rows: drawn.into_iter().map(|node| life(node, last)).collect(),
        legend: LEGEND.to_vec(),
    };
    html! {
        @if nodes.is_empty() { p { "The ledger knows of no node." } } @else { (picture) }
        @if nodes.len() > DRAWN {
            p class="quiet" { (count((nodes.len() - DRAWN) as u64)) " more nodes are not drawn; those that something is wrong with are." }
        }
    }
}

fn life(node: &NodeReport, last: Seqno) -> Row {
    let trusted = match node.verdict {
        "holds" => Fill::Sound,
        "fails" => Fill::Damaged,
        "unfinished" => Fill::Unsigned,
        _ => Fill::Other,
    };
    let ends = node
        .steps
        .iter()
        .skip(1)
        .map(|step| step.seqno.saturating_sub(1))
        .chain([last]);
    let steps = node
        .steps
        .iter()
        .zip(ends)
        .filter(|(step, to)| step.status != "Removed" && *to >= step.seqno);
    let ranges = steps.map(|(step, to)| {
        let fill = match step.status.as_str() {
            "Trusted" => trusted,
            "Pending" => Fill::Missing,
            _ => Fill::Superseded,
        };
        let title = format!("{}: {} from seqno {} to {to}", short(node), step.status, step.seqno);
        seqnos(step.seqno, to, fill, step.status.as_str(), title)
    });
    let ranges = ranges.collect();
    let mut marks: Vec<_> = node
        .changed_at
        .iter()
        .map(|seqno| picture::Mark {
            at: *seqno as f64,
            shape: Shape::Cross,
            label: String::new(),
            title: format!("its evidence was changed at seqno {seqno}"),
            link: None,
        })
        .collect();
    if node.how == crate::recovery::attest::How::SelfDeclared {
        marks.push(picture::Mark {
            at: node.from_seqno as f64,
            shape: Shape::Diamond,
            label: String::new(),
            title: format!("began a service at seqno {}, and declared itself good", node.from_seqno),
            link: None,
        });
    }
    Row {
        name: format!("Node {}", short(node)),
        note: format!("{}: {}; {}", node.kind(), words(node).1, checks_in_words(node)),
        ranges,
        heights: None,
        marks,
    }
}

fn short(node: &NodeReport) -> String {
    let short: String = node.node.chars().take(12).collect();
    line(&short).into_owned()
}

fn words(node: &NodeReport) -> (Kind, &'static str) {
    match node.verdict {
        "holds" => (Kind::Good, "attested, every check of its evidence holds"),
        "fails" => (Kind::Bad, "not attested as it should be: a check failed"),
        "unfinished" => (Kind::Warning, "not attested: a check could not be made"),
        _ => (Kind::Note, "not attested: no hardware vouches for it"),
    }
}

const OUTCOMES: [(&str, &str, Kind); 4] = [
    ("failed", "failed", Kind::Bad),
    ("not_done", "not done", Kind::Later),
    ("remark", "with a remark", Kind::Warning),
    ("passed", "passed", Kind::Good),
];

fn checks_in_words(node: &NodeReport) -> String {
    let counts = OUTCOMES.iter().filter_map(|(outcome, said, _)| {
        let count = node.checks.values().filter(|other| *other == outcome).count();
        (count > 0).then(|| format!("{count} {said}"))
    });
    let counts: Vec<String> = counts.collect();
    match counts.is_empty() {
        true => "no checks".to_owned(),
        false => format!("checks: {}", counts.join(", ")),
    }
}

fn cards(nodes: &[&NodeReport]) -> Markup {
    let mut cards = Vec::new();
    let mut size = 0;
    for node in nodes {
        let card = card(node);
        size += card.0.len();
        if size > CARDS_BYTES {
            break;
        }
        cards.push(card);
    }
    html! {
        @for card in &cards { (card) }
        @if cards.len() < nodes.len() {
            p class="quiet" { (count((nodes.len() - cards.len()) as u64)) " more nodes: run the command with --json." }
        }
    }
}

fn card(node: &NodeReport) -> Markup {
    let (kind, words) = words(node);
    let tcb = node.tcb.as_ref().map(|tcb| {
        let components = node.tcb_components.iter().flatten();
        let components: Vec<String> = components.map(|(name, value)| format!("{name} {value}")).collect();
        format!("{tcb} ({})", components.join(", "))
    });
    let signed_by = node.did.as_ref().or(node.signer.as_ref()).cloned();
    let proposals = (!node.proposals.is_empty()).then(|| node.proposals.join(", "));
    let known = [
        (
            "How it came",
            Some(format!("{} at seqno {}", node.how.as_str(), count(node.from_seqno))),
        ),
        ("By proposals", proposals),
        ("TCB", tcb),
        ("Measurement", node.measurement.clone()),
        ("Host data", node.host_data.clone()),
        ("Feed", node.feed.clone()),
        ("Signed by", signed_by),
        ("Chip", node.chip_id.clone()),
        ("Fetched on", node.fetched_on.clone()),
        ("Expired on", node.expired_on.clone()),
    ];
    let known: Vec<(&str, Markup)> = known
        .into_iter()
        .filter_map(|(name, value)| Some((name, html! { code { (excerpt(&value?)) } })))
        .collect();
    let steps: Vec<String> = node
        .steps
        .iter()
        .take(12)
        .map(|step| format!("{} {}", step.status, step.seqno))
        .collect();
    html! {
        h3 { "Node " code { (excerpt(&node.node)) } }
        p { (badge(kind, &format!("{}: {words}", node.kind()))) }
        p class="quiet" { "Life: " (line(&steps.join(" → "))) }
        (facts(&known))
        @for (outcome, said, kind) in OUTCOMES {
            @let named: Vec<&str> = node.checks.iter().filter(|(_, other)| **other == outcome).map(|(check, _)| *check).collect();
            @if !named.is_empty() {
                p {
                    (badge(kind, said)) " "
                    @for check in &named {
                        code { (line(check)) } " "
                        @if outcome != "passed" { @if let Some(remark) = node.remarks.get(check) { (excerpt(remark)) "; " } }
                    }
                }
            }
        }
    }
}
