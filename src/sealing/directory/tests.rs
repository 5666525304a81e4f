use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::crypto::LedgerSecret;
use crate::sealing::KeyFile;

fn key() -> (TempDir, KeyFile) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("key.hex");
    std::fs::write(&path, "11".repeat(32)).unwrap();
    let key = KeyFile::read(&path).unwrap();
    (scratch, key)
}

fn sealed(version: Seqno, secret: u8, key: &dyn SealingKey) -> Vec<u8> {
    SealedSecret::seal(
        &LedgerSecret::from_bytes([secret; 32]),
        version,
        None,
        key,
        [secret; 12],
    )
    .unwrap()
}

fn found(directory: &Path, wanted: Seqno, key: &dyn SealingKey) -> (Option<u8>, Vec<Refused>) {
    let search = search(directory, wanted, key, |unsealed| Ok(unsealed.secret.as_bytes()[0]));
    (search.found.map(|(_, first)| first), search.refused)
}

fn kinds(refused: &[Refused]) -> Vec<&str> {
    refused.iter().map(|refused| refused.kind).collect()
}

#[test]
fn what_is_written_is_found_and_nobody_else_may_read_it() {
    let (scratch, key) = key();
    let directory = scratch.path().join("a/sealed");
    for (version, secret) in [(1, 7), (141, 8)] {
        let path = write(&directory, version, &sealed(version, secret, &key)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let (secret, refused) = found(&directory, 141, &key);
    assert_eq!((secret, kinds(&refused)), (Some(8), vec!["stale"]));
    let (secret, refused) = found(&directory, 1, &key);
    assert_eq!((secret, kinds(&refused)), (Some(7), vec!["future"]));
}

#[test]
fn a_file_of_the_same_version_is_kept_aside() {
    let (scratch, key) = key();
    for secret in [1, 2, 3] {
        write(scratch.path(), 9, &sealed(9, secret, &key)).unwrap();
    }
    assert_eq!(found(scratch.path(), 9, &key).0, Some(3));
    for (number, secret) in [(1, 1), (2, 2)] {
        let kept = scratch.path().join(format!("replaced-{number}.9.sealed.json"));
        assert_eq!(std::fs::read(kept).unwrap(), sealed(9, secret, &key));
    }
}

#[test]
fn a_failing_write_leaves_what_was_there() {
    let (scratch, key) = key();
    let file = scratch.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    assert!(write(&file, 9, &sealed(9, 1, &key)).is_err());
    std::fs::create_dir(scratch.path().join("9.sealed.json")).unwrap();
    assert!(write(scratch.path(), 9, &sealed(9, 1, &key)).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"not a directory");
}

#[test]
fn every_wrong_file_is_named_with_its_reason_and_a_right_one_beside_it_is_taken() {
    let (scratch, key) = key();
    let directory = scratch.path().join("sealed");
    std::fs::create_dir(&directory).unwrap();
    let other = {
        std::fs::write(scratch.path().join("other.hex"), "22".repeat(32)).unwrap();
        KeyFile::read(&scratch.path().join("other.hex")).unwrap()
    };
    let right = sealed(9, 1, &key);
    let put = |name: &str, bytes: &[u8]| std::fs::write(directory.join(name), bytes).unwrap();
    put("9.a-truncated", &right[..right.len() / 2]);
    put("9.b-foreign", &sealed(9, 1, &other));
    put("9.c-renamed", &sealed(8, 1, &key));
    put("9.d-large", &vec![b' '; MAX_FILE_BYTES as usize + 1]);
    put("9.e-empty", b"");
    put("9.f-not-json", b"\x1b[31m");
    std::fs::create_dir(directory.join("9.g-directory")).unwrap();
    symlink(directory.join("nowhere"), directory.join("9.h-nowhere")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        directory.join("9.i-pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    put("10.sealed.json", &sealed(10, 1, &key));
    put("README", b"");
    put("\u{1b}[31m.sealed.json", b"");
    let expected = [
        "unreadable",
        "unreadable",
        "unreadable",
        "malformed",
        "truncated",
        "malformed",
        "renamed",
        "does-not-open",
        "truncated",
        "future",
    ];
    let (secret, refused) = found(&directory, 9, &key);
    assert_eq!((secret, kinds(&refused)), (None, expected.to_vec()));
    put("9.j-right", &right);
    assert_eq!(found(&directory, 9, &key).0, Some(1));
    put("9.sealed.json", &right);
    let (secret, refused) = found(&directory, 9, &key);
    assert_eq!(
        (secret, kinds(&refused)),
        (Some(1), vec!["future"]),
        "the right name comes first"
    );
}

#[test]
fn a_missing_directory_is_said_to_be_missing_and_not_where() {
    let (scratch, key) = key();
    let (secret, refused) = found(&scratch.path().join("none"), 9, &key);
    assert_eq!((secret, kinds(&refused)), (None, vec!["unreadable"]));
    assert!(refused[0].why.contains("No such file"), "{}", refused[0].why);
    let place = scratch.path().to_str().unwrap();
    assert!(
        !refused[0].file.contains(place) && !refused[0].why.contains(place),
        "{refused:?}"
    );
    assert_eq!(found(scratch.path(), 9, &key).1, []);
}

#[test]
fn a_secret_that_the_ledger_does_not_take_is_refused_with_its_words() {
    let (scratch, key) = key();
    write(scratch.path(), 9, &sealed(9, 1, &key)).unwrap();
    let search = search(scratch.path(), 9, &key, |_| Err::<(), _>("it is another's".to_owned()));
    assert!(search.found.is_none());
    assert_eq!(search.refused[0].kind, "not-of-this-ledger");
    assert!(search.refused[0].why.ends_with("it is another's"));
}

#[test]
fn what_is_replaced_is_kept_once_however_often_it_is_tried() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    write(directory, 7, b"of another life").unwrap();
    let there = directory.join(file_name(7));
    for _ in 0..3 {
        keep(directory, 7, &there, &there.symlink_metadata().unwrap()).unwrap();
    }
    write(directory, 7, b"new").unwrap();
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["7.sealed.json", "replaced-1.7.sealed.json"]);
    assert_eq!(std::fs::read(directory.join(&names[1])).unwrap(), b"of another life");
}

#[test]
fn nothing_is_sealed_into_a_link_or_a_pipe() {
    let scratch = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/null", scratch.path().join(file_name(7))).unwrap();
    let why = write(scratch.path(), 7, b"new").unwrap_err().to_string();
    assert!(why.contains("no file"), "{why}");
}

#[test]
fn a_directory_full_of_names_is_not_read_to_its_end_and_hides_no_file() {
    let (scratch, key) = key();
    let directory = scratch.path().join("sealed");
    std::fs::create_dir(&directory).unwrap();
    for version in 0..MAX_LISTED + 5 {
        std::fs::write(directory.join(format!("{}.sealed.json", 100 + version)), "").unwrap();
    }
    let listing = Listing::of(&directory).unwrap();
    assert_eq!((listing.files.len(), listing.is_cut), (MAX_LISTED, true));
    // Whichever of them the listing leaves out.
    for wanted in [9, 100, 100 + MAX_LISTED as Seqno + 4] {
        write(&directory, wanted, &sealed(wanted, 1, &key)).unwrap();
        let (secret, refused) = found(&directory, wanted, &key);
        assert_eq!(secret, Some(1), "{wanted}");
        assert!(refused.len() < 100, "{}", refused.len());
    }
}
