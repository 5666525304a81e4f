//! `rekindle compare`.

use std::path::PathBuf;

use crate::cli::{Common, html, input, output, progress};
use crate::error::{Error, Result};
use crate::recovery::compare::{CompareReport, Relation, compare, examine};
use crate::shown::Show;
use crate::web;

/// Compare copies of one ledger, rank them, and say what would be lost by choosing each
///
/// Each directory is one copy, such as one of every dead node. All are verified, then ranked by their last signed
/// view and seqno. A signed tail of a lower view that ends where a higher view begins is superseded: what a primary that was
/// killed or cut off leaves behind, and no fault. Two signed histories that contradict each other are a fork, reported
/// with both signatures: signed in one view, or in a higher view that begins before something committed, or by two
/// services recovered from one. With --service-cert, only a copy whose last signature is of that service is recommended:
/// whoever can write to a copy can start a recovery of his own on top of it, which makes it the longest.
#[derive(clap::Args)]
pub struct Args {
    /// One directory for each copy; an archive stands for all copies in it
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// The certificate that the service must have which signed last in the copy to recover from
    #[arg(long, value_name = "PEM")]
    service_cert: Option<PathBuf>,
    /// Write the report as one file for a browser, with pictures, that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let directories = input::copies(&args.directories)?;
    if directories.len() < 2 {
        return Err(Error::Usage(
            "there is one copy, and nothing to compare it with; give two directories or more, or an archive of several"
                .to_owned(),
        ));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = directories.iter().find(|directory| !seen.insert(directory.as_path())) {
        return Err(Error::Usage(format!(
            "{} is given twice; give one directory for each copy",
            twice.shown()
        )));
    }
    let inputs: Vec<_> = args.service_cert.as_deref().into_iter().collect();
    let html = html::Html::begin(args.html.as_deref(), &args.directories, &inputs)?;
    let service = args.service_cert.as_deref().map(input::certificate).transpose()?;
    let progress = progress::for_terminal();
    let copies = directories
        .iter()
        .map(|directory| examine(directory.clone(), service.as_ref(), progress.as_ref()));
    let report = compare(copies.collect::<Result<Vec<_>>>()?)?;
    match common.json {
        true => output::json(&report)?,
        false => output::text(&render(&report))?,
    }
    // What was found is said even where it can't be written.
    if let Some(file) = html {
        file.finish(&web::compare::document(&web::compare::Compared {
            report: &report,
            command: html::command(),
            unix_s: html::now_unix_s(),
        }))?;
    }
    Ok(report.verdict.exit_code())
}

fn render(report: &CompareReport) -> String {
    let mut out = String::new();
    for copy in &report.copies {
        let signed = copy.last_signed.map_or("nothing".to_owned(), |txid| txid.to_string());
        out.push_str(&format!("{}. {}\n", copy.rank, copy.directory));
        out.push_str(&format!(
            "   signed up to {signed}, last entry {}, {} after the last signature\n",
            copy.last_seqno, copy.unsigned_entries
        ));
        if copy.is_expected_service == Some(false) {
            let whose = copy.service.map_or("no service".to_owned(), |service| {
                format!("service {}", hex::encode(service.0))
            });
            out.push_str(&format!(
                "   signed last by {whose}, which is not the one whose certificate was given\n"
            ));
        }
        for loss in &copy.loses {
            out.push_str(&format!(
                "   choosing it loses seqnos {} to {}, which {} has signed\n",
                loss.from_seqno, loss.to_seqno, loss.to
            ));
        }
        if copy.verdict.exit_code() != 0 {
            let text = output::findings(&copy.findings);
            text.lines().for_each(|line| out.push_str(&format!("   {line}\n")));
        }
    }
    out.push('\n');
    for pair in &report.pairs {
        let at = pair.first_difference.unwrap_or(0);
        let relation = match pair.relation {
            Relation::Same => "hold the same entries".to_owned(),
            Relation::Prefix => format!(
                "are the same up to seqno {}, where the shorter one ends",
                at.saturating_sub(1)
            ),
            Relation::UnsignedDifference => format!("differ from seqno {at} on, where at most one of them is proven"),
            Relation::Superseded => format!("differ from seqno {at} on, where the second's tail was superseded"),
            Relation::Fork => format!(
                "are a fork: two signed histories from seqno {at} on, for {}",
                pair.cause
            ),
            Relation::OtherService => "belong to different services".to_owned(),
        };
        out.push_str(&format!("{} and {} {relation}\n", pair.a, pair.b));
        for evidence in &pair.evidence {
            let signer = evidence
                .signer
                .map_or("the service".to_owned(), |node| format!("node {}", hex::encode(node.0)));
            out.push_str(&format!(
                "   {}: {} signed by {signer}, root {}\n",
                evidence.directory,
                evidence.txid,
                hex::encode(evidence.root.0)
            ));
        }
    }
    out.push('\n');
    out.push_str(&output::findings(&report.findings));
    match &report.recommended {
        Some(directory) => out.push_str(&format!("recommended  {directory}: {}\n", report.reason)),
        None => out.push_str(&format!("recommended  none: {}\n", report.reason)),
    }
    out
}
