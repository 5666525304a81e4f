//! What a whole core begins with: the ledger of the ground, nothing, or what another has committed.

use super::*;

/// What a core begins with.
pub(super) struct Origin {
    pub(super) tree: Tree,
    pub(super) view_history: Vec<Seqno>,
    pub(super) last: Option<LastSigned>,
    pub(super) store: Store,
    pub(super) raws: Vec<Bytes>,
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
}

impl Origin {
    pub(super) fn nothing() -> Origin {
        let Start { tree, view_history, .. } = Start::genesis();
        Origin {
            tree,
            view_history,
            last: None,
            store: Store::new(),
            raws: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Whole {
    pub(super) fn new(
        ground: &Arc<Founded>,
        plan: &mut Plan,
        signers: Signers,
        origin: Origin,
        agree: impl FnOnce(&Plan, ChaCha20Rng) -> Consensus,
    ) -> Whole {
        let mut rng = plan.chance.branch();
        let settings = Settings {
            chunk_size: rng.pick(&[1000, 4000, 12_000, 50_000]).unwrap_or(4000),
            entry_type: EntryType::WriteSetWithCommitEvidenceAndClaims,
            signatures: Some(SignatureSettings {
                tx_count: rng.within(3, 30) as u64,
                delay: Duration::from_millis(rng.within(200, 1500) as u64),
            }),
            max_uncommitted: rng.pick(&[0, 0, 40]).unwrap_or(0),
            snapshots: None,
        };
        let start = Start {
            tree: origin.tree,
            view_history: origin.view_history,
            last: origin.last,
            is_recovery: false,
        };
        let core = Core::new(start, settings, Arc::clone(&ground.newest), signers);
        let consensus = agree(plan, rng.branch());
        let disk = LyingDisk::new(rng.branch(), false);
        disk.take_over(origin.files);
        Whole {
            ground: Arc::clone(ground),
            core: core.agreeing(consensus, Box::new(Frames(plan.entries_per_frame))),
            store: origin.store,
            files: ChunkFiles::new(disk.clone(), &ground.ledger),
            disk,
            raws: origin.raws,
            places: BTreeMap::new(),
            under_way: None,
            is_broken: false,
            refused: 0,
            next_ticket: 0,
            asked: BTreeSet::new(),
            rng,
            #[cfg(test)]
            broken: None,
        }
    }

    /// The state that is committed, with the files of the ledger up to there: where a chunk ends there.
    pub(super) fn given(&self, committed: Seqno) -> Option<Origin> {
        let state = self.store.committed_at(committed)?;
        let mut files = self.disk.durable();
        let name = |path: &Path| match path.file_name().and_then(|name| name.to_str()).map(FileName::parse) {
            Some(FileName::Chunk(name)) => Some(name),
            _ => None,
        };
        files.retain(|(path, _)| name(path).is_some_and(|name: ChunkName| name.kind.is_committed()));
        files.retain(|(path, _)| name(path).is_some_and(|name| name.last.is_some_and(|last| last <= committed)));
        files.sort_by_key(|(path, _)| name(path).map(|name| name.first));
        let mut next = 1;
        for (path, _) in &files {
            let name = name(path).filter(|name| name.first == next)?;
            next = name.last? + 1;
        }
        if next != committed + 1 {
            return None;
        }
        let raws = self.raws.get(..committed as usize)?.to_vec();
        let raw = raws.last()?;
        let entry = Entry::parse(raw).ok()?;
        let iv = entry.iv();
        let mut store = Store::with_public(copy(&state.public), committed);
        store.set_private(copy(&state.private));
        // As a snapshot has it: the tree is in the tables, up to the signature.
        let (_, tree) = store.get(names::TREE, &SINGLETON_KEY)?;
        let accumulator = TreeView::parse(tree).ok()?.accumulator(committed)?;
        let root: Digest = accumulator.root();
        let tree = Tree::continuing(accumulator, vec![leaf_of(&entry)?]);
        let view_history = self.core.view_history().iter().take(iv.view as usize).copied();
        Some(Origin {
            tree,
            view_history: view_history.collect(),
            last: Some(LastSigned {
                txid: TxId {
                    view: iv.view,
                    seqno: iv.seqno,
                },
                root,
            }),
            store,
            raws,
            files,
        })
    }
}
