//! An SV app for the tests: real HTTP, scripted answers (SPEC-CANTON 3.1 to 3.3).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A request as the app received it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HashMap<String, String>,
}

impl Request {
    pub fn timestamp(&self) -> &str {
        self.query.get("timestamp").map_or("", String::as_str)
    }
}

/// How a body is sent.
#[derive(Clone)]
pub enum Body {
    /// With its length.
    Sized(Vec<u8>),
    /// In chunks of this many bytes, with a pause after each.
    Chunked(Vec<u8>, usize, Duration),
    /// With its length, in pieces of this many bytes, with a pause after each.
    Slow(Vec<u8>, usize, Duration),
    /// With a length that is larger than what comes.
    Short(Vec<u8>, usize),
    /// In chunks, without the last one.
    CutChunks(Vec<u8>),
    /// A data snapshot whose ACS has this many bytes of base64, made while it is sent.
    Huge(String, u64),
    /// Nothing, for ever.
    Silence,
}

#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Answer {
    pub fn json(status: u16, value: &Value) -> Answer {
        Answer::of(status, "application/json", value.to_string().into_bytes())
    }

    pub fn error(status: u16, text: &str) -> Answer {
        Answer::json(status, &json!({ "error": text }))
    }

    pub fn of(status: u16, content_type: &str, body: Vec<u8>) -> Answer {
        Answer {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Body::Sized(body),
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: Body) -> Answer {
        self.body = body;
        self
    }
}

/// A data snapshot as an SV app gives it.
pub fn snapshot(timestamp: &str, acs: &str) -> Value {
    json!({
        "created_at": timestamp,
        "migration_id": 3,
        "data_snapshot": {
            "genesis_state": "R2VuZXNpcw==",
            "acs_snapshot": acs,
            "acs_timestamp": timestamp,
            "dars": [{ "hash": "1220ab", "content": "UEsDBA==" }],
            "synchronizer_was_paused": false,
            "separate_payload_files": false,
            "acs_format": "ledger_api"
        },
        "participant_users": {
            "identityProviders": [],
            "users": [{ "id": "sv-user", "primaryParty": "sv::1220", "rights": [], "annotations": { "k": "v \u{e4}" } }]
        }
    })
}

type Script = dyn Fn(&Request, usize) -> Answer + Send + Sync;

/// A running app. It ends with the test's process.
pub struct SvApp {
    pub url: String,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl SvApp {
    /// Answers requests for snapshots by the script, which is told how many came before; and says that it is of a release.
    pub fn start(release: &str, script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> SvApp {
        SvApp::start_with(None, release, script)
    }

    /// The same over TLS, where that is set up.
    pub fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        release: &str,
        script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> SvApp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, release) = (requests.clone(), release.to_owned());
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, release, script, tls) = (kept.clone(), release.clone(), script.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &kept, &release, &*script),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        serve(rustls::StreamOwned::new(connection, stream), &kept, &release, &*script);
                    }
                });
            }
        });
        SvApp { url, requests }
    }

    pub fn asked(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: impl Read + Write, kept: &Mutex<Vec<Request>>, release: &str, script: &Script) {
    let Some(request) = receive(&mut stream) else { return };
    let answer = match request.path.ends_with("/version") {
        true if release.is_empty() => Answer::error(404, "The requested resource could not be found."),
        true => Answer::json(200, &json!({ "version": release, "commit_ts": "2025-01-01T00:00:00Z" })),
        false => {
            let before = {
                let mut kept = kept.lock().unwrap();
                kept.push(request.clone());
                kept.len() - 1
            };
            script(&request, before)
        }
    };
    let _ = send(&mut stream, &answer);
}

fn receive(stream: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 || bytes.len() > 100_000 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let unescape = |text: &str| text.replace("%3A", ":").replace("%2B", "+");
    let query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), unescape(value)))
        .collect();
    Some(Request {
        path: path.to_owned(),
        query,
        headers,
    })
}

fn send(stream: &mut impl Write, answer: &Answer) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let sized = |length: usize| format!("content-length: {length}\r\n\r\n");
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    match &answer.body {
        Body::Sized(body) => {
            stream.write_all(format!("{head}{}", sized(body.len())).as_bytes())?;
            stream.write_all(body)?;
        }
        Body::Short(body, length) => {
            stream.write_all(format!("{head}{}", sized(*length)).as_bytes())?;
            stream.write_all(body)?;
        }
        Body::Slow(body, size, pause) => {
            stream.write_all(format!("{head}{}", sized(body.len())).as_bytes())?;
            for piece in body.chunks(*size) {
                stream.write_all(piece)?;
                stream.flush()?;
                std::thread::sleep(*pause);
            }
        }
        Body::Chunked(body, size, pause) => {
            stream.write_all(format!("{head}{chunked}").as_bytes())?;
            for piece in body.chunks(*size) {
                chunk(stream, piece)?;
                std::thread::sleep(*pause);
            }
            chunk(stream, b"")?;
        }
        Body::CutChunks(body) => {
            stream.write_all(format!("{head}{chunked}").as_bytes())?;
            chunk(stream, body)?;
        }
        Body::Huge(timestamp, characters) => {
            stream.write_all(format!("{head}{chunked}").as_bytes())?;
            let whole = snapshot(timestamp, "@").to_string();
            let (before, after) = whole.split_once('@').unwrap();
            chunk(stream, before.as_bytes())?;
            let piece = vec![b'A'; 1 << 20];
            let mut left = *characters;
            while left > 0 {
                let size = left.min(piece.len() as u64) as usize;
                chunk(stream, &piece[..size])?;
                left -= size as u64;
            }
            chunk(stream, after.as_bytes())?;
            chunk(stream, b"")?;
        }
        Body::Silence => {
            stream.write_all(head.as_bytes())?;
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    stream.flush()
}

fn chunk(stream: &mut impl Write, piece: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
    stream.write_all(piece)?;
    stream.write_all(b"\r\n")
}
