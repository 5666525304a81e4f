//! Entries of a made-up ledger, as a follower meets them, and what somebody makes of them on the way.

use std::collections::BTreeMap;

use super::*;
use crate::crypto::{AeadKey, LedgerSecret};
use crate::fixture::{Options, generate};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::EntryType;
use crate::journal::SealKey;
use crate::journal::seal::Sealer;
use crate::kv::store::Store;
use crate::recovery::segments::Windows;
use crate::report::progress::Silent;

/// Nobody's keys: what is private stays closed.
struct NoKeys;

impl Keys for NoKeys {
    fn key_at(&self, _: Seqno) -> Option<&AeadKey> {
        None
    }
}

struct OneKey(AeadKey);

impl Keys for OneKey {
    fn key_at(&self, _: Seqno) -> Option<&AeadKey> {
        Some(&self.0)
    }
}

fn ledger() -> BTreeMap<Seqno, Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        entries: 60,
        signature_every: 10,
        ..Options::default()
    };
    generate(&options, directory.path(), &Silent).unwrap();
    let files = LedgerFiles::list(&[directory.path().join("ledger")], false).unwrap();
    let mut entries = BTreeMap::new();
    let mut windows = Windows::new(&files, 1, Seqno::MAX);
    while let Some(window) = windows.next_window().unwrap() {
        for segment in window {
            segment.for_each(|located| drop(entries.insert(located.seqno, located.entry.raw.to_vec())));
        }
    }
    entries
}

/// The state before each entry, and the entry.
fn each(mut look: impl FnMut(&Store, Seqno, &[u8])) {
    let mut store = Store::new();
    for (seqno, raw) in ledger() {
        look(&store, seqno, &raw);
        let followed = check(&raw, &store.freeze(), &NoKeys).unwrap();
        assert_eq!(followed.txid.seqno, seqno);
        store.apply(seqno, &followed.writes);
    }
}

#[test]
fn every_entry_of_a_ledger_is_taken_and_signatures_say_the_root_that_they_sign() {
    let mut signed = 0;
    each(|store, _, raw| {
        let followed = check(raw, &store.freeze(), &NoKeys).unwrap();
        assert_eq!(&*followed.raw, raw);
        signed += u32::from(followed.signs.is_some());
    });
    assert!(signed >= 6, "{signed}");
}

#[test]
fn under_another_secret_no_tag_holds() {
    let keys = OneKey(LedgerSecret::from_bytes([9; 32]).aead());
    each(|store, seqno, raw| {
        let found = check(raw, &store.freeze(), &keys);
        assert!(matches!(found, Err(Misfit::Tag)), "{seqno}");
    });
}

#[test]
fn a_signature_of_which_any_byte_is_changed_is_none_or_another_entry() {
    let mut tried = 0;
    each(|store, seqno, raw| {
        let good = check(raw, &store.freeze(), &NoKeys).unwrap();
        if good.signs.is_none() || tried > 0 {
            return;
        }
        tried += 1;
        for at in 0..raw.len() {
            let mut bad = raw.to_vec();
            bad[at] ^= 1;
            match check(&bad, &store.freeze(), &NoKeys) {
                Err(_) => {}
                // What no signature covers changes the leaf, and so the root that the next signature is over; or says that it
                // is another entry.
                Ok(found) => assert!(
                    found.leaf != good.leaf || found.txid != good.txid || found.flags != good.flags,
                    "byte {at} of the signature at {seqno}"
                ),
            }
        }
    });
    assert_eq!(tried, 1);
}

#[test]
fn who_has_no_endorsed_certificate_signs_nothing_and_nobody_signs_for_another_transaction() {
    each(|store, seqno, raw| {
        let good = check(raw, &store.freeze(), &NoKeys).unwrap();
        if good.signs.is_none() {
            return;
        }
        let found = check(raw, &Store::new().freeze(), &NoKeys);
        assert!(matches!(found, Err(Misfit::Signature(_))), "{seqno}");
        let elsewhere = TxId {
            view: good.txid.view,
            seqno: seqno + 1,
        };
        let found = signed_root(elsewhere, &good.writes, &store.freeze());
        assert!(matches!(found, Err(Misfit::Signature(_))), "{seqno}");
        let (mut without_node, mut with_other_service) = (WriteSet::new(), good.writes.clone());
        for (map, write) in good.writes.iter().filter(|(map, _)| *map != names::SIGNATURES) {
            if let Some(value) = write.value {
                without_node.put(map, write.key, value);
            }
        }
        let alone = signed_root(good.txid, &without_node, &store.freeze());
        assert_eq!(alone.unwrap(), good.signs, "the service alone, as since 7.0");
        with_other_service.put(
            names::COSE_SIGNATURES,
            SINGLETON_KEY,
            crate::tables::values::to_json(&Base64(vec![0xd2, 0x84])),
        );
        let found = signed_root(good.txid, &with_other_service, &store.freeze());
        assert!(matches!(found, Err(Misfit::Signature(_))), "{seqno}");
    });
}

