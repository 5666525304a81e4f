//! Bodies on the wire: responses from memory or, piece by piece, from a file; requests within their limits.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::memory::{Allowance, Budget, Sending};

/// How much of an answer is given to the session at once, and how much of a file is in memory: large enough that the disk is
/// not asked for crumbs, small enough that the slowest client takes a piece in the idle time.
const PIECE_BYTES: u64 = 64 << 10;
/// What a file that is sent takes: a piece that is being written, and one that waits.
pub(super) const FILE_BYTES: usize = 2 * PIECE_BYTES as usize;
/// How much of a body that is refused is still read and thrown away, and for how long, so that its sender gets to read the
/// answer.
const DISCARD_BYTES: usize = 8 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// The body of a response. What of it is on its way holds on to its [`Sending`].
pub(super) struct Outgoing {
    content: Content,
    sending: Arc<Sending>,
}

/// Where the bytes come from.
pub(super) enum Content {
    Whole(Bytes),
    File(FileBody),
}

/// What is left of a file's range.
pub(super) struct FileBody {
    state: FileState,
    remaining: u64,
}

enum FileState {
    Resting(File),
    Reading(JoinHandle<io::Result<(File, Bytes)>>),
    Over,
}

impl Outgoing {
    pub(super) fn new(content: Content, sending: Arc<Sending>) -> Self {
        Outgoing { content, sending }
    }
}

impl Content {
    /// Opens a file and finds its range in it.
    pub(super) async fn open(path: PathBuf, range: Range<u64>) -> io::Result<Self> {
        let remaining = range.end.saturating_sub(range.start);
        let opened = spawn_blocking(move || {
            let mut file = File::open(path)?;
            if file.metadata()?.len() < range.end {
                return Err(io::Error::other(
                    "the file is shorter than the range of it that is to be sent",
                ));
            }
            file.seek(SeekFrom::Start(range.start))?;
            Ok(file)
        });
        let file = opened.await.map_err(io::Error::other)??;
        Ok(Content::File(FileBody {
            state: FileState::Resting(file),
            remaining,
        }))
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Content::Whole(bytes) => bytes.len() as u64,
            Content::File(file) => file.remaining,
        }
    }
}

impl FileBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, FileState::Over) {
                FileState::Over => return Poll::Ready(None),
                FileState::Resting(_) if self.remaining == 0 => return Poll::Ready(None),
                FileState::Resting(mut file) => {
                    let wanted = self.remaining.min(PIECE_BYTES);
                    self.state = FileState::Reading(spawn_blocking(move || {
                        let mut piece = Vec::with_capacity(wanted as usize);
                        (&mut file).take(wanted).read_to_end(&mut piece)?;
                        if (piece.len() as u64) < wanted {
                            return Err(io::Error::other("the file shrank while it was being sent"));
                        }
                        Ok((file, piece.into()))
                    }));
                }
                FileState::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.state = FileState::Reading(reading);
                        return Poll::Pending;
                    };
                    return Poll::Ready(Some(read.map_err(io::Error::other).flatten().map(|(file, piece)| {
                        self.remaining -= piece.len() as u64;
                        self.state = FileState::Resting(file);
                        piece
                    })));
                }
            }
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(bytes.split_to(bytes.len().min(PIECE_BYTES as usize)))),
            Content::File(file) => ready!(file.poll_piece(cx)),
        };
        Poll::Ready(piece.map(|piece| piece.map(|bytes| Frame::data(self.sending.piece(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.length())
    }
}

/// A request's body, and its shares of the session's memory and of everybody's.
pub(super) struct Incoming {
    pub(super) bytes: Bytes,
    pub(super) shares: [Option<OwnedSemaphorePermit>; 2],
}

/// Why a request's body was not read to its end.
#[derive(Debug, PartialEq)]
pub(super) enum Unread {
    TooLarge,
    NoMemory,
    TooSlow,
    Broken,
}

/// Reads a whole body of at most `limit` bytes within `time`. With `asks_first` the client waits to be told to send it.
pub(super) async fn read(
    mut body: hyper::body::Incoming,
    asks_first: bool,
    limit: usize,
    time: Duration,
    (allowance, budget): (&Allowance, &Budget),
) -> Result<Incoming, Unread> {
    let deadline = Instant::now() + time;
    if body.is_end_stream() {
        return Ok(Incoming {
            bytes: Bytes::new(),
            shares: [None, None],
        });
    }
    if body.size_hint().lower() > limit as u64 {
        if !asks_first {
            discard(&mut body).await;
        }
        return Err(Unread::TooLarge);
    }
    let own = timeout_at(deadline, allowance.body(body.size_hint().exact())).await;
    let own = own.map_err(|_| Unread::TooSlow)?;
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Unread::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > limit {
            discard(&mut body).await;
            return Err(Unread::TooLarge);
        }
        let more = budget.take(data.len()).ok_or(Unread::NoMemory)?;
        match &mut share {
            Some(share) => share.merge(more),
            None => share = Some(more),
        }
        // Most bodies come in one piece, which is then not copied.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
    }
    let bytes = if whole.is_empty() { first } else { whole.into() };
    Ok(Incoming {
        bytes,
        shares: [own, share],
    })
}

/// Throws away what is still on its way, within bounds.
async fn discard(body: &mut hyper::body::Incoming) {
    let deadline = Instant::now() + DISCARD_TIME;
    let mut left = DISCARD_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::connection::Activity;

    async fn open(path: PathBuf, range: Range<u64>) -> io::Result<Outgoing> {
        let sending = Sending::new(&Activity::new(), None, None);
        Ok(Outgoing::new(Content::open(path, range).await?, sending))
    }

    async fn collect(body: Outgoing) -> io::Result<Vec<u8>> {
        body.collect().await.map(|whole| whole.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_range_of_a_file_is_sent_in_pieces_of_bounded_size() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..700_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        let mut body = open(file.path().to_owned(), 5..690_000).await.unwrap();
        assert_eq!(body.content.length(), 689_995);
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() as u64 <= PIECE_BYTES);
            read.extend_from_slice(&piece);
        }
        assert!(read == bytes[5..690_000]);
        let empty = open(file.path().to_owned(), 7..7).await.unwrap();
        assert!(collect(empty).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_file_that_is_gone_short_or_shrinking_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![1; 600_000]).unwrap();
        assert!(open(file.path().to_owned(), 0..600_001).await.is_err());
        assert!(open(file.path().with_extension("gone"), 0..0).await.is_err());
        let body = open(file.path().to_owned(), 0..600_000).await.unwrap();
        std::fs::write(file.path(), vec![1; 300_000]).unwrap();
        assert!(collect(body).await.is_err());
    }
}
