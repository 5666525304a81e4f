//! What the world does with a whole core.

use super::origin::Origin;
use super::*;

impl Whole {
    /// What a client writes.
    fn something(&mut self) -> WriteSet {
        let mut writes = WriteSet::new();
        for _ in 0..self.rng.within(1, 3) {
            let most = self.rng.pick(&[40, 40, 400]).unwrap_or(40);
            let mut text = vec![0; self.rng.within(1, most)];
            self.rng.fill_bytes(&mut text);
            let key = format!("key{}", self.rng.below(9));
            let map = match self.rng.one_in(2) {
                true => "public:simulated",
                false => "simulated",
            };
            writes.put(map, key, text);
        }
        writes
    }

    /// What members' decision about nodes writes.
    fn decided(&self, change: &NodesChange) -> Result<WriteSet, String> {
        let mut writes = WriteSet::new();
        let before = trusted(&self.store);
        for node in change.trusted.difference(&before) {
            let id = node.to_string();
            let (_, record) = self
                .store
                .get(names::NODES_INFO, id.as_bytes())
                .ok_or_else(|| format!("{id} never asked to join"))?;
            let joiner = self.ground.joiners.iter().find(|joiner| joiner.id == *node);
            let joiner = joiner.ok_or_else(|| format!("{id} is nobody"))?;
            writes.put(names::NODES_INFO, id.as_str(), with_status(record, "Trusted")?);
            writes.put(names::NODES_ENDORSED_CERTIFICATES, id, joiner.endorsed.as_str());
        }
        for node in before.difference(&change.trusted) {
            let id = node.to_string();
            let record = self.store.get(names::NODES_INFO, id.as_bytes());
            if let Some(mut record) = record.and_then(|(_, record)| NodeRecord::read(record)) {
                record.retire();
                writes.put(names::NODES_INFO, id, record.to_json());
            }
        }
        Ok(writes)
    }
}

impl Body for Whole {
    type Cargo = Cargo;
    type Ground = Arc<Founded>;
    const HAS_DISK: bool = true;
    const CLIENTS_MS: (usize, usize) = (50, 600);
    const FAULTS: (usize, usize) = (8, 30);

    fn id(ground: &Arc<Founded>, number: usize) -> NodeId {
        match number.checked_sub(1).and_then(|at| ground.joiners.get(at)) {
            Some(joiner) => joiner.id,
            None => NodeId(ground.signers.node.verifying_key().id()),
        }
    }

    /// The node that opened the service, in a view of its own.
    fn first(ground: &Arc<Founded>, mut plan: Plan) -> Result<(Whole, Beginning, Vec<Deed<Cargo>>), String> {
        let mut store = Store::with_public(copy(&ground.state.public), ground.last.txid.seqno);
        store.set_private(copy(&ground.state.private));
        let origin = Origin {
            tree: ground.tree.clone(),
            view_history: ground.view_history.clone(),
            last: Some(ground.last),
            store,
            raws: ground.raws.clone(),
            files: ground.files.clone(),
        };
        let mut decided = Vec::new();
        let whole = Whole::new(ground, &mut plan, ground.signers.clone(), origin, |plan, chance| {
            let start = start(plan.id, &ground.records, ground.last.txid.view + 1);
            let (consensus, effects) = Consensus::lead(plan.settings, start, chance, plan.now);
            decided = effects;
            consensus
        });
        let leads = decided
            .iter()
            .any(|effect| matches!(effect, crate::consensus::Effect::Role(Role::Leader)));
        if !leads {
            return Err("the first node does not lead".to_owned());
        }
        let mut whole = whole;
        let mut deeds = vec![Deed::Leads(ground.last.txid.view + 1)];
        let sign = Event::Sign {
            end_chunk: false,
            snapshot: false,
        };
        whole.step(plan.now, sign, &[], &mut deeds)?;
        let beginning = Beginning {
            took_part: nodes_after(&ground.records).0.last().cloned().into_iter().collect(),
            ledger: ground.records.clone(),
        };
        Ok((whole, beginning, deeds))
    }

    fn joins(ground: &Arc<Founded>, mut plan: Plan, giver: Option<&Peer<Whole>>) -> Result<(Whole, Beginning), String> {
        let joiner = ground.joiners.iter().find(|joiner| joiner.id == plan.id);
        let joiner = joiner.ok_or("nobody is left to join")?;
        let given = giver.and_then(|giver| Some((giver, giver.body.given(giver.committed)?)));
        let (ledger, origin) = match given {
            Some((giver, origin)) => (giver.ledger.get(..giver.committed as usize), origin),
            None => (None, Origin::nothing()),
        };
        let ledger = ledger.unwrap_or_default().to_vec();
        let whole = Whole::new(ground, &mut plan, joiner.signers.clone(), origin, |plan, chance| {
            Consensus::follow(plan.settings, start(plan.id, &ledger, 0), chance, plan.now)
        });
        let took_part = nodes_after(&ledger).0.last().cloned().into_iter().collect();
        Ok((whole, Beginning { ledger, took_part }))
    }

    fn consensus(&self) -> &Consensus {
        match self.core.consensus() {
            Some(consensus) => consensus,
            None => unreachable!("it was begun with one"),
        }
    }

