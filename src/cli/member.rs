//! `rekindle member`: what a consortium member does before, during and after a recovery.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{OffsetDateTime, PrimitiveDateTime};
use zeroize::Zeroizing;

use crate::cli::{Common, input, output};
use crate::error::{Error, Result};
use crate::member::{self, Client, Member, Session, Trust};
use crate::shown::Show;

mod hand_over;
mod keygen;
mod nodes;
mod open;
mod proposals;
mod requests;
mod status;

/// Largest text that is read from stdin to be signed.
const MAX_STDIN_BYTES: u64 = 64 << 20;

/// Take part in a service's governance: sign, propose, vote, submit a recovery share.
///
/// Works with CCF's own nodes and with Rekindle's (governance interface 2024-07-01). A node is trusted if the service
/// certificate given has endorsed it. Private keys are read from files only. Exit code 1 means that the service refused.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Propose(requests::Propose),
    Vote(requests::Vote),
    Withdraw(requests::Withdraw),
    Proposals(proposals::Args),
    Ack(requests::Ack),
    OpenService(open::Args),
    SubmitShare(requests::SubmitShare),
    TrustNode(nodes::TrustNode),
    RemoveNode(nodes::RemoveNode),
    HandOver(hand_over::HandOver),
    Sign(requests::Sign),
    #[command(alias = "state")]
    Status(status::Args),
}

/// Which node, and how it is known.
#[derive(clap::Args)]
pub(super) struct Connection {
    /// A node of the service
    #[arg(long, value_name = "https://HOST:PORT")]
    url: String,
    /// The service's certificate, PEM: only nodes that it has endorsed are spoken to. The node's own certificate does
    /// too, for an interface with authority Node
    #[arg(
        long,
        value_name = "PEM",
        required_unless_present = "insecure",
        conflicts_with = "insecure"
    )]
    service_certificate: Option<PathBuf>,
    /// Speak to whoever answers
    #[arg(long)]
    insecure: bool,
    /// Give up on a request after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// Who signs.
#[derive(clap::Args)]
pub(super) struct Signer {
    /// The member's certificate, PEM
    #[arg(long, value_name = "PEM")]
    cert: PathBuf,
    /// Its private key, PEM
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// Sign as of this time, ISO 8601 or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = time_of)]
    created_at: Option<u64>,
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    match &args.command {
        Command::Keygen(args) => keygen::run(args, common),
        Command::Propose(args) => args.run(common),
        Command::Vote(args) => args.run(common),
        Command::Withdraw(args) => args.run(common),
        Command::Proposals(args) => proposals::run(args, common),
        Command::Ack(args) => args.run(common),
        Command::OpenService(args) => open::run(args, common),
        Command::SubmitShare(args) => args.run(common),
        Command::TrustNode(args) => args.run(common),
        Command::RemoveNode(args) => args.run(common),
        Command::HandOver(args) => args.run(common),
        Command::Sign(args) => args.run(),
        Command::Status(args) => status::run(args, common),
    }
}

impl Connection {
    fn client(&self) -> Result<Client> {
        self.client_of(&self.url)
    }

    /// Another node of the same service.
    fn client_of(&self, url: &str) -> Result<Client> {
        let trust = match &self.service_certificate {
            Some(path) => Trust::Service(input::certificate(path)?),
            None => Trust::Anyone,
        };
        let client = Client::new(url, trust).map_err(failure)?;
        Ok(client.with_timeout(Duration::from_secs(self.timeout)))
    }
}

impl Signer {
    fn member(&self) -> Result<Member> {
        let certificate = input::read_text(&self.cert)?;
        let key = Zeroizing::new(input::read_text(&self.key)?);
        Member::from_pem(&certificate, &key)
            .map_err(|why| Error::Usage(format!("{} and {}: {why}", self.cert.shown(), self.key.shown())))
    }

    fn session<'a>(&self, client: &'a Client, member: &'a Member) -> Session<'a> {
        Session {
            client,
            member,
            created_at_s: self.created_at,
        }
    }
}

/// Runs requests to their end. A refusal is said on stderr, and is no value.
fn request<T>(work: impl Future<Output = std::result::Result<T, member::Error>>) -> Result<Option<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start", Path::new("the network runtime")))?;
    match runtime.block_on(work) {
        Ok(value) => Ok(Some(value)),
        Err(member::Error::Refused(refusal)) => {
            output::notice(&format!("rekindle: {refusal}\n"));
            Ok(None)
        }
        Err(why) => Err(failure(why)),
    }
}

/// Exit code of a command whose request was refused.
const REFUSED: u8 = 1;

fn failure(why: member::Error) -> Error {
    match why {
        member::Error::Usage(why) => Error::Usage(why),
        other => Error::Unreadable(other.to_string()),
    }
}

/// The text of a file, or of stdin for `-`.
fn content(path: &Path) -> Result<Vec<u8>> {
    if path != Path::new("-") {
        return input::read(path);
    }
    let mut bytes = Vec::new();
    let stdin = std::io::stdin().lock();
    stdin
        .take(MAX_STDIN_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", Path::new("stdin")))?;
    match bytes.len() as u64 > MAX_STDIN_BYTES {
        true => Err(Error::Usage(format!("stdin has more than {MAX_STDIN_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

/// Seconds since 1970, written so or as ISO 8601; without an offset it is UTC.
fn time_of(text: &str) -> std::result::Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let parsed = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT))
        .or_else(|_| PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc));
    let seconds = parsed.ok().and_then(|time| u64::try_from(time.unix_timestamp()).ok());
    seconds.ok_or_else(|| "expected seconds since 1970, or a time such as 2026-11-21T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_iso_8601_or_seconds() {
        for text in [
            "1795262400",
            "2026-11-21T12:00:00Z",
            "2026-11-21T12:00:00",
            "2026-11-21T13:00:00+01:00",
            "2026-11-21T12:00:00.000Z",
        ] {
            assert_eq!(time_of(text), Ok(1_795_262_400), "{text}");
        }
        for text in ["", "-1", "yesterday", "1960-01-01T00:00:00Z"] {
            assert!(time_of(text).is_err(), "{text}");
        }
    }
}
