//! `rekindle member open-service`: the proposal that ends a recovery's public part, made with both identities in sight.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use x509_cert::der::Decode;

use super::{Connection, REFUSED, Signer, proposals, request};
use crate::cli::{Common, input, output, text};
use crate::crypto::{Certificate, sha256};
use crate::error::{Error, Result};
use crate::member::{self, Client, governance};
use crate::shown::Show;
use crate::web::words;

/// Propose to open a recovered service
///
/// Fetches the identity of the service that was recovered and of the new one from the node, shows both, and proposes
/// transition_service_to_open with exactly these. After it has passed, members submit their shares.
#[derive(clap::Args)]
pub struct Args {
    /// Certificate that the previous service must have had, PEM
    #[arg(long, value_name = "PEM")]
    previous: Option<PathBuf>,
    /// Certificate that the new service must have, PEM
    #[arg(long, value_name = "PEM")]
    next: Option<PathBuf>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

/// What the node says of both services. PEM as it was sent: CCF compares the text.
struct Identities {
    status: String,
    previous: Option<String>,
    next: String,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let (client, member) = (args.node.client()?, args.signer.member()?);
    let Some(identities) = request(fetch(&client))? else {
        return Ok(REFUSED);
    };
    output::notice(&describe(&identities)?);
    if !matches!(identities.status.as_str(), "Recovering" | "Opening") {
        output::notice(&format!(
            "rekindle: nothing to propose: the service is {}, and only one that is Recovering or Opening can be opened{}\n",
            text::clean(&identities.status),
            match identities.status.as_str() {
                "WaitingForRecoveryShares" => "; members now submit their shares (rekindle member submit-share)",
                _ => "",
            }
        ));
        return Ok(REFUSED);
    }
    let previous = identities.previous.as_deref();
    for (given, name, found) in [
        (&args.previous, "previous", previous),
        (&args.next, "next", Some(identities.next.as_str())),
    ] {
        if let Some(path) = given
            && let Some(difference) = difference(path, name, found)?
        {
            output::notice(&format!("rekindle: {difference}\n"));
            return Ok(REFUSED);
        }
    }
    if !args.yes && !confirmed()? {
        output::notice("rekindle: nothing was proposed\n");
        return Ok(REFUSED);
    }
    let session = args.signer.session(&client, &member);
    proposals::show_state(request(session.propose_opening(previous, &identities.next))?, common)
}

async fn fetch(client: &Client) -> std::result::Result<Identities, member::Error> {
    let network = governance::network(client).await?;
    Ok(Identities {
        status: network.service_status,
        previous: governance::previous_identity(client).await?,
        next: network.service_certificate,
    })
}

fn describe(identities: &Identities) -> Result<String> {
    let mut out = format!("service      {}\n", text::clean(&identities.status));
    match &identities.previous {
        Some(pem) => out.push_str(&certificate("previous", pem)?),
        None => out.push_str("previous     none: this service is not a recovery of another one\n"),
    }
    out.push_str(&certificate("next", &identities.next)?);
    Ok(out)
}

fn certificate(name: &str, pem: &str) -> Result<String> {
    let certificate = parse(name, pem)?;
    let [subject, lines @ ..] = in_words(&certificate);
    let lines: String = lines.iter().map(|line| format!("             {line}\n")).collect();
    Ok(format!("{name:<12} {subject}\n{lines}"))
}

/// Subject, fingerprint, its words to read over a phone, and validity, a line each.
pub(super) fn in_words(certificate: &Certificate) -> [String; 4] {
    let digest = sha256(certificate.der());
    let dates = x509_cert::Certificate::from_der(certificate.der()).map(|parsed| {
        let validity = parsed.tbs_certificate().validity();
        format!("{} to {}", validity.not_before, validity.not_after)
    });
    [
        text::clean(&certificate.subject()),
        format!("sha256 {}", hex::encode(digest)),
        format!("words {}", words::of(&digest).join(" ")),
        format!(
            "valid {}",
            dates.unwrap_or_else(|_| "for an unreadable time".to_owned())
        ),
    ]
}

fn parse(name: &str, pem: &str) -> Result<Certificate> {
    Certificate::from_pem(pem).map_err(|why| {
        Error::Unreadable(format!(
            "the {name} service identity that the node gives is unusable: {why}"
        ))
    })
}

/// Why the node's identity is not the one in a file.
fn difference(path: &Path, name: &str, found: Option<&str>) -> Result<Option<String>> {
    let expected = input::certificate(path)?;
    let Some(found) = found else {
        return Ok(Some(format!(
            "{} was given as the {name} service identity, but the node has none: it is not a recovery",
            path.shown()
        )));
    };
    let found = parse(name, found)?;
    Ok((found.der() != expected.der()).then(|| {
        format!(
            "the {name} service identity of the node is not the one in {}: that has sha256 {}; nothing was proposed. \
             Is this the right node, and the right ledger?",
            path.shown(),
            hex::encode(sha256(expected.der()))
        )
    }))
}

/// Asks at the terminal.
fn confirmed() -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::Usage(
            "there is no terminal to ask at whether these are the right identities: compare them, and give --yes"
                .to_owned(),
        ));
    }
    output::notice("Propose to open the service with these identities? [y/N] ");
    let mut line = String::new();
    stdin
        .lock()
        .read_line(&mut line)
        .map_err(Error::io("read", Path::new("the terminal")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
