//! One outcome per check, and what follows from all of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use crate::shown::excerpt;

use super::evidence::Platform;

macro_rules! checks {
    ($($(#[$doc:meta])+ $name:ident $text:literal $group:ident,)+) => {
        /// One thing that is checked. Names are stable: reports and other programs use them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])+ $name,)+
        }

        impl Check {
            /// Every check.
            pub const ALL: &'static [Check] = &[$(Check::$name),+];

            /// The name, in snake case.
            pub fn as_str(self) -> &'static str {
                match self { $(Check::$name => $text),+ }
            }

            fn group(self) -> Group {
                match self { $(Check::$name => Group::$group),+ }
            }
        }
    };
}

/// What a check is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    /// The evidence alone: without it nothing is attested.
    Evidence,
    /// What CCF does not look at, and who is careful does.
    Ours,
    /// Who signed the measurement.
    Uvm,
    /// What the store or the node's record says.
    Store,
}

checks! {
    /// The format of the quote is one that is known.
    Format "format" Evidence,
    /// The quote has the size of its format.
    Size "size" Evidence,
    /// The version of the report or quote is accepted.
    Version "version" Evidence,
    /// The processor is one of a known product.
    Product "product" Evidence,
    /// There are as many certificates as there have to be.
    Count "count" Evidence,
    /// The root is the maker's, by its key.
    RootKey "root_key" Evidence,
    /// The root signed itself.
    RootSelf "root_self" Evidence,
    /// Every certificate is signed by the one above it.
    Chain "chain" Evidence,
    /// The certificates are valid at the given time.
    Validity "validity" Ours,
    /// The signature is of the algorithm that is known.
    SignatureAlgorithm "sig_algo" Evidence,
    /// The certified key signed the report, or the attestation key the quote.
    Signature "signature" Evidence,
    /// The report was signed with the chip's own key.
    SigningKey "signing_key" Evidence,
    /// The chip does not hide its identity.
    MaskChipKey "mask_chip_key" Evidence,
    /// The report was asked for by a guest.
    Vmpl "vmpl" Evidence,
    /// Nobody may look into the guest or enclave.
    Debug "debug" Evidence,
    /// The guest may not be migrated by an agent.
    MigrateMa "migrate_ma" Evidence,
    /// The reported TCB is at least the certified one.
    Tcb "tcb" Evidence,
    /// The report is of the certified chip.
    ChipId "chip_id" Evidence,
    /// The TCB that an old node wrote beside its quote is the reported one.
    EndorsedTcb "endorsed_tcb" Evidence,
    /// The reported TCB is exactly the certified one: the chip's key depends on it.
    TcbExact "tcb_exact" Ours,
    /// The certificate is of the product that the report is of.
    CertifiedProduct "certified_product" Ours,
    /// None of the certificates is on a revocation list.
    Revocation "revocation" Ours,
    /// The attestation key is the one that the quoting enclave vouches for.
    QeReport "qe_report" Evidence,
    /// The processor's certified key signed the quoting enclave's report.
    QeSignature "qe_signature" Evidence,
    /// The quoting enclave is Intel's.
    QeIdentity "qe_identity" Evidence,
    /// The claims after the quote are those it is about.
    Claims "claims" Evidence,
    /// The collateral can be read and is Intel's.
    Collateral "collateral" Ours,
    /// The collateral was current when it was fetched, and at the given time.
    CollateralValidity "collateral_validity" Ours,
    /// What the collateral says of the platform's TCB.
    TcbStatus "tcb_status" Ours,
    /// The host data is in the store.
    HostData "host_data" Store,
    /// The store's security policy is the one that the host data is the digest of.
    SecurityPolicy "security_policy" Store,
    /// The UVM endorsements are a COSE_Sign1 with the headers they need.
    UvmFormat "uvm_format" Uvm,
    /// Their signature algorithm is RSA-PSS or ECDSA.
    UvmAlgorithm "uvm_algorithm" Uvm,
    /// Their issuer's did:x509 fits their certificates, which form a chain.
    UvmDid "uvm_did" Uvm,
    /// The leaf signed them.
    UvmSignature "uvm_signature" Uvm,
    /// Their content type is JSON.
    UvmContentType "uvm_content_type" Uvm,
    /// Their payload has a measurement and an SVN.
    UvmPayload "uvm_payload" Uvm,
    /// Their measurement is the report's.
    UvmMeasurement "uvm_measurement" Uvm,
    /// Their certificates are valid at the given time.
    UvmValidity "uvm_validity" Ours,
    /// The store trusts their issuer for this feed and SVN.
    UvmRoots "uvm_roots" Store,
    /// The measurement or enclave is in the store.
    Measurement "measurement" Store,
    /// The TCB is at least the store's minimum for this processor.
    MinimumTcb "minimum_tcb" Store,
    /// The report is about the node's key.
    ReportData "report_data" Store,
    /// The node's record has the measurement that the quote has.
    CodeDigest "code_digest" Store,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In CCF's words, where CCF has this check.
    pub text: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// What became of a check. Texts may repeat what was in the evidence; they are of bounded length and fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It holds, or is no reason to refuse, and there is something to say.
    Remark(String),
    /// It does not hold.
    Failed(Failure),
    /// It could not be looked at, and why.
    NotDone(String),
}

