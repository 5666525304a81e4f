//! One service following another: what a recovered service says of the one before it must be what the ledger says.
//! Recovery specification, sections 2.6 and 2.10.

use super::{Faults, Trust};
use crate::crypto::cose::Sign1;
use crate::crypto::digest::{Digest, sha256};
use crate::crypto::ecdsa::VerifyingKey;
use crate::format::{Seqno, TxId};
use crate::recovery::scan::TrustWrite;
use crate::report::Code;
use crate::tables::values::{HexDigest, IdentityEndorsement, from_json};

/// What an endorsement must say.
struct Expected {
    begin: Option<TxId>,
    end: Option<TxId>,
    /// Id of the key that it endorses.
    endorsed: Digest,
    previous_version: Option<Seqno>,
}

impl Trust {
    pub(super) fn check_previous_identity(
        &mut self,
        write: &TrustWrite,
        begins: bool,
        faults: &mut Faults,
    ) -> Result<(), String> {
        let value = write.value.as_deref().ok_or("previous_service_identity is removed")?;
        let pem: String = from_json(value).map_err(|e| format!("previous_service_identity can't be read: {e}"))?;
        let named = self
            .certificates
            .parse(&pem)
            .ok_or("previous_service_identity is no certificate")?;
        let previous = self.service.as_ref().and_then(|service| service.previous.as_ref());
        match previous {
            Some(previous) if begins => {
                if previous.key_id() != named.key_id() {
                    let text = format!(
                        "the recovered service names {} as its predecessor, the ledger's is {}",
                        hex::encode(named.key_id()),
                        hex::encode(previous.key_id())
                    );
                    faults.push((Code::PreviousIdentity, text));
                }
            }
            None if begins && self.is_partial => {}
            _ => faults.push((
                Code::PreviousIdentity,
                format!(
                    "{} is named as the predecessor of a service, in a transaction that recovers none",
                    hex::encode(named.key_id())
                ),
            )),
        }
        Ok(())
    }

