//! HTTPS: what CCF's interfaces speak. Recovery specification, sections 3 and 8.7.

pub mod error;

pub use error::{ApiError, ApiResult};
