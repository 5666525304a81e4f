//! `rekindle canton runbook` as operators run it: carried out against a cluster, killed at every line of its journal.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod network;

use crate::kubernetes::api_server::ApiServer;
use crate::sv_app::{Answer, SvApp};

struct Site {
    server: ApiServer,
    app: SvApp,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let app = SvApp::start("0.6.7", |request, _| {
            let active = serde_json::json!({"success": {"id": "x", "uptime": "PT5S", "ports": {}, "active": true}});
            let health = request.path.ends_with("/readyz") || request.path.ends_with("/livez");
            match request.path.ends_with("/cometbft/status") {
                _ if health => Answer::of(200, "", Vec::new()),
                true => Answer::json(
                    200,
                    &serde_json::json!({"id": "a", "catching_up": false, "voting_power": 1}),
                ),
                false => Answer::json(200, &active),
            }
        });
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "secret\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(directory.path().join("token"), private).unwrap();
        Site {
            server: ApiServer::with_sv(),
            app,
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command
            .args(["canton", "runbook"])
            .args(arguments)
            .current_dir(self.directory.path());
        command.args(["--url", &self.app.url, "--token-file", "token"]);
        command.arg("--kubeconfig").arg(self.server.kubeconfig());
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
        command.stdin(Stdio::null());
        command
    }

    fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("journal")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

fn text(out: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// Dumps of both databases, as `pg_dump -v` writes them: the apps are behind their participant, and older.
fn backups(directory: &Path) {
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

const RESTORE: [&str; 9] = [
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

fn restore<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "--restore-command",
        "echo restore >> done",
        "--restored-command",
        "grep -q restore done",
    ];
    [&RESTORE[..], &base[..], more].concat()
}

const LSU: [&str; 23] = [
    "roll-forward-lsu",
    "--splice",
    "0.6.7",
    "--record-time",
    "2026-11-20T10:00:00Z",
    "--max-sequencing-time",
    "2026-11-20T10:00:01Z",
    "--lower-bound",
    "2026-11-20T11:00:00Z",
    "--upgrade-time",
    "2026-11-20T12:00:00Z",
    "--topology-export-time",
    "2026-11-20T10:00:00Z",
    "--traffic-export-time",
    "2026-11-20T10:00:00Z",
    "--protocol-version",
    "34",
    "--keep-command",
    "echo keep >> done",
    "--deploy-command",
    "echo deploy >> done",
    "--configure-command",
    "echo configure >> done",
];

const LSU_YES: [&str; 16] = [
    "--execute",
    "--journal",
    "journal",
    "--yes",
    "agree",
    "--yes",
    "end-old-sequencer",
    "--yes",
    "wait-for-ingestion",
    "--yes",
    "configure-sv-app",
    "--yes",
    "validators",
    "--new-serial",
    "1",
    "--json",
];

#[test]
fn an_upgrade_is_led_to_its_end_asks_where_it_must_and_goes_on_where_it_was() {
    let site = Site::new();
    for node in ["mediator", "sequencer"] {
        site.server.add(&format!("global-domain-1-{node}"), 1);
    }
    site.server.settle();
    // Nobody can be asked here, and nothing was agreed to.
    let out = site
        .command(&[&LSU[..], &["--execute", "--journal", "journal", "--json"]].concat())
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (out.status.code(), document["done"].as_u64()),
        (Some(5), Some(0)),
        "{}",
        text(&out)
    );
    assert_eq!(document["findings"][0]["code"], "C0809", "{document}");
    let out = site
        .command(
            &[
                &LSU[..],
                &["--execute", "--journal", "journal", "--new-serial", "1", "--json"],
            ]
            .concat(),
        )
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(document["findings"][0]["code"], "C0812", "{document}");
    assert!(!site.path("done").exists());
    let run = || {
        let out = site.command(&[&LSU[..], &LSU_YES[..]].concat()).output().unwrap();
        let document: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
        (out, document)
    };
    // The old sequencer is as ready as ever, and the operator said so; but the variable is not there, or of another time.
    let end = "ADDITIONAL_CONFIG_SEQUENCER_LSU_MAX_SEQUENCING_TIME";
    let repair = "canton.sequencers.sequencer.parameters.lsu-repair";
    for time in [None, Some("2026-11-20T10:00:02Z")] {
        if let Some(time) = time {
            let value = format!("{repair}.global-max-sequencing-time-exclusive=\"{time}\"\n");
            site.server.set("global-domain-0-sequencer", end, &value);
        }
        let (out, document) = run();
        assert_eq!(
            (&document["findings"][0]["code"], &document["findings"][0]["of"]),
            (&"C0810".into(), &"end-old-sequencer".into()),
            "{document}"
        );
        let shown = text(&out);
        assert!(
            shown.contains("C0915") && shown.contains(time.unwrap_or("is not set")),
            "{shown}"
        );
    }
    let value = format!("{repair}.global-max-sequencing-time-exclusive=\"2026-11-20T10:00:01Z\"\n");
    site.server.set("global-domain-0-sequencer", end, &value);
    let bound = format!("{repair}.lsu-sequencing-bounds-override");
    let value = format!(
        "{bound}.lower-bound-sequencing-time-exclusive=\"2026-11-20T11:00:00Z\"\n\
         {bound}.upgrade-time=\"2026-11-20T12:00:00Z\"\n"
    );
    let bounds = "ADDITIONAL_CONFIG_SEQUENCER_LSU_SEQUENCING_BOUNDS";
    site.server.set("global-domain-1-sequencer", bounds, &value);
    let (out, document) = run();
    assert_eq!(
        (out.status.code(), document["verdict"].as_str()),
        (Some(0), Some("finished")),
        "{}",
        text(&out)
    );
    assert_eq!(std::fs::read_to_string(site.path("done")).unwrap(), "keep\nconfigure\n");
    // The successor was there: the step found it so, and did nothing.
    let found = site
        .journal()
        .iter()
        .any(|line| line["step"] == "deploy-successor" && line["how"] == "found");
    assert!(found, "{:?}", site.journal());
    // Once more: nothing is left to do, and another plan is not this one.
    assert_eq!(
        site.command(&[&LSU[..], &LSU_YES[..]].concat())
            .output()
            .unwrap()
            .status
            .code(),
        Some(0)
    );
    let mut other = LSU;
    other[10] = "2026-11-20T12:30:00Z";
    let out = site.command(&[&other[..], &LSU_YES[..]].concat()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out).contains("C0813") && text(&out).contains("12:30:00Z"),
        "{}",
        text(&out)
    );
}

