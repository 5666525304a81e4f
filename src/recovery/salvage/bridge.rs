//! Snapshots: those that belong beside the result, and the one that leads over what is missing.
//!
//! A snapshot counts if its receipt verifies by a service that its own state names, and that service is one of the result's, or
//! what it leads to ends with the service that was asked for. Whoever recovers from it loses the history before it; so what
//! it bridges is offered beside the longest part from the start, never in its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::differences::leaf_of;
use super::growth::grow;
use super::history::{Grown, State};
use super::pool::Pool;
use super::report::{Bridged as BridgedReport, LeftOut, Range, SnapshotUsed};
use super::rivals::{Settled, Taken, Wish, choose, settle};
use super::write::write_ledger;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::names::SnapshotName;
use crate::format::whole_file::{PUBLIC, write_whole};
use crate::recovery::snapshots::{Start, start_from};
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Findings};
use crate::shown::Show;
use crate::tables::values::HexDigest;

/// Snapshots that a bridge is tried from; the first few after what is missing lead where the others do.
const MAX_TRIES: usize = 16;

/// A snapshot whose receipt verifies.
pub struct Proven {
    /// The file.
    pub path: PathBuf,
    /// Which of the sources.
    pub source: usize,
    /// What it says.
    pub start: Start,
}

impl Proven {
    fn name(&self) -> String {
        SnapshotName {
            seqno: self.start.seqno,
            evidence_seqno: self.start.evidence.seqno,
            committed: true,
        }
        .to_string()
    }
}

/// All snapshots in the copies whose receipts verify, by seqno, each once.
///
/// # Errors
/// If a file can't be read.
pub fn find(pool: &Pool, findings: &mut Findings) -> Result<Vec<Proven>> {
    let mut found: BTreeMap<(Seqno, [u8; 32]), Proven> = BTreeMap::new();
    for (number, (source, survey)) in pool.sources.iter().zip(&pool.surveys).enumerate() {
        if !survey.is_snapshot || source.same_as.is_some() {
            continue;
        }
        match start_from(&source.path) {
            Ok(start) => {
                let proven = Proven {
                    path: source.path.clone(),
                    source: number,
                    start,
                };
                found.entry((proven.start.seqno, proven.start.digest)).or_insert(proven);
            }
            Err(why @ Error::Io { .. }) => return Err(why),
            Err(why) => findings.push(Finding::new(Code::SalvageSnapshot, why.to_string()).file(&source.path)),
        }
    }
    Ok(found.into_values().collect())
}

/// Those of the result's own history whose evidence is in it too, up to its last signature: on a ledger without that evidence
/// a recovery would write something else at its seqno.
///
/// # Errors
/// If a file can't be read.
pub fn beside<'s>(
    pool: &Pool,
    grown: &Grown,
    snapshots: &'s [Proven],
    last_signed: Seqno,
    findings: &mut Findings,
) -> Result<Vec<&'s Proven>> {
    let mut kept = Vec::new();
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.start.seqno <= last_signed) {
        let start = &snapshot.start;
        let evidence = start.evidence.seqno;
        let is_own = leaf_of(pool, grown, start.seqno)? == Some(start.leaf);
        let text = if !is_own {
            "it is of another history than the result: the entry at its seqno is another one".to_owned()
        } else if evidence > last_signed {
            format!("its evidence is entry {evidence}, after the last signature of the result")
        } else if leaf_of(pool, grown, evidence)? != Some(start.evidence_leaf) {
            format!("its evidence is not what the result has as entry {evidence}")
        } else {
            kept.push(snapshot);
            continue;
        };
        let finding = Finding::new(Code::SalvageSnapshot, text);
        findings.push(finding.file(&snapshot.path).seqno(start.seqno));
    }
    Ok(kept)
}

/// Copies a snapshot, under the name that it should have.
///
/// # Errors
/// If it can't be read or written.
pub fn copy(snapshot: &Proven, directory: &Path) -> Result<SnapshotUsed> {
    let name = snapshot.name();
    let bytes = std::fs::read(&snapshot.path).map_err(Error::io("read", &snapshot.path))?;
    write_whole(&directory.join(&name), &bytes, PUBLIC)?;
    Ok(SnapshotUsed {
        file: snapshot.path.shown().to_string(),
        name,
        seqno: snapshot.start.seqno,
    })
}

