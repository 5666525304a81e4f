//! Submitted recovery shares: stored under the new ledger secret, put together as soon as there are enough.
//!
//! Where CCF clears everybody's shares as soon as one of the first few is wrong, here those that were not needed yet may
//! still come: with one share more than the threshold the wrong one is found, and named. Recovery specification,
//! sections 2.7 and 5.5.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

use super::secrets::broadcast;
use super::shares::{Role, holders, threshold};
use super::{put, service_info, value};
use crate::crypto::{AeadKey, GcmBlob, Share, ShareFormat, seal_blob};
use crate::format::Seqno;
use crate::journal::succession::{KnownSecret, random_iv};
use crate::kv::store::Transaction;
use crate::recovery::recovery_tables::{RecoveryTables, SealedTables};
use crate::recovery::secrets::{LedgerSecrets, Material, open};
use crate::report::Finding;
use crate::tables::names;
use crate::tables::values::{Base64, HistoricalSecret, RecoveryShares, ServiceStatus, from_json, to_json};

/// What became of a submission.
pub struct Submitted {
    /// Shares at hand, this one included.
    pub count: u64,
    /// Shares needed.
    pub threshold: u64,
    /// Whether this one is the whole key.
    pub full_key: bool,
    /// What the shares opened, if there were enough.
    pub opened: Option<Opened>,
}

/// What enough shares opened.
pub struct Opened {
    /// Keys of the whole ledger before this service.
    pub secrets: LedgerSecrets,
    /// The last secret before this service.
    pub latest: KnownSecret,
    /// Shares that were found to be wrong.
    pub findings: Vec<Finding>,
}

/// Why a submission was refused.
#[derive(Debug)]
pub enum Refused {
    /// Nothing was written: the share can't be one, or none is waited for.
    Invalid(String),
    /// The service does not wait for shares.
    NotWaiting,
    /// There were enough shares, but they don't open the ledger. What was written stands: either the shares were
    /// cleared, or they are kept until another one shows which is wrong.
    DoNotOpen {
        /// What was found.
        why: String,
        /// Whether everybody has to submit again.
        cleared: bool,
    },
    /// The tables can't be read.
    Failed(String),
}

/// Takes the share of `member`. `current` is the secret of the new service, `historical` every value of the ledger's
/// historical secrets.
///
/// # Errors
/// [`Refused`].
pub fn submit(
    transaction: &mut Transaction<'_>,
    member: &str,
    share: &[u8],
    current: &KnownSecret,
    historical: &[(Seqno, HistoricalSecret)],
    rng: &mut ChaCha20Rng,
) -> Result<Submitted, Refused> {
    let info = service_info(transaction).map_err(Refused::Failed)?;
    if info.status != ServiceStatus::WaitingForRecoveryShares {
        return Err(Refused::NotWaiting);
    }
    let parsed = Share::parse(share).map_err(|why| Refused::Invalid(why.to_string()))?;
    let key = current.secret.aead();
    let sealed = seal_blob(&key, &random_iv(rng), share)
        .map_err(|why| Refused::Failed(format!("can't seal the share: {why}")))?;
    transaction.put(names::ENCRYPTED_SUBMITTED_SHARES, member, to_json(&Base64(sealed)));
    let shares = submitted(transaction, &key).map_err(Refused::Failed)?;
    let full_key = parsed.format() == ShareFormat::Owner;
    let threshold = threshold(transaction).unwrap_or(1);
    let count = shares.len() as u64;
    let mut answer = Submitted {
        count,
        threshold,
        full_key,
        opened: None,
    };
    if count < threshold && !full_key {
        return Ok(answer);
    }
    let opened = reassemble(transaction, &shares, threshold, historical);
    match opened {
        Ok(opened) => {
            let all = known_secrets(&opened.secrets, historical);
            let list = all.iter().map(|known| (Some(known.from), known));
            let secrets = broadcast(transaction, list, rng).map_err(Refused::Failed)?;
            put(transaction, names::ENCRYPTED_LEDGER_SECRETS, &secrets);
            answer.opened = Some(opened);
            Ok(answer)
        }
        Err(why) => {
            let others = holders(transaction)
                .iter()
                .any(|holder| holder.role == Role::Participant && !shares.contains_key(&holder.id));
            if !others {
                transaction.clear(names::ENCRYPTED_SUBMITTED_SHARES);
            }
            Err(Refused::DoNotOpen { why, cleared: !others })
        }
    }
}

/// The shares at hand, by member.
fn submitted(transaction: &Transaction<'_>, key: &AeadKey) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, String> {
    let mut shares = BTreeMap::new();
    for (member, value) in transaction.entries(names::ENCRYPTED_SUBMITTED_SHARES) {
        let member = String::from_utf8_lossy(&member).into_owned();
        let blob: Base64 = from_json(&value).map_err(|why| format!("the share of {member} can't be read: {why}"))?;
        let share = GcmBlob::parse(&blob.0).and_then(|blob| blob.open(key));
        shares.insert(
            member.clone(),
            share.map_err(|why| format!("the share of {member} can't be opened: {why}"))?,
        );
    }
    Ok(shares)
}

fn reassemble(
    transaction: &Transaction<'_>,
    shares: &BTreeMap<String, Zeroizing<Vec<u8>>>,
    threshold: u64,
    historical: &[(Seqno, HistoricalSecret)],
) -> Result<Opened, String> {
    let generation: RecoveryShares =
        value(transaction, names::RECOVERY_SHARES).ok_or("the ledger holds no recovery shares")?;
    let at = transaction.version(names::RECOVERY_SHARES, &crate::tables::SINGLETON_KEY);
    let tables = RecoveryTables {
        shares: Some((at.unwrap_or(0), generation)),
        historical: historical.to_vec(),
        threshold: Some(threshold),
        member_keys: BTreeMap::new(),
        sealed: SealedTables::default(),
    };
    let parsed = shares
        .iter()
        .filter_map(|(member, share)| Some((member.clone(), Share::parse(share).ok()?)));
    let material = Material {
        shares: parsed.collect(),
        ..Material::default()
    };
    let opened = open(&tables, &material);
    let found = opened.findings;
    let words = || {
        let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
        messages.join("; ")
    };
    let secrets = opened.secrets.ok_or_else(words)?;
    let latest = known_secrets(&secrets, historical).pop().ok_or_else(words)?;
    Ok(Opened {
        secrets,
        latest,
        findings: found,
    })
}

/// The secrets with the seqnos of the writes that introduced them, oldest first.
pub(super) fn known_secrets(secrets: &LedgerSecrets, historical: &[(Seqno, HistoricalSecret)]) -> Vec<KnownSecret> {
    let introduced = |from: Seqno| {
        let write = historical
            .iter()
            .rfind(|(seqno, value)| value.next_version.unwrap_or(seqno + 1) == from);
        write.map(|(seqno, _)| *seqno)
    };
    let known = secrets.iter().map(|secret| KnownSecret {
        secret: secret.secret.clone(),
        from: secret.from_seqno,
        previous_stored: introduced(secret.from_seqno),
    });
    known.collect()
}
