//! The roots that everything rests on, pinned by SHA-256 of their SubjectPublicKeyInfo: keys stay, certificates are re-issued.

use crate::crypto::Digest;

use super::product::Product;

/// AMD's ARKs. Attestation specification, section 3.
const AMD: [(Product, Digest); 3] = [
    (
        Product::Milan,
        pin("9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"),
    ),
    (
        Product::Genoa,
        pin("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"),
    ),
    (
        Product::Turin,
        pin("4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"),
    ),
];

/// Intel SGX Root CA. Attestation specification, section 8.
const INTEL: Digest = pin("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e");

/// A root for made evidence. There is no way to one but to write its digest down: nothing makes one by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRoot {
    /// The product that its chips pretend to be; `None` for SGX.
    pub product: Option<Product>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: Digest,
}

/// Whom to believe. There is deliberately no `Default`, and only one way to make these without naming a [`TestRoot`].
#[derive(Clone, Debug)]
pub struct Anchors {
    made: Vec<TestRoot>,
}

/// What a root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// The maker's.
    Pinned,
    /// A test's.
    Made,
}

impl Anchors {
    /// AMD's and Intel's roots, and nobody else's.
    pub fn built_in() -> Self {
        Anchors { made: Vec::new() }
    }

    /// The same and `root`, for tests. Every judgement that rests on it says so.
    pub fn and_for_tests(mut self, root: TestRoot) -> Self {
        self.made.push(root);
        self
    }

    /// What the key with this digest is for `product`.
    pub(super) fn snp(&self, product: Product, spki_sha256: &Digest) -> Option<Root> {
        if AMD.contains(&(product, *spki_sha256)) {
            return Some(Root::Pinned);
        }
        self.is_made(Some(product), spki_sha256)
    }

    /// The product that the key with this digest is the root of.
    pub(super) fn product_of(&self, spki_sha256: &Digest) -> Option<Product> {
        Product::ALL
            .into_iter()
            .find(|product| self.snp(*product, spki_sha256).is_some())
    }

    /// What the key with this digest is for SGX.
    pub(super) fn sgx(&self, spki_sha256: &Digest) -> Option<Root> {
        if *spki_sha256 == INTEL {
            return Some(Root::Pinned);
        }
        self.is_made(None, spki_sha256)
    }

    fn is_made(&self, product: Option<Product>, spki_sha256: &Digest) -> Option<Root> {
        let root = TestRoot {
            product,
            spki_sha256: *spki_sha256,
        };
        self.made.contains(&root).then_some(Root::Made)
    }
}

/// The digest of Intel's or AMD's root, for error messages.
pub(super) fn expected(product: Option<Product>) -> String {
    let digest = match product {
        None => Some(INTEL),
        Some(product) => AMD.iter().find(|(of, _)| *of == product).map(|(_, digest)| *digest),
    };
    digest.map(hex::encode).unwrap_or_default()
}

/// 64 hex digits as bytes, when this is compiled.
const fn pin(text: &str) -> Digest {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            // Evaluated by the compiler alone: a wrong pin does not compile.
            _ => unreachable!(),
        }
    }
    let mut digest = [0; 32];
    let (mut digits, mut bytes): (&[u8], &mut [u8]) = (text.as_bytes(), &mut digest);
    while let ([high, low, rest @ ..], [byte, after @ ..]) = (digits, bytes) {
        *byte = digit(*high) << 4 | digit(*low);
        (digits, bytes) = (rest, after);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_one_of_its_product_alone() {
        let anchors = Anchors::built_in();
        for (product, digest) in AMD {
            for other in Product::ALL {
                assert_eq!(anchors.snp(other, &digest).is_some(), other == product);
            }
            assert_eq!(anchors.product_of(&digest), Some(product));
            assert_eq!(expected(Some(product)), hex::encode(digest));
            assert_eq!(anchors.sgx(&digest), None);
        }
        assert_eq!(anchors.sgx(&INTEL), Some(Root::Pinned));
        assert_eq!(anchors.product_of(&INTEL), None);
        assert_eq!(hex::encode(INTEL), expected(None));
    }

    #[test]
    fn a_made_root_is_trusted_only_where_it_was_named_and_is_known_for_one() {
        let made = TestRoot {
            product: Some(Product::Milan),
            spki_sha256: [7; 32],
        };
        assert_eq!(Anchors::built_in().snp(Product::Milan, &[7; 32]), None);
        let anchors = Anchors::built_in().and_for_tests(made);
        assert_eq!(anchors.snp(Product::Milan, &[7; 32]), Some(Root::Made));
        assert_eq!(anchors.snp(Product::Genoa, &[7; 32]), None);
        assert_eq!(anchors.sgx(&[7; 32]), None);
    }
}
