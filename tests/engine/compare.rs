//! `rekindle compare`: which copy is the best, and what would each lose?

use std::path::Path;

use crate::support::{Service, assert_fields, chunks, codes, copy_files, ledgers};
use serde_json::{Value, json};

fn named<'a>(report: &'a Value, directory: &std::path::Path) -> &'a Value {
    let copies = report["copies"].as_array().unwrap();
    copies
        .iter()
        .find(|copy| copy["directory"].as_str() == directory.to_str())
        .unwrap()
}

#[test]
fn the_copies_of_three_dead_nodes_are_ranked_with_what_each_would_lose() {
    let Some(ledgers) = ledgers() else { return };
    let [node0, node1, node2] = [0, 1, 2].map(|n| ledgers.join(format!("real_three_nodes/node{n}")));
    let report = rekindle!["compare", &node1, &node0, &node2, "--json"].expect(0).json();
    let order: Vec<_> = report["copies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|copy| copy["directory"].clone())
        .collect();
    assert_eq!(order, [json!(node0), json!(node2), json!(node1)]);
    assert_eq!(report["recommended"], json!(node0));
    assert_eq!(
        report["verdict"], "ok",
        "a copy that is shorter than another is not wrong"
    );

    let loss = |to: &std::path::Path, from_seqno: u64, to_seqno: u64| json!({"to": to, "from_seqno": from_seqno, "to_seqno": to_seqno});
    let expected = [
        (&node0, "2.764", 1, json!([])),
        (&node2, "2.563", 2, json!([loss(&node0, 564, 764)])),
        (
            &node1,
            "2.424",
            3,
            json!([loss(&node0, 425, 764), loss(&node2, 425, 563)]),
        ),
    ];
    for (node, last_signed, rank, loses) in expected {
        let copy = named(&report, node);
        assert_eq!(
            (&copy["last_signed"], &copy["rank"]),
            (&json!(last_signed), &json!(rank))
        );
        assert_eq!(copy["loses"], loses);
    }
    for (pair, (common, first)) in
        report["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .zip([("2.563", 564), ("2.424", 425), ("2.424", 425)])
    {
        assert_eq!(pair["relation"], "prefix");
        assert_eq!(
            (&pair["last_common_signed"], &pair["first_difference"]),
            (&json!(common), &json!(first))
        );
    }
    let text = rekindle!["compare", &node0, &node1, &node2].expect(0).text();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("recommended") && last.contains("node0"), "{last}");
}

#[test]
fn two_signed_histories_that_contradict_each_other_are_a_fork_with_both_signatures() {
    // The same service up to its 60th application entry; then one of them gets a new ledger secret.
    let a = Service::made(&["--entries", "100", "--signature-every", "20"]);
    let b = Service::made(&["--entries", "120", "--signature-every", "20", "--rekey-every", "70"]);
    let (a_ledger, b_ledger) = (a.ledger(), b.ledger());
    let report = rekindle!["compare", &a_ledger, &b_ledger, "--json"].expect(1).json();
    assert_eq!(codes(&report), ["L0801"]);
    let pair = &report["pairs"][0];
    assert_eq!(pair["relation"], "fork");
    let at = pair["first_difference"].as_u64().unwrap();
    assert_eq!(report["findings"][0]["seqno"], at);

    // Where they differ is where their histories do.
    let [left, right] = [&a, &b].map(|service| {
        let raw = rekindle![
            "inspect",
            service.ledger(),
            "--seqno",
            format!("{}..{at}", at - 1),
            "--json"
        ]
        .expect(0)
        .json();
        [0, 1].map(|i| raw["entries"][i]["write_set_digest"].as_str().unwrap().to_owned())
    });
    assert_eq!(left[0], right[0]);
    assert_ne!(left[1], right[1]);

    let evidence = pair["evidence"].as_array().unwrap();
    assert_eq!(evidence.len(), 2);
    for (proof, ledger) in evidence.iter().map(|proof| {
        (
            proof,
            if proof["directory"] == json!(a_ledger) {
                &a_ledger
            } else {
                &b_ledger
            },
        )
    }) {
        assert_fields(proof, &["directory", "txid", "root", "signer"]);
        let (_, seqno) = proof["txid"].as_str().unwrap().split_once('.').unwrap();
        assert!(
            seqno.parse::<u64>().unwrap() > at,
            "the first signature over what differs"
        );
        let verified = rekindle!["verify", ledger, "--until", seqno, "--json"].expect(0).json();
        assert_eq!(
            (&verified["last_signed"], &verified["root"]),
            (&proof["txid"], &proof["root"])
        );
        assert_eq!(verified["signer"], proof["signer"]);
    }
    assert_ne!(evidence[0]["root"], evidence[1]["root"]);
    assert!(
        report["reason"].as_str().unwrap().contains("contradicts"),
        "{}",
        report["reason"]
    );
}

/// Compares directories; the pair of these two, as the report has it.
fn pair<'r>(report: &'r Value, a: &Path, b: &Path) -> &'r Value {
    let pairs = report["pairs"].as_array().unwrap().iter();
    let is = |pair: &&Value| {
        let names = [pair["a"].as_str(), pair["b"].as_str()];
        names.contains(&a.to_str()) && names.contains(&b.to_str())
    };
    pairs.into_iter().find(is).unwrap()
}

