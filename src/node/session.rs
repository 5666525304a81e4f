//! What a transaction may ask of the service.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::afterwards::Afterwards;
use super::status::{NodeState, Status};
use super::unsealer::Unsealer;
use crate::crypto::random::serial;
use crate::crypto::x509::{self, CertificateRequest, Validity};
use crate::crypto::{Digest, LedgerSecret};
use crate::format::Seqno;
use crate::journal::succession::KnownSecret;
use crate::kv::store::{Frozen, Store, Transaction};
use crate::recovery::unsealing::Unsealing;
use crate::script::Effects;
use crate::service::identity::{ServiceIdentity, system_rng};
use crate::service::open::accept_recovery;
use crate::service::secrets::{broadcast, chain};
use crate::service::unseal::{accept_unsealed, audit};
use crate::service::{put, sealed_shares, service_info, shares, value};
use crate::tables::values::{HistoricalSecret, ServiceStatus};
use crate::tables::{SINGLETON_KEY, names};

/// What a transaction may ask of the service, beside the state.
pub struct Standing {
    /// Root of the newest state.
    pub root: Digest,
    /// The service.
    pub service: Arc<ServiceIdentity>,
    /// The service's own secrets, the newest last.
    pub secrets: Arc<Vec<KnownSecret>>,
    /// The first seqno of the newest secret that was known from the beginning, whatever the ledger says: a node that joins is told
    /// secrets before it has the entries that they seal.
    pub given: Seqno,
    /// Every value of the historical secrets in the ledger that is recovered.
    pub historical: Arc<Vec<(Seqno, HistoricalSecret)>>,
    /// Issuer and subject of the service's signatures.
    pub issuer_and_subject: Arc<(String, String)>,
    /// The transaction with which shares have opened the ledger, in the newest state: that is committed later, and the node's
    /// own state follows then.
    pub unlocked_at: Option<Seqno>,
    /// Opens the ledger that is recovered without shares, if the node is to.
    pub unsealer: Option<Arc<Unsealer>>,
}

impl Standing {
    /// The newest state, held still, and a session on it.
    pub(super) fn hold(standing: &RwLock<Standing>, store: &RwLock<Store>, status: &Status) -> (Frozen, Session) {
        // In this order, as the writer takes them: the root is of this state.
        let standing = standing.read().unwrap_or_else(PoisonError::into_inner);
        let frozen = store.read().unwrap_or_else(PoisonError::into_inner).freeze();
        let session = Session {
            root: standing.root,
            state: match status.state() {
                NodeState::PartOfPublicNetwork if standing.unlocked_at.is_some() => NodeState::ReadingPrivateLedger,
                state => state,
            },
            historical: Arc::clone(&standing.historical),
            issuer_and_subject: Arc::clone(&standing.issuer_and_subject),
            service: Arc::clone(&standing.service),
            secrets: Arc::clone(&standing.secrets),
            unsealer: standing.unsealer.clone(),
            afterwards: Afterwards::default(),
            seed: None,
        };
        (frozen, session)
    }

    /// Forgets what transactions after `to` have made known; answers the first seqno of the newest secret that may stay.
    pub(super) fn take_back(&mut self, to: Seqno) -> Seqno {
        self.unlocked_at = self.unlocked_at.filter(|seqno| *seqno <= to);
        // A secret seals from the seqno after the transaction that brought it.
        let newest = to.saturating_add(1).max(self.given);
        let secrets = Arc::make_mut(&mut self.secrets);
        secrets.retain(|known| known.from <= newest);
        for known in secrets {
            known.previous_stored = known.previous_stored.filter(|seqno| *seqno <= to);
        }
        Arc::make_mut(&mut self.historical).retain(|(seqno, _)| *seqno <= to);
        newest
    }
}

/// What a transaction's body sees of the service.
pub struct Session {
    /// Root of the state that it reads.
    pub root: Digest,
    /// State of the node: as soon as shares have opened the ledger, that it reads it.
    pub state: NodeState,
    /// Every value of the historical secrets in the ledger that is recovered.
    pub historical: Arc<Vec<(Seqno, HistoricalSecret)>>,
    /// Issuer and subject of the service's signatures.
    pub issuer_and_subject: Arc<(String, String)>,
    /// The service.
    pub service: Arc<ServiceIdentity>,
    /// The service's own secrets, the newest last.
    pub secrets: Arc<Vec<KnownSecret>>,
    /// Opens the ledger that is recovered without shares, if the node is to.
    pub unsealer: Option<Arc<Unsealer>>,
    /// What is to be done once the transaction is written.
    pub afterwards: Afterwards,
    /// Where random numbers come from: the system, unless everything is to come out the same again.
    pub seed: Option<[u8; 32]>,
}

