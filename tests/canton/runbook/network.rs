//! The recovery of the whole network, and the re-onboarding of one SV, led to their ends with real processes.

use std::os::unix::process::CommandExt;

use super::*;
use crate::documented::agreeing_log;
use crate::identities::made::{self, Style};
use crate::sv_app::{Body, snapshot};

/// A site of three SVs whose app gives snapshots, the first of them so slowly that it can be killed meanwhile; with the new
/// migration's nodes, which do not run yet.
fn site() -> Site {
    let app = SvApp::start("0.5.4", |request, before| {
        let active = serde_json::json!({"success": {"id": "x", "uptime": "PT5S", "ports": {}, "active": true}});
        match request.path.rsplit('/').next().unwrap() {
            "readyz" | "livez" => Answer::of(200, "", Vec::new()),
            "data-snapshot" => {
                let mut given = snapshot(request.timestamp(), &"QUJD".repeat(50_000));
                given["migration_id"] = 1.into();
                let body = given.to_string().into_bytes();
                let slow = Body::Slow(body.clone(), 2_000, Duration::from_millis(50));
                let is_first = before == 0;
                Answer::json(200, &given).body(if is_first { slow } else { Body::Sized(body) })
            }
            "status" if request.path.contains("cometbft") => Answer::json(
                200,
                &serde_json::json!({"id": "a", "catching_up": false, "voting_power": 1}),
            ),
            _ => Answer::json(200, &active),
        }
    });
    let site = Site { app, ..Site::new() };
    for node in ["cometbft", "mediator", "sequencer"] {
        site.server.add(&format!("global-domain-1-{node}"), 0);
    }
    site.server.add("participant-1", 0);
    site.private("identities.json", &made::full(Style::Old, 1).to_string());
    for sv in ["sv1", "sv2", "sv3"] {
        std::fs::write(site.path(&format!("{sv}.log")), agreeing_log(sv)).unwrap();
    }
    for sv in ["sv2", "sv3"] {
        let out = Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .args(["canton", "scan", "--log", &format!("{sv}={sv}.log"), "--out"])
            .arg(format!("{sv}.json"))
            .current_dir(site.directory.path())
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    }
    site
}

#[test]
fn a_network_is_recovered_to_the_end_although_everything_is_killed_while_the_snapshot_comes() {
    let site = site();
    let deploy = site.starts("cometbft,mediator,sequencer,participant");
    let migrate = site.starts("sv-app,scan-app,validator-app");
    let mut arguments = vec!["network-dr", "--splice", "0.5.4", "--identities", "identities.json"];
    arguments.extend(["--log", "sv1=sv1.log", "--evidence", "sv1=evidence.json"]);
    arguments.extend(["--evidence", "sv2=sv2.json", "--evidence", "sv3=sv3.json"]);
    arguments.extend([
        "--keep-command",
        "echo keep >> done",
        "--settle-command",
        "echo settle >> done",
    ]);
    arguments.extend([
        "--deploy-command",
        deploy.as_str(),
        "--configure-command",
        migrate.as_str(),
    ]);
    arguments.extend(["--execute", "--journal", "journal", "--json"]);
    for step in ["stop-cometbft", "exchange-evidence", "agree", "stop-old", "migrate"] {
        arguments.extend(["--yes", step]);
    }
    // An earlier recovery left its evidence: it is not taken for this one's.
    std::fs::write(site.path("evidence.json"), "{}").unwrap();
    let run = |more: &[&str]| site.command(&[&arguments[..], more].concat());

    // The time is not known before everybody's evidence is there.
    let out = run(&[]).output().unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
    let finding = &document["findings"][0];
    assert_eq!(
        (out.status.code(), finding["code"].as_str(), finding["of"].as_str()),
        (Some(5), Some("C0809"), Some("agree")),
        "{}",
        text(&out)
    );
    assert_eq!(site.server.replicas("global-domain-0-cometbft"), 0);
    assert_eq!(site.server.replicas("global-domain-0-sequencer"), 1);
    let mut found = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    found
        .args(["canton", "timestamp", "--json"])
        .current_dir(site.directory.path());
    for evidence in ["sv1=evidence.json", "sv2=sv2.json", "sv3=sv3.json"] {
        found.args(["--evidence", evidence]);
    }
    let found: Value = serde_json::from_slice(&found.output().unwrap().stdout).unwrap();
    let timestamp = found["timestamp"].as_str().unwrap_or_else(|| panic!("{found}"));
    let agreed = ["--timestamp", timestamp, "--migration-id", "1"];

    // Everything is killed while the snapshot comes: this program, and what it started.
    let mut child = run(&agreed)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !site
        .app
        .asked()
        .iter()
        .any(|request| request.path.ends_with("data-snapshot"))
    {
        assert!(
            child.try_wait().unwrap().is_none() && Instant::now() < deadline,
            "{:?}",
            site.journal()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let group = format!("-{}", child.id());
    assert!(
        Command::new("kill")
            .args(["-9", "--", &group])
            .status()
            .unwrap()
            .success()
    );
    child.wait().unwrap();
    assert_eq!(site.journal().last().unwrap()["step"], "fetch");
    assert!(!site.path("data_snapshot.json").exists());

    // Another time than the one on which they agreed is not gone on with.
    let out = run(&["--timestamp", "2024-04-17T18:00:00Z", "--migration-id", "1"])
        .output()
        .unwrap();
    assert!(
        out.status.code() == Some(1) && text(&out).contains("C0813"),
        "{}",
        text(&out)
    );
    let out = run(&agreed).output().unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
    assert_eq!(document["verdict"], "finished", "{}", text(&out));
    assert_eq!(out.status.code(), Some(0));

    let placed: Value = serde_json::from_slice(&std::fs::read(site.server.target()).unwrap()).unwrap();
    assert_eq!(
        (&placed["created_at"], &placed["migration_id"]),
        (&timestamp.into(), &1.into())
    );
    assert_eq!(placed["identities"], made::full(Style::Old, 1)["identities"]);
    for (name, replicas) in [
        ("global-domain-0-cometbft", 0),
        ("global-domain-0-mediator", 0),
        ("global-domain-0-sequencer", 0),
        ("global-domain-1-cometbft", 1),
        ("global-domain-1-sequencer", 1),
        ("participant-1", 1),
        ("sv-app", 1),
        ("validator-app", 1),
    ] {
        assert_eq!(site.server.replicas(name), replicas, "{name}");
    }
    let done = std::fs::read_to_string(site.path("done")).unwrap();
    assert_eq!(
        done,
        "keep\ncometbft,mediator,sequencer,participant\nsv-app,scan-app,validator-app\nsettle\n"
    );
}
