//! The page that a node serves, in a real browser through a whole recovery: before, during and after, with a finding, three nodes and
//! a restart in the middle; and what a browser is told by its headers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::browser::Browser;
use crate::joiners;
use crate::node::{self, Node, Place};
use crate::support::{self, Service};
use rekindle::crypto::{Certificate, sha256};
use rekindle::web::words;
use serde_json::{Value, json};

const HOSTILE: &str = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>\u{202e}";

/// A process that gets a small part of the time, so that what it does can be looked at; all of it once this is dropped.
struct Slowed(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Slowed {
    fn down(pid: u32, stopped: Duration, running: Duration) -> Slowed {
        let (done, pid) = (Arc::new(AtomicBool::new(false)), i32::try_from(pid).unwrap());
        let over = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let signal = |signal| {
                let _ = rustix::process::kill_process(pid, signal);
            };
            while !over.load(Ordering::SeqCst) {
                signal(rustix::process::Signal::STOP);
                std::thread::sleep(stopped);
                signal(rustix::process::Signal::CONT);
                std::thread::sleep(running);
            }
        });
        Slowed(done, Some(thread))
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        drop(self.1.take().map(std::thread::JoinHandle::join));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Adds an interface that serves the page and nothing else; answers the page's address, which outlives the node.
fn with_page(place: &mut Place) -> String {
    let port = free_port();
    // After the one that clients use, which comes first.
    place.config["network"]["rpc_interfaces"]["viewers"] = json!({
        "bind_address": format!("127.0.0.1:{port}"),
        "endorsement": {"authority": "Node"},
        "accepted_endpoints": [],
        "rekindle_page": true,
    });
    format!("https://127.0.0.1:{port}/rekindle")
}

fn words_of(pem: &Value) -> String {
    let certificate = Certificate::from_pem(pem.as_str().unwrap()).unwrap();
    words::of(&sha256(certificate.der())).join("\n")
}

#[test]
fn a_whole_recovery_is_seen_in_a_browser() {
    let Some(mut browser) = Browser::start() else { return };
    let service = Service::made(&[
        "--entries",
        "30000",
        "--value-size",
        "1500",
        "--signature-every",
        "200",
        "--members",
        "4",
        "--threshold",
        "2",
    ]);
    let mut place = Place::of(&service.directory);
    place.config["consensus"] = joiners::consensus();
    let url = with_page(&mut place);
    // What a power cut leaves: a finding.
    let (_, newest) = support::chunks(&place.ledger()).pop().unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(newest).unwrap();
    file.write_all(&[0x2a; 100]).unwrap();
    drop(file);

    // Before and while the public ledger is read. The node gets so little time that a fast machine, too, is still reading when the
    // browser has come up; a slow one need not wait, for it gets all of it once the page was seen.
    let mut node = place.start();
    let slow = Slowed::down(node.pid(), Duration::from_millis(195), Duration::from_millis(5));
    browser.ask(&json!({"do": "open", "url": url}));
    browser.shows(&[
        "ReadingPublicLedger",
        "Reading the public ledger",
        "Time left",
        "entries/s",
        "Not known yet",
    ]);
    std::thread::sleep(Duration::from_secs(1));
    browser.picture("1-reading-public-ledger");
    drop(slow);

    // It waits for the members, and says what it has found.
    browser.shows(&[
        "Waiting for the members: one proposes",
        "There is no proposal",
        "What to do:",
        "Recovering",
    ]);
    node.wait_for_members();
    let previous = node.json("/node/service/previous_identity")["previous_service_identity"].clone();
    let first = words_of(&node.json("/node/network")["service_certificate"]);
    browser.shows(&[&words_of(&previous), &first]);
    browser.look("2-waiting-for-members");
    let links = browser.ask(&json!({"do": "tab"}));
    assert_eq!(links, 7, "links to the parts, and older proposals");
    assert_eq!(browser.ask(&json!({"do": "follow", "fragment": "shares"})), "#shares");

    // Killed in the middle, and started again: the page says so, and goes on by itself.
    node.kill();
    browser.shows(&["This node is not reachable since"]);
    browser.ask(&json!({"do": "check", "offline": true}));
    browser.picture("3-not-reachable");
    let mut node = place.start();
    browser.shows(&["Waiting for the members: one proposes"]);
    node.wait_for_members();
    let network = node.json("/node/network");
    let second = words_of(&network["service_certificate"]);
    assert_ne!(first, second);
    browser.shows(&[&second]);
    browser.ask(&json!({"do": "check", "offline": true}));
    assert_eq!(browser.ask(&json!({"do": "count", "selector": "#connection.bad"})), 0);

    // Two nodes join; one of their pages is looked at, too.
    let mut places = [
        joiners::joiner(&place, &node.url, "second"),
        joiners::joiner(&place, &node.url, "third"),
    ];
    let joiner_url = with_page(&mut places[0]);
    let others: Vec<Node<'_>> = joiners::join_public(&mut node, &places);
    browser.ask(&json!({"do": "open", "url": joiner_url}));
    browser.shows(&[
        "A node joins a CCF service",
        "PartOfPublicNetwork",
        "This node follows in view",
        &second,
    ]);
    browser.look("4-a-node-joins");
    browser.ask(&json!({"do": "open", "url": url}));
    browser.shows(&["Nodes of the service", "primary", "this node", "leads"]);
    assert_eq!(
        browser.ask(&json!({"do": "count", "selector": "#nodes tbody tr .good"})),
        3
    );

    // Names, as consortia have them.
    let keys = place.keys();
    let actions: Vec<Value> = ["Contoso", "Fabrikam", "Northwind", "Woodgrove"]
        .iter()
        .zip(&keys)
        .map(|(name, keys)| json!({"name": "set_member_data", "args": {"member_id": keys.member.id(), "member_data": name}}))
        .collect();
    node.pass(&json!({"actions": actions}));

    // One vote of four; then enough.
    let opening = node.opening();
    let proposed = node.propose(&keys[0], &opening).unwrap();
    let id = proposed["proposalId"].as_str().unwrap().to_owned();
    let state = node.vote(&keys[1], &id).unwrap();
    assert_eq!(state["proposalState"], "Open", "{state}");
    browser.shows(&[
        "a proposal is open for votes",
        "transition_service_to_open",
        "has not voted",
        &id[..12],
    ]);
    assert_eq!(
        browser.ask(&json!({"do": "count", "selector": "#proposals article:first-of-type td .good"})),
        1
    );
    browser.look("5-proposal-open");
    let mut state = state;
    for voter in &keys {
        if state["proposalState"] == "Open" && voter.member.id() != keys[1].member.id() {
            state = node.vote(voter, &id).unwrap();
        }
    }
    assert_eq!(state["proposalState"], "Accepted", "{state}");
    browser.shows(&[
        "Waiting for recovery shares: 0 of 2",
        "WaitingForRecoveryShares",
        "Accepted",
    ]);

    // Shares.
    node.submit_share(&keys[2]).unwrap();
    browser.shows(&["Waiting for recovery shares: 1 of 2", "1 more needed", "submitted"]);
    browser.look("6-one-share");

    // The private ledger, and the end.
    let slow = Slowed::down(node.pid(), Duration::from_millis(195), Duration::from_millis(5));
    node.submit_share(&keys[3]).unwrap();
    browser.shows(&["Reading the private ledger"]);
    browser.picture("7-reading-private-ledger");
    drop(slow);
    browser.shows(&["The service is open.", "none needed", "reached"]);
    node.wait_until_open();
    browser.look("8-open");
    let headlines = browser.ask(&json!({"do": "headlines"})).to_string();
    for state in ["PartOfPublicNetwork", "ReadingPrivateLedger", "PartOfNetwork"] {
        assert!(headlines.contains(state), "{headlines}");
    }

    // What members have attached is text.
    node.act(
        "set_member_data",
        json!({"member_id": keys[0].member.id(), "member_data": {"name": HOSTILE}}),
    );
    browser.shows(&["<img src=x onerror=", "Last events"]);
    browser.ask(&json!({"do": "check", "offline": false}));

    // Without scripts it says the same; another site learns nothing.
    let text = browser.ask(&json!({"do": "without_scripts", "url": url}));
    assert!(text.as_str().unwrap().contains("The service is open."), "{text}");
    let seen = browser.ask(&json!({"do": "seen_from_elsewhere", "url": url}));
    assert_eq!(seen, json!(["refused", "closed"]));
    for other in others {
        other.kill();
    }
    node.stop();
}

/// One request over TLS, as it is written here.
fn request(port: &str, text: &str) -> (u16, String) {
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut answer).unwrap();
    let _ = child.wait();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{text}: {answer}")), answer)
}

