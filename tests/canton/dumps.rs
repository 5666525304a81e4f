//! Dumps and running databases give the same rows, whatever their form: against a real PostgreSQL.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::canton::database::{self, Database};
use rekindle::canton::dump::{self, Field, Format, Options, Read, Rows, Source, Span, Table};
use rekindle::canton::finding::Ending;
use rekindle::canton::{Code, Timestamp};
use time::UtcOffset;

use crate::postgres::Postgres;

mod damage;
mod running;

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
