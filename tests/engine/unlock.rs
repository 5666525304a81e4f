//! `rekindle unlock`: would these keys or shares open it, and all of it?

use std::path::{Path, PathBuf};

use crate::support::{self, REAL_SERVICES, Service, assert_fields, codes, expected, ledgers};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rekindle::crypto::rsa::DecryptionKey;
use rekindle::crypto::shares::{Share, combine};
use serde_json::Value;

fn assert_complete(report: &Value, name: &str) {
    assert_eq!(report["verdict"], "ok", "{name}: {report}");
    assert_eq!(report["private_decrypted"], report["private_domains"], "{name}");
    assert_eq!(report["evidence_ok"], report["evidence_checked"], "{name}");
    assert_eq!(report["findings"], Value::Array(Vec::new()), "{name}");
}

#[test]
fn every_real_ledger_opens_completely() {
    let Some(ledgers) = ledgers() else { return };
    let expected = expected(&ledgers);
    for name in REAL_SERVICES {
        let service = Service::at(ledgers.join(name));
        let report = service.with_keys("unlock", &["--json"]).expect(0).json();
        assert_complete(&report, name);
        assert_eq!(
            report["entries"],
            expected[&format!("{name}/ledger")]["entries"],
            "{name}"
        );
        assert_eq!(
            report["evidence_checked"], report["entries"],
            "{name}: every entry has commit evidence"
        );
    }
    let three = Service::at(ledgers.join("real_three_nodes"));
    for node in ["node0", "node1", "node2"] {
        let keys: Vec<_> = three.keys();
        let mut arguments = vec![
            "unlock".into(),
            three.directory.join(node).into_os_string(),
            "--json".into(),
            "--member-key".into(),
        ];
        arguments.extend(keys.into_iter().map(PathBuf::into_os_string));
        let report = support::Run::of(&arguments).expect(0).json();
        assert_complete(&report, node);
        assert!(report["private_domains"].as_u64() > Some(0), "{node}");
    }
}

#[test]
fn the_document_has_exactly_the_promised_fields() {
    let service = Service::made(&["--entries", "20", "--rekey-every", "10", "--snapshot-every", "10"]);
    let report = service.with_keys("unlock", &["--json"]).expect(0).json();
    let of_report = [
        "verdict",
        "generation_seqno",
        "threshold",
        "shares",
        "secrets",
        "entries",
        "private_domains",
        "private_decrypted",
        "evidence_checked",
        "evidence_ok",
        "snapshots",
        "findings",
        "elapsed_s",
        "entries_per_s",
        "bytes_per_s",
    ];
    assert_fields(&report, &of_report);
    assert_fields(&report["shares"][0], &["member", "format", "used", "verdict"]);
    assert_fields(&report["secrets"][0], &["from_seqno", "recovered_at_seqno"]);
}

