//! Dumps made by the tests, with real keys and real signatures, in every format that Canton has written keys in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer;
use p384::pkcs8::{EncodePrivateKey, EncodePublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

pub fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn envelope(inside: &[u8]) -> Vec<u8> {
    [bytes(1, inside), number(2, 30)].concat()
}

fn hash(purpose: u32, parts: &[u8]) -> Vec<u8> {
    let digest = Sha256::new()
        .chain_update(purpose.to_be_bytes())
        .chain_update(parts)
        .finalize();
    [&[0x12, 0x20], digest.as_slice()].concat()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    Ed25519,
    P256,
    P384,
}

/// How a release of Canton writes a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    /// Raw and DER, both halves.
    Old,
    /// SubjectPublicKeyInfo and PKCS #8, both halves.
    Middle,
    /// PKCS #8, the private half alone.
    New,
}

/// DER around an Ed25519 key, as RFC 8410 has it.
const ED25519_SPKI: &str = "302a300506032b6570032100";
const ED25519_PKCS8: &str = "302e020100300506032b657004220420";

#[derive(Clone)]
pub struct Key {
    pub is_signing: bool,
    pub algorithm: Algorithm,
    pub secret: Vec<u8>,
    pub name: &'static str,
}

impl Key {
    pub fn new(is_signing: bool, algorithm: Algorithm, seed: u8, name: &'static str) -> Key {
        let length = if algorithm == Algorithm::P384 { 48 } else { 32 };
        Key {
            is_signing,
            algorithm,
            // Below every curve's order.
            secret: (0..length)
                .map(|i| seed.wrapping_mul(31).wrapping_add(i) & 0x7f | 1)
                .collect(),
            name,
        }
    }

    /// SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Ed25519 => [hex::decode(ED25519_SPKI).unwrap(), self.raw_ed25519()].concat(),
            Algorithm::P256 => p256::SecretKey::from_slice(&self.secret)
                .unwrap()
                .public_key()
                .to_public_key_der()
                .unwrap()
                .into_vec(),
            Algorithm::P384 => p384::SecretKey::from_slice(&self.secret)
                .unwrap()
                .public_key()
                .to_public_key_der()
                .unwrap()
                .into_vec(),
        }
    }

    fn ed25519(&self) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(self.secret.as_slice().try_into().unwrap())
    }

    fn raw_ed25519(&self) -> Vec<u8> {
        self.ed25519().verifying_key().to_bytes().to_vec()
    }

    pub fn pkcs8(&self) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Ed25519 => [hex::decode(ED25519_PKCS8).unwrap(), self.secret.clone()].concat(),
            Algorithm::P256 => p256::SecretKey::from_slice(&self.secret)
                .unwrap()
                .to_pkcs8_der()
                .unwrap()
                .as_bytes()
                .to_vec(),
            Algorithm::P384 => p384::SecretKey::from_slice(&self.secret)
                .unwrap()
                .to_pkcs8_der()
                .unwrap()
                .as_bytes()
                .to_vec(),
        }
    }

    pub fn fingerprint(&self) -> String {
        let bare = match self.algorithm {
            Algorithm::Ed25519 => self.raw_ed25519(),
            _ => self.spki(),
        };
        hex::encode(hash(12, &bare))
    }

    fn sign(&self, message: &[u8]) -> (u64, Vec<u8>) {
        match self.algorithm {
            Algorithm::Ed25519 => (1, self.ed25519().sign(message).to_bytes().to_vec()),
            Algorithm::P256 => {
                let key = p256::ecdsa::SigningKey::from_slice(&self.secret).unwrap();
                let signature: p256::ecdsa::Signature = p384::ecdsa::signature::Signer::sign(&key, message);
                (2, signature.to_der().as_bytes().to_vec())
            }
            Algorithm::P384 => {
                let key = p384::ecdsa::SigningKey::from_slice(&self.secret).unwrap();
                let signature: p384::ecdsa::Signature = p384::ecdsa::signature::Signer::sign(&key, message);
                (3, signature.to_der().as_bytes().to_vec())
            }
        }
    }

    fn tail(&self) -> Vec<u8> {
        let spec = match (self.is_signing, self.algorithm) {
            (true, Algorithm::Ed25519) => 1,
            (true, Algorithm::P256) => 2,
            (true, Algorithm::P384) => 3,
            (false, _) => 1,
        };
        match self.is_signing {
            true => [bytes(5, &[1, 3, 4]), number(6, spec)].concat(),
            false => number(5, spec),
        }
    }

    pub fn public(&self, style: Style) -> Vec<u8> {
        let (format, key) = match (style, self.algorithm) {
            (Style::Old, Algorithm::Ed25519) => (3, self.raw_ed25519()),
            (Style::Old, _) => (2, self.spki()),
            _ => (4, self.spki()),
        };
        [number(2, format), bytes(3, &key), self.tail()].concat()
    }

    pub fn private(&self, style: Style) -> Vec<u8> {
        let (format, key) = match (style, self.algorithm) {
            (Style::Old, Algorithm::Ed25519) => (3, self.secret.clone()),
            (Style::Old, _) => (2, self.pkcs8()),
            _ => (5, self.pkcs8()),
        };
        let id = self.fingerprint();
        [bytes(1, id.as_bytes()), number(2, format), bytes(3, &key), self.tail()].concat()
    }

    pub fn pair(&self, style: Style) -> Vec<u8> {
        let mut halves = Vec::new();
        if style != Style::New {
            halves.extend(bytes(1, &self.public(style)));
        }
        halves.extend(bytes(2, &self.private(style)));
        envelope(&bytes(if self.is_signing { 1 } else { 2 }, &halves))
    }
}

