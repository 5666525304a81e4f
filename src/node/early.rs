//! What a node begins in its first moment, because it takes long and depends on nothing: its RSA key, and what vouches for it.

use std::path::Path;
use std::sync::mpsc as mpsc_std;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::sync::mpsc;

use super::config::{Config, frames};
use super::evidence::{EvidenceInTheMaking, of_this_machine};
use super::status::Status;
use crate::attestation::OwnEvidence;
use crate::crypto::rsa::KeyPairInTheMaking;
use crate::error::{Error, Result};
use crate::report::progress::Progress;
use crate::service::identity::NodeIdentity;
use crate::shown::Show;
use crate::tables::json;

/// Threads that look for an RSA key's primes: it has two. On a large ledger they are done long before they are waited for, on
/// a small one reading leaves processors idle.
pub(super) const KEY_THREADS: usize = 2;

/// What is begun in the first moment.
pub(super) struct Early {
    pub(super) keys: KeyPairInTheMaking,
    /// The pair that is to be sealed, if one is.
    pub(super) recovery_key: Option<KeyPairInTheMaking>,
    /// What the node runs, and who says so.
    pub(super) evidence: EvidenceInTheMaking,
}

impl Early {
    /// Begins all of it but the pair that is sealed.
    ///
    /// # Errors
    /// If the machine can't be vouched for as the settings say, or a thread can't be started.
    pub(super) fn begin(config: &Config, identity: &NodeIdentity) -> Result<Early> {
        let threads = || Error::io("start", Path::new("a thread"));
        let attestation = of_this_machine(config).map_err(Error::Usage)?;
        tracing::info!(platform = attestation.platform().as_str(), "what vouches for this node");
        Ok(Early {
            recovery_key: None,
            keys: KeyPairInTheMaking::start(KEY_THREADS).map_err(threads())?,
            evidence: EvidenceInTheMaking::start(attestation, identity.key.verifying_key()).map_err(threads())?,
        })
    }
}

/// The evidence once it is there. Where there will be none the node ends, whatever else it is doing.
pub(super) fn when_there(
    making: EvidenceInTheMaking,
    ends: mpsc::UnboundedSender<Result<()>>,
) -> mpsc_std::Receiver<OwnEvidence> {
    let (there, evidence) = mpsc_std::channel();
    tokio::spawn(async move {
        match making.wait().await {
            Ok(evidence) => drop(there.send(evidence)),
            Err(why) => drop(ends.send(Err(why))),
        }
    });
    evidence
}

/// The evidence; as long as it is not there, the status says that it is waited for.
///
/// # Errors
/// If there will be none.
pub(super) fn wait_for_evidence(evidence: &mpsc_std::Receiver<OwnEvidence>, status: &Status) -> Result<OwnEvidence> {
    let late = |_| {
        status.begin("waiting for the evidence of what this node runs: its endorsements", 0);
        let evidence = evidence.recv();
        status.end();
        evidence
    };
    // Why there is none, who waits for it has said.
    evidence
        .try_recv()
        .or_else(late)
        .map_err(|_| Error::Unreadable("this node has no evidence of what it runs".to_owned()))
}

/// Lets the node have as many files and connections open as it may: shells give a process a thousand, of many more.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(why) = setrlimit(Resource::Nofile, most) {
        tracing::warn!("the number of open files stays limited to {:?}: {why}", limit.current);
    }
}

/// Refuses a start that could not write what it is asked to.
///
/// # Errors
/// [`Error::Usage`].
pub(super) fn check_outputs(config: &Config) -> Result<()> {
    let problems = config.check_outputs(Path::new("."));
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::usage_in_lines(&format!(
            "the node can't write what the configuration asks for:{}",
            frames(&problems)
        ))),
    }
}

/// What a file holds that the settings may name.
///
/// # Errors
/// If it can't be read, or is no JSON that a ledger may hold.
pub(super) fn read_json(path: Option<&Path>) -> Result<Option<Value>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    let value = serde_json::from_slice(&text);
    let value = value.map_err(|why| Error::Unreadable(format!("{} is not JSON: {why}", path.shown())))?;
    json::check(&text)
        .map_err(|why| Error::Unreadable(format!("{} can't be written to a ledger: {why}", path.shown())))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_looks_sees_that_evidence_is_waited_for() {
        let status = Arc::<Status>::default();
        let (there, evidence) = mpsc_std::channel();
        let waiting = std::thread::spawn({
            let status = Arc::clone(&status);
            move || wait_for_evidence(&evidence, &status).map(drop)
        });
        let began = std::time::Instant::now();
        while !status.recovery().phase.starts_with("waiting for the evidence") {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", status.recovery());
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(there);
        assert!(waiting.join().unwrap().is_err(), "there will be none");
        assert_eq!(status.recovery().phase, "starting");
    }
}
