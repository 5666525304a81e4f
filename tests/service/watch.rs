//! The watch over real nodes that are killed, stopped and cut off: it declares every loss of a majority in time, and nothing else.

use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::node;
use crate::storm;
use serde_json::Value;

/// A watch with short times, of these nodes.
pub fn watch(arguments: &[&str]) -> Command {
    let mut command = Command::new(node::program());
    command
        .args(["watch", "--every", "200ms", "--election-timeout", "1s"])
        .args(arguments);
    command
}

pub fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ends(mut child: Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(began.elapsed() < node::PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is served in clear text.
pub fn fetch(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_a_watch_says_it_says_by_exit_code_command_metrics_and_lines() {
    let scratch = tempfile::tempdir().unwrap();
    let service = scratch.path().join("service");
    let options = ["--entries", "60", "--signature-every", "20", "--recoveries", "1"];
    let made = Command::new(node::program())
        .arg("fixture")
        .arg("--out")
        .arg(&service)
        .args(options)
        .output()
        .unwrap();
    assert!(made.status.success());
    let place = node::Place::of(&service);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.wait_for_commit();
    let url = node.url.clone();

    // A look: trust on first use is said, and stable is 0.
    let output = watch(&["--once", "--json", &url]).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = lines(&output);
    let trusts = said
        .iter()
        .find(|event| event["event"] == "trusts")
        .expect("it says whom it trusts");
    assert_eq!(trusts["service"].as_str().unwrap().len(), 64);
    let last = said.last().unwrap();
    assert_eq!(
        (last["event"].as_str(), last["state"].as_str()),
        (Some("state"), Some("stable"))
    );
    assert_eq!(last["judgement"]["nodes"][0]["standing"], "leads");

    // With its certificate it is the same; with the service's before it, nobody is believed.
    let certificate = place.directory.join("service_cert.pem");
    let trusted = watch(&["--once", &url, "--service-certificate", certificate.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(trusted.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&trusted.stdout).contains("no service certificate was given"));
    let old = place.directory.join("common/service_cert.pem");
    let other = watch(&["--for", "1s", &url, "--service-certificate", old.to_str().unwrap()])
        .output()
        .unwrap();
    let text = String::from_utf8(other.stdout).unwrap();
    assert_eq!(other.status.code(), Some(3), "{text}");

    // A command that is slow, an argument that a shell would run, metrics: while the node is killed.
    let kept = scratch.path().join("kept");
    let command = format!(
        "echo \"$REKINDLE_WATCH_PREVIOUS>$REKINDLE_WATCH_STATE\" >> {0}; cat >> {0}.json; sleep 0.3",
        kept.display()
    );
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut watching = watch(&[
        "--exec",
        &command,
        "--listen",
        &free,
        "--until",
        "recovery-needed",
        &url,
    ]);
    let mut watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !std::fs::read_to_string(&kept).unwrap_or_default().contains(">stable") {
        assert!(began.elapsed() < node::PATIENCE && watching.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let metrics = fetch(&free, "/metrics");
    for line in [
        "rekindle_watch_state{state=\"stable\"} 1.0",
        "rekindle_watch_nodes 1.0",
        "rekindle_watch_spare_nodes 0.0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(fetch(&free, "/watch").contains("\"state\":\"stable\"") && fetch(&free, "/other").contains("404"));
    let id = node.state()["node_id"].as_str().unwrap().to_owned();
    node.kill();
    let killed = Instant::now();
    assert_eq!(ends(watching), Some(0), "what was waited for is there");
    assert!(killed.elapsed() < Duration::from_secs(4));
    let states = std::fs::read_to_string(&kept).unwrap();
    assert!(states.ends_with(">recovery_needed\n"), "{states}");
    let events = std::fs::read_to_string(scratch.path().join("kept.json")).unwrap();
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(last["judgement"]["nodes"][0]["id"], id.as_str());
    assert_eq!(last["judgement"]["nodes"][0]["standing"], "lost");

    // Nobody is left who could say what the service is.
    let nothing = watch(&["--for", "1s", &url]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(3));
    assert!(
        String::from_utf8(nothing.stdout)
            .unwrap()
            .contains("no node has said yet who belongs to the service")
    );
}

#[test]
fn how_often_nodes_are_asked_follows_from_the_election_time_out() {
    let output = Command::new(node::program())
        .args(["watch", "https://127.0.0.1:1", "--once", "--election-timeout", "400ms"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
}

#[test]
fn arguments_that_can_not_be_are_refused_in_a_sentence() {
    for (arguments, word) in [
        (&["http://a:1"][..], "https://host:port"),
        (&["https://a:1/x"], "https://host:port"),
        (&["https://u@a:1"], "https://host:port"),
        (&["https://a:1", "--every", "5s"], "too seldom"),
        (&["https://a:1", "--every", "1us"], "a burden"),
        (
            &["https://a:1", "--election-timeout", "1ms", "--every", "1us"],
            "at least 200 ms",
        ),
        (&["https://a:1", "--witness", "nowhere"], "HOST:PORT"),
        (&["https://a:1", "--listen", "nowhere"], "could not be bound"),
    ] {
        let mut command = Command::new(node::program());
        let output = command.arg("watch").args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}

#[test]
fn a_loss_of_the_majority_is_declared_within_two_election_time_outs_and_nothing_else_ever_is() {
    let scratch = tempfile::tempdir().unwrap();
    let plan = storm::Plan {
        rounds: 6,
        seed: 5,
        election: Duration::from_millis(1500),
        scratch: scratch.path().to_owned(),
    };
    let tally = storm::rage(&plan, &|line| eprintln!("{line}"));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    assert!(
        !tally.delays.is_empty(),
        "no majority was lost in these rounds: {:?}",
        tally.rounds
    );
}

/// A node of a service of its own, made of `seed`.
pub fn a_service(scratch: &std::path::Path, seed: &str) -> node::Place {
    let service = scratch.join(format!("service-{seed}"));
    let made = Command::new(node::program())
        .arg("fixture")
        .arg("--out")
        .arg(&service)
        .args([
            "--entries",
            "60",
            "--signature-every",
            "20",
            "--recoveries",
            "1",
            "--seed",
            seed,
        ])
        .output()
        .unwrap();
    assert!(made.status.success());
    node::Place::of(&service)
}

pub fn opened(place: &node::Place) -> node::Node<'_> {
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.wait_for_commit();
    node
}

/// A way to `to` on which every answer takes so many milliseconds longer, as over a far network or from a node that is overloaded.
fn slow_way(to: &Arc<OnceLock<String>>, delay_ms: &Arc<AtomicU64>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = Arc::clone(to);
    let delay_ms = Arc::clone(delay_ms);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let server = std::net::TcpStream::connect(to.get().expect("the node is there before who asks it"));
            let (mut client, mut server) = (client.unwrap(), server.unwrap());
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(std::net::Shutdown::Both);
            });
            let (late, comes) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
            let delay_ms = Arc::clone(&delay_ms);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                let delay = || Duration::from_millis(delay_ms.load(Ordering::SeqCst));
                while let Ok(count @ 1..) = server.read(&mut buffer) {
                    let _ = late.send((Instant::now() + delay(), buffer[..count].to_vec()));
                }
            });
            std::thread::spawn(move || {
                for (when, bytes) in comes {
                    std::thread::sleep(when.saturating_duration_since(Instant::now()));
                    if client.write_all(&bytes).is_err() {
                        return;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

pub fn states(output: &Output) -> Vec<String> {
    let said = lines(output);
    let states = said.iter().filter(|event| event["event"] == "state");
    states
        .map(|event| event["state"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn of_two_services_that_answer_first_at_once_one_is_watched_and_the_other_is_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, other) = (a_service(scratch.path(), "3"), a_service(scratch.path(), "4"));
    let nodes = [opened(&one), opened(&other)];
    for _ in 0..6 {
        // With so long a time-out both answer between two judgements.
        let mut watching = Command::new(node::program());
        watching.args([
            "watch",
            "--json",
            "--every",
            "1s",
            "--election-timeout",
            "5s",
            "--for",
            "1500ms",
        ]);
        let said = lines(&watching.args(nodes.iter().map(|node| &node.url)).output().unwrap());
        let trusts: Vec<&Value> = said.iter().filter(|event| event["event"] == "trusts").collect();
        assert_eq!(trusts.len(), 1, "{said:#?}");
        let address = trusts[0]["address"].as_str().unwrap();
        let trusted = nodes.iter().find(|node| node.url.ends_with(address)).unwrap();
        for event in said.iter().filter(|event| event["event"] == "configuration") {
            assert_eq!(
                event["nodes"],
                serde_json::json!([trusted.state()["node_id"]]),
                "{said:#?}"
            );
        }
        assert_eq!(said.last().unwrap()["state"], "stable");
    }
}

#[test]
fn a_node_that_answers_each_question_late_lives() {
    let scratch = tempfile::tempdir().unwrap();
    let mut place = a_service(scratch.path(), "3");
    let (listens, delay) = (Arc::new(OnceLock::new()), Arc::new(AtomicU64::new(0)));
    let way = slow_way(&listens, &delay);
    place.config["network"]["rpc_interfaces"]["test"]["published_address"] = serde_json::json!(way);
    let node = opened(&place);
    listens
        .set(node.url.strip_prefix("https://").unwrap().to_owned())
        .unwrap();
    let certificate = place.directory.join("service_cert.pem");
    let url = format!("https://{way}");
    for slow in [450, 700] {
        delay.store(0, Ordering::SeqCst);
        let trusted = ["--service-certificate", certificate.to_str().unwrap()];
        let mut watching = watch(&["--json", "--for", "9s", &url]);
        let watching = watching.args(trusted).stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        delay.store(slow, Ordering::SeqCst);
        let output = watching.wait_with_output().unwrap();
        let states = states(&output);
        assert!(states.contains(&"stable".to_owned()), "{slow}: {states:?}");
        assert!(!states.contains(&"recovery_needed".to_owned()), "{slow}: {states:?}");
    }
}

#[test]
fn a_watch_whose_output_nobody_reads_still_runs_its_command_and_ends_when_told() {
    let scratch = tempfile::tempdir().unwrap();
    let place = a_service(scratch.path(), "3");
    let node = opened(&place);
    let kept = scratch.path().join("kept");
    let command = format!("echo $REKINDLE_WATCH_STATE >> {}", kept.display());
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    // A stream that is full before the watch says a word.
    theirs.set_nonblocking(true).unwrap();
    while (&theirs).write(&[b'x'; 4096]).is_ok() {}
    while (&theirs).write(b"x").is_ok() {}
    theirs.set_nonblocking(false).unwrap();
    let mut watching = watch(&["--json", "--exec", &command, &node.url]);
    let mut watching = watching.stdout(std::os::fd::OwnedFd::from(theirs)).spawn().unwrap();
    let began = Instant::now();
    let has_run = |state: &str| std::fs::read_to_string(&kept).unwrap_or_default().contains(state);
    while !has_run("stable") && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    node.signal(rustix::process::Signal::KILL);
    let killed = Instant::now();
    while !has_run("recovery_needed") && killed.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let alarmed = has_run("recovery_needed");
    let pid = rustix::process::Pid::from_raw(i32::try_from(watching.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let told = Instant::now();
    while watching.try_wait().unwrap().is_none() && told.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = watching.try_wait().unwrap();
    let _ = watching.kill();
    drop(ours);
    assert!(alarmed, "the command did not run");
    assert_eq!(ended.expect("it does not end").code(), Some(1));
}
