//! `rekindle archive` against a server that speaks S3 and lies: what it forgets, repeats, never ends, refuses and gives away.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::archive::{codes, everything};
use crate::support::{Run, command};

const SECRET: &str = "secret-of-the-night";
const TOKEN: &str = "token-of-the-night";

/// A request, as far as it matters.
struct Request {
    method: String,
    path: String,
    query: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn is_list(&self) -> bool {
        self.query.contains("list-type=2")
    }
}

/// What a lie does with a request: answers it with these bytes, goes on for ever after them, or leaves it to the truth.
enum Lie {
    None,
    Says(Vec<u8>),
    NeverEnds(Vec<u8>),
}

type Liar = Box<dyn Fn(&Request, &mut BTreeMap<String, Vec<u8>>) -> Lie + Send + Sync>;

/// A bucket in memory, and what is told of it.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    liar: Arc<Mutex<Arc<Liar>>>,
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\nLast-Modified: Mon, 23 Nov 2026 00:00:00 GMT\r\nETag: \"e\"\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            objects: Arc::default(),
            liar: Arc::new(Mutex::new(Arc::new(Box::new(|_, _| Lie::None)))),
        };
        let own = server.clone();
        std::thread::spawn(move || {
            for line in listener.incoming().map_while(Result::ok) {
                let own = own.clone();
                std::thread::spawn(move || own.answer(line));
            }
        });
        server
    }

    fn lie(&self, liar: impl Fn(&Request, &mut BTreeMap<String, Vec<u8>>) -> Lie + Send + Sync + 'static) {
        *self.liar.lock().unwrap() = Arc::new(Box::new(liar));
    }

    fn be_honest(&self) {
        self.lie(|_, _| Lie::None);
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap()
    }

    fn answer(&self, line: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(line.try_clone().ok()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (reader.read_line(&mut head).ok()? > 0).then_some(())?;
        }
        let mut words = head.split_whitespace();
        let method = words.next()?.to_owned();
        let (path, query) = words
            .next()
            .map(|target| target.split_once('?').unwrap_or((target, "")))?;
        let (path, query) = (
            path.trim_start_matches("/night").trim_start_matches('/').to_owned(),
            query.replace("%2F", "/"),
        );
        let field = |name: &str| {
            head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix(name)
                    .map(|rest| rest.trim().to_owned())
            })
        };
        let length = field("content-length:")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let range = field("range:");
        let is_new_only = field("if-none-match:").is_some();
        let request = Request {
            method,
            path,
            query,
            head,
            body,
        };
        let mut line = line;
        let liar = Arc::clone(&self.liar.lock().unwrap());
        let lie = liar(&request, &mut self.objects());
        match lie {
            Lie::None => line.write_all(&self.truth(request, range, is_new_only)).ok()?,
            Lie::Says(bytes) => line.write_all(&bytes).ok()?,
            Lie::NeverEnds(begin) => {
                line.write_all(&begin).ok()?;
                let more = vec![b'x'; 1 << 20];
                let chunk = [format!("{:x}\r\n", more.len()).as_bytes(), &more, b"\r\n"].concat();
                while line.write_all(&chunk).is_ok() {}
            }
        }
        let _ = line.shutdown(std::net::Shutdown::Write);
        Some(())
    }

    fn truth(&self, request: Request, range: Option<String>, is_new_only: bool) -> Vec<u8> {
        let mut objects = self.objects();
        if request.is_list() {
            let prefix = request
                .query
                .split('&')
                .find_map(|part| part.strip_prefix("prefix="))
                .unwrap_or("")
                .to_owned();
            let there = objects
                .iter()
                .filter(|(name, _)| name.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')));
            return answer(
                "200 OK",
                "",
                page(there.map(|(name, bytes)| (name.as_str(), bytes.len())), None).as_bytes(),
            );
        }
        match request.method.as_str() {
            "PUT" if is_new_only && objects.contains_key(&request.path) => answer("412 Precondition Failed", "", b""),
            "PUT" => {
                objects.insert(request.path, request.body);
                answer("200 OK", "", b"")
            }
            _ => match (objects.get(&request.path), range) {
                (None, _) => answer("404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>"),
                (Some(bytes), None) => answer("200 OK", "", bytes),
                (Some(bytes), Some(range)) => {
                    let (from, to) = range.trim_start_matches("bytes=").split_once('-').unwrap();
                    let from: usize = from.parse().unwrap();
                    let to = to.parse().map_or(bytes.len(), |to: usize| (to + 1).min(bytes.len()));
                    let headers = format!("Content-Range: bytes {from}-{}/{}\r\n", to - 1, bytes.len());
                    answer("206 Partial Content", &headers, &bytes[from..to])
                }
            },
        }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = command();
        command.args(arguments);
        command
            .env("AWS_ACCESS_KEY_ID", "night-key")
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.env("AWS_SESSION_TOKEN", TOKEN).env("AWS_REGION", "us-east-1");
        command
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ENDPOINT", format!("http://{}", self.address));
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        hushed(self.command(arguments))
    }
}

