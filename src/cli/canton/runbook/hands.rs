//! What carries a plan out: processes of this program and of the operator's, and the terminal.

use std::fs::File;
use std::io::{BufRead, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::canton::runbook::execute::{Answer, Ended, Hands};
use crate::cli::output;
use crate::error::{Error, Result};

/// The operator's command, run by a shell of its own: the outer one keeps the input, which is the journal's lock, until the
/// command's end, whatever the command's own input is.
const KEEPING_THE_LOCK: &str = "sh -c \"$1\"; exit $?";
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 1024;

/// Real processes. What they print goes to stderr: stdout is for the report.
pub struct Processes {
    program: PathBuf,
}

impl Processes {
    /// With this very program.
    ///
    /// # Errors
    /// The system does not say where it is.
    pub fn new() -> Result<Processes> {
        let program = std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
        Ok(Processes { program })
    }
}

fn run(mut command: Command, lock: File) -> Result<Ended> {
    let stderr = || std::io::stderr().as_fd().try_clone_to_owned();
    let started = || stderr().map_err(Error::io("duplicate", Path::new("stderr")));
    command
        .stdin(lock)
        .stdout(Stdio::from(started()?))
        .stderr(Stdio::from(started()?));
    let program = PathBuf::from(command.get_program());
    let status = command.status().map_err(Error::io("start", &program))?;
    Ok(Ended(status.code()))
}

impl Hands for Processes {
    fn rekindle(&mut self, arguments: &[String], lock: File) -> Result<Ended> {
        self.say(&format!("  $ rekindle {}", crate::canton::shell::line(arguments)));
        let mut command = Command::new(&self.program);
        command.args(arguments);
        run(command, lock)
    }

    fn shell(&mut self, text: &str, lock: File) -> Result<Ended> {
        self.say(&format!("  $ {text}"));
        let mut command = Command::new("sh");
        command.args(["-c", KEEPING_THE_LOCK, "sh", text]);
        run(command, lock)
    }

    fn has_file(&mut self, path: &str) -> bool {
        Path::new(path)
            .metadata()
            .is_ok_and(|file| file.is_file() && file.len() > 0)
    }

    fn ask(&mut self, question: &str) -> Answer {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Answer::Nobody;
        }
        output::notice(&format!("{question} [yes/no] "));
        let mut answer = Vec::new();
        let read = std::io::Read::take(stdin.lock(), LONGEST_ANSWER as u64).read_until(b'\n', &mut answer);
        match read.is_ok() && answer.trim_ascii() == b"yes" {
            true => Answer::Yes,
            false => Answer::No,
        }
    }

    fn say(&mut self, text: &str) {
        output::notice(&format!("{}\n", text.trim_end_matches('\n')));
    }
}