#[test]
fn bytes_after_an_entry_are_not_its_own() {
    each(|store, _, raw| {
        let longer = [raw, &[0]].concat();
        assert!(matches!(
            check(&longer, &store.freeze(), &NoKeys),
            Err(Misfit::Longer(1))
        ));
        let cut = &raw[..raw.len() - 1];
        assert!(matches!(
            check(cut, &store.freeze(), &NoKeys),
            Err(Misfit::Unreadable(_))
        ));
    });
}

/// Takes a frame of these bytes, run by run; answers the entries of each run, and what was refused.
fn runs(bytes: &[u8], (after, through): (Seqno, Seqno)) -> (Vec<Vec<Followed>>, Option<Seqno>) {
    let mut store = Store::new();
    let bytes = Bytes::copy_from_slice(bytes);
    let mut frame = Frame::new(&bytes, after, through);
    let mut runs = Vec::new();
    while let Some(Run { entries, refused }) = frame.check_next(&store.freeze(), &NoKeys) {
        for entry in &entries {
            store.apply(entry.txid.seqno, &entry.writes);
        }
        runs.push(entries);
        if let Some((seqno, _)) = refused {
            return (runs, Some(seqno));
        }
    }
    (runs, None)
}

#[test]
fn entries_of_a_frame_are_the_same_run_by_run_as_one_by_one_and_only_the_last_of_a_run_governs() {
    let ledger = ledger();
    let last = *ledger.keys().next_back().unwrap();
    let bytes: Vec<u8> = ledger.values().flatten().copied().collect();
    let (runs, refused) = runs(&bytes, (0, last));
    assert_eq!(refused, None);
    assert!(runs.iter().any(|run| run.len() > 3), "entries of users go together");
    for run in &runs {
        let (_, others) = run.split_last().unwrap();
        assert!(others.iter().all(|entry| !governs(&entry.raw)));
    }
    let mut found = runs.into_iter().flatten();
    each(|store, seqno, raw| {
        let (one, other) = (check(raw, &store.freeze(), &NoKeys).unwrap(), found.next().unwrap());
        assert_eq!(
            (one.txid, one.leaf, one.flags, one.signs, &one.raw),
            (other.txid, other.leaf, other.flags, other.signs, &other.raw),
            "{seqno}"
        );
        assert!(one.writes.iter().eq(other.writes.iter()));
    });
    assert!(found.next().is_none());
}

#[test]
fn many_entries_are_read_by_several_threads_and_the_first_that_is_bad_is_named() {
    let ledger = ledger();
    let (_, raw) = ledger.iter().find(|(_, raw)| !governs(raw)).unwrap();
    let (iv, key) = (
        Entry::parse(raw).unwrap().iv(),
        LedgerSecret::from_bytes([9; 32]).aead(),
    );
    let bytes: Vec<u8> = (0..1000).flat_map(|n| moved(raw, iv.seqno + n)).collect();
    let bytes = Bytes::from(bytes);
    let frame = || Frame::new(&bytes, iv.seqno - 1, iv.seqno + 999);
    let Run { entries, refused } = frame().check_next(&Store::new().freeze(), &NoKeys).unwrap();
    assert_eq!((entries.len(), refused.is_none()), (1000, true));
    for (n, entry) in (0..).zip(&entries) {
        let one = check(&moved(raw, iv.seqno + n), &Store::new().freeze(), &NoKeys).unwrap();
        assert_eq!((entry.leaf, &entry.raw), (one.leaf, &one.raw));
    }
    // A key that opens nothing.
    let Run { entries, refused } = frame().check_next(&Store::new().freeze(), &OneKey(key)).unwrap();
    assert!(entries.is_empty() && matches!(refused, Some((seqno, Misfit::Tag)) if seqno == iv.seqno));
}

