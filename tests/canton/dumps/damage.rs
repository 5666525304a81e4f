//! Dumps that end early or are damaged.

use std::path::PathBuf;

use rekindle::canton::Code;
use rekindle::canton::finding::Ending;

use super::{database, participant, read, tables, whole};
use crate::postgres::Postgres;

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
        for _ in 0..60 {
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
