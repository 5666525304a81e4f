//! The sealing key of an AMD SEV-SNP processor, through `/dev/sev-guest`. Recovery specification, section 6.2; attestation
//! specification, sections 7 and 9.

use std::path::Path;

use sev::firmware::guest::{DerivedKey, Firmware, GuestFieldSelect};
use zeroize::{Zeroize, Zeroizing};

use super::{KeySource, SealingKey, TcbVersion};

/// The device of a guest.
pub const DEVICE: &str = "/dev/sev-guest";

/// What is mixed into the key: the guest's measurement (bit 3) and the TCB version (bit 5). Host data always is.
const FIELDS: u64 = 1 << 3 | 1 << 5;
/// The key is one for the most privileged level, as CCF's. Without a word `sev` would ask for another.
const VMPL: u32 = 0;
/// Of the messages to the firmware: without a word `sev` would ask for a key that CCF's nodes don't know.
const MESSAGE_VERSION: u32 = 1;
/// Where a report holds the TCB version that its chip certificate is of.
const REPORTED_TCB: std::ops::Range<usize> = 0x180..0x188;

/// The processor's key for this guest. Nothing is kept: the device is asked each time.
pub struct SnpDevice(());

impl SnpDevice {
    /// The device, if this machine has one that may be used.
    ///
    /// # Errors
    /// In words.
    pub fn find() -> Result<SnpDevice, String> {
        match Path::new(DEVICE).exists() {
            true => open().map(|_| SnpDevice(())),
            false => Err(format!(
                "there is no {DEVICE}: this is no guest of an AMD SEV-SNP processor"
            )),
        }
    }
}

fn open() -> Result<Firmware, String> {
    Firmware::open().map_err(|why| format!("{DEVICE} can't be opened: {why}"))
}

impl SealingKey for SnpDevice {
    fn source(&self) -> KeySource {
        KeySource::SnpDevice
    }

    fn tcb(&self) -> Result<TcbVersion, String> {
        let report = open()?.get_report(Some(MESSAGE_VERSION), Some([0; 64]), Some(VMPL));
        let report = report.map_err(|why| format!("{DEVICE} gives no report: {why}"))?;
        let bytes = report.get(REPORTED_TCB).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(|bytes| TcbVersion(u64::from_le_bytes(bytes)))
            .ok_or_else(|| format!("{DEVICE} gives a report of {} bytes, expected 1184", report.len()))
    }

    fn derive(&self, tcb: TcbVersion) -> Result<Zeroizing<[u8; 32]>, String> {
        let mut key = open()?
            .get_derived_key(Some(MESSAGE_VERSION), request(tcb))
            .map_err(|why| format!("{DEVICE} gives no key: {why}"))?;
        let derived = Zeroizing::new(key);
        key.zeroize();
        Ok(derived)
    }
}

/// The request for the key that CCF seals under: root key 0 (VCEK), guest SVN 0.
fn request(tcb: TcbVersion) -> DerivedKey {
    DerivedKey::new(false, GuestFieldSelect(FIELDS), VMPL, 0, tcb.0, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_is_asked_for_is_ccfs() {
        let request = request(TcbVersion(0xd315_0000_0000_0004));
        assert_eq!(request.get_root_key_select(), 0);
        assert_eq!(request.guest_field_select.0, 0x28);
        assert_eq!((request.vmpl, request.guest_svn), (0, 0));
        assert_eq!(request.tcb_version, 0xd315_0000_0000_0004);
        assert_eq!(request.launch_mit_vector, None);
    }
}
