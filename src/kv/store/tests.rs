use super::*;

fn put(store: &mut Store, seqno: Seqno, key: &str, value: Option<&str>) {
    let mut writes = WriteSet::new();
    match value {
        Some(value) => writes.put("m", key, value),
        None => writes.remove("m", key),
    }
    store.apply(seqno, &writes);
}

fn get<'a>(store: &'a Store, key: &str) -> Option<(Seqno, &'a [u8])> {
    store.get("m", key.as_bytes())
}

#[test]
fn a_rollback_restores_the_state_before() {
    let mut store = Store::new();
    put(&mut store, 1, "a", Some("1"));
    put(&mut store, 2, "b", Some("2"));
    store.compact(1);
    put(&mut store, 3, "a", None);
    put(&mut store, 4, "b", Some("4"));
    assert_eq!((get(&store, "a"), get(&store, "b")), (None, Some((4, &b"4"[..]))));
    store.rollback(2);
    assert_eq!(store.seqno(), 2);
    assert_eq!(
        (get(&store, "a"), get(&store, "b")),
        (Some((1, &b"1"[..])), Some((2, &b"2"[..])))
    );
}

#[test]
fn compaction_changes_nothing_that_is_read() {
    let mut store = Store::new();
    put(&mut store, 1, "a", Some("1"));
    put(&mut store, 2, "a", Some("2"));
    put(&mut store, 3, "b", Some("3"));
    put(&mut store, 4, "b", None);
    for seqno in 0..=4 {
        store.compact(seqno);
        assert_eq!((get(&store, "a"), get(&store, "b")), (Some((2, &b"2"[..])), None));
    }
    assert_eq!(store.committed_at(4).unwrap().private.len(), 1);
}

#[test]
fn a_committed_state_that_is_held_stays_as_it_is_and_nothing_newer_is_lost() {
    let mut store = Store::new();
    put(&mut store, 1, "a", Some("1"));
    store.compact(1);
    assert!(store.committed_at(0).is_none() && store.committed_at(2).is_none());
    let held = store.committed_at(1).unwrap();
    put(&mut store, 2, "a", Some("2"));
    put(&mut store, 3, "b", Some("3"));
    store.compact(2);
    assert_eq!(held.private.get("m", b"a").unwrap().value, b"1");
    assert!(store.committed_at(2).is_none());
    assert_eq!(get(&store, "a"), Some((2, &b"2"[..])));
    put(&mut store, 4, "a", Some("4"));
    put(&mut store, 5, "a", Some("5"));
    store.compact(4);
    assert_eq!(
        store.newest.overlay["m"][&b"a"[..]].len(),
        2,
        "what is superseded is forgotten"
    );
    store.rollback(4);
    assert_eq!(get(&store, "a"), Some((4, &b"4"[..])));
    drop(held);
    store.compact(4);
    assert!(store.newest.overlay.is_empty());
    assert_eq!(store.committed_at(4).unwrap().private.len(), 2);
}

#[test]
fn a_transaction_sees_the_store_and_its_own_writes() {
    let mut store = Store::new();
    put(&mut store, 1, "a", Some("1"));
    put(&mut store, 2, "b", Some("2"));
    let writes = store
        .transact(|tx| {
            tx.remove("m", "a");
            tx.put("m", "c", "3");
            assert_eq!(tx.get("m", b"a"), None);
            assert_eq!(tx.get("m", b"b"), Some(&b"2"[..]));
            assert_eq!(tx.version("m", b"b"), Some(2));
            assert_eq!(tx.entries("m").into_keys().collect::<Vec<_>>(), [b"b", b"c"]);
            tx.clear("m");
            Ok::<(), ()>(())
        })
        .unwrap();
    store.apply(3, &writes);
    let mut left = 0;
    store.for_each("m", |_, _| left += 1);
    assert_eq!(left, 0);
}

