//! `drill`: rehearse the whole disaster.

use std::path::PathBuf;

use super::{Common, html, output, progress};
use crate::drill::{KillAt, Night, NightPlan, Plan, Report, Round, SealingPlan, Step, run as rehearse};
use crate::error::Result;
use crate::web;
use crate::web::number::seconds;

/// Rehearse the whole disaster on this machine: a real node recovers a copy of a ledger, members vote and submit their
/// shares, the result is verified and recovered once more
///
/// Without --ledger a ledger is made up. Without --members the public part is rehearsed. Nothing is written but to a
/// temporary directory.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Directories of the ledger to rehearse with, which are only read: the main one first, then read-only ones
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub ledger: Vec<PathBuf>,
    /// Directory with its snapshots
    #[arg(long, value_name = "DIR")]
    pub snapshots: Option<PathBuf>,
    /// Directory with the members' memberN_cert.pem, memberN_privk.pem and memberN_enc_privk.pem
    #[arg(long, value_name = "DIR")]
    pub members: Option<PathBuf>,
    /// Keep everything in this directory, which must be new or empty
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Rehearse local sealing: with what is sealed in DIR, or, without DIR, with what the first recovery seals. Members agree
    /// to open the service and submit no shares; at last the sealed files are stale, and members have to
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub sealed: Option<Option<PathBuf>>,
    /// Key of the sealed files, 64 hexadecimal digits, instead of the processor's [default: the processor's for a ledger
    /// that is given, a new one for one that is made up]
    #[arg(long, value_name = "FILE", requires = "sealed")]
    pub insecure_sealing_key: Option<PathBuf>,
    /// Rehearse the whole night with so many nodes: one recovers, the others join, are trusted and catch up, and the first hands
    /// over to one of them
    #[arg(long, value_name = "N", conflicts_with = "sealed", value_parser = clap::value_parser!(u8).range(2..=9))]
    pub nodes: Option<u8>,
    /// All nodes begin with their own copy of the ledger, all but the first without its newest chunk: they find out by themselves
    /// which of them opens, and the others join it
    #[arg(long, requires = "nodes")]
    pub self_healing: bool,
    /// Instead of handing over, the node that leads is killed: primary@public (before members agree to open the service),
    /// primary@shares (after the first share) or primary@open
    #[arg(long, value_name = "primary@STATE", requires = "nodes")]
    pub kill: Option<KillAt>,
    /// The program that joins: your own node, which is given --config FILE [default: this one]
    #[arg(long, value_name = "COMMAND", requires = "nodes")]
    pub join_with: Option<PathBuf>,
    /// Application entries of the ledger that is made up
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub entries: u64,
    /// Write the report as one file for a browser, with pictures, that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// As [`rehearse`].
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let read = args.ledger.iter().chain(&args.snapshots).chain(&args.members);
    let sealed = args.sealed.iter().flatten();
    let read: Vec<PathBuf> = read.chain(sealed).cloned().collect();
    let inputs: Vec<_> = args
        .insecure_sealing_key
        .iter()
        .chain(&args.join_with)
        .map(PathBuf::as_path)
        .collect();
    let html = html::Html::begin(args.html.as_deref(), &read, &inputs)?;
    let plan = Plan {
        ledger: args.ledger.clone(),
        snapshots: args.snapshots.clone(),
        members: args.members.clone(),
        keep: args.keep.clone(),
        entries: args.entries,
        jobs: common.jobs,
        sealing: args.sealed.as_ref().map(|sealed| SealingPlan {
            sealed: sealed.clone(),
            key_file: args.insecure_sealing_key.clone(),
        }),
        night: args.nodes.map(|nodes| NightPlan {
            nodes: nodes.into(),
            kill: args.kill,
            self_healing: args.self_healing,
            join_with: args.join_with.clone(),
        }),
    };
    let tell = |line: &str| match common.json {
        true => output::notice(&format!("{line}\n")),
        // Whoever only wanted the first lines has closed the pipe: that is no reason to end.
        false => drop(output::text(&format!("{line}\n"))),
    };
    let report = rehearse(&plan, progress::for_terminal().as_ref(), &tell)?;
    match common.json {
        true => output::json(&report)?,
        false => output::text(&render(&report))?,
    }
    // What was found is said even where it can't be written.
    if let Some(file) = html {
        file.finish(&web::drill::document(&rehearsed(&report)))?;
    }
    Ok(u8::from(!report.ok))
}

