//! A migration dump brought onto the SV app's volume (SPEC-CANTON 3.5): into which pod, whether it fits there, and in such
//! a way that the target never holds anything but the whole file or what it held before.
//!
//! The file goes to another name beside the target, its hash is read back in the pod, then it takes the target's name, and
//! the hash is read back once more. [`choose`] and [`volume`] decide, [`scripts`] has the commands that run in the
//! container, [`transfer`] does it.

pub mod scripts;
pub mod transfer;

use super::cluster::{Claim, Container, Mount, Pod};
use super::scale::{Kubectl, describe};
use crate::canton::{Code, Finding, shell};

use scripts::Names;

/// What is to be placed, and where.
#[derive(Clone, Debug)]
pub struct Request {
    /// The namespace.
    pub namespace: String,
    /// The app that reads the file: `sv-app`, or a validator's `validator-app`.
    pub app: String,
    /// The container of its pod.
    pub container: String,
    /// Where the file goes, in the container.
    pub path: String,
    /// Whether another file that is there gives way.
    pub replaces: bool,
}

/// Whether a text can be a file's place in a container: absolute, with no way up, on one line.
pub fn is_place(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("")
        && path.len() <= 1000
        && !path.chars().any(char::is_control)
        && parts.clone().count() >= 2
        && parts.all(|part| !part.is_empty() && part != "." && part != "..")
}

/// The one pod of an app that can take the file, and the container in it.
///
/// # Errors
/// A finding where there is none, or more than one, or its container does not run.
pub fn choose<'a>(pods: &'a [Pod], request: &Request) -> Result<(&'a Pod, &'a Container), Box<Finding>> {
    let (app, namespace) = (&request.app, &request.namespace);
    let alive = |pod: &&Pod| !matches!(pod.phase.as_str(), "Succeeded" | "Failed");
    let alive: Vec<&Pod> = pods.iter().filter(alive).collect();
    let described = || alive.iter().map(|pod| describe(pod)).collect::<Vec<_>>().join("; ");
    let pod = match alive.as_slice() {
        [] => {
            let text = format!("app {app} has no pod in namespace {namespace}");
            return Err(Box::new(Finding::new(Code::NoPod, text).of(app)));
        }
        [pod] if pod.is_terminating || pod.phase != "Running" => {
            let text = format!("the pod of app {app} does not run: {}", described());
            return Err(Box::new(Finding::new(Code::NoPod, text).of(&pod.name)));
        }
        [pod] => *pod,
        // Another one that is being started or deleted may write to the same volume.
        _ => {
            let text = format!(
                "app {app} has {} pods, and 1 was expected: {}",
                alive.len(),
                described()
            );
            return Err(Box::new(Finding::new(Code::SeveralPods, text).of(app)));
        }
    };
    let Some(container) = pod.containers.iter().find(|one| one.name == request.container) else {
        let names: Vec<&str> = pod.containers.iter().map(|one| one.name.as_str()).collect();
        let text = format!(
            "the pod has no container {}, it has {}",
            request.container,
            names.join(", ")
        );
        let finding = Finding::new(Code::ContainerUnfit, text).of(&pod.name);
        return Err(Box::new(finding.next("name the app's container with --container")));
    };
    if !container.is_running {
        let text = format!("container {} does not run: {}", container.name, describe(pod));
        return Err(Box::new(Finding::new(Code::ContainerUnfit, text).of(&pod.name)));
    }
    Ok((pod, container))
}

/// The mount on which a path lies.
pub fn mount<'a>(container: &'a Container, path: &str) -> Option<&'a Mount> {
    let below = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.path.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    container
        .mounts
        .iter()
        .filter(below)
        .max_by_key(|mount| mount.path.trim_end_matches('/').len())
}

/// What is to be said about the volume on which the file will lie: that it does not outlive the pod, can't be written to, or
/// is too small altogether.
pub fn volume(container: &Container, path: &str, claims: Option<&[Claim]>, size: u64) -> Vec<Finding> {
    let of = |code: Code, text: String| Finding::new(code, text).at(path);
    let Some(mount) = mount(container, path) else {
        let text = format!("no volume is mounted in container {} where {path} lies", container.name);
        return vec![of(Code::NotPersistent, text)];
    };
    let Some(name) = &mount.claim else {
        let text = format!("what is mounted at {} is no persistent volume claim", mount.path);
        return vec![of(Code::NotPersistent, text)];
    };
    let mut findings = Vec::new();
    if mount.is_read_only {
        let text = format!("claim {name} is mounted read-only at {}", mount.path);
        findings.push(of(Code::NotPersistent, text).next("mount it writable in the app's values"));
    }
    if let Some(claims) = claims {
        match claims.iter().find(|claim| &claim.name == name) {
            None => findings.push(of(Code::NotPersistent, format!("the namespace has no claim {name}"))),
            Some(claim) if claim.phase != "Bound" => {
                findings.push(of(
                    Code::NotPersistent,
                    format!("claim {name} is {}, not Bound", claim.phase),
                ));
            }
            Some(claim) => {
                if let Some(capacity) = claim.capacity_bytes.filter(|capacity| *capacity < size) {
                    let text = format!("claim {name} holds {capacity} bytes, the file has {size}");
                    findings.push(of(Code::NoRoomOnVolume, text));
                }
            }
        }
    }
    findings
}

/// The commands with which an operator does the same by hand, in this pod.
pub fn commands(request: &Request, pod: &str, kubectl: &Kubectl, file: &str, size: u64, names: &Names) -> Vec<String> {
    let exec = |options: &[&str], command: Vec<String>| {
        let mut words = vec!["exec"];
        words.extend(options);
        words.extend(["-n", &request.namespace, pod, "-c", &request.container, "--"]);
        words.extend(command.iter().map(String::as_str));
        kubectl.line(words)
    };
    let hash = |path: &str| exec(&[], ["sha256sum", path].map(str::to_owned).to_vec());
    vec![
        format!(
            "{} < {}",
            exec(&["-i"], shell::script(&scripts::receive(names, size))),
            shell::quoted(file)
        ),
        hash(&names.part),
        exec(
            &[],
            shell::script(&scripts::rename(names, request.replaces.then_some("before"))),
        ),
        hash(&names.target),
    ]
}

#[cfg(test)]
mod tests;
