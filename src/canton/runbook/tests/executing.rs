//! A plan carried out in a world in memory, killed everywhere, and run again.

use std::collections::BTreeSet;
use std::fs::File;

use super::super::execute::{Answer, Ended, Hands, execute};
use super::super::journal::{How, Journal, NotThis};
use super::journaling::open;
use super::*;
use crate::canton::Code;
use crate::error::Result;

/// A world in memory: what steps do changes it, and checks look at it. Dies at a chosen call, as a process that is killed.
#[derive(Default)]
struct World {
    calls: usize,
    dies_at: Option<usize>,
    /// The death comes after the call's effect instead of before.
    effect_first: bool,
    stopped: BTreeSet<String>,
    files: BTreeSet<String>,
    ran: Vec<String>,
    answers: Option<Answer>,
    asked: Vec<String>,
    fails: Option<&'static str>,
    code: i32,
    is_certain: bool,
}

impl World {
    fn call(&mut self, effect: impl FnOnce(&mut World) -> Ended) -> Result<Ended> {
        self.calls += 1;
        let dead = || crate::Error::Unreadable("killed".to_owned());
        let dies = self.dies_at == Some(self.calls);
        if dies && !self.effect_first {
            return Err(dead());
        }
        let ended = effect(self);
        if dies { Err(dead()) } else { Ok(ended) }
    }
}

fn values(arguments: &[String], option: &str) -> Vec<String> {
    let pairs = arguments.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| pair[1].clone()).collect()
}

impl Hands for World {
    fn rekindle(&mut self, arguments: &[String], _: File) -> Result<Ended> {
        let arguments = arguments.to_vec();
        self.call(|world| {
            let names = at("0.5.4").names;
            let serial = values(&arguments, "--serial").pop();
            let only = values(&arguments, "--only");
            let is_meant = |name: &str| only.is_empty() || only.iter().any(|kind| name.contains(kind.as_str()));
            let affected: Vec<String> = names
                .all()
                .into_iter()
                .filter(|name| is_meant(name))
                .map(str::to_owned)
                .collect();
            let down = arguments.contains(&"--down".to_owned());
            match arguments[1].as_str() {
                "scale" => {
                    for name in affected {
                        if down {
                            world.stopped.insert(name);
                        } else {
                            world.stopped.remove(&name);
                        }
                    }
                    world.ran.push(arguments[1..].join(" "));
                }
                "verify" => {
                    // The new nodes are the operator's to start, and are well.
                    let is_old = serial.as_deref() == Some("3") && !arguments.contains(&"--url".to_owned());
                    let holds = !is_old || affected.iter().all(|name| world.stopped.contains(name) == down);
                    return Ended(Some(i32::from(!holds)));
                }
                other => {
                    if world.fails == Some("backup") && other == "backup" {
                        let is_accepted = arguments.contains(&"--accept-unproven".to_owned()) && !world.is_certain;
                        return Ended(Some(if is_accepted { 0 } else { world.code }));
                    }
                    if world.fails == Some("place") && other == "place" {
                        return Ended(Some(world.code));
                    }
                    if world.fails == Some("command") && other == "fetch" {
                        return Ended(Some(4));
                    }
                    world.files.extend(values(&arguments, "--out"));
                    world.ran.push(arguments[1..].join(" "));
                }
            }
            Ended(Some(0))
        })
    }

    fn shell(&mut self, command: &str, _: File) -> Result<Ended> {
        let command = command.to_owned();
        self.call(|world| {
            let goes_on = world.fails == Some("background") && command == "restored?";
            world.ran.push(command);
            Ended(Some(if goes_on { 75 } else { 0 }))
        })
    }

    fn has_file(&mut self, path: &str) -> bool {
        self.files.contains(path)
    }

    fn ask(&mut self, question: &str) -> Answer {
        self.asked.push(question.to_owned());
        self.answers.unwrap_or(Answer::Yes)
    }

    fn say(&mut self, _: &str) {}
}

