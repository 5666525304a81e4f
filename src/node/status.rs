//! What the node is doing: read by every request without waiting for anybody, written by recovery and writer.
//!
//! Numbers are atomics and text is behind locks that are held for a copy, because `/node/state` must answer while both
//! cores are busy. Recovery specification, sections 2.9 and 3.2.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Instant, SystemTime};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::happened::Happened;
use super::healing_state::{HealingBoard, HealingState};
pub use super::node_state::NodeState;
use super::sealing_state::SealingState;
use crate::format::{Seqno, TxId, View};
use crate::recovery::sealed_report::SealedReport;
use crate::report::progress::Progress;
use crate::report::{Finding, Severity};

/// How far a recovery is, as `/node/state` shows it. Times are seconds since the node began.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecoveryStatus {
    /// How long the node has run.
    pub elapsed_s: f64,
    /// When each state was entered.
    pub entered_s: BTreeMap<String, f64>,
    /// What was found in the ledger.
    pub findings: Vec<Finding>,
    /// How far nodes are that find out among themselves which of them opens, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healing: Option<HealingState>,
    /// What is being done.
    pub phase: String,
    /// While the ledger is read.
    #[serde(flatten)]
    pub reading: Option<Reading>,
    /// What the node seals and unseals, where it is to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealing: Option<SealingState>,
    /// Seqno of the last signature.
    pub seqno: Seqno,
    /// The seqno that the reading ends at.
    pub target: Seqno,
}

/// How fast a pass over the ledger is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Reading {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes a second.
    pub bytes_per_s: u64,
    /// Entries a second.
    pub entries_per_s: u64,
    /// Seconds left at this rate.
    pub time_left_s: f64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// How far the reading of a ledger is.
#[derive(Default)]
struct Pass {
    phase: Mutex<Option<(String, Instant)>>,
    total_bytes: AtomicU64,
    bytes: AtomicU64,
    entries: AtomicU64,
}

/// A transaction's view and seqno, which one thread writes and any number read, without waiting: never the one of one
/// transaction with the other of the next.
#[derive(Default)]
struct AtomicTxId {
    /// Odd while it is written.
    writes: AtomicU64,
    view: AtomicU64,
    seqno: AtomicU64,
}

impl AtomicTxId {
    fn store(&self, txid: TxId) {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.view.store(txid.view, Ordering::SeqCst);
        self.seqno.store(txid.seqno, Ordering::SeqCst);
        self.writes.fetch_add(1, Ordering::SeqCst);
    }

    fn load(&self) -> TxId {
        loop {
            let before = self.writes.load(Ordering::SeqCst);
            let view = self.view.load(Ordering::SeqCst);
            let seqno = self.seqno.load(Ordering::SeqCst);
            if before.is_multiple_of(2) && self.writes.load(Ordering::SeqCst) == before {
                return TxId { view, seqno };
            }
            std::hint::spin_loop();
        }
    }
}

