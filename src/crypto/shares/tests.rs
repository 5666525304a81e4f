//! Splitting, combining, and telling right shares from wrong ones, in both formats.

use rand_core::Rng;

use super::field::Field;
use super::*;
use crate::crypto::testing::rng;

fn references(shares: &[Share]) -> Vec<&Share> {
    shares.iter().collect()
}

fn secret() -> LedgerSecret {
    LedgerSecret::generate(&mut rng(9))
}

/// The error of a result whose value has no `Debug`.
fn refusal<T>(result: Result<T, Error>) -> Option<Error> {
    result.err()
}

/// Shares of the old format around `message`, split in GF(2^8).
fn split_old(threshold: usize, n: u8, message: &[u8; 64]) -> Vec<Share> {
    let mut rng = rng(11);
    let mut polynomials = vec![[0; 32]; threshold];
    polynomials
        .iter_mut()
        .for_each(|coefficients| rng.fill_bytes(coefficients));
    let sealed = secretbox::seal(&polynomials[0], message);
    (1..=n)
        .map(|x| {
            let value = |byte: usize| {
                polynomials
                    .iter()
                    .rev()
                    .fold(0, |sum, c| GaloisField::multiply(sum, x) ^ c[byte])
            };
            Share::Old {
                x,
                y: std::array::from_fn(value),
                sealed,
            }
        })
        .collect()
}

#[test]
fn any_threshold_of_new_shares_gives_back_the_key_and_fewer_do_not() {
    for (threshold, n) in [(1, 1), (1, 3), (2, 3), (3, 3), (3, 5), (7, 9)] {
        let (key, shares, owner) = split(threshold, n, &mut rng(1)).unwrap();
        let wrapped = key.wrap_secret(&secret());
        assert_eq!(wrapped.len(), 60);
        assert_eq!(wrapped[16..28], [0; 12]);
        let mut shares = references(&shares);
        for _ in 0..n {
            shares.rotate_left(1);
            let combined = combine(&shares, threshold).unwrap().unwrap_secret(&wrapped).unwrap();
            assert_eq!(combined.fingerprint(), secret().fingerprint());
        }
        let full = combine(&[&owner], threshold).unwrap();
        assert_eq!(full.unwrap_secret(&wrapped).unwrap().as_bytes(), secret().as_bytes());
        let few = combine(&shares[..threshold - 1], threshold);
        let expected = Error::InsufficientShares {
            found: threshold - 1,
            needed: threshold,
        };
        assert_eq!(refusal(few), Some(expected));
        if threshold > 1 {
            let lower = combine(&shares, threshold - 1).unwrap().unwrap_secret(&wrapped);
            assert_eq!(refusal(lower), Some(Error::AuthenticationFailed));
        }
    }
}

#[test]
fn an_owners_key_is_enough_wherever_it_stands() {
    let (key, shares, owner) = split(3, 3, &mut rng(1)).unwrap();
    let wrapped = key.wrap_secret(&secret());
    assert_eq!((owner.format(), owner.index()), (ShareFormat::Owner, 0));
    assert!(
        combine(&[&shares[0], &owner], 3)
            .unwrap()
            .unwrap_secret(&wrapped)
            .is_ok()
    );
}

#[test]
fn the_wrapping_key_is_hkdf_of_the_limbs_with_the_limbs_as_info() {
    let y = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    let share = Share::New { x: 0, y };
    let limbs: Vec<u8> = y.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    let expected = AeadKey::new(&hkdf_sha256(&limbs, &limbs));
    let wrapped = seal_blob(&expected, &[0; 12], secret().as_bytes()).unwrap();
    assert!(combine(&[&share], 1).unwrap().unwrap_secret(&wrapped).is_ok());
}

#[test]
fn values_above_the_prime_are_reduced() {
    let (key, shares, _) = split(2, 2, &mut rng(1)).unwrap();
    let wrapped = key.wrap_secret(&secret());
    let raised = |share: &Share| match share {
        Share::New { x, y } => Share::New {
            x: x + MersenneField::PRIME,
            y: y.map(|y| y + MersenneField::PRIME),
        },
        Share::Old { .. } => unreachable!(),
    };
    let raised: Vec<Share> = shares.iter().map(raised).collect();
    assert!(
        combine(&references(&raised), 2)
            .unwrap()
            .unwrap_secret(&wrapped)
            .is_ok()
    );
    // 1 and 1 + p are one and the same index.
    let twice = combine(&[&shares[0], &raised[0]], 2);
    assert!(matches!(refusal(twice), Some(Error::DuplicateShare { .. })));
}

#[test]
fn a_wrong_new_share_makes_unwrapping_fail_and_can_be_told_from_right_ones() {
    let (key, mut shares, owner) = split(2, 4, &mut rng(1)).unwrap();
    let wrapped = key.wrap_secret(&secret());
    if let Share::New { y, .. } = &mut shares[1] {
        y[9] ^= 1;
    }
    let shares = references(&shares);
    let failed = combine(&shares, 2).unwrap().unwrap_secret(&wrapped);
    assert_eq!(refusal(failed), Some(Error::AuthenticationFailed));
    let good = [shares[2], shares[3]];
    assert!(combine(&good, 2).unwrap().unwrap_secret(&wrapped).is_ok());
    assert!(is_consistent(&good, shares[0]));
    assert!(is_consistent(&good, shares[2]));
    assert!(is_consistent(&good, &owner));
    assert!(!is_consistent(&good, shares[1]));
    assert!(!is_consistent(&[shares[2], shares[2]], shares[0]));
}

