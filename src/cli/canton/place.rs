//! `rekindle canton place`.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::canton::finding::Ending;
use crate::canton::kubernetes::place::scripts::Names;
use crate::canton::kubernetes::place::transfer::{self, Dump};
use crate::canton::kubernetes::place::{self, Request};
use crate::canton::kubernetes::{Cluster, Failure, Pod, live::Live, scale};
use crate::canton::release::Splice;
use crate::canton::snapshot::judgement::{Expected, Form, judge};
use crate::canton::snapshot::reading::{Document, Reading};
use crate::canton::snapshot::shape::Kind;
use crate::canton::{Code, Finding, Findings, Timestamp};
use crate::cli::{Common, output};
use crate::error::{Error, Result};
use crate::report::Severity;
use crate::shown::Show;

use super::{cluster, show};

/// Put a migration dump onto the SV app's volume
///
/// Reads the file first: what the app could not load is not sent. Finds the app's one running pod and the volume that is
/// mounted there. Without --execute it only reads, and prints the kubectl commands that do the same. With --execute the
/// file goes under another name beside the target, its SHA-256 is read back in the pod, it is renamed, and read back again:
/// the target never holds a part of a file. Interrupted, the same command finishes; a file that is there already is left.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    cluster: cluster::ClusterArgs,

    /// The merged dump: identities, created_at, migration_id, data_snapshot, participant_users
    #[arg(long, value_name = "FILE")]
    file: PathBuf,

    /// The app whose pod takes it: sv-app, or validator-app, which takes the validator's own kind of dump
    #[arg(long, value_name = "NAME", default_value = "sv-app", value_parser = cluster::namespace)]
    app: String,

    /// The container of that pod [default: the app's name]
    #[arg(long, value_name = "NAME", value_parser = cluster::namespace)]
    container: Option<String>,

    /// Where the app looks for it
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/domain-upgrade-dump/domain_migration_dump.json"
    )]
    path: String,

    /// The agreed timestamp that the dump must have
    #[arg(long, value_name = "TIME")]
    expect_timestamp: Option<Timestamp>,

    /// The migration that the dump must be for
    #[arg(long, value_name = "ID")]
    expect_migration: Option<u64>,

    /// The Splice release that will load it, such as 0.6.1
    #[arg(long, value_name = "VERSION")]
    splice: Option<Splice>,

    /// Put it in the place of another file, which is kept beside it under the name of its hash
    #[arg(long)]
    replace: bool,

    /// Give up when nothing has moved for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    stall: u64,

    /// Warnings of these kinds, such as C0603, were read and are accepted: they no longer make the command end with 1. Errors
    /// can't be accepted
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = warning)]
    accept: Vec<&'static str>,

    /// Do it
    #[arg(long)]
    execute: bool,
}

const EXAMPLES: &str = "\
Examples:
  Check the file, the pod and the volume, and see the commands:
    rekindle canton place -n sv --file merged.json
  Do it:
    rekindle canton place -n sv --file merged.json --expect-timestamp 2024-04-17T19:12:02Z --execute";

/// What the command prints with `--json`.
#[derive(Serialize)]
struct Report<'a> {
    verdict: &'static str,
    cluster: Option<String>,
    namespace: &'a str,
    app: &'a str,
    container: &'a str,
    pod: Option<&'a str>,
    file: String,
    size: Option<u64>,
    sha256: Option<String>,
    path: &'a str,
    executed: bool,
    placed: bool,
    kept: Option<&'a str>,
    commands: &'a [String],
    findings: &'a [Finding],
}

