//! What is in a plan, and when there is none.

use std::process::Command;

use super::*;
use crate::canton::Code;
use proptest::prelude::*;

fn in_order(plan: &Plan, wanted: &[&str]) {
    let ids = ids(plan);
    let places: Vec<usize> = wanted
        .iter()
        .map(|id| {
            ids.iter()
                .position(|other| other == id)
                .unwrap_or_else(|| panic!("no {id} in {ids:?}"))
        })
        .collect();
    assert!(places.is_sorted(), "{wanted:?} in {ids:?}");
}

fn invocations(plan: &Plan) -> Vec<Vec<Word>> {
    let mut all = Vec::new();
    for step in &plan.steps {
        if let Doing::Command(command) = &step.doing {
            all.push(command.0.clone());
        }
        for check in step.before.iter().chain(&step.after) {
            if let Test::Command(command) = &check.test {
                all.push(command.0.clone());
            }
        }
    }
    all
}

fn step<'a>(plan: &'a Plan, id: &str) -> &'a Step {
    plan.steps.iter().find(|step| step.id == id).unwrap()
}

fn words(step: &Step) -> String {
    match &step.doing {
        Doing::Command(command) => command.arguments(|_| Some(now())).unwrap().join(" "),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_release_has_its_way_back_and_the_other_is_refused_with_the_right_one_named() {
    for release in RELEASES {
        let newer = release.parse::<Splice>().unwrap() >= Splice::new(0, 6, 2);
        for (kind, is_refused, instead) in [
            (Kind::NetworkDr, newer, "roll-forward-lsu"),
            (Kind::RollForwardLsu, !newer, "network-dr"),
        ] {
            match plan(kind, release) {
                Ok(_) => assert!(!is_refused, "{release} {kind:?}"),
                Err(findings) => {
                    assert!(is_refused, "{release} {kind:?} {findings:?}");
                    assert_eq!(findings[0].code, Code::WrongPath);
                    assert!(findings[0].next.contains(instead));
                }
            }
        }
        assert!(plan(Kind::Restore, release).is_ok() && plan(Kind::Reonboard, release).is_ok());
    }
    let message = &plan(Kind::NetworkDr, "0.6.2").unwrap_err()[0].message;
    assert!(message.contains("still answers"), "{message}");
    let message = &plan(Kind::NetworkDr, "0.6.7").unwrap_err()[0].message;
    assert!(message.contains("is gone"), "{message}");
}

#[test]
fn steps_are_unique_end_with_a_verification_and_ask_before_what_cannot_be_undone() {
    for release in RELEASES {
        for kind in KINDS {
            let Ok(plan) = plan(kind, release) else { continue };
            let mut ids = ids(&plan);
            let verify = ids.iter().rposition(|id| *id == "verify").expect("a verification");
            let rest: Vec<_> = ids[verify + 1..].to_vec();
            assert!(rest.is_empty() || rest == ["settle"], "{kind:?} {rest:?}");
            let count = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), count, "{kind:?}");
            assert_eq!(plan.open(), Vec::<&str>::new(), "{kind:?}");
            for step in &plan.steps {
                let scales_down = matches!(&step.doing, Doing::Command(command)
                    if command.0.contains(&"scale".into()) && command.0.contains(&"--down".into()));
                let is_only_sv_app = step.id == "stop-sv-app";
                assert!(!scales_down || is_only_sv_app || step.destroys.is_some(), "{}", step.id);
                assert!(!scales_down || !step.after.is_empty(), "{}", step.id);
            }
        }
    }
}

#[test]
fn a_restore_stops_everything_before_it_overwrites_anything() {
    let plan = plan(Kind::Restore, "0.5.4").unwrap();
    in_order(
        &plan,
        &[
            "check-backups",
            "scale-down",
            "keep-what-is-there",
            "restore",
            "scale-up",
            "verify",
        ],
    );
    assert_eq!(
        words(step(&plan, "check-backups")),
        "canton backup check --apps apps.dump --participant participant.dump --identities identities.json --splice 0.5.4"
    );
    assert_eq!(
        words(step(&plan, "scale-down")),
        "canton scale --namespace sv --serial 3 --down --execute"
    );
    let restore = step(&plan, "restore");
    assert!(restore.destroys.is_some());
    let Test::Command(stopped) = &restore.before[0].test else {
        panic!()
    };
    let stopped = stopped.arguments(|_| Some(now())).unwrap().join(" ");
    assert_eq!(stopped, "canton verify --namespace sv --serial 3 --down");
}

