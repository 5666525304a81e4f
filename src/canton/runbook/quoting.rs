//! Foreign text in commands, YAML and Markdown. What a person could not see was refused before ([`super::plan`]), so that
//! only characters that are drawn have to be quoted here.

use super::step::Word;

/// A word for a POSIX shell.
pub fn sh(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A text in double quotes of YAML, which are those of JSON.
pub(super) fn yaml_word(word: Word) -> Word {
    match word {
        Word::Known(text) => Word::Known(serde_json::Value::String(text).to_string()),
        open => open,
    }
}

/// A span of code in Markdown, whose fence is longer than any in it.
pub fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
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