#[test]
fn killed_at_every_call_and_run_again_it_finishes_and_repeats_nothing_destructive() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [Kind::Restore, Kind::NetworkDr, Kind::Reonboard] {
        let plan = plan(kind, "0.5.4").unwrap();
        let mut calls = 0;
        for dies_at in 1.. {
            for effect_first in [false, true] {
                let path = directory.path().join(format!("{kind:?}-{dies_at}-{effect_first}"));
                let mut world = World {
                    dies_at: Some(dies_at),
                    effect_first,
                    ..World::default()
                };
                let first = execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world);
                calls = world.calls;
                world.dies_at = None;
                let outcome = match first {
                    Err(_) => execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap(),
                    Ok(outcome) => outcome,
                };
                assert!(outcome.stopped.is_none(), "{kind:?} {dies_at} {:?}", outcome.stopped);
                assert_eq!(outcome.done, plan.steps.len());
                // A third run has nothing left to do.
                let ran = world.ran.len();
                execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
                assert_eq!(world.ran.len(), ran);
                // What was scaled was scaled once: the check afterwards found it done.
                let mut scaled: Vec<_> = world.ran.iter().filter(|line| line.starts_with("scale")).collect();
                let all = scaled.len();
                scaled.sort();
                scaled.dedup();
                assert_eq!(scaled.len(), all, "{kind:?} {dies_at} {effect_first} {:?}", world.ran);
            }
            if dies_at > calls {
                break;
            }
        }
        assert!(calls > 5, "{kind:?}: {calls}");
    }
}

#[test]
fn nothing_that_cannot_be_undone_happens_without_a_yes() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(Kind::Restore, "0.5.4").unwrap();
    for answer in [Answer::No, Answer::Nobody] {
        let path = directory.path().join(format!("{answer:?}"));
        let mut world = World {
            answers: Some(answer),
            ..World::default()
        };
        let outcome = execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
        let stopped = outcome.stopped.unwrap();
        assert_eq!(
            (stopped.code, stopped.of.as_deref()),
            (Code::NotAgreed, Some("scale-down"))
        );
        assert!(stopped.next.contains("--yes scale-down"));
        assert!(world.stopped.is_empty());
        // A yes is for one step.
        let agreed = BTreeSet::from(["scale-down".to_owned()]);
        let outcome = execute(&plan, &mut open(&path, &plan), &agreed, &mut world).unwrap();
        assert_eq!(outcome.stopped.unwrap().of.as_deref(), Some("keep-what-is-there"));
        assert_eq!(world.stopped.len(), 7);
        assert!(!world.ran.contains(&"restore".to_owned()));
    }
}

#[test]
fn what_people_were_told_to_do_before_a_kill_is_asked_about_and_not_ordered_again() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(Kind::Reonboard, "0.5.4").unwrap();
    let path = directory.path().join("journal");
    let mut world = World::default();
    let mut journal = open(&path, &plan);
    for step in plan.steps.iter().take_while(|step| step.id != "transfer") {
        journal.began(step.id).unwrap();
        journal.finished(step.id, How::Ran).unwrap();
    }
    journal.began("transfer").unwrap();
    drop(journal);
    execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
    // The amulets may have been sent: only a person knows, and must not be led to send them twice.
    assert!(world.asked[0].contains("is it done"), "{:?}", world.asked);
    assert!(
        !world.asked.iter().any(|question| question.contains("Do it?")),
        "{:?}",
        world.asked
    );
}

#[test]
fn backups_that_are_not_proven_good_are_a_persons_to_overrule_and_unreadable_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(Kind::Restore, "0.5.4").unwrap();
    for (code, is_certain, answer, expected) in [
        (1, false, Answer::Yes, None),
        (1, false, Answer::No, Some(Code::NotAgreed)),
        (1, false, Answer::Nobody, Some(Code::NotAgreed)),
        (1, true, Answer::Yes, Some(Code::StepFailed)),
        (3, false, Answer::Yes, Some(Code::StepFailed)),
    ] {
        let path = directory.path().join(format!("{code}-{is_certain}-{answer:?}"));
        let mut world = World {
            fails: Some("backup"),
            code,
            is_certain,
            answers: Some(answer),
            ..World::default()
        };
        let outcome = execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
        assert_eq!(
            outcome.stopped.map(|finding| finding.code),
            expected,
            "{code} {answer:?}"
        );
        assert!(!is_certain || world.asked.is_empty(), "{:?}", world.asked);
        let is_begun = world.ran.iter().any(|line| line.starts_with("scale"));
        assert_eq!(is_begun, expected.is_none());
    }
}