    pub(super) fn check_previous_root(
        &mut self,
        write: &TrustWrite,
        begins: bool,
        faults: &mut Faults,
    ) -> Result<(), String> {
        let value = write
            .value
            .as_deref()
            .ok_or("previous_service_last_signed_root is removed")?;
        let named: HexDigest =
            from_json(value).map_err(|e| format!("previous_service_last_signed_root can't be read: {e}"))?;
        if !begins {
            let text = format!(
                "{} is named as the root signed last by the service before, in a transaction that recovers none",
                hex::encode(named.0)
            );
            faults.push((Code::PreviousRoot, text));
        }
        let signed = self.last_signed.and_then(|last| last.root);
        if let Some(root) = signed.filter(|root| begins && *root != named) {
            faults.push((
                Code::PreviousRoot,
                format!(
                    "the recovered service says {} was signed last before it, the ledger's last signed root is {}",
                    hex::encode(named.0),
                    hex::encode(root.0)
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn check_endorsement(&mut self, write: &TrustWrite, faults: &mut Faults) -> Result<(), String> {
        let value = write
            .value
            .as_deref()
            .ok_or("previous_service_identity_endorsement is removed")?;
        let endorsement: IdentityEndorsement =
            from_json(value).map_err(|e| format!("previous_service_identity_endorsement can't be read: {e}"))?;
        let begin = endorsement.endorsement_epoch_begin;
        let end_before = endorsement.endorsement_epoch_end.filter(|end| begin.seqno > end.seqno);
        match (self.verify_endorsement(&endorsement), end_before) {
            (Err(why), _) => faults.push((
                Code::Endorsement,
                format!("the endorsement of the previous service identity: {why}"),
            )),
            // As its formula gives it where a service endorses twice: an election fell into the recovery.
            (Ok(()), Some(end)) => faults.push((
                Code::EndorsementIllFormed,
                format!("an endorsement from {begin} to {end}, which is before it"),
            )),
            (Ok(()), None) => {}
        }
        self.endorsement = Some((write.seqno, endorsement));
        Ok(())
    }

    /// What an endorsement that is written now must say, by the one before it and the creation of the service in force.
    fn expected_endorsement(&self) -> Option<Expected> {
        let service = self.service.as_ref()?;
        let Some((at, before)) = &self.endorsement else {
            return Some(Expected {
                begin: service.created,
                end: None,
                endorsed: service.id,
                previous_version: None,
            });
        };
        let begin = match before.endorsement_epoch_end {
            Some(end) => TxId {
                view: end.view.saturating_add(2),
                seqno: end.seqno.saturating_add(1),
            },
            None => before.endorsement_epoch_begin,
        };
        Some(Expected {
            begin: Some(begin),
            end: service.created.map(|created| TxId {
                view: created.view.saturating_sub(2),
                seqno: created.seqno.saturating_sub(1),
            }),
            endorsed: sha256(&before.endorsing_key.0),
            previous_version: Some(*at),
        })
    }

    fn verify_endorsement(&self, endorsement: &IdentityEndorsement) -> Result<(), String> {
        let key = VerifyingKey::from_spki_der(&endorsement.endorsing_key.0)
            .map_err(|e| format!("its endorsing key can't be read: {e}"))?;
        let service = self.service.as_ref().ok_or("there is no service yet")?;
        if key.id() != service.id {
            return Err(format!(
                "it is made by {}, expected the service in force, {}",
                hex::encode(key.id()),
                hex::encode(service.id)
            ));
        }
        let message = Sign1::parse(&endorsement.endorsement.0).map_err(|e| format!("it can't be read: {e}"))?;
        message
            .verify(&key, None)
            .map_err(|e| format!("its signature does not verify: {e}"))?;
        if self.is_partial && self.endorsement.is_none() {
            return Ok(());
        }
        let expected = self.expected_endorsement().ok_or("there is no service yet")?;
        let endorsed = sha256(message.payload().unwrap_or(&[]));
        if endorsed != expected.endorsed {
            return Err(format!(
                "it endorses {}, expected {}",
                hex::encode(endorsed),
                hex::encode(expected.endorsed)
            ));
        }
        self.check_range(endorsement, &message, &expected)
    }

    fn check_range(
        &self,
        endorsement: &IdentityEndorsement,
        message: &Sign1,
        expected: &Expected,
    ) -> Result<(), String> {
        let shown = |txid: Option<TxId>| txid.map_or("none".to_owned(), |txid| txid.to_string());
        let (begin, end) = (endorsement.endorsement_epoch_begin, endorsement.endorsement_epoch_end);
        if expected.begin.is_some_and(|expected| expected != begin) || expected.end != end {
            return Err(format!(
                "it is for {begin} to {}, expected {} to {}",
                shown(end),
                shown(expected.begin),
                shown(expected.end)
            ));
        }
        if endorsement.previous_version != expected.previous_version {
            return Err(format!(
                "it names the write at {:?} as the one before it, expected {:?}",
                endorsement.previous_version, expected.previous_version
            ));
        }
        let signed = (message.ccf_text("epoch.start.txid"), message.ccf_text("epoch.end.txid"));
        let (begin, end) = (begin.to_string(), end.map(|end| end.to_string()));
        if signed.0 != Some(begin.as_str()) || signed.1 != end.as_deref() {
            return Err(format!(
                "what is signed is for {} to {}, the value beside it for {begin} to {}",
                signed.0.unwrap_or("none"),
                signed.1.unwrap_or("none"),
                end.as_deref().unwrap_or("none")
            ));
        }
        let root = message.ccf_bytes("epoch.end.merkle.root");
        let known = self.service.as_ref().and_then(|service| service.previous_root);
        match (root, known) {
            (Some(root), Some(known)) if root != known.0 => Err(format!(
                "it names {} as the root signed last, the ledger's is {}",
                hex::encode(root.get(..32).unwrap_or(root)),
                hex::encode(known.0)
            )),
            _ => Ok(()),
        }
    }
}
