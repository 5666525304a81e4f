//! What real PostgreSQL of one release can't make: archives of other versions, and hostile dumps.

use std::io::{Cursor, Read as _, Write};

use super::sql::{End, Sql};
use super::*;
use crate::canton::Code;
use crate::canton::finding::Ending;

/// Counts rows and bytes, and keeps the first rows.
#[derive(Default)]
struct Kept {
    tables: Vec<Table>,
    rows: Vec<Vec<Option<String>>>,
    count: u64,
}

impl Rows for Kept {
    fn wants(&mut self, table: &Table) -> bool {
        self.tables.push(table.clone());
        true
    }

    fn row(&mut self, table: &Table, fields: &[Field<'_>]) {
        assert_eq!(table.columns.len(), fields.len());
        self.count += 1;
        if self.rows.len() < 100 {
            let text = |field: &Field<'_>| field.map(|text| String::from_utf8_lossy(text).into_owned());
            self.rows.push(fields.iter().map(text).collect());
        }
    }
}

/// An archive as `pg_dump` of this version writes it.
struct Written(Vec<u8>, u8);

impl Written {
    fn integer(&mut self, value: i32) {
        self.0.push(u8::from(value < 0));
        self.0.extend(value.unsigned_abs().to_le_bytes());
    }

    fn text(&mut self, text: Option<&str>) {
        self.integer(text.map_or(-1, |text| text.len() as i32));
        self.0.extend(text.unwrap_or_default().bytes());
    }

    fn head(version: u8, format: u8, compression: u8) -> Written {
        let mut out = Written(b"PGDMP\x01".to_vec(), version);
        out.0.extend([version, 0, 4, 8, format]);
        match version {
            15.. => out.0.push(compression),
            _ => out.integer(if compression == 0 { 0 } else { -1 }),
        }
        // 2026-11-22 21:30:05
        for part in [5, 30, 21, 22, 10, 126, 0] {
            out.integer(part);
        }
        for text in ["part", "16.1", "17.2"] {
            out.text(Some(text));
        }
        out
    }

    fn entry(&mut self, id: i32, kind: &str, definition: &str, copy: Option<&str>, place: (u8, u64)) {
        self.integer(id);
        self.integer(i32::from(copy.is_some()));
        self.text(Some("0"));
        self.text(Some("0"));
        self.text(Some("t"));
        self.text(Some(kind));
        self.integer(3);
        self.text(Some(definition));
        self.text(Some(""));
        self.text(copy);
        self.text(Some("participant"));
        self.text(None);
        if self.1 >= 14 {
            self.text(None);
        }
        if self.1 >= 16 {
            self.integer(i32::from(b'r'));
        }
        self.text(Some("owner"));
        self.text(Some("false"));
        for dependency in ["1", "2"] {
            self.text(Some(dependency));
        }
        self.text(None);
        self.0.push(place.0);
        self.0.extend(place.1.to_le_bytes());
    }

    fn block(&mut self, id: i32, data: &[u8]) {
        self.0.push(1);
        self.integer(id);
        for piece in data.chunks(7) {
            self.integer(piece.len() as i32);
            self.0.extend(piece);
        }
        self.integer(0);
    }
}

const COPY: &str = "COPY participant.t (a, b) FROM stdin;\n";
const DATA: &[u8] = b"1\tone\n2\t\\N\n\\.\n\n\n";

fn packed(compression: u8) -> Vec<u8> {
    match compression {
        1 => {
            let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(DATA).unwrap();
            out.finish().unwrap()
        }
        3 => zstd::encode_all(DATA, 1).unwrap(),
        _ => DATA.to_vec(),
    }
}

fn archive(version: u8, compression: u8) -> Vec<u8> {
    let mut out = Written::head(version, 1, compression);
    out.integer(3);
    out.entry(5, "TABLE", "CREATE TABLE participant.t (a int, b text);", None, (3, 0));
    out.entry(6, "TABLE DATA", "", Some(COPY), (1, 0));
    out.entry(7, "BLOBS", "", Some(""), (1, 0));
    out.0.push(3);
    out.integer(7);
    out.integer(16400);
    out.integer(2);
    out.0.extend(b"ab");
    out.integer(0);
    out.integer(0);
    out.block(6, &packed(compression));
    out.0
}

fn read_bytes(bytes: &[u8]) -> (Read, Kept) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut kept = Kept::default();
    let read = read(&Source::File(file.path().to_owned()), &Options::default(), &mut kept).unwrap();
    (read, kept)
}

