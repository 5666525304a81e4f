//! The public phase: the old ledger verified, its public state loaded, and the decision what is kept.
//!
//! Nothing is written here. What can't be kept is said before anything is dropped: a copy that would lose what was
//! signed is refused unless the operator named the seqno to end at. Recovery specification, sections 2.1 to 2.5.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::config::Config;
use super::directory::{has_committed_tail, signed_but_not_read};
use super::opening::InterruptedOpening;
use super::previous::{check_previous, check_signed_by};
use super::status::Status;
use crate::crypto::Certificate;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::journal::files::sync_names;
use crate::kv::base::Base;
use crate::recovery::foundation::Foundation;
use crate::recovery::join::Mode;
use crate::recovery::snapshots;
use crate::recovery::state::{MappedSnapshot, Selection, load_state};
use crate::recovery::verify::{Options, VerifyReport, verify};
use crate::report::progress::Silent;
use crate::report::{Code, Finding, Severity};
use crate::shown::Show;

/// What the public phase gives.
pub struct Public {
    /// The files as they were read.
    pub files: LedgerFiles,
    /// The snapshot that was started from.
    pub snapshot: Option<PathBuf>,
    /// What a new service is built on.
    pub foundation: Foundation,
    /// The public state at the last signature.
    pub base: Base,
}

/// All directories of the ledger, the main one first.
pub fn ledger_directories(config: &Config) -> Vec<PathBuf> {
    let ledger = &config.ledger;
    std::iter::once(&ledger.directory)
        .chain(&ledger.read_only_directories)
        .cloned()
        .collect()
}

/// Everything may be in read-only directories: what a new service writes still needs a place.
///
/// # Errors
/// [`Error::Io`].
pub fn make_main_directory(config: &Config) -> Result<()> {
    let main = &config.ledger.directory;
    match main.is_dir() {
        true => Ok(()),
        false => {
            std::fs::create_dir_all(main).map_err(Error::io("make the directory", main))?;
            sync_names(main)
        }
    }
}

/// Lists the ledger's files, those of an opening that was interrupted among them. There may be none where there is a
/// committed snapshot: its state is enough to go on from.
///
/// # Errors
/// If a directory can't be read, or there is neither.
pub fn list(config: &Config, opening: &InterruptedOpening) -> Result<LedgerFiles> {
    let directories = ledger_directories(config);
    let files = opening.list(&directories)?;
    match start_candidates(config)?.is_empty() {
        true => files.or_none_found(&directories),
        false => Ok(files),
    }
}

/// The certificate of the service that the newest usable snapshot is of, where there is no ledger that would tell.
///
/// # Errors
/// If a directory can't be read.
pub fn service_in_snapshot(
    config: &Config,
    files: &LedgerFiles,
    drop_after: Option<Seqno>,
) -> Result<Option<Arc<Certificate>>> {
    if !files.chunks.is_empty() {
        return Ok(None);
    }
    let candidates = candidates_up_to(config, drop_after)?;
    let start = candidates
        .iter()
        .find_map(|file| snapshots::start_from(&file.path).ok());
    Ok(start.and_then(|start| start.trust.service_certificate().cloned()))
}

