//! Walking chunks and parsing the writes of every entry, on one thread, and reading the same bytes as the limit.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn walk(c: &mut Criterion) {
    let bench = support::Bench::new();
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Bytes(bench.bytes));
    group.bench_function("limit: sum of bytes", |b| {
        b.iter(|| {
            let mut sum = 0u64;
            for segment in &bench.segments {
                let end = segment.offset + segment.size_bytes;
                let bytes = &segment.chunk.map.bytes()[segment.offset as usize..end as usize];
                sum = bytes
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .fold(sum, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
            }
            sum
        });
    });
    group.bench_function("entries", |b| {
        b.iter(|| {
            bench.segments.iter().for_each(|segment| {
                drop(segment.for_each(|located| {
                    black_box(located.entry.tag);
                }))
            })
        });
    });
    group.bench_function("entries and writes", |b| {
        b.iter(|| {
            let mut writes = 0;
            for segment in &bench.segments {
                segment.for_each(|located| drop(located.maps().for_each(|_, _| writes += 1)));
            }
            writes
        });
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = walk);
criterion_main!(benches);
