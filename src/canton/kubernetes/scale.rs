//! Stopping and starting an SV's parts (SPEC-CANTON 4): which, in which order, to how many, and whether it came about.
//!
//! [`plan`] decides, [`carry_out`] does. The order is the operators' document's ([`super::Role`]). Which parts stop when
//! is the caller's to say: in a network-wide recovery CometBFT stops before the dumps are fetched, sequencer and mediator
//! only after them (SPEC-CANTON 3.1).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::cluster::{Cluster, Deployment, Failure, Pod};
use super::installation::{ROLES, Role, Unclear, recognise};
use crate::canton::finding::Ending;
use crate::canton::{Code, Finding, Findings, shell};
use crate::report::Severity;

/// Down to nothing, or up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To no pods.
    Down,
    /// To the wanted number of pods.
    Up,
}

/// What is to be scaled.
#[derive(Clone, Debug)]
pub struct Request {
    /// Down or up.
    pub direction: Direction,
    /// Of which synchronizer; may be left out where there is one.
    pub serial: Option<u64>,
    /// Only these, by role ([`ROLES`]) or by a deployment's name; all where empty.
    pub only: Vec<String>,
    /// All but these, by role or by a deployment's name.
    pub except: Vec<String>,
    /// Pods of each deployment that goes up.
    pub replicas: u32,
}

/// One deployment's change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The deployment.
    pub deployment: String,
    /// What it is.
    pub role: Role,
    /// The number in its role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// How many pods it shall have now.
    pub from: u32,
    /// How many it shall have then.
    pub to: u32,
    /// The labels of its pods.
    #[serde(skip)]
    pub selector: BTreeMap<String, String>,
}

/// What would be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The namespace.
    pub namespace: String,
    /// Down or up.
    pub direction: Direction,
    /// In the order in which it is done.
    pub steps: Vec<Step>,
    /// Deployments of the namespace that are left alone.
    pub untouched: Vec<String>,
    /// What is to be said about it. With an error among them nothing must be carried out.
    pub findings: Findings,
}

/// Decides what a request means for these deployments. `autoscaled` names those that an autoscaler manages, where that is
/// known.
///
/// # Errors
/// [`Unclear`] where several synchronizers or participants could be meant.
pub fn plan(
    namespace: &str,
    deployments: Vec<Deployment>,
    autoscaled: Option<&[String]>,
    request: &Request,
) -> Result<Plan, Unclear> {
    let all: Vec<String> = deployments.iter().map(|one| one.name.clone()).collect();
    let mut findings = Findings::default();
    let named = |list: &[String], role: Option<Role>, name: &str| {
        list.iter()
            .any(|one| one == name || role.is_some_and(|role| role.kind() == one))
    };
    // What is excepted by its name makes nothing ambiguous.
    let kept = deployments
        .into_iter()
        .filter(|one| !request.except.contains(&one.name))
        .collect();
    let mut installation = recognise(namespace, kept);
    for word in request.only.iter().chain(&request.except) {
        let is_there = all.contains(word) || installation.members.iter().any(|member| member.role.kind() == word);
        if !is_there {
            // A role that is not installed is nothing to scale or to spare. A word that is misspelt is: of --except, the
            // very part that must not be stopped.
            let (known, severity) = match ROLES.contains(&word.as_str()) {
                true => ("no deployment of that role", Severity::Warning),
                false => ("neither a role nor a deployment", Severity::Error),
            };
            let text = format!("{known} in namespace {namespace}: {word}");
            findings.push(Finding::new(Code::NoSuchPart, text).severity(severity));
        }
    }
    installation.members.retain(|member| {
        let (role, name) = (Some(member.role), member.deployment.name.as_str());
        (request.only.is_empty() || named(&request.only, role, name)) && !named(&request.except, role, name)
    });
    let to = match request.direction {
        Direction::Down => 0,
        Direction::Up => request.replicas,
    };
    let mut steps = Vec::new();
    for member in installation.node(request.serial)? {
        let of = &member.deployment;
        if of.selector.is_empty() {
            let text = format!("deployment {} does not know its pods by plain labels", of.name);
            findings.push(Finding::new(Code::PartUnclear, text).of(&of.name));
            continue;
        }
        if autoscaled.is_some_and(|names| names.contains(&of.name)) {
            findings.push(
                Finding::new(
                    Code::Autoscaled,
                    format!("an autoscaler manages deployment {}", of.name),
                )
                .of(&of.name),
            );
        }
        if request.direction == Direction::Down && of.replicas > 1 {
            let text = format!(
                "deployment {} shall have {} pods now, an SV's parts have 1",
                of.name, of.replicas
            );
            findings.push(Finding::new(Code::SeveralReplicas, text).of(&of.name));
        }
        steps.push(Step {
            deployment: of.name.clone(),
            role: member.role,
            serial: member.role.serial(),
            from: of.replicas,
            // What is up already stays as it is.
            to: if request.direction == Direction::Up {
                to.max(of.replicas)
            } else {
                to
            },
            selector: of.selector.clone(),
        });
    }
    for text in &installation.ambiguities {
        findings.push(Finding::new(Code::PartUnclear, text));
    }
    if steps.is_empty() {
        let text = format!(
            "namespace {namespace} has no deployment that is meant, of {} there",
            all.len()
        );
        findings.push(Finding::new(Code::NoPart, text));
    }
    let untouched = all
        .into_iter()
        .filter(|name| !steps.iter().any(|step| &step.deployment == name));
    Ok(Plan {
        namespace: namespace.to_owned(),
        direction: request.direction,
        untouched: untouched.collect(),
        steps,
        findings,
    })
}

