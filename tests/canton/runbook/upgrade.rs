//! A roll-forward upgrade, led to its end with real processes.

use super::*;

const LSU: [&str; 23] = [
    "roll-forward-lsu",
    "--splice",
    "0.6.7",
    "--record-time",
    "2026-11-20T10:00:00Z",
    "--max-sequencing-time",
    "2026-11-20T10:00:01Z",
    "--lower-bound",
    "2026-11-20T11:00:00Z",
    "--upgrade-time",
    "2026-11-20T12:00:00Z",
    "--topology-export-time",
    "2026-11-20T10:00:00Z",
    "--traffic-export-time",
    "2026-11-20T10:00:00Z",
    "--protocol-version",
    "34",
    "--keep-command",
    "echo keep >> done",
    "--deploy-command",
    "echo deploy >> done",
    "--configure-command",
    "echo configure >> done",
];

const LSU_YES: [&str; 16] = [
    "--execute",
    "--journal",
    "journal",
    "--yes",
    "agree",
    "--yes",
    "end-old-sequencer",
    "--yes",
    "wait-for-ingestion",
    "--yes",
    "configure-sv-app",
    "--yes",
    "validators",
    "--new-serial",
    "1",
    "--json",
];

#[test]
fn an_upgrade_is_led_to_its_end_asks_where_it_must_and_goes_on_where_it_was() {
    let site = Site::new();
    for node in ["mediator", "sequencer"] {
        site.server.add(&format!("global-domain-1-{node}"), 1);
    }
    site.server.settle();
    // Nobody can be asked here, and nothing was agreed to.
    let out = site
        .command(&[&LSU[..], &["--execute", "--journal", "journal", "--json"]].concat())
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (out.status.code(), document["done"].as_u64()),
        (Some(5), Some(0)),
        "{}",
        text(&out)
    );
    assert_eq!(document["findings"][0]["code"], "C0809", "{document}");
    let out = site
        .command(
            &[
                &LSU[..],
                &["--execute", "--journal", "journal", "--new-serial", "1", "--json"],
            ]
            .concat(),
        )
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(document["findings"][0]["code"], "C0812", "{document}");
    assert!(!site.path("done").exists());
    let run = || {
        let out = site.command(&[&LSU[..], &LSU_YES[..]].concat()).output().unwrap();
        let document: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
        (out, document)
    };
    // The old sequencer is as ready as ever, and the operator said so; but the variable is not there, or of another time.
    let end = "ADDITIONAL_CONFIG_SEQUENCER_LSU_MAX_SEQUENCING_TIME";
    let repair = "canton.sequencers.sequencer.parameters.lsu-repair";
    for time in [None, Some("2026-11-20T10:00:02Z")] {
        if let Some(time) = time {
            let value = format!("{repair}.global-max-sequencing-time-exclusive=\"{time}\"\n");
            site.server.set("global-domain-0-sequencer", end, &value);
        }
        let (out, document) = run();
        assert_eq!(
            (&document["findings"][0]["code"], &document["findings"][0]["of"]),
            (&"C0810".into(), &"end-old-sequencer".into()),
            "{document}"
        );
        let shown = text(&out);
        assert!(
            shown.contains("C0915") && shown.contains(time.unwrap_or("is not set")),
            "{shown}"
        );
    }
    let value = format!("{repair}.global-max-sequencing-time-exclusive=\"2026-11-20T10:00:01Z\"\n");
    site.server.set("global-domain-0-sequencer", end, &value);
    let bound = format!("{repair}.lsu-sequencing-bounds-override");
    let value = format!(
        "{bound}.lower-bound-sequencing-time-exclusive=\"2026-11-20T11:00:00Z\"\n\
         {bound}.upgrade-time=\"2026-11-20T12:00:00Z\"\n"
    );
    let bounds = "ADDITIONAL_CONFIG_SEQUENCER_LSU_SEQUENCING_BOUNDS";
    site.server.set("global-domain-1-sequencer", bounds, &value);
    let (out, document) = run();
    assert_eq!(
        (out.status.code(), document["verdict"].as_str()),
        (Some(0), Some("finished")),
        "{}",
        text(&out)
    );
    assert_eq!(std::fs::read_to_string(site.path("done")).unwrap(), "keep\nconfigure\n");
    // The successor was there: the step found it so, and did nothing.
    let found = site
        .journal()
        .iter()
        .any(|line| line["step"] == "deploy-successor" && line["how"] == "found");
    assert!(found, "{:?}", site.journal());
    // Once more: nothing is left to do, and another plan is not this one.
    assert_eq!(
        site.command(&[&LSU[..], &LSU_YES[..]].concat())
            .output()
            .unwrap()
            .status
            .code(),
        Some(0)
    );
    let mut other = LSU;
    other[10] = "2026-11-20T12:30:00Z";
    let out = site.command(&[&other[..], &LSU_YES[..]].concat()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out).contains("C0813") && text(&out).contains("12:30:00Z"),
        "{}",
        text(&out)
    );
}

#[test]
fn an_upgrade_that_is_killed_at_every_step_finishes_and_is_asked_about_each_time() {
    let site = Site::new();
    for node in ["mediator", "sequencer"] {
        site.server.add(&format!("global-domain-1-{node}"), 0);
    }
    let repair = "canton.sequencers.sequencer.parameters.lsu-repair";
    let end = format!("{repair}.global-max-sequencing-time-exclusive=\"2026-11-20T10:00:01Z\"\n");
    let variable = "ADDITIONAL_CONFIG_SEQUENCER_LSU_MAX_SEQUENCING_TIME";
    site.server.set("global-domain-0-sequencer", variable, &end);
    let bound = format!("{repair}.lsu-sequencing-bounds-override");
    let bounds = format!(
        "{bound}.lower-bound-sequencing-time-exclusive=\"2026-11-20T11:00:00Z\"\n\
         {bound}.upgrade-time=\"2026-11-20T12:00:00Z\"\n"
    );
    let variable = "ADDITIONAL_CONFIG_SEQUENCER_LSU_SEQUENCING_BOUNDS";
    site.server.set("global-domain-1-sequencer", variable, &bounds);
    let deploy = format!("echo deploy >> done; {}", site.starts("mediator,sequencer"));
    let mut arguments = [&LSU[..], &["--new-serial", "1"]].concat();
    for (option, command) in [
        ("--deploy-command", deploy.as_str()),
        ("--configure-command", "echo configure >> done; sleep 0.1"),
    ] {
        let at = arguments.iter().position(|one| *one == option).unwrap();
        arguments[at + 1] = command;
    }
    let died = killing::to_the_end(&site, 23, &arguments, &["token"]);
    assert_eq!(
        died.steps(&site),
        [
            "agree",
            "keep-what-is-there",
            "end-old-sequencer",
            "deploy-successor",
            "wait-for-ingestion",
            "configure-sv-app",
            "validators",
            "verify"
        ]
    );
    let done = std::fs::read_to_string(site.path("done")).unwrap();
    died.was_asked_each_time(&done, "configure-sv-app", "configure");
    assert_eq!(site.server.replicas("global-domain-1-sequencer"), 1);
}