#[test]
fn the_page_is_there_only_where_it_is_asked_for_and_only_to_be_read() {
    let service = Service::made(&["--entries", "60", "--signature-every", "20"]);
    let mut place = Place::of(&service.directory);
    let url = with_page(&mut place);
    let mut node = place.start();
    node.wait_for_members();
    let address = url
        .trim_start_matches("https://")
        .trim_end_matches("/rekindle")
        .to_owned();
    let ask = |method: &str, path: &str, more: &str| {
        let text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{more}\r\n");
        request(&address, &text)
    };
    let host = format!("Host: {address}\r\n");

    let (status, page) = ask("GET", "/rekindle", &host);
    assert_eq!(status, 200, "{page}");
    let lower = page.to_ascii_lowercase();
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n",
        "x-content-type-options: nosniff\r\n",
        "cache-control: no-store\r\n",
        "referrer-policy: no-referrer\r\n",
        "content-type: text/html; charset=utf-8\r\n",
    ] {
        assert!(lower.contains(header), "{header}: {page}");
    }
    for never in [
        "set-cookie",
        "http://",
        "https://",
        " style=",
        "<style",
        "onload",
        "private key",
    ] {
        assert!(!lower.contains(never), "{never}: {page}");
    }

    // The same again is not sent again; HEAD has everything but the body.
    let tag = page.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (status, again) = ask("GET", "/rekindle", &format!("{host}If-None-Match: {tag}\r\n"));
    assert_eq!(status, 304, "{again}");
    let (status, head) = ask("HEAD", "/rekindle", &host);
    assert!(status == 200 && head.ends_with("\r\n\r\n"), "{head}");
    for path in ["/rekindle/look.css", "/rekindle/live.js"] {
        let (status, answer) = ask("GET", path, &host);
        assert!(status == 200 && answer.contains("nosniff"), "{answer}");
    }

    // Nothing can be sent to it, nothing else is served there, and it is served nowhere else.
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let (status, answer) = ask(method, "/rekindle", &format!("{host}Content-Length: 0\r\n"));
        assert_eq!(status, 405, "{answer}");
    }
    for path in [
        "/node/state",
        "/gov/service/info?api-version=2024-07-01",
        "/rekindle/",
        "/rekindle/x",
    ] {
        let (status, answer) = ask("GET", path, &host);
        assert!(status == 503 || status == 404, "{path}: {answer}");
    }
    let unknown = node.get("/some/application/path");
    for path in ["/rekindle", "/rekindle/look.css", "/rekindle/live.js", "/rekindle/x"] {
        assert_eq!(
            node.get(path).status,
            unknown.status,
            "as any path of an application: {path}"
        );
    }

    // A name that somebody else leads here is not this node's.
    for host in [
        "Host: evil.example\r\n",
        "Host: 127.0.0.1.evil.example:80\r\n",
        "Host: \r\n",
    ] {
        for path in ["/rekindle", "/rekindle/live.js"] {
            assert_eq!(ask("GET", path, host).0, 421, "{host}");
        }
    }
    assert_eq!(ask("GET", "/rekindle", "Host: localhost:99\r\n").0, 200);
    node.stop();
}

