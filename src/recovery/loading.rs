//! A state being loaded, newest segment first: only the last write of each key is kept.
//!
//! Segments are read in parallel, in groups. What one group gave is loaded, in order, while the next is read: loading is one
//! thread's work, and would leave the others idle.

use std::sync::{PoisonError, RwLock};

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::segments::Segment;
use super::writes::{Order, in_groups};
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::Write;
use crate::kv::base::Base;

/// Reads the segments that hold `from..=until`, newest first and in parallel, and hands what each gave to `load`, in order.
///
/// # Errors
/// If a chunk can't be opened or shrinks while it is read.
pub(super) fn newest_first<P: Send>(
    files: &LedgerFiles,
    range: (Seqno, Seqno),
    read: impl Fn(&Segment) -> P + Sync,
    mut load: impl FnMut(P) + Send,
) -> Result<()> {
    let mut waiting: Vec<P> = Vec::new();
    in_groups(files, range, Order::NewestFirst, |group| {
        let loadable = std::mem::take(&mut waiting);
        let ((), parts) = rayon::join(
            || loadable.into_iter().for_each(&mut load),
            || group.par_iter().map(&read).collect(),
        );
        waiting = parts;
        Ok(())
    })?;
    waiting.into_iter().for_each(load);
    Ok(())
}

/// The state, as far as it is loaded.
#[derive(Default)]
pub(super) struct Loading(RwLock<Base>);

impl Loading {
    /// Whether a key is known to have been written by something newer than what is being read. Nobody waits for the answer:
    /// while something is being loaded it is no, and the write is found out when its turn comes.
    fn has_newer(&self, table: &str, key: &[u8]) -> bool {
        self.0.try_read().is_ok_and(|base| base.get(table, key).is_some())
    }

    /// Loads what the next older segment gave.
    pub(super) fn load(&self, batch: &Batch) {
        let mut base = self.0.write().unwrap_or_else(PoisonError::into_inner);
        batch.load_into(&mut base);
    }

    /// What was loaded; removals are still in it.
    pub(super) fn into_base(self) -> Base {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writes of a segment that may still count, copied: public ones from the file, private ones decrypted.
#[derive(Default)]
pub(super) struct Batch {
    /// Keys and values, one after the other.
    bytes: Zeroizing<Vec<u8>>,
    /// Table names, in the order in which they were met.
    tables: Vec<String>,
    writes: Vec<Kept>,
}

/// One write: lengths into [`Batch::bytes`].
struct Kept {
    seqno: Seqno,
    table: u32,
    key: usize,
    /// `None`: removed.
    value: Option<usize>,
}

impl Batch {
    /// Takes a write, unless it is known that a newer segment has written its key.
    pub(super) fn take(&mut self, table: &str, seqno: Seqno, write: Write<'_>, loading: &Loading) {
        if loading.has_newer(table, write.key) {
            return;
        }
        let table = self.table(table);
        self.bytes.extend_from_slice(write.key);
        self.bytes.extend_from_slice(write.value.unwrap_or_default());
        self.writes.push(Kept {
            seqno,
            table,
            key: write.key.len(),
            value: write.value.map(<[u8]>::len),
        });
    }

    fn table(&mut self, name: &str) -> u32 {
        let known = self.tables.iter().rposition(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.tables.push(name.to_owned());
            self.tables.len() - 1
        });
        number as u32
    }

    /// Loads the writes, last one first.
    fn load_into(&self, base: &mut Base) {
        let mut rest = self.bytes.as_slice();
        for write in self.writes.iter().rev() {
            let value_at = rest.len().saturating_sub(write.value.unwrap_or(0));
            let (before, value) = rest.split_at_checked(value_at).unwrap_or_default();
            let (before, key) = before
                .split_at_checked(value_at.saturating_sub(write.key))
                .unwrap_or_default();
            rest = before;
            if let Some(table) = self.tables.get(write.table as usize) {
                base.insert_if_absent(table, key, write.seqno, write.value.map(|_| value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(loading: &Loading, writes: &[(Seqno, &str, Option<&str>)]) -> Batch {
        let mut batch = Batch::default();
        for (seqno, key, value) in writes {
            let (key, value) = (key.as_bytes(), value.map(str::as_bytes));
            batch.take("t", *seqno, Write { key, value }, loading);
        }
        batch
    }

    fn live(loading: Loading) -> Vec<(String, String, Seqno)> {
        let mut base = loading.into_base();
        base.finish_loading();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        base.sorted("t")
            .map(|live| (text(live.key), text(live.value), live.version))
            .collect()
    }

    #[test]
    fn a_batch_is_loaded_from_its_end() {
        let loading = Loading::default();
        let writes = [
            (1, "k", Some("old")),
            (2, "k", None),
            (3, "k", Some("new")),
            (3, "l", Some("")),
        ];
        loading.load(&batch(&loading, &writes));
        assert_eq!(
            live(loading),
            [("k".into(), "new".into(), 3), ("l".into(), "".into(), 3)]
        );
    }

    #[test]
    fn what_is_newer_wins_whether_or_not_it_was_known_when_the_older_was_read() {
        let loading = Loading::default();
        let newest = batch(&loading, &[(7, "k", Some("new")), (8, "gone", None)]);
        let older = [(1, "k", Some("old")), (2, "gone", Some("here")), (3, "l", Some("1"))];
        // Read before the newest was loaded, and while it was being loaded: nothing is left out.
        let early = batch(&loading, &older);
        assert_eq!(early.writes.len(), 3);
        let held = loading.0.write().unwrap();
        assert_eq!(batch(&loading, &older).writes.len(), 3);
        drop(held);
        loading.load(&newest);
        // Read after it: what is superseded is not even copied, but for what was removed.
        let late = batch(&loading, &older);
        assert_eq!(late.writes.len(), 2);
        loading.load(&early);
        loading.load(&late);
        assert_eq!(
            live(loading),
            [("k".into(), "new".into(), 7), ("l".into(), "1".into(), 3)]
        );
    }
}
