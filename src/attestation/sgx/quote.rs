//! SGX quote of version 3, its signature section, and OpenEnclave's claims after it. Numbers are little-endian, signatures
//! and coordinates big-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version: 3 |
//! | 2 | 2 | key type: 2, ECDSA on P-256 |
//! | 8, 10 | 2, 2 | SVN of QE and PCE |
//! | 48 | 384 | body: cpu_svn @0, attributes @48, MRENCLAVE @64, MRSIGNER @128, product @256, SVN @258, report data @320 |
//! | 432 | 4 | length of the signature section |
//! | 436 | 64 + 64 | signature of 0 to 431, attestation key |
//! | 564 | 384 + 64 | body of the quoting enclave's report, signature of it |
//! | 1012 | 2 + n | authentication data |
//! | | 2 + 4 + n | type 5, PEM of the PCK chain with a NUL |
//! | | 8 + 8 + ... | claims: version, count, then length of name and value, name, value |

use crate::crypto::{Digest, sha256};
use crate::format::Malformed;
use crate::format::cursor::Cursor;

/// Bytes of a quote that is read at all; real ones have 5 kB.
const MAX_BYTES: usize = 1 << 20;
/// The part that is signed: header and body.
const SIGNED_BYTES: usize = 432;
const BODY_BYTES: usize = 384;
const PCK_CHAIN: u16 = 5;
const MAX_CLAIMS: u64 = 64;
const REPORT_DATA_CLAIM: &[u8] = b"sgx_report_data\0";

/// An enclave's quote, every field as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// 3.
    pub version: u16,
    /// 2: ECDSA on P-256.
    pub key_type: u16,
    /// SVN of the quoting enclave.
    pub qe_svn: u16,
    /// SVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// SVNs of the processor.
    pub cpu_svn: [u8; 16],
    /// Flags and features; bit 1 of the first byte allows debugging.
    pub attributes: [u8; 16],
    /// Digest of the enclave.
    pub mrenclave: [u8; 32],
    /// Digest of the key that signed it.
    pub mrsigner: [u8; 32],
    /// Chosen by its signer.
    pub product_id: u16,
    /// Chosen by its signer.
    pub svn: u16,
    /// Digest of the claims, then zeros.
    pub report_data: [u8; 64],
    /// The value of the claim `sgx_report_data`: in CCF the node id.
    pub claimed_report_data: Option<Vec<u8>>,
    /// Who vouches for the attestation key.
    pub quoting_enclave: QuotingEnclave,
    pub(super) signed: Vec<u8>,
    pub(super) signature: [u8; 64],
    pub(super) attestation_key: [u8; 64],
    pub(super) qe_body: Vec<u8>,
    pub(super) qe_signature: [u8; 64],
    pub(super) authentication_data: Vec<u8>,
    pub(super) pck_chain: Vec<u8>,
    pub(super) claims_digest: Digest,
}

/// The report of the quoting enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotingEnclave {
    /// Features whose state goes into it where it is interrupted.
    pub misc_select: [u8; 4],
    /// As for the quote.
    pub attributes: [u8; 16],
    /// Digest of the key that signed it: Intel's.
    pub mrsigner: [u8; 32],
    /// 1.
    pub product_id: u16,
    /// Its version.
    pub svn: u16,
    /// Digest of attestation key and authentication data, then zeros.
    pub report_data: [u8; 64],
}

struct Body {
    cpu_svn: [u8; 16],
    misc_select: [u8; 4],
    attributes: [u8; 16],
    mrenclave: [u8; 32],
    mrsigner: [u8; 32],
    product_id: u16,
    svn: u16,
    report_data: [u8; 64],
}

