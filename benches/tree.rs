//! Appending leaves to the Merkle tree: one by one, and as the subtrees that a segment makes; and the root.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle::crypto::digest::sha256_pair;
use rekindle::merkle::Accumulator;
use rekindle::merkle::accumulator::Subtrees;

const LEAVES: u64 = 100_000;

fn tree(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree");
    group.throughput(Throughput::Elements(LEAVES));
    let leaf = |n: u64| [n as u8; 32];
    group.bench_function("limit: one SHA-256 of two digests a leaf", |b| {
        b.iter(|| (0..LEAVES).fold([0; 32], |sum, n| sha256_pair(&sum, &leaf(n))));
    });
    group.bench_function("leaf by leaf", |b| {
        b.iter(|| {
            let mut accumulator = Accumulator::genesis();
            (0..LEAVES).for_each(|n| accumulator.append(&leaf(n)));
            accumulator.root()
        });
    });
    group.bench_function("subtrees", |b| {
        b.iter(|| {
            let mut subtrees = Subtrees::starting_at(1);
            (0..LEAVES).for_each(|n| subtrees.append(leaf(n)));
            subtrees.take().len()
        });
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = tree);
criterion_main!(benches);
