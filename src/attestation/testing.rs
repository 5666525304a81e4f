//! Certificates and lists that nobody else makes: with any extensions, in any order, signed by anybody.

use x509_cert::der::asn1::ObjectIdentifier;

use crate::crypto::testing::rng;
use crate::crypto::{Curve, SigningKey};

/// 2025-01-01 and 2035-01-01, both at midnight.
pub const FROM: u64 = 1_735_689_600;
pub const TO: u64 = 2_051_222_400;

pub fn key(seed: u64) -> SigningKey {
    SigningKey::generate(Curve::P384, &mut rng(seed))
}

/// A DER element.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut der = vec![tag];
    match content.len() {
        length @ 0..0x80 => der.push(length as u8),
        length @ 0x80..0x100 => der.extend([0x81, length as u8]),
        length => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend(content);
    der
}

pub fn oid(text: &str) -> Vec<u8> {
    tlv(6, &[ObjectIdentifier::new_unwrap(text).as_bytes()])
}

/// A key as Intel has them.
pub fn p256_key(seed: u64) -> SigningKey {
    SigningKey::generate(Curve::P256, &mut rng(seed))
}

/// ecdsa-with-SHA256 or ecdsa-with-SHA384
fn algorithm(signer: &SigningKey) -> Vec<u8> {
    let number = match signer.verifying_key().curve() {
        Curve::P256 => "1.2.840.10045.4.3.2",
        Curve::P384 => "1.2.840.10045.4.3.3",
    };
    tlv(0x30, &[&oid(number)])
}

pub fn name(text: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[&oid("2.5.4.3"), &tlv(12, &[text.as_bytes()])]);
    tlv(0x30, &[&tlv(0x31, &[&attribute])])
}

fn signed(tbs: &[u8], signer: &SigningKey) -> Vec<u8> {
    let signature = tlv(3, &[&[0], &signer.sign_der(tbs)]);
    tlv(0x30, &[tbs, &algorithm(signer), &signature])
}

/// An extension: identifier, whether critical, content.
pub type Extension = (&'static str, bool, Vec<u8>);

/// What to issue.
pub struct Issued<'a> {
    pub subject: &'a str,
    pub issuer: &'a str,
    pub key: &'a SigningKey,
    pub signer: &'a SigningKey,
    pub serial: u8,
    pub extensions: Vec<Extension>,
}

impl Issued<'_> {
    pub fn der(&self) -> Vec<u8> {
        let extension = |(id, is_critical, content): &Extension| {
            let critical = if *is_critical { tlv(1, &[&[0xff]]) } else { vec![] };
            tlv(0x30, &[&oid(id), &critical, &tlv(4, &[content])])
        };
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let validity = tlv(0x30, &[&tlv(23, &[b"250101000000Z"]), &tlv(23, &[b"350101000000Z"])]);
        let tbs = tlv(
            0x30,
            &[
                &tlv(0xa0, &[&[2, 1, 2]]),
                &tlv(2, &[&[self.serial]]),
                &algorithm(self.signer),
                &name(self.issuer),
                &validity,
                &name(self.subject),
                self.key.verifying_key().spki_der(),
                &tlv(0xa3, &[&tlv(0x30, &[&extensions])]),
            ],
        );
        signed(&tbs, self.signer)
    }
}

/// May issue others: critical basic constraints, key usage, and key identifiers of one byte.
pub fn authority(own_id: u8, issuer_id: u8) -> Vec<Extension> {
    let mut extensions = ids(own_id, issuer_id);
    extensions.push(("2.5.29.19", true, vec![0x30, 3, 1, 1, 0xff]));
    extensions.push(("2.5.29.15", true, vec![3, 2, 1, 6]));
    extensions
}

/// Key identifiers of one byte.
pub fn ids(own_id: u8, issuer_id: u8) -> Vec<Extension> {
    vec![
        ("2.5.29.14", false, vec![4, 1, own_id]),
        ("2.5.29.35", false, vec![0x30, 3, 0x80, 1, issuer_id]),
    ]
}

/// A revocation list of `issuer`: current for 2025, with these serial numbers.
pub fn revocation_list(issuer: &str, signer: &SigningKey, serials: &[u8]) -> Vec<u8> {
    revocation_list_until(issuer, signer, serials, Some("260101000000Z"))
}

/// The same, current until then, or without a date.
pub fn revocation_list_until(issuer: &str, signer: &SigningKey, serials: &[u8], until: Option<&str>) -> Vec<u8> {
    let one = |serial: &u8| tlv(0x30, &[&tlv(2, &[&[*serial]]), &tlv(23, &[b"250101000000Z"])]);
    let revoked: Vec<u8> = serials.iter().flat_map(one).collect();
    let tbs = tlv(
        0x30,
        &[
            &[2, 1, 1],
            &algorithm(signer),
            &name(issuer),
            &tlv(23, &[b"250101000000Z"]),
            &until.map_or(vec![], |until| tlv(23, &[until.as_bytes()])),
            &tlv(0x30, &[&revoked]),
            &tlv(
                0xa0,
                &[&tlv(0x30, &[&tlv(0x30, &[&oid("2.5.29.20"), &tlv(4, &[&[2, 1, 1]])])])],
            ),
        ],
    );
    signed(&tbs, signer)
}

/// A PEM block.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let digits = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{digits}\n-----END {label}-----\n")
}
