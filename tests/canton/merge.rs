//! `rekindle canton merge`: what jq makes of good input, and a refusal of what the documented commands make of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::identities::made::{self, Style};
use super::sv_app::{Answer, SvApp, snapshot};

const AT: &str = "2024-04-17T19:12:02Z";

/// A directory with identities in both shapes, the data, and a place for the dump.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk {
            directory: tempfile::tempdir().unwrap(),
        };
        desk.put("identities.json", &made::full(Style::Old, 1));
        desk.put("backup.json", &made::unwrapped(Style::Old, 1));
        desk.put("data.json", &snapshot(AT, "QUJD"));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, value: &Value) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, serde_json::to_vec_pretty(value).unwrap()).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command
            .args(["canton", "merge", "--json"])
            .args(more)
            .current_dir(self.directory.path());
        command
    }

    fn merge(&self, more: &[&str]) -> (Option<i32>, Vec<String>) {
        let output = self.command(more).output().unwrap();
        (output.status.code(), codes(&output))
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn jq(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("jq")
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }
}

fn codes(output: &Output) -> Vec<String> {
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Vec::new();
    };
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect()
}

fn has_jq() -> bool {
    let is_there = Command::new("jq").arg("--version").output().is_ok();
    if !is_there {
        let is_required = std::env::var_os("REKINDLE_REQUIRE_CANTON_TOOLS").is_some();
        assert!(!is_required, "jq is missing");
        eprintln!("skipped: jq is missing");
    }
    is_there
}

const GOOD: [&str; 6] = [
    "--identities",
    "identities.json",
    "--data",
    "data.json",
    "--out",
    "dump.json",
];

