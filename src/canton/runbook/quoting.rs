//! Foreign text in YAML and Markdown; for shells there is [`crate::canton::shell`]. What a person could not see was refused
//! before ([`super::plan`]), so that only characters that are drawn have to be quoted here.

use super::step::Word;

/// A text in double quotes of YAML, which are those of JSON.
pub(super) fn yaml_word(word: Word) -> Word {
    match word {
        Word::Known(text) => Word::Known(serde_json::Value::String(text).to_string()),
        other => other,
    }
}

/// A span of code in Markdown, whose fence is longer than any in it.
pub fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{space}{text}{space}{fence}")
}

/// A block of code in Markdown.
pub fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}\n")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
