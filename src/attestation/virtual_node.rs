//! What a virtual node says it runs: not proof of anything, and marked as such wherever it is shown. Recovery
//! specification, sections 2.1 and 8.4.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::crypto::Digest;
use crate::crypto::digest::sha256;
use crate::error::{Error, Result};
use crate::format::map::MappedFile;

/// What every virtual node measures.
pub const VIRTUAL_MEASUREMENT: &str = "Insecure hard-coded virtual measurement v1";

/// A virtual node's quote.
#[derive(Clone, Debug)]
pub struct VirtualQuote {
    /// SHA-256 of the executable, hex.
    pub host_data: String,
    /// The quote's text, which is what is passed round as its bytes.
    pub text: String,
}

impl VirtualQuote {
    /// The quote for a node that runs the executable of this digest, and whose id (the digest of its public key) is
    /// `report_data`.
    pub fn new(executable: &Digest, report_data: &Digest) -> VirtualQuote {
        let host_data = hex::encode(executable);
        let text = json!({
            "host_data": host_data,
            "measurement": VIRTUAL_MEASUREMENT,
            "report_data": STANDARD.encode(report_data),
        });
        VirtualQuote {
            host_data,
            text: text.to_string(),
        }
    }
}

/// What this process runs: some ten milliseconds of work.
///
/// # Errors
/// If the executable can't be read.
pub fn digest_of_executable() -> Result<Digest> {
    let path = std::env::current_exe().map_err(Error::io("find", std::path::Path::new("the executable")))?;
    let file = MappedFile::open(&path).map_err(Error::io("open", &path))?;
    Ok(sha256(file.bytes()))
}
