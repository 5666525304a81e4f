//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

    // C02: identities.

    // C03: logs and evidence.
    /// A file is compressed, and ends or breaks off in the middle.
    CutOff = "C0301", Warning, "what could be read was used; give a whole copy of the file if there is one";
    /// A log could not be opened, or not be read to its end.
    LogUnreadable = "C0302", Error, "make the file readable, or copy it from a sound disk, and scan again: what else was given is used";
    /// A log became shorter while it was read.
    LogShrank = "C0303", Warning, "it was rotated or cut meanwhile; scan again, with the rotated file too";
    /// The commitment processor says at a level that this log does not show that commitments were correct.
    LevelHidesAgreement = "C0304", Warning, "take the participant's database instead (--participant-db), which knows it at any log level; for what is still to come, set the participant's log level to DEBUG";
    /// The commitment processor of earlier releases is switched off, so that no log says that a commitment was correct.
    ProcessorDisabled = "C0305", Warning, "take the participant's database (--participant-db); logs of the participant at DEBUG give weak evidence";
    /// Nothing in the logs was written by a participant's commitment processor.
    NotAParticipantsLog = "C0306", Warning, "give the logs of the container `participant`, not those of the sequencer, the mediator or an app; or its database (--participant-db)";
    /// The participant's log shows the level at which agreement is said, and it never is.
    NothingCompared = "C0307", Warning, "give older logs of the same participant, from before the incident; if these are all, ask its database (--participant-db)";
    /// The logs are of another time than the one asked for.
    NothingInTime = "C0308", Warning, "widen --after and --before, or give the logs of that time";
    /// The sentence that proves agreement stands where no participant wrote it: in output of tools, in quotations.
    Unattributed = "C0309", Info, "those places were not used; give the participant's own logs if they were meant";
    /// The logs are of several participants.
    OwnersConflict = "C0310", Error, "give the logs of one participant at a time, or say whose they are: NAME=PAR::id:PATH";
    /// The logs are not of the participant that was named.
    OwnerDiffers = "C0311", Error, "name the participant whose logs they are; if it is right, one of the files is another's: leave it out";
    /// The logs do not say which participant wrote them.
    OwnerUnknown = "C0312", Info, "say it where it is known, NAME=PAR::id:PATH; else it is inferred from what the other Super Validators' logs say";
    /// There was more evidence than is kept.
    TooManyFacts = "C0313", Warning, "limit the time with --after and --before";
    /// Records about commitments are cut short, or in a form that this program does not know.
    NotUnderstood = "C0314", Warning, "they were not used; if there are many, the logs were changed on their way: take them where they were written";
    /// The participant reported commitments whose signatures are wrong or which contradict themselves.
    Alarms = "C0315", Warning, "a counterparty may be faulty or compromised: read these records (ACS_COMMITMENT_ALARM) before a timestamp is agreed";
    /// The logs are empty.
    NoBytes = "C0316", Warning, "give the files into which the participant's log was rotated";
    /// Counterparties' commitments differ from the participant's own: their contracts are not the same.
    Mismatches = "C0317", Warning, "let `rekindle canton timestamp` tell from the evidence of all Super Validators who is in the minority";
    /// Commitments were compared, and only from the absence of a mismatch it follows that they agree.
    OnlyWeak = "C0318", Warning, "take the participant's database (--participant-db), which says what was matched";
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
