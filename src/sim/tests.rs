//! The disk lies as it should, and a seed gives the same life twice.

use std::path::Path;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::disk::{LyingDisk, Weather};
use super::promises::Promises;
use super::recovery::{Place, recover};
use super::{World, run};
use crate::core::{Now, Refusal};
use crate::crypto::LedgerSecret;
use crate::format::domain::WriteSet;
use crate::journal::disk::Disk;
use crate::node::afterwards::Afterwards;

fn disk(seed: u64) -> LyingDisk {
    LyingDisk::new(ChaCha20Rng::seed_from_u64(seed), false)
}

/// What a file has after a loss of power.
fn after_crash(disk: &LyingDisk, path: &Path) -> Option<Vec<u8>> {
    disk.crash();
    let mut files = disk.durable().into_iter();
    files.find(|(name, _)| name == path).map(|(_, content)| content)
}

#[test]
fn what_is_synced_is_there_and_what_a_failed_sync_forgot_no_later_one_brings() {
    let path = Path::new("/d/file");
    let old = vec![1; 4096];
    let mut forgotten = 0;
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = disk.create(path).unwrap();
        disk.write_at(&mut file, 0, &old).unwrap();
        disk.sync(&mut file).unwrap();
        disk.sync_directory(Path::new("/d")).unwrap();
        disk.write_at(&mut file, 0, &[2; 4096]).unwrap();
        disk.set_weather(Weather {
            failed_syncs: 1000,
            ..Weather::default()
        });
        assert!(disk.sync(&mut file).is_err());
        disk.set_weather(Weather::default());
        disk.sync(&mut file).unwrap();
        let left = after_crash(&disk, path).unwrap();
        assert_eq!(left.len(), 4096);
        assert!(
            left.chunks(512).all(|sector| sector == [1; 512] || sector == [2; 512]),
            "a sector is there as a whole"
        );
        forgotten += usize::from(left.contains(&1));
    }
    assert!(forgotten > 25);
}

#[test]
fn a_file_that_is_synced_has_no_name_until_its_directory_is() {
    let path = Path::new("/d/file");
    let mut gone = 0;
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = disk.create(path).unwrap();
        disk.write_at(&mut file, 0, b"bytes").unwrap();
        disk.sync(&mut file).unwrap();
        gone += usize::from(after_crash(&disk, path).is_none());
    }
    assert!((5..50).contains(&gone), "{gone}");
}

#[test]
fn the_same_seed_gives_the_same_life() {
    let scratch = tempfile::tempdir().unwrap();
    let world = World::make(scratch.path()).unwrap();
    let place = scratch.path().join("place");
    std::fs::create_dir(&place).unwrap();
    for seed in [5, 6] {
        let [first, second] = [(); 2].map(|()| run(&world, seed, &place, true));
        assert_eq!((first.failure, second.failure), (None, None));
        assert!(first.trace.len() > 100);
        assert_eq!(first.trace, second.trace);
    }
}

#[test]
fn a_rekey_that_is_refused_is_not_known_although_its_step_has_signed_something() {
    let scratch = tempfile::tempdir().unwrap();
    let world = World::make(scratch.path()).unwrap();
    let directory = scratch.path().join("place");
    let place = Place::new(&directory).unwrap();
    let files = world.services[0].files.iter();
    let files: Vec<_> = files
        .map(|(path, content)| (directory.join(path), content.clone()))
        .collect();
    let mut tried = 0;
    for seed in 0..20 {
        place.put(&files).unwrap();
        let mut promises = Promises::default();
        let begins = (Now::default(), ChaCha20Rng::seed_from_u64(seed));
        let (mut service, ..) = recover(&world, &place, &disk(seed), &mut promises, begins).unwrap();
        let mut submit = |rekey, after| {
            let mut writes = WriteSet::new();
            writes.put("public:m", "k", "v");
            let afterwards = Afterwards {
                rekey,
                ..Afterwards::default()
            };
            service.now.elapsed += after;
            let refused = service.submit(&mut promises, writes, afterwards, None).unwrap();
            (refused, service.core.next(), service.secrets.len())
        };
        // Nothing is committed: at some time it is too much, where there is a limit.
        let Some((_, before, secrets)) = (0..250)
            .map(|_| submit(None, Duration::ZERO))
            .find(|(refused, ..)| refused.is_some())
        else {
            continue;
        };
        // By now a signature is due, unless everything was signed.
        let rekey = Some(LedgerSecret::from_bytes([9; 32]));
        let (refused, next, then) = submit(rekey, Duration::from_secs(60));
        assert_eq!(refused, Some(Refusal::TooManyUncommitted));
        tried += u32::from(next != before);
        assert_eq!(then, secrets, "seed {seed}: the secret is not sealed with");
    }
    assert!(tried > 0);
}
