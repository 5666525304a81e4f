//! The command, as operators run it.

use std::path::Path;
use std::process::{Command, Output};

use rekindle::canton::evidence::file;
use serde_json::{Value, json};

use super::decisions::calm;
use super::disaster::{Disaster, Log};

pub fn timestamp(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(["canton", "timestamp"])
        .args(args)
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Writes each SV's evidence file, and gives the arguments that name them.
fn write_evidence(directory: &Path, disaster: &Disaster) -> Vec<String> {
    let mut args = Vec::new();
    for (at, sv) in disaster.svs.iter().enumerate() {
        if let Some(evidence) = disaster.evidence(at) {
            let path = directory.join(format!("{}.json", sv.name));
            std::fs::write(path, file::to_json(&sv.name, &evidence).unwrap()).unwrap();
            args.extend(["--evidence".to_owned(), format!("{0}={0}.json", sv.name)]);
        }
    }
    args
}

fn run(disaster: &Disaster, more: &[&str]) -> (Output, Value) {
    let directory = tempfile::tempdir().unwrap();
    let mut args = write_evidence(directory.path(), disaster);
    args.extend(more.iter().map(|text| (*text).to_owned()));
    args.push("--json".to_owned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = timestamp(directory.path(), &args);
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, document)
}

#[test]
fn the_document_has_the_fields_that_were_promised() {
    let mut disaster = calm();
    let (output, document) = run(&disaster, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(document["verdict"], "agreed");
    assert_eq!(document["timestamp"], disaster.at(25).to_string());
    assert_eq!(document["agreed"], disaster.at(40).to_string());
    assert_eq!((&document["margin_s"], &document["quorum"]), (&json!(900), &json!(4)));
    assert_eq!(document["support"], json!(["sv-1", "sv-2", "sv-3", "sv-4", "sv-5"]));
    let sv = &document["svs"][0];
    assert_eq!(
        (&sv["name"], &sv["verdict"], &sv["action"]),
        (&json!("sv-1"), &json!("ok"), &json!("fetch"))
    );
    assert_eq!(sv["participant"], disaster.svs[0].participant);
    assert_eq!(sv["reached"], disaster.at(40).to_string());
    let row = &document["table"][0];
    assert_eq!((&row["support"], &row["lost_s"]), (&json!(5), &json!(900)));
    assert_eq!(row["to_inclusive"], disaster.at(40).to_string());
    assert_eq!(document["evidence_digest"].as_str().unwrap().len(), 16);
    assert_eq!(document["findings"], json!([]));

    disaster.svs[4].reached = 10;
    let (output, document) = run(&disaster, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(document["svs"][4]["verdict"], "behind");
    assert_eq!(document["findings"][0]["code"], "C0403");
}

#[test]
fn people_read_the_timestamp_first_and_what_to_do_last() {
    let directory = tempfile::tempdir().unwrap();
    let mut disaster = calm();
    (disaster.svs[1].forked, disaster.svs[4].log) = (Some(30), Log::Missing);
    let mut args = write_evidence(directory.path(), &disaster);
    let participant = format!("sv-1,sv-2,sv-3,sv-4,sv-5={}", disaster.svs[4].participant);
    let more = [
        "--svs",
        &participant,
        "--chart",
        "--explain",
        "sv-2",
        "--explain",
        "sv-5",
        "--picture",
        "p.svg",
    ];
    args.extend(more.map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = timestamp(directory.path(), &args);
    let text = String::from_utf8(output.stdout).unwrap();
    let timestamp_line = format!("    recovery timestamp   {}", disaster.at(25));
    assert_eq!(text.lines().nth(1), Some(timestamp_line.as_str()), "{text}");
    for says in [
        "evidence digest      ",
        "forked, its contracts differ",
        "ok by the word of others",
        "    re-onboard",
        "X",
        &format!(
            "rekindle canton fetch --url https://sv.sv.YOUR_HOSTNAME --token-file TOKEN --timestamp {}",
            disaster.at(25)
        ),
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let chart = text.lines().skip_while(|line| !line.contains("----")).take(8);
    assert!(chart.into_iter().all(|line| line.chars().count() <= 80), "{text}");
    let picture = std::fs::read_to_string(directory.path().join("p.svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n") && picture.contains("#b00020"));

    let again = timestamp(directory.path(), &args);
    assert_eq!(
        again.status.code(),
        Some(2),
        "a picture is not written over without being told"
    );
    let replaced = [args.as_slice(), &["--replace"]].concat();
    assert_eq!(timestamp(directory.path(), &replaced).status.code(), Some(1));

    // Nor over what it is made of, by whichever name.
    let evidence = directory.path().join("hidden.svg");
    let source = args.iter().find_map(|arg| arg.strip_prefix("sv-1=")).unwrap();
    std::os::unix::fs::symlink(source, &evidence).unwrap();
    let before = std::fs::read(directory.path().join(source)).unwrap();
    for picture in [source, "hidden.svg"] {
        let over: Vec<&str> = replaced
            .iter()
            .map(|arg| if *arg == "p.svg" { picture } else { *arg })
            .collect();
        assert_eq!(timestamp(directory.path(), &over).status.code(), Some(2), "{picture}");
    }
    assert_eq!(std::fs::read(directory.path().join(source)).unwrap(), before);
}

#[test]
fn an_incident_a_quorum_and_bounds_of_time_move_the_answer() {
    let disaster = calm();
    let minute = |tick: usize| disaster.at(tick).to_string();
    let (_, document) = run(&disaster, &["--incident", &minute(20)]);
    assert_eq!(
        (&document["agreed"], &document["timestamp"]),
        (&json!(minute(34)), &json!(minute(19)))
    );
    assert_eq!(document["table"][0]["lost_s"], 60);
    let (_, document) = run(&disaster, &["--before", &minute(33), "--margin", "0"]);
    assert_eq!(document["timestamp"], minute(33));
    let (output, document) = run(&disaster, &["--after", &minute(41)]);
    assert_eq!((output.status.code(), &document["timestamp"]), (Some(1), &Value::Null));
    let (_, document) = run(&disaster, &["--margin", "1h"]);
    assert_eq!(document["timestamp"], disaster.at(0).plus_seconds(-1200).to_string());

    let mut disaster = calm();
    (disaster.svs[3].reached, disaster.svs[4].reached) = (10, 10);
    let (_, document) = run(&disaster, &[]);
    assert_eq!(document["agreed"], minute(10));
    let (_, document) = run(&disaster, &["--quorum", "3"]);
    assert_eq!(document["agreed"], minute(40));
    assert!(
        document["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["code"] == "C0409")
    );
    let (output, _) = run(&disaster, &["--quorum", "6"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_wrong_request_says_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let disaster = calm();
    write_evidence(directory.path(), &disaster);
    let mut alone = disaster.evidence(0).unwrap();
    alone.participant = None;
    std::fs::write(
        directory.path().join("alone.json"),
        file::to_json("alone", &alone).unwrap(),
    )
    .unwrap();
    std::fs::write(directory.path().join("error.json"), "{\"error\":\"not found\"}").unwrap();
    let mut changed = std::fs::read_to_string(directory.path().join("sv-1.json")).unwrap();
    changed = changed.replace("60000000,40", "60000000,41");
    std::fs::write(directory.path().join("changed.json"), changed).unwrap();
    let other = format!("sv-1={}", disaster.svs[1].participant);
    for (args, code, says) in [
        (
            &["--evidence", "sv-1.json", "--evidence", "again=sv-1.json"][..],
            2,
            "are both PAR::",
        ),
        (
            &["--evidence", "x=sv-1.json", "--evidence", "x=sv-2.json"],
            2,
            "of two participants",
        ),
        (&["--evidence", "alone.json"], 2, "say it with --svs 'alone=PAR::"),
        (&["--evidence", "error.json"], 3, "it is no evidence file"),
        (&["--evidence", "changed.json"], 3, "its digest is"),
        (&["--evidence", "nowhere.json"], 3, "could not open nowhere.json"),
        (
            &["--evidence", "sv-1.json", "--svs", "sv-2,sv-3"],
            2,
            "sv-1 has a source and is not in --svs",
        ),
        (&["--evidence", "sv-1.json", "--svs", &other], 2, "is it another SV's?"),
        (
            &["--evidence", "sv-1.json", "--svs", "sv-1,sv-1"],
            2,
            "two SVs are called sv-1",
        ),
        (
            &["--evidence", "sv-1.json", "--explain", "sv-9"],
            2,
            "there is no SV sv-9",
        ),
        (
            &["--evidence", "sv-1.json", "--synchronizer", "splitwell"],
            2,
            "no evidence about synchronizer splitwell",
        ),
        (&["--evidence", "sv-1.json", "--margin", "15 min"], 2, "such as 15m"),
        (&[], 2, "give what the SVs have"),
    ] {
        let output = timestamp(directory.path(), args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(says), "{args:?}: {text}");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn hostile_names_are_drawn_and_shown_as_text() {
    let directory = tempfile::tempdir().unwrap();
    let mut disaster = calm();
    disaster.svs[0].name = "<script>\"&\u{1b}[2J\u{202e}".to_owned();
    disaster.svs[1].name = "n".repeat(200);
    let mut args = Vec::new();
    for at in 0..5 {
        let path = format!("{at}.json");
        let bytes = file::to_json(&disaster.svs[at].name, &disaster.evidence(at).unwrap()).unwrap();
        std::fs::write(directory.path().join(&path), bytes).unwrap();
        args.extend(["--evidence".to_owned(), path]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = timestamp(
        directory.path(),
        &[&args[..], &["--chart", "--picture", "p.svg"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    let picture = std::fs::read_to_string(directory.path().join("p.svg")).unwrap();
    assert!(picture.contains("&lt;script&gt;&quot;&amp;") && !picture.contains("<script>"));
    assert!(!picture.contains('\u{1b}') && picture.len() < 100_000);
}
