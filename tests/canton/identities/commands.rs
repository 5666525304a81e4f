//! The commands as an operator runs them: exit codes, files, permissions, and what is on the screen.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::made::{self, Algorithm, Node, Style};

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn json(&self, name: &str, value: &Value) -> PathBuf {
        self.write(name, serde_json::to_vec_pretty(value).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn command(arguments: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.args(["canton", "identities"]).args(arguments).args(paths);
    command
}

fn run(arguments: &[&str], paths: &[&Path]) -> (i32, String) {
    said(command(arguments, paths).output().unwrap())
}

fn said(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn json_of(arguments: &[&str], paths: &[&Path]) -> (i32, Value) {
    let arguments = [arguments, &["--json"]].concat();
    let output = command(&arguments, paths).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (
        output.status.code().unwrap(),
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
    )
}

/// Whether a tool is here; tests that need it fail without it where that is demanded.
fn has(tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    assert!(
        found || std::env::var_os("REKINDLE_REQUIRE_CANTON_TOOLS").is_none(),
        "{tool} is required"
    );
    if !found {
        eprintln!("skipped: {tool} is not at hand");
    }
    found
}

fn jq(arguments: &[&str], input: &[&Path]) -> Vec<u8> {
    let output = Command::new("jq").args(arguments).args(input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn check_says_what_is_there_and_its_exit_code_says_whether_all_is_well() {
    let place = Place::new();
    let full = place.json("sv1.json", &made::full(Style::Old, 1));
    let (code, text) = run(&["check"], &[&full]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("shape A") && text.contains("3 keys in the dump, 3 proven"),
        "{text}"
    );
    assert!(text.contains("verified: every key is in it and proven"), "{text}");

    let other = place.json("sv_identities_2024.json", &made::unwrapped(Style::New, 2));
    let (code, report) = json_of(&["check"], &[&full, &other]);
    assert_eq!((code, &report["verdict"]), (0, &json!("ok")));
    assert_eq!(report["files"][1]["shape"], "unwrapped");
    assert_eq!(report["files"][1]["standing"], "verified");
    assert_eq!(report["files"][0]["nodes"][0]["keys"][2]["purpose"], "encryption");
    assert_eq!(report["files"][0]["nodes"][0]["keys"][0]["proof"], "proven");
    let id = Node::new("PAR", "sv1", Algorithm::Ed25519, Style::Old, 17).id();
    assert_eq!(report["files"][0]["nodes"][0]["id"], id.as_str());

    let mut damaged = made::full(Style::Old, 3);
    damaged["identities"]["domain_id"] = "another".into();
    let damaged = place.json("sv3.json", &damaged);
    let (code, report) = json_of(&["check"], &[&full, &other, &damaged]);
    assert_eq!((code, &report["verdict"]), (1, &json!("negative")));
    assert_eq!(report["findings"][0]["code"], "C0226");
    assert!(report["findings"][0]["file"].as_str().unwrap().ends_with("sv3.json"));

    let again = place.json("again.json", &made::unwrapped(Style::Old, 1));
    let (code, report) = json_of(&["check"], &[&full, &again]);
    assert_eq!((code, &report["findings"][0]["code"]), (0, &json!("C0229")));

    let page = place.write("page.json", "<html>");
    let (code, report) = json_of(&["check"], &[&full, &page]);
    assert_eq!((code, &report["verdict"]), (3, &json!("unreadable")));
    let (code, report) = json_of(&["check"], &[&full, &place.path("not there")]);
    assert_eq!((code, &report["findings"][0]["code"]), (3, &json!("C0230")));
    assert_eq!(run(&["check"], &[]).0, 2);
}

#[test]
fn one_node_alone_is_enough_unless_a_full_dump_is_asked_for() {
    let place = Place::new();
    let node = place.json(
        "node.json",
        &Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1).json(),
    );
    assert_eq!(run(&["check"], &[&node]).0, 0);
    let (code, text) = run(&["check", "--full"], &[&node]);
    assert!(code == 1 && text.contains("C0205"), "{text}");
}

#[test]
fn a_dump_that_others_may_read_is_a_warning_where_a_key_is_in_it() {
    let place = Place::new();
    let plain = Node::new("PAR", "sv", Algorithm::Ed25519, Style::Old, 1);
    let dump = place.json("plain.json", &plain.json());
    let kms = place.json("kms.json", &Node { in_kms: true, ..plain }.json());
    for (mode, expected) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o644, 1)] {
        for path in [&dump, &kms] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let (code, text) = run(&["check"], &[&dump]);
        assert_eq!(
            (code, text.contains("C0224")),
            (expected, expected == 1),
            "{mode:o} {text}"
        );
        assert_eq!(run(&["check"], &[&kms]).0, 0, "nothing secret is in it");
    }
}

#[test]
fn packed_dumps_and_pipes_are_read_too() {
    let place = Place::new();
    let bytes = serde_json::to_vec(&made::full(Style::Old, 1)).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&bytes).unwrap();
    let packed = place.write("dump.json.gz", packed.finish().unwrap());
    assert_eq!(run(&["check"], &[&packed]).0, 0);
    let bomb = zstd::encode_all(std::io::repeat(b' ').take(1 << 28), 1).unwrap();
    let bomb = place.write("bomb.zst", bomb);
    let (code, text) = run(&["check"], &[&bomb]);
    assert!(code == 3 && text.contains("MiB"), "{text}");

    let mut child = command(&["check", "-"], &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert_eq!(said(child.wait_with_output().unwrap()).0, 0);
}

#[test]
fn a_migration_dump_of_any_size_is_checked_in_little_memory() {
    let place = Place::new();
    let text = made::migration(Style::Old, 1).to_string();
    let (head, tail) = text.split_once("QUNT").unwrap();
    let input = place.write("dump.json", head);
    let mut file = std::fs::File::options().append(true).open(&input).unwrap();
    std::io::copy(&mut std::io::repeat(b'A').take(300 << 20), &mut file).unwrap();
    file.write_all(tail.as_bytes()).unwrap();
    drop(file);
    let out = place.path("out.json");
    for arguments in [&["check"][..], &["extract", "--out", out.to_str().unwrap()]] {
        // Of addresses, code and libraries included: less than the data alone would take twice.
        let limited = format!(
            "ulimit -v 409600; exec {} canton identities \"$@\"",
            env!("CARGO_BIN_EXE_rekindle")
        );
        let output = Command::new("sh")
            .args(["-c", &limited, "sh"])
            .args(arguments)
            .arg(&input)
            .output()
            .unwrap();
        let (code, text) = said(output);
        assert_eq!(code, 0, "{text}");
    }
    let whole: Value = serde_json::from_str(&text).unwrap();
    let extracted: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(extracted, whole["identities"]["participant"]);
    let cut = place.write("cut.json", "");
    std::io::copy(
        &mut std::fs::File::open(&input).unwrap().take(200 << 20),
        &mut std::fs::File::create(&cut).unwrap(),
    )
    .unwrap();
    let (code, text) = run(&["check"], &[&cut]);
    assert!(
        code == 3 && text.contains("C0201") && text.contains("cut off"),
        "{text}"
    );
}

#[test]
fn extract_writes_what_jq_was_meant_to_and_for_its_owner_alone() {
    let place = Place::new();
    for (name, value) in [
        ("a.json", made::full(Style::Old, 1)),
        ("b.json", made::unwrapped(Style::Old, 1)),
        ("d.json", made::migration(Style::Old, 1)),
    ] {
        // A field of tomorrow, with spacing and escapes that no writer would make again.
        let text = serde_json::to_string_pretty(&value).unwrap();
        let odd = "\"participant\": {\n \"tomorrow\" :  [1.50,\t\"\\u0041\"],";
        let text = text.replacen("\"participant\": {", odd, 1);
        let input = place.write(name, &text);
        for node in ["participant", "sequencer", "mediator"] {
            let out = place.path(&format!("{node} of {name}"));
            let (code, said) = run(&["extract", "--node", node, "--out", out.to_str().unwrap()], &[&input]);
            assert_eq!(code, 0, "{said}");
            let bytes = std::fs::read(&out).unwrap();
            assert_eq!(out.metadata().unwrap().mode() & 0o777, 0o600);
            let part = std::str::from_utf8(&bytes).unwrap();
            assert!(text.contains(part), "byte for byte");
            assert_eq!(part.contains("[1.50,\t\"\\u0041\"]"), node == "participant");
            if has("jq") {
                let filter = format!(".identities.{node} // .{node}");
                assert_eq!(jq(&["-S", &filter], &[&input]), jq(&["-S", "."], &[&out]));
            }
        }
        assert_eq!(
            std::fs::read_to_string(&input).unwrap(),
            text,
            "the dump stays as it is"
        );
    }
    assert!(
        place.names().iter().all(|name| !name.contains(".part")),
        "{:?}",
        place.names()
    );
}

#[test]
fn extract_writes_over_nothing() {
    let place = Place::new();
    let input = place.json("dump.json", &made::full(Style::Old, 1));
    let before = std::fs::read(&input).unwrap();
    std::os::unix::fs::symlink(&input, place.path("link")).unwrap();
    std::fs::hard_link(&input, place.path("hard")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    place.write("other", "kept");
    for out in ["dump.json", "link", "hard", "dangling", "other", ""] {
        let out = place.path(out);
        let (code, text) = run(&["extract", "--out", out.to_str().unwrap()], &[&input]);
        assert_eq!(code, 2, "{text}");
    }
    assert_eq!(std::fs::read(&input).unwrap(), before);
    assert_eq!(std::fs::read(place.path("other")).unwrap(), b"kept");
    assert_eq!(place.names(), ["dangling", "dump.json", "hard", "link", "other"]);
    let (code, _) = run(
        &["extract", "--out", place.path("no/such/directory").to_str().unwrap()],
        &[&input],
    );
    assert_eq!(code, 3);
}

#[test]
fn extract_refuses_what_is_null_damaged_or_no_full_dump() {
    let place = Place::new();
    let mut null = made::full(Style::Old, 1);
    null["identities"]["participant"] = Value::Null;
    let mut damaged = made::full(Style::Old, 1);
    damaged["identities"]["participant"]["keys"][0]["keyPair"] = STANDARD.encode("x").into();
    let node = made::full(Style::Old, 1)["identities"]["participant"].clone();
    let whole = made::full(Style::Old, 1).to_string();
    let mut again = whole.clone();
    again.insert_str(whole.find("\"participant\":").unwrap(), "\"participant\":{},");
    let mut collided = node.clone();
    collided
        .as_object_mut()
        .unwrap()
        .extend(made::data().as_object().unwrap().clone());
    for (name, text, expected, finding) in [
        ("null", null.to_string(), 3, "C0209"),
        ("damaged", damaged.to_string(), 1, "C0211"),
        ("node", node.to_string(), 3, "C0205"),
        ("collided", collided.to_string(), 3, "C0204"),
        ("twice", again, 3, "C0207"),
        ("empty", String::new(), 3, "C0202"),
    ] {
        let input = place.write(name, text);
        let out = place.path("out");
        let (code, report) = json_of(&["extract", "--out", out.to_str().unwrap()], &[&input]);
        assert_eq!(
            (code, &report["findings"][0]["code"]),
            (expected, &json!(finding)),
            "{name}"
        );
        assert!(!out.exists() && report["written"].is_null(), "{name}");
    }
    let mut old = made::full(Style::Old, 1);
    old["identities"]["participant"]["version"] = "0.3.6".into();
    let old = place.json("old.json", &old);
    let (code, text) = run(&["extract", "--out", place.path("old").to_str().unwrap()], &[&old]);
    assert!(
        code == 0 && text.contains("C0223"),
        "a warning is said, and the file is there: {text}"
    );
    let (code, text) = run(
        &[
            "extract",
            "--even-if-damaged",
            "--out",
            place.path("out").to_str().unwrap(),
        ],
        &[&place.path("damaged")],
    );
    assert!(
        code == 1 && place.path("out").exists() && text.contains("C0211"),
        "{text}"
    );
}

#[test]
fn the_documented_commands_fail_as_they_do_and_ours_do_not() {
    if !has("jq") || !has("bash") {
        return;
    }
    let place = Place::new();
    let full = made::full(Style::Old, 1);
    place.json("backup_state.json", &full);
    let documented = "jq '.identities.participant' backup_state.json > dump_identities.json
        data=$(cat data.json); id=$(cat dump_identities.json)
        echo \"$id\" \"$data\" | jq -s add > dump_identities.json";
    place.json("data.json", &made::data());
    let status = Command::new("bash")
        .args(["-ec", documented])
        .current_dir(&place.0)
        .status()
        .unwrap();
    assert!(status.success(), "the mistake is silent");
    let (code, text) = run(&["check"], &[&place.path("dump_identities.json")]);
    assert!(code == 1 && text.contains("C0204"), "{text}");

    // Of the SV app's own backup jq makes null, without a word.
    let backup = place.json("sv_identities_2024.json", &full["identities"]);
    let null = place.write("null.json", jq(&[".identities.participant"], &[&backup]));
    let (code, text) = run(&["check"], &[&null]);
    assert!(code == 3 && text.contains("null"), "{text}");
    let out = place.path("participant.json");
    assert_eq!(run(&["extract", "--out", out.to_str().unwrap()], &[&backup]).0, 0);
    let extracted: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(extracted, full["identities"]["participant"]);
}

#[test]
fn killed_at_any_moment_extract_leaves_the_whole_file_or_none() {
    let place = Place::new();
    let mut value = made::unwrapped(Style::Old, 1);
    value["participant"]["tomorrow"] = "x".repeat(24 << 20).into();
    let input = place.write("dump.json", value.to_string());
    let whole = value["participant"].to_string();
    let mut finished = 0;
    for wait in 0..14u64 {
        let out = place.path("out.json");
        let mut child = command(&["extract", "--out", out.to_str().unwrap()], &[&input])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait * wait * 4));
        child.kill().unwrap();
        child.wait().unwrap();
        if out.exists() {
            assert_eq!(std::fs::read_to_string(&out).unwrap(), whole);
            std::fs::remove_file(&out).unwrap();
            finished += 1;
        }
        assert_eq!(place.names(), ["dump.json"], "keys were left behind");
    }
    let out = place.path("out.json");
    assert_eq!(
        run(&["extract", "--out", out.to_str().unwrap()], &[&input]).0,
        0,
        "after {finished} that finished"
    );
    assert_eq!(place.names(), ["dump.json", "out.json"]);
}

#[test]
fn diff_sees_identities_and_not_how_they_are_written() {
    let place = Place::new();
    let one = place.json("one.json", &made::full(Style::Old, 1));
    let unwrapped = place.write("unwrapped.json", made::unwrapped(Style::Old, 1).to_string());
    let (code, text) = run(&["diff"], &[&one, &one]);
    assert!(code == 0 && text.contains("byte for byte"), "{text}");
    let (code, text) = run(&["diff"], &[&one, &unwrapped]);
    assert!(code == 0 && text.contains("only shape or formatting differs"), "{text}");
    let (code, report) = json_of(&["diff"], &[&one, &unwrapped]);
    assert_eq!(
        (code, &report["verdict"], &report["is_identical"]),
        (0, &json!("same"), &json!(false))
    );

    let mut changed = made::full(Style::Old, 1);
    changed["identities"]["participant"]["keys"]
        .as_array_mut()
        .unwrap()
        .pop();
    changed["identities"]["sequencer"]["version"] = "0.5.5".into();
    changed["identities"]["mediator"]["secret"] = "hunter2".into();
    let changed = place.json("changed.json", &changed);
    let (code, report) = json_of(&["diff"], &[&one, &changed]);
    assert_eq!((code, &report["verdict"]), (1, &json!("different")));
    let differences = report["differences"].as_array().unwrap();
    let what: Vec<&str> = differences
        .iter()
        .map(|found| found["what"].as_str().unwrap())
        .collect();
    let encryption = Node::new("PAR", "sv1", Algorithm::Ed25519, Style::Old, 17).keys[2].fingerprint();
    let key = format!("participant key {encryption}");
    assert_eq!(what, ["mediator.secret", key.as_str(), "sequencer.version"]);
    assert_eq!(differences[2]["first"], "0.5.4");
    assert!(!report.to_string().contains("hunter2"));
    let (code, text) = run(&["diff"], &[&one, &changed]);
    assert!(
        code == 1 && text.contains("0.5.5") && !text.contains("hunter2"),
        "{text}"
    );

    // The same keys, as an older and a newer release write them: the topology's bytes differ, the keys do not.
    let newer = place.json("newer.json", &made::full(Style::New, 1));
    let (_, report) = json_of(&["diff"], &[&one, &newer]);
    let what: Vec<String> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["what"].to_string())
        .collect();
    assert!(
        what.iter().all(|what| what.contains("authorizedStoreSnapshot")),
        "{what:?}"
    );
    let page = place.write("page", "<html>");
    assert_eq!(run(&["diff"], &[&one, &page]).0, 3);
}

