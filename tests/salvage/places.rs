//! Places: what is written where, what is left there, and files that are none.

use std::path::Path;
use std::process::Command;

use super::histories::{files, run};
use super::seeded::scratch;
use super::support::{Service, copy_files};

fn small() -> Service {
    Service::made(&["--entries", "80", "--signature-every", "10", "--chunk-size", "4000"])
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let service = small();
    let scratch = scratch();
    let output = scratch.path().join("out");
    std::fs::write(scratch.path().join("beside"), "precious").unwrap();
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$@\"";
    let ended = Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_rekindle"), "salvage"])
        .arg(service.ledger())
        .arg("-o")
        .arg(&output)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("ledger_"), "{said}");
    let left: Vec<_> = files(scratch.path()).into_keys().collect();
    assert_eq!(left, [Path::new("beside")]);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn one_that_was_killed_leaves_no_result_and_is_told_of() {
    let service = small();
    let scratch = scratch();
    let output = scratch.path().join("out");
    // The limit ends the process in the middle of the first write that is too long, as SIGKILL would.
    let ended = Command::new("sh")
        .args([
            "-c",
            "ulimit -f 4; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_rekindle"),
            "salvage",
        ])
        .arg(service.ledger())
        .arg("-o")
        .arg(&output)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), None, "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(!output.exists());
    let left: Vec<_> = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|item| item.unwrap().path())
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let again = run(&[&service.ledger()], &output, &[]);
    assert!(again.stderr.contains(left[0].to_str().unwrap()), "{}", again.stderr);
    assert!(again.stderr.contains("was removed"), "{}", again.stderr);
    again.expect(0);
    assert!(files(&output.join("ledger")) == files(&service.ledger()));
    assert!(!left[0].exists());
}

#[test]
fn what_may_be_anothers_beside_the_result_is_kept() {
    let service = small();
    let scratch = scratch();
    let output = scratch.path().join("out");
    let place = |number: u32| scratch.path().join(format!(".out.7.{number}.partial"));
    // One that is being written, one with something else in it, one that is a copy, and a link to a directory of somebody's.
    for number in 0..3 {
        std::fs::create_dir_all(place(number).join("ledger")).unwrap();
    }
    let lock = std::fs::File::open(place(0)).unwrap();
    lock.try_lock().unwrap();
    std::fs::write(place(1).join("precious"), "precious").unwrap();
    copy_files(&service.ledger(), &place(2).join("ledger"));
    let theirs = scratch.path().join("theirs");
    std::fs::create_dir_all(theirs.join("ledger")).unwrap();
    std::os::unix::fs::symlink(&theirs, place(3)).unwrap();
    let copy = place(2).join("ledger");
    let said = run(&[&copy], &output, &[]).expect(0).stderr;
    for number in 0..4 {
        assert!(place(number).exists(), "{number}: {said}");
        assert!(said.contains(place(number).to_str().unwrap()), "{number}: {said}");
    }
    assert!(theirs.join("ledger").exists());
    assert!(files(&output.join("ledger")) == files(&service.ledger()));
    // Nobody writes it any more, and it is no copy: it goes.
    drop(lock);
    std::fs::remove_dir_all(&output).unwrap();
    run(&[&service.ledger()], &output, &[]).expect(0);
    assert!(!place(0).exists() && !place(2).exists() && place(1).exists() && theirs.join("ledger").exists());
}

#[test]
fn a_signal_leaves_nothing_and_a_kill_leaves_nothing_that_the_next_run_does_not_take_away() {
    let service = Service::made(&[
        "--entries",
        "6000",
        "--signature-every",
        "10",
        "--chunk-size",
        "4000",
        "--curve",
        "p256",
    ]);
    let expected = files(&service.ledger());
    let mut met = 0;
    let signals = ["TERM", "INT", "KILL", "HUP"].iter().cycle().take(24);
    for (number, signal) in signals.enumerate() {
        let scratch = tempfile::tempdir().unwrap();
        let output = scratch.path().join("out");
        let mut child = super::support::command()
            .arg("salvage")
            .arg(service.ledger())
            .arg("-o")
            .arg(&output)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Until it writes, and a moment longer.
        let writes = || std::fs::read_dir(scratch.path()).unwrap().count() > 0;
        while child.try_wait().unwrap().is_none() && !writes() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(5 * number as u64));
        let id = child.id().to_string();
        Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        let ended = child.wait().unwrap();
        let left: Vec<_> = std::fs::read_dir(scratch.path())
            .unwrap()
            .map(|item| item.unwrap().file_name())
            .collect();
        if !output.exists() {
            met += 1;
            assert!(*signal == "KILL" || left.is_empty(), "{signal}: {ended}: {left:?}");
            run(&[&service.ledger()], &output, &[]).expect(0);
        }
        assert!(files(&output.join("ledger")) == expected, "{signal}");
        assert_eq!(
            std::fs::read_dir(scratch.path()).unwrap().count(),
            1,
            "{signal}: {left:?}"
        );
    }
    assert!(met > 2, "only {met} were met while they wrote");
}

#[test]
fn a_copy_is_no_place_for_the_result_even_where_it_is_empty() {
    let service = small();
    let scratch = scratch();
    let empty = scratch.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    run(&[&empty, &service.ledger()], &empty, &[]).expect(2);
    assert!(files(&empty).is_empty() && !empty.join("ledger").exists());
}

#[test]
fn holes_pipes_links_and_thousands_of_other_files_are_no_trouble() {
    let service = small();
    let scratch = scratch();
    let copy = scratch.path().join("copy");
    copy_files(&service.ledger(), &copy);
    let many = copy.join("ledger_1");
    std::fs::create_dir(&many).unwrap();
    for number in 0..10_000 {
        std::fs::write(many.join(format!("ledger_{number}")), number.to_string()).unwrap();
    }
    assert!(
        Command::new("mkfifo")
            .arg(copy.join("ledger_7"))
            .status()
            .unwrap()
            .success()
    );
    for (link, to) in [("zero", "/dev/zero"), ("loop", "../copy"), ("nowhere", "gone")] {
        std::os::unix::fs::symlink(to, copy.join(link)).unwrap();
    }
    // Two of one size, so that they are compared; no page of them is made.
    for name in ["ledger_8", "ledger_9"] {
        let file = std::fs::File::create(copy.join(name)).unwrap();
        file.set_len(20 << 30).unwrap();
    }
    let output = scratch.path().join("out");
    let report = run(&[&copy], &output, &[]).json();
    assert_eq!(report["is_complete"], true, "{report:#}");
    assert!(files(&output.join("ledger")) == files(&service.ledger()));
    use std::os::unix::fs::MetadataExt;
    let pages = copy.join("ledger_8").metadata().unwrap().blocks();
    assert!(pages < 64, "{pages} blocks were made of holes");
}
