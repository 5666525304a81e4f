//! `ccf.setJwtPublicSigningKeys` and its reverse: keys of token issuers, as tables have them.
//!
//! Key id → list of {issuer, public_key (base64 DER), constraint?}: several issuers may use the same key id.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::pkcs8::EncodePublicKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use x509_cert::der::Encode;
use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::certificates;
use crate::kv::store::Transaction;
use crate::tables::{names, values};

const TABLE: &str = names::JWT_PUBLIC_SIGNING_KEYS_METADATA_V2;
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// Curves by name: object identifier and bytes of a coordinate.
const CURVES: [(&str, ObjectIdentifier, usize); 3] = [
    ("P-256", ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), 32),
    ("P-384", ObjectIdentifier::new_unwrap("1.3.132.0.34"), 48),
    ("P-521", ObjectIdentifier::new_unwrap("1.3.132.0.35"), 66),
];

/// One issuer's key; fields of other versions are kept.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Key {
    issuer: String,
    public_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    constraint: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

/// The fields of a JSON Web Key (RFC 7517) that make a public key, and CCF's own `issuer`.
#[derive(Deserialize)]
struct Jwk {
    kid: Option<String>,
    issuer: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    crv: Option<String>,
    x5c: Option<Vec<String>>,
}

/// Makes the keys of a JWK set the only ones of an issuer.
///
/// # Errors
/// What is wrong with the set, by key id. Nothing is written then.
pub fn set_keys(transaction: &mut Transaction<'_>, issuer: &str, jwks: &str) -> Result<(), String> {
    let set: KeySet = serde_json::from_str(jwks).map_err(|why| format!("not a JWK set: {why}"))?;
    let mut new = BTreeMap::new();
    for jwk in &set.keys {
        let kid = jwk.kid.as_ref().ok_or("Missing kid for JWT signing key")?;
        let key = jwk.public_key().map_err(|why| format!("JWKS kid {kid} {why}"))?;
        if let Some(constraint) = &jwk.issuer
            && !within(issuer, constraint)
        {
            return Err(format!(
                "JWKS kid {kid} with issuer constraint {constraint} fails validation against issuer {issuer}"
            ));
        }
        new.entry(kid.clone()).or_insert_with(|| Key {
            issuer: issuer.to_owned(),
            public_key: STANDARD.encode(key),
            constraint: jwk.issuer.clone(),
            other: Map::new(),
        });
    }
    if new.is_empty() {
        return Err("JWKS has no keys".to_owned());
    }
    for (kid, keys) in all(transaction) {
        if !new.contains_key(&kid) {
            write_others(transaction, &kid, keys, issuer);
        }
    }
    for (kid, key) in new {
        let before = keys_of(transaction, &kid);
        let mut keys = before.clone();
        match keys.iter_mut().find(|other| other.issuer == issuer) {
            Some(own) => *own = key,
            None => keys.push(key),
        }
        if keys != before {
            transaction.put(TABLE, kid, values::to_json(&keys));
        }
    }
    Ok(())
}

/// Removes all keys of an issuer.
pub(super) fn remove_keys(transaction: &mut Transaction<'_>, issuer: &str) {
    for (kid, keys) in all(transaction) {
        write_others(transaction, &kid, keys, issuer);
    }
}

fn all(transaction: &Transaction<'_>) -> BTreeMap<String, Vec<Key>> {
    let entries = transaction.entries(TABLE).into_iter();
    let readable =
        |(kid, keys): (Vec<u8>, Vec<u8>)| Some((String::from_utf8(kid).ok()?, values::from_json(&keys).ok()?));
    entries.filter_map(readable).collect()
}

fn keys_of(transaction: &Transaction<'_>, kid: &str) -> Vec<Key> {
    transaction
        .get(TABLE, kid.as_bytes())
        .and_then(|keys| values::from_json(keys).ok())
        .unwrap_or_default()
}

/// Writes `keys` without those of `issuer`, if it has any there.
fn write_others(transaction: &mut Transaction<'_>, kid: &str, mut keys: Vec<Key>, issuer: &str) {
    let before = keys.len();
    keys.retain(|key| key.issuer != issuer);
    if keys.is_empty() {
        transaction.remove(TABLE, kid);
    } else if keys.len() < before {
        transaction.put(TABLE, kid, values::to_json(&keys));
    }
}

/// Whether a key's constraint is the domain of its issuer, or one above: who signs for a.b.com may sign for b.com.
fn within(issuer: &str, constraint: &str) -> bool {
    let (issuer, constraint) = (domain(issuer), domain(constraint));
    !constraint.is_empty()
        && (issuer == constraint
            || issuer
                .strip_suffix(constraint)
                .is_some_and(|before| before.ends_with('.')))
}

/// The host of a URL; empty if it is none.
fn domain(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else {
        return "";
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

impl Jwk {
    /// The key as SubjectPublicKeyInfo: RSA numbers first, then a point, then a certificate.
    fn public_key(&self) -> Result<Vec<u8>, String> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let (Some(modulus), Some(exponent)) = (given(&self.n), given(&self.e)) {
            return rsa_key(&modulus, &exponent).map_err(|why| format!("has a bad RSA key: {why}"));
        }
        if let (Some(x), Some(y), Some(curve)) = (given(&self.x), given(&self.y), &self.crv) {
            return point(curve, &x, &y).map_err(|why| format!("has a bad elliptic-curve key: {why}"));
        }
        if let Some(certificate) = self.x5c.as_ref().and_then(|list| list.first()) {
            let der = STANDARD
                .decode(certificate)
                .map_err(|why| format!("has an x5c that is not base64: {why}"))?;
            return certificates::public_key(&der).map_err(|why| format!("has an invalid X.509 certificate: {why}"));
        }
        Err("has neither RSA/EC public key or x5c".to_owned())
    }
}

fn number(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|why| format!("not base64url: {why}"))
}

fn rsa_key(modulus: &str, exponent: &str) -> Result<Vec<u8>, String> {
    let [n, e] = [number(modulus)?, number(exponent)?].map(|bytes| rsa::BoxedUint::from_be_slice_vartime(&bytes));
    let key = rsa::RsaPublicKey::new(n, e).map_err(|why| why.to_string())?;
    let der = key.to_public_key_der().map_err(|why| why.to_string())?;
    Ok(der.into_vec())
}

fn point(curve: &str, x: &str, y: &str) -> Result<Vec<u8>, String> {
    let (_, oid, length) = CURVES
        .into_iter()
        .find(|(name, ..)| *name == curve)
        .ok_or_else(|| format!("curve {curve} is not known"))?;
    let mut point = vec![4];
    for coordinate in [x, y] {
        let coordinate = number(coordinate)?;
        if coordinate.len() != length {
            return Err(format!(
                "a coordinate has {} bytes, expected {length}",
                coordinate.len()
            ));
        }
        point.extend(coordinate);
    }
    let encode = || -> x509_cert::der::Result<Vec<u8>> {
        let algorithm = AlgorithmIdentifierOwned {
            oid: EC_PUBLIC_KEY,
            parameters: Some(Any::encode_from(&oid)?),
        };
        let subject_public_key = BitString::from_bytes(&point)?;
        SubjectPublicKeyInfoOwned {
            algorithm,
            subject_public_key,
        }
        .to_der()
    };
    encode().map_err(|why| why.to_string())
}
