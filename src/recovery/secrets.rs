//! Ledger secrets: from members' shares to the newest one, and back through the chain of all older ones.
//!
//! Nothing here can print a secret: [`LedgerSecrets`] has no Debug, and a report names members, formats and seqnos only.

use std::sync::Arc;

use serde::Serialize;

use crate::crypto::aead::AeadKey;
use crate::crypto::kdf::CommitSecret;
use crate::crypto::rsa::DecryptionKey;
use crate::crypto::shares::{LedgerSecret, Share, ShareFormat, combine, is_consistent};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::recovery::recovery_tables::RecoveryTables;
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::writes::{Keys, value_at};
use crate::report::{Code, Finding};
use crate::sealing::{SealedFiles, SealingKey};
use crate::tables::names;
use crate::tables::values::{HistoricalSecret, PreviousSecret, RecoveryShares, from_json};

/// One ledger secret, ready for use.
pub struct SecretKeys {
    /// First seqno it is valid for.
    pub from_seqno: Seqno,
    /// Seqno of the write it was recovered from.
    pub recovered_at_seqno: Seqno,
    /// Opens private domains.
    pub aead: AeadKey,
    /// Gives commit evidence.
    pub commit: CommitSecret,
    /// The secret itself, for nodes that join.
    pub secret: LedgerSecret,
}

/// All secrets of a ledger, by first seqno.
#[derive(Default)]
pub struct LedgerSecrets {
    secrets: Vec<SecretKeys>,
}

impl LedgerSecrets {
    /// The secret in force at `seqno`.
    #[inline]
    pub fn at(&self, seqno: Seqno) -> Option<&SecretKeys> {
        let after = self.secrets.partition_point(|secret| secret.from_seqno <= seqno);
        self.secrets.get(after.checked_sub(1)?)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &SecretKeys> {
        self.secrets.iter()
    }

    /// The secrets before the oldest of these, as far as the ledger at hand has them: each write that keeps a secret names
    /// the one before it. After a start from a snapshot, the public pass has not met them.
    pub fn before(&self, files: &LedgerFiles) -> LedgerSecrets {
        let mut older = LedgerSecrets::default();
        let Some(oldest) = self.secrets.first() else {
            return older;
        };
        let read = |seqno: Seqno| -> Option<PreviousSecret> {
            let value = value_at(files, names::HISTORICAL_ENCRYPTED_LEDGER_SECRET, seqno)?;
            from_json::<HistoricalSecret>(&value).ok()?.previous_ledger_secret
        };
        let (mut known, mut at) = (oldest.secret.clone(), oldest.recovered_at_seqno);
        let mut kept = read(at);
        while let Some(earlier) = kept
            .and_then(|kept| kept.previous_secret_stored_version)
            .filter(|earlier| *earlier < at)
        {
            kept = read(earlier);
            at = earlier;
            let Some(previous) = &kept else { break };
            let Ok(secret) = known.unseal(&previous.encrypted_data.0) else {
                continue; // sealed twice, as an election inside a recovery does
            };
            older.insert(previous.version, at, &secret);
            known = secret;
        }
        older
    }

    /// Those of a list: the first seqno that each seals, and the seqno of the write that stored the one before it.
    pub fn of<'s>(list: impl IntoIterator<Item = (Seqno, Seqno, &'s LedgerSecret)>) -> LedgerSecrets {
        let mut secrets = LedgerSecrets::default();
        for (from, stored_at, secret) in list {
            secrets.insert(from, stored_at, secret);
        }
        secrets
    }

    /// One more, from this seqno on.
    pub fn add(&mut self, from_seqno: Seqno, secret: &LedgerSecret) {
        self.forget_from(from_seqno);
        self.insert(from_seqno, from_seqno, secret);
    }

    /// Forgets those that seal from this seqno on or later.
    pub fn forget_from(&mut self, seqno: Seqno) {
        self.secrets.retain(|known| known.from_seqno < seqno);
    }

    fn insert(&mut self, from_seqno: Seqno, recovered_at_seqno: Seqno, secret: &LedgerSecret) {
        let keys = SecretKeys {
            from_seqno,
            recovered_at_seqno,
            aead: secret.aead(),
            commit: secret.commit_secret(),
            secret: secret.clone(),
        };
        let at = self.secrets.partition_point(|known| known.from_seqno < from_seqno);
        self.secrets.insert(at, keys);
    }
}

