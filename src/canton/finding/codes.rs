//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

    // C0140 to C0149: dumps and databases as rows.
    /// A file or directory is no dump of PostgreSQL, or its beginning is damaged.
    NotADump = "C0140", Error, "give what pg_dump or pg_dumpall wrote, whole, or the address of the running database";
    /// A dump ends before its end, or a part of it is missing: a restore from it would lose data.
    DumpCutOff = "C0141", Error, "make the dump again, or copy it again whole; what could be read was used";
    /// Rows of a dump could not be read.
    DumpRowsBroken = "C0142", Error, "look at the dump at this place; dump the database with pg_dump and default options";
    /// A dump is of a kind that is not read natively.
    DumpUnsupported = "C0143", Error, "turn it into SQL with `pg_restore -f plain.sql DUMP`, and give that file";
    /// A running database could not be reached, or it refused.
    DatabaseRefused = "C0144", Error, "check address, user, password and the database's log; a dump of it does as well";

    // C0150 to C0169: a participant's database.
    /// A database holds no table of a participant's commitments.
    NoCommitmentTables = "C0150", Warning, "give the participant's own database: not the apps', a sequencer's or a mediator's";
    /// A database keeps commitments in tables that are not known, as Canton 3.6 and later do.
    NewCommitmentTables = "C0151", Warning, "use the participant's logs; commitments of this Canton can't be read from its database";
    /// A database does not say which synchronizer some of its commitments are of.
    SynchronizerUnnamed = "C0152", Info, "name the synchronizer by the index that is shown";
    /// Rows of a participant's database hold what is not known there.
    CommitmentRowsOdd = "C0153", Warning, "check that the database is a participant's, of Canton 3.0 to 3.5";
    /// Several participants' databases are in one dump.
    SeveralParticipants = "C0154", Error, "give one participant's database: `pg_dump DATABASE`, with `--schema` where they share one";

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
    /// An SV's contracts differ from those of SVs with more agreement, and they never agreed again.
    Forked = "C0402", Warning, "re-onboard it; its data dump must not be used";
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
