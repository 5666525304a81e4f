//! Local sealing: services that are opened without shares, generation after generation, and every way in which that fails
//! and members finish. With a key file: no processor that seals is at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::node::{Node, Place};
use crate::support::{Service, ledgers};
use rekindle::crypto::LedgerSecret;
use rekindle::format::Seqno;
use rekindle::recovery::secrets::Material;
use rekindle::recovery::unlock::{UnlockReport, unlock};
use rekindle::report::progress::Silent;
use rekindle::sealing::{KeyFile, SealedFiles, SealedSecret, SealingKey, search};
use serde_json::{Value, json};

fn write_key(path: &Path, byte: &str) -> PathBuf {
    std::fs::write(path, byte.repeat(32)).unwrap();
    path.to_owned()
}

fn key(path: &Path) -> Arc<dyn SealingKey> {
    Arc::new(KeyFile::read(path).unwrap())
}

/// A small service, which never sealed anything.
fn service() -> Service {
    Service::made(&["--entries", "40", "--signature-every", "10", "--rekey-every", "15"])
}

/// Has a node seal into `sealed`, and try `previous` first.
fn with_sealing(mut place: Place, previous: Option<&Path>) -> Place {
    let key = write_key(&place.directory.join("sealing_key.hex"), "5a");
    place.arguments = vec!["--insecure-sealing-key".to_owned(), key.to_str().unwrap().to_owned()];
    place.config["output_files"]["sealed_ledger_secret_location"] = json!("sealed");
    if let Some(previous) = previous {
        place.config["command"]["recover"]["previous_sealed_ledger_secret_location"] = json!(previous);
    }
    place
}

/// Versions of which there is a sealed file, all of which must be whole.
fn sealed_versions(place: &Place) -> Vec<Seqno> {
    let key = key(&place.directory.join("sealing_key.hex"));
    let mut versions = Vec::new();
    let Ok(listing) = std::fs::read_dir(place.directory.join("sealed")) else {
        return versions;
    };
    for file in listing {
        let name = file.unwrap().file_name().into_string().unwrap();
        let version: Seqno = name.strip_suffix(".sealed.json").unwrap().parse().unwrap();
        let found = search(&place.directory.join("sealed"), version, &*key, Ok).found;
        assert!(found.is_some(), "{name} does not open");
        versions.push(version);
    }
    versions.sort_unstable();
    versions
}

/// The values of a table, as they are at the end.
fn values(place: &Place, table: &str) -> Vec<Value> {
    let lines = Service::at(place.directory.clone()).export(false, &["--state", "--table", table]);
    let value = |line: &Value| serde_json::from_str(line["value"].as_str().unwrap()).unwrap();
    lines.iter().map(value).collect()
}

/// The value of a table that has one.
fn table(place: &Place, table: &str) -> Option<Value> {
    values(place, table).pop()
}

/// What the record of the node that is trusted says of its intention to seal.
fn planned(place: &Place) -> Value {
    let nodes = values(place, "public:ccf.gov.nodes.info");
    let trusted = nodes.iter().find(|node| node["status"] == "Trusted").unwrap();
    trusted["will_locally_seal_ledger_secrets"].clone()
}

