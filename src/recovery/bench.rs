//! `bench`: each stage alone and the whole, beside two limits measured in the same run.
//!
//! The one is what a library would take: for a verification raw SHA-256 of the same messages (entries, leaves, tree nodes),
//! one at a time, and raw ECDSA of the same signatures; for an unlocking raw AES-GCM of the same messages and raw SHA-256 of
//! their evidence. The other is what this program's own stages take alone: digest, tree and signatures, or decryption and
//! evidence. All with the same number of threads, from the same mapped pages, with the places of all messages known
//! beforehand. Beside every time stands the processors' time, which other work on the machine hardly changes.

use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::crypto::aead::AeadKey;
use crate::crypto::digest::{Digest, how_many_are_digested, sha256, sha256_many, sha256_pair, sha256_three};
use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::format::{Seqno, View};
use crate::kv::base::Base;
use crate::merkle::Accumulator;
use crate::merkle::accumulator::Subtrees;
use crate::recovery::check::Check;
use crate::recovery::join::{Joiner, Mode};
use crate::recovery::scan::{BATCH, scan_segment};
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::segments::{Segment, Windows};
use crate::recovery::state::{Selection, load_state};
use crate::recovery::trust::Trust;
use crate::recovery::unlock::{EVIDENCE_BATCH, decrypt_all};
use crate::recovery::verify::{Options, verify};
use crate::report::progress::Silent;

/// One stage alone.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Median time.
    pub seconds: f64,
    /// Processors' time, the least of all runs.
    pub cpu_seconds: f64,
    /// Rate.
    pub bytes_per_s: f64,
    /// Rate.
    pub entries_per_s: f64,
}

/// A whole command beside its limits.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Whole {
    /// Median time.
    pub seconds: f64,
    /// Processors' time, the least of all runs.
    pub cpu_seconds: f64,
    /// Median time of the raw work alone, through the library, one message at a time.
    pub limit_seconds: f64,
    /// Limit divided by time: 1 is as fast as the raw work.
    pub fraction: f64,
    /// Processors' time of the raw work.
    pub limit_cpu_seconds: f64,
    /// Median time of this program's own stages alone.
    pub stages_seconds: f64,
    /// That divided by time: 1 is a command that costs nothing beside them.
    pub stages_fraction: f64,
    /// Processors' time of the stages.
    pub stages_cpu_seconds: f64,
}

/// What was measured. Serialised, it is the document that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Threads used.
    pub threads: usize,
    /// How digests are made on this processor.
    pub digests: &'static str,
    /// Entries in the ledger.
    pub entries: u64,
    /// Bytes of entries.
    pub bytes: u64,
    /// Signatures of both kinds.
    pub signatures: usize,
    /// The stages.
    pub stages: Vec<Stage>,
    /// Verification in audit mode.
    pub verify: Whole,
    /// Unlocking, where keys were given.
    pub unlock: Option<Whole>,
}

/// Counted repetitions of each measurement, after one that is not counted.
const REPETITIONS: usize = 9;

/// Measures everything.
///
/// # Errors
/// If a file can't be read.
pub fn bench(files: &LedgerFiles, secrets: Option<&LedgerSecrets>) -> Result<BenchReport> {
    let segments = all_segments(files)?;
    let places: Vec<Vec<Place>> = segments.par_iter().map(places).collect();
    let entries: u64 = places.iter().map(|places| places.len() as u64).sum();
    let bytes: u64 = segments.iter().map(|segment| segment.size_bytes).sum();
    let checks = collect_checks(files)?;
    let stage = |name, Timed { seconds, cpu_seconds }: Timed| Stage {
        name,
        seconds,
        cpu_seconds,
        bytes_per_s: bytes as f64 / seconds,
        entries_per_s: entries as f64 / seconds,
    };
    let work: Vec<(&Segment, &Vec<Place>)> = segments.iter().zip(&places).collect();
    let mut stages = vec![
        stage("map", median(|| per_segment(&work, |segment, _| sum_bytes(segment)))),
        stage("parse", median(|| per_segment(&work, |segment, _| parse(segment)))),
        stage("digest", median(|| per_segment(&work, digest))),
        stage("tree", median(|| per_segment(&work, tree))),
        stage("signatures", median(|| verify_all(&checks))),
    ];
    if let Some(secrets) = secrets {
        stages.push(stage(
            "decrypt",
            median(|| per_segment(&work, |segment, places| decrypt(segment, places, secrets))),
        ));
        stages.push(stage(
            "evidence",
            median(|| per_segment(&work, |_, places| evidence(places, secrets))),
        ));
    }
    let keys = secrets.map(|secrets| secrets as &dyn crate::recovery::writes::Keys);
    stages.push(stage("state", median(|| build_state(files, keys))));

    let mut outcome = Ok(());
    let verify = whole([
        &mut || {
            per_segment(&work, raw_hashing);
            verify_all(&checks);
        },
        &mut || {
            per_segment(&work, |segment, places| digest(segment, places) + tree(segment, places));
            verify_all(&checks);
        },
        &mut || {
            if let Err(why) = verify(files, &Options::default(), &Silent) {
                outcome = Err(why);
            }
        },
    ]);
    outcome?;
    let mut unlock = None;
    if let Some(secrets) = secrets {
        let mut outcome = Ok(());
        unlock = Some(whole([
            &mut || per_segment(&work, |segment, places| raw_opening(segment, places, secrets)),
            &mut || {
                per_segment(&work, |segment, places| {
                    decrypt(segment, places, secrets) + evidence(places, secrets)
                });
            },
            &mut || {
                if let Err(why) = decrypt_all(files, secrets, Seqno::MAX, &Silent) {
                    outcome = Err(why);
                }
            },
        ]));
        outcome?;
    }
    Ok(BenchReport {
        threads: rayon::current_num_threads(),
        digests: how_many_are_digested(),
        entries,
        bytes,
        signatures: checks
            .iter()
            .map(|check| usize::from(check.node.is_some()) + usize::from(check.cose.is_some()))
            .sum(),
        stages,
        verify,
        unlock,
    })
}

