//! A strict reader of the documents that `--html` writes: every element closed in its place, every attribute quoted and once, every
//! link to somewhere in the document, and nothing that fetches, runs or sends.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

const EMPTY: [&str; 3] = ["meta", "br", "hr"];
const KNOWN: [&str; 46] = [
    "html",
    "head",
    "meta",
    "style",
    "title",
    "body",
    "main",
    "h1",
    "h2",
    "h3",
    "section",
    "p",
    "span",
    "strong",
    "code",
    "dl",
    "div",
    "dt",
    "dd",
    "ul",
    "ol",
    "li",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "a",
    "svg",
    "defs",
    "pattern",
    "rect",
    "path",
    "line",
    "text",
    "g",
    "br",
    "hr",
    "em",
    "small",
    "progress",
    "abbr",
];

/// What is in a document.
pub struct Document {
    pub source: String,
    /// All text that is shown, with what marks stand for undone.
    pub text: String,
    pub ids: BTreeSet<String>,
    pub links: BTreeSet<String>,
}

impl Document {
    /// Reads one, and holds it to all that is promised of it.
    #[track_caller]
    pub fn of(source: &str) -> Document {
        let rest = source.strip_prefix("<!DOCTYPE html>").expect("a document type");
        let mut document = Document {
            source: source.to_owned(),
            text: String::new(),
            ids: BTreeSet::new(),
            links: BTreeSet::new(),
        };
        let mut open: Vec<String> = Vec::new();
        let mut rest = rest;
        while let Some(at) = rest.find('<') {
            document.take_text(&rest[..at], open.last().map(String::as_str));
            let end = end_of_tag(&rest[at..]);
            let tag = &rest[at + 1..at + end];
            rest = &rest[at + end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "closed out of turn");
                continue;
            }
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            assert!(KNOWN.contains(&name), "<{name}> has no place in a report");
            document.take_attributes(name, attributes);
            if !EMPTY.contains(&name) {
                open.push(name.to_owned());
            }
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "not closed: {open:?} {rest}");
        for link in &document.links {
            assert!(document.ids.contains(link), "nothing is #{link}");
        }
        document.check_policy();
        document
    }

    fn take_text(&mut self, text: &str, within: Option<&str>) {
        if within == Some("style") {
            return;
        }
        assert!(!text.contains('>'), "{text}");
        self.text.push_str(&undone(text));
        self.text.push(' ');
    }

    fn take_attributes(&mut self, element: &str, mut rest: &str) {
        let mut names = BTreeSet::new();
        while !rest.trim().is_empty() {
            let (name, after) = rest.trim_start().split_once("=\"").unwrap_or_else(|| panic!("{rest}"));
            let (value, after) = after.split_once('"').unwrap();
            let value = undone(value);
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
            assert!(names.insert(name.to_owned()), "{name} twice");
            assert!(!name.starts_with("on") && name != "style" && name != "src", "{name}");
            match name {
                "id" => assert!(self.ids.insert(value.clone()), "two are #{value}"),
                "href" => {
                    let link = value.strip_prefix('#').unwrap_or_else(|| panic!("a link to {value}"));
                    assert_eq!(element, "a");
                    self.links.insert(link.to_owned());
                }
                _ => {}
            }
            self.text.push_str(&value);
            self.text.push(' ');
            rest = after;
        }
    }

    /// Its style is the one that its policy allows, and fetches nothing.
    fn check_policy(&self) {
        let style = self
            .source
            .split("<style>")
            .nth(1)
            .unwrap()
            .split("</style>")
            .next()
            .unwrap();
        let digest = BASE64.encode(rekindle::crypto::sha256(style.as_bytes()));
        let policy =
            format!("content=\"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\"");
        assert!(self.source.contains(&policy), "{policy}");
        assert!(!style.contains("@import") && !style.contains("http"));
        assert!(style.split("url(").skip(1).all(|place| place.starts_with("#p-")));
    }
}

/// A `>` in quotes ends nothing.
fn end_of_tag(rest: &str) -> usize {
    let mut is_quoted = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return at,
            _ => {}
        }
    }
    panic!("a tag without an end: {rest:.100}")
}

fn undone(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}