/// Opens a service for which members only have to vote, and lets `meanwhile` do what it likes.
#[track_caller]
fn open_without_shares(place: &Place, meanwhile: impl FnOnce(&mut Node<'_>)) {
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.pass(&node.opening());
    node.wait_until_open();
    let sealing = node.state()["recovery"]["sealing"].clone();
    assert_eq!(sealing["key_source"], "insecure-key-file");
    assert_eq!(sealing["insecure"], true);
    assert_eq!(
        (&sealing["will_seal"], &sealing["will_unseal"]),
        (&json!(true), &json!(true))
    );
    assert!(sealing["unsealing"]["used"].is_string(), "{sealing}");
    meanwhile(&mut node);
    assert!(node.log().contains("INSECURE"), "{}", node.log());
    node.stop();
    assert_eq!(
        table(place, "public:ccf.internal.last_recovery_type"),
        Some(json!("LOCAL_UNSEALING"))
    );
    let source = table(place, "public:ccf.internal.sealing_key_source");
    assert_eq!(source, Some(json!("insecure-key-file")));
    let audit = table(place, "public:ccf.internal.last_unsealing").unwrap();
    assert_eq!(audit["used"], sealing["unsealing"]["used"]);
    assert_eq!(audit["insecure"], true);
}

fn rekey(node: &mut Node<'_>) {
    node.act("trigger_ledger_rekey", Value::Null);
    node.wait_for_commit();
}

/// A service that was recovered by shares and has sealed its secret.
fn sealed_service() -> Place {
    let place = with_sealing(Place::of(&service().directory), None);
    place.recover();
    assert_eq!(sealed_versions(&place).len(), 1);
    place
}

#[test]
fn three_generations_are_opened_by_sealing_alone_with_rekeys_between() {
    let mut place = sealed_service();
    for generation in 2..=4 {
        let before = sealed_versions(&place);
        let next = place.again();
        std::fs::create_dir(next.directory.join("previous")).unwrap();
        for version in &before {
            let name = format!("{version}.sealed.json");
            std::fs::copy(
                place.directory.join("sealed").join(&name),
                next.directory.join("previous").join(&name),
            )
            .unwrap();
        }
        let next = with_sealing(next, Some(Path::new("previous")));
        open_without_shares(&next, |node| {
            rekey(node);
            rekey(node);
        });
        let versions = sealed_versions(&next);
        assert_eq!(versions.len(), 3, "of the opening and two rekeys: {versions:?}");
        assert!(before.last() < versions.first());
        assert_eq!(next.verify()["services"].as_array().unwrap().len(), 1 + generation);
        let unlocked = Service::at(next.directory.clone())
            .with_keys("unlock", &["--json"])
            .expect(0)
            .json();
        assert_eq!(unlocked["verdict"], "ok", "members' shares open it too: {unlocked}");
        place = next;
    }
}

/// Changes the sealed files of a service, for some reason not to be used any more.
struct Wrong {
    what: &'static str,
    kind: &'static str,
    change: fn(&Path, Seqno, &[u8]),
}

const WRONG: [Wrong; 9] = [
    Wrong {
        what: "truncated",
        kind: "truncated",
        change: |path, _, bytes| std::fs::write(path, &bytes[..bytes.len() - 30]).unwrap(),
    },
    Wrong {
        what: "flipped",
        kind: "does-not-open",
        change: |path, _, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let at = text.find("ciphertext").unwrap() + 40;
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            std::fs::write(path, format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
        },
    },
    Wrong {
        what: "stale",
        kind: "stale",
        change: |path, version, _| {
            std::fs::rename(path, path.with_file_name(format!("{}.sealed.json", version - 1))).unwrap()
        },
    },
    Wrong {
        what: "of the future",
        kind: "future",
        change: |path, version, _| {
            std::fs::rename(path, path.with_file_name(format!("{}.sealed.json", version + 1))).unwrap()
        },
    },
    Wrong {
        what: "sealed under another key",
        kind: "does-not-open",
        change: |path, version, _| {
            let other = key(&write_key(&path.with_file_name("other.hex"), "77"));
            std::fs::write(path, seal(version, &*other)).unwrap();
        },
    },
    Wrong {
        what: "under another TCB version",
        kind: "does-not-open",
        change: |path, _, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            std::fs::write(path, text.replace("0000000000000000", "d315000000000004")).unwrap();
        },
    },
    Wrong {
        what: "of another service",
        kind: "not-of-this-ledger",
        change: |path, version, _| {
            let key = key(&path.parent().unwrap().parent().unwrap().join("sealing_key.hex"));
            std::fs::write(path, seal(version, &*key)).unwrap();
        },
    },
    Wrong {
        what: "unreadable",
        kind: "unreadable",
        change: |path, _, _| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        },
    },
    Wrong {
        what: "missing",
        kind: "unreadable",
        change: |path, _, _| std::fs::remove_dir_all(path.parent().unwrap()).unwrap(),
    },
];

fn seal(version: Seqno, key: &dyn SealingKey) -> Vec<u8> {
    SealedSecret::seal(&LedgerSecret::from_bytes([7; 32]), version, None, key, [1; 12]).unwrap()
}

