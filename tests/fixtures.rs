//! The committed fixtures are what their command lines say, to the byte.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;
use rekindle::cli::fixture::{Args, run};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn files(directory: &Path, under: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, under, found);
        } else {
            let name = path.strip_prefix(under).unwrap().display().to_string();
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn every_fixture_is_made_again_to_the_byte_by_its_command_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("fixtures/README.md")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut made = 0;
    for line in readme.split('`').filter_map(|text| text.strip_prefix("rekindle fixture --out ")) {
        let (name, options) = line.split_once(' ').unwrap();
        let out = scratch.path().join(name);
        let arguments = ["rekindle", "--out", out.to_str().unwrap()];
        let args = Command::parse_from(arguments.into_iter().chain(options.split(' '))).args;
        run(&args).unwrap();
        let (mut committed, mut again) = (BTreeMap::new(), BTreeMap::new());
        files(&root.join(name), &root.join(name), &mut committed);
        files(&out, &out, &mut again);
        assert_eq!(committed.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>(), "{name}");
        for (file, bytes) in &committed {
            assert!(again[file] == *bytes, "{name}/{file} differs");
        }
        made += 1;
    }
    assert_eq!(made, 3);
}

#[test]
fn a_directory_that_holds_anything_is_refused_and_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("mine"), "mine").unwrap();
    let args = Command::parse_from(["rekindle", "--out", scratch.path().to_str().unwrap()]).args;
    assert_eq!(run(&args).unwrap_err().exit_code(), 2);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
}
