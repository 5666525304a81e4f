//! `rekindle canton verify`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::server::Server;
use super::{cluster, show};
use crate::canton::finding::Ending;
use crate::canton::http::{Address, Client, runtime};
use crate::canton::kubernetes::scale::refusal;
use crate::canton::logs::{self, Named, Settings};
use crate::canton::name::Participant;
use crate::canton::release::Splice;
use crate::canton::verification::agreement;
use crate::canton::verification::asking::{self, Asks};
use crate::canton::verification::balances::{self, Balance, Saved};
use crate::canton::verification::deployments::{self, Expected};
use crate::canton::verification::settings::Times;
use crate::canton::verification::{Line, Report, State};
use crate::canton::{Code, Finding, Timestamp};
use crate::cli::{Common, output};
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, write_whole};
use crate::report::Severity;
use crate::shown::{Show, line};

/// Verify a Super Validator after a recovery
///
/// Looks at what is named, a line for each check: deployments and their replicas (--namespace), health of the SV app,
/// sequencer, mediator and CometBFT (--url), scan (--scan-url), the first agreement on contracts with the other SVs since
/// the restart (--log, --since), and the wallet's balance (--wallet-url). With --wait it looks again until all is well.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["url", "scan_url", "namespace", "log", "wallet_url"]))]
pub struct Args {
    /// The SV app, such as https://sv.sv.YOUR_HOSTNAME
    #[arg(long, value_name = "URL")]
    url: Option<Address>,
    /// Scan, such as https://scan.sv.YOUR_HOSTNAME; it is shown no token
    #[arg(long, value_name = "URL")]
    scan_url: Option<Address>,
    /// The release of Splice that should run
    #[arg(long, value_name = "V")]
    splice: Option<Splice>,
    /// The namespace of the SV's installation
    #[arg(long, short, value_name = "NS", value_parser = cluster::namespace)]
    namespace: Option<String>,
    /// The synchronizer's serial (its migration before Splice 0.6.2), where several are installed
    #[arg(long, value_name = "N", requires = "namespace")]
    serial: Option<u64>,
    /// Only these deployments: cometbft, mediator, sequencer, participant, scan-app, sv-app, validator-app
    #[arg(long, value_name = "ROLE", value_delimiter = ',', requires = "namespace", value_parser = crate::canton::kubernetes::installation::ROLES)]
    only: Vec<String>,
    /// The deployments shall stand still, without any pod
    #[arg(long, requires = "namespace")]
    down: bool,
    /// The old sequencer shall be set to sequence nothing from this time on (runbook roll-forward-lsu)
    #[arg(long, value_name = "T", requires = "namespace")]
    lsu_max_sequencing_time: Option<Timestamp>,
    /// The successor's sequencer shall be set to this lower bound
    #[arg(long, value_name = "T", requires = "namespace")]
    lsu_lower_bound: Option<Timestamp>,
    /// The successor's sequencer shall be set to this upgrade time
    #[arg(long, value_name = "T", requires = "namespace")]
    lsu_upgrade_time: Option<Timestamp>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod that this runs in]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The participant's logs since the restart
    #[arg(long, value_name = "NAME=PATH", requires = "since")]
    log: Vec<Named>,
    /// When it was restarted: only agreement on later ticks counts
    #[arg(long, value_name = "T", requires = "log")]
    since: Option<Timestamp>,
    /// An SV's participant, PAR::name::1220…; once for each [default: those that scan names, else all in the logs]
    #[arg(long, value_name = "PARTICIPANT", requires = "log")]
    sv: Vec<Participant>,
    /// The wallet of the SV's or the validator's user, such as https://wallet.validator.YOUR_HOSTNAME
    #[arg(long, value_name = "URL")]
    wallet_url: Option<Address>,
    /// The file with the token of the wallet's user
    #[arg(long, value_name = "FILE", requires = "wallet_url")]
    wallet_token_file: Option<PathBuf>,
    /// The balance must not be lower than the one saved here
    #[arg(long, value_name = "FILE", requires = "wallet_url")]
    balances_before: Option<PathBuf>,
    /// Save the balance here
    #[arg(long, value_name = "FILE", requires = "wallet_url")]
    save_balances: Option<PathBuf>,
    /// Look again until all is well, for so long: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    wait: Duration,
    #[command(flatten)]
    server: Server,
}

