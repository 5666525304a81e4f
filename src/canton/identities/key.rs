//! A key pair as a dump has it: base64 of a protobuf (SPEC-CANTON 2.3; Canton's `crypto.proto`, version 30).
//!
//! ```text
//! outer    { 1: CryptoKeyPair, 2: version 30 }
//! pair     { 1: SigningKeyPair | 2: EncryptionKeyPair }
//! of a kind{ 1: public key (no more written by newer releases), 2: private key }
//! a key    { 1: id (private), 2: format, 3: bytes, 4: scheme (old),
//!            5: usages, 6: specification  -- of a signing key
//!            5: specification             -- of an encryption key }
//! ```
//!
//! The fingerprint is recomputed from the public key, which is also derived from the private one: a dump whose halves do not
//! belong together is of no use however well it reads.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::derive::{self, Algorithm, Derived};
use super::wire::{self, Held};
use crate::crypto::sha256_parts;

/// The version of the envelope that is known.
const VERSION: u64 = 30;
/// Bytes of the longest key pair that is looked into; one of RSA with 4096 bits has 3 KiB.
const LONGEST_PAIR: usize = 64 << 10;
/// Usages that one key can have: there are five.
const MOST_USAGES: usize = 16;
/// The purpose number under which Canton hashes public keys into fingerprints.
const FINGERPRINT_PURPOSE: u32 = 12;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// It signs: for a namespace, for the protocol, to log in at a sequencer.
    Signing,
    /// Others encrypt for its owner.
    Encryption,
}

/// How far a key pair is proven to be what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Something in it contradicts the rest: a finding says what.
    Wrong,
    /// Nothing contradicts, but the halves were not compared: the algorithm is not one that is known here.
    Unproven,
    /// The private key gives the public key, and this the fingerprint.
    Proven,
}

/// What is known of a key pair; nothing of the private key stays.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// What it is for.
    pub purpose: Purpose,
    /// The algorithm, as it is named in `crypto.proto`.
    pub algorithm: String,
    /// The fingerprint that the private key carries, `1220…`.
    pub fingerprint: String,
    /// How far it is proven.
    pub proof: Proof,
    /// The bare public key, as its fingerprint is computed from it, where it is written or could be derived.
    pub public: Option<Vec<u8>>,
}

/// Why a key pair is not what it should be, in words that quote nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It can't be read.
    Unreadable(String),
    /// The recomputed fingerprint is another one than the key carries.
    Fingerprint {
        /// What the private key carries.
        carried: String,
        /// What the public key gives.
        computed: String,
    },
    /// The private key does not belong to the public one, or what both say of the key differs.
    Halves(String),
    /// It could not be proven, and why.
    Unproven(String),
}

/// The fingerprint of a public key.
pub fn fingerprint(public: &[u8]) -> String {
    let digest = sha256_parts(&[&FINGERPRINT_PURPOSE.to_be_bytes(), public]);
    format!("1220{}", hex::encode(digest))
}

/// Base64 as the JVM's decoder takes it, into memory that is wiped.
pub fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let mut out = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = ENGINE.decode_slice(text, &mut out).ok()?;
    out.truncate(length);
    Some(out)
}

/// One half of a pair, as it is written.
pub(super) struct Half<'a> {
    id: Option<&'a str>,
    pub(super) format: u64,
    pub(super) bytes: &'a [u8],
    scheme: u64,
    usages: Vec<u64>,
    spec: u64,
    purpose: Purpose,
}

impl<'a> Half<'a> {
    pub(super) fn read(message: &'a [u8], purpose: Purpose) -> Result<Half<'a>, String> {
        let (mut id, mut format, mut bytes, mut scheme, mut spec) = (None, None, None, None, None);
        let mut usages = Vec::new();
        let spec_field = match purpose {
            Purpose::Signing => 6,
            Purpose::Encryption => 5,
        };
        for field in wire::fields(message) {
            let (number, held) = field.map_err(|_| "a key in it is no protobuf message".to_owned())?;
            let again = match (number, held) {
                (1, Held::Bytes(text)) => {
                    let text = std::str::from_utf8(text).map_err(|_| "its id is no text".to_owned())?;
                    id.replace(text).is_some()
                }
                (2, Held::Number(number)) => format.replace(number).is_some(),
                (3, Held::Bytes(key)) => bytes.replace(key).is_some(),
                (4, Held::Number(number)) => scheme.replace(number).is_some(),
                (field, Held::Number(number)) if field == spec_field => spec.replace(number).is_some(),
                (5, Held::Number(number)) => {
                    usages.push(number);
                    usages.len() > MOST_USAGES
                }
                (5, Held::Bytes(packed)) => {
                    // Each usage is a number below 128.
                    usages.extend(packed.iter().take(MOST_USAGES + 1).map(|byte| u64::from(*byte)));
                    usages.len() > MOST_USAGES
                }
                _ => return Err(format!("a key in it has a field {number} that is not known")),
            };
            if again {
                return Err(format!("a key in it has its field {number} twice"));
            }
        }
        usages.sort_unstable();
        Ok(Half {
            id,
            format: format.unwrap_or_default(),
            bytes: bytes.filter(|bytes| !bytes.is_empty()).ok_or("a key in it is empty")?,
            scheme: scheme.unwrap_or_default(),
            usages,
            spec: spec.unwrap_or_default(),
            purpose,
        })
    }

    /// The algorithm: by its specification, and in keys of older releases by their scheme.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.purpose {
            Purpose::Signing => match (self.spec, self.scheme) {
                (1, _) | (0, 1) => Algorithm::Ed25519,
                (2, _) | (0, 2) => Algorithm::P256,
                (3, _) | (0, 3) => Algorithm::P384,
                (4, _) => Algorithm::Unknown("EC-Secp256k1"),
                (5, _) => Algorithm::Unknown("ML-DSA-65"),
                _ => Algorithm::Unknown("of an algorithm that is not known here"),
            },
            Purpose::Encryption => match (self.spec, self.scheme) {
                (1, _) | (0, 1 | 2) => Algorithm::P256,
                (2, _) | (0, 3) => Algorithm::Rsa,
                _ => Algorithm::Unknown("of an algorithm that is not known here"),
            },
        }
    }
}