/// What the libraries alone, the stages alone and the whole take.
fn whole(works: [&mut dyn FnMut(); 3]) -> Whole {
    let [limit, own, taken] = in_turn(works);
    Whole {
        seconds: taken.seconds,
        cpu_seconds: taken.cpu_seconds,
        limit_seconds: limit.seconds,
        fraction: limit.seconds / taken.seconds,
        limit_cpu_seconds: limit.cpu_seconds,
        stages_seconds: own.seconds,
        stages_fraction: own.seconds / taken.seconds,
        stages_cpu_seconds: own.cpu_seconds,
    }
}

/// What some work took.
#[derive(Clone, Copy, Default)]
struct Timed {
    seconds: f64,
    cpu_seconds: f64,
}

/// The median of several runs, and the least that processors had to do in one.
fn median(mut work: impl FnMut()) -> Timed {
    let [timed] = in_turn([&mut work]);
    timed
}

/// The same of several works that take turns, so that what else the machine does meets all of them.
fn in_turn<const N: usize>(works: [&mut dyn FnMut(); N]) -> [Timed; N] {
    let mut runs = works.map(|work| {
        work();
        (work, Vec::new())
    });
    for _ in 0..REPETITIONS {
        for (work, times) in &mut runs {
            let (began, cpu) = (Instant::now(), cpu_seconds());
            work();
            times.push(Timed {
                seconds: began.elapsed().as_secs_f64(),
                cpu_seconds: cpu_seconds() - cpu,
            });
        }
    }
    runs.map(|(_, mut times)| {
        times.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let least = times.iter().map(|timed| timed.cpu_seconds).min_by(f64::total_cmp);
        Timed {
            seconds: times.get(REPETITIONS / 2).map_or(0.0, |timed| timed.seconds),
            cpu_seconds: least.unwrap_or_default(),
        }
    })
}

/// Processors' time of this process so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn all_segments(files: &LedgerFiles) -> Result<Vec<Segment>> {
    let mut windows = Windows::new(files, files.first_seqno(), Seqno::MAX);
    let mut segments = Vec::new();
    while let Some(window) = windows.next_window()? {
        segments.extend(window);
    }
    Ok(segments)
}

/// Every check of a verification, made without verifying them.
fn collect_checks(files: &LedgerFiles) -> Result<Vec<Check>> {
    let mut joiner = Joiner::new(files, Mode::Audit, 1, Some(Accumulator::genesis()), Trust::default());
    let mut windows = Windows::new(files, 1, Seqno::MAX);
    let mut checks = Vec::new();
    while let Some(window) = windows.next_window()? {
        let scans: Vec<_> = window
            .into_par_iter()
            .map(|segment| scan_segment(segment, &[]))
            .collect();
        for scan in scans {
            checks.extend(joiner.join(scan, &[]));
        }
    }
    checks.extend(joiner.release());
    Ok(checks)
}

/// Where one entry's messages are in its chunk.
#[derive(Clone, Copy)]
struct Place {
    seqno: Seqno,
    view: View,
    raw: (u32, u32),
    public: (u32, u32),
}

fn places(segment: &Segment) -> Vec<Place> {
    let mut places = Vec::new();
    segment.for_each(|located| {
        let entry = &located.entry;
        let at = located.offset as u32;
        let public_at = at + (entry.raw.len() - entry.private.len() - entry.public.len()) as u32;
        places.push(Place {
            seqno: located.seqno,
            view: entry.iv().view,
            raw: (at, at + entry.raw.len() as u32),
            public: (public_at, public_at + entry.public.len() as u32),
        });
    });
    places
}

fn per_segment(work: &[(&Segment, &Vec<Place>)], each: impl Fn(&Segment, &[Place]) -> u64 + Sync) {
    let total: u64 = work.par_iter().map(|(segment, places)| each(segment, places)).sum();
    std::hint::black_box(total);
}

