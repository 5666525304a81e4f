//! What is said of each snapshot: by its receipt, by the ledger, and where the ledger does not reach it.

use super::{SnapshotFile, SnapshotVerdict, Start, check_receipt, read_state};
use crate::crypto::digest::Digest;
use crate::format::map::MappedFile;
use crate::format::names::SnapshotName;
use crate::format::snapshot::Snapshot;
use crate::format::{Seqno, TxId};
use crate::merkle::Accumulator;
use crate::merkle::receipt::Receipt;
use crate::merkle::tree::TreeView;
use crate::recovery::join::Joiner;
use crate::report::{Code, Finding, Severity, Verdict};
use crate::shown::Show;

/// The seqnos whose leaves snapshots are held against: where their names say, and where they themselves do.
pub(in crate::recovery) fn wanted_leaves(files: &[SnapshotFile], start: Option<&Start>) -> Vec<Seqno> {
    let mut wanted: Vec<Seqno> = start.iter().map(|start| start.evidence.seqno).collect();
    for file in files {
        wanted.extend([file.name.seqno, file.name.evidence_seqno]);
        let Ok(map) = MappedFile::open(&file.path) else {
            continue;
        };
        let Ok(snapshot) = Snapshot::parse(map.bytes()) else {
            continue;
        };
        wanted.push(snapshot.seqno);
        wanted.extend(proven_evidence(&snapshot).map(|evidence| evidence.seqno));
    }
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// The transaction that a snapshot's receipt is of. Its name may say another.
fn proven_evidence(snapshot: &Snapshot<'_>) -> Option<TxId> {
    Receipt::parse(snapshot.receipt).ok()?.txid()
}

/// What a run that begins after a snapshot has to say of it, beside that its receipt verified.
pub(in crate::recovery) fn judge_start(start: &Start, joiner: &mut Joiner<'_>) {
    let name = start.path.file_name().unwrap_or_default().to_string_lossy();
    let mut findings = Vec::new();
    let mut say = |code: Code, why: String| findings.push(Finding::new(code, why).file(&start.path).seqno(start.seqno));
    let evidence = start.evidence.seqno;
    if let Some(name) = SnapshotName::parse(&name) {
        if let Some(why) = misdated(name, start.seqno) {
            say(Code::SnapshotUnreadable, why);
        }
        if let Some(why) = misnamed(name, start.seqno, Some(evidence)) {
            say(Code::SnapshotName, why);
        }
    }
    let reaches = joiner.files.last_seqno();
    if joiner.files.chunks.is_empty() {
        let text = format!(
            "there is no ledger chunk: the state at {} is all there is; its receipt proves that transactions up to {evidence} \
             were signed, which are lost",
            start.seqno
        );
        say(Code::SnapshotAlone, text);
    } else if start.seqno > reaches {
        say(Code::SnapshotNewer, newer(start.seqno, reaches));
    } else if evidence > reaches {
        say(Code::SnapshotAhead, ahead(evidence, joiner));
    }
    for mut finding in findings.into_iter().chain(judge_evidence(start, joiner)) {
        finding.proven_to = joiner.last_matching.map(|txid| txid.seqno);
        joiner.findings.push(finding);
    }
}

/// What the ledger after a snapshot shows of the transaction that its receipt is of. Whoever has the key of an old node, or
/// of a service before this one, can sign a receipt for a state of his own: no signature of the ledger covers that state, but
/// each covers the evidence of the true one. Where the next service began before that, the evidence is lost.
fn judge_evidence(start: &Start, joiner: &Joiner<'_>) -> Option<Finding> {
    let evidence = start.evidence.seqno;
    let found = |code: Code, why: String| Some(Finding::new(code, why).file(&start.path).seqno(start.seqno));
    if let Some(next) = lost_to(joiner, start.seqno, evidence) {
        let text = lost(evidence, next);
        return match next == start.seqno + 1 {
            true => found(Code::SnapshotAhead, text).map(|finding| finding.severity(Severity::Info).next(BUILT_UPON)),
            false => found(Code::SnapshotAhead, text).map(|finding| {
                finding.next("verify from seqno 1, or from an older snapshot whose evidence the ledger holds")
            }),
        };
    }
    let mut leaves = joiner.watched.iter();
    let (_, leaf) = leaves.find(|(seqno, _)| *seqno == evidence)?;
    match *leaf == start.evidence_leaf {
        true => None,
        false => found(
            Code::SnapshotReceipt,
            format!("its receipt proves another transaction than the ledger's {evidence}"),
        ),
    }
}

/// Where another service recovered the ledger between a snapshot's state and its evidence, which was lost then: the first
/// seqno of that service, if that is proven.
fn lost_to(joiner: &Joiner<'_>, seqno: Seqno, evidence: Seqno) -> Option<Seqno> {
    let proven_to = joiner.proven().map_or(0, |signed| signed.txid.seqno);
    let mut later = joiner.trust.services().iter().skip(1).map(|next| next.from_seqno);
    later
        .find(|next| *next > seqno)
        .filter(|next| *next <= evidence && *next <= proven_to)
}

fn lost(evidence: Seqno, next: Seqno) -> String {
    format!(
        "its evidence, transaction {evidence}, was lost: another service recovered the ledger at {next}; the receipt alone proves its state"
    )
}

/// What to do about a snapshot that the next service was recovered from.
const BUILT_UPON: &str = "nothing: that service was built upon this state";

/// What is said where there are snapshots, and nothing to hold them against.
pub(in crate::recovery) fn alone(snapshots: usize) -> Finding {
    let text = match snapshots {
        0 => "there is neither a ledger chunk nor a snapshot".to_owned(),
        n => format!(
            "there is no ledger chunk: {n} snapshots are judged by their own receipts alone; --from-snapshot latest says \
             what the newest of them proves"
        ),
    };
    let finding = Finding::new(Code::SnapshotAlone, text);
    match snapshots {
        0 => finding.severity(Severity::Error),
        _ => finding,
    }
}

fn newer(seqno: Seqno, reaches: Seqno) -> String {
    format!(
        "it holds the state at seqno {seqno}, but the ledger ends at {reaches}: the entries {} to {seqno} are in no file",
        reaches + 1
    )
}

/// What is said of evidence that was not read; whether the ledger reaches it decides how bad that is.
fn ahead(evidence: Seqno, joiner: &Joiner<'_>) -> String {
    let end = joiner.next.saturating_sub(1);
    match evidence <= joiner.files.last_seqno() {
        true => format!("its evidence is transaction {evidence}, and what was read ends at {end}"),
        false => format!(
            "its evidence is transaction {evidence}, but the ledger ends at {end}: entries up to there were signed, and are in no file"
        ),
    }
}

/// What is wrong with what a name says of the state.
fn misdated(name: SnapshotName, seqno: Seqno) -> Option<String> {
    let said = name.seqno;
    (said != seqno).then(|| format!("it holds the state of seqno {seqno}, its name says {said}"))
}

/// What is wrong with what a name says of the evidence, if anything; `proven` is what its receipt or the ledger say.
fn misnamed(name: SnapshotName, seqno: Seqno, proven: Option<Seqno>) -> Option<String> {
    let said = name.evidence_seqno;
    match proven {
        Some(evidence) if evidence != said => Some(format!(
            "its name says that its evidence is transaction {said}, but it is {evidence}: the name should be {}",
            SnapshotName {
                evidence_seqno: evidence,
                ..name
            }
        )),
        None if said <= seqno => Some(format!(
            "its name says that its evidence is transaction {said}, which is not after its state at {seqno}"
        )),
        _ => None,
    }
}

/// Holds every snapshot against its receipt and the verified ledger.
pub(in crate::recovery) fn check_all(
    files: &[SnapshotFile],
    joiner: &mut Joiner<'_>,
    start: Option<&Start>,
) -> Vec<SnapshotVerdict> {
    let mut verdicts = Vec::new();
    for file in files {
        let findings = check_one(file, joiner, start);
        let verdict = Verdict::of(&findings);
        findings.into_iter().for_each(|finding| joiner.findings.push(finding));
        verdicts.push(SnapshotVerdict {
            file: file.path.shown().to_string(),
            seqno: file.name.seqno,
            verdict,
            content: None,
        });
    }
    verdicts
}

/// Where a snapshot stands beside what was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The ledger tells of it.
    Inside,
    /// It is from before the snapshot that this run starts after, which knows that one's service, and none before it.
    Before,
    /// Its state is after the ledger's end: its service may have come after that.
    After,
    /// Its state is after the place where this run was told to end.
    Unread,
    /// There is no ledger.
    Alone,
    /// This run starts from it, and so did the service whose entries come next.
    BuiltUpon,
}

