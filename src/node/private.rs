//! The private phase: from enough shares to an open service. Recovery specification, section 2.7, steps 4 to 7.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::driver::Driver;
use super::membership::Membership;
use super::opening::InterruptedOpening;
use super::others_read;
use super::public::{ledger_directories, list};
use super::session::{Standing, rng};
use super::shared::Node;
use super::status::NodeState;
use super::writer::Message;
use crate::core::{Event, Milestone, Role};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::WriteSet;
use crate::recovery::fingerprint::Fingerprint;
use crate::recovery::private::{PrivateState, load_private};
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::state::MappedSnapshot;
use crate::service::identity::now_s;
use crate::service::open::{Opening, open_recovered};
use crate::service::service_info;
use crate::service::submit::Opened;
use crate::shown::Show;
use crate::tables::values::ServiceStatus;

impl Driver {
    /// The shares are in and committed: decrypts the old ledger on other threads.
    pub(super) fn begin_private_phase(&mut self, opened: Opened) {
        let node = Arc::clone(&self.node);
        node.status.find(&opened.findings);
        node.status.recover_to(node.status.last_written().seqno);
        node.status.enter(NodeState::ReadingPrivateLedger);
        self.old.latest = Some(opened.latest);
        let (snapshot, last, fingerprint) = (self.old.snapshot.clone(), self.old.last, self.old.fingerprint);
        let secrets = opened.secrets;
        let spawned = std::thread::Builder::new().name("private-ledger".to_owned()).spawn({
            let node = Arc::clone(&node);
            move || {
                let state = read_private(&node, snapshot, &secrets, last, fingerprint);
                let _ = node.old_secrets.set(secrets);
                if let Some(writer) = node.writer.get() {
                    writer.tell(Message::PrivateLedger(state.map(Box::new)));
                }
            }
        });
        if let Err(why) = spawned {
            (node.fatal)(Error::io("start", Path::new("a thread for the private ledger"))(why));
        }
    }

    /// The private ledger is read: its state is put in place, or the node ends.
    pub(super) fn private_ledger(&mut self, state: Result<Box<PrivateState>>) {
        let node = Arc::clone(&self.node);
        let state = match state {
            Ok(state) => *state,
            Err(why) => return (node.fatal)(why),
        };
        node.store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .set_private(state.base);
        // Who does not lead is part of the network from here on: the one that leads opens the service, or has.
        if self.core.role() == Role::Backup || self.is_opened() {
            node.status.enter(NodeState::PartOfNetwork);
        }
        self.step(Event::PrivateLedgerRead);
    }

    /// Everybody has read the private ledger.
    pub(super) fn others_have_read(&mut self) {
        self.others_read = true;
        self.open();
    }

    /// Whether the newest state says that the service is open.
    fn is_opened(&self) -> bool {
        let info = self.node().read(|store| service_info(&store.transaction())).0;
        info.is_ok_and(|info| info.status == ServiceStatus::Open)
    }

    /// Opens the service, as soon as everybody has read the private ledger.
    pub(super) fn open(&mut self) {
        let node = Arc::clone(self.node());
        let info = node.read(|store| service_info(&store.transaction())).0;
        let is_due = info.is_ok_and(|info| info.status == ServiceStatus::WaitingForRecoveryShares);
        if self.core.role() == Role::Backup || !is_due {
            return;
        }
        let has_others = node.with_membership(Membership::has_others).unwrap_or(false);
        if has_others && !self.others_read {
            return drop(node.runtime.spawn(others_read::wait(Arc::clone(&node))));
        }
        match self.opening() {
            Ok(writes) => self.propose("open the recovered service", writes, Milestone::Opened),
            Err(why) => (node.fatal)(Error::Unreadable(format!(
                "the recovered service could not be opened: {why}"
            ))),
        }
    }

    /// What the transaction that opens it writes.
    fn opening(&mut self) -> std::result::Result<WriteSet, String> {
        let before = self.old.latest.clone().ok_or("the secret before is not known")?;
        let (frozen, session) = Standing::hold(&self.standing, &self.node.store, &self.node.status);
        let opening = Opening {
            service: &session.service,
            before: &before,
            current: session.current_secret()?,
            now_s: now_s(),
        };
        let mut rng = rng()?;
        frozen.transact(|transaction| open_recovered(transaction, &opening, &mut rng))
    }
}

fn read_private(
    node: &Node,
    snapshot: Option<PathBuf>,
    secrets: &LedgerSecrets,
    last: Seqno,
    fingerprint: Option<Fingerprint>,
) -> Result<PrivateState> {
    let files: LedgerFiles = list(&node.config, &InterruptedOpening::default())?;
    let snapshot = snapshot.as_deref().map(MappedSnapshot::open).transpose()?;
    let began = Instant::now();
    let state = load_private(&files, snapshot.as_ref(), secrets, last, &*node.status)?;
    tracing::info!(took_s = began.elapsed().as_secs_f64(), "the private ledger is read");
    node.status.find(&state.findings);
    if let Some(first) = state.findings.iter().find(|finding| finding.costs_entries()) {
        return Err(Error::Unreadable(format!(
            "Private recovery did not reach public ledger seqno: {}/{last}: {} {}; {}",
            first.seqno.unwrap_or(0),
            first.code.as_str(),
            first.message,
            first.next
        )));
    }
    // A node that has joined has followed every entry: there is nothing that it verified before.
    if fingerprint.is_some_and(|fingerprint| state.fingerprint != fingerprint) {
        let directories: Vec<String> = ledger_directories(&node.config)
            .iter()
            .map(|directory| directory.shown().to_string())
            .collect();
        return Err(Error::Unreadable(format!(
            "Root of public store does not match root of private store at {last}: the ledger in {} is not the one that \
             the public phase read; something else writes to it",
            directories.join(", ")
        )));
    }
    Ok(state)
}
