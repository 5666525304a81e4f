//! The task that owns the decision: messages and time in, what was decided carried out, one step after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use super::plan::Plan;
use super::record::Step;
use super::sending::Sender;
use crate::attestation::Evidence;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::heal::{
    Claim, Earlier, Effect, Event, Generation, Healing, Info, Message, Record, Refusal, Settings, Start,
};
use crate::http::{ApiError, ApiResult};
use crate::node::api::not_written;
use crate::node::healing_calls::Call;
use crate::node::shared::Node;
use crate::node::writer::NotWritten;
use crate::service::service_info;
use crate::shown::line;
use crate::tables::values::ServiceStatus;

/// After a step that could not be written, until the next: the disk may be full, or too many may wait.
const PAUSE: Duration = Duration::from_millis(250);

/// What a node begins with once its recovery transaction is written.
pub struct Begun {
    /// That transaction.
    pub created: Seqno,
    /// Certificate of the service that it begins, PEM.
    pub service: String,
    /// What it says that its ledger has.
    pub claim: Claim,
    /// What it had decided before it was started again.
    pub earlier: Option<Earlier>,
    /// Hex digest of the certificate of the service that is recovered.
    pub previous_service: Option<String>,
    /// What was signed was dropped, because the operator said so.
    pub is_cut_short: bool,
    /// Trusted nodes in the recovered ledger.
    pub nodes_in_ledger: usize,
}

/// A node that lost: another one's service is to be joined.
#[derive(Clone, Debug)]
pub struct Lost {
    /// What the winner says of itself.
    pub winner: Info,
    /// Where the configuration says that it is reached, `host:port`.
    pub address: String,
    /// What this node's own ledger had.
    pub claim: Claim,
    /// Certificate of the service that it had begun, PEM.
    pub service: String,
}

/// What it takes to heal with others, before there is anything to say.
pub struct Healer {
    /// What is configured.
    pub plan: Plan,
    /// Where the task runs.
    pub runtime: Handle,
    /// Is told that this node has lost.
    pub lost: mpsc::UnboundedSender<Lost>,
}

impl Healer {
    /// Begins. The node has its writer.
    ///
    /// # Errors
    /// If the node has no evidence, or its certificate can't be presented.
    pub fn begin(self, node: &Arc<Node>, begun: Begun) -> Result<()> {
        let Healer { plan, runtime, lost } = self;
        let fault = |why: &str| Error::Unreadable(format!("self-healing open can't begin: {why}"));
        let evidence = node.evidence.get().ok_or_else(|| fault("there is no evidence"))?;
        let evidence = Evidence::from_quote_info(evidence.info().to_string().as_bytes()).map_err(|why| fault(&why))?;
        let calls = node.healing.open().ok_or_else(|| fault("it has begun before"))?;
        let settings = plan.settings;
        let own = Info {
            id: plan.own_id,
            address: plan.own_address,
            service: begun.service.clone(),
            evidence,
        };
        let sender = Sender::new(settings.generation, &node.certificates, Arc::clone(&node.status));
        let own_key = node.certificates.self_signed().key().spki_der().to_vec();
        let start = Start {
            own: own.clone(),
            key: own_key.clone(),
            claim: begun.claim,
            earlier: begun.earlier,
            previous_service: begun.previous_service,
            recovery: Duration::from_secs_f64(node.status.recovery().elapsed_s),
            is_cut_short: begun.is_cut_short,
            nodes_in_ledger: Some(begun.nodes_in_ledger),
        };
        // Messages of this generation without views are compared without them.
        let claim = match settings.generation.says_views() {
            true => begun.claim,
            false => Claim {
                view: None,
                ..begun.claim
            },
        };
        let beginning = Waiting {
            node: Arc::clone(node),
            sender: sender.map_err(|why| fault(&why))?,
            own_key,
            calls,
            lost,
            claim,
            own,
            quorum: settings.peers.len() / 2 + 1,
            configured: settings.peers.len(),
            created: begun.created,
        };
        runtime.spawn(beginning.run(settings, start));
        Ok(())
    }
}

