//! The whole network is recovered from data snapshots at an agreed time: CometBFT is lost beyond repair
//! (SPEC-CANTON 3, 5; Splice before 0.6.2).
//!
//! CometBFT goes first, so that no SV orders anything more while the time is chosen; participant and sequencer run until the
//! snapshot is there. The SV app runs until the file is placed, because its pod is the way to the volume, and reads the file
//! only when it starts again.

use super::commands::{READ_IDENTITIES, several};
use super::parameters::{Installation, Parameters, given};
use super::step::{By, Check, Invocation, Step, Word};

/// What must run while the snapshot is fetched.
const RUNNING: [&str; 4] = ["sequencer", "mediator", "participant", "sv-app"];
/// What is stopped once the file is merged: all but the SV app and the participant.
const OLD: [&str; 4] = ["mediator", "sequencer", "scan-app", "validator-app"];
/// What the new migration begins with. A synchronizer without CometBFT has no migration of this kind.
const NODES: [&str; 4] = ["cometbft", "mediator", "sequencer", "participant"];

const READ_TIMESTAMP: &str =
    "There is no such time, or not every SV can recover from its own dump: read it. Go on to agree on a time?";
const READ_MERGED: &str = "Something was found: read it. Was the file written, and do you go on with it all the same?";

/// The steps.
pub(super) fn steps(at: &Installation, with: &Parameters) -> Vec<Step> {
    let mut steps = agreement(at, with);
    steps.extend(dump(at, with));
    steps.extend(migration(at, with));
    steps
}

fn agreement(at: &Installation, with: &Parameters) -> Vec<Step> {
    let evidence = at.file("evidence.json");
    let mut steps = vec![Step::ours(
        "check-identities",
        "Check the dump of this SV's identities",
        "The merged file needs the full dump: participant, sequencer and mediator. Every key's fingerprint is recomputed.",
        at.check_identities(with, true),
    ).overruled(READ_IDENTITIES)];
    if at.names.cometbft.is_some() {
        steps.push(
            Step::ours(
                "stop-cometbft",
                "Stop CometBFT",
                "Every SV does this before a time is chosen, so that nothing more is ordered on the broken synchronizer. \
                 Participant, sequencer and mediator go on.",
                at.scale(true, &["cometbft"]),
            )
            .destroys("this SV no longer orders transactions; with a third of the SVs the network stands still")
            .after(at.stopped("CometBFT is stopped", &["cometbft"])),
        );
    }
    steps.extend([
        Step::operators(
            "keep-what-is-there",
            "Back up what there is",
            "Back up the databases of the apps, then the participant's, sequencer's and mediator's, before anything is \
             changed: the snapshot leaves out what this SV knows after the agreed time.",
            "keep-command",
            with.commands.keep.as_ref(),
        ),
        Step::ours(
            "scan",
            "Scan the participant's logs for commitments",
            "Reads the logs and writes what they say about agreement with other SVs: a few kilobytes that can be sent to \
             the others.",
            Invocation::canton(&["scan"])
                .each("--log", several(&with.logs, "log"))
                .option("--out", evidence.as_str())
                .arg("--replace"),
        )
        .overruled("Something was found in the logs: read it. Go on with this evidence all the same?")
        .after(Check::file("the evidence is there", evidence)),
        Step::people(
            "exchange-evidence",
            "Exchange the evidence with the other SVs",
            "Send the evidence to the other SVs' operators and collect theirs. It holds identifiers and times, and no other \
             content of the logs.",
            By::Everybody,
        ),
        Step::ours(
            "timestamp",
            "Find the time to recover from",
            "Computes the latest time on which a quorum agrees, with a margin, the trade-offs, and what each SV has to do.",
            Invocation::canton(&["timestamp"]).each("--evidence", several(&with.evidence, "evidence")),
        )
        .overruled(READ_TIMESTAMP),
        Step::people(
            "agree",
            "Agree on the time and on the new migration",
            "On a call, compare the evidence digest, agree on one time and on the number of the new migration. All \
             transactions after that time will be lost. An SV that has not reached it is re-onboarded, or takes another \
             SV's snapshot.",
            By::Everybody,
        )
        .destroys("every transaction after the agreed time will be lost")
        .block(
            "agreed by all SVs",
            "sh",
            vec![
                "timestamp: ".into(),
                given(with.timestamp, "timestamp"),
                "\nmigration: ".into(),
                given(with.migration, "migration-id"),
                "\n".into(),
            ],
        ),
    ]);
    steps
}

