//! The disk lies as it should, and a seed gives the same life twice.

use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::disk::{LyingDisk, Weather};
use super::{World, run};
use crate::journal::disk::Disk;

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
