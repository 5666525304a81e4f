//! `rekindle canton identities`.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::show;
use crate::canton::finding::Ending;
use crate::canton::identities::{
    self, Checked, Comparison, Key, Material, Node, Proof, Purpose, Shape, Slot, Standing,
};
use crate::canton::{Code, Finding, Findings};
use crate::cli::{Common, output};
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, write_new};
use crate::report::Severity;
use crate::shown::{Show, line};

/// Check, extract and compare dumps of node identities
///
/// A dump holds the keys of an SV's participant, sequencer and mediator. Nothing of a private key is ever printed, nothing
/// is sent anywhere, and a dump is never changed. The file's content says what it is, whatever its name.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(Check),
    Extract(Extract),
    Diff(Diff),
}

/// Prove offline that a dump holds what recovery needs: run it on every backup, from cron
///
/// Every key's fingerprint is computed again, every public key is derived from its private key and compared, and ids,
/// places, topology and namespace must belong together. What was stored by mistake (an error, a login page, null, the
/// file that the documented merge overwrites) is told for what it is.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  rekindle canton identities check sv_identities_*.json
Exit codes: 0 all is well, 1 something is wrong with a dump, 3 a file is no dump of identities.")]
struct Check {
    /// The dumps, of any shape; packed by gzip, zstd or xz too; - for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Expect all three nodes, which the network's recovery needs: one node alone is an error
    #[arg(long)]
    full: bool,
}

/// Take one node's identities out of a dump, byte for byte, into a new file that only you can read
///
/// For the participant this is what `jq .identities.participant` was meant to do; it works on the SV app's automatic
/// backups too, where jq prints null. The file re-onboards the SV's parties through a validator
/// (participantIdentitiesDumpImport).
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  rekindle canton identities extract backup_state.json --out participant_identities.json
Exit codes: 0 the file was written, or is there already as it should be, 1 something in the node is wrong, 2 something else has that name, 3 there is no \
such node in what was given.")]
struct Extract {
    /// The full dump, or a migration dump
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file to write, which must not be there yet
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Which node
    #[arg(long, value_enum, default_value = "participant")]
    node: NodeName,
    /// Write it although something in it is wrong: for when there is no better backup
    #[arg(long)]
    even_if_damaged: bool,
}

/// Tell what differs between two dumps: ids, keys by their fingerprints, topology
///
/// Shapes and formatting make no difference: a full dump compares with an automatic backup of the same SV.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  rekindle canton identities diff monday.json tuesday.json
Exit codes: 0 the identities are the same, 1 they differ, 3 a file is no dump of identities.")]
struct Diff {
    /// One dump
    #[arg(value_name = "FILE")]
    first: PathBuf,
    /// Another
    #[arg(value_name = "OTHER")]
    second: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum NodeName {
    Participant,
    Sequencer,
    Mediator,
}

impl NodeName {
    fn slot(self) -> Slot {
        match self {
            NodeName::Participant => Slot::Participant,
            NodeName::Sequencer => Slot::Sequencer,
            NodeName::Mediator => Slot::Mediator,
        }
    }
}

/// Runs the command, and answers the exit code.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    match &args.command {
        Command::Check(args) => check(args, common),
        Command::Extract(args) => extract(args, common),
        Command::Diff(args) => diff(args, common),
    }
}

fn verdict(ending: Ending) -> &'static str {
    match ending {
        Ending::Clean => "ok",
        Ending::Unreadable => "unreadable",
        _ => "negative",
    }
}

#[derive(Serialize)]
struct CheckReport<'a> {
    verdict: &'static str,
    files: Vec<FileReport<'a>>,
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct FileReport<'a> {
    file: String,
    shape: Option<Shape>,
    standing: Standing,
    is_full: bool,
    sv_party_id: Option<&'a str>,
    dso_party_id: Option<&'a str>,
    domain_alias: Option<&'a str>,
    domain_id: Option<&'a str>,
    nodes: &'a [Node],
}

fn check(args: &Check, common: &Common) -> Result<u8> {
    let mut checked = Vec::new();
    for path in &args.files {
        checked.push((path.as_path(), check_file(path, args.full)));
    }
    let pairs: Vec<(&Path, &Checked)> = checked.iter().map(|(path, checked)| (*path, checked)).collect();
    let across = identities::together(&pairs);
    let mut ending = Ending::of(&across.clone().finish());
    let mut findings = Findings::default();
    for (_, checked) in &checked {
        ending = ending.max(checked.ending());
        findings.append(checked.findings.clone());
    }
    findings.append(across);
    let findings = findings.finish();
    if common.json {
        let files = checked.iter().map(|(path, checked)| report(path, checked)).collect();
        output::json(&CheckReport {
            verdict: verdict(ending),
            files,
            findings: &findings,
        })?;
    } else {
        let mut out = String::new();
        for (path, checked) in &checked {
            out.push_str(&describe(path, checked));
        }
        out.push_str(&show::findings(&findings));
        output::text(&out)?;
    }
    Ok(ending.exit_code())
}