/// A ledger that goes on after what is missing.
pub struct Bridge<'s> {
    snapshot: &'s Proven,
    grown: Grown,
    left_out: Vec<LeftOut>,
    findings: Findings,
}

/// What became of the search for a bridge.
pub struct Bridged<'s> {
    /// It.
    pub bridge: Option<Bridge<'s>>,
    /// Whether histories contradict each other after what is missing, and nobody said which to take.
    pub refused: bool,
}

/// What a snapshot bridges, where something is missing: from the one that leads furthest, and of these from the earliest. Whose
/// history that is to be is decided as for the part from the start.
///
/// # Errors
/// If a file can't be read.
pub fn over<'s>(
    pool: &mut Pool,
    snapshots: &'s [Proven],
    grown: &Grown,
    wish: Wish,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<Bridged<'s>> {
    let last = grown.last().unwrap_or(0);
    let known = grown.state.trust.services();
    let is_known = |id| known.iter().any(|service| Some(service.identity) == id);
    let mut best: Option<Bridge<'s>> = None;
    let mut tries = [0; 2];
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.start.seqno > last) {
        let start = &snapshot.start;
        // One that stands on the bridge leads nowhere else.
        if let Some(best) = &best
            && leaf_of(pool, &best.grown, start.seqno)? == Some(start.leaf)
        {
            continue;
        }
        let is_own = is_known(start.signed.service) || (known.is_empty() && wish.service.is_none());
        if !is_own && wish.service.is_none() {
            let text = "it is after what is missing, and the result up to there does not know the service that signed it; if it is yours, say so with --service-cert";
            findings.push(of_snapshot(snapshot, text.to_owned()));
            continue;
        }
        // Those of services that nobody asked for don't use up what there is for the others.
        let is_near = is_own || start.signed.service == wish.service;
        let [near, far] = &mut tries;
        let tries = if is_near { near } else { far };
        *tries += 1;
        if *tries > MAX_TRIES {
            let text = format!("{MAX_TRIES} others were tried before it");
            findings.push(of_snapshot(snapshot, text));
            continue;
        }
        let mut own = Findings::default();
        let suffix = grow(pool, Grown::from(state_of(start)), wish.prefer, progress)?;
        let Settled {
            grown: mut suffix,
            left_out,
            refused,
            ..
        } = settle(pool, suffix, wish, &mut own)?;
        let is_asked_for = wish.service.is_some() && suffix.service() == wish.service;
        if !is_own && !is_asked_for {
            let text = "what follows it does not end with the service that was asked for".to_owned();
            findings.push(of_snapshot(snapshot, text));
            continue;
        }
        if suffix.signed.is_empty() {
            // Nothing after it is proven: the snapshot's state is all there is.
            suffix.pieces.clear();
        }
        let next = Bridge {
            snapshot,
            grown: suffix,
            left_out,
            findings: own,
        };
        if refused {
            merge(findings, next.findings);
            return Ok(Bridged {
                bridge: None,
                refused: true,
            });
        }
        let Some(before) = &best else {
            best = Some(next);
            continue;
        };
        match between(pool, &before.side(), &next.side(), wish)? {
            Taken::First(why) => findings.push(of_snapshot(snapshot, why)),
            Taken::Second(why) => {
                findings.push(of_snapshot(before.snapshot, why));
                best = Some(next);
            }
            Taken::Neither(why) => {
                let text = format!("after what is missing there are two signed histories: {why}");
                findings.push(Finding::new(Code::SalvageFork, text).seqno(start.seqno));
                return Ok(Bridged {
                    bridge: None,
                    refused: true,
                });
            }
        }
    }
    Ok(Bridged {
        bridge: best,
        refused: false,
    })
}

fn of_snapshot(snapshot: &Proven, text: String) -> Finding {
    let finding = Finding::new(Code::SalvageSnapshot, text);
    finding.file(&snapshot.path).seqno(snapshot.start.seqno)
}

fn state_of(start: &Start) -> State {
    State {
        next: start.seqno + 1,
        accumulator: start.accumulator.clone(),
        trust: start.trust.clone(),
        signed: None,
    }
}

