//! Requests that do not come over a connection of their own: other nodes of the service pass them on as the bytes that their
//! clients sent, and want the bytes of the answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::router::BoxFuture;

/// Requests that are answered at the same time, at most.
const MOST: usize = 256;
/// Bytes between the two ends.
const PIPE_BYTES: usize = 64 << 10;
/// Whoever passed a request on waits for less.
const PATIENCE: Duration = Duration::from_secs(10);

type Serve = dyn Fn(DuplexStream, Option<Bytes>) -> BoxFuture<()> + Send + Sync;

/// Answers requests that were passed on, with everything that holds for others: routes, limits, handlers, memory.
#[derive(Clone)]
pub struct Relay {
    serve: Arc<Serve>,
    places: Arc<Semaphore>,
    runtime: Handle,
}

impl Relay {
    /// `serve` serves one request of a stream, whose client has this certificate, and then ends it.
    pub(super) fn new(
        runtime: Handle,
        serve: impl Fn(DuplexStream, Option<Bytes>) -> BoxFuture<()> + Send + Sync + 'static,
    ) -> Relay {
        Relay {
            serve: Arc::new(serve),
            places: Arc::new(Semaphore::new(MOST)),
            runtime,
        }
    }

    /// Has an HTTP/1.1 request answered beside everything else, of a client with this certificate (DER), if it had one, and
    /// gives the bytes of the answer, `most` at most, to `then`.
    ///
    /// # Errors
    /// `then` gets one where too many requests are at work, where the request is not whole, and where the answer is too long
    /// or takes too long.
    pub fn answer(
        &self,
        request: Vec<u8>,
        client: Option<Vec<u8>>,
        most: usize,
        then: impl FnOnce(io::Result<Vec<u8>>) + Send + 'static,
    ) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return then(Err(io::Error::other("too many requests are at work")));
        };
        let serve = Arc::clone(&self.serve);
        let (ours, theirs) = duplex(PIPE_BYTES);
        self.runtime.spawn(async move {
            let session = tokio::spawn(serve(theirs, client.map(Bytes::from)));
            let answer = timeout(PATIENCE, exchange(ours, &request, most)).await;
            // Where it is over, so is the session; a handler that was begun comes to its end.
            session.abort();
            drop(place);
            then(answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
        });
    }
}

/// Writes the request, and reads until the other end says no more.
async fn exchange(stream: DuplexStream, request: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let (read, mut write) = split(stream);
    let mut answer = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut read = read.take(limit);
    // The answer may come before all of the request is read.
    let (_, outcome) = tokio::join!(write.write_all(request), read.read_to_end(&mut answer));
    outcome?;
    match answer.len() {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length if length > most => Err(io::Error::other("the answer is too long to be passed on")),
        _ => Ok(answer),
    }
}