/// The same as a document shows it.
fn rehearsed(report: &Report) -> web::drill::Rehearsed {
    let text = render(report);
    let answer = text.lines().find_map(|line| line.strip_prefix("verdict "));
    let mut facts = vec![("All of it took", seconds(report.elapsed_s))];
    let mut bars = Vec::new();
    let mut parts = Vec::new();
    if let Some(first) = report.rounds.first() {
        facts.push((
            "Ledger",
            format!(
                "{} entries, {}",
                output::count(first.entries),
                output::size(first.bytes)
            ),
        ));
        facts.push((
            "The machine's part of a recovery",
            seconds(first.public_s + first.private_s.unwrap_or(0.0)),
        ));
        let memory = report.rounds.iter().map(|round| round.peak_memory).max();
        facts.push(("Most memory of a node", output::size(memory.unwrap_or(0))));
        bars.push(web::drill::Bars {
            caption: "The machine's part of each recovery: public and private".to_owned(),
            bars: report.rounds.iter().map(bar).collect(),
        });
    }
    for round in &report.rounds {
        let opened = round.opened_by.map_or(String::new(), |by| format!(", opened by {by}"));
        parts.push(web::drill::Part {
            name: format!("Recovery {}{opened}", round.number),
            ok: round.verified && round.as_expected,
            steps: round.steps.iter().map(step).collect(),
        });
    }
    if let Some(night) = &report.night {
        facts.push((
            "Ledger",
            format!(
                "{} entries, {}",
                output::count(night.entries),
                output::size(night.bytes)
            ),
        ));
        facts.push(("Leader at the end", format!("node {}", night.leader)));
        let joined = night.joined.iter().map(|joined| {
            let name = format!("Node {} joined, up to seqno {}", joined.node, joined.seqno);
            (name, vec![("caught up".to_owned(), joined.took_s)])
        });
        let interrupted = (
            "Without a commit".to_owned(),
            vec![("interrupted".to_owned(), night.interrupted_s)],
        );
        bars.push(web::drill::Bars {
            caption: "Each node until it had caught up, and the time without a commit".to_owned(),
            bars: joined.chain([interrupted]).collect(),
        });
        parts.push(web::drill::Part {
            name: "The night".to_owned(),
            ok: night.verified && night.agree,
            steps: night.steps.iter().map(step).collect(),
        });
    }
    facts.extend(report.kept.clone().map(|kept| ("Kept in", kept)));
    web::drill::Rehearsed {
        ok: report.ok,
        answer: answer.unwrap_or_default().trim().trim_start_matches("ok: ").to_owned(),
        facts,
        bars,
        parts,
        command: html::command(),
        unix_s: html::now_unix_s(),
    }
}

fn bar(round: &Round) -> (String, Vec<(String, f64)>) {
    let private = round.private_s.map(|seconds| ("private".to_owned(), seconds));
    let parts = std::iter::once(("public".to_owned(), round.public_s)).chain(private);
    (format!("Recovery {}", round.number), parts.collect())
}

fn step(step: &Step) -> web::drill::Step {
    web::drill::Step {
        at_s: step.at_s,
        what: step.what.clone(),
        took_s: step.took_s,
    }
}

fn render(report: &Report) -> String {
    let mut out = String::from("\n");
    if let Some(night) = &report.night {
        out.push_str(&of_night(night));
        if let Some(kept) = &report.kept {
            out.push_str(&format!("kept         {kept}\n"));
        }
        return out;
    }
    for round in &report.rounds {
        out.push_str(&line(round));
    }
    let unexpected = report.rounds.iter().find(|round| !round.as_expected);
    out.push_str(&match (report.ok, unexpected) {
        (true, _) => "verdict      ok: this ledger can be recovered on this machine\n".to_owned(),
        (false, Some(round)) => format!(
            "verdict      the sealed files did not do in recovery {} what they were to do: it was opened by {}\n",
            round.number,
            round.opened_by.unwrap_or("shares")
        ),
        (false, None) => "verdict      a resulting ledger does not verify\n".to_owned(),
    });
    if let Some(first) = report.rounds.first() {
        let machine = first.public_s + first.private_s.unwrap_or(0.0);
        out.push_str(&format!(
            "estimate     {machine:.3} s of the machine's time for a recovery; the members' time comes on top\n"
        ));
    }
    if let Some(kept) = &report.kept {
        out.push_str(&format!("kept         {}\n", kept));
    }
    out
}

fn of_night(night: &Night) -> String {
    let mut out = format!(
        "ledger       {} entries, {}\n",
        output::count(night.entries),
        output::size(night.bytes)
    );
    for joined in &night.joined {
        out.push_str(&format!(
            "node {}       joined and caught up in {:.3} s, up to {}\n",
            joined.node, joined.took_s, joined.seqno
        ));
    }
    out.push_str(&format!(
        "interrupted  {:.3} s without a commit, until node {} led\n",
        night.interrupted_s, night.leader
    ));
    out.push_str(match (night.verified, night.agree) {
        (true, true) => "verdict      ok: the service is handed over, and every ledger is whole and the same\n",
        (true, false) => "verdict      the ledgers of the nodes contradict each other\n",
        (false, _) => "verdict      a resulting ledger does not verify\n",
    });
    out
}

fn line(round: &Round) -> String {
    let private = match round.private_s {
        Some(seconds) => format!("private {seconds:.3} s"),
        None => "private part not rehearsed".to_owned(),
    };
    let opened = round.opened_by.map_or(String::new(), |by| format!(", opened by {by}"));
    format!(
        "recovery {}   {} entries, {}: public {:.3} s, {private}; at most {} of memory{opened}\n",
        round.number,
        output::count(round.entries),
        output::size(round.bytes),
        round.public_s,
        output::size(round.peak_memory),
    )
}