const EXAMPLES: &str = "\
Examples:
  After a restore:
    rekindle canton verify -n sv --url https://sv.sv.example.com --token-file token --wait 30m
  Agreement since the restart, in fresh logs:
    rekindle canton verify --scan-url https://scan.sv.example.com --log me=participant.log --since 2026-11-20T10:00:00Z
  Before anything fails, and after a recovery with a validator:
    rekindle canton verify --wallet-url https://wallet.sv.example.com --wallet-token-file token --save-balances before.json
    rekindle canton verify --wallet-url https://wallet.validator.example.com --wallet-token-file token --balances-before before.json";

/// Between two looks.
/// How often answers that don't become right by waiting must be the same until they are believed.
const SETTLED: u32 = 3;
const PAUSE: Duration = Duration::from_secs(5);
/// A saved balance is some hundred bytes.
const MOST_SAVED_BYTES: u64 = 64 << 10;

/// A time such as `90s`, `10m`, `2h`; at most a week.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || "expected a time such as 90s, 10m or 2h, of at most a week".to_owned();
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        _ => return Err(wrong()),
    };
    let number = text
        .get(..text.len() - 1)
        .filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
    let seconds = number.and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(unit));
    match seconds {
        Some(seconds) if seconds <= 7 * 86_400 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

/// All that is looked at, opened once: a wrong argument is said before anything is waited for.
struct Looking<'a> {
    args: &'a Args,
    threads: usize,
    runtime: tokio::runtime::Runtime,
    sv: Option<Client>,
    scan: Option<Client>,
    wallet: Option<Client>,
    before: Option<Saved>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    if let (Some(save), Some(before)) = (&args.save_balances, &args.balances_before)
        && save == before
    {
        return Err(Error::Usage(
            "--save-balances would overwrite --balances-before".to_owned(),
        ));
    }
    let mut looking = match open(args, common)? {
        Ok(looking) => looking,
        Err(finding) => return finish(args, &Report::default(), &[finding], None, common),
    };
    let deadline = Instant::now() + args.wait;
    let mut told = Vec::new();
    let mut times_settled = 0;
    let (report, balance) = loop {
        let (report, balance) = looking.look()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if report.is_good() || left.is_zero() {
            break (report, balance);
        }
        let waiting: Vec<String> = report.wrong().map(words).collect();
        // A proxy may answer in the place of what starts; an answer that stays is its own.
        times_settled = match report.is_settled() && (times_settled == 0 || waiting == told) {
            true => times_settled + 1,
            false => u32::from(report.is_settled()),
        };
        if times_settled == SETTLED {
            output::notice("not waiting any longer: what is wrong does not become right by waiting\n");
            break (report, balance);
        }
        if waiting != told {
            output::notice(&format!("not yet:\n{}", waiting.concat()));
            told = waiting;
        }
        std::thread::sleep(PAUSE.min(left));
    };
    if let (Some(path), Some(saved)) = (&args.save_balances, &balance) {
        save(path, saved)?;
    }
    finish(args, &report, &report.findings(), balance.as_ref(), common)
}

fn open<'a>(args: &'a Args, common: &Common) -> Result<std::result::Result<Looking<'a>, Finding>> {
    let before = match args.balances_before.as_deref().map(read_saved).transpose()? {
        None => None,
        Some(Ok(saved)) => Some(saved),
        Some(Err(finding)) => return Ok(Err(finding)),
    };
    let client = |address: &Option<Address>, token: Option<&Path>| {
        let address = address.clone();
        address.map(|address| args.server.other(address, token)).transpose()
    };
    // The SV app's operators' questions need a token; without one the others are answered all the same.
    let sv = args
        .url
        .clone()
        .map(|address| args.server.client(address, false))
        .transpose()?;
    Ok(Ok(Looking {
        args,
        threads: common.jobs.map_or(0, usize::from),
        runtime: runtime()?,
        sv,
        scan: client(&args.scan_url, None)?,
        wallet: client(&args.wallet_url, args.wallet_token_file.as_deref())?,
        before,
    }))
}

