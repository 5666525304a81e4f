//! What members and users do, with the node's own functions and the ledger's own constitution.

use rand_core::Rng;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::chance::Chance;
use super::promises::Promises;
use super::service::Service;
use super::world::Dead;
use crate::core::Refusal;
use crate::crypto::sha256;
use crate::format::domain::WriteSet;
use crate::governance::Reason;
use crate::governance::ballots::submit_ballot;
use crate::governance::proposals;
use crate::governance::request::SignedRequest;
use crate::kv::store::Transaction;
use crate::node::afterwards::Afterwards;
use crate::node::session::Session;
use crate::node::status::NodeState;
use crate::service::submit::submit;
use crate::service::{service_info, value};
use crate::tables::names;
use crate::tables::values::{RecoveryShares, ServiceStatus};

/// What a ballot in favour says.
const BALLOT: &str = "export function vote (proposal, proposerId) { return true }";

/// Where the members stand.
#[derive(Default)]
pub(super) struct People {
    /// A proposal that is open, and who has voted.
    open: Option<(String, usize)>,
    /// Members whose shares are in.
    shares: usize,
}

/// What a transaction's function has come to.
type Made = (WriteSet, Afterwards);

impl People {
    /// What was written may be gone.
    pub(super) fn rolled_back(&mut self) {
        self.open = None;
    }

