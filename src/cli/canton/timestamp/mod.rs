//! `rekindle canton timestamp`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::canton::agreement::{self, Decision, MARGIN_S, Rule, Settings};
use crate::canton::finding::Ending;
use crate::canton::logs::Named;
use crate::canton::{Finding, Findings, Timestamp};
use crate::cli::{Common, output};
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, WholeFile};
use crate::shown::Show;

mod listed;
mod show;
mod sources;

use listed::Listed;
use sources::Source;

/// Find the timestamp that enough SVs agree on, and say for each SV what to do
///
/// Give what each SV has: its evidence file (a few kilobytes, from `rekindle canton scan`), its logs, or its participant's
/// database. The answer is the recovery timestamp: a margin before the last tick at which more than two thirds of all SVs
/// found their contracts to be the same, pairwise. With it come the choices that there are, a verdict and an action for
/// every SV, and sixteen digits that stand for the evidence: operators who read each other the same digits decide from the
/// same facts.
#[derive(clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    /// An SV's evidence file, from `rekindle canton scan`; the name is the file's own if it is left out
    #[arg(long, value_name = "NAME=FILE")]
    evidence: Vec<Source>,
    /// An SV's participant logs: files, directories, patterns, in any packing and wrapping, or - for stdin. Paths without a
    /// name are of the SV before them
    #[arg(long, value_name = "NAME[=PAR::ID]:PATH", num_args = 1..)]
    log: Vec<Named>,
    /// The same as --log
    #[arg(value_name = "NAME:PATH")]
    paths: Vec<Named>,
    /// An SV's participant database: a dump (plain, custom, directory, packed or not), or the address of the running database,
    /// postgres://USER@HOST/DATABASE, which is only read from; its password comes from PGPASSWORD, ~/.pgpass or a prompt
    #[arg(long, value_name = "NAME=FILE|ADDRESS")]
    participant_db: Vec<String>,
    /// All SVs, also those without a source: the quorum is of all. Without it, all are those that have a source
    #[arg(long, value_name = "NAME[=PAR::ID],...", value_delimiter = ',')]
    svs: Vec<Listed>,
    /// The synchronizer, by its alias or id [default: the only one, or global-domain]
    #[arg(long, value_name = "ALIAS|ID")]
    synchronizer: Option<String>,
    /// How long before the agreed tick the recovery timestamp lies: 900, 15m, 1h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = seconds)]
    margin: u32,
    /// How many SVs must agree [default: more than two thirds of all, which the synchronizer needs to run]
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    /// Who supports a tick
    #[arg(long, value_enum, default_value_t = RuleName::Clique)]
    rule: RuleName,
    /// Look only at ticks from this time on
    #[arg(long, value_name = "TIME")]
    after: Option<Timestamp>,
    /// Look only at ticks up to this time
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
    /// When the network failed: the recovery timestamp is before it, and what is lost is counted up to it
    #[arg(long, value_name = "TIME")]
    incident: Option<Timestamp>,
    /// Explain in sentences why this SV stands as it does (repeatable)
    #[arg(long, value_name = "NAME")]
    explain: Vec<String>,
    /// Draw in the terminal who had reached what when
    #[arg(long)]
    chart: bool,
    /// Draw the same as SVG into this file
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Let --picture replace a file that is there
    #[arg(long, requires = "picture")]
    replace: bool,
}

impl Args {
    /// The logs of all SVs, however they were given.
    fn logs(&self) -> impl Iterator<Item = &Named> {
        self.log.iter().chain(&self.paths)
    }
}

const EPILOGUE: &str = "\
Example, with one SV whose evidence is missing:
  rekindle canton timestamp --evidence a=a.json --evidence b=b.json --evidence c=c.json --svs a,b,c,d

Exit codes: 0 there is a timestamp and every SV recovers from its own dump, 1 there is none, or an SV needs something \
else (the answer says what), 2 usage, 3 a source can't be read or is damaged, 5 a source broke off: what there is of it \
was used.";

/// Who supports a tick.
#[derive(Clone, Copy, ValueEnum)]
enum RuleName {
    /// The largest set in which everybody agrees with everybody
    Clique,
    /// The largest set in which each agrees with one at least
    Component,
}

/// A length of time: seconds, or a number with s, m, h or d.
fn seconds(text: &str) -> std::result::Result<u32, String> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(digits) => (digits, text.get(digits.len()..).unwrap_or_default()),
        None => (text, "s"),
    };
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 1,
    };
    let number = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'));
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "expected seconds, or a number with s, m, h or d, such as 15m".to_owned())
}

/// What the answer consists of, beyond the decision.
struct Answer {
    decision: Decision,
    ending: Ending,
    explanations: Vec<Vec<String>>,
}

/// Runs the command.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    super::show::in_order(args.after, args.before)?;
    if let Some(path) = &args.picture
        && !args.replace
        && path.symlink_metadata().is_ok_and(|there| there.is_file())
    {
        let text = format!("{} is there already: give --replace to write over it", path.shown());
        return Err(Error::Usage(text));
    }
    if let Some(path) = &args.picture
        && path.exists()
        && sources::has(args, path)?
    {
        let text = format!(
            "{} is among what is to be read: draw the picture elsewhere",
            path.shown()
        );
        return Err(Error::Usage(text));
    }
    let gathered = sources::gather(args, common)?;
    let svs = listed::together(gathered.svs, &args.svs)?;
    let settings = Settings {
        synchronizer: args.synchronizer.clone(),
        quorum: args.quorum,
        margin_s: args.margin,
        rule: match args.rule {
            RuleName::Clique => Rule::Clique,
            RuleName::Component => Rule::Component,
        },
        after: args.after,
        before: args.before,
        incident: args.incident,
    };
    let decided = agreement::decide(&svs, &settings).map_err(|why| Error::Usage(why.to_string()))?;
    let answer = answer(args, decided, gathered.findings, gathered.ending)?;
    if let Some(path) = &args.picture {
        write(path, agreement::picture::svg(&answer.decision).as_bytes())?;
    }
    match common.json {
        true => output::json(&show::document(&answer.decision, &answer.explanations))?,
        false => output::text(&show::text(&answer.decision, &answer.explanations, args.chart))?,
    }
    Ok(answer.ending.exit_code())
}

/// Joins what sources and decision have found, and explains what is to be explained.
fn answer(args: &Args, mut decision: Decision, mut findings: Findings, read: Ending) -> Result<Answer> {
    findings.extend(agreement::from_the_future(&decision, Timestamp::now()));
    findings.extend(std::mem::take(&mut decision.findings));
    decision.findings = findings.finish();
    let mut explanations = Vec::new();
    for name in &args.explain {
        let names = || -> String {
            let names: Vec<&str> = decision.svs.iter().map(|sv| sv.name.as_str()).collect();
            names.join(", ")
        };
        let explained = agreement::explain::explain(&decision, name)
            .ok_or_else(|| Error::Usage(format!("there is no SV {name} to explain, only {}", names())))?;
        explanations.push(explained);
    }
    let findings: &[Finding] = &decision.findings;
    let ending = read.max(Ending::of(findings));
    Ok(Answer {
        decision,
        ending,
        explanations,
    })
}

fn write(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut file = WholeFile::create(path, PRIVATE)?.ends_with_process();
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.finish()
}

const _: () = assert!(MARGIN_S == 15 * 60, "the default of --margin says so");
