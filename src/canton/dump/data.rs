//! The statements that hold rows: `COPY … FROM stdin` and `INSERT`.

use super::Table;
use super::input::{Input, Line};
use super::rows::Row;
use super::sql::{CutOff, Parsed, Sql, pass_statement};
use super::token::{LONGEST_TEXT, Token, Tokens};
use crate::canton::Code;

/// Bytes of a row. A longer one is passed over and said; PostgreSQL's own bound is a gigabyte.
const LONGEST_ROW: usize = LONGEST_TEXT;

impl Sql<'_> {
    /// `COPY … FROM stdin;` and the rows after it.
    pub(super) fn copy(&mut self, tokens: &mut Tokens<'_>) -> Parsed<()> {
        let offset = tokens.input.offset();
        let token = tokens.next();
        let Some(named) = self.named(tokens, token) else {
            return pass_statement(tokens, tokens.last);
        };
        let (columns, mut token) = match named.after {
            Token::Mark(b'(') => self.columns(tokens),
            other => {
                let known = self.known_columns(&named.schema, &named.name).cloned();
                (Some(known.unwrap_or_default()), other)
            }
        };
        let is_from = tokens.is(token, "FROM");
        token = if is_from { tokens.next() } else { token };
        if !is_from || !tokens.is(token, "STDIN") {
            return pass_statement(tokens, token);
        }
        token = tokens.next();
        let is_text = token == Token::Mark(b';');
        if !is_text {
            pass_statement(tokens, token)?;
        }
        let mut end = std::mem::take(&mut self.line);
        let is_whole = tokens.input.line(&mut end, 16) != Line::CutOff;
        let returns = end.last() == Some(&b'\r');
        self.line = end;
        if !is_whole {
            return Err(CutOff);
        }
        let Some(columns) = columns.filter(|_| is_text) else {
            self.lost(
                Code::DumpRowsBroken,
                offset,
                format!(
                    "the COPY of {}.{} is not of the form that pg_dump writes; its rows were not read",
                    named.schema, named.name
                ),
            );
            return tokens.input.pass_rows().then_some(()).ok_or(CutOff);
        };
        let table = Table {
            database: self.database.clone(),
            schema: named.schema,
            name: named.name,
            columns,
        };
        match self.wants(&table) {
            true => self.copied(&mut tokens.input, &table, returns),
            false => tokens.input.pass_rows().then_some(()).ok_or(CutOff),
        }
    }

    /// The rows of a wanted `COPY`.
    fn copied(&mut self, input: &mut Input<'_>, table: &Table, returns: bool) -> Parsed<()> {
        let (mut line, mut row) = (std::mem::take(&mut self.line), std::mem::take(&mut self.row));
        let ended = loop {
            let offset = input.offset();
            let taken = input.line(&mut line, LONGEST_ROW);
            if returns && line.last() == Some(&b'\r') {
                line.pop();
            }
            if line == b"\\." && taken != Line::TooLong {
                break Ok(());
            }
            match taken {
                // Its last row may have lost its end.
                Line::CutOff => break Err(CutOff),
                Line::TooLong => self.too_long(table, offset),
                Line::Whole if line.is_empty() && table.columns.is_empty() => {}
                Line::Whole => {
                    row.decode(&line, table.columns.len() + 1);
                    self.give(&row, table, offset);
                }
            }
        };
        (self.line, self.row) = (line, row);
        ended
    }

    fn too_long(&mut self, table: &Table, offset: u64) {
        let message = format!(
            "a row of {}.{} has more than {} MiB and was passed over",
            table.schema,
            table.name,
            LONGEST_ROW >> 20
        );
        self.lost(Code::DumpRowsBroken, offset, message);
    }

    fn give(&mut self, row: &Row, table: &Table, offset: u64) {
        if row.len() == table.columns.len() {
            return row.give(table, self.rows);
        }
        let (found, expected) = match row.len() > table.columns.len() {
            true => ("more".to_owned(), table.columns.len()),
            false => (row.len().to_string(), table.columns.len()),
        };
        let message = format!(
            "a row of {}.{} has {found} fields instead of {expected}",
            table.schema, table.name
        );
        self.lost(Code::DumpRowsBroken, offset, message);
    }

    /// `INSERT INTO … VALUES (…), (…);`.
    pub(super) fn insert(&mut self, tokens: &mut Tokens<'_>) -> Parsed<()> {
        let offset = tokens.input.offset();
        let mut token = tokens.next();
        if tokens.is(token, "INTO") {
            token = tokens.next();
        }
        let Some(named) = self.named(tokens, token) else {
            return pass_statement(tokens, tokens.last);
        };
        let (columns, mut token) = match named.after {
            Token::Mark(b'(') => self.columns(tokens),
            other => (self.known_columns(&named.schema, &named.name).cloned(), other),
        };
        let is_named = columns.is_some();
        let table = Table {
            database: self.database.clone(),
            schema: named.schema,
            name: named.name,
            columns: columns.unwrap_or_default(),
        };
        if !self.wants(&table) {
            return pass_statement(tokens, token);
        }
        while ["OVERRIDING", "SYSTEM", "USER", "VALUE"]
            .iter()
            .any(|word| tokens.is(token, word))
        {
            token = tokens.next();
        }
        if !is_named || !tokens.is(token, "VALUES") {
            let message = match is_named {
                true => "is not of the form that pg_dump writes; its rows were not read",
                false => "names no columns, and no CREATE TABLE before it does; its rows were not read",
            };
            self.lost(
                Code::DumpRowsBroken,
                offset,
                format!("an INSERT into {}.{} {message}", table.schema, table.name),
            );
            return pass_statement(tokens, token);
        }
        loop {
            let offset = tokens.input.offset();
            match tokens.next() {
                Token::End | Token::CutOff => return Err(CutOff),
                Token::Mark(b'(') => self.inserted(tokens, &table, offset)?,
                Token::Mark(b',') => {}
                other => return pass_statement(tokens, other),
            }
        }
    }

    /// One row of an `INSERT`, after its opening parenthesis.
    fn inserted(&mut self, tokens: &mut Tokens<'_>, table: &Table, offset: u64) -> Parsed<()> {
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        let (mut depth, mut at_value, mut is_odd, mut is_too_long) = (1u32, true, false, false);
        while depth > 0 {
            let token = tokens.next();
            match token {
                Token::End | Token::CutOff => {
                    self.row = row;
                    return Err(CutOff);
                }
                Token::Mark(b'(' | b'[') => depth = depth.saturating_add(1),
                Token::Mark(b')' | b']') => depth -= 1,
                _ => {}
            }
            let begins = std::mem::replace(&mut at_value, depth == 1 && token == Token::Mark(b','));
            if !begins || depth == 0 {
                continue;
            }
            is_too_long |= tokens.is_too_long || row.size() + tokens.text.len() > LONGEST_ROW;
            let is_one_of = |words: &[&str]| words.iter().any(|word| tokens.is(token, word));
            match token {
                _ if is_too_long || row.len() > table.columns.len() => {}
                Token::Text | Token::Number => row.push(Some(&tokens.text)),
                _ if is_one_of(&["NULL", "DEFAULT"]) => row.push(None),
                // As COPY writes them.
                _ if is_one_of(&["TRUE"]) => row.push(Some(b"t")),
                _ if is_one_of(&["FALSE"]) => row.push(Some(b"f")),
                _ => is_odd = true,
            }
        }
        match (is_too_long, is_odd) {
            (true, _) => self.too_long(table, offset),
            (_, true) => {
                let message = format!("a row of {}.{} holds what is no literal", table.schema, table.name);
                self.lost(Code::DumpRowsBroken, offset, message);
            }
            _ => self.give(&row, table, offset),
        }
        self.row = row;
        Ok(())
    }
}
