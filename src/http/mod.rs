//! HTTPS: what CCF's interfaces speak. Recovery specification, sections 3 and 8.7.
//!
//! `server` accepts, counts (`sessions`), shakes hands (`tls`) and reads whole requests within the limits of their
//! `interface`; `router` finds the route, whose handler gets a `message::Request` and gives a `message::Response` or an
//! `ApiError`. What other nodes pass on comes in by `relay`, and what is passed on to them is written and read by `forwarded`.
//! Whatever a client sends, memory and time per session are bounded, and where it is asked for (`callers`) what one address takes; a
//! handler that panics costs one answer. The OpenAPI document is made from the table of routes, so that they can't disagree.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
mod answer;
mod body;
mod callers;
mod connection;
pub mod error;
mod forwarded;
pub mod interface;
mod memory;
pub mod message;
pub mod openapi;
mod parameter;
pub mod prometheus;
mod relay;
pub mod router;
pub mod server;
pub mod sessions;
mod swagger;
mod timeouts;
pub mod tls;

pub use error::{ApiError, ApiResult};
pub use forwarded::{answer_of, request_of};
pub use interface::{AcceptedEndpoints, Authority, HttpLimits, Interface};
pub use message::{Body, Request, Response};
pub use prometheus::Metrics;
pub use relay::Relay;
pub use router::{BoxFuture, Forward, Handler, QueryParameter, Route, Router, schema};
pub use server::{Certificates, Running, Server};
pub use sessions::Sessions;
pub use timeouts::Timeouts;
pub use tls::CertificateSlot;
