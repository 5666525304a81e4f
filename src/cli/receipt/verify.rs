//! `rekindle receipt verify`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{conclusion, endorsements_beside, summary, trusted};
use crate::cli::{Common, input, output};
use crate::crypto::digest::sha256;
use crate::error::{Error, Result};
use crate::format::TxId;
use crate::format::directory::LedgerFiles;
use crate::format::map::MappedFile;
use crate::format::snapshot::Snapshot;
use crate::merkle::presented::{Presented, read_endorsements};
use crate::recovery::receipts::judge::{Expected, ExpectedDigest, judge};
use crate::recovery::receipts::{in_ledger, ledger_endorsements};
use crate::report::{Code, Finding, Verdict};
use crate::shown::Show;

/// Check a receipt offline, and say in words what it proves and what it does not.
///
/// Takes what a node of CCF or Rekindle answers at /node/receipt, COSE receipts, snapshots (whose receipt is of their
/// evidence), and what `rekindle receipt` makes. A receipt made by a service before a recovery needs what leads to it from
/// the service trusted: endorsements in the receipt, in FILE.endorsements beside it, in --endorsements, or in the ledger.
#[derive(clap::Args)]
pub struct Args {
    /// The receipt, or a snapshot
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Certificates of services that are trusted, PEM; one that leads to the receipt is enough
    #[arg(long, required = true, value_name = "PEM", num_args = 1..)]
    service_certificate: Vec<PathBuf>,
    /// Endorsements of earlier services: a CBOR list as CCF 7 has beside snapshots, or JSON (repeatable)
    #[arg(long, value_name = "FILE")]
    endorsements: Vec<PathBuf>,
    /// The transaction that it must be of
    #[arg(long, value_name = "VIEW.SEQNO")]
    txid: Option<TxId>,
    /// What the application claims of the transaction: the claims digest must be this file's SHA-256
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// The transaction's entry, as it stands in the ledger: the write set digest must be this file's SHA-256
    #[arg(long, value_name = "FILE")]
    write_set: Option<PathBuf>,
    /// A ledger: the receipt must be of the very entry that stands there, and its endorsements are used (repeatable)
    #[arg(long, value_name = "DIR")]
    ledger: Vec<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let mut expected = Expected {
        trusted: args
            .service_certificate
            .iter()
            .map(|path| trusted(path))
            .collect::<Result<_>>()?,
        txid: args.txid,
        claims: args.claims.as_deref().map(digest_of).transpose()?,
        write_set: args.write_set.as_deref().map(digest_of).transpose()?,
        ..Expected::default()
    };
    let (presented, snapshot) = match read(&args.file)? {
        Ok(read) => read,
        Err(why) => return unreadable(common, &args.file, why),
    };
    if let Some(digest) = snapshot {
        if let Some(claims) = &expected.claims {
            return Err(Error::Usage(format!(
                "{} is a snapshot, whose receipt claims its digest: leave out --claims {}",
                args.file.shown(),
                claims.name
            )));
        }
        let name = format!("the snapshot {}", args.file.shown());
        expected.claims = Some(ExpectedDigest { name, digest });
    }
    let beside = Some(endorsements_beside(&args.file)).filter(|path| path.is_file());
    for path in args.endorsements.iter().chain(&beside) {
        match read_endorsements(&input::read(path)?) {
            Ok(found) => expected.endorsements.extend(found),
            Err(why) => return unreadable(common, path, why.to_string()),
        }
    }
    if !args.ledger.is_empty() {
        let files = LedgerFiles::list(&args.ledger, false)?;
        expected.endorsements.extend(ledger_endorsements(&files));
        let Some(txid) = presented.txid().or(args.txid) else {
            return Err(Error::Usage(
                "the receipt does not name its transaction: give --txid, too, to find it in the ledger".to_owned(),
            ));
        };
        match in_ledger(&files, txid)? {
            Ok(there) => expected.in_ledger = Some(there),
            Err(finding) => expected.not_in_ledger = Some(finding),
        }
    }
    let report = judge(&presented, &expected);
    match common.json {
        true => output::json(&report)?,
        false => output::text(&format!("{}{}", summary(&report), conclusion(&report)))?,
    }
    Ok(report.verdict.exit_code())
}

/// A receipt and, where it follows a snapshot, that snapshot's digest; or why it can't be read.
type Reading = std::result::Result<(Presented, Option<[u8; 32]>), String>;

fn read(path: &Path) -> Result<Reading> {
    let mut first = [0; 1];
    let is_snapshot = path.is_file() && {
        let file = File::open(path).map_err(Error::io("open", path))?;
        file.take(1).read(&mut first).map_err(Error::io("read", path))? == 1 && first == [1]
    };
    if !is_snapshot {
        let bytes = input::read(path)?;
        if bytes.is_empty() {
            let why =
                "the file is empty, expected a receipt: a node answers nothing (status 202) until it has it; ask again";
            return Ok(Err(why.to_owned()));
        }
        return Ok(Presented::parse(&bytes)
            .map(|receipt| (receipt, None))
            .map_err(|why| why.to_string()));
    }
    let map = MappedFile::open(path).map_err(Error::io("open", path))?;
    let snapshot = match Snapshot::parse(map.bytes()) {
        Ok(snapshot) => snapshot,
        Err(why) => return Ok(Err(format!("it begins like a snapshot, and is none: {why}"))),
    };
    let read = Presented::parse(snapshot.receipt).map(|receipt| (receipt, Some(snapshot.digest())));
    Ok(read.map_err(|why| why.to_string()))
}

fn digest_of(path: &Path) -> Result<ExpectedDigest> {
    Ok(ExpectedDigest {
        name: path.shown().to_string(),
        digest: sha256(&input::read(path)?),
    })
}

fn unreadable(common: &Common, path: &Path, why: String) -> Result<u8> {
    refused(common, vec![Finding::new(Code::ReceiptUnreadable, why).file(path)])
}

/// Says what is wrong where there is nothing to judge.
fn refused(common: &Common, findings: Vec<Finding>) -> Result<u8> {
    let verdict = Verdict::of(&findings);
    match common.json {
        true => output::json(&serde_json::json!({ "verdict": verdict, "findings": findings }))?,
        false => output::text(&output::findings(&findings))?,
    }
    Ok(verdict.exit_code())
}