impl Quote {
    /// Reads a quote with what stands after it.
    ///
    /// # Errors
    /// Where the bytes are not what they should be.
    pub fn parse(bytes: &[u8]) -> Result<Quote, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("{} bytes, more than a quote has", bytes.len()));
        }
        Quote::read(bytes).map_err(|why| why.to_string())
    }

    fn read(bytes: &[u8]) -> Result<Quote, Malformed> {
        let mut at = Cursor::new(bytes);
        let signed = Cursor::new(bytes).take(SIGNED_BYTES, "header and body")?.to_vec();
        let (version, key_type) = (u16_le(&mut at)?, u16_le(&mut at)?);
        at.take(4, "reserved")?;
        let (qe_svn, pce_svn) = (u16_le(&mut at)?, u16_le(&mut at)?);
        at.take(36, "ids of QE vendor and user")?;
        let body = Body::read(&mut at)?;
        let length = at.u32_le("length of the signature section")? as usize;
        let mut section = Cursor::new(at.take(length, "signature section")?);
        let signature = *section.array("signature")?;
        let attestation_key = *section.array("attestation key")?;
        let qe_body = section.take(BODY_BYTES, "report of the quoting enclave")?.to_vec();
        let qe = Body::read(&mut Cursor::new(&qe_body))?;
        let qe_signature = *section.array("signature of the quoting enclave's report")?;
        let length = usize::from(u16_le(&mut section)?);
        let authentication_data = section.take(length, "authentication data")?.to_vec();
        let kind = u16_le(&mut section)?;
        if kind != PCK_CHAIN {
            let what = format!("certification data of type {kind}, expected {PCK_CHAIN}, a PCK chain");
            return Err(Malformed::at(section.position(), what));
        }
        let length = section.u32_le("length of the PCK chain")? as usize;
        let pck_chain = section.take(length, "PCK chain")?.to_vec();
        Ok(Quote {
            version,
            key_type,
            qe_svn,
            pce_svn,
            cpu_svn: body.cpu_svn,
            attributes: body.attributes,
            mrenclave: body.mrenclave,
            mrsigner: body.mrsigner,
            product_id: body.product_id,
            svn: body.svn,
            report_data: body.report_data,
            claimed_report_data: claim(at.rest()),
            quoting_enclave: QuotingEnclave {
                misc_select: qe.misc_select,
                attributes: qe.attributes,
                mrsigner: qe.mrsigner,
                product_id: qe.product_id,
                svn: qe.svn,
                report_data: qe.report_data,
            },
            signed,
            signature,
            attestation_key,
            qe_body,
            qe_signature,
            authentication_data,
            pck_chain,
            claims_digest: sha256(at.rest()),
        })
    }

    /// Whether the enclave may be looked into.
    pub fn is_debug(&self) -> bool {
        is_debug(&self.attributes)
    }
}

impl QuotingEnclave {
    /// Whether the quoting enclave may be looked into.
    pub fn is_debug(&self) -> bool {
        is_debug(&self.attributes)
    }
}

fn is_debug(attributes: &[u8; 16]) -> bool {
    attributes[0] & 2 != 0
}

impl Body {
    fn read(at: &mut Cursor<'_>) -> Result<Body, Malformed> {
        let cpu_svn = *at.array("CPU SVN")?;
        let misc_select = *at.array("MISCSELECT")?;
        at.take(28, "reserved")?;
        let attributes = *at.array("attributes")?;
        let mrenclave = *at.array("MRENCLAVE")?;
        at.take(32, "reserved")?;
        let mrsigner = *at.array("MRSIGNER")?;
        at.take(96, "reserved")?;
        let (product_id, svn) = (u16_le(at)?, u16_le(at)?);
        at.take(60, "reserved")?;
        Ok(Body {
            cpu_svn,
            misc_select,
            attributes,
            mrenclave,
            mrsigner,
            product_id,
            svn,
            report_data: *at.array("report data")?,
        })
    }
}

/// The value of the claim that CCF makes. Every turn consumes at least the two lengths.
fn claim(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut at = Cursor::new(bytes);
    if at.u64_le("version of the claims").ok()? != 1 {
        return None;
    }
    let count = at.u64_le("number of claims").ok()?;
    for _ in 0..count.min(MAX_CLAIMS) {
        let name = usize::try_from(at.u64_le("length of the name").ok()?).ok()?;
        let value = usize::try_from(at.u64_le("length of the value").ok()?).ok()?;
        let name = at.take(name, "name").ok()?;
        let value = at.take(value, "value").ok()?;
        if name == REPORT_DATA_CLAIM {
            return Some(value.to_vec());
        }
    }
    None
}

fn u16_le(at: &mut Cursor<'_>) -> Result<u16, Malformed> {
    at.array("a number of 2 bytes").map(|bytes| u16::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(name: &[u8], value: &[u8]) -> Vec<u8> {
        let numbers = [1, 1, name.len() as u64, value.len() as u64];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.extend(name);
        bytes.extend(value);
        bytes
    }

    #[test]
    fn the_claim_is_found_by_its_name() {
        assert_eq!(claim(&claims(REPORT_DATA_CLAIM, &[7; 32])), Some(vec![7; 32]));
        assert_eq!(claim(&claims(b"other\0", &[7; 32])), None);
        let good = claims(REPORT_DATA_CLAIM, &[7; 32]);
        for end in 0..good.len() {
            assert_eq!(claim(&good[..end]), None);
        }
        let mut other_version = good.clone();
        other_version[0] = 2;
        assert_eq!(claim(&other_version), None);
        let mut huge = good;
        huge[16..32].fill(0xff);
        assert_eq!(claim(&huge), None);
    }

    #[test]
    fn what_is_cut_short_says_where() {
        assert!(Quote::parse(&[]).unwrap_err().contains("header and body"));
        assert!(Quote::parse(&[0; 500]).unwrap_err().contains("signature"));
        let mut long = vec![0; 2000];
        long[432..436].copy_from_slice(&1500_u32.to_le_bytes());
        assert!(Quote::parse(&long).unwrap_err().contains("type 0"));
        assert!(Quote::parse(&vec![0; MAX_BYTES + 1]).is_err());
    }
}