/// What is known so far.
#[derive(Default)]
struct State {
    document: Option<Document>,
    address: Option<String>,
    pod: Option<Pod>,
    commands: Vec<String>,
    is_executed: bool,
    is_placed: bool,
    kept: Option<String>,
    findings: Findings,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    if !place::is_place(&args.path) {
        return Err(Error::Usage(
            "--path must be an absolute path of a file in a directory, without . and ..".to_owned(),
        ));
    }
    let request = Request {
        namespace: args.cluster.namespace.clone(),
        app: args.app.clone(),
        container: args.container.clone().unwrap_or_else(|| args.app.clone()),
        path: args.path.clone(),
        replaces: args.replace,
    };
    let mut state = State::default();
    let ending = go(args, &request, &mut state, common)?;
    let findings = std::mem::take(&mut state.findings).finish();
    let ending = ending.unwrap_or_else(|| judged(&findings, &args.accept));
    let verdict = match (state.is_executed, state.is_placed) {
        (true, true) => "placed",
        (true, false) => "not placed",
        (false, _) if findings.iter().any(|finding| finding.severity == Severity::Error) => "not fit",
        (false, _) => "planned",
    };
    let report = Report {
        verdict,
        cluster: state.address,
        namespace: &request.namespace,
        app: &request.app,
        container: &request.container,
        pod: state.pod.as_ref().map(|pod| pod.name.as_str()),
        file: args.file.shown().to_string(),
        size: state.document.as_ref().map(|document| document.size),
        sha256: state.document.as_ref().map(|document| hex::encode(document.digest)),
        path: &request.path,
        executed: state.is_executed,
        placed: state.is_placed,
        kept: state.kept.as_deref(),
        commands: &state.commands,
        findings: &findings,
    };
    match common.json {
        true => output::json(&report)?,
        false => output::text(&described(&report, &findings))?,
    }
    Ok(ending.exit_code())
}

/// The name of a kind of finding.
fn warning(text: &str) -> std::result::Result<&'static str, String> {
    let code = Code::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(text));
    match code {
        Some(code) => Ok(code.as_str()),
        None => Err("expected the code of a warning, such as C0603".to_owned()),
    }
}

/// How the command ends: where a warning was not accepted, the operator decides; an error is nobody's to overrule.
fn judged(findings: &[Finding], accepted: &[&str]) -> Ending {
    let is_accepted =
        |finding: &&Finding| finding.severity == Severity::Warning && accepted.contains(&finding.code.as_str());
    let open: Vec<Finding> = findings
        .iter()
        .filter(|finding| !is_accepted(finding))
        .cloned()
        .collect();
    match open.iter().any(|finding| finding.severity == Severity::Error) {
        true => Ending::Refused,
        false => Ending::of(&open),
    }
}

/// Everything but the telling. Answers how the command ends where the findings alone do not say it.
fn go(args: &Args, request: &Request, state: &mut State, common: &Common) -> Result<Option<Ending>> {
    let file = File::open(&args.file).map_err(Error::io("open", &args.file))?;
    if !file.metadata().map_err(Error::io("look at", &args.file))?.is_file() {
        return Err(Error::Usage(format!("{} is no regular file", args.file.shown())));
    }
    if let Some(ending) = checked(args, state)? {
        return Ok(Some(ending));
    }
    let Some(document) = &state.document else {
        return Ok(None);
    };
    let (live, pod) = match looked_up(args, request) {
        Ok((live, Ok(pod))) => (live, pod),
        Ok((live, Err(finding))) => {
            state.address = Some(live.address());
            state.findings.push(*finding);
            return Ok(Some(Ending::Refused));
        }
        Err(why) => {
            state.findings.push(scale::refusal(&why));
            return Ok(Some(Ending::Refused));
        }
    };
    state.address = Some(live.address());
    // Not everybody may read claims; then the container's own `df` has to do.
    let claims = live.claims(&request.namespace).ok();
    if let Some(container) = pod.containers.iter().find(|one| one.name == request.container) {
        let found = place::volume(container, &request.path, claims.as_deref(), document.size);
        state.findings.extend(found);
        if !container.is_ready {
            let text = format!("container {} runs, and is not ready", container.name);
            state
                .findings
                .push(Finding::new(Code::ContainerNotReady, text).of(&pod.name));
        }
    }
    let mut try_of = [0; 4];
    getrandom::fill(&mut try_of).map_err(|why| Error::Unreadable(format!("no random numbers: {why}")))?;
    let names = Names::new(&request.path, &hex::encode(document.digest), try_of);
    let local = args
        .file
        .to_str()
        .map_or_else(|| args.file.shown().to_string(), str::to_owned);
    let kubectl = args.cluster.kubectl()?;
    state.commands = place::commands(request, &pod.name, &kubectl, &local, document.size, &names);
    let (size, digest) = (document.size, document.digest);
    state.pod = Some(pod.clone());
    if state.findings.any_at_least(Severity::Error) {
        return Ok(Some(Ending::Refused));
    }
    if !args.execute {
        return Ok(None);
    }
    state.is_executed = true;
    let mut dump = Dump {
        path: &args.file,
        file,
        size,
        digest,
    };
    let mut tell = |what: &str| {
        if !common.json {
            output::notice(&format!("{what}\n"));
        }
    };
    let idle = Duration::from_secs(args.stall);
    let outcome = transfer::carry_out(&live, request, &pod.name, &mut dump, &names, idle, &mut tell);
    state.is_placed = outcome.is_placed;
    state.kept = outcome.kept;
    state.findings.append(outcome.findings);
    Ok(Some(outcome.ending).filter(|ending| *ending != Ending::Clean))
}

