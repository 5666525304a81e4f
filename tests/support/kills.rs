//! A node killed again and again while it recovers a ledger: at any moment, and just after every milestone.
//!
//! After each kill the ledger must verify, hold everything that was signed before the disaster, and everything that an
//! open service has committed; the next start goes on from what is there. Used by the example and by the journeys.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rekindle::crypto::Certificate;
use rekindle::format::directory::LedgerFiles;
use rekindle::format::names::FileName;
use rekindle::member::{Client, Session, Trust, governance};
use rekindle::recovery::verify::{Options, VerifyReport, verify};
use rekindle::report::Severity;
use rekindle::report::progress::Silent;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::node::{Keys, Node, Place};

const POLL: Duration = Duration::from_millis(2);
/// After a milestone, at most: long enough for what it sets off.
const AFTER_MILESTONE: Duration = Duration::from_millis(30);

/// What to do.
pub struct Plan {
    pub kills: u32,
    pub seed: u64,
}

/// How far a recovery had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Milestone {
    Started,
    Listening,
    Public,
    MembersServed,
    Proposed,
    Accepted,
    FirstShare,
    LastShare,
    PartOfNetwork,
    Open,
    Governed,
}

const MILESTONES: [Milestone; 11] = [
    Milestone::Started,
    Milestone::Listening,
    Milestone::Public,
    Milestone::MembersServed,
    Milestone::Proposed,
    Milestone::Accepted,
    Milestone::FirstShare,
    Milestone::LastShare,
    Milestone::PartOfNetwork,
    Milestone::Open,
    Milestone::Governed,
];

/// What was seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Kills by the milestone that had been reached.
    pub kills: std::collections::BTreeMap<String, u32>,
    /// Services that opened and were killed later.
    pub opened: usize,
    /// Kills between the first and the last file that lost its `.recovery`.
    pub half_renamed: u32,
    pub last_seqno: u64,
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn within(&mut self, time: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(time.as_micros()).unwrap()))
    }
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum Aim {
    At(Duration),
    Reached(Milestone, Duration),
}

/// What must never be lost from here on.
struct Kept {
    /// Every root that was signed, by the view and seqno of its signature.
    signed: Vec<(String, String)>,
    services: usize,
}

/// Kills `plan.kills` times in `place`, then recovers for good; panics where anything is lost.
pub fn kill_anywhere(place: &mut Place, plan: &Plan, tell: &dyn Fn(&str)) -> Tally {
    // Small chunks: many files lose their `.recovery` when a service opens.
    place.config["ledger"]["chunk_size"] = json!("1KB");
    place.config["ledger_signatures"]["delay"] = json!("10ms");
    let keys = place.keys();
    let mut kept = keep(&audit(place).0);
    let usual = measure(place, &keys);
    tell(&format!(
        "a recovery takes {:.3} s when nobody disturbs it",
        usual.as_secs_f64()
    ));
    let mut dice = Dice(plan.seed);
    let mut tally = Tally::default();
    for number in 0..plan.kills {
        let aim = match number % 2 {
            0 => Aim::At(dice.within(usual + usual / 4)),
            _ => {
                let milestone = MILESTONES[(number as usize / 2) % MILESTONES.len()];
                Aim::Reached(milestone, dice.within(AFTER_MILESTONE))
            }
        };
        let (reached, committed) = disturbed(place, &keys, aim);
        let (report, half_renamed) = audit(place);
        check(&report, &kept, committed);
        let now = keep(&report);
        tell(&format!(
            "kill {:>3} after {reached:?} ({aim:?}): {} entries, {} services{}",
            number + 1,
            report.last_seqno,
            now.services,
            if half_renamed { ", half renamed" } else { "" }
        ));
        *tally.kills.entry(format!("{reached:?}")).or_default() += 1;
        tally.opened += now.services - kept.services;
        tally.half_renamed += u32::from(half_renamed);
        kept = now;
    }
    place.recover();
    let (report, _) = audit(place);
    check(&report, &kept, None);
    assert_eq!(report.unsigned_entries, 0);
    tally.last_seqno = report.last_seqno;
    tally
}

