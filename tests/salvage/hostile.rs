//! Files made to mislead, and places that must not be written to.

use std::path::Path;
use std::time::Instant;

use rekindle::format::entry::{EntryIv, write_entry};

use super::histories::{files, run};
use super::seeded::scratch;
use super::support::{Service, contents, copy_files};

fn small() -> Service {
    Service::made(&[
        "--entries",
        "80",
        "--signature-every",
        "10",
        "--chunk-size",
        "4000",
        "--curve",
        "p256",
    ])
}

/// An entry of this seqno and view that nobody signed.
fn forged(seqno: u64, view: u64, more: &[u8]) -> Vec<u8> {
    let mut public = vec![0];
    public.extend_from_slice(&seqno.to_le_bytes());
    public.extend_from_slice(&[0; 8]);
    let mut out = Vec::new();
    let iv = EntryIv {
        seqno,
        view,
        snapshot: false,
    };
    write_entry(&mut out, 0, &[7; 16], iv, &public, more).unwrap();
    out
}

/// Salvages a service's ledger together with one more file, and expects the ledger as it was.
#[track_caller]
fn with_file(service: &Service, name: &str, bytes: &[u8]) {
    let scratch = scratch();
    let copy = scratch.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::write(copy.join(name), bytes).unwrap();
    let output = scratch.path().join("out");
    let began = Instant::now();
    run(&[&copy, &service.ledger()], &output, &[]).expect(0);
    assert!(files(&output.join("ledger")) == files(&service.ledger()), "{name}");
    assert!(began.elapsed().as_secs() < 60, "{name} took {:?}", began.elapsed());
}

#[test]
fn forged_entries_sizes_and_tables_mislead_nobody() {
    let service = small();
    let forged_run: Vec<u8> = (1..100u64).flat_map(|seqno| forged(seqno, 9, b"secret")).collect();
    with_file(&service, "ledger_1", &[&[0; 8], &forged_run[..]].concat());
    // In every view, at one seqno.
    let many: Vec<u8> = (0..200_000u64)
        .flat_map(|i| forged(17, 1 + i % 50, &i.to_le_bytes()))
        .collect();
    with_file(&service, "ledger_17", &[&[0; 8], &many[..]].concat());
    // An entry that claims 4 GiB, and one that claims as much as can be written.
    for size in [u32::MAX as u64, (1 << 48) - 1] {
        let mut bytes = forged(5, 2, b"");
        bytes[2..8].copy_from_slice(&size.to_le_bytes()[..6]);
        bytes.extend_from_slice(&forged_run);
        with_file(&service, "ledger_5", &[&[0; 8], &bytes[..]].concat());
    }
    // Real chunks with tables that lie.
    for (name, bytes) in files(&service.ledger()) {
        let mut bytes = bytes;
        let end = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        if end > 0 {
            bytes[end..].reverse();
            with_file(&service, &name.to_string_lossy(), &bytes);
            bytes[..8].copy_from_slice(&500u64.to_le_bytes());
            with_file(&service, &name.to_string_lossy(), &bytes);
        }
    }
}

/// Entries of a service's ledger, by seqno.
fn entries(service: &Service) -> Vec<(u64, Vec<u8>)> {
    let files = super::damage::read(&service.ledger()).into_iter();
    let each = files.flat_map(|file| {
        let own: Vec<Vec<u8>> = file
            .entries
            .iter()
            .map(|range| file.bytes[range.clone()].to_vec())
            .collect();
        (file.first..).zip(own)
    });
    each.collect()
}

/// The same signature transaction in another view, with another tag: its tree and root are right, its signature is not its own.
fn variants(entry: &[u8], view: u32, count: u32) -> Vec<u8> {
    let each = (0..count).flat_map(|number| {
        let mut entry = entry.to_vec();
        entry[8..12].copy_from_slice(&number.to_le_bytes());
        entry[32..36].copy_from_slice(&view.to_le_bytes());
        entry
    });
    [0; 8].into_iter().chain(each).collect()
}

#[test]
fn hundreds_of_forged_signatures_hide_no_true_one() {
    let service = small();
    let signed = super::damage::signatures(&super::damage::read(&service.ledger()));
    let entries = entries(&service);
    let (last, _) = *signed.last().unwrap();
    for view in [2, 9] {
        let scratch = scratch();
        let copy = scratch.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for (seqno, _) in signed.iter().filter(|(seqno, _)| view == 9 || *seqno == last) {
            let bytes = variants(&entries[*seqno as usize - 1].1, view, 300);
            std::fs::write(copy.join(format!("ledger_{seqno}")), bytes).unwrap();
        }
        for (number, copies) in [[&copy, &service.ledger()], [&service.ledger(), &copy]]
            .iter()
            .enumerate()
        {
            let output = scratch.path().join(number.to_string());
            run(&[copies[0], copies[1]], &output, &[]).expect(0);
            assert!(
                files(&output.join("ledger")) == files(&service.ledger()),
                "view {view}, {number}"
            );
        }
    }
}

