//! `rekindle canton runbook`: a recovery planned, written down, and carried out.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::canton::finding::Ending;
use crate::canton::runbook::execute::{self, Outcome};
use crate::canton::runbook::journal::{Journal, NotThis};
use crate::canton::runbook::{Kind, Plan, markdown, script};
use crate::canton::{Code, Finding, Timestamp};
use crate::cli::canton::show;
use crate::cli::{Common, output};
use crate::error::{Error, Result};
use crate::format::whole_file::{self, PRIVATE};
use crate::shown::Show;

mod hands;
mod options;
#[cfg(test)]
mod tests;

/// Plan a recovery for this installation: as a text, as a script, or carried out with a journal
///
/// Without --execute nothing is read, sent or changed but the files that are written. Options that are not known yet, such
/// as the time on which the SVs agree, can be left out: the plan says where they are needed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    recovery: Recovery,
}

const EXAMPLE: &str = "\
Example: rekindle canton runbook restore --splice 0.5.4 --serial 0 --url https://sv.sv.example.com \\
  --apps apps.dump --participant participant.dump --out restore.md
  The same with --execute --journal restore.journal --restore-command ./restore.sh carries it out; run again after an \
interruption, it goes on where it was.";

#[derive(Subcommand)]
enum Recovery {
    /// One SV from its backups, while the network is well
    Restore(options::Restore),
    /// One SV's amulets through a validator with its keys, and a fresh SV
    Reonboard(options::Reonboard),
    /// The whole network from data snapshots at an agreed time (Splice before 0.6.2)
    NetworkDr(options::NetworkDr),
    /// The whole network by a roll-forward synchronizer upgrade (Splice from 0.6.2 on)
    RollForwardLsu(options::RollForwardLsu),
}

/// What is done with the plan.
#[derive(clap::Args)]
#[command(next_help_heading = "What is done with the plan")]
pub struct Uses {
    /// Write the plan as Markdown here [default: stdout]
    #[arg(long, value_name = "FILE.md")]
    out: Option<PathBuf>,
    /// Write the plan as a POSIX shell script here, which asks before what can't be undone
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Let --out and --script replace files that are there
    #[arg(long)]
    replace: bool,
    /// Carry the plan out, or go on with it
    #[arg(long, requires = "journal")]
    execute: bool,
    /// Where it is noted what was done
    #[arg(long, value_name = "FILE", requires = "execute")]
    journal: Option<PathBuf>,
    /// Agree to this step beforehand; once for each step that asks
    #[arg(long, value_name = "STEP", requires = "execute")]
    yes: Vec<String>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let (kind, (mut at, with), uses, cluster) = match &args.recovery {
        Recovery::Restore(args) => (Kind::Restore, args.parameters(), &args.uses, &args.installation),
        Recovery::Reonboard(args) => (Kind::Reonboard, args.parameters(), &args.uses, &args.installation),
        Recovery::NetworkDr(args) => (Kind::NetworkDr, args.parameters(), &args.uses, &args.installation),
        Recovery::RollForwardLsu(args) => (Kind::RollForwardLsu, args.parameters(), &args.uses, &args.installation),
    };
    cluster.apply(&mut at);
    outputs_are_new(uses, with.inputs(&at).map(Path::new).chain(uses.journal.as_deref()))?;
    match Plan::make(kind, &at, &with, Timestamp::now()) {
        Err(refusals) => refused(&refusals, common),
        Ok(plan) => used(&plan, uses, common),
    }
}

fn refused(refusals: &[Finding], common: &Common) -> Result<u8> {
    match common.json {
        true => output::json(&serde_json::json!({"verdict": "refused", "findings": refusals}))?,
        false => output::text(&show::findings(refusals))?,
    }
    Ok(Ending::Negative.exit_code())
}

fn used(plan: &Plan, uses: &Uses, common: &Common) -> Result<u8> {
    unknown_steps(plan, &uses.yes)?;
    if let Some(path) = &uses.out {
        write(path, &markdown::render(plan), PRIVATE, uses.replace)?;
    }
    if let Some(path) = &uses.script {
        write(path, &script::render(plan), 0o700, uses.replace)?;
    }
    let Some(journal) = uses.journal.as_deref().filter(|_| uses.execute) else {
        return rendered(plan, uses, common);
    };
    executed(plan, journal, uses, common)
}

