//! The plan of a recovery, for this installation and release; or why there is none.

use serde::Serialize;

use super::lsu;
use super::parameters::{Installation, Kind, Parameters};
use super::step::{Doing, Invocation, Step, Word};
use super::{network, reonboard, restore};
use crate::canton::release::{NetworkRecovery, Splice};
use crate::canton::{Code, Finding, Timestamp};
use crate::crypto::digest::sha256;
use crate::report::Severity;
use crate::shown::line;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Which recovery.
    pub kind: Kind,
    /// Of which installation.
    pub installation: Installation,
    /// What is to be known before it is begun.
    pub notes: Vec<Finding>,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Options whose values some step still waits for, in the order in which they are needed.
    pub fn open(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for name in self.steps.iter().flat_map(Step::open) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Whether a step needs to know when the step of this name began.
    pub fn waits_for(&self, step: &str) -> bool {
        let waits = |command: &Invocation| {
            command
                .0
                .iter()
                .any(|word| matches!(word, Word::Began(name) if *name == step))
        };
        self.steps
            .iter()
            .any(|step| matches!(&step.doing, Doing::Command(command) if waits(command)))
    }

    /// The plan of a recovery, or what speaks against it. `now` tells times that have not come yet.
    ///
    /// # Errors
    /// The findings for which there is no plan, all at once.
    pub fn make(kind: Kind, at: &Installation, with: &Parameters, now: Timestamp) -> Result<Plan, Vec<Finding>> {
        let (refusals, notes): (Vec<_>, Vec<_>) = findings(kind, at, with, now)
            .into_iter()
            .partition(|finding| finding.severity == Severity::Error);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let steps = match kind {
            Kind::Restore => restore::steps(at, with),
            Kind::Reonboard => reonboard::steps(at, with),
            Kind::NetworkDr => network::steps(at, with),
            Kind::RollForwardLsu => lsu::steps(at, with),
        };
        Ok(Plan {
            kind,
            installation: at.clone(),
            notes,
            steps,
        })
    }

    /// What tells this plan from another: 16 hexadecimal digits over what its steps do.
    pub fn digest(&self) -> String {
        let document = serde_json::to_vec(&self.essence()).unwrap_or_default();
        hex::encode(sha256(&document).get(..8).unwrap_or_default())
    }

    /// What the steps do, without the sentences about it: a new release of this program may say it better, and a plan that
    /// was begun goes on.
    pub fn essence(&self) -> serde_json::Value {
        let step = |step: &Step| {
            serde_json::json!({
                "id": step.id,
                "doing": step.doing,
                "destroys": step.destroys.is_some(),
                "overruled": step.overruled.as_ref().map(|overruling| &overruling.only_if),
                "before": step.before.iter().map(|check| &check.test).collect::<Vec<_>>(),
                "after": step.after.iter().map(|check| &check.test).collect::<Vec<_>>(),
                "blocks": step.blocks.iter().map(|block| &block.text).collect::<Vec<_>>(),
            })
        };
        serde_json::json!({
            "kind": self.kind,
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

fn findings(kind: Kind, at: &Installation, with: &Parameters, now: Timestamp) -> Vec<Finding> {
    let mut found = unshowable(at, with);
    found.extend(path(kind, at.splice));
    found.extend(collisions(kind, at, with));
    match kind {
        Kind::Restore => found.extend(same_backup(with)),
        Kind::Reonboard => {}
        Kind::NetworkDr => found.extend(network_faults(at, with, now)),
        Kind::RollForwardLsu => found.extend(lsu::faults(at.serial, &with.lsu)),
    }
    found
}

/// Whether this way is one on this release at all (SPEC-CANTON 0.1).
fn path(kind: Kind, splice: Splice) -> Option<Finding> {
    match (kind, splice.network_recovery()) {
        (Kind::NetworkDr, NetworkRecovery::RollForwardLsu { snapshot_answers }) => {
            let trap = match snapshot_answers {
                true => "the endpoint for data snapshots still answers, but nothing reads what it gives",
                false => "the endpoint for data snapshots is gone",
            };
            let message =
                format!("Splice {splice} can't be recovered from data snapshots: {trap} (up to 0.6.1 it can)");
            Some(
                Finding::new(Code::WrongPath, message)
                    .next("make the plan with `rekindle canton runbook roll-forward-lsu`"),
            )
        }
        (Kind::RollForwardLsu, NetworkRecovery::DataSnapshot) => {
            let message = format!("Splice {splice} knows no roll-forward upgrade; it came with 0.6.2");
            Some(Finding::new(Code::WrongPath, message).next("make the plan with `rekindle canton runbook network-dr`"))
        }
        _ => None,
    }
}

fn texts<'a>(at: &'a Installation, with: &'a Parameters) -> Vec<&'a String> {
    let extra = &with.reonboard;
    let commands = &with.commands;
    let mut texts = vec![&at.namespace, &at.directory];
    texts.extend(&at.cluster);
    texts.extend(&with.fresh_logs);
    texts.extend(
        [&at.url, &at.scan_url, &at.token_file, &with.identities]
            .into_iter()
            .flatten(),
    );
    texts.extend(
        with.apps
            .iter()
            .chain(&with.participant)
            .chain(&with.logs)
            .chain(&with.evidence),
    );
    let names = [&extra.sv_name, &extra.validator_namespace, &extra.new_identifier];
    let wallet = [&extra.wallet_url, &extra.wallet_token_file, &extra.balances];
    let own = [&commands.keep, &commands.restore, &commands.restored];
    let own_too = [&commands.deploy, &commands.configure, &commands.settle];
    texts.extend([names, wallet, own, own_too].into_iter().flatten().flatten());
    let names = &at.names;
    texts.extend(&names.cometbft);
    texts.extend([&names.mediator, &names.sequencer, &names.participant]);
    texts.extend([&names.scan_app, &names.sv_app, &names.validator_app]);
    texts
}

/// A plan is read by people before it is carried out: what they can't see may not be in it.
fn unshowable(at: &Installation, with: &Parameters) -> Vec<Finding> {
    let hidden = |text: &&String| line(text) != text.as_str();
    let say = |text: &String| Finding::new(Code::NotShowable, format!("an argument is {text}"));
    let dashed = |text: &&String| text.starts_with('-');
    let values = texts(at, with);
    let mut found: Vec<Finding> = values.iter().copied().filter(|text| hidden(text)).map(say).collect();
    // Behind an option, a value that looks like one would be taken for one.
    let own: Vec<&String> = at.cluster.iter().collect();
    let foreign = values
        .into_iter()
        .filter(|text| !own.iter().any(|word| std::ptr::eq(*word, *text)));
    found.extend(foreign.filter(dashed).map(|text| {
        Finding::new(Code::NotShowable, format!("an argument begins with a dash: {text}"))
            .next("write a path as ./-name, and another value without the dash")
    }));
    found
}

/// The documented procedure writes three things under one name (SPEC-CANTON 0.2); this one must not.
fn collisions(kind: Kind, at: &Installation, with: &Parameters) -> Vec<Finding> {
    let outputs: &[&str] = match kind {
        Kind::Restore | Kind::RollForwardLsu => &[],
        Kind::Reonboard => &["participant_identities.json", "balances_recovered.json"],
        Kind::NetworkDr => &["evidence.json", "data_snapshot.json", "domain_migration_dump.json"],
    };
    let file_of = |pair: &String| pair.split_once('=').map_or(pair.clone(), |(_, file)| file.to_owned());
    let mut inputs: Vec<String> = with.identities.iter().cloned().collect();
    inputs.extend(with.reonboard.balances.iter().cloned());
    inputs.extend(with.logs.iter().map(file_of));
    inputs.extend(at.token_file.iter().cloned());
    let normal = |path: &str| {
        path.split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let is_output = |input: &&String| outputs.iter().any(|output| normal(&at.file(output)) == normal(input));
    let say = |input: &String| {
        Finding::new(
            Code::OutputIsInput,
            format!("{input} is read, and a step writes a file of that name"),
        )
    };
    inputs.iter().filter(is_output).map(say).collect()
}

fn same_backup(with: &Parameters) -> Option<Finding> {
    let both = with.apps.iter().find(|file| with.participant.contains(file))?;
    let message = format!("{both} is named as the apps' backup and as the participant's");
    Some(
        Finding::new(Code::OutputIsInput, message)
            .next("name the two databases' backups apart: --apps and --participant"),
    )
}

fn network_faults(at: &Installation, with: &Parameters, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(timestamp) = with.timestamp
        && timestamp >= now
    {
        let message = format!("the time to recover from, {timestamp}, has not passed: it is {now} now");
        found.push(Finding::new(Code::TimeAhead, message));
    }
    if let Some(migration) = with.migration {
        let serial = at.serial;
        if migration <= serial {
            let message = format!("the new migration is {migration}, and {serial} is there already");
            found.push(Finding::new(Code::SerialUnexpected, message));
        } else if migration - serial > 1 {
            let message = format!("the new migration is {migration}, and the one that is there is {serial}");
            let finding = Finding::new(Code::SerialUnexpected, message).severity(Severity::Warning);
            found.push(finding.next("usual is one more; make sure that all SVs agreed on it"));
        }
    }
    if at.splice <= Splice::new(0, 4, 1) {
        let message = format!("snapshots of Splice {} can be rejected: Missing authorizers", at.splice);
        found.push(Finding::new(Code::OldSnapshot, message));
    }
    found
}
