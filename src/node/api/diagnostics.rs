//! Versions, memory, metrics, and the documentation of the endpoints.

use hyper::Method;
use serde_json::Value;

use super::answers::{IndexStrategy, MemoryAnswer, RefreshAnswer, ScriptAnswer, VersionAnswer};
use super::{answer, handler};
use crate::governance::parameters::{ApiVersion, api_version};
use crate::http::prometheus::CONTENT_TYPE;
use crate::http::sessions::NodeMetrics;
use crate::http::{ApiError, ApiResult, QueryParameter, Request, Response, Route, schema};
use crate::node::shared::Node;
use crate::service::value;
use crate::tables::names;

/// An OpenAPI or Swagger document.
pub(super) type Document = serde_json::Map<String, Value>;

const DOCUMENTED_VERSION: &[QueryParameter] = &[QueryParameter {
    name: "api-version",
    required: false,
    description: "Which version of the API; without one, the endpoints that do not depend on it",
    schema: schema::<ApiVersion>,
}];

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, handler| Route::new(Method::GET, pattern, summary, handler);
    vec![
        get("/node/version", "Which program this is", handler!(version))
            .returns::<VersionAnswer>()
            .never_forwarded(),
        get("/node/memory", "Memory of the process", handler!(memory))
            .returns::<MemoryAnswer>()
            .never_forwarded(),
        get("/node/metrics", "Sessions by interface", handler!(metrics))
            .returns::<NodeMetrics>()
            .never_forwarded(),
        get(
            "/node/metrics/prometheus",
            "All metrics, for Prometheus",
            handler!(prometheus),
        )
        .returns_bytes(CONTENT_TYPE)
        .never_forwarded(),
        get("/node/js_metrics", "Limits of scripts", handler!(js_metrics)).returns::<ScriptAnswer>(),
        get(
            "/node/jwt_keys/refresh/metrics",
            "How often JWT keys were fetched",
            handler!(jwt_metrics),
        )
        .returns::<RefreshAnswer>(),
        get(
            "/node/index/strategies",
            "Indexes of an application: none",
            handler!(index_strategies),
        )
        .returns::<Vec<IndexStrategy>>()
        .never_forwarded(),
        get("/node/api", "This documentation", handler!(node_api)).returns::<Document>(),
        get("/gov/api", "The documentation of governance", handler!(gov_api))
            .query(DOCUMENTED_VERSION)
            .returns::<Document>(),
    ]
}

fn version(_: &Node, _: &Request) -> ApiResult<Response> {
    Ok(Response::json(&VersionAnswer {
        ccf_version: concat!("rekindle-", env!("CARGO_PKG_VERSION")),
        quickjs_version: crate::script::ENGINE,
        is_unsafe: false,
    }))
}

/// A field of `/proc/PROCESS/status`, in bytes; 0 where it can't be read.
pub(crate) fn process_memory(process: &str, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn memory(_: &Node, _: &Request) -> ApiResult<Response> {
    Ok(Response::json(&MemoryAnswer {
        current_allocated_heap_size: process_memory("self", "RssAnon"),
        max_total_heap_size: u64::MAX,
        peak_allocated_heap_size: process_memory("self", "VmHWM"),
    }))
}

fn metrics(node: &Node, _: &Request) -> ApiResult<Response> {
    Ok(Response::json(&node.sessions.to_answer()))
}

fn prometheus(node: &Node, _: &Request) -> ApiResult<Response> {
    Ok(node.metrics.response())
}

fn js_metrics(node: &Node, _: &Request) -> ApiResult<Response> {
    answer(node, |transaction| {
        let options: Value = value(transaction, names::JS_RUNTIME_OPTIONS).unwrap_or(Value::Null);
        let option = |name: &str, default: u64| options.get(name).and_then(Value::as_u64).unwrap_or(default);
        Ok(Response::json(&ScriptAnswer {
            bytecode_size: 0,
            bytecode_used: false,
            max_cached_interpreters: option("max_cached_interpreters", 10),
            max_execution_time: option("max_execution_time_ms", 5000),
            max_heap_size: option("max_heap_bytes", 100 << 20),
            max_stack_size: option("max_stack_bytes", 1 << 20),
        }))
    })
}

fn jwt_metrics(node: &Node, _: &Request) -> ApiResult<Response> {
    let (attempts, successes) = node.jwt.counts();
    Ok(Response::json(&RefreshAnswer {
        attempts,
        failures: attempts.saturating_sub(successes),
        successes,
    }))
}

fn index_strategies(_: &Node, _: &Request) -> ApiResult<Response> {
    Ok(Response::json(&Vec::<IndexStrategy>::new()))
}

pub(super) fn documentation(node: &Node, tag: &str) -> ApiResult<Response> {
    let document = node.documentation.get(tag);
    Ok(Response::json(
        document.ok_or_else(|| ApiError::not_found("No documentation"))?,
    ))
}

fn node_api(node: &Node, _: &Request) -> ApiResult<Response> {
    documentation(node, "node")
}

/// One document a version; without a version, of what is the same in all of them.
fn gov_api(node: &Node, request: &Request) -> ApiResult<Response> {
    match request.query_value("api-version") {
        None => documentation(node, "gov"),
        given => documentation(node, api_version(given, ApiVersion::Preview)?.name()),
    }
}
