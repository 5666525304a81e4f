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
    again.expect(0);
    assert!(files(&output.join("ledger")) == files(&service.ledger()));
    assert!(left[0].exists());
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
