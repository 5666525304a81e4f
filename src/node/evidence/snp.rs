//! The evidence of SEV-SNP: a report of the device, and endorsements of the chip that hold for it. Attestation specification,
//! sections 5.1 and 7.

use super::answers::Certificates;
use super::device::ReportSource;
use super::fetching::{Patience, fetch};
use super::files;
use super::servers::{Chip, Server};
use crate::attestation::snp::Report;
use crate::attestation::{Anchors, Attestation, Given, OwnEvidence, Platform, SnpEvidence, Time, Verifier};
use crate::crypto::VerifyingKey;
use crate::node::config;

/// Evidence of SEV-SNP, from this device.
pub struct Snp<D> {
    /// Where reports come from.
    pub device: D,
    /// Where the rest is.
    pub settings: config::Attestation,
    /// Whose chips count.
    pub anchors: Anchors,
    /// How long servers are waited for.
    pub patience: Patience,
    /// What time it is, in seconds since 1970: what has expired is of no use to those who look at it.
    pub clock: fn() -> u64,
}

impl<D: ReportSource> Attestation for Snp<D> {
    fn platform(&self) -> Platform {
        Platform::Snp
    }

    fn attest(&self, key: &VerifyingKey) -> Result<OwnEvidence, String> {
        let given = self.given(key)?;
        let verifier = Verifier::new(self.anchors.clone());
        let report = given.check(&verifier, key, self.now())?;
        let endorsed = |found: &Certificates| given.endorsed_by(&found.pem, &verifier, key, self.now());
        self.endorsed(&report, endorsed).map(OwnEvidence::from)
    }
}

impl<D: ReportSource> Snp<D> {
    fn now(&self) -> Time {
        Time::At((self.clock)())
    }

    /// What needs nobody else: report and files.
    fn given(&self, key: &VerifyingKey) -> Result<Given, String> {
        let mut report_data = [0; 64];
        for (to, from) in report_data.iter_mut().zip(key.id()) {
            *to = from;
        }
        let read = |field, path: &Option<std::path::PathBuf>| files::decoded(field, path.as_deref(), files::variable);
        let policy = read("snp_security_policy_file", &self.settings.snp_security_policy_file)?;
        let policy = policy.map(String::from_utf8).transpose().map_err(|_| {
            "the security policy is not UTF-8, and so can't be written to a ledger: \
             expected the Rego text that the guest was launched with (attestation.snp_security_policy_file)"
                .to_owned()
        })?;
        let uvm = read("snp_uvm_endorsements_file", &self.settings.snp_uvm_endorsements_file)
            .map_err(|why| format!("Error verifying UVM endorsements: {why}"))?;
        for (field, is_there) in [
            ("security policy", policy.is_some()),
            ("UVM endorsements", uvm.is_some()),
        ] {
            if !is_there {
                tracing::info!("{field} not set, skipping the check against the attestation");
            }
        }
        Ok(Given {
            report: self.device.report(&report_data)?,
            uvm_endorsements: uvm,
            security_policy: policy,
        })
    }

    /// The evidence with the first endorsements that hold: those of the file, then of each server in order.
    fn endorsed(
        &self,
        report: &Report,
        endorsed: impl Fn(&Certificates) -> Result<SnpEvidence, String>,
    ) -> Result<SnpEvidence, String> {
        let chip = Chip::of(report)?;
        let mut reasons = Vec::new();
        let mut useless = |whose: String, why: String| {
            tracing::warn!("the endorsements of {whose} are not used: {why}");
            reasons.push(format!("{whose}: {why}"));
        };
        match files::certificates(self.settings.snp_endorsements_file.as_deref(), files::variable) {
            Ok(None) => {}
            Ok(Some(found)) if found.is_of_another_tcb(&chip.tcb) => useless(
                "the file".to_owned(),
                format!(
                    "they are of the TCB {:?}, the chip reports {}: its firmware was changed since",
                    found.tcbm.unwrap_or_default().chars().take(40).collect::<String>(),
                    chip.tcb.hexstring().to_uppercase()
                ),
            ),
            Ok(Some(found)) => match endorsed(&found) {
                Ok(evidence) => return Ok(evidence),
                Err(why) => useless("the file".to_owned(), why),
            },
            Err(why) => useless("the file".to_owned(), why),
        }
        let servers = &self.settings.snp_endorsements_servers;
        if servers.is_empty() {
            return Err(format!(
                "One or more SNP endorsements servers must be specified to fetch the collateral for the attestation \
                 (attestation.snp_endorsements_servers; or attestation.snp_endorsements_file, which container instances of \
                 Azure have as $UVM_SECURITY_CONTEXT_DIR/host-amd-cert-base64){}",
                listed(&reasons)
            ));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| format!("no server can be asked for endorsements: {why}"))?;
        for setting in servers {
            let server = match Server::of(setting, files::variable) {
                Ok(server) => server,
                Err(why) => {
                    useless("a server".to_owned(), why);
                    continue;
                }
            };
            let found = runtime.block_on(fetch(&server, &chip, self.patience));
            match found.and_then(|found| endorsed(&found)) {
                Ok(evidence) => {
                    tracing::info!("endorsements of {server}");
                    return Ok(evidence);
                }
                Err(why) => useless(server.to_string(), why),
            }
        }
        Err(format!(
            "Timed out fetching attestation endorsements from all configured servers{}",
            listed(&reasons)
        ))
    }
}

fn listed(reasons: &[String]) -> String {
    match reasons.is_empty() {
        true => String::new(),
        false => format!(": {}", reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests;
