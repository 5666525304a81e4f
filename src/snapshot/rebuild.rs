//! A lost snapshot, sealed again from the state that the ledger gives: it is the one that was lost where its digest is the one
//! in the evidence, and nothing is written otherwise.
//!
//! What the ledger does not tell is tried, within the few ways that there are: how far beyond the state the store had come when the
//! snapshot was cut (maps that begin after it are in it, empty), and whether removed keys were kept, as in 1.x and 2.x.
//! Format specification, section 7.4.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::evidence::Evidence;
use super::receipt::Proof;
use super::replay::State;
use crate::crypto::x509::Certificate;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::{EntryType, is_public};
use crate::format::snapshot::{StateEntry, key_order, state_entry_len};
use crate::format::whole_file::{PUBLIC, WholeFile};
use crate::journal::SealKey;
use crate::journal::snapshot::{Draft, Maps};
use crate::kv::base::{Base, Live};
use crate::recovery::secrets::{LedgerSecrets, SecretKeys};
use crate::recovery::writes::{Keys, Order, Reader, in_groups};
use crate::tables::values::{ServiceInfo, from_json};
use crate::tables::{SINGLETON_KEY, names};

/// Ways that are tried at most, whatever a ledger says of maps that began after a state.
const MAX_ATTEMPTS: usize = 128;
/// Bytes that are sealed at most to find the right way: two minutes' work; a few attempts are made whatever they take.
const MAX_SEALED_BYTES: u64 = 64 << 30;
/// Attempts that are made in any case.
const MIN_ATTEMPTS: usize = 8;
/// Bytes of names of maps that are remembered from the entries between a state and its evidence.
const MAX_NAMES_BYTES: usize = 16 << 20;

/// Names of maps by the transactions that first write to them, between a state and its evidence.
pub type Born = Vec<(Seqno, String)>;

/// Reads which maps the transactions after `seqno`, up to `evidence`, write to, each where it is met first.
///
/// # Errors
/// If a file can't be read.
pub fn maps_after(
    files: &LedgerFiles,
    (seqno, evidence): (Seqno, Seqno),
    secrets: Option<&LedgerSecrets>,
) -> Result<Born> {
    let range = (seqno.saturating_add(1), evidence);
    let reader = Reader {
        from: range.0,
        until: range.1,
        tables: None,
        keys: secrets.map(|secrets| secrets as &dyn Keys),
        only: None,
    };
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut born = Born::new();
    let mut bytes = 0;
    if range.0 > range.1 {
        return Ok(born);
    }
    in_groups(files, range, Order::OldestFirst, |group| {
        for segment in group {
            reader.read(segment, |written| {
                if bytes < MAX_NAMES_BYTES && !known.contains(written.table) {
                    bytes += written.table.len();
                    known.insert(written.table.to_owned());
                    born.push((written.txid.seqno, written.table.to_owned()));
                }
            });
        }
        Ok(())
    })?;
    Ok(born)
}

/// How the lost snapshot was sealed, as far as it had to be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    /// So many of the maps that began later are in it.
    born: usize,
    /// Removed keys are in it.
    graves: bool,
}

/// A state as a snapshot of it holds it.
struct Content<'s> {
    base: &'s Base,
    graves: Option<&'s Base>,
    born: Vec<&'s str>,
}

impl Maps for Content<'_> {
    fn names(&self) -> Vec<(&str, u64)> {
        let mut names = self.base.maps();
        if let Some(graves) = self.graves {
            for (name, version) in &mut names {
                *version = graves
                    .version_of(name)
                    .map_or(*version, |removed| removed.max(*version));
            }
        }
        names.extend(self.born.iter().map(|name| (*name, 0)));
        names.sort_unstable();
        names
    }

    fn entries_len(&self, map: &str) -> u64 {
        let graves = self.graves.into_iter().flat_map(|graves| graves.iter(map));
        let graves: u64 = graves.map(|grave| state_entry_len(grave.key.len(), 0)).sum();
        self.base.entries_len(map) + graves
    }

    fn entries(&self, map: &str, each: &mut dyn FnMut(&StateEntry<'_>) -> Result<()>) -> Result<()> {
        let Some(graves) = self.graves else {
            return self.base.entries(map, each);
        };
        let mut graves = graves.ordered(map, key_order).peekable();
        for live in self.base.ordered(map, key_order) {
            while let Some(grave) =
                graves.next_if(|grave| (key_order(grave.key), grave.key) < (key_order(live.key), live.key))
            {
                each(&bury(&grave))?;
            }
            let entry = StateEntry {
                key: live.key,
                version: live.version as i64,
                value: live.value,
            };
            each(&entry)?;
        }
        for grave in graves {
            each(&bury(&grave))?;
        }
        Ok(())
    }
}

