//! AMD's TCB versions as policies: `ccf.tcbHexToPolicy`.

use serde_json::json;

/// The policy of a TCB version (16 hex digits) on the processor with this CPUID (8 hex digits), as JSON text.
///
/// # Errors
/// What is wrong with either.
pub(super) fn policy(cpuid: &str, tcb: &str) -> Result<String, String> {
    let cpuid: [u8; 4] = digits(cpuid, "CPUID")?;
    let version: [u8; 8] = digits(tcb, "TCB version")?;
    // Most significant byte first, as it is printed.
    let [microcode, snp, .., tee, boot_loader] = version;
    let (family, model) = family_and_model(u32::from_be_bytes(cpuid));
    let policy = match (family, model) {
        // Milan, Genoa and their relatives.
        (0x19, 0x00..=0x1f | 0xa0..=0xaf) => json!({
            "hexstring": tcb, "microcode": microcode, "snp": snp, "tee": tee, "boot_loader": boot_loader,
        }),
        // Turin has a firmware component more, and moved the others.
        (0x1a, 0x00..=0x1f) => {
            let [microcode, _, _, _, snp, tee, boot_loader, fmc] = version;
            json!({
                "hexstring": tcb, "microcode": microcode, "snp": snp, "tee": tee, "boot_loader": boot_loader,
                "fmc": fmc,
            })
        }
        _ => {
            return Err(format!(
                "SEV-SNP: Unsupported CPUID family {family:#x} model {model:#x}"
            ));
        }
    };
    Ok(policy.to_string())
}

fn digits<const BYTES: usize>(text: &str, what: &str) -> Result<[u8; BYTES], String> {
    let mut bytes = [0; BYTES];
    hex::decode_to_slice(text, &mut bytes).map_err(|why| format!("{what} is not {} hex digits: {why}", 2 * BYTES))?;
    Ok(bytes)
}

/// AMD's family and model out of CPUID's EAX: the extended fields are added to and put before the base ones.
fn family_and_model(eax: u32) -> (u32, u32) {
    let field = |shift: u32, bits: u32| (eax >> shift) & ((1 << bits) - 1);
    (field(8, 4) + field(20, 8), field(16, 4) << 4 | field(4, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(cpuid: &str, tcb: &str) -> serde_json::Value {
        serde_json::from_str(&policy(cpuid, tcb).unwrap()).unwrap()
    }

    #[test]
    fn a_version_is_taken_apart_as_the_processor_counts() {
        // Milan, as a real report has it.
        let milan = parsed("00a00f11", "d315000000000004");
        assert_eq!(
            milan,
            json!({"hexstring": "d315000000000004", "microcode": 0xd3, "snp": 0x15, "tee": 0, "boot_loader": 4})
        );
        assert_eq!(parsed("00a10f11", "0102030405060708")["tee"], 7);
        let turin = parsed("00b00f21", "0102030405060708");
        let expected =
            json!({"hexstring": "0102030405060708", "microcode": 1, "snp": 5, "tee": 6, "boot_loader": 7, "fmc": 8});
        assert_eq!(turin, expected);
    }

    #[test]
    fn other_processors_and_bad_digits_are_refused() {
        assert!(
            policy("000306c3", "d315000000000004")
                .unwrap_err()
                .contains("family 0x6")
        );
        assert!(policy("00a00f1", "d315000000000004").unwrap_err().contains("CPUID"));
        assert!(policy("00a00f11", "zz15000000000004").unwrap_err().contains("TCB"));
    }
}
