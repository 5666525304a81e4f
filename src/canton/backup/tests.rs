mod edges;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::facts::Facts;
use super::instant::{By, Window};
use super::order::Proof;
use super::path::{Identities, Way};
use super::*;
use crate::canton::dump::{Rows, Span, Table};
use crate::canton::{Code, Findings, Timestamp};

const MINE: &str = "Digital-Asset-1::12205f1149bc00000000000000000000000000000000000000000000000000000000";
const OTHER: &str = "Digital-Asset-2::12205f1149bc00000000000000000000000000000000000000000000000000000000";
/// The same as the first one as far as logs tell.
const ALIKE: &str = "Digital-Asset-1::12205f1149bc00000000000000000000000000000000000000000000000000000001";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn table(schema: &str, name: &str, columns: &str) -> Table {
    Table {
        database: None,
        schema: schema.to_owned(),
        name: name.to_owned(),
        columns: columns.split(' ').map(str::to_owned).collect(),
    }
}

/// Gives rows, of which `-` is NULL, as a reader of dumps does.
fn rows(facts: &mut Facts, table: &Table, rows: &[&[&str]]) {
    assert!(facts.wants(table));
    for row in rows {
        let fields: Vec<_> = row
            .iter()
            .map(|field| (*field != "-").then_some(field.as_bytes()))
            .collect();
        facts.row(table, &fields);
    }
}

fn stores(facts: &mut Facts, schema: &str, of: &[&[&str]]) {
    rows(
        facts,
        &table(
            schema,
            "store_last_ingested_offsets",
            "store_id migration_id last_ingested_offset",
        ),
        of,
    );
}

fn histories(facts: &mut Facts, schema: &str, participant: &str) {
    let columns = "id party participant_id store_name";
    rows(
        facts,
        &table(schema, "update_history_descriptors", columns),
        &[&["1", "DSO", participant, "s"]],
    );
    let columns = "history_id migration_id last_ingested_offset";
    rows(
        facts,
        &table(schema, "update_history_last_ingested_offsets", columns),
        &[&["1", "3", "5"]],
    );
}

fn ledger(end: &str, pruned: &str, participant: &str) -> Facts {
    let mut facts = Facts::default();
    let columns = "participant_id ledger_end_publication_time ledger_end participant_pruned_up_to_inclusive";
    let table = table("participant", "lapi_parameters", columns);
    rows(&mut facts, &table, &[&[participant, "1768003200000000", end, pruned]]);
    facts
}

fn backup(role: Role, facts: Facts) -> Backup {
    Backup {
        name: format!("{role:?}.sql"),
        role,
        facts,
        window: None,
        is_complete: true,
        is_readable: true,
        is_running: false,
        database: None,
    }
}

fn window(start: &str, end: &str) -> Option<Window> {
    let second = |text: &str| Span {
        earliest: at(text),
        latest: at(text).plus_micros(999_999),
    };
    Some(Window {
        start: second(start),
        end: Some(second(end)),
        by: By::Comments,
    })
}

fn case(backups: Vec<Backup>) -> Case {
    Case {
        backups,
        has_cometbft: false,
        stated: Vec::new(),
        migration: None,
        volumes: Vec::new(),
        identities: Identities::None,
        identities_of: None,
        splice: None,
        is_network_down: false,
        is_kms_reachable: false,
        now: at("2026-01-11T00:00:00Z"),
        max_age_s: age::LIMIT,
    }
}

/// Apps that have read up to 16 and a participant whose ledger ends there.
fn good() -> Case {
    let mut facts = Facts::default();
    stores(&mut facts, "sv", &[&["1", "3", "000000000000000010"]]);
    histories(&mut facts, "sv", &format!("PAR::{MINE}"));
    case(vec![
        backup(Role::Apps, facts),
        backup(Role::Participant, ledger("16", "-", MINE)),
    ])
}

fn judged(case: &Case) -> (Report, BTreeSet<Code>) {
    let report = judge(case, Findings::default());
    let codes = report.findings.iter().map(|finding| finding.code).collect();
    (report, codes)
}

