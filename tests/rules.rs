//! The project's rules where no lint reaches: layers, sizes of files, `unsafe`, and documentation in step with the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::report::Code;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file under src, by its path there, with its text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join("src")];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root().join("src"))
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 50);
    found
}

/// The modules of each layer, lowest first. Modules of one layer do not use each other.
const LAYERS: [&[&str]; 13] = [
    &["crypto"],
    &["format"],
    &["merkle", "report", "attestation", "net", "channel", "sealing"],
    &["tables"],
    &["kv", "http"],
    &["recovery", "journal", "consensus"],
    &["archive", "core", "snapshot", "web"],
    &["canton", "fixture", "heal", "member", "script", "service", "watch"],
    &["governance"],
    &["node"],
    &["sim"],
    &["drill"],
    &["cli"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The first names after `crate::` in a text, also those in braces: `use crate::{format, kv::base};`.
fn modules_used(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let word = |text: &str| {
            text.trim()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or("")
                .to_owned()
        };
        match rest.strip_prefix('{') {
            None => drop(used.insert(word(rest))),
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => drop(used.insert(word(&std::mem::take(&mut item)))),
                        _ => {}
                    }
                    if c != ',' || depth > 0 {
                        item.push(c);
                    }
                }
                used.insert(word(&item));
            }
        }
    }
    used
}

#[test]
fn no_layer_uses_a_higher_one() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        let Some(own) = layer(module) else { continue };
        seen += 1;
        // What tests are made of may come from above: a fixture is the best input there is.
        let code = code(&text);
        if name.ends_with("tests.rs") || name.ends_with("testing.rs") || name.ends_with("real_data.rs") {
            continue;
        }
        for used in modules_used(code) {
            if used != module && layer(&used).is_some_and(|other| other >= own) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(seen > 50);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_parser_of_imports_sees_through_braces() {
    let text = "use crate::{kv::base::{Base, Live}, error::Result};\nlet x = crate::merkle::root();";
    assert_eq!(
        modules_used(text).into_iter().collect::<Vec<_>>(),
        ["error", "kv", "merkle"]
    );
}

/// A source file without the tests at its end.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// Names of a folder's own modules that a file in it uses: `super::name` as far up as leads to the folder, or
/// `crate::folder::name`.
fn siblings_used(path: &[&str], text: &str) -> BTreeSet<String> {
    let (folder, depth) = (path[0], path.len() - 1);
    let from_root = format!("crate::{folder}::");
    let from_below = "super::".repeat(depth);
    let mut used = BTreeSet::new();
    for prefix in [from_root, from_below] {
        for (at, _) in text.match_indices(&prefix) {
            let before = text[..at].chars().next_back();
            let rest = &text[at + prefix.len()..];
            if before.is_some_and(|c| c == ':' || c.is_alphanumeric() || c == '_') || rest.starts_with("super::") {
                continue;
            }
            // One name, or a list of them up to the end of the line of import.
            let end = match rest.starts_with('{') {
                true => rest.find(';').unwrap_or(rest.len()),
                false => rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len()),
            };
            used.extend(modules_used(&format!("crate::{}", &rest[..end])));
        }
    }
    used
}

#[test]
fn the_modules_of_a_folder_do_not_use_each_other_in_circles() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in sources() {
        let is_test = ["tests.rs", "testing.rs", "real_data.rs"]
            .iter()
            .any(|end| name.ends_with(end));
        let path: Vec<&str> = name
            .trim_end_matches(".rs")
            .trim_end_matches("/mod")
            .split('/')
            .collect();
        if is_test || name.contains("/tests/") || path.len() < 2 {
            continue;
        }
        let code = code(&text);
        let own = format!("{}/{}", path[0], path[1]);
        let used = siblings_used(&path, code)
            .into_iter()
            .map(|used| format!("{}/{used}", path[0]));
        uses.entry(own.clone())
            .or_default()
            .extend(used.filter(|used| *used != own));
    }
    assert!(uses.len() > 100);
    let links = uses.values().map(BTreeSet::len).sum::<usize>();
    assert!(links > 300, "only {links} uses were found");
    // What uses nothing that is left, or is used by nothing, is no part of a circle.
    loop {
        let names: BTreeSet<String> = uses.keys().cloned().collect();
        uses.values_mut()
            .for_each(|used| used.retain(|used| names.contains(used)));
        let before = uses.len();
        let used: BTreeSet<String> = uses.values().flatten().cloned().collect();
        uses.retain(|name, uses| !uses.is_empty() && used.contains(name));
        if uses.len() == before {
            break;
        }
    }
    assert!(uses.is_empty(), "{uses:#?}");
}

#[test]
fn every_source_file_is_small_enough_to_be_read_at_once() {
    let lines = |text: &str| text.lines().count();
    let large: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| lines(text) > 500)
        .map(|(name, text)| (name, lines(&text)))
        .collect();
    assert!(large.is_empty(), "over 500 lines: {large:?}");
}

/// Files that may hold `unsafe`: where memory is mapped, where the digest is computed in lanes, and the allocator that wipes.
const UNSAFE_ALLOWED: [&str; 3] = ["format/map.rs", "crypto/lanes.rs", "main.rs"];

