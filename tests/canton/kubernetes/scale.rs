use serde_json::Value;

use super::api_server::{ApiServer, rekindle};

const PARTS: [&str; 7] = [
    "global-domain-0-cometbft",
    "global-domain-0-mediator",
    "global-domain-0-sequencer",
    "participant-0",
    "scan-app",
    "sv-app",
    "validator-app",
];

/// Runs `scale --json` and answers the exit code and the document.
fn scale(server: &ApiServer, arguments: &[&str]) -> (i32, Value) {
    let all = [&["scale", "--json"], arguments].concat();
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

fn replicas(server: &ApiServer) -> Vec<u64> {
    PARTS.iter().map(|name| server.replicas(name)).collect()
}

#[test]
fn a_dry_run_changes_nothing_and_gives_the_commands() {
    let server = ApiServer::with_sv();
    let (code, document) = scale(&server, &["--down"]);
    assert_eq!((code, document["verdict"].as_str()), (0, Some("planned")), "{document}");
    let command = document["commands"][0].as_str().unwrap();
    assert!(
        command.ends_with(&format!("scale deployment --replicas=0 -n sv {}", PARTS.join(" "))),
        "{command}"
    );
    assert_eq!(document["untouched"], serde_json::json!(["sv-web-ui"]));
    assert_eq!(replicas(&server), [1; 7]);
    assert!(server.lock().requests.iter().all(|request| request.starts_with("GET ")));
    let out = rekindle(&server, &["scale", "--down"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("Nothing was changed") && text.contains(command), "{text}");
}

#[test]
fn down_waits_until_pods_are_gone_and_up_until_they_are_ready() {
    let server = ApiServer::with_sv();
    let (code, document) = scale(&server, &["--down", "--execute"]);
    assert_eq!((code, document["verdict"].as_str()), (0, Some("done")), "{document}");
    assert_eq!(replicas(&server), [0; 7]);
    assert!(PARTS.iter().all(|name| server.pods(name).is_empty()));
    assert_eq!((server.replicas("sv-web-ui"), server.pods("sv-web-ui").len()), (1, 1));
    let (code, document) = scale(&server, &["--up", "--execute"]);
    assert_eq!((code, document["done"].as_array().unwrap().len()), (0, 7), "{document}");
    assert_eq!(replicas(&server), [1; 7]);
}

#[test]
fn only_what_is_named_stops() {
    let server = ApiServer::with_sv();
    let (code, _) = scale(&server, &["--down", "--only", "sequencer,mediator", "--execute"]);
    assert_eq!((code, replicas(&server)), (0, vec![1, 0, 0, 1, 1, 1, 1]));
    let (code, _) = scale(
        &server,
        &["--down", "--except", "participant", "--except", "sv-app", "--execute"],
    );
    assert_eq!((code, replicas(&server)), (0, vec![0, 0, 0, 1, 0, 1, 0]));
}

#[test]
fn several_synchronizers_need_a_serial() {
    let server = ApiServer::with_sv();
    server.add("global-domain-1-sequencer", 1);
    server.add("participant-1", 1);
    server.settle();
    let out = rekindle(&server, &["scale", "--down", "--execute"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("serials 0, 1"));
    let (code, _) = scale(&server, &["--down", "--serial", "1", "--execute"]);
    assert_eq!(code, 0);
    assert_eq!(replicas(&server), [1, 1, 1, 1, 0, 0, 0]);
    assert_eq!(
        (
            server.replicas("global-domain-1-sequencer"),
            server.replicas("participant-1")
        ),
        (0, 0)
    );
}

#[test]
fn refusals_and_conflicts_end_as_they_should() {
    let server = ApiServer::with_sv();
    server.lock().manners.forbidden = vec![("patch", "deployments/scale")];
    let (code, document) = scale(&server, &["--down", "--execute"]);
    assert_eq!((code, codes(&document)), (4, vec!["C0709"]), "{document}");
    assert!(
        document["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("cannot patch")
    );
    assert_eq!(replicas(&server), [1; 7]);
    server.lock().manners.forbidden = vec![("list", "deployments")];
    assert_eq!(scale(&server, &["--down"]).0, 4);
    // Not everybody may look at autoscalers.
    server.lock().manners.forbidden = vec![("list", "horizontalpodautoscalers")];
    assert_eq!(scale(&server, &["--down"]).0, 0);
}

#[test]
fn pods_that_never_go_or_never_come_are_reported_in_time() {
    let server = ApiServer::with_sv();
    server.lock().manners.stop = std::time::Duration::from_secs(600);
    let (code, document) = scale(&server, &["--down", "--only", "sv-app", "--timeout", "2", "--execute"]);
    assert_eq!((code, codes(&document)), (5, vec!["C0706"]), "{document}");
    assert!(
        document["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("Terminating")
    );
    let server = ApiServer::with_sv();
    server
        .lock()
        .manners
        .failing
        .insert("scan-app".to_owned(), "CrashLoopBackOff");
    assert_eq!(scale(&server, &["--down", "--only", "scan-app", "--execute"]).0, 0);
    let (code, document) = scale(&server, &["--up", "--only", "scan-app", "--timeout", "2", "--execute"]);
    assert_eq!((code, codes(&document)), (5, vec!["C0707"]), "{document}");
    assert!(
        document["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("CrashLoopBackOff")
    );
}

#[test]
fn something_that_scales_back_is_noticed() {
    let server = ApiServer::with_sv();
    server.lock().manners.sets_back = Some("sv-app".to_owned());
    let (code, document) = scale(&server, &["--down", "--only", "sv-app", "--execute"]);
    assert_eq!((code, codes(&document)), (5, vec!["C0708"]), "{document}");
}

#[test]
fn no_cluster_and_no_kubeconfig_are_said() {
    let server = ApiServer::start();
    std::fs::write(server.kubeconfig(), "not: [a kubeconfig").unwrap();
    let (code, document) = scale(&server, &["--down"]);
    assert_eq!((code, codes(&document)), (4, vec!["C0709"]), "{document}");
    let gone = ApiServer::start();
    let config = std::fs::read_to_string(gone.kubeconfig()).unwrap();
    drop(gone);
    std::fs::write(server.kubeconfig(), config).unwrap();
    let (code, document) = scale(&server, &["--down"]);
    assert_eq!((code, codes(&document)), (4, vec!["C0709"]), "{document}");
}

#[test]
fn a_conflict_is_tried_again() {
    let server = ApiServer::with_sv();
    server.lock().manners.conflicts = 1;
    assert_eq!(scale(&server, &["--down", "--only", "sv-app", "--execute"]).0, 0);
    assert_eq!(server.replicas("sv-app"), 0);
}

#[test]
fn a_proxy_of_the_environment_is_not_taken_where_it_is_excluded_and_said_where_it_is_not() {
    let server = ApiServer::with_sv();
    let run = |no_proxy: &str, scheme: &str| {
        let config = std::fs::read_to_string(server.kubeconfig()).unwrap();
        std::fs::write(server.kubeconfig(), config.replace("http://", &format!("{scheme}://"))).unwrap();
        let mut command = rekindle(&server, &["scale", "--down", "--json"]);
        let out = command
            .env("HTTPS_PROXY", "http://proxy.example:3128")
            .env("NO_PROXY", no_proxy)
            .output()
            .unwrap();
        std::fs::write(server.kubeconfig(), config).unwrap();
        (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
    };
    assert_eq!(run("", "http").0, 0, "it is for TLS");
    let (code, text) = run("example.org", "https");
    assert!(
        code == 4 && text.contains("proxy.example") && text.contains("NO_PROXY"),
        "{text}"
    );
    let (code, text) = run("127.0.0.0/8", "https");
    // There is no TLS on that port: what matters is that it was asked directly.
    assert!(
        code == 4 && text.contains("C0709") && !text.contains("proxy.example"),
        "{text}"
    );
}
