//! An SV's installation on Kubernetes: which deployments are its parts, how they are stopped and started, and how a file
//! gets onto the SV app's volume (SPEC-CANTON 3.5, 4).
//!
//! Everything is decided on what the cluster says ([`Cluster`]): names are looked up ([`installation::discover`]), never
//! assumed, and what is not recognised is never touched. [`live`] is the one implementation for use; tests have one in
//! memory that keeps the same rules.

pub mod cluster;
pub mod installation;
pub mod live;
pub mod place;
pub mod scale;
#[cfg(test)]
pub mod testing;

pub use cluster::{Claim, Cluster, Container, Deployment, Exec, Exit, Failure, Pod, Scale};
pub use installation::{Installation, Member, Role};
