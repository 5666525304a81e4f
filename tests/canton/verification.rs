//! `rekindle canton verify` against services and a cluster that answer what they are told to.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubernetes::api_server::ApiServer;
use crate::sv_app::{Answer, Body, Request, SvApp};

fn rekindle(arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command
        .args(["canton", "verify"])
        .args(arguments)
        .env_remove("REKINDLE_CANTON_TOKEN");
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
    command.output().unwrap()
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let out = rekindle(&[&["--json"], arguments].concat());
    let document = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code().unwrap(), document)
}

fn codes(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// What a well SV answers, and scan.
fn well(request: &Request) -> Answer {
    let active = json!({"success": {"id": "x", "uptime": "PT5S", "ports": {}, "active": true}});
    match request.path.as_str() {
        path if path.ends_with("/readyz") || path.ends_with("/livez") => Answer::of(200, "", Vec::new()),
        path if path.ends_with("/cometbft/status") => {
            Answer::json(200, &json!({"id": "a", "catching_up": false, "voting_power": 1}))
        }
        path if path.ends_with("/status") => Answer::json(200, &active),
        "/api/scan/v0/dso" => Answer::json(200, &json!({"dso_party_id": "DSO::1220", "voting_threshold": 3})),
        "/api/validator/v0/wallet/balance" => Answer::json(
            200,
            &json!({"round": 18, "effective_unlocked_qty": "778.9353119400", "effective_locked_qty": "0.0000000000",
                    "total_holding_fees": "0.0646880600"}),
        ),
        _ => Answer::error(404, "The requested resource could not be found."),
    }
}

#[test]
fn an_sv_that_is_well_is_said_to_be_with_a_line_a_check_and_its_token_goes_nowhere_else() {
    let app = SvApp::start("0.5.4", |request, _| well(request));
    let scan = SvApp::start("0.5.4", |request, _| well(request));
    let server = ApiServer::with_sv();
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "secret-of-the-operator\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (token, config) = (token.to_str().unwrap(), server.kubeconfig());
    let arguments = [
        "--url",
        &app.url,
        "--scan-url",
        &scan.url,
        "--token-file",
        token,
        "--splice",
        "0.5.4",
        "-n",
        "sv",
        "--serial",
        "0",
        "--kubeconfig",
        config.to_str().unwrap(),
    ];
    let out = rekindle(&arguments);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(
        out.status.code(),
        Some(0),
        "{text} {}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(
        text.lines().filter(|line| line.starts_with("ok ")).count(),
        7 + 7 + 2,
        "{text}"
    );
    assert!(text.contains("cometbft") && text.contains("caught up, voting power 1"));
    assert!(
        text.contains("not made  agreement with the other SVs since the restart (--log, --since)\nnot made  the wallet's balance (--wallet-url)\n")
            && text.matches("not made").count() == 2,
        "{text}"
    );
    let (code, document) = json(&arguments);
    assert_eq!((code, document["verdict"].as_str()), (0, Some("good")));
    assert!(
        app.asked()
            .iter()
            .all(|request| request.headers["authorization"] == "Bearer secret-of-the-operator")
    );
    assert!(
        scan.asked()
            .iter()
            .all(|request| !request.headers.contains_key("authorization"))
    );
    assert!(!scan.asked().is_empty() && !document.to_string().contains("secret-of"));
}

#[test]
fn each_thing_that_is_wrong_is_found_and_the_exit_code_tells_a_refusal_from_an_illness() {
    type Odd = fn() -> Answer;
    let cases: [(&str, Odd, i32, &str); 8] = [
        ("/api/sv/readyz", || Answer::of(503, "", Vec::new()), 1, "C0902"),
        (
            "/api/sv/readyz",
            || Answer::of(200, "text/html", b"<html>Log in</html>".to_vec()),
            1,
            "C0903",
        ),
        (
            "/api/sv/v0/admin/domain/sequencer/status",
            || Answer::error(401, "no"),
            4,
            "C0904",
        ),
        (
            "/api/sv/v0/admin/domain/mediator/status",
            || Answer::json(200, &json!({"not_initialized": {"active": false}})),
            1,
            "C0905",
        ),
        (
            "/api/sv/v0/admin/domain/cometbft/status",
            || Answer::json(200, &json!({"id": "a", "catching_up": true, "voting_power": 0})),
            1,
            "C0906",
        ),
        (
            "/api/sv/v0/admin/domain/cometbft/status",
            || Answer::json(200, &json!({"id": "a", "catching_up": false, "voting_power": 0})),
            1,
            "C0907",
        ),
        (
            "/api/sv/status",
            || {
                Answer::of(200, "application/json", b"{\"success\":".to_vec())
                    .body(Body::Short(b"{\"succ".to_vec(), 90))
            },
            1,
            "C0901",
        ),
        (
            "/api/sv/status",
            || Answer::of(200, "application/json", Vec::new()).body(Body::Sized(vec![b' '; 9 << 20])),
            1,
            "C0903",
        ),
    ];
    for (path, odd, expected, finding) in cases {
        let app = SvApp::start(
            "0.5.4",
            move |request, _| if request.path == path { odd() } else { well(request) },
        );
        let (code, document) = json(&["--url", &app.url, "--no-token"]);
        assert_eq!((code, codes(&document)), (expected, vec![finding]), "{path} {document}");
    }
    let (code, document) = json(&["--url", "http://127.0.0.1:1", "--no-token"]);
    assert_eq!((code, codes(&document)[0]), (1, "C0901"));
    let app = SvApp::start("0.6.2", |request, _| well(request));
    let (code, document) = json(&["--url", &app.url, "--no-token", "--splice", "0.5.4"]);
    assert_eq!((code, codes(&document)), (1, vec!["C0908"]));
}

#[test]
fn it_waits_until_all_is_well_and_says_meanwhile_what_is_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let app = SvApp::start("0.5.4", move |request, _| {
        let is_cometbft = request.path.ends_with("/cometbft/status");
        match is_cometbft && counter.fetch_add(1, Ordering::SeqCst) < 1 {
            true => Answer::json(200, &json!({"id": "a", "catching_up": true, "voting_power": 1})),
            false => well(request),
        }
    });
    let out = rekindle(&["--url", &app.url, "--no-token", "--wait", "60s"]);
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let notices = String::from_utf8(out.stderr).unwrap();
    assert!(
        notices.contains("not yet  cometbft") && notices.contains("catching up"),
        "{notices}"
    );
    for wrong in ["10", "m", "8d", "-1s", "99999999999999999999h", "200h"] {
        let out = rekindle(&["--url", &app.url, &format!("--wait={wrong}")]);
        assert_eq!(out.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn it_does_not_wait_for_what_does_not_become_right() {
    let app = SvApp::start("0.6.2", |request, _| well(request));
    let begun = std::time::Instant::now();
    let out = rekindle(&["--url", &app.url, "--no-token", "--splice", "0.5.4", "--wait", "120s"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(60));
    let notices = String::from_utf8(out.stderr).unwrap();
    assert!(notices.contains("not waiting any longer"), "{notices}");
}

#[test]
fn deployments_are_waited_for_in_both_directions() {
    let server = ApiServer::with_sv();
    server.lock().manners.stop = Duration::from_millis(800);
    let config = server.kubeconfig();
    let base = ["-n", "sv", "--kubeconfig", config.to_str().unwrap()];
    let verify = |more: &[&str]| json(&[&base, more].concat());
    let (code, document) = verify(&["--down"]);
    assert_eq!(code, 1);
    assert!(codes(&document).iter().all(|code| *code == "C0910") && codes(&document).len() == 7);
    let scaled =
        crate::kubernetes::api_server::kubectl(&server, &["scale", "deployment", "--replicas=0", "-n", "sv", "sv-app"])
            .output();
    if scaled.is_ok_and(|out| out.status.success()) {
        assert_eq!(verify(&["--down", "--only", "sv-app", "--wait", "30s"]).0, 0);
        let (code, document) = verify(&[]);
        assert_eq!((code, codes(&document)), (1, vec!["C0902"]));
    } else {
        assert!(
            std::env::var_os("REKINDLE_REQUIRE_CANTON_TOOLS").is_none(),
            "kubectl is missing"
        );
        eprintln!("skipped in part: there is no kubectl");
    }
    server.lock().manners.forbidden.push(("list", "deployments"));
    let (code, document) = verify(&[]);
    assert_eq!(code, 1, "{document}");
    assert_eq!(document["checks"].as_array().unwrap().len(), 1);
}

#[test]
fn balances_are_saved_once_and_a_lower_one_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let before = directory.path().join("before.json");
    let before = before.to_str().unwrap();
    let app = SvApp::start("", |request, count| match count {
        0..=2 => well(request),
        _ => Answer::json(
            200,
            &json!({"round": 19, "effective_unlocked_qty": "1.0", "effective_locked_qty": "0", "total_holding_fees": "0"}),
        ),
    });
    let wallet = ["--wallet-url", app.url.as_str()];
    assert_eq!(json(&[&wallet[..], &["--save-balances", before]].concat()).0, 0);
    let saved = std::fs::read(before).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(before).unwrap().permissions()) & 0o777,
        0o600
    );
    let save = || {
        rekindle(&[&wallet[..], &["--save-balances", before]].concat())
            .status
            .code()
    };
    assert_eq!(save(), Some(0), "the same balance, after an interruption");
    assert_eq!(std::fs::read(before).unwrap(), saved);
    let (code, document) = json(&[&wallet[..], &["--balances-before", before]].concat());
    assert_eq!(code, 0, "{document}");
    assert_eq!(save(), Some(2), "another balance");
    assert_eq!(std::fs::read(before).unwrap(), saved);
    let (code, document) = json(&[&wallet[..], &["--balances-before", before]].concat());
    assert_eq!((code, codes(&document)), (1, vec!["C0913"]));
    std::fs::write(before, "null").unwrap();
    let (code, document) = json(&[&wallet[..], &["--balances-before", before]].concat());
    assert_eq!((code, codes(&document)), (3, vec!["C0914"]));
}

fn log(directory: &std::path::Path, lines: &[(&str, u32)]) -> String {
    let mut text = String::new();
    for (sender, minute) in lines {
        text.push_str(&format!(
            "{{\"@timestamp\":\"2026-11-20T12:{minute:02}:03.138Z\",\"message\":\"Commitment correct for sender PAR::{sender}::12205f1149bc... and \
             period CommitmentPeriod(fromExclusive = 2026-11-20T11:30:00Z, toInclusive = 2026-11-20T12:{minute:02}:00Z)\",\
             \"logger_name\":\"c.d.c.p.p.AcsCommitmentProcessor:participant=participant/psid=global-domain::12203f4eb526\",\
             \"level\":\"INFO\"}}\n"
        ));
    }
    let path = directory.join("participant.log");
    std::fs::write(&path, text).unwrap();
    format!("me={}", path.to_str().unwrap())
}

#[test]
fn the_first_agreement_counts_from_the_restart_on() {
    let directory = tempfile::tempdir().unwrap();
    let svs = ["me", "b", "c", "d"].map(|name| format!("PAR::{name}::12205f1149bc"));
    let svs: Vec<&str> = svs.iter().flat_map(|sv| ["--sv", sv.as_str()]).collect();
    let since = |minute: u32| format!("2026-11-20T12:{minute:02}:00Z");
    let named = log(directory.path(), &[("b", 0), ("b", 30), ("c", 30), ("validator", 30)]);
    let verify = |from: &str| json(&[&["--log", named.as_str(), "--since", from], svs.as_slice()].concat());
    let (code, document) = verify(&since(10));
    let says = document["checks"][0]["says"].as_str().unwrap();
    assert_eq!(code, 0, "{document}");
    assert!(
        says.contains("with a quorum (3 of 4 with itself) by 2026-11-20T12:30:00Z"),
        "{says}"
    );
    // The same logs say nothing about what came after them.
    let (code, document) = verify(&since(30));
    assert_eq!((code, codes(&document)[0]), (1, "C0911"), "{document}");
    assert_eq!(rekindle(&["--log", &named]).status.code(), Some(2));
    // Options for the logs without logs would be no check at all.
    for alone in [["--since", "2026-11-20T12:00:00Z"], ["--sv", "PAR::me::12205f1149bc"]] {
        let out = rekindle(&[&["--url", "http://127.0.0.1:1"], &alone[..]].concat());
        assert_eq!(out.status.code(), Some(2), "{alone:?}");
    }
}
