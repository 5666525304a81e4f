//! The authorized store's snapshot: the topology transactions by which a node is known on its synchronizers.
//!
//! ```text
//! outer       { 1: transactions, 2: version 30 }
//! transactions{ 1: item, again and again }
//! item        { 1: time, 3: outer of a signed transaction, 4: time }
//! signed      { 1: outer of a transaction, 2: signature, again and again, 4: signatures of several transactions }
//! transaction { 1: operation (1 adds or replaces), 2: serial, 3: mapping }
//! mapping     { 1: namespace delegation { 1: namespace, 2: signing key }
//!             | 4: owner to keys { 1: member, 2: { 1: signing key | 2: encryption key }, again and again } | … }
//! signature   { 1: format, 2: bytes, 3: fingerprint of the signer, 4: algorithm, 5: delegation to a session key }
//! ```
//!
//! A signature is of `12 20` and SHA-256(u32be(11) ‖ outer of the transaction), the hash of purpose 11, as Canton writes
//! hashes. The public keys stand in the snapshot itself, so that all of it can be verified offline, also where the private
//! keys are in a KMS.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use super::derive::{self, Algorithm};
use super::key::{Half, Purpose, fingerprint};
use super::wire::{self, Held, Malformed};
use crate::crypto::ecdsa::{HashAlgorithm, VerifyingKey};
use crate::crypto::sha256_parts;

/// The version of the envelopes that is known.
const VERSION: u64 = 30;
/// The purpose number under which Canton hashes topology transactions.
const TRANSACTION_PURPOSE: u32 = 11;
/// Keys that one member's mapping may have; Canton itself takes twenty.
const MOST_KEYS: usize = 100;
/// Signers whose keys are kept: an SV has a handful, a validator one for each party that signs for itself.
const MOST_SIGNERS: usize = 100_000;
/// Signatures that are verified, a second of work; further ones are counted.
const MOST_VERIFIED: usize = 10_000;

/// Other members that are named.
const MOST_OTHERS: usize = 4;

/// What a snapshot says of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Topology transactions in it.
    pub transactions: usize,
    /// Those among them that could not be read.
    pub unread: usize,
    /// Whether the member's namespace stands in it at all.
    pub names_the_namespace: bool,
    /// Whether a delegation says that the namespace's own key governs it.
    pub has_root: bool,
    /// The keys that the member has by its latest mapping: what for, and their fingerprints.
    pub keys: Option<Vec<(Purpose, String)>>,
    /// Members of its namespace that have keys too, the first few.
    pub others: BTreeSet<String>,
    /// Signing keys of that mapping that did not sign it.
    pub not_signed_by: Vec<String>,
    /// Transactions about this member or its namespace that none of the namespace's keys is known to have signed.
    pub unsigned: usize,
    /// The signatures in it.
    pub signatures: Signatures,
}

/// Signatures of topology transactions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Signatures {
    /// Valid, by a key that is in the snapshot.
    pub valid: usize,
    /// Not of this transaction, or not by this key.
    pub wrong: usize,
    /// By a key that is not in the snapshot.
    pub unknown: usize,
    /// Not verified: the algorithm is not computed with here, it is of several transactions, or there are too many.
    pub unchecked: usize,
}

/// One transaction as it is signed.
struct Signed<'a> {
    /// The envelope that the signatures are of.
    whole: &'a [u8],
    signed: &'a [u8],
    serial: u64,
    /// Which mapping, and its bytes; 0 where the transaction takes one away.
    mapping: (u64, &'a [u8]),
}

