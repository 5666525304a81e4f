//! `rekindle canton merge`.

use std::path::PathBuf;

use serde_json::json;

use super::show;
use crate::canton::release::Splice;
use crate::canton::snapshot::merging::{Order, Outcome, Users, merge};
use crate::canton::timestamp::Timestamp;
use crate::cli::{Common, output, text};
use crate::error::{Error, Result};
use crate::shown::Show;

/// Make the migration dump of an SV's identities and a data snapshot
///
/// Takes the full identities, as the SV app answers them or as its automatic backup writes them, checks every key, and puts
/// them and the snapshot into one new file of exactly the form that the SV app imports, with its digest in FILE.sha256.
/// Nothing is ever overwritten: the documented commands read and write the same name, and lose the identities.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The full identities of this SV
    #[arg(long, value_name = "FILE")]
    identities: PathBuf,
    /// The identities are in a merged dump: take them from there
    #[arg(long)]
    from_merged: bool,
    /// The data snapshot that `fetch` wrote
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it is there, by a complete good one
    #[arg(long)]
    replace: bool,
    /// The data is another SV's, because this one had not reached the agreed time
    #[arg(long)]
    donor: bool,
    /// The donor fetched only the contracts of the DSO's party
    #[arg(long, requires = "donor")]
    dso_only: bool,
    /// Whose users and rights the participant gets [default: those in the data]
    #[arg(long, value_name = "WHOSE", requires = "donor")]
    users: Option<Whose>,
    /// With --users own: a dump of this SV that has its participant_users
    #[arg(long, value_name = "FILE", required_if_eq("users", "own"))]
    own_users: Option<PathBuf>,
    /// The agreed time, in UTC: any other is refused
    #[arg(long, value_name = "TIME")]
    expect_timestamp: Option<Timestamp>,
    /// The id of the migration to come: any other is refused
    #[arg(long, value_name = "N")]
    expect_migration: Option<u64>,
    /// The release of Splice that will import the dump
    #[arg(long, value_name = "RELEASE")]
    splice: Option<Splice>,
}

const EXAMPLE: &str = "\
Example:
  rekindle canton merge --identities identities.json --data data.json --out dump.json --expect-timestamp \
2024-04-17T19:12:02Z

Then: rekindle canton place --file dump.json";

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Whose {
    /// This SV's, from --own-users
    Own,
    /// The donor's
    Donor,
    /// Nobody's: the users are created again afterwards
    Empty,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    if args.out.file_name().is_none() {
        return Err(Error::Usage(format!("--out {} names no file", args.out.shown())));
    }
    if args.own_users.is_some() && args.users != Some(Whose::Own) {
        return Err(Error::Usage("--own-users goes with --users own".to_owned()));
    }
    let users = match (args.users, &args.own_users) {
        (Some(Whose::Empty), _) => Users::Empty,
        (Some(Whose::Donor), _) => Users::OfDonor,
        (Some(Whose::Own), Some(path)) => Users::Of(path.clone()),
        _ => Users::OfData,
    };
    let order = Order {
        identities: args.identities.clone(),
        is_from_merged: args.from_merged,
        data: args.data.clone(),
        is_donors: args.donor,
        is_dso_only: args.dso_only,
        users,
        out: args.out.clone(),
        replaces: args.replace,
        timestamp: args.expect_timestamp,
        migration_id: args.expect_migration,
        release: args.splice,
    };
    let outcome = merge(&order)?;
    match common.json {
        true => output::json(&report(&order, &outcome))?,
        false => output::text(&sentences(&order, &outcome))?,
    }
    Ok(outcome.ending.exit_code())
}

fn report(order: &Order, outcome: &Outcome) -> serde_json::Value {
    let file = outcome.document.as_ref().map(|document| {
        json!({
            "path": order.out.shown().to_string(),
            "sha256": hex::encode(document.digest),
            "size_bytes": document.size,
            "timestamp": document.found.created_at,
            "migration_id": document.found.migration_id,
            "users": document.found.users,
        })
    });
    json!({
        "verdict": if outcome.document.is_some() { "merged" } else { "refused" },
        "file": file,
        "sv_party_id": outcome.sv_party_id,
        "domain_id": outcome.domain_id,
        "findings": outcome.findings,
    })
}

fn sentences(order: &Order, outcome: &Outcome) -> String {
    let mut out = show::findings(&outcome.findings);
    let Some(document) = &outcome.document else {
        out.push_str(&format!("refused; {} was not written\n", order.out.shown()));
        return out;
    };
    let said = |text: &Option<String>| text::clean(text.as_deref().unwrap_or("unknown"));
    out.push_str(&format!(
        "merged into {}: {}, of {}, for migration {}\n  identities of {}, synchronizer {}\n  {} users of the participant\n  \
         sha256 {}\nnext: rekindle canton place\n",
        order.out.shown(),
        text::size(document.size),
        said(&document.found.created_at),
        said(&document.found.migration_id),
        said(&outcome.sv_party_id),
        said(&outcome.domain_id),
        document.found.users.unwrap_or(0),
        hex::encode(document.digest),
    ));
    out
}