/// The node waits for shares, says why, and is opened with them.
#[track_caller]
fn members_finish(place: &Place, what: &str, kind: Option<&str>) {
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.pass(&node.opening());
    let unsealing = node.state()["recovery"]["sealing"]["unsealing"].clone();
    assert!(unsealing["used"].is_null(), "{what}: {unsealing}");
    let refused = unsealing["refused"].as_array().unwrap().clone();
    assert_eq!(
        refused.first().map(|refused| refused["kind"].as_str().unwrap()),
        kind,
        "{what}: {unsealing}"
    );
    let recover = &place.config["command"]["recover"];
    let location = recover["previous_sealed_ledger_secret_location"].as_str();
    let told = unsealing.to_string();
    assert!(
        location.is_none_or(|location| !told.contains(location)),
        "{what}: paths of a machine are nobody's business: {told}"
    );
    assert_eq!(node.json("/node/network")["service_status"], "WaitingForRecoveryShares");
    let found = node.state()["recovery"]["findings"].clone();
    assert!(
        found.as_array().unwrap().iter().any(|found| found["code"] == "L0708"),
        "{what}: {found}"
    );
    let found = found.to_string();
    assert!(
        location.is_none_or(|location| !found.contains(location)),
        "{what}: {found}"
    );
    node.submit_shares(&place.keys());
    node.wait_until_open();
    let log = node.log();
    assert!(log.contains("L0708"), "{what}: {log}");
    node.stop();
    assert_eq!(
        table(place, "public:ccf.internal.last_recovery_type"),
        Some(json!("RECOVERY_SHARES")),
        "{what}"
    );
    let audit = table(place, "public:ccf.internal.last_unsealing").unwrap();
    assert!(audit.get("used").is_none(), "{what}: {audit}");
    assert_eq!(
        audit.get("refused").cloned().unwrap_or(json!([])),
        json!(refused),
        "{what}"
    );
    place.verify();
}

#[test]
fn every_kind_of_wrong_file_ends_in_waiting_for_shares_and_members_finish() {
    let original = sealed_service();
    let version = sealed_versions(&original)[0];
    let bytes = std::fs::read(original.directory.join(format!("sealed/{version}.sealed.json"))).unwrap();
    for Wrong { what, kind, change } in WRONG {
        let place = with_sealing(original.again(), Some(Path::new("previous")));
        let path = place.directory.join(format!("previous/{version}.sealed.json"));
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        change(&path, version, &bytes);
        members_finish(&place, what, Some(kind));
        assert_eq!(
            sealed_versions(&place).len(),
            1,
            "{what}: the new secret is sealed all the same"
        );
    }
    let place = with_sealing(original.again(), Some(Path::new("previous")));
    std::fs::create_dir(place.directory.join("previous")).unwrap();
    members_finish(&place, "an empty directory", None);
    let place = with_sealing(original.again(), Some(Path::new("previous")));
    members_finish(&place, "no directory", Some("unreadable"));
}

#[test]
fn a_machine_that_has_no_key_says_so_and_members_finish() {
    let original = sealed_service();
    let mut place = with_sealing(original.again(), None);
    place.arguments.clear();
    place.config["command"]["recover"]["previous_sealed_ledger_secret_location"] =
        json!(original.directory.join("sealed"));
    members_finish(&place, "no key", Some("no-source"));
    assert!(!place.directory.join("sealed").exists());
    assert_eq!(table(&place, "public:ccf.internal.sealing_key_source"), None);
    assert_eq!(planned(&place), Value::Null);
}

#[test]
fn what_is_planned_is_in_the_record_of_the_node() {
    let place = sealed_service();
    assert_eq!(planned(&place), true);
    assert_eq!(
        table(&place, "public:ccf.internal.last_unsealing"),
        None,
        "nothing was to be unsealed"
    );
}

#[test]
fn a_directory_that_cant_be_written_to_does_not_keep_a_service_from_opening() {
    let place = with_sealing(Place::of(&service().directory), None);
    std::fs::write(place.directory.join("sealed"), "in the way").unwrap();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    node.wait_until("it says that sealing fails", |node| {
        node.state()["recovery"]["sealing"]["fails"].is_string().then_some(())
    });
    std::fs::remove_file(place.directory.join("sealed")).unwrap();
    node.wait_until("it has sealed after all", |node| {
        let sealing = node.state()["recovery"]["sealing"].clone();
        (sealing["fails"].is_null() && sealing["sealed_version"].is_number()).then_some(())
    });
    node.stop();
    assert_eq!(sealed_versions(&place).len(), 1);
}

