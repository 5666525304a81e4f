//! What is decided at an edge, or by the last of several.

use super::*;

#[test]
fn one_schema_that_followed_another_participant_is_enough() {
    for schema in ["a", "z"] {
        let mut case = good();
        histories(&mut case.backups[0].facts, schema, OTHER);
        assert_eq!(judged(&case).0.lineage.same, Some(false), "{schema}");
    }
}

#[test]
fn a_ledger_published_after_the_apps_backup_is_from_after_it() {
    let mut case = good();
    case.backups[0].facts = Facts::default();
    stores(&mut case.backups[0].facts, "sv", &[&["1", "3", "-"]]);
    case.backups[0].window = window("2026-01-09T23:00:00Z", "2026-01-09T23:59:58Z");
    // Its zone is not known; its ledger's end was published at midnight.
    case.backups[1].window = window("2026-01-09T10:00:00Z", "2026-01-10T14:00:00Z");
    let proven = judged(&case).0.order;
    assert_eq!((proven.proof, proven.holds), (Proof::Times, Some(true)));
}

#[test]
fn a_backup_that_breaks_off_is_incomplete_and_the_limit_is_the_limit() {
    let mut case = good();
    case.backups[0].is_complete = false;
    assert_eq!(judged(&case).0.verdict, Verdict::Incomplete);
    let mut case = good();
    let day = window("2025-12-12T00:00:00Z", "2025-12-12T00:00:00Z").map(|mut window| {
        window.start.latest = window.start.earliest;
        window
    });
    case.backups[0].window = day.clone();
    case.backups[1].window = day;
    assert!(judged(&case).1.contains(&Code::TooOld));
    case.now = case.now.plus_seconds(-1);
    assert!(judged(&case).0.restorable);
}

#[test]
fn of_two_rows_of_a_ledger_the_one_that_reaches_less_far_is_believed() {
    for ends in [["16", "15"], ["15", "16"]] {
        let mut case = good();
        let mut facts = Facts::default();
        let table = table("participant", "lapi_parameters", "participant_id ledger_end");
        rows(&mut facts, &table, &[&[MINE, ends[0]], &[MINE, ends[1]]]);
        case.backups[1].facts = facts;
        assert_eq!(judged(&case).0.verdict, Verdict::Inconsistent);
    }
}

#[test]
fn a_dump_takes_its_snapshot_shortly_after_its_start() {
    let mut case = good();
    case.backups[0].facts = Facts::default();
    stores(&mut case.backups[0].facts, "sv", &[&["1", "3", "-"]]);
    case.backups[0].window = Window::of_file_name("validator-2026-01-10T10:00:00Z.dump");
    let mut proof = |name: &str| {
        case.backups[1].window = Window::of_file_name(name);
        judged(&case).0.order.proof
    };
    assert_eq!(proof("participant-2026-01-10T10:00:05Z.dump"), Proof::Unproven);
    assert_eq!(proof("participant-2026-01-10T10:00:12Z.dump"), Proof::Times);
}

#[test]
fn rolling_forward_needs_no_identities() {
    let mut case = good();
    case.is_network_down = true;
    case.splice = Some("0.6.7".parse().unwrap());
    assert!(judged(&case).0.path.missing.is_empty());
}

#[test]
fn the_latest_version_of_a_store_is_not_superseded() {
    let mut case = good();
    case.backups[1].facts = ledger("20", "13", MINE);
    stores(&mut case.backups[0].facts, "sv", &[&["8", "3", "12"]]);
    let json = format!(r#"{{"name":"N","participant":"{MINE}","party":"P","version":2}}"#);
    let descriptors = table("sv", "store_descriptors", "descriptor id");
    rows(&mut case.backups[0].facts, &descriptors, &[&[&json, "8"]]);
    assert!(judged(&case).1.contains(&Code::PrunedBeyondStore));
    assert!(
        judged(&case)
            .0
            .findings
            .iter()
            .any(|finding| finding.message.contains("store 8") || finding.message.contains("update history 1"))
    );
}

#[test]
fn snapshots_of_different_migrations_do_not_belong_together_whatever_the_others_are_of() {
    let snapshot = |name: &str, migration: u32, at: &str| {
        format!(
            r#"{{"kind":"VolumeSnapshot","metadata":{{"name":"{name}-1713741000","annotations":{{"migrationId":"{migration}"}}}},"status":{{"creationTime":"{at}","readyToUse":true}}}}"#
        )
    };
    for (of_apps, differs) in [(2, true), (3, false)] {
        let list = [
            snapshot("apps", of_apps, "2026-01-10T20:00:00Z"),
            snapshot("participant", 3, "2026-01-10T20:10:00Z"),
            // Not chosen, as no apps go with it.
            snapshot("sequencer", 4, "2026-01-10T20:10:00Z"),
        ];
        let mut case = case(Vec::new());
        case.volumes = volumes::parse(format!("[{}]", list.join(",")).as_bytes()).unwrap();
        let (report, codes) = judged(&case);
        assert_eq!(codes.contains(&Code::MigrationsDiffer), differs, "{report:#?}");
        assert_eq!(report.lineage.migration, Some(3));
    }
}

#[test]
fn backups_of_another_migration_are_not_recommended_and_what_is_missing_is_said() {
    for (now, lacking) in [(4, "backups of migration 4"), (2, "--migration 2")] {
        let mut case = good();
        case.migration = Some(now);
        let report = judged(&case).0;
        assert!(!report.restorable);
        assert_eq!((report.path.recommended, report.path.command), (Way::ProveBackup, None));
        let missing = &report.path.missing;
        assert!(
            missing.len() == 1 && missing[0].contains(lacking) && missing[0].contains("migration 3"),
            "{missing:?}"
        );
        case.migration = Some(3);
        assert!(judged(&case).0.restorable);
    }
}