/// A removed key, as 1.x and 2.x kept it.
fn bury<'g>(grave: &Live<'g>) -> StateEntry<'g> {
    StateEntry {
        key: grave.key,
        version: (grave.version as i64).wrapping_neg(),
        value: &[],
    }
}

/// What a snapshot is rebuilt from.
pub struct Rebuilding<'a> {
    /// The evidence.
    pub evidence: &'a Evidence,
    /// The entries beside the state.
    pub proof: &'a Proof,
    /// Maps that begin between the state and the evidence.
    pub born: &'a Born,
    /// The ledger's secrets.
    pub secrets: &'a LedgerSecrets,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Bytes of the file.
    pub bytes: u64,
    /// Why it has no receipt, where there is none.
    pub without_receipt: Option<String>,
    /// Empty maps in it that began only after its state.
    pub born: usize,
    /// Removed keys are in it.
    pub graves: bool,
}

/// Why a snapshot can't be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ledger lacks something before it.
    Gap(String),
    /// A secret is missing.
    Locked(String),
    /// What the ledger gives has another digest.
    Differs(String),
    /// What proves it does not.
    Unproven(String),
}

impl Rebuilding<'_> {
    /// Writes the snapshot of `state` to `path`, with its receipt.
    ///
    /// # Errors
    /// If it can't be written. What the ledger lacks is the refusal inside.
    pub fn write(&self, state: &State, path: &Path) -> Result<std::result::Result<Rebuilt, Refusal>> {
        let (draft, secret) = match self.draft(state) {
            Ok(drafted) => drafted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let evidence_at = self.proof.evidence.txid;
        let receipt = match self.secrets.at(evidence_at.seqno) {
            Some(secret) => {
                let text = secret.commit.evidence_text(evidence_at.view, evidence_at.seqno);
                self.proof.receipt(&text, &services(state))
            }
            None => Err("no secret is known for its evidence transaction".to_owned()),
        };
        // 1.x knew no receipts; in all versions after it, one that does not verify is reason enough not to go on.
        let has_receipts = self.proof.entry_type.has_commit_evidence();
        let receipt = match receipt {
            Err(why) if has_receipts => return Ok(Err(Refusal::Unproven(why))),
            receipt => receipt,
        };
        let Some(way) = self.find(state, &draft)? else {
            return Ok(Err(Refusal::Differs(format!(
                "the state that the ledger gives at {} does not have the digest {} of its evidence, in none of the ways in which CCF \
                 seals it (secret of seqno {})",
                self.evidence.seqno,
                hex::encode(self.evidence.digest.0),
                secret.from_seqno
            ))));
        };
        let io = || Error::io("write", path);
        let mut file = WholeFile::create(path, PUBLIC)?.ends_with_process();
        let mut bytes = 0;
        let digest = self.seal(state, &draft, &way, |piece| {
            bytes += piece.len() as u64;
            file.write_all(piece).map_err(io())
        })?;
        if digest != self.evidence.digest.0 {
            return Ok(Err(Refusal::Differs("it was sealed twice with two results".to_owned())));
        }
        let without_receipt = match receipt {
            Ok(receipt) => {
                file.write_all(&receipt).map_err(io())?;
                bytes += receipt.len() as u64;
                None
            }
            Err(why) => Some(why),
        };
        file.finish()?;
        Ok(Ok(Rebuilt {
            bytes,
            without_receipt,
            born: way.born,
            graves: way.graves,
        }))
    }

    /// What does not depend on the way.
    fn draft(&self, state: &State) -> std::result::Result<(Draft, &SecretKeys), Refusal> {
        let seqno = self.evidence.seqno;
        if let Some(why) = state.gap() {
            return Err(Refusal::Gap(format!("its state is not known: {why}")));
        }
        if let Some(locked) = state.locked_at() {
            let why = format!("no ledger secret is known for private writes from seqno {locked} on");
            return Err(Refusal::Locked(why));
        }
        let secret = self
            .secrets
            .at(seqno)
            .ok_or_else(|| Refusal::Locked(format!("no ledger secret is known for seqno {seqno}")))?;
        let max_conflict_version = match self.proof.entry_type {
            EntryType::WriteSet => (seqno as i64).wrapping_sub(1),
            _ => 0,
        };
        let draft = Draft {
            seqno,
            leaf: self.proof.leaf,
            view_history: state.view_history.clone(),
            key: Arc::new(SealKey::new(&secret.secret)),
            max_conflict_version,
        };
        Ok((draft, secret))
    }

    /// The way in which this state has the digest of the evidence.
    fn find(&self, state: &State, draft: &Draft) -> Result<Option<Way>> {
        let mut sealed_bytes = 0;
        for (attempt, way) in self.ways(state).into_iter().enumerate() {
            if attempt >= MIN_ATTEMPTS && sealed_bytes > MAX_SEALED_BYTES {
                break;
            }
            let digest = self.seal(state, draft, &way, |piece| {
                sealed_bytes += piece.len() as u64;
                Ok(())
            })?;
            if digest == self.evidence.digest.0 {
                return Ok(Some(way));
            }
        }
        Ok(None)
    }

    /// The ways to try, the likely ones first.
    fn ways(&self, state: &State) -> Vec<Way> {
        let born: Vec<&(Seqno, String)> = self.born_in(state).collect();
        // Whole transactions: a store has all maps of one, or none.
        let ends = (1..=born.len()).filter(|&end| {
            let seqno_of = |number: usize| born.get(number).map(|(seqno, _)| *seqno);
            seqno_of(end) != seqno_of(end - 1)
        });
        let has_graves = state.graves.as_ref().is_some_and(|graves| !graves.is_empty());
        let kinds: &[bool] = match (has_graves, self.proof.entry_type) {
            (false, _) => &[false],
            (true, EntryType::WriteSetWithCommitEvidenceAndClaims) => &[false, true],
            (true, _) => &[true, false],
        };
        let all = std::iter::once(0)
            .chain(ends)
            .flat_map(|born| kinds.iter().map(move |graves| Way { born, graves: *graves }));
        all.take(MAX_ATTEMPTS).collect()
    }

    /// Maps that begin after the state.
    fn born_in<'s>(&'s self, state: &'s State) -> impl Iterator<Item = &'s (Seqno, String)> {
        self.born
            .iter()
            .filter(|(_, name)| state.maps(is_public(name)).version_of(name).is_none())
    }

    fn seal(
        &self,
        state: &State,
        draft: &Draft,
        way: &Way,
        put: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<crate::crypto::Digest> {
        let content = |public: bool| Content {
            base: state.maps(public),
            graves: state.graves.as_ref().filter(|_| way.graves),
            born: self
                .born_in(state)
                .take(way.born)
                .map(|(_, name)| name.as_str())
                .filter(|name| is_public(name) == public)
                .collect(),
        };
        draft.seal_into(&content(true), &content(false), put)
    }
}

/// The services that a state names: its own.
fn services(state: &State) -> Vec<Certificate> {
    let info = state.public.get(names::SERVICE_INFO, &SINGLETON_KEY);
    let info = info.and_then(|info| from_json::<ServiceInfo>(info.value).ok());
    info.and_then(|info| Certificate::from_pem(&info.cert).ok())
        .into_iter()
        .collect()
}
