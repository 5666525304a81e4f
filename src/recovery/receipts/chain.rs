//! From the services that somebody trusts to earlier ones, by what each said of the key of the one before it.
//!
//! An endorsement is COSE, signed by a later service's key; its payload is the earlier key, its protected header says for
//! which transactions that was the service's. Format specification, section 6.5.

use crate::crypto::cose::Sign1;
use crate::crypto::digest::Digest;
use crate::crypto::ecdsa::VerifyingKey;
use crate::format::TxId;

/// A recovery raises the view by this much, as endorsements have it.
const VIEWS_BETWEEN_SERVICES: u64 = 2;
/// Signatures verified at most: in order, each takes one.
const MAX_VERIFICATIONS: usize = 4096;

/// The transactions of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// First.
    pub begin: TxId,
    /// Last.
    pub end: TxId,
}

impl Epoch {
    /// Whether a transaction lies in it.
    pub fn covers(&self, txid: TxId) -> bool {
        (self.begin.seqno..=self.end.seqno).contains(&txid.seqno)
            && (self.begin.view..=self.end.view).contains(&txid.view)
    }
}

/// A key that may have signed, or endorsed who did.
#[derive(Clone)]
pub struct KnownKey {
    /// The key.
    pub key: VerifyingKey,
    /// Index of the trusted certificate that it comes from.
    pub trusted: usize,
    /// How many endorsements lie between.
    pub steps: usize,
    /// Of which transactions it is known for; all, where it is trusted itself.
    pub epoch: Option<Epoch>,
}

/// What endorsements lead to.
pub struct Chain {
    /// The keys trusted, then those found, nearest first.
    pub keys: Vec<KnownKey>,
    /// What is wrong with endorsements, each by its place in the list.
    pub faults: Vec<(usize, String)>,
}

/// Follows endorsements from the keys trusted, in whatever order they are listed.
pub fn follow(trusted: &[VerifyingKey], endorsements: &[Vec<u8>]) -> Chain {
    let mut keys: Vec<KnownKey> = trusted
        .iter()
        .enumerate()
        .map(|(trusted, key)| KnownKey {
            key: key.clone(),
            trusted,
            steps: 0,
            epoch: None,
        })
        .collect();
    let mut faults = Vec::new();
    let mut waiting = Vec::new();
    for (at, bytes) in endorsements.iter().enumerate() {
        match Endorsement::read(bytes) {
            Ok(Some(endorsement)) => waiting.push((at, endorsement)),
            Ok(None) => {}
            Err(why) => faults.push((at, why)),
        }
    }
    let mut verifications = 0;
    loop {
        let before = waiting.len();
        // Of each turn at least one is done with, or it is the last.
        waiting.retain(|(at, endorsement)| {
            let signer = keys.iter().rev().find(|known| {
                verifications += 1;
                verifications <= MAX_VERIFICATIONS && endorsement.message.verify(&known.key, None).is_ok()
            });
            let Some(signer) = signer.cloned() else {
                return true;
            };
            match endorsement.after(&signer) {
                Err(why) => faults.push((*at, why)),
                Ok(_) if keys.iter().any(|known| known.key.id() == endorsement.key.id()) => {}
                Ok(found) => keys.push(found),
            }
            false
        });
        if waiting.is_empty() || waiting.len() == before {
            break;
        }
    }
    let unsigned = |(at, _): &(usize, Endorsement)| (*at, "none of the keys known so far has signed it".to_owned());
    faults.extend(waiting.iter().map(unsigned));
    faults.sort();
    Chain { keys, faults }
}

struct Endorsement {
    message: Sign1,
    key: VerifyingKey,
    epoch: Epoch,
}

impl Endorsement {
    /// `None` for that of a first service, which endorses itself and leads nowhere.
    fn read(bytes: &[u8]) -> Result<Option<Endorsement>, String> {
        let message = Sign1::parse(bytes).map_err(|why| why.to_string())?;
        let payload = message.payload().ok_or("it endorses nothing: it has no payload")?;
        let key = VerifyingKey::from_spki_der(payload).map_err(|why| format!("what it endorses is no key: {why}"))?;
        let begin = txid_in(&message, "epoch.start.txid")?.ok_or("it does not say from which transaction on")?;
        let Some(end) = txid_in(&message, "epoch.end.txid")? else {
            return match message.verify(&key, None) {
                Ok(()) => Ok(None),
                Err(_) => Err("it does not say up to which transaction".to_owned()),
            };
        };
        if begin.seqno > end.seqno || begin.view > end.view {
            return Err(format!("it is for {begin} to {end}, which is before it"));
        }
        Ok(Some(Endorsement {
            message,
            key,
            epoch: Epoch { begin, end },
        }))
    }

    /// The key endorsed, if its epoch is the one right before that of the key that signed.
    fn after(&self, signer: &KnownKey) -> Result<KnownKey, String> {
        let Epoch { begin, end } = self.epoch;
        if let Some(next) = signer.epoch.map(|epoch| epoch.begin) {
            let follows = end.seqno.checked_add(1) == Some(next.seqno)
                && end.view.checked_add(VIEWS_BETWEEN_SERVICES) == Some(next.view);
            if !follows {
                return Err(format!(
                    "it is for {begin} to {end}, but the service that signed it begins at {next}"
                ));
            }
        }
        Ok(KnownKey {
            key: self.key.clone(),
            trusted: signer.trusted,
            steps: signer.steps + 1,
            epoch: Some(self.epoch),
        })
    }
}

/// A transaction ID in an endorsement's protected header, as CCF writes it.
fn txid_in(message: &Sign1, name: &str) -> Result<Option<TxId>, String> {
    let Some(text) = message.ccf_text(name) else {
        return Ok(None);
    };
    match text.parse::<TxId>() {
        Ok(txid) if txid.to_string() == text => Ok(Some(txid)),
        _ => Err(format!(
            "its {name} is \"{}\", expected VIEW.SEQNO",
            text.chars().take(40).collect::<String>()
        )),
    }
}

/// Id of the key that an endorsement leads to, if it does.
pub(super) fn endorsed(bytes: &[u8]) -> Option<Digest> {
    Some(Endorsement::read(bytes).ok()??.key.id())
}

#[cfg(test)]
mod tests;
