//! Clients that take what they can get: how much memory they cost, and how long they stay.
//!
//! HTTP/2 is spoken frame by frame here, because no client library is as impolite as these.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::client::{self, connect, tls_client};
use crate::http::service::{identity, timeouts};
use hyper::Method;
use rekindle::http::{
    CertificateSlot, Certificates, Interface, Metrics, Request, Response, Route, Router, Running, Server, Sessions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What a node's own documentation takes, by and by.
const ANSWER_BYTES: usize = 53 << 10;
const STREAMS: u32 = 100;

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

struct Service {
    address: SocketAddr,
    sessions: Arc<Sessions>,
    _running: Running,
}

async fn start() -> Service {
    let (certificate, key) = identity("CN=CCF Node", 1);
    let certificates = Certificates {
        node: CertificateSlot::new(&certificate, &key).unwrap(),
        service: CertificateSlot::new(&certificate, &key).unwrap(),
    };
    let mut interface = Interface::new("primary", "127.0.0.1:0");
    interface.http2 = true;
    let server = Server::bind(vec![interface], timeouts()).await.unwrap();
    let address = server.addresses().into_values().next().unwrap().parse().unwrap();
    let sessions = server.sessions();
    let large = |_, request: Request| -> rekindle::http::BoxFuture<_> {
        let bytes = request.param("bytes").parse().unwrap();
        Box::pin(async move { Ok(Response::bytes("text/plain", vec![b'x'; bytes])) })
    };
    let echo = |_, request: Request| -> rekindle::http::BoxFuture<_> {
        Box::pin(async move { Ok(Response::bytes("text/plain", request.body)) })
    };
    let router = Router::new(vec![
        Route::new(Method::GET, "/node/large/{bytes}", "Many bytes", large),
        Route::new(Method::POST, "/node/echo", "The body", echo),
    ]);
    let running = server
        .serve(
            Arc::new(router),
            Arc::new(()),
            &certificates,
            Arc::new(Metrics::default()),
        )
        .unwrap();
    Service {
        address,
        sessions,
        _running: running,
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A request; with `ends` there is no body.
fn headers(stream: u32, method: &Method, path: &str, ends: bool) -> Vec<u8> {
    let mut block = vec![
        if *method == Method::GET { 0x82 } else { 0x83 },
        0x87,
        0x04,
        path.len() as u8,
    ];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'n']);
    frame(1, if ends { 5 } else { 4 }, stream, &block)
}

/// A session whose streams have windows of `window` bytes.
async fn session(address: SocketAddr, window: u32) -> TlsStream<TcpStream> {
    let mut client = tls_client();
    client.alpn = vec![b"h2".to_vec()];
    let mut stream = connect(address, &client).await.unwrap();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    hello.extend(frame(SETTINGS, 0, 0, &setting));
    stream.write_all(&hello).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// How many sessions: `REKINDLE_HOSTILE_SESSIONS`, for measurements.
fn connections() -> usize {
    let asked = std::env::var("REKINDLE_HOSTILE_SESSIONS").ok();
    asked.and_then(|number| number.parse().ok()).unwrap_or(150)
}

fn anonymous_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

async fn wait_until_closed(service: &Service, within: Duration) {
    let begun = Instant::now();
    while service.sessions.active() > 0 {
        assert!(
            begun.elapsed() < within,
            "{} sessions are open",
            service.sessions.active()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_nothing_cost_little_memory_and_pings_do_not_keep_them() {
    let service = start().await;
    let before = anonymous_memory();
    let connections = connections();
    let mut sessions = Vec::new();
    for _ in 0..connections {
        let mut stream = session(service.address, 0).await;
        let path = format!("/node/large/{ANSWER_BYTES}");
        let requests: Vec<u8> = (0..STREAMS)
            .flat_map(|n| headers(2 * n + 1, &Method::GET, &path, true))
            .collect();
        let _ = stream.write_all(&requests).await;
        sessions.push(stream);
    }
    let mut most = 0;
    let begun = Instant::now();
    // They ask whether anybody is there, and change their minds about settings, several times in the idle time.
    while begun.elapsed() < timeouts().idle / 2 {
        most = most.max(anonymous_memory().saturating_sub(before));
        for stream in &mut sessions {
            let _ = stream.write_all(&frame(PING, 0, 0, &[7; 8])).await;
            let _ = stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
            let _ = stream.flush().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let unbounded = connections * STREAMS as usize * ANSWER_BYTES;
    println!(
        "{connections} sessions take {} MB, of {} MB asked for",
        most >> 20,
        unbounded >> 20
    );
    assert!(most < unbounded / 4, "{} MB", most >> 20);
    let pings = tokio::spawn(async move {
        loop {
            for stream in &mut sessions {
                let _ = stream.write_all(&frame(PING, 0, 0, &[7; 8])).await;
                let _ = stream.flush().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    wait_until_closed(&service, Duration::from_secs(20)).await;
    pings.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_only_pings_is_closed_when_it_has_been_idle() {
    let service = start().await;
    let mut stream = session(service.address, 1 << 16).await;
    let begun = Instant::now();
    let mut sink = [0; 4096];
    loop {
        let ping = [frame(PING, 0, 0, &[1; 8]), frame(SETTINGS, 0, 0, &[])].concat();
        let sent = stream.write_all(&ping).await.and(stream.flush().await);
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut sink)).await;
        if sent.is_err() || matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
        assert!(begun.elapsed() < timeouts().idle + Duration::from_secs(10));
    }
    assert!(begun.elapsed() >= timeouts().idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_never_end_are_given_up_and_others_are_served_meanwhile() {
    let service = start().await;
    let mut hostile = Vec::new();
    for _ in 0..20 {
        let mut stream = session(service.address, 1 << 16).await;
        let begun: Vec<u8> = (0..STREAMS)
            .flat_map(|n| headers(2 * n + 1, &Method::POST, "/node/echo", false))
            .collect();
        stream.write_all(&begun).await.unwrap();
        stream.write_all(&frame(0, 0, 1, &[b'x'; 1 << 14])).await.unwrap();
        stream.flush().await.unwrap();
        hostile.push(stream);
    }
    let mut client = tls_client();
    client.alpn = vec![b"h2".to_vec()];
    let stream = connect(service.address, &client).await.unwrap();
    let mut sender = client::http2(stream).await;
    let large = "y".repeat(500_000);
    let (status, body) = client::request(&mut sender, Method::POST, "echo", &large).await;
    assert_eq!((status.as_u16(), body.len()), (200, large.len()));
    drop(sender);
    wait_until_closed(&service, Duration::from_secs(20)).await;
    drop(hostile);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_its_answer_slowly_but_steadily_gets_all_of_it() {
    let service = start().await;
    let mut stream = session(service.address, 0).await;
    let whole: usize = 512 << 10;
    let path = format!("/node/large/{whole}");
    stream.write_all(&headers(1, &Method::GET, &path, true)).await.unwrap();
    let begun = Instant::now();
    let mut received = Vec::new();
    let mut data = 0;
    while data < whole {
        let window = (64_u32 << 10).to_be_bytes();
        for about in [0, 1] {
            stream
                .write_all(&frame(WINDOW_UPDATE, 0, about, &window))
                .await
                .unwrap();
        }
        stream.flush().await.unwrap();
        tokio::time::sleep(timeouts().idle / 4).await;
        let mut piece = vec![0; 256 << 10];
        while let Ok(read) = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut piece)).await {
            let read = read.unwrap();
            assert!(read > 0, "closed after {data} bytes");
            received.extend_from_slice(&piece[..read]);
        }
        // Whole frames are taken off; those of data are counted.
        while received.len() >= 9 {
            let length = usize::from(received[0]) << 16 | usize::from(received[1]) << 8 | usize::from(received[2]);
            if received.len() < 9 + length {
                break;
            }
            data += if received[3] == 0 { length } else { 0 };
            received.drain(..9 + length);
        }
    }
    assert!(begun.elapsed() > timeouts().idle);
}
