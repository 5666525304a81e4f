//! The device through which a guest asks its processor. Attestation specification, sections 7 and 9.

use std::path::Path;

use rustix::fs::{Access, access};
use sev::firmware::guest::Firmware;

use crate::sealing::snp::DEVICE;

/// Of the messages to the firmware.
const MESSAGE_VERSION: u32 = 1;
/// The most privileged level, as CCF's nodes ask: without a word `sev` would ask for another.
const VMPL: u32 = 0;

/// Where reports come from.
pub trait ReportSource: Send {
    /// A report about this: as it came, which may be anything.
    ///
    /// # Errors
    /// In words.
    fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, String>;
}

/// The processor, through the device of a guest.
pub struct SevGuest;

impl ReportSource for SevGuest {
    fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, String> {
        let mut device = Firmware::open().map_err(|why| format!("{DEVICE} can't be opened: {why}"))?;
        device
            .get_report(Some(MESSAGE_VERSION), Some(*report_data), Some(VMPL))
            .map_err(|why| format!("{DEVICE} gives no report: {why}"))
    }
}

/// Whether there is a device that this process may use.
pub(super) fn is_writable() -> bool {
    access(Path::new(DEVICE), Access::WRITE_OK).is_ok()
}