#[test]
fn forged_entries_that_go_on_for_ever_are_not_read_for_every_signature() {
    let service = small();
    let many: Vec<u8> = (1..40_000u64).flat_map(|seqno| forged(seqno, 9, b"")).collect();
    with_file(&service, "ledger_1", &[&[0; 8], &many[..]].concat());
}

#[test]
fn thousands_of_files_that_go_on_where_the_ledger_ends_are_each_looked_at_once() {
    let service = small();
    let next = entries(&service).len() as u64 + 1;
    let scratch = scratch();
    let copy = scratch.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for number in 0..12_000u64 {
        let bytes = [&[0; 8], &forged(next, 2, &number.to_le_bytes())[..]].concat();
        std::fs::write(copy.join(format!("x{number}")), bytes).unwrap();
    }
    let output = scratch.path().join("out");
    let began = Instant::now();
    // Any of them may be what comes next, for all that is left of their copy: that is said, and none is taken.
    let report = run(&[&service.ledger(), &copy], &output, &[]).expect(1).json();
    assert_eq!(report["is_complete"], false);
    assert!(files(&output.join("ledger")) == files(&service.ledger()));
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn a_signature_by_nobody_the_service_knows_proves_nothing() {
    // The whole ledger of another service, but for its first chunk, and so for everything that could be trusted in it.
    let other = Service::made(&[
        "--entries",
        "200",
        "--signature-every",
        "10",
        "--chunk-size",
        "4000",
        "--curve",
        "p256",
        "--seed",
        "5",
    ]);
    let service = small();
    let scratch = scratch();
    let copy = scratch.path().join("copy");
    copy_files(&other.ledger(), &copy);
    let (_, first) = super::support::chunks(&copy).swap_remove(0);
    std::fs::remove_file(first).unwrap();
    let output = scratch.path().join("out");
    let report = run(&[&copy, &service.ledger()], &output, &[]).json();
    let expected = files(&service.ledger());
    assert!(files(&output.join("ledger")) == expected, "{report:#}");
}

#[test]
fn one_file_a_hundred_times_costs_little_and_the_copies_are_not_touched() {
    let service = small();
    let scratch = scratch();
    let copies = scratch.path().join("copies");
    for number in 0..100 {
        copy_files(&service.ledger(), &copies.join(number.to_string()));
    }
    let before = contents(&copies);
    let output = scratch.path().join("out");
    run(&[&copies], &output, &[]).expect(0);
    assert!(files(&output.join("ledger")) == files(&service.ledger()));
    assert!(contents(&copies) == before);
    rekindle!["verify", output.join("ledger")].expect(0);
}

#[test]
fn nothing_is_written_into_a_copy_or_over_anything() {
    let service = small();
    let scratch = scratch();
    let occupied = scratch.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("precious"), "precious").unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let link = scratch.path().join("link");
    std::fs::create_dir(scratch.path().join("elsewhere-empty")).unwrap();
    std::os::unix::fs::symlink(scratch.path().join("elsewhere-empty"), &link).unwrap();
    let before = contents(scratch.path());
    let places: [&Path; 5] = [
        &occupied,
        &file,
        &link,
        &service.ledger().join("out"),
        &scratch.path().join("no/out"),
    ];
    for place in places {
        let refused = run(&[&service.ledger()], place, &[]);
        assert!(
            matches!(refused.code, Some(2 | 3)),
            "{place:?}: {:?} {}",
            refused.code,
            refused.stderr
        );
        assert!(refused.stdout.is_empty());
    }
    assert!(contents(scratch.path()) == before);
    let empty = scratch.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    run(&[&service.ledger()], &empty, &[]).expect(0);
    assert!(files(&empty.join("ledger")) == files(&service.ledger()));
    let elsewhere = scratch.path().join("elsewhere");
    run(&[&service.ledger()], &elsewhere, &["--prefer", "/nowhere"]).expect(2);
    let nothing = scratch.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    run(&[&nothing], &elsewhere, &[]).expect(1);
    assert!(!elsewhere.exists());
}
