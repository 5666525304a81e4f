//! The recovery of the whole network, carried out twice on one test installation: by the documentation's own commands, word by
//! word, and by ours. The first leaves an SV app with a file that it can't load; the second with the dump.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::identities::made::{self, Style};
use super::kubernetes::api_server::{ApiServer, kubectl, rekindle};
use super::sv_app::{Answer, SvApp, snapshot};

const TOKEN: &str = "eyJ.secret-token.x";
const TARGET: &str = "/domain-upgrade-dump/domain_migration_dump.json";

/// Whether the tools are there that the documentation names.
fn has_tools() -> bool {
    let missing: Vec<_> = ["curl", "jq", "kubectl"]
        .into_iter()
        .filter(|tool| Command::new(tool).arg("--help").output().is_err())
        .collect();
    let is_required = std::env::var("REKINDLE_REQUIRE_CANTON_TOOLS").as_deref() == Ok("1");
    assert!(missing.is_empty() || !is_required, "missing: {missing:?}");
    if !missing.is_empty() {
        eprintln!("skipped: missing: {missing:?}");
    }
    missing.is_empty()
}

/// What the SV app of Splice 0.5.4 reads of a placed file: `GetDomainMigrationDumpResponse`, all of it required.
fn can_be_loaded(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let Ok(Value::Object(dump)) = serde_json::from_slice(&bytes) else {
        return false;
    };
    let has = |name: &str| dump.contains_key(name);
    [
        "identities",
        "created_at",
        "migration_id",
        "data_snapshot",
        "participant_users",
    ]
    .into_iter()
    .all(has)
        && dump["identities"]["participant"]["id"].is_string()
}

/// Runs a sentence of the documentation in a directory, with the installation's tools.
fn literally(directory: &Path, server: &ApiServer, sentence: &str) -> Output {
    // Only its environment is taken: addresses and the cluster's configuration.
    let like = kubectl(server, &[]);
    let mut command = Command::new("bash");
    command.args(["-c", sentence]).current_dir(directory);
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap()
}

/// The end of a log line's JSON object, with this message of the commitment processor at INFO.
fn line(message: &str) -> String {
    format!(
        "\"@timestamp\":\"2024-04-17T20:00:00.000Z\",\"message\":\"{message}\",\"logger_name\":\"c.d.c.p.p.AcsCommitmentProcessor:\
         participant=participant/synchronizerId=global-domain::12203f4eb526\",\"thread_name\":\"ec-1\",\"level\":\"INFO\"}}\n"
    )
}

/// The log of one of three SVs that agreed with the others every half an hour from 12:00 to 19:30.
pub fn agreeing_log(owner: &str) -> String {
    let mut log = String::new();
    for half_hour in 24..40 {
        let at = |tick: u32| format!("2024-04-17T{:02}:{:02}:00Z", tick / 2, tick % 2 * 30);
        for sender in ["sv1", "sv2", "sv3"].into_iter().filter(|sender| *sender != owner) {
            let digit = &sender[2..];
            log += "{";
            log += &line(&format!(
                "Commitment correct for sender PAR::{sender}::12200000000{digit}... and period \
                 CommitmentPeriod(fromExclusive = {}, toInclusive = {})",
                at(half_hour - 1),
                at(half_hour)
            ));
        }
    }
    log
}

