//! Opening a service: a vote to open it, and the transaction that opens it once its private state is back.
//!
//! Recovery specification, sections 2.7, 2.10 and 4.2.

use rand_chacha::ChaCha20Rng;

use super::secrets::chain;
use super::{previous_write, put, service_info, shares, value};
use crate::crypto::Certificate;
use crate::format::TxId;
use crate::journal::succession::{self, KnownSecret, Predecessor};
use crate::kv::store::Transaction;
use crate::service::identity::ServiceIdentity;
use crate::tables::values::{HexDigest, ServiceStatus};
use crate::tables::{SINGLETON_KEY, names};

/// `ccf.node.transitionServiceToOpen` on a node that has recovered the public ledger: shares are waited for from here on.
///
/// # Errors
/// In CCF's words, where the identities in the proposal are not the service's.
pub fn accept_recovery(transaction: &mut Transaction<'_>, previous: Option<&str>, next: &str) -> Result<(), String> {
    let mut info = service_info(transaction)?;
    match info.status {
        ServiceStatus::WaitingForRecoveryShares | ServiceStatus::Open => return Ok(()),
        ServiceStatus::Recovering => {}
        other => return Err(format!("a service with status {other:?} can't be opened by a recovery")),
    }
    let expected: String = value(transaction, names::PREVIOUS_SERVICE_IDENTITY)
        .ok_or("Service identity is missing: the ledger names no previous service")?;
    let Some(previous) = previous else {
        return Err("Recovering service: the previous service identity must be in the proposal".to_owned());
    };
    if !is_same_certificate(&expected, previous) {
        return Err(format!(
            "Previous service identity does not match.\nActual:\n{expected}\nIn proposal:\n{previous}"
        ));
    }
    if !is_same_certificate(&info.cert, next) {
        return Err(format!(
            "Service identity mismatch: the next service identity in the transition_service_to_open proposal does not \
             match the current service identity:\nNext:\n{next}\nCurrent:\n{}",
            info.cert
        ));
    }
    info.previous_service_identity_version = previous_write(transaction, &info);
    info.status = ServiceStatus::WaitingForRecoveryShares;
    transaction.put(names::SERVICE_INFO, SINGLETON_KEY, info.to_json());
    transaction.clear(names::ENCRYPTED_SUBMITTED_SHARES);
    put(transaction, names::LAST_RECOVERY_TYPE, &"RECOVERY_SHARES");
    Ok(())
}

/// The same text, or the same certificate in other lines.
fn is_same_certificate(expected: &str, given: &str) -> bool {
    if expected == given {
        return true;
    }
    match (Certificate::from_pem(expected), Certificate::from_pem(given)) {
        (Ok(expected), Ok(given)) => expected.der() == given.der(),
        _ => false,
    }
}

/// What the opening transaction needs to know.
pub struct Opening<'a> {
    /// The service.
    pub service: &'a ServiceIdentity,
    /// The last secret of the service before, which the shares gave.
    pub before: &'a KnownSecret,
    /// The secret of the new service.
    pub current: &'a KnownSecret,
    /// Seconds since 1970.
    pub now_s: u64,
}

/// Opens a recovered service: new shares, the chain of secrets, the endorsement of the identity before.
///
/// # Errors
/// In words, where the service is not waiting for this, or shares can't be issued.
pub fn open_recovered(
    transaction: &mut Transaction<'_>,
    opening: &Opening<'_>,
    rng: &mut ChaCha20Rng,
) -> Result<(), String> {
    let mut info = service_info(transaction)?;
    if info.status != ServiceStatus::WaitingForRecoveryShares {
        return Err(format!(
            "the service's status is {:?}, expected WaitingForRecoveryShares",
            info.status
        ));
    }
    transaction.clear(names::ENCRYPTED_SUBMITTED_SHARES);
    let current = opening.current;
    let historical = chain(transaction, opening.before, &current.secret, Some(current.from), rng);
    put(transaction, names::HISTORICAL_ENCRYPTED_LEDGER_SECRET, &historical);
    shares::reshare(transaction, current, rng)?;
    info.previous_service_identity_version = previous_write(transaction, &info);
    info.status = ServiceStatus::Open;
    let created = info.current_service_create_txid.unwrap_or(TxId { view: 0, seqno: 0 });
    transaction.put(names::SERVICE_INFO, SINGLETON_KEY, info.to_json());
    endorse(transaction, opening.service, created, opening.now_s);
    Ok(())
}

/// The service endorses the one before it; or itself, if the ledger holds no endorsement yet.
fn endorse(transaction: &mut Transaction<'_>, service: &ServiceIdentity, created: TxId, now_s: u64) {
    let table = names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT;
    let previous = value(transaction, table).map(|endorsement| Predecessor {
        written_at: transaction.version(table, &SINGLETON_KEY),
        endorsement,
        last_signed_root: value(transaction, names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT).map(|root: HexDigest| root.0),
    });
    let endorsement = succession::endorse(&service.key, created, previous, now_s);
    put(transaction, table, &endorsement);
}
