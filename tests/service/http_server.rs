//! The node's HTTPS against real clients, well behaved and not. Recovery specification, sections 3 and 8.7.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http;
use crate::http::client::{Client, connect, exchange, exchange_all, tls_client};
use crate::http::service::{Service, identity, timeouts};
use hyper::{Method, StatusCode};
use rekindle::crypto::{Curve, SigningKey};
use rekindle::http::{AcceptedEndpoints, Authority, Interface};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

const STATE: &str = "GET /node/state HTTP/1.1\r\nhost: n\r\n\r\n";

/// What `/node/metrics` answers.
fn metrics(service: &Service) -> Value {
    serde_json::to_value(service.sessions.to_answer()).unwrap()
}

fn interface() -> Interface {
    Interface::new("primary", "127.0.0.1:0")
}

/// Waits until `condition` holds; a server counts a moment after its client sees the effect.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A crowd waits its turn; whoever comes later is let in all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_begin_at_the_rate_of_their_interface() {
    let paced = Interface {
        sessions_a_second: Some(20),
        ..interface()
    };
    let service = Service::start(paced).await;
    let client = tls_client();
    let begun = Instant::now();
    for _ in 0..25 {
        let mut stream = connect(service.address(), &client).await.unwrap();
        assert_eq!(exchange(&mut stream, STATE).await.status, 200);
    }
    // The first ten at once, one before the first wait, and two that the address has for itself meanwhile.
    let least = Duration::from_millis(50 * (25 - 13));
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

/// A session that comes from another address of this machine.
async fn connect_from(own: &str, to: SocketAddr, client: &Client) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{own}:0").parse().unwrap())?;
    client.over(socket.connect(to).await?).await
}

/// Nobody waits behind a rude client: not for what it opens and leaves, and not for what it opens and keeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rude_client_keeps_nobody_else_out_where_sessions_are_paced() {
    let mut paced = interface();
    paced.sessions_a_second = Some(20);
    (paced.max_open_sessions_soft, paced.max_open_sessions_hard) = (40, 45);
    let service = Service::start(paced).await;
    let (client, address) = (tls_client(), service.address());
    // Connections that say nothing, as many as the system takes, and again as soon as they are closed.
    let rude: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    let held: Vec<_> = (0..100).map(|_| TcpStream::connect(address)).collect();
                    for connecting in held {
                        let _ = tokio::time::timeout(Duration::from_millis(200), connecting).await;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let begun = Instant::now();
        let mut stream = connect_from("127.0.0.2", address, &client).await.unwrap();
        assert_eq!(exchange(&mut stream, STATE).await.status, 200);
        longest = longest.max(begun.elapsed());
    }
    rude.iter().for_each(|task| task.abort());
    assert!(longest < Duration::from_secs(2), "{longest:?}");

    // Sessions that are held: half of them, and not one more.
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(2), connect(address, &client)).await {
        held.push(stream);
        if held.len() == 30 {
            break;
        }
        let mut stream = connect_from("127.0.0.2", address, &client).await.unwrap();
        assert_eq!(exchange(&mut stream, STATE).await.status, 200, "{}", held.len());
    }
    assert!(held.len() <= 30, "{}", held.len());
}

