//! `rekindle canton backup check` on dumps of real databases, on running ones, and on lists of snapshots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::identities::made::{self, Style};

use crate::postgres::Postgres;

/// Microseconds since 1970 of 2026-01-10T00:00:00Z, when the ledger's end was published.
const PUBLISHED: i64 = 1_768_003_200_000_000;
/// The next day.
const NOW: &str = "2026-01-11T00:00:00Z";

fn name(identifier: &str) -> String {
    format!("{identifier}::1220{}", "ab".repeat(32))
}

/// The tables that all of Canton's nodes have, whatever they are.
const CANTON: &str = "
    CREATE TABLE lapi_parameters (
        ledger_end bigint, participant_id varchar NOT NULL, participant_pruned_up_to_inclusive bigint,
        ledger_end_sequential_id bigint, ledger_end_string_interning_id integer, ledger_end_publication_time bigint);
    CREATE TABLE sequencer_synchronizer_configuration (
        lock char(1) NOT NULL DEFAULT 'X' PRIMARY KEY, physical_synchronizer_id varchar NOT NULL,
        static_synchronizer_parameters bytea NOT NULL);
    CREATE TABLE mediator_synchronizer_configuration (
        lock char(1) NOT NULL DEFAULT 'X' PRIMARY KEY, physical_synchronizer_id varchar NOT NULL,
        static_synchronizer_parameters bytea NOT NULL, sequencer_connection bytea NOT NULL);
    CREATE TABLE par_synchronizer_connection_configs (
        synchronizer_alias varchar NOT NULL, config bytea, status char(1) DEFAULT 'A' NOT NULL,
        physical_synchronizer_id varchar);
    CREATE TABLE par_something_large (ts bigint, text varchar);
    INSERT INTO par_something_large SELECT n, 'COPY x.lapi_parameters (ledger_end) FROM stdin;' FROM generate_series(1, 500) n;";

/// The tables of one of Splice's apps.
fn app(schema: &str, participant: &str, offsets: &[(i64, i64, Option<i64>)]) -> String {
    let mut sql = format!(
        "CREATE SCHEMA {schema};
         CREATE TABLE {schema}.store_descriptors (id int PRIMARY KEY, descriptor jsonb NOT NULL UNIQUE);
         CREATE TABLE {schema}.store_last_ingested_offsets (
             store_id int NOT NULL, migration_id bigint NOT NULL, last_ingested_offset text);
         CREATE TABLE {schema}.update_history_descriptors (
             id bigint PRIMARY KEY, party text NOT NULL, participant_id text NOT NULL, store_name text);
         CREATE TABLE {schema}.update_history_last_ingested_offsets (
             history_id bigint NOT NULL, migration_id bigint NOT NULL, last_ingested_offset text);
         INSERT INTO {schema}.update_history_descriptors VALUES (1, 'DSO::1220aa', 'PAR::{participant}', 'DbScanStore');
         INSERT INTO {schema}.store_descriptors VALUES
             (1, '{{\"version\":2,\"name\":\"DbSvDsoStore\",\"party\":\"DSO\",\"participant\":\"PAR::{participant}\",\"key\":{{}}}}');"
    );
    for (store, migration, offset) in offsets {
        let offset = offset.map_or("NULL".to_owned(), |offset| format!("'{offset:018x}'"));
        sql += &format!("INSERT INTO {schema}.store_last_ingested_offsets VALUES ({store}, {migration}, {offset});");
        sql += &format!("INSERT INTO {schema}.update_history_last_ingested_offsets VALUES (1, {migration}, {offset});");
    }
    sql
}

fn participant(name: &str, end: Option<i64>, pruned: Option<i64>) -> String {
    let number = |n: Option<i64>| n.map_or("NULL".to_owned(), |n| n.to_string());
    let published = number(end.map(|_| PUBLISHED));
    format!(
        "{CANTON} INSERT INTO lapi_parameters VALUES ('{}', '{name}', {}, 1, 1, {published});
         INSERT INTO par_synchronizer_connection_configs VALUES ('global', '', 'A', 'global-domain::1220aa::35-3');",
        end.map_or("NULL".to_owned(), |n| n.to_string()),
        number(pruned)
    )
    .replace("'NULL'", "NULL")
}