/// How one reaches the cluster with `kubectl`: for the commands that are shown.
#[derive(Clone, Debug, Default)]
pub struct Kubectl {
    /// `--kubeconfig`.
    pub kubeconfig: Option<String>,
    /// `--context`.
    pub context: Option<String>,
}

impl Kubectl {
    /// `kubectl` with what leads it to the cluster.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["kubectl".to_owned()];
        let options = [("--kubeconfig", &self.kubeconfig), ("--context", &self.context)];
        for (option, value) in options {
            if let Some(value) = value {
                words.extend([option.to_owned(), value.clone()]);
            }
        }
        words
    }

    /// A command line: `kubectl`, what leads it to the cluster, and these words.
    pub fn line<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> String {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        shell::line(self.words().into_iter().chain(words))
    }
}

/// The commands with which an operator does the same by hand.
pub fn commands(plan: &Plan, kubectl: &Kubectl, timeout: Duration) -> Vec<String> {
    let mut by_target: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.from != step.to) {
        by_target.entry(step.to).or_default().push(&step.deployment);
    }
    let mut lines = Vec::new();
    for (to, names) in by_target {
        let options = ["scale".to_owned(), "deployment".to_owned(), format!("--replicas={to}")];
        let namespace = ["-n".to_owned(), plan.namespace.clone()];
        let names = names.into_iter().map(str::to_owned);
        lines.push(kubectl.line(options.into_iter().chain(namespace).chain(names)));
    }
    let timeout = format!("--timeout={}s", timeout.as_secs());
    for step in &plan.steps {
        let labels: Vec<String> = step
            .selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let (namespace, labels) = (plan.namespace.as_str(), labels.join(","));
        lines.push(match plan.direction {
            Direction::Down => kubectl.line(["wait", "pods", "-n", namespace, "-l", &labels, "--for=delete", &timeout]),
            Direction::Up => {
                let name = format!("deployment/{}", step.deployment);
                kubectl.line(["rollout", "status", "-n", namespace, &name, &timeout])
            }
        });
    }
    lines
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the pods of all steps to be gone, or ready.
    pub timeout: Duration,
    /// Between two looks at them.
    pub between: Duration,
    /// Tries of one change.
    pub tries: u32,
    /// Between two tries.
    pub pause: Duration,
}

impl Patience {
    /// As upstream's own restore script: five tries, ten seconds apart (SPEC-CANTON 4).
    pub fn of(timeout: Duration) -> Patience {
        Patience {
            timeout,
            between: Duration::from_secs(2),
            tries: 5,
            pause: Duration::from_secs(10),
        }
    }
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the command ends.
    pub ending: Ending,
    /// The deployments that are as they shall be, pods and all.
    pub done: Vec<String>,
    /// What is to be said about it.
    pub findings: Findings,
}

/// Scales every deployment of a plan, in its order, and waits until pods are gone or ready. Doing it again does no harm,
/// and goes on where it was. `tell` hears each thing that happens, on one line.
pub fn carry_out(cluster: &dyn Cluster, plan: &Plan, patience: &Patience, tell: &mut dyn FnMut(&str)) -> Outcome {
    let mut findings = Findings::default();
    for (changed, step) in plan.steps.iter().filter(|step| step.from != step.to).enumerate() {
        // Said first: whatever dies then, the operator has the number that was there.
        tell(&format!("{}: {} to {}", step.deployment, step.from, step.to));
        if let Err(why) = change(cluster, plan, step, patience, tell) {
            findings.push(refusal(&why).of(&step.deployment));
            let ending = if changed == 0 { Ending::Refused } else { Ending::Partial };
            let done = Vec::new();
            return Outcome { ending, done, findings };
        }
    }
    let mut waiting = Waiting::new(plan);
    let mut waited = Duration::ZERO;
    loop {
        match waiting.look(cluster, plan, &mut findings, tell) {
            Ok(()) if waiting.open.is_empty() => break,
            Err(why) if !why.is_passing() => {
                findings.push(refusal(&why));
                break;
            }
            _ => {}
        }
        if waited >= patience.timeout {
            waiting.give_up(plan, waited, &mut findings);
            break;
        }
        cluster.pause(patience.between);
        waited += patience.between;
    }
    let ending = match findings.any_at_least(Severity::Warning) {
        true => Ending::Partial,
        false => Ending::Clean,
    };
    Outcome {
        ending,
        done: waiting.done,
        findings,
    }
}

