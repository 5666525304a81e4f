//! Downloads of snapshots and ledger chunks, for nodes that join and operators without access to the disks.
//!
//! Names are parsed and written again before a file is opened, so that nothing else can be named. A range's end is
//! exclusive, as CCF has it in requests and answers. Recovery specification, sections 3.2 and 8.5.

use std::path::{Path, PathBuf};

use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderName};
use hyper::{Method, StatusCode};

use super::handler;
use crate::format::Seqno;
use crate::format::names::{ChunkKind, ChunkName, FileName, SnapshotName};
use crate::http::{ApiError, ApiResult, QueryParameter, Request, Response, Route, schema};
use crate::node::public::ledger_directories;
use crate::node::shared::Node;
use crate::recovery::snapshots;

const SINCE: &[QueryParameter] = &[QueryParameter {
    name: "since",
    required: false,
    description: "Only a file that reaches this seqno",
    schema: schema::<Seqno>,
}];
const HOLDS: &[QueryParameter] = &[QueryParameter {
    name: "since",
    required: true,
    description: "The chunk that holds this seqno",
    schema: schema::<Seqno>,
}];
const OCTETS: &str = "application/octet-stream";
const SNAPSHOT_NAME: HeaderName = HeaderName::from_static("x-ms-ccf-snapshot-name");
const CHUNK_NAME: HeaderName = HeaderName::from_static("x-ms-ccf-ledger-chunk-name");

pub(super) fn routes() -> Vec<Route<Node>> {
    let newest = |pattern, summary, handler, query| {
        Route::new(Method::GET, pattern, summary, handler)
            .also_head()
            .query(query)
            .success(StatusCode::PERMANENT_REDIRECT)
            .returns_nothing()
            .header("location")
            .never_forwarded()
    };
    let named = |pattern, summary, handler, header| {
        Route::new(Method::GET, pattern, summary, handler)
            .also_head()
            .returns_bytes(OCTETS)
            .or(StatusCode::PARTIAL_CONTENT, "The range that was asked for")
            .header("accept-ranges")
            .header(header)
            .never_forwarded()
    };
    vec![
        newest(
            "/node/snapshot",
            "The newest committed snapshot",
            handler!(snapshot),
            SINCE,
        ),
        named(
            "/node/snapshot/{name}",
            "A committed snapshot",
            handler!(snapshot_by_name),
            "x-ms-ccf-snapshot-name",
        ),
        newest(
            "/node/ledger-chunk",
            "The committed chunk that holds a seqno",
            handler!(chunk),
            HOLDS,
        ),
        named(
            "/node/ledger-chunk/{name}",
            "A committed chunk",
            handler!(chunk_by_name),
            "x-ms-ccf-ledger-chunk-name",
        ),
    ]
}

/// Where any interface names the features it has (as from 2026 on), the others have none.
fn check_feature(node: &Node, request: &Request, feature: &str) -> ApiResult<()> {
    let interfaces = node.config.network.rpc_interfaces.values();
    let named = interfaces
        .into_iter()
        .any(|interface| !interface.enabled_operator_features.is_empty());
    match !named || request.interface.has_feature(feature) {
        true => Ok(()),
        false => Err(ApiError::not_found(format!(
            "This interface does not have the operator feature {feature}"
        ))),
    }
}

fn since(request: &Request) -> ApiResult<Option<Seqno>> {
    let Some(text) = request.query_value("since") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(
            "InvalidQueryParameterValue",
            format!("Unable to parse value '{text}' in parameter 'since'"),
        )
    })
}

fn redirect(request: &Request, path: &str) -> Response {
    let location = format!("https://{}{path}", request.interface.published_address);
    Response::redirect(StatusCode::PERMANENT_REDIRECT, &location)
}

fn snapshot(node: &Node, request: &Request) -> ApiResult<Response> {
    check_feature(node, request, "SnapshotRead")?;
    let since = since(request)?.unwrap_or(0);
    let directory = &node.config.snapshots.directory;
    let found = snapshots::list(std::slice::from_ref(directory)).unwrap_or_default();
    let newest = found
        .into_iter()
        .rfind(|snapshot| snapshot.name.committed && snapshot.name.seqno >= since);
    let newest =
        newest.ok_or_else(|| ApiError::not_found(format!("This node has no committed snapshots since {since}")))?;
    Ok(redirect(request, &format!("/node/snapshot/{}", newest.name)))
}

fn snapshot_by_name(node: &Node, request: &Request) -> ApiResult<Response> {
    check_feature(node, request, "SnapshotRead")?;
    let asked = request.param("name");
    let unknown = || ApiError::not_found(format!("This node does not have a snapshot named {asked}"));
    let name = SnapshotName::parse(asked)
        .filter(|name| name.committed && name.to_string() == asked)
        .ok_or_else(unknown)?;
    let path = node.config.snapshots.directory.join(name.to_string());
    serve(request, &path, asked, &SNAPSHOT_NAME).ok_or_else(unknown)?
}

