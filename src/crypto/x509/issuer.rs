//! Who a certificate says has issued it.

use x509_cert::der::Decode;

use super::Certificate;

impl Certificate {
    /// The issuer, RFC 4514 text; empty where it can't be shown.
    pub fn issuer(&self) -> String {
        x509_cert::Certificate::from_der(self.der())
            .map(|certificate| certificate.tbs_certificate().issuer().to_string())
            .unwrap_or_default()
    }
}
