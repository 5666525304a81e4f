//! How the app is reached: TLS both ways, proxies, and where tokens come from.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rekindle::crypto::x509::{AlternativeName, CertificateRequest, Validity, issue, issue_from_request, request};
use rekindle::crypto::{Certificate, Curve, SigningKey, random};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::*;

const DAY_S: u64 = 86_400;

/// An authority, a server's certificate for 127.0.0.1, and a client's; and the files of the latter.
struct Pki {
    roots: Certificate,
    server: (Certificate, SigningKey),
}

impl Pki {
    fn new(directory: &Path) -> Pki {
        let mut rng = random::system_rng().unwrap();
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - DAY_S;
        let mut key = || SigningKey::generate(Curve::P256, &mut rng);
        let (root_key, server_key, client_key) = (key(), key(), key());
        let root_public = root_key.verifying_key();
        let roots = issue("CN=Root", &root_public, None, &root_key, true, since, 30, [1; 16]).unwrap();
        let names = [AlternativeName::of_host("127.0.0.1").unwrap()];
        let asked = CertificateRequest::from_pem(&request("CN=sv", &names, &server_key).unwrap()).unwrap();
        let server =
            issue_from_request(&asked, &roots, &root_key, Validity::days(since, 30).unwrap(), [2; 16]).unwrap();
        let client_public = client_key.verifying_key();
        let client = issue(
            "CN=me",
            &client_public,
            Some(&roots),
            &root_key,
            false,
            since,
            30,
            [3; 16],
        )
        .unwrap();
        let put = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        put("ca.pem", &roots.to_pem());
        put("client.pem", &client.to_pem());
        put("client.key", &client_key.to_pkcs8_pem());
        Pki {
            roots,
            server: (server, server_key),
        }
    }

    fn config(&self, asks_for_client: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut store = RootCertStore::empty();
        store.add(CertificateDer::from(self.roots.der().to_vec())).unwrap();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match asks_for_client {
            false => builder.with_no_client_auth(),
            true => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let chain = vec![CertificateDer::from(self.server.0.der().to_vec())];
        let key = PrivateKeyDer::from_pem_slice(self.server.1.to_pkcs8_pem().as_bytes()).unwrap();
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

fn good(asked: &super::super::sv_app::Request, _: usize) -> Answer {
    Answer::json(200, &snapshot(asked.timestamp(), "QUJD"))
}

#[test]
fn a_server_is_trusted_by_the_given_roots_only_and_the_client_shows_its_certificate() {
    let (directory, out) = out();
    let pki = Pki::new(directory.path());
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (roots, chain, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let run = |app: &SvApp, more: &[&str]| {
        let _ = std::fs::remove_file(&out);
        let output = fetch(app, &out, &[&["--retries", "0"], more].concat());
        (output.status.code(), codes(&report(&output)).join(" "))
    };
    let app = SvApp::start_with(Some(pki.config(false)), "0.5.4", good);
    assert_eq!(run(&app, &["--cacert", &roots]), (Some(0), String::new()));
    // The system does not know this authority; and nobody was shown the token.
    let before = app.asked().len();
    let (code, found) = run(&app, &[]);
    assert!(code == Some(4) && found.contains("C0520"), "{code:?} {found}");
    assert_eq!(app.asked().len(), before);
    let mutual = SvApp::start_with(Some(pki.config(true)), "0.5.4", good);
    assert_eq!(run(&mutual, &["--cacert", &roots]).0, Some(4));
    assert!(mutual.asked().is_empty());
    let shown = ["--cacert", &roots, "--cert", &chain, "--key", &key];
    assert_eq!(run(&mutual, &shown), (Some(0), String::new()));
    // Both in one file.
    let both = [std::fs::read(&chain).unwrap(), std::fs::read(&key).unwrap()].concat();
    std::fs::write(file("both.pem"), both).unwrap();
    assert_eq!(
        run(&mutual, &["--cacert", &roots, "--cert", &file("both.pem")]).0,
        Some(0)
    );
    let wrong = fetch(&mutual, &out, &["--replace", "--cacert", &key]);
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("no certificates"));
}

/// A proxy for plain HTTP and for CONNECT, which notes what it is asked for.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let kept = kept.clone();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let text = String::from_utf8_lossy(&head).into_owned();
                let target = text.split(' ').nth(1).unwrap_or_default().to_owned();
                kept.lock().unwrap().push(text);
                let Ok(mut server) = TcpStream::connect(&target) else {
                    return;
                };
                let _ = client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut client, &mut server);
            });
        }
    });
    (url, asked)
}

