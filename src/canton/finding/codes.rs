//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

    // C02: identities.

    // C03: logs and evidence.
    /// A file is compressed, and ends or breaks off in the middle.
    CutOff = "C0301", Warning, "what could be read was used; give a whole copy of the file if there is one";
    /// An SV's evidence is larger than what is kept of one, and some comparisons are missing from it.
    EvidenceLeftOut = "C0350", Warning, "scan the logs of the last day before the incident only: less is kept of less";

    // C04: the agreed timestamp.
    /// At no tick did enough SVs agree with each other.
    NoAgreement = "C0401", Error, "give the evidence that is missing, or decide among yourselves for a row of the table with --quorum";
    /// Two SVs found that their contracts differ, and never agreed again.
    Forked = "C0402", Warning, "re-onboard the one that is in the minority; its data dump must not be used";
    /// An SV had not reached the recovery timestamp.
    Behind = "C0403", Warning, "re-onboard it, or let it copy the data dump of an SV that had";
    /// An SV's contracts of the recovery timestamp are gone.
    PrunedAway = "C0404", Warning, "let it copy another SV's data dump, or re-onboard it";
    /// Nothing is known about an SV.
    NoEvidence = "C0405", Warning, "give its logs, its participant's database or its evidence file";
    /// The recovery timestamp is closer to the agreed tick than was asked for, because contracts before it are gone.
    MarginShortened = "C0406", Warning, "transactions shortly before the timestamp may be missing in some SVs: choose an earlier row if these are not needed";
    /// The agreement rests on logs of Canton 3.6, which speak before the outcome of a comparison.
    WeakAgreement = "C0407", Warning, "compare ACS snapshots of the timestamp, or give the participants' databases";
    /// The search for agreement was stopped, because the evidence makes it too long.
    SearchStopped = "C0408", Warning, "give --after, so that less is searched, or --rule component";
    /// Fewer SVs than more than two thirds were asked to agree.
    QuorumTooSmall = "C0409", Warning, "the synchronizer orders nothing until more than two thirds of the SVs are back";
    /// Participants that are not in the list of SVs were compared with.
    OthersSeen = "C0410", Info, "if one of them is an SV, name all SVs with --svs: the quorum is of all";
    /// What others say about an SV can't be found, because it is not known which participant is its.
    ParticipantUnknown = "C0411", Warning, "say it with --svs 'NAME=PAR::identifier::fingerprint'";
    /// It is not said about which synchronizer an SV's comparisons are, and there are several.
    SynchronizerNotSaid = "C0412", Warning, "give that SV's logs as JSON lines or its database, which say it";
    /// An SV had reached the recovery timestamp, and was never seen to agree with those that support it.
    AgreementUnproven = "C0413", Warning, "compare its dump with another SV's before it is used, or let it copy one";
    /// An SV claims to have reached a time that has not come yet.
    FromTheFuture = "C0414", Warning, "look at that SV's clock and at where its evidence comes from; what is lost may be overstated";

    // C05: fetching.

    // C06: merging.

    // C07: Kubernetes: placing and scaling.

    // C08: runbooks.

    // C09: verification after a recovery.
}
