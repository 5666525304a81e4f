//! Opens the ledger with what is sealed, where members agree to open the service. Recovery specification, sections 6.4, 6.5
//! and 6.7.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::format::Seqno;
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::sealed_share::NodeShare;
use crate::recovery::secrets::newest_version;
use crate::recovery::touchstone::Touchstone;
use crate::recovery::unsealing::{IN_THE_LEDGER, Unsealing, unseal, unseal_share};
use crate::sealing::{KeySource, Refusal, Refused, SealedFiles, SealingKey};
use crate::tables::values::{HistoricalSecret, SealedShares};

/// So long a directory and a device may take: whoever agrees to open a service waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the ledger with what is sealed, where members agree to open the service.
pub struct Unsealer {
    /// Where sealed files are, if any are to be tried.
    pub(super) directory: Option<PathBuf>,
    /// The share in the ledger, if one is to be tried; or why there is none.
    pub(super) share: Option<Result<NodeShare, String>>,
    /// What opens either; or why there is no key.
    pub(super) key: Result<Arc<dyn SealingKey>, String>,
    /// Entries that were written under the secret that is looked for.
    pub(super) touchstones: Vec<Touchstone>,
    /// A search has not ended in its time: there is no other.
    pub(super) has_stalled: AtomicBool,
}

impl Unsealer {
    /// As [`Unsealer::unseal`], on a thread of its own: where a directory or a device does not answer, shares are waited for.
    pub fn unseal_in_time(
        self: &Arc<Self>,
        historical: &Arc<Vec<(Seqno, HistoricalSecret)>>,
        shares: Option<SealedShares>,
    ) -> Unsealing {
        let stalled = || {
            let why = format!("no answer within {} s", PATIENCE.as_secs());
            self.refused(historical, &Refusal::Unreadable(why))
        };
        if self.has_stalled.load(Ordering::Acquire) {
            return stalled();
        }
        let began = Instant::now();
        let (answer, wait) = channel();
        let started = std::thread::Builder::new().name("unsealing".to_owned()).spawn({
            let (unsealer, historical) = (Arc::clone(self), Arc::clone(historical));
            move || drop(answer.send(unsealer.unseal(&historical, shares.as_ref())))
        });
        if let Err(why) = started {
            let why = format!("no thread can be started for it: {why}");
            return self.refused(historical, &Refusal::Unreadable(why));
        }
        let unsealing = wait.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            self.has_stalled.store(true, Ordering::Release);
            stalled()
        });
        tracing::info!(took_s = began.elapsed().as_secs_f64(), "what is sealed was tried");
        unsealing
    }

    /// That nothing opens the ledger, for one reason.
    fn refused(&self, historical: &[(Seqno, HistoricalSecret)], refusal: &Refusal) -> Unsealing {
        let mut report = self.report(historical);
        report.refused.push(Refused::new(&report.place, refusal));
        Unsealing { report, secrets: None }
    }

    /// What everybody may be told of where it is looked: no path of this machine.
    fn place(&self) -> &'static str {
        match self.directory {
            Some(_) => "the directory of sealed files",
            None => IN_THE_LEDGER,
        }
    }

    /// What is said before anything was tried.
    fn report(&self, historical: &[(Seqno, HistoricalSecret)]) -> SealedReport {
        let source = self.key.as_ref().ok().map(|key| key.source());
        SealedReport {
            place: self.place().to_owned(),
            key_source: source.map_or("none", KeySource::as_str),
            insecure: source.is_some_and(KeySource::is_insecure),
            wanted_version: newest_version(historical),
            used: None,
            refused: Vec::new(),
        }
    }

    /// Opens the ledger with these historical secrets, in which these are the sealed shares: with this machine's share, which
    /// is always of the newest secret, or else with a sealed file.
    pub fn unseal(&self, historical: &[(Seqno, HistoricalSecret)], shares: Option<&SealedShares>) -> Unsealing {
        let key = match &self.key {
            Ok(key) => Arc::clone(key),
            Err(why) => return self.refused(historical, &Refusal::NoSource(why.clone())),
        };
        if self.touchstones.is_empty() {
            let why = "the signature that it would be proven by is not in the ledger's files any more".to_owned();
            return self.refused(historical, &Refusal::NotOfThisLedger(why));
        }
        let mut report = self.report(historical);
        let share = self.share.as_ref();
        let by_share = share.map(|share| unseal_share(share, shares, historical, &self.touchstones, &*key));
        match by_share {
            Some(Ok((used, secrets))) => {
                report.place = IN_THE_LEDGER.to_owned();
                report.used = Some(used);
                return Unsealing {
                    report,
                    secrets: Some(secrets),
                };
            }
            Some(Err(refused)) => report.refused.push(refused),
            None => {}
        }
        let Some(directory) = self.directory.clone() else {
            return Unsealing { report, secrets: None };
        };
        let mut unsealing = unseal(historical, &SealedFiles { directory, key }, |_| &self.touchstones);
        unsealing.report.refused.splice(0..0, report.refused);
        unsealing.report.place = report.place;
        unsealing
    }
}

#[cfg(test)]
mod tests;
