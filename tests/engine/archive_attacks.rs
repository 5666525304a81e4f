//! Archives that somebody forged, damaged or left half made, and sources that do not hold still.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use crate::archive::{codes, create, everything, forge, objects, small_archive};
use crate::support::{Run, Service, command, copy_files};
use rekindle::archive::block::{Row, store};
use rekindle::archive::manifest::Manifest;
use rekindle::archive::pack::{Packer, digest, object_name};
use rustix::fs::{Mode, OFlags, mkdirat, openat};

/// A node with one chunk's worth of bytes that is no ledger: what matters here is where it lies.
fn plain_node(node: &Path) {
    std::fs::create_dir_all(node.join("deep")).unwrap();
    std::fs::write(node.join("deep/bytes"), vec![7; 3_000_000]).unwrap();
    std::fs::write(node.join("other"), "other").unwrap();
}

/// Folders so deep that what is in the last can be named only from within: every path to it is too long.
fn too_deep(root: &Path) -> PathBuf {
    let mut path = root.to_owned();
    let name = "d".repeat(200);
    let mut at = std::fs::File::open(root).unwrap();
    while path.as_os_str().len() < 3880 {
        let left = (3890 - path.as_os_str().len()).min(name.len());
        let name = &name[..left];
        mkdirat(&at, name, Mode::RWXU).unwrap();
        at = openat(&at, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .unwrap()
            .into();
        path.push(name);
    }
    let file = openat(&at, "f".repeat(240), OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
    rustix::io::write(file, b"lost without a word").unwrap();
    path
}

#[test]
fn what_cannot_be_looked_at_is_said_and_everything_else_is_archived() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    plain_node(&node);
    let deep = too_deep(&node);
    let made = create(&[&node], &scratch.path().join("archive")).expect(1).json();
    let unread: Vec<_> = made["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["code"] == "L1004")
        .collect();
    assert_eq!(unread.len(), 1, "{made}");
    assert!(unread[0]["file"].as_str().unwrap().starts_with(deep.to_str().unwrap()));
    let out = scratch.path().join("out");
    rekindle!("archive", "restore", scratch.path().join("archive"), "-o", &out).expect(0);
    assert!(out.join("node/deep/bytes").is_file());

    // Folders that are closed to whoever makes the archive: one that can't be listed, one of which no file can be looked at.
    let open = tempfile::tempdir().unwrap();
    let node = open.path().join("node");
    plain_node(&node);
    for (name, mode) in [("closed", 0o000), ("names", 0o444)] {
        std::fs::create_dir(node.join(name)).unwrap();
        std::fs::write(node.join(name).join("bytes"), "x").unwrap();
        std::fs::set_permissions(node.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    let program = open.path().join("rekindle");
    let built = env!("CARGO_BIN_EXE_rekindle");
    if std::fs::hard_link(built, &program).is_err() {
        std::fs::copy(built, &program).unwrap();
    }
    let archives = open.path().join("archives");
    std::fs::create_dir(&archives).unwrap();
    for path in [open.path(), &archives] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let mut making = std::process::Command::new(&program);
    making
        .args(["archive", "create", "--json", "-o"])
        .args([&archives.join("one"), &node]);
    if rustix::process::geteuid().is_root() {
        making.uid(65534).gid(65534);
    }
    let made = Run::from(making.output().unwrap()).expect(1).json();
    let unread = codes(&made).into_iter().filter(|code| code == "L1004").count();
    assert_eq!(unread, 2, "{made}");
    assert_eq!(made["files"], 2);
    for name in ["closed", "names"] {
        std::fs::set_permissions(node.join(name), PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_chunk_that_gets_its_name_while_the_archive_is_made_is_in_it() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    plain_node(&node);
    let large = std::fs::File::create(node.join("deep/bytes")).unwrap();
    large.set_len(400 << 20).unwrap();
    let bytes = vec![9; 2_500_000];
    std::fs::write(node.join("deep/z900"), &bytes).unwrap();
    let archive = scratch.path().join("archive");
    let making = std::thread::scope(|scope| {
        let renaming = scope.spawn(|| {
            // Everything was listed before the archive's own folder is made.
            while !archive.join("blocks").exists() {
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            std::fs::rename(node.join("deep/z900"), node.join("deep/z900-950")).unwrap();
            std::fs::create_dir(node.join("new")).unwrap();
            std::fs::write(node.join("new/z951"), "begun").unwrap();
        });
        let made = command()
            .args(["archive", "create", "--json", "-o"])
            .args([&archive, &node])
            .output();
        renaming.join().unwrap();
        made
    });
    let made = Run::from(making.unwrap()).expect(1).json();
    assert!(
        codes(&made).contains(&"L1003".to_owned()) && !codes(&made).contains(&"L1004".to_owned()),
        "{made}"
    );
    let out = scratch.path().join("out");
    rekindle!("archive", "restore", &archive, "-o", &out).expect(0);
    assert_eq!(std::fs::read(out.join("node/deep/z900-950")).unwrap(), bytes);
    assert_eq!(std::fs::read(out.join("node/new/z951")).unwrap(), b"begun");
    assert!(!out.join("node/deep/z900").exists());
}

#[test]
fn a_manifest_that_cannot_be_read_leaves_the_other_one() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = small_archive(scratch.path());
    for (round, name) in ["manifest", "manifest.spare"].into_iter().enumerate() {
        let sound = std::fs::read(archive.join(name)).unwrap();
        std::fs::remove_file(archive.join(name)).unwrap();
        std::fs::create_dir(archive.join(name)).unwrap();
        let report = rekindle!("archive", "verify", "--json", &archive).expect(1).json();
        assert!(codes(&report).contains(&"L1006".to_owned()), "{report}");
        assert_eq!(report["damaged_files"], 0);
        let out = scratch.path().join(format!("out-{round}"));
        rekindle!("archive", "restore", &archive, "-o", &out).expect(1);
        assert!(out.join("node/ledger").is_dir());
        let run = rekindle!("verify", archive.join("node/ledger"));
        assert!(matches!(run.code, Some(0 | 1)), "{}", run.stderr);
        std::fs::remove_dir(archive.join(name)).unwrap();
        std::fs::write(archive.join(name), sound).unwrap();
    }
    rekindle!("archive", "verify", &archive).expect(0);
}

#[test]
fn bytes_after_the_end_of_a_pack_touch_nothing_in_it() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = small_archive(scratch.path());
    let pack = &objects(&archive)[0];
    let sound = std::fs::read(pack).unwrap();
    for more in [1, 3 << 20] {
        std::fs::write(pack, [&sound[..], &vec![5; more]].concat()).unwrap();
        let report = rekindle!("archive", "verify", "--json", &archive).expect(1).json();
        assert_eq!(
            (codes(&report), &report["damaged_files"]),
            (vec!["L1007".to_owned()], &0.into()),
            "{report}"
        );
        assert_eq!(report["findings"][0]["offset"], sound.len());
        rekindle!(
            "archive",
            "restore",
            &archive,
            "-o",
            scratch.path().join(format!("out-{more}"))
        )
        .expect(0);
    }
    // A pack that is no file: every block of it is lost, and it is said which files that are.
    std::fs::remove_file(pack).unwrap();
    symlink(scratch.path().join("elsewhere"), pack).unwrap();
    std::fs::write(scratch.path().join("elsewhere"), &sound).unwrap();
    let report = rekindle!("archive", "verify", "--json", &archive).expect(1).json();
    assert!(codes(&report).contains(&"L1008".to_owned()), "{report}");
}

#[test]
fn names_that_compress_well_beyond_belief_make_an_archive_that_can_be_read() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    // Bytes that are written as three characters each, in folders within folders.
    let folder: PathBuf = (0..12).map(|_| "\u{e4}".repeat(120)).collect();
    std::fs::create_dir_all(node.join(&folder)).unwrap();
    for i in 0..300 {
        std::fs::write(node.join(&folder).join(format!("{i}")), "").unwrap();
    }
    let archive = scratch.path().join("archive");
    create(&[&node], &archive).expect(0);
    let size = archive.join("manifest").metadata().unwrap().len();
    assert!(size < 300 * 3000 / 10, "{size}");
    rekindle!("archive", "verify", &archive).expect(0);
    rekindle!("archive", "restore", &archive, "-o", scratch.path().join("out")).expect(0);
    assert_eq!(everything(&scratch.path().join("out/node")), everything(&node));
}

/// A pack of one block, under the name of its bytes.
fn leftover(archive: &Path, number: u32, block: &[u8], id: [u8; 32]) -> PathBuf {
    let mut packer = Packer::default();
    packer.push(&store(block, id));
    let (bytes, _) = packer.finish();
    let path = archive.join(object_name(number, &digest(&bytes)));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn packs_that_somebody_else_left_are_not_believed() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    plain_node(&node);
    let chunk = vec![7; 1 << 20];
    let id = rekindle::crypto::digest::sha256(&chunk);
    // Under the name of the chunk's first block, of the same size and of another: neither may end up in a file.
    for (round, lie) in [vec![8; 1 << 20], vec![8; 5]].into_iter().enumerate() {
        let archive = scratch.path().join(format!("archive-{round}"));
        leftover(&archive, 0, &lie, id);
        create(&[&node], &archive).expect(0);
        rekindle!("archive", "verify", &archive).expect(0);
        let out = scratch.path().join(format!("out-{round}"));
        rekindle!("archive", "restore", &archive, "-o", &out).expect(0);
        assert_eq!(everything(&out.join("node")), everything(&node));
    }
    // What is true is taken up, whoever left it.
    let archive = scratch.path().join("true");
    leftover(&archive, 3, &chunk, id);
    create(&[&node], &archive).expect(0);
    assert_eq!(objects(&archive).len(), 2 + 2);
    rekindle!("archive", "verify", &archive).expect(0);
    // The last number there is leaves none for what comes after it.
    let archive = scratch.path().join("last");
    leftover(&archive, 99_999_999, &chunk, id);
    create(&[&node], &archive).expect(0);
    rekindle!("archive", "verify", &archive).expect(0);
    let archive = scratch.path().join("beyond");
    leftover(&archive, u32::MAX, &chunk, id);
    create(&[&node], &archive).expect_sentence(2, &["no part of an archive"]);
    // One that can't be read is stored anew beside it.
    let archive = scratch.path().join("unreadable");
    let path = leftover(&archive, 0, &chunk, id);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    create(&[&node], &archive).expect(0);
    rekindle!("archive", "verify", &archive).expect(0);
    // Packs do not go where a link leads.
    let archive = scratch.path().join("link");
    std::fs::create_dir(&archive).unwrap();
    symlink(node.join("deep"), archive.join("blocks")).unwrap();
    let before = everything(&node);
    create(&[&node], &archive).expect_sentence(2, &["blocks", "no part of an archive"]);
    assert_eq!(everything(&node), before);
}

#[test]
fn a_destination_does_not_lead_back_into_what_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    plain_node(&at("node"));
    let before = everything(&at("node"));
    create(&[&at("node")], &at("missing/../node/archive")).expect_sentence(2, &["`..`"]);
    symlink(at("node"), at("link")).unwrap();
    create(&[&at("node")], &at("link/archive")).expect_sentence(2, &["never written to"]);
    create(&[&at("node")], &at("archive")).expect(0);
    let archived = everything(&at("archive"));
    rekindle!("archive", "restore", at("archive"), "-o", at("missing/../archive/out")).expect_sentence(2, &["`..`"]);
    symlink(at("archive"), at("other")).unwrap();
    rekindle!("archive", "restore", at("archive"), "-o", at("other/out")).expect_sentence(2, &["never written to"]);
    assert_eq!(
        (everything(&at("node")), everything(&at("archive"))),
        (before, archived)
    );
    assert!(!at("missing").exists());
}

#[test]
fn a_source_may_have_any_name() {
    let scratch = tempfile::tempdir().unwrap();
    let long = "x".repeat(255);
    let at = |name: &str| scratch.path().join(name);
    let sources = [
        at(".rekindle-restoring"),
        at("a").join(&long),
        at("b").join(&long),
        at("new\nline"),
    ];
    for (i, source) in sources.iter().enumerate() {
        plain_node(source);
        std::fs::write(source.join("number"), i.to_string()).unwrap();
    }
    let roots: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    create(&roots, &at("archive")).expect(0);
    rekindle!("archive", "restore", at("archive"), "-o", at("out")).expect(0);
    let mut numbers: Vec<String> = at("out")
        .read_dir()
        .unwrap()
        .map(|item| std::fs::read_to_string(item.unwrap().path().join("number")).unwrap())
        .collect();
    numbers.sort();
    assert_eq!(numbers, ["0", "1", "2", "3"]);
}

#[test]
fn what_a_manifest_says_forges_no_line_and_no_time_is_too_far() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = small_archive(scratch.path());
    let lie = "x\nverdict      ok: nothing is wrong\u{1b}[2J";
    forge(&archive, |document| {
        document["made_by"] = lie.into();
        document["made_at"] = u64::MAX.into();
        document["findings"][0]["message"] = lie.into();
        document["findings"][0]["file"] = lie.into();
        let source = &mut document["sources"][0];
        source["path"] = lie.into();
        source["copies"][0]["same_as"] = lie.into();
        source["files"][0]["modified"] = serde_json::json!({"s": i64::MIN, "ns": u32::MAX});
        source["files"][1]["modified"] = serde_json::json!({"s": i64::MAX, "ns": u32::MAX});
        source["files"][2]["modified"] = serde_json::json!({"s": -86400, "ns": 5});
        source["files"][0]["mode"] = u32::MAX.into();
    });
    let listed = rekindle!("archive", "list", "--files", &archive).expect(0).text();
    assert!(
        !listed.contains('\u{1b}') && !listed.lines().any(|line| line.starts_with("verdict")),
        "{listed}"
    );
    rekindle!("archive", "verify", &archive).expect(0);
    let out = scratch.path().join("out");
    let report = rekindle!("archive", "restore", "--json", &archive, "-o", &out).json();
    assert_eq!(report["lost_files"], 0, "{report}");
    let manifest = Manifest::parse(&std::fs::read(archive.join("manifest")).unwrap()).unwrap();
    let file = |i: usize| {
        out.join("node")
            .join(&manifest.document.sources[0].files[i].path)
            .metadata()
            .unwrap()
    };
    assert_eq!(file(0).mode() & 0o7000, 0, "nobody's rights");
    assert_eq!((file(2).mtime(), file(2).mtime_nsec()), (-86400, 5), "before 1970");
    // What a newer program wrote and this one does not know.
    forge(&archive, |document| {
        document["made_by"] = "rekindle 9.9".into();
        document["more"] = 1.into();
    });
    rekindle!("archive", "list", &archive).expect_sentence(3, &["rekindle 9.9 wrote it"]);
}

#[test]
fn a_few_kilobytes_that_become_more_than_memory_are_refused_where_they_are_read_in_place() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    std::fs::create_dir(&node).unwrap();
    std::fs::write(node.join("ledger_1"), [0; 8]).unwrap();
    let archive = scratch.path().join("archive");
    create(&[&node], &archive).json();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    let count = kilobytes / 1024 + 1024;
    let one = store(&vec![1; 1 << 20], [0; 32]);
    let mut packer = Packer::default();
    let mut rows: Vec<Row> = Vec::new();
    for number in 0..count {
        let mut stored = store(&[1], [0; 32]);
        stored.bytes.clone_from(&one.bytes);
        stored.row = Row {
            id: rekindle::crypto::digest::sha256(&number.to_le_bytes()),
            ..one.row
        };
        packer.push(&stored);
        rows.push(stored.row);
    }
    let (bytes, _) = packer.finish();
    let mut document = Manifest::parse(&std::fs::read(archive.join("manifest")).unwrap())
        .unwrap()
        .document;
    let sha256 = digest(&bytes);
    std::fs::write(archive.join(object_name(0, &sha256)), &bytes).unwrap();
    let pack = &mut document.packs[0];
    (pack.number, pack.size, pack.blocks) = (0, bytes.len() as u64, count);
    pack.sha256.0 = sha256;
    let file = &mut document.sources[0].files[0];
    (file.size, file.blocks) = (count << 20, vec![(0, count)]);
    file.sha256.0 = rows[rows.len() - 1].id;
    let forged = Manifest::new(document, rows).unwrap().to_bytes().unwrap();
    for name in ["manifest", "manifest.spare"] {
        std::fs::write(archive.join(name), &forged).unwrap();
    }
    assert!(bytes.len() < 16 << 20, "{} bytes", bytes.len());
    let run = rekindle!("verify", archive.join("node"));
    assert!(matches!(run.code, Some(1 | 3)), "{:?} {}", run.code, run.stderr);
    assert!(
        format!("{}{}", run.text(), run.stderr).contains("restore the archive"),
        "{} {}",
        run.text(),
        run.stderr
    );
}

#[test]
fn an_archive_whose_one_block_is_bad_is_read_for_all_else() {
    let scratch = tempfile::tempdir().unwrap();
    let service = Service::made(&["--entries", "3000", "--chunk-size", "300000", "--seed", "8"]);
    let copies = [scratch.path().join("a"), scratch.path().join("b")];
    copies.iter().for_each(|copy| copy_files(&service.ledger(), copy));
    // The second copy has an open chunk of another length: its block is its own.
    let mut names: Vec<_> = copies[0]
        .read_dir()
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(copies[0].join(name).metadata().unwrap().len()));
    let archive = scratch.path().join("archive");
    create(&[&copies[0], &copies[1]], &archive).expect(0);
    let manifest = Manifest::parse(&std::fs::read(archive.join("manifest")).unwrap()).unwrap();
    let name = names[0].to_str().unwrap();
    let file = manifest.files().find(|file| file.path == name).unwrap();
    let block = file.block_numbers().next().unwrap();
    let pack = &objects(&archive)[0];
    let mut bytes = std::fs::read(pack).unwrap();
    bytes[manifest.place(block).unwrap().1 as usize + 9] ^= 1;
    std::fs::write(pack, bytes).unwrap();
    let report = rekindle!("archive", "verify", "--json", &archive).expect(1).json();
    assert_eq!(report["damaged_files"], 2, "both copies share the block");
    let verified = rekindle!("verify", "--json", archive.join("a")).expect(1).json();
    assert!(verified["findings"].to_string().contains(name), "{verified}");
    let compared = rekindle!("compare", &archive);
    assert!(
        compared.text().contains(name) || compared.stderr.contains(name),
        "{} {}",
        compared.text(),
        compared.stderr
    );
    let mut arguments = vec![
        "unlock".into(),
        archive.join("a").into_os_string(),
        "--member-key".into(),
    ];
    arguments.extend(service.keys().into_iter().map(PathBuf::into_os_string));
    let unlocked = Run::of(&arguments);
    assert!(matches!(unlocked.code, Some(0 | 1 | 3)), "{:?}", unlocked.code);
    let out = scratch.path().join("mended");
    let salvaged = rekindle!("salvage", &archive, "-o", &out);
    assert!(
        matches!(salvaged.code, Some(0 | 1)),
        "{:?} {}",
        salvaged.code,
        salvaged.stderr
    );
    // With the node's own file beside it, everything is there again.
    let spare = scratch.path().join("spare");
    std::fs::create_dir(&spare).unwrap();
    std::fs::copy(copies[0].join(name), spare.join(name)).unwrap();
    let whole = scratch.path().join("whole");
    rekindle!("salvage", &archive, &spare, "-o", &whole).expect(0);
    let root = |directory: PathBuf| rekindle!("verify", "--json", directory).expect(0).json()["root"].clone();
    assert_eq!(root(whole.join("ledger")), root(service.ledger()));
}