impl Session {
    fn rng(&self) -> Result<ChaCha20Rng, String> {
        self.seed.map_or_else(rng, |seed| Ok(ChaCha20Rng::from_seed(seed)))
    }

    /// The newest secret of the service.
    ///
    /// # Errors
    /// In words; there is always one while there is a service.
    pub fn current_secret(&self) -> Result<&KnownSecret, String> {
        self.secrets
            .last()
            .ok_or_else(|| "the service has no ledger secret".to_owned())
    }

    /// The same, for what is written with it: secrets are in no table that could be read, but whoever replaces one writes to
    /// this one. Shares of a secret that was replaced meanwhile would open nothing.
    ///
    /// # Errors
    /// As [`Session::current_secret`].
    pub fn secret_to_write_with(&self, transaction: &Transaction<'_>) -> Result<&KnownSecret, String> {
        transaction.version(names::ENCRYPTED_LEDGER_SECRETS, &SINGLETON_KEY);
        self.current_secret()
    }

    /// Opens the ledger with what the node had sealed, if it is to. Where that fails, the reason is written, and shares are
    /// waited for.
    fn unseal(&mut self, transaction: &mut Transaction<'_>) -> Result<(), String> {
        let Some(unsealer) = self.unsealer.clone() else {
            return Ok(());
        };
        let began = Instant::now();
        let shares = value(transaction, names::SEALED_SHARES);
        let Unsealing { mut report, secrets } = unsealer.unseal_in_time(&self.historical, shares);
        tracing::debug!(took_s = began.elapsed().as_secs_f64(), "looked for what is sealed");
        if let Some(secrets) = secrets {
            match accept_unsealed(transaction, secrets, &self.historical, &mut self.rng()?) {
                Ok(opened) => self.afterwards.unlocked = Some(opened),
                Err(why) => report.not_used(&why),
            }
        }
        audit(transaction, &report);
        self.afterwards.unsealing = Some(report);
        Ok(())
    }

    /// New shares for nodes that have sealed a key, where members have just trusted one of them in an open service.
    ///
    /// # Errors
    /// In words, where a share can't be made.
    pub fn share_with_new_nodes(&mut self, transaction: &mut Transaction<'_>) -> Result<(), String> {
        // With a new secret come new shares.
        let is_done = self.afterwards.rekey.is_some() || !sealed_shares::is_one_missing(transaction);
        if is_done || self.require_open(transaction, "share the ledger secret").is_err() {
            return Ok(());
        }
        let current = self.secret_to_write_with(transaction)?;
        sealed_shares::reshare(transaction, current, &mut self.rng()?)
    }

    fn require_open(&self, transaction: &Transaction<'_>, what: &str) -> Result<(), String> {
        let status = service_info(transaction)?.status;
        match (status, self.state) {
            (ServiceStatus::Open, NodeState::PartOfNetwork) => Ok(()),
            // Before a recovered service opens, the tables still hold the shares of the secret before.
            _ => Err(format!(
                "Cannot {what}: the service is {status:?} and the node {}, expected Open and PartOfNetwork",
                self.state.as_str()
            )),
        }
    }
}

impl Effects for Session {
    fn transition_service_to_open(
        &mut self,
        transaction: &mut Transaction<'_>,
        previous: Option<&str>,
        next: &str,
    ) -> Result<(), String> {
        let status = service_info(transaction)?.status;
        if matches!(status, ServiceStatus::WaitingForRecoveryShares | ServiceStatus::Open) {
            return Ok(());
        }
        match self.state {
            NodeState::PartOfPublicNetwork => {
                accept_recovery(transaction, previous, next)?;
                self.unseal(transaction)
            }
            state => Err(format!("Node in state {} cannot open service", state.as_str())),
        }
    }

    fn trigger_ledger_rekey(&mut self, transaction: &mut Transaction<'_>) -> Result<(), String> {
        self.require_open(transaction, "rekey ledger")?;
        let mut rng = self.rng()?;
        let current = self.secret_to_write_with(transaction)?;
        let next = coming(LedgerSecret::generate(&mut rng));
        let historical = chain(transaction, current, &next.secret, None, &mut rng);
        put(transaction, names::HISTORICAL_ENCRYPTED_LEDGER_SECRET, &historical);
        shares::reshare(transaction, &next, &mut rng)?;
        let secrets = broadcast(transaction, std::iter::once((None, &next)), &mut rng)?;
        put(transaction, names::ENCRYPTED_LEDGER_SECRETS, &secrets);
        self.afterwards.rekey = Some(next.secret);
        Ok(())
    }

