//! Versions of a processor's trusted computing base, as sealed files name them.

use std::fmt;
use std::str::FromStr;

/// A TCB version: eight bytes whose parts stand in another order on each product. CCF prints them big-endian, as 16
/// hexadecimal digits. Attestation specification, section 2.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcbVersion(pub u64);

impl fmt::Display for TcbVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TcbVersion {
    type Err = String;

    /// Reads up to 16 hexadecimal digits; none stand for 0, because CCF leaves out what has its default.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_right = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_right {
            return Err("its TCB version is not at most 16 hexadecimal digits".to_owned());
        }
        Ok(TcbVersion(u64::from_str_radix(text, 16).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcb_version_is_printed_as_it_is_read() {
        let text = "d315000000000004";
        assert_eq!(text.parse::<TcbVersion>().unwrap().to_string(), text);
        assert_eq!("".parse(), Ok(TcbVersion(0)));
        assert_eq!(TcbVersion(1).to_string(), "0000000000000001");
        for wrong in ["d3150000000000041", "+1", "0x1", "d315 000", "ü"] {
            assert!(wrong.parse::<TcbVersion>().is_err(), "{wrong}");
        }
    }
}
