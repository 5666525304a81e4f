//! Dumps and running databases give the same rows, whatever their form: against a real PostgreSQL.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::canton::database::{self, Database};
use rekindle::canton::dump::{self, Field, Format, Options, Read, Rows, Source, Span, Table};
use rekindle::canton::finding::Ending;
use rekindle::canton::{Code, Timestamp};
use time::UtcOffset;

use crate::postgres::{PASSWORD, Postgres, READER};

/// The rows of all tables, by schema, name and column.
type All = BTreeMap<(String, String), Vec<BTreeMap<String, Option<Vec<u8>>>>>;

/// Takes the rows of every table but those that are not wanted.
#[derive(Default)]
struct Everything {
    unwanted: Option<&'static str>,
    rows: All,
    tables: Vec<Table>,
}

impl Rows for Everything {
    fn wants(&mut self, table: &Table) -> bool {
        self.tables.push(table.clone());
        self.unwanted != Some(table.name.as_str())
    }

    fn row(&mut self, table: &Table, fields: &[Field<'_>]) {
        assert_eq!(table.columns.len(), fields.len());
        let fields = fields.iter().map(|field| field.map(<[u8]>::to_vec));
        let row = table.columns.iter().cloned().zip(fields).collect();
        let key = (table.schema.clone(), table.name.clone());
        self.rows.entry(key).or_default().push(row);
    }
}

fn read(source: impl AsRef<OsStr>) -> (Read, All) {
    let mut everything = Everything::default();
    let source = Source::parse(source.as_ref()).unwrap();
    let read = dump::read(&source, &Options::default(), &mut everything).unwrap();
    (read, everything.rows)
}

fn whole(source: impl AsRef<OsStr>) -> (Read, All) {
    let (read, rows) = self::read(source);
    let findings = read.findings.clone().finish();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(read.ending, Ending::Clean);
    assert!(read.header.complete);
    (read, rows)
}

/// Tables of everything that is awkward in a dump.
const TABLES: &str = r#"
    CREATE SCHEMA participant;
    CREATE SCHEMA "Odd.Schema";
    CREATE TABLE participant.plain (id bigint PRIMARY KEY, t text, b bytea, ok boolean, n numeric(10, 2), a int[], j jsonb);
    INSERT INTO participant.plain VALUES
        (1, 'plain', '\x00ff', true, 1.50, '{1,2}', '{"a": "b\tc"}'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL),
        (3, '', '', false, -0.01, '{}', 'null'),
        (4, E'tab\there\nline\r\\back''quote"double', NULL, true, 'NaN', NULL, NULL),
        (5, E'\\N', NULL, NULL, NULL, NULL, NULL),
        (6, E'\\.', NULL, NULL, NULL, NULL, NULL),
        (7, E'a\n\\.\nb; -- no comment /* nor this */ $$', NULL, NULL, NULL, NULL, NULL),
        (8, E'\b\f\x0b\x01', NULL, NULL, NULL, NULL, NULL),
        (-9, 'ünïcödé 漢', NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE "Odd.Schema"."Odd ""Table""; --" ("a""b" text, "select" int, c text DEFAULT 'x', "constraint" text);
    INSERT INTO "Odd.Schema"."Odd ""Table""; --" VALUES ('COPY x (y) FROM stdin;', 1, 'INSERT INTO t VALUES (1);', NULL);
    CREATE TABLE participant.empty (a int, b text);
    CREATE TABLE participant.single (only_one text);
    INSERT INTO participant.single VALUES (''), (NULL), (E'\\.'), ('x');
    CREATE TABLE participant.columns (gone int, a int, g int GENERATED ALWAYS AS (a + 1) STORED, z int);
    INSERT INTO participant.columns (gone, a, z) VALUES (1, 2, 3);
    ALTER TABLE participant.columns DROP COLUMN gone;
    CREATE TABLE participant.large (id int, payload text);
    INSERT INTO participant.large SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, 3000) i;
    CREATE FUNCTION participant.f() RETURNS int LANGUAGE sql
        BEGIN ATOMIC INSERT INTO participant.plain (id, t) VALUES (99, 'forged'); SELECT CASE WHEN true THEN 1 ELSE 2 END; END;
    CREATE FUNCTION participant.g() RETURNS text LANGUAGE plpgsql AS $body$
        BEGIN INSERT INTO participant.plain (id, t) VALUES (98, 'forged'); RETURN $$;$$; END $body$;
    CREATE RULE r AS ON UPDATE TO participant.empty
        DO ALSO (INSERT INTO participant.plain (id, t) VALUES (97, 'forged'); DELETE FROM participant.single);
    CREATE VIEW participant.v AS SELECT 'COPY participant.plain (id) FROM stdin;' AS x;
    COMMENT ON TABLE participant.empty IS E'-- PostgreSQL database dump complete\n\\connect elsewhere\n';
    SELECT lo_from_bytea(0, '\x0102');
"#;

fn tables(postgres: &Postgres, database: &str) {
    postgres.sql("postgres", &format!("CREATE DATABASE {database}"));
    postgres.sql(database, TABLES);
}

fn compressed(program: &str, path: &Path) -> PathBuf {
    let status = Command::new(program)
        .args(["-k", "-q", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
    let ending = match program {
        "gzip" => "gz",
        "zstd" => "zst",
        other => other,
    };
    PathBuf::from(format!("{}.{ending}", path.display()))
}

#[test]
fn every_form_of_a_dump_gives_the_rows_of_the_database() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    let plain = postgres.dump("pg_dump", &["part"], "plain.sql");
    let (read, expected) = whole(&plain);
    assert_eq!(read.header.format, Format::Plain);
    assert_eq!((read.header.started, read.header.database.as_deref()), (None, None));
    let of = |name: &str| expected.get(&("participant".to_owned(), name.to_owned()));
    let texts: Vec<_> = of("plain").unwrap().iter().map(|row| row["t"].clone()).collect();
    let text = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(
        texts,
        [
            text("plain"),
            None,
            text(""),
            text("tab\there\nline\r\\back'quote\"double"),
            text("\\N"),
            text("\\."),
            text("a\n\\.\nb; -- no comment /* nor this */ $$"),
            text("\u{8}\u{c}\u{b}\u{1}"),
            text("ünïcödé 漢"),
        ]
    );
    assert_eq!(of("large").unwrap().len(), 3000);
    assert_eq!(of("single").unwrap().len(), 4);
    let odd = &expected[&("Odd.Schema".to_owned(), "Odd \"Table\"; --".to_owned())];
    assert_eq!(odd[0]["a\"b"], text("COPY x (y) FROM stdin;"));

    let mut sources: Vec<(PathBuf, Format)> = Vec::new();
    for (arguments, name, format) in [
        (&["-v", "part"][..], "verbose.sql", Format::Plain),
        (&["-C", "part"], "create.sql", Format::Plain),
        (&["-a", "part"], "data.sql", Format::Plain),
        (&["--inserts", "part"], "inserts.sql", Format::Plain),
        (&["--column-inserts", "part"], "columns.sql", Format::Plain),
        (&["--rows-per-insert=7", "part"], "rows.sql", Format::Plain),
        (&["-Fc", "part"], "custom", Format::Custom),
        (&["-Fc", "-Z0", "part"], "custom0", Format::Custom),
        (&["-Fc", "--inserts", "part"], "custom-inserts", Format::Custom),
        (&["-Fd", "part"], "directory", Format::Directory),
        (&["-Fd", "-Z0", "-j2", "part"], "directory0", Format::Directory),
        (&["-Ft", "part"], "tar", Format::Tar),
    ] {
        sources.push((postgres.dump("pg_dump", arguments, name), format));
    }
    // To a pipe, where pg_dump can't go back to say where the data are.
    let piped = postgres.path().join("piped");
    let pg_dump = postgres.client("pg_dump").args(["-Fc", "part"]).output().unwrap();
    std::fs::write(&piped, pg_dump.stdout).unwrap();
    sources.push((piped, Format::Custom));
    sources.push((
        postgres.dump(
            "pg_restore",
            &[postgres.path().join("custom").to_str().unwrap()],
            "restored.sql",
        ),
        Format::Plain,
    ));
    let tarred = postgres.path().join("tarred.tar");
    let tar = Command::new("tar")
        .arg("-C")
        .arg(postgres.path())
        .arg("-cf")
        .arg(&tarred)
        .arg("directory")
        .status();
    assert!(tar.unwrap().success());
    sources.push((tarred, Format::Tar));
    for program in ["gzip", "zstd", "xz"] {
        sources.push((compressed(program, &plain), Format::Plain));
        sources.push((compressed(program, &postgres.path().join("custom0")), Format::Custom));
        sources.push((compressed(program, &postgres.path().join("tar")), Format::Tar));
    }
    sources.push((postgres.address("part").into(), Format::Running));
    for (path, format) in &sources {
        let (read, mut rows) = whole(path);
        assert_eq!(read.header.format, *format, "{path:?}");
        assert_eq!(
            read.header.database.is_some(),
            !matches!(format, Format::Plain) || path.ends_with("create.sql")
        );
        // A generated column is not in dumps, or as DEFAULT.
        let columns = ("participant".to_owned(), "columns".to_owned());
        for row in rows.get_mut(&columns).unwrap() {
            let generated = row.remove("g").flatten();
            assert_eq!(generated, (*format == Format::Running).then(|| b"3".to_vec()));
        }
        assert_eq!(
            rows.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{path:?}"
        );
        assert!(rows == expected, "{path:?}");
    }
}

/// The tables of a participant that count, as Canton 3.3 to 3.5 makes them; `index` as older lines called the column.
fn participant(index: &str) -> String {
    let text = r#"
    CREATE TYPE pruning_phase AS ENUM ('started', 'completed');
    CREATE TABLE common_static_strings (id serial PRIMARY KEY, string varchar COLLATE "C" NOT NULL, source integer NOT NULL);
    CREATE TABLE common_node_id (identifier varchar NOT NULL, namespace varchar NOT NULL);
    CREATE TABLE par_synchronizers (order_number serial, alias varchar, synchronizer_id varchar, status char(1) DEFAULT 'A');
    CREATE TABLE par_computed_acs_commitments (synchronizer_idx integer, counter_participant varchar COLLATE "C",
        from_exclusive bigint, to_inclusive bigint, commitment bytea);
    CREATE TABLE par_received_acs_commitments (synchronizer_idx integer, sender varchar COLLATE "C",
        from_exclusive bigint, to_inclusive bigint, signed_commitment bytea);
    CREATE TABLE par_outstanding_acs_commitments (synchronizer_idx integer NOT NULL, from_exclusive bigint NOT NULL,
        to_inclusive bigint NOT NULL, counter_participant varchar COLLATE "C" NOT NULL, matching_state smallint NOT NULL,
        multi_hosted_cleared bool NOT NULL DEFAULT false);
    CREATE TABLE par_last_computed_acs_commitments (synchronizer_idx integer PRIMARY KEY, ts bigint NOT NULL);
    CREATE TABLE par_commitment_pruning (synchronizer_idx integer, phase pruning_phase, ts bigint, succeeded bigint);
    CREATE TABLE par_contracts (contract_id bytea PRIMARY KEY, instance bytea);
    CREATE TABLE lapi_parameters (ledger_end bigint, participant_id varchar NOT NULL, participant_pruned_up_to_inclusive bigint,
        ledger_end_sequential_id bigint, ledger_end_string_interning_id integer, ledger_end_publication_time bigint);
    INSERT INTO common_static_strings (string, source) VALUES
        ('global-domain::1220be58c29e' || repeat('0', 56), 1), ('splitwell::1220aaaaaaaa' || repeat('1', 56), 1);
    INSERT INTO par_synchronizers (alias, synchronizer_id) VALUES ('global', 'global-domain::1220be58c29e' || repeat('0', 56));
    INSERT INTO par_outstanding_acs_commitments SELECT 1 + i % 2, (i - 1) * 60000000::bigint, i * 60000000::bigint,
        'PAR::sv-' || i % 5 || '::1220' || substr(md5((i % 5)::text) || md5('x'), 1, 64),
        CASE WHEN i = 77 THEN 3 WHEN i > 990 THEN 5 ELSE 2 END FROM generate_series(1, 1000) i;
    INSERT INTO par_received_acs_commitments SELECT 1, 'PAR::sv-9::1220' || repeat('9', 64), 0, i * 60000000::bigint, '\x0a0b' FROM generate_series(1, 50) i;
    INSERT INTO par_computed_acs_commitments SELECT 1, 'PAR::sv-9::1220' || repeat('9', 64), 0, i * 60000000::bigint, '\x0a0b' FROM generate_series(1, 50) i;
    INSERT INTO par_last_computed_acs_commitments VALUES (1, 60000000000), (2, 59940000000);
    INSERT INTO par_commitment_pruning VALUES (1, 'completed', 60000000, NULL);
    INSERT INTO par_contracts SELECT decode(md5(i::text), 'hex'), decode(repeat(md5(i::text), 30), 'hex') FROM generate_series(1, 2000) i;
    INSERT INTO lapi_parameters VALUES (12345, 'sv-own::1220' || repeat('7', 64), 12, 1, 1, 59999000000);
"#;
    text.replace("synchronizer_idx", index)
}

fn database(source: impl AsRef<OsStr>) -> Database {
    database::read(&Source::parse(source.as_ref()).unwrap(), &Options::default()).unwrap()
}

#[test]
fn a_participants_evidence_is_the_same_from_its_dumps_and_while_it_runs() {
    let Some(postgres) = Postgres::start() else { return };
    let mut first: Option<Database> = None;
    for index in ["synchronizer_idx", "domain_id"] {
        let name = format!("participant_{index}");
        postgres.sql("postgres", &format!("CREATE DATABASE {name}"));
        postgres.sql(&name, &participant(index));
        let mut sources = vec![postgres.address(&name).into()];
        for (form, arguments) in [
            ("plain", &["-Fp"][..]),
            ("custom", &["-Fc"]),
            ("directory", &["-Fd"]),
            ("inserts", &["--inserts"]),
        ] {
            let arguments = [arguments, &[name.as_str()]].concat();
            sources.push(postgres.dump("pg_dump", &arguments, &format!("{form}-{index}")));
        }
        for source in sources {
            let found = database(&source);
            assert_eq!(found.ending, Ending::Clean, "{source:?}");
            assert!(found.findings.clone().finish().is_empty());
            let expected = first.get_or_insert_with(|| found.clone());
            assert_eq!(found.evidence, expected.evidence, "{source:?}");
            assert_eq!((found.ledger, found.states), (expected.ledger, expected.states));
            assert_eq!(found.synchronizers, expected.synchronizers);
        }
    }
    let found = first.unwrap();
    assert_eq!(found.evidence.participant.unwrap().identifier(), "sv-own");
    assert_eq!((found.ledger.end, found.ledger.pruned_up_to), (Some(12345), Some(12)));
    assert_eq!(
        (found.states.matched, found.states.mismatched, found.states.outstanding),
        (989, 1, 10)
    );
    let global = &found.evidence.observations["global-domain::1220be58c29e"];
    assert_eq!(
        global.compared.len() + found.evidence.observations["splitwell::1220aaaaaaaa"].compared.len(),
        990
    );
    assert_eq!(global.reached.map(|at| at.seconds()), Some(60_000));
    assert_eq!(found.synchronizers[0].alias.as_deref(), Some("global"));

    // All databases of the server: two of them are participants, and then one.
    let all = postgres.dump("pg_dumpall", &["-v"], "all.sql");
    let several = database(&all);
    assert_eq!(several.ending, Ending::Unreadable);
    assert!(several.findings.has(Code::SeveralParticipants));
    assert_eq!(
        (
            several.header.format,
            several.header.complete,
            several.header.zone_known
        ),
        (Format::PlainAll, true, true)
    );
    postgres.sql("postgres", "DROP DATABASE participant_domain_id");
    let one = database(postgres.dump("pg_dumpall", &[], "one.sql"));
    assert_eq!(one.ending, Ending::Clean);
    assert_eq!(
        one.evidence,
        database(postgres.address("participant_synchronizer_idx")).evidence
    );
}

#[test]
fn times_are_as_sure_as_what_says_them() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    let before = Timestamp::now().plus_seconds(-1);
    let dumps: Vec<_> = [
        ("verbose", &["-v", "part"][..], "UTC"),
        ("zurich", &["-v", "part"], "Europe/Zurich"),
        ("shanghai", &["-v", "part"], "Asia/Shanghai"),
        ("custom", &["-Fc", "part"], "Asia/Tokyo"),
    ]
    .into_iter()
    .map(|(name, arguments, zone)| {
        let path = postgres.path().join(name);
        let done = postgres
            .client("pg_dump")
            .env("TZ", zone)
            .args(arguments)
            .arg("-f")
            .arg(&path)
            .output()
            .unwrap();
        assert!(done.status.success());
        let mut rows = Everything::default();
        let read = |rows: &mut Everything, zone: Option<i8>| {
            let options = Options {
                zone: zone.map(|hours| UtcOffset::from_hms(hours, 0, 0).unwrap()),
            };
            dump::read(&Source::File(path.clone()), &options, rows).unwrap().header
        };
        (
            read(&mut rows, None),
            read(&mut rows, Some(8)),
            read(&mut rows, Some(9)),
        )
    })
    .collect();
    let after = Timestamp::now();
    let holds = |span: Option<Span>| {
        let span = span.unwrap();
        span.earliest <= after && span.latest >= before
    };
    let width = |span: Option<Span>| span.unwrap().latest.since(span.unwrap().earliest) / 1_000_000;
    let [verbose, zurich, shanghai, custom] = dumps.as_slice() else {
        panic!()
    };
    for known in [&verbose.0, &zurich.0, &zurich.1, &shanghai.1, &custom.2] {
        assert!(known.zone_known && holds(known.started));
        assert_eq!(width(known.started), 0);
    }
    for unknown in [&shanghai.0, &custom.0] {
        assert!(!unknown.zone_known && holds(unknown.started));
        assert_eq!(width(unknown.started), 28 * 3600);
    }
    assert!(!holds(custom.1.started), "the zone that was given counts");
    assert!(holds(verbose.0.completed) && custom.0.completed.is_none());
    assert!(
        verbose
            .0
            .server_version
            .as_ref()
            .is_some_and(|version| custom.0.server_version.as_ref() == Some(version))
    );
    assert!(custom.0.dumper_version.is_some() && custom.0.dumper_version == verbose.0.dumper_version);
    let (running, _) = whole(postgres.address("part"));
    let started = running.header.started.unwrap();
    assert!(started.earliest == started.latest && started.earliest >= after && started.latest <= Timestamp::now());
}

#[test]
fn every_cut_of_a_dump_is_noticed() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    for arguments in [&["-Fp"][..], &["--inserts"], &["-Fc"], &["-Fc", "-Z0"], &["-Ft"]] {
        let arguments = [arguments, &["part"]].concat();
        let path = postgres.dump("pg_dump", &arguments, "whole");
        let bytes = std::fs::read(&path).unwrap();
        let piped = postgres.client("pg_dump").args(&arguments).output().unwrap().stdout;
        for bytes in [bytes, piped] {
            // What stands after "dump complete" (and a tar's padding) holds nothing.
            let end = memchr(&bytes, b"dump complete").unwrap_or(bytes.len() - 1);
            let end = if bytes.get(257..262) == Some(b"ustar") {
                bytes.len() * 2 / 3
            } else {
                end
            };
            for cut in (0..16).map(|part| end * part / 16).chain([end - 1, end]) {
                let cut_off = postgres.path().join("cut");
                std::fs::write(&cut_off, &bytes[..cut]).unwrap();
                let (read, _) = read(&cut_off);
                assert!(!read.header.complete, "{arguments:?} at {cut} of {}", bytes.len());
                assert!(
                    matches!(read.ending, Ending::Partial | Ending::Unreadable),
                    "{arguments:?} at {cut}"
                );
                assert!(read.findings.has(Code::DumpCutOff) || read.findings.has(Code::NotADump));
            }
        }
    }
    let directory = postgres.dump("pg_dump", &["-Fd", "part"], "directory");
    let data = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_table = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".dat.gz") && !name.starts_with("blob_")
    };
    for path in data.filter(is_table) {
        let bytes = std::fs::read(&path).unwrap();
        for damaged in [Some(&bytes[..bytes.len() - 1]), None] {
            match damaged {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let (read, _) = read(&directory);
            assert!(read.findings.has(Code::DumpCutOff) && !read.header.complete, "{path:?}");
        }
        std::fs::write(&path, bytes).unwrap();
    }
    whole(&directory);
}

