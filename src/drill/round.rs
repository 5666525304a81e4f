//! One recovery of the rehearsal, from the start of the node to the verified result.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::Plan;
use super::node::NodeProcess;
use super::scratch::copy_directory;
use super::sealing::{OpenedBy, RoundFiles};
use crate::crypto::Certificate;
use crate::crypto::rsa::DecryptionKey;
use crate::error::{Error, Result};
use crate::format::TxId;
use crate::format::directory::LedgerFiles;
use crate::member::{Client, Member, Session, Trust, governance};
use crate::recovery::snapshots::{self, SnapshotFile, start_from};
use crate::recovery::verify::{Options, verify};
use crate::report::progress::Silent;
use crate::shown::Show;

/// What a ballot in favour says.
const BALLOT: &str = "export function vote (proposal, proposerId) { return true }";
/// How soon the node is asked how far it is for the first time. Later it is asked ever less often ([`pause`]): each
/// question is a TLS handshake, which a recovery on few cores would feel, and times come from the node itself.
const POLL: Duration = Duration::from_millis(25);
/// Without any progress for so long, the rehearsal has failed.
const PATIENCE: Duration = Duration::from_secs(600);
/// Below this many megabytes a rate would say how fast a node starts, not how fast it reads.
const SMALL_MB: f64 = 32.0;

/// Where a recovery's files come from.
pub(super) struct Source {
    pub(super) ledger: Vec<PathBuf>,
    pub(super) snapshots: Option<PathBuf>,
}

/// One line of the time line.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Seconds since the node was started.
    pub at_s: f64,
    /// What happened.
    pub what: String,
    /// Seconds it took, where that is the machine's time.
    pub took_s: Option<f64>,
}

/// One recovery.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Which one.
    pub number: u32,
    /// Entries of the ledger that was recovered, up to its last signature.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// What happened.
    pub steps: Vec<Step>,
    /// From the start of the node to a public network.
    pub public_s: f64,
    /// From the last share to an open service; none without members.
    pub private_s: Option<f64>,
    /// Whether the service was opened.
    pub opened: bool,
    /// What opened it, "sealing" or "shares"; none where only shares could have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<&'static str>,
    /// Whether that is what was to be expected of the sealed files.
    pub as_expected: bool,
    /// Whether the ledger that came out verifies.
    pub verified: bool,
    /// Most memory that the node had, bytes.
    pub peak_memory: u64,
}

struct Clock<'a> {
    began: Instant,
    steps: Vec<Step>,
    tell: &'a dyn Fn(&str),
}

impl Clock<'_> {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn step(&mut self, what: String, took_s: Option<f64>) {
        let at_s = self.now();
        let took = took_s.map_or(String::new(), |took| format!(" ({took:.3} s)"));
        (self.tell)(&format!("{at_s:9.3} s  {what}{took}"));
        self.steps.push(Step { at_s, what, took_s });
    }
}

/// A member with keys.
struct Keys {
    name: String,
    member: Member,
    encryption: Option<DecryptionKey>,
}

