//! One service following another: what a recovered service says of the one before it must be what the ledger says.

use super::Trust;
use crate::crypto::cose::Sign1;
use crate::crypto::digest::sha256;
use crate::crypto::ecdsa::VerifyingKey;
use crate::recovery::report::{Code, Finding};
use crate::recovery::scan::TrustWrite;
use crate::tables::values::{HexDigest, IdentityEndorsement, from_json};

impl Trust {
    pub(super) fn check_previous_identity(
        &mut self,
        write: &TrustWrite,
        findings: &mut Vec<Finding>,
    ) -> Result<(), String> {
        let Some(value) = &write.value else {
            return Ok(());
        };
        let pem: String = from_json(value).map_err(|e| format!("previous_service_identity can't be read: {e}"))?;
        let named = self
            .certificate(&pem)
            .ok_or("previous_service_identity is no certificate")?;
        // Maps are written in order of their names: service.info of the same transaction has been applied.
        let previous = self.service.as_ref().and_then(|service| service.previous.clone());
        if let Some(previous) = previous.filter(|previous| previous.key_id() != named.key_id()) {
            findings.push(Finding::new(
                Code::PreviousIdentity,
                format!(
                    "the recovered service names {} as its predecessor, the ledger's is {}",
                    hex::encode(named.key_id()),
                    hex::encode(previous.key_id())
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn check_previous_root(
        &mut self,
        write: &TrustWrite,
        findings: &mut Vec<Finding>,
    ) -> Result<(), String> {
        let Some(value) = &write.value else {
            return Ok(());
        };
        let named: HexDigest =
            from_json(value).map_err(|e| format!("previous_service_last_signed_root can't be read: {e}"))?;
        if let Some(root) = self.last_root.filter(|root| *root != named.0) {
            findings.push(Finding::new(
                Code::PreviousRoot,
                format!(
                    "the recovered service says {} was signed last before it, the ledger's last signed root is {}",
                    hex::encode(named.0),
                    hex::encode(root)
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn check_endorsement(&mut self, write: &TrustWrite, findings: &mut Vec<Finding>) -> Result<(), String> {
        let Some(value) = &write.value else {
            return Ok(());
        };
        let endorsement: IdentityEndorsement =
            from_json(value).map_err(|e| format!("previous_service_identity_endorsement can't be read: {e}"))?;
        let begin = endorsement.endorsement_epoch_begin;
        if let Some(end) = endorsement.endorsement_epoch_end.filter(|end| begin.seqno > end.seqno) {
            findings.push(Finding::new(
                Code::EndorsementIllFormed,
                format!("an endorsement from {begin} to {end}, which is before it"),
            ));
            return Ok(());
        }
        if let Err(why) = self.verify_endorsement(&endorsement) {
            findings.push(Finding::new(
                Code::Endorsement,
                format!("the endorsement of the previous service identity: {why}"),
            ));
        }
        Ok(())
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
        let endorsed = sha256(message.payload().unwrap_or(&[]));
        let expected = match (endorsement.endorsement_epoch_end, &service.previous) {
            (None, _) => Some(service.id),
            (Some(_), Some(previous)) => Some(previous.key_id()),
            (Some(_), None) => None,
        };
        match expected.filter(|expected| *expected != endorsed) {
            Some(expected) => Err(format!(
                "it endorses {}, expected {}",
                hex::encode(endorsed),
                hex::encode(expected)
            )),
            None => Ok(()),
        }
    }
}
