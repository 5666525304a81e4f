//! One SV is restored from its backups; the network is well.

use super::commands::several;
use super::parameters::{Installation, Parameters};
use super::step::{Check, Invocation, Step, Test};

/// The steps.
pub(super) fn steps(at: &Installation, with: &Parameters) -> Vec<Step> {
    let serial = || at.serial.to_string().into();
    let check = Invocation::canton(&["backup", "check"])
        .each("--apps", several(&with.apps, "apps"))
        .each("--participant", several(&with.participant, "participant"))
        .maybe("--identities", with.identities.as_deref())
        .option("--splice", at.splice.to_string());
    let background = match &with.commands.restored {
        Some(_) => {
            "Where it leaves the restore in the background, the operator's own check says whether that is complete: 0 if it is, \
             75 while it goes on; then the plan stops here, and goes on when it is run again."
        }
        None => {
            "It must not end before the restore is complete: without --restored-command nothing here can tell whether one goes \
             on in the background, and the next step would start the components on databases that are not whole."
        }
    };
    let mut restore = Step::operators(
        "restore",
        "Restore the storage and the databases",
        format!(
            "Restore CometBFT's storage and the databases of all components from the backups that were checked. How is a \
             matter of the installation; the command must be safe to run again, because after an interruption it is. {background}"
        ),
        "restore-command",
        with.commands.restore.as_ref(),
    )
    .destroys("what is in the databases and on the volumes now is overwritten")
    .before(at.stopped("no component of the SV runs", &[]));
    if let Some(command) = &with.commands.restored {
        restore = restore.after(Check {
            says: "the operator's own check says that the restore is complete",
            test: Test::Shell(command.clone()),
        });
    }
    vec![
        Step::ours(
            "check-backups",
            "Check that the backups are consistent",
            "The backup of the apps' databases must be strictly earlier than the participant's, both of one participant, \
             migration and less than 30 days old. Apps that are ahead of their participant are noticed weeks later.",
            check.clone(),
        )
        .overruled_if(
            "These backups are not proven to be good: read what was found. Restore from them all the same?",
            check.arg("--accept-unproven"),
        ),
        Step::ours(
            "scale-down",
            "Stop all components of the SV",
            "Scales the SV's deployments to 0 replicas and waits until their pods are gone: nothing may write while the \
             databases are restored. The other SVs go on without this one.",
            at.scale(true, &[]),
        )
        .destroys("the SV takes no part in the network until it is started again")
        .after(at.stopped("no component of the SV runs", &[])),
        Step::operators(
            "keep-what-is-there",
            "Keep a copy of what will be overwritten",
            "Snapshot the volumes and the databases as they are. If the restore turns out worse than what there was, this \
             is the only way back.",
            "keep-command",
            with.commands.keep.as_ref(),
        ),
        restore,
        Step::ours(
            "scale-up",
            "Start all components of the SV",
            "Scales the SV's deployments back to 1 replica. They catch up from the other SVs.",
            at.scale(false, &[]),
        )
        .after(at.ready("every component of the SV is ready", serial(), &[])),
        Step::ours(
            "verify",
            "Verify the SV",
            "Replicas, health of the apps, CometBFT caught up, sequencer and mediator active, and where logs are given the \
             first agreement on contracts with the other SVs since the start.",
            at.verify(with, serial(), "scale-up"),
        ),
    ]
}
