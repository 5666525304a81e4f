//! The committed fixtures: made again to the byte by their command lines, and what their `expected.json` says they are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::support::{self, Run, Service};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn committed() -> Vec<PathBuf> {
    let mut directories: Vec<_> = std::fs::read_dir(root().join("fixtures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    assert!(directories.len() >= 3);
    directories
}

/// Every file below a directory, by its path in it.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = support::contents(directory).into_iter();
    all.filter_map(|(path, (_, bytes))| Some((path.strip_prefix(directory).unwrap().to_owned(), bytes?)))
        .collect()
}

#[test]
fn every_fixture_is_made_again_to_the_byte_by_its_command_line() {
    let readme = std::fs::read_to_string(root().join("fixtures/README.md")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let lines = readme
        .split('`')
        .filter_map(|text| text.strip_prefix("rekindle fixture --out "));
    let mut made = Vec::new();
    for line in lines {
        let (name, options) = line.split_once(' ').unwrap();
        let out = scratch.path().join(name);
        let mut arguments: Vec<OsString> = vec!["fixture".into(), "--out".into(), out.clone().into()];
        arguments.extend(options.split(' ').map(Into::into));
        Run::of(&arguments).expect(0);
        let (committed, again) = (files(&root().join(name)), files(&out));
        assert_eq!(
            committed.keys().collect::<Vec<_>>(),
            again.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (file, bytes) in &committed {
            assert!(again[file] == *bytes, "{name}: {} differs", file.display());
        }
        made.push(root().join(name));
    }
    made.sort();
    assert_eq!(made, committed(), "every committed fixture says how it was made");
}

#[test]
fn every_fixture_is_verified_unlocked_and_exported_as_expected() {
    for directory in committed() {
        let service = Service::at(directory.clone());
        let name = directory.display();
        let expected = service.expected();
        let snapshots = service.snapshots();
        let mut options: Vec<OsString> = vec!["verify".into(), service.ledger().into(), "--json".into()];
        if snapshots.is_dir() {
            options.extend(["--snapshots".into(), snapshots.into_os_string()]);
        }
        options.extend(["--service-cert".into(), service.common("service_cert.pem").into()]);
        let report = Run::of(&options).expect(0).json();
        for field in [
            "entries",
            "last_seqno",
            "signatures",
            "cose_signatures",
            "last_signed",
            "root",
            "unsigned_entries",
        ] {
            assert_eq!(report[field], expected[field], "{name}: {field}");
        }
        for (found, expected) in report["services"]
            .as_array()
            .unwrap()
            .iter()
            .zip(expected["services"].as_array().unwrap())
        {
            assert_eq!(found["from_seqno"], expected["from_seqno"], "{name}");
            assert_eq!(found["identity"], expected["identity"], "{name}");
        }
        assert_eq!(
            report["services"].as_array().unwrap().len(),
            expected["services"].as_array().unwrap().len()
        );
        assert_eq!(
            report["snapshots"].as_array().unwrap().len(),
            expected["snapshots"].as_array().unwrap().len()
        );

        let report = service.with_keys("unlock", &["--json"]).expect(0).json();
        assert_eq!(report["threshold"], expected["threshold"], "{name}");
        assert_eq!(report["private_decrypted"], report["private_domains"], "{name}");
        assert_eq!(
            report["secrets"].as_array().unwrap().len(),
            expected["secrets"].as_array().unwrap().len(),
            "{name}"
        );

        let history = service.export(true, &["--history"]);
        let private = history.iter().filter(|line| line["private"] == true).count();
        assert_eq!(private as u64, expected["private_writes"].as_u64().unwrap(), "{name}");
        assert_eq!(
            (history.len() - private) as u64,
            expected["public_writes"].as_u64().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_directory_that_holds_anything_is_refused_and_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("mine"), "mine").unwrap();
    rekindle!["fixture", "--out", scratch.path()].expect_sentence(2, &[scratch.path().to_str().unwrap(), "empty"]);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn the_seed_alone_makes_another_service() {
    let make = |seed: &str| Service::made(&["--entries", "10", "--seed", seed]);
    let [one, again, other] = ["7", "7", "8"].map(|seed| files(&make(seed).directory));
    assert!(one == again);
    assert_ne!(one[Path::new("expected.json")], other[Path::new("expected.json")]);
}