#[test]
fn a_key_file_that_holds_no_key_is_refused_at_the_start() {
    let mut place = with_sealing(Place::of(&service().directory), None);
    std::fs::write(place.directory.join("sealing_key.hex"), "5a5a").unwrap();
    let said = place.refused();
    assert!(said.contains("is not a sealing key"), "{said}");
    place.arguments[1] = place.directory.join("none").to_str().unwrap().to_owned();
    assert!(place.refused().contains("none"));
}

/// When nodes are killed: six moments up to `longest`, or as many as the environment asks for.
fn moments(longest: Duration) -> impl Iterator<Item = Duration> {
    let asked = std::env::var("REKINDLE_SEALING_KILLS").ok();
    let count: u32 = asked.map_or(6, |count| count.parse().unwrap());
    (0..count).map(move |number| longest * number / count)
}

/// What a dead node has left is opened once more: by what it had sealed, beside what was sealed before it, or by members.
#[track_caller]
fn what_is_left_opens(place: &Place, before: &Path) {
    let again = with_sealing(place.again(), Some(Path::new("previous")));
    let previous = again.directory.join("previous");
    std::fs::create_dir(&previous).unwrap();
    for directory in [before, &place.directory.join("sealed")] {
        for file in std::fs::read_dir(directory).into_iter().flatten() {
            let path = file.unwrap().path();
            std::fs::copy(&path, previous.join(path.file_name().unwrap())).unwrap();
        }
    }
    let mut node = again.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.pass(&node.opening());
    if node.json("/node/state")["recovery"]["sealing"]["unsealing"]["used"].is_null() {
        node.submit_shares(&again.keys());
    }
    node.wait_until_open();
    node.stop();
    again.verify();
    assert_eq!(sealed_versions(&again).len(), 1);
}

/// Killed at any moment of unsealing, opening and sealing: there is never half a file, and what is left is opened by what
/// is sealed, or by members where the opening had no time to be sealed.
#[test]
fn a_node_that_is_killed_at_any_moment_leaves_whole_files_and_a_ledger_that_opens() {
    let original = sealed_service();
    let sealed = original.directory.join("sealed");
    for after in moments(Duration::from_millis(50)) {
        let place = with_sealing(original.again(), Some(&sealed));
        let mut node = place.start();
        node.wait_for("PartOfPublicNetwork");
        node.wait_for_members();
        node.pass(&node.opening());
        std::thread::sleep(after);
        node.kill();
        let versions = sealed_versions(&place);
        assert!(versions.len() <= 1, "{versions:?}");
        what_is_left_opens(&place, &sealed);
    }
}

/// The same where an open service seals one secret after another.
#[test]
fn a_node_that_is_killed_while_it_seals_a_rekey_leaves_whole_files_and_a_ledger_that_opens() {
    let original = sealed_service();
    let sealed = original.directory.join("sealed");
    for after in moments(Duration::from_millis(80)) {
        let place = with_sealing(original.again(), Some(&sealed));
        let mut node = place.start();
        node.wait_for("PartOfPublicNetwork");
        node.wait_for_members();
        node.pass(&node.opening());
        node.wait_until_open();
        node.act("trigger_ledger_rekey", Value::Null);
        std::thread::sleep(after);
        node.kill();
        let versions = sealed_versions(&place);
        assert!(versions.len() <= 2, "{versions:?}");
        what_is_left_opens(&place, &sealed);
    }
}

fn unlock_real(ledgers: &Path, sealed: &Path) -> UnlockReport {
    let real = ledgers.join("real_sealed");
    let directories = [real.join("ledger"), real.join("ledger-readonly")];
    let files = rekindle::format::directory::LedgerFiles::list(&directories, false).unwrap();
    let material = Material {
        sealed: Some(SealedFiles {
            directory: sealed.to_owned(),
            key: key(&real.join("sealing_key.hex")),
        }),
        ..Material::default()
    };
    unlock(&files, &[], &material, None, &Silent).unwrap()
}

