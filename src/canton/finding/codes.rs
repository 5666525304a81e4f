//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

    // C02: identities.

    // C03: logs and evidence.
    /// A file is compressed, and ends or breaks off in the middle.
    CutOff = "C0301", Warning, "what could be read was used; give a whole copy of the file if there is one";

    // C04: the agreed timestamp.

    // C05: fetching.

    // C06: merging.

    // C07: Kubernetes: placing and scaling.
    /// A deployment can't be told for certain to be one part of the SV's installation, so that it is not touched.
    PartUnclear = "C0701", Error, "correct its label app, or leave it out by its name with --except";
    /// A part that was named is not in this namespace.
    NoSuchPart = "C0702", Warning, "look at what there is with: kubectl get deployments";
    /// The namespace has none of the SV's deployments that were asked for.
    NoPart = "C0703", Error, "check the namespace and the cluster's context";
    /// An autoscaler changes how many pods there are; at none it rests, and it takes over again from one on.
    Autoscaled = "C0704", Info, "after going up, look at the autoscaler's bounds";
    /// A part runs more than once, which Splice's charts do not do; going up again brings one pod.
    SeveralReplicas = "C0705", Info, "note the number, and go up with --replicas where it is meant";
    /// Pods that were to be stopped are still there, and may still write to what is about to be restored.
    PodsRemain = "C0706", Error, "look at the pods with kubectl describe: grace periods, finalizers, a lost machine; then run the same again";
    /// A part was started, and does not become ready.
    NotReady = "C0707", Error, "look at the pod's events and logs with kubectl describe and kubectl logs; then run the same again";
    /// Something else changes how many pods there are: GitOps, an operator, a person.
    ScaledBack = "C0708", Error, "stop what sets it back, then run the same again";
    /// The cluster refused, or did not answer.
    ClusterRefused = "C0709", Error, "check the cluster, then run the same again";

    // C08: runbooks.

    // C09: verification after a recovery.
}
