//! `rekindle archive` in an object store: a server that speaks S3, started here, and a line to it that breaks.
//!
//! The server is moto's (`pip install 'moto[server]'`), found through REKINDLE_S3_SERVER or in target/moto-venv. Without it these
//! tests say that they were skipped, unless REKINDLE_REQUIRE_OBJECT_STORE=1.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{self, Run, Service, command};

/// A server, which ends with this value.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Option<Server> {
        let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/moto-venv/bin/moto_server");
        let program = std::env::var_os("REKINDLE_S3_SERVER").map_or_else(beside, PathBuf::from);
        if !program.exists() {
            let required = std::env::var_os("REKINDLE_REQUIRE_OBJECT_STORE").is_some_and(|value| value == "1");
            assert!(
                !required,
                "REKINDLE_REQUIRE_OBJECT_STORE=1, but there is no {}",
                program.display()
            );
            eprintln!("skipped: no object store in {}", program.display());
            return None;
        }
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, address };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(120), "the server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        server.ask("PUT", "/night", &[]);
        Some(server)
    }

    /// A request past the program under test; answers the body.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        // The server tells nobody's signature from another's, but wants one.
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\nConnection: close\r\nAuthorization: \
             AWS4-HMAC-SHA256 Credential=night/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        answer.split_off(end + 4)
    }
}

/// The binary with credentials for a server.
fn with(endpoint: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = command();
    command.args(arguments);
    command
        .env("AWS_ACCESS_KEY_ID", "night")
        .env("AWS_SECRET_ACCESS_KEY", "secret-of-the-night");
    command.env("AWS_REGION", "us-east-1").env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ENDPOINT", format!("http://{endpoint}"));
    command
}

fn run(endpoint: SocketAddr, arguments: &[&str]) -> Run {
    let output = with(endpoint, arguments).output().unwrap();
    let shown = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(!String::from_utf8_lossy(&shown).contains("secret-of-the-night"));
    Run::from(output)
}

fn same(a: &Path, b: &Path) {
    let contents = |path: &Path| {
        support::contents(path)
            .into_iter()
            .map(|(path, found)| (path, found.1))
            .collect::<Vec<_>>()
    };
    let strip = |root: &Path| -> Vec<_> {
        let all = contents(root).into_iter();
        all.map(|(path, found)| (path.strip_prefix(root).map(Path::to_owned).unwrap_or(path), found))
            .collect()
    };
    assert_eq!(strip(a), strip(b));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_archive_in_an_object_store_is_made_verified_listed_read_and_restored() {
    let Some(server) = Server::start() else { return };
    let at = server.address;
    let service = Service::made(&["--entries", "2000", "--chunk-size", "100000"]);
    let scratch = tempfile::tempdir().unwrap();
    let ledger = service.ledger();
    let url = "s3://night/2026/disaster";
    run(
        at,
        &[
            "archive",
            "create",
            text(&ledger),
            text(&service.snapshots()),
            "-o",
            url,
        ],
    )
    .expect(0);
    run(at, &["archive", "verify", url]).expect(0);
    let listed = run(at, &["archive", "list", "--json", url]).expect(0).json();
    assert_eq!(listed["sources"][0]["name"], "ledger");
    let out = scratch.path().join("out");
    run(at, &["archive", "restore", url, "-o", text(&out)]).expect(0);
    same(&out.join("ledger"), &ledger);
    let here = rekindle!("verify", "--json", &ledger).expect(0).json();
    let there = run(
        at,
        &[
            "verify",
            "--json",
            "s3://night/2026/disaster/ledger",
            "--snapshots",
            "s3://night/2026/disaster/snapshots",
        ],
    );
    assert_eq!(there.expect(0).json()["root"], here["root"]);
    // What is whole is not written to, what is not there is said, and credentials are no part of a URL.
    run(at, &["archive", "create", text(&ledger), "-o", url]).expect_sentence(2, &["whole archive already"]);
    run(at, &["archive", "verify", "s3://night/2026"]).expect_sentence(3, &["no archive"]);
    run(at, &["archive", "verify", "s3://other-bucket/x"]).expect_sentence(3, &["no archive"]);
    run(at, &["archive", "verify", "s3://key:word@night/x"]).expect_sentence(2, &["environment"]);
    run(at, &["archive", "verify", "ftp://night/x"]).expect_sentence(2, &["s3://"]);
    // One bit, in the server.
    let blocks = run(at, &["archive", "verify", "--json", url]).expect(0).json()["packs"].as_u64();
    assert_eq!(blocks, Some(1));
    let names = String::from_utf8(server.ask("GET", "/night?list-type=2&prefix=2026/disaster/blocks", &[])).unwrap();
    let name = names
        .split("<Key>")
        .nth(1)
        .unwrap()
        .split("</Key>")
        .next()
        .unwrap()
        .to_owned();
    let mut pack = server.ask("GET", &format!("/night/{name}"), &[]);
    let middle = pack.len() / 2;
    pack[middle] ^= 16;
    server.ask("PUT", &format!("/night/{name}"), &pack);
    let report = run(at, &["archive", "verify", "--json", url]).expect(1).json();
    let codes: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"L1008") && codes.contains(&"L1009"), "{codes:?}");
}

/// A line to a server on which connections are cut after so many bytes went out, so many times.
fn breaking_line(to: SocketAddr, after: u64, times: usize, passed: Arc<AtomicU64>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (counted, passed) = (Arc::clone(&counted), Arc::clone(&passed));
            std::thread::spawn(move || {
                let Ok(server) = TcpStream::connect(to) else { return };
                let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut back);
                    let _ = back.shutdown(std::net::Shutdown::Both);
                });
                let (mut client, mut server) = (client, server);
                let (mut bytes, mut sent) = (vec![0; 16 << 10], 0u64);
                while let Ok(length @ 1..) = client.read(&mut bytes) {
                    sent += length as u64;
                    passed.fetch_add(length as u64, Ordering::SeqCst);
                    if sent > after && counted.load(Ordering::SeqCst) < times {
                        counted.fetch_add(1, Ordering::SeqCst);
                        break;
                    }
                    if server.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Both);
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (address, cuts)
}

#[test]
fn uploads_that_break_are_tried_again_and_a_killed_run_goes_on() {
    let Some(server) = Server::start() else { return };
    let service = Service::made(&["--entries", "40000", "--value-size", "4000", "--private", "1"]);
    let ledger = service.ledger();
    let scratch = tempfile::tempdir().unwrap();
    let passed = Arc::new(AtomicU64::new(0));
    let (line, cuts) = breaking_line(server.address, 3_000_000, 4, Arc::clone(&passed));
    run(line, &["archive", "create", text(&ledger), "-o", "s3://night/broken"]).expect(0);
    assert_eq!(cuts.load(Ordering::SeqCst), 4, "nothing was broken off");
    run(server.address, &["archive", "verify", "s3://night/broken"]).expect(0);

    // Killed when the second pack is on its way.
    passed.store(0, Ordering::SeqCst);
    let (line, _) = breaking_line(server.address, u64::MAX, 0, Arc::clone(&passed));
    let url = "s3://night/killed";
    let mut child = with(line, &["archive", "create", text(&ledger), "-o", url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while passed.load(Ordering::SeqCst) < 80 << 20 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it could be killed"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(server.address, &["archive", "verify", url]).expect_sentence(3, &["archive"]);
    run(server.address, &["archive", "create", text(&ledger), "-o", url]).expect(0);
    let out = scratch.path().join("out");
    run(server.address, &["archive", "restore", url, "-o", text(&out)]).expect(0);
    same(&out.join("ledger"), &ledger);
}