fn with_elections(options: &[&str]) -> Service {
    let mut all = vec![
        "--entries",
        "90",
        "--signature-every",
        "20",
        "--nodes",
        "3",
        "--election-every",
        "45",
    ];
    all.extend(options);
    Service::made(&all)
}

#[test]
fn the_tail_of_a_primary_that_was_killed_is_superseded_and_no_fork() {
    for signatures in ["node", "dual", "cose"] {
        let service = with_elections(&["--superseded-tail", "5", "--signatures", signatures]);
        let (ledger, killed) = (service.ledger(), service.directory.join("superseded/1"));
        assert_eq!(
            rekindle!["verify", &killed, "--json"].expect(0).json()["verdict"],
            "ok",
            "it is sound"
        );
        let report = rekindle!["compare", &killed, &ledger, "--json"].expect(0).json();
        assert_eq!(report["verdict"], "ok");
        assert_eq!(
            (&report["recommended"], codes(&report)),
            (&json!(ledger), vec!["L0803"])
        );
        let found = pair(&report, &ledger, &killed);
        assert_eq!(found["relation"], "superseded");
        let common = found["last_common_signed"].as_str().unwrap();
        let at = found["first_difference"].as_u64().unwrap();
        assert_eq!(
            common,
            format!("2.{}", at - 1),
            "where the lower view's replicated part ends"
        );
        let [first, second] = &found["evidence"].as_array().unwrap()[..] else {
            panic!("{found}")
        };
        assert_eq!(
            first["txid"],
            format!("3.{at}"),
            "the higher view begins with a signature"
        );
        assert_eq!(second["txid"], format!("2.{}", at + 5), "the tail's own signature");
        let [best, other] = [named(&report, &ledger), named(&report, &killed)];
        assert_eq!(best["loses"], json!([]), "what was superseded is no loss");
        assert_eq!(other["loses"][0]["from_seqno"], at);
        let text = rekindle!["compare", &ledger, &killed].expect(0).text();
        assert!(text.contains("superseded") && !text.contains("fork"), "{text}");
    }
}

#[test]
fn a_longer_tail_of_a_lower_view_is_superseded_as_well() {
    let service = Service::made(&[
        "--entries",
        "50",
        "--nodes",
        "2",
        "--election-every",
        "49",
        "--superseded-tail",
        "60",
    ]);
    let (ledger, killed) = (service.ledger(), service.directory.join("superseded/1"));
    let report = rekindle!["compare", &ledger, &killed, "--json"].expect(0).json();
    let last = |copy: &Path| named(&report, copy)["last_seqno"].as_u64().unwrap();
    assert!(last(&killed) > last(&ledger) + 40);
    assert_eq!(
        report["recommended"],
        json!(ledger),
        "the view counts before the length"
    );
    assert_eq!(report["pairs"][0]["relation"], "superseded");
}

