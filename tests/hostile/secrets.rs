//! Secrets stay nowhere: not in files of an export that was interrupted, not in files that others may read, not in memory
//! that was given back.

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rekindle::crypto::rsa::DecryptionKey;
use rustix::process::{Pid, Signal, kill_process};

use crate::node::Place;
use crate::support::{Service, command};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn an_export_that_is_killed_leaves_nothing_however_it_is_killed() {
    let service = Service::made(&[
        "--entries",
        "4000",
        "--value-size",
        "2000",
        "--members",
        "1",
        "--threshold",
        "1",
    ]);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out.jsonl");
        let mut child = command()
            .args(["export", "--history", "--jobs", "1"])
            .arg(service.ledger())
            .arg("--member-key")
            .arg(service.key(0))
            .arg("-o")
            .arg(&out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed while the file is open: whatever has a name there now would stay.
        let descriptors = format!("/proc/{}/fd", child.id());
        let is_open = || {
            let links = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
            links
                .filter_map(|link| std::fs::read_link(link.path()).ok())
                .any(|file| file.starts_with(scratch.path()))
        };
        let began = Instant::now();
        while !is_open() && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        let running = child.try_wait().unwrap().is_none();
        let _ = kill_process(Pid::from_child(&child), signal);
        child.wait().unwrap();
        let left: Vec<_> = std::fs::read_dir(scratch.path())
            .unwrap()
            .flatten()
            .map(|item| item.path())
            .collect();
        // It may have been done in the meantime: then it is there as a whole, and nothing else is.
        assert!(left.is_empty() || left == [out.clone()], "{left:?}");
        assert!(
            running || left == [out],
            "it ended before it was killed, without a file"
        );
    }
}

#[test]
fn a_full_disk_leaves_nothing_of_an_export() {
    let service = Service::made(&[
        "--entries",
        "2000",
        "--value-size",
        "2000",
        "--members",
        "1",
        "--threshold",
        "1",
    ]);
    let scratch = tempfile::tempdir().unwrap();
    let line = format!(
        "ulimit -f 100; trap '' XFSZ; exec \"$0\" export --history {} --member-key {} -o {}",
        service.ledger().display(),
        service.key(0).display(),
        scratch.path().join("out.jsonl").display()
    );
    let run = std::process::Command::new("bash")
        .args(["-c", &line, env!("CARGO_BIN_EXE_rekindle")])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(3), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn what_keys_made_is_readable_by_its_owner_only() {
    let service = Service::made(&["--entries", "50", "--members", "1", "--threshold", "1"]);
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("state.jsonl");
    std::fs::write(&out, "before").unwrap();
    std::fs::set_permissions(&out, PermissionsExt::from_mode(0o644)).unwrap();
    service.with_keys("export", &["-o", out.to_str().unwrap()]).expect(0);
    assert_eq!(mode(&out), 0o600);
    rekindle!("member", "keygen", "anna", "--encryption-key", "--out", scratch.path()).expect(0);
    for name in ["anna_privk.pem", "anna_enc_privk.pem"] {
        assert_eq!(mode(&scratch.path().join(name)), 0o600, "{name}");
    }
    for name in ["member0_privk.pem", "member0_enc_privk.pem"] {
        assert_eq!(mode(&service.common(name)), 0o600, "{name}");
    }
    let kept = scratch.path().join("drill");
    rekindle!("drill", "--entries", "200", "--keep", &kept).expect(0);
    assert_eq!(mode(&kept), 0o700);
}

#[test]
fn commands_that_deal_with_keys_leave_no_core_dump_and_can_not_be_looked_into() {
    let service = Service::made(&["--entries", "20", "--members", "1", "--threshold", "1"]);
    // A pipe that nobody writes to holds each command where it reads its key.
    let scratch = tempfile::tempdir().unwrap();
    let pipe = scratch.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for command_name in ["unlock", "export", "inspect", "bench"] {
        let mut child = command();
        child
            .arg(command_name)
            .arg(service.ledger())
            .arg("--member-key")
            .arg(&pipe);
        if command_name == "export" {
            child.args(["-o", "-"]);
        }
        if command_name == "inspect" {
            child.args(["--seqno", "1"]);
        }
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let limits = format!("/proc/{}/limits", child.id());
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&limits).unwrap();
            let core = text
                .lines()
                .find(|line| line.starts_with("Max core file size"))
                .unwrap();
            let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
            // What belongs to a process that can't be dumped belongs to root; as root, the limit must tell.
            if values == ["0", "0"] {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{command_name}: {core}");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// All that a process has in memory it can write to.
fn memory_holds(pid: u32, needles: &[&[u8]]) -> Option<bool> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    for line in maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut bytes = vec![0; (to - from) as usize];
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        if needles
            .iter()
            .any(|needle| bytes.windows(needle.len()).any(|window| window == *needle))
        {
            return Some(true);
        }
    }
    Some(false)
}

#[test]
fn a_node_forgets_the_shares_that_were_submitted() {
    let service = Service::made(&["--entries", "50", "--members", "2", "--threshold", "2"]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.pass(&node.opening());
    let keys = place.keys();
    let mut shares = Vec::new();
    for (number, keys) in keys.iter().enumerate() {
        let id = keys.member.id();
        let path = format!("/gov/recovery/encrypted-shares/{id}?api-version=2024-07-01");
        let encrypted = STANDARD
            .decode(node.json(&path)["encryptedShare"].as_str().unwrap())
            .unwrap();
        let pem =
            std::fs::read_to_string(place.directory.join(format!("common/member{number}_enc_privk.pem"))).unwrap();
        let share = DecryptionKey::from_pem(&pem)
            .unwrap()
            .decrypt(&encrypted)
            .unwrap()
            .to_vec();
        shares.push((STANDARD.encode(&share), share));
    }
    node.submit_shares(&keys);
    node.wait_until_open();
    // The last connections that brought them are closed.
    std::thread::sleep(Duration::from_millis(500));
    for (text, share) in &shares {
        // The middle of the text, which stays the same wherever the base64 begins; and the raw share but for its header.
        let needles = [&text.as_bytes()[8..text.len() - 8], &share[12..]];
        match memory_holds(node.pid(), &needles) {
            Some(holds) => assert!(!holds, "a submitted share is still in the node's memory"),
            None => return eprintln!("skipped: the memory of another process can't be read here"),
        }
    }
    node.stop();
}