#[test]
fn warnings_about_a_placed_file_are_a_persons_to_accept_and_errors_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(Kind::NetworkDr, "0.5.4").unwrap();
    for (code, answer, expected) in [
        (1, Answer::Yes, None),
        (1, Answer::No, Some(Code::NotAgreed)),
        (4, Answer::Yes, Some(Code::StepFailed)),
    ] {
        let path = directory.path().join(format!("{code}-{answer:?}"));
        let mut world = World {
            fails: Some("place"),
            code,
            answers: Some(Answer::Yes),
            ..World::default()
        };
        let mut agreed = BTreeSet::new();
        if answer == Answer::No {
            world.answers = Some(Answer::No);
            agreed.extend(
                plan.steps
                    .iter()
                    .map(|step| step.id.to_owned())
                    .filter(|id| id != "place"),
            );
        }
        let outcome = execute(&plan, &mut open(&path, &plan), &agreed, &mut world).unwrap();
        let stopped = outcome.stopped.map(|finding| (finding.code, finding.of.unwrap()));
        assert_eq!(
            stopped,
            expected.map(|code| (code, "place".to_owned())),
            "{code} {answer:?}"
        );
    }
}

#[test]
fn a_restore_that_goes_on_in_the_background_is_neither_called_complete_nor_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut with = complete();
    with.commands.restored = Some("restored?".to_owned());
    let plan = Plan::make(Kind::Restore, &at("0.5.4"), &with, now()).unwrap();
    let path = directory.path().join("a");
    let mut world = World {
        fails: Some("background"),
        ..World::default()
    };
    for _ in 0..2 {
        let outcome = execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
        let stopped = outcome.stopped.unwrap();
        assert_eq!((stopped.code, stopped.of.as_deref()), (Code::GoesOn, Some("restore")));
    }
    world.fails = None;
    let outcome = execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
    assert!(outcome.stopped.is_none());
    assert_eq!(
        world.ran.iter().filter(|line| *line == "restore").count(),
        1,
        "{:?}",
        world.ran
    );
    // Where nothing can be known, the step says so.
    with.commands.restored = None;
    let plan = Plan::make(Kind::Restore, &at("0.5.4"), &with, now()).unwrap();
    let restore = plan.steps.iter().find(|step| step.id == "restore").unwrap();
    assert!(restore.what.contains("nothing here can tell"), "{}", restore.what);
}

#[test]
fn what_looks_done_before_it_was_begun_is_done_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    // The operator's check holds from the start: the databases that shall be replaced answer too.
    let mut with = complete();
    with.commands.restored = Some("true".to_owned());
    let plan = Plan::make(Kind::Restore, &at("0.5.4"), &with, now()).unwrap();
    assert!(
        plan.steps
            .iter()
            .any(|step| step.id == "restore" && !step.after.is_empty())
    );
    let mut world = World::default();
    execute(
        &plan,
        &mut open(&directory.path().join("a"), &plan),
        &BTreeSet::new(),
        &mut world,
    )
    .unwrap();
    assert!(world.ran.contains(&"restore".to_owned()), "{:?}", world.ran);
    // Files that an earlier recovery left are no work of this one.
    let plan = super::plan(Kind::NetworkDr, "0.5.4").unwrap();
    let mut world = World::default();
    let names = ["evidence.json", "data_snapshot.json", "domain_migration_dump.json"];
    world.files.extend(names.map(|name| at("0.5.4").file(name)));
    execute(
        &plan,
        &mut open(&directory.path().join("b"), &plan),
        &BTreeSet::new(),
        &mut world,
    )
    .unwrap();
    for command in ["scan ", "fetch ", "merge "] {
        assert!(
            world.ran.iter().any(|line| line.starts_with(command)),
            "{command} {:?}",
            world.ran
        );
    }
}