impl Place {
    fn of(seqno: Seqno, evidence: Seqno, joiner: &Joiner<'_>, start: Seqno) -> Place {
        if evidence <= start && seqno <= start {
            Place::Before
        } else if joiner.files.chunks.is_empty() {
            Place::Alone
        } else if seqno > joiner.files.last_seqno() {
            Place::After
        } else if seqno >= joiner.next {
            Place::Unread
        } else {
            Place::Inside
        }
    }
}

/// What is found of one snapshot, in the making.
struct Judgement<'j, 'f> {
    file: &'j SnapshotFile,
    /// The snapshot that this run starts from.
    start: Option<&'j Start>,
    joiner: &'j Joiner<'f>,
    place: Place,
    findings: Vec<Finding>,
}

impl Judgement<'_, '_> {
    fn say(&mut self, code: Code, why: impl Into<String>) {
        let mut finding = Finding::new(code, why)
            .file(&self.file.path)
            .seqno(self.file.name.seqno);
        match (code, self.place) {
            (Code::SnapshotAhead, Place::BuiltUpon) => finding = finding.severity(Severity::Info).next(BUILT_UPON),
            (Code::SnapshotAhead, Place::Inside) => {
                finding = finding.next("use another snapshot, whose evidence the ledger holds, or none");
            }
            (Code::SnapshotSigner, Place::Before) => {
                finding = finding.severity(Severity::Info).next(
                    "to judge it, verify from seqno 1: services before the snapshot that this run starts from are not known to it",
                );
            }
            (Code::SnapshotSigner, Place::After) => {
                finding = finding.severity(Severity::Warning).next(
                    "a service that recovered this ledger after its end is not known here: look for a copy that reaches further",
                );
            }
            (Code::SnapshotSigner | Code::SnapshotAhead, Place::Unread) => {
                finding = finding
                    .severity(Severity::Info)
                    .next("to judge it, verify the whole ledger");
            }
            _ => {}
        }
        // As a crash leaves it: half written, or its evidence was never signed and another transaction has that seqno.
        if !self.file.name.committed && code != Code::SnapshotUncommitted {
            finding = finding
                .severity(Severity::Info)
                .next("nothing: no node starts from a snapshot that was never committed");
        }
        finding.proven_to = self.joiner.last_matching.map(|txid| txid.seqno);
        self.findings.push(finding);
    }
}

