//! All checks of one node's evidence, whatever it is.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::crypto::sha256;
use crate::crypto::x509::{RevocationList, Validity, der_blocks};

use super::anchors::Anchors;
use super::evidence::{Evidence, Platform, Subject};
use super::judgement::{Check, Judgement, Outcome};
use super::policy::{self, Policy};
use super::product::Product;
use super::remembered::Remembered;
use super::revocation::Lists;
use super::sgx;
use super::snp::{self, Endorsements, Issuers, Report, Tcb};
use super::time::Time;
use super::uvm::Statement;

/// Verifies evidence, and remembers what repeats: certificates of a product, endorsements of a deployment. For any number of
/// threads at once.
pub struct Verifier {
    anchors: Anchors,
    lists: Lists,
    issuers: Remembered<Issuers>,
    endorsements: Remembered<Endorsements>,
    statements: Remembered<Statement>,
    collateral: Remembered<sgx::Collateral>,
}

/// What the evidence says, whether it holds or not.
#[derive(Clone, Debug)]
pub enum Facts {
    /// A report of SEV-SNP.
    Snp {
        /// Every field.
        report: Report,
        /// By its CPUID, or for reports of version 2 by the root.
        product: Option<Product>,
        /// The reported TCB, if the product is known.
        tcb: Option<Tcb>,
        /// The three certificates.
        endorsements: Arc<Endorsements>,
        /// Who signed the measurement, where somebody did.
        uvm: Option<Arc<Statement>>,
    },
    /// A quote of SGX.
    Sgx {
        /// Every field.
        quote: sgx::Quote,
        /// What goes with it, if it can be read.
        collateral: Arc<sgx::Collateral>,
    },
    /// What a virtual node claims.
    Virtual {
        /// Its measurement: any text.
        measurement: String,
        /// Its host data: any text.
        host_data: String,
    },
    /// Nothing that can be read.
    None,
}

/// One node's evidence, judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What stands behind it.
    pub platform: Platform,
    /// What it says.
    pub facts: Facts,
    /// What became of each check.
    pub judgement: Judgement,
}

impl Verifier {
    /// A verifier that believes these roots.
    pub fn new(anchors: Anchors) -> Self {
        Verifier {
            anchors,
            lists: Lists::new(Vec::new()),
            issuers: Remembered::new(),
            endorsements: Remembered::new(),
            statements: Remembered::new(),
            collateral: Remembered::new(),
        }
    }

    /// Looks certificates up in the revocation lists of this file too: DER, or PEM with at most 64 of them. Who gives lists
    /// wants them obeyed: [`Judgement::refusal`] then lets nobody in whose root has none here, or an overdue one.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn with_revocation_lists(mut self, file: &[u8]) -> Result<Self, String> {
        let blocks: Vec<Vec<u8>> = match std::str::from_utf8(file) {
            Ok(text) if text.contains("-----BEGIN ") => der_blocks(text, &["X509 CRL"], 64)
                .into_iter()
                .map(|block| block.ok_or("a PEM block is damaged, or there are more than 64"))
                .collect::<Result<_, _>>()?,
            _ => vec![file.to_vec()],
        };
        if blocks.is_empty() {
            return Err("there is no X509 CRL in it".into());
        }
        for der in blocks {
            let list = RevocationList::from_der(&der).map_err(|why| format!("not a revocation list: {why}"))?;
            self.lists.push(list);
        }
        Ok(self)
    }

    /// Makes every check that applies. Without a policy, what the store would be asked is not done.
    pub fn judge(&self, evidence: &Evidence, subject: &Subject<'_>, policy: Option<&Policy>, time: Time) -> Judged {
        let platform = evidence.platform();
        match platform {
            Platform::Snp => self.judge_snp(evidence, subject, policy, time),
            Platform::Sgx => self.judge_sgx(evidence, subject, policy, time),
            Platform::Virtual => judge_virtual(evidence, subject, policy),
            Platform::None => judge_nothing(evidence),
        }
    }

    fn judge_snp(&self, evidence: &Evidence, subject: &Subject<'_>, policy: Option<&Policy>, time: Time) -> Judged {
        let mut judgement = Judgement::new(Platform::Snp, !self.lists.is_empty());
        judgement.add(Check::Format, Outcome::Passed);
        let pem = &evidence.endorsements;
        let endorsements = self
            .endorsements
            .get(sha256(pem), pem.len(), || Endorsements::read(pem, &self.issuers));
        let looked = snp::verify(
            &evidence.quote,
            &endorsements,
            evidence.endorsed_tcb.as_deref(),
            &self.anchors,
            &self.lists,
            time,
            &mut judgement,
        );
        let Some(report) = looked.report else {
            return Judged {
                platform: Platform::Snp,
                facts: Facts::None,
                judgement,
            };
        };
        judgement.extend(policy::host_data(policy, &report.host_data));
        let uvm = evidence
            .uvm_endorsements
            .as_ref()
            .map(|cose| self.statements.get(sha256(cose), cose.len(), || Statement::read(cose)));
        match &uvm {
            Some(statement) => {
                judgement.extend(statement.checks().iter().cloned());
                judgement.add(Check::UvmMeasurement, uvm_measurement(statement, &report));
                judgement.add(Check::UvmRoots, policy::uvm_roots(policy, statement));
                judgement.add(Check::UvmValidity, uvm_validity(statement, time));
            }
            None => judgement.add(Check::Measurement, policy::measurement(policy, &report.measurement)),
        }
        judgement.add(
            Check::MinimumTcb,
            policy::minimum_tcb(policy, &report, looked.tcb.as_ref()),
        );
        judgement.add(
            Check::ReportData,
            policy::report_data(subject.public_key_der, &report.report_data),
        );
        if let Some(outcome) = policy::code_digest(subject.code_digest, &report.measurement) {
            judgement.add(Check::CodeDigest, outcome);
        }
        Judged {
            platform: Platform::Snp,
            facts: Facts::Snp {
                report,
                product: looked.product,
                tcb: looked.tcb,
                endorsements,
                uvm,
            },
            judgement,
        }
    }

    fn judge_sgx(&self, evidence: &Evidence, subject: &Subject<'_>, policy: Option<&Policy>, time: Time) -> Judged {
        let mut judgement = Judgement::new(Platform::Sgx, !self.lists.is_empty());
        judgement.add(Check::Format, Outcome::Passed);
        let bytes = &evidence.endorsements;
        let collateral = self
            .collateral
            .get(sha256(bytes), bytes.len(), || sgx::Collateral::read(bytes));
        let quote = sgx::verify(&evidence.quote, &collateral, &self.anchors, time, &mut judgement);
        let Some(quote) = quote else {
            return Judged {
                platform: Platform::Sgx,
                facts: Facts::None,
                judgement,
            };
        };
        judgement.add(Check::Measurement, policy::code_id(policy, &quote.mrenclave));
        let claimed = quote.claimed_report_data.as_deref();
        let bound = match claimed {
            Some(claimed) => policy::report_data(subject.public_key_der, claimed),
            None => Outcome::not_done("the quote has no claims that can be read"),
        };
        judgement.add(Check::ReportData, bound);
        if let Some(outcome) = policy::code_digest(subject.code_digest, &quote.mrenclave) {
            judgement.add(Check::CodeDigest, outcome);
        }
        Judged {
            platform: Platform::Sgx,
            facts: Facts::Sgx { quote, collateral },
            judgement,
        }
    }
}

