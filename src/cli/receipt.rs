//! `rekindle receipt`: made from a ledger's files, and verified.

use std::path::PathBuf;

use serde::Serialize;

use super::{Common, input, keys, output};
use crate::error::{Error, Result};
use crate::format::TxId;
use crate::format::whole_file::{PUBLIC, Target, is_stdout, target, write_whole};
use crate::merkle::presented::write_endorsements;
use crate::recovery::receipts::judge::{ReceiptReport, Trusted};
use crate::recovery::receipts::{Form, Made, Request, make};
use crate::report::Verdict;
use crate::report::output::{refuse_inputs, refuse_ledger_directories};
use crate::shown::{Show, line};

mod verify;

/// Prove a transaction to somebody who has no ledger: make its receipt from the files, offline.
///
/// Reads the transaction, the first signature after it, and the service that stood behind it then; checks root,
/// signatures and endorsements, and writes nothing that would not be accepted. With members' keys the receipt has the
/// commit evidence, as a node's has; without them it is of the bare leaf. Where services were recovered since, the
/// endorsements that lead from the last one to the receipt's go with it: inside a JSON receipt, and with -o in
/// FILE.endorsements beside it. CCF's own client code verifies what is made.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    Verify(verify::Args),
}

#[derive(clap::Args)]
struct MakeArgs {
    /// The ledger's main directory, then its read-only ones
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// The transaction
    #[arg(long, required = true, value_name = "VIEW.SEQNO")]
    txid: Option<TxId>,
    /// json: signed by a node, as /node/receipt answers; cose: signed by the service, with the proof in it
    #[arg(long, value_enum, default_value = "json")]
    format: FormName,
    /// Members' share-encryption private keys, PEM, as many as the recovery threshold: for the commit evidence
    #[arg(long, value_name = "PEM", num_args = 1..)]
    member_key: Vec<PathBuf>,
    /// Directory of snapshots: for the keys of a ledger that begins after one (repeatable)
    #[arg(long, value_name = "DIR")]
    snapshots: Vec<PathBuf>,
    /// Make sure that whoever trusts this service alone, and has its certificate, can verify it
    #[arg(long, value_name = "PEM")]
    service_certificate: Option<PathBuf>,
    /// File for the receipt [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Read chunks of an unfinished recovery (.recovery) as part of the ledger
    #[arg(long)]
    include_recovery: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormName {
    Json,
    Cose,
}

impl Args {
    /// Whether keys or what they open may come into this process.
    pub fn has_keys(&self) -> bool {
        !self.make.member_key.is_empty()
    }
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    match &args.command {
        Some(Command::Verify(args)) => verify::run(args, common),
        None => run_make(&args.make, common),
    }
}

/// The document of `--json`.
#[derive(Serialize)]
struct Document<'a> {
    output: String,
    endorsements_file: Option<String>,
    #[serde(flatten)]
    report: &'a ReceiptReport,
}

/// The document of `--json` where nothing was made.
#[derive(Serialize)]
struct Refused<'a> {
    verdict: Verdict,
    transaction: TxId,
    findings: &'a [crate::report::Finding],
}

