//! A restore from backups, carried out, killed at every line of its journal, and refused.

use super::*;

/// Dumps of both databases, as `pg_dump -v` writes them: the apps are behind their participant, and older.
pub(super) fn backups(directory: &Path) {
    let dump = |hours: i64, table: &str| {
        let at = time::OffsetDateTime::now_utc() - time::Duration::hours(hours);
        let at = format!(
            "{} {:02}:{:02}:{:02} UTC",
            at.date(),
            at.hour(),
            at.minute(),
            at.second()
        );
        format!(
            "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.0\n-- Dumped by pg_dump version 15.0\n\n\
             -- Started on {at}\n\n{table}\\.\n\n-- Completed on {at}\n\n--\n-- PostgreSQL database dump complete\n--\n"
        )
    };
    let apps = "COPY sv.store_last_ingested_offsets (store_id, migration_id, last_ingested_offset) FROM stdin;\n\
        1\t0\t000000000000000064\n";
    let participant = "COPY participant.lapi_parameters (ledger_end, participant_id, participant_pruned_up_to_inclusive) \
        FROM stdin;\n200\tsv::12205f1149bc\t\\N\n";
    std::fs::write(directory.join("apps.sql"), dump(3, apps)).unwrap();
    std::fs::write(directory.join("participant.sql"), dump(2, participant)).unwrap();
}

pub(super) const RESTORE: [&str; 9] = [
    "restore",
    "--splice",
    "0.6.7",
    "--apps",
    "apps.sql",
    "--participant",
    "participant.sql",
    "--keep-command",
    "echo keep >> done",
];

const YES: [&str; 4] = ["--yes", "scale-down", "--yes", "restore"];

pub(super) fn restore<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "--restore-command",
        "echo restore >> done",
        "--restored-command",
        "grep -q restore done",
    ];
    [&RESTORE[..], &base[..], more].concat()
}

#[test]
fn a_restore_that_is_killed_at_every_line_of_its_journal_finishes() {
    let site = Site::new();
    backups(site.directory.path());
    let inputs = ["apps.sql", "participant.sql", "token"];
    let died = killing::to_the_end(&site, 5, &restore(&[]), &inputs);
    assert_eq!(
        died.steps(&site),
        [
            "check-backups",
            "scale-down",
            "keep-what-is-there",
            "restore",
            "scale-up",
            "verify"
        ]
    );
    let done = std::fs::read_to_string(site.path("done")).unwrap();
    died.was_asked_each_time(&done, "restore", "restore");
    assert_eq!(site.server.replicas("participant-0"), 1);
}

#[test]
fn backups_that_are_certainly_inconsistent_are_not_restored_whoever_agrees() {
    let site = Site::new();
    let yes = ["--yes", "check-backups", "--yes", "scale-down", "--yes", "restore"];
    let run = |journal: &str| {
        let execute = ["--execute", "--journal", journal, "--json"];
        let out = site
            .command(&restore(&[&execute[..], &yes[..]].concat()))
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
        (out, document)
    };
    // The apps have read up to 100, and the ledger ends at 99.
    backups(site.directory.path());
    let participant = std::fs::read_to_string(site.path("participant.sql")).unwrap();
    let ahead = participant.replace("\n200\t", "\n99\t");
    assert_ne!(ahead, participant);
    std::fs::write(site.path("participant.sql"), ahead).unwrap();
    let (out, document) = run("ahead");
    let finding = &document["findings"][0];
    assert_eq!(
        (out.status.code(), finding["code"].as_str(), finding["of"].as_str()),
        (Some(5), Some("C0811"), Some("check-backups")),
        "{}",
        text(&out)
    );
    assert!(text(&out).contains("nobody's to overrule") && text(&out).contains("C0101"));
    assert!(!site.path("done").exists() && site.server.replicas("participant-0") == 1);
    // As a script: nobody is asked.
    let out = site.command(&restore(&["--script", "plan.sh"])).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let mut script = Command::new("sh");
    script.arg("plan.sh").current_dir(site.directory.path());
    let mut script = script
        .env("REKINDLE", env!("CARGO_BIN_EXE_rekindle"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = std::io::Write::write_all(&mut script.stdin.take().unwrap(), b"yes\nyes\nyes\n");
    let out = script.wait_with_output().unwrap();
    assert!(
        out.status.code() == Some(1) && text(&out).contains("what was found is certain"),
        "{}",
        text(&out)
    );
    assert!(!text(&out).contains("[yes/no]") && !site.path("done").exists());
    // Without offsets and times nothing is proven, which a person may accept.
    for name in ["apps.sql", "participant.sql"] {
        let dump = std::fs::read_to_string(site.path(name)).unwrap();
        let kept = dump
            .lines()
            .filter(|line| !line.starts_with("-- Started") && !line.starts_with("-- Completed"));
        let kept: Vec<&str> = kept
            .map(|line| if line.starts_with("1\t0\t") { "1\t0\t\\N" } else { line })
            .collect();
        std::fs::write(site.path(name), kept.join("\n") + "\n").unwrap();
    }
    let (out, document) = run("unproven");
    assert_eq!(document["verdict"], "finished", "{}", text(&out));
}

#[test]
fn a_restore_that_outlives_its_run_is_waited_for_wherever_it_reads_from() {
    let site = Site::new();
    backups(site.directory.path());
    // Some shells make way for a last command by themselves; the input that the shell had goes with it.
    std::fs::write(
        site.path("slow.sh"),
        "echo restore >> done\nsleep 1.5\necho over >> done\n",
    )
    .unwrap();
    let mut arguments = RESTORE.to_vec();
    arguments.extend([
        "--restore-command",
        "exec sh slow.sh < apps.sql",
        "--execute",
        "--journal",
        "journal",
    ]);
    arguments.extend(YES);
    let mut child = site
        .command(&arguments)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let done = || std::fs::read_to_string(site.path("done")).unwrap_or_default();
    while !done().contains("restore") {
        assert!(child.try_wait().unwrap().is_none(), "{:?}", site.journal());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let out = site.command(&arguments).output().unwrap();
    assert!(
        out.status.code() == Some(2) && text(&out).contains("is in use") && !done().contains("over"),
        "{} {}",
        done(),
        text(&out)
    );
    while !done().contains("over") {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(done(), "keep\nrestore\nover\n");
}
