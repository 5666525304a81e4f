//! One recovery of the rehearsal, from the start of the node to the verified result.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::Plan;
use super::clock::{Clock, Step};
use super::members::{accept, read_members, submit};
use super::node::NodeProcess;
use super::scratch::copy_directory;
use super::sealing::{OpenedBy, RoundFiles};
use super::verifying::check;
use super::watch::{client, entered, recovered_entries, wait_for, wait_until_open};
use crate::crypto::Certificate;
use crate::error::{Error, Result};
use crate::member::{Client, Trust, governance};
use crate::shown::Show;

/// Below this many megabytes a rate would say how fast a node starts, not how fast it reads.
const SMALL_MB: f64 = 32.0;

/// Where a recovery's files come from.
pub(super) struct Source {
    pub(super) ledger: Vec<PathBuf>,
    pub(super) snapshots: Option<PathBuf>,
}

/// One recovery.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Which one.
    pub number: u32,
    /// Entries of the ledger that was recovered, up to its last signature.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// What happened.
    pub steps: Vec<Step>,
    /// From the start of the node to a public network.
    pub public_s: f64,
    /// From the last share to an open service; none without members.
    pub private_s: Option<f64>,
    /// Whether the service was opened.
    pub opened: bool,
    /// What opened it, "sealing" or "shares"; none where only shares could have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<&'static str>,
    /// Whether that is what was to be expected of the sealed files.
    pub as_expected: bool,
    /// Whether the ledger that came out verifies.
    pub verified: bool,
    /// Most memory that the node had, bytes.
    pub peak_memory: u64,
}

/// Recovers what `source` holds in `directory`.
pub(super) async fn recover(
    plan: &Plan,
    source: &Source,
    directory: &Path,
    number: u32,
    sealing: Option<&RoundFiles>,
    tell: &dyn Fn(&str),
) -> Result<Round> {
    let members = match &plan.members {
        Some(members) => read_members(members)?,
        None => Vec::new(),
    };
    let (bytes, read_only) = copy(source, directory)?;
    let mut clock = Clock::begin(tell);
    let mut node = NodeProcess::start(directory, &read_only, plan.jobs, sealing)?;
    clock.step("node started, its interface is served".to_owned(), None);
    let anyone = client(&node, Trust::Anyone)?;
    let state = wait_for(&anyone, &mut node, "PartOfPublicNetwork").await?;
    let public_s = entered(&state, "PartOfPublicNetwork").unwrap_or_else(|| clock.now());
    let network = governance::node_network(&anyone).await;
    let network = network.map_err(|why| node.failed(&why.to_string()))?;
    let entries = recovered_entries(&network).ok_or_else(|| node.failed("/node/network names no service"))?;
    let megabytes = bytes as f64 / 1e6;
    // What a small ledger takes is the start of the node.
    let how = match state.get("startup_seqno").and_then(Value::as_u64) {
        Some(seqno) if seqno > 0 => format!("from the snapshot at {seqno}"),
        _ if megabytes < SMALL_MB => format!("{megabytes:.1} MB verified"),
        _ => format!("{megabytes:.1} MB verified at {:.0} MB/s", megabytes / public_s),
    };
    clock.step(format!("PartOfPublicNetwork: {entries} entries, {how}"), Some(public_s));
    let mut round = Round {
        number,
        entries,
        bytes,
        steps: Vec::new(),
        public_s,
        private_s: None,
        opened: false,
        opened_by: None,
        as_expected: true,
        verified: false,
        peak_memory: 0,
    };
    if members.is_empty() {
        clock.step("no members' keys: the private part is not rehearsed".to_owned(), None);
    } else {
        // From here on as a member would: a node is trusted because the new service has endorsed it.
        let service = directory.join("service_cert.pem");
        let pem = std::fs::read_to_string(&service).map_err(Error::io("read", &service))?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|why| Error::Unreadable(format!("{} is no certificate: {why}", service.shown())))?;
        let trusted = client(&node, Trust::Service(certificate))?;
        accept(&trusted, &mut node, &members, &mut clock).await?;
        let mut by = OpenedBy::Shares;
        if let Some(sealing) = sealing.filter(|sealing| sealing.unseal_from.is_some()) {
            by = unsealed(&trusted, &node, &mut clock).await?;
            round.as_expected = by == sealing.expected;
        }
        round.opened_by = sealing.map(|_| by.as_str());
        let has_shares = members.iter().any(|keys| keys.encryption.is_some());
        if by == OpenedBy::Shares && sealing.is_some() && !has_shares {
            clock.step(
                "no member's encryption key was given: the rest is not rehearsed".to_owned(),
                None,
            );
        } else {
            if by == OpenedBy::Shares {
                submit(&trusted, &members, &node, &mut clock).await?;
            }
            round.private_s = Some(await_open(&trusted, &mut node, &mut clock).await?);
            round.opened = true;
        }
    }
    round.peak_memory = node.peak_memory();
    node.stop()?;
    clock.step("node stopped".to_owned(), None);
    round.verified = check(directory, round.opened, &mut clock)?;
    round.steps = clock.steps;
    Ok(round)
}

