//! The end of a cluster: everything is asked for again, everybody stops, and every ledger is read.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::ledgers;
use super::life::{Done, Life};
use super::nodes::{ask, leader};
use super::process::{committed, get, log_end, state};
use super::promises::{Mood, receipt};

impl Life<'_> {
    /// Everything is asked for again, everybody stops, and every ledger is read.
    pub(super) async fn end(&mut self) -> Done {
        self.set_mood(Mood::Quiet);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut whole = None;
        if !self.over {
            self.catch_up().await?;
            let said = ask(&self.nodes).await;
            let Some(number) = leader(&said).map(|says| says.number) else {
                return Err(self.failed("nobody leads at the end").await);
            };
            self.ask_again().await?;
            whole = Some(self.directories[number].clone());
            // Who leads goes last, so that nobody stands for election meanwhile.
            self.nodes.sort_by_key(|node| node.number == number);
        }
        self.loads.iter().for_each(JoinHandle::abort);
        let mut stopped = Vec::new();
        for node in std::mem::take(&mut self.nodes) {
            match self.joined.contains(&node.number) && !self.over {
                true => {
                    stopped.push(node.directory.clone());
                    node.stop().await?;
                }
                false => drop(node),
            }
        }
        for directory in &self.directories {
            let log = std::fs::read_to_string(directory.join("node.log")).unwrap_or_default();
            if log.contains("panicked") {
                return Err(format!("{} panicked: {}", directory.display(), log_end(directory)));
            }
        }
        let promises = self.promises.lock().unwrap();
        if !promises.broken.is_empty() {
            return Err(format!("promises contradict each other: {:?}", promises.broken));
        }
        let found = ledgers::check(
            &self.directories,
            &stopped,
            whole.as_deref(),
            &promises,
            self.plan.python.as_deref(),
        )?;
        self.tally.found(found);
        self.tally.promised += promises.committed.len();
        self.tally.acts += promises.acts.len();
        self.tally.receipts += promises.acts.iter().filter(|act| act.leaf.is_some()).count();
        Ok(())
    }

    /// Everybody who takes part has committed what the leader has.
    pub(super) async fn catch_up(&mut self) -> Done {
        self.until("everybody has what is committed", async |life| {
            let said = ask(&life.nodes).await;
            let all = committed(&life.url(leader(&said)?.number)?).await?;
            for node in life.nodes.iter().filter(|node| life.joined.contains(&node.number)) {
                if committed(&node.url).await? < all {
                    return None;
                }
            }
            Some(())
        })
        .await
    }

    /// Every node still calls committed what was committed, and a receipt says of it what it said.
    pub(super) async fn ask_again(&mut self) -> Done {
        let (mut asked, mut receipts) = (Vec::new(), Vec::new());
        {
            let promises = self.promises.lock().unwrap();
            let all: Vec<(u64, u64)> = promises
                .committed
                .iter()
                .map(|(seqno, (view, _))| (*view, *seqno))
                .collect();
            asked.extend(all.iter().rev().take(5));
            asked.extend((0..15).map(|_| self.dice.one_of(&all)));
            let with = promises
                .acts
                .iter()
                .filter_map(|act| Some((act.transaction, act.leaf.clone()?)));
            receipts.extend(with.take(4));
        }
        for node in self.nodes.iter().filter(|node| self.joined.contains(&node.number)) {
            for (view, seqno) in &asked {
                let status = get(&node.url, &format!("/node/tx?transaction_id={view}.{seqno}")).await;
                if status.as_ref().is_none_or(|status| status["status"] != "Committed") {
                    return Err(node.failed(&format!("{view}.{seqno} was committed, and is {status:?}")));
                }
            }
        }
        for (transaction, leaf) in receipts {
            // Who began with a snapshot has no proof of what was before it.
            let mut with = None;
            for node in self.nodes.iter().filter(|node| self.joined.contains(&node.number)) {
                let began = state(&node.url).await.and_then(|state| state["startup_seqno"].as_u64());
                if began.is_some_and(|began| began < transaction.1) {
                    with = Some(node.url.clone());
                }
            }
            let Some(url) = with else { continue };
            let now = receipt(&url, transaction).await;
            if now.as_ref() != Some(&leaf) {
                return Err(format!("the receipt of {transaction:?} said {leaf}, and says {now:?}"));
            }
        }
        Ok(())
    }
}
