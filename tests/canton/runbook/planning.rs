//! Plans as they are written, and what is refused before anything is.

use super::restoring::{RESTORE, backups, restore};
use super::*;

#[test]
fn a_plan_is_written_once_as_text_and_as_a_script_that_does_the_same() {
    let site = Site::new();
    backups(site.directory.path());
    let write = restore(&["--out", "plan.md", "--script", "plan.sh"]);
    let out = site.command(&write).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert_eq!(site.command(&write).output().unwrap().status.code(), Some(2));
    assert!(site.server.lock().requests.is_empty(), "a plan asks nobody");
    let markdown = std::fs::read_to_string(site.path("plan.md")).unwrap();
    assert!(markdown.starts_with("# Restore a Super Validator"));
    let script = |answers: &str| run_script(&site, answers);
    let out = script("no\n");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(
        text(&out).contains("stopped at scale-down: not agreed to"),
        "{}",
        text(&out)
    );
    assert_eq!(site.server.replicas("sv-app"), 1);
    let out = script("yes\nyes\n");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert_eq!(std::fs::read_to_string(site.path("done")).unwrap(), "keep\nrestore\n");
    assert!(site.server.pods("participant-0").len() == 1 && text(&out).contains("finished"));
}

/// Runs `plan.sh` with these answers to what it asks.
fn run_script(site: &Site, answers: &str) -> std::process::Output {
    let mut command = Command::new("sh");
    command
        .arg("plan.sh")
        .current_dir(site.directory.path())
        .env("REKINDLE", env!("CARGO_BIN_EXE_rekindle"))
        .env("REKINDLE_LOOK_AGAIN_S", "1");
    for name in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    std::fs::write(site.path("answers"), answers).unwrap();
    command
        .stdin(std::fs::File::open(site.path("answers")).unwrap())
        .output()
        .unwrap()
}

#[test]
fn a_script_waits_for_a_restore_that_goes_on_and_never_begins_it_twice() {
    let site = Site::new();
    backups(site.directory.path());
    // Each look uses up one line of what there is to say.
    let look = "read -r code < says; sed -i 1d says; exit $code";
    let commands = ["--restore-command", "echo restore >> done", "--restored-command", look];
    let write = [
        &RESTORE[..],
        &commands[..],
        &["--out", "plan.md", "--script", "plan.sh"],
    ]
    .concat();
    assert_eq!(site.command(&write).output().unwrap().status.code(), Some(0));

    // Not begun; begun, and twice not yet complete.
    std::fs::write(site.path("says"), "1\n75\n75\n0\n").unwrap();
    let out = run_script(&site, "yes\nyes\n");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert_eq!(text(&out).matches("still goes on").count(), 2, "{}", text(&out));
    assert_eq!(std::fs::read_to_string(site.path("done")).unwrap(), "keep\nrestore\n");

    // As after a script that was killed while it waited: nothing is asked, and nothing begun.
    std::fs::write(site.path("says"), "75\n0\n").unwrap();
    let out = run_script(&site, "yes\n");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let done = std::fs::read_to_string(site.path("done")).unwrap();
    assert_eq!(done.matches("restore").count(), 1, "{done}: {}", text(&out));

    // That it is complete may be true of an earlier one: that is asked.
    std::fs::write(site.path("says"), "0\n0\n").unwrap();
    let out = run_script(&site, "yes\nno\n");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(
        text(&out).contains("stopped at restore: not agreed to"),
        "{}",
        text(&out)
    );
}

#[test]
fn wrong_ways_and_steps_are_refused_before_anything_is_written() {
    let site = Site::new();
    let out = site
        .command(&["network-dr", "--splice", "0.6.2", "--out", "plan.md"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("C0801") && text(&out).contains("roll-forward-lsu"));
    let out = site
        .command(&["restore", "--splice", "0.6.2", "--execute"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    let out = site
        .command(&[
            "restore",
            "--splice",
            "0.6.2",
            "--execute",
            "--journal",
            "journal",
            "--yes",
            "everything",
        ])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out).contains("check-backups"), "{}", text(&out));
    assert!(!site.path("plan.md").exists() && !site.path("journal").exists());
    // --replace is no leave to write a plan over what it reads, or over the journal.
    backups(site.directory.path());
    std::fs::write(site.path("journal"), "what was done").unwrap();
    std::os::unix::fs::symlink("apps.sql", site.path("other-name")).unwrap();
    for (option, name) in [
        ("--out", "apps.sql"),
        ("--script", "./token"),
        ("--out", "other-name"),
        ("--out", "journal"),
    ] {
        let before = std::fs::read(site.path(name)).unwrap();
        let more = [option, name, "--replace", "--execute", "--journal", "journal"];
        let out = site.command(&restore(&more)).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{name} {}", text(&out));
        assert!(text(&out).contains("a name of its own"), "{}", text(&out));
        assert_eq!(std::fs::read(site.path(name)).unwrap(), before);
    }
    let out = site
        .command(&restore(&["--out", "plan", "--script", "plan"]))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", text(&out));
}
