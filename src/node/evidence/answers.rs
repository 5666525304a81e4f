//! Certificates of a chip as servers and files give them: three PEM in one text, DER and a text of PEM, or JSON with both.
//! Attestation specification, section 7.

use serde::Deserialize;

use crate::attestation::snp::Tcb;
use crate::crypto::x509::{any_certificate_pem, der_blocks};

const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
/// VCEK, ASK, ARK.
const CERTIFICATES: usize = 3;

/// A chip's certificates in PEM: VCEK, ASK and ARK, and nothing else. Nothing is said of what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The text.
    pub pem: String,
    /// The TCB that they are said to be of, where that is said: 16 digits.
    pub tcbm: Option<String>,
}

impl Certificates {
    /// Three PEM in one text, as Azure's cache gives them. What stands between them is dropped.
    ///
    /// # Errors
    /// In words that repeat nothing of it.
    pub fn from_pem(text: &[u8]) -> Result<Certificates, String> {
        let ders = blocks(text)?;
        match ders.len() {
            CERTIFICATES => Ok(Certificates {
                pem: ders.iter().map(|der| any_certificate_pem(der)).collect(),
                tcbm: None,
            }),
            count => Err(format!("Expected 3 endorsement certificates but got {count}")),
        }
    }

    /// A VCEK in DER or PEM, and the PEM of its issuers, as AMD gives them.
    ///
    /// # Errors
    /// As above.
    pub fn from_parts(vcek: &[u8], issuers: &[u8]) -> Result<Certificates, String> {
        let mut text = match vcek.trim_ascii_start().starts_with(b"-----BEGIN ") {
            true => vcek.to_vec(),
            false => any_certificate_pem(vcek).into_bytes(),
        };
        text.push(b'\n');
        text.extend_from_slice(issuers);
        Certificates::from_pem(&text)
    }

    /// The JSON of a host's agent, all four fields of it.
    ///
    /// # Errors
    /// As above.
    pub fn from_json(json: &[u8]) -> Result<Certificates, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            #[serde(rename = "cacheControl")]
            _cache_control: serde::de::IgnoredAny,
            vcek_cert: String,
            certificate_chain: String,
            tcbm: String,
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|_| {
            "it is no JSON object with cacheControl and, as texts, vcekCert, certificateChain and tcbm".to_owned()
        })?;
        let found = Certificates::from_parts(raw.vcek_cert.as_bytes(), raw.certificate_chain.as_bytes())?;
        Ok(Certificates {
            tcbm: Some(raw.tcbm),
            ..found
        })
    }

    /// Whether they are said to be of another TCB.
    pub fn is_of_another_tcb(&self, reported: &Tcb) -> bool {
        let reported = reported.hexstring().to_uppercase();
        self.tcbm.as_ref().is_some_and(|tcbm| *tcbm != reported)
    }
}

fn blocks(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let text = String::from_utf8_lossy(text);
    let found = der_blocks(&text, &LABELS, CERTIFICATES);
    let count = found.len();
    if count > CERTIFICATES {
        return Err(format!("Expected 3 endorsement certificates but got {count}"));
    }
    let damaged = || "the base64 of a certificate is damaged".to_owned();
    found.into_iter().map(|block| block.ok_or_else(damaged)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::Product;

    fn pem(der: &[u8]) -> String {
        any_certificate_pem(der)
    }

    #[test]
    fn every_form_gives_the_same_text() {
        let expected = [pem(b"vcek"), pem(b"ask"), pem(b"ark")].concat();
        let issuers = format!("# from somewhere\r\n{}\n\n{}", pem(b"ask"), pem(b"ark"));
        let all = format!("{}{issuers}trailing", pem(b"vcek"));
        let json = serde_json::json!({
            "cacheControl": "86400", "vcekCert": pem(b"vcek"), "certificateChain": issuers, "tcbm": "DB18000000000004",
        });
        assert_eq!(Certificates::from_pem(all.as_bytes()).unwrap().pem, expected);
        for vcek in [b"vcek".to_vec(), pem(b"vcek").into_bytes()] {
            let found = Certificates::from_parts(&vcek, issuers.as_bytes()).unwrap();
            assert_eq!((found.pem, found.tcbm), (expected.clone(), None));
        }
        let found = Certificates::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!(found.pem, expected);
        let reported = |microcode| Tcb::decode([4, 0, 0, 0, 0, 0, 0x18, microcode], Product::Milan);
        assert!(!found.is_of_another_tcb(&reported(0xdb)));
        assert!(found.is_of_another_tcb(&reported(0xdc)));
    }

    #[test]
    fn other_numbers_of_certificates_and_damaged_ones_are_refused() {
        for count in [0, 1, 2, 4, 100] {
            let text = pem(b"one").repeat(count);
            assert!(
                Certificates::from_pem(text.as_bytes())
                    .unwrap_err()
                    .contains("Expected 3")
            );
        }
        let damaged = format!(
            "{}{}-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
            pem(b"a"),
            pem(b"b")
        );
        assert!(Certificates::from_pem(damaged.as_bytes()).is_err());
        for bytes in [&b"\xff\xfe"[..], b"-----BEGIN ", b"-----END "] {
            assert!(Certificates::from_pem(bytes).is_err());
            assert!(Certificates::from_parts(b"vcek", bytes).is_err());
            assert!(Certificates::from_json(bytes).is_err());
        }
    }

    #[test]
    fn json_needs_all_four_fields() {
        let fields = [
            ("cacheControl", "1".to_owned()),
            ("vcekCert", pem(b"v")),
            ("certificateChain", pem(b"a").repeat(2)),
            ("tcbm", "00".to_owned()),
        ];
        for missing in 0..=fields.len() {
            let there = fields.iter().enumerate().filter(|(i, _)| *i != missing);
            let object: serde_json::Map<String, serde_json::Value> = there
                .map(|(_, (name, value))| ((*name).to_owned(), value.clone().into()))
                .collect();
            let json = serde_json::to_vec(&object).unwrap();
            assert_eq!(Certificates::from_json(&json).is_ok(), missing == fields.len());
        }
    }
}