fn chunk(node: &Node, request: &Request) -> ApiResult<Response> {
    check_feature(node, request, "LedgerChunkRead")?;
    let since = since(request)?.ok_or_else(|| {
        ApiError::bad_request("InvalidQueryParameterValue", "The query parameter 'since' is required")
    })?;
    let holds = |name: &ChunkName| name.first <= since && name.last.is_some_and(|last| since <= last);
    let found = committed_chunks(node).into_iter().find(|(name, _)| holds(name));
    let (name, _) = found
        .ok_or_else(|| ApiError::not_found(format!("This node has no committed ledger chunk that holds {since}")))?;
    Ok(redirect(request, &format!("/node/ledger-chunk/{name}")))
}

fn chunk_by_name(node: &Node, request: &Request) -> ApiResult<Response> {
    check_feature(node, request, "LedgerChunkRead")?;
    let asked = request.param("name");
    let unknown = || ApiError::not_found(format!("This node does not have a ledger chunk named {asked}"));
    let found = committed_chunks(node)
        .into_iter()
        .find(|(name, _)| name.to_string() == asked);
    let (_, path) = found.ok_or_else(unknown)?;
    serve(request, &path, asked, &CHUNK_NAME).ok_or_else(unknown)?
}

/// Committed chunks under the names they have, or will have once the service is open; and where they are now.
fn committed_chunks(node: &Node) -> Vec<(ChunkName, PathBuf)> {
    let mut found = Vec::new();
    for directory in ledger_directories(&node.config) {
        let listing = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        for item in listing {
            let FileName::Chunk(name) = FileName::parse(&item.file_name().to_string_lossy()) else {
                continue;
            };
            if name.kind.is_committed() {
                let kind = ChunkKind::Committed;
                found.push((ChunkName { kind, ..name }, item.path()));
            }
        }
    }
    found.sort_by_key(|(name, _)| name.first);
    found
}

/// The file, or the range of it that is asked for; `None` if it can't be opened.
fn serve(request: &Request, path: &Path, name: &str, header: &HeaderName) -> Option<ApiResult<Response>> {
    let total = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?.len();
    let named = |response: Response| {
        response
            .with_header(header.clone(), name)
            .with_header(ACCEPT_RANGES, "bytes")
    };
    let Some(text) = request.header("range") else {
        return Some(Ok(named(Response::file(OCTETS, path, 0..total))));
    };
    Some(parse_range(text, total).map(|(from, to)| {
        let response = Response::file(OCTETS, path, from..to).with_status(StatusCode::PARTIAL_CONTENT);
        named(response).with_header(CONTENT_RANGE, &format!("bytes {from}-{to}/{total}"))
    }))
}

/// `bytes=A-B`, `bytes=A-` or `bytes=-N`, B exclusive.
pub(crate) fn parse_range(text: &str, total: u64) -> ApiResult<(u64, u64)> {
    let malformed =
        |why: &str| ApiError::bad_request("InvalidHeaderValue", format!("Invalid Range header '{text}': {why}"));
    let range = text
        .strip_prefix("bytes=")
        .ok_or_else(|| malformed("only bytes= is supported"))?;
    if range.contains(',') {
        return Err(malformed("only one range is supported"));
    }
    let (from, to) = range.split_once('-').ok_or_else(|| malformed("expected A-B"))?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| malformed("expected numbers"));
    let (from, to) = match (from, to) {
        ("", "") => return Err(malformed("expected A-B")),
        ("", last) => (total.saturating_sub(number(last)?), total),
        (from, "") => (number(from)?, total),
        (from, to) => (number(from)?, number(to)?.min(total)),
    };
    match from < to {
        true => Ok((from, to)),
        false => Err(malformed(&format!("it is empty, of {total} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_range_is_not_part_of_it() {
        assert_eq!(parse_range("bytes=0-4", 10), Ok((0, 4)));
        assert_eq!(parse_range("bytes=4-4000", 10), Ok((4, 10)));
        assert_eq!(parse_range("bytes=4-", 10), Ok((4, 10)));
        assert_eq!(parse_range("bytes=-3", 10), Ok((7, 10)));
    }

    #[test]
    fn malformed_ranges_are_refused() {
        for text in [
            "bytes=",
            "bytes=-",
            "bytes=4-4",
            "bytes=9-1",
            "bytes=a-b",
            "lines=1-2",
            "bytes=0-1,3-4",
            "bytes=99-",
        ] {
            let refused = parse_range(text, 10).unwrap_err();
            assert_eq!(
                (refused.status, refused.code),
                (StatusCode::BAD_REQUEST, "InvalidHeaderValue"),
                "{text}"
            );
        }
    }
}
