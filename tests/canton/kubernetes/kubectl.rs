//! A real `kubectl` holds the test's API server to what such a server is.

use super::api_server::{ApiServer, kubectl};

/// Whether there is a `kubectl`; tests that need it say that they are skipped, or fail where it is required.
fn is_there() -> bool {
    let found = std::process::Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    let is_there = found.is_ok_and(|out| out.status.success());
    if !is_there {
        assert!(
            std::env::var("REKINDLE_REQUIRE_CANTON_TOOLS").as_deref() != Ok("1"),
            "REKINDLE_REQUIRE_CANTON_TOOLS=1 and there is no kubectl"
        );
        eprintln!("skipped: there is no kubectl");
    }
    is_there
}

fn run(server: &ApiServer, arguments: &[&str]) -> String {
    let out = kubectl(server, arguments).output().unwrap();
    let (text, complaint) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "kubectl {arguments:?}: {text}{complaint}");
    text.into_owned()
}

#[test]
fn a_real_kubectl_gets_scales_and_waits() {
    if !is_there() {
        return;
    }
    let server = ApiServer::with_sv();
    let listed = run(&server, &["get", "deploy", "-n", "sv", "-o", "name"]);
    assert!(
        listed.contains("deployment.apps/participant-0") && listed.lines().count() == 8,
        "{listed}"
    );
    let pod = run(
        &server,
        &[
            "get",
            "pods",
            "-n",
            "sv",
            "-l",
            "app=sv-app",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ],
    );
    assert_eq!(pod, server.pods("sv-app")[0]);
    run(
        &server,
        &["scale", "deployment", "--replicas=0", "-n", "sv", "sv-app", "scan-app"],
    );
    run(
        &server,
        &[
            "wait",
            "pods",
            "-n",
            "sv",
            "-l",
            "app=sv-app",
            "--for=delete",
            "--timeout=20s",
        ],
    );
    assert!(server.pods("sv-app").is_empty() && server.replicas("scan-app") == 0);
    run(&server, &["scale", "deployment", "--replicas=1", "-n", "sv", "sv-app"]);
    run(
        &server,
        &["rollout", "status", "-n", "sv", "deployment/sv-app", "--timeout=20s"],
    );
    assert_eq!(server.pods("sv-app").len(), 1);
    let refused = kubectl(&server, &["get", "deploy", "absent", "-n", "sv"])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("\"absent\" not found"), "{complaint}");
}

#[test]
fn the_commands_of_a_dry_run_do_the_same_when_they_are_typed() {
    if !is_there() {
        return;
    }
    let server = ApiServer::with_sv();
    for direction in ["--down", "--up"] {
        let out = super::api_server::rekindle(&server, &["scale", direction, "--json"])
            .output()
            .unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        for command in document["commands"].as_array().unwrap() {
            let mut shell = std::process::Command::new("sh");
            shell
                .args(["-c", command.as_str().unwrap()])
                .env("HOME", server.directory.path())
                .env_remove("http_proxy");
            let out = shell.output().unwrap();
            let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(
                out.status.success() || complaint.contains("no matching resources found"),
                "{command}: {complaint}"
            );
        }
        let expected = u64::from(direction == "--up");
        assert_eq!(
            (
                server.replicas("participant-0"),
                server.pods("participant-0").len() as u64
            ),
            (expected, expected)
        );
    }
}

/// Whether `kubectl` runs commands over WebSocket, as it does since 1.31; before it knew only SPDY.
fn speaks_websocket() -> bool {
    let out = std::process::Command::new("kubectl")
        .args(["version", "--client", "-o", "json"])
        .output()
        .unwrap();
    let version: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let minor = version["clientVersion"]["minor"]
        .as_str()
        .unwrap()
        .trim_end_matches('+')
        .parse::<u32>();
    let is_new = minor.unwrap() >= 31;
    if !is_new {
        eprintln!("skipped: this kubectl runs commands over SPDY only");
    }
    is_new
}

#[test]
fn the_commands_of_a_dry_placement_place_the_file_when_they_are_typed() {
    if !is_there() || !speaks_websocket() {
        return;
    }
    let server = ApiServer::with_sv();
    let file = super::place::dump(&server, 100_000);
    for arguments in [&["place"][..], &["place", "--replace"]] {
        let all = [arguments, &["--json", "--file", file.to_str().unwrap()]].concat();
        let out = super::api_server::rekindle(&server, &all).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let mut printed = String::new();
        for command in document["commands"].as_array().unwrap() {
            let mut shell = std::process::Command::new("sh");
            shell
                .args(["-c", command.as_str().unwrap()])
                .env("HOME", server.directory.path());
            let out = shell.output().unwrap();
            assert!(
                out.status.success(),
                "{command}: {}",
                String::from_utf8_lossy(&out.stderr)
            );
            printed.push_str(&String::from_utf8(out.stdout).unwrap());
        }
        let hashes = printed.matches(document["sha256"].as_str().unwrap()).count();
        assert_eq!(hashes, 2, "{printed}");
        assert_eq!(std::fs::read(server.target()).unwrap(), std::fs::read(&file).unwrap());
        std::fs::write(server.target(), "another").unwrap();
    }
}