#[test]
fn no_command_shows_a_key() {
    let place = Place::new();
    let node = Node::new("PAR", "sv1", Algorithm::Ed25519, Style::Old, 17);
    let mut damaged = node.json();
    // Damaged in many places, so that as much as possible is said about it.
    damaged["keys"][1]["keyPair"] = format!("{}!", damaged["keys"][1]["keyPair"].as_str().unwrap()).into();
    damaged["keys"][2]["keyId"] = damaged["keys"][2]["keyPair"].as_str().unwrap()[..4].into();
    let swapped = json!({"identities": {"participant": damaged, "sequencer": node.json(), "mediator": node.json()}});
    let mut secrets = Vec::new();
    for key in &node.keys {
        for bytes in [&key.secret, &key.pkcs8()] {
            secrets.push(hex::encode(&bytes[bytes.len() - 12..]));
        }
        let text = STANDARD.encode(key.pair(Style::Old));
        secrets.extend(
            text.as_bytes()
                .chunks(12)
                .map(|chunk| String::from_utf8(chunk.to_vec()).unwrap()),
        );
    }
    let good = place.json("good.json", &made::full(Style::Old, 1));
    let bad = place.json("bad.json", &swapped);
    let cut = place.write("cut.json", &swapped.to_string()[..900]);
    let quoted = place.json("quoted.json", &json!(swapped.to_string()));
    let mut all = String::new();
    for path in [&good, &bad, &cut, &quoted] {
        for json in [&["check"][..], &["check", "--json"]] {
            all += &run(json, &[path]).1;
        }
        let out = place.path("out");
        all += &run(&["extract", "--out", out.to_str().unwrap()], &[path]).1;
        all += &run(
            &["extract", "--even-if-damaged", "--out", out.to_str().unwrap()],
            &[path],
        )
        .1;
        for other in [&good, &bad] {
            all += &run(&["diff"], &[path, other]).1;
            all += &run(&["diff", "--json"], &[path, other]).1;
        }
    }
    assert!(all.len() > 10_000);
    for secret in secrets.iter().filter(|secret| secret.len() >= 12) {
        assert!(!all.contains(secret.as_str()), "{secret} was shown");
    }
}
