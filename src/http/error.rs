//! Errors as CCF answers them: `{"error":{"code","message","details"?}}`. Recovery specification, section 3.1.

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// The result of answering a request.
pub type ApiResult<T> = Result<T, ApiError>;

/// What went wrong with a request, ready to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// CCF's code, such as `ResourceNotFound`.
    pub code: &'static str,
    /// For a person.
    pub message: String,
    /// What else there is to say: failed authentication policies, or what a script threw.
    pub details: Vec<Value>,
}

impl ApiError {
    /// An error without details.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// 400.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 403.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 404 `ResourceNotFound`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
    }

    /// 500 `InternalError`.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 401 `InvalidAuthenticationInfo`, as CCF says which policy refused the caller and why.
    pub fn unauthenticated(policy: &str, why: impl Into<String>) -> Self {
        let detail = json!({
            "auth_policy": policy, "code": "InvalidAuthenticationInfo", "message": why.into(),
        });
        ApiError {
            status: StatusCode::UNAUTHORIZED,
            code: "InvalidAuthenticationInfo",
            message: "Invalid authentication credentials.".to_owned(),
            details: vec![detail],
        }
    }

    /// The body.
    pub fn to_answer(&self) -> ErrorAnswer {
        ErrorAnswer {
            error: ErrorBody {
                code: self.code,
                details: self.details.clone(),
                message: self.message.clone(),
            },
        }
    }
}

/// The body of every error.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CCFError")]
pub struct ErrorAnswer {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CCFErrorBody")]
pub struct ErrorBody {
    /// For programs.
    pub code: &'static str,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Value>,
    /// For a person.
    pub message: String,
}
