//! When all is over: every machine loses its power, and the reading engine looks at what is on the disks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::checks::read;
use super::super::recovery::Place;
use super::super::tally::Tally as Readings;
use super::whole::Whole;
use super::world::World;
use crate::crypto::Digest;
use crate::format::{Seqno, TxId};
use crate::kv::base::Base;

/// A ledger: its files, and the digests of its entries.
pub(super) struct Best {
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    pub(super) entries: BTreeMap<Seqno, Digest>,
}

impl World<'_, Whole> {
    /// Checks the state of those that live, and every ledger; answers the best, with what of it is committed.
    pub(super) fn look(&mut self, place: &Place, readings: &mut Readings) -> Result<Best, String> {
        self.same_states()?;
        let mut best: Option<(TxId, Best)> = None;
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.is_alive {
                peer.crash()?;
            }
            let Some((last, ledger)) = self.read(&id, place, readings)? else {
                continue;
            };
            let is_better = best
                .as_ref()
                .is_none_or(|(before, _)| (last.view, last.seqno) > (before.view, before.seqno));
            if is_better {
                best = Some((last, ledger));
            }
        }
        let Some((_, mut best)) = best else {
            return Err("there is no ledger".to_owned());
        };
        let entries = &mut best.entries;
        for record in self.promises.records() {
            let txid = record.entry.txid;
            if entries.get(&txid.seqno).map(shorten) != Some(record.payload) {
                return Err(format!("{txid} is committed, and not in the best ledger"));
            }
        }
        for (txid, payload) in self.promises.acknowledged() {
            if entries.get(&txid.seqno).map(shorten) != Some(*payload) {
                return Err(format!(
                    "a client was told that {txid} is committed, and it is not in the best ledger"
                ));
            }
        }
        entries.split_off(&(self.promises.committed() + 1));
        Ok(best)
    }

    fn read(
        &self,
        id: &crate::channel::NodeId,
        place: &Place,
        readings: &mut Readings,
    ) -> Result<Option<(TxId, Best)>, String> {
        let Some(peer) = self.peers.get(id) else {
            return Ok(None);
        };
        if peer.durable == 0 {
            return Ok(None);
        }
        let files = peer.body.disk.durable().into_iter();
        let files = files.map(|(path, content)| (place.ledger.join(path.file_name().unwrap_or_default()), content));
        let files: Vec<_> = files.collect();
        place.put(&files)?;
        let known = peer.committed.min(peer.durable);
        let (last, entries) = read(place, known, readings).map_err(|why| format!("the ledger of {id}: {why}"))?;
        for record in self.promises.records().take(known as usize) {
            let txid = record.entry.txid;
            if entries.get(&txid.seqno).map(shorten) != Some(record.payload) {
                return Err(format!("the ledger of {id} has another entry than {txid}"));
            }
        }
        Ok(last.map(|last| (last, Best { files, entries })))
    }

    /// Who has committed the same has the same state.
    fn same_states(&self) -> Result<(), String> {
        let mut states: BTreeMap<Seqno, (String, Vec<String>)> = BTreeMap::new();
        for peer in self.peers.values().filter(|peer| peer.is_alive) {
            let Some(state) = peer.body.store.committed_at(peer.committed) else {
                continue;
            };
            let lines = in_words(&state.public);
            let (other, there) = states
                .entry(peer.committed)
                .or_insert_with(|| (peer.id.to_string(), lines.clone()));
            if let Some(at) = (0..lines.len().max(there.len())).find(|at| lines.get(*at) != there.get(*at)) {
                return Err(format!(
                    "the states of {} and {other} at {} differ: {:?}, {:?}",
                    peer.id,
                    peer.committed,
                    lines.get(at),
                    there.get(at)
                ));
            }
        }
        Ok(())
    }
}

fn shorten(digest: &Digest) -> u64 {
    digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Every key with its version and what it is worth.
fn in_words(base: &Base) -> Vec<String> {
    let mut lines = Vec::new();
    for (map, _) in base.maps() {
        for live in base.iter(map) {
            let (key, value) = (hex::encode(live.key), super::ground::payload(live.value));
            lines.push(format!("{map} {key} {} {value}", live.version));
        }
    }
    lines.sort_unstable();
    lines
}