fn reads(body: impl FnOnce(&mut Transaction<'_>), state: &Frozen) -> ReadSet {
    let mut transaction = state.transaction();
    body(&mut transaction);
    transaction.into_parts().1
}

#[test]
fn what_was_read_holds_until_somebody_writes_it() {
    let mut store = Store::new();
    put(&mut store, 1, "a", Some("1"));
    let frozen = store.freeze();
    let key = reads(|tx| assert!(tx.get("m", b"a").is_some()), &frozen);
    let absent = reads(|tx| assert_eq!(tx.version("m", b"b"), None), &frozen);
    let all = reads(|tx| drop(tx.entries("m")), &frozen);
    let own = reads(
        |tx| {
            tx.put("m", "a", "2");
            assert_eq!(tx.get("m", b"a"), Some(&b"2"[..]));
        },
        &frozen,
    );
    let holds = |store: &Store| [&key, &absent, &all, &own].map(|reads| store.still_holds(reads));
    assert_eq!(holds(&store), [true; 4]);
    store.compact(1);
    assert_eq!(holds(&store), [true; 4], "where it is kept is nobody's business");
    put(&mut store, 2, "c", Some("3"));
    assert_eq!(holds(&store), [true, true, false, true]);
    put(&mut store, 3, "b", Some("3"));
    assert_eq!(holds(&store), [true, false, false, true]);
    put(&mut store, 4, "a", Some("1"));
    assert_eq!(holds(&store), [false, false, false, true]);
    assert_eq!(frozen.get("m", b"a"), Some((1, &b"1"[..])), "what is held still is");
    store.rollback(2);
    assert_eq!(holds(&store), [false; 4], "what was taken back was never there");
}

#[test]
fn nothing_that_was_read_before_the_private_state_was_there_holds() {
    let mut store = Store::new();
    let absent = reads(|tx| assert_eq!(tx.get("m", b"a"), None), &store.freeze());
    assert!(store.still_holds(&absent));
    store.set_private(Base::new());
    assert!(!store.still_holds(&absent));
}

/// A transaction of another node, as its decrypted private domain.
fn follow(store: &mut Store, seqno: Seqno, key: &str, value: Option<&str>) {
    let mut writes = WriteSet::new();
    match value {
        Some(value) => writes.put("m", key, value),
        None => writes.remove("m", key),
    }
    store.take(seqno, WriteSet::new());
    store.take_private(PrivateWrites::from(&writes));
}

/// Live keys with their values.
type All = BTreeMap<Vec<u8>, Vec<u8>>;

fn all(store: &Frozen) -> All {
    let mut all = BTreeMap::new();
    store.for_each("m", |key, value| {
        assert!(
            all.insert(key.to_vec(), value.to_vec()).is_none(),
            "each key comes once"
        );
    });
    all
}

mod followed {
    use proptest::prelude::*;

    use super::*;

    /// What happens to a store: who made a transaction, a commit, a rollback, and somebody who holds the state.
    #[derive(Clone, Debug)]
    enum Step {
        Write { followed: bool, key: u8, value: Option<u8> },
        Commit(u8),
        RollBack(u8),
        Hold(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<bool>(), 0..6u8, prop::option::of(any::<u8>()))
                .prop_map(|(followed, key, value)| Step::Write { followed, key, value }),
            2 => (0..4u8).prop_map(Step::Commit),
            1 => (0..4u8).prop_map(Step::RollBack),
            1 => any::<bool>().prop_map(Step::Hold),
        ]
    }

    proptest! {
        /// Whoever made them, and wherever they are kept: what is read is what a plain list of the transactions says, also by
        /// who holds an older state, and what was read still holds where nobody has written it since.
        #[test]
        fn what_another_node_wrote_reads_as_what_this_node_wrote(steps in prop::collection::vec(step(), 0..60)) {
            let mut store = Store::new();
            let mut log: Vec<(String, Option<String>)> = Vec::new();
            let mut committed = 0;
            let mut held: Option<(Frozen, All)> = None;
            for step in steps {
                let before = (store.seqno(), reads(|tx| drop(tx.entries("m")), &store.freeze()));
                match step {
                    Step::Write { followed, key, value } => {
                        let (key, value) = (key.to_string(), value.map(|value| value.to_string()));
                        log.push((key.clone(), value.clone()));
                        let seqno = log.len() as u64;
                        match followed {
                            true => follow(&mut store, seqno, &key, value.as_deref()),
                            false => put(&mut store, seqno, &key, value.as_deref()),
                        }
                        prop_assert!(!store.still_holds(&before.1));
                    }
                    Step::Commit(back) => {
                        committed = committed.max((log.len() as u64).saturating_sub(u64::from(back)));
                        store.compact(committed);
                        prop_assert!(store.still_holds(&before.1));
                    }
                    Step::RollBack(back) => {
                        let to = committed.max((log.len() as u64).saturating_sub(u64::from(back)));
                        log.truncate(to as usize);
                        store.rollback(to);
                    }
                    Step::Hold(true) => held = Some((store.freeze(), all(&store))),
                    Step::Hold(false) => held = None,
                }
                let mut expected = BTreeMap::new();
                for (at, (key, value)) in log.iter().enumerate() {
                    match value {
                        Some(value) => expected.insert(key.clone(), (at as u64 + 1, value.clone())),
                        None => expected.remove(key),
                    };
                }
                for key in 0..6u8 {
                    let key = key.to_string();
                    let expected = expected.get(&key).map(|(at, value)| (*at, value.as_bytes()));
                    prop_assert_eq!(get(&store, &key), expected);
                }
                let values = |(key, (_, value)): (String, (u64, String))| (key.into_bytes(), value.into_bytes());
                prop_assert_eq!(all(&store), expected.into_iter().map(values).collect());
                if let Some((frozen, then)) = &held {
                    prop_assert_eq!(&all(frozen), then);
                }
            }
            // What is committed in the end is what these transactions alone give, with the last change of each map.
            drop(held);
            store.rollback(committed);
            store.compact(committed);
            let mut alone = Base::new();
            for (seqno, (key, value)) in (1..=committed).zip(&log) {
                alone.insert("m", key.as_bytes(), seqno, value.as_deref().map(str::as_bytes));
            }
            let found = store.committed_at(committed).unwrap();
            prop_assert_eq!(found.private.maps(), alone.maps());
        }
    }
}

