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
    NotReady = "C0125", Error, "wait until it is ready, or use another one";
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
    /// Two dumps are of the same node or SV.
    SameNodeTwice = "C0229", Warning, "give one dump of each SV; `rekindle canton identities diff` compares two of one";

    // C03: logs and evidence.
    /// A file is compressed, and ends or breaks off in the middle.
    CutOff = "C0301", Warning, "what could be read was used; give a whole copy of the file if there is one";

    // C04: the agreed timestamp.

    // C05: fetching.

    // C06: merging.

    // C07: Kubernetes: placing and scaling.

    // C08: runbooks.

    // C09: verification after a recovery.
}
