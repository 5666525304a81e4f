//! The private pass of a recovery: every entry authenticated and decrypted once more, the live private state built.
//!
//! Newest first, as [`super::state`] does it, so that memory follows what is alive. Every entry is opened, also one
//! without a private domain, because that authenticates it; with the fingerprint this proves that the entries are those
//! which the public pass verified, and so have its root. Recovery specification, section 2.7.

use zeroize::Zeroizing;

use super::fingerprint::Fingerprint;
use super::loading::{Batch, Loading, newest_first};
use super::secrets::LedgerSecrets;
use super::segments::Segment;
use super::state::{MappedSnapshot, older_parts};
use super::writes::{Reader, finding, gaps, undecryptable};
use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::format::domain::Maps;
use crate::format::snapshot::private_parts;
use crate::format::{Malformed, Seqno};
use crate::kv::base::Base;
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Findings};

/// What the pass gave.
pub struct PrivateState {
    /// Live private keys and values.
    pub base: Base,
    /// Of the entries in range but the last one, which is the signature over them.
    pub fingerprint: Fingerprint,
    /// Entries read.
    pub entries: u64,
    /// What could not be decrypted or read.
    pub findings: Vec<Finding>,
}

/// Loads the private state as it is after `until`, the seqno of a signature: from the ledger after `snapshot`, or all
/// of it, and from the snapshot.
///
/// # Errors
/// If a file can't be read, or the snapshot does not open with the secret of its seqno.
pub fn load_private(
    files: &LedgerFiles,
    snapshot: Option<&MappedSnapshot>,
    secrets: &LedgerSecrets,
    until: Seqno,
    progress: &dyn Progress,
) -> Result<PrivateState> {
    let loading = Loading::default();
    let mut fingerprint = Fingerprint::default();
    let mut entries = 0;
    let from = snapshot.map_or(files.first_seqno(), |snapshot| snapshot.seqno + 1);
    let mut findings = gaps(files, (from, until));
    progress.begin("private", files.size_bytes());
    if from <= until {
        let read = |segment: &Segment| {
            let part = Part::read(segment, secrets, (from, until), &loading);
            progress.advance(segment.size_bytes, part.entries);
            part
        };
        newest_first(files, (from, until), read, |part| {
            loading.load(&part.batch);
            fingerprint.add(part.fingerprint);
            entries += part.entries;
            let found = part.findings.finish().into_iter();
            found.for_each(|found| findings.push(found));
        })?;
    }
    let mut base = loading.into_base();
    if let Some(snapshot) = snapshot {
        load_snapshot(snapshot, secrets, &mut base, &mut findings)?;
    }
    progress.end();
    base.finish_loading();
    Ok(PrivateState {
        base,
        fingerprint,
        entries,
        findings: findings.finish(),
    })
}

#[derive(Default)]
struct Part {
    batch: Batch,
    fingerprint: Fingerprint,
    entries: u64,
    findings: Findings,
}

impl Part {
    fn read(segment: &Segment, secrets: &LedgerSecrets, (from, until): (Seqno, Seqno), loading: &Loading) -> Part {
        let mut part = Part::default();
        let reader = Reader {
            from,
            until,
            tables: None,
            keys: None,
            only: None,
        };
        let mut plaintext = Zeroizing::new(Vec::new());
        let read = reader.entries(segment, |located, _| {
            let (entry, seqno) = (&located.entry, located.seqno);
            part.entries += 1;
            if seqno < until {
                part.fingerprint.add_entry(entry.raw);
            }
            let Some(secret) = secrets.at(seqno) else {
                let text = "no ledger secret is known for this entry".to_owned();
                part.findings
                    .push(finding(Code::NoSecret, text, segment, located.offset, seqno));
                return;
            };
            let opened = secret
                .aead
                .open(entry.iv_bytes, entry.public, entry.tag, entry.private, &mut plaintext);
            if opened.is_err() {
                part.findings.push(undecryptable(segment, located));
                return;
            }
            if entry.private.is_empty() {
                return;
            }
            if let Err(why) = part.take(Maps::private(&plaintext), seqno, loading) {
                let text = format!("the decrypted private writes can't be read: {why}");
                part.findings
                    .push(finding(Code::PrivateWrites, text, segment, located.offset, seqno));
            }
        });
        read.findings
            .finish()
            .into_iter()
            .for_each(|found| part.findings.push(found));
        part
    }

    fn take(&mut self, mut maps: Maps<'_>, seqno: Seqno, loading: &Loading) -> std::result::Result<(), Malformed> {
        while let Some(table) = maps.next_name()? {
            maps.writes(|write| self.batch.take(table, seqno, write, loading))?;
        }
        Ok(())
    }
}

fn load_snapshot(
    snapshot: &MappedSnapshot,
    secrets: &LedgerSecrets,
    base: &mut Base,
    findings: &mut Findings,
) -> Result<()> {
    let Some(secret) = secrets.at(snapshot.seqno) else {
        let text = "no ledger secret is known for the snapshot".to_owned();
        findings.push(
            Finding::new(Code::NoSecret, text)
                .file(snapshot.path())
                .seqno(snapshot.seqno),
        );
        return Ok(());
    };
    let plaintext = snapshot.private_plaintext(&secret.aead)?;
    if let Err(why) = private_parts(&plaintext, older_parts(base, |_| true)) {
        findings.push(
            Finding::new(Code::PrivateWrites, format!("the snapshot's private part: {why}")).file(snapshot.path()),
        );
    }
    Ok(())
}