#[test]
fn old_shares_combine_and_a_wrong_one_is_noticed() {
    let mut message = [0xee; 64];
    message[..32].copy_from_slice(&[5; 32]);
    let wrapped = seal_blob(&AeadKey::new(&[5; 32]), &[0; 12], secret().as_bytes()).unwrap();
    for (threshold, n) in [(1, 1), (2, 3), (3, 5)] {
        let mut shares = split_old(threshold, n, &message);
        for start in 0..=shares.len() - threshold {
            let key = combine(&references(&shares[start..]), threshold).unwrap();
            let opened = key.unwrap_secret(&wrapped).unwrap();
            assert_eq!(opened.as_bytes(), secret().as_bytes());
        }
        if let Share::Old { y, .. } = &mut shares[0] {
            y[31] ^= 0x80;
        }
        let shares = references(&shares);
        assert_eq!(refusal(combine(&shares, threshold)), Some(Error::ShareBoxFailed));
        if shares.len() > threshold {
            assert!(!is_consistent(&shares[1..=threshold], shares[0]));
            assert!(is_consistent(&shares[1..=threshold], shares[shares.len() - 1]));
        }
    }
}

#[test]
fn the_secretbox_is_that_of_nacl() {
    // From an independent implementation that reproduces NaCl's own published secretbox vector.
    let key: [u8; 32] = std::array::from_fn(|i| i as u8);
    let sealed = secretbox::seal(&key, &[0; 64]);
    assert_eq!(hex::encode(sealed), SECRETBOX_VECTOR);
    assert_eq!(secretbox::open(&key, &sealed).as_deref(), Some(&[0; 64]));
    for byte in 0..80 {
        let mut altered = sealed;
        altered[byte] ^= 1;
        assert!(secretbox::open(&key, &altered).is_none());
    }
}

const SECRETBOX_VECTOR: &str = "d2cd20e8695f1e44728d3889f689db8d4a0ef04198aabf335c54720f2546bed2e43474f047e6284c6b034b8d3cc9df32d504d30d9668af188262e11369d9d23fcde2e099aacf68c3fa8bc814c892e809";

#[test]
fn shares_that_cannot_be_combined_are_refused_with_the_reason() {
    let (_, new, _) = split(2, 2, &mut rng(1)).unwrap();
    let old = split_old(2, 2, &[0; 64]);
    assert_eq!(refusal(combine(&[&new[0], &old[1]], 2)), Some(Error::MixedShares));
    assert_eq!(refusal(combine(&[&old[0], &new[1]], 2)), Some(Error::MixedShares));
    let duplicate = Some(Error::DuplicateShare { index: 2 });
    assert_eq!(refusal(combine(&[&new[1], &new[1]], 2)), duplicate);
    assert_eq!(refusal(combine(&[&old[1], &old[1]], 2)), duplicate);
    let zero = Some(Error::InvalidThreshold {
        threshold: 0,
        shares: 1,
    });
    assert_eq!(refusal(combine(&[&new[0]], 0)), zero);
    for (threshold, n) in [(0, 0), (0, 3), (4, 3), (1, MAX_SHARES + 1)] {
        assert!(split(threshold, n, &mut rng(1)).is_err());
    }
    assert!(!is_consistent(&[&new[0], &new[1]], &old[0]));
    assert!(!is_consistent(&[], &old[0]));
}

#[test]
fn shares_parse_back_to_their_bytes_and_other_lengths_are_refused() {
    for length in 0..200 {
        let bytes: Vec<u8> = (1..=length).map(|byte| byte as u8).collect();
        match Share::parse(&bytes) {
            Ok(share) => assert_eq!(*share.to_bytes(), bytes),
            Err(error) => {
                assert!(length != 44 && length != 113);
                assert_eq!(error, Error::ShareLength { found: length });
            }
        }
    }
    let new = Share::parse(&[[1, 0, 0, 0].as_slice(), &[0; 40]].concat()).unwrap();
    assert_eq!((new.format(), new.index()), (ShareFormat::New, 1));
    assert_eq!(Share::parse(&[9; 113]).unwrap().format(), ShareFormat::Old);
}

#[test]
fn secrets_seal_one_another() {
    let (new, old) = (LedgerSecret::generate(&mut rng(1)), LedgerSecret::generate(&mut rng(2)));
    let blob = new.seal(&old, [6; 12]);
    assert_eq!(blob.len(), 60);
    assert_eq!(new.unseal(&blob).unwrap().as_bytes(), old.as_bytes());
    assert_eq!(refusal(old.unseal(&blob)), Some(Error::AuthenticationFailed));
    let long = seal_blob(&new.aead(), &[0; 12], &[0; 33]).unwrap();
    assert_eq!(refusal(new.unseal(&long)), Some(Error::SecretLength { found: 33 }));
}
