//! What a script may ask of the node beyond its tables.

use crate::format::Seqno;
use crate::kv::store::Transaction;

/// What a constitution's `apply` may ask of the node (recovery specification, section 4.5). An error fails the proposal.
pub trait Effects {
    /// `ccf.node.transitionServiceToOpen(previous, next)`: certificates as PEM text.
    fn transition_service_to_open(
        &mut self,
        transaction: &mut Transaction<'_>,
        previous: Option<&str>,
        next: &str,
    ) -> Result<(), String>;
    /// `ccf.node.triggerLedgerRekey()`.
    fn trigger_ledger_rekey(&mut self, transaction: &mut Transaction<'_>) -> Result<(), String>;
    /// `ccf.node.triggerRecoverySharesRefresh()`.
    fn trigger_recovery_shares_refresh(&mut self, transaction: &mut Transaction<'_>) -> Result<(), String>;
    /// `ccf.node.triggerLedgerChunk()`: the next signature ends the chunk.
    fn trigger_ledger_chunk(&mut self) -> Result<(), String>;
    /// `ccf.node.triggerSnapshot()`: the next signature is followed by a snapshot.
    fn trigger_snapshot(&mut self) -> Result<(), String>;
    /// `ccf.network.getLatestLedgerSecretSeqno()`.
    fn latest_ledger_secret_seqno(&self, transaction: &Transaction<'_>) -> Result<Seqno, String>;
    /// `ccf.network.generateEndorsedCertificate(csr, validFrom, days)`: PEM of a certificate for a CSR's key.
    fn endorse_certificate(&mut self, csr_pem: &str, valid_from: &str, days: u32) -> Result<String, String>;
    /// `ccf.network.generateNetworkCertificate(validFrom, days)`: PEM of the service's certificate, renewed.
    fn renew_service_certificate(&mut self, valid_from: &str, days: u32) -> Result<String, String>;
}
