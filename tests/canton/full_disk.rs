//! A disk that is full while a command writes its result: there is no half file, nothing with keys is left over, and what was
//! there stays.

use std::path::Path;
use std::process::{Command, Output};

use crate::documented::agreeing_log;
use crate::identities::made::{self, Style};

/// A directory on a file system of its own without a free block, where the system lets one be mounted.
struct Full<'a>(&'a Path);

impl Full<'_> {
    fn mount(at: &Path) -> Option<Full<'_>> {
        std::fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8k,mode=700", "tmpfs"]).arg(at);
        match mount.output() {
            Ok(out) if out.status.success() => Some(Full(at)),
            _ => {
                eprintln!(
                    "SKIPPED in part: nothing can be mounted here; the limit of a file's size stands for a full disk"
                );
                None
            }
        }
    }
}

impl Drop for Full<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|one| one.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Each command with its option for the result, and whether it can replace what is there.
const COMMANDS: [(&[&str], &str, bool); 3] = [
    (&["scan", "--log", "sv1=sv1.log"], "--out", true),
    (
        &[
            "timestamp",
            "--log",
            "sv1:sv1.log",
            "--log",
            "sv2:sv2.log",
            "--log",
            "sv3:sv3.log",
        ],
        "--picture",
        true,
    ),
    (&["identities", "extract", "identities.json"], "--out", false),
];

/// Holds all three to it, in a directory in which nothing more can be written by a command that `sh` leads in.
fn holds(inputs: &Path, full: &Path, before: &str, cause: &str) {
    let there = names(full);
    for (words, option, replaces) in COMMANDS {
        for (name, is_there) in [("result", false), ("old", true)] {
            if is_there && !replaces {
                continue;
            }
            let path = full.join(name);
            let mut command = Command::new("sh");
            command
                .args([
                    "-c",
                    &format!("{before}exec \"$@\""),
                    "sh",
                    env!("CARGO_BIN_EXE_rekindle"),
                    "canton",
                ])
                .args(words)
                .arg(option)
                .arg(&path)
                .current_dir(inputs);
            if is_there {
                command.arg("--replace");
            }
            let out = command.output().unwrap();
            let said = text(&out);
            assert_eq!(out.status.code(), Some(3), "{words:?} {said}");
            assert!(
                said.contains(path.to_str().unwrap()) && said.contains(cause),
                "{words:?} {said}"
            );
            assert_eq!(names(full), there, "{words:?}");
            assert_eq!(std::fs::read(full.join("old")).unwrap(), b"old", "{words:?}");
        }
    }
}

#[test]
fn a_full_disk_leaves_neither_half_a_file_nor_keys_and_is_said_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let inputs = directory.path();
    std::fs::write(inputs.join("identities.json"), made::full(Style::Old, 1).to_string()).unwrap();
    for sv in ["sv1", "sv2", "sv3"] {
        std::fs::write(inputs.join(format!("{sv}.log")), agreeing_log(sv)).unwrap();
    }
    // What they write fits where there is room: it is the room that they lack below.
    for (words, option, _) in COMMANDS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command
            .arg("canton")
            .args(words)
            .args([option, "fits"])
            .current_dir(inputs);
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{words:?} {}", text(&out));
        std::fs::remove_file(inputs.join("fits")).unwrap();
    }
    let limited = inputs.join("limited");
    std::fs::create_dir(&limited).unwrap();
    std::fs::write(limited.join("old"), "old").unwrap();
    holds(inputs, &limited, "trap '' XFSZ; ulimit -f 0; ", "File too large");
    // The signal that goes with that limit kills in the middle of the writing, as kill -9 would.
    for (words, option, _) in COMMANDS {
        let there = names(&limited);
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "ulimit -f 0; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_rekindle"),
            "canton",
        ]);
        command
            .args(words)
            .arg(option)
            .arg(limited.join("result"))
            .current_dir(inputs);
        let out = command.output().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&out.status);
        assert_eq!(signal, Some(25), "{words:?} {}", text(&out));
        assert_eq!(names(&limited), there, "{words:?}");
    }
    let full = inputs.join("full");
    let Some(mounted) = Full::mount(&full) else { return };
    std::fs::write(full.join("old"), "old").unwrap();
    while std::fs::write(full.join("filler"), [0_u8; 8192]).is_ok() {
        assert!(names(&full).len() < 3, "it is never full");
        std::fs::write(full.join("more"), [0_u8; 8192]).unwrap_or_default();
    }
    holds(inputs, &full, "", "No space left on device");
    drop(mounted);
}