#[test]
fn a_network_recovery_stops_cometbft_first_and_the_sequencer_after_the_snapshot() {
    for release in ["0.4.1", "0.5.4", "0.5.5", "0.6.1"] {
        let plan = plan(Kind::NetworkDr, release).unwrap();
        in_order(
            &plan,
            &[
                "check-identities",
                "stop-cometbft",
                "scan",
                "timestamp",
                "agree",
                "fetch",
                "merge",
                "stop-old",
                "place",
                "stop-sv-app",
                "deploy-synchronizer",
                "migrate",
                "verify",
                "settle",
            ],
        );
        let fetch = step(&plan, "fetch");
        let before: Vec<String> = fetch
            .before
            .iter()
            .map(|check| match &check.test {
                Test::Command(command) => command.arguments(|_| Some(now())).unwrap().join(" "),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            before,
            [
                "canton verify --namespace sv --serial 3 --only cometbft --down",
                "canton verify --namespace sv --serial 3 --only sequencer --only mediator --only participant --only sv-app --wait 10m",
            ]
        );
        // From 0.5.5 on a time that is no event's record time needs it.
        let forced = release.parse::<Splice>().unwrap() >= Splice::new(0, 5, 5);
        assert_eq!(words(fetch).contains("--force"), forced, "{release}");
        // The SV app's pod is the way to the volume; all others are stopped.
        assert!(!words(step(&plan, "stop-old")).contains("sv-app"));
        assert!(
            words(step(&plan, "place"))
                .contains("--file out/domain_migration_dump.json --expect-timestamp 2026-11-20T10:00:00Z")
        );
        assert!(step(&plan, "agree").destroys.is_some());
    }
}

#[test]
fn no_step_of_a_network_recovery_writes_what_another_reads_under_another_meaning() {
    let plan = plan(Kind::NetworkDr, "0.5.4").unwrap();
    let mut outputs: Vec<Word> = Vec::new();
    for command in invocations(&plan) {
        for pair in command.windows(2).filter(|pair| pair[0] == "--out".into()) {
            assert!(!outputs.contains(&pair[1]), "{:?} is written twice", pair[1]);
            outputs.push(pair[1].clone());
        }
    }
    assert_eq!(outputs.len(), 3);
    for path in [
        "out/data_snapshot.json",
        "./out/./domain_migration_dump.json",
        "out//evidence.json",
    ] {
        let mut with = complete();
        with.identities = Some(path.into());
        let refused = Plan::make(Kind::NetworkDr, &at("0.5.4"), &with, now()).unwrap_err();
        assert_eq!(refused[0].code, Code::OutputIsInput, "{path}");
    }
}

#[test]
fn what_people_have_yet_to_agree_on_stays_open() {
    let mut with = complete();
    (with.timestamp, with.migration, with.identities) = (None, None, None);
    let plan = Plan::make(Kind::NetworkDr, &at("0.5.4"), &with, now()).unwrap();
    assert_eq!(plan.open(), ["identities", "timestamp", "migration-id"]);
    let text = markdown::render(&plan);
    assert!(text.contains("--timestamp \"<TIMESTAMP>\""), "{text}");
    let script = script::render(&plan);
    assert!(script.contains("--timestamp \"$TIMESTAMP\"") && script.contains("need --timestamp"));
}

#[test]
fn wrong_times_and_numbers_are_refused_with_what_is_wrong() {
    let code = |with: &Parameters, kind, release| {
        let refused = Plan::make(kind, &at(release), with, now()).unwrap_err();
        refused
            .into_iter()
            .map(|finding| (finding.code, finding.message))
            .collect::<Vec<_>>()
    };
    let mut with = complete();
    with.timestamp = time("2026-11-22T00:00:00Z");
    assert_eq!(code(&with, Kind::NetworkDr, "0.5.4")[0].0, Code::TimeAhead);
    with = complete();
    with.migration = Some(3);
    assert_eq!(code(&with, Kind::NetworkDr, "0.5.4")[0].0, Code::SerialUnexpected);
    with.migration = Some(9);
    let plan = Plan::make(Kind::NetworkDr, &at("0.5.4"), &with, now()).unwrap();
    assert_eq!(plan.notes[0].code, Code::SerialUnexpected);

    type Change = fn(&mut Lsu);
    let changes: [(Change, &str); 6] = [
        (|lsu| lsu.max_sequencing = lsu.record_time, "maximal sequencing time"),
        (
            |lsu| lsu.lower_bound = time("2026-11-20T12:00:00.000001Z"),
            "lower bound",
        ),
        (|lsu| lsu.topology_export = time("2026-11-20T12:00:01Z"), "topology"),
        (|lsu| lsu.traffic_export = time("2026-11-20T12:00:01Z"), "traffic"),
        (|lsu| lsu.new_serial = Some(5), "expected 4"),
        (
            |lsu| (lsu.after_failed, lsu.nothing_sequenced) = (true, true),
            "expected 5",
        ),
    ];
    for (change, says) in changes {
        let mut with = complete();
        change(&mut with.lsu);
        let found = code(&with, Kind::RollForwardLsu, "0.6.7");
        assert_eq!(found.len(), 1, "{says} {found:?}");
        assert!(found[0].1.contains(says), "{found:?}");
    }
    // What may be equal.
    let mut with = complete();
    with.lsu.lower_bound = with.lsu.upgrade;
    with.lsu.topology_export = with.lsu.upgrade;
    assert!(Plan::make(Kind::RollForwardLsu, &at("0.6.7"), &with, now()).is_ok());
}

#[test]
fn the_environment_of_an_upgrade_is_as_documented_with_times_in_quotes() {
    let text = markdown::render(&plan(Kind::RollForwardLsu, "0.6.2").unwrap());
    for line in [
        "- name: ADDITIONAL_CONFIG_SEQUENCER_LSU_MAX_SEQUENCING_TIME\n  value: |\n    canton.sequencers.sequencer.parameters.lsu-repair.global-max-sequencing-time-exclusive=\"2026-11-20T10:00:01Z\"\n",
        "- name: ADDITIONAL_CONFIG_SEQUENCER_LSU_SEQUENCING_BOUNDS\n  value: |\n    canton.sequencers.sequencer.parameters.lsu-repair.lsu-sequencing-bounds-override.lower-bound-sequencing-time-exclusive=\"2026-11-20T11:00:00Z\"\n    canton.sequencers.sequencer.parameters.lsu-repair.lsu-sequencing-bounds-override.upgrade-time=\"2026-11-20T12:00:00Z\"\n",
        "rollForwardLsu:\n  newPhysicalSynchronizerSerial: 4\n  newPhysicalSynchronizerProtocolVersion: 34\n  exportTimes:\n    topologyExportTime: \"2026-11-20T10:00:00Z\"\n",
    ] {
        assert!(text.contains(line), "{line}\n---\n{text}");
    }
    let mut with = complete();
    (with.lsu.after_failed, with.lsu.nothing_sequenced, with.lsu.new_serial) = (true, true, Some(5));
    let text = markdown::render(&Plan::make(Kind::RollForwardLsu, &at("0.6.7"), &with, now()).unwrap());
    assert!(text.contains("rollForwardLsu:\n  enabled: true\n  upgradeTime: \"2026-11-20T12:00:00Z\"\n"));
}

#[test]
fn every_script_is_one_for_every_posix_shell() {
    for release in RELEASES {
        for kind in KINDS {
            for with in [complete(), Parameters::default()] {
                let Ok(plan) = Plan::make(kind, &at(release), &with, now()) else {
                    continue;
                };
                assert_is_script(&script::render(&plan));
            }
        }
    }
}

fn assert_is_script(text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script");
    std::fs::write(&path, text).unwrap();
    let out = Command::new("sh").arg("-n").arg(&path).output().unwrap();
    assert!(out.status.success(), "{}\n{text}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn what_a_person_cannot_see_or_an_option_would_swallow_is_refused() {
    for (hostile, expected) in [
        ("a\nb", 1),
        ("a\u{202e}b", 1),
        ("\u{1b}[2J", 1),
        ("-x", 1),
        ("--execute", 1),
    ] {
        let mut with = complete();
        with.identities = Some(hostile.into());
        let refused = Plan::make(Kind::NetworkDr, &at("0.5.4"), &with, now()).unwrap_err();
        assert_eq!(refused.len(), expected, "{hostile:?}");
        assert_eq!(refused[0].code, Code::NotShowable);
        assert!(!refused[0].message.contains(['\n', '\u{202e}', '\u{1b}']));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever name is given, the shell reads it as it was, and Markdown's fences hold.
    #[test]
    fn hostile_names_stay_names(name in "[ -~éß]{1,30}") {
        let name = name.trim_start_matches('-').to_owned();
        prop_assume!(!name.is_empty());
        let mut with = complete();
        with.identities = Some(name.clone());
        with.commands.restore = Some(format!("echo {name}"));
        let mut at = at("0.5.4");
        at.namespace = name.clone();
        for kind in [Kind::NetworkDr, Kind::Restore, Kind::Reonboard] {
            let Ok(plan) = Plan::make(kind, &at, &with, now()) else { continue };
            let script = script::render(&plan);
            assert_is_script(&script);
            let text = markdown::render(&plan);
            // A fence that a name closed or opened would leave a heading of a step inside, or out of place.
            let mut fence: Option<String> = None;
            let mut headings = 0;
            for line in text.lines() {
                let ticks: String = line.chars().take_while(|c| *c == '`').collect();
                match &fence {
                    None if ticks.len() >= 3 && !line[ticks.len()..].contains('`') => fence = Some(ticks),
                    Some(open) if ticks.len() >= open.len() && line.len() == ticks.len() => fence = None,
                    None if line.starts_with("## ") => headings += 1,
                    _ => {}
                }
            }
            prop_assert_eq!(fence, None);
            prop_assert_eq!(headings, plan.steps.len());
        }
        // The words of one command as `sh` reads them.
        let plan = Plan::make(Kind::NetworkDr, &at, &with, now()).unwrap();
        let script = script::render(&plan);
        let line = script.lines().find(|line| line.contains("identities check")).unwrap();
        let command = line.split(" || ").next().unwrap().replace("\"$rekindle\"", "printf '%s\\0'");
        let command = match name.contains(" || ") { true => return Ok(()), false => command };
        let out = Command::new("sh").arg("-c").arg(&command).output().unwrap();
        let read: Vec<&[u8]> = out.stdout.split(|byte| *byte == 0).collect();
        prop_assert_eq!((read[3], read[4]), (&b"--full"[..], name.as_bytes()));
    }
}
