//! A dead service comes back: the real binary, from its configuration file to an open service, and what is in the ledger
//! afterwards. What goes wrong is in `node_faults.rs`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::node::{Node, Place};
use crate::support::{self, Service, ledgers};
use rekindle::crypto::Certificate;
use rekindle::crypto::digest::sha256;
use rekindle::format::chunk::{Layout, Step, Walker};
use rekindle::member::governance;
use rekindle::merkle::receipt::{Receipt, Signer};
use serde_json::{Value, json};

/// The live state of everything that is not the service's own, private maps too.
fn application_state(directory: &Path) -> Vec<Value> {
    let mut lines = Service::at(directory.to_owned()).export(true, &["--state"]);
    lines.retain(|line| !line["table"].as_str().unwrap().starts_with("public:ccf."));
    lines
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What must be true of every ledger that a recovery has left: `original` is what was recovered, `services` how many there
/// have been by now.
#[track_caller]
fn check_result(place: &Place, original: &Path, services: usize) {
    let report = place.verify();
    assert_eq!(report["services"].as_array().unwrap().len(), services);
    assert_eq!(report["unsigned_entries"], 0, "a clean stop signs what is left");
    let result = Service::at(place.directory.clone());
    let unlocked = result.with_keys("unlock", &["--json"]).expect(0).json();
    assert_eq!(unlocked["verdict"], "ok", "{unlocked}");
    let (before, after) = (application_state(original), application_state(&place.directory));
    // Only one of the real ledgers has no application.
    let private = before.iter().any(|line| line["private"] == true);
    assert!(
        private || original.ends_with("acme_containing_service"),
        "nothing private to lose"
    );
    assert_eq!(
        before, after,
        "users find what they left, to the seqno of the last write"
    );
    let leftovers: Vec<String> = names(&place.ledger())
        .into_iter()
        .filter(|name| name.ends_with(".recovery"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

/// Makes a service up, lets `damage` do what the disaster did, and recovers it.
#[track_caller]
fn recovers(options: &[&str], services: usize, prepare: impl FnOnce(Place) -> Place) -> Place {
    let mut all = vec!["--entries", "120", "--signature-every", "20"];
    all.extend(options);
    let service = Service::made(&all);
    let place = prepare(Place::of(&service.directory));
    let recovered = place.recover();
    let last = seqno_of(service.expected()["last_signed"].as_str().unwrap());
    assert!(recovered.public["last_signed_seqno"].as_u64().unwrap() >= last);
    check_result(&place, &service.directory, services);
    place
}

fn seqno_of(txid: &str) -> u64 {
    txid.split_once('.').unwrap().1.parse().unwrap()
}

#[test]
fn a_service_is_recovered_without_naming_the_one_before() {
    recovers(&["--chunk-size", "20000"], 2, |place| place);
}

#[test]
fn a_service_is_recovered_with_the_certificate_of_the_one_before() {
    recovers(&["--recoveries", "1"], 3, Place::with_previous_identity);
}

#[test]
fn a_recovery_starts_from_the_newest_snapshot_and_reads_only_what_is_after_it() {
    let service = Service::made(&["--entries", "200", "--signature-every", "20", "--snapshot-every", "60"]);
    let newest = service.expected()["snapshots"].as_array().unwrap().last().unwrap()["seqno"].clone();
    let place = Place::of(&service.directory);
    let recovered = place.recover();
    assert_eq!(recovered.public["startup_seqno"], newest);
    check_result(&place, &service.directory, 2);
}

#[test]
fn a_ledger_without_the_chunks_before_its_snapshot_is_recovered_from_it() {
    let service = Service::made(&[
        "--entries",
        "200",
        "--signature-every",
        "20",
        "--snapshot-every",
        "60",
        "--chunk-size",
        "9000",
    ]);
    let newest = service.expected()["snapshots"].as_array().unwrap().last().unwrap()["seqno"].as_u64();
    let place = Place::of(&service.directory);
    for (first, path) in support::chunks(&place.ledger()) {
        // Chunks are contiguous, so one that begins so early ends before the snapshot.
        if first + 100 < newest.unwrap() {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(support::chunks(&place.ledger())[0].0 > 1);
    let recovered = place.recover();
    assert_eq!(recovered.public["startup_seqno"].as_u64(), newest);
    let snapshots = place.directory.join("snapshots");
    let file = names(&snapshots)
        .into_iter()
        .find(|name| name.starts_with(&format!("snapshot_{}_", newest.unwrap())));
    let from = snapshots.join(file.unwrap());
    let report = rekindle!["verify", "--json", place.ledger(), "--from-snapshot", from]
        .expect(0)
        .json();
    assert_eq!(report["services"].as_array().unwrap().len(), 2);
    let result = Service::at(place.directory.clone());
    let mut after = result.export(true, &["--state", "--snapshots", snapshots.to_str().unwrap()]);
    after.retain(|line| !line["table"].as_str().unwrap().starts_with("public:ccf."));
    assert_eq!(after, application_state(&service.directory));
}

/// Chunks that had ended when the next was begun, and were not known to be committed when the power was lost: as CCF leaves
/// them, with their table, and as this node does.
#[test]
fn chunks_that_ended_before_the_last_one_are_kept_although_they_were_not_committed() {
    let place = recovers(&["--chunk-size", "9000"], 2, |place| {
        let mut chunks = support::chunks(&place.ledger());
        let (_, last) = chunks.pop().unwrap();
        let (first, before) = chunks.pop().unwrap();
        let (_, earlier) = chunks.pop().unwrap();
        for path in [&last, &earlier] {
            std::fs::rename(path, path.to_str().unwrap().trim_end_matches(".committed")).unwrap();
        }
        let mut bytes = std::fs::read(&before).unwrap();
        let table = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        bytes.truncate(usize::try_from(table).unwrap());
        bytes[..8].fill(0);
        std::fs::remove_file(&before).unwrap();
        std::fs::write(place.ledger().join(format!("ledger_{first}")), bytes).unwrap();
        place
    });
    let names = names(&place.ledger());
    assert!(names.iter().all(|name| !name.ends_with(".ignored")), "{names:?}");
}

#[test]
fn entries_that_were_never_signed_are_dropped() {
    let place = recovers(&["--unsigned-tail", "7"], 2, |place| place);
    let log = std::fs::read_to_string(place.directory.join("node.log")).unwrap();
    assert!(log.contains("after the last signature are dropped"), "{log}");
}

#[test]
fn a_torn_last_entry_is_dropped() {
    recovers(&["--unsigned-tail", "3"], 2, |place| {
        let (_, last) = support::chunks(&place.ledger()).pop().unwrap();
        let bytes = std::fs::read(&last).unwrap();
        std::fs::write(&last, &bytes[..bytes.len() - 41]).unwrap();
        place
    });
}

#[test]
fn what_an_unfinished_recovery_left_is_set_aside() {
    let place = recovers(&["--unfinished-recovery"], 2, |place| {
        assert!(names(&place.ledger()).iter().any(|name| name.ends_with(".recovery")));
        place
    });
    let names = names(&place.ledger());
    assert!(
        names.iter().any(|name| name.ends_with(".recovery.ignored")),
        "{names:?}"
    );
}

#[test]
fn read_only_ledger_directories_are_read_and_not_written() {
    let service = Service::made(&["--entries", "120", "--signature-every", "20", "--chunk-size", "9000"]);
    let mut place = Place::of(&service.directory);
    let archive = place.directory.join("archive");
    std::fs::create_dir(&archive).unwrap();
    let chunks = support::chunks(&place.ledger());
    let (_, rest) = chunks.split_last().unwrap();
    assert!(rest.len() > 1);
    for (_, path) in rest {
        std::fs::rename(path, archive.join(path.file_name().unwrap())).unwrap();
    }
    place.config["ledger"]["read_only_directories"] = json!(["archive"]);
    let before = support::contents(&archive);
    place.recover();
    assert_eq!(before, support::contents(&archive));
    place.verify();
    for name in names(&archive) {
        std::fs::rename(archive.join(&name), place.ledger().join(&name)).unwrap();
    }
    place.config["ledger"]["read_only_directories"] = json!([]);
    check_result(&place, &service.directory, 2);
}

#[test]
fn shares_of_the_old_format_open_the_ledger() {
    recovers(&["--old-shares", "--members", "4", "--threshold", "3"], 2, |place| {
        place
    });
}

#[test]
fn an_owner_opens_the_ledger_alone() {
    let service = Service::made(&["--entries", "60", "--owners", "1"]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.pass(&node.opening());
    let owner = place.keys().pop().unwrap();
    let answer = node.submit_share(&owner).unwrap();
    assert_eq!(answer["fullKeySubmitted"], true);
    assert_eq!(
        answer["message"],
        "Full recovery key successfully submitted\nEnd of recovery procedure initiated"
    );
    node.wait_until_open();
    node.stop();
    check_result(&place, &service.directory, 2);
}

#[test]
fn a_service_on_p_256_is_recovered_on_that_curve() {
    recovers(&["--curve", "p256"], 2, |mut place| {
        place.config["node_certificate"] = json!({"curve_id": "Secp256R1"});
        place
    });
}

#[test]
fn a_ledger_with_only_the_services_signatures_is_recovered() {
    recovers(&["--signatures", "cose"], 2, |place| place);
}

#[test]
fn a_ledger_with_only_the_nodes_signatures_is_recovered() {
    recovers(&["--signatures", "node"], 2, |place| place);
}

#[test]
fn a_ledger_with_rekeys_and_new_shares_is_recovered() {
    recovers(
        &["--rekey-every", "30", "--reshare-every", "45", "--recoveries", "1"],
        3,
        |place| place,
    );
}

/// Waits for a committed snapshot that is newer than `than`.
#[track_caller]
fn wait_for_snapshot(node: &mut Node<'_>, place: &Place, than: u64) -> u64 {
    let directory = place.directory.join("snapshots");
    node.wait_until("a snapshot is committed", |_| {
        let committed = names(&directory).into_iter().filter_map(|name| {
            let name = name.strip_suffix(".committed")?.strip_prefix("snapshot_")?.to_owned();
            name.split('_').next()?.parse::<u64>().ok()
        });
        committed.filter(|seqno| *seqno > than).max()
    })
}

#[test]
fn a_recovered_service_is_recovered_again_for_three_generations_once_from_its_own_snapshot() {
    let service = Service::made(&["--entries", "120", "--signature-every", "20", "--rekey-every", "50"]);
    let mut place = Place::of(&service.directory);
    let mut snapshot = 0;
    for generation in 1..=3 {
        if generation == 3 {
            std::fs::remove_dir_all(place.directory.join("snapshots")).unwrap();
            snapshot = 0;
        }
        let mut node = place.start();
        let public = node.wait_for("PartOfPublicNetwork");
        assert_eq!(public["startup_seqno"], snapshot, "generation {generation}");
        node.open();
        // The opening asks for a snapshot; only a signature after its evidence commits it.
        snapshot = wait_for_snapshot(&mut node, &place, snapshot);
        let network = node.json("/node/network");
        assert_eq!(network["recovery_count"], generation);
        assert_eq!(network["current_view"], 2 + 2 * generation);
        node.stop();
        check_result(&place, &service.directory, 1 + usize::try_from(generation).unwrap());
        place = place.again();
    }
}

#[test]
fn an_open_service_is_governed_and_everything_that_was_done_survives_the_next_disaster() {
    let service = Service::made(&["--entries", "60", "--signature-every", "20"]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let member = &node.voters()[0];
    let user = member.member.certificate().to_pem();
    node.act("set_user", json!({"cert": user, "user_data": {"name": "first"}}));
    node.act("trigger_ledger_rekey", Value::Null);
    node.act(
        "set_member_data",
        json!({"member_id": member.member.id(), "member_data": {"x": [1]}}),
    );
    node.act("trigger_recovery_shares_refresh", Value::Null);
    let before = names(&place.ledger());
    node.act("trigger_ledger_chunk", Value::Null);
    node.wait_until("the chunk ends", |_| {
        let now = names(&place.ledger());
        (now.iter().filter(|name| name.ends_with(".committed")).count()
            > before.iter().filter(|name| name.ends_with(".committed")).count())
        .then_some(())
    });
    let old = wait_for_snapshot(&mut node, &place, 0);
    node.act("trigger_snapshot", Value::Null);
    wait_for_snapshot(&mut node, &place, old);
    node.act("trigger_ledger_rekey", Value::Null);
    let users = node.json("/gov/service/users?api-version=2024-07-01");
    let data = &users["value"][0]["userData"];
    assert_eq!(
        *data,
        json!({"user_data": {"name": "first"}}),
        "the whole record, as CCF answers it"
    );
    node.stop();
    check_result(&place, &service.directory, 2);

    let next = place.again();
    let mut node = next.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let again = node.json("/gov/service/users?api-version=2024-07-01");
    assert_eq!(users, again);
    let members = node.run(governance::members(node.client())).unwrap();
    assert!(members.iter().any(|member| member["memberData"] == json!({"x": [1]})));
    node.stop();
    check_result(&next, &service.directory, 3);
}

/// Fetches a receipt, checks it down to the service's key, and answers the digest of the entry that it is for.
#[track_caller]
fn receipt(node: &Node<'_>, txid: &str, service: &Certificate) -> [u8; 32] {
    let answer = node.get(&format!("/node/receipt?transaction_id={txid}")).success();
    let body = answer.unwrap_or_else(|why| panic!("{txid}: {why}")).body;
    let receipt = Receipt::parse(&body).unwrap_or_else(|why| panic!("{txid}: {why}"));
    receipt
        .verify(service.key())
        .unwrap_or_else(|why| panic!("{txid}: {why}"));
    assert!(matches!(receipt.signer, Signer::Node { .. }));
    assert!(
        receipt
            .leaf_components
            .commit_evidence
            .starts_with(&format!("ce:{txid}:"))
    );
    receipt.leaf_components.write_set_digest
}

/// The bytes of an entry as they are on disk.
fn entry(ledger: &Path, seqno: u64) -> Vec<u8> {
    let chunks = support::chunks(ledger);
    let (first, path) = chunks.into_iter().rfind(|(first, _)| *first <= seqno).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let mut walker = Walker::new(&bytes, Layout::read(&bytes).unwrap(), first);
    loop {
        match walker.step(&mut Vec::new()) {
            Step::Entry(located) if located.seqno == seqno => return located.entry.raw.to_vec(),
            Step::Entry(_) => {}
            _ => panic!("{seqno} is not there"),
        }
    }
}

#[test]
fn receipts_of_new_transactions_verify_at_once_and_those_of_old_ones_once_the_service_is_open() {
    let service = Service::made(&["--entries", "60", "--signature-every", "20", "--recoveries", "1"]);
    let old_identity = std::fs::read_to_string(service.common("service_cert.pem")).unwrap();
    let old_identity = Certificate::from_pem(&old_identity).unwrap();
    let last = seqno_of(service.expected()["last_signed"].as_str().unwrap());
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    let pem = std::fs::read_to_string(place.directory.join("service_cert.pem")).unwrap();
    let new_identity = Certificate::from_pem(&pem).unwrap();

    let old = format!("4.{}", last - 3);
    let refused = node.get(&format!("/node/receipt?transaction_id={old}"));
    assert_eq!(refused.status, 404);
    let created = format!("6.{}", last + 1);
    receipt(&node, &created, &new_identity);

    node.open();
    node.wait_for_commit();
    let digests = [
        receipt(&node, &created, &new_identity),
        receipt(&node, &old, &old_identity),
        receipt(&node, &format!("4.{}", last - 5), &old_identity),
    ];
    assert!(digests[0] != digests[1] && digests[1] != digests[2]);
    for (digest, seqno) in digests.into_iter().zip([last + 1, last - 3, last - 5]) {
        assert_eq!(digest, sha256(&entry(&place.ledger(), seqno)), "{seqno}");
    }
    for (txid, status) in [("2.999999", 404), ("1.1", 404), ("x", 400), ("4", 400)] {
        let answer = node.get(&format!("/node/receipt?transaction_id={txid}"));
        assert_eq!(answer.status, status, "{txid}");
    }
    node.stop();
}

#[test]
fn downloads_are_the_files() {
    let service = Service::made(&[
        "--entries",
        "100",
        "--signature-every",
        "20",
        "--snapshot-every",
        "40",
        "--chunk-size",
        "9000",
    ]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    wait_for_snapshot(&mut node, &place, 0);
    for (directory, path) in [("snapshots", "/node/snapshot"), ("ledger", "/node/ledger-chunk")] {
        let files: Vec<String> = names(&place.directory.join(directory))
            .into_iter()
            .filter(|name| name.ends_with(".committed"))
            .collect();
        assert!(files.len() > 1, "{files:?}");
        for name in files {
            let file = std::fs::read(place.directory.join(directory).join(&name)).unwrap();
            let answer = node.get(&format!("{path}/{name}"));
            assert_eq!(answer.status, 200, "{name}");
            assert!(answer.body == file, "{name}");
            // Only names that are names of files there.
            for wrong in [
                format!("{path}/..%2f{directory}%2f{name}"),
                format!("{path}/{name}.part"),
                format!("{path}/0{name}"),
            ] {
                assert_eq!(node.get(&wrong).status, 404, "{wrong}");
            }
        }
    }
    // Without a name: the newest, and the one that holds a seqno, by redirect.
    assert!(node.get("/node/snapshot").success().is_ok());
    let chunk = node.get("/node/ledger-chunk?since=1").success().unwrap();
    let (_, first) = &support::chunks(&place.ledger())[0];
    assert!(chunk.body == std::fs::read(first).unwrap());
    assert_eq!(node.get("/node/ledger-chunk?since=99999").status, 404);
    assert_eq!(node.get("/node/ledger-chunk?since=x").status, 400);
    node.stop();
}

/// When a line of the log was written.
fn logged(log: &str, words: &str) -> SystemTime {
    let line = log.lines().find(|line| line.contains(words)).expect(words);
    let text = line.split_whitespace().next().unwrap();
    let format = time::format_description::well_known::Rfc3339;
    SystemTime::from(time::OffsetDateTime::parse(text, &format).unwrap())
}

#[test]
fn an_operator_finds_pid_addresses_and_certificates_before_the_ledger_is_read() {
    let service = Service::made(&["--entries", "3000", "--signature-every", "10"]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    let file = |name: &str| std::fs::read_to_string(place.directory.join(name)).unwrap();
    assert_eq!(file("node.pid"), node.pid().to_string());
    let addresses: Value = serde_json::from_str(&file("rpc_addresses.json")).unwrap();
    assert_eq!(format!("https://{}", addresses["test"].as_str().unwrap()), node.url);
    let own = Certificate::from_pem(&file("node_cert.pem")).unwrap();
    own.is_signed_by(own.key()).expect("signed by itself");
    let early = node.state();
    assert_eq!(early["node_id"], hex::encode(own.key_id()));

    node.wait_for("PartOfPublicNetwork");
    let log = node.log();
    let written = |name: &str| {
        std::fs::metadata(place.directory.join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let reads = logged(&log, "to=\"ReadingPublicLedger\"");
    let done = logged(&log, "to=\"PartOfPublicNetwork\"");
    for name in ["node.pid", "rpc_addresses.json", "node_cert.pem", "service_cert.pem"] {
        assert!(written(name) <= reads, "{name} comes too late");
    }
    assert!(done.duration_since(reads).unwrap() > Duration::from_millis(20), "{log}");
    let node_address: Value = serde_json::from_str(&file("node_address.json")).unwrap();
    assert!(node_address["node_to_node_interface"].is_string());

    // The certificate on disk is that of the service that comes.
    let service = node.json("/node/network")["service_certificate"].clone();
    assert_eq!(service, file("service_cert.pem"));
    node.wait_for_members();
    node.run(governance::network(node.client()))
        .expect("the node is endorsed by it");
    node.stop();
}

/// Recovers a copy of a real ledger, by the members named if any are.
#[track_caller]
fn recovers_real(name: &str, snapshots: bool, only: &[&str]) -> Option<Place> {
    let original = ledgers()?.join(name);
    let place = Place::of(&original).with_previous_identity();
    if !snapshots {
        std::fs::remove_dir_all(place.directory.join("snapshots")).unwrap();
    }
    let report = rekindle!["verify", "--json", place.ledger()].json();
    let before = report["services"].as_array().unwrap().len();
    let mut node = place.start();
    let public = node.wait_for("PartOfPublicNetwork");
    assert_eq!(public["startup_seqno"].as_u64().unwrap() > 0, snapshots);
    node.wait_for_members();
    node.pass(&node.opening());
    let mut keys = place.keys();
    keys.retain(|keys| only.is_empty() || only.contains(&keys.name.as_str()));
    node.submit_shares(&keys);
    node.wait_until_open();
    node.stop();
    check_result(&place, &original, before + 1);
    Some(place)
}

#[test]
fn the_real_ledger_acme_is_recovered() {
    recovers_real("acme_containing_service", false, &[]);
}

#[test]
fn the_real_ledger_of_an_expired_service_is_recovered_from_its_snapshot_and_without() {
    recovers_real("expired_service", true, &[]);
    recovers_real("expired_service", false, &[]);
}

#[test]
fn the_real_ledger_with_an_owner_is_recovered_by_the_owner_alone_and_by_the_others() {
    recovers_real("real_owner", false, &["member3"]);
    recovers_real("real_owner", false, &["member0", "member1"]);
}

#[test]
fn every_write_of_the_real_ledger_real_small_is_in_the_recovered_ledger() {
    let Some(place) = recovers_real("real_small", true, &[]) else {
        return;
    };
    let original = ledgers().unwrap().join("real_small");
    let text = std::fs::read_to_string(original.join("expected-writes.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let mut wanted = Vec::new();
    for (visibility, keys) in expected.as_object().unwrap() {
        for (key, writes) in keys.as_object().unwrap() {
            for write in writes.as_array().unwrap() {
                let message = write["msg"].to_string();
                wanted.push((
                    write["seqno"].as_u64().unwrap(),
                    visibility == "private",
                    key.clone(),
                    message,
                ));
            }
        }
    }
    let history = Service::at(place.directory.clone()).export(true, &["--history", "--table", "^(public:)?records$"]);
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let mut found: Vec<_> = history
        .iter()
        .map(|line| {
            let private = line["private"].as_bool().unwrap();
            (
                line["seqno"].as_u64().unwrap(),
                private,
                text(line, "key"),
                text(line, "value"),
            )
        })
        .collect();
    wanted.sort();
    found.sort();
    assert!(wanted.len() > 300);
    assert_eq!(found, wanted);
}
