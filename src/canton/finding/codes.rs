//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.
    /// The apps have read further than the participant's ledger reaches: their backup is newer than the participant's, and after a restore they would hold what the participant never had.
    AppsAhead = "C0101", Error, "do not restore these together: take an older backup of the apps, or a newer one of the participant";
    /// By the clocks the apps' backup was taken after the participant's, and there is no proof by offsets.
    TakenAfter = "C0102", Error, "do not restore these together: take an older backup of the apps, or a newer one of the participant";
    /// Neither offsets nor times prove that the apps' backup is from before the participant's.
    OrderUnproven = "C0103", Warning, "give dumps of the databases, whose offsets prove it, or backups of which the apps' was complete before the participant's was started; where only a time zone is missing, give --tz";
    /// The backups overlap. The scripts that come with Splice accept that, the rule does not: the apps' backup has to be complete before the participant's is started.
    LaxOrder = "C0104", Warning, "let the backup job wait for the apps' backup before it starts the participant's";
    /// Offsets prove that these backups fit together, although by the clocks the apps' was taken after the participant's: that was luck.
    TimesContradict = "C0105", Warning, "these can be restored; let the backup job take the apps' backup first and wait for it, or the next ones may not fit";
    /// Offsets prove the order; the times alone would not.
    TimesOverlap = "C0106", Info, "nothing; the offsets are the better proof";
    /// Offsets of the apps, or of the participant, could not be read.
    OffsetUnreadable = "C0107", Warning, "check that the dump is of Splice's or Canton's own database; the order is then judged by times";
    /// The apps' databases say of no store how far it has read the ledger.
    NothingIngested = "C0108", Warning, "check that the dump is of the database that the apps use, and not of a new one";
    /// The participant's database holds no ledger: it is new, or of another node.
    EmptyParticipant = "C0109", Error, "find the database that the participant uses: its name often ends in the migration's number";
    /// The participant is pruned beyond what an app has read: the app can't go on from there.
    PrunedBeyondApp = "C0110", Error, "take a newer backup of the apps that still is older than the participant's";
    /// The participant is pruned beyond what one of the apps' stores has read, while others are ahead of that: a store that is no longer used, or one that can't go on.
    PrunedBeyondStore = "C0111", Warning, "find out whether the store is still in use, as those of removed wallet users are not; if it is, take a newer backup of the apps";
    /// The apps followed another participant than the one in the participant's backup.
    OtherParticipant = "C0112", Error, "do not restore these together: find the backup of the participant that the apps followed";
    /// The apps' databases do not say which participant they followed.
    LineageUnknown = "C0113", Info, "make sure that both backups are of the same node; the order of offsets alone does not show that";
    /// Parts of the backup are from different migrations.
    MigrationsDiffer = "C0114", Warning, "use backups of one migration: offsets of different migrations can't be compared";
    /// Participant, sequencer and mediator are of different synchronizers, or of different serials of one.
    SynchronizersDiffer = "C0115", Warning, "a backup from before an upgrade of the synchronizer can be restored only while the old one's nodes still serve";
    /// A database is not what it was given as.
    WrongRole = "C0116", Error, "give it under its own name, and look for the right one";
    /// Several participants' databases were given.
    SeveralLedgers = "C0117", Warning, "give the one that would be restored";
    /// A backup of the apps or of the participant is missing.
    RoleMissing = "C0118", Error, "give both: --apps and --participant, or --volumes with both";
    /// The backup is older than sequencers keep what a node needs to catch up.
    TooOld = "C0119", Error, "look for a newer backup; a node restored from this one can't catch up with the network";
    /// It is not known how old the backup is.
    AgeUnknown = "C0120", Warning, "find out when it was taken; where only a time zone is missing, give --tz";
    /// The backup says that it was taken in the future.
    InFuture = "C0121", Warning, "check the clocks of the machines, --now and --tz";
    /// There should be a newer backup: they are taken every four hours.
    CadenceMissed = "C0122", Info, "look for a newer backup; the node catches up from this one too";
    /// A part of a Super Validator's backup was not given. It has no order to keep with the others.
    PartNotGiven = "C0123", Info, "make sure that there is a backup of it; a validator that is no SV has none";
    /// A running database was read, not a backup of it: what is said of it is true of this moment.
    RunningDatabase = "C0124", Info, "take this for a dress rehearsal, and check the backups themselves too";
    /// A snapshot or a backup run is not one that can be restored.
    SnapshotNotReady = "C0125", Error, "wait until it is ready, or use another one";
    /// Of a snapshot or a backup run its name does not tell what it is of.
    Unclassified = "C0126", Info, "it was not used; give dumps where the names of volumes tell nothing";
    /// There was more in a database than is looked at one by one.
    TooMuch = "C0127", Warning, "check that the dump is of Splice's own database; the largest offset was found all the same";
    /// The dump of identities can't be relied on.
    IdentitiesUnverified = "C0128", Warning, "see `rekindle canton identities check`, and take a new dump while the node still runs";
    /// The dump of identities is of another participant than the one in the backup.
    IdentitiesOfOther = "C0129", Error, "find the identities of this node; with those of another one nothing is recovered";

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
    /// The file can't be read as JSON, so that nothing can load it.
    NotJson = "C0201", Error, "fetch or copy the dump again, and check the copy; an earlier backup is better than this one";
    /// Something else was stored where a dump belongs: an error, a web page, nothing.
    AnswerStored = "C0202", Error, "the backup was never made: fetch the identities again, and look at every backup since the last that passes this check";
    /// The file is JSON, but no dump of identities.
    NotIdentities = "C0203", Error, "give the answer of /api/sv/v0/admin/domain/identities-dump, or the SV app's automatic backup sv_identities_*.json";
    /// The documented commands wrote two different files to one name, and the SV app can't load what came out.
    CollidedMerge = "C0204", Error, "take the full identities from the backup, and merge again with `rekindle canton merge` under a new name";
    /// Only one node's identities are here: enough to re-onboard through a validator, not for the network's recovery.
    OnlyOneNode = "C0205", Error, "give the full dump of which this was extracted";
    /// The SV app looks for the nodes one level higher than they stand.
    WrappedTwice = "C0206", Error, "take one level off: jq .identities FILE > OTHER";
    /// A field is written twice, and which of the two is meant depends on who reads it.
    DuplicateField = "C0207", Error, "fetch the dump again: nothing that writes dumps does this";
    /// A byte order mark stands before the JSON, which the apps' reader does not take.
    ByteOrderMark = "C0208", Warning, "remove the first three bytes, or fetch the dump again without a tool that adds them";
    /// A field that every dump has is missing, empty or of another kind.
    FieldMissing = "C0209", Error, "fetch the dump again from a running node; what is not in it can't be recovered from it";
    /// A node stands in the place of another.
    WrongSlot = "C0210", Error, "put each node in its own place: participant PAR::, sequencer SEQ::, mediator MED::; best, fetch the dump again";
    /// A key in the dump can't be read, so that it can't be imported.
    KeyUnreadable = "C0211", Error, "use another backup: this key can't be recovered from this one";
    /// A key is not the one whose fingerprint it carries.
    FingerprintWrong = "C0212", Error, "use another backup: this one was changed or damaged";
    /// The halves of a key pair do not belong together, so that nothing can be signed or decrypted with it.
    HalvesDiffer = "C0213", Error, "use another backup: this one was changed or damaged";
    /// A key could not be proven, because its algorithm is not computed with here.
    KeyUnproven = "C0214", Info, "nothing contradicts it; that it works shows when it is imported";
    /// The key that the node's identity is made of is not in the dump.
    NamespaceKeyMissing = "C0215", Error, "use another backup, or the KMS if the key is there: without this key the node can't be itself again";
    /// The node has no key for something that it must do.
    PurposeMissing = "C0216", Error, "use another backup: this one does not hold all of the node's keys";
    /// The same key stands in the dump more than once.
    DuplicateKey = "C0217", Warning, "compare with another backup: a key may be missing in whose place this one stands";
    /// The keys are in a KMS, and the dump holds only their names there.
    KeysInKms = "C0218", Info, "make sure that the KMS still has these keys and that the recovered node may use them";
    /// Some keys are in the dump, others in a KMS.
    MixedKeys = "C0219", Warning, "recover with the KMS at hand; neither the dump nor the KMS is enough alone";
    /// The snapshot of the topology can't be read.
    SnapshotUnreadable = "C0220", Error, "fetch the dump again from a running node, or use another backup";
    /// The snapshot of the topology is another node's.
    SnapshotForeign = "C0221", Error, "use another backup: keys and topology of different nodes were put together";
    /// The topology names a key as the node's that the dump does not hold.
    TopologyKeyMissing = "C0222", Error, "use another backup: the node can't act with the keys of this one alone";
    /// Splice refuses topology snapshots of nodes as old as this one (Missing authorizers ... OwnerToKeyMapping).
    OldRelease = "C0223", Warning, "have a newer dump if the node still runs; else expect `Missing authorizers` and ask support before importing";
    /// Others on this machine can read the private keys.
    ReadableByOthers = "C0224", Warning, "chmod 600 the file, and think of who could have copied it";
    /// The SV's party is not in the namespace of its participant.
    PartyElsewhere = "C0225", Info, "usual only where the party was moved between participants";
    /// Dumps of one network name different synchronizers.
    DomainsDiffer = "C0226", Error, "find out which of the dumps is of another network or from before a migration";
    /// A field that is not known stands in the dump; it is kept as it is.
    FieldUnknown = "C0227", Info, "nothing to do: a newer release may write it";
    /// An id is not of the form that Canton gives its nodes.
    IdMalformed = "C0228", Error, "fetch the dump again, or use another backup";
    /// Two dumps are of the same node, as backups of one SV are.
    SameNodeTwice = "C0229", Info, "usual among one SV's backups, wrong among dumps of different SVs; `identities diff` compares two";
    /// The file could not be read.
    FileUnreadable = "C0230", Error, "check the path and who may read it";
    /// The topology was changed or damaged: a signature in it does not fit what it signs.
    TopologySignatureWrong = "C0231", Error, "use another backup: synchronizers refuse this topology";
    /// The topology gives the node a key that never agreed: newer releases refuse it (Missing authorizers).
    AuthorizersMissing = "C0232", Warning, "have a newer dump if the node still runs; else ask support before importing";

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
    /// Words stand before records of which it can't be told whether a carrier of logs wrote them, or a logger that quotes.
    PerhapsQuoted = "C0319", Warning, "look at the file at this place: if another program quotes the lines there, leave the file out, and give the log where the participant wrote it";
    /// A file ends with a piece of a line, and the rest of the line is not at the beginning of the file after it.
    PieceAlone = "C0320", Warning, "give the file into which the log went on, under the name that the rotation gave it";
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
    /// The release of Splice has no use for a data snapshot: the network comes back another way.
    ReleaseRollsForward = "C0501", Error, "use the roll-forward logical synchronizer upgrade: rekindle canton runbook roll-forward-lsu";
    /// The release of Splice is not known, so that it is not known either whether it can use a data snapshot.
    ReleaseUnknown = "C0502", Info, "give --splice with the release that the SV app runs";
    /// The answer or file is no data snapshot.
    NotASnapshot = "C0503", Error, "check the address and the token; nothing was kept of the answer";
    /// The document breaks off or is damaged.
    DamagedSnapshot = "C0504", Error, "fetch it again";
    /// The data snapshot lacks something that is needed to import it.
    IncompleteSnapshot = "C0505", Error, "do not place it; fetch it again, and ask support where it stays so";
    /// The data snapshot is of another time than was agreed.
    WrongTimestamp = "C0506", Error, "fetch it again for the agreed time; all SVs must use the same";
    /// The data snapshot is for another migration than was expected.
    WrongMigration = "C0507", Error, "fetch it again with --migration-id; all SVs must use the same";
    /// The contracts are in a format that Splice 0.5.0 and later refuse to import.
    OldAcsFormat = "C0508", Error, "fetch the snapshot from an SV app of the release that will import it";
    /// The data snapshot refers to files that are in the pod only.
    SeparateFiles = "C0509", Error, "fetch it through the service, which gives contents, not paths";
    /// The participant has pruned its contracts past the timestamp.
    PrunedPastTimestamp = "C0510", Error, "agree on a later timestamp, or copy the dump of an SV that still has this one, or onboard anew";
    /// The timestamp is too late: the participant has not processed everything up to it.
    TimestampTooLate = "C0511", Error, "agree on an earlier timestamp; --probe tries some";
    /// The timestamp is before the first event that the participant knows.
    TimestampTooEarly = "C0512", Error, "agree on a later timestamp";
    /// No event has just this record time, which Splice 0.5.5 and later insist on unless they are forced. Nothing is pruned.
    NotARecordTime = "C0513", Error, "ask again with --force, which takes the agreed time as it is";
    /// The SV app limits how often it is asked. This has nothing to do with the timestamp.
    ServerBusy = "C0514", Error, "run the same again in a few minutes, or with more --retries";
    /// The app, its participant or its sequencer does not answer; both must run while a snapshot is made.
    ServerUnavailable = "C0515", Error, "start participant and sequencer, wait until they are ready, and run the same again";
    /// The app, or a proxy before it, gave up waiting for the snapshot.
    ServerTimedOut = "C0516", Error, "raise the request timeout of the SV app and of the ingress, ask through a port-forward, or limit the snapshot with --party-id";
    /// There is no such service at this address.
    NoSuchService = "C0517", Error, "check the host name and path of --url; from Splice 0.6.7 on the service is gone: rekindle canton runbook roll-forward-lsu";
    /// The token is missing, expired, or of a user who is no administrator of the participant.
    NotAllowed = "C0518", Error, "get a new token of the SV's administrator, and run the same again";
    /// The server refused the request.
    ServerRefused = "C0519", Error, "look into the SV app's log at this time";
    /// The server could not be reached, or its answer broke off.
    ServerUnreachable = "C0520", Error, "check address, certificates and proxies, and run the same again";
    /// The snapshot is of an earlier timestamp than was asked for, because that was too late.
    EarlierTimestamp = "C0521", Warning, "place it only if all SVs agree on this timestamp: tell them, and have them fetch theirs for it";
    /// A transfer could not go on where it had broken off, and began anew.
    BeganAnew = "C0522", Info, "nothing has to be done";
    /// The file was there already, complete and good.
    AlreadyThere = "C0523", Info, "nothing has to be done; --replace fetches it again";
    /// There is not enough room on the disk.
    NoRoom = "C0524", Error, "make room, or give --out on another disk";
    /// The answer is larger than was allowed.
    TooLarge = "C0525", Error, "give a larger --max-size if the size is plausible";

    // C06: merging.
    /// The file given as identities is a merged dump already.
    AlreadyMerged = "C0601", Error, "give the identities themselves; or say --from-merged to take those of this dump";
    /// The file given as data has the identities of an SV in it.
    DataHasIdentities = "C0602", Error, "give the data snapshot alone; or say --donor if it is another SV's dump, whose identities are left out";
    /// The users and rights on the participant are those of another SV.
    DonorsUsers = "C0603", Warning, "give --users own with --own-users FILE, or --users empty and create the users again";
    /// The dump of another SV may hold the contracts of its own party, to which this SV has no right.
    DonorsParty = "C0604", Warning, "have the donor fetch with --party-id of the DSO party, and say --dso-only";
    /// The data snapshot has members that no known release writes.
    UnknownMembers = "C0605", Error, "do not place it; ask which release wrote it";
    /// The file that was written does not read back as it should.
    NotReadBack = "C0606", Error, "run the same again, on another disk if it stays so";
    /// The file given for the users holds none.
    NoUsers = "C0607", Error, "give a dump of this SV that has participant_users, or --users empty";

    // C07: Kubernetes: placing and scaling.
    /// A deployment can't be told for certain to be one part of the SV's installation, so that it is not touched.
    PartUnclear = "C0701", Error, "correct its label app, or leave it out by its name with --except";
    /// A part that was named is not in this namespace.
    NoSuchPart = "C0702", Warning, "look at what there is with: kubectl get deployments";
    /// The namespace has none of the SV's deployments that were asked for.
    NoPart = "C0703", Error, "check the namespace and the cluster's context";
    /// An autoscaler changes how many pods there are; at none it rests, and it takes over again from one on.
    Autoscaled = "C0704", Info, "after going up, look at the autoscaler's bounds";
    /// A part runs more than once, which Splice's charts do not do; going up again brings one pod.
    SeveralReplicas = "C0705", Info, "note the number, and go up with --replicas where it is meant";
    /// Pods that were to be stopped are still there, and may still write to what is about to be restored.
    PodsRemain = "C0706", Error, "look at the pods with kubectl describe: grace periods, finalizers, a lost machine; then run the same again";
    /// A part was started, and does not become ready.
    PodNotReady = "C0707", Error, "look at the pod's events and logs with kubectl describe and kubectl logs; then run the same again";
    /// Something else changes how many pods there are: GitOps, an operator, a person.
    ScaledBack = "C0708", Error, "stop what sets it back, then run the same again";
    /// The cluster refused, or did not answer.
    ClusterRefused = "C0709", Error, "check the cluster, then run the same again";
    /// The app that should take the file has no pod that runs.
    NoPod = "C0710", Error, "start the app, wait until its pod runs, and run the same again";
    /// The app has more than one pod, and one volume that both may write to.
    SeveralPods = "C0711", Error, "wait until one is left, or scale the app to 1, and run the same again";
    /// The container can't take the file.
    ContainerUnfit = "C0712", Error, "look at the pod with kubectl describe, and at --app, --container and --path";
    /// The container runs and is not ready; it can take the file all the same.
    ContainerNotReady = "C0713", Info, "nothing has to be done for the file; look at the app's log";
    /// The file would not outlive the pod, or can't be written there.
    NotPersistent = "C0714", Error, "configure the app with the volume for migration dumps (domainMigrationDumpPath or migration.pvc of the chart), or correct --path";
    /// The volume has too little room for the file.
    NoRoomOnVolume = "C0715", Error, "make room on the volume or enlarge its claim, and run the same again";
    /// Another file has the target's name.
    OtherFileThere = "C0716", Error, "compare the two; --replace puts this one in its place and keeps the other under another name";
    /// The target is the very file already.
    AlreadyPlaced = "C0717", Info, "nothing has to be done";
    /// Earlier tries were interrupted, and what they left was removed.
    LeftoversRemoved = "C0718", Info, "nothing has to be done";
    /// The container did not take all of the file; the target is as it was.
    NotWritten = "C0719", Error, "see what the container said, for example that the volume is full; then run the same again";
    /// What is in the container is not what was sent.
    NotTheSame = "C0720", Error, "run the same again; where it stays so, the volume or the connection is damaged";
    /// The local file could not be read to its end as it was when it was checked.
    FileChanged = "C0721", Error, "see that nothing else writes to the file, and run the same again";
    /// The file is no migration dump that the app could load, and was not sent.
    NotAMergedDump = "C0722", Error, "make the dump with rekindle canton merge, and place that";

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
    /// What a step began still goes on in the background.
    GoesOn = "C0814", Warning, "wait, then run the same command again: it looks first, and does not begin the step a second time while it goes on";

    // C09: verification after a recovery.
    /// A service gives no answer at all.
    NoAnswer = "C0901", Error, "see that the pod runs, and that the address leads to it; --wait goes on asking";
    /// A service or a deployment is not ready.
    NotReadyYet = "C0902", Error, "wait (--wait), then read the pod's log and its events";
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
    /// A sequencer does not have the times on which the SVs agreed for the upgrade.
    SettingMissing = "C0915", Error, "add the variable to the sequencer as the runbook shows it, and let the deployment restart";
}
