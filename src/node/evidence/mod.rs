//! This node's own evidence: which platform it is on, and what that gives. Attestation specification, section 7.
//!
//! | module | what it is for |
//! |---|---|
//! | `platform` | which platform it is |
//! | `device` | [`ReportSource`]: the device of a guest; in tests one that signs with a made key |
//! | `files` | what the machine holds ready: security policy, UVM endorsements, certificates of the chip |
//! | `answers` | certificates as servers and files give them: PEM, DER, JSON |
//! | `servers` | who hands out endorsements, and how each is asked |
//! | `fetching` | asking them in order, as often and as patiently as the configuration says |
//! | `snp` | all of these together: [`Snp`], the evidence of SEV-SNP |
//! | `in_the_making` | on a thread of its own, from the first moment of a node on |
//!
//! Whatever a file or a server gives is verified against the report, up to the pinned roots, before it is used: servers are
//! spoken to without knowing who they are, and the worst that one can do is to be of no use.

mod answers;
mod device;
mod fetching;
mod files;
mod in_the_making;
mod platform;
mod servers;
mod snp;
#[cfg(test)]
mod testing;

pub use answers::Certificates;
pub use device::{ReportSource, SevGuest};
pub use fetching::Patience;
pub use in_the_making::EvidenceInTheMaking;
pub use snp::Snp;

use crate::attestation::{Anchors, Attestation, OwnEvidence, Platform, VirtualQuote, digest_of_executable};
use crate::crypto::VerifyingKey;
use crate::node::config::Config;
use crate::service::identity::now_s;

/// Where this machine's evidence comes from.
///
/// # Errors
/// In words: the environment asks for a platform that there is none of.
pub fn of_this_machine(config: &Config) -> Result<Box<dyn Attestation>, String> {
    let overridden = std::env::var(platform::OVERRIDE).ok();
    Ok(match platform::choose(overridden.as_deref(), device::is_writable())? {
        Platform::Snp => Box::new(Snp {
            device: SevGuest,
            settings: config.attestation.clone(),
            anchors: Anchors::built_in(),
            patience: Patience::default(),
            clock: now_s,
        }),
        _ => Box::new(Virtual),
    })
}

/// A machine that vouches for nothing.
struct Virtual;

impl Attestation for Virtual {
    fn platform(&self) -> Platform {
        Platform::Virtual
    }

    fn attest(&self, key: &VerifyingKey) -> Result<OwnEvidence, String> {
        let executable = digest_of_executable().map_err(|why| why.to_string())?;
        Ok(VirtualQuote::new(&executable, &key.id()).into())
    }
}
