//! Which platform this is. Attestation specification, section 7.

use crate::attestation::Platform;

/// The variable that decides it.
pub(super) const OVERRIDE: &str = "CCF_PLATFORM_OVERRIDE";

/// The platform: what the environment says, or else SNP where there is a device that may be used.
///
/// # Errors
/// In words, if the environment says something else.
pub(super) fn choose(overridden: Option<&str>, device_is_writable: bool) -> Result<Platform, String> {
    match overridden {
        Some("SNP") => Ok(Platform::Snp),
        Some("Virtual") => Ok(Platform::Virtual),
        Some(other) => Err(format!(
            "the environment's {OVERRIDE} is {other:?}, expected SNP or Virtual"
        )),
        None if device_is_writable => Ok(Platform::Snp),
        None => Ok(Platform::Virtual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_makes_it_snp_unless_the_environment_says_otherwise() {
        assert_eq!(choose(None, true), Ok(Platform::Snp));
        assert_eq!(choose(None, false), Ok(Platform::Virtual));
        for device in [true, false] {
            assert_eq!(choose(Some("SNP"), device), Ok(Platform::Snp));
            assert_eq!(choose(Some("Virtual"), device), Ok(Platform::Virtual));
            for other in ["", "snp", "SGX"] {
                assert!(choose(Some(other), device).unwrap_err().contains("SNP or Virtual"));
            }
        }
    }
}
