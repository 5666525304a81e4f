//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

    // C02: identities.

    // C03: logs and evidence.
    /// A file is compressed, and ends or breaks off in the middle.
    CutOff = "C0301", Warning, "what could be read was used; give a whole copy of the file if there is one";

    // C04: the agreed timestamp.

    // C05: fetching.

    // C06: merging.

    // C07: Kubernetes: placing and scaling.

    // C08: runbooks.
    /// This way of recovery is none on this release of Splice.
    WrongPath = "C0801", Error, "make the plan for the way that the release has";
    /// An argument would make the plan say something else than a person reads in it.
    NotShowable = "C0802", Error, "give the value without control characters and characters that nobody sees";
    /// A file would be read and written, or is two things at once.
    OutputIsInput = "C0803", Error, "choose another --out-dir, or give the file another name";
    /// The times contradict each other: something would be sequenced twice, or lost.
    TimesOutOfOrder = "C0804", Error, "agree on the times anew with all SVs, in this order";
    /// The number of the new synchronizer does not follow the one that is there.
    SerialUnexpected = "C0805", Error, "ask the other SVs on which number they agreed, and give it and the present one";
    /// A snapshot can only be taken at a time that has passed.
    TimeAhead = "C0806", Error, "give the agreed time in UTC; and look at this machine's clock";
    /// Topology of such an old release lacks signatures that later ones ask for.
    OldSnapshot = "C0807", Warning, "ask the other SVs for a snapshot of a node with a later release";
    /// The cluster's names are not those that the documentation gives.
    NamesDiffer = "C0808", Info, "the plan uses the cluster's names";
    /// A step waits for a value on which people agree, or which was not given.
    ValueMissing = "C0809", Warning, "run the same command again with this option; what was done stays done";
    /// What must be so before or after a step is not so.
    CheckFailed = "C0810", Error, "read what the check said, repair that, and run the same command again";
    /// A step's command failed.
    StepFailed = "C0811", Error, "read what it said, repair that, and run the same command again";
    /// A step that can't be undone, or that a person does, was not agreed to.
    NotAgreed = "C0812", Warning, "run the same command again when it may be done, with --yes and the step's name where nobody can be asked";
    /// The plan is not the one that was begun.
    PlanChanged = "C0813", Error, "give the options of the first run; or begin anew with another --journal, knowing what was done";
    /// The plan was carried out.
    PlanFinished = "C0814", Info, "nothing";

    // C09: verification after a recovery.
    /// A service gives no answer at all.
    NoAnswer = "C0901", Error, "see that the pod runs, and that the address leads to it; --wait goes on asking";
    /// A service or a deployment is not ready.
    NotReady = "C0902", Error, "wait (--wait), then read the pod's log and its events";
    /// What came is no answer of the service that was asked.
    OddAnswer = "C0903", Error, "open the address in a browser: it may be a login page, another service, or another release";
    /// The server did not let us look.
    NotAuthorised = "C0904", Error, "give a token for the audience of this app, of a user that may operate it";
    /// A node is up and does not serve.
    NotActive = "C0905", Error, "wait (--wait), then read the node's log";
    /// CometBFT does not know the newest blocks yet.
    CatchingUp = "C0906", Error, "wait (--wait): after a restore from a backup of a few hours this takes a while";
    /// CometBFT follows the network and has no say in it.
    NoVotingPower = "C0907", Warning, "wait until the SV's onboarding is complete; the other SVs add it to the validators";
    /// Another release answers than the one that was named.
    OtherRelease = "C0908", Warning, "make sure which release should run; the recovery differs from one to another";
    /// The deployments are not those of an SV, or it can't be told which are meant.
    Unrecognised = "C0909", Error, "look at the namespace and the serial; `rekindle canton scale` lists what there is";
    /// Something still runs that must stand still.
    StillRuns = "C0910", Error, "wait until its pods are gone, or see what started it again";
    /// The other SVs' commitments have not been seen to equal this one's since the restart.
    NoAgreementYet = "C0911", Error, "commitments are compared every half hour: wait for two of them, with fresh logs";
    /// This SV's contracts differ from another one's: a fork.
    Disagrees = "C0912", Error, "don't go on; find out with `rekindle canton timestamp` which side is the minority";
    /// The wallet holds less than before.
    BalanceLower = "C0913", Error, "don't transfer anything; compare the party with the one that the SV had";
    /// What was saved before is no balance.
    NoSavedBalance = "C0914", Error, "give the file that `rekindle canton verify --save-balances` wrote";
}
