//! `rekindle canton scale`.

use std::time::Duration;

use serde::Serialize;

use crate::canton::finding::Ending;
use crate::canton::kubernetes::scale::{self, Direction, Patience, Plan, Step};
use crate::canton::kubernetes::{Cluster, Failure};
use crate::canton::{Finding, Findings};
use crate::cli::{Common, output};
use crate::error::{Error, Result};
use crate::report::Severity;

use super::{cluster, show};

/// Stop an SV's deployments, or start them again
///
/// Looks up which deployments of the namespace are the SV's: CometBFT, mediator, sequencer, participant, scan app, SV app
/// and validator app, whatever their numbers. Without --execute it only reads, and prints what would be done and the
/// kubectl commands that do the same. With --execute it sets their replicas in that order, and waits until the pods are
/// gone (--down) or ready (--up). Running it again does no harm. What is not recognised is never touched.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("direction").required(true).args(["down", "up"]))]
pub struct Args {
    #[command(flatten)]
    cluster: cluster::ClusterArgs,

    /// Stop: to 0 replicas
    #[arg(long)]
    down: bool,

    /// Start: to 1 replica
    #[arg(long)]
    up: bool,

    /// The synchronizer's serial (its migration before Splice 0.6.2), where several are installed
    #[arg(long, value_name = "N")]
    serial: Option<u64>,

    /// Only these: cometbft, mediator, sequencer, participant, scan-app, sv-app, validator-app, or a deployment's name
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    only: Vec<String>,

    /// All but these: roles or deployments' names
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    except: Vec<String>,

    /// With --up: replicas of each [default: 1, as Splice's charts have it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16), conflicts_with = "down")]
    replicas: Option<u32>,

    /// Give up waiting for pods after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,

    /// Do it
    #[arg(long)]
    execute: bool,
}

const EXAMPLES: &str = "\
Examples:
  What would be stopped before a restore, and the commands for it:
    rekindle canton scale -n sv --down
  In a network-wide recovery CometBFT stops first, sequencer and mediator only after the dumps were fetched:
    rekindle canton scale -n sv --down --only cometbft --execute
    rekindle canton scale -n sv --down --only sequencer,mediator --execute";

/// What the command prints with `--json`.
#[derive(Serialize)]
struct Report<'a> {
    verdict: &'static str,
    cluster: String,
    namespace: &'a str,
    direction: Direction,
    executed: bool,
    deployments: &'a [Step],
    done: &'a [String],
    untouched: &'a [String],
    commands: &'a [String],
    findings: &'a [Finding],
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let timeout = Duration::from_secs(args.timeout);
    let kubectl = args.cluster.kubectl()?;
    let (live, plan) = match looked_up(args) {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => return Err(Error::Usage(format!("{why}; see --serial, --only and --except"))),
        Err(why) => return refused(args, common, &why),
    };
    let commands = scale::commands(&plan, &kubectl, timeout);
    let mut findings = plan.findings.clone();
    let is_fit = !findings.any_at_least(Severity::Error);
    let is_executed = args.execute && is_fit;
    if !common.json {
        output::text(&described(&live.address(), &plan, &commands, args.execute))?;
    }
    let mut done = Vec::new();
    let mut ending = None;
    if is_executed {
        let mut tell = |what: &str| output::notice(&format!("{what}\n"));
        let outcome = scale::carry_out(&live, &plan, &Patience::of(timeout), &mut tell);
        findings.append(outcome.findings);
        done = outcome.done;
        ending = Some(outcome.ending).filter(|ending| *ending != Ending::Clean);
    }
    let findings = findings.finish();
    let ending = ending.unwrap_or_else(|| Ending::of(&findings));
    let verdict = match (is_executed, ending) {
        (true, Ending::Clean | Ending::Negative) => "done",
        (true, Ending::Partial) => "part done",
        (true, _) => "refused",
        (false, _) if is_fit && !args.execute => "planned",
        (false, _) => "not done",
    };
    match common.json {
        true => output::json(&Report {
            verdict,
            cluster: live.address(),
            namespace: &plan.namespace,
            direction: plan.direction,
            executed: is_executed,
            deployments: &plan.steps,
            done: &done,
            untouched: &plan.untouched,
            commands: &commands,
            findings: &findings,
        })?,
        false => {
            let closing = if is_executed || args.execute {
                format!("{verdict}\n")
            } else {
                String::new()
            };
            output::text(&format!("{}{closing}", show::findings(&findings)))?;
        }
    }
    Ok(ending.exit_code())
}

type LookedUp = (crate::canton::kubernetes::live::Live, Plan);

fn looked_up(args: &Args) -> std::result::Result<std::result::Result<LookedUp, String>, Failure> {
    let live = args.cluster.cluster()?;
    let namespace = args.cluster.namespace.as_str();
    let deployments = live.deployments(namespace)?;
    // Not everybody may read autoscalers, and nothing hangs on it.
    let autoscaled = live.autoscaled(namespace).ok();
    let request = scale::Request {
        direction: if args.down { Direction::Down } else { Direction::Up },
        serial: args.serial,
        only: args.only.clone(),
        except: args.except.clone(),
        replicas: args.replicas.unwrap_or(1),
    };
    Ok(scale::plan(namespace, deployments, autoscaled.as_deref(), &request)
        .map(|plan| (live, plan))
        .map_err(|why| why.0))
}

fn refused(args: &Args, common: &Common, why: &Failure) -> Result<u8> {
    let mut findings = Findings::default();
    findings.push(scale::refusal(why));
    let findings = findings.finish();
    match common.json {
        true => output::json(&Report {
            verdict: "refused",
            cluster: String::new(),
            namespace: &args.cluster.namespace,
            direction: if args.down { Direction::Down } else { Direction::Up },
            executed: false,
            deployments: &[],
            done: &[],
            untouched: &[],
            commands: &[],
            findings: &findings,
        })?,
        false => output::text(&show::findings(&findings))?,
    }
    Ok(Ending::Refused.exit_code())
}

fn described(address: &str, plan: &Plan, commands: &[String], is_executed: bool) -> String {
    let mut out = format!("cluster    {address}\nnamespace  {}\n\n", plan.namespace);
    let width = plan.steps.iter().map(|step| step.deployment.len()).max().unwrap_or(0);
    for step in &plan.steps {
        let change = match step.from == step.to {
            true => format!("stays at {}", step.to),
            false => format!("{} -> {}", step.from, step.to),
        };
        out.push_str(&format!(
            "  {:width$}  {:<14} {change}\n",
            step.deployment,
            step.role.to_string()
        ));
    }
    if !plan.untouched.is_empty() {
        out.push_str(&format!("\nleft alone: {}\n", plan.untouched.join(", ")));
    }
    if !is_executed && !plan.steps.is_empty() {
        out.push_str("\nNothing was changed. With --execute this is done; by hand it is:\n\n");
        for command in commands {
            out.push_str(&format!("  {command}\n"));
        }
    }
    out.push('\n');
    out
}
