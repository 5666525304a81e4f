//! Dumps and running databases give the same rows, whatever their form: against a real PostgreSQL.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::canton::dump::{self, Field, Format, Options, Read, Rows, Source, Table};
use rekindle::canton::finding::Ending;

use crate::postgres::Postgres;

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