impl Keys for LedgerSecrets {
    fn key_at(&self, seqno: Seqno) -> Option<&AeadKey> {
        self.at(seqno).map(|secret| &secret.aead)
    }
}

/// Keys and shares that were given, with the name by which each is shown.
#[derive(Default)]
pub struct Material {
    /// Members' private share-encryption keys, by file.
    pub member_keys: Vec<(String, DecryptionKey)>,
    /// Shares that are decrypted already, by file.
    pub shares: Vec<(String, Share)>,
    /// Sealed files, which are tried before shares of members.
    pub sealed: Option<SealedFiles>,
    /// The name under which a machine's nodes seal in the ledger, and its key: tried first of all.
    pub sealing_name: Option<(String, Arc<dyn SealingKey>)>,
}

impl Material {
    /// Whether there is anything of members in it.
    pub fn has_shares(&self) -> bool {
        !self.member_keys.is_empty() || !self.shares.is_empty()
    }
}

/// What is said of one share.
#[derive(Clone, Debug, Serialize)]
pub struct ShareReport {
    /// The member's id; the file's name for a share that was given decrypted, or a key that fits no member.
    pub member: String,
    /// "new", "old" or "owner"; none where there is no share.
    pub format: Option<&'static str>,
    /// Whether the secret was reassembled from it.
    pub used: bool,
    /// "ok", "wrong", or why there is none.
    pub verdict: String,
}

/// What reassembly gave.
pub struct Opened {
    /// Seqno of the shares that were used.
    pub generation_seqno: Option<Seqno>,
    /// Shares needed.
    pub threshold: u64,
    /// The shares.
    pub shares: Vec<ShareReport>,
    /// The sealed files, if some were given.
    pub sealed: Option<SealedReport>,
    /// The secrets; none if the shares don't open the ledger.
    pub secrets: Option<LedgerSecrets>,
    /// What went wrong.
    pub findings: Vec<Finding>,
}

impl Opened {
    /// Nothing is opened yet.
    pub(super) fn locked(tables: &RecoveryTables) -> Opened {
        Opened {
            generation_seqno: tables.shares.as_ref().map(|(seqno, _)| *seqno),
            threshold: tables.threshold.unwrap_or(1),
            shares: Vec::new(),
            sealed: None,
            secrets: None,
            findings: Vec::new(),
        }
    }
}

struct Candidate {
    report: ShareReport,
    share: Option<Share>,
}

/// Reassembles the newest secret and walks back through all older ones.
pub fn open(tables: &RecoveryTables, material: &Material) -> Opened {
    let mut opened = Opened::locked(tables);
    let Some((generation, shares)) = &tables.shares else {
        opened.findings.push(Finding::new(
            Code::NotUnlocked,
            "the ledger holds no recovery shares up to this seqno: the service had not opened yet",
        ));
        return opened;
    };
    let mut candidates = candidates(tables, shares, material);
    let latest = reassemble(
        &mut candidates,
        shares,
        opened.threshold,
        *generation,
        &mut opened.findings,
    );
    opened.shares = candidates.into_iter().map(|candidate| candidate.report).collect();
    opened.secrets = latest.map(|latest| walk_back(&tables.historical, *generation, &latest, &mut opened.findings));
    opened
}

/// Every share that the keys give, and those given as they are.
fn candidates(tables: &RecoveryTables, shares: &RecoveryShares, material: &Material) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (file, key) in &material.member_keys {
        let member = tables
            .member_keys
            .iter()
            .find(|(_, spki)| spki.as_slice() == key.public_spki_der());
        let (member, outcome) = match member {
            None => (
                file,
                Err("no member of this service has this key at this seqno".to_owned()),
            ),
            Some((member, _)) => (member, decrypt_share(shares, member, key)),
        };
        candidates.push(candidate(member, outcome));
    }
    for (file, share) in &material.shares {
        candidates.push(candidate(
            file,
            Share::parse(&share.to_bytes()).map_err(|e| e.to_string()),
        ));
    }
    candidates
}

