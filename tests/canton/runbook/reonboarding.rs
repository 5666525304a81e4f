//! An SV that is re-onboarded, led to its end with real processes, and killed on the way.

use super::*;
use crate::identities::made::{self, Style};

/// A site whose validator's wallet holds something, and a fresh SV that its operator starts.
fn site() -> Site {
    let app = SvApp::start("0.6.7", |request, before| {
        let active = serde_json::json!({"success": {"id": "x", "uptime": "PT5S", "ports": {}, "active": true}});
        let path = request.path.as_str();
        // Holding fees go on from round to round: what is held shrinks by what they grow.
        let fees = before as u64;
        let balance = serde_json::json!({
            "round": 18 + before, "effective_unlocked_qty": format!("{}.5", 700 - fees), "effective_locked_qty": "0.0",
            "total_holding_fees": format!("{fees}.0"),
        });
        match () {
            () if path.ends_with("/readyz") || path.ends_with("/livez") => Answer::of(200, "", Vec::new()),
            () if path.ends_with("/cometbft/status") => Answer::json(
                200,
                &serde_json::json!({"id": "a", "catching_up": false, "voting_power": 1}),
            ),
            () if path.ends_with("/wallet/balance") => Answer::json(200, &balance),
            () => Answer::json(200, &active),
        }
    });
    let site = Site { app, ..Site::new() };
    site.private("identities.json", &made::full(Style::Old, 1).to_string());
    site.private("wallet-token", "secret-of-the-wallet\n");
    site
}

fn arguments<'a>(site: &'a Site, configure: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["reonboard", "--splice", "0.6.7", "--identities", "identities.json"];
    arguments.extend(["--sv-name", "Digital-Asset-Eng-4", "--validator-namespace", "validator"]);
    arguments.extend(["--new-participant-identifier", "sv4-recovered-1"]);
    arguments.extend(["--wallet-url", &site.app.url, "--wallet-token-file", "wallet-token"]);
    arguments.extend(["--deploy-command", "echo validator >> done; sleep 0.1"]);
    arguments.extend(["--configure-command", configure]);
    arguments
}

#[test]
fn an_sv_is_reonboarded_although_it_is_killed_at_every_step() {
    let site = site();
    let start = site.starts("cometbft,mediator,sequencer,participant,sv-app,scan-app,validator-app");
    let start = format!(
        "echo fresh >> done; sleep 0.1; {}",
        start.replace("--serial 1", "--serial 0")
    );
    let died = killing::to_the_end(
        &site,
        11,
        &arguments(&site, &start),
        &["identities.json", "token", "wallet-token"],
    );
    assert_eq!(
        died.steps(&site),
        [
            "check-identities",
            "extract",
            "stop-failed-sv",
            "offboard",
            "deploy-validator",
            "verify-balance",
            "deploy-sv",
            "verify-sv",
            "transfer",
            "accept",
            "verify"
        ]
    );
    let done = std::fs::read_to_string(site.path("done")).unwrap();
    died.was_asked_each_time(&done, "deploy-sv", "fresh");
    assert_eq!(site.server.replicas("participant-0"), 1);
    let extracted: Value =
        serde_json::from_slice(&std::fs::read(site.path("participant_identities.json")).unwrap()).unwrap();
    assert_eq!(extracted, made::full(Style::Old, 1)["identities"]["participant"]);
    let saved: Value = serde_json::from_slice(&std::fs::read(site.path("balances_recovered.json")).unwrap()).unwrap();
    assert!(saved["balance"]["round"].is_u64(), "{saved}");
    let left: Vec<_> = std::fs::read_dir(site.directory.path())
        .unwrap()
        .map(|one| one.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 9, "{left:?}");
}