/// Whoever asks as fast as it can on one session is answered no faster than others need, and is sent away if it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_is_answered_at_a_bounded_rate_where_sessions_are_paced() {
    let mut paced = interface();
    (paced.sessions_a_second, paced.http2) = (Some(20), true);
    let service = Service::start(paced).await;
    let mut client = tls_client();
    client.alpn = vec![b"h2".to_vec()];
    let begun = Instant::now();
    let (mut served, mut sent_away) = (0, 0);
    while begun.elapsed() < Duration::from_secs(3) {
        let stream = connect(service.address(), &client).await.unwrap();
        let sender = http::client::http2(stream).await;
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let mut sender = sender.clone();
                tokio::spawn(async move {
                    let mut answered = 0;
                    while begun.elapsed() < Duration::from_secs(3) {
                        let request = http::client::request(&mut sender, Method::GET, "state", "");
                        answered += usize::from(request.await.0 == StatusCode::OK);
                    }
                    answered
                })
            })
            .collect();
        for task in asking {
            match task.await {
                Ok(answered) => served += answered,
                Err(_) => sent_away += 1,
            }
        }
    }
    // Four hundred at once, two hundred a second, and what waits at the end.
    assert!(served > 300 && served <= 400 + 200 * 4 + 100, "{served}, {sent_away}");
    // Others are answered meanwhile.
    let mut stream = connect_from("127.0.0.2", service.address(), &tls_client())
        .await
        .unwrap();
    let begun = Instant::now();
    assert_eq!(exchange(&mut stream, STATE).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_groups_p384_and_p256_are_negotiated() {
    let service = Service::start(interface()).await;
    let mut seen = Vec::new();
    for groups in [
        vec![kx_group::X25519, kx_group::SECP384R1, kx_group::SECP256R1],
        vec![kx_group::X25519, kx_group::SECP256R1],
        vec![kx_group::SECP384R1],
    ] {
        let provider = rustls::crypto::CryptoProvider {
            kx_groups: groups,
            ..aws_lc_rs::default_provider()
        };
        let client = Client::new(provider);
        let stream = connect(service.address(), &client).await.unwrap();
        let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        seen.push(format!("{group:?}"));
    }
    assert_eq!(seen, ["secp384r1", "secp256r1", "secp384r1"]);
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    assert!(connect(service.address(), &Client::new(provider)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_trusts_the_certificate_and_is_answered() {
    let service = Service::start(interface()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
        directory.path().join(name)
    };
    let (member, key) = identity("CN=member", 7);
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--cacert"])
        .arg(file("node.pem", &service.certificate.to_pem()))
        .arg("--cert")
        .arg(file("member.pem", &member.to_pem()))
        .arg("--key")
        .arg(file("key.pem", &key.to_pkcs8_pem()))
        .arg(format!("https://{}/node/peer", service.address()));
    let Ok(output) = tokio::task::spawn_blocking(move || curl.output()).await.unwrap() else {
        eprintln!("skipped: curl is not installed");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), hex::encode(member.der()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_and_1_3_are_served_with_aes_gcm_only() {
    let service = Service::start(interface()).await;
    for (version, suite) in [
        (&rustls::version::TLS13, "TLS13_AES_256_GCM_SHA384"),
        (&rustls::version::TLS12, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ] {
        let mut provider = aws_lc_rs::default_provider();
        // The client would like ChaCha20 best; what is chosen is the server's preference.
        provider.cipher_suites.reverse();
        let mut client = Client::new(provider);
        client.versions = vec![version];
        let mut stream = connect(service.address(), &client).await.unwrap();
        let negotiated = stream.get_ref().1.negotiated_cipher_suite().unwrap();
        assert_eq!(format!("{:?}", negotiated.suite()), suite);
        assert_eq!(exchange(&mut stream, STATE).await.status, 200);
    }
    let chacha = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).contains("CHACHA20");
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(chacha);
    assert!(connect(service.address(), &Client::new(provider)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_certificate_is_shown_to_new_sessions_and_old_ones_go_on() {
    let service = Service::start(interface()).await;
    let client = tls_client();
    let mut old = connect(service.address(), &client).await.unwrap();
    assert_eq!(client.shown(), service.certificate.der());
    let (endorsed, key) = identity("CN=Endorsed", 2);
    service.certificates.service.replace(&endorsed, &key).unwrap();
    for _ in 0..3 {
        // More than once with one client: no session is resumed, which would show nothing.
        let mut new = connect(service.address(), &client).await.unwrap();
        assert_eq!(client.shown(), endorsed.der());
        assert_eq!(exchange(&mut new, STATE).await.status, 200);
    }
    assert_eq!(exchange(&mut old, STATE).await.status, 200);
    let (_, other) = identity("CN=Other", 3);
    assert!(service.certificates.service.replace(&endorsed, &other).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interface_of_the_nodes_authority_keeps_the_self_signed_certificate() {
    let mut own = interface();
    own.authority = Authority::Node;
    let service = Service::start(own).await;
    let (endorsed, key) = identity("CN=Endorsed", 2);
    service.certificates.service.replace(&endorsed, &key).unwrap();
    let client = tls_client();
    connect(service.address(), &client).await.unwrap();
    assert_eq!(client.shown(), service.certificate.der());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_optional_and_the_handler_reads_it() {
    let service = Service::start(interface()).await;
    let ask = "GET /node/peer HTTP/1.1\r\nhost: n\r\n\r\n";
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut stream, ask).await.text(), "none");
    let (certificate, key) = identity("CN=member", 7);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = tls_client().with_certificate(&certificate, &key);
        client.versions = vec![version];
        let mut stream = connect(service.address(), &client).await.unwrap();
        assert_eq!(exchange(&mut stream, ask).await.text(), hex::encode(certificate.der()));
        assert_eq!(exchange(&mut stream, ask).await.text(), hex::encode(certificate.der()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_have_its_certificates_key_is_turned_away() {
    let service = Service::start(interface()).await;
    let (certificate, _) = identity("CN=member", 7);
    let (_, other) = identity("CN=thief", 8);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = tls_client().with_certificate(&certificate, &other);
        client.versions = vec![version];
        // In TLS 1.3 a client may think that it is connected until it reads.
        let outcome = match connect(service.address(), &client).await {
            Err(_) => None,
            Ok(mut stream) => {
                let _ = stream.write_all(STATE.as_bytes()).await;
                stream.read_u8().await.ok()
            }
        };
        assert_eq!(outcome, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_tls_end_their_connection_and_nothing_else() {
    let service = Service::start(interface()).await;
    let mut open = connect(service.address(), &tls_client()).await.unwrap();
    for junk in [
        STATE.as_bytes(),
        &[0x16, 0x03, 0x01, 0xff, 0xff],
        &[0xff; 4096],
        &[0; 70_000],
    ] {
        let mut socket = TcpStream::connect(service.address()).await.unwrap();
        let _ = socket.write_all(junk).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.len() < 100, "{answer:?}");
        assert_eq!(exchange(&mut open, STATE).await.status, 200);
    }
    eventually("only one session is open", || service.sessions.active() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_never_speaks_is_closed_when_the_handshake_is_due() {
    let service = Service::start(interface()).await;
    let begun = Instant::now();
    let mut socket = TcpStream::connect(service.address()).await.unwrap();
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(begun.elapsed() >= timeouts().handshake && begun.elapsed() < timeouts().handshake * 8);
    eventually("no session is left", || service.sessions.active() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_dribbles_its_headers_is_cut_off_while_others_are_served() {
    let service = Service::start(interface()).await;
    let mut slow = connect(service.address(), &tls_client()).await.unwrap();
    let mut good = connect(service.address(), &tls_client()).await.unwrap();
    let begun = Instant::now();
    let mut cut_off = false;
    for byte in STATE.bytes().cycle().filter(|byte| *byte != b'\n').take(400) {
        if slow.write_all(&[byte]).await.is_err() || slow.flush().await.is_err() {
            cut_off = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(exchange(&mut good, STATE).await.status, 200);
    }
    assert!(
        cut_off && begun.elapsed() < timeouts().headers * 8,
        "{:?}",
        begun.elapsed()
    );
    eventually("one session is left", || service.sessions.active() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_in_time_is_answered_408() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    let answer = exchange(
        &mut stream,
        "POST /node/echo HTTP/1.1\r\nhost: n\r\ncontent-length: 10\r\n\r\nabc",
    )
    .await;
    assert_eq!(answer.status, 408);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_rests_is_closed_after_the_idle_time() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut stream, STATE).await.status, 200);
    let begun = Instant::now();
    // Not an error: the server said in TLS that it closes.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(
        begun.elapsed() + Duration::from_millis(100) > timeouts().idle,
        "{:?}",
        begun.elapsed()
    );
    eventually("no session is left", || service.sessions.active() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_may_take_longer_than_the_idle_time() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    let wait = timeouts().idle.as_millis() * 3;
    let ask = format!("GET /node/wait/{wait} HTTP/1.1\r\nhost: n\r\n\r\n");
    assert_eq!(exchange(&mut stream, &ask).await.text(), "waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_limits_is_answered_as_ccf_does_and_counted() {
    let mut small = interface();
    (small.limits.max_body_size, small.limits.max_header_size) = (1000, 300);
    small.limits.max_headers_count = 10;
    let service = Service::start(small).await;
    let post = |headers: &str, body: &str| {
        let length = body.len();
        format!("POST /node/echo HTTP/1.1\r\nhost: n\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
    };
    let chunked = format!(
        "POST /node/echo HTTP/1.1\r\nhost: n\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1001)
    );
    let many: String = (0..9).map(|i| format!("x-{i}: y\r\n")).collect();
    let flood: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    for (request, status, code) in [
        (post("", &"x".repeat(1000)), 200, ""),
        (post("", &"x".repeat(1001)), 413, "RequestBodyTooLarge"),
        (post("", &"x".repeat(500_000)), 413, "RequestBodyTooLarge"),
        (chunked, 413, "RequestBodyTooLarge"),
        // The limit is one that may be reached, by the name and by the value.
        (
            post(&format!("{}: {}\r\n", "x".repeat(300), "y".repeat(300)), ""),
            200,
            "",
        ),
        (
            post(&format!("x: {}\r\n", "y".repeat(301)), ""),
            431,
            "RequestHeaderTooLarge",
        ),
        (
            post(&format!("{}: y\r\n", "x".repeat(301)), ""),
            431,
            "RequestHeaderTooLarge",
        ),
        (post(&many, ""), 431, "RequestHeaderTooLarge"),
        (post(&flood, ""), 431, ""),
        (post(&format!("x: {}\r\n", "y".repeat(200_000)), ""), 431, ""),
    ] {
        let mut stream = connect(service.address(), &tls_client()).await.unwrap();
        let answer = exchange(&mut stream, &request).await;
        assert_eq!(answer.status, status, "{}", &request[..80]);
        if !code.is_empty() {
            assert_eq!(answer.json()["error"]["code"], code);
        }
    }
    let counted = || metrics(&service)["sessions"]["interfaces"]["primary"]["errors"].clone();
    let expected = json!({"parsing": 0, "request_header_too_large": 5, "request_payload_too_large": 3});
    eventually("every refusal is counted", || counted() == expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_before_it_sends_is_told_at_once_whether_it_may() {
    let service = Service::start(interface()).await;
    let ask = |length: usize| {
        format!("POST /node/echo HTTP/1.1\r\nhost: n\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut stream, &ask(3)).await.status, 100);
    assert_eq!(exchange(&mut stream, "abc").await.text(), "abc");
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut stream, &ask(2 << 20)).await.status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_answered_400_and_counted() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut stream, "\u{1}\u{2} nonsense\r\n\r\n").await.status, 400);
    let counted = || metrics(&service)["sessions"]["interfaces"]["primary"]["errors"]["parsing"] == 1;
    eventually("it is counted", counted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_above_the_soft_cap_get_503_and_above_the_hard_cap_nothing() {
    let mut capped = interface();
    (capped.max_open_sessions_soft, capped.max_open_sessions_hard) = (2, 3);
    let service = Service::start(capped).await;
    let mut first = connect(service.address(), &tls_client()).await.unwrap();
    let second = connect(service.address(), &tls_client()).await.unwrap();
    let mut third = connect(service.address(), &tls_client()).await.unwrap();
    assert!(connect(service.address(), &tls_client()).await.is_err());
    let refused = exchange(&mut third, STATE).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"]["code"], "SessionCapExhausted");
    assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(exchange(&mut first, STATE).await.status, 200);
    drop((second, third));
    eventually("one session is left", || service.sessions.active() == 1).await;
    let mut again = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut again, STATE).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_http_2_session_ends_with_its_first_answer() {
    let mut capped = interface();
    (capped.max_open_sessions_soft, capped.http2) = (0, true);
    let service = Service::start(capped).await;
    let mut client = tls_client();
    client.alpn = vec![b"h2".to_vec()];
    let stream = connect(service.address(), &client).await.unwrap();
    let mut sender = http::client::http2(stream).await;
    let (status, body) = http::client::request(&mut sender, Method::GET, "state", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("SessionCapExhausted"), "{body}");
    eventually("the session has ended", || {
        service.sessions.active() == 0 && sender.is_closed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_on_one_session() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    let asked: Vec<String> = [30, 0, 10, 0]
        .map(|wait| format!("GET /node/wait/{wait} HTTP/1.1\r\nhost: n\r\n\r\n"))
        .to_vec();
    let echo = "POST /node/echo HTTP/1.1\r\nhost: n\r\ncontent-length: 3\r\n\r\nabc";
    let answers = exchange_all(&mut stream, &format!("{}{echo}{STATE}", asked.concat()), 6).await;
    let texts: Vec<_> = answers.iter().map(|answer| answer.text()).collect();
    assert_eq!(
        texts,
        [
            "waited",
            "waited",
            "waited",
            "waited",
            "abc",
            "{\"state\":\"PartOfNetwork\"}"
        ]
    );
    assert_eq!(metrics(&service)["sessions"]["peak"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_paths_and_wrong_methods_are_answered_as_a_real_node_does() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    let mut ask = async |line: &str| exchange(&mut stream, &format!("{line} HTTP/1.1\r\nhost: n\r\n\r\n")).await;
    let answer = ask("GET /node/local_tx?transaction_id=2.3").await;
    assert_eq!(answer.status, 404);
    let expected = json!({"error": {"code": "ResourceNotFound", "message": "Unknown path: /local_tx."}});
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("content-type"), "application/json");
    let answer = ask("DELETE /node/state").await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, "OPTIONS, GET, HEAD".to_owned())
    );
    let message = "Allowed methods for '/state' are: OPTIONS, GET, HEAD.";
    assert_eq!(
        answer.json(),
        json!({"error": {"code": "UnsupportedHttpVerb", "message": message}})
    );
    let answer = ask("OPTIONS /node/state").await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (204, "OPTIONS, GET, HEAD".to_owned())
    );
    let answer = ask("GET /app/log").await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (404, json!("FrontendNotOpen"))
    );
    let answer = ask("GET /node/ready").await;
    assert_eq!((answer.status, answer.text()), (204, String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_gets_the_headers_of_get_where_it_is_declared() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    let get = exchange(&mut stream, STATE).await;
    stream.write_all(STATE.replace("GET", "HEAD").as_bytes()).await.unwrap();
    // The next answer follows the headers at once: HEAD had no body.
    let answers = exchange_all(&mut stream, STATE, 2).await;
    assert_eq!(answers[0].status, 200);
    assert_eq!(answers[0].header("content-length"), get.body.len().to_string());
    assert_eq!(answers[0].header("content-type"), "application/json");
    assert_eq!(answers[0].header("x-ms-ccf-transaction-id"), "4.203");
    assert_eq!(answers[1].body, get.body);
    let refused = format!("HEAD /node/peer HTTP/1.1\r\nhost: n\r\n\r\n{STATE}");
    assert_eq!(exchange_all(&mut stream, &refused, 2).await[0].status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_costs_one_answer() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    for path in ["panic-before", "panic-within"] {
        let answer = exchange(&mut stream, &format!("GET /node/{path} HTTP/1.1\r\nhost: n\r\n\r\n")).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].clone()),
            (500, json!("InternalError"))
        );
        assert_eq!(exchange(&mut stream, STATE).await.status, 200);
    }
    let text = service.metrics.render();
    assert!(
        text.contains("route=\"/node/panic-within\",status=\"500\"} 1"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_begun_is_finished_although_its_client_goes_away() {
    let service = Service::start(interface()).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    stream
        .write_all(b"GET /node/wait/200 HTTP/1.1\r\nhost: n\r\n\r\n")
        .await
        .unwrap();
    stream.flush().await.unwrap();
    eventually("the handler is at work", || service.waiting() == 1).await;
    drop(stream);
    eventually("the handler came to its end", || service.waited() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_streamed_from_its_range() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 253) as u8).collect();
    std::fs::write(file.path(), &bytes).unwrap();
    let service = Service::start_with(interface(), Some(file.path().to_owned())).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    let ask = "GET /node/file/10/2500000 HTTP/1.1\r\nhost: n\r\n\r\n";
    let answer = exchange(&mut stream, ask).await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-length"), "2499990");
    assert!(answer.body == bytes[10..2_500_000]);
    let head = exchange_all(&mut stream, &format!("{}{STATE}", ask.replace("GET", "HEAD")), 2).await;
    assert_eq!(head[0].header("content-length"), "2499990");
    let beyond = exchange(&mut stream, "GET /node/file/0/3000001 HTTP/1.1\r\nhost: n\r\n\r\n").await;
    assert_eq!(beyond.status, 500);
    assert!(!beyond.text().contains(file.path().to_str().unwrap()));
    assert_eq!(exchange(&mut stream, STATE).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let service = Service::start_with(interface(), Some(file.path().to_owned())).await;
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    let ask = format!("GET /node/file/0/{} HTTP/1.1\r\nhost: n\r\n\r\n", 64 << 20);
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    eventually("the session is open", || service.sessions.active() == 1).await;
    eventually("the session was closed", || service.sessions.active() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_spoken_where_it_is_offered_and_chosen() {
    let mut both = interface();
    both.http2 = true;
    let service = Service::start(both).await;
    let mut client = tls_client();
    client.alpn = vec![b"h2".to_vec()];
    let stream = connect(service.address(), &client).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut sender = http::client::http2(stream).await;
    let mut pending = Vec::new();
    for path in ["wait/100", "wait/0", "state", "panic-within"] {
        pending.push(tokio::spawn(http::client::request(&mut sender, Method::GET, path, "")));
    }
    let mut statuses = Vec::new();
    for answer in pending {
        statuses.push(answer.await.unwrap().0);
    }
    assert_eq!(statuses, [200, 200, 200, 500]);
    let (status, body) = http::client::request(&mut sender, Method::POST, "echo", "two").await;
    assert_eq!((status, body), (StatusCode::OK, "two".to_owned()));
    let (status, body) = http::client::request(&mut sender, Method::HEAD, "state", "").await;
    assert_eq!((status, body), (StatusCode::OK, String::new()));
    let large = "x".repeat((1 << 20) + 1);
    let (status, _) = http::client::request(&mut sender, Method::POST, "echo", &large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    // Without ALPN, and where it is not offered, HTTP/1.1 it is.
    let mut stream = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut stream, STATE).await.status, 200);
    let one = Service::start(interface()).await;
    assert!(connect(one.address(), &client).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsecured_interface_serves_in_plain_text_what_is_named() {
    let mut plain = interface();
    plain.authority = Authority::Unsecured;
    plain.accepted_endpoints = Some(AcceptedEndpoints::new(&["/node/state", "/node/wait/.*"]).unwrap());
    let service = Service::start(plain).await;
    let mut socket = TcpStream::connect(service.address()).await.unwrap();
    assert_eq!(exchange(&mut socket, STATE).await.status, 200);
    let answer = exchange(&mut socket, "GET /node/peer HTTP/1.1\r\nhost: n\r\n\r\n").await;
    assert_eq!(answer.status, 503);
    let wait = exchange(&mut socket, "GET /node/wait/1 HTTP/1.1\r\nhost: n\r\n\r\n").await;
    assert_eq!(wait.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_finishes_what_was_begun_and_accepts_nothing_more() {
    let mut service = Service::start(interface()).await;
    let mut resting = connect(service.address(), &tls_client()).await.unwrap();
    assert_eq!(exchange(&mut resting, STATE).await.status, 200);
    let mut busy = connect(service.address(), &tls_client()).await.unwrap();
    busy.write_all(b"GET /node/wait/150 HTTP/1.1\r\nhost: n\r\n\r\n")
        .await
        .unwrap();
    busy.flush().await.unwrap();
    eventually("the handler is at work", || service.waiting() == 1).await;
    let running = service.running.take().unwrap();
    let down = tokio::spawn(running.shutdown());
    assert_eq!(exchange(&mut busy, "").await.text(), "waited");
    assert_eq!(resting.read(&mut [0; 1]).await.unwrap_or(0), 0);
    down.await.unwrap();
    assert_eq!(service.sessions.active(), 0);
    assert!(TcpStream::connect(service.address()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_does_not_wait_for_ever() {
    let mut service = Service::start(interface()).await;
    let mut busy = connect(service.address(), &tls_client()).await.unwrap();
    busy.write_all(b"GET /node/wait/600000 HTTP/1.1\r\nhost: n\r\n\r\n")
        .await
        .unwrap();
    busy.flush().await.unwrap();
    eventually("the handler is at work", || service.waiting() == 1).await;
    let begun = Instant::now();
    service.running.take().unwrap().shutdown().await;
    assert!(begun.elapsed() >= timeouts().shutdown && begun.elapsed() < timeouts().shutdown * 4);
    eventually("no session is left", || service.sessions.active() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_refused_with_the_interfaces_name() {
    let service = Service::start(interface()).await;
    let taken = Interface::new("second", service.address().to_string());
    let refused = rekindle::http::Server::bind(vec![taken], timeouts()).await;
    let message = refused.err().expect("the address is taken").to_string();
    assert!(
        message.contains("\"second\"") && message.contains(&service.address().to_string()),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_0_is_replaced_in_bound_and_published_addresses() {
    let mut published = interface();
    published.published_address = "node.example:0".to_owned();
    let server = rekindle::http::Server::bind(vec![published], timeouts()).await.unwrap();
    let bound = server.addresses()["primary"].clone();
    let port = bound.strip_prefix("127.0.0.1:").unwrap();
    assert_ne!(port, "0");
    let published = server.interfaces().next().unwrap().published_address.clone();
    assert_eq!(published, format!("node.example:{port}"));
}

#[test]
fn a_slot_refuses_a_key_that_is_not_its_certificates() {
    let (certificate, _) = identity("CN=a", 1);
    let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(9);
    let other = SigningKey::generate(Curve::P256, &mut rng);
    assert!(rekindle::http::CertificateSlot::new(&certificate, &other).is_err());
}

/// What a request is answered that another node passes on.
async fn passed_on(service: &Service, request: &str, client: Option<Vec<u8>>, most: usize) -> std::io::Result<String> {
    let relay = service.running.as_ref().unwrap().relay();
    let (done, answer) = tokio::sync::oneshot::channel();
    relay.answer(request.as_bytes().to_vec(), client, most, |answer| {
        done.send(answer).unwrap()
    });
    answer.await.unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_passes_on_is_answered_as_it_would_be_here() {
    let service = Service::start(interface()).await;
    let answer = passed_on(&service, STATE, None, 10_000).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("x-ms-ccf-transaction-id: 4.203"),
        "{head}"
    );
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert_eq!(body, r#"{"state":"PartOfNetwork"}"#);
    // The client's certificate comes along, as the other node saw it.
    let (member, _) = identity("CN=member", 7);
    let ask = "GET /node/peer HTTP/1.1\r\nhost: n\r\n\r\n";
    let answer = passed_on(&service, ask, Some(member.der().to_vec()), 10_000)
        .await
        .unwrap();
    assert!(answer.ends_with(&hex::encode(member.der())), "{answer}");
    assert!(passed_on(&service, ask, None, 10_000).await.unwrap().ends_with("none"));
    // A body larger than what lies between the two ends, there and back.
    let body = "x".repeat(300_000);
    let echo = format!(
        "POST /node/echo HTTP/1.1\r\nhost: n\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = passed_on(&service, &echo, None, 400_000).await.unwrap();
    assert!(answer.ends_with(&body));
    assert!(
        passed_on(&service, &echo, None, 200_000)
            .await
            .unwrap_err()
            .to_string()
            .contains("too long")
    );
    // Errors are answers; of two requests only the first is answered.
    let nothing = "GET /nothing HTTP/1.1\r\nhost: n\r\n\r\n";
    assert!(
        passed_on(&service, nothing, None, 10_000)
            .await
            .unwrap()
            .starts_with("HTTP/1.1 404 ")
    );
    let twice = passed_on(&service, &format!("{STATE}{STATE}"), None, 10_000)
        .await
        .unwrap();
    assert_eq!(twice.matches("HTTP/1.1 ").count(), 1, "{twice}");
    for broken in ["", "GET", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let answer = passed_on(&service, broken, None, 10_000).await;
        assert!(
            answer.is_err() || answer.as_ref().unwrap().starts_with("HTTP/1.1 4"),
            "{broken:?}: {answer:?}"
        );
    }
    assert!(
        passed_on(
            &service,
            "GET /node/panic-within HTTP/1.1\r\nhost: n\r\n\r\n",
            None,
            10_000
        )
        .await
        .unwrap()
        .starts_with("HTTP/1.1 500 ")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_requests_that_are_passed_on_only_so_many_are_at_work() {
    let service = Service::start(interface()).await;
    let relay = service.running.as_ref().unwrap().relay();
    let (done, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..300 {
        let done = done.clone();
        let ask = b"GET /node/wait/1500 HTTP/1.1\r\nhost: n\r\n\r\n".to_vec();
        relay.answer(ask, None, 10_000, move |answer| {
            let _ = done.send(answer.is_ok());
        });
    }
    drop(done);
    let (mut good, mut refused) = (0, 0);
    while let Some(is_good) = answers.recv().await {
        *(if is_good { &mut good } else { &mut refused }) += 1;
    }
    assert_eq!((good, refused), (256, 44));
}
