//! `rekindle archive`, and every command that reads a folder of an archive like a directory.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::dice::Dice;
use crate::support::{self, Run, Service, command, ledgers};
use rekindle::archive::manifest::Manifest;
use serde_json::Value;

/// Everything below a directory: kind, permissions, time of change to the nanosecond, digest of contents or target.
pub fn everything(directory: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, String)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let contents = match () {
            () if metadata.is_dir() => {
                waiting.extend(path.read_dir().unwrap().map(|item| item.unwrap().path()));
                Vec::new()
            }
            () if metadata.is_symlink() => std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            () => std::fs::read(&path).unwrap(),
        };
        let contents = hex::encode(rekindle::crypto::digest::sha256(&contents));
        let (mut s, mut ns) = (metadata.mtime(), metadata.mtime_nsec());
        if metadata.is_symlink() {
            (s, ns) = (0, 0);
        }
        found.insert(
            path.strip_prefix(directory).unwrap().to_owned(),
            (metadata.mode(), s, ns, contents),
        );
    }
    found
}

pub fn create(sources: &[&Path], archive: &Path) -> Run {
    let mut arguments = vec!["archive".into(), "create".into()];
    arguments.extend(sources.iter().map(|source| source.into()));
    arguments.extend(["--json".into(), "-o".into(), archive.into()]);
    Run::of(&arguments)
}

pub fn codes(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect()
}

/// A directory with whatever a node may have lying about.
fn odd_node(directory: &Path) {
    let service = Service::made(&["--entries", "300", "--chunk-size", "20000", "--seed", "5"]);
    support::copy_files(&service.ledger(), &directory.join("ledger"));
    support::copy_files(&service.snapshots(), &directory.join("snapshots"));
    let at = |name: &str| directory.join(name);
    std::fs::create_dir_all(at("sealed/deep/empty")).unwrap();
    std::fs::write(at("sealed/12.sealed.json"), "{}").unwrap();
    std::fs::write(at("empty"), "").unwrap();
    std::fs::write(at("name\n\u{202e}%2e\u{e4}"), "odd").unwrap();
    std::fs::write(at("ledger/ledger_9.ignored"), vec![1; 3_000_000]).unwrap();
    std::fs::write(at("ledger/ledger_900.recovery"), [0; 8]).unwrap();
    std::fs::set_permissions(at("empty"), PermissionsExt::from_mode(0o400)).unwrap();
    symlink("ledger/ledger_9.ignored", at("link")).unwrap();
}

#[test]
fn what_is_restored_is_what_was_archived_byte_for_byte_with_names_times_and_permissions() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    odd_node(&at("a/node"));
    std::fs::create_dir(at("b")).unwrap();
    std::fs::create_dir(at("b/node")).unwrap();
    std::fs::write(at("b/node/ledger_1"), [0; 8]).unwrap();
    let before = everything(&at("a"));
    let made = create(&[&at("a/node"), &at("b/node")], &at("archive")).expect(1).json();
    assert_eq!(codes(&made), ["L1002"], "a link was recorded and not followed");
    assert_eq!(everything(&at("a")), before, "nothing is changed in what is read");
    let verified = rekindle!("archive", "verify", "--json", at("archive")).expect(0).json();
    assert_eq!(verified["verdict"], "ok");
    rekindle!("archive", "restore", at("archive"), "-o", at("out")).expect(0);
    assert_eq!(everything(&at("out/a-node")), everything(&at("a/node")));
    assert_eq!(everything(&at("out/b-node")), everything(&at("b/node")));
    // Not into what is there, nor over the archive.
    rekindle!("archive", "restore", at("archive"), "-o", at("out")).expect_sentence(2, &["not empty"]);
    rekindle!("archive", "restore", at("archive"), "-o", at("archive/x")).expect_sentence(2, &["never written to"]);
    rekindle!("export", at("archive/a-node/ledger"), "-o", at("archive/x")).expect(2);
    create(&[&at("a/node")], &at("archive")).expect_sentence(2, &["whole archive already"]);
    create(&[&at("a/node")], &at("a/node/x")).expect_sentence(2, &["never written to"]);
    create(&[&at("a/node")], &at("b/node")).expect_sentence(2, &["no part of an archive"]);
    create(&[&at("a"), &at("a/node")], &at("other")).expect_sentence(2, &["give it once"]);
    create(&[&at("a/node/empty")], &at("other")).expect_sentence(2, &["is a file"]);
    assert!(!at("other").exists());
}