#[test]
fn snapshots_are_opened_too() {
    let Some(ledgers) = ledgers() else { return };
    for (name, count) in [("expired_service", 1), ("real_small", 2)] {
        let service = Service::at(ledgers.join(name));
        let report = service
            .with_keys(
                "unlock",
                &["--json", "--snapshots", service.snapshots().to_str().unwrap()],
            )
            .expect(0)
            .json();
        let verdicts: Vec<_> = report["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|snapshot| &snapshot["verdict"])
            .collect();
        assert_eq!(verdicts, vec!["ok"; count], "{name}");
    }
}

#[test]
fn an_earlier_generation_opens_with_the_shares_of_its_time() {
    let Some(ledgers) = ledgers() else { return };
    let expired = Service::at(ledgers.join("expired_service"));
    let report = expired.with_keys("unlock", &["--at", "28", "--json"]).expect(0).json();
    assert_complete(&report, "expired_service at 28");
    assert_eq!(report["entries"], 28);
    assert_eq!(report["generation_seqno"], 17);
    assert!(
        report["shares"]
            .as_array()
            .unwrap()
            .iter()
            .all(|share| share["format"] == "old")
    );

    let small = Service::at(ledgers.join("real_small"));
    for (at, generation) in [("100", 12), ("280", 191), ("300", 283), ("578", 498)] {
        let report = small.with_keys("unlock", &["--at", at, "--json"]).expect(0).json();
        assert_complete(&report, at);
        assert_eq!(report["entries"].to_string(), at);
        assert_eq!(report["generation_seqno"], generation, "at {at}");
    }
}

#[test]
fn an_owner_opens_it_alone_and_so_do_enough_participants() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_owner"));
    let report = rekindle!["unlock", service.ledger(), "--member-key", service.key(3), "--json"]
        .expect(0)
        .json();
    assert_complete(&report, "owner");
    assert_eq!(report["shares"][0]["format"], "owner");
    assert_eq!(report["shares"][0]["used"], true);

    let report = rekindle![
        "unlock",
        service.ledger(),
        "--member-key",
        service.key(0),
        service.key(1),
        "--json"
    ];
    let report = report.expect(0).json();
    assert_complete(&report, "participants");
    assert!(
        report["shares"]
            .as_array()
            .unwrap()
            .iter()
            .all(|share| share["format"] == "new" && share["used"] == true)
    );

    let report = rekindle!["unlock", service.ledger(), "--member-key", service.key(0), "--json"]
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L0705"]);
    assert!(
        report["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("1 of the 2 shares"),
        "{report}"
    );
    assert_eq!(report["private_decrypted"], 0);
}

#[test]
fn too_few_shares_say_how_many_are_missing() {
    let service = Service::made(&["--entries", "10", "--members", "5", "--threshold", "4"]);
    let report = rekindle![
        "unlock",
        service.ledger(),
        "--member-key",
        service.key(1),
        service.key(2),
        "--json"
    ];
    let report = report.expect(1).json();
    assert_eq!(report["verdict"], "findings");
    assert_eq!(report["threshold"], 4);
    assert_eq!(codes(&report), ["L0705"]);
    let message = report["findings"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("2 of the 4 shares") && message.contains("2 more"),
        "{message}"
    );
}

#[test]
fn the_same_key_twice_is_one_share() {
    let service = Service::made(&["--entries", "10"]);
    let report = rekindle![
        "unlock",
        service.ledger(),
        "--member-key",
        service.key(0),
        service.key(0),
        "--json"
    ];
    assert_eq!(codes(&report.expect(1).json()), ["L0705"]);
}

#[test]
fn a_key_of_another_service_is_named_and_does_not_disturb() {
    let service = Service::made(&["--entries", "10"]);
    let other = Service::made(&["--entries", "10", "--seed", "2"]);
    let stranger = other.key(0);
    let run = rekindle![
        "unlock",
        service.ledger(),
        "--json",
        "--member-key",
        &stranger,
        service.key(0),
        service.key(1)
    ];
    let report = run.expect(0).json();
    let share = &report["shares"][0];
    assert_eq!(share["member"].as_str(), stranger.to_str());
    assert_eq!((&share["format"], &share["used"]), (&Value::Null, &false.into()));
    assert!(
        share["verdict"].as_str().unwrap().contains("no member of this service"),
        "{share}"
    );
    let run = rekindle![
        "unlock",
        service.ledger(),
        "--json",
        "--member-key",
        &stranger,
        service.key(0)
    ];
    assert_eq!(codes(&run.expect(1).json()), ["L0705"], "and does not count");
}

/// Every generation of shares in a ledger: its seqno, the wrapped secret, and what each member's key decrypts.
fn generations(service: &Service) -> Vec<(u64, Vec<u8>, Vec<Share>)> {
    let keys: Vec<DecryptionKey> = service
        .keys()
        .iter()
        .map(|path| DecryptionKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    service
        .export(
            false,
            &["--history", "--table", "^public:ccf.internal.recovery_shares$"],
        )
        .iter()
        .map(|line| {
            let value: Value = serde_json::from_str(line["value"].as_str().unwrap()).unwrap();
            let encrypted: Vec<Vec<u8>> = value["encrypted_shares"]
                .as_object()
                .unwrap()
                .values()
                .map(decode)
                .collect();
            // Whose share is whose does not matter here: every key opens exactly one.
            let opened = keys
                .iter()
                .map(|key| encrypted.iter().find_map(|share| key.decrypt(share).ok()).unwrap());
            let shares = opened.map(|share| Share::parse(&share).unwrap()).collect();
            (
                line["seqno"].as_u64().unwrap(),
                decode(&value["wrapped_latest_ledger_secret"]),
                shares,
            )
        })
        .collect()
}

fn write_share(directory: &Path, name: &str, share: &Share) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, share.to_bytes()).unwrap();
    path
}