fn slice(segment: &Segment, (from, to): (u32, u32)) -> &[u8] {
    segment.chunk.map.bytes().get(from as usize..to as usize).unwrap_or(&[])
}

fn sum_bytes(segment: &Segment) -> u64 {
    let end = segment.offset + segment.size_bytes;
    let bytes = segment
        .chunk
        .map
        .bytes()
        .get(segment.offset as usize..end as usize)
        .unwrap_or(&[]);
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

fn parse(segment: &Segment) -> u64 {
    let mut writes = 0;
    segment.for_each(|located| {
        let _ = located.maps().for_each(|_, _| writes += 1);
    });
    writes
}

/// Entries and leaves, as many at once as the scan takes.
fn digest(segment: &Segment, places: &[Place]) -> u64 {
    let (mut digests, mut leaves) = (Vec::new(), Vec::new());
    for places in places.chunks(BATCH) {
        let messages: Vec<&[u8]> = places.iter().map(|place| slice(segment, place.raw)).collect();
        digests.clear();
        sha256_many(&messages, &mut digests);
        let parts: Vec<[Digest; 3]> = digests.iter().map(|digest| [*digest; 3]).collect();
        let messages: Vec<&[u8]> = parts.iter().map(|parts| parts.as_flattened()).collect();
        leaves.clear();
        sha256_many(&messages, &mut leaves);
    }
    leaves.len() as u64
}

fn first_byte(digest: &Digest) -> u8 {
    let [first, ..] = digest;
    *first
}

fn tree(segment: &Segment, places: &[Place]) -> u64 {
    let mut subtrees = Subtrees::starting_at(segment.from);
    let leaves: Vec<Digest> = places.iter().map(|place| [place.seqno as u8; 32]).collect();
    leaves.chunks(BATCH).for_each(|leaves| subtrees.append_all(leaves));
    subtrees.take().len() as u64
}

fn verify_all(checks: &[Check]) {
    let wrong: usize = checks.par_iter().map(|check| check.verify().len()).sum();
    std::hint::black_box(wrong);
}

fn raw_hashing(segment: &Segment, places: &[Place]) -> u64 {
    let mut sum = 0;
    for place in places {
        let entry = sha256(slice(segment, place.raw));
        let leaf = sha256_three(&entry, &entry, &entry);
        sum += u64::from(first_byte(&sha256_pair(&leaf, &entry)));
    }
    sum
}

fn decrypt(segment: &Segment, places: &[Place], secrets: &LedgerSecrets) -> u64 {
    let mut plaintext = Vec::new();
    let opened = places.iter().filter(|place| {
        let key = secrets.at(place.seqno).map(|secret| &secret.aead);
        key.is_some_and(|key| open_at(segment, place, key, &mut plaintext))
    });
    opened.count() as u64
}

/// The evidence of every entry, as many at once as an unlocking takes.
fn evidence(places: &[Place], secrets: &LedgerSecrets) -> u64 {
    let mut digests = Vec::with_capacity(EVIDENCE_BATCH);
    for places in places.chunks(EVIDENCE_BATCH) {
        let txids: Vec<(View, Seqno)> = places.iter().map(|place| (place.view, place.seqno)).collect();
        if let Some(secret) = places.first().and_then(|place| secrets.at(place.seqno)) {
            digests.clear();
            secret.commit.evidence_digests(&txids, &mut digests);
        }
    }
    digests.len() as u64
}

fn open_at(segment: &Segment, place: &Place, key: &AeadKey, plaintext: &mut Vec<u8>) -> bool {
    let raw = slice(segment, place.raw);
    let (Some(tag), Some(iv)) = (
        raw.get(8..24).and_then(|tag| tag.first_chunk::<16>()),
        raw.get(24..36).and_then(|iv| iv.first_chunk::<12>()),
    ) else {
        return false;
    };
    let private = slice(segment, (place.public.1, place.raw.1));
    key.open(iv, slice(segment, place.public), tag, private, plaintext)
        .is_ok()
}

fn raw_opening(segment: &Segment, places: &[Place], secrets: &LedgerSecrets) -> u64 {
    let mut plaintext = Vec::new();
    let mut sum = 0;
    for place in places {
        let key = secrets.at(place.seqno).map(|secret| &secret.aead);
        sum += u64::from(key.is_some_and(|key| open_at(segment, place, key, &mut plaintext)));
        // The nonce is two compressions (with the key's state at hand), its digest with the text around it two more.
        let nonce = sha256_pair(&[place.seqno as u8; 32], &[1; 32]);
        sum += u64::from(first_byte(&sha256_pair(&nonce, &nonce)));
    }
    sum
}

fn build_state(files: &LedgerFiles, keys: Option<&dyn crate::recovery::writes::Keys>) {
    let selection = Selection {
        at: Seqno::MAX,
        tables: None,
        keys,
        progress: &Silent,
        written: None,
    };
    let state: Option<Base> = load_state(files, None, &selection).ok().map(|state| state.base);
    std::hint::black_box(state.map(|state| state.len()));
}
