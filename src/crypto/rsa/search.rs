//! A key pair made on threads of its own, while there is something else to do.
//!
//! Nearly all of the work is the search for two primes, and how long that takes is mostly luck. Threads share it: whoever
//! finds a prime looks for the next, until there are two.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use ::rsa::{BoxedUint, RsaPrivateKey};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use zeroize::Zeroizing;

use crate::crypto::error::Error;
use crate::crypto::random::system_rng;

/// Bits of a prime; the modulus has twice as many.
const PRIME_BITS: u32 = 1024;
const PRIMES: usize = 2;
const PUBLIC_EXPONENT: u64 = 65537;

/// A 2048-bit key pair that is being made.
pub struct KeyPairInTheMaking {
    primes: Receiver<Result<BoxedUint, Error>>,
}

impl KeyPairInTheMaking {
    /// Starts to look for primes on `threads` threads.
    ///
    /// # Errors
    /// If a thread can't be started.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let (found, primes) = channel();
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..threads.max(1) {
            let (found, count) = (found.clone(), Arc::clone(&count));
            std::thread::Builder::new()
                .name("keys".to_owned())
                .spawn(move || search(&found, &count))?;
        }
        Ok(KeyPairInTheMaking { primes })
    }

    /// Waits for the pair: PKCS#8 PEM (wiped on drop) and SPKI PEM.
    ///
    /// # Errors
    /// [`Error::NoRandomness`]; [`Error::MalformedKey`] if the threads ended.
    pub fn wait(self) -> Result<(Zeroizing<String>, String), Error> {
        let failed = Error::MalformedKey {
            what: "newly generated RSA key",
        };
        let next = || self.primes.recv().unwrap_or_else(|_| Err(failed.clone()));
        let (p, q) = (next()?, next()?);
        // One pair in 30,000 does not go with the exponent.
        let Ok(key) = RsaPrivateKey::from_p_q(p, q, BoxedUint::from(PUBLIC_EXPONENT)) else {
            return KeyPairInTheMaking::start(1).map_err(|_| failed)?.wait();
        };
        super::to_pems(&key).ok_or(failed)
    }
}

/// Looks for primes until everybody together has found enough, or nobody waits for them any more.
fn search(found: &Sender<Result<BoxedUint, Error>>, count: &AtomicUsize) {
    let enough = || count.load(Ordering::Relaxed) >= PRIMES;
    while !enough() {
        let prime = find_prime(enough);
        if count.fetch_add(1, Ordering::Relaxed) >= PRIMES || found.send(prime).is_err() {
            return;
        }
    }
}

/// A random prime with its two highest bits set; anything, once `given_up` says so.
fn find_prime(given_up: impl Fn() -> bool) -> Result<BoxedUint, Error> {
    let failed = || Error::MalformedKey { what: "RSA prime" };
    let mut rng = system_rng()?;
    let candidates = SmallFactorsSieveFactory::new(Flavor::Any, PRIME_BITS, SetBits::TwoMsb).map_err(|_| failed())?;
    let prime = sieve_and_find(&mut rng, candidates, |_, candidate: &BoxedUint| {
        given_up() || is_prime(Flavor::Any, candidate)
    });
    prime.ok().flatten().ok_or_else(failed)
}
