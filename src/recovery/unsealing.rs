//! Sealed files against a ledger: which version it asks for, and whether a secret is really its own.
//!
//! A secret counts only if it is of the version that the ledger's last write of the historical secrets names, opens the
//! chain of all older ones, and authenticates entries that were written under it. Recovery specification, sections 5.6 and
//! 6.4.

use super::recovery_tables::RecoveryTables;
use super::sealed_report::SealedReport;
use super::sealed_share::{NodeShare, open_sealed_share};
use super::secrets::{LedgerSecrets, Material, Opened, newest_version, open, walk_back};
use super::segments::Windows;
use crate::crypto::LedgerSecret;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::sealing::{KeySource, Refusal, Refused, SealedFiles, SealingKey, Unsealed, search};
use crate::shown::Show;
use crate::tables::values::{HistoricalSecret, SealedShares};

/// What unsealing gave.
pub struct Unsealing {
    /// What there is to say.
    pub report: SealedReport,
    /// All secrets of the ledger, if a file opens it.
    pub secrets: Option<LedgerSecrets>,
}

/// Looks for the sealed file that opens a ledger with these historical secrets, in order. `touchstones` answers entries that
/// were written under the secret that is valid from a seqno on.
pub fn unseal<T: AsRef<[Touchstone]>>(
    historical: &[(Seqno, HistoricalSecret)],
    sealed: &SealedFiles,
    touchstones: impl Fn(Seqno) -> T,
) -> Unsealing {
    let wanted = newest_version(historical);
    let accept = |unsealed: Unsealed| prove(historical, &unsealed.secret, touchstones(wanted).as_ref());
    let found = search(&sealed.directory, wanted, &*sealed.key, accept);
    let (used, secrets) = match found.found {
        Some((listed, secrets)) => (Some(crate::shown::line(&listed.name).into_owned()), Some(secrets)),
        None => (None, None),
    };
    Unsealing {
        report: SealedReport {
            place: sealed.directory.shown().to_string(),
            key_source: sealed.key.source().as_str(),
            insecure: sealed.key.source().is_insecure(),
            wanted_version: wanted,
            used,
            refused: found.refused,
        },
        secrets,
    }
}

/// All secrets of a ledger whose newest one is `latest`, proven on these entries, as far as there are any.
///
/// # Errors
/// In words, where it is not this ledger's.
pub fn prove(
    historical: &[(Seqno, HistoricalSecret)],
    latest: &LedgerSecret,
    touchstones: &[Touchstone],
) -> Result<LedgerSecrets, String> {
    let recovered_at = historical.last().map_or(1, |(seqno, _)| *seqno);
    let mut findings = Vec::new();
    let secrets = walk_back(historical, recovered_at, latest, &mut findings);
    if let Some(broken) = findings.first() {
        return Err(broken.message.clone());
    }
    match touchstones.is_empty() || touchstones.iter().any(|stone| stone.is_opened_by(&secrets)) {
        true => Ok(secrets),
        false => Err("no entry that was written under it opens with it".to_owned()),
    }
}

/// What is said of the ledger itself, where that holds what is sealed.
pub const IN_THE_LEDGER: &str = "the ledger";
/// What is said of a share in it.
const SHARE: &str = "sealed share";

/// Opens a ledger with the share that a node has sealed in it; answers what opened it.
///
/// # Errors
/// Why the share does not.
pub fn unseal_share(
    share: &Result<NodeShare, String>,
    shares: Option<&SealedShares>,
    historical: &[(Seqno, HistoricalSecret)],
    touchstones: &[Touchstone],
    key: &dyn SealingKey,
) -> Result<(String, LedgerSecrets), Refused> {
    let missing = |name: &str, why: &str| Refused::new(name, &Refusal::Missing(why.to_owned()));
    let share = share.as_ref().map_err(|why| missing(SHARE, why))?;
    let name = format!("{SHARE} of node {}", share.node);
    let shares = shares.ok_or_else(|| missing(&name, "the ledger holds no sealed shares"))?;
    let opened = open_sealed_share(shares, &share.node, &share.key, key)
        .and_then(|latest| prove(historical, &latest, touchstones).map_err(Refusal::NotOfThisLedger));
    match opened {
        Ok(secrets) => Ok((crate::shown::line(&name).into_owned(), secrets)),
        Err(refusal) => Err(Refused::new(&name, &refusal)),
    }
}

