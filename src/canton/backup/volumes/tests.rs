use serde_json::{Value, json};

use super::*;
use crate::canton::backup::order::{ByTimes, by_times};

/// As Splice's script names them: the volume, then the second in which the script was started.
fn volume(claim: &str, run: &str, migration: &str, creation: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {
            "name": format!("{claim}-{run}"),
            "namespace": "sv-1",
            "creationTimestamp": creation,
            "annotations": {"migrationId": migration, "kubectl.kubernetes.io/last-applied-configuration": "{}"}
        },
        "spec": {"source": {"persistentVolumeClaimName": claim}, "volumeSnapshotClassName": "dev-vsc"},
        "status": {"creationTime": creation, "readyToUse": true, "restoreSize": "20Gi"}
    })
}

fn cloud(instance: &str, run: Option<&str>, start: &str, end: &str) -> Value {
    let mut run_of_it = json!({
        "backupKind": "SNAPSHOT", "enqueuedTime": start, "endTime": end, "id": "1713741000000", "instance": instance,
        "kind": "sql#backupRun", "startTime": start, "status": "SUCCESSFUL", "type": "ON_DEMAND", "windowStartTime": start
    });
    if let Some(run) = run {
        run_of_it["description"] = run.into();
    }
    run_of_it
}

fn read(list: &Value) -> Vec<Snapshot> {
    parse(&serde_json::to_vec(list).unwrap()).unwrap()
}

fn order(set: &Set) -> ByTimes {
    let apps = Snapshot::window_of(&set.apps);
    let participant = Snapshot::window_of(&set.participant);
    by_times(apps.as_ref(), participant.as_ref())
}

const RUN: &str = "1713741000";

fn run_of(run: &str, minute: u32) -> Vec<Value> {
    let at = |second: u32| format!("2024-04-21T23:{minute:02}:{second:02}Z");
    vec![
        volume("pg-data-sv-1-cn-apps-pg-0", run, "3", &at(0)),
        volume("pg-data-sv-1-sequencer-pg-0", run, "3", &at(1)),
        volume("pg-data-sv-1-mediator-pg-0", run, "3", &at(1)),
        volume("global-domain-3-cometbft-cometbft-data", run, "3", &at(1)),
        volume("pg-data-sv-1-participant-pg-0", run, "3", &at(30)),
    ]
}

