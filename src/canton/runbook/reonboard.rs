//! An SV is re-onboarded with a new identity, and its amulets are recovered by a validator that has its keys
//! (SPEC-CANTON 4).

use super::commands::READ_IDENTITIES;
use super::parameters::{Installation, Parameters, given};
use super::step::{By, Check, Invocation, Step};

/// The steps.
pub(super) fn steps(at: &Installation, with: &Parameters) -> Vec<Step> {
    let mut steps = keys(at, with);
    steps.extend(validator(at, with));
    steps.extend(fresh(at, with));
    steps
}

fn keys(at: &Installation, with: &Parameters) -> Vec<Step> {
    let extracted = at.file("participant_identities.json");
    let check = Invocation::canton(&["identities", "check"]).arg(extracted.as_str());
    let mut steps = vec![
        Step::ours(
            "check-identities",
            "Check the dump of the SV's identities",
            "The participant's keys are what the amulets depend on: every fingerprint is recomputed, and keys that only a \
             KMS holds are named.",
            at.check_identities(with, false),
        ).overruled(READ_IDENTITIES),
        Step::ours(
            "extract",
            "Extract the participant's identities",
            "Writes the participant's part to a file of its own, which is as secret as the keys in it.",
            Invocation::canton(&["identities", "extract"])
                .arg(given(with.identities.as_ref(), "identities"))
                .option("--out", extracted.as_str()),
        )
        .after(Check::file("the extracted identities are there", extracted))
        .after(Check::command("the extracted identities are whole", check)),
    ];
    if !with.reonboard.is_gone {
        steps.push(
            Step::ours(
                "stop-failed-sv",
                "Stop what is left of the failed SV",
                "Two participants with the same keys must never run at once.",
                at.scale(true, &[]),
            )
            .destroys("the failed SV does not run again")
            .after(at.stopped("no component of the failed SV runs", &[])),
        );
    }
    steps.push(
        Step::people(
            "offboard",
            "Have the failed SV offboarded",
            "A majority of the SVs accepts a vote on OffboardMember for the failed SV. Only afterwards can its name be \
             onboarded anew.",
            By::Everybody,
        )
        .destroys("the failed SV's party leaves the DSO"),
    );
    steps
}

fn validator(at: &Installation, with: &Parameters) -> Vec<Step> {
    let extra = &with.reonboard;
    let extracted = at.file("participant_identities.json");
    let namespace = || given(extra.validator_namespace.as_ref(), "validator-namespace");
    let mut deploy = Step::operators(
        "deploy-validator",
        "Deploy a standalone validator with the SV's keys",
        "Deploy a validator by the usual steps, with the SV's participant's identities and the SV's name as the party's \
         hint. The new participant identifier must never have been used before.",
        "deploy-command",
        with.commands.deploy.as_ref(),
    );
    if !extra.is_gone {
        deploy = deploy.before(at.stopped("no component of the failed SV runs", &[]));
    }
    let create = vec![
        "kubectl create secret generic participant-bootstrap-dump --namespace ".into(),
        namespace(),
        format!(" --from-file=content={}\n", crate::canton::shell::quoted(&extracted)).into(),
    ];
    let values = vec![
        "participantIdentitiesDumpImport:\n  secretName: participant-bootstrap-dump\n  newParticipantIdentifier: "
            .into(),
        super::quoting::yaml_word(given(extra.new_identifier.as_ref(), "new-participant-identifier")),
        "\nmigrateValidatorParty: true\nvalidatorPartyHint: ".into(),
        super::quoting::yaml_word(given(extra.sv_name.as_ref(), "sv-name")),
        "\n".into(),
    ];
    let wallet = Invocation::canton(&["verify"])
        .option("--wallet-url", given(extra.wallet_url.as_ref(), "wallet-url"))
        .option(
            "--wallet-token-file",
            given(extra.wallet_token_file.as_ref(), "wallet-token-file"),
        );
    let wallet = match &extra.balances {
        Some(balances) => wallet.option("--balances-before", balances.as_str()),
        None => wallet.option("--save-balances", at.file("balances_recovered.json")),
    };
    vec![
        deploy.block("before the deployment: the secret", "sh", create).block(
            "values of the validator's chart",
            "yaml",
            values,
        ),
        Step::ours(
            "verify-balance",
            "Verify the recovered balance",
            "The validator's wallet must show what the SV owned; without balances saved earlier they are shown and saved, \
             and you compare.",
            wallet.option("--wait", "30m"),
        ),
    ]
}

fn fresh(at: &Installation, with: &Parameters) -> Vec<Step> {
    // The network may have gone on since: the fresh node has the serial of the synchronizer that runs now.
    let serial = || given(with.reonboard.new_serial.or(Some(at.serial)), "new-serial");
    vec![
        Step::operators(
            "deploy-sv",
            "Deploy and onboard a fresh SV",
            "Deploy a new SV node with the SV's identity (name and key of its approval), and otherwise with empty databases \
             and volumes.",
            "configure-command",
            with.commands.configure.as_ref(),
        )
        .destroys("databases and volumes of the failed SV must not be reused; what is left in them is given up"),
        Step::ours(
            "verify-sv",
            "Verify the fresh SV",
            "Health of the apps, CometBFT caught up with voting power, sequencer and mediator active.",
            at.verify(with, serial(), "deploy-sv"),
        ),
        Step::people(
            "transfer",
            "Send the amulets to the new SV",
            "Log in to the new SV's wallet and copy its party id. In the validator's wallet create a transfer offer for all \
             amulets to that party; compare the whole party id, not its beginning.",
            By::Operator,
        )
        .destroys("amulets that were sent to a wrong party are lost"),
        Step::people(
            "accept",
            "Accept the transfer",
            "In the new SV's wallet accept the offer, and see that the amulets arrived as expected. Keep the validator \
             until then.",
            By::Operator,
        ),
        Step::ours("verify", "Verify the SV once more", "As before, when all is over.", at.verify(with, serial(), "deploy-sv")),
    ]
}