#[test]
fn three_nodes_cost_little_more_than_one_and_each_has_its_report() {
    let Some(ledgers) = ledgers() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let nodes = ledgers.join("real_three_nodes");
    let one = create(&[&nodes.join("node0")], &scratch.path().join("one"))
        .expect(0)
        .json();
    let all: Vec<PathBuf> = (0..3).map(|i| nodes.join(format!("node{i}"))).collect();
    let all: Vec<&Path> = all.iter().map(PathBuf::as_path).collect();
    let archive = scratch.path().join("three");
    let three = create(&all, &archive).expect(0).json();
    let stored = |report: &Value| report["stored_bytes"].as_u64().unwrap();
    assert!(
        stored(&three) < stored(&one) * 5 / 4,
        "{} {}",
        stored(&one),
        stored(&three)
    );
    for (i, node) in all.iter().enumerate() {
        let report = |path: &Path| {
            let mut report = rekindle!("verify", "--mode", "integrity", "--json", path)
                .expect(0)
                .json();
            for field in ["elapsed_s", "entries_per_s", "bytes_per_s", "nodes"] {
                report.as_object_mut().unwrap().remove(field);
            }
            report
        };
        let mut kept = three["sources"][i]["copies"][0]["report"].clone();
        for field in ["elapsed_s", "entries_per_s", "bytes_per_s"] {
            kept.as_object_mut().unwrap().remove(field);
        }
        assert_eq!(report(node), kept, "the archive keeps what verify says");
        assert_eq!(
            report(&archive.join(format!("node{i}"))),
            kept,
            "and verify says the same of the archive"
        );
    }
    // The three archived once more: file by file the same, and known without another verification.
    let again = scratch.path().join("again");
    support::copy_files(all[0], &again.join("x"));
    support::copy_files(all[0], &again.join("y"));
    let twice = create(&[&again.join("x"), &again.join("y")], &scratch.path().join("twice"))
        .expect(0)
        .json();
    assert_eq!(twice["sources"][1]["copies"][0]["same_as"], "x");
    assert_eq!(
        twice["sources"][1]["copies"][0]["report"],
        twice["sources"][0]["copies"][0]["report"]
    );
}

#[test]
fn every_command_reads_an_archive_without_restoring_it() {
    let Some(ledgers) = ledgers() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("archive");
    let nodes = ledgers.join("real_three_nodes");
    let sources: Vec<PathBuf> = ["node0", "node1", "node2", "snapshots"]
        .map(|name| nodes.join(name))
        .into();
    create(&sources.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &archive).expect(0);
    let compared = rekindle!("compare", "--json", &archive).expect(0).json();
    assert_eq!(compared["recommended"], archive.join("node0").to_str().unwrap());
    assert_eq!(compared["copies"].as_array().unwrap().len(), 3);
    let start = ["--snapshots".into(), archive.join("snapshots").into_os_string()];
    rekindle!(
        "verify",
        archive.join("node0"),
        &start[0],
        &start[1],
        "--from-snapshot",
        "latest"
    )
    .expect(0);
    let service = Service::at(nodes.clone());
    let with_keys = |command: &str, directory: PathBuf| {
        let mut arguments = vec![
            command.into(),
            directory.into_os_string(),
            "--json".into(),
            "--member-key".into(),
        ];
        arguments.extend(service.keys().into_iter().map(PathBuf::into_os_string));
        let mut report = Run::of(&arguments).expect(0).json();
        report
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !name.ends_with("_s") && !name.contains("elapsed"));
        report
    };
    assert_eq!(
        with_keys("unlock", archive.join("node0")),
        with_keys("unlock", nodes.join("node0"))
    );
    let exported = |directory: PathBuf| {
        let out = tempfile::NamedTempFile::new().unwrap();
        rekindle!("export", directory, "-o", out.path()).expect(0);
        std::fs::read(out.path()).unwrap()
    };
    assert_eq!(exported(archive.join("node0")), exported(nodes.join("node0")));
    rekindle!("inspect", archive.join("node1"), "--seqno", "20").expect(0);
    rekindle!("verify", archive.join("node7")).expect_sentence(3, &["node7"]);
    rekindle!("verify", &archive).expect_sentence(3, &["no ledger", "rekindle archive list"]);
}