#[test]
fn tails_of_several_elections_and_of_primaries_that_never_got_through_are_all_superseded() {
    let service = with_elections(&["--superseded-tail", "3", "--lost-primaries", "2"]);
    let ledger = service.ledger();
    let tails: Vec<_> = (1..=4)
        .map(|n| service.directory.join(format!("superseded/{n}")))
        .collect();
    let report = rekindle!["compare", &tails[2], &tails[0], &ledger, &tails[3], &tails[1], "--json"]
        .expect(0)
        .json();
    assert_eq!(report["recommended"], json!(ledger));
    let all = std::iter::once(&ledger).chain(&tails).collect::<Vec<_>>();
    for (i, a) in all.iter().enumerate() {
        for b in &all[i + 1..] {
            assert_eq!(
                pair(&report, a, b)["relation"],
                "superseded",
                "{} {}",
                a.display(),
                b.display()
            );
        }
    }
    // The second primary of an election began where the first one did, with a signature in its own view.
    let found = pair(&report, &tails[0], &tails[1]);
    let at = found["first_difference"].as_u64().unwrap();
    assert_eq!(found["evidence"][0]["txid"], format!("3.{at}"));
    let views: Vec<_> = tails
        .iter()
        .map(|tail| named(&report, tail)["last_signed"].as_str().unwrap()[..2].to_owned())
        .collect();
    assert_eq!(views, ["2.", "3.", "4.", "5."]);
}

#[test]
fn each_kind_of_fork_is_one_and_says_why() {
    for (kind, words) in [
        ("same-view", "both are signed in view 2"),
        ("committed", "view 3 was begun without seqno"),
        ("recovery", "two services were recovered from one"),
    ] {
        let service = Service::made(&[
            "--entries",
            "60",
            "--signature-every",
            "20",
            "--nodes",
            "2",
            "--fork",
            kind,
        ]);
        let (one, other) = (service.ledger(), service.directory.join("fork/ledger"));
        let report = rekindle!["compare", &one, &other, "--json"].expect(1).json();
        assert_eq!(
            (codes(&report), &report["pairs"][0]["relation"]),
            (vec!["L0801"], &json!("fork")),
            "{kind}"
        );
        let message = report["findings"][0]["message"].as_str().unwrap();
        assert!(message.contains(words), "{kind}: {message}");
        assert!(report["reason"].as_str().unwrap().contains("contradicts"), "{kind}");
    }
}

#[test]
fn only_what_was_committed_makes_a_fork_of_a_higher_view() {
    let service = Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "20",
        "--nodes",
        "2",
        "--fork",
        "committed",
    ]);
    let (one, other) = (service.ledger(), service.directory.join("fork/ledger"));
    // The same bytes, in a file that no node has called committed: signed again and again, but by one primary alone.
    let (_, chunk) = chunks(&one).pop().unwrap();
    let name = chunk.file_name().unwrap().to_str().unwrap().replace(".committed", "");
    std::fs::rename(&chunk, one.join(name)).unwrap();
    let report = rekindle!["compare", &one, &other, "--json"].expect(0).json();
    assert_eq!(report["pairs"][0]["relation"], "superseded", "{report}");
    assert_eq!(report["recommended"], json!(other));
}