impl Looking<'_> {
    fn look(&mut self) -> Result<(Report, Option<Saved>)> {
        let mut report = Report::default();
        if let Some(namespace) = &self.args.namespace {
            report.checks.extend(self.cluster(namespace));
        }
        if let Some(client) = &self.sv {
            let mut server = asking::Server::new(client, &self.runtime);
            report.checks.extend(asking::sv(&mut server, self.args.splice));
        }
        let mut svs = self.args.sv.clone();
        if let Some(client) = &self.scan {
            let mut server = asking::Server::new(client, &self.runtime);
            let (lines, participants) = asking::scan(&mut server);
            report.checks.extend(lines);
            if svs.is_empty() {
                svs = participants;
            }
        }
        self.logs(&svs, &mut report)?;
        let balance = self.wallet(&mut report);
        Ok((report, balance))
    }

    fn cluster(&self, namespace: &str) -> Vec<Line> {
        let expected = Expected {
            serial: self.args.serial,
            only: self.args.only.clone(),
            is_down: self.args.down,
            times: Times {
                end: self.args.lsu_max_sequencing_time,
                lower: self.args.lsu_lower_bound,
                upgrade: self.args.lsu_upgrade_time,
            },
        };
        let configured = crate::canton::kubernetes::live::Live::configured(
            self.args.kubeconfig.as_deref(),
            self.args.context.as_deref(),
        );
        let looked = configured.and_then(|live| deployments::look(&live, namespace, &expected));
        looked.unwrap_or_else(|why| {
            let state = if why.is_passing() { State::NotYet } else { State::Bad };
            let finding = refusal(&why).of(namespace);
            let line = Line::wrong("replicas", namespace, state, finding.code, &finding.message);
            vec![Line {
                finding: Some(finding),
                ..line
            }]
        })
    }

    fn logs(&self, svs: &[Participant], report: &mut Report) -> Result<()> {
        let Some(since) = self.args.since else { return Ok(()) };
        let mut by_name: BTreeMap<String, (Option<Participant>, Vec<PathBuf>)> = BTreeMap::new();
        for named in &self.args.log {
            let name = named.name.clone().unwrap_or_else(|| "the logs".to_owned());
            let (participant, paths) = by_name.entry(name).or_default();
            *participant = participant.take().or(named.participant.clone());
            paths.push(named.path.clone());
        }
        for (name, (participant, paths)) in by_name {
            let settings = Settings {
                participant,
                canton: self.args.splice.and_then(Splice::canton),
                after: Some(since),
                threads: self.threads,
                ..Settings::default()
            };
            let scanned = logs::scan(&paths, &settings, &|_| {})?;
            let expected = agreement::Expected {
                since,
                svs: svs.to_vec(),
            };
            let lines = agreement::judge(&name, &scanned.evidence, &expected);
            let is_good = lines.iter().all(|line| line.state == State::Good);
            report.checks.extend(lines);
            if !is_good {
                let why = scanned.findings.finish().into_iter();
                let why = why.filter(|finding| finding.severity > Severity::Info);
                report
                    .checks
                    .extend(why.map(|finding| Line::because("agreement", &name, finding)));
            }
        }
        Ok(())
    }

    fn wallet(&self, report: &mut Report) -> Option<Saved> {
        let client = self.wallet.as_ref()?;
        let mut server = asking::Server::new(client, &self.runtime);
        let at = server.address();
        let answer = server.ask(balances::PATH);
        match balances::heard(&at, answer.as_ref().map_err(String::as_str)) {
            Err(line) => {
                report.checks.push(*line);
                None
            }
            Ok(balance) => {
                report
                    .checks
                    .push(balances::compare(&at, &balance, self.before.as_ref()));
                Some(saved(at, balance))
            }
        }
    }
}

