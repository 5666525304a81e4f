//! Opens the ledger with what is sealed, where members agree to open the service. Recovery specification, sections 6.4, 6.5
//! and 6.7.

use std::path::PathBuf;
use std::sync::Arc;

use crate::format::Seqno;
use crate::kv::store::Store;
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::sealed_share::open_sealed_share;
use crate::recovery::secrets::{LedgerSecrets, newest_version};
use crate::recovery::unsealing::{Touchstone, Unsealing, prove, unseal};
use crate::sealing::{Refusal, Refused, SealedFiles, SealingKey};
use crate::shown::Show;
use crate::tables::names;
use crate::tables::values::{HistoricalSecret, SealedRecoveryKey, SealedShares, from_json};

/// What the last node of this machine's name has sealed: its id, and its key.
pub(super) struct NodeShare {
    node: String,
    key: SealedRecoveryKey,
}

impl NodeShare {
    /// What it was, as the ledger has it.
    ///
    /// # Errors
    /// In words, where there is none, or it can't be read.
    pub(super) fn find(store: &Store, name: &str) -> Result<NodeShare, String> {
        let frozen = store.transaction();
        let node = frozen.get(names::NODES_LOCAL_SEALING_NODE_ID_MAP, name.as_bytes());
        let node = node.ok_or_else(|| format!("no node has sealed under the name {name:?}"))?;
        let node: String =
            from_json(node).map_err(|why| format!("the node of the name {name:?} can't be read: {why}"))?;
        let key = frozen.get(names::NODES_SEALED_RECOVERY_KEYS, node.as_bytes());
        let key = key.ok_or_else(|| format!("node {node} has sealed no key"))?;
        let key = from_json(key).map_err(|why| format!("the sealed key of node {node} can't be read: {why}"))?;
        Ok(NodeShare { node, key })
    }
}

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

/// What is said of the ledger itself, where that holds what is sealed.
const IN_THE_LEDGER: &str = "the ledger";
/// What is said of a share in it.
const SHARE: &str = "sealed share";

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
        match self.by_share(historical, shares, &*key) {
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

    /// The share that opens the ledger, by its name; why it does not; none if no share is to be tried.
    fn by_share(
        &self,
        historical: &[(Seqno, HistoricalSecret)],
        shares: Option<&SealedShares>,
        key: &dyn SealingKey,
    ) -> Option<Result<(String, LedgerSecrets), Refused>> {
        let share = match self.share.as_ref()? {
            Ok(share) => share,
            Err(why) => return Some(Err(Refused::new(SHARE, &Refusal::Missing(why.clone())))),
        };
        let name = format!("{SHARE} of node {}", share.node);
        let Some(shares) = shares else {
            let why = "the ledger holds no sealed shares".to_owned();
            return Some(Err(Refused::new(&name, &Refusal::Missing(why))));
        };
        let opened = open_sealed_share(shares, &share.node, &share.key, key)
            .and_then(|latest| prove(historical, &latest, &self.touchstones).map_err(Refusal::NotOfThisLedger));
        Some(match opened {
            Ok(secrets) => Ok((crate::shown::line(&name).into_owned(), secrets)),
            Err(refusal) => Err(Refused::new(&name, &refusal)),
        })
    }
}

#[cfg(test)]
mod tests;