fn create(server: &Postgres, database: &str, sql: &str) {
    server.sql("postgres", &format!("CREATE DATABASE \"{database}\""));
    server.sql(database, sql);
}

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(["canton", "backup", "check", "--json"])
        .args(arguments)
        .env_remove("PGPASSWORD")
        .output()
        .unwrap()
}

/// The document, and the exit code.
fn judged(arguments: &[&str]) -> (Value, i32) {
    let output = check(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"));
    (document, output.status.code().unwrap())
}

fn codes(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A server with the databases of one SV that was backed up in the right order.
fn sv() -> Option<Postgres> {
    let server = Postgres::start()?;
    let mine = name("Digital-Asset-1");
    let apps = app("sv", &mine, &[(1, 2, Some(90_000)), (1, 3, Some(1000))])
        + &app("scan", &mine, &[(1, 3, Some(1042)), (2, 3, None)])
        + &app("validator", &mine, &[(1, 3, Some(17))]);
    create(&server, "apps", &apps);
    create(&server, "participant_3", &participant(&mine, Some(1042), Some(16)));
    create(
        &server,
        "sequencer_3",
        &format!(
            "{CANTON} INSERT INTO sequencer_synchronizer_configuration VALUES ('X', 'global-domain::1220aa::35-3', '');"
        ),
    );
    create(
        &server,
        "mediator_3",
        &format!(
            "{CANTON} INSERT INTO mediator_synchronizer_configuration VALUES ('X', 'global-domain::1220aa::35-3', '', '');"
        ),
    );
    Some(server)
}

fn gzip(path: &Path) -> PathBuf {
    use std::io::Write;
    let packed = path.with_extension("gz");
    let mut out = flate2::write::GzEncoder::new(fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    out.write_all(&fs::read(path).unwrap()).unwrap();
    out.finish().unwrap();
    packed
}

#[test]
fn every_form_of_dump_proves_the_order_by_offsets() {
    let Some(server) = sv() else { return };
    let forms: [(&str, &[&str]); 7] = [
        ("plain", &[]),
        ("verbose", &["-v"]),
        ("custom", &["-Fc"]),
        ("directory", &["-Fd"]),
        ("tar", &["-Ft"]),
        ("inserts", &["--column-inserts"]),
        ("packed", &["-Z6"]),
    ];
    let mut documents = Vec::new();
    for (form, options) in forms {
        let dump = |database: &str| {
            server.dump(
                "pg_dump",
                &[options, &[database]].concat(),
                &format!("{form}-{database}"),
            )
        };
        let (apps, participant) = (dump("apps"), dump("participant_3"));
        let (sequencer, mediator) = (dump("sequencer_3"), dump("mediator_3"));
        let arguments = [
            "--apps",
            text(&apps),
            "--participant",
            text(&participant),
            "--sequencer",
            text(&sequencer),
            "--mediator",
            text(&mediator),
            "--cometbft",
            text(&apps),
        ];
        // A dump that says when it was made is as old as the test.
        let says_when = ["verbose", "custom", "directory", "tar"].contains(&form);
        let now = if says_when { &[][..] } else { &["--now", NOW][..] };
        let (document, code) = judged(&[&arguments[..], now].concat());
        assert_eq!(code, 0, "{form}: {document:#}");
        assert_eq!(document["verdict"], "consistent", "{form}");
        assert_eq!(document["restorable"], true, "{form}");
        assert_eq!(document["order"]["proof"], "offsets", "{form}");
        assert_eq!(document["order"]["holds"], true, "{form}");
        assert_eq!(document["order"]["apps_offset"], 1042, "{form}");
        assert_eq!(document["order"]["apps_schema"], "scan", "{form}");
        assert_eq!(document["order"]["ledger_end"], 1042, "{form}");
        assert_eq!(document["order"]["pruned_up_to"], 16, "{form}");
        assert_eq!(document["lineage"]["same"], true, "{form}");
        assert_eq!(document["lineage"]["migration"], 3, "{form}");
        assert_eq!(
            document["lineage"]["synchronizers"][0], "global-domain::1220aa::35-3",
            "{form}"
        );
        assert_eq!(document["age"]["verdict"], "fresh", "{form}");
        assert_eq!(document["path"]["recommended"], "restore", "{form}");
        assert_eq!(document["missing"], serde_json::json!(["identities"]), "{form}");
        documents.push(document["lineage"].clone());
    }
    assert!(documents.iter().all(|lineage| *lineage == documents[0]));

    // One dump of the whole server holds both; and packed once more it is the same.
    let all = server.dump("pg_dumpall", &[], "all.sql");
    let before = fs::read(&all).unwrap();
    for path in [&all, &gzip(&all)] {
        let (document, code) = judged(&["--apps", text(path), "--participant", text(path), "--now", NOW]);
        assert_eq!((code, &document["verdict"]), (0, &"consistent".into()), "{document:#}");
        assert_eq!(document["order"]["apps_schema"], "apps.scan");
    }
    assert_eq!(fs::read(&all).unwrap(), before);
}

#[test]
fn backups_that_do_not_fit_together_are_told_apart() {
    let Some(server) = sv() else { return };
    let dump = |database: &str| server.dump("pg_dump", &["-Fc", database], &format!("{database}.dump"));
    let make = |database: &str, sql: &str| {
        create(&server, database, sql);
        dump(database)
    };
    let (mine, other) = (name("Digital-Asset-1"), name("Digital-Asset-2"));
    let (apps, good) = (dump("apps"), dump("participant_3"));
    let judge = |apps: &Path, participants: &[&Path]| {
        let mut arguments = vec!["--apps", text(apps), "--participant"];
        arguments.extend(participants.iter().map(|path| text(path)));
        judged(&arguments)
    };
    let verdict = |document: &Value| document["verdict"].as_str().unwrap().to_owned();
    let expect = |result: (Value, i32), expected: &str, code: &str, exit: i32| {
        assert!(codes(&result.0).contains(&code), "{:#}", result.0);
        assert_eq!(
            (verdict(&result.0).as_str(), result.1),
            (expected, exit),
            "{:#}",
            result.0
        );
        result.0
    };

    let behind = make("participant_behind", &participant(&mine, Some(1041), None));
    let document = expect(judge(&apps, &[&behind]), "inconsistent", "C0101", 1);
    assert_eq!(
        (&document["order"]["proof"], &document["order"]["holds"]),
        (&"offsets".into(), &false.into())
    );
    assert_eq!(document["path"]["recommended"], "unrecoverable");

    let beginning = make("participant_new", &participant(&mine, None, None));
    expect(judge(&apps, &[&beginning]), "inconsistent", "C0109", 1);
    let empty = make("participant_empty", CANTON);
    expect(judge(&apps, &[&empty]), "incomplete", "C0109", 1);

    let of_other = make("participant_other", &participant(&other, Some(5000), None));
    let document = expect(judge(&apps, &[&of_other]), "inconsistent", "C0112", 1);
    assert_eq!(document["order"]["holds"], true);
    // Of several the one that the apps followed is judged.
    let document = expect(judge(&apps, &[&of_other, &good]), "consistent", "C0117", 1);
    assert_eq!(document["order"]["ledger_end"], 1042);
    // Of several of the same participant the one that reaches less far.
    expect(judge(&apps, &[&good, &behind]), "inconsistent", "C0117", 1);

    let pruned = make("participant_pruned", &participant(&mine, Some(5000), Some(1043)));
    let document = expect(judge(&apps, &[&pruned]), "consistent", "C0110", 1);
    assert_eq!(document["restorable"], false);
    let pruned_in_part = make("participant_pruned_in_part", &participant(&mine, Some(5000), Some(18)));
    let document = expect(judge(&apps, &[&pruned_in_part]), "consistent", "C0110", 1);
    assert!(
        document["findings"][0]["message"]
            .as_str()
            .unwrap()
            .starts_with("validator has read"),
        "{document:#}"
    );

    let older = make("participant_2", &participant(&mine, Some(5000), None));
    expect(judge(&apps, &[&older]), "consistent", "C0114", 1);

    // Given as something else.
    let sequencer = dump("sequencer_3");
    for (apps, participant) in [(&good, &good), (&apps, &apps), (&apps, &sequencer), (&sequencer, &good)] {
        expect(judge(apps, &[participant]), "incomplete", "C0116", 1);
    }
    let (document, _) = judge(&apps, &[&sequencer]);
    let message = document["findings"][0]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("given as that of a participant, and is of a sequencer"),
        "{message}"
    );
    let (document, code) = judged(&["--apps", text(&apps)]);
    assert!((code, codes(&document)[0]) == (1, "C0118"), "{document:#}");

    // Broken off.
    let plain = server.dump("pg_dump", &["participant_3"], "plain.sql");
    let whole = fs::read(&plain).unwrap();
    let cut = server.path().join("cut.sql");
    // The last line that says that it is the end, and nothing of the data.
    let end = String::from_utf8(whole.clone())
        .unwrap()
        .find("-- PostgreSQL database dump complete")
        .unwrap();
    fs::write(&cut, &whole[..end]).unwrap();
    let (document, code) = judge(&apps, &[&cut]);
    assert_eq!((code, verdict(&document).as_str()), (3, "incomplete"), "{document:#}");
    assert_eq!(document["restorable"], false);
    let custom = fs::read(&good).unwrap();
    fs::write(&cut, &custom[..custom.len() / 2]).unwrap();
    assert_eq!(judge(&apps, &[&cut]).1, 3);

    // Of a synchronizer of another serial.
    let sql = format!(
        "{CANTON} INSERT INTO sequencer_synchronizer_configuration VALUES ('X', 'global-domain::1220aa::35-4', '');"
    );
    let newer = make("sequencer_4", &sql);
    let (document, code) = judged(&[
        "--apps",
        text(&apps),
        "--participant",
        text(&good),
        "--sequencer",
        text(&newer),
    ]);
    assert!(code == 1 && codes(&document).contains(&"C0115"), "{document:#}");

    // Too old, and of an age that is not known.
    let (document, code) = judged(&[
        "--apps",
        text(&apps),
        "--participant",
        text(&good),
        "--now",
        "2100-01-01T00:00:00Z",
    ]);
    assert!(code == 1 && codes(&document).contains(&"C0119"), "{document:#}");
    assert_eq!(
        (verdict(&document).as_str(), &document["restorable"]),
        ("consistent", &false.into())
    );
    let apps_plain = server.dump("pg_dump", &["apps"], "apps.sql");
    let (document, code) = judged(&[
        "--apps",
        text(&apps_plain),
        "--participant",
        text(&plain),
        "--now",
        "2026-02-10T00:00:00Z",
    ]);
    assert!(code == 1 && codes(&document).contains(&"C0120"), "{document:#}");
    assert_eq!(document["path"]["recommended"], "prove-backup");
}

#[test]
fn running_databases_are_a_dress_rehearsal() {
    let Some(server) = sv() else { return };
    let (apps, participant) = (server.address("apps"), server.address("participant_3"));
    let (document, code) = judged(&["--apps", &apps, "--participant", &participant]);
    assert_eq!((code, &document["verdict"]), (0, &"consistent".into()), "{document:#}");
    assert_eq!(
        (&document["order"]["proof"], &document["restorable"]),
        (&"offsets".into(), &false.into())
    );
    assert!(codes(&document).contains(&"C0124"));
    assert_eq!(document["path"]["recommended"], "prove-backup");

    // A backup of the apps beside a participant that still runs, and apps that run beside an older participant's backup.
    let dump = server.dump("pg_dump", &["-Fc", "apps"], "apps.dump");
    let (document, code) = judged(&["--apps", text(&dump), "--participant", &participant, "--tz", "UTC"]);
    assert_eq!((code, &document["restorable"]), (0, &true.into()), "{document:#}");
    let older = server.dump("pg_dump", &["-Fc", "participant_3"], "participant.dump");
    server.sql(
        "apps",
        "UPDATE sv.store_last_ingested_offsets SET last_ingested_offset = '0000000000000004ff'",
    );
    let (document, code) = judged(&["--apps", &apps, "--participant", text(&older)]);
    assert_eq!(
        (code, &document["verdict"]),
        (1, &"inconsistent".into()),
        "{document:#}"
    );
    assert_eq!(document["order"]["apps_offset"], 0x4ff);
    // While both run on, what the apps have read by the first look is in the ledger by the second.
    server.sql("participant_3", "UPDATE lapi_parameters SET ledger_end = 5000");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for end in 5001.. {
                if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                server.sql(
                    "participant_3",
                    &format!("UPDATE lapi_parameters SET ledger_end = {end}"),
                );
                server.sql(
                    "apps",
                    &format!("UPDATE sv.store_last_ingested_offsets SET last_ingested_offset = '{end:018x}'"),
                );
            }
        });
        let verdicts: Vec<_> = (0..5)
            .map(|_| judged(&["--apps", &apps, "--participant", &participant]).0["verdict"].clone())
            .collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(verdicts, vec![Value::from("consistent"); 5]);
    });
    // A server that is not there.
    let (document, code) = judged(&[
        "--apps",
        "postgres://nobody@127.0.0.1:1/x",
        "--participant",
        &participant,
    ]);
    assert_eq!((code, &document["verdict"]), (4, &"incomplete".into()), "{document:#}");
    assert!(!codes(&document).contains(&"C0116"));
}

