//! `rekindle attest`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::attestation::{Anchors, Time, Verifier};
use crate::cli::{Common, html, input, output, progress};
use crate::error::{Error, Result};
use crate::format::TxId;
use crate::format::directory::LedgerFiles;
use crate::recovery::attest::{AttestReport, NodeReport, NodesSummary, Settings, minimum_tcb_from_json};
use crate::recovery::snapshots::{self, start_from};
use crate::recovery::verify::{Options, VerifyReport, verify};
use crate::report::{Code, Finding, Verdict};
use crate::shown::Show;
use crate::web;

/// Say which machines, running which code, under whose policy, held this service's keys throughout its life
///
/// Verifies the ledger, then judges the evidence of every node that it ever knew: report or quote, certificates up to AMD's or
/// Intel's root, what the report says of its guest, who signed the measurement, and whether the policy of that time allowed
/// it. Nothing is fetched. Whatever CCF thought of a node counts for nothing: releases before 6.0.11 let in forged ones.
#[derive(clap::Args)]
pub struct Args {
    /// The ledger's main directory, then its read-only ones
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Snapshots; where the ledger does not begin at 1, the nodes before are taken from the oldest that completes it
    #[arg(long, value_name = "DIR")]
    snapshots: Vec<PathBuf>,
    /// When certificates have to be valid: now, at an instant such as 2026-01-31T00:00:00Z, or none: not asked, and what
    /// has expired is remarked on
    #[arg(long, value_name = "now|none|RFC3339", default_value = "none", value_parser = instant)]
    time: Instant,
    /// Look certificates up in the revocation lists of this file: DER, or PEM with any number of them (repeatable)
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Report nodes whose TCB is below this list: JSON from CPUID to components or 16 hex digits, as
    /// {"00a00f11": {"snp": 24, "microcode": 219}, "00a10f11": "5418000000000a0a"}
    #[arg(long, value_name = "FILE")]
    minimum_tcb: Option<PathBuf>,
    /// Read chunks of an unfinished recovery (.recovery) as part of the ledger
    #[arg(long)]
    include_recovery: bool,
    /// Write the report as one file for a browser, with pictures, that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Instant {
    Now,
    None,
    At(u64),
}

fn instant(text: &str) -> std::result::Result<Instant, String> {
    match text {
        "now" => Ok(Instant::Now),
        "none" => Ok(Instant::None),
        _ => {
            let time = OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|_| "expected now, none, or an instant such as 2026-01-31T00:00:00Z".to_owned())?;
            u64::try_from(time.unix_timestamp())
                .map(Instant::At)
                .map_err(|_| "expected an instant after 1970".to_owned())
        }
    }
}

impl Instant {
    fn time(self) -> Time {
        match self {
            Instant::Now => Time::At(now_unix_s()),
            Instant::None => Time::Remark(now_unix_s()),
            Instant::At(instant) => Time::At(instant),
        }
    }
}

fn now_unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// As [`Args`] without any: what has expired is remarked on.
pub fn remarking() -> Arc<Settings> {
    Arc::new(Settings {
        verifier: Verifier::new(Anchors::built_in()),
        time: Instant::None.time(),
        minimum_tcb: Default::default(),
    })
}

fn settings(args: &Args) -> Result<Settings> {
    let mut verifier = Verifier::new(Anchors::built_in());
    for path in &args.crl {
        verifier = verifier
            .with_revocation_lists(&input::read(path)?)
            .map_err(|why| Error::Usage(format!("--crl {}: {why}", path.shown())))?;
    }
    let minimum_tcb = match &args.minimum_tcb {
        None => Default::default(),
        Some(path) => minimum_tcb_from_json(&input::read(path)?)
            .map_err(|why| Error::Usage(format!("--minimum-tcb {}: {why}", path.shown())))?,
    };
    Ok(Settings {
        verifier,
        time: args.time.time(),
        minimum_tcb,
    })
}

/// The oldest committed snapshot that completes a ledger which does not begin at 1.
fn completing(files: &LedgerFiles, directories: &[PathBuf]) -> Result<Option<snapshots::Start>> {
    let first = files.first_seqno();
    if first <= 1 || directories.is_empty() {
        return Ok(None);
    }
    let usable = |file: &snapshots::SnapshotFile| file.name.committed && file.name.seqno.saturating_add(1) >= first;
    let found = snapshots::list(directories)?.into_iter().find(usable);
    found.map(|file| start_from(&file.path)).transpose()
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    verdict: Verdict,
    /// The last transaction up to which the ledger is proven.
    last_signed: Option<TxId>,
    /// The seqno of the snapshot that was begun after.
    from_snapshot: Option<u64>,
    summary: &'a NodesSummary,
    nodes: &'a [NodeReport],
    findings: &'a [Finding],
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let inputs: Vec<_> = args.crl.iter().chain(&args.minimum_tcb).map(PathBuf::as_path).collect();
    let read = [args.directories.as_slice(), &args.snapshots].concat();
    let html = html::Html::begin(args.html.as_deref(), &read, &inputs)?;
    let settings = Arc::new(settings(args)?);
    let files = input::ledger(&args.directories, args.include_recovery)?;
    let from_snapshot = completing(&files, &args.snapshots)?;
    let began_after = from_snapshot.as_ref().map(|start| start.seqno);
    let options = Options {
        from_snapshot,
        attest: Some(settings),
        ..Options::default()
    };
    let report = verify(&files, &options, progress::for_terminal().as_ref())?;
    let Some(attested) = &report.attestation else {
        return Err(Error::Unreadable("the evidence of nodes was not judged".to_owned()));
    };
    let findings = all_findings(&report, attested);
    let verdict = Verdict::of(&findings);
    match common.json {
        true => output::json(&Document {
            verdict,
            last_signed: report.last_signed,
            from_snapshot: began_after,
            summary: &attested.summary,
            nodes: &attested.nodes,
            findings: &findings,
        })?,
        false => output::text(&render(&report, attested, &findings, verdict))?,
    }
    // What was found is said even where it can't be written.
    if let Some(file) = html {
        file.finish(&web::attest::document(&web::attest::Attested {
            report: attested,
            findings: &findings,
            last_signed: report.last_signed,
            command: html::command(),
            unix_s: html::now_unix_s(),
        }))?;
    }
    Ok(verdict.exit_code())
}