/// How long a whole recovery takes, on a copy.
fn measure(place: &Place, keys: &[Keys]) -> Duration {
    let mut copy = place.again();
    copy.config = place.config.clone();
    let (sender, reached) = watch::channel(Milestone::Started);
    let began = Instant::now();
    let node = copy.start();
    let committed = Cell::new(None);
    node.run(async {
        tokio::select! {
            why = live(&copy, &node.url, keys, &sender, &committed) => panic!("{why}: {}", node.log()),
            () = until(Aim::Reached(Milestone::Governed, Duration::ZERO), reached) => {}
        }
    });
    began.elapsed()
}

/// One life of a node, until it is killed. Answers what it had reached, and the last seqno that it had committed as an
/// open service.
fn disturbed(place: &Place, keys: &[Keys], aim: Aim) -> (Milestone, Option<u64>) {
    let (sender, reached) = watch::channel(Milestone::Started);
    if let Aim::Reached(Milestone::Started, time) | Aim::At(time) = aim
        && time < AFTER_MILESTONE
    {
        // Before it listens: nobody waits for it.
        place.start_and_kill(time);
        return (Milestone::Started, None);
    }
    let began = Instant::now();
    let node: Node<'_> = place
        .try_start()
        .unwrap_or_else(|why| panic!("refused to start: {why}"));
    sender.send_replace(Milestone::Listening);
    let aim = match aim {
        Aim::At(time) => Aim::At(time.saturating_sub(began.elapsed())),
        aim => aim,
    };
    let committed = Cell::new(None);
    node.run(async {
        tokio::select! {
            why = live(place, &node.url, keys, &sender, &committed) => panic!("{why}: {}", node.log()),
            () = until(aim, reached.clone()) => {}
        }
    });
    node.kill();
    let milestone = *reached.borrow();
    (milestone, committed.get())
}

async fn until(aim: Aim, mut reached: watch::Receiver<Milestone>) {
    match aim {
        Aim::At(time) => tokio::time::sleep(time).await,
        Aim::Reached(milestone, time) => {
            let _ = reached.wait_for(|now| *now >= milestone).await;
            tokio::time::sleep(time).await;
        }
    }
}

/// Does what members do, and governs the open service for ever; answers only what went wrong.
async fn live(
    place: &Place,
    url: &str,
    keys: &[Keys],
    reached: &watch::Sender<Milestone>,
    committed: &Cell<Option<u64>>,
) -> String {
    match recover(place, url, keys, reached, committed).await {
        Ok(never) => match never {},
        Err(why) => why,
    }
}

enum Never {}

async fn recover(
    place: &Place,
    url: &str,
    keys: &[Keys],
    reached: &watch::Sender<Milestone>,
    committed: &Cell<Option<u64>>,
) -> Result<Never, String> {
    let words = |why: rekindle::member::Error| why.to_string();
    let anyone = Client::new(url, Trust::Anyone).map_err(words)?;
    wait_for_state(&anyone, &["PartOfPublicNetwork"]).await?;
    reached.send_replace(Milestone::Public);
    wait_until_ready(&anyone, "/node/ready/gov").await?;
    reached.send_replace(Milestone::MembersServed);
    let pem = std::fs::read_to_string(place.directory.join("service_cert.pem")).map_err(|why| why.to_string())?;
    let certificate = Certificate::from_pem(&pem).map_err(|why| why.to_string())?;
    let client = Client::new(url, Trust::Service(certificate)).map_err(words)?;
    let network = governance::network(&client).await.map_err(words)?;
    let previous = governance::previous_identity(&client).await.map_err(words)?;
    let first = Session::new(&client, &keys[0].member);
    let opening = first.propose_opening(previous.as_deref(), &network.service_certificate);
    let proposal = opening.await.map_err(words)?;
    reached.send_replace(Milestone::Proposed);
    vote(&client, keys, proposal).await?;
    reached.send_replace(Milestone::Accepted);
    for keys in keys {
        let Some(encryption) = &keys.encryption else { continue };
        let submitted = Session::new(&client, &keys.member).submit_share(encryption).await;
        reached.send_if_modified(|now| std::mem::replace(now, Milestone::FirstShare) != Milestone::FirstShare);
        let message = submitted.map_err(words)?["message"].to_string();
        if message.contains("End of recovery procedure") {
            break;
        }
    }
    reached.send_replace(Milestone::LastShare);
    wait_for_state(&client, &["PartOfNetwork"]).await?;
    reached.send_replace(Milestone::PartOfNetwork);
    wait_until_ready(&client, "/node/ready/app").await?;
    reached.send_replace(Milestone::Open);
    for number in 0.. {
        let action = match number % 3 {
            0 => json!({"name": "set_member_data", "args": {"member_id": first.member.id(), "member_data": number}}),
            1 => json!({"name": "trigger_ledger_rekey"}),
            _ => json!({"name": "trigger_ledger_chunk"}),
        };
        // Never the same twice: that would be a replay.
        let body = json!({"actions": [action], "of": [url, number]}).to_string();
        let proposal = first.propose(body.as_bytes()).await.map_err(words)?;
        vote(&client, keys, proposal).await?;
        // What it says is committed has to survive everything.
        let commit: Value = client.get("/node/commit").await.map_err(words)?.json().map_err(words)?;
        let txid = commit["transaction_id"].as_str().unwrap_or_default().to_owned();
        committed.set(txid.split_once('.').and_then(|(_, seqno)| seqno.parse().ok()));
        if number > 3 {
            reached.send_replace(Milestone::Governed);
        }
    }
    Err("the numbers have run out".to_owned())
}