fn snapshot(of: &str, at: &str) -> Value {
    serde_json::json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": format!("pg-data-sv-1-{of}-pg-0-1768003200"), "creationTimestamp": at,
                     "annotations": {"migrationId": "3"}},
        "spec": {"source": {"persistentVolumeClaimName": format!("pg-data-sv-1-{of}-pg-0")}},
        "status": {"creationTime": at, "readyToUse": true}
    })
}

#[test]
fn snapshots_and_stated_times_prove_the_order_where_they_do_not_overlap() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, document: &Value| {
        let path = directory.path().join(name);
        fs::write(&path, serde_json::to_vec(document).unwrap()).unwrap();
        path
    };
    let at = |second: u32| format!("2026-01-10T00:00:{second:02}Z");
    let list = |participant: u32| {
        let items = [
            snapshot("cn-apps", &at(5)),
            snapshot("participant", &at(participant)),
            snapshot("mediator", &at(9)),
        ];
        write(
            "list.json",
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}),
        )
    };
    let manifest = |participant: u32| {
        let part = |start: u32| serde_json::json!({"start": at(start), "end": at(start + 1)});
        write(
            "manifest.json",
            &serde_json::json!({"apps": part(4), "participant": part(participant)}),
        )
    };
    for (option, path) in [
        ("--volumes", &list as &dyn Fn(u32) -> PathBuf),
        ("--manifest", &manifest),
    ] {
        let judge = |participant: u32| {
            let (document, code) = judged(&[option, text(&path(participant)), "--now", "2026-01-10T01:00:00Z"]);
            (
                document["verdict"].as_str().unwrap().to_owned(),
                document["order"]["proof"].as_str().unwrap().to_owned(),
                code,
            )
        };
        let expect = |verdict: &str, proof: &str, code| (verdict.to_owned(), proof.to_owned(), code);
        assert_eq!(judge(6), expect("consistent", "times", 0), "{option}");
        assert_eq!(judge(5), expect("unproven", "unproven", 1), "{option}");
        assert_eq!(judge(2), expect("inconsistent", "times", 1), "{option}");
    }
    let (document, _) = judged(&["--volumes", text(&list(6)), "--now", "2026-01-10T01:00:00Z"]);
    assert_eq!(
        document["missing"],
        serde_json::json!(["sequencer", "cometbft", "identities"])
    );
    assert_eq!(document["lineage"]["migration"], 3);
    // What can't be read is said on stderr, with nothing on stdout.
    let broken = directory.path().join("broken.json");
    fs::write(&broken, "<html>503</html>").unwrap();
    for option in ["--volumes", "--manifest"] {
        let output = check(&[option, text(&broken)]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("expected"),
            "{output:?}"
        );
    }
    for usage in [
        &[][..],
        &["--tz", "Mars", "--volumes", "x"],
        &["--max-age", "1y", "--volumes", "x"],
        &["--now", "today"],
    ] {
        assert_eq!(check(usage).status.code(), Some(2), "{usage:?}");
    }
    assert_eq!(check(&["--apps", "postgres://u:secret@h/d"]).status.code(), Some(2));
    assert_eq!(
        check(&["--apps", "/nowhere", "--participant", "/nowhere"])
            .status
            .code(),
        Some(3)
    );
}

