//! What of a node's record stays as it was first written: whose evidence it is, and of what.

use super::judge::read_key;
use super::tell::Record;
use crate::crypto::x509::CertificateRequest;
use crate::crypto::{Digest, sha256};

/// Digests of a node's key, measurement and certificate request. What a record does not have is not compared: records of
/// retired nodes have had less in some versions.
#[derive(Default)]
pub(super) struct Identity {
    key: Option<Digest>,
    code: Option<Digest>,
    request: Option<Digest>,
}

impl Identity {
    /// Of a record. A key stays the same however it is written; a text of which no key can be read stands for itself.
    pub(super) fn of(record: &Record) -> Identity {
        let key = |pem: &String| read_key(pem).map_or_else(|| sha256(pem.as_bytes()), |key| key.id());
        let request = |pem: &String| {
            let read = CertificateRequest::from_pem(pem).ok();
            read.map_or_else(|| sha256(pem.as_bytes()), |request| request.key().id())
        };
        Identity {
            key: record.public_key.as_ref().map(key),
            code: record
                .code_digest
                .as_ref()
                .map(|code| sha256(code.to_ascii_lowercase().as_bytes())),
            request: record.request.as_ref().map(request),
        }
    }

    /// What is another one in this record, in words.
    pub(super) fn changed_in(&mut self, record: &Record) -> Vec<&'static str> {
        let now = Identity::of(record);
        [
            ("public key", &mut self.key, now.key),
            ("measurement", &mut self.code, now.code),
            ("certificate request's key", &mut self.request, now.request),
        ]
        .into_iter()
        .filter_map(|(what, was, now)| {
            let is_other = now.is_some() && was.is_some() && *was != now;
            // What was not there before is what there is from here on.
            *was = was.or(now);
            is_other.then_some(what)
        })
        .collect()
    }
}