/// Files with the shares of all members, as the ledger has them last.
pub fn latest_shares(service: &Service, directory: &Path) -> Vec<PathBuf> {
    let (_, _, shares) = generations(service).pop().unwrap();
    let numbered = shares.iter().enumerate();
    numbered
        .map(|(number, share)| write_share(directory, &format!("share{number}"), share))
        .collect()
}

#[test]
fn decrypted_shares_do_as_well_as_keys_raw_or_in_base64() {
    let service = Service::made(&["--entries", "10"]);
    let scratch = tempfile::tempdir().unwrap();
    let (seqno, _, shares) = generations(&service).pop().unwrap();
    let raw = write_share(scratch.path(), "raw", &shares[0]);
    let text = scratch.path().join("text");
    std::fs::write(&text, format!("{}\n", STANDARD.encode(shares[2].to_bytes()))).unwrap();
    let report = rekindle!["unlock", service.ledger(), "--share", &raw, &text, "--json"]
        .expect(0)
        .json();
    assert_complete(&report, "shares");
    assert_eq!(report["generation_seqno"], seqno);
}

#[test]
fn a_stale_share_among_enough_good_ones_is_named() {
    let service = Service::made(&[
        "--entries",
        "60",
        "--members",
        "4",
        "--threshold",
        "2",
        "--reshare-every",
        "20",
        "--rekey-every",
        "25",
    ]);
    let generations = generations(&service);
    assert!(generations.len() > 3, "opening, refreshes and rekeys");
    let scratch = tempfile::tempdir().unwrap();
    let (_, _, latest) = generations.last().unwrap();
    let good: Vec<PathBuf> = (0..3)
        .map(|i| write_share(scratch.path(), &format!("good{i}"), &latest[i]))
        .collect();
    for (seqno, _, shares) in &generations[..generations.len() - 1] {
        let stale = write_share(scratch.path(), "stale", &shares[3]);
        let report = rekindle![
            "unlock",
            service.ledger(),
            "--json",
            "--share",
            &stale,
            &good[0],
            &good[1],
            &good[2]
        ];
        let report = report.expect(1).json();
        assert_eq!(codes(&report), ["L0704"], "a share of seqno {seqno}");
        let share = &report["shares"][0];
        assert_eq!(
            (share["member"].as_str(), &share["verdict"]),
            (stale.to_str(), &"wrong".into())
        );
        assert!(report["findings"][0]["message"].as_str().unwrap().contains("stale"));
        assert_eq!(
            report["private_decrypted"], report["private_domains"],
            "the good ones open it all the same"
        );
    }
}

#[test]
fn shares_from_before_the_last_refresh_open_nothing_and_it_says_so() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_small"));
    let generations = generations(&service);
    let scratch = tempfile::tempdir().unwrap();
    for (i, (seqno, _, shares)) in generations.iter().enumerate() {
        let files: Vec<_> = (0..3)
            .map(|n| write_share(scratch.path(), &format!("share{n}"), &shares[n]))
            .collect();
        let last = i + 1 == generations.len();
        let run = rekindle![
            "unlock",
            service.ledger(),
            "--json",
            "--share",
            &files[0],
            &files[1],
            &files[2]
        ];
        let report = run.expect(if last { 0 } else { 1 }).json();
        assert_eq!(report["generation_seqno"], 498);
        if !last {
            assert_eq!(codes(&report), ["L0705"], "shares of seqno {seqno}");
            assert!(
                report["findings"][0]["message"]
                    .as_str()
                    .unwrap()
                    .contains("before the last refresh")
            );
            // But they open the ledger as it was in their time.
            let run = rekindle![
                "unlock",
                service.ledger(),
                "--at",
                seqno.to_string(),
                "--share",
                &files[0],
                &files[1],
                &files[2]
            ];
            run.expect(0);
        }
    }
}