fn check_one(file: &SnapshotFile, joiner: &Joiner<'_>, start: Option<&Start>) -> Vec<Finding> {
    let mut judgement = Judgement {
        file,
        start,
        joiner,
        place: Place::Inside,
        findings: Vec::new(),
    };
    if let Err(why) = check_file(&mut judgement) {
        judgement.say(Code::SnapshotUnreadable, why);
    }
    judgement.findings
}

/// Holds a snapshot against its name, its receipt and the ledger; an error says why it can't be read.
fn check_file(judgement: &mut Judgement<'_, '_>) -> Result<(), String> {
    let (file, joiner) = (judgement.file, judgement.joiner);
    let map = MappedFile::open(&file.path).map_err(|why| format!("the file can't be opened: {why}"))?;
    let snapshot = Snapshot::parse(map.bytes()).map_err(|why| why.to_string())?;
    let (seqno, digest) = (snapshot.seqno, snapshot.digest());
    // What the receipt says is only proven once it verifies, but until then there is nothing better than the two.
    let claimed = proven_evidence(&snapshot).map_or(file.name.evidence_seqno, |evidence| evidence.seqno);
    let start = judgement.start.map_or(0, |start| start.seqno);
    judgement.place = Place::of(seqno, claimed.max(file.name.evidence_seqno), joiner, start);
    if let Some(why) = misdated(file.name, seqno) {
        judgement.say(Code::SnapshotUnreadable, why);
    }
    if let Err(why) = snapshot.public_state(|_, _| ()) {
        judgement.say(Code::SnapshotUnreadable, why.to_string());
    }
    // 1.x proved a snapshot by the ledger alone.
    let in_ledger = joiner
        .evidence
        .iter()
        .find(|evidence| evidence.snapshot_seqno == seqno && evidence.digest.0 == digest);
    let mut proven = in_ledger.map(|evidence| evidence.seqno);
    if !file.name.committed {
        judgement.say(Code::SnapshotUncommitted, "it was not committed: it has no receipt");
    } else {
        let outcome = match judgement.place {
            Place::Alone => match read_state(&snapshot) {
                Ok(state) => {
                    let txid = TxId { view: 0, seqno };
                    check_receipt(&snapshot, state.trust(txid, [0; 32]).identities())
                }
                Err(_) => return Ok(()), // said above
            },
            _ => check_receipt(&snapshot, &joiner.proven_identities()),
        };
        match outcome {
            Ok(receipt) => proven = receipt.txid().map(|txid| txid.seqno),
            Err(_) if snapshot.receipt.is_empty() && proven.is_some() => {}
            Err((code, why)) => judgement.say(code, why),
        }
    }
    if let Some(evidence) = proven.filter(|evidence| *evidence <= seqno) {
        let text = format!("its receipt is of transaction {evidence}, which is not after its state at {seqno}");
        judgement.say(Code::SnapshotReceipt, text);
    }
    if let Some(why) = misnamed(file.name, seqno, proven) {
        judgement.say(Code::SnapshotName, why);
    }
    match judgement.place {
        Place::Before | Place::Alone | Place::BuiltUpon => {}
        Place::Inside | Place::After | Place::Unread => check_against_ledger(judgement, &snapshot, proven),
    }
    Ok(())
}

