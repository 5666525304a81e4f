//! `drill`: rehearse the whole disaster.

use std::path::PathBuf;

use super::{Common, output, progress};
use crate::drill::{KillAt, Night, NightPlan, Plan, Report, Round, SealingPlan, run as rehearse};
use crate::error::Result;

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
}

/// Runs the command.
///
/// # Errors
/// As [`rehearse`].
pub fn run(args: &Args, common: &Common) -> Result<u8> {
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
    Ok(u8::from(!report.ok))
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
