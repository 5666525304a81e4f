//! What CCF's own test functions ask of a recovered service, beside what they expect: certificates that members renew, keys
//! of token issuers that are fetched, and endpoints, statuses and words of which clients of CCF take notice.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::issuer::Issuer;
use crate::node::{Keys, Node, Place};
use crate::support::Service;
use hyper::Method;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rekindle::crypto::x509::{self, AlternativeName, CertificateRequest, Validity};
use rekindle::crypto::{Certificate, Curve, SigningKey};
use rekindle::member::Session;
use rekindle::net::fetch::{Bounds, get};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};

/// Every proposal is a script, accepted at once and run as it is.
const RUNNING: &str = r#"
    export function validate(input) { return {valid: true, description: ""}; }
    export function resolve(proposal, proposerId, votes) { return "Accepted"; }
    export function apply(proposal, proposalId) {
        for (const action of JSON.parse(proposal).actions) { new Function(action.args.script)(); }
    }"#;
const DAY_S: u64 = 86_400;

fn now_s() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn service() -> Service {
    Service::made(&["--entries", "20", "--members", "1", "--threshold", "1"])
}

/// A constitution that runs scripts, in force.
fn run_scripts(node: &Node<'_>) {
    node.act("set_constitution", json!({"constitution": RUNNING}));
}

fn run(node: &Node<'_>, script: &str) {
    node.act("run", json!({"script": script}));
}

/// The certificate that an interface presents.
fn presented(node: &Node<'_>, address: &str) -> Certificate {
    #[derive(Debug, Default)]
    struct Watch(Mutex<Vec<u8>>);
    impl ServerCertVerifier for Watch {
        fn verify_server_cert(
            &self,
            presented: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            *self.0.lock().unwrap() = presented.to_vec();
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![
                SignatureScheme::ECDSA_NISTP384_SHA384,
                SignatureScheme::ECDSA_NISTP256_SHA256,
            ]
        }
    }
    let watch = Arc::new(Watch::default());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(watch.clone())
        .with_no_client_auth();
    node.run(async {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector
            .connect(ServerName::try_from("localhost").unwrap(), tcp)
            .await
            .unwrap();
    });
    let der = watch.0.lock().unwrap().clone();
    Certificate::from_der(&der).unwrap()
}

fn dates(certificate: &Certificate) -> (u64, u64) {
    let validity = certificate.validity().unwrap();
    (validity.not_before_unix_s, validity.not_after_unix_s)
}

#[test]
fn members_renew_both_certificates_of_a_node_and_its_interfaces_present_them_at_once() {
    let service = service();
    let mut place = Place::of(&service.directory);
    place.config["network"]["rpc_interfaces"] = json!({
        "test": {"bind_address": "127.0.0.1:0"},
        "z_operators": {"bind_address": "127.0.0.1:0", "endorsement": {"authority": "Node"}},
    });
    let mut node = place.start();
    node.wait_for_members();
    let addresses: Value =
        serde_json::from_slice(&std::fs::read(place.directory.join("rpc_addresses.json")).unwrap()).unwrap();
    let [operators, members] = ["z_operators", "test"].map(|name| addresses[name].as_str().unwrap().to_owned());
    let own = |node: &Node<'_>| {
        let pem = node.json("/node/self_signed_certificate")["self_signed_certificate"].clone();
        Certificate::from_pem(pem.as_str().unwrap()).unwrap()
    };
    let before = own(&node);
    assert_eq!(presented(&node, &operators).der(), before.der());
    assert_eq!(dates(&presented(&node, &members)), dates(&before));
    run_scripts(&node);
    let node_id = node.state()["node_id"].as_str().unwrap().to_owned();
    run(
        &node,
        &format!(
            r#"const id = ccf.strToBuf("{node_id}");
            const info = ccf.bufToJsonCompatible(ccf.kv["public:ccf.gov.nodes.info"].get(id));
            const pem = ccf.network.generateEndorsedCertificate(info.certificate_signing_request, "20260102030405Z", 37);
            ccf.kv["public:ccf.gov.nodes.endorsed_certificates"].set(id, ccf.strToBuf(pem));"#
        ),
    );
    node.wait_for_commit();
    let expected = dates(&own(&node));
    assert_eq!(expected.1 - expected.0, 37 * DAY_S - 1);
    assert_ne!(expected, dates(&before));
    let [operators, members] = [operators, members].map(|address| presented(&node, &address));
    assert_eq!((dates(&operators), dates(&members)), (expected, expected));
    assert_eq!(operators.der(), own(&node).der());
    assert!(operators.is_signed_by(operators.key()).is_ok(), "it signed itself");
    assert_eq!(operators.key(), before.key());
    let file = std::fs::read_to_string(place.directory.join("node_cert.pem")).unwrap();
    assert_eq!(file, operators.to_pem());
    node.stop();
}

