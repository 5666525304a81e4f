//! The report, 1184 bytes, little-endian. Attestation specification, section 2.
//!
//! | offset | size | field | offset | size | field |
//! |---|---|---|---|---|---|
//! | 000 | 4 | version | 140 | 32 | report id |
//! | 004 | 4 | guest SVN | 160 | 32 | report id of the migration agent |
//! | 008 | 8 | guest policy | 180 | 8 | reported TCB |
//! | 010 | 16 | family id | 188 | 3 | CPUID family, model, stepping (version 3 on) |
//! | 020 | 16 | image id | 18B | 21 | reserved |
//! | 030 | 4 | VMPL | 1A0 | 64 | chip id |
//! | 034 | 4 | signature algorithm | 1E0 | 8 | committed TCB |
//! | 038 | 8 | current TCB | 1E8 | 4 | current build, minor, major, reserved |
//! | 040 | 8 | platform info | 1EC | 4 | committed build, minor, major, reserved |
//! | 048 | 4 | key flags | 1F0 | 8 | launch TCB |
//! | 04C | 4 | reserved | 1F8 | 8 | launch mitigation vector (version 5 on) |
//! | 050 | 64 | report data | 200 | 8 | current mitigation vector (version 5 on) |
//! | 090 | 48 | measurement | 208 | 152 | reserved |
//! | 0C0 | 32 | host data | 2A0 | 72 + 72 | signature: r, s |
//! | 0E0 | 48 | id key digest | 330 | 368 | zeros |
//! | 110 | 48 | author key digest | | | |
//!
//! Every version from 2 on has this common part; what newer ones than 5 may add is in what is reserved here, and signed.

use crate::format::cursor::Cursor;

use crate::attestation::product::{CpuId, Product};

/// Bytes of a report.
pub const REPORT_BYTES: usize = 0x4a0;
/// How many of them, from the first, are signed.
const SIGNED_BYTES: usize = 0x2a0;
/// The newest version whose every field is known.
pub(super) const NEWEST_VERSION: u32 = 5;

/// A report, every field as it stands there. It says nothing by itself: whether it holds is for the checks.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    bytes: Box<[u8; REPORT_BYTES]>,
    /// 2 to 5; newer ones are read by what all have in common.
    pub version: u32,
    /// Chosen by who made the guest.
    pub guest_svn: u32,
    /// What the guest allows its host.
    pub policy: GuestPolicy,
    /// Chosen by who made the guest.
    pub family_id: [u8; 16],
    /// Chosen by who made the guest.
    pub image_id: [u8; 16],
    /// Privilege level that asked: 0 to 3 in a guest, 0xffffffff for the host.
    pub vmpl: u32,
    /// 1: ECDSA on P-384 with SHA-384.
    pub signature_algorithm: u32,
    /// The TCB in force, raw.
    pub current_tcb: [u8; 8],
    /// Bits: 0 SMT, 1 TSME, 2 ECC, 3 RAPL off, 4 ciphertext hiding, 5 alias check done, 7 TIO; others may come.
    pub platform_info: u64,
    /// Which key signed.
    pub key_flags: KeyFlags,
    /// What the guest had the chip sign.
    pub report_data: [u8; 64],
    /// Digest of the guest at launch.
    pub measurement: [u8; 48],
    /// What the host gave at launch: in CCF the digest of the security policy.
    pub host_data: [u8; 32],
    /// Digest of the key that signed the guest's identity block.
    pub id_key_digest: [u8; 48],
    /// Digest of the key that signed that key.
    pub author_key_digest: [u8; 48],
    /// One for each launch of a guest.
    pub report_id: [u8; 32],
    /// That of the migration agent; all ff where there is none.
    pub report_id_ma: [u8; 32],
    /// The TCB that the chip's key is derived from, raw.
    pub reported_tcb: [u8; 8],
    /// Which processor; zeros before version 3.
    pub cpuid: CpuId,
    /// Which chip: 64 bytes, or 8 and zeros on Turin.
    pub chip_id: [u8; 64],
    /// The TCB below which the chip can't be taken back, raw.
    pub committed_tcb: [u8; 8],
    /// Firmware in force: major, minor, build.
    pub current_firmware: [u8; 3],
    /// Firmware committed to: major, minor, build.
    pub committed_firmware: [u8; 3],
    /// The TCB when the guest was launched, raw.
    pub launch_tcb: [u8; 8],
    /// From version 5 on.
    pub launch_mitigations: Option<u64>,
    /// From version 5 on.
    pub current_mitigations: Option<u64>,
    /// r, little-endian, as it stands there.
    pub signature_r: [u8; 72],
    /// s, little-endian, as it stands there.
    pub signature_s: [u8; 72],
}