/// Reads what a snapshot says of a member, `PAR::name::1220…`, and of its namespace, and verifies its signatures.
///
/// # Errors
/// [`Malformed`] where the outermost envelope is not what Canton writes.
pub fn read(bytes: &[u8], member: &str, namespace: &str) -> Result<Snapshot, Malformed> {
    let (items, version) = wire::envelope(bytes)?;
    if version != VERSION || items.is_empty() {
        return Err(Malformed);
    }
    let mut snapshot = Snapshot {
        names_the_namespace: !namespace.is_empty() && memmem::find(items, namespace.as_bytes()).is_some(),
        ..Snapshot::default()
    };
    let mut signers = BTreeMap::new();
    // The namespace's own key and those that it delegates to.
    let mut governing = BTreeSet::from([namespace.to_owned()]);
    let mut latest = 0;
    for item in wire::fields(items) {
        let (1, Held::Bytes(item)) = item? else {
            return Err(Malformed);
        };
        snapshot.transactions += 1;
        let Some(signed) = transaction(item) else {
            snapshot.unread += 1;
            continue;
        };
        let keys = keys_of(signed.mapping);
        let Some(keys) = keys else {
            snapshot.unread += 1;
            continue;
        };
        let named = bytes_of(signed.mapping.1, 1);
        match signed.mapping.0 {
            1 if named == Some(namespace.as_bytes()) => {
                snapshot.has_root |= keys.iter().any(|key| key.fingerprint == namespace);
                if governing.len() < MOST_KEYS {
                    governing.extend(keys.iter().map(|key| key.fingerprint.clone()));
                }
            }
            4 if named == Some(member.as_bytes()) && signed.serial >= latest => {
                latest = signed.serial;
                let by = signed_by(signed.signed);
                let own = |key: &&Named| key.purpose == Purpose::Signing && !by.contains(&key.fingerprint.as_str());
                snapshot.not_signed_by = keys.iter().filter(own).map(|key| key.fingerprint.clone()).collect();
                let named = keys.iter().map(|key| (key.purpose, key.fingerprint.clone()));
                snapshot.keys = Some(named.collect());
            }
            4 if snapshot.others.len() < MOST_OTHERS => {
                let other = named.and_then(|named| std::str::from_utf8(named).ok());
                let of_namespace = |other: &&str| *other != member && other.rsplit("::").next() == Some(namespace);
                snapshot.others.extend(other.filter(of_namespace).map(str::to_owned));
            }
            _ => {}
        }
        if signers.len() < MOST_SIGNERS {
            let signing = keys.into_iter().filter(|key| key.purpose == Purpose::Signing);
            signers.extend(signing.map(|key| (key.fingerprint, (key.algorithm, key.bare))));
        }
    }
    for item in wire::fields(items).flatten() {
        if let (1, Held::Bytes(item)) = item
            && let Some(signed) = transaction(item)
        {
            let before = snapshot.signatures;
            let by = verify(&signed, &signers, &mut snapshot.signatures);
            let named = bytes_of(signed.mapping.1, 1);
            let is_own = match signed.mapping.0 {
                1 => named == Some(namespace.as_bytes()),
                4 => named == Some(member.as_bytes()),
                _ => false,
            };
            let after = snapshot.signatures;
            let is_open = after.unchecked > before.unchecked || after.wrong > before.wrong;
            snapshot.unsigned +=
                usize::from(is_own && !is_open && by.iter().all(|signer| !governing.contains(*signer)));
        }
    }
    Ok(snapshot)
}

fn bytes_of(message: &[u8], number: u64) -> Option<&[u8]> {
    all_bytes_of(message, number).next()
}

fn all_bytes_of(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    wire::fields(message).filter_map(move |field| match field {
        Ok((found, Held::Bytes(bytes))) if found == number => Some(bytes),
        _ => None,
    })
}

fn transaction(item: &[u8]) -> Option<Signed<'_>> {
    let (signed, _) = wire::envelope(bytes_of(item, 3)?).ok()?;
    let whole = bytes_of(signed, 1)?;
    let (inside, _) = wire::envelope(whole).ok()?;
    let (mut operation, mut serial, mut mapping) = (0, 0, None);
    for field in wire::fields(inside) {
        match field.ok()? {
            (1, Held::Number(number)) => operation = number,
            (2, Held::Number(number)) => serial = number,
            (3, Held::Bytes(bytes)) => mapping = Some(bytes),
            _ => {}
        }
    }
    let (kind, mapping) = match wire::fields(mapping?).next()?.ok()? {
        (kind, Held::Bytes(mapping)) => (kind, mapping),
        _ => return None,
    };
    // Every signature must be readable too, or the transaction is not.
    wire::fields(signed).all(|field| field.is_ok()).then_some(())?;
    Some(Signed {
        whole,
        signed,
        serial,
        mapping: (if operation == 1 { kind } else { 0 }, mapping),
    })
}

/// A public key in a mapping.
struct Named {
    purpose: Purpose,
    fingerprint: String,
    algorithm: Algorithm,
    /// As it is written.
    bare: Vec<u8>,
}