#[test]
fn a_restore_does_not_begin_when_something_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let plan = plan(Kind::Restore, "0.5.4").unwrap();
    let mut world = World {
        dies_at: Some(4),
        ..World::default()
    };
    let agreed: BTreeSet<String> = ids(&plan).into_iter().map(str::to_owned).collect();
    while world.dies_at.is_some() {
        match execute(&plan, &mut open(&path, &plan), &agreed, &mut world) {
            Err(_) if world.ran.last().is_some_and(|line| line.starts_with("scale")) => world.dies_at = None,
            Err(_) => world.dies_at = Some(world.calls + 1),
            Ok(_) => panic!("it finished"),
        }
    }
    let journal = open(&path, &plan);
    assert!(journal.done("check-backups").is_some());
    drop(journal);
    // Somebody starts the participant between the runs, after the step that stopped it was done.
    let mut journal = open(&path, &plan);
    if journal.done("scale-down").is_none() {
        journal.finished("scale-down", How::Ran).unwrap();
    }
    world.stopped.remove("participant-3");
    let outcome = execute(&plan, &mut journal, &agreed, &mut world).unwrap();
    let stopped = outcome.stopped.unwrap();
    assert_eq!(
        (stopped.code, stopped.of.as_deref()),
        (Code::CheckFailed, Some("restore"))
    );
    assert!(!world.ran.contains(&"restore".to_owned()));
}

#[test]
fn a_failed_command_ends_the_run_and_a_value_that_is_given_later_lets_it_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut with = complete();
    (with.timestamp, with.migration) = (None, None);
    let without = Plan::make(Kind::NetworkDr, &at("0.5.4"), &with, now()).unwrap();
    let mut world = World {
        fails: Some("command"),
        ..World::default()
    };
    let outcome = execute(&without, &mut open(&path, &without), &BTreeSet::new(), &mut world).unwrap();
    let stopped = outcome.stopped.unwrap();
    assert_eq!(
        (stopped.code, stopped.of.as_deref()),
        (Code::ValueMissing, Some("agree"))
    );
    assert!(
        stopped.message.contains("--timestamp, --migration-id"),
        "{}",
        stopped.message
    );

    let agreed = plan(Kind::NetworkDr, "0.5.4").unwrap();
    let outcome = execute(&agreed, &mut open(&path, &agreed), &BTreeSet::new(), &mut world).unwrap();
    let stopped = outcome.stopped.unwrap();
    assert_eq!((stopped.code, stopped.of.as_deref()), (Code::StepFailed, Some("fetch")));
    assert!(stopped.message.contains("exit code 4"));
    assert_eq!(world.ran.iter().filter(|line| line.starts_with("scan")).count(), 1);

    // Another time than the one that was agreed on is another plan.
    with = complete();
    with.timestamp = time("2026-11-20T09:00:00Z");
    let other = Plan::make(Kind::NetworkDr, &at("0.5.4"), &with, now()).unwrap();
    match Journal::open(&path, &other, now()) {
        Err(NotThis::Changed(why)) => assert!(why.contains("agree") && why.contains("09:00:00Z"), "{why}"),
        other => panic!("{other:?}"),
    }
    // And so is taking one back.
    assert!(matches!(
        Journal::open(&path, &without, now()),
        Err(NotThis::Changed(_))
    ));
    world.fails = None;
    let outcome = execute(&agreed, &mut open(&path, &agreed), &BTreeSet::new(), &mut world).unwrap();
    assert!(outcome.stopped.is_none());
}

#[test]
fn a_journal_that_is_cut_off_anywhere_goes_on_and_one_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let plan = plan(Kind::Restore, "0.5.4").unwrap();
    let mut world = World::default();
    execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let lengths = (0..whole.len()).step_by(37).chain([1, 5, whole.len() - 1]);
    for length in lengths {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut world = World::default();
        // What the journal does not say is looked at, or done again.
        let outcome = execute(&plan, &mut open(&path, &plan), &BTreeSet::new(), &mut world).unwrap();
        assert!(outcome.stopped.is_none() || length > 0, "{length}");
    }
    for wrong in [
        "{}\n",
        "null\n",
        "hello",
        "{\"journal\":\"other\",\"version\":1}\n",
        "\u{0}\n",
        "{\"journal\":\"rekindle canton runbook\",\"version\":2}\n",
    ] {
        std::fs::write(&path, wrong).unwrap();
        assert!(
            matches!(Journal::open(&path, &plan, now()), Err(NotThis::Error(_))),
            "{wrong:?}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong);
    }
    let mut broken = whole.clone();
    broken[whole.len() / 2] = 0xff;
    std::fs::write(&path, &broken).unwrap();
    assert!(matches!(Journal::open(&path, &plan, now()), Err(NotThis::Error(_))));
    std::os::unix::fs::symlink("/etc/hostname", directory.path().join("link")).unwrap();
    assert!(Journal::open(&directory.path().join("link"), &plan, now()).is_err());
}
