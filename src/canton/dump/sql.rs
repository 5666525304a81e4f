//! The reader of SQL: follows a dump's statements, and gives the rows of wanted tables away.

use std::collections::HashMap;
use std::io::{self, Read};

use time::UtcOffset;

use super::about::About;
use super::input::Input;
use super::rows::{MOST_COLUMNS, Row};
use super::token::{Token, Tokens};
use super::{Rows, Table};
use crate::canton::{Code, Finding, Findings};

/// Bytes of the columns' names that are remembered for `INSERT` without names.
const REMEMBERED: usize = 16 << 20;

/// How a text of SQL ended.
#[derive(Debug)]
pub(super) enum End {
    /// After a statement.
    Whole,
    /// Within one.
    CutOff,
    /// It could not be read further.
    Failed(io::Error),
}

/// The input ended within a statement.
pub(super) struct CutOff;

pub(super) type Parsed<T> = Result<T, CutOff>;

/// A table's name in a statement, and the token after it.
pub(super) struct Named {
    pub schema: String,
    pub name: String,
    pub after: Token,
}

/// The reader.
pub(super) struct Sql<'a> {
    pub rows: &'a mut dyn Rows,
    pub findings: Findings,
    /// What is read, for findings; it can be shown.
    pub place: String,
    pub about: About,
    pub database: Option<String>,
    /// Rows, or groups of them, that could not be read.
    pub lost: u64,
    /// Where the last text ended.
    pub offset: u64,
    zone: Option<UtcOffset>,
    schema: String,
    known: HashMap<(String, String), Vec<String>>,
    remembered: usize,
    decided: Option<(Table, bool)>,
    pub(super) row: Row,
    pub(super) line: Vec<u8>,
}

