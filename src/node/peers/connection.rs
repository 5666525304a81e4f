//! One connection: bytes in, cut into frames; frames out. What they mean is the hub's.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::counters::add;
use super::hub::{Hub, LineId, Verdict};
use crate::channel::FrameReader;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Lives as long as the connection.
pub(super) async fn run(hub: Rc<RefCell<Hub>>, id: LineId, mut stream: TcpStream, closed: Rc<Notify>) {
    let (from, to) = stream.split();
    let why = tokio::select! {
        why = read(&hub, id, from) => why,
        why = write(&hub, id, to) => why,
        () = closed.notified() => return,
    };
    hub.borrow_mut().close(id, &why);
}

async fn read(hub: &RefCell<Hub>, id: LineId, mut from: ReadHalf<'_>) -> String {
    let (settings, incoming, counters) = {
        let hub = hub.borrow();
        (hub.settings.clone(), hub.incoming.clone(), hub.counters.clone())
    };
    let mut reader = FrameReader::new(settings.stranger_frame_bytes);
    let mut piece = vec![0; PIECE];
    let mut place = loop {
        if let Some(place) = incoming.enter(PIECE) {
            break place;
        }
        if timeout(settings.patience, incoming.has_room()).await.is_err() {
            counters.dropped("memory");
            return "too much has come and is not taken".to_owned();
        }
    };
    loop {
        let count = match from.read(&mut piece).await {
            Ok(0) => return "its other end has closed it".to_owned(),
            Ok(count) => count,
            Err(why) => return why.to_string(),
        };
        add(&counters.bytes_in, count);
        reader.feed(piece.get(..count).unwrap_or_default());
        loop {
            let verdict = match reader.next_frame() {
                Ok(Some(frame)) => hub.borrow_mut().frame(id, &frame),
                Ok(None) => break,
                Err(why) => {
                    counters.dropped("not_a_frame");
                    return why.to_string();
                }
            };
            match verdict {
                Verdict::Close(why) => return why.to_owned(),
                Verdict::GoOn { is_authentic, full } => {
                    if is_authentic {
                        reader.allow(settings.frame_bytes);
                    }
                    if let Some(room) = full {
                        // Whoever sends waits, too. After that, what is not taken is dropped.
                        let _ = timeout(settings.patience, room.has_room()).await;
                    }
                }
            }
        }
        let is_more = place.resize(PIECE + reader.held_bytes());
        if is_more && incoming.is_full() && timeout(settings.patience, incoming.has_room()).await.is_err() {
            counters.dropped("memory");
            return "too much has come and is not taken".to_owned();
        }
        // One busy connection must not keep the others waiting.
        tokio::task::yield_now().await;
    }
}

async fn write(hub: &RefCell<Hub>, id: LineId, mut to: WriteHalf<'_>) -> String {
    loop {
        let next = {
            let mut hub = hub.borrow_mut();
            let Some(line) = hub.lines.get_mut(&id) else {
                return "it was closed".to_owned();
            };
            line.queue.pop_front().ok_or_else(|| line.wake.clone())
        };
        match next {
            Err(wake) => wake.notified().await,
            Ok(frame) => {
                let mut rest = frame.as_slice();
                while !rest.is_empty() {
                    let count = match to.write(rest).await {
                        Ok(0) => return "nothing more can be written to it".to_owned(),
                        Ok(count) => count,
                        Err(why) => return why.to_string(),
                    };
                    rest = rest.get(count..).unwrap_or_default();
                    hub.borrow_mut().was_taken(id, count);
                }
            }
        }
    }
}
