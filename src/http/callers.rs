//! Who comes from where, on an interface whose sessions begin at a bounded rate: so that neither a crowd nor one rude client costs
//! much, and neither keeps anybody else out.
//!
//! An address that comes now and then is let in at once. What comes more often shares one pace, before the handshake, which is what
//! costs; whoever would have to wait long is turned away. No address has more than half of the sessions, and what one address asks is
//! answered at a bounded rate. Nobody waits for another: connections are accepted as they come.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many sessions of an address may begin at once, if none of it has begun for a while.
const SESSIONS_AT_ONCE: u32 = 10;
/// An address has a share of the interface's rate for itself: one in so many.
const OWN_SHARE: u32 = 10;
/// Nobody waits longer for a session to begin.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Requests of one address, in a second.
const REQUESTS_A_SECOND: u32 = 200;
/// The same, if it has asked nothing for a while.
const REQUESTS_AT_ONCE: u32 = 400;
/// No request waits longer for its turn.
const LONGEST_REQUEST_WAIT: Duration = Duration::from_secs(5);
/// Addresses that are remembered one by one.
const MOST_ADDRESSES: usize = 4096;

/// Everybody who comes to an interface.
pub(super) struct Callers {
    a_second: u32,
    most_sessions: usize,
    book: Mutex<Book>,
}

struct Book {
    callers: HashMap<IpAddr, Caller>,
    /// Of all who come often.
    shared: Pace,
}

/// One address, or one network where addresses are given out by networks.
struct Caller {
    sessions: usize,
    own: Pace,
    requests: Pace,
}

/// A session that may begin, counted until this is dropped.
pub(super) struct Entrance {
    callers: Arc<Callers>,
    address: IpAddr,
    /// When its handshake may begin.
    pub(super) at: Instant,
}

impl Callers {
    /// Those of an interface that has so many sessions at most, and where so many may begin in a second.
    pub(super) fn new(a_second: u32, most_sessions: usize, now: Instant) -> Arc<Callers> {
        Arc::new(Callers {
            a_second: a_second.max(1),
            most_sessions: (most_sessions / 2).max(1),
            book: Mutex::new(Book {
                callers: HashMap::new(),
                shared: Pace::new(a_second, 0, now),
            }),
        })
    }

