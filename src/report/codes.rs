//! The register of findings. Codes are never reused.

use super::register::register;

register! {
    /// Seqnos that no file holds.
    Gap = "L0101", Error, "look for the missing chunk in other copies of the ledger, in read-only ledger directories and in backups; `rekindle compare` says which copy has it";
    /// A file's name and its first entry disagree about the first seqno.
    NameDisagrees = "L0102", Error, "the contents were read in their right place; give the file the name its entries ask for, in a copy of the directory";
    /// A file is named like a chunk but can't be parsed as one.
    UnreadableName = "L0103", Warning, "it was not read; if it is a chunk, restore its name (ledger_FIRST-LAST.committed)";
    /// A chunk written by a recovery that never opened.
    UnfinishedRecovery = "L0104", Info, "a new recovery discards it; to examine it, give --include-recovery";
    /// A file set aside by CCF.
    SetAside = "L0105", Info, "nothing; CCF does not read it";
    /// A chunk that is not committed in a read-only directory.
    OpenInReadOnly = "L0106", Info, "CCF does not read it there; give its directory first if it is the main one";
    /// A chunk with no whole entry in it.
    EmptyChunk = "L0107", Info, "nothing; CCF deletes such a file at start";
    /// The ledger does not begin at seqno 1, and no snapshot covers what is missing.
    LateStart = "L0108", Error, "give the directory that holds the earlier chunks, or start from a snapshot with --snapshots and --from-snapshot";
    /// Something that is named like a chunk but is no file.
    NotAFile = "L0113", Warning, "it was not read; move it out of the ledger's directory";
    /// The same seqnos are in two files, with the same bytes.
    SpareAgrees = "L0109", Info, "nothing; one of the two was read";
    /// The same seqnos are in two files, with different bytes.
    SpareDiffers = "L0110", Error, "the file read is the one the verdict speaks of; run `rekindle compare` on the directories apart to see which is right";
    /// A complete chunk does not end with a signature transaction.
    ChunkEndsUnsigned = "L0111", Error, "the chunk was cut or changed; take it from another copy";
    /// A file became shorter while it was read.
    Shrank = "L0112", Error, "something else writes to this ledger: stop it, or examine a copy, and run again";
    /// A chunk's header word or the size of its positions table is wrong.
    ChunkHeader = "L0201", Error, "the entries were read by their own headers; take the chunk from another copy";
    /// The positions table points elsewhere than the entries.
    Position = "L0202", Error, "the entries themselves are sound if nothing else is reported; take the chunk from another copy";
    /// The size in an entry's header is not its extent.
    EntrySize = "L0203", Error, "take the chunk from another copy";
    /// Entries that can't be read.
    EntriesLost = "L0204", Error, "take the chunk from another copy; a recovery from this one would end before this entry";
    /// The last entry of an open chunk is cut off or empty, as a crash leaves it.
    TornTail = "L0205", Warning, "a recovery drops it; nothing signed is lost with it";
    /// A complete chunk ends before the entry that its name or table promises.
    ChunkEndsEarly = "L0206", Error, "the chunk was cut; take it from another copy";
    /// The writes of an entry can't be parsed.
    Writes = "L0207", Error, "take the chunk from another copy";
    /// An entry is not the one that was signed.
    EntryDiffers = "L0208", Error, "take the chunk from another copy; a recovery from this one would end before this entry";
    /// A value or a private domain lies where its file was never written.
    NeverWritten = "L0213", Error, "it was not read; take the chunk from another copy";
    /// The view goes backwards.
    ViewGoesBack = "L0209", Error, "entries of two histories are mixed; compare the copies of this ledger";
    /// An entry has flags that CCF sets only elsewhere, or never.
    EntryFlags = "L0210", Error, "do not recover from this ledger before you know who wrote this";
    /// An entry of a type that the version which wrote the entries before it no longer writes.
    EntryType = "L0211", Error, "do not recover from this ledger before you know who wrote this";
    /// The view rises further than elections can bring it.
    ViewTooHigh = "L0212", Error, "take the chunk from another copy; a recovery from this one would end before this entry";
    /// The root of all entries so far is not the one recorded in a signature transaction.
    RootDiffers = "L0301", Error, "an entry before this one was changed, added or removed, or belongs to another history; compare the copies of this ledger";
    /// A node's signature does not verify.
    NodeSignature = "L0302", Error, "take the chunk from another copy; nothing from the last proven signature on can be relied on";
    /// The service's COSE signature does not verify.
    CoseSignature = "L0303", Error, "take the chunk from another copy; nothing from the last proven signature on can be relied on";
    /// The signing node is not one the ledger knows.
    UnknownNode = "L0304", Error, "the entries from the last proven signature on were not signed by this service";
    /// The signing node was not trusted at that seqno.
    UntrustedNode = "L0305", Error, "the entries from the last proven signature on were signed by a node that had no right to";
    /// The certificate in a signature holds another key than the one the ledger knows for that node.
    OtherNodeKey = "L0306", Error, "take the chunk from another copy";
    /// A signing node's certificate is not endorsed by the service.
    NotEndorsed = "L0307", Error, "the node that signed was not made part of this service by its key";
    /// A signature transaction speaks of another transaction than itself.
    SignatureFields = "L0308", Error, "take the chunk from another copy";
    /// A signature transaction that can't be read, or that writes what it may not.
    SignatureMalformed = "L0309", Error, "take the chunk from another copy";
    /// The tree in the last signature transaction does not have the signed root.
    TreeDiffers = "L0310", Error, "take the chunk from another copy";
    /// Entries after the last signature.
    Unsigned = "L0311", Info, "a recovery drops them: they were never committed";
    /// The last signature transaction holds, in bytes that no signature covers, what CCF does not write there.
    SignatureShape = "L0314", Warning, "everything before it is proven; take the chunk from another copy if there is one";
    /// No signature verifies at all.
    NothingSigned = "L0312", Error, "nothing here can be recovered; look for another copy of the ledger";
    /// A table that decides who may sign holds a value that can't be read.
    TrustValue = "L0313", Error, "take the chunk from another copy";
    /// A signature transaction lacks a signature that this service's version always writes, or has one it never writes.
    SignatureOutOfPlace = "L0315", Error, "the entries from the last proven signature on were not signed by this service";
    /// A node's status takes a step that CCF does not have.
    NodeStatus = "L0316", Error, "do not recover from this ledger before you know who wrote this";
    /// A node signed after its retirement was committed.
    SignedAfterRetirement = "L0317", Error, "the entries from the last proven signature on were signed by a node that had no right to";
    /// A retired node signed, as it does until another one leads.
    RetiredSigns = "L0318", Info, "nothing; CCF does that while a node hands over";
    /// The service signed earlier roots itself, and not this one, as with nodes of different versions in one service.
    CoseGone = "L0319", Info, "nothing, if nodes of versions before and after 6.0 ran together then";
    /// A table of one value is written under another key.
    OtherKey = "L0320", Error, "do not recover from this ledger before you know who wrote this";
    /// The service's identity changes without a recovery.
    IdentityChanged = "L0401", Error, "do not recover from this ledger before you know who wrote this";
    /// The service's status takes a step it can't take.
    StatusTransition = "L0402", Error, "do not recover from this ledger before you know who wrote this";
    /// A recovered service names another predecessor than the ledger's.
    PreviousIdentity = "L0403", Error, "the recovery was made from another history; compare the copies of this ledger";
    /// The endorsement of the previous service identity does not verify.
    Endorsement = "L0404", Error, "clients can't follow this service's identity from the one before; do not rely on the endorsement";
    /// An endorsement whose range of transactions is upside down, as CCF wrote when an election fell into a recovery.
    EndorsementIllFormed = "L0405", Info, "nothing; verifiers skip it";
    /// The service certificate given is not that of the ledger's last service.
    ServiceCertificate = "L0407", Error, "check which service this ledger belongs to before recovering from it";
    /// The root that a recovered service says was signed last before it is not the ledger's.
    PreviousRoot = "L0408", Error, "the recovery was made from another history; compare the copies of this ledger";
    /// The writes of service.info do not lead to a service's creation, along which CCF finds who signed what: receipts between the creation and a later write don't verify.
    ServiceLink = "L0409", Warning, "take receipts of these transactions from a node that Rekindle recovered: it finds their service without these links";
    /// No signature by the service's key, nor by a node that it endorsed, ties the last signed transaction to the service.
    Unproven = "L0410", Warning, "CCF 1.x tied its nodes to a service by nothing that a ledger holds: trust this copy only as far as whoever kept it";
    /// A service does not continue where the service before it ended.
    RecoveryDiffers = "L0411", Error, "do not recover from this ledger before you know who wrote this";
    /// A snapshot file can't be read.
    SnapshotUnreadable = "L0501", Error, "use another snapshot, or none";
    /// A snapshot's receipt is missing, can't be read or does not prove the snapshot.
    SnapshotReceipt = "L0502", Error, "use another snapshot, or none";
    /// The service that signed a snapshot's receipt is not one of this ledger's.
    SnapshotSigner = "L0503", Error, "use another snapshot, or none";
    /// The ledger holds no evidence of the snapshot where its name says, or another one.
    SnapshotEvidence = "L0504", Error, "the snapshot was not taken by the service that wrote this ledger; use another one";
    /// A snapshot's transaction is not the ledger's.
    SnapshotLeaf = "L0505", Error, "the snapshot was not taken by the service that wrote this ledger; use another one";
    /// A snapshot that could only be checked in part, because the ledger does not reach its evidence.
    SnapshotAhead = "L0506", Warning, "starting from it keeps what the ledger has lost; its receipt verifies";
    /// A snapshot that was never committed.
    SnapshotUncommitted = "L0507", Info, "CCF does not start from it";
    /// A snapshot's name says another evidence transaction than its receipt or the ledger.
    SnapshotName = "L0508", Error, "its contents are judged by its receipt; find out who named it, and give a copy of it the right name";
    /// A snapshot of a state that the ledger does not reach.
    SnapshotNewer = "L0509", Warning, "the ledger has lost entries: look for a copy that reaches further. A recovery starts from the ledger with the snapshot taken away, or from the snapshot with the chunks taken away";
    /// There are snapshots, and no ledger entry.
    SnapshotAlone = "L0510", Warning, "look for ledger chunks in other copies and backups; a recovery from a snapshot alone keeps its state, and nothing after it";
    /// This ledger ends before the one examined earlier.
    RolledBack = "L0601", Error, "transactions that were signed are missing here: find the copy that the earlier report was made from";
    /// This ledger has another history than the one examined earlier.
    Rewritten = "L0602", Error, "two signed histories contradict each other: keep both copies, do not recover, and find out who signed them";
    /// What an earlier report says that this run did not read.
    NotCompared = "L0603", Info, "nothing; the rest was compared";
    /// A service identity is not where the earlier report found it.
    ServiceDiffers = "L0604", Error, "two histories contradict each other: keep both copies, do not recover, and find out who made this service";
    /// No secret is known for these entries.
    NoSecret = "L0701", Error, "their secret never reached the ledger, or belongs to a later generation: shares of that generation are needed";
    /// An entry can't be decrypted, or was changed.
    Undecryptable = "L0702", Error, "the entry is not the one that was written; verify the ledger, and take the chunk from another copy. If it is the last signature transaction, which nothing covers, and no copy has a better one, recover without it: `rekindle verify --until` the seqno before it names an earlier proven signature, and the node's --drop-after takes that";
    /// An entry's commit evidence digest is not the one its secret gives.
    CommitEvidence = "L0703", Error, "the entry is not the one that was written; verify the ledger, and take the chunk from another copy. If it is the last signature transaction, which nothing covers, and no copy has a better one, recover without it: `rekindle verify --until` the seqno before it names an earlier proven signature, and the node's --drop-after takes that";
    /// A recovery share that is wrong.
    WrongShare = "L0704", Error, "ask its member for the share of this generation: it is encrypted anew at every refresh and rekey";
    /// The shares at hand don't open the ledger.
    NotUnlocked = "L0705", Error, "get shares from more members, or from those named";
    /// The chain of ledger secrets is broken.
    SecretChain = "L0706", Error, "entries before it can't be decrypted; verify the ledger, and take the chunk from another copy";
    /// A decrypted private domain can't be parsed.
    PrivateWrites = "L0707", Error, "verify the ledger, and take the chunk from another copy";
    /// The sealed files at hand don't open the ledger.
    NotUnsealed = "L0708", Error, "members' shares open it all the same; a node seals anew when its service opens and at every rekey, so look for a newer copy of its directory of sealed files";
    /// Two copies hold different signed histories.
    Fork = "L0801", Error, "keep both copies, and find out which one clients saw before choosing";
    /// Two copies belong to different services.
    OtherService = "L0802", Error, "compare copies of one service's ledger only";
    /// A signed tail of a lower view, which ends where a higher view begins in another copy.
    Superseded = "L0803", Info, "nothing: a primary that is killed or cut off leaves such a tail, and nothing in it is proven to have been committed; keep the copy until nobody misses anything";
    /// A node's evidence does not hold: certificates, signatures, or what the report says of its guest.
    EvidenceFails = "L0901", Error, "treat what this node held, ledger secrets and the service's key, as known to whoever ran it, until it is explained; CCF before 6.0.11 let in nodes whose certificates AMD never signed";
    /// A node's evidence can't be read.
    EvidenceUnreadable = "L0902", Error, "nothing says what this node ran: find out who let it in";
    /// A node's evidence is about another key, measurement or node than its record.
    EvidenceOfAnother = "L0903", Error, "this evidence is no proof of what this node ran: find out who let it in";
    /// The policy in force did not allow this node.
    NotAllowed = "L0904", Error, "compare with the proposals of that time: a node was let in, or began a service, that its own policy refuses";
    /// The evidence of a node was replaced after its first write.
    EvidenceChanged = "L0905", Error, "CCF never does that: find out who wrote this";
    /// The host could look into this node's guest or enclave.
    DebugAllowed = "L0906", Error, "treat what this node held, ledger secrets and the service's key, as known to whoever ran its host";
    /// No hardware vouches for a node.
    Unattested = "L0907", Info, "nothing, in a test; a virtual node can claim whatever it likes";
    /// Several nodes ran on one chip.
    SharedChip = "L0908", Info, "nothing, unless they were to fail apart: one machine takes them all along";
    /// Several nodes show the same launch of a guest.
    SharedGuest = "L0909", Warning, "find out why: one guest, or a copy of its report, stood for several nodes";
    /// A recovery lowered the minimum TCB that the members had set.
    TcbLowered = "L0910", Warning, "set it again with the action set_snp_minimum_tcb_version: nodes on older firmware may join until then";
    /// A recovery dropped feeds of UVM endorsements that the members trusted.
    FeedsDropped = "L0911", Warning, "add them again with the action add_snp_uvm_endorsement, if nodes of these feeds are to join";
    /// A node's TCB is below the list that was given.
    TcbBelow = "L0912", Warning, "firmware of that age may have known holes: nothing says that none was used";
    /// A certificate of the evidence is revoked.
    CertificateRevoked = "L0913", Error, "its maker no longer vouches for this node: treat what it held as known";
    /// A report of version 2, of firmware that is known to be insecure (AMD-SB-3019).
    OldReport = "L0914", Warning, "CCF refuses such reports since 6.0.12: nothing says that the hole was not used";
    /// A row of a policy table can't be read, or is not what it says.
    PolicyRow = "L0915", Warning, "nobody can be let in by it: remove it, or write it again, by a proposal";
    /// A certificate of the evidence is not valid at the time that was asked for.
    NotValidThen = "L0916", Warning, "signatures made in time stay what they are: ask without a time, unless the node is to be let in now";
    /// Intel says that this platform's TCB is not up to date.
    SgxTcbStatus = "L0917", Warning, "see what Intel's advisories say of that status: nothing says that none of it was used";
    /// The collateral of an SGX quote is out of date.
    SgxCollateralExpired = "L0918", Info, "nothing; it says what was known when it was fetched";
    /// The UVM endorsements of a node do not hold.
    UvmEndorsements = "L0919", Error, "nothing says what this node's measurement means: find out who let it in";
    /// The reported TCB is more than the certified one, which no chip makes.
    TcbNotExact = "L0920", Warning, "CCF up to 7.0.0-dev5 accepts it; find out where this report comes from";
    /// A report has data of its own beside the digest of the node's key.
    ReportDataMore = "L0921", Info, "nothing; CCF does not look at these bytes";
    /// The policy for nodes was changed, and no proposal was accepted that did it.
    PolicyByNobody = "L0922", Warning, "find out who wrote this, and which nodes were let in by it: the members did not decide it";
    /// A node that began a service changed what members had agreed to, or would have in CCF.
    OwnPolicy = "L0951", Warning, "the node that begins a service declares itself good, as in CCF: compare what members want with /gov/service/join-policy, update the node's firmware, or propose set_snp_minimum_tcb_version or add_snp_uvm_endorsement";
    /// A receipt, or a list of endorsements beside it, that can't be read.
    ReceiptUnreadable = "L1301", Error, "get the receipt again, from a node or with `rekindle receipt`";
    /// The root that a receipt's path leads to is not the one that was signed.
    ReceiptSignature = "L1302", Error, "do not rely on it: the receipt was changed, or made up";
    /// No service trusted stands behind a receipt.
    ReceiptStrange = "L1303", Error, "give the certificate of the service that made it, or the endorsements that lead to it (--endorsements, --ledger); if neither fits, it is another service's, or made up";
    /// A receipt names another node than the one whose certificate it has.
    ReceiptNode = "L1304", Error, "do not rely on it: no node of CCF or Rekindle gives out such a receipt";
    /// A receipt is of another transaction than the one asked for.
    ReceiptTransaction = "L1305", Error, "ask for the receipt of the right transaction; one that names none can be held against a ledger with --ledger";
    /// The claims digest in a receipt is not that of what is claimed.
    ReceiptClaims = "L1306", Error, "the application claimed something else of this transaction: find out what it digests, byte by byte";
    /// The write set digest in a receipt is not that of the entry at hand.
    ReceiptWriteSet = "L1307", Error, "the entry was changed, or is another one: take it from another copy of the ledger";
    /// An endorsement of an earlier service does not hold.
    ReceiptEndorsement = "L1308", Error, "get the endorsements again, from the ledger (`rekindle receipt`) or a node";
    /// A service is vouched for, but not for the time of this transaction.
    ReceiptEpoch = "L1309", Error, "do not rely on it: a service signed what was not its own, or another service's key did";
    /// The header of a COSE receipt is not that of a signature of a ledger after the transaction.
    ReceiptHeader = "L1310", Error, "do not rely on it: no node of CCF or Rekindle gives out such a receipt";
    /// A receipt is not of the transaction that the ledger at hand has.
    ReceiptOtherLedger = "L1311", Error, "keep both: a receipt that holds and a ledger that differs are proof that history was changed";
    /// There is no such transaction in the ledger.
    NoSuchTransaction = "L1320", Error, "look for it in other copies of the ledger (`rekindle compare`), or ask whoever was told this ID when, and by which node";
    /// No signature covers the transaction.
    TransactionUnsigned = "L1321", Error, "nothing proves it, and a recovery drops it: look for a longer copy of the ledger";
    /// A receipt of this form can't be made.
    NoReceipt = "L1322", Error, "ask for the other form (--format), or give what is missing";
    /// Nothing in the ledger proves that a signed transaction was committed.
    NotKnownCommitted = "L1323", Warning, "compare all copies of the ledger first (`rekindle compare`): what is signed and not committed may have been rolled back elsewhere";
    /// The ledger secret at hand does not give the commit evidence that the entry holds the digest of.
    EvidenceOfAnotherSecret = "L1324", Error, "verify the ledger, and rehearse opening it (`rekindle unlock`): the entry or the secret is not what it should be";
    /// The ledger lacks what would lead from its last service to the one that a receipt is of.
    NoEndorsements = "L1325", Info, "give whoever verifies the receipt the certificate of the service that made it";
    /// A snapshot holds another state than the entries up to its seqno give.
    SnapshotContent = "L1201", Error, "no node may start from it: use another snapshot, or none. Where its receipt verifies, the service that wrote it signed a state that is not its ledger's: find out who ran it";
    /// The ledger holds no evidence of a snapshot at that seqno.
    SnapshotNoEvidence = "L1211", Error, "none can be had: nothing tells the digest of what a node would have written there; recover from the ledger itself, or from a snapshot that the list names";
    /// No signature covers the evidence of a snapshot, so there is no receipt for it.
    SnapshotEvidenceUnsigned = "L1212", Warning, "look for a copy of the ledger that reaches further; nodes start from no snapshot without a receipt";
    /// A snapshot's state can't be had, because entries before it are missing or can't be read.
    SnapshotStateLost = "L1213", Error, "verify the ledger and mend what it names, or give with --snapshots an older snapshot that the entries follow";
    /// A snapshot can't be rebuilt without the ledger secret of its seqno.
    SnapshotLocked = "L1214", Error, "give --member-key with as many members' share-encryption keys as the recovery threshold, --share, or what nodes had sealed (--sealed, --sealing-name)";
    /// What the ledger gives does not have the digest that its evidence names.
    SnapshotNotReproduced = "L1215", Error, "verify the ledger: if it is whole, the evidence is of another state, or the snapshot was written by a version that seals in a way not known here";
    /// What proves a snapshot's evidence does not hold.
    SnapshotNotProven = "L1216", Error, "verify the ledger: the signature after the evidence, or the evidence itself, was changed";
    /// A snapshot was rebuilt and has no receipt, because its version wrote none.
    SnapshotWithoutReceipt = "L1217", Warning, "its digest is the one in the ledger; CCF since 2.0 does not start from it";
    /// A signed entry that no copy holds: what is salvaged ends before it.
    SalvageMissing = "L1101", Error, "look for further copies, backups and read-only ledger directories, and salvage again with them; what is after it can only be reached from a snapshot";
    /// A place where a copy is damaged; what stood there was found elsewhere.
    SalvageDamaged = "L1102", Info, "nothing for the ledger; have the disk looked at";
    /// A signed history that gave way to another was left out.
    SalvageSuperseded = "L1103", Info, "nothing: a primary that is killed or cut off leaves such a tail, and so does a recovery that did not open";
    /// Two signed histories contradict each other: nothing is written.
    SalvageFork = "L1104", Error, "find out which one clients saw; then say whose to take with --service-cert or --prefer, or leave the other copy out";
    /// A snapshot leads over what no copy holds.
    SalvageBridged = "L1105", Warning, "recover from the ledger and the snapshot below bridged only if the entries before them are lost for good: their history and receipts are";
    /// Bytes that no signature covers differ from copy to copy.
    SalvageChosen = "L1106", Info, "nothing: what depends on them is proven by nobody; a recovery drops unsigned entries";
    /// Nothing says which of the candidates of an unsigned entry is right.
    SalvageUnclear = "L1107", Warning, "nothing, if the entries from there on were never signed: a recovery drops them; otherwise look for further copies";
    /// A snapshot that proves nothing, or belongs to another history.
    SalvageSnapshot = "L1108", Info, "it was left out; another one, or none, does as well";
    /// A file is broken into more pieces than are looked at.
    SalvageBroken = "L1109", Warning, "damage does not do that: find out who made this file; leave it out if the others are complete";
    /// Nothing provable is in any copy.
    SalvageNothing = "L1110", Error, "give directories that hold ledger files; if they do, give every copy there is";
    /// Something in a directory was not archived: a device, a pipe, a socket, or folders in folders without end.
    ArchiveLeftOut = "L1001", Warning, "nothing, if it is no part of a node's data; otherwise keep it by other means";
    /// A link was recorded, and what it leads to was not archived.
    ArchiveLink = "L1002", Warning, "if what it leads to belongs to the node, give that directory too";
    /// A file changed each time that it was read, or lost its name before.
    ArchiveChanging = "L1003", Warning, "a node still writes to it: stop the node and make the archive again, or rely on the copy's verification, which says how far it reaches";
    /// A file or folder could not be read.
    ArchiveUnread = "L1004", Error, "it is not in the archive: find out why, and make another archive";
    /// A ledger could not be verified while it was archived.
    ArchiveCopyUnread = "L1005", Error, "its files are in the archive: see what `rekindle verify` says of them";
    /// One of the two manifests of an archive is missing or damaged.
    ArchiveManifest = "L1006", Error, "the other one was read, and nothing is lost: copy it over this one";
    /// A pack of an archive is missing, or some of it that is no block was changed.
    ArchivePack = "L1007", Error, "look for the pack in another copy of the archive: its name is the digest of its bytes";
    /// A block of an archive is damaged.
    ArchiveBlock = "L1008", Error, "look for its pack in another copy of the archive; everything else can be restored";
    /// A file can't be restored whole from an archive.
    ArchiveFile = "L1009", Error, "take it from the node that it came from, or from another copy of the archive: nodes that had the same bytes share their block; `rekindle salvage` puts together what is left";
    /// Something lies among an archive's objects that its manifest does not name.
    ArchiveForeign = "L1010", Info, "nothing; an interrupted run leaves packs behind that were not needed in the end";
    /// A link was not restored, because it leads out of the directory that is restored to.
    ArchiveLinkOut = "L1011", Warning, "make the link yourself if it is wanted";
    /// A restored file could not be given its time or permissions.
    ArchiveAttributes = "L1012", Warning, "its bytes are right; restore to another file system";
    /// A directory holds nothing of a ledger.
    ArchiveNoLedger = "L1013", Info, "it was archived all the same; see whether it is the directory that was meant";
}