/// Everything that members keep to themselves, as text that could stand in a page: keys' lines, their bytes in hex.
fn secrets(place: &Place) -> Vec<String> {
    let mut secrets = Vec::new();
    for entry in std::fs::read_dir(place.directory.join("common")).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().contains("priv") {
            continue;
        }
        let pem = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        // What the first bytes of a key say of its kind is in every key, public ones too.
        secrets.extend(
            lines
                .iter()
                .skip(1)
                .filter(|line| line.len() > 20)
                .map(|line| (*line).to_owned()),
        );
        let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, lines.concat()).unwrap();
        let middle = &der[der.len() / 2..];
        secrets.push(hex::encode(&middle[..middle.len().min(16)]));
    }
    secrets
}

#[test]
fn no_secret_is_served_in_any_state() {
    let service = Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "20",
        "--members",
        "3",
        "--threshold",
        "2",
    ]);
    let mut place = Place::of(&service.directory);
    let url = with_page(&mut place);
    let address = url
        .trim_start_matches("https://")
        .trim_end_matches("/rekindle")
        .to_owned();
    let secrets = secrets(&place);
    assert!(secrets.len() > 20, "{}", secrets.len());
    let look = |said: &str| {
        let began = Instant::now();
        loop {
            let text = format!("GET /rekindle HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            let (status, page) = request(&address, &text);
            assert_eq!(status, 200, "{page}");
            for secret in
                secrets
                    .iter()
                    .map(String::as_str)
                    .chain(["PRIVATE KEY", "wrapped_latest", "encrypted_shares"])
            {
                assert!(!page.contains(secret), "{secret}: {page}");
            }
            if page.contains(said) {
                return;
            }
            assert!(began.elapsed() < node::PATIENCE, "{said}: {page}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let mut node = place.start();
    node.wait_for_members();
    look("Waiting for the members: one proposes");
    let keys = place.keys();
    let proposed = node.propose(&keys[0], &node.opening()).unwrap();
    let id = proposed["proposalId"].as_str().unwrap();
    look("has not voted");
    for voter in &keys {
        if node.vote(voter, id).unwrap()["proposalState"] == "Accepted" {
            break;
        }
    }
    look("Waiting for recovery shares: 0 of 2");
    node.submit_share(&keys[0]).unwrap();
    look("Waiting for recovery shares: 1 of 2");
    node.submit_share(&keys[1]).unwrap();
    look("The service is open.");
    node.stop();
}

#[test]
fn the_page_is_off_unless_it_is_asked_for() {
    let service = Service::made(&["--entries", "60", "--signature-every", "20"]);
    let mut place = Place::of(&service.directory);
    // The list is CCF's: our feature is not switched on by it.
    place.config["network"]["rpc_interfaces"]["test"]["enabled_operator_features"] = json!(["RekindlePage"]);
    let mut node = place.start();
    node.wait_for_members();
    assert_ne!(node.get("/rekindle").status, 200);
    node.stop();
}

#[test]
fn viewers_who_do_nothing_do_not_keep_others_out() {
    let service = Service::made(&["--entries", "60", "--signature-every", "20"]);
    let mut place = Place::of(&service.directory);
    let url = with_page(&mut place);
    place.config["network"]["rpc_interfaces"]["viewers"]["max_open_sessions_soft"] = json!(20);
    place.config["network"]["rpc_interfaces"]["viewers"]["max_open_sessions_hard"] = json!(25);
    let mut node = place.start();
    let address = url
        .trim_start_matches("https://")
        .trim_end_matches("/rekindle")
        .to_owned();
    let held: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    assert!(held.len() > 100);
    let began = Instant::now();
    node.open();
    assert!(began.elapsed() < node::PATIENCE);
    drop(held);
    node.stop();
}