fn decrypt_share(shares: &RecoveryShares, member: &str, key: &DecryptionKey) -> std::result::Result<Share, String> {
    let encrypted = shares
        .encrypted_shares
        .get(member)
        .ok_or("this member takes no part in recoveries: it has no share")?;
    let share = key
        .decrypt(&encrypted.0)
        .map_err(|e| format!("wrong: the share can't be decrypted: {e}"))?;
    Share::parse(&share).map_err(|e| format!("wrong: {e}"))
}

fn candidate(member: &str, outcome: std::result::Result<Share, String>) -> Candidate {
    let (share, verdict) = match outcome {
        Ok(share) => (Some(share), "unused".to_owned()),
        Err(why) => (None, why),
    };
    Candidate {
        report: ShareReport {
            member: member.to_owned(),
            format: share.as_ref().map(|share| match share.format() {
                ShareFormat::New => "new",
                ShareFormat::Old => "old",
                ShareFormat::Owner => "owner",
            }),
            used: false,
            verdict,
        },
        share,
    }
}

/// Subsets of shares tried before giving up; each costs about 20 µs, so this is some seconds.
const MAX_SUBSETS: usize = 200_000;

/// Finds shares that open the wrapped secret, and judges the others by them.
fn reassemble(
    candidates: &mut [Candidate],
    shares: &RecoveryShares,
    threshold: u64,
    generation: Seqno,
    findings: &mut Vec<Finding>,
) -> Option<LedgerSecret> {
    let wrapped = &shares.wrapped_latest_ledger_secret.0;
    let available: Vec<usize> = distinct(candidates);
    let mut outcome: Option<(Vec<usize>, LedgerSecret)> = None;
    let mut witnesses: Option<Vec<usize>> = None;
    for format in [ShareFormat::Owner, ShareFormat::New, ShareFormat::Old] {
        let of_format: Vec<usize> = available
            .iter()
            .copied()
            .filter(|&i| {
                candidates
                    .get(i)
                    .and_then(|c| c.share.as_ref())
                    .is_some_and(|share| share.format() == format)
            })
            .collect();
        let needed = if format == ShareFormat::Owner {
            1
        } else {
            threshold as usize
        };
        if needed == 0 || of_format.len() < needed {
            continue;
        }
        let mut found = None;
        for_each_subset(&of_format, needed, MAX_SUBSETS, |subset| {
            let chosen: Vec<&Share> = subset
                .iter()
                .filter_map(|&i| candidates.get(i)?.share.as_ref())
                .collect();
            let secret = combine(&chosen, needed).and_then(|key| key.unwrap_secret(wrapped)).ok();
            found = secret.map(|secret| (subset.to_vec(), secret));
            found.is_none()
        });
        // An owner's key needs no others, but those that are there are judged all the same.
        if let Some((subset, _)) = found.as_ref().filter(|_| format != ShareFormat::Owner) {
            witnesses = Some(subset.clone());
        }
        outcome = outcome.or(found);
    }
    let Some((used, secret)) = outcome else {
        findings.push(not_unlocked(candidates, threshold, available.len(), generation));
        return None;
    };
    judge(candidates, &used, witnesses.as_deref(), generation, findings);
    Some(secret)
}

/// Indices of candidates with a share, without those whose index and format another one has too with equal bytes.
fn distinct(candidates: &mut [Candidate]) -> Vec<usize> {
    let mut seen: Vec<zeroize::Zeroizing<Vec<u8>>> = Vec::new();
    let mut available = Vec::new();
    for (i, candidate) in candidates.iter_mut().enumerate() {
        let Some(share) = &candidate.share else {
            continue;
        };
        let bytes = share.to_bytes();
        if seen.contains(&bytes) {
            candidate.report.verdict = "given twice".to_owned();
            candidate.share = None;
            continue;
        }
        seen.push(bytes);
        available.push(i);
    }
    available
}