/// An entry that says that it is another one, as far as it can without the ledger secret.
fn moved(raw: &[u8], seqno: Seqno) -> Vec<u8> {
    let mut raw = raw.to_vec();
    // In the nonce, and after the type in the public domain.
    for at in [0x18, 0x2d] {
        raw[at..at + 8].copy_from_slice(&seqno.to_le_bytes());
    }
    raw
}

#[test]
fn what_is_private_is_opened_for_each_entry_wherever_it_lies_in_the_frame() {
    let secret = LedgerSecret::from_bytes([7; 32]);
    let (key, mut sealer) = (SealKey::new(&secret), Sealer::default());
    let mut bytes = Vec::new();
    for seqno in 1..=300u64 {
        let mut writes = WriteSet::new();
        writes.put("public:counted", "n", seqno.to_string());
        // Now and then there is nothing private.
        if seqno % 7 != 0 {
            writes.put("records", format!("key {seqno}"), vec![seqno as u8; seqno as usize]);
            writes.remove("others", format!("key {seqno}"));
        }
        let (of, txid) = (EntryType::WriteSetWithCommitEvidenceAndClaims, TxId { view: 2, seqno });
        sealer.seal(&key, of, txid, &writes, None, |_| 0).unwrap();
        bytes.extend_from_slice(sealer.raw());
    }
    let bytes = Bytes::from(bytes);
    let opened = |keys: &dyn Keys| {
        let mut frame = Frame::new(&bytes, 0, 300);
        let Run { entries, refused } = frame.check_next(&Store::new().freeze(), keys).unwrap();
        assert!(refused.is_none() && entries.len() == 300);
        entries
    };
    for entry in opened(&OneKey(secret.aead())) {
        let seqno = entry.txid.seqno;
        let mut found = Vec::new();
        entry.private.for_each(|map, write| {
            found.push((map.to_owned(), write.key.to_vec(), write.value.map(<[u8]>::to_vec)));
        });
        let key = format!("key {seqno}").into_bytes();
        let expected = [
            ("others".to_owned(), key.clone(), None),
            ("records".to_owned(), key, Some(vec![seqno as u8; seqno as usize])),
        ];
        assert_eq!(
            found,
            expected.get(..if seqno % 7 == 0 { 0 } else { 2 }).unwrap(),
            "{seqno}"
        );
        assert_eq!(entry.writes.maps().collect::<Vec<_>>(), ["public:counted"]);
    }
    assert!(opened(&NoKeys).iter().all(|entry| entry.private.is_empty()));
}

/// Whether an entry writes to a table that decides about those after it.
fn governs(raw: &[u8]) -> bool {
    let read = Read::public(Entry::parse(raw).unwrap()).unwrap();
    read.writes.maps().any(|map| map.starts_with("public:ccf."))
}

#[test]
fn what_comes_before_a_bad_entry_is_taken_and_nothing_after_it() {
    let ledger = ledger();
    let last = *ledger.keys().next_back().unwrap();
    for bad in [1, 7, 25, last] {
        let mut bytes = Vec::new();
        for (seqno, raw) in &ledger {
            let mut raw = raw.clone();
            if *seqno == bad {
                raw[0] = 9; // no version that there is
            }
            bytes.extend(raw);
        }
        let (runs, refused) = runs(&bytes, (0, last));
        assert_eq!(refused, Some(bad));
        let taken: Vec<Seqno> = runs.iter().flatten().map(|entry| entry.txid.seqno).collect();
        assert_eq!(taken, (1..bad).collect::<Vec<_>>());
    }
}