/// The node's status.
pub struct Status {
    began: Instant,
    started: SystemTime,
    state: AtomicU8,
    last_signed: AtomicU64,
    startup_seqno: AtomicU64,
    stopping: AtomicBool,
    gov_open: AtomicBool,
    users_open: AtomicBool,
    /// The last transaction that is written.
    last_written: AtomicTxId,
    /// Why the ledger's files can't be written for now.
    waits_for: Mutex<Option<String>>,
    target: AtomicU64,
    recovered: AtomicU64,
    pass: Pass,
    view_history: RwLock<Vec<Seqno>>,
    findings: Mutex<Vec<Finding>>,
    durations: Mutex<Vec<(&'static str, f64)>>,
    sealing: Mutex<Option<SealingState>>,
    /// How far self-healing open is.
    pub healing: HealingBoard,
    /// The last of what has happened.
    pub happened: Happened,
    /// Told of every commit.
    commits: watch::Sender<Seqno>,
}

impl Default for Status {
    fn default() -> Self {
        Status {
            began: Instant::now(),
            started: SystemTime::now(),
            state: AtomicU8::new(NodeState::Uninitialized as u8),
            last_signed: AtomicU64::new(0),
            startup_seqno: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            gov_open: AtomicBool::new(false),
            users_open: AtomicBool::new(false),
            last_written: AtomicTxId::default(),
            waits_for: Mutex::default(),
            target: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            pass: Pass::default(),
            view_history: RwLock::default(),
            findings: Mutex::default(),
            durations: Mutex::default(),
            sealing: Mutex::default(),
            healing: HealingBoard::default(),
            happened: Happened::default(),
            commits: watch::Sender::default(),
        }
    }
}

impl Status {
    /// The state.
    pub fn state(&self) -> NodeState {
        let number = self.state.load(Ordering::Acquire);
        NodeState::ALL
            .into_iter()
            .find(|state| *state as u8 == number)
            .unwrap_or(NodeState::Uninitialized)
    }

    /// Takes a step of the state machine, and logs it.
    pub fn enter(&self, state: NodeState) {
        let before = self.state();
        self.state.store(state as u8, Ordering::Release);
        let at_s = self.began.elapsed().as_secs_f64();
        tracing::info!(from = before.as_str(), to = state.as_str(), at_s, "state");
        self.happened.add(format!("state {}", state.as_str()));
        if let Ok(mut durations) = self.durations.lock() {
            durations.push((state.as_str(), at_s));
        }
    }

    /// When the node began.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// When each state was entered, in seconds since the start.
    pub fn entered(&self) -> Vec<(&'static str, f64)> {
        self.durations
            .lock()
            .map(|durations| durations.clone())
            .unwrap_or_default()
    }

    /// The last transaction that is written, committed or not.
    pub fn last_written(&self) -> TxId {
        self.last_written.load()
    }

    /// Why the ledger's files can't be written for now.
    pub fn waiting_for(&self) -> Option<String> {
        self.waits_for.lock().ok()?.clone()
    }

    /// The ledger's files can't be written for now, or can be again.
    pub fn waits_for(&self, reason: Option<String>) {
        if let Some(reason) = &reason {
            self.happened.add(format!("waiting for the disk: {reason}"));
        }
        if let Ok(mut waits_for) = self.waits_for.lock() {
            *waits_for = reason;
        }
    }

    /// A transaction was written.
    pub fn wrote(&self, txid: TxId) {
        self.last_written.store(txid);
    }

    /// Seqno of the last signature: what is committed.
    pub fn last_signed(&self) -> Seqno {
        self.last_signed.load(Ordering::Acquire)
    }

    /// A signature was committed.
    pub fn committed(&self, seqno: Seqno) {
        self.last_signed.store(seqno, Ordering::Release);
        self.commits.send_replace(seqno);
    }

    /// Waits until everything up to `seqno` is committed.
    pub async fn until_committed(&self, seqno: Seqno) {
        let mut commits = self.commits.subscribe();
        // The sender is as old as this.
        let _ = commits.wait_for(|committed| *committed >= seqno).await;
    }

    /// Seqno of the snapshot that the node began with; 0 for none.
    pub fn startup_seqno(&self) -> Seqno {
        self.startup_seqno.load(Ordering::Acquire)
    }

    /// The node begins with a snapshot.
    pub fn begins_at(&self, seqno: Seqno) {
        self.startup_seqno.store(seqno, Ordering::Release);
    }

    /// Whether the node was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The node was told to stop.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.happened.add("told to stop");
    }

    /// Whether members are served.
    pub fn gov_is_open(&self) -> bool {
        self.gov_open.load(Ordering::Acquire)
    }

    /// Members are served from here on.
    pub fn open_gov(&self) {
        self.gov_open.store(true, Ordering::Release);
        self.happened.add("members are served");
    }

