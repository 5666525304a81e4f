//! Versions of what a chip trusts below the guest. Attestation specification, sections 2.1 and 4.3.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attestation::product::Product;

/// A TCB version, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcb {
    raw: [u8; 8],
    /// First mutable code; only Turin has it.
    pub fmc: Option<u8>,
    /// Boot loader of the security processor.
    pub boot_loader: u8,
    /// Its operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

impl Tcb {
    /// From the 8 bytes of a report, in the product's layout.
    pub fn decode(raw: [u8; 8], product: Product) -> Tcb {
        let (fmc, boot_loader, tee, snp) = match (product, raw) {
            (Product::Milan | Product::Genoa, [boot_loader, tee, _, _, _, _, snp, _]) => (None, boot_loader, tee, snp),
            (Product::Turin, [fmc, boot_loader, tee, snp, ..]) => (Some(fmc), boot_loader, tee, snp),
        };
        let [.., microcode] = raw;
        Tcb {
            raw,
            fmc,
            boot_loader,
            tee,
            snp,
            microcode,
        }
    }

    /// 16 hex digits, most significant byte first, as CCF prints it.
    pub fn hexstring(&self) -> String {
        hexstring(self.raw)
    }

    /// The components by name.
    pub fn components(&self) -> [(&'static str, Option<u8>); 5] {
        [
            ("boot_loader", Some(self.boot_loader)),
            ("fmc", self.fmc),
            ("microcode", Some(self.microcode)),
            ("snp", Some(self.snp)),
            ("tee", Some(self.tee)),
        ]
    }

    /// As a row of the table of minima.
    pub fn to_row(&self) -> TcbRow {
        TcbRow {
            boot_loader: Some(self.boot_loader.into()),
            fmc: self.fmc.map(u32::from),
            hexstring: Some(self.hexstring()),
            microcode: Some(self.microcode.into()),
            snp: Some(self.snp.into()),
            tee: Some(self.tee.into()),
        }
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_row().to_json())
    }
}

/// 16 hex digits, most significant byte first.
pub(super) fn hexstring(mut raw: [u8; 8]) -> String {
    raw.reverse();
    hex::encode(raw)
}

/// A value of the table of minima, or what else says which TCB is needed: any component may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcbRow {
    /// See [`Tcb`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_loader: Option<u32>,
    /// See [`Tcb`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u32>,
    /// For people: never compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hexstring: Option<String>,
    /// See [`Tcb`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microcode: Option<u32>,
    /// See [`Tcb`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snp: Option<u32>,
    /// See [`Tcb`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tee: Option<u32>,
}

impl TcbRow {
    /// Reads a row's JSON.
    ///
    /// # Errors
    /// What is wrong with it, in words that repeat nothing of it.
    pub fn from_json(json: &[u8]) -> Result<TcbRow, String> {
        serde_json::from_slice(json).map_err(|_| "a minimum TCB is not an object of numbers".to_owned())
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The components by name, in the order of [`Tcb::components`].
    pub fn components(&self) -> [(&'static str, Option<u32>); 5] {
        [
            ("boot_loader", self.boot_loader),
            ("fmc", self.fmc),
            ("microcode", self.microcode),
            ("snp", self.snp),
            ("tee", self.tee),
        ]
    }

    /// The components that `tcb` does not satisfy: below this row's, or on one side only, as CCF has it. So a row without a
    /// component that the processor has refuses everybody.
    pub fn unsatisfied_by(&self, tcb: &Tcb) -> Vec<&'static str> {
        self.components()
            .into_iter()
            .zip(tcb.components())
            .filter(|((_, minimum), (_, found))| match (minimum, found) {
                (Some(minimum), Some(found)) => u32::from(*found) < *minimum,
                (None, None) => false,
                _ => true,
            })
            .map(|((name, _), _)| name)
            .collect()
    }
}

impl fmt::Display for TcbRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_decoded() {
        let milan = Tcb::decode([4, 1, 0, 0, 0, 0, 24, 219], Product::Milan);
        assert_eq!(milan.hexstring(), "db18000000000104");
        assert_eq!(
            milan.to_string(),
            r#"{"boot_loader":4,"hexstring":"db18000000000104","microcode":219,"snp":24,"tee":1}"#
        );
        assert_eq!(Tcb::decode([4, 1, 0, 0, 0, 0, 24, 219], Product::Genoa), milan);
        let turin = Tcb::decode([1, 2, 3, 4, 0, 0, 0, 81], Product::Turin);
        assert_eq!(
            (turin.fmc, turin.boot_loader, turin.tee, turin.snp, turin.microcode),
            (Some(1), 2, 3, 4, 81)
        );
        assert_eq!(turin.hexstring(), "5100000004030201");
    }

    #[test]
    fn a_minimum_is_one_of_every_component_and_of_no_other() {
        let tcb = Tcb::decode([4, 1, 0, 0, 0, 0, 24, 219], Product::Milan);
        let row = || tcb.to_row();
        assert!(row().unsatisfied_by(&tcb).is_empty());
        let lower = |change: fn(&mut TcbRow)| {
            let mut row = row();
            change(&mut row);
            row.unsatisfied_by(&tcb)
        };
        assert!(lower(|row| row.snp = Some(0)).is_empty());
        assert!(lower(|row| row.hexstring = None).is_empty());
        assert_eq!(lower(|row| row.snp = Some(25)), ["snp"]);
        assert_eq!(lower(|row| row.microcode = Some(220)), ["microcode"]);
        assert_eq!(lower(|row| row.tee = Some(2)), ["tee"]);
        assert_eq!(lower(|row| row.boot_loader = Some(256)), ["boot_loader"]);
        assert_eq!(lower(|row| row.tee = None), ["tee"]);
        assert_eq!(lower(|row| row.fmc = Some(0)), ["fmc"]);
        let turin = Tcb::decode([1, 2, 3, 4, 0, 0, 0, 81], Product::Turin);
        let mut without = turin.to_row();
        without.fmc = None;
        assert_eq!(without.unsatisfied_by(&turin), ["fmc"]);
    }

    #[test]
    fn rows_of_all_generations_are_read() {
        let row = TcbRow::from_json(br#"{"boot_loader":4,"microcode":219,"snp":24,"tee":0}"#).unwrap();
        assert_eq!((row.hexstring, row.snp), (None, Some(24)));
        assert!(TcbRow::from_json(b"{}").is_ok());
        for bad in ["", "1", r#"{"snp":-1}"#, r#"{"snp":"24"}"#] {
            assert!(TcbRow::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