/// Reads a pair and proves what can be proven. The pair is given where at least its purpose and its id could be read.
pub fn judge(text: &str) -> (Option<Pair>, Vec<Fault>) {
    let unreadable = |why: &str| (None, vec![Fault::Unreadable(why.to_owned())]);
    if text.len() > LONGEST_PAIR {
        return unreadable(&format!(
            "it has {} characters, and no key pair has that many",
            text.len()
        ));
    }
    let Some(bytes) = base64(text) else {
        return unreadable("it is not base64");
    };
    match parse(&bytes) {
        Ok((purpose, public, private)) => prove(purpose, public, private),
        Err(why) => unreadable(&why),
    }
}

fn parse(bytes: &[u8]) -> Result<(Purpose, Option<Half<'_>>, Half<'_>), String> {
    let (pair, version) = wire::envelope(bytes)
        .map_err(|_| "it is not the protobuf envelope that Canton writes around a key pair".to_owned())?;
    if version != VERSION {
        return Err(format!(
            "its envelope has version {version}, and {VERSION} was expected"
        ));
    }
    let mut pair = wire::fields(pair);
    let (purpose, halves) = match (pair.next(), pair.next()) {
        (Some(Ok((1, Held::Bytes(halves)))), None) => (Purpose::Signing, halves),
        (Some(Ok((2, Held::Bytes(halves)))), None) => (Purpose::Encryption, halves),
        _ => return Err("it is neither a signing nor an encryption key pair".to_owned()),
    };
    let (mut public, mut private) = (None, None);
    for field in wire::fields(halves) {
        match field.map_err(|_| "its key pair is no protobuf message".to_owned())? {
            (1, Held::Bytes(bytes)) if public.is_none() => public = Some(Half::read(bytes, purpose)?),
            (2, Held::Bytes(bytes)) if private.is_none() => private = Some(Half::read(bytes, purpose)?),
            (number, _) => return Err(format!("its key pair has an unexpected field {number}")),
        }
    }
    let private = private.ok_or("it has no private key")?;
    Ok((purpose, public, private))
}

fn prove(purpose: Purpose, public: Option<Half<'_>>, private: Half<'_>) -> (Option<Pair>, Vec<Fault>) {
    let Some(carried) = private.id.filter(|id| is_fingerprint(id)) else {
        let why = "its private key carries no fingerprint (1220 and 64 hexadecimal digits)";
        return (None, vec![Fault::Unreadable(why.to_owned())]);
    };
    let algorithm = private.algorithm();
    let mut faults = Vec::new();
    let written = public.as_ref().map(|public| {
        if public.id.is_some_and(|id| id != carried) {
            faults.push(Fault::Halves("the ids of its halves differ".to_owned()));
        }
        if public.algorithm() != algorithm || public.usages != private.usages {
            let what = "its halves name different algorithms or usages";
            faults.push(Fault::Halves(what.to_owned()));
        }
        derive::written(public.algorithm(), public.format, public.bytes)
    });
    let derived = derive::from_private(algorithm, private.format, private.bytes);
    match (&written, &derived) {
        (Some(None), _) => faults.push(Fault::Unreadable("its public key is malformed".to_owned())),
        (_, Derived::Malformed) => faults.push(Fault::Unreadable("its private key is malformed".to_owned())),
        (Some(Some(written)), Derived::Public(derived)) if !written.is_same(derived) => {
            faults.push(Fault::Halves(
                "its private key gives another public key than is written beside it".to_owned(),
            ));
        }
        (_, Derived::Unknown(why)) => faults.push(Fault::Unproven((*why).to_owned())),
        _ => {}
    }
    let bare = match (written.flatten(), derived) {
        (Some(written), _) => Some(written.bare),
        (None, Derived::Public(derived)) if public.is_none() => Some(derived.bare),
        _ => None,
    };
    if let Some(bare) = &bare {
        let computed = fingerprint(bare);
        if computed != carried {
            faults.push(Fault::Fingerprint {
                carried: carried.to_owned(),
                computed,
            });
        }
    }
    let proof = match faults.iter().all(|fault| matches!(fault, Fault::Unproven(_))) {
        true if faults.is_empty() => Proof::Proven,
        true => Proof::Unproven,
        false => Proof::Wrong,
    };
    let pair = Pair {
        purpose,
        algorithm: algorithm.name().to_owned(),
        fingerprint: carried.to_owned(),
        proof,
        public: bare,
    };
    (Some(pair), faults)
}

/// Whether a text is a whole fingerprint: `1220`, for SHA-256 and its length, and 64 hexadecimal digits.
pub fn is_fingerprint(text: &str) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.len() == 68 && text.starts_with("1220") && text.bytes().all(hex)
}
