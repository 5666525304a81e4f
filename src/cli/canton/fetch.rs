//! `rekindle canton fetch`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::server::Server;
use super::show;
use crate::canton::http::{Address, runtime};
use crate::canton::release::Splice;
use crate::canton::snapshot::fetching::fetch;
use crate::canton::snapshot::order::{Order, Outcome};
use crate::canton::snapshot::service::{Asked, Service};
use crate::canton::timestamp::Timestamp;
use crate::cli::{Common, output, progress, text};
use crate::error::{Error, Result};
use crate::shown::Show;

/// Fetch the data snapshot of the agreed time from an SV's app
///
/// The answer is streamed to FILE.part and takes the name FILE only when all of it is there, is the snapshot of the time that
/// was asked for, and is on the disk, with its digest in FILE.sha256. Errors are told apart by what the app says, not by the
/// status. A file that is there is never touched without --replace, and with it only replaced by a complete good one.
///
/// Participant and sequencer must still be running. All SVs must use the same --timestamp.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The SV's app: https://sv.sv.YOUR_HOSTNAME, or the whole URL of the documentation
    #[arg(long, value_name = "URL")]
    url: Address,
    /// The agreed time, in UTC
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    timestamp: Timestamp,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace FILE if it is there, by a complete good one
    #[arg(long)]
    replace: bool,
    /// Only the contracts of this party, such as the DSO party [default: those of the DSO and of this SV]
    #[arg(long, value_name = "PARTY")]
    party_id: Option<String>,
    /// The id of the migration to come [default: the app's own plus one]
    #[arg(long, value_name = "N")]
    migration_id: Option<u64>,
    /// Take the time as it is, though no event has just this record time: needed from Splice 0.5.5 on
    #[arg(long)]
    force: bool,
    /// Ask a validator's app; the file will hold what the validator is given, and needs no merge
    #[arg(long, conflicts_with = "party_id")]
    validator: bool,
    /// The release of Splice that the app runs [default: it is asked]
    #[arg(long, value_name = "RELEASE")]
    splice: Option<Splice>,
    /// Fetch though the release has no use for a snapshot (Splice 0.6.2 and later)
    #[arg(long)]
    anyway: bool,
    /// Where the time is too late, try this many earlier ones
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000))]
    probe: u32,
    /// How many seconds earlier each of them is
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    probe_step: u32,
    /// How often to ask again where the app is busy, not up yet, or out of reach
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=1000))]
    retries: u32,
    /// Seconds before it is asked again, twice as long each time
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=300))]
    retry_wait: u32,
    /// The largest answer that is taken: bytes, or with K, M, G, T
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = size)]
    max_size: u64,
    #[command(flatten)]
    server: Server,
}

const EXAMPLE: &str = "\
Example:
  rekindle canton fetch --url https://sv.sv.example.com --token-file token --timestamp 2024-04-17T19:12:02Z --out data.json

Then: rekindle canton merge --identities identities.json --data data.json --out dump.json";

/// A time, as the service takes it: nothing below a microsecond.
fn timestamp(text: &str) -> std::result::Result<Timestamp, String> {
    let time: Timestamp = text.parse().map_err(|why| format!("{why}"))?;
    let digits = text
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.trim_end_matches('Z').len());
    match digits > 6 {
        true => Err("Canton counts microseconds: at most 6 digits after the point".to_owned()),
        false => Ok(time),
    }
}

/// A size: `64G`, `1048576`.
fn size(text: &str) -> std::result::Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (text.get(..text.len() - 1), 10),
        Some(b'M' | b'm') => (text.get(..text.len() - 1), 20),
        Some(b'G' | b'g') => (text.get(..text.len() - 1), 30),
        Some(b'T' | b't') => (text.get(..text.len() - 1), 40),
        _ => (Some(text), 0),
    };
    let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a size such as 64G".to_owned())
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    if args.out.file_name().is_none() {
        return Err(Error::Usage(format!("--out {} names no file", args.out.shown())));
    }
    let service = match args.validator {
        true => Service::Validator,
        false => Service::Sv,
    };
    let order = Order {
        asked: Asked {
            service,
            timestamp: args.timestamp,
            party_id: args.party_id.clone(),
            migration_id: args.migration_id,
            is_forced: args.force,
        },
        out: args.out.clone(),
        replaces: args.replace,
        probes: args.probe,
        step_s: args.probe_step,
        retries: args.retries,
        first_wait: Duration::from_secs(args.retry_wait.into()),
        most_bytes: args.max_size,
        release: args.splice,
        is_for_nothing_else: args.anyway,
    };
    let client = args.server.client(service.address(args.url.clone()), true)?;
    let progress = progress::for_terminal();
    let tell = |line: &str| output::notice(&format!("{}\n", text::clean(line)));
    let outcome = runtime()?.block_on(fetch(&client, &order, progress.as_ref(), &tell))?;
    match common.json {
        true => output::json(&report(&order, &outcome))?,
        false => output::text(&sentences(&order, &outcome))?,
    }
    Ok(outcome.ending.exit_code())
}

fn report(order: &Order, outcome: &Outcome) -> serde_json::Value {
    let file = outcome.document.as_ref().map(|document| {
        let snapshot = document.found.snapshot.clone().unwrap_or_default();
        json!({
            "path": order.out.shown().to_string(),
            "sha256": hex::encode(document.digest),
            "size_bytes": document.size,
            "acs_bytes": snapshot.acs_bytes,
            "dars": snapshot.dars,
            "acs_format": snapshot.acs_format,
            "migration_id": document.found.migration_id.clone().or(snapshot.migration_id),
        })
    });
    json!({
        "verdict": if outcome.document.is_some() { "fetched" } else { "not-fetched" },
        "asked": order.asked.timestamp,
        "timestamp": outcome.document.as_ref().map(|_| outcome.timestamp),
        "splice": outcome.release.map(|release| release.to_string()),
        "file": file,
        "attempts": outcome.attempts,
        "findings": outcome.findings,
    })
}

fn sentences(order: &Order, outcome: &Outcome) -> String {
    let mut out = show::findings(&outcome.findings);
    let Some(document) = &outcome.document else {
        out.push_str(&format!("not fetched; {} was not written\n", order.out.shown()));
        return out;
    };
    let snapshot = document.found.snapshot.clone().unwrap_or_default();
    let id = document.found.migration_id.clone().or(snapshot.migration_id);
    out.push_str(&format!(
        "fetched {}: {}, of {}, for migration {}\n  contracts {}, {} DARs of {}, format {}\n  sha256 {}\n",
        order.out.shown(),
        text::size(document.size),
        outcome.timestamp,
        text::clean(&id.unwrap_or_default()),
        text::size(snapshot.acs_bytes.unwrap_or(0)),
        snapshot.dars.unwrap_or(0),
        text::size(snapshot.dar_bytes),
        text::clean(snapshot.acs_format.as_deref().unwrap_or("admin_api")),
        hex::encode(document.digest),
    ));
    out.push_str(match order.asked.service {
        Service::Sv => "next: rekindle canton merge, with the identities of this SV\n",
        Service::Validator => "next: rekindle canton place; a validator's dump needs no merge\n",
    });
    out
}