fn transaction(serial: u64, mapping: &[u8], signers: &[&Key]) -> Vec<u8> {
    let whole = envelope(&[number(1, 1), number(2, serial), bytes(3, mapping)].concat());
    let mut signed = bytes(1, &whole);
    for signer in signers {
        let (algorithm, signature) = signer.sign(&hash(11, &whole));
        let id = signer.fingerprint();
        let message = [
            number(1, 3),
            bytes(2, &signature),
            bytes(3, id.as_bytes()),
            number(4, algorithm),
        ]
        .concat();
        signed.extend(bytes(2, &message));
    }
    let time = number(1, 1_736_874_696);
    bytes(
        1,
        &[bytes(1, &time), bytes(3, &envelope(&signed)), bytes(4, &time)].concat(),
    )
}

/// A node with three keys, or two where it encrypts nothing.
pub struct Node {
    pub code: &'static str,
    pub name: String,
    pub keys: Vec<Key>,
    pub style: Style,
    pub in_kms: bool,
    pub version: &'static str,
    /// Signs its own mapping with its signing key too, as newer releases ask.
    pub agrees: bool,
}

impl Node {
    pub fn new(code: &'static str, name: &str, algorithm: Algorithm, style: Style, seed: u8) -> Node {
        let mut keys = vec![
            Key::new(true, algorithm, seed, "namespace"),
            Key::new(true, algorithm, seed + 1, "signing"),
        ];
        if code == "PAR" {
            keys.push(Key::new(false, Algorithm::P256, seed + 2, "encryption"));
        }
        Node {
            code,
            name: name.to_owned(),
            keys,
            style,
            in_kms: false,
            version: "0.5.4",
            agrees: true,
        }
    }

    pub fn id(&self) -> String {
        format!("{}::{}::{}", self.code, self.name, self.keys[0].fingerprint())
    }

    pub fn snapshot(&self) -> Vec<u8> {
        let root = &self.keys[0];
        let delegation = [
            bytes(1, root.fingerprint().as_bytes()),
            bytes(2, &root.public(self.style)),
            number(3, 1),
        ];
        let mut owner = bytes(1, self.id().as_bytes());
        for key in &self.keys[1..] {
            owner.extend(bytes(
                2,
                &bytes(if key.is_signing { 1 } else { 2 }, &key.public(self.style)),
            ));
        }
        let signers = match self.agrees {
            true => vec![root, &self.keys[1]],
            false => vec![root],
        };
        let items = [
            transaction(1, &bytes(1, &delegation.concat()), &[root]),
            transaction(1, &bytes(4, &owner), &signers),
        ];
        envelope(&items.concat())
    }

    pub fn json(&self) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|key| match self.in_kms {
                false => json!({"keyPair": STANDARD.encode(key.pair(self.style)), "name": key.name}),
                true => {
                    let kind = if key.is_signing { "signing" } else { "encryption" };
                    let id = format!("arn:aws:kms:eu:key/{}", &key.fingerprint()[4..20]);
                    json!({"type": kind, "keyId": id, "name": key.name})
                }
            })
            .collect();
        json!({
            "id": self.id(), "keys": keys, "version": self.version,
            "authorizedStoreSnapshot": STANDARD.encode(self.snapshot()),
        })
    }
}

/// Shape B of an SV; every SV of another number has other keys.
pub fn unwrapped(style: Style, sv: u8) -> Value {
    let seed = 1 + sv * 16;
    let participant = Node::new("PAR", &format!("sv{sv}"), Algorithm::Ed25519, style, seed);
    let sequencer = Node::new("SEQ", &format!("sv{sv}"), Algorithm::P256, style, seed + 4);
    let mediator = Node::new("MED", &format!("sv{sv}"), Algorithm::P384, style, seed + 8);
    json!({
        "sv_party_id": format!("sv{sv}::{}", participant.keys[0].fingerprint()),
        "dso_party_id": format!("DSO::1220{}", "ab".repeat(32)),
        "domain_alias": "global",
        "domain_id": format!("global-domain::1220{}", "be".repeat(32)),
        "participant": participant.json(),
        "sequencer": sequencer.json(),
        "mediator": mediator.json(),
    })
}

/// Shape A.
pub fn full(style: Style, sv: u8) -> Value {
    json!({ "identities": unwrapped(style, sv) })
}

/// What the SV app answers for a timestamp.
pub fn data() -> Value {
    json!({
        "created_at": "2024-04-17T19:12:02Z", "migration_id": 1,
        "data_snapshot": {"acs_snapshot": "QUNT", "acs_timestamp": "2024-04-17T19:12:02Z", "dars": []},
        "participant_users": {"identityProviders": [], "users": []},
    })
}

/// Shape D: the two, as the SV app takes them.
pub fn migration(style: Style, sv: u8) -> Value {
    let mut out = full(style, sv);
    out.as_object_mut().unwrap().extend(data().as_object().unwrap().clone());
    out
}
