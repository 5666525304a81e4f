//! One session on the wire: how long it may rest, and how it ends.
//!
//! A session is closed when a request's headers take too long to arrive, when no piece of an answer was taken for the idle
//! time, and when nothing moves for that long although there is nothing to do. What moves is requests, their bodies and
//! pieces of answers; in HTTP/1 also bytes, in HTTP/2 not: there a client can send pings and settings for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::timeouts::Timeouts;

/// How the server as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// No new connections or requests; what was begun is finished.
    Draining,
    Stopping,
}

/// What moved last in a session. Times are milliseconds since the session began, plus one: 0 is "not".
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    last_ms: AtomicU64,
    /// Since when the headers of a request are arriving.
    headers_ms: AtomicU64,
    handling: AtomicUsize,
    answered: AtomicUsize,
    /// Answers that are not written yet, and since when none of them moved.
    unsent: AtomicUsize,
    unsent_ms: AtomicU64,
    dismissed: AtomicBool,
}

/// A request that is being handled.
pub(super) struct Handling(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Activity {
            begun: Instant::now(),
            last_ms: AtomicU64::new(1),
            headers_ms: AtomicU64::new(0),
            handling: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            unsent_ms: AtomicU64::new(0),
            dismissed: AtomicBool::new(false),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
    }

    fn on_read(&self) {
        let now = self.now_ms();
        self.last_ms.store(now, Relaxed);
        if self.handling.load(Relaxed) == 0 {
            let _ = self.headers_ms.compare_exchange(0, now, Relaxed, Relaxed);
        }
    }

    fn on_write(&self) {
        self.last_ms.store(self.now_ms(), Relaxed);
    }

    /// The session is to end, whatever it still asks.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Relaxed);
    }

    /// Whether it is.
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Relaxed)
    }

    /// There is an answer to be written.
    pub(super) fn answer_begins(&self) {
        if self.unsent.fetch_add(1, Relaxed) == 0 {
            self.unsent_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// A piece of one is written.
    pub(super) fn answer_moves(&self) {
        let now = self.now_ms();
        self.unsent_ms.store(now, Relaxed);
        self.last_ms.store(now, Relaxed);
    }

    /// It is written, or given up.
    pub(super) fn answer_ends(&self) {
        self.answer_moves();
        self.unsent.fetch_sub(1, Relaxed);
    }

    pub(super) fn request_begins(self: &Arc<Self>) -> Handling {
        self.headers_ms.store(0, Relaxed);
        self.on_write();
        self.handling.fetch_add(1, Relaxed);
        Handling(self.clone())
    }

    /// Whether a time is over; `headers` is `None` where it can't be seen from outside when headers begin (HTTP/2).
    fn is_overdue(&self, headers: Option<Duration>, idle: Duration) -> bool {
        let now = self.now_ms();
        let over = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) > limit.as_millis();
        let unsent = self.unsent.load(Relaxed) > 0;
        if unsent && over(self.unsent_ms.load(Relaxed), idle) {
            return true;
        }
        if unsent || self.handling.load(Relaxed) > 0 {
            return false;
        }
        let since = self.headers_ms.load(Relaxed);
        over(self.last_ms.load(Relaxed), idle) || headers.is_some_and(|limit| since > 0 && over(since, limit))
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.on_write();
        self.0.answered.fetch_add(1, Relaxed);
        self.0.handling.fetch_sub(1, Relaxed);
    }
}

/// A stream that tells an [`Activity`] what moves through it, if it is to.
pub(super) struct Watched<T> {
    pub(super) stream: T,
    pub(super) activity: Option<Arc<Activity>>,
}

impl<T> Watched<T> {
    fn tell(&self, moved: impl Fn(&Activity)) {
        if let Some(activity) = &self.activity {
            moved(activity);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.tell(Activity::on_read);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.tell(Activity::on_write);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.tell(Activity::on_write);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What a session that is driven depends on.
pub(super) struct Driver<'a> {
    pub(super) activity: &'a Activity,
    pub(super) timeouts: &'a Timeouts,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) http2: bool,
    /// It ends with its first answer.
    pub(super) refused: bool,
}

impl Driver<'_> {
    /// Drives a connection to its end; `wind_down` lets it finish what was begun. `None` where it was cut off.
    pub(super) async fn run<C: Future<Output = hyper::Result<()>>>(
        mut self,
        connection: C,
        wind_down: impl Fn(Pin<&mut C>),
    ) -> Option<hyper::Result<()>> {
        let mut connection = std::pin::pin!(connection);
        let headers = (!self.http2).then_some(self.timeouts.headers);
        let idle = match self.refused {
            true => self.timeouts.handshake,
            false => self.timeouts.idle,
        };
        let pace = (self.timeouts.headers.min(idle) / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut winding_down = false;
        loop {
            let mut last = false;
            tokio::select! {
                result = connection.as_mut() => return Some(result),
                changed = self.phase.changed() => {
                    // An error: the server's handle is gone.
                    if changed.is_err() || *self.phase.borrow() == Phase::Stopping {
                        return None;
                    }
                }
                _ = ticks.tick() => {
                    if self.activity.is_dismissed() {
                        return None;
                    }
                    if self.activity.is_overdue(headers, idle) {
                        // Once politely, so that TLS is closed as it should be.
                        if winding_down {
                            return None;
                        }
                        last = true;
                    }
                }
            }
            last |= self.refused && self.activity.answered.load(Relaxed) > 0;
            if !winding_down && (last || *self.phase.borrow() == Phase::Draining) {
                winding_down = true;
                wind_down(connection.as_mut());
            }
        }
    }
}
