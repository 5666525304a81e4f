//! `rekindle canton backup`.

mod check;

use crate::cli::Common;
use crate::error::Result;

/// Judge backups of databases before they are needed
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Check(Box<check::Args>),
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    match &args.command {
        Command::Check(args) => check::run(args, common),
    }
}
