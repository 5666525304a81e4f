//! The newest snapshot of the service, fetched before a node asks to be let in: it then takes only what comes after it. Recovery
//! specification, section 8.5.
//!
//! Whatever is wrong with it, the node goes on without: it takes the whole ledger then.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::speaking::{Saying, Speaker, address_in};
use crate::crypto::{Certificate, Digest};
use crate::format::names::SnapshotName;
use crate::journal::files::rename_durably;
use crate::net::exchange::{Answered, Bounds};
use crate::node::config::{Address, Join};
use crate::node::shared::Node;
use crate::recovery::snapshots::{self, Start};
use crate::shown::{Show, excerpt};

/// Bytes that are asked for at a time. CCF's nodes ask for 4 MiB; each piece costs a TLS session.
const PIECE: u64 = 8 << 20;
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(30),
    size: PIECE as usize + 1,
};
const REDIRECTIONS: u32 = 20;

/// Fetches snapshots.
pub(super) struct Fetcher<'n> {
    pub(super) node: &'n Node,
    pub(super) join: &'n Join,
    pub(super) service: &'n Certificate,
    pub(super) speaker: &'n Speaker,
}

/// Where a snapshot is.
struct Place {
    address: Address,
    name: SnapshotName,
}

impl Fetcher<'_> {
    /// The newest snapshot, proven to be of this service and in its directory; none where there is none that can be used.
    pub(super) async fn fetch(&self) -> Option<Start> {
        for attempt in 1..=self.join.fetch_snapshot_max_attempts {
            match self.attempt().await {
                Ok(Some(start)) => {
                    let (seqno, path) = (start.seqno, start.path.shown());
                    tracing::info!(seqno, path = %path, "starting from a snapshot of the service");
                    return Some(start);
                }
                Ok(None) => {
                    tracing::info!("the service has no snapshot: the whole ledger is taken");
                    return None;
                }
                Err(why) => tracing::warn!(attempt, "no snapshot is fetched: {why}"),
            }
            if attempt < self.join.fetch_snapshot_max_attempts {
                tokio::time::sleep(self.join.fetch_snapshot_retry_interval).await;
            }
        }
        None
    }

    async fn attempt(&self) -> Result<Option<Start>, String> {
        let Some(place) = self.find().await? else {
            return Ok(None);
        };
        let directory = &self.node.config.snapshots.directory;
        let fetched = Unfinished(directory.join(format!("{}.fetching", place.name)));
        self.take(&place, &fetched).await?;
        let start = snapshots::start_from(&fetched.0).map_err(|why| why.to_string())?;
        if start.seqno != place.name.seqno {
            return Err(format!("it is of seqno {}, and called {}", start.seqno, place.name));
        }
        let signer = start.trust.service_certificate().ok_or("it names no service")?;
        if signer.key_id() != self.service.key_id() && Some(signer.key_id()) != self.previous().await? {
            return Err(format!(
                "it is of the service with the identity {}, which is neither this one nor the one before it",
                hex::encode(signer.key_id())
            ));
        }
        let path = directory.join(place.name.to_string());
        rename_durably(&fetched.0, &path).map_err(|why| why.to_string())?;
        Ok(Some(Start { path, ..start }))
    }

    /// The identity of the service that this one has recovered, as its nodes say. Before it is open, it has no snapshot of its own.
    async fn previous(&self) -> Result<Option<Digest>, String> {
        let target = &self.join.target_rpc_address;
        let answered = self
            .ask(target, Method::GET, "/node/service/previous_identity", &[])
            .await?;
        let answer: PreviousIdentity = match answered.status {
            StatusCode::OK => {
                serde_json::from_slice(&answered.body).map_err(|why| format!("the service before: {why}"))?
            }
            _ => return Ok(None),
        };
        let certificate = Certificate::from_pem(&answer.previous_service_identity);
        certificate
            .map(|it| Some(it.key_id()))
            .map_err(|why| format!("the service before: {why}"))
    }

    /// Where the newest snapshot is: a node that has none sends to one that has.
    async fn find(&self) -> Result<Option<Place>, String> {
        let mut address = self.join.target_rpc_address.clone();
        let mut path = "/node/snapshot?since=0".to_owned();
        for _ in 0..REDIRECTIONS {
            let answered = self.ask(&address, Method::HEAD, &path, &[]).await?;
            match answered.status {
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {}
                other => return Err(format!("{address} answers {other}")),
            }
            let location = answered.location.unwrap_or_default();
            let astray = || format!("{address} sends to {}", excerpt(&location));
            path = match location.starts_with('/') {
                true => location.clone(),
                false => {
                    let to = address_in(&location).ok_or_else(astray)?;
                    let rest = location
                        .strip_prefix("https://")
                        .and_then(|rest| rest.find('/').map(|at| rest.get(at..)));
                    let rest = rest.flatten().ok_or_else(astray)?.to_owned();
                    address = to;
                    rest
                }
            };
            let named = path
                .strip_prefix("/node/snapshot/")
                .map(|name| (name, SnapshotName::parse(name)));
            match named {
                Some((text, Some(name))) if name.committed && name.to_string() == text => {
                    return Ok(Some(Place { address, name }));
                }
                Some((text, _)) => return Err(format!("{} is no name of a committed snapshot", excerpt(text))),
                None => {}
            }
        }
        Err("one node sends to the other".to_owned())
    }

    /// Takes it piece by piece.
    async fn take(&self, place: &Place, to: &Unfinished) -> Result<(), String> {
        let words = |why: std::io::Error| format!("{} can't be written: {why}", to.0.shown());
        let path = format!("/node/snapshot/{}", place.name);
        let mut file = File::create(&to.0).map_err(words)?;
        let (mut at, mut size) = (0, None);
        while size.is_none_or(|size| at < size) {
            let end = size.unwrap_or(u64::MAX).min(at.saturating_add(PIECE));
            let range = format!("bytes={at}-{end}");
            let answered = self
                .ask(&place.address, Method::GET, &path, &[("range", &range)])
                .await?;
            let piece = Piece::of(&answered)?;
            if piece.from != at || size.is_some_and(|size| size != piece.total) {
                return Err(format!("asked for {range}, {} answers another part", place.address));
            }
            let most = self.join.fetch_snapshot_max_size;
            if piece.total > most {
                return Err(format!(
                    "{} has {} bytes, and command.join.fetch_snapshot_max_size allows {most}",
                    place.name, piece.total
                ));
            }
            // An end may be of the bytes or after them: as many are taken as came, and never more than there are.
            let bytes = &answered.body;
            let left = usize::try_from(piece.total - at).unwrap_or(usize::MAX);
            let bytes = bytes.get(..bytes.len().min(left)).unwrap_or_default();
            if bytes.is_empty() {
                return Err(format!("asked for {range}, {} answers nothing", place.address));
            }
            file.write_all(bytes).map_err(words)?;
            at += bytes.len() as u64;
            size = Some(piece.total);
        }
        file.sync_all().map_err(words)
    }

    async fn ask(
        &self,
        address: &Address,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Answered, String> {
        let saying = Saying {
            method,
            path,
            headers,
            json: None,
        };
        let answered = self.speaker.say(address, saying, BOUNDS).await;
        answered.map_err(|why| format!("{address}: {why}"))
    }
}

