//! What a node brings: its quote and what goes with it, and what its record says of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// What stands behind a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Platform {
    /// AMD SEV-SNP.
    Snp,
    /// Intel SGX, through OpenEnclave (ledgers of before CCF 6).
    Sgx,
    /// Nothing: a virtual node says what it likes.
    Virtual,
    /// There is no quote, or none of a format that is known.
    None,
}

impl Platform {
    /// The name: `snp`, `sgx`, `virtual` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Platform::Snp => "snp",
            Platform::Sgx => "sgx",
            Platform::Virtual => "virtual",
            Platform::None => "none",
        }
    }
}

/// A node's `quote_info`, decoded. Attestation specification, section 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `AMD_SEV_SNP_v1`, `OE_SGX_v1`, `Insecure_Virtual`.
    pub format: String,
    /// The report or quote.
    pub quote: Vec<u8>,
    /// PEM of VCEK, ASK and ARK; or OpenEnclave's collateral.
    pub endorsements: Vec<u8>,
    /// COSE_Sign1 of who signed the measurement.
    pub uvm_endorsements: Option<Vec<u8>>,
    /// The TCB in hex, as written in 2023 only.
    pub endorsed_tcb: Option<String>,
}

impl Evidence {
    /// Reads `quote_info` of a row of `nodes.info`.
    ///
    /// # Errors
    /// What is wrong with it: no such object, or base64 that is damaged. The text repeats nothing of it.
    pub fn from_quote_info(json: &[u8]) -> Result<Evidence, String> {
        #[derive(Deserialize)]
        struct Raw {
            format: String,
            #[serde(default)]
            quote: String,
            #[serde(default)]
            endorsements: String,
            #[serde(default)]
            uvm_endorsements: Option<String>,
            #[serde(default)]
            endorsed_tcb: Option<String>,
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|_| {
            "quote_info is not an object with a format and, in base64, quote and endorsements".to_owned()
        })?;
        let decode = |what: &str, text: &str| {
            STANDARD
                .decode(text)
                .map_err(|_| format!("{what} of quote_info is not base64"))
        };
        let uvm = |text: &String| decode("uvm_endorsements", text);
        Ok(Evidence {
            quote: decode("quote", &raw.quote)?,
            endorsements: decode("endorsements", &raw.endorsements)?,
            uvm_endorsements: raw.uvm_endorsements.as_ref().map(uvm).transpose()?,
            endorsed_tcb: raw.endorsed_tcb,
            format: raw.format,
        })
    }

    /// The platform that the format names. Old virtual builds wrote SGX's format, or their own, with nothing in it.
    pub fn platform(&self) -> Platform {
        match self.format.as_str() {
            "Insecure_Virtual" => Platform::Virtual,
            _ if self.quote.is_empty() => Platform::None,
            "AMD_SEV_SNP_v1" => Platform::Snp,
            "OE_SGX_v1" => Platform::Sgx,
            _ => Platform::None,
        }
    }
}

/// The node that the evidence is about, as its record has it. What is `None` is not compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The DER SubjectPublicKeyInfo of its key; of the TLS session's, for one that joins.
    pub public_key_der: Option<&'a [u8]>,
    /// `code_digest` of its record.
    pub code_digest: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_info_is_decoded_whole() {
        let json = br#"{"endorsements":"RQ==","format":"AMD_SEV_SNP_v1","quote":"UQ==","uvm_endorsements":"VQ==",
            "endorsed_tcb":"0400000000001800","more":1}"#;
        let evidence = Evidence::from_quote_info(json).unwrap();
        assert_eq!(
            (&evidence.quote[..], &evidence.endorsements[..]),
            (&b"Q"[..], &b"E"[..])
        );
        assert_eq!(evidence.uvm_endorsements.as_deref(), Some(&b"U"[..]));
        assert_eq!(evidence.endorsed_tcb.as_deref(), Some("0400000000001800"));
        assert_eq!(evidence.platform(), Platform::Snp);
    }

    #[test]
    fn damaged_quote_info_is_refused() {
        for json in [
            "",
            "[]",
            "{}",
            r#"{"format":"x","quote":"!"}"#,
            r#"{"format":"x","uvm_endorsements":"="}"#,
        ] {
            assert!(Evidence::from_quote_info(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_quote_without_bytes_is_of_no_platform_unless_it_is_virtual() {
        assert_eq!(
            Evidence {
                format: "Insecure_Virtual".into(),
                ..Evidence::default()
            }
            .platform(),
            Platform::Virtual
        );
        for format in ["OE_SGX_v1", "AMD_SEV_SNP_v1", "Other"] {
            let mut evidence = Evidence {
                format: format.into(),
                ..Evidence::default()
            };
            assert_eq!(evidence.platform(), Platform::None);
            evidence.quote = vec![1];
            assert_eq!(evidence.platform() == Platform::None, format == "Other");
        }
    }
}