/// Where the project's data is, if it is here.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/canton");
    let path = std::env::var_os("REKINDLE_CANTON_DATA").map_or(beside, PathBuf::from);
    path.is_dir().then_some(path)
}

#[test]
fn identities_decide_which_way_is_open_without_backups() {
    let Some(data) = data() else {
        eprintln!("skipped: there are no dumps of identities");
        return;
    };
    let mut ways: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let (alone, _) = judged(&["--identities", text(&path)]);
        assert_eq!(alone["verdict"], "no-backup");
        let (with_kms, _) = judged(&["--identities", text(&path), "--kms-reachable"]);
        let way = |document: &Value| document["path"]["recommended"].as_str().unwrap().to_owned();
        ways.push((way(&alone), way(&with_kms)));
    }
    ways.sort();
    let pair = |alone: &str, with_kms: &str| (alone.to_owned(), with_kms.to_owned());
    let (plain, kms) = (pair("reonboard", "reonboard"), pair("unrecoverable", "reonboard"));
    assert_eq!(ways, [plain, kms.clone(), kms]);
}

#[test]
fn made_up_identities_open_the_same_way_packed_and_plain() {
    let directory = tempfile::tempdir().unwrap();
    let dump = serde_json::to_vec(&made::full(Style::Old, 1)).unwrap();
    let (plain, packed) = (directory.path().join("i.json"), directory.path().join("i.json.zst"));
    fs::write(&plain, &dump).unwrap();
    fs::write(&packed, zstd::encode_all(dump.as_slice(), 1).unwrap()).unwrap();
    for path in [plain, packed] {
        let (alone, _) = judged(&["--identities", text(&path)]);
        assert_eq!(alone["path"]["recommended"], "reonboard", "{alone}");
    }
}

