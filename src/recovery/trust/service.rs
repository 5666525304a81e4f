//! `service.info`: one identity for a service's whole life, the steps of its status, and a recovery that continues where
//! the service before it ended. Recovery specification, sections 2.5 to 2.7.

use super::{Faults, SeenOfService, Service, ServiceRecord, Transaction, Trust};
use crate::format::TxId;
use crate::recovery::scan::{TrustTable, TrustWrite};
use crate::report::{Code, Finding};
use crate::tables::values::{HexDigest, ServiceInfo, ServiceStatus, from_json};

/// A recovered service begins this many views after the last one of the service before it; an election adds one.
const RECOVERY_ADDS_VIEWS: u64 = 2;

impl Trust {
    pub(super) fn apply_service_info(
        &mut self,
        transaction: &Transaction<'_>,
        write: &TrustWrite,
        faults: &mut Faults,
    ) -> Result<(), String> {
        let info = read(write)?;
        let certificate = self
            .certificates
            .parse(&info.cert)
            .ok_or("the service certificate in service.info can't be read")?;
        let id = certificate.key_id();
        if info.status == ServiceStatus::Unknown {
            faults.push((
                Code::StatusTransition,
                "service.info has a status that no version of CCF writes".to_owned(),
            ));
        }
        match self.service.as_mut().filter(|service| service.id == id) {
            Some(service) => {
                service.keeps(&info, self.kinds.is_first_generation(), faults);
                service.certificate = certificate;
                service.status = info.status;
                service.recovery_count = info.recovery_count;
                service.created = info.current_service_create_txid;
                return Ok(());
            }
            None => self.check_succession(transaction.txid, &info, id, faults),
        }
        self.begin(transaction.txid.seqno, &info, certificate);
        Ok(())
    }

    pub(super) fn begin_from_snapshot(&mut self, write: &TrustWrite) -> Result<(), String> {
        let info = read(write)?;
        let certificate = self
            .certificates
            .parse(&info.cert)
            .ok_or("its certificate can't be read")?;
        let created = info.current_service_create_txid;
        self.begin(created.map_or(write.seqno, |created| created.seqno), &info, certificate);
        Ok(())
    }

    fn begin(&mut self, from_seqno: u64, info: &ServiceInfo, certificate: std::sync::Arc<crate::crypto::Certificate>) {
        let id = certificate.key_id();
        let previous = self.service.take().map(|before| before.certificate);
        self.services.push(ServiceRecord {
            from_seqno,
            identity: HexDigest(id),
            recovery_count: info.recovery_count,
        });
        self.identities.push(std::sync::Arc::clone(&certificate));
        self.service = Some(Service {
            certificate,
            id,
            status: info.status,
            previous,
            previous_root: self.last_signed.and_then(|last| last.root),
            recovery_count: info.recovery_count,
            created: info.current_service_create_txid,
            seen: SeenOfService::default(),
        });
    }

    /// Whether another identity may begin here, and whether what it says of itself continues the service before it.
    fn check_succession(&self, txid: TxId, info: &ServiceInfo, id: [u8; 32], faults: &mut Faults) {
        if let Some(created) = info.current_service_create_txid.filter(|created| *created != txid) {
            differs(
                faults,
                format!("it names {created} as the transaction that created it, which is {txid}"),
            );
        }
        let Some(before) = &self.service else {
            if self.last_signed.is_some() && !self.is_partial {
                differs(
                    faults,
                    "a service begins after transactions that were signed without one".to_owned(),
                );
            }
            return;
        };
        if let Some(earlier) = self.services.iter().find(|earlier| earlier.identity.0 == id) {
            faults.push((
                Code::IdentityChanged,
                format!(
                    "the service identity changes back to {}, which was the service's from seqno {} on: each recovery makes a new one",
                    hex::encode(id),
                    earlier.from_seqno
                ),
            ));
        }
        // A service that 1.x recovered began as Opening.
        let is_recovery = match info.status {
            ServiceStatus::Recovering => true,
            ServiceStatus::Opening => self.kinds.is_first_generation() && info.recovery_count.is_none(),
            _ => false,
        };
        if !is_recovery {
            faults.push((
                Code::IdentityChanged,
                format!(
                    "the service identity changes from {} to {} with status {:?}, expected Recovering",
                    hex::encode(before.id),
                    hex::encode(id),
                    info.status
                ),
            ));
            return;
        }
        self.check_recovery(before, txid, info, faults);
    }

