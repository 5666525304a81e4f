//! Plans of every kind and release, rendered, carried out and interrupted.

mod executing;
mod journaling;
mod planning;

use super::*;
use crate::canton::Timestamp;
use crate::canton::release::Splice;

const RELEASES: [&str; 6] = ["0.4.1", "0.5.4", "0.5.5", "0.6.1", "0.6.2", "0.6.7"];
const KINDS: [Kind; 4] = [Kind::Restore, Kind::Reonboard, Kind::NetworkDr, Kind::RollForwardLsu];

fn at(release: &str) -> Installation {
    let splice: Splice = release.parse().unwrap();
    Installation {
        splice,
        namespace: "sv".to_owned(),
        serial: 3,
        names: Names::documented(3, splice),
        url: Some("https://sv.sv.example.com".to_owned()),
        scan_url: None,
        token_file: Some("token".to_owned()),
        cluster: Vec::new(),
        directory: "out".to_owned(),
    }
}

fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn now() -> Timestamp {
    "2026-11-22T00:00:00Z".parse().unwrap()
}

fn complete() -> Parameters {
    Parameters {
        apps: vec!["apps.dump".into()],
        participant: vec!["participant.dump".into()],
        identities: Some("identities.json".into()),
        logs: vec!["sv1=participant.log".into()],
        fresh_logs: vec!["sv1=fresh.log".into()],
        evidence: vec!["sv1=a.json".into(), "sv2=b.json".into()],
        timestamp: time("2026-11-20T10:00:00Z"),
        migration: Some(4),
        commands: Commands {
            restore: Some("restore".into()),
            ..Commands::default()
        },
        reonboard: Reonboard {
            sv_name: Some("Digital-Asset-1".into()),
            validator_namespace: Some("validator".into()),
            new_identifier: Some("Digital-Asset-1-recovered".into()),
            wallet_url: Some("https://wallet.validator.example.com".into()),
            wallet_token_file: Some("wallet-token".into()),
            ..Reonboard::default()
        },
        lsu: Lsu {
            record_time: time("2026-11-20T10:00:00Z"),
            max_sequencing: time("2026-11-20T10:00:01Z"),
            lower_bound: time("2026-11-20T11:00:00Z"),
            upgrade: time("2026-11-20T12:00:00Z"),
            topology_export: time("2026-11-20T10:00:00Z"),
            traffic_export: time("2026-11-20T10:00:00Z"),
            new_serial: Some(4),
            protocol: Some(34),
            ..Lsu::default()
        },
    }
}

fn plan(kind: Kind, release: &str) -> std::result::Result<Plan, Vec<crate::canton::Finding>> {
    Plan::make(kind, &at(release), &complete(), now())
}

fn ids(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.id).collect()
}
