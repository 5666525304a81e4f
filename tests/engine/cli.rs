//! The command line itself: help, man page, completions, exit codes, and what goes to which stream.

use std::process::Stdio;

use crate::support::{self, Run, Service, command};

const COMMANDS: [&str; 9] = [
    "verify",
    "inspect",
    "unlock",
    "export",
    "compare",
    "fixture",
    "bench",
    "completions",
    "man",
];

#[test]
fn help_of_everything_reads_from_top_to_bottom() {
    let help = rekindle!["--help"].expect(0).text();
    for name in COMMANDS {
        assert!(help.contains(&format!("  {name}")), "{name} is not in:\n{help}");
        let long = rekindle![name, "--help"].expect(0).text();
        assert!(long.contains("Usage:") && long.contains("--json"), "{name}");
        let first = long.lines().next().unwrap();
        assert!(
            first.len() > 20 && !first.starts_with("Usage"),
            "{name} says what it is for: {first}"
        );
    }
    assert!(help.contains("Exit codes"));
    assert_eq!(
        rekindle!["--version"].expect(0).text(),
        format!("rekindle {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_manual_page_and_completions_know_every_command() {
    let man = rekindle!["man"].expect(0).text();
    assert!(man.starts_with(".ie") || man.contains(".TH"), "roff");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = rekindle!["completions", shell].expect(0).text();
        for name in COMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    for name in COMMANDS {
        assert!(man.contains(name), "{name}");
    }
}

#[test]
fn usage_mistakes_exit_with_2() {
    for arguments in [
        &["verify"][..],
        &["verify", "x", "--nonsense"],
        &["nonsense"],
        &[],
        &["verify", "x", "--jobs", "0"],
        &["verify", "x", "--jobs", "many"],
        &["verify", "x", "--mode", "careless"],
        &["inspect", "x", "--txid", "2"],
        &["inspect", "x", "--seqno", "5..3"],
        &["inspect", "x", "--table", "("],
        &["export", "x", "-o", "-", "--state", "--history"],
        &["compare", "x"],
        &["fixture"],
    ] {
        let run = Run::of(&arguments.iter().map(Into::into).collect::<Vec<_>>());
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{arguments:?}");
    }
}

/// Every command that has something to say, on a made-up service.
fn commands(service: &Service, scratch: &std::path::Path) -> Vec<Vec<String>> {
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (ledger, key0, key1) = (text(service.ledger()), text(service.key(0)), text(service.key(1)));
    let copy = text(scratch.join("copy"));
    support::copy_files(&service.ledger(), &scratch.join("copy"));
    let out = text(scratch.join("out.jsonl"));
    let fixture = text(scratch.join("fixture"));
    [
        vec!["verify", &ledger],
        vec!["inspect", &ledger],
        vec!["inspect", &ledger, "--seqno", "1..20"],
        vec!["inspect", &ledger, "--table", "nodes"],
        vec!["inspect", &ledger, "--table", "there is no such table"],
        vec!["unlock", &ledger, "--member-key", &key0, &key1],
        vec!["unlock", &ledger, "--member-key", &key0],
        vec!["export", &ledger, "-o", &out],
        vec!["compare", &ledger, &copy],
        vec!["bench", &ledger, "--member-key", &key0, &key1],
        vec!["fixture", "--entries", "5", "--out", &fixture],
    ]
    .into_iter()
    .map(|command| command.into_iter().map(str::to_owned).collect())
    .collect()
}

#[test]
fn with_json_stdout_is_one_document_and_stderr_is_silent() {
    let service = Service::made(&["--entries", "40", "--signature-every", "10"]);
    let scratch = tempfile::tempdir().unwrap();
    for arguments in commands(&service, scratch.path()) {
        let mut with_json: Vec<_> = arguments.iter().map(Into::into).collect();
        with_json.push("--json".into());
        let run = Run::of(&with_json);
        assert!(matches!(run.code, Some(0 | 1)), "{arguments:?}: {}", run.stderr);
        assert!(run.json().is_object(), "{arguments:?}");
        assert_eq!(run.stderr, "", "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_early_is_no_accident() {
    let service = Service::made(&["--entries", "400", "--signature-every", "10"]);
    let scratch = tempfile::tempdir().unwrap();
    let mut all = commands(&service, scratch.path());
    all.extend([
        vec!["man".to_owned()],
        vec!["completions".to_owned(), "bash".to_owned()],
    ]);
    all.push(
        ["export", service.ledger().to_str().unwrap(), "--history", "-o", "-"]
            .map(str::to_owned)
            .to_vec(),
    );
    for arguments in all {
        for json in [false, true] {
            let both_want_stdout = json && arguments.contains(&"-".to_owned());
            // A fixture is only made once.
            if both_want_stdout || (json && arguments[0] == "fixture") {
                continue;
            }
            let mut command = command();
            command.args(&arguments).args(json.then_some("--json"));
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let run = Run::from(child.wait_with_output().unwrap());
            assert!(
                matches!(run.code, Some(0 | 1)),
                "{arguments:?}: {:?} {}",
                run.code,
                run.stderr
            );
            assert!(!run.stderr.contains("roken pipe"), "{arguments:?}: {}", run.stderr);
        }
    }
}

#[test]
fn no_progress_is_drawn_where_no_terminal_is() {
    let service = Service::made(&["--entries", "40"]);
    assert_eq!(rekindle!["verify", service.ledger()].expect(0).stderr, "");
    assert_eq!(service.with_keys("unlock", &[]).expect(0).stderr, "");
}