/// An archive of one made-up node, in several packs' worth of blocks.
pub fn small_archive(scratch: &Path) -> PathBuf {
    odd_node(&scratch.join("node"));
    let archive = scratch.join("archive");
    create(&[&scratch.join("node")], &archive).expect(1);
    archive
}

pub fn objects(archive: &Path) -> Vec<PathBuf> {
    let packs = archive
        .join("blocks")
        .read_dir()
        .unwrap()
        .map(|item| item.unwrap().path());
    packs
        .chain([archive.join("manifest"), archive.join("manifest.spare")])
        .collect()
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_named_and_everything_else_is_restored() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = small_archive(scratch.path());
    let whole = everything(&scratch.path().join("node"));
    let manifest = Manifest::parse(&std::fs::read(archive.join("manifest")).unwrap()).unwrap();
    let mut dice = Dice(12);
    let objects = objects(&archive);
    for round in 0..60 {
        let object = &objects[if round < 40 { 0 } else { 1 + round % 2 }];
        let sound = std::fs::read(object).unwrap();
        let bit = dice.below(sound.len() * 8);
        let mut damaged = sound.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(object, damaged).unwrap();
        let place = format!("bit {bit} of {}", object.display());
        let report = rekindle!("archive", "verify", "--json", &archive).expect(1).json();
        let codes = codes(&report);
        let name = object.file_name().unwrap().to_str().unwrap();
        let named = |finding: &&Value| finding["file"].as_str().is_some_and(|file| file.contains(name));
        let finding = report["findings"].as_array().unwrap().iter().find(named);
        let finding = finding.unwrap_or_else(|| panic!("{place} is not named: {report}"));
        let out = scratch.path().join(format!("out-{round}"));
        let restored = rekindle!("archive", "restore", "--json", &archive, "-o", &out).json();
        let lost = restored["lost_files"].as_u64().unwrap() as usize;
        if name.starts_with("manifest") {
            assert_eq!(
                (codes, finding["offset"].as_u64(), lost),
                (vec!["L1006".to_owned()], Some(bit as u64 / 8), 0),
                "{place}"
            );
        } else {
            // Which block it is in, by the manifest.
            let block = (0..manifest.rows.len() as u64).find(|&number| {
                let start = manifest.place(number).unwrap().1 * 8;
                (start..start + u64::from(manifest.rows[number as usize].stored) * 8).contains(&(bit as u64))
            });
            let touched = manifest
                .files()
                .filter(|file| block.is_some_and(|block| file.block_numbers().any(|own| own == block)))
                .count();
            assert_eq!(
                finding["code"],
                if block.is_some() { "L1008" } else { "L1007" },
                "{place}"
            );
            assert_eq!(
                (report["damaged_files"].as_u64().unwrap() as usize, lost),
                (touched, touched),
                "{place}"
            );
        }
        // All else is as it was: folders have other times where a file is not in them, and nothing more.
        let now = everything(&out.join("node"));
        let missing = whole.keys().filter(|path| !now.contains_key(*path)).count();
        assert_eq!(missing, lost, "{place}");
        now.iter()
            .for_each(|(path, found)| assert_eq!(found, &whole[path], "{place}: {}", path.display()));
        std::fs::write(object, sound).unwrap();
    }
    rekindle!("archive", "verify", &archive).expect(0);
}

