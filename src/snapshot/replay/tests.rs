use super::*;
use crate::format::entry::{EntryIv, write_entry};
use crate::format::snapshot::{
    StateEntry, key_order, state_entry_len, write_header, write_map_head, write_state_entry,
};
use crate::snapshot::content::{Comparison, Kind, compare};

/// A map: its name, its version, and its keys with their versions and values.
type Map<'a> = (&'a str, u64, &'a [(&'a [u8], i64, &'a [u8])]);

/// A snapshot of the state at 61, with public maps only.
fn snapshot(directory: &std::path::Path, maps: &[Map<'_>]) -> MappedSnapshot {
    let mut public = Vec::new();
    write_header(&mut public, 61, &[3; 32], &[1]);
    let mut out = |bytes: &[u8]| {
        public.extend_from_slice(bytes);
        Ok::<(), ()>(())
    };
    for (name, version, entries) in maps {
        let len = entries
            .iter()
            .map(|(key, _, value)| state_entry_len(key.len(), value.len()))
            .sum();
        write_map_head(&mut out, name, *version, len).unwrap();
        let mut sorted = entries.to_vec();
        sorted.sort_by_key(|(key, ..)| (key_order(key), *key));
        for (key, version, value) in sorted {
            write_state_entry(&mut out, &StateEntry { key, version, value }).unwrap();
        }
    }
    let iv = EntryIv {
        seqno: 61,
        view: 0,
        snapshot: true,
    };
    let mut bytes = Vec::new();
    write_entry(&mut bytes, 0, &[0; 16], iv, &public, b"").unwrap();
    let path = directory.join("snapshot_61_62.committed");
    std::fs::write(&path, &bytes).unwrap();
    MappedSnapshot::open(&path).unwrap()
}

fn compared(state: &State, maps: &[Map<'_>]) -> Comparison {
    let directory = tempfile::tempdir().unwrap();
    let snapshot = snapshot(directory.path(), maps);
    compare(state, true, |each| snapshot.public_parts(each)).unwrap()
}

/// A key that was removed at 40 and one that is there, as 1.x and 2.x keep them.
const KEPT: Map<'static> = ("public:m", 40, &[(b"gone", -40, b""), (b"here", 30, b"x")]);

#[test]
fn what_a_snapshot_of_1x_or_2x_keeps_of_removed_keys_is_known_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::of_snapshot(&snapshot(directory.path(), &[KEPT]), None).unwrap();
    assert_eq!((state.public.len(), state.public.version_of("public:m")), (1, Some(40)));
    let grave = |state: &State, key: &[u8]| Some(state.graves.as_ref()?.get("public:m", key)?.version);
    assert_eq!(grave(&state, b"gone"), Some(40));
    assert_eq!(compared(&state, &[KEPT]).differences, 0);
    // The generation after it: another key is removed, and the first one stays as it was.
    state.apply("public:m", 70, b"here", None);
    let next: Map<'_> = ("public:m", 70, &[(b"gone", -40, b""), (b"here", -70, b"")]);
    assert_eq!(compared(&state, &[next]).differences, 0);
    let lie: Map<'_> = ("public:m", 70, &[(b"gone", -41, b""), (b"here", -70, b"")]);
    assert_eq!(compared(&state, &[lie]).first.unwrap().kind, Kind::ExtraKey);
    // What comes back is no grave any more.
    state.apply("public:m", 75, b"gone", Some(b"again"));
    assert_eq!(grave(&state, b"gone"), None);
}

#[test]
fn a_removed_key_that_is_removed_again_changes_its_map_in_1x_and_2x_alone() {
    let mut state = State {
        graves: Some(Base::new()),
        ..State::default()
    };
    state.apply("public:m", 30, b"k", Some(b"x"));
    state.apply("public:m", 40, b"k", None);
    state.apply("public:m", 50, b"k", None);
    let with_graves: Map<'_> = ("public:m", 50, &[(b"k", -50, b"")]);
    let without: Map<'_> = ("public:m", 40, &[]);
    assert_eq!(compared(&state, &[with_graves]).differences, 0);
    assert_eq!(compared(&state, &[without]).differences, 0);
    for version in [30, 45, 51] {
        assert_eq!(
            compared(&state, &[("public:m", version, &[])]).first.unwrap().kind,
            Kind::MapVersion
        );
    }
    // Who does not know what was removed does not guess.
    state.graves = None;
    assert_eq!(compared(&state, &[with_graves]).first.unwrap().kind, Kind::MapVersion);
}

#[test]
fn a_snapshot_without_removed_keys_says_nothing_of_what_was_removed_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let alone: Map<'_> = ("public:m", 40, &[(b"here", 30, b"x")]);
    let state = State::of_snapshot(&snapshot(directory.path(), &[alone]), None).unwrap();
    assert!(state.graves.is_none());
    assert_eq!(compared(&state, &[KEPT]).differences, 0);
}

/// A state that begins with a snapshot, changes, is written down and read again: three times, with maps that are emptied
/// before and after, begin, and come back.
#[test]
fn three_generations_of_snapshots_hold_what_the_ledger_gives() {
    type Written<'a> = (Seqno, &'a str, &'a [u8], Option<&'a [u8]>);
    let writes: [Written<'_>; 14] = [
        (5, "public:a", b"1", Some(b"x")),
        (6, "public:b", b"1", Some(b"x")),
        (7, "public:b", b"1", None),
        (8, "public:never", b"1", None),
        (9, "public:c", b"1", Some(b"x")),
        (21, "public:a", b"1", None),
        (22, "public:b", b"1", None),
        (23, "public:c", b"2", Some(b"y")),
        (24, "public:c", b"1", None),
        (41, "public:a", b"1", None),
        (42, "public:b", b"2", Some(b"z")),
        (43, "public:b", b"2", None),
        (44, "public:never", b"1", Some(b"z")),
        (45, "public:c", b"2", None),
    ];
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, mut lived) = (State::default(), State::default());
    for generation in 1..=3u64 {
        let new = writes.iter().filter(|(at, ..)| (*at / 20) + 1 == generation);
        for (at, table, key, value) in new {
            ledger.apply(table, *at, key, *value);
            lived.apply(table, *at, key, *value);
        }
        let owned: Vec<_> = lived
            .public
            .maps()
            .into_iter()
            .map(|(name, version)| {
                let keys = lived.public.ordered(name, key_order);
                let keys: Vec<(&[u8], i64, &[u8])> =
                    keys.map(|live| (live.key, live.version as i64, live.value)).collect();
                (name, version, keys)
            })
            .collect();
        let maps: Vec<Map<'_>> = owned
            .iter()
            .map(|(name, version, keys)| (*name, *version, keys.as_slice()))
            .collect();
        assert_eq!(compared(&ledger, &maps).differences, 0, "{generation}: {maps:?}");
        assert_eq!(maps.len(), 4);
        let next = State::of_snapshot(&snapshot(directory.path(), &maps), None).unwrap();
        lived = next;
    }
    assert_eq!(ledger.public.maps(), lived.public.maps());
}