/// A P-256 key, the same for the same number.
fn key(number: u64) -> SigningKey {
    SigningKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(number))
}

fn valid_now() -> Validity {
    Validity::days(now_s() - 60, 1).unwrap()
}

fn local() -> Vec<AlternativeName> {
    vec![AlternativeName::of_host("127.0.0.1").unwrap()]
}

const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(5),
    answer: Duration::from_millis(1500),
    size: 1000,
};

#[test]
fn an_issuer_is_known_by_the_bundle_alone_and_what_it_answers_is_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ask = |issuer: &Issuer, host: &str, path: &str, bundle: &str| {
        let url = format!("https://{host}:{}{path}", issuer.port);
        runtime.block_on(get(&url, bundle, BOUNDS))
    };
    let (root_key, own_key) = (key(1), key(2));
    let root = x509::issue(
        "CN=root",
        &root_key.verifying_key(),
        None,
        &root_key,
        true,
        now_s() - 60,
        1,
        [1; 16],
    )
    .unwrap();
    let request = x509::request("CN=issuer", &local(), &own_key).unwrap();
    let request = CertificateRequest::from_pem(&request).unwrap();
    let endorsed = |validity| x509::issue_from_request(&request, &root, &root_key, validity, [2; 16]).unwrap();

    // A certificate of its own, in the bundle.
    let own = x509::issue_self_signed("CN=issuer", &local(), &own_key, valid_now(), [3; 16]).unwrap();
    let issuer = Issuer::start(&own, &own_key);
    issuer.answer("/a?b=c", 200, "{}");
    assert_eq!(ask(&issuer, "127.0.0.1", "/a?b=c", &own.to_pem()).unwrap(), "{}");
    let among_others = format!("{}{}", root.to_pem(), own.to_pem());
    assert!(ask(&issuer, "127.0.0.1", "/a?b=c", &among_others).is_ok());
    assert!(
        ask(&issuer, "127.0.0.1", "/a?b=c", &root.to_pem()).is_err(),
        "not in the bundle"
    );
    assert!(
        ask(&issuer, "localhost", "/a?b=c", &own.to_pem()).is_err(),
        "another name"
    );
    assert!(ask(&issuer, "127.0.0.1", "/a?b=c", "").is_err(), "an empty bundle");
    assert!(ask(&issuer, "127.0.0.1", "/a?b=c", "-----BEGIN CERTIFICATE-----\nx").is_err());

    // What it answers.
    issuer.answer("/moved", 302, "");
    issuer.answer("/exact", 200, &"x".repeat(1000));
    issuer.answer("/large", 200, &"x".repeat(1001));
    issuer.answer("/never", 200, "never");
    let why = |path| ask(&issuer, "127.0.0.1", path, &own.to_pem()).unwrap_err();
    assert!(why("/none").contains("404"), "{}", why("/none"));
    assert!(why("/moved").contains("302"), "{}", why("/moved"));
    assert!(ask(&issuer, "127.0.0.1", "/exact", &own.to_pem()).is_ok());
    assert!(why("/large").contains("could not be read"), "{}", why("/large"));
    let began = std::time::Instant::now();
    assert!(why("/never").contains("took longer than 1500 ms"));
    assert!(began.elapsed() < Duration::from_secs(10));
    let plain = runtime.block_on(get("http://127.0.0.1/", &own.to_pem(), BOUNDS));
    assert!(plain.unwrap_err().contains("no https URL"));

    // A certificate that one in the bundle has signed.
    let issuer = Issuer::start(&endorsed(valid_now()), &own_key);
    issuer.answer("/", 200, "{}");
    assert!(ask(&issuer, "127.0.0.1", "/", &root.to_pem()).is_ok());
    assert!(ask(&issuer, "localhost", "/", &root.to_pem()).is_err());
    assert!(ask(&issuer, "127.0.0.1", "/", &own.to_pem()).is_err());
    // One that is over, both ways.
    let past = Validity::days(now_s() - 10 * DAY_S, 1).unwrap();
    let issuer = Issuer::start(&endorsed(past), &own_key);
    assert!(ask(&issuer, "127.0.0.1", "/", &root.to_pem()).is_err());
    let old = x509::issue_self_signed("CN=issuer", &local(), &own_key, past, [4; 16]).unwrap();
    let issuer = Issuer::start(&old, &own_key);
    issuer.answer("/", 200, "{}");
    assert!(ask(&issuer, "127.0.0.1", "/", &old.to_pem()).is_err());

    // Without alternative names the common name counts, as for OpenSSL.
    for (issued_by, bundle) in [(Some(&root), &root), (None, &root)] {
        let signer = if issued_by.is_some() { &root_key } else { &own_key };
        let named = x509::issue(
            "CN=localhost",
            &own_key.verifying_key(),
            issued_by,
            signer,
            false,
            now_s() - 60,
            1,
            [5; 16],
        );
        let named = named.unwrap();
        let bundle = if issued_by.is_some() {
            bundle.to_pem()
        } else {
            named.to_pem()
        };
        let issuer = Issuer::start(&named, &own_key);
        issuer.answer("/", 200, "{}");
        ask(&issuer, "localhost", "/", &bundle).unwrap();
        assert!(ask(&issuer, "127.0.0.1", "/", &bundle).is_err());
    }
}