/// Of the ledger, and of its nodes: evidence in a ledger that is not proven proves nothing.
fn all_findings(report: &VerifyReport, attested: &AttestReport) -> Vec<Finding> {
    let of_ledger = report.findings.iter().filter(|finding| finding.code != Code::Unsigned);
    let mut findings: Vec<Finding> = of_ledger.chain(&attested.findings).cloned().collect();
    findings.sort_by_key(|finding| finding.seqno.unwrap_or(u64::MAX));
    findings
}

/// What all of it proves, and what nothing in a ledger can.
fn render(report: &VerifyReport, attested: &AttestReport, findings: &[Finding], verdict: Verdict) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(&crate::shown::line(text));
        out.push('\n');
    };
    let proven = match report.last_signed {
        Some(txid) => format!("what the ledger proves up to {txid}"),
        None => "nothing: no signature of this ledger proves anything".to_owned(),
    };
    line(&format!("nodes        {}", attested.summary.in_words()));
    line(&format!("judged       {proven}"));
    if attested.summary.attested.is_empty() {
        line("proves       nothing about any machine: no evidence that holds");
    } else {
        line(
            "proves       for every node that is attested: its maker certified this chip, and that chip, with this TCB, reported",
        );
        line("             this code, host data and key; what that node signed in this ledger was signed by that key");
    }
    line(
        "can't prove  when a report was made, what ran after it, that no hole in firmware was used, or what the code does;",
    );
    line("             and what is not on a revocation list that was given is not known to be in force");
    let word = match verdict {
        Verdict::Ok => "ok: nothing is wrong with any evidence",
        Verdict::Unproven => "unproven: nothing ties the ledger to the service that it names",
        Verdict::Findings => "findings: not everything is as it should be",
    };
    line(&format!("verdict      {word}"));
    for node in &attested.nodes {
        line("");
        of_node(node, &mut line);
    }
    if !findings.is_empty() {
        line("");
        out.push_str(&output::findings(findings));
    }
    out
}

fn of_node(node: &NodeReport, line: &mut impl FnMut(&str)) {
    line(&format!("node {}", node.node));
    line(&format!("  {}: {}", node.kind(), in_words(node)));
    line(&format!(
        "  {} at seqno {}{}",
        node.how.as_str(),
        node.from_seqno,
        by(&node.proposals)
    ));
    let steps: Vec<String> = node
        .steps
        .iter()
        .map(|step| format!("{} {}", step.status, step.seqno))
        .collect();
    line(&format!("  life         {}", steps.join(" -> ")));
    let components = node.tcb_components.iter().flatten();
    let components: Vec<String> = components.map(|(name, value)| format!("{name} {value}")).collect();
    let tcb = node
        .tcb
        .as_ref()
        .map(|tcb| format!("{tcb} ({})", components.join(", ")));
    let facts = [
        ("tcb", &tcb),
        ("measurement", &node.measurement),
        ("host data", &node.host_data),
        ("feed", &node.feed),
        ("signed by", &node.did.as_ref().or(node.signer.as_ref()).cloned()),
        ("chip", &node.chip_id),
        ("fetched on", &node.fetched_on),
        ("expired on", &node.expired_on),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            let svn = node.svn.filter(|_| name == "feed").map(|svn| format!(", svn {svn}"));
            line(&format!("  {name:<12} {fact}{}", svn.unwrap_or_default()));
        }
    }
    let count = |word: &str| node.checks.values().filter(|outcome| **outcome == word).count();
    let counts = [
        ("passed", "passed"),
        ("failed", "failed"),
        ("not_done", "not done"),
        ("remark", "with a remark"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(word, _)| count(word) > 0)
        .map(|(word, said)| format!("{} {said}", count(word)))
        .collect();
    line(&format!("  checks       {}", counts.join(", ")));
    for (check, outcome) in &node.checks {
        let said = node.remarks.get(check).map_or("", String::as_str);
        match *outcome {
            "failed" => line(&format!("    failed     {check}: {said}")),
            "remark" => line(&format!("    remark     {check}: {said}")),
            _ => {}
        }
    }
}

fn by(proposals: &[String]) -> String {
    match proposals {
        [] => String::new(),
        some => format!(", by proposals {}", some.join(", ")),
    }
}

fn in_words(node: &NodeReport) -> &'static str {
    match node.verdict {
        "holds" => "attested, every check of its evidence holds",
        "fails" => "not attested as it should be: a check failed",
        "unfinished" => "not attested: a check could not be made",
        _ => "not attested: no hardware vouches for it",
    }
}
