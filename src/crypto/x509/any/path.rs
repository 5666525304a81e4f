//! The rules of a certification path (RFC 5280, section 6), less its dates.

use super::{AnyCertificate, AnyKey, BASIC_CONSTRAINTS, KEY_USAGE};
use super::{EXTENDED_KEY_USAGE, ObjectIdentifier};

const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
/// What may be critical, because it is looked at here or restricts nothing that is asked here.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    BASIC_CONSTRAINTS,
    KEY_USAGE,
    EXTENDED_KEY_USAGE,
    SUBJECT_ALTERNATIVE_NAME,
    CERTIFICATE_POLICIES,
];
const SIGNS_CERTIFICATES: usize = 5;

/// How strictly a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// What every path must obey.
    Basic,
    /// And what RFC 5280 asks of those who issue: version 3, key identifiers, critical basic constraints, a key usage.
    Strict,
}

/// What is wrong with a path, and where: 0 is the leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {} of the chain {problem}", at + 1)]
pub struct PathError {
    /// The certificate's place.
    pub at: usize,
    /// What is wrong with it, after "certificate N of the chain".
    pub problem: &'static str,
}

/// Checks that every certificate of `chain`, leaf first, is issued by the next, and answers the leaf's key.
///
/// The last one is what is trusted: if it names itself as issuer it must have signed itself, and otherwise nothing is asked
/// about who issued it. Whether it *is* trusted is for the caller to say, by its key.
///
/// # Errors
/// [`PathError`] for the first certificate, from the last one on, that breaks a rule.
pub fn check_path(chain: &[AnyCertificate], rules: Rules) -> Result<AnyKey, PathError> {
    let last = chain.len().saturating_sub(1);
    let mut above: Option<(&AnyCertificate, AnyKey)> = None;
    for (at, certificate) in chain.iter().enumerate().rev() {
        match &above {
            None => check_last(certificate, last, rules)?,
            Some((issuer, key)) => check_link(certificate, at, issuer, key, rules)?,
        }
        above = Some((certificate, key_of(certificate, at)?));
    }
    above.map(|(_, key)| key).ok_or(PathError {
        at: 0,
        problem: "is not there",
    })
}

/// Checks that `issuer`, whose key this is, issued `certificate`, which has `at` certificates below it.
///
/// # Errors
/// [`PathError`].
pub fn check_link(
    certificate: &AnyCertificate,
    at: usize,
    issuer: &AnyCertificate,
    issuer_key: &AnyKey,
    rules: Rules,
) -> Result<(), PathError> {
    let wrong = |problem| PathError { at, problem };
    check_extensions(certificate, rules).map_err(wrong)?;
    check_authority(issuer, at, rules).map_err(|problem| PathError { at: at + 1, problem })?;
    if certificate.issuer_der() != issuer.subject_der() {
        return Err(wrong("names another issuer than the next one"));
    }
    let (wanted, found) = (certificate.authority_key_id(), issuer.subject_key_id());
    if rules == Rules::Strict && wanted.is_none() {
        return Err(wrong("has no authority key identifier"));
    }
    if wanted.zip(found).is_some_and(|(wanted, found)| wanted != found) {
        return Err(wrong("names another key of its issuer than the next one has"));
    }
    certificate
        .is_signed_by(issuer_key)
        .map_err(|_| wrong("is not signed by the next one"))
}

/// Checks what is trusted, with `at` certificates below it: [`check_path`] for the last one alone.
///
/// # Errors
/// [`PathError`].
pub fn check_last(last: &AnyCertificate, at: usize, rules: Rules) -> Result<(), PathError> {
    check_extensions(last, rules).map_err(|problem| PathError { at, problem })?;
    if last.is_self_issued() && last.is_signed_by(&key_of(last, at)?).is_err() {
        let problem = "names itself as issuer and did not sign itself";
        return Err(PathError { at, problem });
    }
    Ok(())
}

fn key_of(certificate: &AnyCertificate, at: usize) -> Result<AnyKey, PathError> {
    let problem = "has a key of a kind that is not known here";
    certificate.key().map_err(|_| PathError { at, problem })
}

/// What the certificate says that would have to be obeyed, and is not known how.
fn check_extensions(certificate: &AnyCertificate, rules: Rules) -> Result<(), &'static str> {
    for extension in &certificate.extensions {
        if extension.oid == NAME_CONSTRAINTS {
            return Err("restricts names, which is not supported");
        }
        if extension.is_critical && !UNDERSTOOD.contains(&extension.oid) {
            return Err("has a critical extension that is not known here");
        }
    }
    if rules == Rules::Strict && certificate.version != 3 && !certificate.extensions.is_empty() {
        return Err("has extensions and is not of version 3");
    }
    Ok(())
}

/// Whether `issuer` may issue what has `below` authorities between it and the leaf.
fn check_authority(issuer: &AnyCertificate, below: usize, rules: Rules) -> Result<(), &'static str> {
    let constraints = issuer
        .basic_constraints()
        .map_err(|_| "has unreadable basic constraints")?;
    let Some(constraints) = constraints.filter(|constraints| constraints.is_ca) else {
        return Err("is no authority: it may not issue others");
    };
    if constraints.path_length.is_some_and(|most| most < below as u64) {
        return Err("has more authorities below it than it allows");
    }
    let usage = issuer.key_usage(SIGNS_CERTIFICATES);
    if usage == Some(false) {
        return Err("has a key that is not for signing certificates");
    }
    if rules == Rules::Strict {
        if !constraints.is_critical {
            return Err("has basic constraints that are not critical");
        }
        if usage.is_none() {
            return Err("is an authority without a key usage");
        }
        if issuer.subject_key_id().is_none() {
            return Err("is an authority without a subject key identifier");
        }
    }
    Ok(())
}
