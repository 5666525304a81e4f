//! A node's own evidence, with a device that answers with the made vectors of ../shared/attestations, signed about the node's
//! key with the made chip's key. Found beside the checkout, or through REKINDLE_CCF_ATTESTATIONS.
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rekindle::attestation::{Anchors, Attestation, Evidence, OwnEvidence, Platform, Product, TestRoot};
use rekindle::crypto::x509::{any_certificate_spki, der_blocks};
use rekindle::crypto::{Curve, SigningKey, VerifyingKey, sha256};
use rekindle::node::config::Config;
use rekindle::node::evidence::{Patience, ReportSource, Snp};
use serde_json::{Value, json};

/// October 2026, when the made certificates are valid.
const IN_2026: u64 = 1_790_812_800;

/// The folder of vectors, or the end of the test with a message.
macro_rules! vectors {
    () => {{
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/attestations");
        let root = std::env::var_os("REKINDLE_CCF_ATTESTATIONS").map_or_else(beside, PathBuf::from);
        if !root.join("expected.json").exists() {
            let required = std::env::var_os("REKINDLE_REQUIRE_CCF_LEDGERS").is_some_and(|value| value == "1");
            assert!(!required, "REKINDLE_REQUIRE_CCF_LEDGERS=1, but there are no vectors");
            eprintln!("skipped: no attestation vectors in {}", root.display());
            return;
        }
        root
    }};
}

/// A device that answers with a vector, about what it is asked about.
struct MadeDevice {
    report: Vec<u8>,
    key: SigningKey,
}

impl MadeDevice {
    fn new(root: &Path, report: &str) -> MadeDevice {
        let made = root.join("made/milan");
        MadeDevice {
            report: std::fs::read(made.join(report)).unwrap(),
            key: SigningKey::from_pkcs8_pem(&std::fs::read_to_string(made.join("vcek_key.pem")).unwrap()).unwrap(),
        }
    }
}

impl ReportSource for MadeDevice {
    fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, String> {
        let mut report = self.report.clone();
        report[0x50..0x90].copy_from_slice(report_data);
        report[0x2a0..].fill(0);
        let signature = self.key.sign_fixed(&report[..0x2a0]);
        for (at, number) in [(0x2a0, &signature[..48]), (0x2e8, &signature[48..])] {
            let little: Vec<u8> = number.iter().rev().copied().collect();
            report[at..at + 48].copy_from_slice(&little);
        }
        Ok(report)
    }
}

fn anchors(endorsements: &str) -> Anchors {
    let root = der_blocks(endorsements, &["CERTIFICATE"], 3).remove(2).unwrap();
    Anchors::built_in().and_for_tests(TestRoot {
        product: Some(Product::Milan),
        spki_sha256: sha256(any_certificate_spki(&root).unwrap()),
    })
}

fn node_key() -> VerifyingKey {
    SigningKey::generate(Curve::P384, &mut ChaCha20Rng::seed_from_u64(4)).verifying_key()
}

/// What a node of this configuration brings whose device answers with this vector.
fn attest(root: &Path, report: &str, anchors: Anchors, attestation: Value) -> Result<OwnEvidence, String> {
    let config = json!({
        "network": {
            "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
            "rpc_interfaces": {"test": {"bind_address": "127.0.0.1:0"}},
        },
        "command": {"type": "Recover", "service_certificate_file": "service_cert.pem", "recover": {}},
        "attestation": attestation,
    });
    let config = Config::parse(&config.to_string()).unwrap().config;
    let platform = Snp {
        device: MadeDevice::new(root, report),
        settings: config.attestation,
        anchors,
        patience: Patience::default(),
        clock: || IN_2026,
    };
    assert_eq!(platform.platform(), Platform::Snp);
    platform.attest(&node_key())
}

fn base64_file(directory: &Path, content: &str) -> PathBuf {
    let path = directory.join("endorsements");
    std::fs::write(&path, STANDARD.encode(content)).unwrap();
    path
}

#[test]
fn a_made_chip_vouches_for_a_node_where_its_root_is_believed_and_nowhere_else() {
    let root = vectors!();
    let scratch = tempfile::tempdir().unwrap();
    let pem = std::fs::read_to_string(root.join("made/milan/endorsements.pem")).unwrap();
    let settings = json!({"snp_endorsements_file": base64_file(scratch.path(), &pem)});
    let evidence = attest(&root, "ok.bin", anchors(&pem), settings.clone()).unwrap();
    let info = Evidence::from_quote_info(evidence.info().to_string().as_bytes()).unwrap();
    assert_eq!(info.platform(), Platform::Snp);
    assert_eq!(info.quote[0x50..0x70], node_key().id());
    assert_eq!(
        der_blocks(&String::from_utf8(info.endorsements).unwrap(), &["CERTIFICATE"], 3).len(),
        3
    );
    let why = attest(&root, "ok.bin", Anchors::built_in(), settings).unwrap_err();
    assert!(why.contains("root_key: "), "{why}");
}