#[test]
fn what_fits_together_is_proven_and_can_be_restored() {
    let (report, codes) = judged(&good());
    assert_eq!((report.verdict, report.restorable), (Verdict::Consistent, true));
    assert_eq!((report.order.proof, report.order.compared), (Proof::Offsets, 2));
    assert_eq!(report.path.recommended, Way::Restore);
    assert_eq!(codes, BTreeSet::from([Code::PartNotGiven]));
    assert_eq!(report.missing, ["sequencer", "mediator", "cometbft", "identities"]);
    assert!(report.lineage.same == Some(true) && report.lineage.migration == Some(3));
}

/// Changes of the good case, and the code that each must be told by.
#[test]
fn each_thing_that_can_be_wrong_has_its_code() {
    type Change = fn(&mut Case);
    fn apps(case: &mut Case) -> &mut Facts {
        &mut case.backups[0].facts
    }
    fn windows(case: &mut Case, apps: Option<Window>, participant: Option<Window>) {
        case.backups[0].window = apps;
        case.backups[1].window = participant;
    }
    /// No offsets, so that times decide.
    fn timed(case: &mut Case, apps: Option<Window>, participant: Option<Window>) {
        case.backups[0].facts = Facts::default();
        stores(&mut case.backups[0].facts, "sv", &[&["1", "3", "-"]]);
        windows(case, apps, participant);
    }
    const T: [&str; 4] = [
        "2026-01-10T00:00:00Z",
        "2026-01-10T00:10:00Z",
        "2026-01-10T00:20:00Z",
        "2026-01-10T00:30:00Z",
    ];
    let changes: &[(Code, Verdict, Change)] = &[
        (Code::AppsAhead, Verdict::Inconsistent, |c| {
            stores(apps(c), "scan", &[&["1", "3", "17"]])
        }),
        (Code::TakenAfter, Verdict::Inconsistent, |c| {
            timed(c, window(T[2], T[3]), window(T[0], T[1]))
        }),
        (Code::OrderUnproven, Verdict::Unproven, |c| {
            timed(c, window(T[0], T[2]), window(T[1], T[3]))
        }),
        (Code::OrderUnproven, Verdict::Unproven, |c| {
            timed(c, window(T[0], T[1]), window(T[1], T[2]))
        }),
        (Code::OrderUnproven, Verdict::Unproven, |c| {
            timed(c, None, window(T[1], T[2]))
        }),
        (Code::LaxOrder, Verdict::Unproven, |c| {
            timed(c, window(T[0], T[2]), window(T[1], T[2]))
        }),
        (Code::TimesContradict, Verdict::Consistent, |c| {
            windows(c, window(T[2], T[3]), window(T[0], T[1]))
        }),
        (Code::TimesOverlap, Verdict::Consistent, |c| {
            windows(c, window(T[0], T[1]), window(T[1], T[2]))
        }),
        (Code::OffsetUnreadable, Verdict::Unproven, |c| {
            stores(apps(c), "sv", &[&["2", "3", "what"]])
        }),
        (Code::OffsetUnreadable, Verdict::Unproven, |c| {
            c.backups[1].facts = ledger("what", "-", MINE)
        }),
        (Code::NothingIngested, Verdict::Unproven, |c| timed(c, None, None)),
        (Code::EmptyParticipant, Verdict::Inconsistent, |c| {
            c.backups[1].facts = ledger("-", "-", MINE)
        }),
        (Code::PrunedBeyondApp, Verdict::Consistent, |c| {
            c.backups[1].facts = ledger("20", "17", MINE)
        }),
        (Code::PrunedBeyondStore, Verdict::Consistent, |c| {
            c.backups[1].facts = ledger("20", "16", MINE)
        }),
        (Code::OtherParticipant, Verdict::Inconsistent, |c| {
            c.backups[1].facts = ledger("16", "-", OTHER)
        }),
        (Code::OtherParticipant, Verdict::Inconsistent, |c| {
            c.backups[1].facts = ledger("16", "-", ALIKE)
        }),
        (Code::LineageUnknown, Verdict::Consistent, |c| {
            c.backups[1].facts = ledger("16", "-", "-")
        }),
        (Code::MigrationsDiffer, Verdict::Consistent, |c| {
            stores(apps(c), "scan", &[&["1", "2", "99"]])
        }),
        (Code::MigrationsDiffer, Verdict::Consistent, |c| {
            c.backups[1].database = Some("participant_4".into())
        }),
        (Code::MigrationsDiffer, Verdict::Consistent, |c| c.migration = Some(4)),
        (Code::SynchronizersDiffer, Verdict::Consistent, |c| {
            let columns = "synchronizer_alias status physical_synchronizer_id";
            let connections = table("participant", "par_synchronizer_connection_configs", columns);
            rows(
                &mut c.backups[1].facts,
                &connections,
                &[&["global", "A", "a::35-3"], &["global", "U", "a::35-4"]],
            );
            let mut facts = Facts::default();
            let table = table(
                "s",
                "sequencer_synchronizer_configuration",
                "lock physical_synchronizer_id",
            );
            rows(&mut facts, &table, &[&["X", "a::35-4"]]);
            c.backups.push(backup(Role::Sequencer, facts));
        }),
        (Code::WrongRole, Verdict::Incomplete, |c| {
            c.backups[0].facts = ledger("16", "-", MINE)
        }),
        (Code::WrongRole, Verdict::Incomplete, |c| {
            c.backups[0].facts = Facts::default()
        }),
        (Code::SeveralLedgers, Verdict::Consistent, |c| {
            c.backups.push(backup(Role::Participant, ledger("1", "-", OTHER)));
        }),
        (Code::SeveralLedgers, Verdict::Inconsistent, |c| {
            c.backups.push(backup(Role::Participant, ledger("15", "-", MINE)));
        }),
        (Code::RoleMissing, Verdict::Incomplete, |c| c.backups.truncate(1)),
        (Code::RoleMissing, Verdict::Incomplete, |c| _ = c.backups.remove(0)),
        (Code::TooOld, Verdict::Consistent, |c| {
            windows(
                c,
                window("2025-12-11T00:00:00Z", "2025-12-11T01:00:00Z"),
                window(T[0], T[1]),
            );
        }),
        (Code::AgeUnknown, Verdict::Consistent, |c| {
            c.now = at("2026-02-10T00:00:00Z")
        }),
        (Code::InFuture, Verdict::Consistent, |c| {
            c.now = at("2026-01-09T00:00:00Z")
        }),
        (Code::CadenceMissed, Verdict::Consistent, |c| {
            windows(c, window(T[0], T[1]), window(T[2], T[3]))
        }),
        (Code::PartNotGiven, Verdict::Consistent, |_| {}),
        (Code::RunningDatabase, Verdict::Consistent, |c| {
            c.backups[1].is_running = true
        }),
        (Code::SnapshotNotReady, Verdict::Incomplete, |c| {
            c.backups.remove(1);
            let list = r#"{"instance":"participant","startTime":"2026-01-10T00:00:00Z","endTime":"2026-01-10T00:00:00Z","status":"FAILED"}"#;
            c.volumes = volumes::parse(list.as_bytes()).unwrap();
        }),
        (Code::Unclassified, Verdict::Consistent, |c| {
            let list = r#"{"instance":"data","startTime":"2026-01-10T00:00:00Z"}"#;
            c.volumes = volumes::parse(list.as_bytes()).unwrap();
        }),
        (Code::TooMuch, Verdict::Consistent, |c| {
            for schema in 0..300 {
                let table = table(&schema.to_string(), "store_descriptors", "id descriptor");
                apps(c).wants(&table);
            }
        }),
        (Code::IdentitiesUnverified, Verdict::Consistent, |c| {
            c.identities = Identities::Unverified("null".into());
        }),
        (Code::IdentitiesOfOther, Verdict::Consistent, |c| {
            c.identities_of = Some(format!("PAR::{OTHER}"))
        }),
    ];
    for (number, (code, verdict, change)) in changes.iter().enumerate() {
        let mut case = good();
        change(&mut case);
        let (report, codes) = judged(&case);
        assert!(codes.contains(code), "{number}: {code:?}: {report:#?}");
        assert_eq!(report.verdict, *verdict, "{number}: {code:?}: {report:#?}");
        let is_told_only_by_it = !judged(&good()).1.contains(code) || *code == Code::PartNotGiven;
        assert!(is_told_only_by_it, "{code:?}");
    }
    let tested: BTreeSet<Code> = changes.iter().map(|(code, _, _)| *code).collect();
    let mine = |code: &&Code| ("C0101".."C0140").contains(&code.as_str());
    let all: BTreeSet<Code> = Code::ALL.iter().filter(mine).copied().collect();
    assert_eq!(tested, all);
}