fn with<'a>(changes: &[(&str, &'a str)], more: &[&'a str]) -> Vec<&'a str>
where
    'static: 'a,
{
    let mut arguments: Vec<&str> = GOOD.to_vec();
    for (name, value) in changes {
        let at = arguments.iter().position(|argument| argument == name).unwrap();
        arguments[at + 1] = value;
    }
    arguments.extend(more);
    arguments
}

#[test]
fn both_shapes_of_identities_make_the_dump_that_jq_makes() {
    use std::os::unix::fs::PermissionsExt;
    for (identities, program) in [("identities.json", "add"), ("backup.json", "{identities: .[0]} + .[1]")] {
        let desk = Desk::new();
        let more = ["--expect-timestamp", AT, "--expect-migration", "3", "--splice", "0.5.4"];
        let (code, codes) = desk.merge(&with(&[("--identities", identities)], &more));
        assert_eq!((code, codes), (Some(0), vec![]));
        let dump = desk.read("dump.json");
        let names: Vec<_> = dump.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = [
            "identities",
            "created_at",
            "migration_id",
            "data_snapshot",
            "participant_users",
        ];
        expected.sort();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(sorted, expected);
        assert_eq!(dump["identities"], desk.read("backup.json"));
        assert_eq!(
            desk.path("dump.json").metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        let check = Command::new("sha256sum")
            .args(["--strict", "-c", "dump.json.sha256"])
            .current_dir(desk.directory.path())
            .output()
            .unwrap();
        assert!(check.status.success());
        if has_jq() {
            let oracle = desk.jq(&["-s", program, identities, "data.json"]);
            assert_eq!(dump, serde_json::from_slice::<Value>(&oracle).unwrap());
        }
    }
}

#[test]
fn the_documented_commands_lose_the_identities_and_these_do_not() {
    if !has_jq() {
        return;
    }
    let desk = Desk::new();
    // Path 2 of the document extracts the participant under the name that path 3 reads the identities from.
    let node = desk.jq(&[".identities.participant", "identities.json"]);
    std::fs::write(desk.path("dump_identities.json"), node).unwrap();
    let literal = "id=$(cat dump_identities.json); data=$(cat data.json); echo \"$id\" \"$data\" | jq -s add > dump_identities.json";
    let shell = Command::new("sh")
        .args(["-c", literal])
        .current_dir(desk.directory.path())
        .status();
    assert!(shell.unwrap().success());
    let theirs = desk.read("dump_identities.json");
    assert!(theirs.get("identities").is_none() && theirs.get("keys").is_some());
    // It is refused in every role, each time with the reason.
    let (code, codes) = desk.merge(&with(&[("--identities", "dump_identities.json")], &[]));
    assert_eq!((code, codes), (Some(1), vec!["C0204".to_owned()]));
    let (code, codes) = desk.merge(&with(&[("--data", "dump_identities.json")], &[]));
    assert_eq!(code, Some(1));
    assert!(codes.contains(&"C0605".to_owned()), "{codes:?}");
    assert!(!desk.path("dump.json").exists());
    // Ours, from the same files.
    assert_eq!(desk.merge(&GOOD), (Some(0), vec![]));
    assert_eq!(desk.read("dump.json")["identities"], desk.read("backup.json"));
    // In place, as documented, it is not done.
    let before = std::fs::read(desk.path("identities.json")).unwrap();
    for out in ["identities.json", "./identities.json", "data.json"] {
        assert_eq!(desk.merge(&with(&[("--out", out)], &["--replace"])).0, Some(2), "{out}");
    }
    assert_eq!(std::fs::read(desk.path("identities.json")).unwrap(), before);
}

#[test]
fn an_input_is_never_written_to_under_any_name() {
    let desk = Desk::new();
    std::os::unix::fs::symlink("data.json", desk.path("link.json")).unwrap();
    std::fs::hard_link(desk.path("data.json"), desk.path("hard.json.part")).unwrap();
    std::fs::copy(desk.path("data.json"), desk.path("dump.json.part")).unwrap();
    let before = std::fs::read(desk.path("data.json")).unwrap();
    for (data, out) in [
        ("data.json", "link.json"),
        ("link.json", "data.json"),
        ("data.json", "hard.json"),
    ] {
        let (code, _) = desk.merge(&with(&[("--data", data), ("--out", out)], &["--replace"]));
        assert_eq!(code, Some(2), "{data} {out}");
    }
    assert_eq!(desk.merge(&with(&[("--data", "dump.json.part")], &[])).0, Some(2));
    assert_eq!(std::fs::read(desk.path("data.json")).unwrap(), before);
    assert_eq!(std::fs::read(desk.path("dump.json.part")).unwrap(), before);
}

#[test]
fn what_is_no_full_identities_is_refused() {
    let desk = Desk::new();
    let full = made::full(Style::Old, 1);
    let mut damaged = full.clone();
    damaged["identities"]["participant"]["keys"][0] = full["identities"]["participant"]["keys"][1].clone();
    let mut merged = full.clone();
    merged
        .as_object_mut()
        .unwrap()
        .extend(snapshot(AT, "QUJD").as_object().unwrap().clone());
    let cases = [
        (full["identities"]["participant"].clone(), 1, "C0205"),
        (merged, 1, "C0601"),
        (Value::Null, 3, "C0202"),
        (json!({"error": "not found"}), 3, "C0202"),
        (json!({"identities": full}), 1, "C0206"),
        (snapshot(AT, "QUJD"), 3, "C0203"),
    ];
    for (value, exit, expected) in cases {
        desk.put("wrong.json", &value);
        let (code, codes) = desk.merge(&with(&[("--identities", "wrong.json")], &[]));
        assert!(codes.contains(&expected.to_owned()), "{expected}: {codes:?}");
        assert_eq!(code, Some(exit), "{expected}");
    }
    desk.put("wrong.json", &damaged);
    assert_eq!(desk.merge(&with(&[("--identities", "wrong.json")], &[])).0, Some(1));
    std::fs::write(desk.path("wrong.json"), "<html>").unwrap();
    assert_eq!(desk.merge(&with(&[("--identities", "wrong.json")], &[])).0, Some(3));
    assert_eq!(desk.merge(&with(&[("--identities", "missing.json")], &[])).0, Some(3));
    assert!(!desk.names().iter().any(|name| name.starts_with("dump")));
}

#[test]
fn what_is_no_good_data_is_refused() {
    let desk = Desk::new();
    let change = |pointer: &str, value: Value| {
        let mut data = snapshot(AT, "QUJD");
        *data.pointer_mut(pointer).unwrap() = value;
        data
    };
    let mut merged = made::full(Style::Old, 2);
    merged
        .as_object_mut()
        .unwrap()
        .extend(snapshot(AT, "QUJD").as_object().unwrap().clone());
    let mut more = snapshot(AT, "QUJD");
    more["new_member"] = json!(1);
    let cases = [
        (change("/created_at", json!("2024-04-17T19:12:03Z")), "C0506"),
        (change("/migration_id", json!(4)), "C0507"),
        (change("/data_snapshot/dars", json!([])), "C0505"),
        (change("/data_snapshot/acs_snapshot", json!("QUJ")), "C0504"),
        (change("/data_snapshot/separate_payload_files", json!(true)), "C0509"),
        (json!({"error": "Too late"}), "C0503"),
        (made::full(Style::Old, 1), "C0503"),
        (merged, "C0602"),
        (more, "C0605"),
    ];
    let expect = ["--expect-timestamp", AT, "--expect-migration", "3"];
    for (value, expected) in cases {
        desk.put("wrong.json", &value);
        let (code, codes) = desk.merge(&with(&[("--data", "wrong.json")], &expect));
        assert_eq!((code, codes), (Some(1), vec![expected.to_owned()]));
    }
    let whole = std::fs::read(desk.path("data.json")).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(desk.path("wrong.json"), &whole[..length]).unwrap();
        let (code, codes) = desk.merge(&with(&[("--data", "wrong.json")], &[]));
        assert_eq!((code, codes), (Some(3), vec!["C0504".to_owned()]), "{length}");
    }
    assert!(!desk.names().iter().any(|name| name.starts_with("dump")));
}

#[test]
fn a_donors_dump_keeps_this_svs_identities_and_says_whose_users_it_has() {
    let desk = Desk::new();
    let mut donor = made::full(Style::Old, 2);
    donor
        .as_object_mut()
        .unwrap()
        .extend(snapshot(AT, "QUJD").as_object().unwrap().clone());
    desk.put("donor.json", &donor);
    let mut own = snapshot("2024-04-10T00:00:00Z", "QQ==");
    own["participant_users"]["users"] = json!([{ "id": "own", "annotations": { "a": "1.50" } }, { "id": "two" }]);
    desk.put("own.json", &own);
    let donors = |more: &[&'static str]| {
        let _ = std::fs::remove_file(desk.path("dump.json"));
        let mut all = vec!["--donor"];
        all.extend(more);
        let answer = desk.merge(&with(&[("--data", "donor.json")], &all));
        (answer, desk.read("dump.json"))
    };
    let (answer, dump) = donors(&[]);
    assert_eq!(answer, (Some(1), vec!["C0603".to_owned(), "C0604".to_owned()]));
    assert_eq!(dump["identities"], desk.read("backup.json"));
    assert_eq!(dump["participant_users"], donor["participant_users"]);
    let (answer, dump) = donors(&["--dso-only", "--users", "empty"]);
    assert_eq!(answer, (Some(0), vec![]));
    assert_eq!(
        dump["participant_users"],
        json!({ "identityProviders": [], "users": [] })
    );
    let (answer, dump) = donors(&["--dso-only", "--users", "own", "--own-users", "own.json"]);
    assert_eq!(answer, (Some(0), vec![]));
    assert_eq!(dump["participant_users"], own["participant_users"]);
    assert_eq!(dump["data_snapshot"], donor["data_snapshot"]);
    let (answer, dump) = donors(&["--dso-only", "--users", "donor"]);
    assert_eq!(
        (answer.0, &dump["participant_users"]),
        (Some(0), &donor["participant_users"])
    );
    std::fs::remove_file(desk.path("dump.json")).unwrap();
    let own_of_nothing = [
        "--donor",
        "--dso-only",
        "--users",
        "own",
        "--own-users",
        "identities.json",
    ];
    let (code, codes) = desk.merge(&with(&[("--data", "donor.json")], &own_of_nothing));
    assert_eq!((code, codes), (Some(1), vec!["C0607".to_owned()]));
    for wrong in [
        &["--users", "empty"][..],
        &["--donor", "--users", "own"],
        &["--own-users", "own.json"],
    ] {
        assert_eq!(desk.merge(&with(&[], wrong)).0, Some(2), "{wrong:?}");
    }
    // The identities of a merged dump, when that is said.
    let (code, _) = desk.merge(&with(&[("--identities", "donor.json")], &["--from-merged"]));
    assert_eq!(code, Some(0));
    assert_eq!(desk.read("dump.json")["identities"], donor["identities"]);
}

#[test]
fn a_dump_that_is_there_is_known_or_left_alone() {
    let desk = Desk::new();
    assert_eq!(desk.merge(&GOOD).0, Some(0));
    std::fs::remove_file(desk.path("dump.json.sha256")).unwrap();
    assert_eq!(desk.merge(&GOOD), (Some(0), vec!["C0523".to_owned()]));
    assert!(desk.path("dump.json.sha256").exists());
    std::fs::write(desk.path("dump.json"), "mine").unwrap();
    assert_eq!(desk.merge(&GOOD).0, Some(2));
    assert_eq!(std::fs::read(desk.path("dump.json")).unwrap(), b"mine");
    assert_eq!(
        desk.merge(&with(&[("--data", "missing.json")], &["--replace"])).0,
        Some(3)
    );
    assert_eq!(std::fs::read(desk.path("dump.json")).unwrap(), b"mine");
    assert_eq!(desk.merge(&with(&[], &["--replace"])), (Some(0), vec![]));
    assert_eq!(
        desk.names(),
        [
            "backup.json",
            "data.json",
            "dump.json",
            "dump.json.sha256",
            "identities.json"
        ]
    );
}

#[test]
fn a_merge_that_is_killed_leaves_nothing_under_the_name_and_the_next_one_finishes() {
    let desk = Desk::new();
    desk.put("data.json", &snapshot(AT, &"QUJD".repeat(3_000_000)));
    let inputs = [desk.path("identities.json"), desk.path("data.json")].map(|path| std::fs::read(path).unwrap());
    for wait_ms in [5, 40, 90, 150, 250, 400, 600] {
        let mut child = desk
            .command(&GOOD)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        let _ = child.kill();
        child.wait().unwrap();
        if desk.path("dump.json").exists() {
            assert_eq!(
                desk.read("dump.json")["data_snapshot"],
                desk.read("data.json")["data_snapshot"]
            );
            break;
        }
    }
    assert_eq!(desk.merge(&GOOD).0, Some(0));
    let again = [desk.path("identities.json"), desk.path("data.json")].map(|path| std::fs::read(path).unwrap());
    assert!(inputs == again, "an input changed");
    assert_eq!(
        desk.names(),
        [
            "backup.json",
            "data.json",
            "dump.json",
            "dump.json.sha256",
            "identities.json"
        ]
    );
}

#[test]
fn nothing_is_left_of_a_dump_that_could_not_be_written() {
    let desk = Desk::new();
    let before = desk.names();
    let limited = |command: &Command| {
        let mut limited = Command::new("sh");
        // A write beyond the limit is answered with an error where the signal is ignored.
        limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
        limited
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(desk.directory.path());
        limited.output().unwrap()
    };
    let merge = desk.command(&[
        "--identities",
        "identities.json",
        "--data",
        "data.json",
        "--out",
        "out.json",
    ]);
    let output = limited(&merge);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(desk.names(), before);
    let app = SvApp::start("0.5.4", |_, _| Answer::json(200, &snapshot(AT, &"QUJD".repeat(2000))));
    let mut fetch = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    fetch.args([
        "canton",
        "fetch",
        "--no-token",
        "--url",
        &app.url,
        "--timestamp",
        AT,
        "--out",
        "out.json",
    ]);
    let output = limited(&fetch);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(desk.names(), before);
}

#[test]
fn what_was_fetched_is_merged() {
    let desk = Desk::new();
    std::fs::remove_file(desk.path("data.json")).unwrap();
    let app = SvApp::start("0.5.4", |request, _| {
        Answer::json(200, &snapshot(request.timestamp(), "QUJD"))
    });
    let fetched = Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args([
            "canton",
            "fetch",
            "--no-token",
            "--timestamp",
            AT,
            "--out",
            "data.json",
            "--url",
            &app.url,
        ])
        .current_dir(desk.directory.path())
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    assert!(!app.asked()[0].headers.contains_key("authorization"));
    assert_eq!(desk.merge(&with(&[], &["--expect-timestamp", AT])), (Some(0), vec![]));
}

#[test]
fn data_that_can_be_read_only_once_is_refused_instead_of_waited_for() {
    let desk = Desk::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, desk.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    for name in ["pipe", "/dev/zero", "."] {
        assert_eq!(desk.merge(&with(&[("--data", name)], &[])).0, Some(2), "{name}");
    }
    let own = ["--donor", "--users", "own", "--own-users", "pipe"];
    assert_eq!(desk.merge(&with(&[], &own)).0, Some(2));
}

#[test]
fn identities_are_found_in_a_merged_dump_that_is_too_large_to_be_held() {
    let desk = Desk::new();
    let large = desk.path("large.json");
    write_large(&large, 70 << 20);
    let mut text = std::fs::read(&large).unwrap();
    let identities = format!("{{\"identities\":{},", made::unwrapped(Style::Old, 1));
    text.splice(0..1, identities.into_bytes());
    std::fs::write(&large, text).unwrap();
    let (code, codes) = desk.merge(&with(&[("--identities", "large.json")], &[]));
    assert_eq!((code, codes), (Some(1), vec!["C0601".to_owned()]));
    let (code, codes) = desk.merge(&with(&[("--identities", "large.json")], &["--from-merged"]));
    assert_eq!(code, Some(0), "{codes:?}");
    assert_eq!(desk.read("dump.json")["identities"], desk.read("backup.json"));
    write_large(&large, 70 << 20);
    assert_eq!(
        desk.merge(&with(
            &[("--identities", "large.json"), ("--out", "b.json")],
            &["--from-merged"]
        ))
        .0,
        Some(3)
    );
}

#[test]
fn memory_does_not_grow_with_the_data() {
    let desk = Desk::new();
    let large = desk.path("data.json");
    write_large(&large, 96 << 20);
    let mut child = desk.command(&GOOD).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(peak_kib > 0 && peak_kib < 64 << 10, "{peak_kib} KiB");
}

/// A snapshot with this many bytes of base64.
fn write_large(path: &Path, characters: usize) {
    use std::io::Write;
    let whole = snapshot(AT, "@").to_string();
    let (before, after) = whole.split_once('@').unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(before.as_bytes()).unwrap();
    for _ in 0..characters >> 10 {
        file.write_all(&[b'A'; 1 << 10]).unwrap();
    }
    file.write_all(after.as_bytes()).unwrap();
    file.flush().unwrap();
}