#[test]
fn the_documented_commands_place_what_cannot_be_loaded_and_these_place_the_dump() {
    if !has_tools() {
        return;
    }
    let desk = tempfile::tempdir().unwrap();
    let here = |name: &str| desk.path().join(name);
    let text = |name: &str| here(name).to_str().unwrap().to_owned();
    let identities = serde_json::to_vec_pretty(&made::full(Style::Old, 1)).unwrap();
    std::fs::write(here("backup_state.json"), &identities).unwrap();

    // 1. The timestamp. The documentation searches for a line that this release writes at DEBUG only.
    let quiet = line(
        "Processing completed period CommitmentPeriod(fromExclusive = 2024-04-17T18:00:00Z, toInclusive = 2024-04-17T18:30:00Z)",
    );
    std::fs::write(
        here("participant.log"),
        format!("{{\"@version\":\"1\",{quiet}").repeat(20),
    )
    .unwrap();
    let server = ApiServer::with_sv();
    let found = literally(
        desk.path(),
        &server,
        "grep -c 'Commitment correct for sender' participant.log",
    );
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), "0");
    let scan = Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(["canton", "scan", "--json", "--log"])
        .arg(format!("sv={}", text("participant.log")))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&scan.stdout).unwrap();
    assert_eq!(scan.status.code(), Some(1));
    assert!(report["findings"].to_string().contains("DEBUG"), "{report}");

    // Three SVs whose logs say it: what everybody fetches at.
    let logs = ["sv1", "sv2", "sv3"].map(|name| (name, here(&format!("{name}.log"))));
    for (name, path) in &logs {
        std::fs::write(path, agreeing_log(name)).unwrap();
    }
    let mut timestamp = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    timestamp.args(["canton", "timestamp", "--json"]);
    for (name, path) in &logs {
        timestamp.arg("--log").arg(format!("{name}={}", path.to_str().unwrap()));
    }
    let agreed = timestamp.output().unwrap();
    let agreed: Value = serde_json::from_slice(&agreed.stdout).unwrap();
    let at = agreed["timestamp"]
        .as_str()
        .unwrap_or_else(|| panic!("{agreed}"))
        .to_owned();

    // 2. Fetch, merge and copy, as documented.
    let answered = at.clone();
    let app = SvApp::start("0.5.4", move |request, _| {
        assert_eq!(request.timestamp(), answered);
        Answer::json(200, &snapshot(&answered, "QUJD"))
    });
    let documented = format!(
        r#"set -e
jq '.identities.participant' backup_state.json > dump_identities.json
data=$(curl -sSLf \
  "{}/api/sv/v0/admin/domain/data-snapshot?timestamp={at}" \
  -H "authorization: Bearer {TOKEN}" \
  -X GET -H "Content-Type: application/json")
id=$(cat dump_identities.json)
echo "$id" "$data" | jq -s add > dump_identities.json
kubectl cp dump_identities.json sv/{}:{TARGET}"#,
        app.url,
        server.pods("sv-app")[0]
    );
    let output = literally(desk.path(), &server, &documented);
    let merged: Value = serde_json::from_slice(&std::fs::read(here("dump_identities.json")).unwrap()).unwrap();
    assert!(merged.get("identities").is_none() && merged.get("data_snapshot").is_some());
    // An old kubectl can't copy to this server; whatever it did, there is nothing that can be loaded.
    assert!(!can_be_loaded(&server.target()), "{output:?}");
    let _ = std::fs::remove_file(server.target());

    // 3. The same, by ours: the wrong file is told apart, and the right one is placed.
    let run = |mut command: Command| {
        command.env("REKINDLE_CANTON_TOKEN", TOKEN).env("NO_PROXY", "127.0.0.1");
        let output = command.output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!shown.contains(TOKEN));
        (output.status.code(), shown)
    };
    let ours = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command.arg("canton").args(arguments);
        run(command)
    };
    let (collision, good) = (text("dump_identities.json"), text("backup_state.json"));
    let (data, dump) = (text("data.json"), text("domain_migration_dump.json"));
    let (code, shown) = ours(&["fetch", "--url", &app.url, "--timestamp", &at, "--out", &data]);
    assert_eq!(code, Some(0), "{shown}");
    let merge = |identities: &str| {
        let expect = ["--expect-timestamp", &at, "--expect-migration", "3"];
        ours(
            &[
                &["merge", "--identities", identities, "--data", &data, "--out", &dump][..],
                &expect,
            ]
            .concat(),
        )
    };
    let (code, shown) = merge(&collision);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("C0204"), "{shown}");
    let (code, shown) = merge(&good);
    assert!(matches!(code, Some(0 | 1)) && Path::new(&dump).exists(), "{shown}");
    let (code, shown) = run(rekindle(&server, &["place", "--file", &collision, "--execute"]));
    assert!(code != Some(0) && !server.target().exists(), "{shown}");
    let (code, shown) = run(rekindle(&server, &["place", "--file", &dump]));
    assert!(code == Some(0) && !server.target().exists(), "a rehearsal: {shown}");
    let (code, shown) = run(rekindle(&server, &["place", "--file", &dump, "--execute"]));
    assert_eq!(code, Some(0), "{shown}");
    assert!(can_be_loaded(&server.target()));
    assert_eq!(std::fs::read(server.target()).unwrap(), std::fs::read(&dump).unwrap());
    assert_eq!(std::fs::read(here("backup_state.json")).unwrap(), identities);
}