fn uvm_measurement(statement: &Statement, report: &Report) -> Outcome {
    let found = hex::encode(report.measurement);
    let Some(endorsed) = &statement.measurement else {
        return Outcome::not_done("the UVM endorsements have no measurement");
    };
    Outcome::of(*endorsed == found, || {
        Outcome::failed(
            format!(
                "Launch measurement in UVM endorsements payload {endorsed} is not equal to UVM attestation measurement {found}"
            ),
            endorsed,
            &found,
        )
    })
}

/// Every stored leaf expires within a year, and the signature is no worse for it (attestation specification, section 6): a
/// remark whatever the time means.
fn uvm_validity(statement: &Statement, time: Time) -> Outcome {
    let time = match time {
        Time::At(instant) | Time::Remark(instant) => Time::Remark(instant),
        Time::None => Time::None,
    };
    let windows: Vec<(&str, Validity)> = statement.windows().collect();
    match windows.is_empty() {
        true => Outcome::not_done("there are no certificates that can be read"),
        false => time.windows(windows),
    }
}

/// A virtual node's quote: JSON that anybody can write. Recovery specification, section 8.4.
fn judge_virtual(evidence: &Evidence, subject: &Subject<'_>, policy: Option<&Policy>) -> Judged {
    #[derive(Deserialize)]
    struct Quote {
        measurement: String,
        host_data: String,
        report_data: String,
    }
    let mut judgement = Judgement::new(Platform::Virtual, false);
    let remark = "virtual: no hardware vouches for any of it";
    let facts = match serde_json::from_slice::<Quote>(&evidence.quote) {
        Ok(quote) => {
            judgement.add(Check::Format, Outcome::remark(remark));
            judgement.extend(policy::of_virtual(policy, &quote.measurement, &quote.host_data));
            let bound = match STANDARD.decode(&quote.report_data) {
                Ok(found) if found.len() == 32 => policy::report_data(subject.public_key_der, &found),
                _ => Outcome::failed(
                    "the quote's report data is not base64 of 32 bytes",
                    &quote.report_data,
                    "base64 of the digest of the node's public key",
                ),
            };
            judgement.add(Check::ReportData, bound);
            if let Some(outcome) = policy::code_digest(subject.code_digest, quote.measurement.as_bytes()) {
                judgement.add(Check::CodeDigest, outcome);
            }
            Facts::Virtual {
                measurement: quote.measurement,
                host_data: quote.host_data,
            }
        }
        Err(_) => {
            // Builds before virtual nodes had claims of their own wrote what they liked.
            judgement.add(
                Check::Format,
                Outcome::remark(format!("{remark}, and its quote is of no known form")),
            );
            Facts::None
        }
    };
    Judged {
        platform: Platform::Virtual,
        facts,
        judgement,
    }
}

fn judge_nothing(evidence: &Evidence) -> Judged {
    let mut judgement = Judgement::new(Platform::None, false);
    let outcome = match evidence.quote.is_empty() {
        true => Outcome::remark("there is no quote: nothing is attested"),
        false => Outcome::failed(
            "the quote is of no format that is known here",
            &evidence.format,
            "AMD_SEV_SNP_v1, OE_SGX_v1 or Insecure_Virtual",
        ),
    };
    judgement.add(Check::Format, outcome);
    Judged {
        platform: Platform::None,
        facts: Facts::None,
        judgement,
    }
}

#[cfg(test)]
mod tests;