fn set(table: &str, key: &str, value: &Value) -> String {
    format!(r#"ccf.kv["public:ccf.gov.{table}"].set(ccf.strToBuf("{key}"), ccf.jsonCompatibleToBuf({value}));"#)
}

fn key_set(kids: &[&str]) -> String {
    let modulus = format!("{}AQ", "_".repeat(340));
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| json!({"kid": kid, "kty": "RSA", "n": modulus, "e": "AQAB"}))
        .collect();
    json!({"keys": keys}).to_string()
}

#[test]
fn keys_of_token_issuers_are_fetched_at_once_and_again_and_again() {
    const DISCOVERY: &str = "/tenant/.well-known/openid-configuration";
    let service = service();
    let mut place = Place::of(&service.directory);
    place.config["jwt"] = json!({"key_refresh_interval": "300ms"});
    let own_key = key(2);
    let certificate = x509::issue_self_signed("CN=issuer", &local(), &own_key, valid_now(), [3; 16]).unwrap();
    let issuer = Issuer::start(&certificate, &own_key);
    let name = format!("https://127.0.0.1:{}/tenant", issuer.port);
    let metadata = json!({"issuer": name, "jwks_uri": format!("https://127.0.0.1:{}/keys", issuer.port)});
    issuer.answer(DISCOVERY, 200, &metadata.to_string());
    issuer.answer("/keys", 200, &key_set(&["one", "two"]));

    let mut node = place.start();
    node.open();
    let metrics = |node: &Node<'_>| {
        let counts = node.json("/node/jwt_keys/refresh/metrics");
        let count = |name: &str| counts[name].as_u64().unwrap();
        assert_eq!(count("attempts"), count("successes") + count("failures"), "{counts}");
        (count("successes"), count("failures"))
    };
    assert_eq!(metrics(&node), (0, 0));
    run_scripts(&node);
    let bundle = set("tls.ca_cert_bundles", "b", &json!(certificate.to_pem()));
    let refreshed = json!({"auto_refresh": true, "ca_cert_bundle_name": "b"});
    run(&node, &format!("{bundle}{}", set("jwt.issuers", &name, &refreshed)));
    let keys = |node: &Node<'_>| {
        let answer: Value = node.json("/gov/service/jwk?api-version=2024-07-01");
        answer["keys"].as_object().unwrap().clone()
    };
    node.wait_until("the keys are there", |node| (keys(node).len() == 2).then_some(()));
    assert_eq!(keys(&node)["one"][0]["issuer"], json!(name));
    assert_eq!(keys(&node)["one"][0]["constraint"], json!(name), "of the metadata");

    // Again and again, and nothing is written where nothing has changed.
    let (successes, _) = metrics(&node);
    node.wait_for_commit();
    let written = node.json("/node/commit");
    node.wait_until("it is asked again", |node| {
        (metrics(node).0 > successes + 2).then_some(())
    });
    assert_eq!(node.json("/node/commit"), written);
    // Other keys take their place.
    issuer.answer("/keys", 200, &key_set(&["two", "three"]));
    node.wait_until("other keys are there", |node| {
        keys(node).contains_key("three").then_some(())
    });
    assert!(!keys(&node).contains_key("one"));

    // What goes wrong is counted, and changes nothing.
    let (_, failures) = metrics(&node);
    for (path, status, body) in [
        ("/keys", 500, ""),
        ("/keys", 200, "nonsense"),
        ("/keys", 200, r#"{"keys": []}"#),
        (DISCOVERY, 200, "{}"),
        (DISCOVERY, 404, ""),
    ] {
        issuer.answer(path, status, body);
        let (_, before) = metrics(&node);
        node.wait_until("a failure is counted", |node| {
            (metrics(node).1 > before + 1).then_some(())
        });
    }
    // One that was on its way when they were counted first, and succeeded, was counted as a failure then.
    assert!(metrics(&node).1 >= failures + 9);
    assert_eq!(keys(&node).len(), 2);
    // Who is no longer to be asked is not.
    run(&node, &set("jwt.issuers", &name, &json!({"auto_refresh": false})));
    node.wait_for_commit();
    std::thread::sleep(Duration::from_millis(400));
    let asked = issuer.asked().len();
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(issuer.asked().len(), asked);
    node.stop();
}