fn dump(at: &Installation, with: &Parameters) -> Vec<Step> {
    let (data, merged) = (at.file("data_snapshot.json"), at.file("domain_migration_dump.json"));
    let timestamp = || given(with.timestamp, "timestamp");
    let migration = || given(with.migration, "migration-id");
    let fetch = Invocation::canton(&["fetch"])
        .option("--url", given(at.url.as_ref(), "url"))
        .option("--token-file", given(at.token_file.as_ref(), "token-file"))
        .option("--timestamp", timestamp())
        .option("--migration-id", migration())
        .option("--splice", at.splice.to_string());
    // From 0.5.5 on a time that is no event's record time needs it (SPEC-CANTON 3.1).
    let fetch = match at.splice.has_new_export() {
        true => fetch.arg("--force"),
        false => fetch,
    };
    let mut step = Step::ours(
        "fetch",
        "Fetch the data snapshot",
        "Asks the SV app for the state at the agreed time and streams it to disk. Participant and sequencer must run for \
         it.",
        fetch.option("--out", data.as_str()),
    )
    .overruled("Something was found: read it. Go on with this snapshot all the same?");
    if at.names.cometbft.is_some() {
        step = step.before(at.stopped("CometBFT is stopped", &["cometbft"]));
    }
    vec![
        step.before(at.ready("sequencer, mediator, participant and SV app run", at.serial.to_string().into(), &RUNNING))
            .after(Check::file("the snapshot is there", data.as_str())),
        Step::ours(
            "merge",
            "Merge the identities with the snapshot",
            "Writes the file that the SV app migrates from, under a name of its own, and checks time, migration and shape.",
            Invocation::canton(&["merge"])
                .option("--identities", given(with.identities.as_ref(), "identities"))
                .option("--data", data)
                .option("--expect-timestamp", timestamp())
                .option("--expect-migration", migration())
                .option("--out", merged.as_str()),
        )
        .overruled(READ_MERGED)
        .after(Check::file("the merged file is there", merged)),
    ]
}

fn migration(at: &Installation, with: &Parameters) -> Vec<Step> {
    let serial = at.serial;
    let migration = || given(with.migration, "migration-id");
    let deploy = Step::operators(
        "deploy-synchronizer",
        "Deploy the new synchronizer's nodes",
        "Deploy CometBFT, sequencer, mediator and participant with the new migration's number, beside the old ones, which \
         keep their data.",
        "deploy-command",
        with.commands.deploy.as_ref(),
    )
    .after(at.ready("the new synchronizer's nodes are ready", migration(), &NODES));
    let values = |migrating: &str| -> Vec<Word> {
        vec![
            "migration:\n  id: ".into(),
            migration(),
            format!("\n  migrating: {migrating}\n").into(),
        ]
    };
    let mut during = values("true");
    during.push(format!("  legacyId: {serial}\n").into());
    vec![
        Step::ours(
            "stop-old",
            "Stop the old sequencer and mediator, scan and the validator app",
            "The snapshot is on disk. Only the SV app stays, because its pod is the way to the volume for the file.",
            at.scale(true, &OLD),
        )
        .destroys("the old synchronizer ends here; no other snapshot can be fetched until it is started again")
        .before(Check::file("the merged file is there", at.file("domain_migration_dump.json")))
        .after(at.stopped("they are stopped", &OLD)),
        Step::ours(
            "place",
            "Place the merged file on the SV app's volume",
            "Copies the file beside its place, reads it back, compares the hash, and renames it. A dump of an earlier \
             migration is kept beside it.",
            at.in_namespace(Invocation::canton(&["place"]))
                .option("--file", at.file("domain_migration_dump.json"))
                .option("--expect-timestamp", given(with.timestamp, "timestamp"))
                .option("--expect-migration", migration())
                .option("--splice", at.splice.to_string())
                .arg("--replace")
                .arg("--execute"),
        )
        .overruled(
            "The file was sent and read back, and there are warnings: read them. Is the file right all the same?",
        )
        .before(at.stopped("the old synchronizer and the other apps are stopped", &OLD)),
        Step::ours(
            "stop-sv-app",
            "Stop the SV app",
            "It must start anew with the new configuration, and only then read the file.",
            at.scale(true, &["sv-app"]),
        )
        .after(at.stopped("the SV app is stopped", &["sv-app"])),
        deploy,
        Step::operators(
            "migrate",
            "Start the apps on the new migration",
            "Apply these values to the SV app, scan and the validator app, and start them. The SV app reads the file and \
             seeds the new synchronizer.",
            "configure-command",
            with.commands.configure.as_ref(),
        )
        .destroys("the new synchronizer is seeded; from here on the network's history is that of the snapshot")
        .block("values of the charts of sv-app, scan and validator", "yaml", during),
        Step::ours(
            "verify",
            "Verify the SV",
            "Replicas, health of the apps, CometBFT caught up, sequencer and mediator active.",
            at.verify(with, migration(), "migrate"),
        ),
        Step::operators(
            "settle",
            "End the migration",
            "Set the values back, so that a later deployment does not migrate again. Keep the old nodes' data as long as \
             the SVs agree on.",
            "settle-command",
            with.commands.settle.as_ref(),
        )
        .block("values of the charts of sv-app, scan and validator", "yaml", values("false")),
    ]
}
