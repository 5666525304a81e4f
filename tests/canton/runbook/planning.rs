//! Plans as they are written, and what is refused before anything is.

use super::restoring::{backups, restore};
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
    let script = |answers: &str| {
        let mut command = Command::new("sh");
        command
            .arg("plan.sh")
            .current_dir(site.directory.path())
            .env("REKINDLE", env!("CARGO_BIN_EXE_rekindle"));
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
    };
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
