//! Opens the ledger with what is sealed, where members agree to open the service. Recovery specification, sections 6.4, 6.5
//! and 6.7.

use std::path::PathBuf;
use std::sync::Arc;

use crate::format::Seqno;
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::sealed_share::NodeShare;
use crate::recovery::secrets::newest_version;
use crate::recovery::unsealing::{IN_THE_LEDGER, Touchstone, Unsealing, unseal, unseal_share};
use crate::sealing::{Refusal, Refused, SealedFiles, SealingKey};
use crate::shown::Show;
use crate::tables::values::{HistoricalSecret, SealedShares};

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
}

impl Unsealer {
    /// Opens the ledger with these historical secrets, in which these are the sealed shares: with this machine's share, which
    /// is always of the newest secret, or else with a sealed file.
    pub fn unseal(&self, historical: &[(Seqno, HistoricalSecret)], shares: Option<&SealedShares>) -> Unsealing {
        let directory = self.directory.as_ref().map(|path| path.shown().to_string());
        let mut report = SealedReport {
            place: directory.unwrap_or_else(|| IN_THE_LEDGER.to_owned()),
            key_source: "none",
            insecure: false,
            wanted_version: newest_version(historical),
            used: None,
            refused: Vec::new(),
        };
        let failed = |mut report: SealedReport, refusal: &Refusal| {
            let place = report.place.clone();
            report.refused.push(Refused::new(&place, refusal));
            Unsealing { report, secrets: None }
        };
        let key = match &self.key {
            Ok(key) => Arc::clone(key),
            Err(why) => return failed(report, &Refusal::NoSource(why.clone())),
        };
        report.key_source = key.source().as_str();
        report.insecure = key.source().is_insecure();
        if self.touchstones.is_empty() {
            let why = "no entry that was written under it is at hand to prove it by".to_owned();
            return failed(report, &Refusal::NotOfThisLedger(why));
        }
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
        unsealing
    }
}

#[cfg(test)]
mod tests;