/// Copies the main directory; read-only ones are used where they are, because nothing writes to them.
pub(super) fn copy(source: &Source, directory: &Path) -> Result<(u64, Vec<String>)> {
    let mut directories = source.ledger.iter();
    let main = directories.next().map(PathBuf::as_path).unwrap_or(Path::new("."));
    let mut bytes = copy_directory(main, &directory.join("ledger"))?;
    let mut read_only = Vec::new();
    for other in directories {
        let path = other.canonicalize().map_err(Error::io("find", other))?;
        for item in std::fs::read_dir(&path)
            .map_err(Error::io("list directory", &path))?
            .flatten()
        {
            bytes += item.metadata().map_or(0, |metadata| metadata.len());
        }
        read_only.push(path.shown().to_string());
    }
    if let Some(snapshots) = &source.snapshots {
        copy_directory(snapshots, &directory.join("snapshots"))?;
    }
    Ok((bytes, read_only))
}

/// Waits for the private ledger and the open service; answers the seconds that the private ledger took.
pub(super) async fn await_open(client: &Client, node: &mut NodeProcess, clock: &mut Clock<'_>) -> Result<f64> {
    let state = wait_for(client, node, "PartOfNetwork").await?;
    wait_until_open(client, node).await?;
    let span = entered(&state, "ReadingPrivateLedger").zip(entered(&state, "PartOfNetwork"));
    let private_s = span.map_or(0.0, |(from, to)| to - from);
    clock.step(
        "PartOfNetwork: the private ledger is back, the service is open".to_owned(),
        Some(private_s),
    );
    Ok(private_s)
}

/// What became of unsealing, now that the service is to be opened.
async fn unsealed(client: &Client, node: &NodeProcess, clock: &mut Clock<'_>) -> Result<OpenedBy> {
    let state = governance::node_state(client).await;
    let state = state.map_err(|why| node.failed(&why.to_string()))?;
    let unsealing = state.pointer("/recovery/sealing/unsealing");
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    let used = unsealing.and_then(|unsealing| unsealing.get("used")?.as_str());
    if let Some(file) = used {
        clock.step(format!("{file} opens the ledger: no shares are needed"), None);
        return Ok(OpenedBy::Sealing);
    }
    let refused = unsealing.and_then(|unsealing| unsealing.get("refused")?.as_array());
    for refused in refused.into_iter().flatten() {
        let (file, why) = (text(refused.get("file")), text(refused.get("why")));
        clock.step(format!("not used: {file}: {why}"), None);
    }
    clock.step(
        "no sealed file opens the ledger: shares are waited for".to_owned(),
        None,
    );
    Ok(OpenedBy::Shares)
}