#[test]
fn keys_of_the_wrong_kind_are_told_from_the_right_one() {
    let service = Service::made(&["--entries", "10"]);
    let not_pem = service.directory.join("expected.json");
    let wrong = [
        service.common("member0_privk.pem"),
        service.common("member0_cert.pem"),
        service.common("member0_enc_pubk.pem"),
        service.common("service_cert.pem"),
        not_pem.clone(),
    ];
    for file in &wrong {
        let run = rekindle!["unlock", service.ledger(), "--member-key", file];
        run.expect_sentence(2, &[file.to_str().unwrap(), "share-encryption key", "RSA private key"]);
    }
    let missing = service.common("nobody.pem");
    rekindle!["unlock", service.ledger(), "--member-key", &missing].expect_sentence(3, &[missing.to_str().unwrap()]);
    for file in [&not_pem, &wrong[0]] {
        let run = rekindle!["unlock", service.ledger(), "--share", file];
        run.expect_sentence(
            2,
            &[file.to_str().unwrap(), "not a decrypted recovery share", "44 bytes"],
        );
    }
    rekindle!["unlock", service.ledger()].expect_sentence(2, &["--member-key", "--share"]);
}

#[test]
fn a_ledger_that_was_never_opened_has_no_shares_and_says_so() {
    let service = Service::made(&["--entries", "10"]);
    let report = service.with_keys("unlock", &["--at", "1", "--json"]).expect(1).json();
    assert_eq!(codes(&report), ["L0705"]);
    assert!(
        report["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("no recovery shares"),
        "{report}"
    );
}

#[test]
fn secrets_are_never_printed() {
    let service = Service::made(&[
        "--entries",
        "30",
        "--rekey-every",
        "10",
        "--members",
        "3",
        "--threshold",
        "2",
    ]);
    let generations = generations(&service);
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    for (_, wrapped, shares) in &generations {
        secrets.extend(shares.iter().map(|share| share.to_bytes().to_vec()));
        let chosen: Vec<&Share> = shares.iter().take(2).collect();
        secrets.push(
            combine(&chosen, 2)
                .unwrap()
                .unwrap_secret(wrapped)
                .unwrap()
                .as_bytes()
                .to_vec(),
        );
    }
    assert!(secrets.len() >= 4 * 2);
    let scratch = tempfile::tempdir().unwrap();
    let (_, _, latest) = generations.last().unwrap();
    let shares = [0, 1].map(|i| write_share(scratch.path(), &i.to_string(), &latest[i]));
    let stale = write_share(scratch.path(), "stale", &generations[0].2[2]);
    let runs = [
        service.with_keys("unlock", &[]),
        service.with_keys("unlock", &["--json"]),
        service.with_keys("export", &["--history", "-o", "-"]),
        service.with_keys("inspect", &["--seqno", "1..30", "--full"]),
        rekindle!["unlock", service.ledger(), "--share", &shares[0], &shares[1], &stale],
        rekindle!["unlock", service.ledger(), "--json", "--share", &stale],
        rekindle!["unlock", service.ledger(), "--json", "--share", &stale, &shares[0]],
    ];
    let contains = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|window| window == needle);
    for (i, run) in runs.iter().enumerate() {
        for secret in &secrets {
            // The first bytes of a share are its index; what is secret lies in the middle.
            let core = &secret[secret.len() / 4..secret.len() * 3 / 4];
            let encoded = STANDARD.encode(secret);
            let hex = hex::encode(core);
            for form in [
                core,
                hex.as_bytes(),
                hex.to_uppercase().as_bytes(),
                &encoded.as_bytes()[8..encoded.len() - 8],
            ] {
                assert!(
                    !contains(&run.stdout, form) && !contains(run.stderr.as_bytes(), form),
                    "run {i} shows a secret"
                );
            }
        }
    }
}
