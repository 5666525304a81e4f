//! Text for people: aligned columns, and JSON values as indented fields.
//!
//! Values come from ledgers that may be hostile: each is shown as [`crate::shown`] does. Nothing depends on a terminal's
//! width.

use serde_json::Value;

use crate::shown::line;

/// Characters of a long text that are shown without `--full`.
const SHOWN_CHARS: usize = 96;
/// Items of a long array that are shown without `--full`.
const SHOWN_ITEMS: usize = 4;

/// How a column is aligned.
#[derive(Clone, Copy)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings, every column as wide as its widest cell.
pub fn columns(headings: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let cleaned = |row: &Vec<String>| row.iter().map(|cell| clean(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(cleaned).collect();
    let width = |column: usize, heading: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .chain([heading.chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(i, (heading, _))| width(i, heading))
        .collect();
    let titles = headings.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&titles).chain(&rows) {
        let cells = row
            .iter()
            .zip(headings)
            .zip(&widths)
            .map(|((cell, (_, align)), &width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A size with a unit.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS.get(unit).unwrap_or(&""))
}

/// Shows values indented by `indent` columns.
#[derive(Clone, Copy)]
pub struct Values {
    /// Whether long values are shown whole.
    pub full: bool,
}

impl Values {
    /// Appends a value that follows a name on the same line: scalars go there, the rest below, indented.
    pub fn append(self, out: &mut String, value: &Value, indent: usize) {
        match value {
            Value::Object(fields) if fields.is_empty() => out.push_str(" {}\n"),
            Value::Array(items) if items.is_empty() => out.push_str(" []\n"),
            Value::Object(fields) => {
                out.push('\n');
                for (name, value) in fields {
                    out.push_str(&format!("{:indent$}{}:", "", clean(name)));
                    self.append(out, value, indent + 2);
                }
            }
            Value::Array(items) => {
                out.push('\n');
                let shown = if self.full { items.len() } else { SHOWN_ITEMS };
                for item in items.iter().take(shown) {
                    out.push_str(&format!("{:indent$}-", ""));
                    self.append(out, item, indent + 2);
                }
                if items.len() > shown {
                    out.push_str(&format!("{:indent$}… {} more\n", "", items.len() - shown));
                }
            }
            Value::String(text) => self.append_text(out, text, indent),
            other => out.push_str(&format!(" {}\n", line(&other.to_string()))),
        }
    }

    fn append_text(self, out: &mut String, text: &str, indent: usize) {
        let lines = text.trim_end().lines().count();
        if self.full && lines > 1 {
            out.push_str(" |\n");
            for line in text.lines() {
                out.push_str(&format!("{:indent$}{}\n", "", clean(line)));
            }
            return;
        }
        out.push(' ');
        out.push_str(&self.line(text));
        out.push('\n');
    }

    /// A text on one line, cut if it is long.
    pub fn line(self, text: &str) -> String {
        let first = text.lines().next().unwrap_or_default();
        let cut: String = first
            .chars()
            .take(if self.full { usize::MAX } else { SHOWN_CHARS })
            .collect();
        if cut.len() == text.trim_end().len() {
            return clean(&cut);
        }
        let lines = text.trim_end().lines().count();
        match lines {
            0 | 1 => format!("{}… ({} characters)", clean(&cut), text.chars().count()),
            _ => format!("{}… ({lines} lines)", clean(&cut)),
        }
    }

    /// A whole value on one line: text as it is, anything else as JSON.
    pub fn value_line(self, value: &Value) -> String {
        match value {
            Value::String(text) => self.line(text),
            other => self.line(&other.to_string()),
        }
    }
}

/// Text on one line that can be shown.
pub fn clean(text: &str) -> String {
    line(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "100".to_owned()],
        ];
        let text = columns(&[("file", Align::Left), ("n", Align::Right)], &rows);
        assert_eq!(text, "file    n\na       1\nlong  100\n");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            [999, 1000, 66_101, 4_294_967_296].map(size),
            ["999 B", "1.0 kB", "66.1 kB", "4.3 GB"]
        );
    }

    #[test]
    fn nothing_from_a_ledger_reaches_the_terminal_as_a_control() {
        let mut out = String::new();
        let values = Values { full: true };
        values.append(
            &mut out,
            &json!({ "a\u{1b}[2J": "b\u{1b}]0;x\u{7}\r\n\u{202e}c", "d": ["\u{9b}1m"] }),
            2,
        );
        assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
        assert!(!out.contains('\u{202e}'));
    }

    #[test]
    fn long_texts_and_arrays_are_cut_unless_all_is_asked_for() {
        let long = "x".repeat(1000);
        let value = json!({ "text": long, "items": [1, 2, 3, 4, 5, 6] });
        let (mut short, mut full) = (String::new(), String::new());
        Values { full: false }.append(&mut short, &value, 0);
        Values { full: true }.append(&mut full, &value, 0);
        assert!(short.contains("(1000 characters)") && short.contains("… 2 more"));
        assert!(full.contains(&long) && !full.contains("more"));
    }
}