#[test]
fn a_damaged_block_names_the_seqnos_that_it_touches() {
    let scratch = tempfile::tempdir().unwrap();
    let service = Service::made(&[
        "--entries",
        "9000",
        "--chunk-size",
        "4000000",
        "--private",
        "1",
        "--value-size",
        "400",
    ]);
    let archive = scratch.path().join("archive");
    create(&[&service.ledger()], &archive).expect(0);
    let manifest = Manifest::parse(&std::fs::read(archive.join("manifest")).unwrap()).unwrap();
    let file = manifest.files().max_by_key(|file| file.size).unwrap();
    let second = file.block_numbers().nth(1).expect("more than a block");
    let pack = &objects(&archive)[0];
    let mut bytes = std::fs::read(pack).unwrap();
    bytes[manifest.place(second).unwrap().1 as usize + 5] ^= 4;
    std::fs::write(pack, bytes).unwrap();
    let report = rekindle!("archive", "verify", "--json", &archive).expect(1).json();
    let finding = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "L1009")
        .unwrap()
        .clone();
    // The entry that holds byte 2^20, by the chunk itself.
    let bytes = std::fs::read(service.ledger().join(&file.path)).unwrap();
    let table = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let positions = bytes[table..]
        .chunks(4)
        .map(|at| u32::from_le_bytes(at.try_into().unwrap()));
    let first: u64 = file
        .path
        .trim_start_matches("ledger_")
        .split('-')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let index = positions.filter(|&at| at <= 1 << 20).count() as u64 - 1;
    assert_eq!(finding["seqno"].as_u64(), Some(first + index), "{finding}");
    // Read without restoring, the entries there are lost, and it is said which.
    let read = rekindle!("verify", "--json", archive.join("ledger")).expect(1).json();
    let lost = read["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["code"] == "L0204")
        .filter_map(|finding| finding["seqno"].as_u64())
        .min()
        .unwrap_or_else(|| panic!("{read}"));
    assert!(lost.abs_diff(first + index) <= 1, "{lost} {}", first + index);
}