/// Everything of the task but the decision, which begins when the recovery transaction is committed.
struct Waiting {
    node: Arc<Node>,
    sender: Sender,
    own: Info,
    own_key: Vec<u8>,
    calls: mpsc::Receiver<Call>,
    lost: mpsc::UnboundedSender<Lost>,
    claim: Claim,
    quorum: usize,
    configured: usize,
    created: Seqno,
}

impl Waiting {
    async fn run(self, settings: Settings, start: Start) {
        self.node.status.until_committed(self.created).await;
        let began = Instant::now();
        self.node.status.healing.update(|board| {
            let state = &mut board.state;
            state.claim = self.claim.to_string();
            state.configured = self.configured;
            state.id.clone_from(&self.own.id);
            state.protocol = settings.generation.title().to_owned();
            state.quorum = self.quorum;
        });
        let (healing, effects) = Healing::start(&settings, start, Duration::ZERO);
        let mut task = Task {
            with: self,
            generation: settings.generation,
            healing: healing.clone(),
            began,
            own_words: VecDeque::new(),
            loses: None,
        };
        tracing::info!(
            id = %line(&task.with.own.id),
            claim = %task.with.claim,
            nodes = task.with.configured,
            failover_ms = settings.failover.as_millis() as u64,
            "{} begins",
            settings.generation.title()
        );
        while let Err(why) = task.carry_out(healing.clone(), effects.clone()).await {
            tracing::error!(
                "self-healing open can't begin, which is tried again: {}",
                line(&why.message)
            );
            sleep(PAUSE).await;
        }
        task.drive().await;
    }
}

struct Task {
    with: Waiting,
    generation: Generation,
    healing: Healing,
    began: Instant,
    /// What this node says to itself.
    own_words: VecDeque<Message>,
    /// Set once this node has lost.
    loses: Option<Lost>,
}

enum Next {
    Own(Message),
    Call(Call),
    Time,
    Nothing,
}

impl Task {
    /// Until the node has lost, or ends.
    async fn drive(&mut self) {
        loop {
            if let Some(lost) = self.loses.take() {
                // Nobody waits any more for an answer that does not come.
                self.with.calls.close();
                let _ = self.with.lost.send(lost);
                return;
            }
            let next = self.next().await;
            if !self.healing.stage().opens() && self.is_opened_by_members() {
                return self.give_way(next).await;
            }
            match next {
                Next::Own(message) => {
                    let key = self.with.own_key.clone();
                    let message = Box::new(message);
                    if let Err(why) = self.step(Event::Heard { key, message }).await {
                        tracing::debug!("a message to this node itself: {}", line(&why.message));
                    }
                }
                Next::Call(Call::Heard { key, message, answer }) => {
                    let answered = self.step(Event::Heard { key, message }).await;
                    let _ = answer.send(answered);
                }
                Next::Call(Call::TimePasses(answer)) => {
                    let answered = self.step(Event::Tick).await;
                    let _ = answer.send(answered);
                }
                Next::Time => {
                    if let Err(why) = self.step(Event::Tick).await {
                        tracing::error!("self-healing open does not get on: {}", line(&why.message));
                        sleep(PAUSE).await;
                    }
                }
                Next::Nothing => return,
            }
        }
    }

