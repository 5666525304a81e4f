//! A real browser: headless Chromium, driven by `page_browser.py`.
//!
//! Needs Chromium and its driver (`apt-get install chromium chromium-driver`) and a Python with selenium: REKINDLE_BROWSER_PYTHON, or
//! the one in target/ccf-venv. Without them a test of the browser says that it was skipped, unless REKINDLE_REQUIRE_BROWSER=1.
//! REKINDLE_SCREENSHOTS names a directory for pictures of every state.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A browser, driven by `page_browser.py`.
pub struct Browser {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pictures: Option<PathBuf>,
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found =
        std::env::split_paths(&path).flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    found.find(|path| path.is_file())
}

fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ccf-venv/bin/python");
    let python = std::env::var_os("REKINDLE_BROWSER_PYTHON").map_or(venv, PathBuf::from);
    let mut command = Command::new(&python);
    let there = command.args(["-c", "import selenium"]).stderr(Stdio::null()).status();
    there.is_ok_and(|status| status.success()).then_some(python)
}

impl Browser {
    /// Nothing where there is no browser and none is required.
    pub fn start() -> Option<Browser> {
        let found = (
            python(),
            program(&["chromium", "chromium-browser"]),
            program(&["chromedriver"]),
        );
        let (Some(python), Some(chromium), Some(driver)) = found else {
            let required = std::env::var_os("REKINDLE_REQUIRE_BROWSER").is_some_and(|value| value == "1");
            assert!(!required, "REKINDLE_REQUIRE_BROWSER=1, but there is no {found:?}");
            eprintln!("skipped: no Chromium, chromedriver or Python with selenium");
            return None;
        };
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page_browser.py"))
            .args([chromium, driver])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pictures = std::env::var_os("REKINDLE_SCREENSHOTS").map(PathBuf::from);
        if let Some(directory) = &pictures {
            std::fs::create_dir_all(directory).unwrap();
        }
        Some(Browser {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            pictures,
        })
    }

    #[track_caller]
    pub fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{command}: {line}: {why}"));
        match answer.get("failed").and_then(Value::as_str) {
            Some(why) => panic!("{command}: {why}"),
            None => answer["ok"].take(),
        }
    }

    /// Within seconds the page shows all of this.
    #[track_caller]
    pub fn shows(&mut self, texts: &[&str]) {
        self.ask(&json!({"do": "wait", "texts": texts, "seconds": 20}));
    }

    /// What must always be true of the page, and pictures of it.
    #[track_caller]
    pub fn look(&mut self, name: &str) {
        self.ask(&json!({"do": "check", "offline": false}));
        self.picture(name);
    }

    #[track_caller]
    pub fn picture(&mut self, name: &str) {
        let Some(directory) = self.pictures.clone() else { return };
        for (width, scheme) in [(1100, "light"), (360, "dark")] {
            let path = directory.join(format!("{name}-{width}-{scheme}.png"));
            self.ask(&json!({"do": "shot", "path": path, "width": width, "scheme": scheme}));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input ends it, and it ends what it has started.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
