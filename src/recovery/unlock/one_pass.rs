//! Entries opened while the tables that say with which secrets are still being read: one pass over the ledger, not two.
//!
//! The shares that count are the last ones, which may stand anywhere. But nearly always the secrets known at some place are
//! those in force before it, so every window is opened with what its past says. At the end the secrets are known, and what
//! was opened with others is opened again.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Tally, decrypt_range, decrypt_segment};
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::recovery::recovery_tables::{Found, RecoveryTables};
use crate::recovery::secrets::{LedgerSecrets, Material, Opened};
use crate::recovery::segments::{Segment, Window, Windows};
use crate::recovery::state::MappedSnapshot;
use crate::recovery::unsealing::open_with;
use crate::recovery::writes::in_windows;
use crate::report::progress::{Progress, Silent};

/// How often the secrets are guessed: opening shares takes milliseconds, with wrong ones among them more.
const GUESSES: usize = 64;

/// What was opened with a guess.
struct Part {
    /// First and last seqno.
    range: (Seqno, Seqno),
    guess: Option<Arc<LedgerSecrets>>,
    tally: Tally,
}

/// The secrets as they are after `at`, and what opening every entry up to there gave.
///
/// # Errors
/// If a file can't be read.
pub(super) fn open_and_decrypt(
    files: &LedgerFiles,
    snapshot: Option<&MappedSnapshot>,
    material: &Material,
    at: Seqno,
    progress: &dyn Progress,
) -> Result<(Opened, Tally)> {
    let windows = Windows::new(files, files.first_seqno(), at).reading_ahead();
    by_windows(files, windows, snapshot, material, at, progress)
}

fn by_windows(
    files: &LedgerFiles,
    windows: Windows<'_>,
    snapshot: Option<&MappedSnapshot>,
    material: &Material,
    at: Seqno,
    progress: &dyn Progress,
) -> Result<(Opened, Tally)> {
    let mut tables = RecoveryTables::before_the_ledger(snapshot)?;
    let mut guess = open_with(&tables, material, files, at).secrets.map(Arc::new);
    let mut guesses = 1;
    let mut parts: Vec<Part> = Vec::new();
    in_windows(windows, |window| {
        let range = range_of(window, at);
        let (mut tally, found) = read(window, guess.as_deref(), range, progress);
        if !found.is_empty() {
            found.into_iter().for_each(|found| tables.take(found));
            if guesses < GUESSES {
                guesses += 1;
                guess = open_with(&tables, material, files, at).secrets.map(Arc::new);
                (tally, _) = read(window, guess.as_deref(), range, &Silent);
            }
        }
        parts.push(Part {
            range,
            guess: guess.clone(),
            tally,
        });
        Ok(())
    })?;
    let opened = open_with(&tables, material, files, at);
    let mut total = Tally::default();
    if let Some(secrets) = &opened.secrets {
        for part in parts {
            let right = part.guess.is_some_and(|guess| are_same(&guess, secrets, part.range));
            total.add(match right {
                true => part.tally,
                false => decrypt_range(files, secrets, part.range, &Silent)?,
            });
        }
    }
    Ok((opened, total))
}

/// First and last seqno that are read from a window.
fn range_of(window: &Window, at: Seqno) -> (Seqno, Seqno) {
    let first = window.first().map_or(at, |segment| segment.from);
    let last = window.last().map_or(at, |segment| match segment.until {
        Some(until) => until.saturating_sub(1),
        // It goes on as far as anything can be read: nothing else does so from there.
        None => segment.chunk.file.last,
    });
    (first, last.min(at))
}

fn read(
    window: &Window,
    secrets: Option<&LedgerSecrets>,
    range: (Seqno, Seqno),
    progress: &dyn Progress,
) -> (Tally, Vec<Found>) {
    let each = |segment: &Segment| {
        let mut found = Vec::new();
        let tally = decrypt_segment(segment, secrets, range, &mut found);
        progress.advance(segment.size_bytes, tally.entries);
        (tally, found)
    };
    let parts: Vec<(Tally, Vec<Found>)> = window.par_iter().with_max_len(1).map(each).collect();
    let mut total = Tally::default();
    let mut all = Vec::new();
    for (tally, found) in parts {
        total.add(tally);
        all.extend(found);
    }
    (total, all)
}

/// Whether the same secrets are in force in all of a range.
fn are_same(one: &LedgerSecrets, other: &LedgerSecrets, (first, last): (Seqno, Seqno)) -> bool {
    let in_force = |secrets: &LedgerSecrets| -> Vec<(Seqno, [u8; 32])> {
        let before = secrets.at(first).map(|secret| secret.from_seqno);
        let known = secrets.iter().filter(|secret| {
            Some(secret.from_seqno) == before || (secret.from_seqno > first && secret.from_seqno <= last)
        });
        known
            .map(|secret| (secret.from_seqno, secret.commit.evidence_digest(0, secret.from_seqno)))
            .collect()
    };
    in_force(one) == in_force(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::DecryptionKey;
    use crate::fixture::{Options, generate};
    use crate::recovery::unlock::{decrypt_all, end_of_reading};
    use crate::shown::Show;

    #[test]
    fn what_was_opened_before_its_secrets_were_known_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            entries: 600,
            signature_every: 20,
            chunk_size: 8_000,
            rekey_every: 90,
            reshare_every: 70,
            recoveries: 2,
            ..Options::default()
        };
        generate(&options, directory.path(), &Silent).unwrap();
        let files = LedgerFiles::list(&[directory.path().join("ledger")], false).unwrap();
        let mut material = Material::default();
        for member in 0..2 {
            let path = directory.path().join(format!("common/member{member}_enc_privk.pem"));
            let pem = std::fs::read_to_string(&path).unwrap();
            let key = DecryptionKey::from_pem(&pem).unwrap();
            material.member_keys.push((path.shown().to_string(), key));
        }
        let at = end_of_reading(&files, None).unwrap();
        for window_bytes in [1, 30_000, u64::MAX] {
            let windows = Windows::new(&files, 1, at).of_bytes(window_bytes);
            let (opened, tally) = by_windows(&files, windows, None, &material, at, &Silent).unwrap();
            let secrets = opened.secrets.unwrap();
            assert!(secrets.iter().count() > 6);
            let twice = decrypt_all(&files, &secrets, at, &Silent).unwrap();
            let counts = |tally: &Tally| {
                (
                    tally.entries,
                    tally.bytes,
                    tally.private_decrypted,
                    tally.evidence_ok,
                    tally.findings.clone().finish().len(),
                )
            };
            assert_eq!(counts(&tally), counts(&twice), "windows of {window_bytes}");
            assert_eq!((tally.entries, tally.locked), (at, None));
            assert_eq!(
                (
                    tally.private_decrypted,
                    tally.evidence_ok,
                    tally.findings.clone().finish().len()
                ),
                (tally.private_domains, tally.evidence_checked, 0)
            );
        }
    }
}