/// A finding for a failure of the cluster.
pub fn refusal(why: &Failure) -> Finding {
    let finding = Finding::new(Code::ClusterRefused, why.to_string());
    match why {
        Failure::Refused { status: 403, .. } => finding
            .next("have somebody with the right to do this do it, or be given that right, then run the same again"),
        Failure::Configuration(_) => {
            finding.next("give --kubeconfig and --context, or check them with: kubectl config view")
        }
        _ => finding,
    }
}

fn change(
    cluster: &dyn Cluster,
    plan: &Plan,
    step: &Step,
    patience: &Patience,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let mut tries = 1;
    loop {
        match cluster.set_scale(&plan.namespace, &step.deployment, step.to) {
            Err(why) if why.is_passing() && tries < patience.tries => {
                tell(&format!("{}: {why}; trying again", step.deployment));
                cluster.pause(patience.pause);
                tries += 1;
            }
            result => return result,
        }
    }
}

/// The deployments that are not yet as they shall be.
struct Waiting<'a> {
    open: Vec<(&'a Step, Vec<Pod>)>,
    done: Vec<String>,
}

impl<'a> Waiting<'a> {
    fn new(plan: &'a Plan) -> Waiting<'a> {
        Waiting {
            open: plan.steps.iter().map(|step| (step, Vec::new())).collect(),
            done: Vec::new(),
        }
    }

    /// Looks at each, and takes out what is done or has become hopeless.
    fn look(
        &mut self,
        cluster: &dyn Cluster,
        plan: &Plan,
        findings: &mut Findings,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        let deployments = cluster.deployments(&plan.namespace)?;
        let mut open = Vec::new();
        let mut looked = Ok(());
        for (step, seen) in std::mem::take(&mut self.open) {
            let now = deployments.iter().find(|one| one.name == step.deployment);
            let replicas = now.map(|one| one.replicas);
            if replicas != Some(step.to) {
                let found = replicas.map_or("it is no longer there".to_owned(), |found| format!("it is {found} now"));
                let text = format!("deployment {} was set to {}, and {found}", step.deployment, step.to);
                findings.push(Finding::new(Code::ScaledBack, text).of(&step.deployment));
                continue;
            }
            // One look that fails leaves the others as they were.
            let pods = match cluster.pods(&plan.namespace, &step.selector) {
                Ok(pods) => pods,
                Err(why) => {
                    looked = Err(why);
                    open.push((step, seen));
                    continue;
                }
            };
            // Pods that ended on their own stay listed until they are collected.
            let pods: Vec<Pod> = pods
                .into_iter()
                .filter(|pod| !matches!(pod.phase.as_str(), "Succeeded" | "Failed"))
                .collect();
            let is_done = match plan.direction {
                Direction::Down => pods.is_empty(),
                Direction::Up => now.is_some_and(|one| one.is_observed && one.ready >= step.to),
            };
            match is_done {
                true => {
                    let state = if plan.direction == Direction::Down {
                        "pods are gone"
                    } else {
                        "ready"
                    };
                    tell(&format!("{}: {state}", step.deployment));
                    self.done.push(step.deployment.clone());
                }
                false => open.push((step, pods)),
            }
        }
        self.open = open;
        looked
    }

    fn give_up(&self, plan: &Plan, waited: Duration, findings: &mut Findings) {
        for (step, pods) in &self.open {
            let described: Vec<String> = pods.iter().map(describe).collect();
            let pods = match described.is_empty() {
                true => "it has no pods".to_owned(),
                false => described.join("; "),
            };
            let (code, state) = match plan.direction {
                Direction::Down => (Code::PodsRemain, "pods are still there"),
                Direction::Up => (Code::PodNotReady, "it is not ready"),
            };
            let text = format!("after {} s {state}: {pods}", waited.as_secs());
            findings.push(Finding::new(code, text).of(&step.deployment));
        }
    }
}

/// A pod and what holds it up, on one line.
pub fn describe(pod: &Pod) -> String {
    let state = if pod.is_terminating {
        "Terminating"
    } else {
        pod.phase.as_str()
    };
    let containers = pod
        .containers
        .iter()
        .filter(|one| !one.is_ready)
        .map(|one| match &one.reason {
            Some(reason) => format!("{} {reason}", one.name),
            None => format!("{} not ready", one.name),
        });
    let containers: Vec<String> = containers.collect();
    match containers.is_empty() {
        true => format!("{} {state}", pod.name),
        false => format!("{} {state} ({})", pod.name, containers.join(", ")),
    }
}

#[cfg(test)]
mod tests;
