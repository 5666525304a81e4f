//! `rekindle canton`: one file a command, which parses arguments, calls [`crate::canton`] and renders.

use clap::Subcommand;

use super::Common;
use crate::error::Result;

mod backup;
mod cluster;
mod database;
mod fetch;
mod identities;
mod merge;
mod place;
mod runbook;
mod scale;
mod scan;
mod server;
mod show;
mod timestamp;
mod verify;

/// Bring a Canton Super Validator, or the whole network, back
///
/// Nothing is changed in a cluster without --execute, and no input file is ever changed. Without it, place, scale and verify
/// only read from the cluster; services and databases are asked where their address is given, and only read from.
#[derive(clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const EPILOGUE: &str = "\
Exit codes: 0 all is well, 1 something is wrong with what was examined, 2 usage, 3 the input can't be read or is not \
what it should be, 4 a server or the cluster refused, 5 a part was done: the same command goes on from there.";

#[derive(Subcommand)]
enum Command {
    /// Judge backups of databases before they are needed
    Backup(backup::Args),
    /// Check, extract and compare dumps of node identities
    Identities(identities::Args),
    Scan(scan::Args),
    Timestamp(timestamp::Args),
    Fetch(fetch::Args),
    Merge(merge::Args),
    Place(place::Args),
    Scale(scale::Args),
    Runbook(runbook::Args),
    Verify(verify::Args),
}

/// Runs one of the commands, and answers the exit code.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    match &args.command {
        Command::Backup(args) => backup::run(args, common),
        Command::Identities(args) => identities::run(args, common),
        Command::Scan(args) => scan::run(args, common),
        Command::Timestamp(args) => timestamp::run(args, common),
        Command::Fetch(args) => fetch::run(args, common),
        Command::Merge(args) => merge::run(args, common),
        Command::Place(args) => place::run(args, common),
        Command::Scale(args) => scale::run(args, common),
        Command::Runbook(args) => runbook::run(args, common),
        Command::Verify(args) => verify::run(args, common),
    }
}
