//! What an entry writes to private maps, as it was decrypted: a part of a buffer that several entries share.
//!
//! A ledger that is read at speed has one buffer for many entries, and no value of its own for each key.

use std::ops::Range;
use std::sync::Arc;

use zeroize::optimization_barrier;

use super::domain::{Maps, Write, WriteSet};

/// Decrypted bytes, which are overwritten in the end: all at once, because byte by byte takes as long as to decrypt them.
#[derive(Default)]
pub struct Opened(Vec<u8>);

impl Opened {
    /// With room for so many bytes: where more come, they are moved, and what they leave is not overwritten.
    pub fn with_capacity(bytes: usize) -> Opened {
        Opened(Vec::with_capacity(bytes))
    }

    /// To add to it.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.fill(0);
        optimization_barrier(self.0.as_slice());
    }
}

/// The writes of a decrypted private domain. Clones share its bytes, which are overwritten when the last of them goes.
#[derive(Clone, Default)]
pub struct PrivateWrites {
    shared: Option<Arc<Opened>>,
    at: Range<usize>,
}

impl PrivateWrites {
    /// The domain that lies at `at` in `shared`, and that whoever calls has read to its end.
    pub fn new(shared: &Arc<Opened>, at: Range<usize>) -> PrivateWrites {
        PrivateWrites {
            shared: (!at.is_empty()).then(|| Arc::clone(shared)),
            at,
        }
    }

    /// True if there is no domain, or nothing in it.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// The maps, as they lie in the domain.
    pub fn maps(&self) -> Maps<'_> {
        let shared = self.shared.as_ref().map_or(&[][..], |shared| shared.0.as_slice());
        Maps::private(shared.get(self.at.clone()).unwrap_or_default())
    }

    /// Hands every write to `each`, in the domain's order: where a key is written more than once, the last counts.
    pub fn for_each<'a>(&'a self, each: impl FnMut(&'a str, Write<'a>)) {
        // It was read to its end before: nothing in it can't be read.
        let _ = self.maps().for_each(each);
    }
}

/// What a write set writes to private maps.
impl From<&WriteSet> for PrivateWrites {
    fn from(writes: &WriteSet) -> PrivateWrites {
        let mut opened = Opened::default();
        writes.write_domain(false, opened.bytes());
        let at = 0..opened.0.len();
        PrivateWrites::new(&Arc::new(opened), at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_of_a_write_set_reads_back_and_what_is_public_stays_out() {
        let mut writes = WriteSet::new();
        writes.put("public:a", "k", "v");
        assert!(PrivateWrites::from(&writes).is_empty());
        writes.put("records", "2", "two");
        writes.remove("records", "1");
        let mut read = WriteSet::new();
        PrivateWrites::from(&writes).for_each(|map, write| match write.value {
            Some(value) => read.put(map, write.key, value),
            None => read.remove(map, write.key),
        });
        assert_eq!(read.maps().collect::<Vec<_>>(), ["records"]);
        assert_eq!(read.get("records", b"1"), Some(None));
        assert_eq!(read.get("records", b"2"), Some(Some(&b"two"[..])));
    }

    #[test]
    fn a_domain_ends_where_the_next_one_begins() {
        let mut first = WriteSet::new();
        first.put("m", "a", "1");
        let mut second = WriteSet::new();
        second.put("m", "b", "2");
        let mut bytes = Vec::new();
        first.write_domain(false, &mut bytes);
        let end = bytes.len();
        second.write_domain(false, &mut bytes);
        let all = bytes.len();
        let shared = Arc::new(Opened(bytes));
        let keys = |at: Range<usize>| {
            let writes = PrivateWrites::new(&shared, at);
            let mut keys = Vec::new();
            writes.for_each(|_, write| keys.push(write.key.to_vec()));
            keys
        };
        assert_eq!(keys(0..end), [b"a"]);
        assert_eq!(keys(end..all), [b"b"]);
        assert!(keys(0..0).is_empty());
    }
}
