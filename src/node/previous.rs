//! The identity of the service before this one: the operator may say which it is, the ledger knows it. Recovery
//! specification, section 2.1.

use std::path::Path;

use crate::crypto::Certificate;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::kv::base::Base;
use crate::recovery::foundation::last_signing_certificate;
use crate::recovery::join::SignedRoot;
use crate::report::Code;
use crate::shown::Show;
use crate::tables::values::{ServiceInfo, from_json};
use crate::tables::{SINGLETON_KEY, names};

/// The identity that the operator gave must be the ledger's last one.
///
/// # Errors
/// [`Error::Unreadable`] if it is not; the sentence names both.
pub fn check_previous(base: &Base, previous: &Certificate) -> Result<()> {
    let info = base.get(names::SERVICE_INFO, &SINGLETON_KEY);
    let info: Option<ServiceInfo> = info.and_then(|live| from_json(live.value).ok());
    let found = info.and_then(|info| Certificate::from_pem(&info.cert).ok());
    match found {
        Some(found) if found.key_id() == previous.key_id() => Ok(()),
        found => Err(wrong_previous(
            previous,
            found.map(|found| hex::encode(found.key_id())).as_deref(),
        )),
    }
}

/// What is built upon must be signed by the ledger's last service, or by a node whose certificate it endorsed; and by the
/// service that the operator gave, if he gave one.
///
/// # Errors
/// [`Error::Unreadable`] if it is not; the sentence says what comes after the signature instead.
pub fn check_signed_by(signed: &SignedRoot, previous: Option<&Certificate>) -> Result<()> {
    match (signed.service, previous) {
        (Some(service), Some(previous)) if service.0 != previous.key_id() => {
            Err(wrong_previous(previous, Some(&hex::encode(service.0))))
        }
        (Some(_), _) => Ok(()),
        (None, _) => Err(Error::Unreadable(format!(
            "{}: nothing ties transaction {}, the last that is signed, to the service that this ledger names: its nodes' \
             certificates are signed by themselves, as in CCF 1.x. Recover it with CCF 2.x first, from a copy that you trust",
            Code::Unproven.as_str(),
            signed.txid
        ))),
    }
}

/// What is said where the previous identity given is not the ledger's.
fn wrong_previous(previous: &Certificate, found: Option<&str>) -> Error {
    Error::Unreadable(format!(
        "Previous service identity does not match: previous_service_identity_file is of service {}, the ledger's last \
         service is {}. Give the certificate of the service that wrote this ledger, or leave the setting out: the ledger \
         knows it",
        hex::encode(previous.key_id()),
        found.unwrap_or("another one")
    ))
}

/// Reads the certificate of the previous service, if one is configured.
///
/// # Errors
/// In CCF's words, if it can't be read.
pub fn previous_identity(path: Option<&Path>) -> Result<Option<Certificate>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|why| {
        Error::Unreadable(format!(
            "Recovery requires a previous service identity certificate; cannot open '{}': {why}",
            path.shown()
        ))
    })?;
    let certificate = Certificate::from_pem(&text)
        .map_err(|why| Error::Unreadable(format!("{} is not a service certificate: {why}", path.shown())))?;
    Ok(Some(certificate))
}

/// Finds out within milliseconds whether the identity given can be right: the certificate in the last signature must
/// have been issued by it; the last one up to `until`. Answers that certificate, whose issuer is the ledger's last service.
///
/// # Errors
/// If it is not.
pub fn check_previous_quickly(
    files: &LedgerFiles,
    previous: Option<&Certificate>,
    until: Seqno,
) -> Result<Option<Certificate>> {
    let Some(signer) = last_signing_certificate(files, until)? else {
        return Ok(None);
    };
    match previous {
        Some(previous) if signer.is_signed_by(previous.key()).is_err() => Err(wrong_previous(previous, None)),
        _ => Ok(Some(signer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::x509::issue;
    use crate::crypto::{Curve, SigningKey};
    use crate::format::TxId;
    use crate::service::identity::system_rng;
    use crate::tables::values::HexDigest;

    fn identity() -> Certificate {
        let key = SigningKey::generate(Curve::P256, &mut system_rng().unwrap());
        let public = key.verifying_key();
        issue("CN=s", &public, None, &key, true, 1_700_000_000, 1, [1; 16]).unwrap()
    }

    fn signed(service: Option<&Certificate>) -> SignedRoot {
        SignedRoot {
            txid: TxId { view: 2, seqno: 9 },
            root: HexDigest([7; 32]),
            signer: None,
            service: service.map(|service| HexDigest(service.key_id())),
        }
    }

    #[test]
    fn only_what_the_named_service_stands_behind_is_built_upon() {
        let (service, other) = (identity(), identity());
        check_signed_by(&signed(Some(&service)), Some(&service)).unwrap();
        check_signed_by(&signed(Some(&service)), None).unwrap();
        let why = check_signed_by(&signed(Some(&service)), Some(&other)).unwrap_err();
        assert!(why.to_string().contains(&hex::encode(service.key_id())), "{why}");
        // As in CCF 1.x, whatever the operator names.
        for previous in [None, Some(&service)] {
            let why = check_signed_by(&signed(None), previous).unwrap_err().to_string();
            assert!(why.contains("L0410") && why.contains("2.9"), "{why}");
        }
    }
}
