//! What proves that a secret is a ledger's own: an entry that was written under it.

use super::secrets::{LedgerSecrets, SecretKeys};
use super::segments::Windows;
use crate::crypto::Digest;
use crate::format::Seqno;
use crate::format::cursor::Cursor;
use crate::format::directory::LedgerFiles;
use crate::format::domain::{Maps, PublicHeader};
use crate::merkle::tree::TreeView;
use crate::tables::values::{Signature, from_json};
use crate::tables::{SINGLETON_KEY, names};

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

    /// The signature that was verified over everything up to it, as it is in the files now; none if another root stands there
    /// than the one that was verified.
    ///
    /// Whoever makes up a ledger, signed from its first entry to its last, can carry in it an entry of another service, and
    /// would have the secret of that service. He can't carry its signature: a tag over this ledger's root was made by nobody
    /// but who had the secret and signed this ledger.
    pub fn signed(files: &LedgerFiles, seqno: Seqno, root: &Digest) -> Option<Touchstone> {
        let touchstone = Self::at(files, seqno)?;
        (recorded_root(&touchstone.public)? == *root).then_some(touchstone)
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
        let open = |secret: &SecretKeys, plaintext: &mut Vec<u8>| {
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

/// The root that the public domain of a signature transaction records, or that of the tree in it.
fn recorded_root(public: &[u8]) -> Option<Digest> {
    let mut cursor = Cursor::new(public);
    PublicHeader::read(&mut cursor).ok()?;
    let (mut signature, mut tree) = (None, None);
    let walked = Maps::new(cursor).for_each(|table, write| match table {
        names::SIGNATURES if write.key == SINGLETON_KEY => signature = write.value,
        names::TREE if write.key == SINGLETON_KEY => tree = write.value,
        _ => {}
    });
    walked.ok()?;
    match signature {
        Some(value) => from_json::<Signature>(value).ok().map(|signature| signature.root.0),
        None => TreeView::parse(tree?).ok()?.root(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Options, generate};
    use crate::journal::SignatureMode;
    use crate::recovery::verify::{self, verify};
    use crate::report::progress::Silent;

    #[test]
    fn only_the_verified_signature_is_a_touchstone_of_a_node() {
        for signatures in [SignatureMode::Dual, SignatureMode::Cose, SignatureMode::Node] {
            let scratch = tempfile::tempdir().unwrap();
            let service = scratch.path().join("service");
            let options = Options {
                entries: 40,
                signature_every: 10,
                members: 1,
                threshold: 1,
                signatures,
                ..Options::default()
            };
            generate(&options, &service, &Silent).unwrap();
            let files = LedgerFiles::list(&[service.join("ledger")], false).unwrap();
            let report = verify(&files, &verify::Options::default(), &Silent).unwrap();
            let (last, root) = (report.last_signed.unwrap().seqno, report.root.unwrap().0);
            assert!(Touchstone::signed(&files, last, &root).is_some());
            // As if the file were another one since it was verified.
            assert!(Touchstone::signed(&files, last, &[7; 32]).is_none());
            // An entry that a user wrote, or a signature before.
            for other in 1..last {
                assert!(Touchstone::signed(&files, other, &root).is_none(), "{other}");
            }
        }
    }
}