impl Outcome {
    /// A failure; all three texts may repeat evidence.
    pub fn failed(text: impl AsRef<str>, found: impl AsRef<str>, expected: impl AsRef<str>) -> Outcome {
        Outcome::Failed(Failure {
            text: excerpt(text.as_ref()),
            found: excerpt(found.as_ref()),
            expected: excerpt(expected.as_ref()),
        })
    }

    /// A remark, which may repeat evidence.
    pub fn remark(text: impl AsRef<str>) -> Outcome {
        Outcome::Remark(excerpt(text.as_ref()))
    }

    /// Not done, and why.
    pub fn not_done(why: impl AsRef<str>) -> Outcome {
        Outcome::NotDone(excerpt(why.as_ref()))
    }

    /// Passed if it `holds`, failed otherwise.
    pub(super) fn of(holds: bool, failed: impl FnOnce() -> Outcome) -> Outcome {
        if holds { Outcome::Passed } else { failed() }
    }

    /// Whether it failed.
    pub fn is_failed(&self) -> bool {
        matches!(self, Outcome::Failed(_))
    }

    /// The outcome in one word: `passed`, `remark`, `failed` or `not_done`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Remark(_) => "remark",
            Outcome::Failed(_) => "failed",
            Outcome::NotDone(_) => "not_done",
        }
    }

    /// What there is to say about it; empty where it passed.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Outcome::Passed => Cow::Borrowed(""),
            Outcome::Remark(text) | Outcome::NotDone(text) => Cow::Borrowed(text),
            Outcome::Failed(failure) => Cow::Owned(format!(
                "{} (found {}, expected {})",
                failure.text, failure.found, failure.expected
            )),
        }
    }
}

/// What follows from all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No check failed, and all that is needed of the evidence was looked at.
    Holds,
    /// This check failed, first in CCF's order.
    Fails(Check),
    /// None failed, but this one, about the evidence, could not be looked at.
    Unfinished(Check),
    /// There is no hardware's word at all: a virtual node, or one without a quote.
    Unattested,
}

impl Verdict {
    /// The verdict in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Fails(_) => "fails",
            Verdict::Unfinished(_) => "unfinished",
            Verdict::Unattested => "unattested",
        }
    }
}

/// Every check that was made, in CCF's order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    checks: Vec<(Check, Outcome)>,
    platform: Platform,
    /// Whether somebody gave revocation lists to look into.
    has_lists: bool,
}

impl Judgement {
    /// No check yet; what stands behind the evidence, and whether revocation lists were given for it.
    pub(super) fn new(platform: Platform, has_lists: bool) -> Self {
        Judgement {
            checks: Vec::new(),
            platform,
            has_lists,
        }
    }

