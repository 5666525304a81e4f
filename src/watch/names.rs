//! Where names lead. They are looked up beside the looks, one lookup a name at a time; what was found is used until something newer is. So
//! the watch goes on where nothing can be looked up for a while, and a server of names that hangs costs one thread a name.
//!
//! A name may lead to several addresses of which one answers: they are tried at once, and one that took a connection and then was of no use
//! is left out as long as there is another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::shown::excerpt;

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;
/// Names that are remembered.
const MOST_NAMES: usize = 2048;
/// Lookups at the same time: each takes a thread for as long as the server of names does.
const MOST_LOOKUPS: usize = 64;

/// Where names lead, as it was found last.
pub struct Names {
    names: Mutex<BTreeMap<String, Arc<Name>>>,
    lookups: Arc<Semaphore>,
}

#[derive(Default)]
struct Name {
    found: watch::Sender<Found>,
    is_busy: AtomicBool,
    tried: Mutex<Tried>,
}

#[derive(Clone, Default)]
struct Found {
    addresses: Vec<SocketAddr>,
    failure: String,
}

#[derive(Default)]
struct Tried {
    /// Took a connection, and nothing came of it.
    of_no_use: BTreeSet<SocketAddr>,
    /// Where the node was last.
    was_at: Option<SocketAddr>,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            names: Mutex::default(),
            lookups: Arc::new(Semaphore::new(MOST_LOOKUPS)),
        }
    }
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    fn name(&self, address: &str) -> Arc<Name> {
        let mut names = locked(&self.names);
        if names.len() >= MOST_NAMES && !names.contains_key(address) {
            names.clear();
        }
        Arc::clone(names.entry(address.to_owned()).or_default())
    }

    /// Where `host:port` is, as far as that is known within `limit`.
    ///
    /// # Errors
    /// Why it is not known, in words.
    pub async fn lead_to(&self, address: &str, limit: Duration) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = address.parse() {
            return Ok(vec![address]);
        }
        let name = self.name(address);
        let mut finds = name.found.subscribe();
        if !name.is_busy.swap(true, Ordering::AcqRel) {
            let (name, lookups, address) = (Arc::clone(&name), Arc::clone(&self.lookups), address.to_owned());
            tokio::spawn(async move {
                let _turn = lookups.acquire().await;
                let found = tokio::net::lookup_host(&address).await;
                name.found.send_modify(|before| before.take_in(found));
                name.is_busy.store(false, Ordering::Release);
            });
        }
        let knows = !finds.borrow().addresses.is_empty();
        let _ = timeout(if knows { limit / 4 } else { limit }, finds.changed()).await;
        let found = finds.borrow().clone();
        match found.addresses.is_empty() {
            false => Ok(name.choose(found.addresses)),
            true if found.failure.is_empty() => Err("its name is still being looked up".to_owned()),
            true => Err(found.failure),
        }
    }

    /// As if it had been found.
    #[cfg(test)]
    pub fn lead(&self, address: &str, to: Vec<SocketAddr>) {
        self.name(address).found.send_modify(|found| found.addresses = to);
    }

    /// The node answered there.
    pub fn answers(&self, address: &str, at: SocketAddr) {
        let name = self.name(address);
        let mut tried = locked(&name.tried);
        tried.was_at = Some(at);
        tried.of_no_use.remove(&at);
    }

    /// A connection was taken there, and nothing came of it.
    pub fn is_of_no_use(&self, address: &str, at: SocketAddr) {
        let name = self.name(address);
        let mut tried = locked(&name.tried);
        if tried.of_no_use.len() < MOST_ADDRESSES {
            tried.of_no_use.insert(at);
        }
    }

    /// Where the node was last, of whatever the name leads to.
    pub fn was_at(&self, address: &str) -> Option<SocketAddr> {
        locked(&self.name(address).tried).was_at
    }
}

impl Found {
    fn take_in(&mut self, found: std::io::Result<impl Iterator<Item = SocketAddr>>) {
        match found.map(|found| found.take(MOST_ADDRESSES).collect::<Vec<_>>()) {
            Ok(found) if !found.is_empty() => self.addresses = found,
            Ok(_) => "it leads to no address".clone_into(&mut self.failure),
            Err(why) => self.failure = excerpt(&why.to_string()),
        }
    }
}

impl Name {
    fn choose(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut tried = locked(&self.tried);
        let of_use: Vec<SocketAddr> = addresses
            .iter()
            .filter(|it| !tried.of_no_use.contains(it))
            .copied()
            .collect();
        if of_use.is_empty() {
            tried.of_no_use.clear();
            return addresses;
        }
        of_use
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_a_name_led_to_is_used_where_it_can_not_be_looked_up_any_more() {
        let names = Names::default();
        let limit = Duration::from_secs(5);
        let nowhere = "no-such-host.invalid:1";
        assert!(names.lead_to(nowhere, limit).await.is_err());
        names.lead(nowhere, vec![at("192.0.2.1:1")]);
        assert_eq!(names.lead_to(nowhere, limit).await.unwrap(), [at("192.0.2.1:1")]);
    }

    #[test]
    fn an_address_of_no_use_is_left_out_as_long_as_there_is_another() {
        let names = Names::default();
        let both = vec![at("192.0.2.1:1"), at("[2001:db8::1]:1")];
        let name = names.name("a:1");
        assert_eq!(name.choose(both.clone()), both);
        names.is_of_no_use("a:1", both[0]);
        assert_eq!(name.choose(both.clone()), both[1..]);
        names.is_of_no_use("a:1", both[1]);
        assert_eq!(name.choose(both.clone()), both, "none is left: all are tried anew");
        assert_eq!(name.choose(both.clone()), both);
        names.is_of_no_use("a:1", both[0]);
        names.answers("a:1", both[0]);
        assert_eq!(name.choose(both.clone()), both);
        assert_eq!(names.was_at("a:1"), Some(both[0]));
    }
}