#[test]
fn an_archive_in_the_making_never_looks_whole_and_an_interrupted_run_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let service = Service::made(&["--entries", "20000", "--value-size", "4000", "--private", "1"]);
    let source = service.ledger();
    let reference = scratch.path().join("reference");
    create(&[&source], &reference).expect(0);
    assert!(objects(&reference).len() >= 3, "more than one pack");
    let mut dice = Dice(3);
    for round in 0..4 {
        let archive = scratch.path().join(format!("archive-{round}"));
        let began = std::time::Instant::now();
        let mut child = command()
            .args(["archive", "create", "-o"])
            .args([&archive, &source])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Once the first pack is there, or anywhere before.
        let first = round % 2 == 0;
        while child.try_wait().unwrap().is_none() {
            let stored = archive
                .join("blocks")
                .read_dir()
                .is_ok_and(|mut packs| packs.next().is_some());
            if if first {
                stored
            } else {
                began.elapsed().as_micros() > dice.below(400_000) as u128
            } {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if archive.join("manifest").exists() {
            continue;
        }
        rekindle!("archive", "verify", &archive).expect(3);
        rekindle!("archive", "restore", &archive, "-o", scratch.path().join("nothing")).expect(3);
        // What an interrupted run left damaged is not taken up.
        if let Some(Ok(pack)) = archive
            .join("blocks")
            .read_dir()
            .ok()
            .and_then(|mut packs| packs.next())
        {
            let bytes = std::fs::read(pack.path()).unwrap();
            if round == 0 {
                std::fs::write(pack.path(), &bytes[..bytes.len() - 1]).unwrap();
            }
        }
        create(&[&source], &archive).expect(0);
        rekindle!("archive", "verify", &archive).expect(0);
        let out = scratch.path().join(format!("out-{round}"));
        rekindle!("archive", "restore", &archive, "-o", &out).expect(0);
        assert_eq!(everything(&out.join("ledger")), everything(&source));
        let names = |archive: &Path| {
            let mut names: Vec<_> = archive
                .join("blocks")
                .read_dir()
                .unwrap()
                .map(|item| item.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            names(&archive),
            names(&reference),
            "the same packs as without an interruption"
        );
    }
}

#[test]
fn an_interrupted_restoration_says_so_and_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = small_archive(scratch.path());
    let out = scratch.path().join("out");
    rekindle!("archive", "restore", &archive, "-o", &out).expect(0);
    // As if it had been killed: the mark is there, one file is missing, one is another.
    let other = scratch.path().join("other");
    rekindle!("archive", "restore", &archive, "-o", &other).expect(0);
    let mark = {
        let full = scratch.path().join("full");
        std::fs::create_dir(&full).unwrap();
        let mut child = command()
            .args(["archive", "restore", "-o"])
            .args([&full, &archive])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let path = full.join(".rekindle-restoring");
        let mut mark = None;
        while child.try_wait().unwrap().is_none() && mark.is_none() {
            mark = std::fs::read(&path).ok().filter(|mark| !mark.is_empty());
        }
        child.wait().unwrap();
        mark
    };
    let Some(mark) = mark else {
        // It was too fast to be seen: the kills of examples/archive_kills.rs see it.
        return;
    };
    std::fs::write(other.join(".rekindle-restoring"), &mark).unwrap();
    std::fs::remove_file(other.join("node/empty")).unwrap();
    std::fs::write(other.join("node/sealed/12.sealed.json"), "[]").unwrap();
    let report = rekindle!("archive", "restore", "--json", &archive, "-o", &other)
        .expect(0)
        .json();
    assert_eq!(
        report["there_already"].as_u64().unwrap() + 2,
        report["files"].as_u64().unwrap()
    );
    assert_eq!(everything(&other.join("node")), everything(&out.join("node")));
    std::fs::write(other.join(".rekindle-restoring"), "another\n").unwrap();
    rekindle!("archive", "restore", &archive, "-o", &other).expect_sentence(2, &["another archive"]);
}

/// Writes a manifest whose document was changed, with a digest that fits.
pub fn forge(archive: &Path, change: impl Fn(&mut Value)) {
    let bytes = std::fs::read(archive.join("manifest")).unwrap();
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let mut document: Value =
        serde_json::from_slice(&zstd::bulk::decompress(&bytes[32..32 + number(8)], number(16)).unwrap()).unwrap();
    change(&mut document);
    let document = serde_json::to_vec(&document).unwrap();
    let stored = zstd::bulk::compress(&document, 3).unwrap();
    let mut forged = bytes[..8].to_vec();
    forged.extend((stored.len() as u64).to_le_bytes());
    forged.extend((document.len() as u64).to_le_bytes());
    forged.extend(&bytes[24..32]);
    forged.extend(stored);
    forged.extend(&bytes[32 + number(8)..bytes.len() - 32]);
    let digest = rekindle::crypto::digest::sha256(&forged);
    forged.extend(digest);
    for name in ["manifest", "manifest.spare"] {
        std::fs::write(archive.join(name), &forged).unwrap();
    }
}

#[test]
fn archives_that_would_lead_elsewhere_or_never_end_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = small_archive(scratch.path());
    let sound = std::fs::read(archive.join("manifest")).unwrap();
    let out = scratch.path().join("out");
    type Change = fn(&mut Value);
    let forgeries: [(&str, Change); 12] = [
        ("a path upwards", |document| {
            document["sources"][0]["files"][0]["path"] = "../../escaped".into()
        }),
        ("an absolute path", |document| {
            document["sources"][0]["files"][0]["path"] = "/tmp/escaped".into()
        }),
        ("a source upwards", |document| {
            document["sources"][0]["name"] = "..".into()
        }),
        ("a name twice", |document| {
            document["sources"][0]["files"][1]["path"] = document["sources"][0]["files"][0]["path"].clone()
        }),
        ("a file through a link", |document| {
            document["sources"][0]["files"][0]["path"] = "link/x".into()
        }),
        ("a folder through a link", |document| {
            document["sources"][0]["directories"][1]["path"] = "link".into()
        }),
        ("a size that is not there", |document| {
            document["sources"][0]["files"][0]["size"] = (1u64 << 60).into()
        }),
        ("billions of blocks", |document| {
            document["sources"][0]["files"][0]["blocks"] = serde_json::json!([[0, 1u64 << 62]])
        }),
        ("blocks again and again", |document| {
            let file = &mut document["sources"][0]["files"][0];
            file["blocks"] = serde_json::json!(vec![[0, 1]; 100_000]);
            file["size"] = (100_000u64 << 20).into();
        }),
        ("packs of another size", |document| {
            document["packs"][0]["size"] = 5.into()
        }),
        ("a digest of something else", |document| {
            document["sources"][0]["files"][0]["sha256"] = "00".repeat(32).into()
        }),
        ("a field that is not known", |document| document["more"] = 1.into()),
    ];
    for (what, change) in forgeries {
        forge(&archive, change);
        for run in [
            rekindle!("archive", "verify", &archive),
            rekindle!("archive", "restore", &archive, "-o", &out),
            rekindle!("verify", archive.join("node/ledger")),
        ] {
            let stderr = run.expect(3).stderr;
            assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
        }
        assert!(!out.exists(), "{what}");
        for name in ["manifest", "manifest.spare"] {
            std::fs::write(archive.join(name), &sound).unwrap();
        }
    }
    // A link that leads out of what is restored is not made; the rest is.
    forge(&archive, |document| {
        document["sources"][0]["links"][0]["target"] = "../../../etc/passwd".into()
    });
    let report = rekindle!("archive", "restore", "--json", &archive, "-o", &out)
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L1011"]);
    assert!(out.join("node/link").symlink_metadata().is_err());
}