/// Verifies the ledger and loads its public state. `drop_after` is the seqno after which the operator said that everything is
/// to be dropped: nothing after it is read.
///
/// # Errors
/// If the ledger can't be read, nothing in it is proven, something signed would be lost, or the previous identity
/// that was given is not the ledger's.
pub fn recover_public(
    config: &Config,
    files: LedgerFiles,
    previous: Option<&Certificate>,
    drop_after: Option<Seqno>,
    status: &Status,
) -> Result<Public> {
    status.expects(files.last_seqno().min(drop_after.unwrap_or(Seqno::MAX)));
    let began = Instant::now();
    let (snapshot, report) = verify_from_best_snapshot(config, &files, drop_after, status)?;
    tracing::info!(
        entries = report.entries,
        took_s = began.elapsed().as_secs_f64(),
        "the ledger is verified"
    );
    status.find(&report.findings);
    let foundation = match report.foundation {
        Some(foundation) => *foundation,
        None => return Err(drop_after.map_or_else(|| nothing_signed(&report), |asked| not_signed(asked, None))),
    };
    check_signed_by(&foundation.signed, previous)?;
    let last = foundation.signed.txid.seqno;
    if files.chunks.is_empty() {
        status.expects(last);
    }
    status.committed(last);
    check_loss(
        &files,
        &report.findings,
        report.unsigned_entries,
        &foundation,
        drop_after,
    )?;
    let mapped = snapshot.as_deref().map(MappedSnapshot::open).transpose()?;
    if let Some(mapped) = &mapped {
        status.begins_at(mapped.seqno);
    }
    let selection = Selection {
        at: last,
        tables: None,
        keys: None,
        progress: status,
        written: Some(&foundation.written),
    };
    let began = Instant::now();
    let state = load_state(&files, mapped.as_ref(), &selection)?;
    tracing::info!(
        keys = state.base.len(),
        took_s = began.elapsed().as_secs_f64(),
        "the public state is loaded"
    );
    let unread: Vec<Finding> = state.tally.findings.finish();
    if unread.iter().any(Finding::costs_entries) {
        status.find(&unread);
        return Err(Error::Unreadable(
            "the ledger changed between two readings; does something else write to it?".to_owned(),
        ));
    }
    if let Some(previous) = previous {
        check_previous(&state.base, previous)?;
    }
    Ok(Public {
        files,
        snapshot,
        foundation,
        base: state.base,
    })
}

/// Verifies from the newest snapshot with a proven signature after it, or from the ledger's start. Where no signature of
/// the ledger can be built on, the newest snapshot is, whose receipt proves its own.
fn verify_from_best_snapshot(
    config: &Config,
    files: &LedgerFiles,
    drop_after: Option<Seqno>,
    status: &Status,
) -> Result<(Option<PathBuf>, VerifyReport)> {
    let has_ledger = !files.chunks.is_empty();
    let mut unusable = Vec::new();
    let mut alone: Option<(PathBuf, VerifyReport)> = None;
    for snapshot in candidates_up_to(config, drop_after)? {
        let seqno = snapshot.name.seqno;
        if has_ledger && seqno + 1 < files.first_seqno() {
            break; // the ledger begins after this and all older ones: verifying from its start says so
        }
        let start = match snapshots::start_from(&snapshot.path) {
            Ok(start) => start,
            Err(why) if has_ledger && seqno > files.last_seqno() => return Err(newer(&snapshot, files, Some(&why))),
            Err(why) => {
                tracing::warn!("{why}");
                unusable.push(why);
                continue;
            }
        };
        let seqno = start.seqno;
        if drop_after.is_some_and(|asked| seqno > asked) {
            continue;
        }
        if has_ledger && seqno > files.last_seqno() {
            return Err(newer(&snapshot, files, None));
        }
        if let Some(first) = unusable.first().filter(|_| !has_ledger && drop_after != Some(seqno)) {
            return Err(Error::Unreadable(format!(
                "{first}. There is no ledger, and the newest snapshot that can be used holds the state at seqno {seqno}: what \
                 came after it would be lost. Nothing was changed. Find ledger chunks, or another copy of the newer snapshot; \
                 or, to lose what came after for good, start with --drop-after {seqno}"
            )));
        }
        let evidence = start.evidence.seqno;
        let report = verify(files, &options(Some(start), drop_after), status)?;
        if let Some(why) = report.findings.iter().find(|found| found.code == Code::SnapshotReceipt) {
            tracing::warn!(path = %snapshot.path.shown(), "not starting from this snapshot: {}", why.message);
            continue;
        }
        // Its receipt is by one node or service: only a signature over its evidence, in the same service, shows that its
        // state is that of the ledger's history.
        let lost = report.services.get(1).is_some_and(|next| next.from_seqno <= evidence);
        let is_after = |foundation: &Foundation| foundation.signed.txid.seqno > evidence && !lost;
        match &report.foundation {
            Some(foundation) if is_after(foundation) => {
                tracing::info!(seqno, path = %snapshot.path.shown(), "starting from a snapshot");
                return Ok((Some(snapshot.path), report));
            }
            Some(_) if !has_ledger => {
                tracing::warn!(seqno, path = %snapshot.path.shown(), "there is no ledger: starting from a snapshot alone");
                return Ok((Some(snapshot.path), report));
            }
            Some(_) if alone.is_none() => alone = Some((snapshot.path, report)),
            _ => {}
        }
        tracing::warn!(
            seqno,
            "no signature after this snapshot's evidence: trying an older one, or none"
        );
    }
    if !has_ledger {
        let why = unusable.first().map_or(String::new(), |why| format!(": {why}"));
        return Err(Error::Unreadable(format!(
            "there is no ledger, and no snapshot that can be started from{why}. Give the directory that holds the chunk files, \
             the node's ledger.directory, or a snapshot that is whole"
        )));
    }
    let whole = verify(files, &options(None, drop_after), status)?;
    let reach = |report: &VerifyReport| report.foundation.as_ref().map(|at| at.signed.txid.seqno);
    match alone.filter(|(_, report)| reach(report) > reach(&whole)) {
        Some((path, report)) => {
            let seqno = reach(&report);
            tracing::warn!(seqno, path = %path.shown(), "nothing but the snapshot proves its state: starting from it");
            Ok((Some(path), report))
        }
        None => Ok((None, whole)),
    }
}