#[test]
fn times_prove_the_order_where_there_are_no_offsets() {
    let mut case = good();
    case.backups[0].facts = Facts::default();
    stores(&mut case.backups[0].facts, "sv", &[&["1", "3", "-"]]);
    case.backups[0].window = window("2026-01-10T00:00:00Z", "2026-01-10T00:10:00Z");
    case.backups[1].window = window("2026-01-10T00:10:01Z", "2026-01-10T00:20:00Z");
    let (report, _) = judged(&case);
    assert_eq!((report.order.proof, report.order.holds), (Proof::Times, Some(true)));
    assert_eq!((report.verdict, report.restorable), (Verdict::Consistent, true));
}

#[test]
fn offsets_of_earlier_migrations_and_superseded_stores_do_not_count() {
    let mut case = good();
    stores(&mut case.backups[0].facts, "sv", &[&["1", "2", "9999"]]);
    assert_eq!(judged(&case).0.verdict, Verdict::Consistent);
    // Store 7 was put in the place of by store 8, a later version of the same.
    case.backups[1].facts = ledger("20", "5", MINE);
    stores(&mut case.backups[0].facts, "sv", &[&["7", "3", "2"], &["8", "3", "12"]]);
    assert!(judged(&case).1.contains(&Code::PrunedBeyondStore));
    let descriptor = |version: u32| {
        format!(r#"{{"key":{{"a":[1]}},"name":"N","participant":"{MINE}","party":"P","version":{version}}}"#)
    };
    let (old, new) = (descriptor(1), descriptor(2));
    let descriptors = table("sv", "store_descriptors", "descriptor id");
    rows(&mut case.backups[0].facts, &descriptors, &[&[&old, "7"], &[&new, "8"]]);
    assert!(!judged(&case).1.contains(&Code::PrunedBeyondStore));
}

#[test]
fn snapshots_stand_in_for_databases_that_were_not_given() {
    let snapshot = |of: &str, start: &str, end: &str| {
        format!(
            r#"{{"instance":"{of}","startTime":"{start}","endTime":"{end}","status":"SUCCESSFUL","description":"1"}}"#
        )
    };
    let list = [
        snapshot("cn-apps", "2026-01-10T20:00:00Z", "2026-01-10T20:10:00Z"),
        snapshot("participant", "2026-01-10T20:10:01Z", "2026-01-10T20:20:00Z"),
        snapshot("sequencer", "2026-01-10T20:10:01Z", "2026-01-10T20:20:00Z"),
        snapshot("mediator", "2026-01-10T20:10:01Z", "2026-01-10T20:20:00Z"),
    ];
    let mut case = case(Vec::new());
    case.volumes = volumes::parse(format!("[{}]", list.join(",")).as_bytes()).unwrap();
    case.identities = Identities::Plaintext { full: true };
    let (report, codes) = judged(&case);
    assert_eq!(
        (report.verdict, report.order.proof),
        (Verdict::Consistent, Proof::Times)
    );
    assert!(report.restorable && report.missing == ["cometbft"], "{report:#?}");
    assert_eq!(codes, BTreeSet::from([Code::PartNotGiven, Code::LineageUnknown]));
    // A dump of the apps is judged, and not their snapshot, whatever is wrong with that.
    let mut mixed = case.clone();
    mixed.volumes[0].defect = Some("broken".into());
    assert_eq!(judged(&mixed).0.verdict, Verdict::Incomplete);
    mixed.backups.push(good().backups.remove(0));
    mixed.backups[0].window = window("2026-01-10T20:00:00Z", "2026-01-10T20:10:01Z");
    assert_eq!(judged(&mixed).0.verdict, Verdict::Unproven);
    mixed.backups[0].window = window("2026-01-10T20:00:00Z", "2026-01-10T20:10:00Z");
    assert_eq!(judged(&mixed).0.verdict, Verdict::Consistent);
    assert_eq!(
        (report.path.recommended, report.path.fallback),
        (Way::Restore, Some(Way::Reonboard))
    );
    case.is_network_down = true;
    case.splice = Some("0.6.3".parse().unwrap());
    assert_eq!(judged(&case).0.path.recommended, Way::RollForwardLsu);
}

#[test]
fn hostile_rows_keep_memory_bounded_and_the_largest_offset() {
    let mut facts = Facts::default();
    let offsets = table(
        "sv",
        "store_last_ingested_offsets",
        "store_id migration_id last_ingested_offset",
    );
    assert!(facts.wants(&offsets));
    let mut give = |store: u64, migration: u64, offset: u64| {
        let (store, migration, offset) = (store.to_string(), migration.to_string(), offset.to_string());
        facts.row(
            &offsets,
            &[
                Some(store.as_bytes()),
                Some(migration.as_bytes()),
                Some(offset.as_bytes()),
            ],
        );
    };
    for store in 0..250_000 {
        give(store, 3, store);
    }
    // Each migration later than the one before.
    for migration in 4..1000 {
        give(1, migration, 1_000_000 - migration);
    }
    let apps = facts.apps.values().next().unwrap();
    assert!(apps.left_out > 0 && apps.offsets.values().map(|readers| readers.len()).sum::<usize>() < 10);
    let (migration, readers) = apps.offsets.last_key_value().unwrap();
    assert_eq!(
        (*migration, readers.values().flatten().next().unwrap().number()),
        (999, 999_001)
    );
    // Fields missing, of other types, and too many.
    let mut facts = Facts::default();
    for columns in [
        "",
        "store_id",
        "last_ingested_offset migration_id",
        "x last_ingested_offset",
    ] {
        rows(
            &mut facts,
            &table("a", "store_last_ingested_offsets", columns),
            &[&[], &["\u{0}"], &["-", "-", "-", "-"]],
        );
        rows(
            &mut facts,
            &table("a", "lapi_parameters", columns),
            &[&[], &["1"], &["-", "-"]],
        );
        rows(
            &mut facts,
            &table("a", "store_descriptors", columns),
            &[&["{\"version\":1"], &["-"]],
        );
    }
    let deep = "[".repeat(10_000);
    rows(&mut facts, &table("a", "store_descriptors", "descriptor"), &[&[&deep]]);
    judged(&case(vec![
        backup(Role::Apps, facts.clone()),
        backup(Role::Participant, facts),
    ]));
}

proptest! {
    /// The verdict by offsets is what comparing every row of the latest migration with the ledger's end says, in any order
    /// of the rows.
    #[test]
    fn offsets_decide_as_comparing_every_row_does(
        given in proptest::collection::vec((1_u64..4, 1_u64..4, proptest::option::of(0_u64..8)), 1..12),
        end in 1_u64..8,
    ) {
        let mut kept: std::collections::BTreeMap<(u64, u64), Option<u64>> = Default::default();
        for (store, migration, offset) in &given {
            let known = kept.entry((*store, *migration)).or_insert(*offset);
            *known = (*known).max(*offset);
        }
        let latest = given.iter().map(|(_, migration, _)| *migration).max().unwrap();
        let of_latest: Vec<u64> =
            kept.iter().filter(|((_, migration), _)| *migration == latest).filter_map(|(_, offset)| *offset).collect();
        let expected = match of_latest.iter().max() {
            None => (Verdict::Unproven, Proof::Unproven),
            Some(most) if *most > end => (Verdict::Inconsistent, Proof::Offsets),
            Some(_) => (Verdict::Consistent, Proof::Offsets),
        };
        let verdict = |given: &mut dyn Iterator<Item = &(u64, u64, Option<u64>)>| {
            let mut facts = Facts::default();
            for (store, migration, offset) in given {
                let text = offset.map_or("-".to_owned(), |offset| format!("{offset:018x}"));
                stores(&mut facts, "sv", &[&[&store.to_string(), &migration.to_string(), &text]]);
            }
            let participant = backup(Role::Participant, ledger(&end.to_string(), "-", MINE));
            let (report, _) = judged(&case(vec![backup(Role::Apps, facts), participant]));
            (report.verdict, report.order.proof)
        };
        prop_assert_eq!(verdict(&mut given.iter()), expected);
        prop_assert_eq!(verdict(&mut given.iter().rev()), expected);
    }
}
