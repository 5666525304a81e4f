//! The files of `--html` in a real browser, opened from the disk as whoever gets one by mail opens it: nothing is fetched, everything is
//! read at every width, in the light, in the dark, and with the keyboard alone, also where what is reported on is hostile.

use std::ffi::OsString;
use std::path::Path;

use serde_json::json;

use crate::browser::Browser;
use crate::support::{Run, Service, chunks, copy_files};

/// Where a browser finds a file.
fn address(path: &Path) -> String {
    let bytes = path.to_str().unwrap().bytes();
    let encoded = bytes.map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    format!("file://{}", encoded.collect::<String>())
}

/// Runs a command with `--html`, and opens what it wrote.
#[track_caller]
fn open(browser: &mut Browser, arguments: &[OsString], code: i32, name: &str) {
    let scratch = tempfile::tempdir().unwrap();
    // A name that a browser has to be told of with care.
    let path = scratch.path().join("report of \"%41#1?\".html");
    let more = ["--html".into(), path.clone().into_os_string()];
    Run::of(&[arguments, &more].concat()).expect(code);
    let url = address(&path);
    browser.ask(&json!({"do": "requests"}));
    browser.ask(&json!({"do": "open", "url": url}));
    browser.look(name);
    for width in [320, 360, 768] {
        let unreadable = browser.ask(&json!({"do": "unreadable", "width": width}));
        assert_eq!(unreadable, json!([]), "{name} at {width}");
    }
    let places = browser.ask(&json!({"do": "tab"})).as_u64().unwrap();
    let links = browser
        .ask(&json!({"do": "count", "selector": "a[href]"}))
        .as_u64()
        .unwrap();
    assert_eq!(places, links, "{name}: what can be used are links to places in it");
    assert_eq!(browser.ask(&json!({"do": "requests"})), json!([url]), "{name}");
}

fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { [$(OsString::from($argument)),*] };
}

#[test]
fn every_report_is_read_in_a_browser_and_fetches_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let service = Service::made(&[
        "--entries",
        "900",
        "--rekey-every",
        "150",
        "--recoveries",
        "2",
        "--nodes",
        "3",
        "--election-every",
        "200",
        "--snapshot-every",
        "200",
        "--unsigned-tail",
        "4",
        "--chunk-size",
        "30000",
        "--signature-every",
        "20",
    ]);
    let (whole, snapshots) = (service.ledger(), service.directory.join("snapshots"));
    open(
        &mut browser,
        &arguments!["verify", &whole, "--snapshots", &snapshots],
        0,
        "html-1-verify",
    );

    // Damage, a chunk that is gone, and names that would rather be something else.
    let scratch = tempfile::tempdir().unwrap();
    let hostile = scratch
        .path()
        .join("\"><script>document.title='taken'</script><img src=http:x>\u{202e}\n")
        .join("a_long_name_without_any_place_to_break_it_".repeat(5));
    copy_files(&whole, &hostile);
    let mut files = chunks(&hostile);
    files.sort();
    flip(&files[2].1);
    std::fs::remove_file(&files[4].1).unwrap();
    std::fs::write(hostile.join("ledger_<img src=http:x onerror=alert(1)>.committed"), "x").unwrap();
    open(
        &mut browser,
        &arguments!["verify", &hostile],
        1,
        "html-2-verify-damaged",
    );
    let short = scratch.path().join("short");
    copy_files(&whole, &short);
    let last = chunks(&short).into_iter().max().unwrap().1;
    std::fs::remove_file(last).unwrap();
    open(
        &mut browser,
        &arguments!["compare", &hostile, &whole, &short],
        1,
        "html-3-compare",
    );
    open(&mut browser, &arguments!["attest", &whole], 0, "html-4-attest");
    open(
        &mut browser,
        &arguments!["attest", &hostile],
        1,
        "html-5-attest-damaged",
    );
    open(&mut browser, &arguments!["drill", "--entries", "50"], 0, "html-6-drill");
    let taken = browser.ask(&json!({"do": "count", "selector": "script, img, iframe, form, object"}));
    assert_eq!(taken, json!(0));
}
