//! A rehearsal of the whole disaster on this machine: how long would it take, and would it work?
//!
//! A copy of a ledger (or a made-up one) is recovered by a real node, in a process of its own, by members with real keys
//! over real connections; what comes out is verified and recovered once more. Nothing but a scratch directory is written
//! to, and nothing is stopped but what was started here.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod clock;
mod cluster;
mod configuring;
mod healing;
mod members;
mod night;
mod node;
mod round;
mod scratch;
mod sealing;
mod verifying;
mod watch;

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

pub use clock::Step;
pub use night::{KillAt, Night, NightPlan};
pub use round::Round;

use crate::error::{Error, Result};
use crate::fixture::{self, generate};
use crate::report::progress::Progress;
use crate::shown::Show;
use scratch::Scratch;
use sealing::Sealing;

/// What to rehearse with.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The ledger, main directory first; none: one is made up.
    pub ledger: Vec<PathBuf>,
    /// Its snapshots.
    pub snapshots: Option<PathBuf>,
    /// The members' certificates and keys; without them only the public part is rehearsed.
    pub members: Option<PathBuf>,
    /// Where everything is left behind; none: a temporary directory that is removed.
    pub keep: Option<PathBuf>,
    /// Application entries of a ledger that is made up.
    pub entries: u64,
    /// Threads for a node's work; none: one for each core.
    pub jobs: Option<u16>,
    /// Local sealing, if that is to be rehearsed.
    pub sealing: Option<SealingPlan>,
    /// The rest of the night, with several nodes, if that is to be rehearsed.
    pub night: Option<NightPlan>,
}

/// What to rehearse local sealing with.
#[derive(Clone, Debug, Default)]
pub struct SealingPlan {
    /// What was sealed before; none: the first recovery is opened with shares, and seals.
    pub sealed: Option<PathBuf>,
    /// The key of the sealed files, instead of the processor's.
    pub key_file: Option<PathBuf>,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether everything worked.
    pub ok: bool,
    /// The recoveries, one after the other.
    pub rounds: Vec<Round>,
    /// The night with several nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub night: Option<Night>,
    /// Seconds, for all of it.
    pub elapsed_s: f64,
    /// Where it was left, if it was, as it can be shown.
    pub kept: Option<String>,
}

/// Rehearses.
///
/// # Errors
/// [`Error::Usage`] for files that are not what they should be; [`Error::Unreadable`] where the rehearsal fails: the
/// sentence says at which step, and what the node's log says.
pub fn run(plan: &Plan, progress: &dyn Progress, tell: &dyn Fn(&str)) -> Result<Report> {
    let began = Instant::now();
    let scratch = Scratch::new(plan.keep.as_deref())?;
    let mut plan = plan.clone();
    if plan.ledger.is_empty() {
        if plan.members.is_some() || plan.snapshots.is_some() {
            return Err(Error::Usage(
                "members and snapshots belong to a ledger: give it with --ledger, or leave them out".to_owned(),
            ));
        }
        tell("making up a ledger of a service with three members");
        let made = scratch.path().join("made-up");
        let options = fixture::Options {
            entries: plan.entries,
            value_size: 300,
            private: 0.8,
            signature_every: 500,
            recoveries: 0,
            unsigned_tail: 3,
            keys: 10_000,
            ..fixture::Options::default()
        };
        generate(&options, &made, progress)?;
        plan.ledger = vec![made.join("ledger")];
        plan.snapshots = Some(made.join("snapshots"));
        plan.members = Some(made.join("common"));
    }
    if plan.sealing.is_some() && plan.members.is_none() {
        return Err(Error::Usage(
            "sealed files open a ledger once members have agreed to open its service: give --members with their signing keys"
                .to_owned(),
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start", std::path::Path::new("the client's runtime")))?;
    let sealing = match &plan.sealing {
        Some(sealing) => Some(Sealing::begin(sealing, &scratch, tell)?),
        None => None,
    };
    if let Some(night) = &plan.night {
        let source = round::Source {
            ledger: plan.ledger.clone(),
            snapshots: plan.snapshots.clone(),
        };
        let night = runtime.block_on(cluster::rehearse(&plan, night, &source, scratch.path(), tell))?;
        return Ok(Report {
            ok: night.verified && night.agree,
            rounds: Vec::new(),
            night: Some(night),
            elapsed_s: began.elapsed().as_secs_f64(),
            kept: scratch.keep().map(|path| path.shown().to_string()),
        });
    }
    let count = sealing.as_ref().map_or(2, Sealing::rounds);
    let mut rounds = Vec::new();
    let mut source = round::Source {
        ledger: plan.ledger.clone(),
        snapshots: plan.snapshots.clone(),
    };
    for number in 1..=count {
        let directory = scratch.path().join(format!("recovery-{number}"));
        tell(&format!("recovery {number}: copying the ledger"));
        let files = sealing.as_ref().map(|sealing| sealing.round(number, &scratch));
        if let Some(files) = &files {
            tell(&format!("recovery {number}: {}", files.intention()));
        }
        let recovery = round::recover(&plan, &source, &directory, number, files.as_ref(), tell);
        let round = runtime.block_on(recovery)?;
        let opened = round.opened;
        rounds.push(round);
        if !opened {
            break; // without members there is nothing to recover again
        }
        source = round::Source {
            ledger: vec![directory.join("ledger")],
            snapshots: Some(directory.join("snapshots")),
        };
    }
    let ok = rounds.iter().all(|round| round.verified && round.as_expected);
    Ok(Report {
        ok,
        rounds,
        night: None,
        elapsed_s: began.elapsed().as_secs_f64(),
        kept: scratch.keep().map(|path| path.shown().to_string()),
    })
}