#[test]
fn what_is_pending_does_not_grow_with_what_is_superseded_while_the_committed_state_is_held() {
    let mut store = Store::new();
    put(&mut store, 1, "a", Some("1"));
    store.compact(1);
    let held = store.committed_at(1).unwrap();
    for seqno in 2..100 {
        follow(&mut store, seqno, "a", Some("2"));
        store.compact(seqno);
    }
    assert_eq!(store.newest.overlay["m"][&b"a"[..]].len(), 1);
    assert!(store.newest.pending.get("m", b"a").is_none());
    drop(held);
    store.compact(99);
    follow(&mut store, 100, "a", Some("3"));
    assert!(store.newest.overlay.is_empty());
    assert_eq!(get(&store, "a"), Some((100, &b"3"[..])));
}

/// A map's version is in every snapshot: it must be that of its last change, whoever held the state while it was changed.
#[test]
fn what_changed_a_map_is_remembered_while_the_committed_state_is_held() {
    type Writes = &'static [(Seqno, Option<&'static str>)];
    let cases: [(Writes, Seqno); 6] = [
        (&[(2, Some("2")), (3, None)], 3),
        (&[(2, None), (3, None)], 2),
        (&[(2, Some("2")), (3, None), (4, None)], 3),
        (&[(2, None), (3, Some("3")), (4, None), (5, None)], 4),
        (&[(2, Some("2")), (3, Some("3"))], 3),
        (&[(2, None), (3, Some("3"))], 3),
    ];
    for (writes, version) in cases {
        let mut store = Store::new();
        put(&mut store, 1, "a", Some("1"));
        store.compact(1);
        let held = store.freeze();
        for (seqno, value) in writes {
            put(&mut store, *seqno, "a", *value);
            store.compact(*seqno);
            assert_eq!(get(&store, "a"), value.map(|value| (*seqno, value.as_bytes())));
        }
        assert!(store.newest.overlay["m"][&b"a"[..]].len() <= 2, "{writes:?}");
        drop(held);
        let last = store.seqno();
        store.compact(last);
        assert_eq!(
            store.committed_at(last).unwrap().private.maps(),
            [("m", version)],
            "{writes:?}"
        );
    }
}

#[test]
fn what_is_rolled_back_has_changed_no_map() {
    let mut store = Store::new();
    put(&mut store, 1, "a", Some("1"));
    store.compact(1);
    put(&mut store, 2, "a", None);
    let mut other = WriteSet::new();
    other.put("n", "b", "1");
    store.apply(3, &other);
    let held = store.freeze();
    store.compact(1);
    store.rollback(1);
    drop(held);
    store.compact(1);
    assert_eq!(store.committed_at(1).unwrap().private.maps(), [("m", 1)]);
}
