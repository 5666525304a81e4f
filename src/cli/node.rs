//! `node`, and `rekindle --config FILE`: a node from its configuration file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::error::{Error, Result};
use crate::node::config::{Config, LogFormat, await_file, frames};
use crate::node::healing::ending::{self, ToJoin};
use crate::node::local_sealing::LocalSealing;
use crate::node::run::{Ended, Options, run as run_node};
use crate::script;
use crate::shown::{LogLines, Show, line};

/// Run a node: recover a dead service from what is left of its ledger, or join one that runs
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The node's configuration (JSON), as CCF's nodes take it
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
}

/// What else the command line may say.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Wait so long for the file to be there and complete, such as 5s or 2min [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub config_timeout: Option<Duration>,
    /// Check the configuration and the files it names, change nothing, and end
    #[arg(long)]
    pub check: bool,
    /// How much is logged
    #[arg(long, value_name = "LEVEL", ignore_case = true, default_value = "info")]
    pub log_level: Level,
    /// Drop everything after this seqno, also what was committed: it must be that of a proven signature, such as a refused
    /// recovery names. What is dropped stays in files named .ignored
    #[arg(long, value_name = "SEQNO")]
    pub drop_after: Option<u64>,
    /// Key that ledger secrets are sealed under, 64 hexadecimal digits, instead of the processor's. INSECURE: who can read
    /// this file and the sealed ones can read the whole ledger
    #[arg(long, value_name = "FILE")]
    pub insecure_sealing_key: Option<PathBuf>,
    /// Where nodes find out by themselves which of them opens and this one loses, become this program, with --config and the
    /// configuration of a node that joins [default: end with exit code 4]
    #[arg(long, value_name = "COMMAND")]
    pub join_with: Option<PathBuf>,
}

/// CCF's log levels.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Level {
    /// Everything.
    Trace,
    /// For whoever changes this program.
    Debug,
    /// What an operator wants to see.
    Info,
    /// What is wrong.
    Fail,
    /// What ends the node.
    Fatal,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    crate::node::config::parse_time(text)
        .ok_or_else(|| "expected a number with us, ms, s, min or h after it, such as 5s".to_owned())
}

/// Runs the command.
///
/// # Errors
/// For a configuration that can't be read or is wrong, and whatever ends the node.
pub fn run(args: &Args) -> Result<u8> {
    let settings = &args.settings;
    let loaded = match settings.config_timeout {
        Some(timeout) => await_file(&args.config, timeout),
        None => Config::load(&args.config),
    };
    let loaded = loaded.map_err(|why| Error::usage_in_lines(&why.to_string()))?;
    if settings.check {
        return check(args, &loaded.config, &loaded.notes);
    }
    if let Some(program) = &settings.join_with {
        ending::check_program(program)?;
    }
    let log = start_log(loaded.config.logging.format, settings.log_level);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %args.config.shown(), "rekindle");
    for note in &loaded.notes {
        tracing::warn!("configuration: {note}");
    }
    // This program as it was started, also after another was put in its place.
    script::run_in_processes("/proc/self/exe".into());
    let options = Options {
        drop_after: settings.drop_after,
        insecure_sealing_key: settings.insecure_sealing_key.clone(),
    };
    match run_node(loaded, options) {
        Ok(Ended::Stopped) => Ok(0),
        Ok(Ended::Lost(to_join)) => {
            tracing::warn!("{}", line(&to_join.text));
            // The last lines are written before there is another program here.
            drop(log);
            lost(&to_join, settings.join_with.as_deref())
        }
        Err(why) => {
            // In the log too, which may be all that is kept.
            tracing::error!("{why}");
            Err(why)
        }
    }
}

/// Becomes the node that joins, or says what to do.
fn lost(to_join: &ToJoin, program: Option<&Path>) -> Result<u8> {
    let text = line(&to_join.text);
    match program {
        None => super::output::notice(&format!("rekindle: {text}\n")),
        // It does not come back from this.
        Some(program) => {
            let why = ending::become_joiner(program, to_join);
            super::output::notice(&format!("rekindle: {why}. What was to be run: {text}\n"));
        }
    }
    Ok(ending::EXIT_CODE)
}

fn check(args: &Args, config: &Config, notes: &[crate::node::config::Note]) -> Result<u8> {
    for note in notes {
        super::output::notice(&format!("note: {}\n", line(&note.to_string())));
    }
    let sealing = LocalSealing::new(config, args.settings.insecure_sealing_key.as_deref())?;
    if let Some(why) = sealing.and_then(|sealing| sealing.state().why_no_key) {
        super::output::notice(&format!(
            "note: local sealing is configured, but there is no key: {why}; nothing will be sealed or unsealed\n"
        ));
    }
    let base = std::env::current_dir().map_err(Error::io("find", std::path::Path::new("the working directory")))?;
    let problems = config.check_files(&base);
    if problems.is_empty() {
        super::output::text(&format!("{} is valid\n", args.config.shown()))?;
        return Ok(0);
    }
    Err(Error::usage_in_lines(&format!(
        "{} names files that are not as they should be:{}",
        args.config.shown(),
        frames(&problems)
    )))
}

/// Lines of the log that wait to be written; their places are kept in memory.
const LOG_LINES: usize = 8192;

/// A thread that writes to `out`, whatever that takes: who has a line for it waits for nothing.
fn beside(out: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_LINES)
        .thread_name("log")
        .finish(out)
}

/// Starts the log, which is written as long as what is answered lives. It is written by a thread of its own, of which
/// nothing waits: where nobody reads it any more, lines are lost and the node goes on.
fn start_log(format: LogFormat, level: Level) -> WorkerGuard {
    let filter = match level {
        Level::Trace => tracing::Level::TRACE,
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Fail | Level::Fatal => tracing::Level::ERROR,
    };
    let (writer, guard) = beside(LogLines::new(std::io::stdout(), format == LogFormat::Json));
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(writer);
    // Fails only where a log was started before, as in a test.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    guard
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// What a pipe is whose reader hangs.
    struct Hangs(Receiver<()>);

    impl Write for Hangs {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn more_lines_than_may_wait_hold_nobody_up_where_nobody_reads_them() {
        let (reads, hangs) = channel();
        let (mut writer, guard) = beside(Hangs(hangs));
        let (done, waits) = channel();
        std::thread::spawn(move || {
            (0..2 * LOG_LINES).for_each(|_| writer.write_all(b"a line\n").unwrap());
            drop(guard); // as at the end of the process
            done.send(()).unwrap();
        });
        waits.recv_timeout(Duration::from_secs(20)).unwrap();
        drop(reads);
    }
}