fn check_file(path: &Path, is_full_expected: bool) -> Checked {
    let read = match identities::read(path) {
        Ok(read) => read,
        Err(why) => {
            let mut checked = Checked::default();
            let finding = Finding::new(Code::FileUnreadable, why.to_string()).file(path);
            checked.findings.push(finding);
            return checked;
        }
    };
    let mut checked = identities::check_file(&read, path);
    if read.is_open_to_others() && checked.shape.is_some() {
        let mode = read.mode.unwrap_or_default() & 0o777;
        let message = format!("the file's mode is {mode:03o}, and 600 was expected");
        let mut finding = Finding::new(Code::ReadableByOthers, message).file(path);
        if !checked.has_private_keys() {
            finding = finding
                .severity(Severity::Info)
                .next("no private key is in it, but it says which keys to look for");
        }
        checked.findings.push(finding);
    }
    if is_full_expected && checked.shape == Some(Shape::Node) {
        let message = "the file holds one node alone, and a full dump was expected";
        checked
            .findings
            .push(Finding::new(Code::OnlyOneNode, message).file(path));
    }
    checked
}

fn report<'a>(path: &Path, checked: &'a Checked) -> FileReport<'a> {
    FileReport {
        file: path.shown().to_string(),
        shape: checked.shape,
        standing: checked.standing(),
        is_full: checked.is_full(),
        sv_party_id: checked.sv_party_id.as_deref(),
        dso_party_id: checked.dso_party_id.as_deref(),
        domain_alias: checked.domain_alias.as_deref(),
        domain_id: checked.domain_id.as_deref(),
        nodes: &checked.nodes,
    }
}

fn describe(path: &Path, checked: &Checked) -> String {
    let called = checked.shape.map_or("no dump of identities", Shape::called);
    let mut out = format!("{}: {called}\n", path.shown());
    let mut row = |name: &str, value: &str| {
        let text = format!("  {name:<14}{value}");
        out.push_str(&line(&text));
        out.push('\n');
    };
    if let Some(party) = &checked.sv_party_id {
        row("SV party", party);
    }
    if let Some(domain) = &checked.domain_id {
        row("synchronizer", domain);
    }
    for node in &checked.nodes {
        let id = node.id.as_ref().map_or("(no id)", |id| &id.whole);
        row(node.node.name(), id);
        row("", &summary(node));
        for key in &node.keys {
            row("", &describe_key(key));
        }
        if matches!(node.material, Material::Kms | Material::Mixed) {
            for key in &node.topology_keys {
                let namespace = if key.is_namespace { ", the namespace" } else { "" };
                let purpose = purpose(Some(key.purpose));
                let text = format!("{purpose:<11}{} by the topology{namespace}", key.fingerprint);
                row("", &text);
            }
        }
    }
    if checked.shape.is_some() {
        let standing = match checked.standing() {
            Standing::Verified => "verified: every key is in it and proven",
            Standing::NeedsKms => "nothing is wrong, but it is of use only with the KMS that holds the keys",
            Standing::Unverified => "not to be relied on: see below",
        };
        row("verdict", standing);
    }
    out
}

fn summary(node: &Node) -> String {
    let proven = node.keys.iter().filter(|key| key.proof == Some(Proof::Proven)).count();
    let in_kms = node.keys.iter().filter(|key| key.kms_key_id.is_some()).count();
    let count = node.keys.len();
    let keys = match node.material {
        Material::None => "no keys".to_owned(),
        Material::Plaintext => format!("{count} keys in the dump, {proven} proven"),
        Material::Kms => format!("{in_kms} keys, all in a KMS: look these up there"),
        Material::Mixed => format!("{count} keys, of which {in_kms} in a KMS: look these up there; {proven} proven"),
    };
    let topology = node.topology_transactions.map_or("no topology".to_owned(), |count| {
        format!("{count} topology transactions")
    });
    let signatures = node.topology_signatures.map_or(String::new(), |signatures| {
        format!(" with {} valid signatures", signatures.valid)
    });
    let version = node
        .version
        .as_ref()
        .map_or(String::new(), |version| format!(", Splice {version}"));
    format!("{keys}; {topology}{signatures}{version}")
}

fn purpose(purpose: Option<Purpose>) -> &'static str {
    match purpose {
        Some(Purpose::Signing) => "signing",
        Some(Purpose::Encryption) => "encryption",
        None => "unknown",
    }
}

fn describe_key(key: &Key) -> String {
    let purpose = purpose(key.purpose);
    let name = key.name.as_deref().map_or(String::new(), |name| format!(" \"{name}\""));
    if let Some(id) = &key.kms_key_id {
        return format!("{purpose:<11}KMS {id}{name}");
    }
    let proof = match key.proof {
        Some(Proof::Proven) => "proven",
        Some(Proof::Unproven) => "not proven",
        _ => "WRONG",
    };
    let fingerprint = key.fingerprint.as_deref().unwrap_or("no fingerprint");
    let algorithm = key.algorithm.as_deref().unwrap_or_default();
    let namespace = if key.is_namespace { ", the namespace" } else { "" };
    format!("{purpose:<11}{fingerprint} {algorithm}{name}: {proof}{namespace}")
}