/// What a guest allows its host, by bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    /// Lowest minor version of the ABI.
    pub fn abi_minor(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Lowest major version of the ABI.
    pub fn abi_major(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// Simultaneous multithreading is allowed.
    pub fn smt(self) -> bool {
        self.bit(16)
    }

    /// Association with a migration agent is allowed.
    pub fn migrate_ma(self) -> bool {
        self.bit(18)
    }

    /// Debugging is allowed: the host may read the guest's memory.
    pub fn debug(self) -> bool {
        self.bit(19)
    }

    /// Only on a single socket.
    pub fn single_socket(self) -> bool {
        self.bit(20)
    }

    /// Any bit.
    pub fn bit(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }
}

/// Which key signed a report, by bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFlags(pub u32);

impl KeyFlags {
    /// The author key's digest is in the report.
    pub fn author_key(self) -> bool {
        self.0 & 1 == 1
    }

    /// The chip's id is hidden.
    pub fn mask_chip_key(self) -> bool {
        self.0 >> 1 & 1 == 1
    }

    /// 0 VCEK, 1 VLEK, 7 none.
    pub fn signing_key(self) -> u32 {
        self.0 >> 2 & 7
    }
}

impl Report {
    /// Reads a report of [`REPORT_BYTES`] bytes; `None` for any other length. Every content is a report.
    pub fn parse(bytes: &[u8]) -> Option<Report> {
        let whole: [u8; REPORT_BYTES] = bytes.try_into().ok()?;
        let mut at = Cursor::new(bytes);
        Report::read(&mut at, Box::new(whole)).ok()
    }

    fn read(at: &mut Cursor<'_>, bytes: Box<[u8; REPORT_BYTES]>) -> Result<Report, crate::format::Malformed> {
        let version = at.u32_le("version")?;
        let guest_svn = at.u32_le("guest SVN")?;
        let policy = GuestPolicy(at.u64_le("guest policy")?);
        let family_id = *at.array("family id")?;
        let image_id = *at.array("image id")?;
        let vmpl = at.u32_le("VMPL")?;
        let signature_algorithm = at.u32_le("signature algorithm")?;
        let current_tcb = *at.array("current TCB")?;
        let platform_info = at.u64_le("platform info")?;
        let key_flags = KeyFlags(at.u32_le("key flags")?);
        at.take(4, "reserved")?;
        let report_data = *at.array("report data")?;
        let measurement = *at.array("measurement")?;
        let host_data = *at.array("host data")?;
        let id_key_digest = *at.array("id key digest")?;
        let author_key_digest = *at.array("author key digest")?;
        let report_id = *at.array("report id")?;
        let report_id_ma = *at.array("report id of the migration agent")?;
        let reported_tcb = *at.array("reported TCB")?;
        let [family, model, stepping] = *at.array("CPUID")?;
        at.take(21, "reserved")?;
        let chip_id = *at.array("chip id")?;
        let committed_tcb = *at.array("committed TCB")?;
        let [build, minor, major, _] = *at.array("current firmware")?;
        let current_firmware = [major, minor, build];
        let [build, minor, major, _] = *at.array("committed firmware")?;
        let committed_firmware = [major, minor, build];
        let launch_tcb = *at.array("launch TCB")?;
        let mitigations = [at.u64_le("launch mitigations")?, at.u64_le("current mitigations")?];
        let [launch_mitigations, current_mitigations] = mitigations.map(|vector| (version >= 5).then_some(vector));
        at.take(152, "reserved")?;
        Ok(Report {
            bytes,
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            signature_algorithm,
            current_tcb,
            platform_info,
            key_flags,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            cpuid: CpuId {
                family,
                model,
                stepping,
            },
            chip_id,
            committed_tcb,
            current_firmware,
            committed_firmware,
            launch_tcb,
            launch_mitigations,
            current_mitigations,
            signature_r: *at.array("r")?,
            signature_s: *at.array("s")?,
        })
    }

    /// The report as it was given.
    pub fn bytes(&self) -> &[u8; REPORT_BYTES] {
        &self.bytes
    }

    /// The part that is signed.
    pub fn signed(&self) -> &[u8] {
        self.bytes
            .split_at_checked(SIGNED_BYTES)
            .map_or(&[], |(signed, _)| signed)
    }

    /// The signature as `r‖s`, big-endian, 96 bytes; `None` where a number is longer than the curve's.
    pub fn signature(&self) -> Option<[u8; 96]> {
        let mut fixed = [0; 96];
        let (r, s) = fixed.split_at_mut(48);
        for (number, target) in [(&self.signature_r, r), (&self.signature_s, s)] {
            let (significant, rest) = number.split_at_checked(48)?;
            rest.iter().all(|byte| *byte == 0).then_some(())?;
            target
                .iter_mut()
                .zip(significant.iter().rev())
                .for_each(|(to, from)| *to = *from);
        }
        Some(fixed)
    }

    /// Whether only zeros stand after the signature, which nothing covers.
    pub fn ends_in_zeros(&self) -> bool {
        let end = self.bytes.get(SIGNED_BYTES + 144..).unwrap_or(&[]);
        end.iter().all(|byte| *byte == 0)
    }

    /// The product by its CPUID; `None` before version 3 and for processors that are not known.
    pub fn product(&self) -> Option<Product> {
        if self.version < 3 { None } else { self.cpuid.product() }
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Report(version {}, {})", self.version, hex::encode(self.measurement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_length_is_a_report() {
        for length in [0, 1, 0x2a0, REPORT_BYTES - 1, REPORT_BYTES + 1] {
            assert!(Report::parse(&vec![0; length]).is_none(), "{length}");
        }
        assert!(Report::parse(&[0xff; REPORT_BYTES]).is_some());
    }

    #[test]
    fn fields_are_where_the_specification_has_them() {
        let mut bytes = [0_u8; REPORT_BYTES];
        for (at, value) in [
            (0, 5),
            (4, 2),
            (0x30, 3),
            (0x34, 1),
            (0x48, 0b101),
            (0x188, 0x1a),
            (0x189, 2),
            (0x18a, 1),
        ] {
            bytes[at] = value;
        }
        bytes[0x0a] = 0b1_1100;
        for (at, value) in [
            (0x50, 1),
            (0x90, 2),
            (0xc0, 3),
            (0x140, 4),
            (0x160, 5),
            (0x180, 6),
            (0x1a0, 7),
            (0x1e0, 8),
        ] {
            bytes[at] = value;
        }
        bytes[0x1e8..0x1ec].copy_from_slice(&[29, 55, 1, 0]);
        for (at, value) in [(0x1f0, 9), (0x1f8, 10), (0x200, 11), (0x2a0, 12), (0x2e8, 13)] {
            bytes[at] = value;
        }
        let report = Report::parse(&bytes).unwrap();
        assert_eq!((report.version, report.guest_svn, report.vmpl), (5, 2, 3));
        assert!(report.policy.migrate_ma() && report.policy.debug() && report.policy.single_socket());
        assert!(!report.policy.smt());
        assert!(report.key_flags.author_key() && !report.key_flags.mask_chip_key());
        assert_eq!(report.key_flags.signing_key(), 1);
        assert_eq!(report.product(), Some(Product::Turin));
        let firsts = [
            report.report_data[0],
            report.measurement[0],
            report.host_data[0],
            report.report_id[0],
            report.report_id_ma[0],
            report.reported_tcb[0],
            report.chip_id[0],
            report.committed_tcb[0],
            report.launch_tcb[0],
            report.signature_r[0],
            report.signature_s[0],
        ];
        assert_eq!(firsts, [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13]);
        assert_eq!(report.current_firmware, [1, 55, 29]);
        assert_eq!(
            (report.launch_mitigations, report.current_mitigations),
            (Some(10), Some(11))
        );
        bytes[0] = 4;
        assert_eq!(Report::parse(&bytes).unwrap().launch_mitigations, None);
        bytes[0] = 2;
        assert_eq!(Report::parse(&bytes).unwrap().product(), None);
        bytes[0] = 9;
        assert_eq!(Report::parse(&bytes).unwrap().product(), Some(Product::Turin));
        assert_eq!(report.signed().len(), 0x2a0);
    }

    #[test]
    fn a_number_longer_than_the_curve_is_no_signature_and_what_follows_is_seen() {
        let mut bytes = [0_u8; REPORT_BYTES];
        bytes[0x2a0] = 1;
        bytes[0x2e8 + 47] = 2;
        let signature = Report::parse(&bytes).unwrap().signature().unwrap();
        assert_eq!((signature[47], signature[48]), (1, 2));
        for at in [0x2a0 + 48, 0x2e8 + 71] {
            let mut long = bytes;
            long[at] = 1;
            assert_eq!(Report::parse(&long).unwrap().signature(), None);
        }
        assert!(Report::parse(&bytes).unwrap().ends_in_zeros());
        for at in [0x330, 0x49f] {
            let mut tail = bytes;
            tail[at] = 1;
            assert!(!Report::parse(&tail).unwrap().ends_in_zeros());
        }
    }
}
