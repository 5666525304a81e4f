//! Certificates and lists that nobody else makes: with any extensions, in any order, signed by anybody.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use x509_cert::der::asn1::ObjectIdentifier;

use super::{Anchors, Given, OwnEvidence, Product, TestRoot, Time, Verifier};
use crate::crypto::testing::rng;
use crate::crypto::x509::any_certificate_pem;
use crate::crypto::{Curve, SigningKey, VerifyingKey, sha256};

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

/// VCEK, ASK and ARK, of the keys 3, 2 and 1: this VCEK, and an ARK that was signed by this key.
pub fn endorsements_under(ark_signer: &SigningKey, vcek: Vec<Extension>) -> String {
    let (ark, ask, chip) = (key(1), key(2), key(3));
    let issued = |subject, issuer, key, signer, serial, extensions| {
        let issued = Issued {
            subject,
            issuer,
            key,
            signer,
            serial,
            extensions,
        };
        any_certificate_pem(&issued.der())
    };
    [
        issued("VCEK", "ASK", &chip, &ask, 0, vcek),
        issued("ASK", "ARK", &ask, &ark, 22, authority(2, 1)),
        issued("ARK", "ARK", &ark, ark_signer, 11, authority(1, 1)),
    ]
    .concat()
}

/// A machine that attests what it is told to: a made chip, made issuers, a made root.
#[derive(Clone)]
pub struct Machine {
    /// The reported TCB, in Milan's layout.
    pub tcb: [u8; 8],
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub security_policy: Option<String>,
    /// Feed and SVN of UVM endorsements.
    pub uvm: Option<(&'static str, u64)>,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            tcb: [4, 0, 0, 0, 0, 0, 24, 119],
            measurement: [9; 48],
            host_data: [8; 32],
            security_policy: None,
            uvm: None,
        }
    }
}

impl Machine {
    /// A report about a key.
    pub fn report(&self, report_data: &[u8; 32]) -> Vec<u8> {
        let mut bytes = [0; 0x4a0];
        bytes[0] = 3;
        bytes[0x34] = 1;
        bytes[0x50..0x70].copy_from_slice(report_data);
        bytes[0x90..0xc0].copy_from_slice(&self.measurement);
        bytes[0xc0..0xe0].copy_from_slice(&self.host_data);
        bytes[0x180..0x188].copy_from_slice(&self.tcb);
        bytes[0x188..0x18b].copy_from_slice(&[0x19, 1, 1]);
        bytes[0x1a0..0x1e0].fill(7);
        let signature = key(3).sign_fixed(&bytes[..0x2a0]);
        for (at, number) in [(0x2a0, &signature[..48]), (0x2e8, &signature[48..])] {
            let reversed: Vec<u8> = number.iter().rev().copied().collect();
            bytes[at..at + 48].copy_from_slice(&reversed);
        }
        bytes.to_vec()
    }

    /// VCEK, ASK and ARK of its chip with its firmware.
    pub fn endorsements(&self) -> String {
        let number = |value: u8| match value {
            0..0x80 => vec![2, 1, value],
            _ => vec![2, 2, 0, value],
        };
        let mut vcek = ids(3, 2);
        vcek.extend([
            ("1.3.6.1.4.1.3704.1.2", false, tlv(22, &[b"Milan-B0"])),
            ("1.3.6.1.4.1.3704.1.3.1", false, number(self.tcb[0])),
            ("1.3.6.1.4.1.3704.1.3.2", false, number(self.tcb[1])),
            ("1.3.6.1.4.1.3704.1.3.3", false, number(self.tcb[6])),
            ("1.3.6.1.4.1.3704.1.3.8", false, number(self.tcb[7])),
            ("1.3.6.1.4.1.3704.1.4", false, vec![7; 64]),
        ]);
        endorsements_under(&key(1), vcek)
    }

    /// The root of its chip.
    pub fn anchors() -> Anchors {
        Anchors::built_in().and_for_tests(TestRoot {
            product: Some(Product::Milan),
            spki_sha256: sha256(key(1).verifying_key().spki_der()),
        })
    }

    /// Who signs its measurement.
    pub fn did() -> String {
        let digest = sha256(&Self::uvm_chain()[2]);
        format!("did:x509:0:sha256:{}::eku:1.2.3.4", URL_SAFE_NO_PAD.encode(digest))
    }

    fn uvm_chain() -> [Vec<u8>; 3] {
        let mut leaf = ids(3, 2);
        leaf.push(("2.5.29.37", false, tlv(0x30, &[&oid("1.2.3.4")])));
        leaf.push(("2.5.29.15", true, vec![3, 2, 0, 0x80]));
        [
            ("leaf", "issuing", 3, 2, leaf),
            ("issuing", "root", 2, 1, authority(2, 1)),
            ("root", "root", 1, 1, authority(1, 1)),
        ]
        .map(|(subject, issuer, own, signer, extensions)| {
            Issued {
                subject,
                issuer,
                key: &key(own),
                signer: &key(signer),
                serial: own as u8,
                extensions,
            }
            .der()
        })
    }

    /// UVM endorsements of its measurement.
    pub fn uvm_endorsements(&self) -> Option<Vec<u8>> {
        let (feed, svn) = self.uvm?;
        let text = |text: &str| Cbor::Text(text.into());
        let encode = |value: &Cbor| {
            let mut bytes = Vec::new();
            ciborium::into_writer(value, &mut bytes).unwrap();
            bytes
        };
        let chain = Self::uvm_chain().map(Cbor::Bytes).to_vec();
        let header = vec![
            (Cbor::from(1), Cbor::from(-35)),
            (Cbor::from(33), Cbor::Array(chain)),
            (text("iss"), text(&Self::did())),
            (text("feed"), text(feed)),
            (Cbor::from(3), text("application/json")),
        ];
        let payload = serde_json::json!({
            "x-ms-sevsnpvm-launchmeasurement": hex::encode(self.measurement), "x-ms-sevsnpvm-guestsvn": svn.to_string(),
        });
        let protected = Cbor::Bytes(encode(&Cbor::Map(header)));
        let payload = Cbor::Bytes(payload.to_string().into_bytes());
        let signed = vec![
            text("Signature1"),
            protected.clone(),
            Cbor::Bytes(vec![]),
            payload.clone(),
        ];
        let signature = key(3).sign_fixed(&encode(&Cbor::Array(signed)));
        let fields = vec![protected, Cbor::Map(vec![]), payload, Cbor::Bytes(signature)];
        Some(encode(&Cbor::Tag(18, Box::new(Cbor::Array(fields)))))
    }

    /// What it gives of itself about a key.
    pub fn given(&self, about: &VerifyingKey) -> Given {
        Given {
            report: self.report(&about.id()),
            uvm_endorsements: self.uvm_endorsements(),
            security_policy: self.security_policy.clone(),
        }
    }

    /// Its evidence about a key.
    pub fn evidence(&self, about: &VerifyingKey) -> OwnEvidence {
        let verifier = Verifier::new(Self::anchors());
        let given = self.given(about);
        let endorsed = given.endorsed_by(&self.endorsements(), &verifier, about, Time::At(FROM));
        endorsed.unwrap().into()
    }
}