/// The ledger ends before a snapshot's state: entries that were committed are in no file.
fn newer(snapshot: &snapshots::SnapshotFile, files: &LedgerFiles, unusable: Option<&Error>) -> Error {
    let (path, seqno, last) = (snapshot.path.shown(), snapshot.name.seqno, files.last_seqno());
    Error::Unreadable(match unusable {
        None => format!(
            "snapshot {path} holds the state at seqno {seqno}, but the ledger ends at {last}: the entries between are in no \
             file. Find the missing chunks; or take the snapshot out of its directory, to recover without them; or take the \
             chunks out of theirs, to recover the snapshot's state without the entries"
        ),
        Some(why) => format!(
            "the name of snapshot {path} says that the ledger went on to seqno {seqno}, but it ends at {last}, and {why}. Find \
             the missing chunks, or, if this is no snapshot of this ledger, take it out of its directory"
        ),
    })
}

fn options(from_snapshot: Option<snapshots::Start>, until: Option<Seqno>) -> Options {
    Options {
        mode: Some(Mode::Audit),
        from_snapshot,
        until,
        keep_foundation: true,
        ..Options::default()
    }
}

/// Verifies what lies below the snapshot that was started from, on one thread beside everything else: no recovery waits
/// for it, but whoever looks at the findings sees damage there.
pub fn check_below(config: &Config, status: &Status) {
    let until = status.startup_seqno();
    let work = || -> Result<VerifyReport> {
        let mut files = LedgerFiles::list_any(&ledger_directories(config), false)?;
        // What else is in the directories was said before; by now, that is this node's own as well.
        files.notes.clear();
        let first = files.first_seqno();
        let why = match files.chunks.is_empty() {
            true => "no chunk is left of it".to_owned(),
            false if first != 1 => {
                format!("the ledger begins at seqno {first}, so nothing before the snapshot can be proven")
            }
            false => String::new(),
        };
        if !why.is_empty() {
            return Err(Error::Unreadable(why));
        }
        let options = Options {
            mode: Some(Mode::Audit),
            until: Some(until),
            ..Options::default()
        };
        verify(&files, &options, &Silent)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let report = match pool {
        Ok(pool) => pool.install(work),
        Err(why) => Err(Error::Usage(format!("no thread could be started: {why}"))),
    };
    match report {
        Ok(report) => {
            let whole = report.verdict.exit_code() == 0;
            tracing::info!(
                until,
                whole,
                entries = report.entries,
                "the ledger below the snapshot is verified"
            );
            status.find(&report.findings);
        }
        Err(why) => tracing::warn!(until, "the ledger below the snapshot can't be verified: {why}"),
    }
}

/// Committed snapshots, newest first.
fn start_candidates(config: &Config) -> Result<Vec<snapshots::SnapshotFile>> {
    let read_only = config.snapshots.read_only_directory.iter();
    let directories: Vec<PathBuf> = std::iter::once(&config.snapshots.directory)
        .chain(read_only)
        .filter(|directory| directory.is_dir())
        .cloned()
        .collect();
    let mut found = snapshots::list(&directories)?;
    found.retain(|snapshot| snapshot.name.committed && snapshot.path.metadata().is_ok_and(|meta| meta.len() > 0));
    found.reverse();
    Ok(found)
}

/// Those that don't lie after what is kept.
fn candidates_up_to(config: &Config, drop_after: Option<Seqno>) -> Result<Vec<snapshots::SnapshotFile>> {
    let mut found = start_candidates(config)?;
    found.retain(|snapshot| drop_after.is_none_or(|asked| snapshot.name.seqno <= asked));
    Ok(found)
}

fn nothing_signed(report: &VerifyReport) -> Error {
    let why = report
        .findings
        .iter()
        .find(|finding| finding.severity == Severity::Error);
    let why = why.map_or(String::new(), |finding| {
        format!(": {} {}; {}", finding.code.as_str(), finding.message, finding.next)
    });
    Error::Unreadable(format!("No signature found after recovery{why}"))
}

/// A ledger ends with a signature that is proven, and nowhere else.
fn not_signed(asked: Seqno, last: Option<Seqno>) -> Error {
    let last = last.map_or("nothing up to it is proven".to_owned(), |last| {
        format!("the last one up to it is {last}")
    });
    Error::Usage(format!(
        "--drop-after {asked}: there is no proven signature at this seqno, {last}. Give the seqno of one, such as a refused \
         recovery names; `rekindle verify --until SEQNO` says which is the last one up to a seqno"
    ))
}

/// Refuses to lose what was signed, unless that was asked for.
fn check_loss(
    files: &LedgerFiles,
    findings: &[Finding],
    dropped: u64,
    foundation: &Foundation,
    drop_after: Option<Seqno>,
) -> Result<()> {
    let last = foundation.signed.txid.seqno;
    if let Some(asked) = drop_after {
        if asked != last {
            return Err(not_signed(asked, Some(last)));
        }
        let dropped = files.last_seqno().saturating_sub(last);
        tracing::warn!(
            last_signed = last,
            dropped,
            "everything after is dropped, as --drop-after says: it was not read"
        );
        return Ok(());
    }
    let first = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error && finding.seqno.is_some_and(|seqno| seqno > last))
        // That entries come after the last proven signature is what follows, not what is wrong.
        .min_by_key(|finding| (finding.code == Code::Unsigned, finding.seqno));
    if let Some(first) = first {
        tracing::error!(
            failed_seqno = first.seqno.unwrap_or(0),
            last_signed = last,
            dropped,
            "the replay ends early: {}",
            first.message
        );
    } else if dropped > 0 {
        tracing::warn!(
            last_signed = last,
            dropped,
            "entries after the last signature are dropped"
        );
    }
    let signed_later = foundation.last_signature_read > last;
    if let Some((path, seqno)) = signed_but_not_read(files, last)? {
        return Err(Error::Unreadable(format!(
            "recovering from these directories would drop what was signed: {} is not committed and in a read-only directory, \
             where such files are not read, but it holds a signature at seqno {seqno}, and the last one that is read is {last}. \
             Nothing was changed. Put a copy of the file into the main ledger directory; or, to lose these entries for good, \
             start with --drop-after {last}",
            path.shown()
        )));
    }
    if !has_committed_tail(files, last) && !signed_later {
        return Ok(());
    }
    let why = first.map_or(String::new(), |finding| {
        let file = finding
            .file
            .as_ref()
            .map_or(String::new(), |file| format!(" in {file}"));
        format!(
            " The replay fails at seqno {}{file}: {} {}. Next: {}.",
            finding.seqno.unwrap_or(0),
            finding.code.as_str(),
            finding.message,
            finding.next
        )
    });
    let after = files.last_seqno().saturating_sub(last);
    Err(Error::Unreadable(format!(
        "recovering from this copy would drop what was signed: everything is proven up to seqno {last}, {after} entries \
         after it are not.{why} Nothing was changed. Recover from another copy (`rekindle compare` finds the best), or, to \
         lose these entries for good, start with --drop-after {last}"
    )))
}
