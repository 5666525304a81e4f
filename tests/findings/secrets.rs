//! What `unlock` can find: shares that are wrong or too few, and entries that do not open with what they give.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle::crypto::rsa::DecryptionKey;
use rekindle::crypto::{LedgerSecret, Share, seal_blob};
use rekindle::format::chunk::{Layout, Step, Walker};
use rekindle::format::cursor::Cursor;
use rekindle::format::directory::LedgerFiles;
use rekindle::format::domain::PublicHeader;
use rekindle::format::entry::{Entry, write_entry};
use rekindle::format::{Seqno, TxId};
use rekindle::recovery::recovery_tables::RecoveryTables;
use rekindle::recovery::secrets::{Material, newest_version};
use rekindle::recovery::unlock::{open_secrets, unlock};
use rekindle::report::Finding;
use rekindle::report::progress::Silent;
use rekindle::sealing::{KeyFile, SealedFiles, SealedSecret, SealingKey};
use rekindle::tables::values::{HistoricalSecret, PreviousSecret, to_json};

use crate::ground::{Copy, Original, fixture, read_ledger};

/// Rekeyed and recovered twice; two of three members are needed.
const LEDGER: &str = "small";

fn key(member: usize) -> (String, DecryptionKey) {
    let path = fixture(LEDGER).join(format!("common/member{member}_enc_privk.pem"));
    let pem = std::fs::read_to_string(&path).unwrap();
    (format!("member{member}"), DecryptionKey::from_pem(&pem).unwrap())
}

fn keys(members: &[usize]) -> Material {
    Material {
        member_keys: members.iter().map(|&member| key(member)).collect(),
        ..Material::default()
    }
}

fn list(directory: PathBuf) -> LedgerFiles {
    LedgerFiles::list(&[directory], false).unwrap()
}

fn found(directory: PathBuf, material: &Material, at: Option<Seqno>) -> Vec<Finding> {
    unlock(&list(directory), &[], material, at, &Silent).unwrap().findings
}

fn ledger() -> PathBuf {
    fixture(LEDGER).join("ledger")
}