    /// Somebody comes; nothing if it comes too often.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Entrance> {
        let mut book = self.book();
        let mut address = network(address);
        if book.callers.len() >= MOST_ADDRESSES && !book.callers.contains_key(&address) {
            book.callers.retain(|_, caller| !caller.is_forgotten(now));
            if book.callers.len() >= MOST_ADDRESSES {
                // All who come now are one.
                address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        let Book { callers, shared } = &mut *book;
        let caller = callers.entry(address).or_insert_with(|| Caller {
            sessions: 0,
            own: Pace::new(self.a_second / OWN_SHARE, SESSIONS_AT_ONCE, now),
            requests: Pace::new(REQUESTS_A_SECOND, REQUESTS_AT_ONCE, now),
        });
        if caller.sessions >= self.most_sessions {
            return None;
        }
        let at = match caller.own.wait(now).is_zero() {
            true => caller.own.turn(now),
            false if shared.wait(now) > LONGEST_WAIT => return None,
            false => shared.turn(now),
        };
        caller.sessions += 1;
        Some(Entrance {
            callers: Arc::clone(self),
            address,
            at,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entrance {
    /// When a request of this session may be looked at; nothing if its address asks too much.
    pub(super) fn request(&self, now: Instant) -> Option<Instant> {
        let mut book = self.callers.book();
        let caller = book.callers.get_mut(&self.address)?;
        (caller.requests.wait(now) <= LONGEST_REQUEST_WAIT).then(|| caller.requests.turn(now))
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if let Some(caller) = self.callers.book().callers.get_mut(&self.address) {
            caller.sessions = caller.sessions.saturating_sub(1);
        }
    }
}

impl Caller {
    /// Whether it would be treated as one who never came.
    fn is_forgotten(&self, now: Instant) -> bool {
        self.sessions == 0 && self.own.is_rested(now) && self.requests.is_rested(now)
    }
}

/// What stands for an address: a customer of a network has 2^64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 1))
        }
    }
}

/// Lets things happen at a bounded rate.
struct Pace {
    every: Duration,
    saved: Duration,
    next: Instant,
}

impl Pace {
    fn new(a_second: u32, at_once: u32, now: Instant) -> Pace {
        let every = Duration::from_secs(1) / a_second.max(1);
        let saved = every * at_once;
        Pace {
            every,
            saved,
            next: now.checked_sub(saved).unwrap_or(now),
        }
    }

    /// When the next one may happen, which does.
    fn turn(&mut self, now: Instant) -> Instant {
        let at = self.next.max(now.checked_sub(self.saved).unwrap_or(self.next));
        self.next = at + self.every;
        at.max(now)
    }

    fn wait(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    fn is_rested(&self, now: Instant) -> bool {
        self.next + self.saved <= now
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    #[test]
    fn who_comes_often_waits_and_is_turned_away_and_nobody_else_is() {
        let now = Instant::now();
        let callers = Callers::new(50, 4000, now);
        let rude: Vec<_> = (0..2000).map_while(|_| callers.admit(from(1), now)).collect();
        // Eleven at once; then one at a time, for ten seconds.
        assert_eq!(rude.iter().filter(|entrance| entrance.at == now).count(), 12);
        assert_eq!(rude.len(), 11 + 501);
        assert!(rude.iter().all(|entrance| entrance.at <= now + LONGEST_WAIT));
        assert_eq!(callers.admit(from(2), now).unwrap().at, now);
        // Who has waited may come again.
        let later = now + Duration::from_secs(3);
        assert!(
            callers
                .admit(from(1), later)
                .is_some_and(|entrance| entrance.at == later)
        );
    }

    #[test]
    fn one_address_has_half_of_the_sessions_at_most() {
        let now = Instant::now();
        let callers = Callers::new(50, 8, now);
        let mut rude: Vec<_> = (0..9).filter_map(|_| callers.admit(from(1), now)).collect();
        assert_eq!(rude.len(), 4);
        assert!(callers.admit(from(2), now).is_some());
        rude.pop();
        assert!(callers.admit(from(1), now).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller_and_all_together_take_bounded_memory() {
        let now = Instant::now();
        let callers = Callers::new(50, 1_000_000, now);
        let of = |network: u16, host: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host));
        let admitted = (0..2000).filter_map(|host| callers.admit(of(1, host), now)).count();
        assert_eq!(admitted, 512);
        let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        assert_eq!(network(mapped), from(1));
        let held: Vec<_> = (0..10_000).map(|network| callers.admit(of(network, 1), now)).collect();
        assert!(callers.book().callers.len() <= MOST_ADDRESSES + 1);
        drop(held);
        // When they have gone they are forgotten.
        let later = now + Duration::from_secs(60);
        assert!(callers.admit(from(9), later).is_some());
        assert_eq!(callers.book().callers.len(), 1);
    }

    #[test]
    fn requests_of_one_address_are_answered_at_a_bounded_rate() {
        let now = Instant::now();
        let callers = Callers::new(50, 100, now);
        let [one, two] = [1, 1].map(|_| callers.admit(from(1), now).unwrap());
        let turns: Vec<_> = (0..5000)
            .filter_map(|at| {
                if at % 2 == 0 {
                    one.request(now)
                } else {
                    two.request(now)
                }
            })
            .collect();
        assert_eq!(turns.iter().filter(|turn| **turn == now).count(), 401);
        assert_eq!(turns.len(), 401 + 1000);
        assert!(callers.admit(from(2), now).unwrap().request(now) == Some(now));
    }
}
