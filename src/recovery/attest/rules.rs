//! What can only be said of all nodes together.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{NodeReport, NodesSummary};
use crate::format::Seqno;
use crate::report::{Code, Finding, Findings, Severity};

/// Nodes that a finding names at most.
const NAMED: usize = 5;

/// Counts the nodes, and reports what some of them share or lack.
pub(super) fn judge_all(nodes: &[NodeReport], findings: &mut Findings) -> NodesSummary {
    let mut summary = NodesSummary::default();
    nodes.iter().for_each(|node| summary.count(node));
    shared(
        nodes,
        |node| node.chip_id.as_deref(),
        Code::SharedChip,
        "run on one chip, of which the id is",
        findings,
    );
    shared(
        nodes,
        |node| node.report_id.as_deref(),
        Code::SharedGuest,
        "are of one launch of a guest, of which the report id is",
        findings,
    );
    let without: Vec<&NodeReport> = nodes.iter().filter(|node| node.verdict == "unattested").collect();
    if let Some(first) = without.first() {
        let attested = summary.attested.values().sum::<u64>() + summary.failed + summary.unfinished;
        let ids = named(&without);
        let finding = match attested {
            0 => Finding::new(
                Code::Unattested,
                format!("no hardware vouches for any node of this ledger: {ids}"),
            ),
            _ => Finding::new(
                Code::Unattested,
                format!("no hardware vouches for {ids}, beside {attested} nodes with quotes"),
            )
            .severity(Severity::Warning)
            .next("find out who let this node in: it held the service's keys, and nothing says what it ran"),
        };
        findings.push(finding.seqno(first.from_seqno));
    }
    summary
}

fn named(nodes: &[&NodeReport]) -> String {
    let ids: Vec<String> = nodes
        .iter()
        .take(NAMED)
        .map(|node| format!("node {} ({})", node.node, node.kind()))
        .collect();
    let ids = ids.join(", ");
    match nodes.len() {
        ..=NAMED => ids,
        count => format!("{ids} and {} more", count - NAMED),
    }
}

fn shared<'a>(
    nodes: &'a [NodeReport],
    id_of: impl Fn(&'a NodeReport) -> Option<&'a str>,
    code: Code,
    what: &str,
    findings: &mut Findings,
) {
    let mut by_id: BTreeMap<&str, Vec<&NodeReport>> = BTreeMap::new();
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for node in nodes {
        // Zeros are hidden, and nobody's.
        if let Some(id) = id_of(node).filter(|id| id.bytes().any(|digit| digit != b'0')) {
            // A node that asked, was removed and asked again is one.
            if seen.insert((id, node.node.as_str())) {
                by_id.entry(id).or_default().push(node);
            }
        }
    }
    for (id, sharing) in by_id {
        if let [_, second, ..] = &sharing[..] {
            let at: Seqno = second.from_seqno;
            let text = format!("{} {what} {id}", named(&sharing));
            findings.push(Finding::new(code, text).seqno(at));
        }
    }
}
