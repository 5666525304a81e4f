//! `rekindle canton fetch`, against an app that answers everything that SPEC-CANTON 3.3 lists, and worse.

mod connection;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::sv_app::{Answer, Body, SvApp, snapshot};

const AT: &str = "2024-04-17T19:12:02Z";
const TOKEN: &str = "eyJ.secret-token.x";

fn fetch(app: &SvApp, out: &Path, more: &[&str]) -> Output {
    command(app, out, more).output().unwrap()
}

fn command(app: &SvApp, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command
        .args([
            "canton",
            "fetch",
            "--json",
            "--url",
            &app.url,
            "--timestamp",
            AT,
            "--retry-wait",
            "0",
        ])
        .arg("--out")
        .arg(out)
        .args(more)
        .env("REKINDLE_CANTON_TOKEN", TOKEN)
        // Whatever proxies this machine has are not for servers of its own.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1");
    command
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(TOKEN) && !errors.contains(TOKEN), "the token was shown");
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text} {errors}"))
}

fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

fn out() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("data.json");
    (directory, out)
}

/// Nothing is there but these.
fn only(directory: &tempfile::TempDir, names: &[&str]) {
    let mut there: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, names);
}

#[test]
fn a_good_snapshot_is_written_as_it_came_with_its_digest() {
    use std::os::unix::fs::PermissionsExt;
    let body = serde_json::to_vec_pretty(&snapshot(AT, "QUJD")).unwrap();
    let answered = body.clone();
    let app = SvApp::start("0.5.4", move |_, _| {
        Answer::of(200, "application/json", vec![]).body(Body::Chunked(answered.clone(), 17, Duration::ZERO))
    });
    let (directory, out) = out();
    let output = fetch(&app, &out, &["--migration-id", "3", "--party-id", "DSO::1220ab"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(
        (&report["verdict"], &report["timestamp"], &report["splice"]),
        (&json!("fetched"), &json!(AT), &json!("0.5.4"))
    );
    assert_eq!(std::fs::read(&out).unwrap(), body);
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    only(&directory, &["data.json", "data.json.sha256"]);
    let check = Command::new("sha256sum")
        .args(["--strict", "-c", "data.json.sha256"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    let asked = &app.asked()[0];
    assert_eq!(asked.path, "/api/sv/v0/admin/domain/data-snapshot");
    assert_eq!(asked.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(
        (
            asked.timestamp(),
            &asked.query["party_id"],
            &asked.query["migration_id"]
        ),
        (AT, &"DSO::1220ab".into(), &"3".into())
    );
    assert!(!asked.query.contains_key("force"));
}

#[test]
fn every_row_of_the_table_has_its_own_finding_and_leaves_nothing_behind() {
    let rows: &[(&str, u16, &str, &str, i32)] = &[
        ("0.5.4", 400, "UNAVAILABLE_ACS_SNAPSHOT(9,1a): ACS pruned", "C0510", 4),
        (
            "0.5.4",
            429,
            "INVALID_ACS_SNAPSHOT_TIMESTAMP(2,1a): not clean",
            "C0511",
            4,
        ),
        ("0.5.4", 429, "Too Many Requests: Server is busy, try later", "C0514", 4),
        (
            "0.5.5",
            400,
            "Timestamp mismatch: requested=2024-04-17T19:12:02Z != recordTime=2024-04-17T19:12:01.5Z",
            "C0513",
            4,
        ),
        (
            "0.6.1",
            500,
            "INVALID_TIMESTAMP_PARTY_MANAGEMENT_ERROR(12,1a): Not all events have been processed fully",
            "C0511",
            4,
        ),
        (
            "0.6.1",
            500,
            "INVALID_TIMESTAMP_PARTY_MANAGEMENT_ERROR(12,1a): before the first",
            "C0512",
            4,
        ),
        ("0.6.1", 500, "An unexpected error occurred.", "C0519", 4),
        (
            "0.6.1",
            503,
            "The server is taking too long to respond to the request.",
            "C0516",
            4,
        ),
        ("0.6.1", 503, "UNAVAILABLE: io exception", "C0515", 4),
        ("0.6.1", 404, "The requested resource could not be found.", "C0517", 4),
        ("0.6.1", 401, "unauthorized", "C0518", 4),
        ("0.6.1", 403, "PERMISSION_DENIED", "C0518", 4),
        ("0.6.1", 200, "something else", "C0503", 3),
    ];
    for (release, status, said, code, exit) in rows {
        let (status, text) = (*status, (*said).to_owned());
        let app = SvApp::start(release, move |_, _| Answer::error(status, &text));
        let (directory, out) = out();
        let output = fetch(&app, &out, &["--retries", "2"]);
        let report = report(&output);
        assert_eq!(codes(&report), [*code], "{said}: {report}");
        assert_eq!(output.status.code(), Some(*exit), "{report}");
        let message = report["findings"][0]["message"].as_str().unwrap();
        assert!(message.contains(said), "{message}");
        only(&directory, &[]);
        let asked_again = matches!(*code, "C0514" | "C0515");
        assert_eq!(app.asked().len(), if asked_again { 3 } else { 1 }, "{said}");
    }
}

#[test]
fn what_may_pass_is_asked_for_again_and_what_is_too_late_earlier() {
    let app = SvApp::start("0.5.4", |request, before| match before {
        0 => Answer::of(429, "text/plain", b"Too Many Requests: Server is busy".to_vec()).with("retry-after", "1"),
        1 => Answer::error(503, "UNAVAILABLE"),
        2 | 3 => Answer::error(429, "INVALID_ACS_SNAPSHOT_TIMESTAMP(2,1a): x"),
        _ => Answer::json(200, &snapshot(request.timestamp(), "QUJD")),
    });
    let (_directory, out) = out();
    let start = Instant::now();
    let output = fetch(&app, &out, &["--probe", "3"]);
    let report = report(&output);
    assert!(start.elapsed() >= Duration::from_secs(1));
    // It is there, and the others have to be told: no success that a script passes over.
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(codes(&report), ["C0521"]);
    assert_eq!(report["timestamp"], "2024-04-17T19:11:52Z");
    let asked: Vec<_> = app
        .asked()
        .iter()
        .map(|request| request.timestamp().to_owned())
        .collect();
    assert_eq!(asked[2..], [AT, "2024-04-17T19:11:57Z", "2024-04-17T19:11:52Z"]);
    assert!(out.exists());
}

#[test]
fn nothing_that_is_no_whole_snapshot_ever_gets_the_name_or_replaces_a_good_file() {
    let good = snapshot(AT, "QUJD").to_string().into_bytes();
    let html = b"<!DOCTYPE html><html><title>Sign in</title></html>".to_vec();
    let json = |body: Vec<u8>| Answer::of(200, "application/json", body);
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    };
    let half = good[..good.len() / 2].to_vec();
    let cut_gzip = {
        let all = gzip(&good);
        all[..all.len() - 9].to_vec()
    };
    let bomb = gzip(&vec![b' '; 50 << 20]);
    let answers = [
        ("a login page", Answer::of(200, "text/html", html.clone()), "C0503"),
        ("a login page that says it is JSON", json(html), "C0503"),
        ("an error with 200", Answer::error(200, "no"), "C0503"),
        ("an empty body", json(vec![]), "C0503"),
        ("half of it", json(half.clone()), "C0504"),
        (
            "half of what was announced",
            json(vec![]).body(Body::Short(half.clone(), good.len())),
            "C0520",
        ),
        (
            "chunks without an end",
            json(vec![]).body(Body::CutChunks(good.clone())),
            "C0520",
        ),
        ("something after it", json([&good[..], b"{}"].concat()), "C0504"),
        (
            "broken base64",
            json(snapshot(AT, "QUJ").to_string().into_bytes()),
            "C0504",
        ),
        (
            "another time",
            json(snapshot("2024-04-17T19:12:03Z", "QUJD").to_string().into_bytes()),
            "C0506",
        ),
        ("gzip cut off", json(cut_gzip).with("content-encoding", "gzip"), "C0504"),
        ("a gzip bomb", json(bomb).with("content-encoding", "gzip"), "C0525"),
        ("brotli", json(good.clone()).with("content-encoding", "br"), "C0503"),
        (
            "a part",
            Answer::of(206, "application/json", good.clone()).with("content-range", "bytes 5-9/10"),
            "C0503",
        ),
        ("more than allowed", json(vec![b' '; 2 << 20]), "C0525"),
        (
            "another host",
            Answer::of(302, "text/html", vec![]).with("location", "https://login.example/?x=1"),
            "C0503",
        ),
    ];
    for (name, answer, code) in answers {
        for is_there in [false, true] {
            let answer = answer.clone();
            let app = SvApp::start("0.5.4", move |_, _| answer.clone());
            let (directory, out) = out();
            if is_there {
                std::fs::write(&out, "good").unwrap();
            }
            let output = fetch(&app, &out, &["--replace", "--retries", "1", "--max-size", "1M"]);
            let report = report(&output);
            assert!(codes(&report).contains(&code), "{name}: {report}");
            assert!(matches!(output.status.code(), Some(3 | 4)), "{name}: {output:?}");
            match is_there {
                true => assert_eq!(std::fs::read(&out).unwrap(), b"good", "{name}"),
                false => only(&directory, &[]),
            }
        }
    }
}

#[test]
fn packed_answers_are_unpacked_and_redirections_on_the_same_host_followed() {
    let good = snapshot(AT, "QUJD").to_string().into_bytes();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &good).unwrap();
    let packed = packed.finish().unwrap();
    let app = SvApp::start("0.5.4", move |request, _| match request.path.starts_with("/moved") {
        false => Answer::of(307, "text/plain", vec![]).with("location", "/moved?timestamp=x"),
        true => Answer::of(200, "application/json; charset=UTF-8", packed.clone()).with("content-encoding", "gzip"),
    });
    let (_directory, out) = out();
    let output = fetch(&app, &out, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(std::fs::read(&out).unwrap(), good);
    assert_eq!(app.asked()[1].headers["authorization"], format!("Bearer {TOKEN}"));
}

#[test]
fn a_token_never_goes_to_another_host_nor_to_the_same_one_in_a_circle() {
    let thief = SvApp::start("0.5.4", |_, _| Answer::json(200, &snapshot(AT, "QUJD")));
    let there = format!("{}/x", thief.url);
    let app = SvApp::start("0.5.4", move |_, _| {
        Answer::of(302, "text/html", vec![]).with("location", &there)
    });
    let (directory, out) = out();
    let output = fetch(&app, &out, &[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(thief.asked().is_empty());
    only(&directory, &[]);
    let circle = SvApp::start("0.5.4", |_, _| {
        Answer::of(302, "text/html", vec![]).with("location", "/again")
    });
    let output = fetch(&circle, &out, &[]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(circle.asked().len(), 6);
}

#[test]
fn releases_that_have_no_use_for_a_snapshot_are_told() {
    let good = |_: &super::sv_app::Request, _| Answer::json(200, &snapshot(AT, "QUJD"));
    let (directory, out) = out();
    for release in ["0.6.2", "0.6.6", "0.6.7"] {
        let app = SvApp::start(release, good);
        let output = fetch(&app, &out, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(codes(&report(&output)), ["C0501"]);
        assert!(app.asked().is_empty());
        only(&directory, &[]);
    }
    let app = SvApp::start("0.6.4", good);
    let output = fetch(&app, &out, &["--anyway"]);
    assert_eq!(
        (output.status.code(), codes(&report(&output))),
        (Some(1), vec!["C0501"])
    );
    assert!(out.exists());
    std::fs::remove_file(&out).unwrap();
    let silent = SvApp::start("", good);
    let output = fetch(&silent, &out, &[]);
    assert_eq!(
        (output.status.code(), codes(&report(&output))),
        (Some(0), vec!["C0502"])
    );
}

#[test]
fn a_file_that_is_there_is_read_again_and_never_touched_without_being_told() {
    let app = SvApp::start("0.5.4", |request, _| {
        Answer::json(200, &snapshot(request.timestamp(), "QUJD"))
    });
    let (directory, out) = out();
    std::fs::write(&out, "something else").unwrap();
    let output = fetch(&app, &out, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read(&out).unwrap(), b"something else");
    assert!(app.asked().is_empty());
    assert_eq!(fetch(&app, &out, &["--replace"]).status.code(), Some(0));
    // Killed between the two names: the sidecar is made up for.
    std::fs::remove_file(directory.path().join("data.json.sha256")).unwrap();
    let output = fetch(&app, &out, &[]);
    assert_eq!(
        (output.status.code(), codes(&report(&output))),
        (Some(0), vec!["C0523"])
    );
    only(&directory, &["data.json", "data.json.sha256"]);
    assert_eq!(app.asked().len(), 1);
}

#[test]
fn a_transfer_that_broke_off_goes_on_where_the_server_can_and_begins_anew_where_not() {
    let good = snapshot(AT, &"QUJD".repeat(50_000)).to_string().into_bytes();
    let whole = good.clone();
    let app = SvApp::start("0.5.4", move |request, before| {
        let answer = Answer::of(200, "application/json", vec![])
            .with("etag", "\"one\"")
            .with("accept-ranges", "bytes");
        match (before, request.headers.get("range")) {
            (0, _) => answer.body(Body::Short(whole[..100_000].to_vec(), whole.len())),
            (1, _) => Answer::error(503, "UNAVAILABLE"),
            (_, Some(range)) => {
                assert_eq!(request.headers["if-range"], "\"one\"");
                let from: usize = range["bytes=".len()..].trim_end_matches('-').parse().unwrap();
                let mut answer = answer.body(Body::Sized(whole[from..].to_vec()));
                answer.status = 206;
                answer.with(
                    "content-range",
                    &format!("bytes {from}-{}/{}", whole.len() - 1, whole.len()),
                )
            }
            _ => answer.body(Body::Sized(whole.clone())),
        }
    });
    let (directory, out) = out();
    let first = fetch(&app, &out, &["--retries", "1"]);
    assert_eq!(first.status.code(), Some(5), "{first:?}");
    only(&directory, &["data.json.part", "data.json.part.json"]);
    let second = fetch(&app, &out, &["--retries", "0"]);
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    assert_eq!(std::fs::read(&out).unwrap(), good);
    let range = app.asked()[2].headers["range"].clone();
    assert!(range.starts_with("bytes=") && range != "bytes=0-", "{range}");
    only(&directory, &["data.json", "data.json.sha256"]);

    // The file changed in between: the server sends all of the new one.
    let new = snapshot(AT, &"REVG".repeat(50_000)).to_string().into_bytes();
    let (whole, changed) = (good.clone(), new.clone());
    let app = SvApp::start("0.5.4", move |_, before| match before {
        0 => Answer::of(200, "application/json", vec![])
            .with("etag", "\"one\"")
            .with("accept-ranges", "bytes")
            .body(Body::Short(whole[..100_000].to_vec(), whole.len())),
        _ => Answer::of(200, "application/json", changed.clone()).with("etag", "\"two\""),
    });
    std::fs::remove_file(&out).unwrap();
    let output = fetch(&app, &out, &["--retries", "1"]);
    assert_eq!(
        (output.status.code(), codes(&report(&output))),
        (Some(0), vec!["C0522"])
    );
    assert_eq!(std::fs::read(&out).unwrap(), new);
}

#[test]
fn the_rest_of_another_snapshot_is_never_put_behind_the_beginning_of_this_one() {
    let good = snapshot(AT, &"QUJD".repeat(50_000)).to_string().into_bytes();
    for (etag, shift, more) in [
        ("\"two\"", 0, 0),
        ("\"one\"", 4, 0),
        ("\"one\"", 0, 4),
        ("W/\"one\"", 0, 0),
    ] {
        let whole = good.clone();
        let app = SvApp::start("0.5.4", move |request, before| {
            let answer = Answer::of(200, "application/json", vec![]).with("accept-ranges", "bytes");
            let Some(range) = request.headers.get("range").filter(|_| before == 1) else {
                return answer
                    .with("etag", "\"one\"")
                    .body(Body::Short(whole[..100_000].to_vec(), whole.len()));
            };
            let from: usize = range["bytes=".len()..].trim_end_matches('-').parse().unwrap();
            let (from, size) = (from + shift, whole.len() + more);
            let mut answer = answer.with("etag", etag).body(Body::Sized(whole[from..].to_vec()));
            answer.status = 206;
            answer.with("content-range", &format!("bytes {from}-{}/{size}", size - 1))
        });
        let (directory, out) = out();
        let output = fetch(&app, &out, &["--retries", "1"]);
        assert_eq!(output.status.code(), Some(3), "{etag} {shift} {more}: {output:?}");
        only(&directory, &[]);
    }
}

#[test]
fn a_validators_answer_gives_the_file_that_the_validator_is_given() {
    let inner = json!({
        "participant": { "id": "PAR::v::1220", "keys": [], "authorizedStoreSnapshot": "" }, "participant_users": {},
        "acs_snapshot": "QUJD", "acs_timestamp": AT, "dars": [{ "hash": "1", "content": "QUI=" }], "migration_id": 3,
        "domain_id": "global-domain::1220", "created_at": "2026-11-22T07:00:01.123456Z", "acs_format": "ledger_api"
    });
    let answer = json!({ "data_snapshot": inner, "migration_id": 3 });
    let app = SvApp::start("0.5.4", move |_, _| Answer::json(200, &answer));
    let (directory, out) = out();
    let output = fetch(&app, &out, &["--validator", "--force"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(app.asked()[0].path, "/api/validator/v0/admin/domain/data-snapshot");
    assert_eq!(app.asked()[0].query["force"], "true");
    let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(written, inner);
    only(&directory, &["data.json", "data.json.sha256"]);
    // Fetched again, it is known.
    assert_eq!(codes(&report(&fetch(&app, &out, &["--validator"]))), ["C0523"]);
}

#[test]
fn a_server_that_says_nothing_is_given_up_on() {
    let app = SvApp::start("0.5.4", |_, _| {
        Answer::of(200, "application/json", vec![]).body(Body::Silence)
    });
    let (directory, out) = out();
    let start = Instant::now();
    let output = fetch(&app, &out, &["--answer-timeout", "1", "--retries", "1"]);
    assert_eq!(
        (output.status.code(), codes(&report(&output))),
        (Some(4), vec!["C0520"])
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    only(&directory, &[]);
    let slow = SvApp::start("0.5.4", |_, _| {
        let body = snapshot(AT, "QUJD").to_string().into_bytes();
        Answer::of(200, "application/json", vec![]).body(Body::Chunked(body, 100, Duration::from_millis(1500)))
    });
    let output = fetch(&slow, &out, &["--idle-timeout", "1", "--retries", "0"]);
    assert_eq!(
        (output.status.code(), codes(&report(&output))),
        (Some(4), vec!["C0520"])
    );
    let dead = SvApp {
        url: "http://127.0.0.1:1".to_owned(),
        requests: Default::default(),
    };
    let output = fetch(&dead, &out, &["--retries", "0"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(codes(&report(&output)).contains(&"C0520"));
}

#[test]
fn a_fetch_that_is_killed_leaves_nothing_under_the_name_and_the_next_one_finishes() {
    let good = snapshot(AT, &"QUJD".repeat(20_000)).to_string().into_bytes();
    let whole = good.clone();
    let app = SvApp::start("0.5.4", move |_, _| {
        let slow = Body::Chunked(whole.clone(), 2000, Duration::from_millis(3));
        Answer::of(200, "application/json", vec![]).body(slow)
    });
    let (directory, out) = out();
    for wait_ms in [20, 60, 90, 120, 160] {
        let mut child = command(&app, &out, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        if let Ok(bytes) = std::fs::read(&out) {
            assert_eq!(bytes, good);
        }
    }
    let output = fetch(&app, &out, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(std::fs::read(&out).unwrap(), good);
    only(&directory, &["data.json", "data.json.sha256"]);
}

#[test]
fn a_fetch_that_is_killed_goes_on_where_it_was_if_the_server_can() {
    let good = snapshot(AT, &"QUJD".repeat(50_000)).to_string().into_bytes();
    let whole = good.clone();
    let app = SvApp::start("0.5.4", move |request, _| {
        let from = request.headers.get("range").map_or(0, |range| {
            range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap()
        });
        let mut answer = Answer::of(200, "application/json", vec![])
            .with("etag", "\"one\"")
            .with("accept-ranges", "bytes");
        if from > 0 {
            answer.status = 206;
            answer = answer.with(
                "content-range",
                &format!("bytes {from}-{}/{}", whole.len() - 1, whole.len()),
            );
        }
        answer.body(Body::Slow(whole[from..].to_vec(), 1000, Duration::from_millis(5)))
    });
    let (directory, out) = out();
    let part = directory.path().join("data.json.part");
    for kilobytes in [20, 60, 100] {
        let mut child = command(&app, &out, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while part.metadata().map_or(0, |part| part.len()) < kilobytes << 10
            && start.elapsed() < Duration::from_secs(30)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!out.exists());
    }
    let output = fetch(&app, &out, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(std::fs::read(&out).unwrap(), good);
    let from: Vec<_> = app
        .asked()
        .iter()
        .map(|asked| asked.headers.get("range").cloned())
        .collect();
    assert!(from[0].is_none() && from[1..].iter().all(Option::is_some), "{from:?}");
    only(&directory, &["data.json", "data.json.sha256"]);
}

#[test]
fn two_at_once_do_not_write_the_same_file() {
    let body = snapshot(AT, "QUJD").to_string().into_bytes();
    let app = SvApp::start("0.5.4", move |_, _| {
        let slow = Body::Chunked(body.clone(), 50, Duration::from_millis(200));
        Answer::of(200, "application/json", vec![]).body(slow)
    });
    let (_directory, out) = out();
    let mut first = command(&app, &out, &[]).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while app.asked().is_empty() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = fetch(&app, &out, &[]);
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    assert_eq!(first.wait().unwrap().code(), Some(0));
}

#[test]
fn names_that_others_left_there_are_not_written_through() {
    let app = SvApp::start("0.5.4", |_, _| Answer::json(200, &snapshot(AT, "QUJD")));
    let (directory, out) = out();
    let victim = directory.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, directory.path().join("data.json.part")).unwrap();
    assert_eq!(fetch(&app, &out, &[]).status.code(), Some(3));
    std::fs::remove_file(directory.path().join("data.json.part")).unwrap();
    std::os::unix::fs::symlink(&victim, directory.path().join("data.json.sha256.part")).unwrap();
    std::os::unix::fs::symlink(&victim, &out).unwrap();
    assert_eq!(fetch(&app, &out, &[]).status.code(), Some(2));
    assert_eq!(fetch(&app, &out, &["--replace"]).status.code(), Some(0));
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    assert!(!out.is_symlink());
    std::fs::create_dir(directory.path().join("folder")).unwrap();
    for wrong in ["folder", "/dev/null", "/"] {
        let output = fetch(&app, &directory.path().join(wrong), &[]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    // A name that would forge a line of the sidecar.
    let odd = directory.path().join("a\\b\nc.json");
    assert_eq!(fetch(&app, &odd, &[]).status.code(), Some(0));
    let check = Command::new("sha256sum")
        .args(["--strict", "-c", "a\\b\nc.json.sha256"])
        .current_dir(directory.path())
        .output();
    assert!(check.unwrap().status.success());
}

/// A snapshot with this many bytes of base64, and the most memory (bytes) that fetching it took.
fn huge(characters: u64) -> u64 {
    let app = SvApp::start("0.5.4", move |_, _| {
        Answer::of(200, "application/json", vec![]).body(Body::Huge(AT.to_owned(), characters))
    });
    let (_directory, out) = out();
    let mut child = command(&app, &out, &[]).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(out.metadata().unwrap().len() > characters);
    assert!(peak > 0);
    peak
}

#[test]
fn memory_does_not_grow_with_the_snapshot() {
    let peak = huge(64 << 20);
    assert!(peak < 64 << 20, "{peak} bytes");
}

#[test]
#[ignore = "writes 2 GB"]
fn memory_does_not_grow_with_a_snapshot_of_two_gigabytes() {
    let peak = huge(2 << 30);
    eprintln!("peak {} MiB", peak >> 20);
    assert!(peak < 64 << 20, "{peak} bytes");
}

#[test]
fn what_somebody_put_under_the_names_beside_the_file_is_neither_waited_for_nor_written() {
    let app = SvApp::start("0.5.4", |_, _| Answer::json(200, &snapshot(AT, "QUJD")));
    let (directory, out) = out();
    let beside = |end: &str| directory.path().join(format!("data.json{end}"));
    let made = Command::new("mkfifo").arg(beside(".part.json")).status().unwrap();
    assert!(made.success());
    let began = Instant::now();
    let mut child = command(&app, &out, &[]).stdout(Stdio::null()).spawn().unwrap();
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(ended) => break Some(ended),
            None if began.elapsed() > Duration::from_secs(20) => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let _ = child.kill();
    assert_eq!(ended.and_then(|ended| ended.code()), Some(0));
    only(&directory, &["data.json", "data.json.sha256"]);
    // Somebody's file with a second name is not emptied.
    let precious = directory.path().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    std::fs::hard_link(&precious, beside(".part")).unwrap();
    let output = fetch(&app, &out, &["--replace"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
}
