//! What is asked of a cluster, and what it answers. Every call blocks until there is an answer or a reason why not.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

/// A cluster that this program talks to, as one user of it.
pub trait Cluster {
    /// Whom one talks to: the server's address, and the kubeconfig's context where there is one. Holds no secret.
    fn address(&self) -> String;

    /// All deployments of a namespace.
    ///
    /// # Errors
    /// Whatever keeps the server from answering, or its refusal.
    fn deployments(&self, namespace: &str) -> Result<Vec<Deployment>, Failure>;

    /// A deployment's scale, from its `scale` subresource.
    ///
    /// # Errors
    /// Whatever keeps the server from answering, or its refusal.
    fn scale(&self, namespace: &str, deployment: &str) -> Result<Scale, Failure>;

    /// Sets how many pods a deployment shall have, through its `scale` subresource. Answers once that is stored, not once
    /// the pods are there or gone.
    ///
    /// # Errors
    /// Whatever keeps the server from answering, or its refusal.
    fn set_scale(&self, namespace: &str, deployment: &str, replicas: u32) -> Result<(), Failure>;

    /// Names of the deployments of a namespace that an autoscaler manages.
    ///
    /// # Errors
    /// Whatever keeps the server from answering, or its refusal.
    fn autoscaled(&self, namespace: &str) -> Result<Vec<String>, Failure>;

    /// The pods that have all of these labels.
    ///
    /// # Errors
    /// Whatever keeps the server from answering, or its refusal.
    fn pods(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Result<Vec<Pod>, Failure>;

    /// The claims of volumes (PVCs) of a namespace.
    ///
    /// # Errors
    /// Whatever keeps the server from answering, or its refusal.
    fn claims(&self, namespace: &str) -> Result<Vec<Claim>, Failure>;

    /// Runs a command in a container. All of `stdin` is sent, what the command prints goes to `stdout`; both go on at the
    /// same time. The command must not rely on seeing the end of its input: old servers can't pass that on.
    ///
    /// # Errors
    /// [`Failure`] where the command could not be started, nothing moved for [`Exec::idle`], the connection broke, or
    /// `stdin` or `stdout` failed. A command that ran and failed is an [`Exit`] with its code.
    fn exec(&self, exec: &Exec, stdin: &mut dyn Read, stdout: &mut dyn Write) -> Result<Exit, Failure>;

    /// Lets this much time pass.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Why a cluster gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server answered with a refusal.
    #[error("the server refused with {status} {reason}: {message}")]
    Refused {
        /// HTTP's status.
        status: u16,
        /// Kubernetes' reason, such as `Forbidden`; empty where it gave none.
        reason: String,
        /// What the server said, fit to be shown.
        message: String,
    },
    /// There was no answer: no such server, no connection, a certificate that is not trusted, a broken connection.
    #[error("no answer from the cluster: {0}")]
    Unreachable(String),
    /// Nothing moved for so long that it was given up.
    #[error("{0}")]
    TimedOut(String),
    /// There is no usable kubeconfig, or it lacks what is needed.
    #[error("no usable configuration for a cluster: {0}")]
    Configuration(String),
    /// A local file or stream failed while its bytes were sent or received.
    #[error("{0}")]
    Local(String),
}

impl Failure {
    /// Whether the same call may succeed in a while: conflicts, overload, broken connections; not what is forbidden,
    /// absent or wrong.
    pub fn is_passing(&self) -> bool {
        match self {
            Failure::Refused { status, .. } => matches!(status, 408 | 409 | 429 | 500..=599),
            Failure::Unreachable(_) | Failure::TimedOut(_) => true,
            Failure::Configuration(_) | Failure::Local(_) => false,
        }
    }
}

/// A deployment, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// Its own labels.
    pub labels: BTreeMap<String, String>,
    /// The labels by which it knows its pods. Empty where it knows them in a way that is not supported here
    /// (`matchExpressions`).
    pub selector: BTreeMap<String, String>,
    /// The images of its containers, as the template has them.
    pub images: Vec<String>,
    /// The variables of its containers, by their names; without a value where it comes from elsewhere (`valueFrom`).
    pub environment: Vec<(String, Option<String>)>,
    /// How many pods it shall have.
    pub replicas: u32,
    /// How many it has that are ready, as the server last saw it.
    pub ready: u32,
    /// How many there are at all, as the server last saw it.
    pub present: u32,
    /// Whether the server has seen the latest change to it: the counts speak of what was asked for last.
    pub is_observed: bool,
}

/// A deployment's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// How many pods it shall have.
    pub wanted: u32,
    /// How many it has.
    pub present: u32,
}

/// A pod, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`, or what the server says.
    pub phase: String,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// Its containers, mesh sidecars too.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Whether its process runs now.
    pub is_running: bool,
    /// Whether it passes its readiness probe.
    pub is_ready: bool,
    /// Why it waits or ended, as the server says: `CrashLoopBackOff`, `OOMKilled`.
    pub reason: Option<String>,
    /// What is mounted where.
    pub mounts: Vec<Mount>,
}

/// A volume mounted in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The absolute path in the container.
    pub path: String,
    /// The name of the claim (PVC) behind it; nothing for volumes that do not outlive the pod, or are no claim.
    pub claim: Option<String>,
    /// Whether it can't be written to.
    pub is_read_only: bool,
}

/// A claim of a volume (PVC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// `Bound`, `Pending`, `Lost`, or what the server says.
    pub phase: String,
    /// Its capacity in bytes, where the server says one.
    pub capacity_bytes: Option<u64>,
}

/// A command for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container in it.
    pub container: String,
    /// The command and its arguments; no shell in between.
    pub command: Vec<String>,
    /// Given up after so long without a byte moved in either direction.
    pub idle: Duration,
}

/// How a command in a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code.
    pub code: i32,
    /// The beginning of what it said on stderr.
    pub stderr: String,
}
