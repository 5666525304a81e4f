//! No probe panics, whatever becomes of real and made evidence: seeded flips, cuts and repetitions.

use super::*;
use crate::dice::Dice;
use rekindle::probes;

fn files(directory: &Path, found: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_none_or(|extension| extension != "md") {
            found.push(std::fs::read(path).unwrap());
        }
    }
}

#[test]
fn no_probe_panics_over_mutations_of_every_vector() {
    let (vectors, expected) = vectors!();
    let mut seeds = Vec::new();
    files(vectors.0, &mut seeds);
    let dids = expected["uvm_default_roots"].as_array().unwrap();
    seeds.extend(dids.iter().map(|root| root[0].as_str().unwrap().as_bytes().to_vec()));
    let probes: [fn(&[u8]); 5] = [
        probes::attestation_report,
        probes::attestation_endorsements,
        probes::uvm_endorsements,
        probes::did_x509,
        probes::sgx_quote,
    ];
    let mut dice = Dice(9);
    for seed in seeds.iter().filter(|seed| seed.len() < 20_000) {
        for probe in probes {
            probe(seed);
        }
        for _ in 0..40 {
            let mut bytes = seed.clone();
            for _ in 0..1 + dice.below(3) {
                let at = dice.below(bytes.len().max(1));
                let end = (at + 1 + dice.below(16)).min(bytes.len());
                match dice.below(4) {
                    _ if bytes.is_empty() => {}
                    0 => bytes[at] ^= 1 << dice.below(8),
                    1 => bytes[at..end].fill([0, 0xff, 0x80][dice.below(3)]),
                    2 => bytes.truncate(at),
                    _ => {
                        let again = bytes[at..end].to_vec();
                        bytes.splice(at..at, again);
                    }
                }
            }
            for probe in probes {
                probe(&bytes);
            }
        }
    }
}