    /// Whether users are served.
    pub fn users_are_served(&self) -> bool {
        self.users_open.load(Ordering::Acquire)
    }

    /// Users are served from here on.
    pub fn open_users(&self) {
        self.users_open.store(true, Ordering::Release);
        self.happened.add("users are served");
    }

    /// First seqno of each view, from view 1 on.
    pub fn view_history(&self) -> Vec<Seqno> {
        self.view_history
            .read()
            .map(|history| history.clone())
            .unwrap_or_default()
    }

    /// Learns the history of views.
    pub fn set_view_history(&self, history: &[Seqno]) {
        if let Ok(mut known) = self.view_history.write()
            && known.len() != history.len()
        {
            *known = history.to_vec();
        }
    }

    /// The view in which a seqno was written.
    pub fn view_of(&self, seqno: Seqno) -> View {
        let last = self.last_written();
        let known = self.view_history.read();
        let views = known.map(|history| history.partition_point(|first| *first <= seqno) as View);
        match views {
            // What this node has not signed yet is in no history.
            Ok(_) if seqno > self.last_signed() => last.view,
            Ok(view) => view,
            Err(_) => 0,
        }
    }

    /// Adds findings, which `/node/state` shows and the log has.
    pub fn find(&self, found: &[Finding]) {
        for finding in found {
            let seqno = finding.seqno;
            let (code, message, next) = (finding.code.as_str(), &finding.message, &finding.next);
            let file = finding.file.as_deref();
            self.happened.add(format!("finding {code}"));
            match finding.severity {
                crate::report::Severity::Info => tracing::info!(code, seqno, file, next, "{message}"),
                crate::report::Severity::Warning => tracing::warn!(code, seqno, file, next, "{message}"),
                crate::report::Severity::Error => tracing::error!(code, seqno, file, next, "{message}"),
            }
        }
        if let Ok(mut findings) = self.findings.lock() {
            for finding in found {
                keep_the_worst(&mut findings, finding);
            }
        }
    }

    /// The node is to seal or unseal.
    pub fn set_sealing(&self, state: SealingState) {
        if let Ok(mut sealing) = self.sealing.lock() {
            *sealing = Some(state);
        }
    }

    /// What became of unsealing: for the log too, which may be all that is kept.
    pub fn unsealed(&self, report: SealedReport) {
        match &report.used {
            Some(file) => tracing::info!(
                file,
                version = report.wanted_version,
                insecure = report.insecure,
                "the ledger is opened with a sealed secret: no shares are needed"
            ),
            None => self.find(&[report.finding().severity(Severity::Warning)]),
        }
        self.update_sealing(|state| state.unsealing = Some(report));
    }

    /// Something has become of that.
    pub fn update_sealing(&self, update: impl FnOnce(&mut SealingState)) {
        if let Ok(mut sealing) = self.sealing.lock()
            && let Some(sealing) = sealing.as_mut()
        {
            update(sealing);
        }
    }

    /// The private pass begins: it will end at `target`.
    pub fn recover_to(&self, target: Seqno) {
        self.recovered.store(0, Ordering::Release);
        self.target.store(target, Ordering::Release);
    }

    /// Target and position of the private pass: what CCF answers while it runs.
    pub fn private_progress(&self) -> (Seqno, Seqno) {
        let target = self.target.load(Ordering::Acquire);
        let (bytes, total) = self.pass.read();
        // Entries are decrypted newest first and in parallel: the share of bytes done is the share of seqnos done.
        let done = u128::from(target) * u128::from(bytes) / u128::from(total.max(1));
        (target, (done as Seqno).min(target))
    }