impl<'a> Sql<'a> {
    pub fn new(rows: &'a mut dyn Rows, place: String, zone: Option<UtcOffset>) -> Sql<'a> {
        Sql {
            rows,
            findings: Findings::default(),
            place,
            about: About::default(),
            database: None,
            lost: 0,
            offset: 0,
            zone,
            schema: "public".to_owned(),
            known: HashMap::new(),
            remembered: 0,
            decided: None,
            row: Row::default(),
            line: Vec::new(),
        }
    }

    /// Reads a text to its end.
    pub fn run(&mut self, input: impl Read) -> End {
        let mut tokens = Tokens::new(Input::new(input));
        let ended = self.statements(&mut tokens);
        self.offset = tokens.input.offset();
        match (tokens.input.failed(), ended) {
            (Some(e), _) => End::Failed(e),
            (None, Ok(())) => End::Whole,
            (None, Err(CutOff)) => End::CutOff,
        }
    }

    /// A finding about what is read.
    pub fn found(&mut self, code: Code, offset: impl Into<Option<u64>>, message: impl AsRef<str>) {
        let mut finding = Finding::new(code, message).at(&self.place);
        finding.offset = offset.into();
        self.findings.push(finding);
    }

    pub(super) fn lost(&mut self, code: Code, offset: u64, message: impl AsRef<str>) {
        self.lost += 1;
        self.found(code, offset, message);
    }

    fn statements(&mut self, tokens: &mut Tokens<'_>) -> Parsed<()> {
        loop {
            tokens.end_statement();
            let token = tokens.next();
            match token {
                Token::End => return Ok(()),
                Token::CutOff => return Err(CutOff),
                Token::Comment => self.about.comment(&String::from_utf8_lossy(&tokens.text), self.zone),
                Token::Command => self.command(&String::from_utf8_lossy(&tokens.text)),
                Token::Mark(b';') => {}
                _ if tokens.is(token, "COPY") => self.copy(tokens)?,
                _ if tokens.is(token, "INSERT") => self.insert(tokens)?,
                _ if tokens.is(token, "CREATE") => self.create(tokens)?,
                _ if tokens.is(token, "SET") => self.set(tokens)?,
                other => pass_statement(tokens, other)?,
            }
        }
    }

    /// `\connect`: the rows that follow are of another database.
    fn command(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        if !matches!(words.next(), Some("\\connect" | "\\c")) {
            return;
        }
        let rest = words
            .filter(|word| !word.starts_with("-reuse-previous"))
            .collect::<Vec<_>>()
            .join(" ");
        // Odd names stand in a connection string: "dbname='it''s'".
        let rest = rest.trim_matches('"').trim();
        let name = rest.strip_prefix("dbname=").unwrap_or(rest).trim_matches('\'');
        self.database = Some(name.replace("\\'", "'").replace("\\\\", "\\"));
        self.known.clear();
        self.remembered = 0;
        self.schema = "public".to_owned();
        if self.about.databases.len() < 1000 {
            self.about.databases.extend(self.database.clone());
        }
    }

    /// `SET search_path`, `SET standard_conforming_strings`.
    fn set(&mut self, tokens: &mut Tokens<'_>) -> Parsed<()> {
        let token = tokens.next();
        let what = tokens.name(token);
        let sign = if what.is_some() { tokens.next() } else { token };
        let is_setting = sign == Token::Mark(b'=') || tokens.is(sign, "TO");
        let token = if is_setting { tokens.next() } else { sign };
        match what.as_deref() {
            Some("standard_conforming_strings") if is_setting => {
                tokens.backslash_escapes = tokens.text.eq_ignore_ascii_case(b"off");
            }
            Some("search_path") if is_setting => {
                if let Some(schema) = tokens.name(token) {
                    self.schema = schema;
                }
            }
            _ => {}
        }
        pass_statement(tokens, token)
    }

    /// A table's name, from the token that is its first part.
    pub(super) fn named(&self, tokens: &mut Tokens<'_>, first: Token) -> Option<Named> {
        let mut parts = vec![tokens.name(first)?];
        loop {
            let after = tokens.next();
            if after != Token::Mark(b'.') {
                let name = parts.pop()?;
                let schema = parts.pop().unwrap_or_else(|| self.schema.clone());
                return Some(Named { schema, name, after });
            }
            let part = tokens.next();
            parts.push(tokens.name(part)?);
            if parts.len() > 3 {
                return None;
            }
        }
    }

    /// Names in parentheses, after the opening one. None where there are other things, or too many.
    pub(super) fn names(&self, tokens: &mut Tokens<'_>) -> Option<Vec<String>> {
        let mut names = Vec::new();
        loop {
            let token = tokens.next();
            if token == Token::Mark(b')') && names.is_empty() {
                return Some(names);
            }
            names.push(tokens.name(token)?);
            match tokens.next() {
                Token::Mark(b')') => return Some(names),
                Token::Mark(b',') if names.len() < MOST_COLUMNS => {}
                _ => return None,
            }
        }
    }

    /// As [`Self::names`], and the token after the closing parenthesis, also where there are other things.
    pub(super) fn columns(&self, tokens: &mut Tokens<'_>) -> (Option<Vec<String>>, Token) {
        let names = self.names(tokens);
        while names.is_none() && !matches!(tokens.last, Token::Mark(b')' | b';') | Token::End | Token::CutOff) {
            tokens.next();
        }
        match tokens.last {
            Token::Mark(b')') => (names, tokens.next()),
            other => (names, other),
        }
    }

    /// Whether rows of a table are wanted; asked once for many statements in a row.
    pub fn wants(&mut self, table: &Table) -> bool {
        match &self.decided {
            Some((decided, wanted)) if decided == table => *wanted,
            _ => {
                let wanted = self.rows.wants(table);
                self.decided = Some((table.clone(), wanted));
                wanted
            }
        }
    }

    /// Names without a schema are of this one from now on.
    pub fn in_schema(&mut self, schema: &str) {
        schema.clone_into(&mut self.schema);
    }

    /// The table that the statement of an archive's entry names, or the one of this name whose definition was read.
    pub fn table_of(&mut self, copy: &str, schema: &str, name: &str) -> Option<Table> {
        let mut tokens = Tokens::new(Input::new(copy.as_bytes()));
        if tokens.next() == Token::End {
            let columns = self.known_columns(schema, name).cloned().unwrap_or_default();
            return Some(self.table(schema.to_owned(), name.to_owned(), columns));
        }
        let first = tokens.next();
        let named = self.named(&mut tokens, first)?;
        let columns = match named.after {
            Token::Mark(b'(') => self.names(&mut tokens)?,
            _ => Vec::new(),
        };
        Some(self.table(named.schema, named.name, columns))
    }

    /// A table of the database that is read.
    pub fn table(&self, schema: String, name: String, columns: Vec<String>) -> Table {
        Table {
            database: self.database.clone(),
            schema,
            name,
            columns,
        }
    }

    /// The columns of a table that a `CREATE TABLE` before had.
    pub fn known_columns(&self, schema: &str, name: &str) -> Option<&Vec<String>> {
        self.known.get(&(schema.to_owned(), name.to_owned()))
    }

    /// `CREATE TABLE`: its columns are remembered, for `INSERT` without names.
    fn create(&mut self, tokens: &mut Tokens<'_>) -> Parsed<()> {
        let mut token = tokens.next();
        while ["OR", "REPLACE", "UNLOGGED", "FOREIGN"]
            .iter()
            .any(|word| tokens.is(token, word))
        {
            token = tokens.next();
        }
        if tokens.is(token, "FUNCTION") || tokens.is(token, "PROCEDURE") {
            return pass_function(tokens);
        }
        if !tokens.is(token, "TABLE") {
            return pass_statement(tokens, token);
        }
        token = tokens.next();
        while ["IF", "NOT", "EXISTS"].iter().any(|word| tokens.is(token, word)) {
            token = tokens.next();
        }
        let Some(named) = self.named(tokens, token) else {
            return pass_statement(tokens, tokens.last);
        };
        if named.after != Token::Mark(b'(') {
            return pass_statement(tokens, named.after);
        }
        let (mut depth, mut at_name, mut columns, mut size) = (1u32, true, Vec::new(), 0);
        while depth > 0 {
            let token = tokens.next();
            match token {
                Token::End | Token::CutOff => return Err(CutOff),
                Token::Mark(b'(') => depth = depth.saturating_add(1),
                Token::Mark(b')') => depth -= 1,
                _ if at_name => {
                    let words = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "LIKE"];
                    let is_constraint = words.iter().any(|word| tokens.is(token, word));
                    let name = tokens
                        .name(token)
                        .filter(|_| !is_constraint && columns.len() < MOST_COLUMNS);
                    size += name.as_ref().map_or(0, |name| name.len() + 64);
                    columns.extend(name);
                }
                _ => {}
            }
            at_name = depth == 1 && token == Token::Mark(b',');
        }
        if self.remembered + size <= REMEMBERED {
            self.remembered += size + named.schema.len() + named.name.len() + 64;
            self.known.insert((named.schema, named.name), columns);
        }
        pass_statement(tokens, tokens.last)
    }
}