#[test]
fn the_newest_whole_run_is_chosen_and_in_order() {
    let mut items = run_of("1713740000", 10);
    items.extend(run_of(RUN, 25));
    // The newest run has not come to its participant yet.
    items.extend(run_of("1713749999", 50).into_iter().take(3));
    let snapshots = read(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    let set = choose(&snapshots);
    let runs: Vec<_> = set
        .apps
        .iter()
        .chain(&set.participant)
        .chain(&set.others)
        .map(|s| s.run.as_deref())
        .collect();
    assert_eq!(runs, [Some(RUN); 5]);
    assert_eq!(set.participant.as_ref().unwrap().migration, Some(3));
    assert_eq!(order(&set), ByTimes::Before);
    // The order in the list changes nothing.
    let reversed: Vec<_> = snapshots.iter().rev().cloned().collect();
    let again = choose(&reversed);
    assert_eq!((again.apps, again.participant), (set.apps, set.participant));
}

#[test]
fn snapshots_of_the_same_second_prove_nothing() {
    let at = "2024-04-21T23:25:00Z";
    let later = "2024-04-21T23:25:01Z";
    let pair = |participant: &str| {
        let items = [
            volume("apps-pg", RUN, "3", at),
            volume("participant-pg", RUN, "3", participant),
        ];
        order(&choose(&read(&json!(items))))
    };
    assert_eq!(pair(at), ByTimes::Overlap);
    assert_eq!(pair(later), ByTimes::Before);
    assert_eq!(pair("2024-04-21T23:24:59Z"), ByTimes::After);
}

#[test]
fn cloud_backups_are_in_order_where_one_ends_before_the_other_starts() {
    let apps = cloud(
        "sv-1-cn-apps-pg-1a2b",
        Some(RUN),
        "2024-04-21T23:20:00.123Z",
        "2024-04-21T23:25:00.500Z",
    );
    let pair = |start: &str| {
        let participant = cloud("sv-1-participant-pg-3c4d", Some(RUN), start, "2024-04-21T23:59:00.000Z");
        order(&choose(&read(&json!([apps, participant]))))
    };
    assert_eq!(pair("2024-04-21T23:25:00.501Z"), ByTimes::Before);
    assert_eq!(pair("2024-04-21T23:25:00.500Z"), ByTimes::Overlap);
    assert_eq!(pair("2024-04-21T23:21:00.000Z"), ByTimes::Overlap);
}

#[test]
fn backups_without_a_mark_are_paired_by_time() {
    let day = |instance: &str, day: u32, hour: u32| {
        let (start, end) = (
            format!("2024-04-{day:02}T{hour:02}:00:00Z"),
            format!("2024-04-{day:02}T{hour:02}:30:00Z"),
        );
        cloud(instance, None, &start, &end)
    };
    let items = [
        day("participant", 20, 4),
        day("participant", 21, 4),
        day("sv-app", 21, 2),
        day("sv-app", 20, 2),
        day("scan", 21, 3),
        // From after the participant's.
        day("scan", 21, 5),
    ];
    let set = choose(&read(&json!(items)));
    let names: Vec<_> = set.apps.iter().map(|apps| apps.name.as_str()).collect();
    assert_eq!(
        names,
        ["scan of 2024-04-21T03:00:00Z", "sv-app of 2024-04-21T02:00:00Z"]
    );
    assert_eq!(order(&set), ByTimes::Before);
}

#[test]
fn what_is_not_ready_says_so_and_a_ready_run_is_preferred() {
    let mut apps = volume("cn-apps-pg", "1713749999", "3", "2024-04-21T23:50:00Z");
    let participant = volume("participant-pg", "1713749999", "3", "2024-04-21T23:51:00Z");
    apps["status"]["readyToUse"] = false.into();
    let set = choose(&read(&json!([apps, participant])));
    assert_eq!(set.apps[0].defect.as_deref(), Some("it is not ready to use"));
    apps["status"]["error"] = json!({"message": "no space\u{1b}[2J"});
    let mut items = vec![apps.clone(), participant.clone()];
    assert_eq!(
        read(&json!(items))[0].defect.as_deref(),
        Some("it failed: no space\\u{1b}[2J")
    );
    items.extend(run_of(RUN, 25));
    assert_eq!(
        choose(&read(&json!(items))).participant.unwrap().run.as_deref(),
        Some(RUN)
    );
    let mut failed = cloud("apps", None, "2024-04-21T23:20:00Z", "2024-04-21T23:25:00Z");
    failed["status"] = "FAILED".into();
    assert_eq!(read(&failed)[0].defect.as_deref(), Some("its status is FAILED"));
    // Just asked for: no status yet.
    let mut young = volume("cn-apps-pg", RUN, "3", "2024-04-21T23:50:00Z");
    young.as_object_mut().unwrap().remove("status");
    let young = &read(&young)[0];
    assert!(young.window.is_none() && young.defect.is_some());
}

#[test]
fn what_is_something_else_is_refused_in_words() {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let deep_items = "{\"items\":[".repeat(10_000);
    let volume = serde_json::to_string(&volume("apps", RUN, "3", "2024-04-21T23:25:00Z")).unwrap();
    let twice = volume.replace("\"status\":", "\"status\":{\"readyToUse\":true},\"status\":");
    let twice_inside = volume.replace("\"readyToUse\":true", "\"readyToUse\":true,\"readyToUse\":false");
    let huge = volume.replace("\"readyToUse\":true", "\"readyToUse\":1e999999");
    for text in [
        &deep[..],
        deep_items.as_bytes(),
        twice.as_bytes(),
        twice_inside.as_bytes(),
        huge.as_bytes(),
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{\"items\":[]}",
        b"<html>",
        b"[1e400]",
        b"{\"kind\":\"Pod\"}",
        b"\xff\xfe",
        b"{\"error\":\"forbidden\"}",
    ] {
        let refused = parse(text).unwrap_err().to_string();
        assert!(refused.contains("expected the output of"), "{refused}");
    }
    let many = format!("[{}]", vec![volume.as_str(); MOST_SNAPSHOTS + 1].join(","));
    assert!(parse(many.as_bytes()).is_err());
    assert_eq!(parse(volume.as_bytes()).unwrap().len(), 1);
    assert_eq!(parse(format!("\u{feff}{volume}").as_bytes()).unwrap().len(), 1);
}

#[test]
fn names_tell_what_a_volume_is_of() {
    let expected = [
        ("pg-data-validator1-participant-pg-0", Some(Role::Participant)),
        ("pg-data-validator1-validator-pg-0", Some(Role::Apps)),
        ("pg-data-sv-1-sv-app-0-pg-0", Some(Role::Apps)),
        ("global-domain-0-cometbft-cometbft-data", Some(Role::Cometbft)),
        ("sv-2-sequencer-0-pg", Some(Role::Sequencer)),
        ("postgres", None),
    ];
    for (name, role) in expected {
        assert_eq!(super::role(name), role, "{name}");
    }
}
