//! What a ledger holds about its secrets at one seqno: shares, historical secrets, threshold, members' keys.
//!
//! Read once, in parallel; reassembly then touches a handful of values.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::de::DeserializeOwned;

use crate::crypto::rsa::EncryptionKey;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::Maps;
use crate::recovery::state::MappedSnapshot;
use crate::recovery::writes::{Order, Reader, in_groups};
use crate::tables::values::{
    HistoricalSecret, RecoveryShares, SealedRecoveryKey, SealedShares, ServiceConfig, from_json,
};
use crate::tables::{SINGLETON_KEY, names};

/// What the ledger holds about its secrets at one seqno.
pub struct RecoveryTables {
    /// The newest shares, and the seqno of their write.
    pub shares: Option<(Seqno, RecoveryShares)>,
    /// Every write of the historical secrets, in order.
    pub historical: Vec<(Seqno, HistoricalSecret)>,
    /// Shares needed.
    pub threshold: Option<u64>,
    /// Members' share-encryption keys, SPKI DER by member id.
    pub member_keys: BTreeMap<String, Vec<u8>>,
    /// What nodes have sealed in the ledger.
    pub sealed: SealedTables,
}

/// What nodes have sealed in the ledger, in the later design. Recovery specification, section 6.7.
#[derive(Default)]
pub struct SealedTables {
    /// The newest shares.
    pub shares: Option<SealedShares>,
    /// The key of each node, by its id.
    pub keys: BTreeMap<String, SealedRecoveryKey>,
    /// Ids of nodes by the names under which they seal.
    pub nodes: BTreeMap<String, String>,
}

const TABLES: [&str; 7] = [
    names::RECOVERY_SHARES,
    names::HISTORICAL_ENCRYPTED_LEDGER_SECRET,
    names::SERVICE_CONFIG,
    names::MEMBERS_ENCRYPTION_PUBLIC_KEYS,
    names::SEALED_SHARES,
    names::NODES_SEALED_RECOVERY_KEYS,
    names::NODES_LOCAL_SEALING_NODE_ID_MAP,
];

/// One of those tables, by its name.
#[inline]
fn wanted(name: &[u8]) -> Option<&'static str> {
    match name.starts_with(names::CCF_PREFIX.as_bytes()) {
        true => TABLES.into_iter().find(|table| table.as_bytes() == name),
        false => None,
    }
}

/// One write to one of those tables.
pub(super) struct Found {
    seqno: Seqno,
    table: &'static str,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// Adds the writes of an entry's public maps to those tables. Where the maps can't be read on, verification says so.
#[inline]
pub(super) fn pick_out(mut maps: Maps<'_>, seqno: Seqno, found: &mut Vec<Found>) {
    while let Ok(Some(name)) = maps.next_name_bytes() {
        let wanted = wanted(name);
        let walked = maps.writes(|write| {
            if let Some(table) = wanted {
                found.push(Found {
                    seqno,
                    table,
                    key: write.key.to_vec(),
                    value: write.value.map(<[u8]>::to_vec),
                });
            }
        });
        if walked.is_err() {
            return;
        }
    }
}

impl RecoveryTables {
    /// Reads them as they are after seqno `at`, from a snapshot (where the ledger begins after one) and the ledger.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn read(files: &LedgerFiles, snapshot: Option<&MappedSnapshot>, at: Seqno) -> Result<RecoveryTables> {
        let mut tables = Self::before_the_ledger(snapshot)?;
        let range = (files.first_seqno(), at);
        let reader = Reader {
            from: range.0,
            until: at,
            tables: None,
            keys: None,
            only: None,
        };
        in_groups(files, range, Order::OldestFirst, |group| {
            let found: Vec<Vec<Found>> = group
                .par_iter()
                .map(|segment| {
                    let mut found = Vec::new();
                    reader.entries(segment, |located, _| {
                        pick_out(located.maps(), located.seqno, &mut found)
                    });
                    found
                })
                .collect();
            found.into_iter().flatten().for_each(|found| tables.take(found));
            Ok(())
        })?;
        Ok(tables)
    }

    /// What is known before anything is read from the ledger: nothing, or what the snapshot holds that it begins after.
    pub(super) fn before_the_ledger(snapshot: Option<&MappedSnapshot>) -> Result<RecoveryTables> {
        let mut tables = RecoveryTables {
            shares: None,
            historical: Vec::new(),
            threshold: None,
            member_keys: BTreeMap::new(),
            sealed: SealedTables::default(),
        };
        if let Some(snapshot) = snapshot {
            snapshot.public_state(|map, entry| {
                if entry.version >= 0
                    && let Some(table) = wanted(map.as_bytes())
                {
                    tables.take(Found {
                        seqno: entry.version as u64,
                        table,
                        key: entry.key.to_vec(),
                        value: Some(entry.value.to_vec()),
                    });
                }
            })?;
        }
        Ok(tables)
    }

    /// Takes the next write. A value that can't be read counts as not written: verify reports it.
    pub(super) fn take(&mut self, found: Found) {
        let Found {
            seqno,
            table,
            key,
            value,
        } = found;
        match (table, value) {
            (names::MEMBERS_ENCRYPTION_PUBLIC_KEYS, value) => {
                let member = String::from_utf8_lossy(&key).into_owned();
                match value.and_then(|pem| spki_of_pem(&pem)) {
                    Some(spki) => self.member_keys.insert(member, spki),
                    None => self.member_keys.remove(&member),
                };
            }
            (names::NODES_SEALED_RECOVERY_KEYS, value) => set(&mut self.sealed.keys, &key, value),
            (names::NODES_LOCAL_SEALING_NODE_ID_MAP, value) => set(&mut self.sealed.nodes, &key, value),
            (_, Some(value)) if key == SINGLETON_KEY => match table {
                names::SEALED_SHARES => {
                    if let Ok(shares) = from_json(&value) {
                        self.sealed.shares = Some(shares);
                    }
                }
                names::RECOVERY_SHARES => {
                    if let Ok(shares) = from_json(&value) {
                        self.shares = Some((seqno, shares));
                    }
                }
                names::HISTORICAL_ENCRYPTED_LEDGER_SECRET => {
                    if let Ok(secret) = from_json(&value) {
                        self.historical.push((seqno, secret));
                    }
                }
                names::SERVICE_CONFIG => {
                    if let Ok(config) = from_json::<ServiceConfig>(&value) {
                        self.threshold = Some(config.recovery_threshold);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// Takes a value of a table with keys of text; one that can't be read is none.
fn set<T: DeserializeOwned>(map: &mut BTreeMap<String, T>, key: &[u8], value: Option<Vec<u8>>) {
    let key = String::from_utf8_lossy(key).into_owned();
    match value.and_then(|value| from_json(&value).ok()) {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// The DER inside a public key's PEM.
fn spki_of_pem(pem: &[u8]) -> Option<Vec<u8>> {
    let key = EncryptionKey::from_pem(std::str::from_utf8(pem).ok()?).ok()?;
    Some(key.spki_der().to_vec())
}