    fn check_recovery(&self, before: &Service, txid: TxId, info: &ServiceInfo, faults: &mut Faults) {
        let fits = match (before.recovery_count, info.recovery_count) {
            (Some(before), count) => count == before.checked_add(1),
            // The count began with 2.0.3: by its own reading, the first recovery by it is number 1.
            (None, count) => count.is_none_or(|count| count <= 1),
        };
        if !fits {
            let shown = |count: Option<u64>| count.map_or("none".to_owned(), |count| count.to_string());
            differs(
                faults,
                format!(
                    "its recovery count is {}, that of the service before it {}",
                    shown(info.recovery_count),
                    shown(before.recovery_count)
                ),
            );
        }
        if before.created.is_some() && info.current_service_create_txid.is_none() {
            differs(faults, "it does not name the transaction that created it".to_owned());
        }
        match self.last_signed {
            None if self.is_partial => {}
            None => differs(faults, "nothing was signed before it".to_owned()),
            Some(last) => {
                let expected = TxId {
                    view: last.txid.view.saturating_add(RECOVERY_ADDS_VIEWS),
                    seqno: last.txid.seqno.saturating_add(1),
                };
                if txid != expected {
                    differs(
                        faults,
                        format!(
                            "it begins with {txid}, expected {expected}, as {} was signed last",
                            last.txid
                        ),
                    );
                }
            }
        }
    }

    /// What a recovery must write, and this one does not.
    pub(super) fn missing_of_recovery(&self, transaction: &Transaction<'_>) -> Vec<Finding> {
        let recovering = |service: &super::Service| service.status == ServiceStatus::Recovering;
        let recovers =
            self.begins(transaction) && self.services.len() > 1 && self.service.as_ref().is_some_and(recovering);
        // What wrote a count wrote the identity beside it.
        let counts = self
            .service
            .as_ref()
            .is_some_and(|service| service.recovery_count.is_some());
        let names = transaction.of(TrustTable::PreviousServiceIdentity).next().is_some();
        let Some(first) = transaction.writes.first().filter(|_| recovers && counts && !names) else {
            return Vec::new();
        };
        vec![
            Finding::new(Code::PreviousIdentity, "the recovered service names no predecessor")
                .seqno(first.seqno)
                .offset(first.offset),
        ]
    }
}

impl Service {
    /// Whether a further write about this service says what it must.
    fn keeps(&self, info: &ServiceInfo, first_generation: bool, faults: &mut Faults) {
        if !can_follow(self.status, info.status, first_generation) {
            faults.push((
                Code::StatusTransition,
                format!("the service's status goes from {:?} to {:?}", self.status, info.status),
            ));
        }
        if self.recovery_count != info.recovery_count && self.recovery_count.is_some() {
            differs(
                faults,
                format!(
                    "its recovery count changes from {:?} to {:?}",
                    self.recovery_count, info.recovery_count
                ),
            );
        }
        if self.created != info.current_service_create_txid && self.created.is_some() {
            differs(faults, "the transaction that it says created it changes".to_owned());
        }
    }
}

fn differs(faults: &mut Faults, why: String) {
    faults.push((Code::RecoveryDiffers, format!("service.info does not fit: {why}")));
}

fn read(write: &TrustWrite) -> Result<ServiceInfo, String> {
    let value = write.value.as_deref().ok_or("service.info is removed")?;
    from_json(value).map_err(|e| format!("service.info can't be read: {e}"))
}

/// Whether a service of one identity may go from one status to the other. One that 1.x recovered began as Opening.
fn can_follow(before: ServiceStatus, after: ServiceStatus, first_generation: bool) -> bool {
    use ServiceStatus::{Open, Opening, Recovering, Unknown, WaitingForRecoveryShares};
    before == after
        || (first_generation && (before, after) == (Opening, WaitingForRecoveryShares))
        || matches!(
            (before, after),
            // What can't be known was said already.
            (Unknown, _)
                | (_, Unknown)
                | (Opening, Open)
                | (Recovering, WaitingForRecoveryShares | Open)
                | (WaitingForRecoveryShares, Open)
        )
}
