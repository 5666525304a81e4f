//! What ties a service to the one before it, and a ledger secret to the next: values of tables, made of what is given.
//!
//! Format specification, sections 6.5 and 8.2; recovery specification, sections 2.7 and 5.2.

use rand_core::{CryptoRng, Rng};

use crate::crypto::cose::sign_endorsement;
use crate::crypto::digest::Digest;
use crate::crypto::rsa::EncryptionKey;
use crate::crypto::{Error, LedgerSecret, SigningKey};
use crate::format::{Seqno, TxId};
use crate::tables::values::{
    Base64, EncryptedLedgerSecret, HistoricalSecret, IdentityEndorsement, PreviousSecret, ServiceInfo,
};

/// One ledger secret of a service.
#[derive(Clone)]
pub struct KnownSecret {
    /// The secret.
    pub secret: LedgerSecret,
    /// First seqno that it seals.
    pub from: Seqno,
    /// What tables that hold this secret say as `previous_secret_stored_version`: a seqno of a write of the historical
    /// secrets, none before there is one.
    pub previous_stored: Option<Seqno>,
}

/// A random nonce.
pub fn random_iv(rng: &mut impl Rng) -> [u8; 12] {
    let mut iv = [0; 12];
    rng.fill_bytes(&mut iv);
    iv
}

/// The value that chains `before` to `next`, which follows it from `next_version` on (after the write, if none).
/// `stored_at` is the seqno of the last such write.
pub fn chain(
    before: &KnownSecret,
    stored_at: Option<Seqno>,
    next: &LedgerSecret,
    next_version: Option<Seqno>,
    rng: &mut impl Rng,
) -> HistoricalSecret {
    HistoricalSecret {
        previous_ledger_secret: Some(PreviousSecret {
            encrypted_data: Base64(next.seal(&before.secret, random_iv(rng))),
            version: before.from,
            previous_secret_stored_version: stored_at,
        }),
        next_version,
    }
}

/// Secrets for one node, as they stand in `encrypted_ledger_secrets`. A version of none stands for the seqno after the
/// write.
///
/// # Errors
/// If the key can't encrypt a secret.
pub fn broadcast<'s>(
    node: &EncryptionKey,
    secrets: impl Iterator<Item = (Option<Seqno>, &'s KnownSecret)>,
    rng: &mut impl CryptoRng,
) -> Result<Vec<EncryptedLedgerSecret>, Error> {
    let encrypted = secrets.map(|(version, known)| {
        Ok(EncryptedLedgerSecret {
            version,
            encrypted_secret: Base64(node.encrypt(known.secret.as_bytes(), rng)?),
            previous_secret_stored_version: known.previous_stored,
        })
    });
    encrypted.collect()
}

/// What is known of the service before, when the next endorses it.
pub struct Predecessor {
    /// Seqno at which its endorsement was written.
    pub written_at: Option<Seqno>,
    /// That endorsement.
    pub endorsement: IdentityEndorsement,
    /// The last root that it signed.
    pub last_signed_root: Option<Digest>,
}

/// A service that was created at `created` endorses the one before it; or itself, if the ledger holds no endorsement yet.
pub fn endorse(key: &SigningKey, created: TxId, previous: Option<Predecessor>, now_s: u64) -> IdentityEndorsement {
    let own_key = key.verifying_key().spki_der().to_vec();
    let (endorsed, begin, end, root, previous_version) = match previous {
        None => (own_key.clone(), created, None, None, None),
        Some(Predecessor {
            written_at,
            endorsement,
            last_signed_root,
        }) => {
            let begin = match endorsement.endorsement_epoch_end {
                Some(end) => TxId {
                    view: end.view.saturating_add(2),
                    seqno: end.seqno.saturating_add(1),
                },
                None => endorsement.endorsement_epoch_begin,
            };
            let end = TxId {
                view: created.view.saturating_sub(2),
                seqno: created.seqno.saturating_sub(1),
            };
            let endorsed = endorsement.endorsing_key.0;
            (endorsed, begin, Some(end), last_signed_root, written_at)
        }
    };
    let message = sign_endorsement(
        key,
        i64::try_from(now_s).unwrap_or(i64::MAX),
        &endorsed,
        &begin.to_string(),
        end.map(|end| end.to_string()).as_deref(),
        root.as_ref(),
    );
    IdentityEndorsement {
        endorsement: Base64(message),
        endorsing_key: Base64(own_key),
        endorsement_epoch_begin: begin,
        endorsement_epoch_end: end,
        previous_version,
    }
}

/// What the next write of `service.info` says as `previous_service_identity_version`: the seqno of the write before it,
/// `last`, which stands at `written_at`. `None` before there is one.
///
/// Receipts of earlier services are verified along these seqnos, from write to write, until one is not after the
/// transaction asked for: the service of that write is taken for the one that signed. CCF up to 7.0.0-dev4 writes the
/// write before, later releases the creation of the service before; both follow whatever stands there. So a chain in which
/// the creation of every service occurs is good for all. Where the last write leads past the creation of its own service
/// (the later meaning), the creation is named instead of it.
pub fn previous_write(last: &ServiceInfo, written_at: Option<Seqno>) -> Option<Seqno> {
    let written_at = written_at?;
    let created = last.current_service_create_txid.map(|txid| txid.seqno);
    let leads_past = |created: &Seqno| {
        let next = last.previous_service_identity_version;
        written_at > *created && next.is_none_or(|next| next < *created)
    };
    Some(created.filter(leads_past).unwrap_or(written_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::values::ServiceStatus;

    fn info(created: Option<Seqno>, previous: Option<Seqno>) -> ServiceInfo {
        ServiceInfo {
            cert: String::new(),
            status: ServiceStatus::Open,
            previous_service_identity_version: previous,
            recovery_count: None,
            current_service_create_txid: created.map(|seqno| TxId { view: 2, seqno }),
            service_data: None,
        }
    }

    #[test]
    fn the_next_write_names_the_last_one() {
        assert_eq!(previous_write(&info(Some(10), None), None), None);
        assert_eq!(previous_write(&info(Some(10), Some(4)), Some(10)), Some(10));
        assert_eq!(previous_write(&info(Some(10), Some(10)), Some(15)), Some(15));
        assert_eq!(previous_write(&info(Some(10), Some(15)), Some(18)), Some(18));
        // Before 2.0.3 nobody said which transaction created a service.
        assert_eq!(previous_write(&info(None, None), Some(18)), Some(18));
    }

    #[test]
    fn a_last_write_that_leads_past_its_services_creation_is_not_followed() {
        assert_eq!(previous_write(&info(Some(10), Some(4)), Some(18)), Some(10));
        assert_eq!(previous_write(&info(Some(1), None), Some(18)), Some(1));
    }
}
