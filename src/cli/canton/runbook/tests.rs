//! The commands in plans are this program's: its own parser takes every one of them.

use clap::Parser;

use crate::canton::Timestamp;
use crate::canton::runbook::{Commands, Doing, Installation, Kind, Lsu, Names, Parameters, Plan, Reonboard, Test};
use crate::cli::Common;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    _common: Common,
    #[command(subcommand)]
    _command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Canton(crate::cli::canton::Args),
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn parameters() -> Parameters {
    let some = |text: &str| Some(text.to_owned());
    Parameters {
        apps: vec!["apps.dump".to_owned(), "more.dump".to_owned()],
        participant: vec!["participant.dump".to_owned()],
        identities: some("identities.json"),
        logs: vec!["sv1=participant.log".to_owned()],
        fresh_logs: vec!["sv1=fresh.log".to_owned()],
        evidence: vec!["sv1=a.json".to_owned(), "sv2=b.json".to_owned()],
        timestamp: Some(at("2026-11-20T10:00:00Z")),
        migration: Some(4),
        commands: Commands::default(),
        reonboard: Reonboard {
            sv_name: some("Digital-Asset-1"),
            validator_namespace: some("validator"),
            new_identifier: some("Digital-Asset-1-recovered"),
            wallet_url: some("https://wallet.validator.example.com"),
            wallet_token_file: some("wallet-token"),
            ..Reonboard::default()
        },
        lsu: Lsu {
            max_sequencing: Some(at("2026-11-20T10:00:01Z")),
            lower_bound: Some(at("2026-11-20T11:00:00Z")),
            upgrade: Some(at("2026-11-20T12:00:00Z")),
            new_serial: Some(4),
            ..Lsu::default()
        },
    }
}

#[test]
fn every_command_of_every_plan_is_one_that_this_program_takes() {
    let mut count = 0;
    for release in ["0.4.1", "0.5.4", "0.5.5", "0.6.1", "0.6.2", "0.6.7"] {
        for kind in [Kind::Restore, Kind::Reonboard, Kind::NetworkDr, Kind::RollForwardLsu] {
            for balances in [None, Some("before.json".to_owned())] {
                let splice = release.parse().unwrap();
                let site = Installation {
                    splice,
                    namespace: "sv".to_owned(),
                    serial: 3,
                    names: Names::documented(3, splice),
                    url: Some("https://sv.sv.example.com".to_owned()),
                    scan_url: Some("https://scan.sv.example.com".to_owned()),
                    token_file: Some("token".to_owned()),
                    cluster: ["--kubeconfig", "config", "--context", "main"]
                        .map(str::to_owned)
                        .to_vec(),
                    directory: "out".to_owned(),
                };
                let mut with = parameters();
                with.reonboard.balances = balances;
                let Ok(plan) = Plan::make(kind, &site, &with, at("2026-11-22T00:00:00Z")) else {
                    continue;
                };
                for step in &plan.steps {
                    let checks = step
                        .before
                        .iter()
                        .chain(&step.after)
                        .filter_map(|check| match &check.test {
                            Test::Command(command) => Some(command),
                            _ => None,
                        });
                    let own = match &step.doing {
                        Doing::Command(command) => Some(command),
                        _ => None,
                    };
                    let overruling = step
                        .overruled
                        .as_ref()
                        .and_then(|overruling| overruling.only_if.as_ref());
                    for command in checks.chain(own).chain(overruling) {
                        let words = command.arguments(|_| Some(at("2026-11-21T00:00:00Z"))).unwrap();
                        let line = words.join(" ");
                        let parsed = Program::try_parse_from(std::iter::once("rekindle".to_owned()).chain(words));
                        assert!(
                            parsed.is_ok(),
                            "{kind:?} {}: {line}\n{}",
                            step.id,
                            parsed.err().unwrap()
                        );
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 200, "{count}");
}
