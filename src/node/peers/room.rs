//! Bounds of memory: so many things of so many bytes together, each of which gives its place back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Room for things, counted and weighed.
pub(super) struct Room {
    max_things: usize,
    max_bytes: usize,
    things: AtomicUsize,
    bytes: AtomicUsize,
    left: Notify,
}

/// The place of one thing.
pub(super) struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    pub(super) fn new(max_things: usize, max_bytes: usize) -> Arc<Room> {
        Arc::new(Room {
            max_things,
            max_bytes,
            things: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            left: Notify::new(),
        })
    }

    /// A place for a thing of `bytes`; none where there is no room. In an empty room there is room for anything.
    pub(super) fn enter(self: &Arc<Room>, bytes: usize) -> Option<Place> {
        let things = self.things.fetch_add(1, Ordering::AcqRel);
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let place = Place {
            room: self.clone(),
            bytes,
        };
        let fits = things < self.max_things && before.saturating_add(bytes) <= self.max_bytes;
        (fits || things == 0).then_some(place)
    }

    /// Whether one more thing may not fit.
    pub(super) fn is_full(&self) -> bool {
        self.things.load(Ordering::Acquire) >= self.max_things || self.bytes.load(Ordering::Acquire) >= self.max_bytes
    }

    /// Bytes of what is in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Waits until it is no longer full.
    pub(super) async fn has_room(&self) {
        loop {
            let left = self.left.notified();
            if !self.is_full() {
                return;
            }
            left.await;
        }
    }
}

impl Place {
    /// The thing has so many bytes now; answers whether these are more than before.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.room.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.room.bytes.fetch_sub(before, Ordering::AcqRel);
        if bytes < before {
            self.room.left.notify_waiters();
        }
        bytes > before
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.room.things.fetch_sub(1, Ordering::AcqRel);
        self.room.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_and_bytes_are_bounded_and_given_back() {
        let room = Room::new(2, 100);
        let first = room.enter(60).unwrap();
        assert!(room.enter(41).is_none());
        let second = room.enter(40).unwrap();
        assert!(room.is_full() && room.enter(0).is_none());
        drop(first);
        assert!(!room.is_full());
        drop(second);
        assert_eq!(room.bytes(), 0);
    }

    #[test]
    fn an_empty_room_takes_anything() {
        let room = Room::new(2, 100);
        let mut place = room.enter(1000).unwrap();
        assert!(room.is_full());
        place.resize(99);
        assert!(!room.is_full());
    }
}