fn rows(rows: &[[Option<&str>; 2]]) -> Vec<Vec<Option<String>>> {
    rows.iter()
        .map(|row| row.iter().map(|field| field.map(str::to_owned)).collect())
        .collect()
}

#[test]
fn archives_of_all_versions_and_packings_are_read() {
    for version in 12..=16 {
        for compression in [0, 1, 3] {
            if compression == 3 && version < 15 {
                continue;
            }
            let bytes = archive(version, compression);
            let (read, kept) = read_bytes(&bytes);
            assert_eq!(
                kept.rows,
                rows(&[[Some("1"), Some("one")], [Some("2"), None]]),
                "{version} {compression}"
            );
            assert_eq!((read.ending, read.header.complete), (Ending::Clean, true));
            let started = read.header.started.unwrap();
            assert_eq!(
                started.earliest.plus_seconds(14 * 3600).to_string(),
                "2026-11-22T21:30:05Z"
            );
            let names = [
                read.header.database,
                read.header.server_version,
                read.header.dumper_version,
            ];
            assert_eq!(names.map(Option::unwrap), ["part", "16.1", "17.2"]);
            for cut in 0..bytes.len() {
                let (read, _) = read_bytes(&bytes[..cut]);
                assert!(
                    read.ending != Ending::Clean && !read.header.complete,
                    "{version} {compression} {cut}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_read_natively_is_said_with_the_way_out() {
    for bytes in [archive(17, 0), archive(11, 0), archive(15, 2)] {
        let (read, kept) = read_bytes(&bytes);
        assert_eq!(
            (read.ending, kept.count, read.header.complete),
            (Ending::Unreadable, 0, false)
        );
        let finding = read.findings.finish().remove(0);
        assert_eq!(finding.code, Code::DumpUnsupported);
        assert!(finding.next.contains("pg_restore -f"));
    }
    let toc = Written::head(14, 3, 0).0;
    let (read, _) = read_bytes(&[toc, vec![0; 5]].concat());
    assert!(read.findings.finish().remove(0).message.contains("give the directory"));
}

#[test]
fn a_block_elsewhere_than_said_is_noticed() {
    let mut out = Written::head(14, 1, 0);
    out.integer(2);
    let at = |out: &Written| out.0.len() as u64;
    let mut probe = Written(out.0.clone(), 14);
    probe.entry(6, "TABLE DATA", "", Some(COPY), (2, 0));
    probe.entry(8, "TABLE DATA", "", Some(COPY), (2, 0));
    let first = at(&probe);
    probe.block(6, DATA);
    let second = at(&probe);
    for (places, is_clean) in [
        ((first, second), true),
        ((second, first), false),
        ((first, second + 1), false),
        ((first, 1 << 60), false),
    ] {
        let mut out = Written(out.0.clone(), 14);
        out.entry(6, "TABLE DATA", "", Some(COPY), (2, places.0));
        out.entry(8, "TABLE DATA", "", Some(COPY), (2, places.1));
        out.block(6, DATA);
        out.block(8, DATA);
        let (read, _) = read_bytes(&out.0);
        assert_eq!(read.ending == Ending::Clean, is_clean, "{places:?}");
        out.0.push(0);
        assert_ne!(read_bytes(&out.0).0.ending, Ending::Clean, "something behind the end");
    }
}

#[test]
fn a_table_of_contents_leads_to_no_file_outside_its_directory() {
    let outside = tempfile::tempdir().unwrap();
    let inside = outside.path().join("dump");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(outside.path().join("1.dat"), DATA).unwrap();
    std::fs::write(inside.join("1.dat"), DATA).unwrap();
    let absolute = outside.path().join("1.dat");
    for (name, is_inside) in [
        ("1.dat", true),
        ("../1.dat", false),
        (absolute.to_str().unwrap(), false),
        (".", false),
    ] {
        let mut toc = Written::head(14, 3, 0);
        toc.integer(1);
        toc.entry(6, "TABLE DATA", "", Some(COPY), (0, 0));
        // The file's name stands where a custom archive has a place.
        toc.0.truncate(toc.0.len() - 9);
        toc.text(Some(name));
        std::fs::write(inside.join("toc.dat"), toc.0).unwrap();
        let mut kept = Kept::default();
        let read = read(&Source::Directory(inside.clone()), &Options::default(), &mut kept).unwrap();
        assert_eq!(
            (kept.count, read.header.complete),
            (if is_inside { 2 } else { 0 }, is_inside),
            "{name}"
        );
    }
}

fn run(text: impl std::io::Read) -> (End, Kept, Vec<crate::canton::Finding>) {
    let mut kept = Kept::default();
    let mut sql = Sql::new(&mut kept, "test".into(), None);
    let end = sql.run(text);
    let findings = std::mem::take(&mut sql.findings).finish();
    (end, kept, findings)
}

/// Endless text is cut here: more than is kept of anything.
const LONG: u64 = 70 << 20;

#[test]
fn endless_lines_and_quotations_are_passed_over() {
    let long = |byte| std::io::repeat(byte).take(LONG);
    let text = Cursor::new("COPY t (a) FROM stdin;\n1\n")
        .chain(long(b'x'))
        .chain(Cursor::new("\n2\n\\.\n"));
    let (end, kept, findings) = run(text);
    assert!(matches!(end, End::Whole));
    assert_eq!(
        (kept.count, findings.len(), findings[0].code),
        (2, 1, Code::DumpRowsBroken)
    );
    let text = Cursor::new("INSERT INTO t (a) VALUES ('")
        .chain(long(b'x'))
        .chain(Cursor::new("'), (1);"));
    let (end, kept, findings) = run(text);
    assert!(matches!(end, End::Whole));
    assert_eq!((kept.count, findings.len()), (1, 1));
    for (before, byte) in [
        ("SELECT '", b'x'),
        ("SELECT $a$", b'$'),
        ("/*", b'*'),
        ("SELECT \"", b'x'),
        ("-- ", b'-'),
        ("SELECT ", b'('),
    ] {
        let (end, kept, _) = run(Cursor::new(before).chain(long(byte).take(LONG / 16)));
        assert!(matches!(end, End::CutOff | End::Whole) && kept.count == 0);
    }
}

#[test]
fn absurd_statements_are_passed_over() {
    let names = vec!["a"; 5000].join(", ");
    let tabs = "\t".repeat(1_000_000);
    for text in [
        format!("COPY t ({names}) FROM stdin;\n1\n\\.\nINSERT INTO t (a) VALUES (1);"),
        format!("CREATE TABLE u ({names});INSERT INTO t (a) VALUES (1);"),
        format!("COPY u (a, b) FROM stdin;\n{tabs}\n1\n\\.\nINSERT INTO t (a) VALUES (1);"),
        format!("INSERT INTO u (a) VALUES ({names}), (f(1)), (); INSERT INTO t (a) VALUES (1);"),
        "COPY u (a) FROM stdin WITH (FORMAT csv);\n1\n\\.\nINSERT INTO t (a) VALUES (1);".to_owned(),
        "COPY (SELECT 1) TO stdout; COPY u FROM '/file'; INSERT INTO t (a) VALUES (1);".to_owned(),
        "INSERT INTO u VALUES (1); INSERT INTO ; INSERT INTO a.b.c.d.e VALUES (1); INSERT INTO t (a) VALUES (1);"
            .to_owned(),
        "COPY ; CREATE TABLE ; CREATE ; SET ; SET x ; INSERT INTO t (a) VALUES (1);".to_owned(),
    ] {
        let (end, kept, _) = run(text.as_bytes());
        assert!(matches!(end, End::Whole), "{:.80}", text);
        assert_eq!(kept.rows.last(), Some(&vec![Some("1".to_owned())]), "{:.80}", text);
    }
}

#[test]
fn databases_schemas_and_settings_are_followed() {
    let text = "\\connect -reuse-previous=on \"dbname='o''dd'\"\nSET search_path = sv, pg_catalog;\n\
                COPY t (a) FROM stdin;\r\n1\r\n\\.\r\n\\connect other\nCREATE TABLE public.u (x int, y text);\n\
                SET standard_conforming_strings = off;\nINSERT INTO u VALUES (-1, 'a\\'b'), (NULL, E'\\\\x');\n\
                INSERT INTO u OVERRIDING SYSTEM VALUE VALUES (1.5::numeric(3, 1), DEFAULT) ON CONFLICT DO NOTHING;\n";
    let (end, kept, findings) = run(text.as_bytes());
    assert!(matches!(end, End::Whole) && findings.is_empty(), "{findings:?}");
    let names: Vec<_> = kept
        .tables
        .iter()
        .map(|table| {
            (
                table.database.as_deref().unwrap(),
                table.schema.as_str(),
                table.name.as_str(),
            )
        })
        .collect();
    assert_eq!(names, [("o''dd", "sv", "t"), ("other", "public", "u")]);
    let last = rows(&[[Some("-1"), Some("a'b")], [None, Some("\\x")], [Some("1.5"), None]]);
    assert_eq!((kept.rows[0][0].as_deref(), &kept.rows[1..]), (Some("1"), &last[..]));
}

#[test]
fn files_that_are_no_dumps_are_told() {
    for text in [
        "",
        "\n",
        "{\"error\": 404}",
        "<html>",
        "\u{1}\u{2}",
        "PGDMP",
        "PGDMP\u{1}",
    ] {
        let (read, _) = read_bytes(text.as_bytes());
        assert_eq!(
            (read.ending, read.header.complete),
            (Ending::Unreadable, false),
            "{text}"
        );
        assert!(read.findings.has(Code::NotADump));
    }
    assert_eq!(read_bytes(b"-- a script\nSELECT 1;\n").0.ending, Ending::Partial);
    let empty = tempfile::tempdir().unwrap();
    let read = read(
        &Source::Directory(empty.path().to_owned()),
        &Options::default(),
        &mut Kept::default(),
    )
    .unwrap();
    assert_eq!(read.ending, Ending::Unreadable);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_to_an_end(parts in proptest::collection::vec(
        proptest::sample::select(vec![
            "COPY ", "t ", "(a, b) ", "FROM stdin;\n", "\\.\n", "INSERT INTO ", "VALUES ", "(", ")", ",", "'", "\"", "$", "$a$",
            "--", "/*", "*/", "\n", ";", "\\", "E'", "\t", "1", "NULL", "CREATE TABLE ", "\\connect ", "x", "CREATE FUNCTION ",
            "BEGIN ", "END ", "SET ", "=", ".", "\u{e9}", "\\N",
        ]), 0..60)) {
        let text = parts.concat();
        run(text.as_bytes());
    }

    #[test]
    fn any_damage_to_an_archive_is_read_to_an_end(at in 0usize..600, byte: u8, version in 12u8..=16, length in 0usize..40) {
        let mut bytes = archive(version, 1);
        let at = at % bytes.len();
        let end = (at + length).min(bytes.len());
        bytes[at..end].fill(byte);
        read_bytes(&bytes);
    }
}

#[test]
fn a_directory_of_several_dumps_is_refused_with_the_names_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let read = || {
        let source = Source::Directory(directory.path().to_owned());
        let read = super::read(&source, &Options::default(), &mut Kept::default()).unwrap();
        assert_eq!(read.ending, Ending::Unreadable);
        read.findings.finish().remove(0).message
    };
    assert!(read().ends_with("it is empty"));
    for number in 0..10 {
        std::fs::write(directory.path().join(format!("apps-{number}.dump")), "PGDMP").unwrap();
    }
    let message = read();
    assert!(
        message.contains("it holds apps-0.dump, apps-1.dump,") && message.contains("apps-7.dump and 2 more: give one"),
        "{message}"
    );
}