    fn trigger_recovery_shares_refresh(&mut self, transaction: &mut Transaction<'_>) -> Result<(), String> {
        self.require_open(transaction, "refresh recovery shares")?;
        let current = self.secret_to_write_with(transaction)?;
        // An action before this one may have replaced it: shares of what it was would open nothing.
        let next = self.afterwards.rekey.clone().map(coming);
        shares::reshare(transaction, next.as_ref().unwrap_or(current), &mut self.rng()?)
    }

    fn trigger_ledger_chunk(&mut self) -> Result<(), String> {
        self.afterwards.chunk = true;
        Ok(())
    }

    fn trigger_snapshot(&mut self) -> Result<(), String> {
        self.afterwards.snapshot = true;
        Ok(())
    }

    fn latest_ledger_secret_seqno(&self, transaction: &Transaction<'_>) -> Result<Seqno, String> {
        // Its first seqno is not known yet, and whoever is trusted now is not sent the secret.
        if self.afterwards.rekey.is_some() {
            return Err(
                "the proposal has just replaced the ledger secret: trust nodes before that, or after it".to_owned(),
            );
        }
        self.secret_to_write_with(transaction).map(|known| known.from)
    }

    fn endorse_certificate(&mut self, csr_pem: &str, valid_from: &str, days: u32) -> Result<String, String> {
        let words = |why: crate::crypto::Error| format!("the certificate can't be endorsed: {why}");
        let request = CertificateRequest::from_pem(csr_pem).map_err(words)?;
        let validity = validity(valid_from, days)?;
        let service = &self.service;
        x509::issue_from_request(
            &request,
            &service.certificate,
            &service.key,
            validity,
            serial(&mut self.rng()?),
        )
        .map(|certificate| certificate.to_pem())
        .map_err(words)
    }

    fn renew_service_certificate(&mut self, valid_from: &str, days: u32) -> Result<String, String> {
        let validity = validity(valid_from, days)?;
        let service = &self.service;
        x509::issue_service_like(&service.certificate, &service.key, validity, serial(&mut self.rng()?))
            .map(|certificate| certificate.to_pem())
            .map_err(|why| format!("the service's certificate can't be renewed: {why}"))
    }
}

/// A secret that seals from some seqno on: nobody knows yet from which. The broadcast leaves it out, which stands for the seqno
/// after the transaction.
fn coming(secret: LedgerSecret) -> KnownSecret {
    KnownSecret {
        secret,
        from: Seqno::MAX,
        previous_stored: None,
    }
}

fn validity(valid_from: &str, days: u32) -> Result<Validity, String> {
    let from = x509::parse_time(valid_from).map_err(|why| format!("valid_from {valid_from:?}: {why}"))?;
    Validity::days(from, days).map_err(|why| format!("{days} days from {valid_from}: {why}"))
}