#[test]
fn every_made_guest_is_judged_before_it_is_anybodys_node() {
    let root = vectors!();
    let expected: Value = serde_json::from_slice(&std::fs::read(root.join("expected.json")).unwrap()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let pem = std::fs::read_to_string(root.join("made/milan/endorsements.pem")).unwrap();
    let settings = json!({"snp_endorsements_file": base64_file(scratch.path(), &pem)});
    let cases = expected["made"]["milan"]["cases"].as_object().unwrap();
    assert!(cases.len() > 5);
    for (name, case) in cases {
        let Some(report) = case["report"].as_str().and_then(|path| path.rsplit('/').next()) else {
            panic!("{name}: {case}");
        };
        if case
            .get("endorsements")
            .and_then(Value::as_str)
            .is_some_and(|path| path.contains("forged"))
        {
            continue;
        }
        let judged = attest(&root, report, anchors(&pem), settings.clone());
        // Real hardware can't report more than is certified: whoever joins with it is refused, and so is this.
        let holds = case["verify"] == "ok" && name != "tcb_higher";
        assert_eq!(judged.is_ok(), holds, "{name}: {judged:?}");
    }
}

#[test]
fn an_authority_that_the_root_never_signed_is_of_no_use() {
    let root = vectors!();
    let scratch = tempfile::tempdir().unwrap();
    let forged = std::fs::read_to_string(root.join("made/milan/forged_ask.pem")).unwrap();
    let settings = json!({"snp_endorsements_file": base64_file(scratch.path(), &forged)});
    let why = attest(&root, "ok.bin", Anchors::built_in(), settings).unwrap_err();
    assert!(why.contains("chain: "), "{why}");
}

/// A node of a made chip that has begun a service on a made ledger, and what it answers.
mod founded {
    use std::sync::Arc;
    use std::time::Duration;

    use rekindle::attestation::{Given, Time, Verifier};
    use rekindle::fixture::snp::{CPUID, Guest, MEASUREMENT, Maker, SECURITY_POLICY};
    use rekindle::fixture::{Options, generate};
    use rekindle::net::exchange::{Asked, Bounds, exchange};
    use rekindle::net::tls::{Anybody, client_config};
    use rekindle::node::description::node_name;
    use rekindle::node::found::{Founding, found, show_state};
    use rekindle::node::healing::Beginning;
    use rekindle::node::opening::InterruptedOpening;
    use rekindle::node::public::{list, recover_public};
    use rekindle::node::serve::serve;
    use rekindle::node::shared::Node;
    use rekindle::report::progress::Silent;
    use rekindle::service::create::SealingPlan;
    use rekindle::service::identity::{NodeIdentity, ServiceIdentity, ServiceName};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    async fn ask(node: &Node, path: &str) -> Value {
        let address = node.published.get("test").unwrap();
        let asked = Asked {
            host: "127.0.0.1",
            port: address.rsplit_once(':').unwrap().1.parse().unwrap(),
            authority: None,
            tls: Some(client_config(Anybody).unwrap()),
            path,
            accept: "application/json",
            headers: &[],
        };
        let patience = Duration::from_secs(30);
        let bounds = Bounds {
            connect: patience,
            answer: patience,
            size: 1 << 20,
        };
        let answered = exchange(&asked, bounds).await.unwrap();
        assert_eq!(answered.status, 200, "{path}");
        serde_json::from_slice(&answered.body).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_begun_on_snp_says_what_its_node_runs_and_who_may_join_it() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let options = Options {
            entries: 20,
            members: 1,
            threshold: 1,
            curve: Curve::P256,
            ..Options::default()
        };
        generate(&options, &at("service"), &Silent).unwrap();
        let config = json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {"test": {"bind_address": "127.0.0.1:0"}},
            },
            "command": {"type": "Recover", "service_certificate_file": at("service_cert.pem"), "recover": {}},
            "ledger": {"directory": at("service/ledger")},
            "snapshots": {"directory": at("service/snapshots")},
            "output_files": {
                "node_certificate_file": at("node_cert.pem"),
                "pid_file": at("node.pid"),
                "rpc_addresses_file": at("rpc_addresses.json"),
                "node_to_node_address_file": at("node_address.json"),
            },
        });
        let config = Config::parse(&config.to_string()).unwrap().config;
        let identity = NodeIdentity::generate(node_name(&config).unwrap()).unwrap();
        let mut maker = Maker::new(1);
        let chip = maker.chip();
        let key = identity.key.verifying_key();
        let given = Given {
            report: chip.report(&Guest::of(&key.id())),
            uvm_endorsements: None,
            security_policy: Some(SECURITY_POLICY.to_owned()),
        };
        let verifier = Verifier::new(Anchors::built_in().and_for_tests(maker.root()));
        let evidence = given
            .endorsed_by(&chip.endorsements_pem, &verifier, &key, Time::At(IN_2026))
            .unwrap();

        let (fatal, _ends) = unbounded_channel();
        let (node, _running): (Arc<Node>, _) = serve(&config, &identity, None, fatal).await.unwrap();
        let opening = InterruptedOpening::default();
        let files = list(&config, &opening).unwrap();
        let mut public = recover_public(&config, files, None, None, &node.status).unwrap();
        show_state(&node, &mut public);
        let founding = Founding {
            public,
            opening,
            evidence: evidence.into(),
            identity,
            encryption_key: "is not used here".to_owned(),
            decryption: None,
            service: ServiceIdentity::generate(Curve::P256, &ServiceName::Text("CN=service"), 10).unwrap(),
            node_data: None,
            service_data: None,
            sealing: None,
            plan: SealingPlan::default(),
            others: None,
            drops_signed: false,
            healing: Beginning::default(),
        };
        found(&node, founding).unwrap();

        let expected = json!({
            "endorsements": STANDARD.encode(&chip.endorsements_pem),
            "format": "AMD_SEV_SNP_v1",
            "measurement": hex::encode(MEASUREMENT),
            "node_id": node.id,
            "raw": STANDARD.encode(&given.report),
        });
        for name in ["quotes", "attestations"] {
            assert_eq!(ask(&node, &format!("/node/{name}/self")).await, expected);
            let all = ask(&node, &format!("/node/{name}")).await;
            assert_eq!(all, json!({name: [expected]}), "nodes of before are retired");
        }
        let policy = ask(&node, "/gov/service/join-policy?api-version=2024-07-01").await;
        let host_data = hex::encode(sha256(SECURITY_POLICY.as_bytes()));
        assert_eq!(policy["snp"]["hostData"], json!({host_data: SECURITY_POLICY}));
        assert_eq!(policy["snp"]["measurements"], json!([hex::encode(MEASUREMENT)]));
        assert_eq!(
            policy["snp"]["tcbVersions"],
            json!({CPUID: {
                "boot_loader": 4, "hexstring": "db18000000000004", "microcode": 219, "snp": 24, "tee": 0,
            }})
        );
        let path = format!("/gov/service/nodes/{}?api-version=2024-07-01", node.id);
        let own = ask(&node, &path).await;
        assert_eq!(own["quoteInfo"], json!({"format": "AMD_SEV_SNP_v1"}));
        let state = ask(&node, "/node/state").await;
        assert_eq!(state["recovery"]["findings"], json!([]));
    }
}