#[derive(Deserialize)]
struct PreviousIdentity {
    previous_service_identity: String,
}

/// A part of a file.
#[derive(Debug, PartialEq)]
struct Piece {
    from: u64,
    total: u64,
}

impl Piece {
    /// `bytes A-B/TOTAL`, whatever B means.
    fn of(answered: &Answered) -> Result<Piece, String> {
        if answered.status != StatusCode::PARTIAL_CONTENT {
            return Err(format!("asked for a part, the answer is {}", answered.status));
        }
        let text = answered.content_range.as_deref().unwrap_or_default();
        Self::parse(text).ok_or_else(|| format!("content-range is {}, expected bytes A-B/TOTAL", excerpt(text)))
    }

    fn parse(text: &str) -> Option<Piece> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (from, _) = range.split_once('-')?;
        let piece = Piece {
            from: from.parse().ok()?,
            total: total.parse().ok()?,
        };
        (piece.from < piece.total).then_some(piece)
    }
}

/// A file that is removed unless it was renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_where_it_begins_and_how_much_there_is() {
        let piece = |from, total| Some(Piece { from, total });
        assert_eq!(Piece::parse("bytes 0-4194304/9000000"), piece(0, 9_000_000));
        assert_eq!(
            Piece::parse("bytes 4194304-8388607/9000000"),
            piece(4_194_304, 9_000_000)
        );
        for text in [
            "",
            "bytes 0-4",
            "bytes */9",
            "bytes 9-10/9",
            "0-4/9",
            "bytes -1-4/9",
            "bytes 0-4/*",
        ] {
            assert_eq!(Piece::parse(text), None, "{text}");
        }
    }
}
