//! Entries and chunks as somebody writes them who has the storage and no key.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of an entry's header, tag, nonce and size of its public domain.
pub const HEAD: usize = 8 + 16 + 12 + 8;

/// The public domain of a transaction of type 0 with one write to each of these maps: (name, key, value).
pub fn domain(seqno: u64, writes: &[(&str, &[u8], &[u8])]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend(seqno.to_le_bytes());
    out.extend(0i64.to_le_bytes());
    let put = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
    };
    for (name, key, value) in writes {
        put(&mut out, name.as_bytes());
        for number in [0u64, 0, 1] {
            out.extend(number.to_le_bytes());
        }
        put(&mut out, key);
        put(&mut out, value);
        out.extend(0u64.to_le_bytes());
    }
    out
}

/// An entry's first bytes: its header says `size` bytes follow it, and `public` of these are the public domain.
pub fn head(seqno: u64, size: u64, public: u64) -> Vec<u8> {
    let mut out = (1u64 | size << 16).to_le_bytes().to_vec();
    out.extend([0; 16]);
    out.extend(seqno.to_le_bytes());
    out.extend(2u32.to_le_bytes());
    out.extend(public.to_le_bytes());
    out
}

/// A whole entry without a private domain.
pub fn entry(seqno: u64, writes: &[(&str, &[u8], &[u8])]) -> Vec<u8> {
    let domain = domain(seqno, writes);
    let mut out = head(seqno, (HEAD - 8 + domain.len()) as u64, domain.len() as u64);
    out.extend(domain);
    out
}

/// An open chunk of these bytes, with a hole after them.
pub fn chunk(path: &Path, entries: &[u8], hole: u64) {
    let file = File::create(path).unwrap();
    file.write_all_at(entries, 8).unwrap();
    file.set_len(8 + entries.len() as u64 + hole).unwrap();
}

/// An entry whose only write, to `table`, has a value of `size` bytes, of which none is written: what is to be written of it,
/// and the bytes that follow as a hole.
pub fn sparse_value(seqno: u64, table: &str, size: u64) -> (Vec<u8>, u64) {
    let mut public = domain(seqno, &[(table, &[0; 8], &[])]);
    let after_value = public.split_off(public.len() - 8);
    public.truncate(public.len() - 8);
    public.extend(size.to_le_bytes());
    // The number of removals after the value is zero: it lies in the hole, too.
    let hole = size + after_value.len() as u64;
    let length = public.len() as u64 + hole;
    let mut out = head(seqno, HEAD as u64 - 8 + length, length);
    out.extend(public);
    (out, hole)
}