#[test]
fn what_is_no_file_is_named_and_left_out_and_a_file_that_grows_is_archived_as_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    std::fs::create_dir(&node).unwrap();
    let growing = node.join("ledger_1");
    std::fs::write(&growing, vec![7; 5_000_000]).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(node.join("ledger_9"))
        .status()
        .unwrap();
    assert!(made.success());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let archive = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            let mut file = std::fs::File::options().append(true).open(&growing).unwrap();
            let began = std::time::Instant::now();
            while !stop.load(std::sync::atomic::Ordering::SeqCst) && began.elapsed().as_secs() < 120 {
                file.write_all(&[7; 100]).unwrap();
            }
        });
        // Whether it is written to just while it is read is the scheduler's to say; sooner or later it is.
        let mut seen = None;
        for attempt in 0..50 {
            let archive = scratch.path().join(format!("archive-{attempt}"));
            let codes = codes(&create(&[&node], &archive).expect(1).json());
            assert!(codes.contains(&"L1001".to_owned()), "{codes:?}");
            if codes.contains(&"L1003".to_owned()) {
                seen = Some(archive);
                break;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        seen.expect("it was never written to while it was read")
    });
    rekindle!("archive", "verify", &archive).expect(0);
    rekindle!("archive", "restore", &archive, "-o", scratch.path().join("out")).expect(0);
    let restored = std::fs::read(scratch.path().join("out/node/ledger_1")).unwrap();
    assert!(restored.len() >= 5_000_000 && restored.iter().all(|&byte| byte == 7));
}

#[test]
fn a_destination_that_is_being_written_is_not_written_by_another() {
    let scratch = tempfile::tempdir().unwrap();
    odd_node(&scratch.path().join("node"));
    let archive = scratch.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let held = std::fs::File::open(&archive).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    create(&[&scratch.path().join("node")], &archive).expect_sentence(2, &["another process"]);
    drop(held);
    create(&[&scratch.path().join("node")], &archive).expect(1);
}
