//! Nights of the watch itself: started in an outage, with a proxy in its way, with commands and readers that misbehave.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle::crypto::random::{serial, system_rng};
use rekindle::crypto::x509::{Validity, issue_self_signed};
use rekindle::crypto::{Curve, SigningKey, sha256};
use serde_json::json;

use crate::issuer::Issuer;
use crate::node;
use crate::proxy::Proxy;
use crate::watch::{a_service, fetch, lines, opened, states, watch};

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_watch_that_is_started_in_the_outage_knows_what_was_lost_if_one_before_it_has_kept_that() {
    let scratch = tempfile::tempdir().unwrap();
    let place = a_service(scratch.path(), "3");
    let node = opened(&place);
    let id = node.state()["node_id"].as_str().unwrap().to_owned();
    let certificate = place.directory.join("service_cert.pem");
    let certificate = certificate.to_str().unwrap();
    let kept = scratch.path().join("kept");
    let state = kept.to_str().unwrap();
    let url = node.url.clone();
    let output = watch(&["--once", "--state", state, "--service-certificate", certificate, &url])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let bytes = std::fs::read(&kept).unwrap();
    assert!(bytes.starts_with(b"{\"rekindle_watch\":1,"));
    node.kill();

    // Without it nothing can be known: neither a loss nor that all is well.
    let output = watch(&["--json", "--for", "3s", &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(states(&output), ["unknown"]);
    // With it, and without a certificate: the one that was kept is the service.
    let began = Instant::now();
    let output = watch(&[
        "--json",
        "--for",
        "20s",
        "--until",
        "recovery-needed",
        "--state",
        state,
        &url,
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(began.elapsed() < Duration::from_secs(8));
    let said = lines(&output);
    assert!(
        said.iter()
            .all(|event| event["state"] != "stable" && event["event"] != "trusts"),
        "{said:#?}"
    );
    let last = said.last().unwrap();
    assert_eq!(last["judgement"]["nodes"][0]["id"], id.as_str());
    let evidence = last["judgement"]["evidence"].to_string();
    assert!(evidence.contains("an earlier watch kept at 20"), "{evidence}");
    assert_eq!(
        std::fs::read(&kept).unwrap(),
        bytes,
        "what nobody has confirmed is not written anew"
    );

    // Of another service, damaged, or too old: said, and the file stays as it is.
    let other = place.directory.join("common/service_cert.pem");
    let refused = |arguments: &[&str], words: &str| {
        let before = std::fs::read(&kept).unwrap();
        let output = watch(&["--for", "2s", "--state", state])
            .args(arguments)
            .output()
            .unwrap();
        assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
        assert_eq!(std::fs::read(&kept).unwrap(), before);
        output.status.code()
    };
    let code = refused(
        &["--service-certificate", other.to_str().unwrap(), &url],
        "is of another service",
    );
    assert_eq!(code, Some(2));
    std::fs::write(&kept, &bytes[..bytes.len() - 2]).unwrap();
    assert_eq!(refused(&[&url], "is left as it is"), Some(2));
    let text = String::from_utf8(bytes).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let then = json["kept_at_ms"].as_u64().unwrap() - 2 * 24 * 3_600_000;
    let old = text
        .lines()
        .next()
        .unwrap()
        .replace(&json["kept_at_ms"].to_string(), &then.to_string());
    std::fs::write(
        &kept,
        format!("{old}\nsha256 {}\n", hex::encode(sha256(old.as_bytes()))),
    )
    .unwrap();
    assert_eq!(refused(&[&url], "too old to say who makes up the service"), Some(3));
}

#[test]
fn a_proxy_that_answers_in_the_place_of_the_nodes_is_no_loss() {
    let mut rng = system_rng().unwrap();
    let key = SigningKey::generate(Curve::P256, &mut rng);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let validity = Validity::days(now.as_secs() - 60, 1).unwrap();
    let portal = issue_self_signed("CN=Log in \u{1b}[2J", &[], &key, validity, serial(&mut rng)).unwrap();
    let portal = Issuer::start(&portal, &key);
    portal.answer("/node/state", 200, "<html>Log in to go on</html>");
    portal.answer("/node/consensus", 302, "<html>Elsewhere</html>");

    let scratch = tempfile::tempdir().unwrap();
    let mut place = a_service(scratch.path(), "3");
    let way = Arc::new(Proxy::new());
    place.config["network"]["rpc_interfaces"]["test"]["published_address"] = json!(way.address.to_string());
    let node = opened(&place);
    way.leads_to(node.url.strip_prefix("https://").unwrap());
    let certificate = place.directory.join("service_cert.pem");
    let url = format!("https://{}", way.address);
    let mut watching = watch(&[
        "--json",
        "--for",
        "12s",
        "--service-certificate",
        certificate.to_str().unwrap(),
        &url,
    ]);
    let watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    way.leads_to(&format!("127.0.0.1:{}", portal.port));
    way.break_off();
    let output = watching.wait_with_output().unwrap();
    let states = states(&output);
    assert!(states.contains(&"stable".to_owned()), "{states:?}");
    assert!(!states.contains(&"recovery_needed".to_owned()), "{states:?}");
    assert_eq!(states.last().unwrap(), "unavailable", "{states:?}");
    assert!(
        portal.asked().iter().any(|path| path == "/node/state"),
        "the proxy was not asked"
    );
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn a_command_that_hangs_and_writes_without_end_is_ended_and_one_that_is_missing_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let pid = scratch.path().join("pid");
    let command = format!("trap '' TERM; echo $$ > {}; exec yes", pid.display());
    let began = Instant::now();
    let exec = ["--exec", &command, "--exec-timeout", "300ms"];
    let output = watch(&["https://127.0.0.1:1", "--for", "1s"])
        .args(exec)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("took longer than 0.3 s, and was ended"),
        "{}",
        stderr(&output)
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    let pid = std::fs::read_to_string(&pid).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_err(), "it still runs");
    let output = watch(&["https://127.0.0.1:1", "--for", "1s", "--exec", "/no/such/command"])
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("ended with exit status: 127"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn readers_that_go_away_and_hostile_requests_end_nothing() {
    let listen = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut watching = watch(&["--json", "https://127.0.0.1:1", "--for", "4s", "--listen", &listen]);
    let mut watching = watching.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while std::net::TcpStream::connect(&listen).is_err() {
        assert!(began.elapsed() < node::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let long = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(1 << 20));
    for request in [
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET /../../etc/passwd HTTP/9.9\r\n\r\n",
        "POST /watch HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n",
        &long,
    ] {
        let mut stream = std::net::TcpStream::connect(&listen).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            !answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let metrics = fetch(&listen, "/metrics");
    assert!(
        metrics.contains("rekindle_watch_state{state=\"unknown\"} 1.0"),
        "{metrics}"
    );
    assert_eq!(watching.wait().unwrap().code(), Some(3));
}

#[test]
fn the_longest_times_that_can_be_written_are_times() {
    let longest = format!("{}us", u64::MAX);
    let times = [
        "--election-timeout",
        &longest,
        "--every",
        &longest,
        "--exec-timeout",
        &longest,
    ];
    let output = Command::new(node::program())
        .args(["watch", "https://127.0.0.1:1", "--for", "500ms", "--exec", "true"])
        .args(times)
        .output()
        .unwrap();
    assert!(
        matches!(output.status.code(), Some(2 | 3)),
        "{:?} {}",
        output.status,
        stderr(&output)
    );
    let election = format!("{}us", u64::MAX);
    let output = Command::new(node::program())
        .args([
            "watch",
            "https://127.0.0.1:1",
            "--for",
            "500ms",
            "--election-timeout",
            &election,
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
