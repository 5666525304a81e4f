//! `verify --snapshots`: the content of each snapshot against the state that the verified ledger gives, in one replay.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::content::{Comparison, compare, compare_views, extra_map};
use super::rebuild::{Born, maps_after};
use super::replay::{Replay, State};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::snapshot::private_parts;
use crate::recovery::join::MAX_VIEW;
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::snapshots::{Compared, ContentVerdict, SnapshotFile, list};
use crate::recovery::state::MappedSnapshot;
use crate::recovery::verify::VerifyReport;
use crate::recovery::writes::Keys;
use crate::report::{Code, Finding, Verdict};
use crate::shown::Show;

/// Holds the content of the snapshots in these directories against the ledger, as far as the report proves it, and adds what it
/// finds to the report.
///
/// # Errors
/// If a file of the ledger can't be read.
pub fn check(replay: &Replay<'_>, directories: &[PathBuf], report: &mut VerifyReport) -> Result<()> {
    let proven_to = report.last_signed.map_or(0, |txid| txid.seqno);
    let mut stops: BTreeMap<Seqno, Vec<SnapshotFile>> = BTreeMap::new();
    for file in list(directories)? {
        // What is no snapshot was said to be none.
        let Ok(snapshot) = MappedSnapshot::open(&file.path) else {
            continue;
        };
        match why_not(replay, &file, snapshot.seqno, proven_to) {
            Some(why) => conclude(report, &file, ContentVerdict::nothing(why), Vec::new()),
            None => stops.entry(snapshot.seqno).or_default().push(file),
        }
    }
    let seqnos: Vec<Seqno> = stops.keys().copied().collect();
    replay.run(&seqnos, |state| {
        for file in stops.get(&state.at).into_iter().flatten() {
            let (content, findings) = check_one(replay, state, file)?;
            conclude(report, file, content, findings);
        }
        Ok(())
    })?;
    report
        .findings
        .sort_by_key(|finding| (finding.seqno.unwrap_or(Seqno::MAX), std::cmp::Reverse(finding.severity)));
    report.verdict = Verdict::of(&report.findings);
    Ok(())
}

/// Why a snapshot can't be held against the ledger.
fn why_not(replay: &Replay<'_>, file: &SnapshotFile, seqno: Seqno, proven_to: Seqno) -> Option<String> {
    let start = replay.start.map(|start| start.seqno);
    match () {
        () if !file.name.committed => Some("it was not committed".to_owned()),
        () if seqno > proven_to => Some(format!(
            "the ledger is proven up to {proven_to}, its state is of {seqno}"
        )),
        () if start == Some(seqno) => Some("this run starts from a snapshot of this state".to_owned()),
        () if seqno < replay.begins_at() => Some(format!("what is read begins at {}", replay.begins_at())),
        () => None,
    }
}

/// Puts an answer into the report.
fn conclude(report: &mut VerifyReport, file: &SnapshotFile, content: ContentVerdict, findings: Vec<Finding>) {
    let name = file.path.shown().to_string();
    let proven_to = report.last_signed.map(|txid| txid.seqno);
    if let Some(verdict) = report.snapshots.iter_mut().find(|verdict| verdict.file == name) {
        if Verdict::of(&findings) != Verdict::Ok {
            verdict.verdict = Verdict::Findings;
        }
        verdict.content = Some(content);
    }
    let findings = findings.into_iter().map(|finding| Finding { proven_to, ..finding });
    report.findings.extend(findings);
}

fn check_one(replay: &Replay<'_>, state: &State, file: &SnapshotFile) -> Result<(ContentVerdict, Vec<Finding>)> {
    if let Some(why) = state.gap() {
        return Ok((
            ContentVerdict::nothing(format!("the state is not known: {why}")),
            Vec::new(),
        ));
    }
    let say = |code: Code, why: String| Finding::new(code, why).file(&file.path).seqno(state.at);
    let walked = MappedSnapshot::open(&file.path).and_then(|snapshot| walk(&snapshot, state, replay.secrets));
    let (mut comparison, private) = match walked {
        Ok(walked) => walked,
        // A finding of the verification says so, too.
        Err(why) => return Ok((ContentVerdict::nothing(format!("it can't be read: {why}")), Vec::new())),
    };
    if !comparison.born.is_empty() {
        let range = (state.at, file.name.evidence_seqno.min(replay.files.last_seqno()));
        explain_born(&mut comparison, &maps_after(replay.files, range, replay.secrets)?);
    }
    let mut findings = Vec::new();
    if let Some(first) = &comparison.first {
        let more = match comparison.differences {
            ..2 => String::new(),
            more => format!(" ({} more differences)", more - 1),
        };
        findings.push(say(Code::SnapshotContent, format!("{}{more}", first.message)));
    }
    let (compared, why_not) = match private {
        Private::Compared => (Compared::All, None),
        Private::Left(why) => (Compared::Public, Some(why)),
        Private::Failed(why) => {
            findings.push(say(Code::Undecryptable, why.clone()));
            (Compared::Public, Some(why))
        }
    };
    let content = ContentVerdict {
        compared,
        keys: comparison.keys,
        differences: comparison.differences,
        first: comparison
            .first
            .as_ref()
            .and_then(|first| serde_json::to_value(first).ok()),
        why_not,
    };
    Ok((content, findings))
}

