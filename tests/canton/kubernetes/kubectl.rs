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
    assert!(String::from_utf8_lossy(&refused.stderr).contains("\"absent\" not found"));
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
