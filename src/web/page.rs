//! Documents: the head, the strict policy, the title, and what stands inside.
//!
//! There are two kinds, in one look. A [`file()`] is self-contained: its style stands in it, allowed by digest, and nothing else may be
//! loaded or run, wherever it is opened. A [`served`] document names a style sheet and a script of the same server, whose header
//! gives the policy ([`POLICY`]).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::crypto::sha256;
use crate::shown::line;

use super::look::STYLE;

/// The policy of what a server gives: nothing but its own script, style sheet and answers, in no frame of another page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Where the parts of a served document are, on its own server.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The style sheet.
    pub style: &'a str,
    /// The script.
    pub script: &'a str,
    /// After so many seconds a browser that runs no scripts asks again.
    pub again_s: u32,
}

/// A document in a file, which needs nothing else and runs nothing. `body` stands in `main`, below the title.
pub fn file(title: &str, body: &Markup) -> String {
    file_with(title, "", body)
}

/// The same, with rules of its own after [`STYLE`].
pub fn file_with(title: &str, rules: &str, body: &Markup) -> String {
    let style = [STYLE, rules].concat();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        BASE64.encode(sha256(style.as_bytes()))
    );
    let head = html! {
        meta http-equiv="Content-Security-Policy" content=(policy);
        style { (PreEscaped(&style)) }
    };
    document(title, &head, body).into_string()
}

/// A document of a server, which sends [`POLICY`] with it. `body` stands in `main`, below the title.
pub fn served(title: &str, parts: Parts<'_>, body: &Markup) -> String {
    let head = html! {
        link rel="stylesheet" href=(parts.style);
        script src=(parts.script) defer {}
        noscript { meta http-equiv="refresh" content=(parts.again_s); }
    };
    document(title, &head, body).into_string()
}

fn document(title: &str, head: &Markup, body: &Markup) -> Markup {
    let title = line(title);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                (head)
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
            }
            body {
                main id="main" {
                    h1 { (title) }
                    (body)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_allows_its_own_style_and_nothing_else() {
        let document = file("a & b", &html! { p { "<script>" } });
        let style = document
            .split("<style>")
            .nth(1)
            .unwrap()
            .split("</style>")
            .next()
            .unwrap();
        let digest = BASE64.encode(sha256(style.as_bytes()));
        assert!(document.contains(&format!("style-src 'sha256-{digest}'")), "{document}");
        // The policy stands before what it is about.
        assert!(document.find("Content-Security-Policy") < document.find("<style>"));
        assert!(document.contains("<h1>a &amp; b</h1>") && document.contains("&lt;script&gt;"));
        for outside in [
            "http://",
            "https://",
            "url(",
            "@import",
            "<script",
            " style=",
            "javascript:",
        ] {
            assert!(!document.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_title_cannot_turn_the_reading_direction() {
        assert!(!file("a\u{202e}b", &html! {}).contains('\u{202e}'));
    }
}