#[test]
fn a_restore_that_is_killed_at_every_line_of_its_journal_finishes() {
    let site = Site::new();
    backups(site.directory.path());
    let run = restore(&[&["--execute", "--journal", "journal"], &YES[..]].concat());
    // Each state of each step is killed at once: every run adds lines, so that killing at every line would never end.
    let mut killed = std::collections::BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    let finished = loop {
        assert!(Instant::now() < deadline, "{:?}", site.journal());
        let mut child = site
            .command(&run)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            let last = site.journal().pop().unwrap_or_default();
            let state = ["step", "state"].map(|name| last[name].as_str().unwrap_or_default().to_owned());
            if !last.is_null() && killed.insert(state) {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        match ended.map(|status| status.code()) {
            None => {}
            Some(Some(0)) => break true,
            // A command that the killed run started still has the journal.
            Some(Some(2)) => std::thread::sleep(Duration::from_millis(50)),
            other => {
                let mut said = String::new();
                std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
                panic!("{other:?} {said}");
            }
        }
    };
    assert!(finished && killed.len() >= 8, "killed at {killed:?}");
    let done = std::fs::read_to_string(site.path("done")).unwrap();
    assert!(done.contains("restore"), "{done}");
    assert!(done.lines().filter(|line| *line == "restore").count() <= 2, "{done}");
    assert_eq!(site.server.replicas("participant-0"), 1);
    let steps: Vec<String> = site
        .journal()
        .iter()
        .filter(|line| line["state"] == "done")
        .map(|line| line["step"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        steps,
        [
            "check-backups",
            "scale-down",
            "keep-what-is-there",
            "restore",
            "scale-up",
            "verify"
        ]
    );
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