fn memchr(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Reads the address in the environment and says what came of it: run by other tests in a process of its own, for passwords
/// and what else is of a process.
#[test]
#[ignore = "a part of other tests"]
fn reads_the_address_it_is_told() {
    let Ok(address) = std::env::var("REKINDLE_TEST_ADDRESS") else {
        return;
    };
    let (read, rows) = read(&address);
    let messages: Vec<_> = read
        .findings
        .finish()
        .into_iter()
        .map(|finding| finding.message)
        .collect();
    println!(
        "\nsaid {:?} {} {messages:?}",
        read.ending,
        rows.values().map(Vec::len).sum::<usize>()
    );
}

/// What [`reads_the_address_it_is_told`] says, without a terminal.
fn said(address: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new("setsid")
        .arg("-w")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dumps::reads_the_address_it_is_told",
            "--ignored",
            "--nocapture",
        ])
        .env("REKINDLE_TEST_ADDRESS", address)
        .env_remove("PGPASSWORD")
        .env("PGPASSFILE", "/nonexistent")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(PASSWORD), "{text}");
    let said = text.lines().find(|line| line.starts_with("said "));
    said.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_server_is_let_in_only_as_the_address_says() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    let (port, root) = (postgres.port(), postgres.root_certificate());
    let wrong_root = postgres.path().join("other.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=tests",
        ])
        .args(["-keyout", "/dev/null", "-out"])
        .arg(&wrong_root)
        .output()
        .unwrap();
    assert!(made.status.success());
    let (root, wrong_root) = (root.display(), wrong_root.display());
    let of = |host: &str, more: &str| format!("postgres://postgres@{host}:{port}/part?{more}");
    for (host, more, is_encrypted) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={root}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={root}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={root}"), true),
    ] {
        let address = of(host, &more);
        let (read, _) = read(&address);
        assert_eq!(read.ending, Ending::Clean, "{address}: {:?}", read.findings.finish());
        let log = std::fs::read_to_string(postgres.path().join("log")).unwrap();
        let last = log
            .lines()
            .rfind(|line| line.contains("connection authorized") && line.contains("application_name=rekindle"));
        assert_eq!(last.unwrap().contains("SSL enabled"), is_encrypted, "{address}");
    }
    for (host, more, why) in [
        (
            "127.0.0.1",
            format!("sslmode=verify-full&sslrootcert={wrong_root}"),
            "certificate",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={wrong_root}"),
            "certificate",
        ),
        (
            "127.0.0.1",
            format!("sslmode=require&sslrootcert={wrong_root}"),
            "certificate",
        ),
        ("127.0.0.1", "sslmode=verify-full".to_owned(), "certificate"),
        ("[::1]", "sslmode=disable".to_owned(), "error connecting"),
    ] {
        let (read, rows) = read(of(host, &more));
        assert_eq!(
            (read.ending, read.header.complete, rows.len()),
            (Ending::Refused, false, 0)
        );
        let message = read.findings.finish().remove(0).message;
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn passwords_come_from_the_environment_or_a_file_of_the_operators_own() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    let address = format!("postgres://{READER}@127.0.0.1:{}/part?sslmode=require", postgres.port());
    let rows = 9 + 1 + 4 + 1 + 3000;
    let clean = format!("said Clean {rows} []");
    assert_eq!(said(&address, &[("PGPASSWORD", PASSWORD)]), clean);
    let refused = said(&address, &[("PGPASSWORD", "wrong")]);
    assert!(
        refused.starts_with("said Refused 0") && refused.contains("password authentication failed"),
        "{refused}"
    );
    let asked = said(&address, &[]);
    assert!(
        asked.starts_with("said Refused 0") && asked.contains("PGPASSWORD"),
        "{asked}"
    );
    let file = postgres.path().join("pgpass");
    std::fs::write(
        &file,
        format!(
            "# theirs\nelsewhere:*:*:*:x\n*:{}:part:{READER}:{}\n",
            postgres.port(),
            PASSWORD.replace(':', "\\:")
        ),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = said(&address, &[("PGPASSFILE", file)]);
    assert!(open.starts_with("said Refused 0") && open.contains("0600"), "{open}");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(said(&address, &[("PGPASSFILE", file)]), clean);
}

#[test]
fn a_running_database_is_seen_at_one_instant_and_not_changed() {
    let Some(postgres) = Postgres::start() else { return };
    tables(&postgres, "part");
    /// Changes the database while it is read.
    struct Meddling<'a>(&'a Postgres, Everything);
    impl Rows for Meddling<'_> {
        fn wants(&mut self, table: &Table) -> bool {
            if table.name == "columns" {
                self.0.sql(
                    "part",
                    "DELETE FROM participant.single; INSERT INTO participant.plain (id) VALUES (500) ON CONFLICT DO NOTHING",
                );
            }
            self.1.wants(table)
        }
        fn needs(&mut self, _: &Table, column: &str) -> bool {
            column != "payload"
        }
        fn row(&mut self, table: &Table, fields: &[Field<'_>]) {
            self.1.row(table, fields);
        }
    }
    let mut meddling = Meddling(&postgres, Everything::default());
    let source = Source::parse(postgres.address("part").as_ref()).unwrap();
    let read = dump::read(&source, &Options::default(), &mut meddling).unwrap();
    assert_eq!(read.ending, Ending::Clean);
    let rows = |name: &str| meddling.1.rows[&("participant".to_owned(), name.to_owned())].clone();
    assert_eq!((rows("plain").len(), rows("single").len()), (9, 4));
    assert!(
        rows("large")
            .iter()
            .all(|row| row["payload"].is_none() && row["id"].is_some())
    );
    let log = std::fs::read_to_string(postgres.path().join("log")).unwrap();
    assert!(log.contains("READ ONLY"), "statements are logged");
    // A table that this user may not read is a refusal, not an empty table.
    postgres.sql("part", "CREATE ROLE stranger LOGIN");
    let (read, _) = self::read(postgres.address("part").replace("postgres@", "stranger@"));
    assert_eq!(read.ending, Ending::Refused);
    assert!(read.findings.finish()[0].message.contains("permission denied"));
}

