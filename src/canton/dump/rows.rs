//! Rows of `COPY` and `INSERT`, decoded (PostgreSQL's text format).

use std::ops::Range;

use smallvec::SmallVec;

use super::{Field, Rows, Table};

/// Columns of a table; PostgreSQL has at most 1600.
pub(super) const MOST_COLUMNS: usize = 1664;

/// The fields of one row; reused for the next.
#[derive(Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    fields: Vec<Option<Range<usize>>>,
}

impl Row {
    /// Forgets its fields.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a field.
    pub fn push(&mut self, field: Field<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(field.unwrap_or_default());
        self.fields.push(field.map(|_| start..self.bytes.len()));
    }

    /// Reads a line of `COPY`, which has one field more than it has tabs; no more fields than `most`.
    pub fn decode(&mut self, line: &[u8], most: usize) {
        self.clear();
        for text in line.split(|byte| *byte == b'\t').take(most) {
            let start = self.bytes.len();
            if text == b"\\N" {
                self.fields.push(None);
                continue;
            }
            unescape(text, &mut self.bytes);
            self.fields.push(Some(start..self.bytes.len()));
        }
    }

    /// Gives it away.
    pub fn give(&self, table: &Table, rows: &mut dyn Rows) {
        let text = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        let fields: SmallVec<[Field<'_>; 32]> = self.fields.iter().map(|range| range.as_ref().map(text)).collect();
        rows.row(table, &fields);
    }
}

/// Resolves the escapes of a field.
fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', text) {
        let (before, rest) = text.split_at(at);
        out.extend_from_slice(before);
        // Without the backslash itself.
        let rest = rest.get(1..).unwrap_or_default();
        let number = |digits: &[u8], radix: u32| {
            let value = digits.iter().fold(0, |value, digit| {
                value * radix + char::from(*digit).to_digit(radix).unwrap_or_default()
            });
            (value & 0xff) as u8
        };
        let count = |from: usize, most: usize, radix: u32| {
            let digits = rest.iter().skip(from).take(most);
            digits.take_while(|byte| char::from(**byte).is_digit(radix)).count()
        };
        let (byte, used) = match rest.first() {
            None => (b'\\', 0),
            Some(b'b') => (8, 1),
            Some(b'f') => (12, 1),
            Some(b'n') => (b'\n', 1),
            Some(b'r') => (b'\r', 1),
            Some(b't') => (b'\t', 1),
            Some(b'v') => (11, 1),
            Some(b'0'..=b'7') => {
                let digits = count(0, 3, 8);
                (number(rest.get(..digits).unwrap_or_default(), 8), digits)
            }
            Some(b'x') if count(1, 2, 16) > 0 => {
                let digits = count(1, 2, 16);
                (number(rest.get(1..=digits).unwrap_or_default(), 16), digits + 1)
            }
            Some(other) => (*other, 1),
        };
        out.push(byte);
        text = rest.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Vec<Vec<Option<Vec<u8>>>>);

    impl Rows for Given {
        fn wants(&mut self, _: &Table) -> bool {
            true
        }

        fn row(&mut self, _: &Table, fields: &[Field<'_>]) {
            self.0
                .push(fields.iter().map(|field| field.map(<[u8]>::to_vec)).collect());
        }
    }

    fn decoded(line: &[u8]) -> Vec<Option<Vec<u8>>> {
        let table = Table {
            database: None,
            schema: "s".into(),
            name: "t".into(),
            columns: Vec::new(),
        };
        let (mut row, mut given) = (Row::default(), Given(Vec::new()));
        row.decode(line, 100);
        row.give(&table, &mut given);
        given.0.remove(0)
    }

    #[test]
    fn escapes_mean_what_postgresql_says() {
        let some = |text: &[u8]| Some(text.to_vec());
        assert_eq!(
            decoded(b"\\N\t\t\\\\N\tN\\N"),
            [None, some(b""), some(b"\\N"), some(b"NN")]
        );
        assert_eq!(
            decoded(b"\\b\\f\\n\\r\\t\\v\\\\\t\\101\\1012\\7\\x4a\\x4\\xg\\q"),
            [some(b"\x08\x0c\n\r\t\x0b\\"), some(b"AA2\x07J\x04xgq")]
        );
        assert_eq!(decoded(b"\\777\\"), [some(b"\xff\\")]);
    }
}