#[test]
fn files_that_ccf_has_sealed_open_the_ledger_and_the_older_one_does_not() {
    let Some(ledgers) = ledgers() else { return };
    let sealed = ledgers.join("real_sealed/sealed");
    let report = unlock_real(&ledgers, &sealed);
    assert_eq!(report.verdict.exit_code(), 0);
    assert_eq!(
        (report.entries, report.private_decrypted),
        (200, report.private_domains)
    );
    let said = report.sealed.unwrap();
    assert_eq!(
        (said.wanted_version, said.used.as_deref()),
        (141, Some("141.sealed.json"))
    );
    let refused: Vec<_> = said
        .refused
        .iter()
        .map(|refused| (refused.file.as_str(), refused.kind))
        .collect();
    assert_eq!(refused, [("1.sealed.json", "stale")]);

    let scratch = tempfile::tempdir().unwrap();
    std::fs::copy(sealed.join("1.sealed.json"), scratch.path().join("1.sealed.json")).unwrap();
    let report = unlock_real(&ledgers, scratch.path());
    assert_eq!(report.verdict.exit_code(), 1);
    assert!(
        report.findings[0].message.contains("stale"),
        "{}",
        report.findings[0].message
    );
    // Under the name that is asked for it is no better.
    let renamed = scratch.path().join("141.sealed.json");
    std::fs::rename(scratch.path().join("1.sealed.json"), renamed).unwrap();
    let report = unlock_real(&ledgers, scratch.path());
    assert_eq!(report.sealed.unwrap().refused[0].kind, "renamed");
}

#[test]
fn a_service_of_ccf_is_recovered_with_what_it_sealed() {
    let Some(ledgers) = ledgers() else { return };
    let real = ledgers.join("real_sealed");
    let mut place = with_sealing(Place::of(&real), Some(&real.join("sealed")));
    let key = real.join("sealing_key.hex");
    std::fs::copy(&key, place.directory.join("sealing_key.hex")).unwrap();
    place.config["node_certificate"] = json!({"curve_id": "Secp384R1"});
    open_without_shares(&place, rekey);
    assert_eq!(sealed_versions(&place).len(), 2);
    let state = table(&place, "public:ccf.internal.last_unsealing").unwrap();
    assert_eq!(state["used"], "141.sealed.json");
}

#[test]
fn the_drill_recovers_by_sealing_alone_and_shows_what_stale_files_do() {
    let report = rekindle!["drill", "--sealed", "--entries", "50", "--json"]
        .expect(0)
        .json();
    assert_eq!(report["ok"], true);
    let rounds = report["rounds"].as_array().unwrap();
    let by: Vec<&str> = rounds
        .iter()
        .map(|round| round["opened_by"].as_str().unwrap())
        .collect();
    assert_eq!(by, ["shares", "sealing", "sealing", "shares"]);
    let told = rounds[3]["steps"].to_string();
    assert!(told.contains("stale"), "{told}");
}