#[test]
fn damaged_dumps_are_read_without_harm() {
    let Some(postgres) = Postgres::start() else { return };
    postgres.sql("postgres", "CREATE DATABASE part");
    postgres.sql(
        "part",
        &participant("synchronizer_idx").replace("generate_series(1, 2000)", "generate_series(1, 20)"),
    );
    for arguments in [&["-Fp"][..], &["--inserts"], &["-Fc"], &["-Fc", "-Z0"], &["-Ft"]] {
        let arguments = [arguments, &["part"]].concat();
        let whole = std::fs::read(postgres.dump("pg_dump", &arguments, "whole")).unwrap();
        let damaged = postgres.path().join("damaged");
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..=next(4) {
                let at = next(bytes.len());
                // The table of contents is small, and most is decided there.
                let at = if next(2) == 0 { at % 4000 } else { at };
                let length = next(64).min(bytes.len() - at);
                match next(4) {
                    0 => bytes[at] = next(256) as u8,
                    1 => drop(bytes.drain(at..at + length)),
                    2 => bytes
                        .splice(
                            at..at,
                            (0..length)
                                .map(|_| b"'\"$\\;(),\0\xff-\n\t."[next(14)])
                                .collect::<Vec<_>>(),
                        )
                        .for_each(drop),
                    _ => bytes[at..at + length].fill(0xff),
                }
            }
            std::fs::write(&damaged, &bytes).unwrap();
            let (read, _) = read(&damaged);
            assert_eq!(read.ending == Ending::Clean, read.findings.clone().finish().is_empty());
            database(&damaged);
        }
    }
}