/// The keys that a mapping names, of mappings that are looked into; `None` where one can't be read.
fn keys_of((kind, mapping): (u64, &[u8])) -> Option<Vec<Named>> {
    match kind {
        1 => Some(vec![named(bytes_of(mapping, 2)?, Purpose::Signing)?]),
        4 => {
            let mut keys = Vec::new();
            for key in all_bytes_of(mapping, 2).take(MOST_KEYS + 1) {
                keys.push(match wire::fields(key).next()?.ok()? {
                    (1, Held::Bytes(key)) => named(key, Purpose::Signing)?,
                    (2, Held::Bytes(key)) => named(key, Purpose::Encryption)?,
                    _ => return None,
                });
            }
            (keys.len() <= MOST_KEYS).then_some(keys)
        }
        _ => Some(Vec::new()),
    }
}

fn named(key: &[u8], purpose: Purpose) -> Option<Named> {
    let half = Half::read(key, purpose).ok()?;
    let algorithm = half.algorithm();
    let bare = derive::written(algorithm, half.format, half.bytes)?.bare;
    Some(Named {
        purpose,
        fingerprint: fingerprint(&bare),
        algorithm,
        bare,
    })
}

/// The fingerprints of all that signed a transaction, alone or together with others.
fn signed_by(signed: &[u8]) -> Vec<&str> {
    let together = all_bytes_of(signed, 4).flat_map(|several| all_bytes_of(several, 2));
    all_bytes_of(signed, 2)
        .chain(together)
        .filter_map(|signature| std::str::from_utf8(bytes_of(signature, 3)?).ok())
        .take(MOST_KEYS)
        .collect()
}

type Signers = BTreeMap<String, (Algorithm, Vec<u8>)>;

/// Verifies a transaction's signatures, and answers whose are valid.
fn verify<'a>(signed: &Signed<'a>, signers: &Signers, count: &mut Signatures) -> Vec<&'a str> {
    let mut by = Vec::new();
    let digest = sha256_parts(&[&TRANSACTION_PURPOSE.to_be_bytes(), signed.whole]);
    let hash = [&[0x12, 0x20], digest.as_slice()].concat();
    // A signature of several transactions is of another hash, which is not computed here.
    count.unchecked += all_bytes_of(signed.signed, 4).count();
    for signature in all_bytes_of(signed.signed, 2) {
        let is_enough = count.valid + count.wrong >= MOST_VERIFIED;
        let signer = bytes_of(signature, 3).and_then(|signer| std::str::from_utf8(signer).ok());
        let known = signer.and_then(|signer| Some((signer, signers.get(signer)?)));
        let Some((signer, (algorithm, key))) = known else {
            count.unknown += 1;
            continue;
        };
        let valid = match bytes_of(signature, 2) {
            _ if is_enough || bytes_of(signature, 5).is_some() => None,
            Some(bytes) => is_valid((*algorithm, key), hash_of(signature), &hash, bytes),
            None => Some(false),
        };
        match valid {
            Some(true) => {
                count.valid += 1;
                by.push(signer);
            }
            Some(false) => count.wrong += 1,
            None => count.unchecked += 1,
        }
    }
    by
}

/// The hash that a signature of ECDSA names.
fn hash_of(signature: &[u8]) -> Option<HashAlgorithm> {
    wire::fields(signature).find_map(|field| match field {
        Ok((4, Held::Number(2))) => Some(HashAlgorithm::Sha256),
        Ok((4, Held::Number(3))) => Some(HashAlgorithm::Sha384),
        _ => None,
    })
}

/// Whether a signature is of these bytes; `None` where that can't be computed here.
fn is_valid(
    (algorithm, key): (Algorithm, &[u8]),
    hash: Option<HashAlgorithm>,
    message: &[u8],
    signature: &[u8],
) -> Option<bool> {
    match algorithm {
        Algorithm::Ed25519 => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
            let signature = ed25519_dalek::Signature::from_slice(signature);
            Some(signature.is_ok_and(|signature| {
                use ed25519_dalek::Verifier;
                key.verify(message, &signature).is_ok()
            }))
        }
        Algorithm::P256 | Algorithm::P384 => {
            let key = VerifyingKey::from_spki_der(key).ok()?;
            let hash = hash.unwrap_or(key.curve().hash());
            Some(key.verify_der(hash, message, signature).is_ok())
        }
        Algorithm::Rsa | Algorithm::Unknown(_) => None,
    }
}
