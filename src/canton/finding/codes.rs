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

    // C06: merging.

    // C07: Kubernetes: placing and scaling.

    // C08: runbooks.

    // C09: verification after a recovery.
}
