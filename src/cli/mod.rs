//! The command line: one file a sub-command, which parses arguments, calls the library and renders.
//!
//! Exit codes: 0 clean, 1 something is wrong with what was examined, 2 usage, 3 could not read or write; of a node also 4:
//! it lost to another (`docs/self-healing.md`). With `--json` there is one JSON document on stdout and nothing else; everything
//! meant for a person goes to stderr then.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::crypto::process::keep_memory_private;
use crate::script;
use crate::shown::{Show, line};

mod archive;
mod attest;
mod bench;
#[cfg(feature = "canton")]
mod canton;
mod compare;
mod drill;
mod export;
mod fixture;
mod html;
mod input;
mod inspect;
mod keys;
mod member;
mod node;
mod output;
mod progress;
mod receipt;
mod salvage;
mod snapshot;
mod text;
mod unlock;
mod verify;
mod watch;

/// Disaster recovery for CCF ledgers: examine what a dead service left behind, before anything is started.
#[derive(Parser)]
#[command(name = "rekindle", bin_name = "rekindle", version, propagate_version = true, max_term_width = 100, after_help = EPILOGUE)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Run a node with this configuration: the same as `rekindle node --config FILE`
    #[arg(short, long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    node: node::Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

const EPILOGUE: &str = "\
Several directories given to one command are one ledger, its main directory first, then its read-only ones; `compare` \
takes one directory for each copy. Nothing is ever written to a ledger directory.

Exit codes: 0 clean, 1 something is wrong with what was examined, 2 usage, 3 could not read or write; of a node also 4: \
another node opens, and this one is to join it.";

/// Options of every command.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// Print one JSON document on stdout, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Use this many threads [default: one for each core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

#[derive(Subcommand)]
enum Command {
    Drill(drill::Args),
    Node(node::Args),
    Verify(verify::Args),
    Watch(Box<watch::Args>),
    Archive(archive::Args),
    Attest(attest::Args),
    Inspect(inspect::Args),
    Unlock(unlock::Args),
    Export(export::Args),
    Compare(compare::Args),
    Salvage(salvage::Args),
    Fixture(fixture::Args),
    Bench(bench::Args),
    Member(member::Args),
    Receipt(receipt::Args),
    Snapshot(snapshot::Args),
    #[cfg(feature = "canton")]
    Canton(Box<canton::Args>),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    Man,
}

/// When this process began: a report counts its time from here.
fn began() -> Instant {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    *BEGAN.get_or_init(Instant::now)
}

/// Runs the command that the process was started with, and returns its exit code.
pub fn main() -> u8 {
    began();
    crate::format::mounts::open_with(crate::archive::mounting::find);
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == script::ARGUMENT) {
        script::run_one();
        return 0;
    }
    std::panic::set_hook(Box::new(|panic| {
        output::notice(&format!("rekindle: {}\n", line(&panic.to_string())))
    }));
    if let Err(why) = archive::refuse_credentials(&arguments) {
        output::notice(&format!("rekindle: {why}\n"));
        return why.exit_code();
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(why) => return misused(why, &arguments),
    };
    if cli.may_touch_keys() {
        keep_memory_private();
    }
    if let Some(jobs) = cli.common.jobs.filter(|_| cli.shares_work()) {
        // Fails only if the pool exists already, which nothing before this makes.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(usize::from(jobs))
            .build_global();
    }
    let command = match (cli.command, cli.config) {
        (Some(command), None) => command,
        (None, Some(config)) => Command::Node(node::Args {
            config,
            settings: cli.node,
        }),
        (Some(_), Some(_)) => {
            output::notice("rekindle: --config is given before a command; it belongs to `node`, or stands alone\n");
            return 2;
        }
        (None, None) => {
            output::notice(&Cli::command().render_help().to_string());
            return 2;
        }
    };
    let outcome = match command {
        Command::Drill(args) => drill::run(&args, &cli.common),
        Command::Node(args) => node::run(&args),
        Command::Verify(args) => verify::run(&args, &cli.common),
        Command::Watch(args) => watch::run(&args, &cli.common),
        Command::Archive(args) => archive::run(&args, &cli.common),
        Command::Attest(args) => attest::run(&args, &cli.common),
        Command::Inspect(args) => inspect::run(&args, &cli.common),
        Command::Unlock(args) => unlock::run(&args, &cli.common),
        Command::Export(args) => export::run(&args, &cli.common),
        Command::Compare(args) => compare::run(&args, &cli.common),
        Command::Salvage(args) => salvage::run(&args, &cli.common),
        Command::Fixture(args) => fixture::run(&args, &cli.common),
        Command::Bench(args) => bench::run(&args, &cli.common),
        Command::Member(args) => member::run(&args, &cli.common),
        Command::Receipt(args) => receipt::run(&args, &cli.common),
        Command::Snapshot(args) => snapshot::run(&args, &cli.common),
        #[cfg(feature = "canton")]
        Command::Canton(args) => canton::run(&args, &cli.common),
        Command::Completions { shell } => completions(shell),
        Command::Man => man(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::notice(&format!("rekindle: {error}\n"));
            error.exit_code()
        }
    }
}

/// Says why the arguments can't be, or the help that was asked for; answers the exit code.
fn misused(why: clap::Error, arguments: &[OsString]) -> u8 {
    if matches!(why.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Nothing of the arguments is in it.
        let _ = why.print();
        return 0;
    }
    // It repeats arguments: these are made fit to be shown before they get into it, among its own line breaks.
    let shown = arguments.iter().map(|argument| Path::new(argument).shown().to_string());
    let why = Cli::try_parse_from(shown).err().unwrap_or(why);
    output::notice(&why.render().to_string());
    u8::try_from(why.exit_code()).unwrap_or(2)
}

impl Cli {
    /// Whether the engine's threads may get work. Canton's commands make their own, and a pool takes time to begin with.
    fn shares_work(&self) -> bool {
        match &self.command {
            #[cfg(feature = "canton")]
            Some(Command::Canton(_)) => false,
            _ => true,
        }
    }

    /// Whether keys, shares or what they open may come into this process.
    fn may_touch_keys(&self) -> bool {
        match &self.command {
            Some(
                Command::Archive(_)
                | Command::Attest(_)
                | Command::Compare(_)
                | Command::Completions { .. }
                | Command::Man
                | Command::Salvage(_)
                | Command::Watch(_),
            ) => false,
            Some(Command::Verify(args)) => !args.member_key.is_empty(),
            Some(Command::Inspect(args)) => !args.member_key.is_empty(),
            Some(Command::Export(args)) => !args.member_key.is_empty(),
            Some(Command::Receipt(args)) => args.has_keys(),
            Some(Command::Bench(args)) => !args.member_key.is_empty(),
            _ => true,
        }
    }
}

fn completions(shell: clap_complete::Shell) -> crate::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rekindle", &mut script);
    output::bytes(&script)?;
    Ok(0)
}

fn man() -> crate::Result<u8> {
    let mut page = Vec::new();
    let render = clap_mangen::Man::new(Cli::command()).render(&mut page);
    render.map_err(crate::Error::io("render", std::path::Path::new("the manual page")))?;
    output::bytes(&page)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