/// Holds a snapshot's leaf, tree and evidence against what the ledger has; `proven` is the evidence that its receipt or the
/// ledger prove.
fn check_against_ledger(judgement: &mut Judgement<'_, '_>, snapshot: &Snapshot<'_>, proven: Option<Seqno>) {
    let evidence_seqno = proven.unwrap_or(judgement.file.name.evidence_seqno);
    let (joiner, committed) = (judgement.joiner, judgement.file.name.committed);
    let leaf_of =
        |seqno: Seqno| -> Option<&Digest> { joiner.watched.iter().find(|(at, _)| *at == seqno).map(|(_, leaf)| leaf) };
    if let Some(leaf) = leaf_of(snapshot.seqno).filter(|leaf| *leaf != snapshot.leaf) {
        let text = format!(
            "it says the digest of transaction {} is {}, the ledger's is {}",
            snapshot.seqno,
            hex::encode(snapshot.leaf),
            hex::encode(leaf)
        );
        judgement.say(Code::SnapshotLeaf, text);
    }
    if snapshot.seqno >= joiner.next && committed {
        if let Some(until) = differing_beginning(snapshot, joiner.accumulator.as_ref()) {
            let text = format!("its tree has other transactions than the ledger, among those before {until}");
            judgement.say(Code::SnapshotLeaf, text);
        }
        let reaches = joiner.files.last_seqno();
        if snapshot.seqno > reaches {
            judgement.say(Code::SnapshotNewer, newer(snapshot.seqno, reaches));
            return;
        }
    }
    if evidence_seqno >= joiner.next {
        if committed {
            if evidence_seqno <= joiner.files.last_seqno() {
                judgement.place = Place::Unread;
            }
            judgement.say(Code::SnapshotAhead, ahead(evidence_seqno, joiner));
        }
        return;
    }
    let digest = snapshot.digest();
    let evidence = joiner.evidence.iter().find(|evidence| evidence.seqno == evidence_seqno);
    let wrong = match evidence {
        None => Some(format!("transaction {evidence_seqno} holds no evidence of it")),
        Some(evidence) if evidence.digest.0 != digest || evidence.snapshot_seqno != snapshot.seqno => Some(format!(
            "transaction {evidence_seqno} is evidence of a snapshot at {} with digest {}, this one is at {} with digest {}",
            evidence.snapshot_seqno,
            hex::encode(evidence.digest.0),
            snapshot.seqno,
            hex::encode(digest)
        )),
        Some(evidence)
            if evidence
                .claims_digest
                .is_some_and(|claims| claims.0 != digest && claims.0 != [0; 32]) =>
        {
            Some(format!(
                "the claims digest of transaction {evidence_seqno} is not its digest"
            ))
        }
        Some(_) => None,
    };
    if let Some(why) = wrong {
        if let Some(next) = proven.and_then(|evidence| lost_to(joiner, snapshot.seqno, evidence)) {
            let is_start = judgement.start.is_some_and(|start| start.digest == digest);
            if is_start && next == snapshot.seqno + 1 {
                judgement.place = Place::BuiltUpon;
            }
            judgement.say(Code::SnapshotAhead, lost(evidence_seqno, next));
            return;
        }
        judgement.say(Code::SnapshotEvidence, why);
    }
    if let Ok(receipt) = Receipt::parse(snapshot.receipt)
        && leaf_of(evidence_seqno).is_some_and(|leaf| *leaf != receipt.leaf_components.leaf())
    {
        let text = format!("its receipt proves another transaction than the ledger's {evidence_seqno}");
        judgement.say(Code::SnapshotReceipt, text);
    }
}

