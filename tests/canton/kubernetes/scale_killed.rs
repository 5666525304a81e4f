//! `rekindle canton scale` that is killed on the way down and up, and run again.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::api_server::{ApiServer, rekindle};

const PARTS: [&str; 4] = ["sv-app", "scan-app", "participant-0", "validator-app"];

/// Runs it again and again, killed after so many milliseconds, until it is left alone; answers the last document and all
/// that was said on stderr.
fn killed(server: &ApiServer, arguments: &[&str], after_ms: &[u64]) -> (i32, Value, String) {
    let all = [
        &[
            "scale",
            "--json",
            "--only",
            "sv-app,scan-app,participant,validator-app",
            "--execute",
        ],
        arguments,
    ]
    .concat();
    let mut said = String::new();
    for after in after_ms {
        let mut command = rekindle(server, &all);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(*after));
        let _ = child.kill();
        said.push_str(&String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap());
    }
    let out = rekindle(server, &all).output().unwrap();
    said.push_str(&String::from_utf8_lossy(&out.stderr));
    let document = serde_json::from_slice(&out.stdout).unwrap_or_else(|why| panic!("{why}: {said}"));
    (out.status.code().unwrap(), document, said)
}

fn replicas(server: &ApiServer) -> Vec<u64> {
    PARTS.iter().map(|name| server.replicas(name)).collect()
}

#[test]
fn killed_on_the_way_down_and_up_it_ends_with_exactly_the_replicas_that_were_asked_for() {
    let server = ApiServer::with_sv();
    server.add("scan-app", 3);
    server.settle();
    server.lock().manners.stop = Duration::from_millis(400);
    let other = ["sv-web-ui", "global-domain-0-sequencer"].map(|name| server.replicas(name));
    let mut seed = 17_u64;
    let mut seeded = |count: usize| -> Vec<u64> {
        let next = |_| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            20 + (seed >> 33) % 230
        };
        (0..count).map(next).collect()
    };
    let moments = seeded(6);
    let (code, document, said) = killed(&server, &["--down"], &moments);
    assert_eq!(
        (code, document["verdict"].as_str()),
        (0, Some("done")),
        "{moments:?} {document} {said}"
    );
    assert_eq!(replicas(&server), [0; 4]);
    assert!(PARTS.iter().all(|name| server.pods(name).is_empty()));
    // The number that was there was said before it was changed.
    assert!(said.contains("scan-app: 3 to 0"), "{said}");
    let (code, document, said) = killed(&server, &["--up", "--replicas", "2"], &seeded(6));
    assert_eq!(
        (code, document["verdict"].as_str()),
        (0, Some("done")),
        "{document} {said}"
    );
    assert_eq!(replicas(&server), [2; 4]);
    assert_eq!(document["done"].as_array().unwrap().len(), 4);
    assert_eq!(
        ["sv-web-ui", "global-domain-0-sequencer"].map(|name| server.replicas(name)),
        other
    );
}

#[test]
fn the_number_that_was_there_is_said_before_it_is_changed() {
    let server = ApiServer::with_sv();
    server.add("scan-app", 3);
    server.settle();
    // The change is asked for, and refused: what was said came before.
    server.lock().manners.forbidden = vec![("patch", "deployments/scale")];
    let (_, document, said) = killed(&server, &["--down"], &[]);
    assert_eq!(document["verdict"], "refused", "{document}");
    assert!(said.contains(": 1 to 0") || said.contains(": 3 to 0"), "{said}");
}