#[test]
fn a_person_reads_the_verdict_the_proof_and_the_way_at_a_glance() {
    let directory = tempfile::tempdir().unwrap();
    let dump = |name: &str, rows: &str| {
        let path = directory.path().join(name);
        let dump = format!("-- PostgreSQL database dump\n\n{rows}\n-- PostgreSQL database dump complete\n--\n");
        fs::write(&path, dump).unwrap();
        path
    };
    let mine = name("Digital-Asset-1");
    let apps = dump(
        "apps.sql",
        &format!(
            "COPY \"s\u{1b}v\".store_last_ingested_offsets (last_ingested_offset, store_id, migration_id) FROM stdin;\n\
             00000000000000040f\t1\t3\n\\N\t2\t3\n\\.\n\n\
             COPY \"s\u{1b}v\".update_history_descriptors (id, participant_id) FROM stdin;\n1\tPAR::{mine}\n\\.\n"
        ),
    );
    let participant = |end: u32| {
        let rows = format!("COPY x.lapi_parameters (ledger_end, participant_id) FROM stdin;\n{end}\t{mine}\n\\.\n");
        dump(&format!("validator-2026-01-10T00:00:00+00:00.{end}"), &rows)
    };
    let say = |end: u32| {
        let output = Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .args([
                "canton",
                "backup",
                "check",
                "--now",
                NOW,
                "--apps",
                text(&apps),
                "--participant",
            ])
            .arg(participant(end))
            .output()
            .unwrap();
        assert!(!output.stdout.contains(&0x1b), "an escape sequence came through");
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    };
    let (said, code) = say(1040);
    let first: Vec<&str> = said.lines().take(5).collect();
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        first[0],
        "verdict      CONSISTENT: these backups fit together and can be restored"
    );
    assert!(
        first[1].starts_with(
            "order        proven by offsets: the apps have read up to 1039 (s\\u{1b}v), and the ledger ends at 1040"
        ),
        "{said}"
    );
    assert!(first[2].ends_with("migration 3; the apps followed it"), "{said}");
    assert_eq!(first[3], "age          24 h; the limit is 30 days");
    assert_eq!(first[4], "way back     restore the node from these backups");
    let (said, code) = say(1038);
    assert_eq!(code, 1);
    assert!(
        said.starts_with("verdict      INCONSISTENT: do not restore these backups together\n"),
        "{said}"
    );
    assert!(said.contains("error C0101: store 1 of "), "{said}");
}