/// Whether the tree in a snapshot of a later state contradicts the ledger's: two trees have the same greatest subtrees as
/// far as their lengths agree, from the highest bit on. The answer is the leaf before which they differ.
fn differing_beginning(snapshot: &Snapshot<'_>, ledger: Option<&Accumulator>) -> Option<u64> {
    let ledger = ledger?;
    let tree = read_state(snapshot).ok()?.tree?;
    let tree = TreeView::parse(&tree).ok()?.accumulator(snapshot.seqno)?;
    let mut end = 0;
    for bit in (0..u64::BITS).rev() {
        let subtree = 1u64 << bit;
        let (here, there) = (ledger.leaves() & subtree != 0, tree.leaves() & subtree != 0);
        if here != there {
            return None;
        }
        if here {
            end += subtree;
            let number = (ledger.leaves() >> bit).count_ones() as usize - 1;
            if ledger.peaks().nth(number) != tree.peaks().nth(number) {
                return Some(end);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(evidence_seqno: Seqno) -> SnapshotName {
        SnapshotName {
            seqno: 346,
            evidence_seqno,
            committed: true,
        }
    }

    #[test]
    fn a_name_is_held_against_what_is_proven_and_without_that_against_itself() {
        assert_eq!(misnamed(name(347), 346, Some(347)), None);
        for lie in [0, 346, 348, u64::MAX] {
            let why = misnamed(name(lie), 346, Some(347)).unwrap();
            assert!(
                why.contains("it is 347") && why.contains("snapshot_346_347.committed"),
                "{why}"
            );
        }
        assert_eq!(misnamed(name(400), 346, None), None);
        assert!(misnamed(name(346), 346, None).is_some());
    }
}
