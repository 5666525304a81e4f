//! What a plain dump says about itself in its comments.

use time::UtcOffset;

use super::{Span, moment};

/// What a plain dump says about itself in its comments.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// Dumps that were begun and not yet said to be complete, and those that were.
    open: u32,
    complete: u32,
    /// Whether it is `pg_dumpall`'s.
    pub is_cluster: bool,
    pub started: Option<Span>,
    pub completed: Option<Span>,
    /// Whether every time so far had a zone.
    pub zones: Option<bool>,
    pub server_version: Option<String>,
    pub dumper_version: Option<String>,
    /// The databases that `\connect` named.
    pub databases: Vec<String>,
}

impl About {
    /// Whether everything that was begun is said to be complete.
    pub fn is_complete(&self) -> bool {
        self.open == 0 && self.complete > 0
    }

    /// Whether anything looks like a dump.
    pub fn is_dump(&self) -> bool {
        self.open + self.complete > 0
    }

    /// Reads a comment that stands between statements.
    pub fn comment(&mut self, text: &str, zone: Option<UtcOffset>) {
        let text = text.trim_start_matches('-').trim();
        let version = |prefix: &str| text.strip_prefix(prefix).map(|version| version.trim().to_owned());
        let mut time = |prefix: &str| {
            let (span, known) = moment::parse(text.strip_prefix(prefix)?, zone)?;
            self.zones = Some(self.zones.unwrap_or(true) && known);
            Some(span)
        };
        if let Some(span) = time("Started on ") {
            self.started = self.started.or(Some(span));
        } else if let Some(span) = time("Completed on ") {
            self.completed = Some(span);
        }
        match text {
            "PostgreSQL database dump" | "PostgreSQL database cluster dump" => {
                self.is_cluster |= text.contains("cluster");
                self.open = self.open.saturating_add(1);
            }
            "PostgreSQL database dump complete" | "PostgreSQL database cluster dump complete" => {
                self.open = self.open.saturating_sub(1);
                self.complete = self.complete.saturating_add(1);
            }
            _ => {}
        }
        self.server_version = self
            .server_version
            .take()
            .or_else(|| version("Dumped from database version "));
        self.dumper_version = self
            .dumper_version
            .take()
            .or_else(|| version("Dumped by pg_dump version "));
    }
}