/// Status, code and message of an error.
fn error(answer: &rekindle::member::client::Answer) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), text("code"), text("message"))
}

#[test]
fn endpoints_statuses_and_words_are_those_of_ccf() {
    let service = service();
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.open();
    node.wait_for_commit();
    let version = "api-version=2024-07-01";
    let ask = |method: Method, path: &str| {
        node.run(
            node.anyone()
                .request(method, path, bytes::Bytes::new(), Some("application/json")),
        )
        .unwrap()
    };

    // A request that nobody signed is told that before anything else.
    for path in [
        "/gov/members/proposals:create",
        "/gov/members/state-digests/x:ack",
        "/gov/recovery/members/x:recover",
    ] {
        for query in ["", "?api-version=2024-07-01", "?api-version=never"] {
            let answer = ask(Method::POST, &format!("{path}{query}"));
            assert_eq!(answer.status, 401, "{path}{query}");
            assert_eq!(
                answer.headers["www-authenticate"],
                "COSE-SIGN1 realm=\"Signed request access\""
            );
        }
    }
    // What nodes ask of each other.
    let refused = (
        403,
        "InternalError".to_owned(),
        "Node is not in initial state.".to_owned(),
    );
    assert_eq!(error(&ask(Method::POST, "/node/create")), refused);
    for path in ["/node/create", "/node/join"] {
        let answer = ask(Method::GET, path);
        assert_eq!(
            (answer.status.as_u16(), answer.headers["allow"].to_str().unwrap()),
            (405, "OPTIONS, POST")
        );
    }
    assert_eq!(error(&ask(Method::POST, "/node/join")).1, "InvalidInput");
    let answer = ask(Method::POST, "/node/jwt_keys/refresh");
    assert_eq!(error(&answer).0, 401);
    assert!(!answer.headers.contains_key("www-authenticate"));
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["error"]["details"][0]["auth_policy"], "node_cert");
    assert_eq!(said["error"]["details"][0]["message"], "No caller node certificate");

    // Governance has the common endpoints too.
    let commit = node.json("/gov/commit");
    assert_eq!(commit["transaction_id"], node.json("/node/commit")["transaction_id"]);
    let last = commit["transaction_id"].as_str().unwrap();
    assert_eq!(
        node.json(&format!("/gov/tx?transaction_id={last}"))["status"],
        "Committed"
    );
    assert!(
        node.get(&format!("/gov/receipt?transaction_id={last}"))
            .status
            .is_success()
    );

    // The history of views, from one on.
    let all = node.json("/node/commit?view_history=true")["view_history"]
        .as_array()
        .unwrap()
        .clone();
    let views = all.len();
    assert!(views > 2);
    let since = |since: usize| node.get(&format!("/node/commit?view_history_since={since}"));
    for first in 1..=views {
        let answer: Value = since(first).json().unwrap();
        assert_eq!(answer["view_history"], json!(all[first - 1..]), "{first}");
    }
    assert_eq!(since(views + 1).status, 404);
    assert_eq!(since(99).status, 404);
    assert_eq!(since(0).status, 400);
    assert_eq!(node.json("/node/commit").get("view_history"), None);
    let both = node.json("/node/commit?view_history=true&view_history_since=99");
    assert_eq!(both["view_history"], json!(all));

    // A committed seqno is of one view, and of no other.
    let (view, seqno) = last.split_once('.').unwrap();
    let view: u64 = view.parse().unwrap();
    for (txid, status) in [
        (format!("{view}.1"), "Invalid"),
        ("99.1".to_owned(), "Invalid"),
        (format!("99.{seqno}"), "Invalid"),
        ("1.999999".to_owned(), "Invalid"),
        (format!("{view}.999999"), "Unknown"),
        ("99.999999".to_owned(), "Unknown"),
        ("99.0".to_owned(), "Unknown"),
    ] {
        assert_eq!(
            node.json(&format!("/node/tx?transaction_id={txid}"))["status"],
            status,
            "{txid}"
        );
        let answer = node.json(&format!("/gov/service/transactions/{txid}?{version}"));
        assert_eq!(answer["status"], status, "{txid}");
    }

    // Ids in messages say whose they are.
    let nobody = "0".repeat(64);
    for (path, message) in [
        (
            format!("/gov/service/members/{nobody}"),
            format!("Member m[{nobody}] does not exist."),
        ),
        (
            format!("/gov/service/users/{nobody}"),
            format!("User u[{nobody}] does not exist."),
        ),
        (
            format!("/gov/service/nodes/{nobody}"),
            format!("Node n[{nobody}] does not exist."),
        ),
        (
            format!("/gov/recovery/encrypted-shares/{nobody}"),
            format!("Recovery share not found for member m[{nobody}]."),
        ),
        (
            format!("/gov/members/state-digests/{nobody}"),
            format!("No ACK record exists for member m[{nobody}]."),
        ),
    ] {
        let expected = (404, "ResourceNotFound".to_owned(), message);
        assert_eq!(error(&node.get(&format!("{path}?{version}"))), expected);
    }

    // The nodes of the service before were never this one's to remove.
    assert_eq!(node.json("/node/network/removable_nodes"), json!({"nodes": []}));
    let nodes = node.json("/node/network/nodes")["nodes"].as_array().unwrap().clone();
    let retired: Vec<&Value> = nodes.iter().filter(|node| node["status"] == "Retired").collect();
    assert!(!retired.is_empty(), "{nodes:?}");
    let old = retired[0]["node_id"].as_str().unwrap();
    let answer = ask(Method::DELETE, &format!("/node/network/nodes/{old}"));
    assert_eq!(error(&answer).1, "NodeNotRetiredCommitted");
    node.stop();
}