/// Recovers what `source` holds in `directory`.
pub(super) async fn recover(
    plan: &Plan,
    source: &Source,
    directory: &Path,
    number: u32,
    sealing: Option<&RoundFiles>,
    tell: &dyn Fn(&str),
) -> Result<Round> {
    let members = match &plan.members {
        Some(members) => read_members(members)?,
        None => Vec::new(),
    };
    let (bytes, read_only) = copy(source, directory)?;
    let mut clock = Clock {
        began: Instant::now(),
        steps: Vec::new(),
        tell,
    };
    let mut node = NodeProcess::start(directory, &read_only, plan.jobs, sealing)?;
    clock.step("node started, its interface is served".to_owned(), None);
    let anyone = client(&node, Trust::Anyone)?;
    let state = wait_for(&anyone, &mut node, "PartOfPublicNetwork").await?;
    let public_s = entered(&state, "PartOfPublicNetwork").unwrap_or_else(|| clock.now());
    let network = governance::node_network(&anyone).await;
    let network = network.map_err(|why| node.failed(&why.to_string()))?;
    let entries = recovered_entries(&network).ok_or_else(|| node.failed("/node/network names no service"))?;
    let megabytes = bytes as f64 / 1e6;
    // What a small ledger takes is the start of the node.
    let how = match state.get("startup_seqno").and_then(Value::as_u64) {
        Some(seqno) if seqno > 0 => format!("from the snapshot at {seqno}"),
        _ if megabytes < SMALL_MB => format!("{megabytes:.1} MB verified"),
        _ => format!("{megabytes:.1} MB verified at {:.0} MB/s", megabytes / public_s),
    };
    clock.step(format!("PartOfPublicNetwork: {entries} entries, {how}"), Some(public_s));
    let mut round = Round {
        number,
        entries,
        bytes,
        steps: Vec::new(),
        public_s,
        private_s: None,
        opened: false,
        opened_by: None,
        as_expected: true,
        verified: false,
        peak_memory: 0,
    };
    if members.is_empty() {
        clock.step("no members' keys: the private part is not rehearsed".to_owned(), None);
    } else {
        // From here on as a member would: a node is trusted because the new service has endorsed it.
        let service = directory.join("service_cert.pem");
        let pem = std::fs::read_to_string(&service).map_err(Error::io("read", &service))?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|why| Error::Unreadable(format!("{} is no certificate: {why}", service.shown())))?;
        let trusted = client(&node, Trust::Service(certificate))?;
        accept(&trusted, &mut node, &members, &mut clock).await?;
        let mut by = OpenedBy::Shares;
        if let Some(sealing) = sealing.filter(|sealing| sealing.unseal_from.is_some()) {
            by = unsealed(&trusted, &node, &mut clock).await?;
            round.as_expected = by == sealing.expected;
        }
        round.opened_by = sealing.map(|_| by.as_str());
        let has_shares = members.iter().any(|keys| keys.encryption.is_some());
        if by == OpenedBy::Shares && sealing.is_some() && !has_shares {
            clock.step(
                "no member's encryption key was given: the rest is not rehearsed".to_owned(),
                None,
            );
        } else {
            if by == OpenedBy::Shares {
                submit(&trusted, &members, &node, &mut clock).await?;
            }
            round.private_s = Some(await_open(&trusted, &mut node, &mut clock).await?);
            round.opened = true;
        }
    }
    round.peak_memory = node.peak_memory();
    node.stop()?;
    clock.step("node stopped".to_owned(), None);
    round.verified = check(directory, round.opened, &mut clock)?;
    round.steps = clock.steps;
    Ok(round)
}

/// Copies the main directory; read-only ones are used where they are, because nothing writes to them.
fn copy(source: &Source, directory: &Path) -> Result<(u64, Vec<String>)> {
    let mut directories = source.ledger.iter();
    let main = directories.next().map(PathBuf::as_path).unwrap_or(Path::new("."));
    let mut bytes = copy_directory(main, &directory.join("ledger"))?;
    let mut read_only = Vec::new();
    for other in directories {
        let path = other.canonicalize().map_err(Error::io("find", other))?;
        for item in std::fs::read_dir(&path)
            .map_err(Error::io("list directory", &path))?
            .flatten()
        {
            bytes += item.metadata().map_or(0, |metadata| metadata.len());
        }
        read_only.push(path.shown().to_string());
    }
    if let Some(snapshots) = &source.snapshots {
        copy_directory(snapshots, &directory.join("snapshots"))?;
    }
    Ok((bytes, read_only))
}

/// Reads `NAME_cert.pem`, `NAME_privk.pem` and, where it is there, `NAME_enc_privk.pem` of everybody in a directory who
/// signs proposals: users' and nodes' files are not of that kind.
fn read_members(directory: &Path) -> Result<Vec<Keys>> {
    let mut found = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map_err(Error::io("list directory", directory))?
        .flatten()
        .filter_map(|item| item.file_name().to_str()?.strip_suffix("_cert.pem").map(str::to_owned))
        .filter(|name| name.starts_with("member"))
        .collect();
    names.sort();
    for name in names {
        let read = |suffix: &str| {
            let path = directory.join(format!("{name}_{suffix}.pem"));
            std::fs::read_to_string(&path)
                .map(zeroize::Zeroizing::new)
                .map_err(Error::io("read", &path))
        };
        let member = Member::from_pem(&read("cert")?, &read("privk")?)
            .map_err(|why| Error::Usage(format!("{name} in {}: {why}", directory.shown())))?;
        let encryption = match read("enc_privk") {
            Ok(pem) => Some(
                DecryptionKey::from_pem(&pem)
                    .map_err(|why| Error::Usage(format!("{name}_enc_privk.pem in {}: {why}", directory.shown())))?,
            ),
            Err(_) => None,
        };
        found.push(Keys {
            name,
            member,
            encryption,
        });
    }
    if found.is_empty() {
        return Err(Error::Usage(format!(
            "no members in {}: expected memberN_cert.pem, memberN_privk.pem and memberN_enc_privk.pem",
            directory.shown()
        )));
    }
    Ok(found)
}