fn rendered(plan: &Plan, uses: &Uses, common: &Common) -> Result<u8> {
    if common.json {
        output::json(&document(plan, "planned", &[], None))?;
    } else if uses.out.is_none() && uses.script.is_none() {
        output::text(&markdown::render(plan))?;
    } else {
        output::text(&show::findings(&plan.notes))?;
        output::text(&format!(
            "plan {} with {} steps was written\n",
            plan.digest(),
            plan.steps.len()
        ))?;
    }
    Ok(Ending::of(&plan.notes).exit_code())
}

fn executed(plan: &Plan, path: &Path, uses: &Uses, common: &Common) -> Result<u8> {
    let mut journal = match Journal::open(path, plan, Timestamp::now()) {
        Ok(journal) => journal,
        Err(NotThis::Error(why)) => return Err(why),
        Err(NotThis::Changed(difference)) => {
            let finding = Finding::new(Code::PlanChanged, difference).file(path);
            return refused(&[finding], common);
        }
    };
    let agreed: BTreeSet<String> = uses.yes.iter().cloned().collect();
    let mut hands = hands::Processes::new()?;
    let outcome = execute::execute(plan, &mut journal, &agreed, &mut hands)?;
    let findings: Vec<Finding> = plan.notes.iter().chain(&outcome.stopped).cloned().collect();
    match common.json {
        true => {
            let verdict = if outcome.stopped.is_none() {
                "finished"
            } else {
                "stopped"
            };
            output::json(&document(plan, verdict, &findings, Some(&outcome)))?;
        }
        false => {
            output::text(&show::findings(&findings))?;
            let count = plan.steps.len();
            output::text(&format!(
                "{} of {count} steps of plan {} are done\n",
                outcome.done,
                plan.digest()
            ))?;
        }
    }
    Ok(outcome.ending().exit_code())
}

fn document(plan: &Plan, verdict: &str, findings: &[Finding], outcome: Option<&Outcome>) -> serde_json::Value {
    serde_json::json!({
        "verdict": verdict,
        "digest": plan.digest(),
        "done": outcome.map(|outcome| outcome.done),
        "open": plan.open(),
        "plan": plan,
        "findings": if outcome.is_some() { findings } else { &plan.notes },
    })
}

/// A step that is agreed to under a wrong name would ask in the middle of the night.
fn unknown_steps(plan: &Plan, named: &[String]) -> Result<()> {
    let Some(unknown) = named
        .iter()
        .find(|name| plan.steps.iter().all(|step| step.id != name.as_str()))
    else {
        return Ok(());
    };
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.id).collect();
    Err(Error::Usage(format!(
        "--yes {unknown}: there is no such step; there are {}",
        steps.join(", ")
    )))
}

/// --replace is for an older plan, and not for what the plan reads, nor for the journal.
fn outputs_are_new<'a>(uses: &'a Uses, inputs: impl Iterator<Item = &'a Path>) -> Result<()> {
    let outputs: Vec<&Path> = uses.out.iter().chain(&uses.script).map(PathBuf::as_path).collect();
    let both = uses.out.is_some() && uses.out == uses.script;
    let meant: Vec<&Path> = inputs.collect();
    let taken = |output: &&&Path| {
        meant
            .iter()
            .any(|input| input == *output || is_same_file(input, output))
    };
    match outputs.first().filter(|_| both).or_else(|| outputs.iter().find(taken)) {
        None => Ok(()),
        Some(output) => Err(Error::Usage(format!(
            "{} is named for something else too; give the plan a name of its own",
            output.shown()
        ))),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    place(one).is_some_and(|one| Some(one) == place(other))
}

fn write(path: &Path, text: &str, mode: u32, replaces: bool) -> Result<()> {
    let is_there = path.symlink_metadata().is_ok();
    if is_there && !replaces && whole_file::target(path)? == whole_file::Target::File {
        return Err(Error::Usage(format!(
            "{} is there already; give another name, or --replace",
            path.shown()
        )));
    }
    whole_file::write_whole(path, text.as_bytes(), mode)
}