/// Members who can vote, and have lost the keys of their shares.
#[test]
fn the_drill_needs_no_shares_until_the_sealed_files_are_stale() {
    let place = sealed_service();
    let common = place.directory.join("common");
    for file in std::fs::read_dir(&common).unwrap() {
        let path = file.unwrap().path();
        if path.to_str().unwrap().ends_with("_enc_privk.pem") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let sealed = place.directory.join("sealed");
    let key = place.directory.join("sealing_key.hex");
    let run = |sealed: &Path| {
        rekindle![
            "drill",
            "--json",
            "--ledger",
            place.ledger(),
            "--members",
            &common,
            "--sealed",
            sealed,
            "--insecure-sealing-key",
            &key
        ]
    };
    let report = run(&sealed).expect(0).json();
    let opened: Vec<bool> = report["rounds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|round| round["opened"] == true)
        .collect();
    assert_eq!(opened, [true, true, false]);
    let report = run(&place.directory.join("common")).expect(1).json();
    assert_eq!(report["rounds"][0]["opened_by"], "shares");
    assert_eq!(report["rounds"][0]["as_expected"], false);
}

/// Has a node seal in the ledger, as the later configuration says it.
fn with_location(place: &Place, name: &str) -> Place {
    let mut next = place.again();
    let key = write_key(&next.directory.join("sealing_key.hex"), "5a");
    next.arguments = vec!["--insecure-sealing-key".to_owned(), key.to_str().unwrap().to_owned()];
    next.config["sealing_recovery"] = json!({"location": {"name": name, "address": "127.0.0.1:1"}});
    next
}

#[test]
fn a_share_in_the_ledger_opens_it_on_the_same_machine_and_is_never_stale() {
    let first = with_location(&Place::of(&service().directory), "machine-1");
    members_finish(&first, "nothing was sealed under this name", Some("missing"));
    let mut place = first;
    for _ in 0..3 {
        let next = with_location(&place, "machine-1");
        open_without_shares(&next, rekey);
        let audit = table(&next, "public:ccf.internal.last_unsealing").unwrap();
        assert!(
            audit["used"].as_str().unwrap().starts_with("sealed share of node"),
            "{audit}"
        );
        assert_eq!(planned(&next), true);
        next.verify();
        place = next;
    }
    let shares = table(&place, "public:ccf.internal.sealed_shares").unwrap();
    assert_eq!(
        shares["encrypted_wrapping_keys"].as_object().unwrap().len(),
        1,
        "nodes of before are retired"
    );

    let unlock = |name: &str, key: &Path| {
        rekindle![
            "unlock",
            "--json",
            place.ledger(),
            "--sealing-name",
            name,
            "--insecure-sealing-key",
            key
        ]
    };
    let key = place.directory.join("sealing_key.hex");
    let unlocked = unlock("machine-1", &key).expect(0).json();
    assert_eq!(unlocked["verdict"], "ok", "{unlocked}");
    assert!(
        unlocked["sealed"]["used"]
            .as_str()
            .unwrap()
            .starts_with("sealed share of node")
    );
    assert_eq!(unlocked["private_decrypted"], unlocked["private_domains"]);
    let unlocked = unlock("machine-2", &key).expect(1).json();
    assert_eq!(unlocked["sealed"]["refused"][0]["kind"], "missing");
    let other = write_key(&place.directory.join("other.hex"), "77");
    let unlocked = unlock("machine-1", &other).expect(1).json();
    assert_eq!(unlocked["sealed"]["refused"][0]["kind"], "does-not-open");

    members_finish(
        &with_location(&place, "machine-2"),
        "another machine's name",
        Some("missing"),
    );
    let elsewhere = with_location(&place, "machine-1");
    write_key(&elsewhere.directory.join("sealing_key.hex"), "77");
    members_finish(
        &elsewhere,
        "another machine with this one's name",
        Some("does-not-open"),
    );
}

#[test]
fn a_sealed_file_opens_the_ledger_where_no_share_in_it_does() {
    let original = sealed_service();
    let mut place = with_location(&original, "machine-1");
    let sealed = json!(original.directory.join("sealed"));
    place.config["command"]["recover"]["previous_sealed_ledger_secret_location"] = sealed;
    open_without_shares(&place, |_| ());
    let audit = table(&place, "public:ccf.internal.last_unsealing").unwrap();
    assert_eq!(audit["refused"][0]["kind"], "missing");
    assert!(audit["used"].as_str().unwrap().ends_with(".sealed.json"));
}

/// A service of which nodes have sealed goes on where none does any more: nothing that is out of date is left.
#[test]
fn shares_for_nodes_that_are_gone_are_not_kept() {
    let first = with_location(&Place::of(&service().directory), "machine-1");
    members_finish(&first, "nothing was sealed under this name", Some("missing"));
    let next = first.again();
    next.recover();
    let shares = table(&next, "public:ccf.internal.sealed_shares").unwrap();
    assert_eq!(shares["encrypted_wrapping_keys"], json!({}));
    assert_eq!(
        table(&next, "public:ccf.internal.last_unsealing"),
        None,
        "that was the service before"
    );
    assert_eq!(planned(&next), Value::Null);
    members_finish(&with_location(&next, "machine-1"), "its share is gone", Some("missing"));
}