#[test]
fn evidence_of_a_snapshot_proves_that_its_state_was_committed() {
    // A snapshot is taken after the fork, so the first history tells of a commit that the higher view lacks.
    let options = [
        "--entries",
        "80",
        "--signature-every",
        "10",
        "--nodes",
        "2",
        "--snapshot-every",
        "30",
        "--fork",
        "committed",
    ];
    let service = Service::made(&options);
    let (one, other) = (service.ledger(), service.directory.join("fork/ledger"));
    let (_, chunk) = chunks(&one).pop().unwrap();
    let name = chunk.file_name().unwrap().to_str().unwrap().replace(".committed", "");
    std::fs::rename(&chunk, one.join(name)).unwrap();
    let report = rekindle!["compare", &one, &other, "--json"].expect(1).json();
    assert_eq!(report["pairs"][0]["relation"], "fork", "{report}");
    let message = report["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("is evidence of a snapshot"), "{message}");
}

#[test]
fn entries_that_only_one_copy_has_but_nobody_signed_are_no_fork() {
    let a = Service::made(&["--entries", "40", "--signature-every", "20"]);
    let b = Service::made(&["--entries", "40", "--signature-every", "20", "--unsigned-tail", "3"]);
    let report = rekindle!["compare", a.ledger(), b.ledger(), "--json"].expect(0).json();
    let relation = report["pairs"][0]["relation"].as_str().unwrap();
    assert!(["prefix", "unsigned_difference"].contains(&relation), "{relation}");
    assert!(
        report["copies"]
            .as_array()
            .unwrap()
            .iter()
            .all(|copy| copy["loses"] == json!([])),
        "nothing signed is lost"
    );
}

#[test]
fn equal_copies_share_the_first_rank() {
    let a = Service::made(&["--entries", "20"]);
    let b = Service::made(&["--entries", "20"]);
    let report = rekindle!["compare", a.ledger(), b.ledger(), "--json"].expect(0).json();
    assert_eq!(report["pairs"][0]["relation"], "same");
    assert!(
        report["copies"]
            .as_array()
            .unwrap()
            .iter()
            .all(|copy| copy["rank"] == 1)
    );
}

#[test]
fn copies_of_different_services_are_told_apart_and_none_is_recommended() {
    let a = Service::made(&["--entries", "20"]);
    let b = Service::made(&["--entries", "30", "--seed", "2"]);
    let report = rekindle!["compare", a.ledger(), b.ledger(), "--json"].expect(1).json();
    assert_eq!(codes(&report), ["L0802"]);
    assert_eq!(report["recommended"], Value::Null);
}

#[test]
fn a_damaged_longer_copy_ranks_by_what_is_proven_of_it() {
    let Some(ledgers) = ledgers() else { return };
    let [node0, node2] = [0, 2].map(|n| ledgers.join(format!("real_three_nodes/node{n}")));
    let copy = tempfile::tempdir().unwrap();
    copy_files(&node0, copy.path());
    let (first, chunk) = chunks(copy.path()).swap_remove(2);
    let mut bytes = std::fs::read(&chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&chunk, bytes).unwrap();
    let report = rekindle!["compare", copy.path(), &node2, "--json"].expect(1).json();
    assert_eq!(report["recommended"], json!(node2));
    let damaged = named(&report, copy.path());
    assert_eq!((&damaged["verdict"], &damaged["rank"]), (&json!("findings"), &json!(2)));
    assert!(!damaged["findings"].as_array().unwrap().is_empty());
    let proven: u64 = damaged["last_signed"].as_str().unwrap()[2..].parse().unwrap();
    assert!(proven < 563 && proven + 1 >= first, "{proven}");
}

/// A service that was recovered, and a copy from before that: which one is right only a certificate tells.
#[test]
fn a_certificate_decides_between_a_service_and_a_recovery_on_top_of_it() {
    let service = Service::made(&["--entries", "60", "--signature-every", "10", "--recoveries", "1"]);
    let whole = rekindle!["verify", service.ledger(), "--json"].expect(0).json();
    let [first, second] = &whole["services"].as_array().unwrap()[..] else {
        panic!("{whole}")
    };
    let from = second["from_seqno"].as_u64().unwrap();
    let before = tempfile::tempdir().unwrap();
    copy_files(&service.ledger(), before.path());
    for (_, path) in chunks(before.path()).into_iter().filter(|(first, _)| *first >= from) {
        std::fs::remove_file(path).unwrap();
    }
    let certificates = tempfile::tempdir().unwrap();
    let certificate_at = |name: &str, seqno: u64| {
        let state = service.export(false, &["--state", "--at", &seqno.to_string()]);
        let info = state.iter().find(|line| line["table"] == "public:ccf.gov.service.info");
        let path = certificates.path().join(name);
        let info: Value = serde_json::from_str(info.unwrap()["value"].as_str().unwrap()).unwrap();
        std::fs::write(&path, info["cert"].as_str().unwrap()).unwrap();
        path
    };
    let (old, new) = (certificate_at("old", from - 1), certificate_at("new", from + 1));
    let compare = |certificate: &Path| {
        rekindle![
            "compare",
            service.ledger(),
            before.path(),
            "--service-cert",
            certificate,
            "--json"
        ]
    };

    let report = rekindle!["compare", service.ledger(), before.path(), "--json"]
        .expect(0)
        .json();
    assert_eq!(report["recommended"], json!(service.ledger()));
    assert_eq!(report["copies"][0]["is_expected_service"], Value::Null);

    let report = compare(&old).expect(1).json();
    assert_eq!(report["recommended"], json!(before.path()), "{report}");
    let (right, wrong) = (named(&report, before.path()), named(&report, &service.ledger()));
    assert_eq!(
        (&right["service"], &right["is_expected_service"]),
        (&first["identity"], &json!(true))
    );
    assert_eq!(
        (&wrong["service"], &wrong["is_expected_service"]),
        (&second["identity"], &json!(false))
    );
    assert_eq!((codes(right), codes(wrong)), (vec![], vec!["L0407"]));
    assert_eq!((&right["rank"], &wrong["rank"]), (&json!(1), &json!(2)));
    assert_eq!(right["loses"], json!([]), "what somebody else signed is no loss");
    assert!(
        report["reason"].as_str().unwrap().contains("nothing that this service"),
        "{report}"
    );
    let text = rekindle!["compare", service.ledger(), before.path(), "--service-cert", &old]
        .expect(1)
        .text();
    for words in ["which is not the one whose certificate was given", "L0407"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("recommended") && last.contains(before.path().to_str().unwrap()),
        "{last}"
    );

    let report = compare(&new).expect(1).json();
    assert_eq!(report["recommended"], json!(service.ledger()), "{report}");
    let after = named(&report, before.path());
    assert_eq!(codes(after), ["L0407"]);
    assert_eq!(after["loses"][0]["to"], json!(service.ledger()), "{report}");

    // The certificate of neither, and a copy of neither.
    let stranger = Service::made(&["--entries", "90", "--seed", "2"]);
    let report = compare(&stranger.directory.join("common/service_cert.pem"))
        .expect(1)
        .json();
    assert_eq!(report["recommended"], Value::Null, "{report}");
    assert!(
        report["reason"].as_str().unwrap().starts_with("in none of the copies"),
        "{report}"
    );
    let report = rekindle![
        "compare",
        service.ledger(),
        stranger.ledger(),
        "--service-cert",
        &new,
        "--json"
    ];
    let report = report.expect(1).json();
    assert_eq!(report["recommended"], json!(service.ledger()), "{report}");
    assert_eq!(named(&report, &service.ledger())["loses"], json!([]), "{report}");
    let path = service.ledger().join("expected.json");
    rekindle!["compare", service.ledger(), before.path(), "--service-cert", &path]
        .expect_sentence(3, &["expected.json"]);
}

#[test]
fn one_directory_or_the_same_twice_is_a_mistake() {
    let service = Service::made(&["--entries", "10"]);
    rekindle!["compare", service.ledger(), service.ledger()]
        .expect_sentence(2, &["twice", "one directory for each copy"]);
    assert_eq!(rekindle!["compare", service.ledger()].code, Some(2));
}