    fn due(&self) -> Option<Duration> {
        self.core.wakes_at()
    }

    fn hear(&mut self, now: Duration, from: NodeId, message: Message, cargo: Cargo) -> Deeds<Whole> {
        let mut deeds = Vec::new();
        self.step(now, Event::Heard { from, message }, &cargo, &mut deeds)?;
        Ok(deeds)
    }

    fn tick(&mut self, now: Duration) -> Deeds<Whole> {
        self.told(now, Event::Tick)
    }

    /// A core sends what is new after every step.
    fn flush(&mut self, _: Duration) -> Deeds<Whole> {
        Ok(Vec::new())
    }

    fn nominate(&mut self, now: Duration) -> Deeds<Whole> {
        self.told(now, Event::HandOver)
    }

    fn withdraw(&mut self, now: Duration) -> Deeds<Whole> {
        self.told(now, Event::Withdraw)
    }

    fn write(&mut self, now: Duration, wanted: Wanted) -> Deeds<Whole> {
        let mut deeds = Vec::new();
        match wanted {
            Wanted::Entry => {
                let writes = self.something();
                self.submit(now, writes, None, &mut deeds)?;
            }
            Wanted::Signature => {
                let sign = Event::Sign {
                    end_chunk: self.rng.one_in(10),
                    snapshot: false,
                };
                self.step(now, sign, &[], &mut deeds)?;
            }
            Wanted::Pending(node) => {
                let joiner = self.ground.joiners.iter().find(|joiner| joiner.id == node);
                let joiner = joiner.ok_or("nobody asks to join")?;
                let mut writes = WriteSet::new();
                writes.put(names::NODES_INFO, node.to_string(), joiner.pending.as_slice());
                self.submit(now, writes, None, &mut deeds)?;
            }
            Wanted::Nodes(change) => {
                let known = |node: &&NodeId| self.store.get(names::NODES_INFO, node.to_string().as_bytes()).is_some();
                // The limit of what may be uncommitted has refused what asks for it.
                if change.trusted.iter().all(|node| known(&node)) {
                    let writes = self.decided(&change)?;
                    self.submit(now, writes, None, &mut deeds)?;
                }
            }
        }
        Ok(deeds)
    }

    fn waits_for_disk(&self) -> bool {
        self.under_way.is_some()
    }

    fn disk_begins(&mut self) {}

    fn disk_ends(&mut self, now: Duration) -> Deeds<Whole> {
        let Some(operation) = self.under_way.take() else {
            return Ok(Vec::new());
        };
        self.gives(&operation)?;
        let event = match self.perform(&operation) {
            Ok(()) => Event::Done,
            Err(failure) => Event::Failed(failure),
        };
        self.told(now, event)
    }

    fn change_disk(&mut self, disk: Disk) {
        let calm = Weather::default();
        self.is_broken = disk == Disk::Broken;
        self.disk.set_weather(match disk {
            Disk::Calm => calm,
            Disk::Bad {
                failures,
                failed_syncs,
                is_full,
            } => Weather {
                failures,
                failed_syncs,
                is_full,
            },
            Disk::Broken => Weather {
                failed_syncs: 1000,
                ..calm
            },
        });
    }

    /// Any bit but those of the header: nothing covers its flags, here or in CCF.
    fn spoil(ground: &Arc<Founded>, cargo: &mut Cargo, chance: &mut ChaCha20Rng) {
        let bytes = Arc::make_mut(cargo);
        let mut entries = Vec::new();
        let mut at = 0;
        while let Some(Ok(entry)) = bytes.get(at..).filter(|rest| !rest.is_empty()).map(Entry::parse) {
            // Nobody gave out the secrets of the services before.
            if entry.iv().seqno > ground.last.txid.seqno {
                entries.push((at + HEADER, entry.raw.len() - HEADER));
            }
            at += entry.raw.len();
        }
        if let Some((first, len)) = chance.pick(&entries)
            && let Some(byte) = bytes.get_mut(first + chance.below(len))
        {
            *byte ^= 1 << chance.below(8);
        }
    }

    fn crash(&mut self, durable: Seqno) -> Result<Seqno, String> {
        if let Some(operation) = self.under_way.take() {
            self.disk.crash_after(self.rng.below(6) as u64);
            let _ = self.files.perform(&operation);
        }
        self.disk.crash();
        let own = self.places.keys().next().map_or(durable, |first| first - 1);
        self.is_on_disk(own.min(durable), durable)?;
        Ok(durable)
    }

    fn is_consistent(&self, peer: &Peer<Whole>) -> Result<(), String> {
        let state = self.store.freeze().seqno();
        match state == peer.last() && self.core.next().seqno == peer.last() + 1 {
            true => Ok(()),
            false => Err(format!(
                "{} has a state at {state} and a log up to {}, of {}",
                peer.id,
                self.core.next().seqno - 1,
                peer.last()
            )),
        }
    }

    #[cfg(test)]
    fn break_rule(&mut self, rule: super::super::tests::Broken) {
        match rule {
            super::super::tests::Broken::Agreement(rule) => self.core.break_rule(rule),
            other => self.broken = Some(other),
        }
    }
}
