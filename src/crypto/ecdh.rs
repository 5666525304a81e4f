//! One side of a key agreement on P-384: a key for once, and the secret that it makes with another's point.

use p384::elliptic_curve::sec1::ToSec1Point;
use p384::{PublicKey, SecretKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::error::Error;

/// Bytes of a point on P-384 as SEC 1 writes it uncompressed: 4, x, y.
pub const POINT_BYTES: usize = 97;

/// A private key for one agreement, wiped on drop.
pub struct EphemeralKey(SecretKey);

impl EphemeralKey {
    /// A new key; the same generator state gives the same key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut scalar = Zeroizing::new([0; 48]);
        loop {
            rng.fill_bytes(scalar.as_mut_slice());
            // Fails for zero and for what is not below the group order: practically never.
            if let Ok(key) = Self::from_scalar(&scalar) {
                return key;
            }
        }
    }

    /// The key with this scalar, big-endian.
    ///
    /// # Errors
    /// [`Error::MalformedKey`] for zero and for what is not below the group order.
    pub fn from_scalar(scalar: &[u8; 48]) -> Result<Self, Error> {
        SecretKey::from_slice(scalar)
            .map(Self)
            .map_err(|_| Error::MalformedKey {
                what: "private scalar (P-384)",
            })
    }

    /// The public half: an uncompressed point.
    pub fn point(&self) -> [u8; POINT_BYTES] {
        let mut point = [0; POINT_BYTES];
        let encoded = self.0.public_key().to_sec1_point(false);
        for (to, from) in point.iter_mut().zip(encoded.as_bytes()) {
            *to = *from;
        }
        point
    }

    /// What only the holders of both private keys can compute: the x coordinate of the product.
    ///
    /// # Errors
    /// [`Error::MalformedKey`] where `point` is not an uncompressed point on the curve.
    pub fn agree(&self, point: &[u8; POINT_BYTES]) -> Result<Zeroizing<[u8; 48]>, Error> {
        let malformed = Error::MalformedKey {
            what: "point of a key agreement (P-384)",
        };
        let peer = PublicKey::from_sec1_bytes(point).map_err(|_| malformed)?;
        let product = p384::ecdh::diffie_hellman(self.0.to_nonzero_scalar(), peer.as_affine());
        let mut secret = Zeroizing::new([0; 48]);
        for (to, from) in secret.iter_mut().zip(product.raw_secret_bytes()) {
            *to = *from;
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::rng;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 5903, section 8.2.
    #[test]
    fn the_published_vector_is_met() {
        let ours = EphemeralKey::from_scalar(&bytes(
            "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194",
        ))
        .unwrap();
        let theirs = bytes(concat!(
            "04",
            "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda41d0774a3571",
            "dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c"
        ));
        assert_eq!(
            hex::encode(&ours.point()[..49]),
            "04667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732aee95f41aa"
        );
        assert_eq!(
            hex::encode(*ours.agree(&theirs).unwrap()),
            "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746"
        );
    }

    #[test]
    fn both_sides_agree_and_no_two_keys_are_the_same() {
        let rng = &mut rng(5);
        let (a, b) = (EphemeralKey::generate(rng), EphemeralKey::generate(rng));
        assert_ne!(a.point(), b.point());
        assert_eq!(*a.agree(&b.point()).unwrap(), *b.agree(&a.point()).unwrap());
    }

    #[test]
    fn points_off_the_curve_and_scalars_out_of_range_are_refused() {
        let key = EphemeralKey::generate(&mut rng(6));
        let mut point = key.point();
        point[96] ^= 1;
        assert!(key.agree(&point).is_err());
        assert!(key.agree(&[0; POINT_BYTES]).is_err());
        let mut compressed = key.point();
        compressed[0] = 2;
        assert!(key.agree(&compressed).is_err());
        assert!(EphemeralKey::from_scalar(&[0; 48]).is_err());
        assert!(EphemeralKey::from_scalar(&[0xff; 48]).is_err());
    }
}