    /// The next step towards an open service. Answers whether there was one to take.
    pub(super) fn towards_opening(
        &mut self,
        service: &mut Service,
        promises: &mut Promises,
        dead: &Dead,
    ) -> Result<bool, String> {
        if self.open.is_some() {
            return self.vote(service, promises, dead).map(|()| true);
        }
        let (frozen, _) = service.hold();
        let transaction = frozen.transaction();
        let status = service_info(&transaction)?.status;
        match (status, service.state) {
            (ServiceStatus::Recovering, _) => {
                let previous: String =
                    value(&transaction, names::PREVIOUS_SERVICE_IDENTITY).ok_or("the service names none before it")?;
                let actions = json!([{"name": "transition_service_to_open", "args": {
                    "next_service_identity": service.identity.certificate.to_pem(),
                    "previous_service_identity": previous,
                }}]);
                drop(frozen);
                self.propose(service, promises, dead, &actions)?;
                Ok(true)
            }
            (ServiceStatus::WaitingForRecoveryShares, NodeState::PartOfPublicNetwork)
                if self.shares < dead.threshold =>
            {
                let generation: RecoveryShares =
                    value(&transaction, names::RECOVERY_SHARES).ok_or("the ledger holds no shares")?;
                drop(frozen);
                self.share(service, promises, dead, &generation)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Something that members do with an open service.
    pub(super) fn govern(&mut self, service: &mut Service, promises: &mut Promises, dead: &Dead) -> Result<(), String> {
        if self.open.is_some() {
            return self.vote(service, promises, dead);
        }
        let member = dead.members.first().map_or("", |member| member.id.as_str());
        let number = service.rng.below(1000);
        let action = match service.rng.below(6) {
            0 | 1 => json!({"name": "trigger_ledger_rekey"}),
            2 => json!({"name": "trigger_recovery_shares_refresh"}),
            3 => json!({"name": "trigger_ledger_chunk"}),
            4 => json!({"name": "trigger_snapshot"}),
            _ => json!({"name": "set_member_data", "args": {"member_id": member, "member_data": number}}),
        };
        self.propose(service, promises, dead, &json!([action]))
    }

    fn propose(
        &mut self,
        service: &mut Service,
        promises: &mut Promises,
        dead: &Dead,
        actions: &Value,
    ) -> Result<(), String> {
        let proposer = dead.members.first().ok_or("there are no members")?;
        let request = signed(service, &proposer.id, None, &json!({"actions": actions}));
        let root = service.root;
        let id = proposals::proposal_id(&root, &request);
        service
            .disk
            .say(|| format!("proposal {}: {actions}", id.get(..8).unwrap_or_default()));
        let made = make(service, |transaction, session| {
            let proposal = proposals::create(transaction, &request, &root, session);
            proposal
                .map(drop)
                .map_err(|why| format!("{:?}: {}", why.reason, why.message))
        })?;
        if self.submit(service, promises, made)? {
            self.open = Some((id, 0));
        }
        Ok(())
    }

    fn vote(&mut self, service: &mut Service, promises: &mut Promises, dead: &Dead) -> Result<(), String> {
        let Some((id, voted)) = self.open.take() else {
            return Ok(());
        };
        let Some(member) = dead.members.get(voted) else {
            return Ok(());
        };
        let request = signed(service, &member.id, Some(&id), &json!({"ballot": BALLOT}));
        let (mut accepted, mut gone) = (false, None);
        let made = make(service, |transaction, session| {
            let answer = submit_ballot(transaction, &request, &id, &member.id, session);
            match answer {
                Ok(answer) => {
                    let text = serde_json::to_string(&answer).unwrap_or_default();
                    accepted = text.contains("\"Accepted\"");
                    Ok(())
                }
                // It was rolled back.
                Err(why) if why.reason == Reason::UnknownProposal => {
                    gone = Some(());
                    Ok(())
                }
                Err(why) => Err(format!("{:?}: {}", why.reason, why.message)),
            }
        })?;
        if gone.is_some() {
            return Ok(());
        }
        service
            .disk
            .say(|| format!("ballot {voted} for {}", id.get(..8).unwrap_or_default()));
        match self.submit(service, promises, made)? {
            true if accepted => {}
            true => self.open = Some((id, voted + 1)),
            false => self.open = Some((id, voted)),
        }
        Ok(())
    }

    fn share(
        &mut self,
        service: &mut Service,
        promises: &mut Promises,
        dead: &Dead,
        generation: &RecoveryShares,
    ) -> Result<(), String> {
        let member = dead.members.get(self.shares).ok_or("there are no more members")?;
        let encrypted = generation
            .encrypted_shares
            .get(&member.id)
            .ok_or("a member has no share")?;
        let share = member.encryption.decrypt(&encrypted.0);
        let share = share.map_err(|why| format!("a share does not open: {why}"))?;
        let mut rng = service.rng.branch();
        let made = make(service, |transaction, session| {
            let current = session.secret_to_write_with(transaction)?.clone();
            let historical = std::sync::Arc::clone(&session.historical);
            let submitted = submit(transaction, &member.id, &share, &current, &historical, &mut rng);
            let submitted = submitted.map_err(|why| format!("a share is refused: {why:?}"))?;
            session.afterwards.unlocked = submitted.opened;
            Ok(())
        })?;
        service.disk.say(|| "a share".to_owned());
        if self.submit(service, promises, made)? {
            self.shares += 1;
        }
        Ok(())
    }

    /// Answers whether it was taken.
    fn submit(&mut self, service: &mut Service, promises: &mut Promises, made: Made) -> Result<bool, String> {
        taken(service.submit(promises, made.0, made.1, None)?)
    }
}

/// A user's transaction.
pub(super) fn use_it(service: &mut Service, promises: &mut Promises) -> Result<(), String> {
    let mut writes = WriteSet::new();
    for _ in 0..service.rng.within(1, 3) {
        let most = service.rng.pick(&[40, 40, 40, 400, 3000]).unwrap_or(40);
        let mut text = vec![0; service.rng.within(1, most)];
        service.rng.fill_bytes(&mut text);
        let key = format!("key{}", service.rng.below(9));
        let map = if service.rng.one_in(2) {
            "public:simulated"
        } else {
            "simulated"
        };
        // Private maps are written to once their state is there.
        match service.state {
            NodeState::PartOfNetwork => writes.put(map, key, text),
            _ => writes.put("public:simulated", key, text),
        }
    }
    if service.rng.one_in(10) {
        writes = WriteSet::new();
    }
    service.disk.say(|| "a user's transaction".to_owned());
    taken(service.submit(promises, writes, Afterwards::default(), None)?).map(drop)
}

fn taken(refused: Option<Refusal>) -> Result<bool, String> {
    match refused {
        None => Ok(true),
        // These are limits.
        Some(Refusal::TooManyUncommitted | Refusal::Stopping) => Ok(false),
        Some(refusal) => Err(format!("a transaction is refused: {refusal:?}")),
    }
}

fn make(
    service: &mut Service,
    body: impl FnOnce(&mut Transaction<'_>, &mut Session) -> Result<(), String>,
) -> Result<Made, String> {
    let (frozen, mut session) = service.hold();
    let mut transaction = frozen.transaction();
    body(&mut transaction, &mut session)?;
    Ok((transaction.into_writes(), session.afterwards))
}

/// A request as it is once its signature was checked.
fn signed(service: &mut Service, member: &str, proposal: Option<&str>, payload: &Value) -> SignedRequest {
    let payload = payload.to_string().into_bytes();
    let mut raw = payload.clone();
    let mut signature = [0; 64];
    service.rng.fill_bytes(&mut signature);
    raw.extend_from_slice(&signature);
    SignedRequest {
        member_id: member.to_owned(),
        created_at: service.now.unix_s,
        proposal_id: proposal.map(str::to_owned),
        payload: Zeroizing::new(payload),
        signature_digest: sha256(&signature),
        other_signature_digest: sha256(&sha256(&signature)),
        certificate_digest: sha256(member.as_bytes()),
        raw: Zeroizing::new(raw),
    }
}
