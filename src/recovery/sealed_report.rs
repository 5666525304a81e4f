//! What is said of sealed files that were tried on a ledger. Never a secret.

use schemars::JsonSchema;
use serde::Serialize;

use crate::format::Seqno;
use crate::report::{Code, Finding};
use crate::sealing::{Refusal, Refused};

/// What is said of sealed files, or of sealed shares.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SealedReport {
    /// The directory, as it can be shown, or that the ledger itself holds what is sealed.
    pub place: String,
    /// Where the key came from.
    pub key_source: &'static str,
    /// Whether that source protects nothing.
    pub insecure: bool,
    /// The version that the ledger asks for: the first seqno of its newest secret.
    pub wanted_version: Seqno,
    /// The file or share that opens the ledger.
    pub used: Option<String>,
    /// The others that were looked at, and why they are not used.
    pub refused: Vec<Refused>,
}

impl SealedReport {
    /// Why no file opens the ledger, in one line.
    pub fn why_not(&self) -> String {
        let wanted = self.wanted_version;
        let place = &self.place;
        if self.refused.is_empty() {
            return format!("nothing is sealed in {place}; the ledger asks for version {wanted}");
        }
        let mut reasons: Vec<String> = self
            .refused
            .iter()
            .take(REASONS)
            .map(|refused| format!("{}: {}", refused.file, refused.why))
            .collect();
        if self.refused.len() > REASONS {
            reasons.push(format!("and {} more", self.refused.len() - REASONS));
        }
        format!(
            "nothing that is sealed in {place} opens the ledger, which asks for version {wanted}: {}",
            reasons.join("; ")
        )
    }

    /// The file that opens the ledger can't be made use of.
    pub fn not_used(&mut self, why: &str) {
        if let Some(file) = self.used.take() {
            let refused = Refused::new(&file, &Refusal::Unusable(why.to_owned()));
            self.refused.insert(0, refused);
        }
    }

    /// That no file opens the ledger.
    pub fn finding(&self) -> Finding {
        Finding::new(Code::NotUnsealed, self.why_not())
    }
}

/// Reasons that are told in one line.
const REASONS: usize = 4;