#[test]
fn what_a_constitution_does_when_it_is_loaded_is_accepted_and_what_it_throws_is_no_warning() {
    let service = service();
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for_members();
    let voters = node.voters();
    for first in [
        "console.info('hello from it');",
        "ccf.strToBuf('x');",
        "throw new Error('not yet');",
    ] {
        node.act(
            "set_constitution",
            json!({"constitution": format!("{first}\n{RUNNING}")}),
        );
        run(&node, "console.info('it runs')");
    }
    let propose = |keys: &Keys, script: &str| {
        let proposal = json!({"actions": [{"name": "run", "args": {"script": script}}]});
        node.run(Session::new(node.client(), &keys.member).propose(proposal.to_string().as_bytes()))
    };
    // A module that does not compile, a proposal that throws: 500, and a line for whoever looks for it.
    let module = r#"ccf.kv["public:ccf.gov.modules"].set(ccf.strToBuf("/x.js"), ccf.strToBuf("import './none.js'"));"#;
    let refused = propose(&voters[0], &format!("{module} ccf.refreshAppBytecodeCache()")).unwrap_err();
    let wanted = "Failed to refresh bytecode: Unable to serialize bytecode for JS module '/x.js'";
    assert!(format!("{refused:?}").contains(wanted), "{refused:?}");
    propose(&voters[0], "throw new Error('as it likes')").unwrap_err();
    propose(&voters[0], "ccf.node.triggerACMERefresh()").unwrap();
    let log = node.log();
    let thrown: Vec<&str> = log.lines().filter(|line| line.contains("as it likes")).collect();
    assert!(!thrown.is_empty(), "{log}");
    assert!(thrown.iter().all(|line| line.contains("INFO")), "{thrown:?}");
    assert!(
        !log.contains("WARN") || !log.lines().any(|line| line.contains("WARN") && line.contains("thrown")),
        "{log}"
    );
    node.stop();
}
