//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

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

    // C04: the agreed timestamp.

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

    // C08: runbooks.

    // C09: verification after a recovery.
}
