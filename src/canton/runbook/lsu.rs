//! The network is recovered by a logical synchronizer upgrade that rolls forward (SPEC-CANTON 6; Splice from 0.6.2 on).

use super::parameters::{Installation, Lsu, Parameters, given};
use super::step::{By, Step, Word};
use crate::canton::verification::settings;
use crate::canton::{Code, Finding, Timestamp};

const REPAIR: &str = "canton.sequencers.sequencer.parameters.lsu-repair";

/// What is wrong with the times and numbers that were given; what was not given is not judged.
pub(super) fn faults(serial: u32, lsu: &Lsu) -> Vec<Finding> {
    let mut faults = Vec::new();
    let mut ordered =
        |(earlier, at): (&str, Option<Timestamp>), (later, then): (&str, Option<Timestamp>), strict: bool| {
            if let (Some(at), Some(then)) = (at, then) {
                let holds = if strict { at < then } else { at <= then };
                if !holds {
                    let must = if strict { "must be before" } else { "must not be after" };
                    let message = format!("the {earlier}, {at}, {must} the {later}, {then}");
                    faults.push(Finding::new(Code::TimesOutOfOrder, message));
                }
            }
        };
    let record = ("last record time", lsu.record_time);
    let upgrade = ("upgrade time", lsu.upgrade);
    ordered(record, ("maximal sequencing time", lsu.max_sequencing), true);
    ordered(("lower bound of sequencing", lsu.lower_bound), upgrade, false);
    ordered(("topology's export time", lsu.topology_export), upgrade, false);
    ordered(("traffic's export time", lsu.traffic_export), upgrade, false);
    // The successor would take over what the old sequencer may still put in order.
    ordered(record, upgrade, true);
    let expected = serial.saturating_add(if lsu.after_failed && lsu.nothing_sequenced {
        2
    } else {
        1
    });
    if let Some(new) = lsu.new_serial
        && new != expected
    {
        let why = match lsu.after_failed && lsu.nothing_sequenced {
            true => "the successor of the failed upgrade is thrown away, and had the one between",
            false => "each synchronizer's is one more than the one's before it",
        };
        let message = format!("the new serial is {new}, expected {expected} after {serial}: {why}");
        faults.push(Finding::new(Code::SerialUnexpected, message));
    }
    faults
}

/// A time in HOCON: a colon may not stand in a value without quotes.
fn hocon(name: &str, at: Option<Timestamp>, option: &'static str) -> Vec<Word> {
    vec![
        format!("    {REPAIR}.{name}=\"").into(),
        given(at, option),
        "\"\n".into(),
    ]
}

fn variable(name: &str, lines: impl IntoIterator<Item = Vec<Word>>) -> Vec<Word> {
    let mut words = vec![Word::from(format!("- name: {name}\n  value: |\n"))];
    words.extend(lines.into_iter().flatten());
    words
}

/// The steps.
pub(super) fn steps(at: &Installation, with: &Parameters) -> Vec<Step> {
    let lsu = &with.lsu;
    let mut steps = bounds(at, with);
    let started = match lsu.nothing_sequenced && lsu.after_failed {
        true => {
            steps.push(by_scan(with));
            "configure-scan"
        }
        false => {
            steps.extend(by_sv_app(with));
            "configure-sv-app"
        }
    };
    steps.push(Step::ours(
        "verify",
        "Verify the SV",
        "Replicas, health of the apps, sequencer and mediator of the successor active, CometBFT caught up where there is one.",
        at.verify(with, given(lsu.new_serial, "new-serial"), started),
    ));
    steps
}

