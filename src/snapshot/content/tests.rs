use super::*;

type Rows<'a> = Vec<(&'a str, u64, Vec<(&'a [u8], i64, &'a [u8])>)>;

/// Two maps with keys, and one that something was only removed from.
fn state() -> State {
    let mut state = State::default();
    state.view_history = vec![1, 1, 7];
    state.graves = Some(Base::new());
    state.public.insert("public:a", b"one", 3, Some(b"first"));
    state.public.insert("public:a", b"two", 5, Some(b"second"));
    state.public.insert("public:a", b"three", 4, Some(b"third"));
    state.public.insert("public:b", b"gone", 6, Some(b"x"));
    state.public.insert("public:b", b"gone", 8, None);
    state.public.insert("public:c", b"never", 8, None);
    if let Some(graves) = &mut state.graves {
        graves.insert("public:b", b"gone", 8, Some(&[]));
    }
    state
        .private
        .insert("secrets", b"key", 9, Some(b"the value nobody may see"));
    state
}

/// The rows of a true snapshot.
fn truth(state: &State, public: bool) -> Rows<'_> {
    let base = state.maps(public);
    let rows = base.maps().into_iter().map(|(name, version)| {
        let keys = base
            .ordered(name, key_order)
            .map(|live| (live.key, live.version as i64, live.value))
            .collect();
        (name, version, keys)
    });
    rows.collect()
}

fn compared<'r>(state: &State, public: bool, rows: &'r Rows<'r>) -> Comparison {
    let compared = compare(state, public, |each: &mut dyn FnMut(Part<'r>)| -> Result<(), ()> {
        for (name, version, keys) in rows {
            let version = *version;
            each(Part::Map { name, version });
            for (key, version, value) in keys {
                let (key, version, value) = (*key, *version, *value);
                each(Part::Entry(StateEntry { key, version, value }));
            }
        }
        Ok(())
    });
    compared.unwrap()
}

#[test]
fn a_true_snapshot_has_no_difference() {
    let state = state();
    let comparison = compared(&state, true, &truth(&state, true));
    assert_eq!((comparison.keys, comparison.differences), (3, 0), "{comparison:?}");
    assert_eq!(compared(&state, false, &truth(&state, false)).differences, 0);
    assert_eq!(compare_views(&state, &[1, 1, 7]).differences, 0);
}