fn client(node: &NodeProcess, trust: Trust) -> Result<Client> {
    Client::new(&node.url, trust).map_err(|why| Error::Unreadable(why.to_string()))
}

/// How long to wait for the next question, of something that was begun at `began`.
async fn pause(began: Instant) {
    let longest = Duration::from_millis(500);
    tokio::time::sleep((began.elapsed() / 4).clamp(POLL, longest)).await;
}

async fn wait_for(client: &Client, node: &mut NodeProcess, wanted: &str) -> Result<Value> {
    let began = Instant::now();
    loop {
        node.check()?;
        if let Ok(state) = governance::node_state(client).await
            && state.get("state").and_then(Value::as_str) == Some(wanted)
        {
            return Ok(state);
        }
        if began.elapsed() > PATIENCE {
            return Err(node.failed(&format!("the node does not become {wanted}")));
        }
        pause(began).await;
    }
}

/// When the node says it entered a state, in seconds since its start.
fn entered(state: &Value, name: &str) -> Option<f64> {
    state.get("recovery")?.get("entered_s")?.get(name)?.as_f64()
}

/// Entries of the ledger that a new service was built on: it was created by the one after them.
fn recovered_entries(network: &Value) -> Option<u64> {
    let created = network
        .get("current_service_create_txid")?
        .as_str()?
        .parse::<TxId>()
        .ok()?;
    created.seqno.checked_sub(1)
}

async fn wait_until_open(client: &Client, node: &mut NodeProcess) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        node.check()?;
        if client
            .get("/node/ready/app")
            .await
            .is_ok_and(|answer| answer.status.is_success())
        {
            return Ok(());
        }
        pause(began).await;
    }
    Err(node.failed("the service does not open"))
}

/// Proposes to open the service, and votes until that is accepted.
async fn accept(client: &Client, node: &mut NodeProcess, members: &[Keys], clock: &mut Clock<'_>) -> Result<()> {
    let began = Instant::now();
    while !client
        .get("/node/ready/gov")
        .await
        .is_ok_and(|answer| answer.status.is_success())
    {
        node.check()?;
        if began.elapsed() > PATIENCE {
            return Err(node.failed("members are not served"));
        }
        pause(began).await;
    }
    let refused = |node: &NodeProcess, who: &str, why: crate::member::Error| node.failed(&format!("{who}: {why}"));
    let network = governance::network(client)
        .await
        .map_err(|why| refused(node, "the service", why))?;
    let previous = governance::previous_identity(client).await;
    let previous = previous.map_err(|why| refused(node, "the previous identity", why))?;
    let active = active_members(client)
        .await
        .map_err(|why| refused(node, "the members", why))?;
    let mut voters = members
        .iter()
        .filter(|keys| active.contains(&keys.member.id().to_owned()));
    let Some(first) = voters.clone().next() else {
        return Err(Error::Usage(
            "none of the members whose keys were given is an active member of this service".to_owned(),
        ));
    };
    let session = Session::new(client, &first.member);
    let mut proposal = session
        .propose_opening(previous.as_deref(), &network.service_certificate)
        .await
        .map_err(|why| refused(node, &first.name, why))?;
    clock.step(format!("{} proposed to open the service", first.name), None);
    loop {
        let text = |name: &str| proposal.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        if text("proposalState") == "Accepted" {
            clock.step("the proposal is accepted".to_owned(), None);
            return Ok(());
        }
        let Some(keys) = voters.next() else {
            return Err(Error::Usage(format!(
                "the proposal is {} after every member whose keys were given has voted: more members are needed",
                text("proposalState")
            )));
        };
        let id = text("proposalId");
        proposal = Session::new(client, &keys.member)
            .vote(&id, BALLOT)
            .await
            .map_err(|why| refused(node, &keys.name, why))?;
        clock.step(format!("{} voted for it", keys.name), None);
    }
}