#[test]
fn a_proxy_carries_the_connection_and_never_sees_the_token() {
    let (directory, out) = out();
    let pki = Pki::new(directory.path());
    let app = SvApp::start_with(Some(pki.config(false)), "0.5.4", good);
    let roots = directory.path().join("ca.pem");
    let (url, seen) = proxy();
    let mut through = command(&app, &out, &["--cacert", roots.to_str().unwrap(), "--retries", "0"]);
    through.env_remove("NO_PROXY").env_remove("no_proxy");
    through.env_remove("HTTPS_PROXY").env("https_proxy", &url);
    let output = through.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let seen = seen.lock().unwrap();
    assert!(
        !seen.is_empty()
            && seen
                .iter()
                .all(|head| head.starts_with("CONNECT ") && !head.contains(TOKEN)),
        "{seen:?}"
    );
}

#[test]
fn a_token_comes_from_a_file_stdin_or_the_environment_and_is_in_no_argument() {
    let (directory, out) = out();
    let app = SvApp::start("0.5.4", good);
    let path = directory.path().join("token");
    std::fs::write(&path, "Bearer from.file\n").unwrap();
    let token = |arguments: &[&str], stdin: Option<&str>, variable: Option<&str>| {
        let mut all = command(&app, &out, &[&["--replace"], arguments].concat());
        all.env_remove("REKINDLE_CANTON_TOKEN")
            .envs(variable.map(|value| ("REKINDLE_CANTON_TOKEN", value)));
        all.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let before = app.asked().len();
        let mut child = all.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let _ = pipe.write_all(stdin.unwrap_or_default().as_bytes());
        drop(pipe);
        let code = child.wait().unwrap().code();
        let asked = app.asked();
        (
            code,
            asked
                .get(before)
                .and_then(|asked| asked.headers.get("authorization").cloned()),
        )
    };
    let sent = |text: &str| (Some(0), Some(format!("Bearer {text}")));
    assert_eq!(
        token(&["--token-file", path.to_str().unwrap()], None, Some("other")),
        sent("from.file")
    );
    assert_eq!(
        token(&["--token-file", "-"], Some("from.stdin"), None),
        sent("from.stdin")
    );
    assert_eq!(token(&[], None, Some("from.environment")), sent("from.environment"));
    assert_eq!(token(&["--no-token"], None, Some("other")), (Some(0), None));
    // Nobody to ask: said, instead of a request that is refused.
    assert_eq!(token(&[], None, None), (Some(2), None));
    assert_eq!(token(&[], None, Some("two words")), (Some(2), None));
    assert_eq!(token(&["--token-file", "/dev/null"], None, None), (Some(2), None));
    let endless = token(&["--token-file", "/dev/zero"], None, None);
    assert_eq!(endless, (Some(3), None));
}

#[test]
fn this_machine_is_not_reached_through_a_proxy_which_would_be_shown_the_token() {
    let app = SvApp::start("0.5.4", |_, _| Answer::json(200, &snapshot(AT, "QUJD")));
    let proxy = SvApp::start("0.5.4", |_, _| Answer::json(200, &snapshot(AT, "QUJD")));
    let (_directory, out) = out();
    let mut command = command(&app, &out, &[]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, &proxy.url);
    }
    let output = command.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    assert!(proxy.asked().is_empty(), "the proxy was asked");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