/// Random numbers for one transaction.
///
/// # Errors
/// In words, if the system has none.
pub fn rng() -> Result<ChaCha20Rng, String> {
    system_rng().map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Curve;
    use crate::crypto::rsa::{DecryptionKey, generate_key_pair};
    use crate::crypto::shares::{Share, combine};
    use crate::format::domain::WriteSet;
    use crate::governance::testing::{Member, service};
    use crate::kv::store::Store;
    use crate::service::identity::ServiceName;
    use crate::service::value;
    use crate::tables::values::RecoveryShares;

    #[test]
    fn a_node_that_catches_up_keeps_what_it_was_told_and_forgets_what_entries_brought() {
        let known = |from, previous_stored| KnownSecret {
            secret: LedgerSecret::from_bytes([1; 32]),
            from,
            previous_stored,
        };
        let service = ServiceIdentity::generate(Curve::P384, &ServiceName::Text("CN=service"), 1);
        let mut standing = Standing {
            root: [0; 32],
            service: Arc::new(service.unwrap()),
            secrets: Arc::new(vec![known(579, None), known(701, Some(700))]),
            given: 579,
            historical: Arc::default(),
            issuer_and_subject: Arc::default(),
            unlocked_at: Some(650),
            unsealer: None,
        };
        assert_eq!(standing.take_back(700), 701);
        assert_eq!((standing.secrets.len(), standing.unlocked_at), (2, Some(650)));
        assert_eq!(standing.take_back(640), 641);
        assert_eq!((standing.secrets.len(), standing.unlocked_at), (1, None));
        // An election, while it has not come as far as the service itself.
        assert_eq!(standing.take_back(40), 579);
        assert_eq!(standing.secrets.len(), 1);
    }

    /// What members do with an open service whose secret is this one.
    fn session(secrets: &Arc<Vec<KnownSecret>>) -> Session {
        let service = ServiceIdentity::generate(Curve::P384, &ServiceName::Text("CN=service"), 1);
        Session {
            root: [0; 32],
            state: NodeState::PartOfNetwork,
            historical: Arc::default(),
            issuer_and_subject: Arc::default(),
            service: Arc::new(service.unwrap()),
            secrets: Arc::clone(secrets),
            unsealer: None,
            afterwards: Afterwards::default(),
            seed: None,
        }
    }

    /// An open service with one member, who holds a share, and the secret in force.
    fn open_service() -> (Store, DecryptionKey, Arc<Vec<KnownSecret>>) {
        let member = Member::new(1, Curve::P384);
        let mut store = service(&[&member]);
        let (private, public) = generate_key_pair(2048, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let mut writes = WriteSet::new();
        writes.put(names::MEMBERS_ENCRYPTION_PUBLIC_KEYS, member.id.as_bytes(), public);
        store.apply(2, &writes);
        let secrets = vec![KnownSecret {
            secret: LedgerSecret::generate(&mut ChaCha20Rng::seed_from_u64(2)),
            from: 1,
            previous_stored: None,
        }];
        (store, DecryptionKey::from_pem(&private).unwrap(), Arc::new(secrets))
    }

    /// What the member's share opens.
    fn opened(transaction: &Transaction<'_>, key: &DecryptionKey) -> LedgerSecret {
        let issued: RecoveryShares = value(transaction, names::RECOVERY_SHARES).unwrap();
        let share = issued.encrypted_shares.values().next().unwrap();
        let share = Share::parse(&key.decrypt(&share.0).unwrap()).unwrap();
        let wrapping = combine(&[&share], 1).unwrap();
        wrapping.unwrap_secret(&issued.wrapped_latest_ledger_secret.0).unwrap()
    }

    #[test]
    fn shares_of_a_secret_are_not_written_after_a_rekey() {
        let (mut store, _, secrets) = open_service();
        let frozen = store.freeze();
        let (mut refresh, mut rekey) = (frozen.transaction(), frozen.transaction());
        session(&secrets).trigger_recovery_shares_refresh(&mut refresh).unwrap();
        session(&secrets).trigger_ledger_rekey(&mut rekey).unwrap();
        let (_, reads) = refresh.into_parts();
        assert!(store.still_holds(&reads));
        store.apply(3, &rekey.into_writes());
        assert!(!store.still_holds(&reads), "they are shares of the secret before");
    }

    #[test]
    fn shares_are_of_the_secret_that_the_same_proposal_has_just_made() {
        let (store, key, secrets) = open_service();
        let mut session = session(&secrets);
        let mut transaction = store.transaction();
        for _ in 0..2 {
            session.trigger_ledger_rekey(&mut transaction).unwrap();
            session.trigger_recovery_shares_refresh(&mut transaction).unwrap();
            let next = session.afterwards.rekey.clone().unwrap();
            assert!(opened(&transaction, &key).as_bytes() == next.as_bytes());
        }
    }

    #[test]
    fn a_node_is_trusted_with_a_secret_that_nobody_is_replacing() {
        let (mut store, _, secrets) = open_service();
        let frozen = store.freeze();
        let (trust, mut rekey) = (frozen.transaction(), frozen.transaction());
        assert_eq!(session(&secrets).latest_ledger_secret_seqno(&trust), Ok(1));
        let mut replacing = session(&secrets);
        replacing.trigger_ledger_rekey(&mut rekey).unwrap();
        let refused = replacing.latest_ledger_secret_seqno(&rekey).unwrap_err();
        assert!(refused.contains("trust nodes before that"), "{refused}");
        let (_, reads) = trust.into_parts();
        store.apply(3, &rekey.into_writes());
        assert!(!store.still_holds(&reads), "the node would not be sent the new one");
    }
}