/// Opens a ledger with what is sealed in it or in files, or else with shares, whichever were given. What members would have
/// to say is asked only where nothing sealed opens it.
pub fn open_with(tables: &RecoveryTables, material: &Material, files: &LedgerFiles, at: Seqno) -> Opened {
    if material.sealed.is_none() && material.sealing_name.is_none() {
        return open(tables, material);
    }
    let Unsealing { report, secrets } = unseal_any(tables, material, files, at);
    if secrets.is_some() {
        return Opened {
            generation_seqno: None,
            sealed: Some(report),
            secrets,
            ..Opened::locked(tables)
        };
    }
    let finding = report.finding();
    let mut opened = match material.has_shares() {
        true => open(tables, material),
        false => Opened::locked(tables),
    };
    opened.findings.push(finding);
    opened.sealed = Some(report);
    opened
}

fn unseal_any(tables: &RecoveryTables, material: &Material, files: &LedgerFiles, at: Seqno) -> Unsealing {
    let touchstones = |from| Touchstone::read(files, from, at);
    let wanted_version = newest_version(&tables.historical);
    let mut refused = Vec::new();
    let report = |source: Option<KeySource>, used, refused| SealedReport {
        place: IN_THE_LEDGER.to_owned(),
        key_source: source.map_or("none", KeySource::as_str),
        insecure: source.is_some_and(KeySource::is_insecure),
        wanted_version,
        used,
        refused,
    };
    let named = material.sealing_name.as_ref();
    if let Some((name, key)) = named {
        let share = NodeShare::find_in(name, &tables.sealed);
        let shares = tables.sealed.shares.as_ref();
        match unseal_share(&share, shares, &tables.historical, &touchstones(wanted_version), &**key) {
            Ok((used, secrets)) => {
                return Unsealing {
                    report: report(Some(key.source()), Some(used), refused),
                    secrets: Some(secrets),
                };
            }
            Err(why) => refused.push(why),
        }
    }
    let Some(sealed) = &material.sealed else {
        let key = named.map(|(_, key)| key.source());
        return Unsealing {
            report: report(key, None, refused),
            secrets: None,
        };
    };
    let mut unsealing = unseal(&tables.historical, sealed, touchstones);
    unsealing.report.refused.splice(0..0, refused);
    unsealing
}

/// An entry of the ledger, which only the secret that it was written under authenticates, whether or not it has a private
/// domain.
pub struct Touchstone {
    seqno: Seqno,
    public: Vec<u8>,
    private: Vec<u8>,
    tag: [u8; 16],
    iv: [u8; 12],
}

/// The first entry of a secret may hold anything, as large as an entry may be; beyond this it is no good as a touchstone.
const MAX_TOUCHSTONE_BYTES: usize = 64 << 20;

impl Touchstone {
    /// Entries that were written under the secret that is valid from `from` on, in a ledger that ends with `last`: the first
    /// one and the last two, as far as they can be read. Nothing covers the very last signature, so it may have been altered
    /// without anybody noticing, and is not asked alone.
    pub fn read(files: &LedgerFiles, from: Seqno, last: Seqno) -> Vec<Touchstone> {
        let mut seqnos = vec![from, last.saturating_sub(1), last];
        seqnos.retain(|seqno| (from..=last).contains(seqno));
        seqnos.dedup();
        seqnos.iter().filter_map(|seqno| Self::at(files, *seqno)).collect()
    }

    fn at(files: &LedgerFiles, seqno: Seqno) -> Option<Touchstone> {
        let mut windows = Windows::new(files, seqno, seqno);
        let mut found = None;
        while let Ok(Some(window)) = windows.next_window() {
            for segment in &window {
                segment.for_each(|located| {
                    let entry = &located.entry;
                    if located.seqno == seqno
                        && entry.public.len() + entry.private.len() <= MAX_TOUCHSTONE_BYTES
                        && !segment.is_sparse_in(entry.private)
                    {
                        found = Some(Touchstone {
                            seqno,
                            public: entry.public.to_vec(),
                            private: entry.private.to_vec(),
                            tag: *entry.tag,
                            iv: *entry.iv_bytes,
                        });
                    }
                });
            }
        }
        found
    }

    /// Whether these secrets are the ones that it was written under.
    pub fn is_opened_by(&self, secrets: &LedgerSecrets) -> bool {
        let mut plaintext = zeroize::Zeroizing::new(Vec::new());
        let open = |secret: &super::secrets::SecretKeys, plaintext: &mut Vec<u8>| {
            secret
                .aead
                .open(&self.iv, &self.public, &self.tag, &self.private, plaintext)
                .is_ok()
        };
        secrets
            .at(self.seqno)
            .is_some_and(|secret| open(secret, &mut plaintext))
    }
}
