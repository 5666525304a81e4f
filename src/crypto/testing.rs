//! What the tests of this layer share: the published test vector, a seeded generator, the real ledgers.

use std::path::PathBuf;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Ledger secret 1 of the worked example (format specification, section 10.1): a published test value.
pub const SPEC_LEDGER_SECRET: &str = "d917951c0773a06148d2ff5bf0c984d075fdceb601255157ac004bb53b351079";

/// A generator whose output depends on `seed` alone.
pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// The directory of real ledgers; `None`, with a message, where it is absent and not required.
pub fn ledgers() -> Option<PathBuf> {
    let found = std::env::var_os("REKINDLE_CCF_LEDGERS")
        .map(PathBuf::from)
        .into_iter()
        .chain([PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/ledgers")])
        .find(|path| path.is_dir());
    if found.is_none() {
        let required = std::env::var("REKINDLE_REQUIRE_CCF_LEDGERS").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "REKINDLE_REQUIRE_CCF_LEDGERS=1, but there are no real ledgers"
        );
        eprintln!("skipped: no real ledgers (set REKINDLE_CCF_LEDGERS to their directory)");
    }
    found
}

/// Every file `*/common/*` of the real ledgers whose name satisfies `wanted`, with its text.
pub fn common_files(wanted: impl Fn(&str) -> bool) -> Option<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for service in std::fs::read_dir(ledgers()?).unwrap() {
        let common = service.unwrap().path().join("common");
        for file in common.read_dir().into_iter().flatten() {
            let path = file.unwrap().path();
            if wanted(path.file_name().unwrap().to_str().unwrap()) {
                files.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!files.is_empty(), "the real ledgers have no such files");
    Some(files)
}
