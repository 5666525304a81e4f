use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api_server::{ApiServer, ExecFault, rekindle};

/// A merged dump with a snapshot of about so many bytes, in the server's directory.
pub fn dump(server: &ApiServer, bytes: usize) -> PathBuf {
    let snapshot = "QUJD".repeat(bytes / 4);
    let document = json!({
        "identities": {"sv_party_id": "sv::1220", "participant": {"id": "PAR::sv::1220", "keys": [], "authorizedStoreSnapshot": ""}},
        "created_at": "2024-04-17T19:12:02Z",
        "migration_id": 1,
        "data_snapshot": {
            "genesis_state": "QUJD", "acs_snapshot": snapshot, "acs_timestamp": "2024-04-17T19:12:02Z", "acs_format": "ledger_api",
            "dars": [{"hash": "ab", "content": "QUJD"}],
        },
        "participant_users": {"identityProviders": [], "users": []},
    });
    let path = server.directory.path().join("merged.json");
    std::fs::write(&path, document.to_string()).unwrap();
    path
}

/// Runs `place --json` and answers the exit code and the document.
fn place(server: &ApiServer, file: &std::path::Path, arguments: &[&str]) -> (i32, Value) {
    let all = [&["place", "--json", "--file", file.to_str().unwrap()], arguments].concat();
    let out = rekindle(server, &all).output().unwrap();
    let document = serde_json::from_slice(&out.stdout).unwrap_or_else(|why| {
        panic!(
            "{why}: {} {}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        )
    });
    (out.status.code().unwrap(), document)
}

fn codes(document: &Value) -> Vec<&str> {
    document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

fn only_target() -> std::collections::BTreeSet<String> {
    ["domain_migration_dump.json".to_owned()].into()
}

#[test]
fn a_dry_run_checks_and_runs_nothing_in_the_pod() {
    let server = ApiServer::with_sv();
    let file = dump(&server, 1000);
    let (code, document) = place(&server, &file, &[]);
    assert_eq!((code, document["verdict"].as_str()), (0, Some("planned")), "{document}");
    assert_eq!(document["pod"], server.pods("sv-app")[0].as_str());
    assert_eq!(document["commands"].as_array().unwrap().len(), 4);
    assert_eq!((server.lock().commands, server.files().len()), (0, 0));
}

#[test]
fn a_dump_is_placed_once_with_both_protocols_and_beside_a_sidecar() {
    for is_old in [false, true] {
        let server = ApiServer::with_sv();
        server.lock().manners.is_old = is_old;
        let file = dump(&server, 3 << 20);
        let (code, document) = place(&server, &file, &["--execute"]);
        assert_eq!((code, document["verdict"].as_str()), (0, Some("placed")), "{document}");
        assert_eq!(std::fs::read(server.target()).unwrap(), std::fs::read(&file).unwrap());
        assert_eq!(server.files(), only_target());
        let (code, document) = place(&server, &file, &["--execute"]);
        assert_eq!((code, codes(&document)), (0, vec!["C0717"]));
    }
}

#[test]
fn what_the_app_could_not_load_is_not_sent() {
    let server = ApiServer::with_sv();
    let file = dump(&server, 1000);
    let good = std::fs::read_to_string(&file).unwrap();
    let mut without: Value = serde_json::from_str(&good).unwrap();
    without.as_object_mut().unwrap().remove("identities");
    let bad = [
        good[..good.len() - 5].to_owned(),
        without.to_string(),
        good.replace("\"identities\":{", "\"identities\":null,\"x\":{"),
        "<html>please log in</html>".to_owned(),
        r#"{"error":"An unexpected error occurred."}"#.to_owned(),
        String::new(),
    ];
    for text in bad {
        std::fs::write(&file, &text).unwrap();
        let (code, document) = place(&server, &file, &["--execute"]);
        assert_eq!(
            (code, document["verdict"].as_str()),
            (3, Some("not fit")),
            "{text} {document}"
        );
    }
    std::fs::write(&file, &good).unwrap();
    let (code, document) = place(
        &server,
        &file,
        &["--expect-timestamp", "2024-04-17T19:12:03Z", "--execute"],
    );
    assert_eq!((code, codes(&document)[0]), (3, "C0506"), "{document}");
    assert_eq!((server.lock().commands, server.files().len()), (0, 0));
    assert!(server.lock().requests.is_empty(), "the cluster is not even asked");
}

#[test]
fn another_file_is_kept_under_another_name() {
    let server = ApiServer::with_sv();
    let file = dump(&server, 1000);
    std::fs::write(server.target(), "an older dump").unwrap();
    let (code, document) = place(&server, &file, &["--execute"]);
    assert_eq!((code, codes(&document)), (1, vec!["C0716"]), "{document}");
    assert_eq!(std::fs::read(server.target()).unwrap(), b"an older dump");
    let (code, document) = place(&server, &file, &["--replace", "--execute"]);
    assert_eq!(code, 0, "{document}");
    let kept = document["kept"].as_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!(std::fs::read(server.volume().join(kept)).unwrap(), b"an older dump");
    assert_eq!(std::fs::read(server.target()).unwrap(), std::fs::read(&file).unwrap());
}

#[test]
fn pods_that_cannot_take_it_are_named_with_the_reason() {
    let expect = |change: &dyn Fn(&ApiServer), expected: &str, word: &str| {
        let server = ApiServer::with_sv();
        let file = dump(&server, 1000);
        change(&server);
        let (code, document) = place(&server, &file, &["--execute"]);
        assert_eq!((code, codes(&document)[0]), (4, expected), "{document}");
        assert!(document["findings"].to_string().contains(word), "{word}: {document}");
        assert_eq!(server.files().len(), 0);
    };
    expect(
        &|server| {
            let ends = json!("2026-11-20T12:00:00Z");
            server.change_pod("sv-app", |pod| pod["metadata"]["deletionTimestamp"] = ends);
            // Another one is started in its place.
            while server.pods("sv-app").len() < 2 {
                std::thread::sleep(Duration::from_millis(10));
            }
        },
        "C0711",
        "Terminating",
    );
    expect(
        &|server| {
            server.add("sv-app", 2);
            server.settle();
        },
        "C0711",
        "2 pods",
    );
    expect(
        &|server| {
            server.add("sv-app", 0);
            while !server.pods("sv-app").is_empty() {
                std::thread::sleep(Duration::from_millis(10));
            }
        },
        "C0710",
        "no pod",
    );
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    expect(
        &|server| {
            server.change_pod("sv-app", |pod| {
                pod["status"]["containerStatuses"][1]["state"] = waiting.clone();
                pod["status"]["containerStatuses"][1]["ready"] = json!(false);
            });
        },
        "C0712",
        "CrashLoopBackOff",
    );
    expect(
        &|server| {
            server.change_pod("sv-app", |pod| {
                pod["spec"]["volumes"] = json!([{"name": "dump", "emptyDir": {}}])
            })
        },
        "C0714",
        "no persistent volume",
    );
    expect(
        &|server| server.lock().manners.forbidden = vec![("create", "pods/exec")],
        "C0709",
        "cannot create",
    );
    expect(
        &|server| server.lock().manners.forbidden = vec![("list", "pods")],
        "C0709",
        "cannot list",
    );
    expect(
        &|server| server.lock().manners.exec = ExecFault::Without(vec!["head".to_owned()]),
        "C0712",
        "lacks head",
    );
}

#[test]
fn tools_that_are_missing_are_done_without() {
    let server = ApiServer::with_sv();
    server.lock().manners.exec = ExecFault::Without(vec!["sha256sum".to_owned()]);
    let file = dump(&server, 1 << 20);
    let (code, document) = place(&server, &file, &["--execute"]);
    assert_eq!((code, document["placed"].as_bool()), (0, Some(true)), "{document}");
    std::fs::write(server.target(), "tampered").unwrap();
    assert_eq!(place(&server, &file, &["--execute"]).0, 1);
    server.lock().manners.exec = ExecFault::Without(["ln", "df", "sync"].map(str::to_owned).to_vec());
    let (code, document) = place(&server, &file, &["--replace", "--execute"]);
    assert_eq!((code, document["placed"].as_bool()), (0, Some(true)), "{document}");
}

#[test]
fn every_fault_ends_with_a_reason_and_the_next_run_finishes() {
    let faults = [
        ExecFault::Hang,
        ExecFault::CutAfter(100_000),
        ExecFault::PodGoesAfter(100_000),
        ExecFault::DiskLimit(64),
        ExecFault::Corrupts,
    ];
    for fault in faults {
        let server = ApiServer::with_sv();
        let file = dump(&server, 1 << 20);
        server.lock().manners.exec = fault.clone();
        let started = Instant::now();
        let (code, document) = place(&server, &file, &["--stall", "2", "--execute"]);
        assert_eq!(
            (code, document["verdict"].as_str()),
            (5, Some("not placed")),
            "{fault:?} {document}"
        );
        assert!(started.elapsed() < Duration::from_secs(20), "{fault:?}");
        assert!(!server.target().exists(), "{fault:?}");
        server.lock().manners.exec = ExecFault::None;
        // A pod that went is still listed while it ends.
        while server.pods("sv-app").len() != 1 || server.has_leaving_pods() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server.settle();
        let (code, document) = place(&server, &file, &["--execute"]);
        assert_eq!(
            (code, document["placed"].as_bool()),
            (0, Some(true)),
            "{fault:?} {document}"
        );
        assert_eq!(server.files(), only_target(), "{fault:?}");
        assert_eq!(std::fs::read(server.target()).unwrap(), std::fs::read(&file).unwrap());
    }
}

#[test]
fn a_lost_answer_to_the_renaming_is_found_out() {
    let server = ApiServer::with_sv();
    let file = dump(&server, 10_000);
    server.lock().manners.exec = ExecFault::CutAfterRename;
    let (code, document) = place(&server, &file, &["--execute"]);
    assert_eq!((code, document["placed"].as_bool()), (0, Some(true)), "{document}");
    assert_eq!(server.files(), only_target());
}

fn started(server: &ApiServer, file: &std::path::Path) -> Child {
    let mut command = rekindle(
        server,
        &["place", "--file", file.to_str().unwrap(), "--replace", "--execute"],
    );
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_at_any_moment_the_target_is_old_or_new_and_the_next_run_finishes() {
    let server = ApiServer::with_sv();
    let file = dump(&server, 2 << 20);
    let (old, new) = (b"an older dump".to_vec(), std::fs::read(&file).unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..8 {
        for name in server.files() {
            std::fs::remove_file(server.volume().join(name)).unwrap();
        }
        std::fs::write(server.target(), &old).unwrap();
        server.lock().manners.exec = ExecFault::Slow(Duration::from_millis(5));
        let mut child = started(&server, &file);
        std::thread::sleep(Duration::from_millis(60 + 80 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let between = std::fs::read(server.target()).unwrap();
        assert!(
            between == old || between == new,
            "round {round}: {} bytes",
            between.len()
        );
        seen.insert((between == new, server.files().len()));
        server.lock().manners.exec = ExecFault::None;
        let (code, document) = place(&server, &file, &["--replace", "--execute"]);
        assert_eq!(
            (code, document["placed"].as_bool()),
            (0, Some(true)),
            "round {round}: {document}"
        );
        assert_eq!(std::fs::read(server.target()).unwrap(), new);
        assert!(
            server.files().iter().all(|name| !name.contains(".part-")),
            "round {round}: {:?}",
            server.files()
        );
    }
    assert!(
        seen.iter().any(|(_, files)| *files > 1),
        "no kill came in the middle: {seen:?}"
    );
}

#[test]
fn a_container_that_is_not_ready_takes_it_and_that_is_said() {
    let server = ApiServer::with_sv();
    let file = dump(&server, 1000);
    server.change_pod("sv-app", |pod| {
        pod["status"]["containerStatuses"][1]["ready"] = json!(false)
    });
    let (code, document) = place(&server, &file, &["--execute"]);
    assert_eq!(
        (code, codes(&document), document["placed"].as_bool()),
        (0, vec!["C0713"], Some(true)),
        "{document}"
    );
}
