//! Whether an SV's deployments run, or stand still.

use super::report::{Line, State};
use super::settings::{self, Times};
use crate::canton::Code;
use crate::canton::kubernetes::{Cluster, Deployment, Failure, Installation, Member, Role};

/// The parts that every node has.
const ALWAYS: [&str; 6] = [
    "mediator",
    "sequencer",
    "participant",
    "scan-app",
    "sv-app",
    "validator-app",
];

/// What is expected of which deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The synchronizer's serial (migration); nothing where there is only one.
    pub serial: Option<u64>,
    /// Only the parts of these kinds.
    pub only: Vec<String>,
    /// They shall stand still.
    pub is_down: bool,
    /// The times that the sequencer shall be set to.
    pub times: Times,
}

/// A part, and the pods that there are of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub role: Role,
    /// As the cluster has it.
    pub deployment: Deployment,
    /// How many pods there are, those included that are being deleted; nothing where they can't be told.
    pub pods: Option<usize>,
}

/// Looks at the deployments.
///
/// # Errors
/// Those of the cluster.
pub fn look(cluster: &dyn Cluster, namespace: &str, expected: &Expected) -> Result<Vec<Line>, Failure> {
    let installation = crate::canton::kubernetes::installation::discover(cluster, namespace)?;
    let members = match chosen(&installation, expected) {
        Ok(members) => members,
        Err(line) => return Ok(vec![*line]),
    };
    let mut seen = Vec::new();
    for Member { role, deployment } in members {
        // Without labels the cluster would list every pod there is.
        let pods = match expected.is_down && !deployment.selector.is_empty() {
            true => Some(cluster.pods(namespace, &deployment.selector)?.len()),
            false => None,
        };
        seen.push(Seen {
            role: *role,
            deployment: deployment.clone(),
            pods,
        });
    }
    Ok(judge(&seen, expected))
}

fn chosen<'a>(installation: &'a Installation, expected: &Expected) -> Result<Vec<&'a Member>, Box<Line>> {
    let namespace = &installation.namespace;
    let unclear = |says: String| {
        Box::new(Line::wrong(
            "replicas",
            namespace,
            State::NotYet,
            Code::Unrecognised,
            says,
        ))
    };
    if let Some(ambiguity) = installation.ambiguities.first() {
        return Err(unclear(ambiguity.clone()));
    }
    let members = installation.node(expected.serial).map_err(|why| unclear(why.0))?;
    let is_meant =
        |member: &&Member| expected.only.is_empty() || expected.only.iter().any(|kind| kind == member.role.kind());
    let members: Vec<&Member> = members.into_iter().filter(is_meant).collect();
    match members.is_empty() {
        true => Err(unclear(format!(
            "namespace {namespace} has none of the deployments that are meant"
        ))),
        false => Ok(members),
    }
}

/// What the deployments' states say.
pub fn judge(seen: &[Seen], expected: &Expected) -> Vec<Line> {
    let mut lines: Vec<Line> = seen
        .iter()
        .map(|seen| {
            if expected.is_down {
                stopped(seen)
            } else {
                ready(&seen.deployment)
            }
        })
        .collect();
    let sequencers = seen.iter().filter(|seen| seen.role.kind() == "sequencer");
    let settings: Vec<Line> = sequencers
        .flat_map(|seen| settings::judge(&seen.deployment, &expected.times))
        .collect();
    if settings.is_empty() && expected.times.is_any() {
        let says = "there is no sequencer among the deployments that were looked at";
        lines.push(Line::wrong(
            "setting",
            "sequencer",
            State::NotYet,
            Code::SettingMissing,
            says,
        ));
    }
    lines.extend(settings);
    let wanted: Vec<&str> = match expected.only.is_empty() {
        false => expected.only.iter().map(String::as_str).collect(),
        true if expected.is_down => Vec::new(),
        true => ALWAYS.to_vec(),
    };
    for kind in wanted {
        if seen.iter().all(|seen| seen.role.kind() != kind) {
            let says = "there is no such deployment";
            lines.push(Line::wrong("replicas", kind, State::NotYet, Code::Unrecognised, says));
        }
    }
    lines
}

fn ready(deployment: &Deployment) -> Line {
    let Deployment {
        name,
        replicas,
        ready,
        present,
        ..
    } = deployment;
    let says = format!("{ready} of {replicas} ready");
    match () {
        () if *replicas == 0 => Line::wrong(
            "replicas",
            name,
            State::NotYet,
            Code::NotReadyYet,
            "it is scaled to 0 replicas",
        ),
        () if !deployment.is_observed => Line::wrong(
            "replicas",
            name,
            State::NotYet,
            Code::NotReadyYet,
            "its last change is not seen yet",
        ),
        () if ready < replicas || present > replicas => {
            Line::wrong("replicas", name, State::NotYet, Code::NotReadyYet, says)
        }
        () => Line::good("replicas", name, says),
    }
}

fn stopped(seen: &Seen) -> Line {
    let deployment = &seen.deployment;
    let name = &deployment.name;
    let running = |says: String| Line::wrong("stopped", name, State::NotYet, Code::StillRuns, says);
    match seen.pods {
        _ if deployment.replicas > 0 => running(format!("{} replicas are wanted", deployment.replicas)),
        _ if !deployment.is_observed => running("its last change is not seen yet".to_owned()),
        None => running("its pods can't be told by their labels".to_owned()),
        // A pod that is being deleted is no longer counted as a replica, and can still write.
        Some(0) if deployment.present == 0 => Line::good("stopped", name, "no pod"),
        Some(pods) => running(format!("{} pods are there", pods.max(deployment.present as usize))),
    }
}
