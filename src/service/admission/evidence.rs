//! Whether what a node shows is what the service asks of its nodes.
//!
//! SEV-SNP lets a node in, and a virtual node's word does where this node is virtual itself: a service that has hardware
//! admits nobody without. SGX does not: CCF has none since version 6, and nobody would send a node keys whose enclave real
//! members of the service could not run. Attestation specification, sections 4.3 and 11; recovery specification, 8.4.

use super::policy::policy_of;
use super::refusal::{Doubt, Refusal};
use crate::attestation::{Check, Evidence, Facts, Judged, Outcome, Platform, Subject, Time, Verifier};
use crate::kv::store::Transaction;

/// What there is to judge by.
pub struct Judge<'a> {
    /// Verifies evidence.
    pub verifier: &'a Verifier,
    /// What this node itself stands on.
    pub platform: Platform,
    /// Seconds since 1970.
    pub now_s: u64,
}

impl Judge<'_> {
    /// What a node measures, whose TLS key is `key_der` (SubjectPublicKeyInfo), if its evidence holds.
    ///
    /// # Errors
    /// [`Refusal::Evidence`]. Which check it was stands in the log; the joiner is told as much as CCF tells it.
    pub fn measurement(
        &self,
        transaction: &Transaction<'_>,
        evidence: &Evidence,
        key_der: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let subject = Subject {
            public_key_der: Some(key_der),
            code_digest: None,
        };
        let policy = policy_of(transaction);
        let judged = self
            .verifier
            .judge(evidence, &subject, Some(&policy), Time::At(self.now_s));
        let refused = match judged.platform {
            Platform::Virtual => self.refuses_virtual(&judged),
            _ => judged
                .judgement
                .refusal()
                .map(|(check, outcome)| (check, outcome.text())),
        };
        if let Some((check, why)) = refused {
            tracing::warn!(
                platform = judged.platform.as_str(),
                check = check.as_str(),
                %why,
                "a node is refused: its evidence does not hold"
            );
            return Err(Refusal::Evidence(doubt(check)));
        }
        match &judged.facts {
            Facts::Snp { report, .. } => Ok(report.measurement.to_vec()),
            Facts::Virtual { measurement, .. } => Ok(measurement.as_bytes().to_vec()),
            Facts::Sgx { .. } | Facts::None => Err(Refusal::Evidence(Doubt::Unverified)),
        }
    }

    /// A virtual node has no hardware's word: all the rest must hold, each check of it made.
    fn refuses_virtual<'j>(&self, judged: &'j Judged) -> Option<(Check, std::borrow::Cow<'j, str>)> {
        let needed = [Check::HostData, Check::Measurement, Check::ReportData];
        if self.platform != Platform::Virtual {
            let why = "no hardware stands behind it, and this node has some";
            return Some((Check::Format, why.into()));
        }
        if matches!(judged.facts, Facts::None) {
            return Some((Check::Format, "its quote is of no known form".into()));
        }
        let failed = judged.judgement.first_failure().map(|(check, _)| check);
        let check = failed.or_else(|| {
            let passed = |check: &Check| judged.judgement.outcome(*check) == Some(&Outcome::Passed);
            needed.into_iter().find(|check| !passed(check))
        })?;
        let outcome = judged.judgement.outcome(check);
        Some((check, outcome.map_or("it can't be looked at".into(), Outcome::text)))
    }
}

/// What CCF says where this check fails. Of a minimum TCB that is not met it says more in later releases, in other words each
/// time.
fn doubt(check: Check) -> Doubt {
    match check {
        Check::Measurement => Doubt::Measurement,
        Check::HostData | Check::SecurityPolicy => Doubt::HostData,
        Check::ReportData => Doubt::ReportData,
        Check::UvmRoots
        | Check::UvmFormat
        | Check::UvmAlgorithm
        | Check::UvmDid
        | Check::UvmSignature
        | Check::UvmContentType
        | Check::UvmPayload
        | Check::UvmMeasurement => Doubt::Uvm,
        _ => Doubt::Unverified,
    }
}