#[test]
fn every_change_of_one_thing_is_named() {
    let state = state();
    // The keys of public:a in the order of a snapshot.
    let order: Vec<&[u8]> = truth(&state, true)[0].2.iter().map(|row| row.0).collect();
    type Change = fn(&mut Rows<'_>);
    let changes: [(Kind, usize, Change); 19] = [
        (Kind::Value, 0, |rows| rows[0].2[0].2 = b"zzzz"),
        (Kind::Value, 1, |rows| rows[0].2[1].2 = b""),
        (Kind::Version, 2, |rows| rows[0].2[2].1 += 1),
        (Kind::Version, 0, |rows| rows[0].2[0].1 = i64::MAX),
        (Kind::Value, 0, |rows| rows[0].2[0].1 = -4),
        (Kind::MissingKey, 1, |rows| {
            let _ = rows[0].2.remove(1);
        }),
        (Kind::MissingKey, 0, |rows| rows[0].2.clear()),
        (Kind::ExtraKey, 9, |rows| rows[1].2.push((b"gone", 6, b"x"))),
        (Kind::ExtraKey, 9, |rows| rows[1].2.push((b"gone", -7, b""))),
        (Kind::ExtraKey, 9, |rows| rows[1].2.push((b"gone", -8, b"more"))),
        (Kind::ExtraKey, 9, |rows| rows[1].2.push((b"other", -8, b""))),
        (Kind::MapVersion, 9, |rows| rows[1].1 = 6),
        (Kind::ExtraMap, 9, |rows| rows.push(("public:d", 3, vec![]))),
        (Kind::ExtraMap, 9, |rows| {
            rows.push(("public:d", 3, vec![(b"one", 3, b"x"), (b"two", 3, b"x")]));
        }),
        // Of maps that began later: nothing but their order shows them.
        (Kind::Order, 9, |rows| {
            rows.extend([("public:e", 0, vec![]), ("public:d", 0, vec![])]);
        }),
        (Kind::MissingMap, 9, |rows| drop(rows.remove(0))),
        (Kind::MissingMap, 9, |rows| drop(rows.remove(2))),
        (Kind::Order, 9, |rows| rows.push(("public:c", 0, vec![]))),
        (Kind::Order, 0, |rows| {
            let first = rows[0].2[0];
            rows[0].2.insert(1, first);
        }),
    ];
    for (number, (kind, key, change)) in changes.into_iter().enumerate() {
        let mut rows = truth(&state, true);
        change(&mut rows);
        let comparison = compared(&state, true, &rows);
        let first = comparison
            .first
            .unwrap_or_else(|| panic!("{number} {kind:?} was not noticed"));
        assert_eq!(first.kind, kind, "{number}: {first:?}");
        assert!(first.table.is_some(), "{first:?}");
        if let Some(key) = order.get(key) {
            let key = Value::from(std::str::from_utf8(key).unwrap());
            assert_eq!(first.key, Some(key), "{number}: {first:?}");
        }
    }
    for lie in [&[1, 1][..], &[1, 1, 8], &[1, 1, 7, 9], &[]] {
        assert_eq!(compare_views(&state, lie).differences, 1, "{lie:?}");
    }
}

#[test]
fn keys_and_maps_out_of_order_are_named_although_nothing_is_missing() {
    let state = state();
    let mut rows = truth(&state, true);
    rows[0].2.swap(0, 1);
    assert_eq!(compared(&state, true, &rows).first.unwrap().kind, Kind::Order);
    let mut rows = truth(&state, true);
    rows.swap(0, 1);
    assert!(compared(&state, true, &rows).differences > 0);
}

#[test]
fn what_1x_and_2x_keep_of_removed_keys_is_no_difference() {
    /// Name and version of a map, and its keys with versions and values.
    type Owned = (String, u64, Vec<(Vec<u8>, i64, Vec<u8>)>);
    let mut state = state();
    let rows = |state: &State| -> Vec<Owned> {
        let mut rows: Vec<_> = truth(state, true)
            .into_iter()
            .map(|(name, version, keys)| {
                let owned = keys.into_iter().map(|(k, v, value)| (k.to_vec(), v, value.to_vec()));
                (name.to_owned(), version, owned.collect::<Vec<_>>())
            })
            .collect();
        rows[1].2.push((b"gone".to_vec(), -8, vec![]));
        rows
    };
    let owned = rows(&state);
    let borrowed = |owned: &[Owned], state: &State| -> Comparison {
        let rows: Rows<'_> = owned
            .iter()
            .map(|(name, version, keys)| {
                let keys = keys.iter().map(|(k, v, value)| (k.as_slice(), *v, value.as_slice()));
                (name.as_str(), *version, keys.collect())
            })
            .collect();
        compared(state, true, &rows)
    };
    assert_eq!(borrowed(&owned, &state).differences, 0);
    // Where nobody knows what was removed, it is believed.
    state.graves = None;
    assert_eq!(borrowed(&owned, &state).differences, 0);
}

#[test]
fn empty_maps_of_no_version_are_left_to_who_knows_what_came_later() {
    let state = state();
    let mut rows = truth(&state, true);
    rows.push(("public:later", 0, vec![]));
    let comparison = compared(&state, true, &rows);
    assert_eq!(
        (comparison.differences, comparison.born.as_slice()),
        (0, &["public:later".to_owned()][..])
    );
}

#[test]
fn an_empty_map_in_the_domain_of_the_others_is_nobodys() {
    let state = state();
    for (public, name) in [(true, "secrets"), (false, "public:a"), (true, ""), (true, "public")] {
        let mut rows = truth(&state, public);
        let at = rows.partition_point(|row| row.0 < name);
        rows.insert(at, (name, 0, vec![]));
        let comparison = compared(&state, public, &rows);
        assert!(comparison.born.is_empty(), "{name}: {comparison:?}");
        assert_eq!(comparison.first.unwrap().kind, Kind::ExtraMap, "{name}");
    }
}

#[test]
fn no_value_is_shown() {
    let state = state();
    let changes: [fn(&mut Rows<'_>); 3] = [
        |rows| rows[0].2[0].2 = b"the value nobody may say",
        |rows| rows[0].2[0].1 = 8,
        |rows| rows[0].2.clear(),
    ];
    for change in changes {
        let mut rows = truth(&state, false);
        change(&mut rows);
        let comparison = compared(&state, false, &rows);
        let said = serde_json::to_string(&comparison.first.unwrap()).unwrap();
        assert!(said.contains("secrets") && said.contains("key"), "{said}");
        assert!(!said.contains("nobody"), "{said}");
    }
}