async fn active_members(client: &Client) -> std::result::Result<Vec<String>, crate::member::Error> {
    let members = governance::members(client).await?;
    let active = members
        .iter()
        .filter(|member| member.get("status").and_then(Value::as_str) == Some("Active"));
    Ok(active
        .filter_map(|member| member.get("memberId")?.as_str().map(str::to_owned))
        .collect())
}

/// Waits for the private ledger and the open service; answers the seconds that the private ledger took.
async fn await_open(client: &Client, node: &mut NodeProcess, clock: &mut Clock<'_>) -> Result<f64> {
    let state = wait_for(client, node, "PartOfNetwork").await?;
    wait_until_open(client, node).await?;
    let span = entered(&state, "ReadingPrivateLedger").zip(entered(&state, "PartOfNetwork"));
    let private_s = span.map_or(0.0, |(from, to)| to - from);
    clock.step(
        "PartOfNetwork: the private ledger is back, the service is open".to_owned(),
        Some(private_s),
    );
    Ok(private_s)
}

/// What became of unsealing, now that the service is to be opened.
async fn unsealed(client: &Client, node: &NodeProcess, clock: &mut Clock<'_>) -> Result<OpenedBy> {
    let state = governance::node_state(client).await;
    let state = state.map_err(|why| node.failed(&why.to_string()))?;
    let unsealing = state.pointer("/recovery/sealing/unsealing");
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    let used = unsealing.and_then(|unsealing| unsealing.get("used")?.as_str());
    if let Some(file) = used {
        clock.step(format!("{file} opens the ledger: no shares are needed"), None);
        return Ok(OpenedBy::Sealing);
    }
    let refused = unsealing.and_then(|unsealing| unsealing.get("refused")?.as_array());
    for refused in refused.into_iter().flatten() {
        let (file, why) = (text(refused.get("file")), text(refused.get("why")));
        clock.step(format!("not used: {file}: {why}"), None);
    }
    clock.step(
        "no sealed file opens the ledger: shares are waited for".to_owned(),
        None,
    );
    Ok(OpenedBy::Shares)
}

/// Submits shares until there are enough.
async fn submit(client: &Client, members: &[Keys], node: &NodeProcess, clock: &mut Clock<'_>) -> Result<()> {
    let mut why_not = Vec::new();
    for keys in members {
        let Some(encryption) = &keys.encryption else {
            continue;
        };
        let answer = match Session::new(client, &keys.member).submit_share(encryption).await {
            Ok(answer) => answer,
            Err(why) => {
                why_not.push(format!("{}: {why}", keys.name));
                continue;
            }
        };
        let message = answer.get("message").and_then(Value::as_str).unwrap_or("").to_owned();
        let first_line = message.lines().next().unwrap_or("").to_owned();
        clock.step(format!("{}: {first_line}", keys.name), None);
        if message.contains("End of recovery procedure initiated") {
            return Ok(());
        }
    }
    Err(node.failed(&format!(
        "the shares of the members whose keys were given are not enough to open the ledger ({})",
        why_not.join("; ")
    )))
}

/// Verifies the ledger that came out.
fn check(directory: &Path, opened: bool, clock: &mut Clock<'_>) -> Result<bool> {
    let began = Instant::now();
    let files = LedgerFiles::list(&[directory.join("ledger")], !opened)?;
    let directories = vec![directory.join("snapshots")];
    // A ledger whose beginning is gone is proven from the snapshot that stands in for it.
    let first = files.first_seqno();
    let stands_in = |file: &SnapshotFile| file.name.committed && file.name.seqno + 1 >= first;
    let from_snapshot = match first {
        1 => None,
        _ => snapshots::list(&directories)?.into_iter().find(stands_in),
    };
    let options = Options {
        from_snapshot: from_snapshot.map(|file| start_from(&file.path)).transpose()?,
        snapshot_directories: directories,
        ..Options::default()
    };
    let report = verify(&files, &options, &Silent)?;
    let verified = report.verdict.exit_code() == 0;
    let words = match verified {
        true => "the resulting ledger verifies",
        false => "the resulting ledger DOES NOT VERIFY",
    };
    let last = report.last_signed.map_or("nothing".to_owned(), |txid| txid.to_string());
    clock.step(
        format!("{words}: {} entries, signed up to {last}", report.entries),
        Some(began.elapsed().as_secs_f64()),
    );
    Ok(verified)
}