fn saved(wallet: String, balance: Balance) -> Saved {
    Saved {
        wallet,
        at: Timestamp::now(),
        balance,
    }
}

fn read_saved(path: &Path) -> Result<std::result::Result<Saved, Finding>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    file.take(MOST_SAVED_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    let none = || Finding::new(Code::NoSavedBalance, "there is no saved balance in it").file(path);
    Ok(balances::read_saved(&bytes).ok_or_else(none))
}

/// An earlier balance is what a later one is compared with: it is not replaced. Where it says the same of the same wallet,
/// it is this one, saved before an interruption.
fn save(path: &Path, saved: &Saved) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        let is_file = path.symlink_metadata().is_ok_and(|there| there.is_file());
        if is_file && read_saved(path)?.is_ok_and(|earlier| earlier.says_the_same(saved)) {
            return Ok(());
        }
        return Err(Error::Usage(format!(
            "{} is there already, and is not this balance of this wallet; give --save-balances another name",
            path.shown()
        )));
    }
    let mut text = serde_json::to_vec_pretty(saved).map_err(|why| Error::Unreadable(format!("the balance: {why}")))?;
    text.push(b'\n');
    write_whole(path, &text, PRIVATE)
}

fn words(checked: &Line) -> String {
    let mark = match checked.state {
        State::Good => "ok     ",
        State::NotYet => "not yet",
        State::Bad => "wrong  ",
    };
    format!(
        "{mark}  {:<10}  {}\n",
        checked.check,
        line(&format!("{}: {}", checked.of, checked.says))
    )
}

/// What was not looked at because an option was not given: a verification says how far it goes. Of deployments that shall
/// stand still nothing else can be asked, and who names some does not mean all.
fn not_made(args: &Args) -> Vec<NotMade> {
    let all = [
        (args.namespace.is_some(), "replicas", "--namespace"),
        (args.url.is_some(), "the SV app, sequencer, mediator, CometBFT", "--url"),
        (
            args.url.is_none() || args.splice.is_some(),
            "the release that runs",
            "--splice",
        ),
        (args.scan_url.is_some(), "scan", "--scan-url"),
        (
            !args.log.is_empty(),
            "agreement with the other SVs since the restart",
            "--log, --since",
        ),
        (
            args.log.is_empty() || args.scan_url.is_some() || !args.sv.is_empty(),
            "who of those in the logs is an SV",
            "--scan-url or --sv",
        ),
        (args.wallet_url.is_some(), "the wallet's balance", "--wallet-url"),
        (
            args.wallet_url.is_none() || args.balances_before.is_some(),
            "whether the balance is as before",
            "--balances-before",
        ),
    ];
    let open = |(is_made, check, option): (bool, _, _)| {
        (!is_made && !args.down && args.only.is_empty()).then_some(NotMade { check, option })
    };
    all.into_iter().filter_map(open).collect()
}

#[derive(Serialize)]
struct NotMade {
    check: &'static str,
    option: &'static str,
}

fn finish(args: &Args, report: &Report, findings: &[Finding], balance: Option<&Saved>, common: &Common) -> Result<u8> {
    let not_made = not_made(args);
    let ending = match report.checks.is_empty() {
        true => Ending::Unreadable,
        false => report.ending(),
    };
    if common.json {
        output::json(&json!({
            "verdict": report.state().unwrap_or(State::Bad),
            "checks": report.checks,
            "not_made": not_made,
            "balance": balance,
            "findings": findings,
        }))?;
    } else {
        let checks: String = report.checks.iter().map(words).collect();
        let left = |one: &NotMade| format!("not made  {} ({})\n", one.check, one.option);
        let left: String = not_made.iter().map(left).collect();
        output::text(&format!("{checks}{left}{}", show::findings(findings)))?;
    }
    Ok(ending.exit_code())
}