/// What became of a private part.
enum Private {
    /// It was compared, or there is none on either side.
    Compared,
    /// It was not, for this reason.
    Left(String),
    /// It does not open.
    Failed(String),
}

fn walk(snapshot: &MappedSnapshot, state: &State, secrets: Option<&LedgerSecrets>) -> Result<(Comparison, Private)> {
    let mut comparison = compare_views(state, &snapshot.view_history(MAX_VIEW)?);
    let (public, private) = rayon::join(
        || compare(state, true, |each| snapshot.public_parts(each)),
        || walk_private(snapshot, state, secrets),
    );
    comparison.add(public?);
    let (more, private) = private?;
    comparison.add(more);
    match snapshot.shrank() {
        // What was missing was read as zeros.
        true => Err(Error::Unreadable(
            "the file became shorter while it was read".to_owned(),
        )),
        false => Ok((comparison, private)),
    }
}

fn walk_private(
    snapshot: &MappedSnapshot,
    state: &State,
    secrets: Option<&LedgerSecrets>,
) -> Result<(Comparison, Private)> {
    let left = |why: Private| Ok((Comparison::default(), why));
    let Some(secrets) = secrets else {
        return match snapshot.has_private_part()? {
            true => left(Private::Left("no --member-key was given".to_owned())),
            // Whether there should be one, only the keys say.
            false => left(Private::Left("it has none, and no --member-key was given".to_owned())),
        };
    };
    if let Some(locked) = state.locked_at() {
        let why = format!("no ledger secret is known for private writes from seqno {locked} on");
        return left(Private::Left(why));
    }
    let Some(key) = secrets.key_at(state.at) else {
        return left(Private::Left(format!(
            "no ledger secret is known for seqno {}",
            state.at
        )));
    };
    let plaintext = match snapshot.private_plaintext(key) {
        Ok(plaintext) => plaintext,
        Err(why) => return left(Private::Failed(why.to_string())),
    };
    match compare(state, false, |each| private_parts(&plaintext, each)) {
        Ok(comparison) => Ok((comparison, Private::Compared)),
        Err(why) => left(Private::Failed(format!("its private part can't be read: {why}"))),
    }
}

/// Empty maps that the state does not have must begin in the entries up to the evidence.
fn explain_born(comparison: &mut Comparison, later: &Born) {
    let known: HashSet<&str> = later.iter().map(|(_, name)| name.as_str()).collect();
    for name in std::mem::take(&mut comparison.born) {
        if !known.contains(name.as_str()) {
            comparison.differ(|| extra_map(&name, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::{EntryIv, write_entry};
    use crate::format::snapshot::write_header;

    #[test]
    fn an_empty_map_that_no_later_transaction_began_is_nobodys() {
        let later = vec![(62, "public:later".to_owned()), (63, "later".to_owned())];
        let mut comparison = Comparison {
            born: vec!["public:later".to_owned(), "later".to_owned()],
            ..Comparison::default()
        };
        explain_born(&mut comparison, &later);
        assert_eq!(comparison.differences, 0);
        comparison.born = vec!["public:later".to_owned(), "public:nobody".to_owned()];
        explain_born(&mut comparison, &later);
        assert_eq!(comparison.differences, 1);
        assert_eq!(comparison.first.unwrap().table.as_deref(), Some("public:nobody"));
    }

    #[test]
    fn a_file_that_becomes_shorter_while_it_is_read_is_no_snapshot_of_another_state() {
        let (mut public, mut bytes) = (Vec::new(), Vec::new());
        write_header(&mut public, 61, &[3; 32], &[1]);
        let iv = EntryIv {
            seqno: 61,
            view: 0,
            snapshot: true,
        };
        write_entry(&mut bytes, 0, &[0; 16], iv, &public, b"").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot_61_62.committed");
        std::fs::write(&path, &bytes).unwrap();
        let mut state = State::default();
        (state.at, state.view_history) = (61, vec![1]);
        let snapshot = MappedSnapshot::open(&path).unwrap();
        assert_eq!(walk(&snapshot, &state, None).unwrap().0.differences, 0);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(bytes.len() as u64 - 1).unwrap();
        let why = walk(&snapshot, &state, None).err().unwrap().to_string();
        assert!(why.contains("became shorter"), "{why}");
    }
}
