//! Words of a POSIX shell: the only place that quotes. What goes into a command, be it run in a container or printed for an
//! operator to type, goes through here.

/// A word that a POSIX shell reads as exactly this text, wherever it stands.
pub fn quoted(word: &str) -> String {
    quoted_unless(word, is_plain)
}

/// A command line of these words, each quoted where it must be.
pub fn line<I: IntoIterator<Item = S>, S: AsRef<str>>(words: I) -> String {
    let mut line = String::new();
    for (at, word) in words.into_iter().enumerate() {
        match at {
            0 => line.push_str(&quoted(word.as_ref())),
            // Behind the first word nothing is an assignment.
            _ => {
                line.push(' ');
                line.push_str(&quoted_unless(word.as_ref(), |c| is_plain(c) || c == '='));
            }
        }
    }
    line
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':' | ',' | '@' | '%' | '+')
}

fn quoted_unless(word: &str, is_plain: impl Fn(char) -> bool) -> String {
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The command that has a POSIX shell run a script: for where a command is started without one.
pub fn script(text: &str) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(line: &str) -> Vec<u8> {
        let out = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\0' {line}")])
            .output()
            .unwrap();
        assert!(out.status.success(), "{line}");
        out.stdout
    }

    #[test]
    fn a_shell_reads_back_every_word_as_it_was() {
        let words = [
            "",
            "a b",
            "it's",
            "$(touch /tmp/x)",
            "`id`",
            "a\nb",
            "*",
            "~",
            "-n",
            "--for=delete",
            "a=b",
            "#",
            "!",
            "é\\",
            "{a,b}",
            "/domain-upgrade-dump/x.json",
        ];
        let expected: Vec<u8> = words
            .iter()
            .flat_map(|word| [word.as_bytes(), b"\0"].concat())
            .collect();
        assert_eq!(read_back(&line(words)), expected);
    }

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(
            line(["kubectl", "scale", "--replicas=0", "-n", "sv", "participant-0"]),
            "kubectl scale --replicas=0 -n sv participant-0"
        );
        assert_eq!(line(["a=b", "c"]), "'a=b' c");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_words_come_back(words in proptest::collection::vec("[^\0]{0,12}", 1..6)) {
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(read_back(&line(&words)), expected);
        }
    }
}
