//! Revocation lists that somebody gave, and whose they are.

use super::remembered::Remembered;
use crate::crypto::x509::RevocationList;
use crate::crypto::{sha256, sha256_parts};

/// Lists in the order in which they were given. Whose each is, is found out once for each root: there may be many lists,
/// and as many nodes under one root.
pub(super) struct Lists {
    all: Vec<RevocationList>,
    of_roots: Remembered<Vec<usize>>,
}

impl Lists {
    /// These.
    pub(super) fn new(all: Vec<RevocationList>) -> Lists {
        Lists {
            all,
            of_roots: Remembered::new(),
        }
    }

    /// With one more.
    pub(super) fn push(&mut self, list: RevocationList) {
        self.all.push(list);
        self.of_roots = Remembered::new();
    }

    /// Whether nobody gave any.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that the root with this name and key issued; `is_signed` says whether it signed one.
    pub(super) fn of_root(
        &self,
        subject_der: &[u8],
        spki_der: &[u8],
        is_signed: impl Fn(&RevocationList) -> bool,
    ) -> Vec<&RevocationList> {
        let root = sha256_parts(&[&sha256(subject_der), &sha256(spki_der)]);
        let look = || {
            let all = self.all.iter().enumerate();
            all.filter(|(_, list)| list.issuer_der() == subject_der && is_signed(list))
                .map(|(number, _)| number)
                .collect()
        };
        let found = self.of_roots.get(root, subject_der.len() + spki_der.len(), look);
        found.iter().filter_map(|number| self.all.get(*number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::attestation::testing::{p256_key, revocation_list};

    #[test]
    fn whose_a_list_is_is_found_out_once_for_each_root() {
        let key = p256_key(1);
        let list = || RevocationList::from_der(&revocation_list("ARK", &key, &[])).unwrap();
        let mut lists = Lists::new(vec![list(), list()]);
        let subject = list().issuer_der().to_vec();
        let asked = Cell::new(0);
        let of = |lists: &Lists, subject: &[u8], spki: &[u8]| {
            let is_signed = |_: &RevocationList| {
                asked.set(asked.get() + 1);
                spki == b"own"
            };
            lists.of_root(subject, spki, is_signed).len()
        };
        for _ in 0..3 {
            assert_eq!(of(&lists, &subject, b"own"), 2);
            assert_eq!(of(&lists, &subject, b"other"), 0);
            assert_eq!(of(&lists, b"another", b"own"), 0);
        }
        assert_eq!(asked.get(), 4, "two lists, two keys under their name");
        lists.push(list());
        assert_eq!(of(&lists, &subject, b"own"), 3);
    }
}