    /// The object `recovery` of `/node/state`: how far the reading is.
    pub fn recovery(&self) -> RecoveryStatus {
        let findings = self.findings.lock().map(|findings| findings.clone());
        let phase = self.pass.phase.lock().ok().and_then(|phase| phase.clone());
        let waits = self
            .waiting_for()
            .map(|reason| format!("waiting for the disk: {reason}"));
        let healing = self.healing.shown();
        let name = match (&phase, self.state()) {
            _ if waits.is_some() => waits.as_deref().unwrap_or_default(),
            (Some((name, _)), _) => name.as_str(),
            (None, NodeState::Uninitialized | NodeState::Initialized) => "starting",
            (None, NodeState::Pending) => "asking to join the service",
            (None, NodeState::ReadingPublicLedger | NodeState::ReadingPrivateLedger) => "between passes",
            (None, NodeState::PartOfPublicNetwork) => {
                let heals = healing.as_ref().and_then(HealingState::phase);
                heals.unwrap_or("waiting for members")
            }
            (None, NodeState::PartOfNetwork) => "done",
        };
        let entered = self
            .entered()
            .into_iter()
            .map(|(state, at)| (state.to_owned(), round(at)));
        RecoveryStatus {
            elapsed_s: round(self.began.elapsed().as_secs_f64()),
            entered_s: entered.collect(),
            findings: findings.unwrap_or_default(),
            healing,
            phase: name.to_owned(),
            reading: phase.as_ref().map(|(_, since)| self.reading(*since)),
            sealing: self.sealing.lock().ok().and_then(|sealing| sealing.clone()),
            seqno: self.last_signed(),
            target: self.target.load(Ordering::Acquire),
        }
    }

    /// How fast the pass that began at `since` is.
    fn reading(&self, since: Instant) -> Reading {
        let (bytes, total_bytes) = self.pass.read();
        let entries = self.pass.entries.load(Ordering::Relaxed);
        let seconds = since.elapsed().as_secs_f64().max(1e-3);
        let rate = bytes as f64 / seconds;
        Reading {
            bytes,
            bytes_per_s: rate as u64,
            entries_per_s: (entries as f64 / seconds) as u64,
            time_left_s: round(total_bytes.saturating_sub(bytes) as f64 / rate.max(1.0)),
            total_bytes,
        }
    }

    /// Sets the seqno that the public pass will end at, as the files' names promise.
    pub fn expects(&self, last: Seqno) {
        self.target.store(last, Ordering::Release);
    }
}

/// One more finding, in the place of a lesser one where there are many.
fn keep_the_worst(findings: &mut Vec<Finding>, found: &Finding) {
    if findings.len() >= MAX_FINDINGS {
        let severities = findings.iter().map(|finding| finding.severity).enumerate();
        let least = severities.min_by_key(|(place, severity)| (*severity, std::cmp::Reverse(*place)));
        match least {
            Some((place, severity)) if severity < found.severity => findings.remove(place),
            _ => return,
        };
    }
    findings.push(found.clone());
}

/// Findings shown at most, the worst: the log has all of them.
const MAX_FINDINGS: usize = 100;

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

impl Pass {
    fn read(&self) -> (u64, u64) {
        let total = self.total_bytes.load(Ordering::Relaxed);
        (self.bytes.load(Ordering::Relaxed).min(total), total)
    }
}

impl Progress for Status {
    fn signed(&self, seqno: Seqno) {
        self.last_signed.store(seqno, Ordering::Release);
    }

    fn begin(&self, phase: &str, total_bytes: u64) {
        self.happened.add(format!("began: {phase}"));
        self.pass.bytes.store(0, Ordering::Relaxed);
        self.pass.entries.store(0, Ordering::Relaxed);
        self.pass.total_bytes.store(total_bytes, Ordering::Relaxed);
        if let Ok(mut now) = self.pass.phase.lock() {
            *now = Some((phase.to_owned(), Instant::now()));
        }
    }

    fn advance(&self, bytes: u64, entries: u64) {
        self.pass.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pass.entries.fetch_add(entries, Ordering::Relaxed);
    }

    fn end(&self) {
        if let Ok(mut phase) = self.pass.phase.lock() {
            *phase = None;
        }
    }
}