/// Says of every share whether it is right: those that were used are, and others by the ones that open the secret.
fn judge(
    candidates: &mut [Candidate],
    used: &[usize],
    witnesses: Option<&[usize]>,
    generation: Seqno,
    findings: &mut Vec<Finding>,
) {
    let good: Vec<Share> = witnesses
        .unwrap_or(&[])
        .iter()
        .filter_map(|&i| Share::parse(&candidates.get(i)?.share.as_ref()?.to_bytes()).ok())
        .collect();
    let good: Vec<&Share> = good.iter().collect();
    for (i, candidate) in candidates.iter_mut().enumerate() {
        let report = &mut candidate.report;
        report.used = used.contains(&i);
        if let Some(share) = &candidate.share {
            let consistent = !good.is_empty() && is_consistent(&good, share);
            report.verdict = match (report.used || consistent, share.format()) {
                (true, _) => "ok",
                (false, ShareFormat::Owner) => "wrong",
                (false, _) if good.is_empty() => "undecided",
                (false, _) => "wrong",
            }
            .to_owned();
        }
        if report.verdict.starts_with("wrong") {
            let text = format!(
                "the share of {} is not one of this generation (seqno {generation}): it is of another service, or from before the last refresh",
                report.member
            );
            findings.push(Finding::new(Code::WrongShare, text).seqno(generation));
        }
    }
}

fn not_unlocked(candidates: &mut [Candidate], threshold: u64, available: usize, generation: Seqno) -> Finding {
    for candidate in candidates.iter_mut().filter(|candidate| candidate.share.is_some()) {
        candidate.report.verdict = "undecided".to_owned();
    }
    let text = match available as u64 {
        n if n < threshold => format!(
            "{n} of the {threshold} shares needed are at hand for the generation of seqno {generation}; {} more are needed",
            threshold - n
        ),
        n => format!(
            "{n} shares for a threshold of {threshold}, but no {threshold} of them open the ledger secret of seqno {generation}: \
             at least one is wrong, of another service or from before the last refresh; with one more share than the threshold \
             a wrong one can be named"
        ),
    };
    Finding::new(Code::NotUnlocked, text).seqno(generation)
}

/// Calls `each` with every subset of `size`, until it answers false or `bound` subsets were tried.
fn for_each_subset(items: &[usize], size: usize, bound: usize, mut each: impl FnMut(&[usize]) -> bool) {
    let mut chosen: Vec<usize> = (0..size).collect();
    for _ in 0..bound {
        let subset: Vec<usize> = chosen.iter().filter_map(|&i| items.get(i).copied()).collect();
        if !each(&subset) {
            return;
        }
        // The next combination in lexicographic order: raise the last index that can be raised.
        let Some(at) = (0..size)
            .rev()
            .find(|&at| chosen.get(at).is_some_and(|&i| i + size < items.len() + at))
        else {
            return;
        };
        let next = chosen.get(at).map_or(0, |&i| i + 1);
        for (index, next) in chosen.iter_mut().skip(at).zip(next..) {
            *index = next;
        }
    }
}

/// The first seqno of the newest secret of a ledger with these historical secrets, in order.
pub fn newest_version(historical: &[(Seqno, HistoricalSecret)]) -> Seqno {
    historical.last().map_or(1, |(seqno, value)| {
        value.next_version.unwrap_or(seqno.saturating_add(1))
    })
}

/// From the newest secret to the first (format specification, section 8.4).
pub(super) fn walk_back(
    historical: &[(Seqno, HistoricalSecret)],
    generation: Seqno,
    latest: &LedgerSecret,
    findings: &mut Vec<Finding>,
) -> LedgerSecrets {
    let mut secrets = LedgerSecrets::default();
    secrets.insert(newest_version(historical), generation, latest);
    let mut newest = latest.clone();
    for (seqno, value) in historical.iter().rev() {
        let Some(previous) = &value.previous_ledger_secret else {
            break;
        };
        if secrets.iter().any(|known| known.from_seqno == previous.version) {
            continue; // sealed twice, as an election inside a recovery does
        }
        match newest.unseal(&previous.encrypted_data.0) {
            Ok(secret) => {
                secrets.insert(previous.version, *seqno, &secret);
                newest = secret;
            }
            Err(_) => {
                let text = format!(
                    "the ledger secret of seqno {} can't be decrypted with the one that followed it; older ones are out of reach",
                    previous.version
                );
                findings.push(Finding::new(Code::SecretChain, text).seqno(*seqno));
                break;
            }
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subset_is_met_once() {
        let mut met = Vec::new();
        for_each_subset(&[10, 11, 12, 13], 2, 100, |subset| {
            met.push(subset.to_vec());
            true
        });
        assert_eq!(met, [[10, 11], [10, 12], [10, 13], [11, 12], [11, 13], [12, 13]]);
    }
}
