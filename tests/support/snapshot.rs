//! Entries of snapshots with any state.

use rekindle::crypto::Digest;
use rekindle::format::Seqno;
use rekindle::format::entry::{EntryIv, write_entry};
use rekindle::format::snapshot::{
    StateEntry, key_order, state_entry_len, write_header, write_map_head, write_state_entry,
};

/// One value of a snapshot's state: table, key, seqno of its write (negative: it was removed), value.
pub type Row<T> = (T, Vec<u8>, i64, Vec<u8>);

/// The entry of a snapshot with this public state; `views` are the first seqnos of each view.
pub fn entry<T: AsRef<str>>(seqno: Seqno, leaf: &Digest, views: &[Seqno], rows: &[Row<T>]) -> Vec<u8> {
    let mut public = Vec::new();
    write_header(&mut public, seqno, leaf, views);
    let mut tables: Vec<&str> = rows.iter().map(|row| row.0.as_ref()).collect();
    tables.sort_unstable();
    tables.dedup();
    for table in tables {
        let mut entries: Vec<StateEntry<'_>> = rows
            .iter()
            .filter(|row| row.0.as_ref() == table)
            .map(|(_, key, version, value)| StateEntry {
                key,
                version: *version,
                value,
            })
            .collect();
        entries.sort_by_key(|entry| (key_order(entry.key), entry.key));
        let len = entries
            .iter()
            .map(|entry| state_entry_len(entry.key.len(), entry.value.len()));
        let mut out = |bytes: &[u8]| -> Result<(), ()> {
            public.extend_from_slice(bytes);
            Ok(())
        };
        write_map_head(&mut out, table, 1, len.sum()).unwrap();
        for entry in &entries {
            write_state_entry(&mut out, entry).unwrap();
        }
    }
    let iv = EntryIv {
        seqno,
        view: 0,
        snapshot: true,
    };
    let mut raw = Vec::new();
    write_entry(&mut raw, 0, &[0; 16], iv, &public, b"").unwrap();
    raw
}