    pub(super) fn add(&mut self, check: Check, outcome: Outcome) {
        debug_assert!(self.outcome(check).is_none(), "{check} is checked twice");
        self.checks.push((check, outcome));
    }

    pub(super) fn extend(&mut self, checks: impl IntoIterator<Item = (Check, Outcome)>) {
        checks.into_iter().for_each(|(check, outcome)| self.add(check, outcome));
    }

    /// The checks with their outcomes.
    pub fn checks(&self) -> &[(Check, Outcome)] {
        &self.checks
    }

    /// What became of a check; `None` where it does not apply.
    pub fn outcome(&self, check: Check) -> Option<&Outcome> {
        self.checks
            .iter()
            .find(|(found, _)| *found == check)
            .map(|(_, outcome)| outcome)
    }

    /// The first check that failed: what CCF would have refused the node for.
    pub fn first_failure(&self) -> Option<(Check, &Failure)> {
        self.checks.iter().find_map(|(check, outcome)| match outcome {
            Outcome::Failed(failure) => Some((*check, failure)),
            _ => None,
        })
    }

    /// All that failed.
    pub fn failures(&self) -> impl Iterator<Item = (Check, &Failure)> {
        self.checks.iter().filter_map(|(check, outcome)| match outcome {
            Outcome::Failed(failure) => Some((*check, failure)),
            _ => None,
        })
    }

    /// What follows.
    pub fn verdict(&self) -> Verdict {
        if let Some((check, _)) = self.first_failure() {
            return Verdict::Fails(check);
        }
        if !matches!(self.platform, Platform::Snp | Platform::Sgx) {
            return Verdict::Unattested;
        }
        let unfinished = self.checks.iter().find(|(check, outcome)| {
            matches!(check.group(), Group::Evidence | Group::Uvm) && matches!(outcome, Outcome::NotDone(_))
        });
        unfinished.map_or(Verdict::Holds, |(check, _)| Verdict::Unfinished(*check))
    }

    /// Why a node with this evidence must not be let in, `None` if it may be. Stricter than [`Judgement::verdict`]: the
    /// store's policy and the node's key must have been given, certificates must be valid at an instant, the TCB must be
    /// exactly the certified one (attestation specification, section 11), and a revocation list that was given must be the
    /// root's and current. Only SEV-SNP lets anybody in: CCF has no other hardware since version 6.
    pub fn refusal(&self) -> Option<(Check, &Outcome)> {
        static OTHER_PLATFORM: LazyLock<Outcome> =
            LazyLock::new(|| Outcome::not_done("nobody is let in but on the word of SEV-SNP"));
        let stands_in_the_way = |check: Check, outcome: &Outcome| match outcome {
            Outcome::Passed => false,
            Outcome::Failed(_) => true,
            Outcome::NotDone(_) => match check {
                // Lists of what is revoked are nobody's duty to have.
                Check::Revocation => self.has_lists,
                // The store may have the host data without a text.
                Check::SecurityPolicy => false,
                _ => true,
            },
            Outcome::Remark(_) => !is_harmless(check),
        };
        let first = self
            .checks
            .iter()
            .find(|(check, outcome)| stands_in_the_way(*check, outcome));
        match first {
            Some((check, outcome)) => Some((*check, outcome)),
            None if self.platform != Platform::Snp => Some((Check::Format, &OTHER_PLATFORM)),
            None => None,
        }
    }
}

/// Whether what is said of a check that was made stands in nobody's way. All others do, those of checks to come included.
fn is_harmless(check: Check) -> bool {
    match check {
        // Newer than any known here: what all versions have in common is checked.
        Check::Version => true,
        // Made for tests: somebody named it.
        Check::RootKey => true,
        // Bytes after the signature, which mean nothing.
        Check::Signature => true,
        // Every stored leaf expires within a year, and the signature is no worse for it.
        Check::UvmValidity => true,
        // Bytes 32 to 63, in which a node may say what it likes.
        Check::ReportData => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