async fn vote(client: &Client, keys: &[Keys], mut proposal: Value) -> Result<(), String> {
    let id = proposal["proposalId"].as_str().unwrap_or_default().to_owned();
    for keys in keys {
        if proposal["proposalState"] != "Open" {
            break;
        }
        let voted = Session::new(client, &keys.member).vote(&id, governance::ACCEPT).await;
        proposal = voted.map_err(|why| why.to_string())?;
    }
    match proposal["proposalState"] == "Accepted" {
        true => Ok(()),
        false => Err(format!("not accepted: {proposal}")),
    }
}

async fn wait_for_state(client: &Client, wanted: &[&str]) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < crate::node::PATIENCE {
        let state = governance::node_state(client).await.map_err(|why| why.to_string())?;
        if wanted.iter().any(|wanted| state["state"] == *wanted) {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    Err(format!("the node does not become {wanted:?}"))
}

async fn wait_until_ready(client: &Client, path: &str) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < crate::node::PATIENCE {
        let answer = client.get(path).await.map_err(|why| why.to_string())?;
        if answer.status.is_success() {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    Err(format!("{path} does not become ready"))
}

/// Verifies what is left; and whether the kill fell between two files that lose their `.recovery`.
fn audit(place: &Place) -> (VerifyReport, bool) {
    let directories: [PathBuf; 1] = [place.ledger()];
    let names = std::fs::read_dir(place.ledger()).unwrap();
    let (mut waiting, mut named) = (u64::MAX, 0);
    for name in names {
        if let FileName::Chunk(name) = FileName::parse(&name.unwrap().file_name().to_string_lossy()) {
            match name.kind.is_recovery() {
                true => waiting = waiting.min(name.first),
                false => named = named.max(name.first),
            }
        }
    }
    let half_renamed = waiting < named;
    let files = LedgerFiles::list(&directories, half_renamed).unwrap();
    let options = Options {
        snapshot_directories: vec![place.directory.join("snapshots")],
        keep_history: true,
        ..Options::default()
    };
    (verify(&files, &options, &Silent).unwrap(), half_renamed)
}

fn keep(report: &VerifyReport) -> Kept {
    let signed = report
        .history
        .iter()
        .map(|signed| (signed.txid.to_string(), hex::encode(signed.root.0)));
    Kept {
        signed: signed.collect(),
        services: report.services.len(),
    }
}

fn check(report: &VerifyReport, kept: &Kept, committed: Option<u64>) {
    let errors: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let now = keep(report).signed;
    assert!(!kept.signed.is_empty());
    assert!(now.starts_with(&kept.signed), "something that was signed is lost");
    if let Some(committed) = committed {
        let last = report.last_signed.map_or(0, |txid| txid.seqno);
        assert!(
            last >= committed,
            "an open service had committed {committed}, {last} is left"
        );
    }
}