fn run_make(args: &MakeArgs, common: &Common) -> Result<u8> {
    let Some(txid) = args.txid else {
        return Err(Error::Usage("which transaction? give --txid VIEW.SEQNO".to_owned()));
    };
    let file = args.output.as_ref().filter(|path| !is_stdout(path));
    let form = match args.format {
        FormName::Json => Form::Json,
        FormName::Cose => Form::Cose,
    };
    if common.json && file.is_none() && form == Form::Cose {
        let why = "--json and a COSE receipt both want standard output; give -o the name of a file";
        return Err(Error::Usage(why.to_owned()));
    }
    let forbidden = [args.directories.as_slice(), &args.snapshots].concat();
    let beside = file.map(|path| endorsements_beside(path));
    for path in file.into_iter().chain(&beside) {
        if target(path)? == Target::File {
            refuse_ledger_directories(path, &forbidden)?;
            refuse_inputs(path, args.member_key.iter().chain(&args.service_certificate))?;
        }
    }
    let service = args.service_certificate.as_deref().map(trusted).transpose()?;
    let files = input::ledger(&args.directories, args.include_recovery)?;
    let secrets = keys::open(&files, &args.member_key, &args.snapshots, None)?;
    let request = Request {
        txid,
        form,
        secrets: secrets.as_ref(),
        service,
    };
    let made = match make(&files, &request)? {
        Ok(made) => made,
        Err(findings) => {
            match common.json {
                true => output::json(&Refused {
                    verdict: Verdict::of(&findings),
                    transaction: txid,
                    findings: &findings,
                })?,
                false => output::notice(&output::findings(&findings)),
            }
            return Ok(1);
        }
    };
    let Some((file, beside)) = file.zip(beside) else {
        output::bytes(&made.bytes)?;
        output::notice(&render(&made, None));
        return Ok(made.report.verdict.exit_code());
    };
    // What leads to it first: a receipt that is there has all that it needs.
    let has_chain = !made.endorsements.is_empty() && target(file)? == Target::File;
    if has_chain {
        write_whole(&beside, &write_endorsements(&made.endorsements), PUBLIC)?;
    }
    write_whole(file, &made.bytes, PUBLIC)?;
    let beside = has_chain.then(|| beside.shown().to_string());
    match common.json {
        true => output::json(&Document {
            output: file.shown().to_string(),
            endorsements_file: beside,
            report: &made.report,
        })?,
        false => output::text(&render(&made, beside.as_deref()))?,
    }
    Ok(made.report.verdict.exit_code())
}

/// Where the endorsements of a receipt lie, as CCF 7 has those of a snapshot.
fn endorsements_beside(receipt: &std::path::Path) -> PathBuf {
    let mut name = receipt.as_os_str().to_owned();
    name.push(".endorsements");
    name.into()
}

fn trusted(path: &std::path::Path) -> Result<Trusted> {
    Ok(Trusted {
        name: path.shown().to_string(),
        certificate: input::certificate(path)?,
    })
}

fn render(made: &Made, beside: Option<&str>) -> String {
    let mut out = summary(&made.report);
    if let Some(beside) = beside {
        let n = made.endorsements.len();
        out.push_str(&format!("endorsements {n}, in {beside}\n"));
    }
    out.push_str(&conclusion(&made.report));
    out
}

/// What kind of receipt it is, of what, by whom.
fn summary(report: &ReceiptReport) -> String {
    let id = |id: Option<crate::tables::values::HexDigest>| id.map(|id| hex::encode(id.0));
    let form = match report.form {
        "json" => "JSON, signed by a node",
        _ => "COSE, signed by the service",
    };
    let mut rows = vec![("receipt", form.to_owned())];
    rows.push((
        "of",
        match report.transaction {
            Some(txid) if report.of_signature => format!("signature transaction {txid}"),
            Some(txid) => format!("transaction {txid}"),
            None => "a transaction that it does not name".to_owned(),
        },
    ));
    rows.extend(report.signed_in.map(|txid| ("signed in", txid.to_string())));
    rows.extend(id(report.service).map(|service| ("service", service)));
    rows.extend(id(report.node).map(|node| ("node", node)));
    rows.push(("root", hex::encode(report.root.0)));
    rows.into_iter()
        .map(|(name, text)| format!("{name:<12} {}\n", line(&text)))
        .collect()
}

/// What is proven and what is not; then the verdict and the findings.
fn conclusion(report: &ReceiptReport) -> String {
    let mut out = String::new();
    for (name, sentences) in [("proven", &report.proven), ("not proven", &report.not_proven)] {
        for sentence in sentences {
            out.push_str(&format!("{name:<12} {}\n", line(sentence)));
        }
    }
    let verdict = match report.verdict {
        Verdict::Ok => "ok: the receipt holds",
        _ if report.proven.is_empty() => "findings: the receipt proves nothing",
        _ => "findings: the receipt holds, but see below",
    };
    out.push_str(&format!("verdict      {verdict}\n"));
    if !report.findings.is_empty() {
        out.push('\n');
        out.push_str(&output::findings(&report.findings));
    }
    out
}