fn merge(findings: &mut Findings, more: Findings) {
    more.finish().into_iter().for_each(|finding| findings.push(finding));
}

/// Writes a bridge: ledger and snapshot.
///
/// # Errors
/// If a file can't be read or written.
pub fn write(pool: &Pool, bridge: &Bridge<'_>, directory: &Path, progress: &dyn Progress) -> Result<()> {
    let make = |name: &str| {
        let path = directory.join(name);
        std::fs::create_dir(&path).map_err(Error::io("create directory", &path))?;
        Ok::<_, Error>(path)
    };
    write_ledger(pool, &bridge.grown, &make("ledger")?, progress)?;
    copy(bridge.snapshot, &make("snapshots")?).map(|_| ())
}

impl Bridge<'_> {
    fn side(&self) -> Side<'_> {
        Side {
            snapshot: self.snapshot,
            grown: &self.grown,
        }
    }

    /// The files that it is made of.
    pub fn sources(&self) -> Vec<usize> {
        let pieces = self.grown.pieces.iter().map(|piece| piece.source);
        pieces.chain([self.snapshot.source]).collect()
    }

    /// The service that it ends with.
    pub fn service(&self) -> Option<HexDigest> {
        self.grown.service()
    }

    /// What it leaves out, and what is to be said of that.
    pub fn take_left_out(&mut self, findings: &mut Findings) -> Vec<LeftOut> {
        merge(findings, std::mem::take(&mut self.findings));
        std::mem::take(&mut self.left_out)
    }

    /// What is said of it; `last` is the last entry from the start on.
    pub fn describe(&self, last: Seqno, directory: &Path) -> BridgedReport {
        BridgedReport {
            directory: directory.shown().to_string(),
            snapshot_seqno: self.snapshot.start.seqno,
            lost: Range {
                from_seqno: last + 1,
                to_seqno: self.snapshot.start.seqno,
            },
            last_signed: self.grown.signed.last().copied(),
            last_seqno: self.grown.last().unwrap_or(self.snapshot.start.seqno),
        }
    }
}

/// A snapshot and what follows it.
struct Side<'a> {
    snapshot: &'a Proven,
    grown: &'a Grown,
}

impl Side<'_> {
    fn last(&self) -> Seqno {
        self.grown.last().unwrap_or(self.snapshot.start.seqno)
    }

    fn is_of(&self, pool: &Pool, copy: Option<usize>) -> bool {
        copy.is_some_and(|copy| pool.holders(self.snapshot.source).contains(&copy))
    }

    fn is_related(&self, other: &Side<'_>) -> bool {
        let services = self.grown.state.trust.services();
        let mut theirs = other.grown.state.trust.services().iter();
        theirs.any(|service| services.iter().any(|own| own.identity == service.identity))
    }
}

/// Which of two bridges is taken, of which the second begins later and does not stand on the first.
fn between(pool: &Pool, one: &Side<'_>, other: &Side<'_>, wish: Wish) -> Result<Taken> {
    let is_wanted = |side: &Side<'_>| wish.service.is_some() && side.grown.service() == wish.service;
    let another = "it is not of the service that was asked for";
    match (is_wanted(one), is_wanted(other)) {
        (true, false) => return Ok(Taken::First(another.to_owned())),
        (false, true) => return Ok(Taken::Second(another.to_owned())),
        _ => {}
    }
    let at = other.snapshot.start.seqno;
    let is_contradicted = one.last() >= at;
    if one.is_related(other) && !is_contradicted {
        let shorter = "what follows another one reaches further";
        return Ok(match other.last() > one.last() {
            true => Taken::Second(shorter.to_owned()),
            false => Taken::First(shorter.to_owned()),
        });
    }
    if one.is_related(other) && one.last() > at {
        return choose(pool, one.grown, other.grown, at + 1, wish);
    }
    let preferred = "it is not that of the copy that was preferred";
    Ok(match (one.is_of(pool, wish.prefer), other.is_of(pool, wish.prefer)) {
        (true, false) => Taken::First(preferred.to_owned()),
        (false, true) => Taken::Second(preferred.to_owned()),
        _ => Taken::Neither(format!(
            "{} and {} lead to different ones",
            one.snapshot.path.shown(),
            other.snapshot.path.shown()
        )),
    })
}
