//! Findings: whatever is wrong with a ledger, collected and never thrown.
//!
//! A finding has a stable code, the place, what is proven up to there and what to do next; a person, a script and a
//! node's log all get the same one. [`Code`] is the register: codes are never reused.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod output;
pub mod progress;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::Seqno;
use crate::shown::{Show, line};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Not as it should be, but nothing that was signed is lost or unproven.
    Warning,
    /// Something signed is lost, damaged or unproven.
    Error,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $severity:ident, $next:literal;)*) => {
        /// What kind of finding it is. Serialised as its code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[doc = $doc])* #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The stable text, such as `L0101`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code),* }
            }

            /// How bad a finding of this kind is.
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity),* }
            }

            /// What to do next.
            pub fn next(self) -> &'static str {
                match self { $(Code::$name => $next),* }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),*).trim_ascii()),* }
            }
        }
    };
}

codes! {
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
    /// A node that began a service changed what members had agreed to, or would have in CCF.
    OwnPolicy = "L0951", Warning, "the node that begins a service declares itself good, as in CCF: compare what members want with /gov/service/join-policy, update the node's firmware, or propose set_snp_minimum_tcb_version or add_snp_uvm_endorsement";
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What kind.
    #[schemars(with = "String")]
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// In which file, as [`crate::shown`] shows paths.
    pub file: Option<String>,
    /// Where in it, bytes.
    pub offset: Option<u64>,
    /// At which seqno.
    pub seqno: Option<Seqno>,
    /// What was found and what was expected, on one line that can be shown.
    pub message: String,
    /// Everything up to this seqno is proven by a signature that verified.
    pub proven_to: Option<Seqno>,
    /// What to do next.
    pub next: String,
}

impl Finding {
    /// A finding of this kind, with nothing known about the place yet.
    pub fn new(code: Code, message: impl Into<String>) -> Finding {
        Finding {
            code,
            severity: code.severity(),
            file: None,
            offset: None,
            seqno: None,
            message: line(&message.into()).into_owned(),
            proven_to: None,
            next: code.next().to_owned(),
        }
    }

    /// In this file.
    pub fn file(mut self, path: &Path) -> Finding {
        self.file = Some(path.shown().to_string());
        self
    }

    /// At this offset.
    pub fn offset(mut self, offset: u64) -> Finding {
        self.offset = Some(offset);
        self
    }

    /// At this seqno.
    pub fn seqno(mut self, seqno: Seqno) -> Finding {
        self.seqno = Some(seqno);
        self
    }

    /// Of another severity than its kind usually has.
    pub fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// With another advice than its kind usually has.
    pub fn next(mut self, next: impl Into<String>) -> Finding {
        self.next = line(&next.into()).into_owned();
        self
    }
}

/// The short answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Nothing is wrong, and nothing ties it to the service that it names: see docs/trust.md.
    Unproven,
    /// See the findings: at least one is a warning or an error.
    Findings,
}

impl Verdict {
    /// The verdict that follows from findings: information alone is no reason for concern.
    pub fn of(findings: &[Finding]) -> Verdict {
        let mut verdict = Verdict::Ok;
        for finding in findings.iter().filter(|finding| finding.severity > Severity::Info) {
            if finding.code != Code::Unproven {
                return Verdict::Findings;
            }
            verdict = Verdict::Unproven;
        }
        verdict
    }

    /// 0 or 1.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Ok => 0,
            Verdict::Unproven | Verdict::Findings => 1,
        }
    }
}

/// Findings of one kind that are listed one by one; further ones are counted in a last finding of that kind.
const LISTED_PER_CODE: usize = 1000;

/// Findings that a new one is compared with.
const REMEMBERED: usize = 32;

/// Collects findings; hostile ledgers can have millions, so each kind is listed up to a bound and then counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    listed: Vec<Finding>,
    counts: std::collections::BTreeMap<Code, usize>,
}

impl Findings {
    /// Adds one. What was said a moment ago is not said again, as where writes are applied anew.
    pub fn push(&mut self, finding: Finding) {
        let same = |said: &Finding| {
            (said.code, said.seqno, said.offset, &said.message, &said.file)
                == (
                    finding.code,
                    finding.seqno,
                    finding.offset,
                    &finding.message,
                    &finding.file,
                )
        };
        if self.listed.iter().rev().take(REMEMBERED).any(same) {
            return;
        }
        let count = self.counts.entry(finding.code).or_default();
        *count += 1;
        if *count <= LISTED_PER_CODE {
            self.listed.push(finding);
        }
    }

    /// Whether a finding that is more than information has been made at this seqno.
    pub fn has_fault_at(&self, seqno: Seqno) -> bool {
        let at = |finding: &&Finding| finding.seqno == Some(seqno) && finding.severity > Severity::Info;
        self.listed.iter().rev().any(|finding| at(&finding))
    }

    /// What has been listed so far.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Finding> {
        self.listed.iter_mut()
    }

    /// All of them, by seqno; the worst first where they share one.
    pub fn finish(mut self) -> Vec<Finding> {
        for (code, count) in self.counts {
            if count > LISTED_PER_CODE {
                self.listed.push(Finding::new(
                    code,
                    format!("{} more findings of this kind are not listed", count - LISTED_PER_CODE),
                ));
            }
        }
        self.listed.sort_by_key(|finding| {
            (
                finding.seqno.unwrap_or(Seqno::MAX),
                std::cmp::Reverse(finding.severity),
                finding.code,
            )
        });
        self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_say_what_to_do() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(!code.next().is_empty() && !code.meaning().is_empty());
        }
    }

    #[test]
    fn information_alone_is_a_clean_verdict() {
        let mut findings = vec![Finding::new(Code::Unsigned, "3 entries")];
        assert_eq!(Verdict::of(&findings), Verdict::Ok);
        findings.push(Finding::new(Code::Unproven, "1.x"));
        assert_eq!(Verdict::of(&findings), Verdict::Unproven);
        findings.push(Finding::new(Code::TornTail, "cut"));
        assert_eq!(Verdict::of(&findings), Verdict::Findings);
    }
}