fn bounds(at: &Installation, with: &Parameters) -> Vec<Step> {
    let lsu = &with.lsu;
    let old = format!("env of the old sequencer, {}", at.names.sequencer);
    let max = hocon(settings::END_KEY, lsu.max_sequencing, "max-sequencing-time");
    let bound = "lsu-sequencing-bounds-override";
    let lower = hocon(
        &format!("{bound}.{}", settings::LOWER_KEY),
        lsu.lower_bound,
        "lower-bound",
    );
    let upgrade = hocon(
        &format!("{bound}.{}", settings::UPGRADE_KEY),
        lsu.upgrade,
        "upgrade-time",
    );
    vec![
        Step::people(
            "agree",
            "Agree on the times and numbers",
            "On a call with all SVs. R is the last record time that the broken synchronizer sequenced; `rekindle canton scan` \
             over every SV's logs shows how far each came, and who disagrees.",
            By::Everybody,
        )
        .block("agreed by all SVs", "yaml", agreed(lsu)),
        Step::operators(
            "keep-what-is-there",
            "Back up what there is",
            "Back up the databases of the apps, then the participant's, before anything is changed.",
            "keep-command",
            with.commands.keep.as_ref(),
        ),
        Step::people(
            "end-old-sequencer",
            "Set an end to the old sequencer",
            format!(
                "Add the variable to the {old} and restart it: nothing is sequenced by accident after that time. The old nodes \
                 go on serving what they have."
            ),
            By::Operator,
        )
        .destroys("the old synchronizer sequences nothing after that time")
        .block(
            "env of the old sequencer",
            "yaml",
            variable(settings::END, [max]),
        )
        .after(at.ready("the old sequencer is ready", at.serial.to_string().into(), &["sequencer"]))
        .after(at.is_set(
            "the old sequencer has its end",
            at.serial.to_string().into(),
            vec![("--lsu-max-sequencing-time", given(lsu.max_sequencing, "max-sequencing-time"))],
        )),
        Step::operators(
            "deploy-successor",
            "Deploy the successor's nodes",
            "Deploy the successor's sequencer and mediator, and CometBFT where it has one, beside the old ones, which stay. The \
             sequencer gets both times. After the first of them test messages can be seen.",
            "deploy-command",
            with.commands.deploy.as_ref(),
        )
        .block(
            "env of the successor's sequencer",
            "yaml",
            variable(settings::BOUNDS, [lower, upgrade]),
        )
        .after(at.ready(
            "the successor's sequencer and mediator are ready",
            given(lsu.new_serial, "new-serial"),
            &["mediator", "sequencer"],
        ))
        .after(at.is_set(
            "the successor's sequencer has its bounds",
            given(lsu.new_serial, "new-serial"),
            vec![
                ("--lsu-lower-bound", given(lsu.lower_bound, "lower-bound")),
                ("--lsu-upgrade-time", given(lsu.upgrade, "upgrade-time")),
            ],
        )),
    ]
}

fn agreed(lsu: &Lsu) -> Vec<Word> {
    let mut words = Vec::new();
    let mut line = |name: &str, value: Word| words.extend([Word::from(format!("{name}: ")), value, Word::from("\n")]);
    line("last record time (R)", given(lsu.record_time, "record-time"));
    line(
        "maximal sequencing time",
        given(lsu.max_sequencing, "max-sequencing-time"),
    );
    line("lower bound of sequencing", given(lsu.lower_bound, "lower-bound"));
    line("upgrade time", given(lsu.upgrade, "upgrade-time"));
    line("new serial", given(lsu.new_serial, "new-serial"));
    words
}

/// A failed upgrade on whose successor nothing was sequenced: scan's automation leads the validators too.
fn by_scan(with: &Parameters) -> Step {
    let values = vec![
        "rollForwardLsu:\n  enabled: true\n  upgradeTime: \"".into(),
        given(with.lsu.upgrade, "upgrade-time"),
        "\"\n".into(),
    ];
    Step::operators(
        "configure-scan",
        "Let scan roll forward",
        "Apply these values to scan. Validators see them there and follow by themselves.",
        "configure-command",
        with.commands.configure.as_ref(),
    )
    .destroys("the network moves to the successor; what was only on the failed one is given up")
    .block("values of scan's chart", "yaml", values)
}

fn by_sv_app(with: &Parameters) -> Vec<Step> {
    let lsu = &with.lsu;
    let values = vec![
        "rollForwardLsu:\n  newPhysicalSynchronizerSerial: ".into(),
        given(lsu.new_serial, "new-serial"),
        "\n  newPhysicalSynchronizerProtocolVersion: ".into(),
        given(lsu.protocol, "protocol-version"),
        "\n  exportTimes:\n    topologyExportTime: \"".into(),
        given(lsu.topology_export, "topology-export-time"),
        "\"\n    trafficExportTime: \"".into(),
        given(lsu.traffic_export, "traffic-export-time"),
        "\"\n    upgradeTime: \"".into(),
        given(lsu.upgrade, "upgrade-time"),
        "\"\n".into(),
    ];
    vec![
        Step::people(
            "wait-for-ingestion",
            "Wait until everything is ingested",
            "Wait until this participant's log at INFO has no new `Processing event at`, and every SV says so. Who has not seen \
             the last transactions disagrees afterwards.",
            By::Everybody,
        ),
        Step::operators(
            "configure-sv-app",
            "Let the SV app carry topology and traffic over",
            "Apply these values to the SV app. It needs the current and the legacy node configured, and \
             domain-migration-dump-path set.",
            "configure-command",
            with.commands.configure.as_ref(),
        )
        .destroys("the network moves to the successor")
        .block("values of the SV app's chart", "yaml", values),
        Step::people(
            "validators",
            "Have the validators follow",
            "Every validator's operator runs perform_manual_lsu in a console of the participant, with the times and the serial \
             that were agreed on.",
            By::Everybody,
        ),
    ]
}
