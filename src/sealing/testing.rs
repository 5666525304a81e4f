//! A processor that seals, for tests: none is at hand.

use zeroize::Zeroizing;

use super::{KeySource, SealingKey, TcbVersion};

/// A processor of this TCB version: another key for each, none above its own.
pub struct Processor(pub TcbVersion, pub u8);

impl SealingKey for Processor {
    fn source(&self) -> KeySource {
        KeySource::SnpDevice
    }

    fn tcb(&self) -> Result<TcbVersion, String> {
        Ok(self.0)
    }

    fn derive(&self, tcb: TcbVersion) -> Result<Zeroizing<[u8; 32]>, String> {
        let mut key = [self.1; 32];
        key[..8].copy_from_slice(&tcb.0.to_be_bytes());
        match tcb > self.0 {
            true => Err("the firmware refuses".to_owned()),
            false => Ok(Zeroizing::new(key)),
        }
    }
}
