//! The digest of every entry and leaf, on one thread, beside raw SHA-256 of as many bytes.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rekindle::crypto::digest::sha256;

fn digest(c: &mut Criterion) {
    let bench = support::Bench::new();
    let mut group = c.benchmark_group("digest");
    group.throughput(Throughput::Bytes(bench.bytes));
    group.bench_function("limit: SHA-256 of each entry", |b| {
        b.iter(|| each(&bench, |located| sha256(located.entry.raw)[0]));
    });
    group.bench_function("leaves", |b| {
        b.iter(|| each(&bench, |located| located.entry.leaf(&located.public)[0]));
    });
}

fn each(bench: &support::Bench, digest: impl Fn(&rekindle::format::chunk::Located<'_>) -> u8) -> u64 {
    let mut sum = 0;
    for segment in &bench.segments {
        segment.for_each(|located| sum += u64::from(digest(&located)));
    }
    sum
}

criterion_group!(name = benches; config = support::criterion(); targets = digest);
criterion_main!(benches);