/// Reads the file and judges whether the app could load it.
fn checked(args: &Args, state: &mut State) -> Result<Option<Ending>> {
    let form = match args.app.as_str() {
        "validator-app" => Form::ValidatorFile,
        _ => Form::Merged,
    };
    let reading = match form {
        Form::ValidatorFile => Reading::of_snapshot_alone(),
        _ => Reading::default(),
    };
    let document = match reading.file(&args.file)? {
        Ok(document) => document,
        Err(fault) => {
            let text = format!("it is no whole JSON document: {}", fault.what);
            state.findings.push(
                Finding::new(Code::NotAMergedDump, text)
                    .file(&args.file)
                    .offset(fault.at),
            );
            return Ok(Some(Ending::Unreadable));
        }
    };
    let expected = Expected {
        form,
        timestamp: args.expect_timestamp,
        migration_id: args.expect_migration,
        release: args.splice,
    };
    let found = judge(&document.found, &expected).finish();
    state
        .findings
        .extend(found.into_iter().map(|finding| finding.file(&args.file)));
    let identities = document.found.member("identities").map(|member| member.kind);
    if form == Form::Merged && identities.is_some_and(|kind| kind != Kind::Object) {
        let finding = Finding::new(Code::NotAMergedDump, "identities is no object").file(&args.file);
        state.findings.push(finding);
    }
    let is_fit = !state.findings.any_at_least(Severity::Error);
    state.document = Some(document);
    Ok((!is_fit).then_some(Ending::Unreadable))
}

type LookedUp = (Live, std::result::Result<Pod, Box<Finding>>);

fn looked_up(args: &Args, request: &Request) -> std::result::Result<LookedUp, Failure> {
    let live = args.cluster.cluster()?;
    let pod = transfer::find(&live, request)?;
    Ok((live, pod))
}

fn described(report: &Report<'_>, findings: &[Finding]) -> String {
    let mut out = format!("file       {}\n", report.file);
    if let (Some(size), Some(hash)) = (report.size, &report.sha256) {
        out.push_str(&format!(
            "           {} ({size} bytes), sha256 {hash}\n",
            output::size(size)
        ));
    }
    if let Some(cluster) = &report.cluster {
        out.push_str(&format!("cluster    {cluster}\n"));
    }
    if let Some(pod) = report.pod {
        out.push_str(&format!(
            "pod        {}/{pod}, container {}\n",
            report.namespace, report.container
        ));
    }
    out.push_str(&format!("path       {}\n", report.path));
    if let Some(kept) = report.kept {
        out.push_str(&format!("replaced   what was there is {kept} now\n"));
    }
    if !report.executed && !report.commands.is_empty() {
        out.push_str("\nNothing was changed. With --execute this is done; by hand it is, one after the other, where both hashes must be\n");
        out.push_str("the one above:\n\n");
        for command in report.commands {
            for line in command.lines() {
                out.push_str(&format!("  {line}\n"));
            }
        }
    }
    out.push('\n');
    out.push_str(&show::findings(findings));
    out.push_str(&format!("{}\n", report.verdict));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_warnings_can_be_accepted_and_errors_never() {
        let warning = Finding::new(Code::EarlierTimestamp, "x");
        let other = Finding::new(Code::DonorsUsers, "x");
        let error = Finding::new(Code::NotAMergedDump, "x");
        let accepted = [super::warning("c0521").unwrap(), super::warning("C0722").unwrap()];
        assert_eq!(judged(std::slice::from_ref(&warning), &[]), Ending::Negative);
        assert_eq!(judged(std::slice::from_ref(&warning), &accepted), Ending::Clean);
        assert_eq!(judged(&[warning.clone(), other], &accepted), Ending::Negative);
        assert_eq!(judged(&[warning, error], &accepted), Ending::Refused);
        assert!(super::warning("C9999").is_err());
    }
}
