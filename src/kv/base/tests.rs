use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<(String, Vec<u8>), (u64, Vec<u8>)>;
type Op = (u8, u8, Option<usize>);

fn contents(base: &Base) -> Model {
    let mut model = Model::new();
    for (map, _) in base.maps() {
        for live in base.iter(map) {
            model.insert((map.to_owned(), live.key.to_vec()), (live.version, live.value.to_vec()));
        }
    }
    model
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (
        0..3u8,
        any::<u8>(),
        prop::option::of(prop_oneof![0..200usize, 100_000..400_000usize]),
    );
    prop::collection::vec(op, 0..300)
}

fn value(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i + seed) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Loaded forwards, backwards and into a plain map, the same writes give the same state, also when chunks
    /// are emptied in between; and the counts are those of the state.
    #[test]
    fn both_directions_of_loading_give_the_state(ops in ops()) {
        let mut model = Model::new();
        let mut forwards = Base::new();
        let mut backwards = Base::new();
        let writes: Vec<_> = ops.iter().enumerate().map(|(i, (map, key, len))| {
            (format!("map{map}"), vec![*key; 3], i as u64 + 1, len.map(|len| value(i, len)))
        }).collect();
        for (map, key, version, value) in &writes {
            forwards.insert(map, key, *version, value.as_deref());
            match value {
                Some(value) => model.insert((map.clone(), key.clone()), (*version, value.clone())),
                None => model.remove(&(map.clone(), key.clone())),
            };
        }
        for (map, key, version, value) in writes.iter().rev() {
            backwards.insert_if_absent(map, key, *version, value.as_deref());
        }
        prop_assert_eq!(backwards.len(), model.len());
        backwards.finish_loading();
        for base in [&forwards, &backwards] {
            prop_assert_eq!(&contents(base), &model);
            prop_assert_eq!(base.len(), model.len());
            let bytes: usize = model.iter().map(|((_, k), (_, v))| k.len() + v.len()).sum();
            prop_assert_eq!(base.live_bytes(), bytes as u64);
        }
        prop_assert_eq!(forwards.maps(), backwards.maps());
        for ((map, key), (version, value)) in &model {
            let live = Live { key, value, version: *version };
            prop_assert_eq!(forwards.get(map, key), Some(live));
        }
    }
}

#[test]
fn sorted_is_sorted_by_all_bytes_of_the_keys() {
    let mut base = Base::new();
    let mut keys: Vec<Vec<u8>> = (0..500u32)
        .map(|i| format!("common/{}", i * 7919 % 500).into_bytes())
        .collect();
    keys.extend([
        b"common/".to_vec(),
        b"common/1\0".to_vec(),
        b"common/10000000000000000000000".to_vec(),
    ]);
    for key in &keys {
        base.insert("m", key, 1, Some(b"v"));
    }
    keys.sort();
    keys.dedup();
    assert!(base.sorted("m").map(|live| live.key).eq(keys.iter().map(Vec::as_slice)));
    assert_eq!(base.sorted("absent").count(), 0);
}

/// The promise after `export --state`: small values, most of them overwritten several times with other sizes.
#[test]
fn memory_stays_within_one_and_a_half_times_the_live_state() {
    let mut base = Base::new();
    let mut highest = 0.0f64;
    for i in 0..400_000u64 {
        let key = format!("key-{:08}", i * 7919 % 90_000);
        base.insert(
            "records",
            key.as_bytes(),
            i,
            Some(&value(i as usize, 90 + (i * 31 % 20) as usize)),
        );
        if i > 60_000 && i % 1_000 == 0 {
            highest = highest.max(base.allocated_bytes() as f64 / base.live_bytes() as f64);
        }
    }
    assert_eq!(base.len(), 90_000);
    assert!(highest < 1.5, "{highest}");
}

#[test]
fn removing_everything_gives_the_memory_back() {
    let mut base = Base::new();
    for i in 0..100_000u32 {
        base.insert("m", &i.to_le_bytes(), 1, Some(&[7; 100]));
    }
    let full = base.arena.allocated_bytes();
    for i in 0..100_000u32 {
        base.insert("m", &i.to_le_bytes(), 2, None);
    }
    assert!(base.is_empty());
    assert_eq!(base.live_bytes(), 0);
    assert!(base.arena.allocated_bytes() * 4 < full);
}

#[test]
fn a_map_version_is_that_of_its_last_effective_change() {
    let mut base = Base::new();
    base.insert("m", b"a", 3, Some(b""));
    base.insert("m", b"b", 5, None);
    assert_eq!(base.maps(), [("m", 3)]);
    base.insert("m", b"a", 6, None);
    assert_eq!(base.maps(), [("m", 6)]);
}

#[test]
fn a_removal_that_finds_nothing_changes_no_map_in_either_direction() {
    type Write = (u64, Option<&'static [u8]>);
    let cases: [(&[Write], u64); 5] = [
        (&[(5, Some(b"x")), (7, None), (9, None)], 7),
        (
            &[(1, Some(b"x")), (3, None), (5, Some(b"y")), (700, None), (90_000, None)],
            700,
        ),
        (&[(5, Some(b"x")), (7, None), (9, Some(b"y"))], 9),
        (&[(7, None), (9, None)], 0),
        (&[(5, Some(b"x")), (7, Some(b"y"))], 7),
    ];
    for (writes, version) in cases {
        let (mut forwards, mut backwards) = (Base::new(), Base::new());
        writes
            .iter()
            .for_each(|(at, value)| forwards.insert("m", b"a", *at, *value));
        let newest_first = writes.iter().rev();
        newest_first.for_each(|(at, value)| backwards.insert_if_absent("m", b"a", *at, *value));
        backwards.finish_loading();
        assert_eq!(forwards.maps(), [("m", version)], "{writes:?}");
        assert_eq!(backwards.maps(), [("m", version)], "{writes:?}");
    }
}