    async fn next(&mut self) -> Next {
        if let Some(message) = self.own_words.pop_front() {
            return Next::Own(message);
        }
        let due = self.healing.due();
        let wakes = async {
            match due.and_then(|due| self.began.checked_add(due)) {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wakes => Next::Time,
            call = self.with.calls.recv() => call.map_or(Next::Nothing, Next::Call),
        }
    }

    /// One step. Where it can't be written it did not happen.
    async fn step(&mut self, event: Event) -> ApiResult<()> {
        let mut next = self.healing.clone();
        let step = next.step(self.began.elapsed(), event);
        self.carry_out(next, step.effects).await?;
        step.answer.map_err(|refusal| {
            let error = refusal.error(self.generation);
            tracing::debug!(why = %line(&error.message), "self-healing open: a message is refused");
            error
        })
    }

    async fn carry_out(&mut self, next: Healing, effects: Vec<Effect>) -> ApiResult<()> {
        let node = Arc::clone(&self.with.node);
        let written = Step::of(&effects).commit(&node, self.generation).await;
        match written {
            Ok(()) => {}
            Err(NotWritten::Failed(why)) => return Err(why),
            Err(other) => return Err(not_written(other)),
        }
        self.healing = next;
        for effect in effects {
            match effect {
                Effect::Record(record) => self.tell(&record),
                Effect::Send { to, message, .. } if to == self.with.own.id => self.own_words.push_back(message),
                Effect::Send { to, address, message } => self.with.sender.send(to, address, message),
                Effect::Open(kind) => {
                    tracing::warn!(why = kind.as_str(), "self-healing open: this node opens its service");
                    node.status
                        .healing
                        .update(|board| board.state.opened_by = Some(kind.as_str().to_owned()));
                }
                Effect::Join { winner, address } => {
                    self.loses = Some(Lost {
                        winner,
                        address,
                        claim: self.with.claim,
                        service: self.with.own.service.clone(),
                    });
                }
                Effect::Warn(warning) => {
                    let text = line(&warning.to_string()).into_owned();
                    tracing::warn!("self-healing open: {text}");
                    node.status.healing.update(|board| board.state.warn(text));
                }
            }
        }
        self.show();
        Ok(())
    }

    /// For the log.
    fn tell(&self, record: &Record) {
        match record {
            Record::Peer { .. } | Record::TimeoutStage(_) | Record::Opens(_) => {}
            Record::Gossip { id, claim } => {
                let heard = self.healing.heard().count();
                tracing::info!(node = %line(id), has = %claim, heard, of = self.with.configured, "heard");
            }
            Record::Vote { id } => {
                let votes = self.healing.votes().count();
                tracing::info!(node = %line(id), votes, quorum = self.with.quorum, "a vote for this node");
            }
            Record::Chosen { id } => tracing::info!(node = %line(id), "the best ledger"),
            Record::Stage(stage) => tracing::info!(stage = ?stage, "self-healing open"),
        }
    }

    fn show(&self) {
        let healing = &self.healing;
        let due = healing.failover_due().and_then(|due| self.began.checked_add(due));
        self.with.node.status.healing.update(|board| {
            board.failover_at = due;
            let state = &mut board.state;
            state.chosen = healing.chosen().map(str::to_owned);
            state.heard = healing
                .heard()
                .map(|(id, claim)| (id.to_owned(), claim.to_string()))
                .collect();
            state.stage = format!("{:?}", healing.stage());
            state.votes = healing.votes().map(str::to_owned).collect();
        });
    }

    /// Whether the service goes on without this: members have agreed to open it.
    fn is_opened_by_members(&self) -> bool {
        let (status, _) = self.with.node.read(|store| service_info(&store.transaction()));
        status.is_ok_and(|info| {
            matches!(
                info.status,
                ServiceStatus::WaitingForRecoveryShares | ServiceStatus::Open
            )
        })
    }

    /// Members have opened this node's service, whoever has the best ledger: it obeys nobody else, and votes for nobody.
    async fn give_way(&mut self, next: Next) {
        let text = "members have opened this service themselves: this node takes no part any more; stop the others, or they \
                    will open another service of the same ledger";
        tracing::warn!("self-healing open: {text}");
        self.with.node.status.healing.update(|board| {
            board.failover_at = None;
            board.state.stage = "Open".to_owned();
            board.state.warn(text.to_owned());
        });
        let refuse = |answer: oneshot::Sender<ApiResult<()>>| {
            let _ = answer.send(Err::<(), ApiError>(Refusal::Opens.error(self.generation)));
        };
        let mut next = Some(next);
        loop {
            match next.take() {
                Some(Next::Call(Call::Heard { answer, .. } | Call::TimePasses(answer))) => refuse(answer),
                Some(Next::Nothing) => return,
                _ => {}
            }
            next = Some(self.with.calls.recv().await.map_or(Next::Nothing, Next::Call));
        }
    }
}
