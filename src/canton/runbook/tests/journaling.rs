//! One journal, one run.

use std::process::Command;

use super::super::journal::{Journal, NotThis};
use super::*;

/// The journal of a plan, once nobody has it any more.
pub(super) fn open(path: &std::path::Path, plan: &Plan) -> Journal {
    // A process that another test forks has all descriptors until it becomes its program, the lock too.
    for _ in 0..200 {
        match Journal::open(path, plan, now()) {
            Ok(journal) => return journal,
            Err(NotThis::Error(why)) if why.to_string().contains("in use") => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(why) => panic!("{why:?}"),
        }
    }
    panic!("it stays locked")
}

#[test]
fn two_runs_cannot_have_one_journal_and_a_command_that_is_left_over_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let plan = plan(Kind::Restore, "0.5.4").unwrap();
    let journal = open(&path, &plan);
    assert!(matches!(Journal::open(&path, &plan, now()), Err(NotThis::Error(why)) if why.exit_code() == 2));
    let mut left_over = Command::new("sleep")
        .arg("30")
        .stdin(journal.lock().unwrap())
        .spawn()
        .unwrap();
    drop(journal);
    assert!(Journal::open(&path, &plan, now()).is_err());
    left_over.kill().unwrap();
    left_over.wait().unwrap();
    open(&path, &plan);
}