/// Passes a statement to its end, from its token `at` on.
pub(super) fn pass_statement(tokens: &mut Tokens<'_>, at: Token) -> Parsed<()> {
    let (mut token, mut depth) = (at, 0u32);
    loop {
        match token {
            Token::Mark(b';') if depth == 0 => return Ok(()),
            Token::End | Token::CutOff => return Err(CutOff),
            Token::Mark(b'(') => depth = depth.saturating_add(1),
            Token::Mark(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        token = tokens.next();
    }
}

/// Passes the rest of `CREATE FUNCTION`, whose body may hold statements of its own between `BEGIN` and `END`.
fn pass_function(tokens: &mut Tokens<'_>) -> Parsed<()> {
    let (mut depth, mut begun) = (0u32, 0u32);
    loop {
        let token = tokens.next();
        match token {
            Token::Mark(b';') if depth == 0 && begun == 0 => return Ok(()),
            Token::End | Token::CutOff => return Err(CutOff),
            Token::Mark(b'(') => depth = depth.saturating_add(1),
            Token::Mark(b')') => depth = depth.saturating_sub(1),
            _ if tokens.is(token, "BEGIN") => begun = begun.saturating_add(1),
            _ if begun > 0 && tokens.is(token, "CASE") => begun = begun.saturating_add(1),
            _ if begun > 0 && tokens.is(token, "END") => begun -= 1,
            _ => {}
        }
    }
}