#[test]
fn two_entries_of_one_seqno_do_not_make_a_run_nor_does_one_that_comes_too_early() {
    let ledger = ledger();
    let (at, plain) = ledger.iter().find(|(_, raw)| !governs(raw)).unwrap();
    let governing = ledger.values().find(|raw| governs(raw)).unwrap();
    let taken = |entries: &[(&[u8], Seqno)]| {
        let bytes: Vec<u8> = entries.iter().flat_map(|(raw, seqno)| moved(raw, *seqno)).collect();
        let bytes = Bytes::from(bytes);
        let mut frame = Frame::new(&bytes, at - 1, at + 5);
        let Run { entries, refused } = frame.check_next(&Store::new().freeze(), &NoKeys).unwrap();
        let refused = refused.map(|(seqno, why)| (seqno - at, why.to_string()));
        (entries.len(), refused)
    };
    let misplaced = |expected: u64, found: u64| {
        let (expected_seqno, found) = (at + expected, at + found);
        Some((expected, format!("it is of seqno {found}, expected {expected_seqno}")))
    };
    // What the second means would be believed, since an entry of its seqno is written: the first.
    assert_eq!(taken(&[(plain, *at), (governing, *at)]), (1, misplaced(1, 0)));
    assert_eq!(taken(&[(plain, *at), (plain, at + 2)]), (1, misplaced(1, 2)));
    assert_eq!(taken(&[(plain, at + 1)]), (0, misplaced(0, 1)));
    // What is there already may only come first.
    let (taken_after_known, _) = taken(&[(plain, at - 2), (plain, at - 1), (plain, *at), (governing, at + 1)]);
    assert_eq!(taken_after_known, 2);
    let known_again = taken(&[(plain, *at), (plain, at - 1), (plain, at + 1)]);
    assert_eq!((known_again.0, known_again.1.map(|(seqno, _)| seqno)), (1, Some(1)));
}

#[test]
fn the_nonce_of_a_snapshot_is_no_entrys() {
    each(|store, seqno, raw| {
        let mut bad = raw.to_vec();
        bad[0x23] |= 0x80;
        let found = check(&bad, &store.freeze(), &NoKeys);
        assert!(matches!(found, Err(Misfit::Snapshot)), "{seqno}");
    });
}

#[test]
fn all_that_is_governed_by_ends_a_run() {
    for name in names::ALL {
        assert!(!is_public(name) || name.starts_with(GOVERNS), "{name}");
    }
}

#[test]
fn an_entry_of_two_seqnos_or_that_writes_a_table_in_the_wrong_domain_is_none() {
    let ledger = ledger();
    let (seqno, raw) = ledger.iter().find(|(_, raw)| !governs(raw)).unwrap();
    let state = Store::new().freeze();
    let mut bad = raw.clone();
    bad[0x18..0x20].copy_from_slice(&(seqno + 1).to_le_bytes());
    let found = check(&bad, &state, &NoKeys);
    assert!(
        matches!(found, Err(Misfit::TwoSeqnos { nonce, domain }) if (nonce, domain) == (seqno + 1, *seqno)),
        "{seqno}"
    );
    let raw = ledger.values().find(|raw| governs(raw)).unwrap();
    let mut bad = raw.clone();
    let name = bad.windows(7).position(|window| window == b"public:").unwrap();
    bad[name] = b'q';
    assert!(matches!(check(&bad, &state, &NoKeys), Err(Misfit::Domain(_))));
    // Nor may what is private, and so not seen by everybody, write what everybody goes by.
    let (mut writes, mut private) = (WriteSet::new(), Vec::new());
    writes.put(names::NODES_INFO, "k", "v");
    writes.write_domain(true, &mut private);
    let found = collect(Maps::private(&private), false, &mut WriteSet::new());
    assert!(matches!(found, Err(Misfit::Domain(_))));
}

#[test]
fn a_node_signs_for_one_transaction_only_also_where_the_service_does_not_sign() {
    let mut signed = 0;
    each(|store, seqno, raw| {
        let good = check(raw, &store.freeze(), &NoKeys).unwrap();
        let Some(Some(value)) = good.writes.get(names::SIGNATURES, &SINGLETON_KEY) else {
            return;
        };
        let mut writes = WriteSet::new();
        writes.put(names::SIGNATURES, SINGLETON_KEY, value);
        assert_eq!(signed_root(good.txid, &writes, &store.freeze()).unwrap(), good.signs);
        let TxId { view, .. } = good.txid;
        let seqno_after = seqno + 1;
        for elsewhere in [
            TxId {
                view,
                seqno: seqno_after,
            },
            TxId { view: view + 1, seqno },
        ] {
            let found = signed_root(elsewhere, &writes, &store.freeze());
            assert!(matches!(found, Err(Misfit::Signature(_))), "{elsewhere}");
        }
        signed += 1;
    });
    assert!(signed > 0);
}