/// Entries of the fixture, with their files: the first for which `wanted` holds.
fn find<T>(mut wanted: impl FnMut(&Entry<'_>, &[u8]) -> Option<T>) -> (Original, u64, Seqno, T) {
    for file in read_ledger(&ledger()) {
        let first = list(ledger())
            .chunks
            .iter()
            .find(|chunk| chunk.file.path.ends_with(&file.name))
            .unwrap()
            .use_from;
        let mut walker = Walker::new(&file.bytes, Layout::read(&file.bytes).unwrap(), first);
        while let Step::Entry(located) = walker.step(&mut Vec::new()) {
            let mut cursor = Cursor::new(located.entry.public);
            PublicHeader::read(&mut cursor).unwrap();
            if let Some(found) = wanted(&located.entry, cursor.rest()) {
                let (offset, seqno) = (located.offset, located.seqno);
                return (file.clone(), offset, seqno, found);
            }
        }
    }
    panic!("the fixture holds no such entry");
}

fn secret_at(seqno: Seqno) -> LedgerSecret {
    let (opened, _) = open_secrets(&list(ledger()), &[], &keys(&[0, 1]), None).unwrap();
    opened.secrets.unwrap().at(seqno).unwrap().secret.clone()
}

/// The fixture with one entry sealed anew, as long as it was: with another public domain or other private writes.
fn sealed_anew(file: &Original, offset: u64, seqno: Seqno, change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Copy {
    let at = offset as usize;
    let entry = Entry::parse(&file.bytes[at..]).unwrap();
    let aead = secret_at(seqno).aead();
    let mut plaintext = zeroize::Zeroizing::new(Vec::new());
    aead.open(entry.iv_bytes, entry.public, entry.tag, entry.private, &mut plaintext)
        .unwrap();
    let (mut public, mut private) = (entry.public.to_vec(), plaintext.to_vec());
    change(&mut public, &mut private);
    let (mut ciphertext, mut raw) = (Vec::new(), Vec::new());
    let tag = aead.seal(entry.iv_bytes, &public, &private, &mut ciphertext).unwrap();
    write_entry(&mut raw, entry.flags, &tag, entry.iv(), &public, &ciphertext).unwrap();
    assert_eq!(raw.len(), entry.raw.len());
    let copy = Copy::of(&read_ledger(&ledger()));
    copy.write_at(&file.name, at, &raw);
    copy
}

fn private_entry() -> (Original, u64, Seqno, ()) {
    find(|entry, _| (!entry.private.is_empty()).then_some(()))
}

pub fn a_private_byte_changed() -> Vec<Finding> {
    let (file, offset, _, ()) = private_entry();
    let copy = Copy::of(&read_ledger(&ledger()));
    let end = offset as usize + Entry::parse(&file.bytes[offset as usize..]).unwrap().raw.len();
    copy.write_at(&file.name, end - 1, &[file.bytes[end - 1] ^ 1]);
    found(copy.path().to_owned(), &keys(&[0, 1]), None)
}

/// A ledger, and which of its entries it is.
pub fn an_entry_with_evidence_of_another_secret() -> (Copy, TxId) {
    let (file, offset, seqno, ()) = private_entry();
    let view = Entry::parse(&file.bytes[offset as usize..]).unwrap().iv().view;
    // Type, seqno, claims digest; then the digest of the commit evidence.
    let copy = sealed_anew(&file, offset, seqno, |public, _| public[1 + 8 + 32] ^= 1);
    (copy, TxId { view, seqno })
}

pub fn evidence_of_another_secret() -> Vec<Finding> {
    let (copy, _) = an_entry_with_evidence_of_another_secret();
    found(copy.path().to_owned(), &keys(&[0, 1]), None)
}

pub fn private_writes_that_can_not_be_read() -> Vec<Finding> {
    let (file, offset, seqno, ()) = private_entry();
    let copy = sealed_anew(&file, offset, seqno, |_, private| private.fill(0xff));
    found(copy.path().to_owned(), &keys(&[0, 1]), None)
}

pub fn a_share_of_an_earlier_generation() -> Vec<Finding> {
    let files = list(ledger());
    let (newest, _) = RecoveryTables::read(&files, None, Seqno::MAX).unwrap().shares.unwrap();
    let before = RecoveryTables::read(&files, None, newest - 1).unwrap();
    let (_, shares) = before.shares.unwrap();
    let (_, key) = key(2);
    let stale = shares
        .encrypted_shares
        .values()
        .find_map(|share| key.decrypt(&share.0).ok());
    let mut material = keys(&[0, 1]);
    material.member_keys.push(("member2".to_owned(), key));
    material
        .shares
        .push(("stale".to_owned(), Share::parse(&stale.unwrap()).unwrap()));
    found(ledger(), &material, None)
}

pub fn too_few_shares() -> Vec<Finding> {
    found(ledger(), &keys(&[0]), None)
}

/// Under the right name, and sealed under the right key.
pub fn a_sealed_file_of_another_service() -> Vec<Finding> {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("key.hex");
    std::fs::write(&path, "5a".repeat(32)).unwrap();
    let key: Arc<dyn SealingKey> = Arc::new(KeyFile::read(&path).unwrap());
    let files = list(ledger());
    let tables = RecoveryTables::read(&files, None, Seqno::MAX).unwrap();
    let version = newest_version(&tables.historical);
    let secret = LedgerSecret::from_bytes([3; 32]);
    let sealed = SealedSecret::seal(&secret, version, None, &*key, [4; 12]).unwrap();
    let directory = scratch.path().join("sealed");
    rekindle::sealing::directory::write(&directory, version, &sealed).unwrap();
    let material = Material {
        sealed: Some(SealedFiles { directory, key }),
        ..Material::default()
    };
    found(ledger(), &material, None)
}

pub fn a_broken_chain() -> Vec<Finding> {
    let stranger = LedgerSecret::from_bytes([9; 32]);
    let (file, offset, seqno, (value, forged)) = find(|entry, _| {
        let table = rekindle::tables::names::HISTORICAL_ENCRYPTED_LEDGER_SECRET.as_bytes();
        let at = entry.public.windows(table.len()).position(|window| window == table)?;
        let json = entry.public[at..].iter().position(|&byte| byte == b'{')? + at;
        let mut values = serde_json::Deserializer::from_slice(&entry.public[json..]).into_iter::<HistoricalSecret>();
        let secret = values.next()?.ok()?;
        let end = json + values.byte_offset();
        let previous = secret.previous_ledger_secret?;
        // The same secret, but sealed by one that nobody has.
        let blob = seal_blob(&stranger.aead(), &[1; 12], &[5; 32]).unwrap();
        let forged = HistoricalSecret {
            previous_ledger_secret: Some(PreviousSecret {
                encrypted_data: rekindle::tables::values::Base64(blob),
                ..previous
            }),
            next_version: secret.next_version,
        };
        Some((json..end, to_json(&forged)))
    });
    let copy = sealed_anew(&file, offset, seqno, |public, _| public[value].copy_from_slice(&forged));
    found(copy.path().to_owned(), &keys(&[0, 1]), None)
}
