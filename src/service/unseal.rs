//! Opening a service with what the node had sealed itself, in the transaction in which members agree to open it.
//! Recovery specification, sections 2.7, 6.4 and 6.6.

use rand_chacha::ChaCha20Rng;
use serde::Serialize;

use super::put;
use super::secrets::broadcast;
use super::submit::{Opened, known_secrets};
use crate::format::Seqno;
use crate::kv::store::Transaction;
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::secrets::LedgerSecrets;
use crate::sealing::Refused;
use crate::tables::names;
use crate::tables::values::HistoricalSecret;

/// The value of `last_unsealing`: for whoever audits how a service was opened, years later.
#[derive(Serialize)]
struct Audit<'a> {
    sealing_key_source: &'a str,
    insecure: bool,
    wanted_version: Seqno,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Refused]>::is_empty")]
    refused: &'a [Refused],
}

/// Writes what became of unsealing, whichever that was.
pub fn audit(transaction: &mut Transaction<'_>, report: &SealedReport) {
    let audit = Audit {
        sealing_key_source: report.key_source,
        insecure: report.insecure,
        wanted_version: report.wanted_version,
        used: report.used.as_deref(),
        refused: &report.refused,
    };
    put(transaction, names::LAST_UNSEALING, &audit);
}

/// Writes what enough shares would have written: the ledger's secrets for every trusted node, and how they were had.
///
/// # Errors
/// In words, if a node's encryption key can't be read; nothing is written then.
pub fn accept_unsealed(
    transaction: &mut Transaction<'_>,
    secrets: LedgerSecrets,
    historical: &[(Seqno, HistoricalSecret)],
    rng: &mut ChaCha20Rng,
) -> Result<Opened, String> {
    let mut all = known_secrets(&secrets, historical);
    let list = all.iter().map(|known| (Some(known.from), known));
    let encrypted = broadcast(transaction, list, rng)?;
    let latest = all.pop().ok_or("the sealed file gave no secret")?;
    put(transaction, names::ENCRYPTED_LEDGER_SECRETS, &encrypted);
    put(transaction, names::LAST_RECOVERY_TYPE, &"LOCAL_UNSEALING");
    Ok(Opened {
        secrets,
        latest,
        findings: Vec::new(),
    })
}