/// Runs it; whatever it answers, it gives no secret away.
fn hushed(mut command: std::process::Command) -> Run {
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert!(!shown.contains(SECRET) && !shown.contains(TOKEN), "{shown}");
    Run::from(output)
}

fn page<'a>(objects: impl Iterator<Item = (&'a str, usize)>, next: Option<&str>) -> String {
    let mut page = "<?xml version=\"1.0\"?><ListBucketResult>".to_owned();
    for (name, size) in objects {
        page.push_str(&format!(
            "<Contents><Key>{name}</Key><LastModified>2026-11-23T00:00:00.000Z</LastModified><ETag>e</ETag><Size>{size}</Size></Contents>"
        ));
    }
    if let Some(next) = next {
        page.push_str(&format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"
        ));
    }
    page + "</ListBucketResult>"
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A directory of files that are no ledger, in two blocks and more.
fn node(scratch: &Path) -> PathBuf {
    let node = scratch.join("node");
    std::fs::create_dir(&node).unwrap();
    let noise: Vec<u8> = (0..600_000u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    std::fs::write(node.join("first"), &noise).unwrap();
    std::fs::write(node.join("second"), &noise[7..]).unwrap();
    node
}

const URL: &str = "s3://night/2026/disaster";

/// A server with an archive, and the directory of which it is.
fn archived() -> (tempfile::TempDir, PathBuf, Server) {
    let scratch = tempfile::tempdir().unwrap();
    let node = node(scratch.path());
    let server = Server::start();
    server.run(&["archive", "create", text(&node), "-o", URL]).expect(0);
    server.run(&["archive", "verify", URL]).expect(0);
    (scratch, node, server)
}

fn forbidden() -> Lie {
    Lie::Says(answer("403 Forbidden", "", b"<Error><Code>ExpiredToken</Code></Error>"))
}

#[test]
fn a_store_that_is_lost_in_the_middle_is_no_damage_and_the_restoration_goes_on_later() {
    let (scratch, node, server) = archived();
    let out = scratch.path().join("out");
    let expire = || {
        let expired = AtomicBool::new(false);
        server.lie(move |request, _| {
            if request.path.contains("/blocks/") && request.method == "GET" {
                expired.store(true, Ordering::SeqCst);
            }
            if expired.load(Ordering::SeqCst) {
                forbidden()
            } else {
                Lie::None
            }
        });
    };
    expire();
    server
        .run(&["archive", "restore", URL, "-o", text(&out)])
        .expect_sentence(3, &["could not", "goes on from there"]);
    assert!(out.join(".rekindle-restoring").exists(), "it does not look complete");
    expire();
    server
        .run(&["archive", "verify", URL])
        .expect_sentence(3, &["could not"]);
    server.be_honest();
    server.run(&["archive", "restore", URL, "-o", text(&out)]).expect(0);
    assert_eq!(everything(&out.join("node")), everything(&node));

    // One object that is refused while the others are not is one that is lost.
    server.lie(|request, _| {
        if request.path.contains("/blocks/") {
            forbidden()
        } else {
            Lie::None
        }
    });
    let report = server.run(&["archive", "verify", "--json", URL]).expect(1).json();
    assert!(codes(&report).contains(&"L1007".to_owned()), "{report}");
    // As AWS answers who may not list: what is not there is forbidden. The archive is found above the path all the same.
    server.lie(|request, objects| match request.method.as_str() {
        "GET" if !request.is_list() && !objects.contains_key(&request.path) => forbidden(),
        _ => Lie::None,
    });
    server
        .run(&["verify", &format!("{URL}/node")])
        .expect_sentence(3, &["no ledger"]);
}

#[test]
fn what_is_cut_off_or_answered_with_an_error_is_asked_for_again() {
    let (scratch, node, server) = archived();
    let times = AtomicUsize::new(0);
    server.lie(move |request, objects| {
        let Some(bytes) = objects.get(&request.path).filter(|_| request.method == "GET") else {
            return Lie::None;
        };
        match times.fetch_add(1, Ordering::SeqCst) {
            0 | 3 => Lie::Says(answer("500 Internal Server Error", "", b"no")),
            1 | 4 => {
                let mut whole = answer("200 OK", "", bytes);
                whole.truncate(whole.len() - bytes.len() / 2);
                Lie::Says(whole)
            }
            _ => Lie::None,
        }
    });
    let out = scratch.path().join("out");
    server.run(&["archive", "restore", URL, "-o", text(&out)]).expect(0);
    assert_eq!(everything(&out.join("node")), everything(&node));
    // Other bytes than were stored are damage, and are named.
    server.lie(|request, objects| match objects.get(&request.path) {
        Some(bytes) if request.path.contains("/blocks/") && request.method == "GET" => {
            let mut bytes = bytes.clone();
            bytes[100] ^= 1;
            Lie::Says(answer("200 OK", "", &bytes))
        }
        _ => Lie::None,
    });
    let report = server.run(&["archive", "verify", "--json", URL]).expect(1).json();
    assert!(codes(&report).contains(&"L1008".to_owned()), "{report}");
}

#[test]
fn answers_that_never_end_do_end() {
    let (scratch, node, server) = archived();
    let began = Instant::now();
    let endless = b"Transfer-Encoding: chunked\r\n\r\n";
    let begin = |status: &str| [format!("HTTP/1.1 {status}\r\n").as_bytes(), endless].concat();
    // A listing whose pages never end, or repeat.
    for repeats in [false, true] {
        let number = AtomicUsize::new(0);
        server.lie(move |request, _| match request.is_list() {
            true => {
                let next = number.fetch_add(usize::from(!repeats), Ordering::SeqCst).to_string();
                Lie::Says(answer("200 OK", "", page(std::iter::empty(), Some(&next)).as_bytes()))
            }
            false => Lie::None,
        });
        server
            .run(&["archive", "verify", URL])
            .expect_sentence(3, &["more than"]);
    }
    // A page, an error, an object.
    let page_begin = begin("200 OK");
    server.lie(move |request, _| {
        if request.is_list() {
            Lie::NeverEnds(page_begin.clone())
        } else {
            Lie::None
        }
    });
    server
        .run(&["archive", "create", text(&node), "-o", "s3://night/other"])
        .expect_sentence(3, &["could not list"]);
    let error_begin = begin("403 Forbidden");
    server.lie(move |_, _| Lie::NeverEnds(error_begin.clone()));
    server
        .run(&["archive", "verify", URL])
        .expect_sentence(3, &["could not"]);
    // What is promised is not set aside before it comes.
    for status in ["200 OK", "403 Forbidden"] {
        let huge = format!(
            "HTTP/1.1 {status}\r\nContent-Length: 9000000000000000000\r\nLast-Modified: Mon, 23 Nov 2026 00:00:00 GMT\r\n\r\n"
        );
        server.lie(move |request, _| match request.is_list() || status.starts_with('4') {
            true => Lie::Says([huge.as_bytes(), b"<a"].concat()),
            false => Lie::None,
        });
        let run = server
            .run(&["archive", "create", text(&node), "-o", "s3://night/other"])
            .expect(3);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    assert!(began.elapsed() < Duration::from_secs(400), "{:?}", began.elapsed());
    drop(scratch);
}

#[test]
fn a_store_that_forgets_what_it_took_gets_no_manifest() {
    let scratch = tempfile::tempdir().unwrap();
    let node = node(scratch.path());
    let server = Server::start();
    server.lie(
        |request, _| match request.method == "PUT" && request.path.contains("/blocks/") {
            true => Lie::Says(answer("200 OK", "", b"")),
            false => Lie::None,
        },
    );
    server
        .run(&["archive", "create", text(&node), "-o", URL])
        .expect_sentence(3, &["listed with none"]);
    assert!(server.objects().is_empty());
    // What is listed and gone when it is asked for is stored again.
    server.be_honest();
    server.run(&["archive", "create", text(&node), "-o", URL]).expect(0);
    let sound = server.objects().clone();
    server.objects().retain(|name, _| name.contains("/blocks/"));
    let once = AtomicBool::new(false);
    server.lie(move |request, objects| {
        if request.method == "GET" && request.path.contains("/blocks/") && !once.swap(true, Ordering::SeqCst) {
            objects.clear();
        }
        Lie::None
    });
    server.run(&["archive", "create", text(&node), "-o", URL]).expect(0);
    let packs = |objects: &BTreeMap<String, Vec<u8>>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(packs(&server.objects()), packs(&sound));
    server.be_honest();
    server.run(&["archive", "verify", URL]).expect(0);
}

#[test]
fn of_two_that_write_one_archive_the_first_keeps_it() {
    let (scratch, node, server) = archived();
    std::fs::write(node.join("third"), "more").unwrap();
    let sound = server.objects().clone();
    let manifest = format!("{}/manifest", URL.trim_start_matches("s3://night/"));
    for knows_how in [true, false] {
        // The other one completes it after this one has looked.
        server.objects().retain(|name, _| name.contains("/blocks/"));
        let (first, name) = (sound[&manifest].clone(), manifest.clone());
        server.lie(move |request, objects| {
            if request.method == "PUT" && request.path.ends_with("/manifest.spare") {
                objects.insert(name.clone(), first.clone());
            }
            match !knows_how && request.head.to_lowercase().contains("if-none-match") {
                true => Lie::Says(answer(
                    "501 Not Implemented",
                    "",
                    b"<Error><Code>NotImplemented</Code></Error>",
                )),
                false => Lie::None,
            }
        });
        server
            .run(&["archive", "create", text(&node), "-o", URL])
            .expect_sentence(2, &["another process"]);
        assert_eq!(server.objects()[&manifest], sound[&manifest]);
        server.be_honest();
        let out = scratch.path().join(format!("out-{knows_how}"));
        server.run(&["archive", "restore", URL, "-o", text(&out)]).expect(1);
        assert!(out.join("node/first").exists() && !out.join("node/third").exists());
    }
}

#[test]
fn credentials_are_in_no_message_and_go_nowhere_else() {
    let (_scratch, _node, server) = archived();
    // Asked for elsewhere: whoever is there learns nothing that opens the store.
    let elsewhere = Server::start();
    let heard = Arc::new(Mutex::new(String::new()));
    let hears = Arc::clone(&heard);
    elsewhere.lie(move |request, _| {
        hears
            .lock()
            .unwrap()
            .push_str(&format!("{}?{}\n{}", request.path, request.query, request.head));
        Lie::None
    });
    let location = format!(
        "Location: http://localhost:{}/night/2026/disaster/manifest\r\n",
        elsewhere.address.port()
    );
    server.lie(move |_, _| Lie::Says(answer("307 Temporary Redirect", &location, b"")));
    let run = server.run(&["archive", "verify", URL]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let heard = heard.lock().unwrap().to_lowercase();
    for word in [SECRET, TOKEN, "authorization:", "signature="] {
        assert!(!heard.contains(word), "{heard}");
    }
    assert!(heard.is_empty(), "{heard}");
    // A server that says what it was told, and one whose address has a password in it.
    server.lie(|request, _| {
        Lie::Says(answer(
            "403 Forbidden",
            "",
            format!("{} {SECRET}", request.head).as_bytes(),
        ))
    });
    let run = server.run(&["archive", "verify", URL]).expect(3);
    assert!(
        run.stderr.contains("403") || run.stderr.contains("..."),
        "{}",
        run.stderr
    );
    let mut at_password = server.command(&["archive", "verify", URL]);
    at_password.env("AWS_ENDPOINT", format!("http://user:{SECRET}@{}", server.address));
    hushed(at_password).expect(3);
    // In the URL they are refused, and not repeated.
    for url in [
        format!("s3://key:{SECRET}@night/x"),
        format!("s3://night/x?X-Amz-Security-Token={TOKEN}"),
    ] {
        server
            .run(&["archive", "verify", &url])
            .expect_sentence(2, &["environment"]);
        for command in ["verify", "compare", "unlock"] {
            let run = server.run(&[command, &url]);
            assert!(
                matches!(run.code, Some(2 | 3)),
                "{command}: {:?} {}",
                run.code,
                run.stderr
            );
        }
        server
            .run(&["archive", "create", "/tmp", "-o", &url])
            .expect_sentence(2, &["environment"]);
    }
    // A shared access signature, which is a part of every address that is asked.
    let mut command = command();
    command.args(["archive", "verify", "az://night/x"]);
    command
        .env("AZURE_STORAGE_ACCOUNT_NAME", "night")
        .env("AZURE_STORAGE_SAS_KEY", format!("sv=2024&sig={SECRET}"));
    command
        .env("AZURE_ALLOW_HTTP", "true")
        .env("AZURE_STORAGE_ENDPOINT", format!("http://{}", server.address));
    hushed(command).expect(3);
}
