//! What stands in the address of a governance request: the version of the API and ids of things.

use crate::governance::{Reason, Refusal};
use schemars::JsonSchema;

/// Hex digits of an id: a SHA-256 digest.
const ID_DIGITS: usize = 64;
/// Of what a client sent, this much is repeated to it.
const MAX_ECHO: usize = 200;

/// A version of the governance API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(rename = "Versions")]
pub enum ApiVersion {
    /// `2023-06-01-preview`.
    #[schemars(rename = "2023-06-01-preview")]
    Preview,
    /// `2024-07-01`.
    #[schemars(rename = "2024-07-01")]
    V1,
}

impl ApiVersion {
    /// Every version, oldest first.
    pub const ALL: [ApiVersion; 2] = [ApiVersion::Preview, ApiVersion::V1];

    /// As it stands in requests.
    pub fn name(self) -> &'static str {
        match self {
            ApiVersion::Preview => "2023-06-01-preview",
            ApiVersion::V1 => "2024-07-01",
        }
    }
}

/// Reads query parameter `api-version` of an endpoint that exists since version `since`.
///
/// # Errors
/// [`Reason::MissingVersion`] or [`Reason::UnsupportedVersion`].
pub fn api_version(value: Option<&str>, since: ApiVersion) -> Result<ApiVersion, Refusal> {
    let supported = ApiVersion::ALL.into_iter().filter(|version| *version >= since);
    let names: Vec<_> = supported.clone().map(ApiVersion::name).collect();
    let suffix = format!("The supported api-versions are: {}", names.join(", "));
    let Some(value) = value else {
        return Err(Refusal::new(
            Reason::MissingVersion,
            format!("The api-version query parameter (?api-version=) is required for all requests. {suffix}"),
        ));
    };
    supported
        .clone()
        .find(|version| version.name() == value)
        .ok_or_else(|| {
            let value = echo(value);
            Refusal::new(
                Reason::UnsupportedVersion,
                format!("Unsupported api-version '{value}'. {suffix}"),
            )
        })
}

/// Checks that a part of a path is a member's id.
///
/// # Errors
/// [`Reason::InvalidName`].
pub fn member_id(text: &str) -> Result<&str, Refusal> {
    id(text, "member")
}

/// Checks that a part of a path is a user's id.
///
/// # Errors
/// [`Reason::InvalidName`].
pub fn user_id(text: &str) -> Result<&str, Refusal> {
    id(text, "user")
}

/// Checks that a part of a path is a proposal's id.
///
/// # Errors
/// [`Reason::InvalidName`].
pub fn proposal_id(text: &str) -> Result<&str, Refusal> {
    id(text, "proposal")
}

/// Checks that a part of a path is a node's id.
///
/// # Errors
/// [`Reason::InvalidName`].
pub fn node_id(text: &str) -> Result<&str, Refusal> {
    id(text, "node")
}

fn id<'a>(text: &'a str, whose: &str) -> Result<&'a str, Refusal> {
    if text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text);
    }
    let text = echo(text);
    Err(Refusal::new(
        Reason::InvalidName,
        format!("'{text}' is not a valid hex-encoded {whose} ID"),
    ))
}

/// As much of a text as is repeated.
pub(super) fn echo(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_ECHO)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_must_be_named_and_known() {
        assert_eq!(api_version(Some("2024-07-01"), ApiVersion::Preview), Ok(ApiVersion::V1));
        assert_eq!(
            api_version(Some("2023-06-01-preview"), ApiVersion::Preview),
            Ok(ApiVersion::Preview)
        );
        let missing = api_version(None, ApiVersion::Preview).unwrap_err();
        assert_eq!(
            (missing.reason, missing.message.as_str()),
            (
                Reason::MissingVersion,
                "The api-version query parameter (?api-version=) is required for all requests. The supported \
                 api-versions are: 2023-06-01-preview, 2024-07-01"
            )
        );
        let early = api_version(Some("2023-06-01-preview"), ApiVersion::V1).unwrap_err();
        assert_eq!(
            (early.reason, early.message.as_str()),
            (
                Reason::UnsupportedVersion,
                "Unsupported api-version '2023-06-01-preview'. The supported api-versions are: 2024-07-01"
            )
        );
        let long = api_version(Some(&"é".repeat(1000)), ApiVersion::V1).unwrap_err();
        assert!(long.message.len() < 300);
    }

    #[test]
    fn an_id_is_64_hex_digits() {
        assert!(member_id(&"aF".repeat(32)).is_ok());
        for bad in ["", "ab", &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            let error = proposal_id(bad).unwrap_err();
            assert_eq!(error.reason, Reason::InvalidName);
            assert!(error.message.ends_with("is not a valid hex-encoded proposal ID"));
        }
    }
}