#[derive(Serialize)]
struct ExtractReport<'a> {
    verdict: &'static str,
    written: Option<String>,
    bytes: Option<usize>,
    node: Option<&'a Node>,
    findings: &'a [Finding],
}

fn extract(args: &Extract, common: &Common) -> Result<u8> {
    if is_same_file(&args.file, &args.out) {
        return Err(Error::Usage(format!(
            "{} is the dump itself, and the full dump is needed later too: give another name",
            args.out.shown()
        )));
    }
    let read = identities::read(&args.file)?;
    let (span, node, findings, ending) = match identities::extract(&read.bytes, args.node.slot(), &args.file) {
        Ok(found) => {
            // It was done: a warning about the dump is said, and is no failure of this.
            let findings = found.findings.finish();
            (Some(found.span), Some(found.node), findings, Ending::Clean)
        }
        Err(refused) if refused.is_there => {
            let span = refused.span.filter(|_| args.even_if_damaged);
            (span, None, refused.findings, Ending::Negative)
        }
        Err(refused) => (None, None, refused.findings, Ending::Unreadable),
    };
    let bytes = span.and_then(|span| read.bytes.get(span));
    if let Some(bytes) = bytes {
        // Done again after an interruption it is done; anything else is somebody's keys.
        if !identities::is_written(&args.out, bytes) {
            write_new(&args.out, bytes, PRIVATE)?;
        }
    }
    if common.json {
        output::json(&ExtractReport {
            verdict: verdict(ending),
            written: bytes.map(|_| args.out.shown().to_string()),
            bytes: bytes.map(<[u8]>::len),
            node: node.as_ref(),
            findings: &findings,
        })?;
    } else {
        let mut out = match bytes {
            Some(bytes) => format!(
                "{}: {} bytes, the {} of {}, for its owner alone\n",
                args.out.shown(),
                bytes.len(),
                args.node.slot().name(),
                args.file.shown()
            ),
            None => "nothing was written\n".to_owned(),
        };
        if let Some(node) = &node {
            out.push_str(&line(&format!("  {}", summary(node))));
            out.push('\n');
        }
        out.push_str(&show::findings(&findings));
        output::text(&out)?;
    }
    Ok(ending.exit_code())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => one.dev() == other.dev() && one.ino() == other.ino(),
        _ => false,
    }
}

#[derive(Serialize)]
struct DiffReport<'a> {
    verdict: &'static str,
    #[serde(flatten)]
    comparison: Option<&'a Comparison>,
    findings: &'a [Finding],
}

fn diff(args: &Diff, common: &Common) -> Result<u8> {
    let first = identities::read(&args.first)?;
    let second = identities::read(&args.second)?;
    let (comparison, findings) = match identities::compare(&first.bytes, &second.bytes) {
        Ok(comparison) => (Some(comparison), Vec::new()),
        Err((which, finding)) => {
            let path = if which == 0 { &args.first } else { &args.second };
            (None, vec![finding.file(path)])
        }
    };
    let (verdict, code) = match &comparison {
        Some(comparison) if comparison.is_same => ("same", Ending::Clean),
        Some(_) => ("different", Ending::Negative),
        None => ("unreadable", Ending::Unreadable),
    };
    if common.json {
        output::json(&DiffReport {
            verdict,
            comparison: comparison.as_ref(),
            findings: &findings,
        })?;
    } else {
        let text = comparison.as_ref().map_or(String::new(), describe_comparison);
        output::text(&(text + &show::findings(&findings)))?;
    }
    Ok(code.exit_code())
}

fn describe_comparison(comparison: &Comparison) -> String {
    let mut out = String::new();
    if comparison.is_identical {
        return "the files are equal, byte for byte\n".to_owned();
    }
    if comparison.first != comparison.second {
        let (first, second) = (comparison.first.called(), comparison.second.called());
        out.push_str(&format!("the first is a {first}, the second a {second}\n"));
    }
    if comparison.is_same {
        out.push_str("the identities are the same: only shape or formatting differs\n");
        return out;
    }
    for difference in &comparison.differences {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not there)".to_owned());
        out.push_str(&line(&difference.what));
        let (first, second) = (side(&difference.first), side(&difference.second));
        match first == second {
            true => out.push_str(&line(&format!(": differs ({first})"))),
            false => {
                out.push('\n');
                out.push_str(&line(&format!("  first   {first}")));
                out.push('\n');
                out.push_str(&line(&format!("  second  {second}")));
            }
        }
        out.push('\n');
    }
    if comparison.left_out > 0 {
        out.push_str(&format!("and {} more differences\n", comparison.left_out));
    }
    out
}
