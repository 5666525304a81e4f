//! The page that the node serves: where a recovery is, for people who look at it together.
//!
//! `view` is what is shown, which `reading` takes from the status and from a state that is held still; `document` draws it, part by
//! part (`sections`); `host` decides whom it may be shown to. Nothing here changes anything, and nothing secret is read. Recovery
//! specification, sections 2.9 and 3.

mod document;
mod figures;
mod host;
mod reading;
mod sections;
mod view;

pub use document::draw;
pub use host::Hosts;
pub use reading::view_of;
pub use view::View;

/// Where the page is.
pub const PATH: &str = "/rekindle";
/// Where its style sheet is.
pub const STYLE_PATH: &str = "/rekindle/look.css";
/// Where its script is.
pub const SCRIPT_PATH: &str = "/rekindle/live.js";
/// Its script.
pub const SCRIPT: &str = include_str!("live.js");
