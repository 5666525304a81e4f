//! The authorized store's snapshot: the topology transactions by which a node is known on its synchronizers.
//!
//! ```text
//! outer       { 1: transactions, 2: version 30 }
//! transactions{ 1: item, again and again }
//! item        { 1: time, 3: outer of a signed transaction, 4: time }
//! signed      { 1: outer of a transaction, 2: signature, again and again }
//! transaction { 1: operation (1 adds or replaces), 2: serial, 3: mapping }
//! mapping     { 1: namespace delegation { 1: namespace, 2: signing key }
//!             | 4: owner to keys { 1: member, 2: { 1: signing key | 2: encryption key }, again and again } | … }
//! ```

use memchr::memmem;

use super::derive;
use super::key::{Half, Purpose, fingerprint};
use super::wire::{self, Held, Malformed};

/// The version of the envelopes that is known.
const VERSION: u64 = 30;
/// Keys that one member's mapping may have; Canton itself takes twenty.
const MOST_KEYS: usize = 100;

/// What a snapshot says of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Topology transactions in it.
    pub transactions: usize,
    /// Those among them that could not be read.
    pub unread: usize,
    /// Whether the member's namespace stands in it at all.
    pub names_the_namespace: bool,
    /// Whether a delegation says that the namespace's own key governs it.
    pub has_root: bool,
    /// The keys that the member has by its latest mapping: what for, and their fingerprints.
    pub keys: Option<Vec<(Purpose, String)>>,
}

/// Reads what a snapshot says of a member, `PAR::name::1220…`, and of its namespace.
///
/// # Errors
/// [`Malformed`] where the outermost envelope is not what Canton writes.
pub fn read(bytes: &[u8], member: &str, namespace: &str) -> Result<Snapshot, Malformed> {
    let (items, version) = wire::envelope(bytes)?;
    if version != VERSION || items.is_empty() {
        return Err(Malformed);
    }
    let mut snapshot = Snapshot {
        names_the_namespace: !namespace.is_empty() && memmem::find(items, namespace.as_bytes()).is_some(),
        ..Snapshot::default()
    };
    let mut latest = 0;
    for item in wire::fields(items) {
        let (1, Held::Bytes(item)) = item? else {
            return Err(Malformed);
        };
        snapshot.transactions += 1;
        let Some((serial, mapping)) = mapping(item) else {
            snapshot.unread += 1;
            continue;
        };
        match mapping {
            (1, delegation) => snapshot.has_root |= is_root(delegation, namespace),
            (4, owner) if serial >= latest => {
                if let Some(keys) = keys_of(owner, member) {
                    latest = serial;
                    snapshot.keys = Some(keys);
                }
            }
            _ => {}
        }
    }
    Ok(snapshot)
}

fn bytes_of(message: &[u8], number: u64) -> Option<&[u8]> {
    wire::fields(message).find_map(|field| match field {
        Ok((found, Held::Bytes(bytes))) if found == number => Some(bytes),
        _ => None,
    })
}

/// The serial of an item's transaction, and the mapping that it adds; removals have none.
fn mapping(item: &[u8]) -> Option<(u64, (u64, &[u8]))> {
    let (signed, _) = wire::envelope(bytes_of(item, 3)?).ok()?;
    let (transaction, _) = wire::envelope(bytes_of(signed, 1)?).ok()?;
    let (mut operation, mut serial, mut mapping) = (0, 0, None);
    for field in wire::fields(transaction) {
        match field.ok()? {
            (1, Held::Number(number)) => operation = number,
            (2, Held::Number(number)) => serial = number,
            (3, Held::Bytes(bytes)) => mapping = Some(bytes),
            _ => {}
        }
    }
    let inside = match wire::fields(mapping?).next()?.ok()? {
        (number, Held::Bytes(bytes)) => (number, bytes),
        _ => return None,
    };
    Some(match operation {
        1 => (serial, inside),
        _ => (serial, (0, inside.1)),
    })
}

fn is_root(delegation: &[u8], namespace: &str) -> bool {
    bytes_of(delegation, 1) == Some(namespace.as_bytes())
        && bytes_of(delegation, 2)
            .and_then(|key| fingerprint_of(key, Purpose::Signing))
            .as_deref()
            == Some(namespace)
}

fn keys_of(owner: &[u8], member: &str) -> Option<Vec<(Purpose, String)>> {
    if bytes_of(owner, 1)? != member.as_bytes() {
        return None;
    }
    let mut keys = Vec::new();
    for field in wire::fields(owner) {
        let (2, Held::Bytes(key)) = field.ok()? else {
            continue;
        };
        let purpose = |number| match number {
            1 => Some(Purpose::Signing),
            2 => Some(Purpose::Encryption),
            _ => None,
        };
        if let Ok((number, Held::Bytes(key))) = wire::fields(key).next()?
            && let Some(purpose) = purpose(number)
        {
            keys.push((purpose, fingerprint_of(key, purpose)?));
        }
        if keys.len() > MOST_KEYS {
            return None;
        }
    }
    Some(keys)
}

fn fingerprint_of(key: &[u8], purpose: Purpose) -> Option<String> {
    let half = Half::read(key, purpose).ok()?;
    let public = derive::written(half.algorithm(), half.format, half.bytes)?;
    Some(fingerprint(&public.bare))
}