/// A node that is told by the environment what it is.
mod started {
    use std::process::{Command, Output};

    use super::*;

    fn start(platform: &str) -> Output {
        let scratch = tempfile::tempdir().unwrap();
        let options = rekindle::fixture::Options {
            entries: 20,
            curve: Curve::P256,
            ..rekindle::fixture::Options::default()
        };
        let service = scratch.path().join("service");
        rekindle::fixture::generate(&options, &service, &rekindle::report::progress::Silent).unwrap();
        let config = json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {"test": {"bind_address": "127.0.0.1:0"}},
            },
            "command": {"type": "Recover", "service_certificate_file": "service_cert.pem", "recover": {}},
            "ledger": {"directory": "service/ledger"},
            "snapshots": {"directory": "service/snapshots"},
        });
        std::fs::write(scratch.path().join("config.json"), config.to_string()).unwrap();
        Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .args(["node", "--config", "config.json"])
            .env("CCF_PLATFORM_OVERRIDE", platform)
            .current_dir(scratch.path())
            .output()
            .unwrap()
    }

    #[test]
    fn a_platform_that_nobody_knows_is_refused() {
        let output = start("SGX");
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("CCF_PLATFORM_OVERRIDE"), "{text}");
    }

    #[test]
    fn a_node_without_the_device_that_it_is_told_to_have_ends_with_the_reason() {
        if Path::new("/dev/sev-guest").exists() {
            eprintln!("skipped: this machine has the device");
            return;
        }
        let output = start("SNP");
        assert_eq!(output.status.code(), Some(3));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("no evidence of what it runs: /dev/sev-guest can't be opened"),
            "{text}"
        );
    }
}