/// What may print, or show a path, without going through the one place that makes text fit to be shown.
const RAW_OUTPUT_ALLOWED: [&str; 2] = ["shown.rs", "probes"];

#[test]
fn nothing_is_shown_but_through_the_one_place_that_makes_it_fit() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        if RAW_OUTPUT_ALLOWED.iter().any(|allowed| name.starts_with(allowed)) {
            continue;
        }
        let code = code(&text);
        let is_test = ["tests.rs", "testing.rs", "real_data.rs"]
            .iter()
            .any(|end| name.ends_with(end));
        if is_test || name.contains("/tests/") {
            continue;
        }
        let shows = |line: &&str| {
            let line = line.split("//").next().unwrap();
            [
                ".display()",
                "println!(",
                "print!(",
                "dbg!(",
                ".to_string_lossy().to_string()",
            ]
            .iter()
            .any(|form| line.contains(form))
        };
        wrong.extend(
            code.lines()
                .filter(shows)
                .map(|line| format!("{name}: {}", line.trim())),
        );
    }
    assert!(wrong.is_empty(), "use crate::shown, and cli::output: {wrong:#?}");
}

#[test]
fn unsafe_stands_only_where_it_is_allowed_each_with_its_safety_line() {
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                .iter()
                .any(|form| code.contains(form));
            if !is_unsafe {
                continue;
            }
            assert!(
                UNSAFE_ALLOWED
                    .iter()
                    .any(|allowed| name.starts_with(allowed.trim_end_matches(".rs"))),
                "{name}:{}",
                i + 1
            );
            let above = &lines[i.saturating_sub(8)..i];
            let explained = above
                .iter()
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            assert!(explained, "{name}:{} has no SAFETY: line above it", i + 1);
        }
    }
}

#[test]
fn every_allowed_lint_says_why() {
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            if !line.trim_start().starts_with("#[allow") && !line.trim_start().starts_with("#![allow") {
                continue;
            }
            let attribute: String = lines[i..].iter().take(8).copied().collect();
            let inside = attribute.split(")]").next().unwrap().contains("reason");
            let before = i > 0 && lines[i - 1].trim_start().starts_with("//");
            assert!(inside || before || line.contains("//"), "{name}:{}: {line}", i + 1);
        }
    }
}

#[test]
fn every_sub_command_is_documented() {
    let page = std::fs::read_to_string(root().join("docs/commands.md")).expect("a page of commands");
    let help = Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("Options:")
        .next()
        .unwrap();
    let names: Vec<_> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    for line in names {
        let name = line.split_whitespace().next().unwrap();
        assert!(
            name == "help" || page.contains(&format!("rekindle {name}")),
            "`rekindle {name}` is not in docs/commands.md"
        );
    }
}

/// Holds the first table after `heading` in docs/findings.md to a register of codes.
macro_rules! findings_are_documented {
    ($heading:literal, $codes:expr) => {{
        let mut table = String::from("| code | severity | what it means | what to do next |\n|---|---|---|---|\n");
        for code in $codes {
            let severity = format!("{:?}", code.severity()).to_lowercase();
            let (meaning, next) = (code.meaning().trim(), code.next());
            table.push_str(&format!("| `{}` | {severity} | {meaning} | {next} |\n", code.as_str()));
        }
        hold_documentation_to($heading, &table);
    }};
}

fn hold_documentation_to(heading: &str, table: &str) {
    let path = root().join("docs/findings.md");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let heading = text.find(heading).expect("a heading in docs/findings.md");
    let begin = text[heading..].find("| code |").map_or(text.len(), |at| heading + at);
    let length: usize = text[begin..]
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('|'))
        .map(str::len)
        .sum();
    if &text[begin..begin + length] != table {
        if std::env::var_os("REKINDLE_WRITE_DOCS").is_some() {
            std::fs::write(&path, format!("{}{table}{}", &text[..begin], &text[begin + length..])).unwrap();
            return;
        }
        panic!("docs/findings.md is out of date: REKINDLE_WRITE_DOCS=1 cargo test --release --test rules");
    }
}

/// One test for both: they may write the same file.
#[test]
fn the_findings_in_the_documentation_are_those_of_the_code() {
    findings_are_documented!("# Findings", Code::ALL);
    #[cfg(feature = "canton")]
    findings_are_documented!("## Canton", rekindle::canton::Code::ALL);
}

#[test]
fn no_dependency_is_named_without_being_used() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let all: String = sources().into_iter().map(|(_, text)| text).collect();
    for line in section.lines().filter(|line| line.contains(" = ")) {
        let name = line.split(" = ").next().unwrap().trim().replace('-', "_");
        assert!(all.contains(&format!("{name}::")), "{name} is not used in src");
    }
}

#[test]
fn no_path_of_one_machine_is_in_the_code() {
    let home: PathBuf = root().parent().unwrap().to_owned();
    for (name, text) in sources() {
        assert!(!text.contains("/home/") && !text.contains("/root/"), "{name}");
        assert!(
            home.components().count() < 3 || !text.contains(home.to_str().unwrap()),
            "{name}"
        );
    }
}
